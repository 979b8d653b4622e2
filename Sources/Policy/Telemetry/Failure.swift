import Base

/// The reason why something that was asked of the network, or by it, ended in another way than by
/// its answer. Requests, health checks and handshakes are told about in these words, in the access
/// log, in the process log and on admin pages; no other place makes words for them.
///
/// Eight bytes, because each request's summary has one.
public struct Failure: BitwiseCopyable, Sendable, Hashable {
    public enum Reason: UInt8, Sendable, BitwiseCopyable, CaseIterable {
        /// Nothing failed.
        case none

        // The connection to an endpoint was not made.
        /// Nobody listens at the address.
        case refused
        case connectTimeout
        /// No way leads to the address.
        case unreachable
        /// The path of a unix socket names nothing.
        case noSocket
        /// This process may not connect there.
        case forbidden
        /// The connection broke before it was made.
        case connectBroken
        /// TLS was not agreed on; the number is a `HandshakeFailure`.
        case handshake
        /// Descriptors or memory have run out here.
        case exhausted

        // The connection to an endpoint ended too early.
        /// The endpoint ended the connection; the number is that of bytes that had come.
        case closed
        /// The endpoint reset the connection; the number is that of bytes that had come.
        case reset
        /// The endpoint reset the stream; the number is HTTP/2's error code (RFC 9113 §7).
        case streamReset
        /// The endpoint has not acted on the request (RFC 9113 §8.7).
        case streamRefused
        /// The endpoint's bytes are no answer; the number is a violation of HTTP/1.1.
        case malformed
        /// The endpoint's frames are none of HTTP/2.
        case malformedFrames
        /// The endpoint changed the protocol without being asked.
        case switchedUnasked
        /// More interim answers came than one request may have.
        case tooManyInterims
        /// The endpoint takes the request by HTTP/1.1 alone, and has no connection of that.
        case noHTTP1
        /// The endpoint speaks HTTP/2 and offers no WebSockets there.
        case noWebSockets

        // A time limit of Sluice's passed.
        case firstByteTimeout
        case requestTimeout
        case attemptTimeout
        case idleTimeout
        /// The endpoint did not take the request's body in time.
        case endpointStalled

        // The client's doing.
        case clientLeft
        /// The client did not take its answer in time.
        case clientStalled
        /// The client did not send its body in time.
        case clientSlow
        /// The client lost all of its streams by breaking HTTP/2.
        case clientViolated
        /// The request is none, or asks for what its route does not allow; the number is a cause of
        /// refusals.
        case rejected

        // Sluice's own doing.
        case noRoute
        /// No endpoint of the version may be used.
        case noEndpoint
        /// The version has no endpoint: its name has not been resolved to any address.
        case noAddress
        case requestLimit
        case pendingLimit
        case overload
        case rateLimit
        case fault
        case drain

        // The answer to a health check.
        /// The status is none of a well endpoint's; it is the number.
        case unexpectedStatus
        /// A gRPC health check was not answered with SERVING.
        case notServing
    }

    public var reason = Reason.none
    /// The count or the code that belongs to the reason; 0 where none does.
    public var number: UInt32 = 0

    public init(_ reason: Reason, _ number: Int = 0) {
        self.reason = reason
        self.number = UInt32(clamping: number)
    }

    public static var none: Failure { Failure(.none) }

    /// The failure as one word, for those who keep it and need not know what it is.
    public var packed: UInt64 { UInt64(reason.rawValue) << 32 | UInt64(number) }

    public init(packed: UInt64) {
        reason = Reason(rawValue: UInt8(truncatingIfNeeded: packed >> 32)) ?? .none
        number = UInt32(truncatingIfNeeded: packed)
    }

    public static func handshake(_ failure: HandshakeFailure) -> Failure {
        Failure(.handshake, Int(failure.rawValue))
    }

    /// Whether nobody listens at the endpoint's address.
    public var isRefusal: Bool { reason == .refused || reason == .noSocket }

    /// The reason why TLS was not agreed on; `nil` for every other failure.
    public var handshake: HandshakeFailure? {
        reason == .handshake ? HandshakeFailure(rawValue: UInt8(truncatingIfNeeded: number)) : nil
    }

    // MARK: Words

