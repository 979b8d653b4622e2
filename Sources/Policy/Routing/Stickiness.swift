import Base
import HTTPSemantics

/// The rules by which a session is known, and by which its position on the split is found and
/// issued.
///
/// A session has a position in [0, 2^64), never a version: weights may change under it. Positions
/// are shifted by the salt, so that two experiments do not share their first users.
public struct Stickiness: ~Copyable, Sendable {
    /// The application's cookie or header that names a session.
    public enum Source: UInt8, Sendable, BitwiseCopyable { case cookie, header }

    private let addressOnly = AddressOnly()
    public let source: Source
    public let name: ByteRange
    /// The cookie that the proxy issues; empty when it issues none.
    public let issuedName: ByteRange
    /// How long an issued cookie lives, in seconds.
    public let ttlSeconds: Int64
    /// The hash of the salt, XXH64(salt, 0).
    public let saltHash: UInt64
    public let known: KnownField
    private let store: ByteStore
    /// The first signs, all verify; none: cookies are issued without a signature.
    private let keys: [SipHash]
    /// The number of the service's own keys, which come first.
    private let ownKeyCount: Int
    /// Whether cookies without a signature are taken.
    private let acceptsUnsigned: Bool

    /// Cookies of the issued name that are read in one request. Further ones are ignored.
    static let candidatesMax = 64

    /// - Parameters:
    ///   - keys: the first signs, all verify; none: unsigned cookies are taken.
    ///   - siblingKeys: of other services that issue a cookie of the same name. A browser keeps one
    ///     cookie of a name, so each of these services must take the others' cookies, or they would
    ///     take each other's sessions away. They verify, and sign where the service has no key.
    public init(
        source: Source, name: String, issue: String?, ttlSeconds: Int64, salt: String,
        keys: [SipHash], siblingKeys: [SipHash] = []
    ) {
        var store = ByteStore()
        self.source = source
        self.name = store.intern(name)
        issuedName = store.intern(issue ?? "")
        known = source == .header ? KnownField.intern(Array(name.utf8).span) : .cookie
        self.store = store
        self.ttlSeconds = ttlSeconds
        saltHash = XXH64.hash(salt, seed: 0)
        self.keys = keys + siblingKeys
        ownKeyCount = keys.count
        acceptsUnsigned = keys.isEmpty
    }

    /// Whether the proxy issues a cookie of its own.
    public var issues: Bool { !issuedName.isEmpty }

    /// Where a session's position came from.
    public enum Origin: UInt8, Sendable, BitwiseCopyable { case issued, application, none }

    public struct Session: BitwiseCopyable, Sendable {
        public var origin: Origin
        /// Already shifted by the salt: to be looked up in the intervals.
        public var position: UInt64
        /// The answer must set the cookie: it is missing, past half its life, or signed by an
        /// older key of the service's, which is to be taken out one day. A sibling's cookie is left
        /// alone, or two services would replace each other's for ever.
        public var wantsCookie: Bool
        /// A cookie by the issued name was there and was not ours.
        public var hadForgery: Bool
    }

    /// Finds the session that a request belongs to.
    public func session(
        head: borrowing RequestHead, bytes: Span<UInt8>, wall: WallTime
    ) -> Session {
        var hadForgery = false
        if issues, let found = issued(head, bytes, wall, &hadForgery) { return found }
        if let hash = applicationHash(head, bytes) {
            return Session(
                origin: .application, position: hash, wantsCookie: issues, hadForgery: hadForgery)
        }
        return Session(origin: .none, position: 0, wantsCookie: issues, hadForgery: hadForgery)
    }

    /// The session of the first cookie that is genuine and not too old, wherever it stands: in any
    /// of several lines, behind others of its name.
    @inline(__always)
    private func issued(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ wall: WallTime,
        _ hadForgery: inout Bool
    ) -> Session? {
        var left = Stickiness.candidatesMax
        for i in 0..<head.fields.count where head.fields[i].known == .cookie {
            let field = bytes.extracting(head.fields[i].value.range)
            var at = 0
            while let range = Cookie.next(named: store.bytes(issuedName), in: field, from: &at) {
                left -= 1
                if left < 0 { return nil }
                guard
                    let ticket = StickyCookie.decode(
                        field.extracting(range.range), keys: keys, acceptsUnsigned: acceptsUnsigned)
                else {
                    hadForgery = true
                    continue
                }
                let age = wall.seconds - ticket.issuedSeconds
                if age <= ttlSeconds {
                    return Session(
                        origin: .issued, position: ticket.position &+ saltHash,
                        wantsCookie: age > ttlSeconds / 2
                            || ticket.key > 0 && ticket.key < ownKeyCount,
                        hadForgery: hadForgery)
                }
            }
        }
        return nil
    }

    @inline(__always)
    private func applicationHash(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> UInt64? {
        for i in 0..<head.fields.count where head.fields[i].known == known {
            let field = head.fields[i]
            let value = bytes.extracting(field.value.range)
            if source == .cookie {
                guard let range = Cookie.value(named: store.bytes(name), in: value),
                    !range.isEmpty
                else { continue }
                return XXH64.hash(value.extracting(range.range), seed: saltHash)
            }
            guard !value.isEmpty,
                ASCII.equalFold(bytes.extracting(field.name.range), store.bytes(name))
            else { continue }
            return XXH64.hash(value, seed: saltHash)
        }
        return nil
    }

    /// Appends the `Set-Cookie` line for a position that includes the salt's shift.
    public func appendSetCookie(
        position: UInt64, wall: WallTime, isSecure: Bool, to out: inout ByteBuffer
    ) {
        out.append("set-cookie: ")
        out.append(store.bytes(issuedName))
        out.append(UInt8(ascii: "="))
        StickyCookie.encode(
            .init(position: position &- saltHash, issuedSeconds: wall.seconds), key: keys.first,
            to: &out)
        out.append("; Path=/; Max-Age=")
        out.appendDecimal(UInt64(ttlSeconds))
        out.append("; HttpOnly; SameSite=Lax")
        if isSecure { out.append("; Secure") }
        out.append("\r\n")
    }
}
