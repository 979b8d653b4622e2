import ArgumentParser
import Base
import Configuration
import Explain
import Files
import JSON
import Platform

let yamlExtensions = ["yaml", "yml"]

/// The file that a command is about.
struct ConfigurationSource: ParsableArguments {
    @Option(
        name: [.short, .long], help: "The configuration file.",
        completion: .file(extensions: yamlExtensions))
    var config: String
}

/// The format in which a command prints.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable { case text, json }

struct OutputOptions: ParsableArguments {
    @Option(help: "text or json.") var format = OutputFormat.text
    @Flag(help: "The same as --format json.") var json = false

    var isJSON: Bool { json || format == .json }
}

struct ValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check a configuration file.",
        discussion: """
            EXAMPLES
              sluice validate -c sluice.yaml
              sluice validate -c sluice.yaml --format json

            Prints every error and warning with file:line:column, the line, a caret and a hint;
            reads the certificates, keys and key files that the file names, and looks whether the
            access log can be written and the ports be had. Exit 0, or 2.
            """)

    @OptionGroup var source: ConfigurationSource
    @OptionGroup var output: OutputOptions

    func run() throws {
        let config = source.config
        let isJSON = output.isJSON
        switch ConfigurationFile.load(config, warnsOfPorts: true) {
        case .success(let file):
            if isJSON {
                try say(
                    JSONText.object([
                        ("valid", .bool(true)), ("hash", .string(file.hash)),
                        ("warnings", file.warningsJSON),
                        ("overlayProblem", file.overlayProblem.map { .string($0) } ?? .null),
                    ]).text())
            } else {
                if !file.warnings.isEmpty { try say(file.warnings) }
                if let problem = file.overlayProblem {
                    try say("\(config): warning: the overlay is not believed: \(problem)")
                }
                try say("\(config): valid (hash \(file.hash))")
            }
        case .failure(let rejection):
            try say(rejection: rejection.text, rejection.json, isJSON: isJSON)
            throw ExitCode(2)
        }
    }
}

struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Say what would happen to a request, and why.",
        discussion: """
            EXAMPLES
              sluice explain -c sluice.yaml GET http://reviews/cart
              sluice explain -c sluice.yaml GET /cart -H 'x-user-group: beta' --json
            """)

    @OptionGroup var source: ConfigurationSource
    @Option(
        name: [.customShort("H"), .long], help: "A header, name: value; may be repeated.",
        completion: .list([]))
    var header: [String] = []
    @Option(
        help: "The listener that the request comes in at; otherwise one with the URL's scheme.",
        completion: .list([]))
    var listener: String?
    @OptionGroup var output: OutputOptions
    @Argument(
        help: "The method.",
        completion: .list(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]))
    var method: String
    @Argument(help: "A URL, or a path.", completion: .list(["/", "http://", "https://"]))
    var url: String

    func run() throws {
        try checkWords()
        let file = try loaded(source.config, isJSON: output.isJSON)
        var query = ExplainQuery(method: method, url: url)
        query.headers = header
        query.listener = listener
        let compiled = CompiledConfiguration(file)
        let ground = ExplainGround(
            snapshot: compiled.snapshot, file: file.path,
            listenerNumber: { compiled.number(ofListener: $0) }, now: SystemClock.now(),
            wall: SystemClock.wall(), sources: file.overlayFile == nil ? [] : file.sources,
            zones: file.zones)
        if let problem = file.overlayProblem {
            Files.write(2, all: "sluice: the overlay is left out: \(problem)\n")
        }
        switch Explainer.explain(query, ground) {
        case .success(let explanation):
            try say(
                output.isJSON ? explanation.json.text() : explanation.text,
                terminator: output.isJSON ? "\n" : "")
        case .failure(let failure):
            if output.isJSON {
                try say(JSONText.object([("error", .string(failure.text))]).text())
            } else {
                try say("sluice: \(failure.text)")
            }
            throw ExitCode(1)
        }
    }
}

extension ExplainCommand {
    /// Slips of the command line that would read as a bad request otherwise.
    private func checkWords() throws {
        if method.contains("/") {
            throw ValidationError(
                "the method is \"\(method)\"; it stands in front of the URL: GET /path")
        }
        if method != method.uppercased(),
            ["get", "head", "post", "put", "delete", "patch"]
                .contains(method.lowercased())
        {
            throw ValidationError(
                "the method is \"\(method)\"; methods are case-sensitive: \(method.uppercased())")
        }
        let isPlain = method == "CONNECT" || url == "*"
        if !isPlain, !url.hasPrefix("/"), !url.contains("://") {
            throw ValidationError(
                "the URL is \"\(url)\", expected a path such as /\(url) or a URL such as "
                    + "http://\(url)/")
        }
        if let line = header.first(where: { !$0.contains(":") }) {
            throw ValidationError("-H is \"\(line)\", expected name: value, as \"\(line): x\"")
        }
    }
}

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Say what a new configuration changes, and who moves.",
        discussion: """
            EXAMPLES
              sluice diff old.yaml new.yaml
              sluice diff --exit-code --format json old.yaml new.yaml
              sluice diff <(git show HEAD:sluice.yaml) sluice.yaml

            Compares every field by what it means, then says which share of sessions moves to
            another version and what a reload does, under the overlay that the new file names;
            other files that the two name are not read. Exit
            code 0; with --exit-code 1 when they differ; 2 when one of them is bad.
            """)

    @Flag(help: "Exit code 1 when the two differ, as git diff has it.") var exitCode = false
    @OptionGroup var output: OutputOptions
    @Argument(help: "The configuration in force.", completion: .file(extensions: yamlExtensions))
    var old: String
    @Argument(help: "The next one.", completion: .file(extensions: yamlExtensions))
    var new: String

    func run() throws {
        guard
            case let next = try reading(new),
            let difference = ConfigurationDiff(
                from: try reading(old), to: next, under: overlay(of: next))
        else { throw ExitCode(2) }
        if output.isJSON {
            try say(difference.json(old: old, new: new).text())
        } else {
            try say(difference.text(old: old, new: new), terminator: "")
        }
        if exitCode, !difference.isSame { throw ExitCode(1) }
    }

    /// The overlay that the new file names, where this user may read it.
    private func overlay(of next: ConfigurationReading) -> Overlay {
        guard let rollouts = next.document?.rollouts else { return Overlay() }
        switch OverlayFile(rollouts, beside: new).read() {
        case .overlay(let overlay): return overlay
        case .bad(let problem):
            Files.write(2, all: "sluice: the overlay is left out: \(problem)\n")
            return Overlay()
        }
    }

    private func reading(_ path: String) throws -> ConfigurationReading {
        switch ConfigurationFile.read(path) {
        case .success(let reading): return reading
        case .failure(let rejection):
            try say(rejection: rejection.text, rejection.json, isJSON: output.isJSON)
            throw ExitCode(2)
        }
    }
}

struct SchemaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "Print the JSON Schema of the configuration file.",
        discussion: "EXAMPLES\n  sluice schema > sluice.schema.json")

    func run() throws { try say(SchemaJSON.document().text()) }
}

/// Loads a file, or prints what is wrong with it and ends with 2.
func loaded(_ path: String, isJSON: Bool = false) throws -> ConfigurationFile {
    switch ConfigurationFile.load(path) {
    case .success(let file): return file
    case .failure(let rejection):
        try say(rejection: rejection.text, rejection.json, isJSON: isJSON)
        throw ExitCode(2)
    }
}
