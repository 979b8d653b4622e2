import Base

extension CallTemplate {
    /// The text as a PromQL query. Within quotes a value is escaped as the string needs it, and,
    /// where the string is a regular expression (`=~`, `!~`), as that needs it; outside of quotes a
    /// value may be part of a name or a number, and nothing else.
    public func promQL(_ values: CallValues) throws(CallProblem) -> String {
        var place = PromQLPlace()
        var seen = 0
        return try fill(values) { value, before throws(CallProblem) in
            place.pass(before.utf8.dropFirst(seen))
            let written = try place.write(value)
            seen = before.utf8.count + written.utf8.count
            return written
        }
    }
}

/// A place in a PromQL query, found by reading what stands before it.
struct PromQLPlace {
    /// The quote that is open; `nil` outside of strings and in comments.
    private var quote: UInt8?
    private var isRegex = false
    private var isEscaped = false
    private var isComment = false
    /// The last two bytes outside of strings that are no blanks.
    private var last: (UInt8, UInt8) = (0, 0)

    mutating func pass(_ text: some Sequence<UInt8>) {
        for byte in text { pass(byte) }
    }

    private mutating func pass(_ byte: UInt8) {
        if isComment {
            isComment = byte != 0x0a
        } else if let open = quote {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\"), open != UInt8(ascii: "`") {
                isEscaped = true
            } else if byte == open {
                quote = nil
                last = (0, 0)
            }
        } else if Array("\"'`".utf8).contains(byte) {
            quote = byte
            isRegex = last.1 == UInt8(ascii: "~") && (last.0 == 0x3d || last.0 == 0x21)
        } else if byte == UInt8(ascii: "#") {
            isComment = true
        } else if byte > 0x20 {
            last = (last.1, byte)
        }
    }

    /// A value for this place.
    mutating func write(_ value: String) throws(CallProblem) -> String {
        guard let open = quote else {
            let isPlain = value.utf8.allSatisfy {
                ASCII.isAlpha($0) || ASCII.isDigit($0) || $0 == 0x5f || $0 == 0x3a || $0 == 0x2e
            }
            guard isPlain else {
                throw CallProblem(
                    "the value \"\(value)\" stands outside of quotes in a PromQL query, where "
                        + "letters, digits and _:. may stand alone; put quotes around it")
            }
            pass(value.utf8)
            return value
        }
        if isEscaped {
            throw CallProblem("a value cannot stand behind a backslash in a PromQL query")
        }
        guard isRegex else { return value }
        // "." and "+" are operators of RE2; a string between quotes reads a backslash of its own.
        let escape = open == UInt8(ascii: "`") ? "\\" : "\\\\"
        return value.map { ".+".contains($0) ? escape + String($0) : String($0) }.joined()
    }
}
