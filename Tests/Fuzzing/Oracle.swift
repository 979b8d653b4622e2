/// A second reading of HTTP/1.1, written for clearness and sharing nothing with the product: what
/// the next hop, whoever made it, will take the bytes for.
struct Oracle {
    struct Message: Equatable, CustomStringConvertible {
        var start: [UInt8] = []
        /// Names in lower case.
        var fields: [(name: String, value: [UInt8])] = []
        var body: [UInt8] = []
        /// The message ended where it says, not because the bytes did.
        var isWhole = false
        /// The body has no end but the connection's.
        var isUntilClose = false

        func values(_ name: String) -> [[UInt8]] {
            fields.filter { $0.name == name }.map(\.value)
        }

        var words: [[UInt8]] {
            start.split(separator: 0x20, omittingEmptySubsequences: false).map(Array.init)
        }

        var description: String {
            let fields = fields.map { "\($0.name): \(String(decoding: $0.value, as: UTF8.self))" }
            return "\(String(decoding: start, as: UTF8.self)) \(fields) \(body.count) bytes"
        }

        static func == (a: Message, b: Message) -> Bool {
            a.start == b.start && a.body == b.body && a.isWhole == b.isWhole
                && a.fields.map(\.name) == b.fields.map(\.name)
                && a.fields.map(\.value) == b.fields.map(\.value)
        }
    }

    /// Why the bytes are no HTTP/1.1.
    struct Refusal: Error, CustomStringConvertible { let description: String }

    private let bytes: [UInt8]
    private(set) var at = 0
    /// Whether the part of a chunked body that came before it broke counts too, as a message that
    /// is not whole.
    var keepsBroken = false

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { at == bytes.count }

    /// All messages; the last may be cut off, which its `isWhole` says.
    static func requests(_ bytes: [UInt8]) throws -> [Message] {
        var oracle = Oracle(bytes)
        var messages: [Message] = []
        while !oracle.isAtEnd {
            guard let message = try oracle.next(isRequest: true, isHead: false) else { break }
            messages.append(message)
        }
        return messages
    }

    /// The next message, or `nil` when its head is not all there.
    mutating func next(isRequest: Bool, isHead: Bool) throws -> Message? {
        guard let end = headEnd() else { return nil }
        var lines: [[UInt8]] = []
        var line: [UInt8] = []
        var i = at
        while i < end {
            if bytes[i] == 13 {
                try refuse(bytes[i + 1] == 10, "CR without LF")
                lines.append(line)
                line = []
                i += 2
                continue
            }
            try refuse(bytes[i] != 10 && bytes[i] != 0, "bare LF or NUL")
            line.append(bytes[i])
            i += 1
        }
        var message = Message()
        message.start = lines.first ?? []
        for line in lines.dropFirst() { message.fields.append(try Oracle.field(line)) }
        at = end + 2
        if isRequest {
            try Oracle.checkRequestLine(message)
        } else {
            try Oracle.checkStatusLine(message)
        }
        try readBody(&message, isRequest: isRequest, isHead: isHead)
        return message
    }

    /// Where the last field line's CRLF ends.
    private func headEnd() -> Int? {
        var i = at
        while i + 3 < bytes.count {
            if bytes[i] == 13, bytes[i + 1] == 10, bytes[i + 2] == 13, bytes[i + 3] == 10 {
                return i + 2
            }
            i += 1
        }
        return nil
    }

    private func refuse(_ condition: Bool, _ message: String) throws {
        if !condition { throw Refusal(description: message) }
    }

