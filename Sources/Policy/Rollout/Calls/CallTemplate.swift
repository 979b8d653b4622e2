import Base

/// The values that a rollout puts into the texts of metrics and hooks, by name.
public struct CallValues: Sendable, Equatable {
    public private(set) var values: [String: String] = [:]

    public static let bytesMax = 128

    public init() {}

    /// Sets a value.
    /// - Throws: where the value has other characters than a template may take.
    public mutating func set(_ name: String, _ value: String) throws(CallProblem) {
        guard CallValues.isName(name) else {
            throw CallProblem(
                "\"\(CallText.shown(name, most: 40))\" is no name of a value: a letter, then "
                    + "letters, digits and _")
        }
        guard CallValues.isValue(value) else {
            throw CallProblem(
                "the value of \(name) is \"\(CallText.shown(value, most: 140))\", which cannot "
                    + "stand in a call: 1 to \(CallValues.bytesMax) letters, digits and ._:/@+-")
        }
        values[name] = value
    }

    public subscript(name: String) -> String? { values[name] }

    /// A letter, then letters, digits and "_"; at most 64 bytes.
    public static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, ASCII.isAlpha(first), text.utf8.count <= 64 else {
            return false
        }
        return text.utf8.allSatisfy { ASCII.isAlpha($0) || ASCII.isDigit($0) || $0 == 0x5f }
    }

    public static func isValue(_ text: String) -> Bool {
        (1...bytesMax).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                ASCII.isAlpha(byte) || ASCII.isDigit(byte) || Array("._:/@+-".utf8).contains(byte)
            }
    }
}

/// A text with places for values, as in `version="{{canary}}"`. A value is written as the place
/// needs it, so that no value can change what the text around it means.
public struct CallTemplate: Sendable, Equatable {
    enum Piece: Sendable, Equatable {
        case text(String)
        case value(String)
    }

    let pieces: [Piece]
    /// The text as it was written.
    public let source: String

    /// Reads a template.
    public init(_ text: String) throws(CallProblem) {
        var pieces: [Piece] = []
        var rest = text[...]
        while let open = CallTemplate.find("{{", in: rest) {
            if open > rest.startIndex { pieces.append(.text(String(rest[..<open]))) }
            let inner = rest[rest.index(open, offsetBy: 2)...]
            guard let close = CallTemplate.find("}}", in: inner) else {
                throw CallProblem(
                    "\"\(CallText.shown(String(rest[open...]), most: 40))\" has no }} behind it")
            }
            let name = String(inner[..<close].drop { $0 == " " })
                .split(separator: " ", omittingEmptySubsequences: true)
            guard name.count == 1, CallValues.isName(String(name[0])) else {
                throw CallProblem(
                    "\"{{\(CallText.shown(String(inner[..<close]), most: 40))}}\" names no value; "
                        + "write {{canary}}, {{stable}}, {{service}}, {{stage}} or the like")
            }
            pieces.append(.value(String(name[0])))
            rest = inner[inner.index(close, offsetBy: 2)...]
        }
        if !rest.isEmpty { pieces.append(.text(String(rest))) }
        self.pieces = pieces
        source = text
    }

    private static func find(_ mark: String, in text: Substring) -> String.Index? {
        var at = text.startIndex
        while at < text.endIndex {
            if text[at...].hasPrefix(mark) { return at }
            at = text.index(after: at)
        }
        return nil
    }

    /// The names of values that the text wants, in its order, each once.
    public var names: [String] {
        var names: [String] = []
        for case .value(let name) in pieces where !names.contains(name) { names.append(name) }
        return names
    }

    public var hasValues: Bool { !names.isEmpty }

    /// The text with its values.
    ///
    /// - Parameter write: writes a value for its place, behind the text so far.
    func fill(
        _ values: CallValues,
        _ write: (_ value: String, _ before: String) throws(CallProblem) -> String
    ) throws(CallProblem) -> String {
        var out = ""
        for piece in pieces {
            switch piece {
            case .text(let text): out += text
            case .value(let name):
                guard let value = values[name] else {
                    throw CallProblem(
                        "{{\(name)}} has no value in this rollout; there are: "
                            + values.values.keys.sorted().joined(separator: ", "))
                }
                out += try write(value, out)
            }
        }
        return out
    }

    // MARK: Places

    /// The text as an argument of a program: values stand as they are, since no shell reads them.
    public func argument(_ values: CallValues) throws(CallProblem) -> String {
        try fill(values) { value, before throws(CallProblem) in
            if before.isEmpty, value.hasPrefix("-") {
                throw CallProblem(
                    "the value \"\(value)\" would begin an argument with -, as options do")
            }
            return value
        }
    }

    /// The text as a JSON pointer (RFC 6901 §3).
    public func pointer(_ values: CallValues) throws(CallProblem) -> String {
        try fill(values) { value, _ throws(CallProblem) in
            value.split(separator: "/", omittingEmptySubsequences: false).joined(separator: "~1")
        }
    }

    /// The text as a URL. Values stand in the path or the query, percent-encoded.
    public func url(_ values: CallValues) throws(CallProblem) -> CallURL {
        try checkURL()
        let text = try fill(values) { value, before throws(CallProblem) in
            if !before.contains("?"), value.allSatisfy({ $0 == "." }), before.hasSuffix("/") {
                throw CallProblem("the value \"\(value)\" would leave the URL's path")
            }
            return CallTemplate.percentEncoded(value)
        }
        return try CallURL(text)
    }

    /// Whether values stand only where a URL may have them: behind scheme, host and port.
    public func checkURL() throws(CallProblem) {
        // The origin ends in the first text, or a value would be part of it.
        guard case .text(let first)? = pieces.first else {
            throw CallProblem("a URL cannot begin with a value; write its scheme and host out")
        }
        guard hasValues else { return _ = try CallURL(source) }
        let parts = first.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        let hasPath = parts.count == 4 || parts.count == 3 && parts[2].contains("?")
        guard hasPath else {
            throw CallProblem(
                "\"\(CallText.shown(source, most: 80))\" has a value in its scheme, host or port; "
                    + "values may stand in the path and in the query alone")
        }
        _ = try CallURL(first)
    }

    /// RFC 3986 §2.3: all but unreserved characters is encoded.
    static func percentEncoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        for byte in text.utf8 {
            let isPlain =
                ASCII.isAlpha(byte) || ASCII.isDigit(byte) || Array("-._~".utf8).contains(byte)
            out += isPlain ? [byte] : [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
        return String(decoding: out, as: UTF8.self)
    }
}
