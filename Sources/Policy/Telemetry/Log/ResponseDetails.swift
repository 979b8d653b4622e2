import Base

/// The word of Envoy's `%RESPONSE_CODE_DETAILS%` for a request
/// (docs/root/configuration/http/http_conn_man/response_code_details.rst): who set the status, and
/// why. Without white space, in which Envoy's own differ from version to version too; what Sluice
/// knows beyond Envoy's word stands behind a bar, within the braces.
enum ResponseDetails {
    static func append(
        _ s: borrowing ExchangeSummary, violation: StaticString, to out: inout ByteBuffer
    ) {
        switch s.failure.reason {
        case .none, .unexpectedStatus, .notServing: out.append(whole(s))
        case .refused, .connectTimeout, .unreachable, .noSocket, .forbidden, .connectBroken,
            .handshake:
            reset("remote_connection_failure", s, violation, to: &out)
        case .exhausted, .requestLimit, .pendingLimit:
            reset("overflow", s, violation, to: &out)
        case .closed, .reset, .streamReset, .streamRefused:
            reset("connection_termination", s, violation, to: &out)
        case .malformed, .malformedFrames, .switchedUnasked, .tooManyInterims, .noHTTP1,
            .noWebSockets:
            reset("protocol_error", s, violation, to: &out)
        case .firstByteTimeout, .requestTimeout, .endpointStalled: out.append("response_timeout")
        case .attemptTimeout: out.append("upstream_per_try_timeout")
        case .idleTimeout, .clientSlow, .clientStalled: out.append("stream_idle_timeout")
        case .clientLeft: out.append("downstream_remote_disconnect")
        case .clientViolated: out.append("http2.codec_error")
        case .rejected: out.append(rejection(s, violation))
        case .noRoute: out.append("route_not_found")
        case .noEndpoint, .noAddress: out.append("no_healthy_upstream")
        case .overload: out.append("overload")
        case .rateLimit: out.append("local_rate_limited")
        case .fault: out.append("fault_filter_abort")
        case .drain: out.append("process_drained")
        }
    }

    /// Nothing failed: the endpoint has answered, or the route by itself.
    private static func whole(_ s: borrowing ExchangeSummary) -> StaticString {
        s.firstByte.nanoseconds >= 0 ? "via_upstream" : "direct_response"
    }

    private static func reset(
        _ word: StaticString, _ s: borrowing ExchangeSummary, _ violation: StaticString,
        to out: inout ByteBuffer
    ) {
        out.append(
            s.firstByte.nanoseconds < 0
                ? "upstream_reset_before_response_started{"
                : "upstream_reset_after_response_started{")
        out.append(word)
        out.append(UInt8(ascii: "|"))
        let start = out.writerIndex
        s.failure.append(violation: violation, to: &out)
        out.replace(0x20, with: UInt8(ascii: "_"), from: start)
        out.append(UInt8(ascii: "}"))
    }

    private static func rejection(
        _ s: borrowing ExchangeSummary, _ violation: StaticString
    ) -> StaticString {
        switch s.status {
        case 408: return "request_header_timeout"
        case 413: return "request_payload_too_large"
        case 431: return "request_headers_too_large"
        case 405: return "method_not_allowed"
        default: break
        }
        if ASCII.equal(violation, "missing-host") { return "missing_host_header" }
        if ASCII.equal(violation, "bad-path") { return "path_normalization_failed" }
        return s.protocol == .http2 ? "http2.codec_error" : "http1.codec_error"
    }
}
