import ArgumentParser
import JSON
import Platform

/// Prints what a command has to say. A full disk or a closed output is a failure of the command:
/// whoever redirects to a file must not find half of it there and an exit code of 0.
func say(_ text: String, terminator: String = "\n") throws {
    let bytes = Array((text + terminator).utf8)
    guard let failure = Files.append(1, bytes.span).failure else { return }
    Files.write(2, all: "sluice: the output cannot be written: \(failure.message)\n")
    throw ExitCode(1)
}

/// Says that a file is bad, in the form that the other output of the command has.
func say(rejection text: String, _ json: JSONText, isJSON: Bool) throws {
    guard isJSON else { return try say(text) }
    try say(JSONText.object([("valid", .bool(false)), ("errors", json)]).text())
}
