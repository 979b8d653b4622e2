import Base
import COpenSSL

/// Why PEM bytes are not taken, in OpenSSL's words.
public struct TLSFailure: Error, Sendable {
    public let reason: String
}

/// Keys that seal TLS tickets, for all contexts of the process: kept over reloads, so that clients
/// resume with tickets from before. The newest key seals, the one before it still opens.
@safe public final class TLSTickets: @unchecked Sendable {
    let native: OpaquePointer

    /// Keys are drawn with the first context of a listener, not before: a process without TLS
    /// does not start the library.
    /// - Throws: when memory is short.
    public init() throws(TLSFailure) {
        guard let made = unsafe ctls_tickets_new() else {
            throw TLSFailure(reason: "out of memory")
        }
        unsafe native = made
    }

    /// Makes a new key; any thread may call. Tickets sealed two keys ago are worth nothing after.
    public func rotate() { unsafe ctls_tickets_rotate(native) }
}

/// Protocols offered in a handshake (RFC 7301).
public enum TLSProtocols: Sendable {
    case http1, http2, both

    /// The protocols as ALPN writes them, each with its length in front.
    var list: StaticString {
        switch self {
        case .http1: return "\u{8}http/1.1"
        case .http2: return "\u{2}h2"
        case .both: return "\u{2}h2\u{8}http/1.1"
        }
    }
}

/// A certificate with its chain, and its key, as PEM.
public struct TLSCertificate: Sendable {
    public var chain: [UInt8]
    public var key: [UInt8]

    public init(chain: [UInt8], key: [UInt8]) {
        self.chain = chain
        self.key = key
    }
}

/// How TLS is spoken on a listener or towards a service: certificates, trust, protocols. Made from
/// PEM bytes on the control thread, used by all; connections keep the one they began with.
@safe public final class TLSContext: @unchecked Sendable {
    let native: OpaquePointer
    private let tickets: TLSTickets?

    private init(_ native: OpaquePointer?, _ tickets: TLSTickets?) throws(TLSFailure) {
        guard let native = unsafe native else {
            throw TLSFailure(reason: "no memory or no random bytes")
        }
        unsafe self.native = native
        self.tickets = tickets
    }

    deinit { unsafe ctls_context_free(native) }

    /// Makes the context for clients that connect here.
    ///
    /// - Parameters:
    ///   - isModern: TLS 1.3 alone.
    ///   - tickets: must live as long as the process.
    public static func server(
        _ protocols: TLSProtocols, isModern: Bool, tickets: TLSTickets
    ) throws(TLSFailure) -> TLSContext {
        let list = protocols.list
        return try unsafe TLSContext(
            ctls_server_new(
                tickets.native, isModern ? 1 : 0, list.utf8Start, list.utf8CodeUnitCount), tickets)
    }

    /// Makes the context for connections to endpoints.
    public static func client(
        _ protocols: TLSProtocols, verifies: Bool
    ) throws(TLSFailure) -> TLSContext {
        let list = protocols.list
        return try unsafe TLSContext(
            ctls_client_new(verifies ? 1 : 0, list.utf8Start, list.utf8CodeUnitCount), nil)
    }

    /// Adds a certificate: of several, a server chooses by the name that the client asks for.
    public func add(_ certificate: TLSCertificate) throws(TLSFailure) {
        unsafe try check { why, room in
            unsafe certificate.chain.withUnsafeBytes { chain in
                unsafe certificate.key.withUnsafeBytes { key in
                    unsafe ctls_add_certificate(
                        native, chain.baseAddress?.assumingMemoryBound(to: CChar.self),
                        chain.count, key.baseAddress?.assumingMemoryBound(to: CChar.self),
                        key.count, why, room)
                }
            }
        }
    }

    /// Trusts the authorities of a PEM file. For servers, after all certificates.
    public func trust(_ authorities: [UInt8]) throws(TLSFailure) {
        unsafe try check { why, room in
            unsafe authorities.withUnsafeBytes { pem in
                unsafe ctls_trust(
                    native, pem.baseAddress?.assumingMemoryBound(to: CChar.self), pem.count, why,
                    room)
            }
        }
    }

    /// Makes the context trust the authorities that the system trusts.
    public func trustSystem() throws(TLSFailure) {
        unsafe try check { why, room in unsafe ctls_trust_system(native, why, room) }
    }

    /// Asks clients for a certificate, and turns those away that have none if it is required.
    public func askClients(required: Bool) { unsafe ctls_ask_clients(native, required ? 1 : 0) }

    private func check(
        _ body: (UnsafeMutablePointer<CChar>?, Int) -> Int32
    ) throws(TLSFailure) {
        var why = [CChar](repeating: 0, count: 256)
        let done = unsafe why.withUnsafeMutableBufferPointer { buffer in
            unsafe body(buffer.baseAddress, buffer.count)
        }
        if done == 1 { return }
        let end = why.firstIndex(of: 0) ?? why.count
        throw TLSFailure(
            reason: String(decoding: why[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
}

/// A ticket that an endpoint gave, with which a later handshake is shorter. Confined to one worker.
@safe public final class TLSResumption {
    let native: OpaquePointer

    init(_ native: OpaquePointer) { unsafe self.native = native }

    deinit { unsafe ctls_resumption_free(native) }
}
