import Base
import HTTPSemantics
import Routing
import Telemetry

/// The fate of a request: decided in one place (`Decisions`), performed in another (`Exchanges`).
enum Decision {
    /// The request goes on to the version that was chosen, after a delay that a fault wants; zero
    /// for none.
    case forward(after: Duration)
    /// The route answers by itself: a redirect or a fixed response.
    case direct
    /// Sluice answers.
    case answer(LocalAnswer)
    /// A fault answers, after a delay that it wants.
    case abort(Faults.Abort, after: Duration)
}

/// An answer that Sluice makes itself, as a value: `Exchanges.answer` performs it.
struct LocalAnswer {
    /// The part of an answer that says more than its status.
    enum Content {
        /// The reason phrase of the status.
        case reason
        /// A sentence, where the status does not say enough.
        case text(StaticString)
        /// How long the client must wait: `Retry-After`, and the fields of
        /// draft-ietf-httpapi-ratelimit-headers.
        case rateLimit(RateLimitPolicy, RateLimit.Verdict)
        /// The methods that this recipient can do (RFC 9110 §9.3.7), in HTTP even to a call.
        case methods
        /// The request as it came (RFC 9110 §9.3.8); its head lies in the scratch.
        case trace(head: ByteRange)
    }

    var status: UInt16
    var flags = ResponseFlags()
    var cause = ErrorCause.none
    /// Why there is no answer of an endpoint.
    var failure = Failure.none
    /// The status that a call is told, 0...16; -1: the one that the HTTP status means.
    var grpcStatus: Int16 = -1
    var content = Content.reason
    /// The cause under which the request counts as refused, if it does.
    var refusal: UInt8?
    /// The answer is the last of its connection.
    var endsConnection = false

    /// Whether the answer is one of HTTP even where the request is a call of gRPC: it is about the
    /// request as HTTP.
    var isAlwaysHTTP: Bool {
        switch content {
        case .methods, .trace: return true
        case .reason, .text, .rateLimit: return false
        }
    }

    /// The line of text that is the content of most answers.
    var text: StaticString {
        if case .text(let text) = content { return text }
        return Status.reason(status)
    }

    /// The request breaks a rule of HTTP, or asks for what its route does not allow.
    static func refusal(_ status: UInt16, _ cause: UInt8) -> LocalAnswer {
        LocalAnswer(
            status: status, flags: .downstreamProtocolError,
            failure: Failure(.rejected, Int(cause)), refusal: cause, endsConnection: true)
    }
}
