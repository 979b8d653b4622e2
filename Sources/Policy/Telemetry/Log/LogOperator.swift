/// The operators that a format of the access log may have, in Envoy's words
/// (docs/root/configuration/advanced/substitution_formatter.rst), and four of our own.
///
/// One table: the reader of formats, messages, and docs/access-log.md follow it.
public enum LogOperator: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case startTime, requestField, responseField, trailer
    case `protocol`, upstreamProtocol
    case responseCode, responseFlags, responseFlagsLong, responseCodeDetails, terminationDetails
    case bytesReceived, bytesSent
    case duration, requestDuration, responseDuration, responseTxDuration
    case upstreamHost, upstreamCluster, upstreamClusterRaw, upstreamLocalAddress
    case attemptCount, transportFailure, hostsAttempted
    case remoteAddress, remoteHost, directRemoteAddress, directRemoteHost
    case localAddress, localHost, localPort
    case serverName, tlsVersion, peerSubject, peerURI
    case routeName, grpcStatus, grpcStatusNumber
    case traceID, spanID, streamID
    case path, queryParameter
    case hostName, environment, connectionID
    case service, version, assign, draw

    /// The thing that stands in parentheses behind an operator's name.
    public enum Argument: Sendable, Equatable {
        case none
        /// A field's name, and perhaps another behind `?`.
        case fields
        /// A time's format, which may be left out.
        case time
        /// One of some words, which may be left out.
        case words([String])
        /// `PATH`'s two words, which may be left out.
        case path
        /// Any text.
        case name
    }

    /// The type of a value that stands alone in a JSON line.
    public enum Kind: String, Sendable { case string, number }

    /// The facts about one operator.
    public struct Entry: Sendable {
        /// Names as a format may write them, the first in use here.
        public var names: [String]
        public var argument: Argument
        /// Whether `:Z` may stand behind it, which cuts the value to Z bytes.
        public var takesLength: Bool
        public var kind: Kind
        /// The meaning, for the table of the documentation.
        public var meaning: String

        init(
            _ name: String, _ argument: Argument, length: Bool = false,
            kind: Kind = .string, also names: [String] = [], _ meaning: String
        ) {
            self.names = [name] + names
            self.argument = argument
            takesLength = length
            self.kind = kind
            self.meaning = meaning
        }

        init(_ name: String, kind: Kind = .string, _ meaning: String) {
            self.init(name, .none, kind: kind, meaning)
        }
    }

    public var entry: Entry { LogOperator.entries[Int(rawValue)] }

    private static let entries: [Entry] = allCases.map { $0.makeEntry() }

    /// The operator of a name.
    public init?(name: String) {
        guard let found = LogOperator.allCases.first(where: { $0.entry.names.contains(name) })
        else { return nil }
        self = found
    }

    private func makeEntry() -> Entry {
        requestEntry() ?? timeEntry() ?? endpointEntry() ?? clientEntry()
    }

    /// Operators about the request and its answer.
    private func requestEntry() -> Entry? {
        switch self {
        case .requestField:
            return Entry(
                "REQ", .fields, length: true, also: ["REQUEST_HEADER"],
                "field X of the request, else Y; `:METHOD`, `:PATH`, `:AUTHORITY`, `:SCHEME` too")
        case .responseField:
            return Entry(
                "RESP", .fields, length: true, also: ["RESPONSE_HEADER"],
                "field X of the answer, else Y; `X-ENVOY-UPSTREAM-SERVICE-TIME` is the time to "
                    + "the endpoint's first byte in milliseconds, though no such field is sent")
        case .trailer:
            return Entry(
                "TRAILER", .fields, length: true, also: ["RESPONSE_TRAILER"],
                "field X of the answer's trailers, else Y")
        case .protocol:
            return Entry(
                "PROTOCOL", "what the client speaks: `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`")
        case .responseCode:
            return Entry(
                "RESPONSE_CODE", kind: .number,
                "the status that was sent; 0 when the client left before")
        case .responseFlags:
            return Entry("RESPONSE_FLAGS", "the flags' letters, with commas between")
        case .responseFlagsLong:
            return Entry("RESPONSE_FLAGS_LONG", "the flags' long names")
        case .responseCodeDetails:
            return Entry(
                "RESPONSE_CODE_DETAILS", "who set the status, and why; without spaces")
        case .terminationDetails:
            return Entry(
                "CONNECTION_TERMINATION_DETAILS",
                "why the client's connection was ended for a reason below HTTP")
        case .grpcStatus:
            return Entry(
                "GRPC_STATUS", .words(["CAMEL_STRING", "SNAKE_STRING", "NUMBER"]),
                "the call's status: `Unavailable`, `UNAVAILABLE` or `14`; nothing for what is no "
                    + "call")
        case .grpcStatusNumber:
            return Entry("GRPC_STATUS_NUMBER", kind: .number, "the call's status")
        case .path:
            return Entry(
                "PATH", .path, length: true,
                "X is `WQ`, with the query, or `NQ`, without; Y is `ORIG`, the client's where the "
                    + "route rewrites it, `PATH`, the endpoint's, or `ORIG_OR_PATH`, the client's")
        case .queryParameter:
            return Entry(
                "QUERY_PARAM", .name, length: true, "the parameter X of the query, as it came")
        default: return nil
        }
    }

    /// Operators about times and sizes.
    private func timeEntry() -> Entry? {
        switch self {
        case .startTime:
            return Entry(
                "START_TIME", .time,
                "when the head was read, UTC, `2026-11-28T13:55:56.709Z`; or by a format of "
                    + "strftime, with `%f` for microseconds and `%1f` to `%9f` for so many digits")
        case .bytesReceived:
            return Entry(
                "BYTES_RECEIVED", kind: .number, "bytes of the request's body")
        case .bytesSent:
            return Entry("BYTES_SENT", kind: .number, "bytes of the answer's body")
        case .duration:
            return Entry(
                "DURATION", kind: .number,
                "milliseconds from the head to the last byte handed to the client")
        case .requestDuration:
            return Entry(
                "REQUEST_DURATION", kind: .number,
                "milliseconds from the head to the last byte of the request")
        case .responseDuration:
            return Entry(
                "RESPONSE_DURATION", kind: .number,
                "milliseconds from the head to the endpoint's first byte")
        case .responseTxDuration:
            return Entry(
                "RESPONSE_TX_DURATION", kind: .number,
                "milliseconds from the endpoint's first byte to the last byte handed over")
        default: return nil
        }
    }

    /// Operators about the endpoint and the way to it.
    private func endpointEntry() -> Entry? {
        switch self {
        case .upstreamProtocol:
            return Entry(
                "UPSTREAM_PROTOCOL", "what the endpoint was spoken to: `HTTP/1.1` or `HTTP/2`")
        case .upstreamHost:
            return Entry(
                "UPSTREAM_HOST", "address and port of the last endpoint that was tried")
        case .upstreamCluster:
            return Entry("UPSTREAM_CLUSTER", "`service/version`")
        case .upstreamClusterRaw:
            return Entry("UPSTREAM_CLUSTER_RAW", "as `UPSTREAM_CLUSTER`")
        case .upstreamLocalAddress:
            return Entry(
                "UPSTREAM_LOCAL_ADDRESS", "this side's address of the connection to the endpoint")
        case .attemptCount:
            return Entry(
                "UPSTREAM_REQUEST_ATTEMPT_COUNT", kind: .number, "attempts at endpoints")
        case .transportFailure:
            return Entry(
                "UPSTREAM_TRANSPORT_FAILURE_REASON", "why TLS to the endpoint was not agreed on")
        case .hostsAttempted:
            return Entry(
                "UPSTREAM_HOSTS_ATTEMPTED", "all endpoints that were tried, with commas between")
        case .routeName: return Entry("ROUTE_NAME", "the route")
        case .service: return Entry("SLUICE_SERVICE", "the service")
        case .version: return Entry("SLUICE_VERSION", "the version")
        case .assign:
            return Entry(
                "SLUICE_ASSIGN",
                "how the version was chosen: `weighted`, `sticky`, `header`, `fallback` or `none`")
        case .draw:
            return Entry(
                "SLUICE_DRAW", kind: .number, "the number of the draw that chose the version")
        default: return nil
        }
    }

    /// Operators about the client, its connection and this process.
    private func clientEntry() -> Entry {
        switch self {
        case .remoteAddress:
            return Entry(
                "DOWNSTREAM_REMOTE_ADDRESS",
                "the client's address and port; who trusted hops say it is, with port 0")
        case .remoteHost:
            return Entry(
                "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "the client's address")
        case .directRemoteAddress:
            return Entry(
                "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "address and port that the connection is from")
        case .directRemoteHost:
            return Entry(
                "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
                "the address that the connection is from")
        case .localAddress:
            return Entry(
                "DOWNSTREAM_LOCAL_ADDRESS", "address and port that the client connected to")
        case .localHost:
            return Entry(
                "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "the address that it connected to")
        case .localPort:
            return Entry(
                "DOWNSTREAM_LOCAL_PORT", kind: .number, "the port that it connected to")
        case .serverName:
            return Entry(
                "REQUESTED_SERVER_NAME", "the name that the client asked for in TLS (SNI)")
        case .tlsVersion:
            return Entry("DOWNSTREAM_TLS_VERSION", "`TLSv1.2` or `TLSv1.3`")
        case .peerSubject:
            return Entry(
                "DOWNSTREAM_PEER_SUBJECT", "the subject of the client's certificate")
        case .peerURI:
            return Entry(
                "DOWNSTREAM_PEER_URI_SAN", "the URIs of the client's certificate")
        case .traceID:
            return Entry("TRACE_ID", "32 hexadecimal digits")
        case .spanID:
            return Entry(
                "SPAN_ID", "16 hexadecimal digits of the span that Sluice made")
        case .streamID: return Entry("STREAM_ID", "the request's `x-request-id`")
        case .hostName: return Entry("HOSTNAME", "the machine's name")
        case .environment:
            return Entry(
                "ENVIRONMENT", .name, length: true,
                "a variable of the process, as it was when the file was read")
        case .connectionID:
            return Entry(
                "CONNECTION_ID", kind: .number, "a number of the client's connection")
        default: preconditionFailure("every operator has an entry")
        }
    }
}

/// Operators of Envoy that are not understood here, each with what to write instead.
enum LogOperatorAdvice {
    /// Operators that have no meaning here.
    static let refused: [String: String] = [
        "DYNAMIC_METADATA": metadata, "CLUSTER_METADATA": metadata, "UPSTREAM_METADATA": metadata,
        "METADATA": metadata, "FILTER_STATE": filters, "UPSTREAM_FILTER_STATE": filters,
        "CEL": "write operators beside text, or a mapping of keys to operators",
        "TYPED_CEL": "write operators beside text, or a mapping of keys to operators",
        "VIRTUAL_CLUSTER_NAME": "write %ROUTE_NAME%",
        "FILTER_CHAIN_NAME": "write %ROUTE_NAME%",
        "LOCAL_REPLY_BODY": "write %RESPONSE_CODE_DETAILS%, which says who answered and why",
        "ACCESS_LOG_TYPE": "there is one line a request, at its end; take it out",
        "CUSTOM_FLAGS": "write %RESPONSE_FLAGS%",
        "BYTES_RETRANSMITTED": "TCP's figures are not read; take it out",
        "PACKETS_RETRANSMITTED": "TCP's figures are not read; take it out",
        "ROUNDTRIP_DURATION": "write %DURATION%",
        "REQ_WITHOUT_QUERY": "write %PATH(NQ)%",
    ]

    /// Operators that would have a meaning here and are not supported.
    static let later: [String: String] = [
        "COMMON_DURATION":
            "write %DURATION%, %REQUEST_DURATION%, %RESPONSE_DURATION% or %RESPONSE_TX_DURATION%",
        "START_TIME_LOCAL": "write %START_TIME%, which is UTC",
        "EMIT_TIME": "write %START_TIME% and %DURATION%",
        "REQUEST_HEADERS_BYTES": "write %BYTES_RECEIVED%, the bytes of the body",
        "RESPONSE_HEADERS_BYTES": "write %BYTES_SENT%, the bytes of the body",
        "UPSTREAM_WIRE_BYTES_SENT": "write %BYTES_RECEIVED%, the bytes of the body",
        "UPSTREAM_WIRE_BYTES_RECEIVED": "write %BYTES_SENT%, the bytes of the body",
        "DOWNSTREAM_WIRE_BYTES_SENT": "write %BYTES_SENT%, the bytes of the body",
        "DOWNSTREAM_WIRE_BYTES_RECEIVED": "write %BYTES_RECEIVED%, the bytes of the body",
        "QUERY_PARAMS": "write %QUERY_PARAM(NAME)% for each",
        "DOWNSTREAM_PEER_CERT": "write %DOWNSTREAM_PEER_SUBJECT%",
        "DOWNSTREAM_TLS_CIPHER": "write %DOWNSTREAM_TLS_VERSION%",
        "UPSTREAM_TLS_VERSION": "take it out",
        "UNIQUE_ID": "write %STREAM_ID%, the x-request-id",
        "COALESCE": "%REQ(X?Y)% takes the first of two fields",
    ]

    private static let metadata =
        "there is no metadata; write %SLUICE_SERVICE%, %SLUICE_VERSION% or %ROUTE_NAME%"
    private static let filters =
        "filters keep no state; write a field with %REQ(NAME)% or %RESP(NAME)%"
}
