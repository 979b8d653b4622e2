import Base

/// The words of gRPC over HTTP/2 in terms of HTTP (its protocol document, "PROTOCOL-HTTP2", and
/// "http-grpc-status-mapping").
public enum GRPC {
    /// Whether a `Content-Type` is gRPC's: `application/grpc`, with or without a subtype behind
    /// "+" or a parameter.
    public static func isContentType(_ value: Span<UInt8>) -> Bool {
        guard value.count >= 16, ASCII.equalFold(value.extracting(0..<16), "application/grpc")
        else { return false }
        // Not gRPC-Web, whose trailers are in its body.
        return value.count == 16 || value[16] == UInt8(ascii: "+")
            || value[16] == UInt8(ascii: ";")
    }

    /// The status DEADLINE_EXCEEDED.
    public static let deadlineExceeded: UInt8 = 4

    /// The status that a call gets when HTTP's is all there is ("http-grpc-status-mapping"). Where
    /// gRPC's own servers have a word for what an HTTP status says, it is theirs: too much metadata
    /// (431) or content (413) is RESOURCE_EXHAUSTED, a time that is over DEADLINE_EXCEEDED.
    public static func status(forHTTP status: UInt16) -> UInt8 {
        switch status {
        case 400: return 13
        case 401: return 16
        case 403: return 7
        case 404, 405: return 12
        case 408, 504: return 4
        case 413, 431: return 8
        case 429, 502, 503: return 14
        default: return 2
        }
    }

    /// The HTTP status that says what a call's status says, for those who look at HTTP alone.
    public static func httpStatus(for status: UInt8) -> UInt16 {
        switch status {
        case 0: return 200
        case 1: return 499
        case 3, 9, 11: return 400
        case 4: return 504
        case 5: return 404
        case 6, 10: return 409
        case 7: return 403
        case 8: return 429
        case 12: return 501
        case 14: return 503
        case 16: return 401
        default: return 500
        }
    }

    /// `grpc-timeout`: at most eight digits and a unit. `nil`: not well-formed, and ignored.
    public static func timeout(_ value: Span<UInt8>) -> Duration? {
        guard (2...9).contains(value.count) else { return nil }
        let digits = value.extracting(0..<value.count - 1)
        guard let number = ASCII.decimal(digits) else { return nil }
        let unit: UInt64
        switch value[value.count - 1] {
        case UInt8(ascii: "H"): unit = 3_600_000_000_000
        case UInt8(ascii: "M"): unit = 60_000_000_000
        case UInt8(ascii: "S"): unit = 1_000_000_000
        case UInt8(ascii: "m"): unit = 1_000_000
        case UInt8(ascii: "u"): unit = 1_000
        case UInt8(ascii: "n"): unit = 1
        default: return nil
        }
        // Far beyond anything that is waited for.
        let nanoseconds = number.multipliedReportingOverflow(by: unit)
        guard !nanoseconds.overflow, nanoseconds.partialValue < 1 << 61 else { return .unlimited }
        return Duration(nanoseconds: Int64(nanoseconds.partialValue))
    }

    /// Writes a `grpc-timeout` of at least one unit: in the finest unit whose number has at most
    /// eight digits, rounded down.
    public static func appendTimeout(_ time: Duration, to out: inout ByteBuffer) {
        var number = UInt64(max(0, time.nanoseconds))
        // The next unit's letter, and how many of this one it has.
        let units: InlineArray<6, (letter: UInt8, next: UInt64)> = [
            (UInt8(ascii: "n"), 1_000), (UInt8(ascii: "u"), 1_000), (UInt8(ascii: "m"), 1_000),
            (UInt8(ascii: "S"), 60), (UInt8(ascii: "M"), 60), (UInt8(ascii: "H"), 1),
        ]
        var unit = 0
        while number > 99_999_999, unit < units.count - 1 {
            number /= units[unit].next
            unit += 1
        }
        out.appendDecimal(max(1, number))
        out.append(units[unit].letter)
    }

    /// Writes text as a `grpc-message`, in which all but visible ASCII and the space is escaped as
    /// a "%" and two hex digits.
    public static func appendMessage(_ text: Span<UInt8>, to out: inout ByteBuffer) {
        for i in 0..<text.count {
            let byte = text[i]
            if byte >= 0x20, byte <= 0x7e, byte != UInt8(ascii: "%") {
                out.append(byte)
            } else {
                out.append(UInt8(ascii: "%"))
                out.append(upperHex(byte >> 4))
                out.append(upperHex(byte & 15))
            }
        }
    }

    private static func upperHex(_ digit: UInt8) -> UInt8 {
        digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "A") + digit - 10
    }

    /// `grpc-status` as a number, 0...127; `nil` when it is none.
    public static func status(_ value: Span<UInt8>) -> Int8? {
        guard let number = ASCII.decimal(value), number < 128 else { return nil }
        return Int8(number)
    }
}
