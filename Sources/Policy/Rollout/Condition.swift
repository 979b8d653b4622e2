import Base

/// The condition of a stage: `branch == "main" and not revision in ["1.4.0", "1.4.1"]`.
///
///     or   := and  { "or" and }
///     and  := not  { "and" not }
///     not  := "not" not | "(" or ")" | name test
///     test := "==" text | "!=" text | "in" "[" text { "," text } "]"
///
/// Texts stand in single or double quotes, in which a backslash takes the next character as it is.
/// Names are letters, digits, `_`, `-` and `.`, and begin with a letter. Text of the configuration
/// and of a journal is read alike; neither can make the reader slow or deep.
public struct Condition: Sendable, Equatable {
    public indirect enum Node: Sendable, Equatable {
        /// The name's value is one of the texts.
        case isOne(name: String, of: [String])
        case not(Node)
        case and(Node, Node)
        case or(Node, Node)
    }

    /// Why a text is no condition.
    public struct Failure: Error, Sendable, Equatable {
        public var message: String
        public var hint: String
        /// Characters of the text in front of the mistake.
        public var offset: Int
    }

    /// The outcome for some values.
    public enum Outcome: Sendable, Equatable {
        case yes
        case no
        /// The outcome hangs on a name that has no value; the first of them is named.
        case unknown(String)
    }

    public let root: Node
    /// The names that occur, in order, each once, with the characters in front of the first.
    public let names: [(name: String, offset: Int)]
    /// The text that was read.
    public let text: String

    public static let charactersMax = 2_000
    static let depthMax = 32

    public init(_ text: String) throws(Failure) {
        var reader = try ConditionReader(text)
        root = try reader.whole()
        names = reader.names
        self.text = text
    }

    public static func == (a: Condition, b: Condition) -> Bool { a.root == b.root }

    /// Evaluates by Kleene's three-valued logic: a name without a value matters only where the
    /// outcome hangs on it, so `no and unknown` is no.
    public func outcome(_ value: (String) -> String?) -> Outcome {
        Condition.outcome(root, value)
    }

    private static func outcome(_ node: Node, _ value: (String) -> String?) -> Outcome {
        switch node {
        case .isOne(let name, let texts):
            guard let value = value(name) else { return .unknown(name) }
            return texts.contains(value) ? .yes : .no
        case .not(let inner):
            switch outcome(inner, value) {
            case .yes: return .no
            case .no: return .yes
            case .unknown(let name): return .unknown(name)
            }
        case .and(let left, let right): return join(left, right, value, decided: .no)
        case .or(let left, let right): return join(left, right, value, decided: .yes)
        }
    }

    /// - Parameter decided: the outcome that one side alone is enough for.
    private static func join(
        _ left: Node, _ right: Node, _ value: (String) -> String?, decided: Outcome
    ) -> Outcome {
        let first = outcome(left, value)
        if first == decided { return decided }
        let second = outcome(right, value)
        if second == decided { return decided }
        if case .unknown = first { return first }
        return second
    }
}

/// Reads a condition by recursive descent.
private struct ConditionReader {
    enum Token: Equatable {
        case word(String)
        case text(String)
        case sign(String)
        case end
    }

    private var tokens: [(token: Token, offset: Int)] = []
    private var at = 0
    var names: [(name: String, offset: Int)] = []

    init(_ text: String) throws(Condition.Failure) {
        let characters = Array(text)
        guard characters.count <= Condition.charactersMax else {
            throw Condition.Failure(
                message: "the condition has \(characters.count) characters",
                hint: "write at most \(Condition.charactersMax)", offset: 0)
        }
        var i = 0
        while i < characters.count {
            if characters[i].isWhitespace {
                i += 1
                continue
            }
            let (token, next) = try ConditionReader.token(characters, at: i)
            tokens.append((token, i))
            i = next
        }
        tokens.append((.end, characters.count))
    }

    // MARK: Words

    private static func isLetter(_ c: Character) -> Bool {
        c.isASCII && c.isLetter || c == "_"
    }

    private static func isNamePart(_ c: Character) -> Bool {
        isLetter(c) || c.isASCII && c.isNumber || c == "." || c == "-"
    }

    private static func token(
        _ all: [Character], at i: Int
    ) throws(Condition.Failure) -> (Token, Int) {
        let c = all[i]
        if isLetter(c) {
            var end = i
            while end < all.count, isNamePart(all[end]) { end += 1 }
            return (.word(String(all[i..<end])), end)
        }
        if c == "\"" || c == "'" { return try quoted(all, at: i) }
        let pair = i + 1 < all.count ? String(all[i...i + 1]) : ""
        if pair == "==" || pair == "!=" { return (.sign(pair), i + 2) }
        if "()[],".contains(c) { return (.sign(String(c)), i + 1) }
        let hints: [String: String] = [
            "&&": "write and", "||": "write or",
            "=~": "a condition has no patterns; write == or in",
        ]
        let single: [Character: String] = ["=": "write ==", "!": "write not, or !="]
        throw Condition.Failure(
            message: "\"\(hints[pair] == nil ? String(c) : pair)\" is not understood",
            hint: hints[pair] ?? single[c] ?? "a condition is made of names, ==, !=, in, and, or, "
                + "not, parentheses and texts in quotes", offset: i)
    }

