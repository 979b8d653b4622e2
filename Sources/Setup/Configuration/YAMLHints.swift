import YAML

/// Says of a text that is not YAML what is wrong with it and what to write instead: libyaml's own
/// words are those of its grammar.
enum YAMLHints {
    static func explain(_ error: YAMLError, _ bytes: [UInt8]) -> ConfigurationError {
        let lines = ConfigurationError.lines(bytes)
        func line(_ number: Int) -> Substring {
            number >= 1 && number <= lines.count ? lines[number - 1] : ""
        }
        if let tab = tab(error, lines) { return tab }
        if let quote = unquoted(error, line(error.mark.line)) { return quote }
        let began = error.contextMark?.line ?? error.mark.line
        switch error.message {
        case "did not find expected key", "did not find expected '-' indicator":
            return indentation(error, line(error.mark.line), line(began))
        case "mapping values are not allowed in this context":
            if let colon = colon(line(error.mark.line - 1), error.mark.line - 1) { return colon }
            return ConfigurationError(
                "a \": \" cannot stand here", at: error.mark,
                hint: "a value that contains \": \" needs quotes; if this is a key, the line "
                    + "before it has a value of its own, or the two are not in one column")
        case "could not find expected ':'":
            return ConfigurationError(
                "a key on line \(began) has no colon behind it",
                at: error.contextMark ?? error.mark,
                hint: "write key: value, with a space behind the colon")
        case "did not find expected ',' or ']'":
            return ConfigurationError(
                "the list that begins with [ on line \(began) is not closed, or lacks a comma",
                at: error.mark, hint: "write [a, b]; a value with a bracket or a comma needs quotes"
            )
        case "did not find expected ',' or '}'":
            return ConfigurationError(
                "the mapping that begins with { on line \(began) is not closed, or lacks a comma",
                at: error.mark, hint: "write { a: 1, b: 2 }; a value with a brace needs quotes")
        case "found unexpected end of stream" where error.context.contains("quoted"):
            return ConfigurationError(
                "the quote that begins on line \(began) is not closed",
                at: error.contextMark ?? error.mark, hint: "write the same quote behind the value")
        case "found unknown escape character":
            return ConfigurationError(
                error.message, at: error.mark,
                hint: "in single quotes a backslash is only a backslash: '\\d+'")
        default: break
        }
        if error.message.contains("is given twice") {
            return ConfigurationError(
                error.message, at: error.mark,
                hint: "keep one of them; what belongs to both stands below one key")
        }
        let context = error.context.isEmpty ? "" : " (\(error.context))"
        return ConfigurationError(error.message + context, at: error.mark)
    }

    /// A line `key:value`, which is one text for YAML.
    private static func colon(_ line: Substring, _ number: Int) -> ConfigurationError? {
        let text = line.trimmed
        guard let place = line.firstIndex(of: ":"), !text.hasSuffix(":"), !line.contains(": "),
            !text.contains(where: { "\"'{[#".contains($0) })
        else { return nil }
        let column = line.distance(from: line.startIndex, to: place) + 1
        return ConfigurationError(
            "the line has no colon with a space behind it",
            at: YAMLMark(line: number, column: column),
            hint: "write key: value, with a space behind the colon")
    }

    /// A tab where only spaces may stand.
    private static func tab(
        _ error: YAMLError, _ lines: [Substring]
    ) -> ConfigurationError? {
        for number in [error.mark.line, error.mark.line - 1, error.mark.line + 1]
        where number >= 1 && number <= lines.count {
            let lead = lines[number - 1].prefix { $0 == " " || $0 == "\t" }
            guard let place = lead.firstIndex(of: "\t") else { continue }
            let column = lead.distance(from: lead.startIndex, to: place) + 1
            return ConfigurationError(
                "a tab in front of the line", at: YAMLMark(line: number, column: column),
                hint: "YAML indents with spaces alone; put two spaces in the tab's place")
        }
        return nil
    }

    /// Characters with a meaning of their own at the beginning of a value.
    private static func unquoted(_ error: YAMLError, _ line: Substring) -> ConfigurationError? {
        let rest = line.dropFirst(max(0, error.mark.column - 1))
        let value = rest.prefix { !",]}".contains($0) }.trimmed
        if error.context == "while scanning an alias"
            || error.message.hasPrefix("there is no anchor")
        {
            let from = line.dropFirst(max(0, (error.contextMark ?? error.mark).column - 1))
            let word = from.prefix { !",]} ".contains($0) }
            return ConfigurationError(
                "\"\(word)\" refers to an anchor that is not there",
                at: error.contextMark ?? error.mark,
                hint: "a value that begins with * needs quotes: \"\(word)\"")
        }
        if error.message == "found character that cannot start any token" {
            return ConfigurationError(
                "a value cannot begin with \(rest.prefix(1))", at: error.mark,
                hint: "put it in quotes: \"\(value)\"")
        }
        if error.message == "a key must be plain text", line.contains("{{") {
            return ConfigurationError(
                "{{ … }} is a mapping in YAML, and no text", at: error.mark,
                hint: "templates are not expanded; render the file first, for example with Helm")
        }
        if line.contains("]:") {
            return ConfigurationError(
                "a value that begins with [ is a list", at: error.mark,
                hint: "an IPv6 address needs quotes: \"[::]:8080\"")
        }
        return nil
    }

    private static func indentation(
        _ error: YAMLError, _ line: Substring, _ first: Substring
    ) -> ConfigurationError {
        guard let began = error.contextMark, began.line != error.mark.line else {
            return ConfigurationError(
                "something stands behind the end of a value", at: error.mark,
                hint: "a value that continues behind its quote, bracket or brace needs quotes "
                    + "around all of it")
        }
        let isList = error.context.contains("block collection")
        let what = isList ? "an element of the list" : "a key of the mapping"
        let kind = isList ? "Elements of a list" : "Keys of a mapping"
        return ConfigurationError(
            "the line is indented by \(error.mark.column - 1), and is not \(what) that begins on "
                + "line \(began.line)", at: error.mark,
            hint: "\(kind) begin in one column, here in column \(began.column), behind "
                + "\(began.column - 1) spaces")
    }
}

extension StringProtocol {
    /// The text without spaces at either end.
    var trimmed: String {
        var text = Substring(self)
        while text.first == " " { text.removeFirst() }
        while text.last == " " || text.last == "\r" { text.removeLast() }
        return String(text)
    }
}
