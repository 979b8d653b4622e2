import Configuration

/// Guesses what somebody may have meant whose command line is not understood.
enum UsageHints {
    /// Words that other programs have for our commands.
    private static let otherNames: [String: String] = [
        "start": "run", "serve": "run", "server": "run", "up": "run", "daemon": "run",
        "launch": "run", "check": "validate", "test": "validate", "lint": "validate",
        "verify": "validate", "configtest": "validate", "-t": "validate", "config": "validate",
        "why": "explain", "route": "explain", "match": "explain", "compare": "diff",
        "restart": "reload", "refresh": "reload", "hup": "reload", "stop": "drain",
        "quit": "drain", "shutdown": "drain", "exit": "drain", "origin": "demo", "echo": "demo",
        "jsonschema": "schema", "weight": "weights", "shift": "weights", "set-weights": "weights",
        "-v": "version", "-V": "version",
    ]

    /// A hint for a first word that is no command; `nil` when the word is one, or an option.
    ///
    /// - Parameter commands: the names of all commands.
    static func unknownCommand(_ arguments: [String], commands: [String]) -> String? {
        guard let word = arguments.first, !commands.contains(word), word != "help" else {
            return nil
        }
        if word.hasPrefix("-"), otherNames[word] == nil { return nil }
        let all = "commands: " + commands.joined(separator: ", ")
        if yamlExtensions.contains(where: { word.hasSuffix("." + $0) }) {
            return "there is no command \"\(word)\"; to serve that file: sluice run -c \(word)"
        }
        if let meant = otherNames[word.lowercased()]
            ?? DidYouMean.closest(to: word, among: commands)
        {
            return "there is no command \"\(word)\"; did you mean \"\(meant)\"? (\(all))"
        }
        return "there is no command \"\(word)\"; \(all)"
    }

    /// Options of other programs, by what they are here.
    private static let otherOptions: [String: String] = [
        "--port":
            "the address stands in the file: listeners: [{ name: http, address: \"HOST:PORT\" }]",
        "--listen":
            "the address stands in the file: listeners: [{ name: http, address: \"HOST:PORT\" }]",
        "--log-level": "it stands in the file: log: { level: debug }",
        "--verbose": "it stands in the file: log: { level: debug }",
        "--daemon": "sluice stays in the foreground; systemd, or & in a shell, lets it run on",
        "--validate": "that is a command: sluice validate -c FILE",
        "--reload": "that is a command: sluice reload -c FILE",
    ]

    /// A hint for an option that a command does not have, or for words in another order.
    static func otherOption(_ arguments: [String]) -> String? {
        for word in arguments.dropFirst() {
            let name = String(word.prefix { $0 != "=" })
            // The demo has its address on the command line.
            if arguments.first == "demo" {
                if name == "--port" || name == "--listen" {
                    return "write --address 127.0.0.1:PORT"
                }
                continue
            }
            if let hint = otherOptions[name] { return hint }
        }
        if arguments.first == "diff", arguments.contains("-c") || arguments.contains("--config") {
            return "diff takes the two files as they are: sluice diff OLD.yaml NEW.yaml"
        }
        let isMethodMissing =
            arguments.first == "explain" && arguments.last?.contains("/") == true
            && !arguments.dropFirst().contains { $0.allSatisfy { $0.isUppercase } }
        return isMethodMissing ? "the method stands in front of the URL: GET /path" : nil
    }

    /// A hint for a file name that stands without `-c` in front of it.
    static func missingOption(_ arguments: [String]) -> String? {
        guard let command = arguments.first,
            ["run", "validate", "explain", "weights", "reload", "drain"].contains(command),
            !arguments.contains(where: { $0.hasPrefix("-c") || $0.hasPrefix("--config") }),
            let file = arguments.dropFirst().first(where: { word in
                yamlExtensions.contains { word.hasSuffix("." + $0) }
            })
        else { return nil }
        return "the file stands behind -c: sluice \(command) -c \(file)"
    }
}
