import Base
import COpenSSL

/// Encrypted bytes on their way out; one for all connections of a worker.
@safe public struct TLSOutput: ~Copyable {
    var native = unsafe ctls_buffer()
    private var taken = 0

    public init() {}

    deinit { unsafe ctls_output_free(native) }

    public var isEmpty: Bool { unsafe native.count == taken }

    /// The bytes that are there, for the call that they are passed to.
    public var bytes: Span<UInt8> {
        @_lifetime(immortal)
        get {
            let view = unsafe Span(
                _unsafeElements: UnsafeBufferPointer(
                    start: native.base.map { unsafe $0 + taken }, count: native.count - taken))
            return unsafe _overrideLifetime(view, copying: ())
        }
    }

    public mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= bytes.count, "bytes that are there")
        taken += count
        if unsafe taken == native.count { clear() }
    }

    public mutating func clear() {
        unsafe native.count = 0
        taken = 0
    }
}

/// One TLS connection over memory: ciphertext in, plaintext out, and back. Confined to one worker.
///
///     closed ──open──▶ handshake ──done──▶ open ──close_notify──▶ ended
///                          └── failed ◀──────┘
@safe public struct TLSConnection: ~Copyable {
    public enum Handshake: Sendable { case done, wantsMore, failed }
    public enum Reading: Sendable, Equatable { case bytes(Int), wantsMore, ended, failed }

    private var native: OpaquePointer?

    /// Makes a slot without a connection.
    public init() { unsafe native = nil }

    deinit { if let native = unsafe native { unsafe ctls_close(native) } }

    public var isOpen: Bool { unsafe native != nil }

    /// Waits for a client's handshake. `false`: no memory.
    public mutating func openServer(_ context: TLSContext) -> Bool {
        close()
        unsafe native = ctls_open_server(context.native)
        return isOpen
    }

    /// Will ask an endpoint for `name`, and verify that it is who it says.
    public mutating func openClient(
        _ context: TLSContext, name: String, resuming resumption: TLSResumption?,
        onlyHTTP1: Bool = false
    ) -> Bool {
        close()
        unsafe native = ctls_open_client(context.native, name, resumption?.native)
        if onlyHTTP1, let native = unsafe native {
            let list = TLSProtocols.http1.list
            unsafe ctls_offer(native, list.utf8Start, list.utf8CodeUnitCount)
        }
        return isOpen
    }

    public mutating func close() {
        if let native = unsafe native { unsafe ctls_close(native) }
        unsafe native = nil
    }

    // MARK: Bytes

    /// Takes bytes of the peer and goes on with the handshake. Once it is done, bytes that came
    /// behind it are kept for `read`.
    public mutating func handshake(
        _ bytes: Span<UInt8>, to out: inout TLSOutput
    ) -> Handshake {
        guard let native = unsafe native else { return .failed }
        let result = unsafe bytes.withUnsafeBufferPointer {
            unsafe ctls_handshake(native, $0.baseAddress, $0.count, &out.native)
        }
        return result == 1 ? .done : result == 0 ? .wantsMore : .failed
    }

    /// Takes bytes of the peer and decrypts at most `room` bytes to the end of `plain`. What does
    /// not fit is kept: call again, with or without more, until it wants more.
    public mutating func read(
        _ bytes: Span<UInt8>, to plain: inout ByteBuffer, atMost room: Int,
        answers out: inout TLSOutput
    ) -> Reading {
        guard let native = unsafe native else { return .failed }
        var result = 0
        _ = unsafe bytes.withUnsafeBufferPointer { source in
            unsafe plain.write(atMost: room) { memory in
                unsafe result = ctls_read(
                    native, source.baseAddress, source.count,
                    memory.baseAddress?.assumingMemoryBound(to: UInt8.self), memory.count,
                    &out.native)
                return max(0, result)
            }
        }
        switch result {
        case Int(CTLS_WANTS_MORE): return .wantsMore
        case Int(CTLS_ENDED): return .ended
        case Int(CTLS_FAILED): return .failed
        default: return .bytes(result)
        }
    }

    /// Encrypts all of the bytes. `false`: the connection is broken.
    public mutating func write(_ bytes: Span<UInt8>, to out: inout TLSOutput) -> Bool {
        guard let native = unsafe native else { return false }
        return unsafe bytes.withUnsafeBufferPointer {
            unsafe ctls_write(native, $0.baseAddress, $0.count, &out.native) == 1
        }
    }

    /// Says that no more bytes will come (RFC 8446 §6.1).
    public mutating func end(to out: inout TLSOutput) {
        if let native = unsafe native { unsafe ctls_end(native, &out.native) }
    }

    // MARK: After the handshake

    /// The last digit of TLS 1.x: 3 for TLS 1.3.
    public var version: UInt8 {
        guard let native = unsafe native else { return 0 }
        return UInt8(unsafe ctls_version(native))
    }

    /// Whether HTTP/2 was agreed on (ALPN).
    public var isHTTP2: Bool {
        guard let native = unsafe native else { return false }
        return unsafe ctls_is_http2(native) != 0
    }

    public var wasResumed: Bool {
        guard let native = unsafe native else { return false }
        return unsafe ctls_was_resumed(native) != 0
    }

    /// The number of the failure's cause, in the order of Telemetry's `HandshakeFailure`.
    public var failureCause: UInt8 {
        guard let native = unsafe native else { return 0 }
        return UInt8(unsafe ctls_failure_cause(native))
    }

    /// OpenSSL's words for the failure.
    public var failureText: String {
        guard let native = unsafe native else { return "the connection is closed" }
        return unsafe String(cString: ctls_failure_text(native))
    }

    /// Appends the peer's certificate as an element of `x-forwarded-client-cert`; nothing when it
    /// showed none. At most 8 KiB.
    public func appendIdentity(to out: inout ByteBuffer) {
        guard let native = unsafe native else { return }
        _ = unsafe out.write(atMost: 8_192) { memory in
            unsafe ctls_identity(
                native, memory.baseAddress?.assumingMemoryBound(to: CChar.self), memory.count)
        }
    }

    /// Appends the name that the client has asked for (SNI, RFC 6066 §3); nothing without one. At
    /// most 255 bytes.
    public func appendServerName(to out: inout ByteBuffer) {
        guard let native = unsafe native else { return }
        _ = unsafe out.write(atMost: 256) { memory in
            unsafe ctls_server_name(
                native, memory.baseAddress?.assumingMemoryBound(to: CChar.self), memory.count)
        }
    }

    /// The ticket that the server has given since the last call; `nil`: none.
    public mutating func takeResumption() -> TLSResumption? {
        guard let native = unsafe native, let taken = unsafe ctls_take_resumption(native) else {
            return nil
        }
        return unsafe TLSResumption(taken)
    }
}
