/// Reads JSON texts (RFC 8259), strictly: nothing that the grammar does not have, no name twice in
/// one object, no half of a surrogate pair, UTF-8 alone. Whatever the bytes are, the time is linear
/// in their number and the depth bounded.
public struct JSONReader {
    public struct Limits: Sendable {
        public var bytesMax = 1 << 20
        public var depthMax = 32
        public var nodesMax = 100_000
        public init() {}
    }

    private let bytes: [UInt8]
    private let limits: Limits
    private var at = 0
    private var line = 1
    /// Characters of the line in front of `at`.
    private var column = 0
    private var nodeCount = 0

    private init(_ bytes: [UInt8], _ limits: Limits) {
        self.bytes = bytes
        self.limits = limits
    }

    /// The one value of a text.
    public static func read(
        _ bytes: [UInt8], limits: Limits = Limits()
    ) throws(JSONError) -> JSONNode {
        var reader = JSONReader(bytes, limits)
        guard bytes.count <= limits.bytesMax else {
            throw reader.error("\(bytes.count) bytes, at most \(limits.bytesMax) are read")
        }
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        if reader.at < bytes.count { throw reader.error("something stands behind the value") }
        return value
    }

    // MARK: Bytes

    private var mark: JSONMark { JSONMark(line: line, column: column + 1) }

    private func error(_ message: String) -> JSONError { JSONError(message, at: mark) }

    private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func advance() {
        let byte = bytes[at]
        at += 1
        if byte == 0x0a {
            line += 1
            column = 0
        } else if byte & 0xc0 != 0x80 {
            column += 1
        }
    }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d {
            advance()
        }
    }

    private mutating func takes(_ byte: Character) -> Bool {
        guard next == byte.asciiValue else { return false }
        advance()
        return true
    }

    private mutating func expect(_ byte: Character, _ message: String) throws(JSONError) {
        skipSpace()
        guard takes(byte) else {
            throw error(next == nil ? "the text ends early" : message)
        }
    }

    // MARK: Values

    private mutating func value(depth: Int) throws(JSONError) -> JSONNode {
        skipSpace()
        let start = mark
        nodeCount += 1
        if nodeCount > limits.nodesMax { throw error("more than \(limits.nodesMax) values") }
        guard let byte = next else { throw error("the text ends early") }
        let content: JSONNode.Content
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            if depth == limits.depthMax { throw error("more than \(limits.depthMax) levels") }
            content =
                byte == UInt8(ascii: "{")
                ? try object(depth: depth + 1) : try array(depth: depth + 1)
        case UInt8(ascii: "\""): content = .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): content = try number()
        default: content = try word()
        }
        return JSONNode(content: content, mark: start)
    }

    private mutating func word() throws(JSONError) -> JSONNode.Content {
        let words: [(String, JSONNode.Content)] = [
            ("null", .null), ("true", .bool(true)), ("false", .bool(false)),
        ]
        for (word, content) in words where bytes[at...].starts(with: word.utf8) {
            for _ in word.utf8 { advance() }
            return content
        }
        throw error("expected a value")
    }

    private mutating func object(depth: Int) throws(JSONError) -> JSONNode.Content {
        advance()
        var members: [JSONNode.Member] = []
        var names: Set<String> = []
        skipSpace()
        if takes("}") { return .object([]) }
        repeat {
            skipSpace()
            let start = mark
            guard next == UInt8(ascii: "\"") else {
                throw error(next == nil ? "the text ends early" : "expected a name in quotes")
            }
            let name = try string()
            guard names.insert(name).inserted else {
                throw JSONError("\(JSONText.quoted(name)) is given twice", at: start)
            }
            try expect(":", "expected a colon")
            members.append(.init(name: name, mark: start, value: try value(depth: depth)))
            skipSpace()
        } while takes(",")
        try expect("}", "expected a comma or }")
        return .object(members)
    }

    private mutating func array(depth: Int) throws(JSONError) -> JSONNode.Content {
        advance()
        var elements: [JSONNode] = []
        skipSpace()
        if takes("]") { return .array([]) }
        repeat {
            elements.append(try value(depth: depth))
            skipSpace()
        } while takes(",")
        try expect("]", "expected a comma or ]")
        return .array(elements)
    }

    private mutating func number() throws(JSONError) -> JSONNode.Content {
        let start = at, place = mark
        var isWhole = true
        _ = takes("-")
        if !takes("0"), digits() == 0 { throw error("expected a digit") }
        if takes(".") {
            isWhole = false
            if digits() == 0 { throw error("expected a digit behind the point") }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            isWhole = false
            advance()
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { advance() }
            if digits() == 0 { throw error("expected a digit of the exponent") }
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if isWhole, let value = Int(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else {
            throw JSONError("the number is too large", at: place)
        }
        return .number(value)
    }

    private mutating func digits() -> Int {
        let start = at
        while let byte = next, (0x30...0x39).contains(byte) { advance() }
        return at - start
    }

    // MARK: Strings

    private mutating func string() throws(JSONError) -> String {
        let place = mark
        advance()
        var text: [UInt8] = []
        while let byte = next {
            if byte == UInt8(ascii: "\"") {
                advance()
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw JSONError("the text is not UTF-8", at: place)
                }
                return string
            }
            if byte < 0x20 { throw error("a control character in a text, which \\u can write") }
            advance()
            if byte == UInt8(ascii: "\\") {
                try escape(into: &text)
            } else {
                text.append(byte)
            }
        }
        throw JSONError("a text without end", at: place)
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
        guard let byte = next else { throw error("the text ends early") }
        let plain: [UInt8: UInt8] = [
            0x22: 0x22, 0x5c: 0x5c, 0x2f: 0x2f, 0x62: 0x08, 0x66: 0x0c, 0x6e: 0x0a, 0x72: 0x0d,
            0x74: 0x09,
        ]
        if let meant = plain[byte] {
            advance()
            text.append(meant)
            return
        }
        guard byte == UInt8(ascii: "u") else { throw error("no such escape") }
        advance()
        var scalar = try hexadecimal()
        if (0xd800...0xdbff).contains(scalar) {
            guard takes("\\"), takes("u") else { throw error("half of a surrogate pair") }
            let low = try hexadecimal()
            guard (0xdc00...0xdfff).contains(low) else { throw error("half of a surrogate pair") }
            scalar = 0x10000 + (scalar - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let character = Unicode.Scalar(scalar) else {
            throw error("half of a surrogate pair")
        }
        text += Array(String(Character(character)).utf8)
    }

    private mutating func hexadecimal() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue,
                byte < 0x80
            else { throw error("expected four hexadecimal digits") }
            value = value << 4 | UInt32(digit)
            advance()
        }
        return value
    }
}
