import Base

/// Forms of a request target (RFC 9112 §3.2).
public enum TargetForm: UInt8, Sendable, BitwiseCopyable {
    case origin, absolute, authority, asterisk
}

/// A request head that was read; positions are relative to the head's first byte. Reused head by
/// head.
public struct RequestHead: ~Copyable {
    private let addressOnly = AddressOnly()
    public var method = Method.get
    public var methodName = ByteRange.empty
    public var form = TargetForm.origin
    /// The whole target as it came.
    public var target = ByteRange.empty
    /// Path without query; empty for authority-form, and for absolute-form without one.
    public var path = ByteRange.empty
    /// Query without "?"; `hasQuery` tells an empty one from none.
    public var query = ByteRange.empty
    public var hasQuery = false
    /// Whether the path is in normal form already.
    public var isPathPlain = true
    /// Host and port that the request is for, from Host or the target.
    public var authority = ByteRange.empty
    /// Bytes of the authority's host, without port.
    public var hostLength = 0
    public var isHTTP10 = false
    public var framing = BodyFraming.none
    public var options = ConnectionOptions()
    public var expectsContinue = false
    public var hasUpgradeField = false
    /// The request line is `method SP path [?query] SP HTTP/1.1`: what serialising its parts gives.
    public var isLinePlain = false
    /// The `Max-Forwards` that goes on in place of the one that came; -1: the fields go on as they
    /// are.
    public var maxForwards: Int32 = -1
    /// Where the field lines start.
    public var linesStart = 0
    /// Bytes of the whole head, the empty line included.
    public var byteCount = 0
    public var fields: FieldTable

    public init(fieldCountMax: Int) { fields = FieldTable(capacity: fieldCountMax) }

    public mutating func reset() {
        method = .get
        form = .origin
        path = .empty
        query = .empty
        hasQuery = false
        isPathPlain = true
        authority = .empty
        hostLength = 0
        isHTTP10 = false
        framing = .none
        options = ConnectionOptions()
        expectsContinue = false
        hasUpgradeField = false
        isLinePlain = false
        maxForwards = -1
        byteCount = 0
        fields.removeAll()
    }

    /// Whether the connection persists after this exchange (RFC 9112 §9.3).
    public var keepsAlive: Bool {
        if options.close { return false }
        return isHTTP10 ? options.keepAlive : true
    }
}

/// A response head that was read; positions are relative to the head's first byte. Reused head by
/// head.
public struct ResponseHead: ~Copyable {
    private let addressOnly = AddressOnly()
    /// The status code, 100...999.
    public var status: UInt16 = 0
    public var reason = ByteRange.empty
    public var isHTTP10 = false
    /// The framing as the fields say; the request's method and the status decide in the end (RFC
    /// 9112 §6.3).
    public var framing = BodyFraming.untilClose
    public var options = ConnectionOptions()
    public var hasUpgradeField = false
    /// The status line is `HTTP/1.1 SP status SP reason`: what serialising its parts gives.
    public var isLinePlain = false
    /// Where the field lines start.
    public var linesStart = 0
    public var byteCount = 0
    public var fields: FieldTable

    public init(fieldCountMax: Int) { fields = FieldTable(capacity: fieldCountMax) }

    public mutating func reset() {
        status = 0
        reason = .empty
        isHTTP10 = false
        framing = .untilClose
        options = ConnectionOptions()
        hasUpgradeField = false
        isLinePlain = false
        byteCount = 0
        fields.removeAll()
    }

    public var keepsAlive: Bool {
        if options.close { return false }
        return isHTTP10 ? options.keepAlive : true
    }
}
