/// A format of the access log as it was understood: text with operators, or keys with such texts.
public struct LogTemplate: Sendable, Equatable {
    /// One operator with what the format says of it.
    public struct Use: Sendable, Equatable {
        public var name: LogOperator
        /// Lower-case names of a field, and of the one that stands in for it; the word or the name
        /// of other operators.
        public var first = ""
        public var second = ""
        /// The pieces of `START_TIME`'s own format; empty for the usual one.
        public var time: [TimePiece] = []
        /// The most bytes of the value; 0: all of them.
        public var lengthMax = 0

        public init(_ name: LogOperator) { self.name = name }
    }

    public enum Piece: Sendable, Equatable {
        case text(String)
        case value(Use)
    }

    public struct Member: Sendable, Equatable {
        public var key: String
        public var value: Shape

        public init(key: String, value: Shape) {
            self.key = key
            self.value = value
        }
    }

    public indirect enum Shape: Sendable, Equatable {
        /// A text, and the same as the configuration writes it.
        case text([Piece], source: String)
        /// A JSON object; the keys are in order.
        case object([Member])
    }

    public var shape: Shape

    public init(_ shape: Shape) { self.shape = shape }

    // MARK: Ready-made formats

    /// Envoy's default format (docs/root/configuration/observability/access_log/usage.rst).
    public static let envoyText =
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "
        + "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
        + "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" "
        + "\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" "
        + "\"%UPSTREAM_HOST%\""

    /// Istio's default format (pilot/pkg/model/telemetry_logging.go).
    public static let istioText =
        "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "
        + "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "
        + "%CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" "
        + "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
        + "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" "
        + "\"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% "
        + "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
        + "%REQUESTED_SERVER_NAME% %ROUTE_NAME%"

    /// The keys of Istio's JSON format (pilot/pkg/model/telemetry_logging.go).
    public static let istioKeys: [(key: String, value: String)] = [
        ("authority", "%REQ(:AUTHORITY)%"), ("bytes_received", "%BYTES_RECEIVED%"),
        ("bytes_sent", "%BYTES_SENT%"),
        ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
        ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
        ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
        ("duration", "%DURATION%"), ("method", "%REQ(:METHOD)%"),
        ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"), ("protocol", "%PROTOCOL%"),
        ("request_id", "%REQ(X-REQUEST-ID)%"),
        ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
        ("response_code", "%RESPONSE_CODE%"),
        ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
        ("response_flags", "%RESPONSE_FLAGS%"), ("route_name", "%ROUTE_NAME%"),
        ("start_time", "%START_TIME%"), ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
        ("upstream_host", "%UPSTREAM_HOST%"),
        ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
        ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
        ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
        ("user_agent", "%REQ(USER-AGENT)%"), ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ]

    public static let envoy = made(of: envoyText)
    public static let istio = made(of: istioText)
    public static let istioJSON = LogTemplate(
        .object(istioKeys.map { Member(key: $0.key, value: made(of: $0.value).shape) }))

    private static func made(of text: String) -> LogTemplate {
        guard case .success(let pieces) = LogTemplateReader.read(text) else {
            preconditionFailure("the formats that come with the program are well-formed")
        }
        return LogTemplate(.text(pieces, source: text))
    }

    /// How many operators there are.
    public var operatorCount: Int {
        func count(_ shape: Shape) -> Int {
            switch shape {
            case .object(let members): return members.reduce(0) { $0 + count($1.value) }
            case .text(let pieces, _):
                return pieces.count {
                    if case .value = $0 { return true }
                    return false
                }
            }
        }
        return count(shape)
    }

    /// Names of the variables of the process that the format shows.
    public var environment: Set<String> {
        var names: Set<String> = []
        func look(_ shape: Shape) {
            switch shape {
            case .object(let members): for member in members { look(member.value) }
            case .text(let pieces, _):
                for case .value(let use) in pieces where use.name == .environment {
                    names.insert(use.first)
                }
            }
        }
        look(shape)
        return names
    }
}

/// A piece of `START_TIME`'s own format.
public enum TimePiece: Sendable, Equatable {
    case text(String)
    /// A letter of strftime.
    case letter(UInt8)
    /// So many digits of the second's fraction, 1...9.
    case fraction(UInt8)

    /// Letters of strftime that are understood.
    static let letters = "YmdHMSsFTDRybBaAjeIpZzu"
}
