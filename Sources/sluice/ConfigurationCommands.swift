import ArgumentParser
import Base
import Configuration
import Server

struct ValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check a configuration file.",
        discussion: """
            EXAMPLES
              sluice validate -c sluice.yaml
              sluice validate -c sluice.yaml --format json

            Prints every error with file:line:column, the line, a caret and a hint. Exit 0, or 2.
            """)

    @Option(name: [.short, .long], help: "The configuration file.") var config: String
    @Option(help: "text or json.") var format = "text"
    @Flag(help: "The same as --format json.") var json = false

    func run() throws {
        let isJSON = json || format == "json"
        switch ConfigurationFile.load(config) {
        case .success(let file):
            if isJSON {
                print(
                    JSONText.object([
                        ("valid", .bool(true)), ("hash", .string(file.hash)),
                        ("warnings", .string(file.warnings)),
                    ]).text())
            } else {
                if !file.warnings.isEmpty { print(file.warnings) }
                print("\(config): valid (hash \(file.hash))")
            }
        case .failure(let rejection):
            if isJSON {
                print(
                    JSONText.object([("valid", .bool(false)), ("errors", rejection.json)]).text())
            } else {
                print(rejection.text)
            }
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

    @Option(name: [.short, .long], help: "The configuration file.") var config: String
    @Option(name: [.customShort("H"), .long], help: "A header, name: value; may be repeated.")
    var header: [String] = []
    @Flag(help: "Print JSON.") var json = false
    @Argument(help: "The method.") var method: String
    @Argument(help: "A URL, or a path.") var url: String

    func run() throws {
        let file = try loaded(config)
        var query = ExplainQuery(method: method, url: url)
        query.headers = header
        switch Explainer.explain(query, file: file) {
        case .success(let explanation):
            print(json ? explanation.json.text() : explanation.text, terminator: json ? "\n" : "")
        case .failure(let failure):
            print("sluice: \(failure.text)")
            throw ExitCode(1)
        }
    }
}

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Say what a new configuration changes, and who moves.",
        discussion: """
            EXAMPLES
              sluice diff old.yaml new.yaml
              sluice diff old.yaml new.yaml --json
            """)

    @Flag(help: "Print JSON.") var json = false
    @Argument(help: "The configuration in force.") var old: String
    @Argument(help: "The next one.") var new: String

    func run() throws {
        let difference = ConfigurationDiff(
            from: try loaded(old).document, to: try loaded(new).document)
        print(json ? difference.json.text() : difference.text, terminator: json ? "\n" : "")
    }
}

struct SchemaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "Print the JSON Schema of the configuration file.",
        discussion: "EXAMPLES\n  sluice schema > sluice.schema.json")

    func run() { print(SchemaJSON.document().text()) }
}

/// Loads a file, or prints what is wrong with it and ends with 2.
func loaded(_ path: String) throws -> ConfigurationFile {
    switch ConfigurationFile.load(path) {
    case .success(let file): return file
    case .failure(let rejection):
        print(rejection.text)
        throw ExitCode(2)
    }
}