    static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: return true
        default: return "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    static func field(_ line: [UInt8]) throws -> (name: String, value: [UInt8]) {
        guard let colon = line.firstIndex(of: 0x3a), colon > 0,
            line[..<colon].allSatisfy(isToken)
        else { throw Refusal(description: "a field line without a name") }
        var value = line[(colon + 1)...]
        while let first = value.first, first == 0x20 || first == 9 { value.removeFirst() }
        while let last = value.last, last == 0x20 || last == 9 { value.removeLast() }
        guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 9 }) else {
            throw Refusal(description: "a control character in a value")
        }
        return (String(decoding: line[..<colon], as: UTF8.self).lowercased(), Array(value))
    }

    private static func checkRequestLine(_ message: Message) throws {
        let words = message.words
        guard words.count == 3, !words[0].isEmpty, words[0].allSatisfy(isToken),
            !words[1].isEmpty, words[1].allSatisfy({ $0 > 0x20 && $0 != 0x7f }),
            words[2].count == 8, words[2].starts(with: "HTTP/1.".utf8)
        else { throw Refusal(description: "a bad request line") }
    }

    private static func checkStatusLine(_ message: Message) throws {
        guard message.start.count >= 12, message.start.starts(with: "HTTP/1.".utf8),
            message.start[8] == 0x20,
            message.start[9...11].allSatisfy({ $0 >= 0x30 && $0 <= 0x39 })
        else { throw Refusal(description: "a bad status line") }
    }

    private mutating func readBody(
        _ message: inout Message, isRequest: Bool, isHead: Bool
    ) throws {
        let lengths = message.values("content-length")
        let codings = message.values("transfer-encoding")
        try refuse(lengths.count < 2 && codings.count < 2, "a framing field twice")
        try refuse(lengths.isEmpty || codings.isEmpty, "a length and a coding")
        if !isRequest {
            let status = message.start[9...11].reduce(0) { $0 * 10 + Int($1) - 0x30 }
            if isHead || status < 200 || status == 204 || status == 304 {
                message.isWhole = true
                return
            }
        }
        if let length = lengths.first {
            try refuse(
                !length.isEmpty && length.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }, "a bad length")
            let count = length.reduce(0) { min($0 * 10 + Int($1) - 0x30, 1 << 40) }
            message.body = Array(bytes[at..<min(bytes.count, at + count)])
            message.isWhole = message.body.count == count
            at += message.body.count
        } else if let coding = codings.first {
            try refuse(
                String(decoding: coding, as: UTF8.self).lowercased() == "chunked", "a coding")
            do {
                try readChunks(&message, isRequest: isRequest)
            } catch {
                guard keepsBroken else { throw error }
                at = bytes.count
            }
        } else if isRequest {
            message.isWhole = true
        } else {
            message.isUntilClose = true
            message.body = Array(bytes[at...])
            at = bytes.count
        }
    }

    private mutating func line() throws -> [UInt8]? {
        var line: [UInt8] = []
        var i = at
        while i < bytes.count {
            if bytes[i] == 13 {
                guard i + 1 < bytes.count else { return nil }
                try refuse(bytes[i + 1] == 10, "CR without LF in a chunk line")
                at = i + 2
                return line
            }
            try refuse(bytes[i] != 10, "bare LF in a chunk line")
            line.append(bytes[i])
            i += 1
        }
        return nil
    }

    /// RFC 9112 §7.1.1: `*( BWS ";" BWS name [ BWS "=" BWS value ] )`. Blanks at the end are
    /// allowed to origins.
    static func checkExtensions(_ text: ArraySlice<UInt8>, isRequest: Bool) throws {
        func need(_ condition: Bool) throws {
            if !condition { throw Refusal(description: "a bad chunk extension") }
        }
        var rest = text
        func skipBlanks() { rest = rest.drop { $0 == 0x20 || $0 == 9 } }
        func takeToken() throws {
            let token = rest.prefix(while: isToken)
            try need(!token.isEmpty)
            rest = rest.dropFirst(token.count)
        }
        try need(text.allSatisfy { $0 == 9 || $0 >= 0x20 && $0 != 0x7f })
        while !rest.isEmpty {
            skipBlanks()
            if rest.isEmpty { return try need(!isRequest) }
            try need(rest.removeFirst() == 0x3b)
            skipBlanks()
            try takeToken()
            let behind = rest
            skipBlanks()
            guard rest.first == 0x3d else {
                rest = behind
                continue
            }
            rest.removeFirst()
            skipBlanks()
            guard rest.first == 0x22 else {
                try takeToken()
                continue
            }
            rest.removeFirst()
            while rest.first != 0x22 {
                try need(rest.popFirst() != 0x5c || rest.popFirst() != nil)
                try need(!rest.isEmpty)
            }
            rest.removeFirst()
        }
    }

    private mutating func readChunks(_ message: inout Message, isRequest: Bool) throws {
        while let head = try line() {
            let digits = head.prefix { $0 != 0x3b && $0 != 0x20 && $0 != 9 }
            guard !digits.isEmpty, digits.count <= 15,
                let size = Int(String(decoding: digits, as: UTF8.self), radix: 16),
                digits.first != 0x2b, digits.first != 0x2d
            else { throw Refusal(description: "a bad chunk size") }
            try Oracle.checkExtensions(head[digits.count...], isRequest: isRequest)
            if size == 0 {
                while let trailer = try line() {
                    if trailer.isEmpty {
                        message.isWhole = true
                        return
                    }
                    _ = try Oracle.field(trailer)
                }
                break
            }
            let there = min(bytes.count - at, size)
            message.body += bytes[at..<(at + there)]
            at += there
            guard there == size, at + 1 < bytes.count else { break }
            try refuse(bytes[at] == 13 && bytes[at + 1] == 10, "a chunk without its end")
            at += 2
        }
        at = bytes.count
    }
}