    /// Appends the failure in words: letters, digits, spaces and "-" alone. Nothing for `none`.
    ///
    /// - Parameter violation: the name of the violation or the cause that `number` is, for
    ///   `malformed` and `rejected`.
    public func append(violation: StaticString, to out: inout ByteBuffer) {
        out.append(reason.text)
        switch reason {
        case .handshake: out.append((handshake ?? .other).text)
        case .closed, .reset:
            out.appendDecimal(UInt64(number))
            out.append(number == 1 ? " byte" : " bytes")
        case .streamReset: out.append(Failure.streamCode(number))
        case .malformed, .rejected: out.append(violation)
        case .unexpectedStatus: out.appendDecimal(UInt64(number))
        default: break
        }
    }

    /// The failure in words, for cold places.
    public func text(violation: StaticString = "") -> String {
        var out = ByteBuffer()
        append(violation: violation, to: &out)
        return ASCII.string(out.readable)
    }

    /// An error code of HTTP/2 (RFC 9113 §7).
    private static func streamCode(_ code: UInt32) -> StaticString {
        switch code {
        case 0: return "NO-ERROR"
        case 1: return "PROTOCOL-ERROR"
        case 2: return "INTERNAL-ERROR"
        case 3: return "FLOW-CONTROL-ERROR"
        case 4: return "SETTINGS-TIMEOUT"
        case 5: return "STREAM-CLOSED"
        case 6: return "FRAME-SIZE-ERROR"
        case 7: return "REFUSED-STREAM"
        case 8: return "CANCEL"
        case 9: return "COMPRESSION-ERROR"
        case 10: return "CONNECT-ERROR"
        case 11: return "ENHANCE-YOUR-CALM"
        case 12: return "INADEQUATE-SECURITY"
        case 13: return "HTTP-1-1-REQUIRED"
        default: return "an unknown code"
        }
    }
}

extension Failure.Reason {
    /// The words of the reason; a number or a name may stand behind them.
    public var text: StaticString {
        switch self {
        case .none: return ""
        case .refused: return "refused"
        case .connectTimeout: return "connect timed out"
        case .unreachable: return "unreachable"
        case .noSocket: return "no such socket"
        case .forbidden: return "not permitted"
        case .connectBroken: return "broken while connecting"
        case .handshake: return "TLS "
        case .exhausted: return "out of descriptors or memory"
        case .closed: return "closed after "
        case .reset: return "reset after "
        case .streamReset: return "stream reset with "
        case .streamRefused: return "stream refused"
        case .malformed: return "malformed answer "
        case .malformedFrames: return "malformed frames"
        case .switchedUnasked: return "protocol changed unasked"
        case .tooManyInterims: return "too many interim answers"
        case .noHTTP1: return "no connection of HTTP-1"
        case .noWebSockets: return "no WebSockets over HTTP-2"
        case .firstByteTimeout: return "first byte timed out"
        case .requestTimeout: return "request timed out"
        case .attemptTimeout: return "attempt timed out"
        case .idleTimeout: return "idle timed out"
        case .endpointStalled: return "endpoint took no more of the request"
        case .clientLeft: return "client left"
        case .clientStalled: return "client took no more of the answer"
        case .clientSlow: return "client sent no more of the request"
        case .clientViolated: return "client broke HTTP-2"
        case .rejected: return ""
        case .noRoute: return "no route"
        case .noEndpoint: return "no endpoint"
        case .noAddress: return "no address of the name"
        case .requestLimit: return "limit of requests"
        case .pendingLimit: return "limit of waiting requests"
        case .overload: return "short of memory"
        case .rateLimit: return "rate limit"
        case .fault: return "fault on purpose"
        case .drain: return "process ended"
        case .unexpectedStatus: return "status "
        case .notServing: return "not serving"
        }
    }
}

extension HandshakeFailure {
    /// The failure in words, behind the word TLS.
    public var text: StaticString {
        switch self {
        case .other: return "handshake failed"
        case .noCertificate: return "without a certificate"
        case .unknownAuthority: return "certificate of an unknown authority"
        case .expired: return "certificate expired"
        case .wrongName: return "certificate for another name"
        case .refusedByPeer: return "certificate refused by the peer"
        case .noneInCommon: return "without a version or cipher in common"
        case .notTLS: return "not spoken by the peer"
        case .closed: return "handshake closed"
        case .timeout: return "handshake timed out"
        }
    }
}