    private static func quoted(
        _ all: [Character], at start: Int
    ) throws(Condition.Failure) -> (Token, Int) {
        var text = "", i = start + 1
        while i < all.count, all[i] != all[start] {
            if all[i] == "\\", i + 1 < all.count { i += 1 }
            text.append(all[i])
            i += 1
        }
        guard i < all.count else {
            throw Condition.Failure(
                message: "a text has no end", hint: "end it with \(all[start])", offset: start)
        }
        return (.text(text), i + 1)
    }

    // MARK: Grammar

    private var token: Token { tokens[at].token }

    private func fail(_ message: String, _ hint: String) -> Condition.Failure {
        Condition.Failure(message: message, hint: hint, offset: tokens[at].offset)
    }

    private func shown(_ token: Token) -> String {
        switch token {
        case .word(let text), .sign(let text): return "\"\(text)\""
        case .text(let text): return "the text \"\(text)\""
        case .end: return "the end"
        }
    }

    mutating func whole() throws(Condition.Failure) -> Condition.Node {
        if token == .end {
            throw fail("the condition is empty", "write branch == \"main\", or take it out")
        }
        let node = try or(0)
        guard token == .end else {
            let isTwo = if case .word = token { true } else { false }
            throw fail(
                "\(shown(token)) stands where the condition could end",
                isTwo ? "write and, or or, between two tests" : "take it out")
        }
        return node
    }

    private mutating func or(_ depth: Int) throws(Condition.Failure) -> Condition.Node {
        var left = try and(depth)
        while token == .word("or") {
            at += 1
            left = .or(left, try and(depth))
        }
        return left
    }

    private mutating func and(_ depth: Int) throws(Condition.Failure) -> Condition.Node {
        var left = try not(depth)
        while token == .word("and") {
            at += 1
            left = .and(left, try not(depth))
        }
        return left
    }

    private mutating func not(_ depth: Int) throws(Condition.Failure) -> Condition.Node {
        guard depth < Condition.depthMax else {
            throw fail(
                "the condition is too deep",
                "write at most \(Condition.depthMax) parentheses and nots around each other")
        }
        if token == .word("not") {
            at += 1
            return .not(try not(depth + 1))
        }
        if token == .sign("(") {
            at += 1
            let node = try or(depth + 1)
            guard token == .sign(")") else {
                throw fail("\(shown(token)) stands where \")\" was expected", "write )")
            }
            at += 1
            return node
        }
        return try test()
    }

    private mutating func test() throws(Condition.Failure) -> Condition.Node {
        guard case .word(let name) = token, !["in", "and", "or", "not"].contains(name) else {
            throw fail(
                "\(shown(token)) stands where a name was expected",
                "a test begins with a name: branch == \"main\"")
        }
        if !names.contains(where: { $0.name == name }) {
            names.append((name, tokens[at].offset))
        }
        at += 1
        switch token {
        case .sign("=="):
            at += 1
            return .isOne(name: name, of: [try value()])
        case .sign("!="):
            at += 1
            return .not(.isOne(name: name, of: [try value()]))
        case .word("in"):
            at += 1
            return .isOne(name: name, of: try list())
        case .word("not"):
            throw fail(
                "\"not\" stands behind \"\(name)\"", "write not in front: not \(name) in [ … ]")
        default:
            throw fail(
                "\(shown(token)) stands behind the name \"\(name)\"",
                "a name is compared: \(name) == \"text\", != or in [ … ]")
        }
    }

    private mutating func value() throws(Condition.Failure) -> String {
        guard case .text(let text) = token else {
            if case .word(let word) = token {
                throw fail("\(shown(token)) is no text", "texts stand in quotes: \"\(word)\"")
            }
            throw fail("\(shown(token)) stands where a text was expected", "write \"text\"")
        }
        at += 1
        return text
    }

    private mutating func list() throws(Condition.Failure) -> [String] {
        guard token == .sign("[") else {
            throw fail(
                "\(shown(token)) stands where a list was expected", "write in [\"a\", \"b\"]")
        }
        at += 1
        var texts = [try value()]
        while token == .sign(",") {
            at += 1
            texts.append(try value())
        }
        guard token == .sign("]") else {
            throw fail("\(shown(token)) stands where \"]\" was expected", "write ]")
        }
        at += 1
        return texts
    }
}
