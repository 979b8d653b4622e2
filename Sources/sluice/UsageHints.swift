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
        "jsonschema": "schema", "-v": "version", "-V": "version",
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

    /// A hint for a file name that stands without `-c` in front of it.
    static func missingOption(_ arguments: [String]) -> String? {
        guard let command = arguments.first,
            ["run", "validate", "explain", "reload", "drain"].contains(command),
            !arguments.contains(where: { $0.hasPrefix("-c") || $0.hasPrefix("--config") }),
            let file = arguments.dropFirst().first(where: { word in
                yamlExtensions.contains { word.hasSuffix("." + $0) }
            })
        else { return nil }
        return "the file stands behind -c: sluice \(command) -c \(file)"
    }
}
