import Base

/// A request method (RFC 9110 §9). `other` stands for every registered or private method not named.
public enum Method: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case get, head, post, put, delete, connect, options, trace, patch, other

    /// Methods are case-sensitive (RFC 9110 §9.1).
    @inlinable public init(_ name: Span<UInt8>) {
        self = .other
        if name.count == 3, name[0] == UInt8(ascii: "G"), name[1] == UInt8(ascii: "E"),
            name[2] == UInt8(ascii: "T")
        {
            self = .get
            return
        }
        switch name.count {
        case 3:
            if ASCII.equal(name, "GET") {
                self = .get
            } else if ASCII.equal(name, "PUT") {
                self = .put
            }
        case 4:
            if ASCII.equal(name, "POST") {
                self = .post
            } else if ASCII.equal(name, "HEAD") {
                self = .head
            }
        case 5:
            if ASCII.equal(name, "PATCH") {
                self = .patch
            } else if ASCII.equal(name, "TRACE") {
                self = .trace
            }
        case 6: if ASCII.equal(name, "DELETE") { self = .delete }
        case 7:
            if ASCII.equal(name, "OPTIONS") {
                self = .options
            } else if ASCII.equal(name, "CONNECT") {
                self = .connect
            }
        default: break
        }
    }

    /// CONNECT, OPTIONS and TRACE: a proxy does more with them than pass them on.
    @inlinable public var isRare: Bool {
        rawValue &- Method.connect.rawValue <= Method.trace.rawValue &- Method.connect.rawValue
    }

    /// RFC 9110 §9.2.2: repeating the request has the effect of one. Unknown methods are not.
    @inlinable public var isIdempotent: Bool {
        switch self {
        case .get, .head, .put, .delete, .options, .trace: return true
        case .post, .connect, .patch, .other: return false
        }
    }
}
