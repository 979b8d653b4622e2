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

    /// The status that a call gets when HTTP's is all there is.
    public static func status(forHTTP status: UInt16) -> UInt8 {
        switch status {
        case 400, 431: return 13
        case 401: return 16
        case 403: return 7
        case 404, 405: return 12
        case 408, 504: return 4
        case 413: return 8
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

    /// `grpc-status` as a number, 0...127; `nil` when it is none.
    public static func status(_ value: Span<UInt8>) -> Int8? {
        guard let number = ASCII.decimal(value), number < 128 else { return nil }
        return Int8(number)
    }
}
