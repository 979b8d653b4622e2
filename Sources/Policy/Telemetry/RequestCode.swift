/// The end of a request as its client was told, in 16 bits of a series' key: the status of
/// HTTP (10 bits), whether the request was a gRPC call (1), and the call's status plus 1 (5), 0 for
/// none.
public struct RequestCode: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt16

    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// - Parameters:
    ///   - status: 0 where the client left before it was told anything.
    ///   - call: a call's status; -1 where none was seen. A number that gRPC does not know means
    ///     UNKNOWN (2), so that an endpoint cannot make series at will.
    @inlinable @inline(__always)
    public init(status: UInt16, isGRPC: Bool, call: Int8) {
        let known = UInt16(truncatingIfNeeded: (call > 16 ? 2 : call) &+ 1)
        rawValue = status & 0x3ff | (isGRPC ? 1 << 10 : 0) | known << 11
    }

    public var status: UInt16 { rawValue & 0x3ff }
    public var isGRPC: Bool { rawValue & 1 << 10 != 0 }
    /// The call's status; `nil` where none was seen.
    public var call: Int? { rawValue >> 11 == 0 ? nil : Int(rawValue >> 11) - 1 }
}

/// The kind of a request's end, by which times and bytes are summed: the class of the status, and
/// of gRPC calls whether they succeeded.
public struct EndKind: Hashable, Sendable, BitwiseCopyable {
    /// 0…5: HTTP by its class; 6: a call that succeeded; 7…12: other calls, by their class.
    public let rawValue: UInt8

    static let goodCall: UInt8 = 6
    static let badCall: UInt8 = 7
    public static let count = 13

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public init(_ code: RequestCode) {
        let statusClass = UInt8(min(code.status / 100, 5))
        if !code.isGRPC {
            rawValue = statusClass
        } else {
            let isGood = code.call == 0 && statusClass == 2
            rawValue = isGood ? EndKind.goodCall : EndKind.badCall + statusClass
        }
    }

    public var isGRPC: Bool { rawValue >= EndKind.goodCall }

    /// The class of the status as a label: `2xx`; `0` where nothing was sent.
    public var statusClass: String {
        let number =
            rawValue < EndKind.goodCall
            ? rawValue : rawValue == EndKind.goodCall ? 2 : rawValue - EndKind.badCall
        return number == 0 ? "0" : "\(number)xx"
    }
}
