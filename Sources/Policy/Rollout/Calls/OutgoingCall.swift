import Base

/// One thing that a rollout asks of the world outside: a request to a URL, or a program. A value:
/// whoever decides makes it, and the errand thread performs it.
public struct OutgoingCall: Sendable, Equatable {
    public enum Work: Sendable, Equatable {
        case request(CallRequest)
        case program(CallProgram)
    }

    public var work: Work
    /// The time from the moment at which the call was handed over to its outcome, waits for other
    /// calls included.
    public var limit = Duration.seconds(10)

    public init(_ work: Work, limit: Duration = .seconds(10)) {
        self.work = work
        self.limit = limit
    }

    /// The party that is asked, for messages and for sharing out the places: a URL's origin, or a
    /// program's name.
    public var party: String {
        switch work {
        case .request(let request): return request.url.origin
        case .program(let program): return program.name
        }
    }
}

/// A request of HTTP/1.1. The fields Host, Connection, Content-Length and User-Agent are made by
/// whoever sends it.
public struct CallRequest: Sendable, Equatable {
    /// A body makes the request a POST.
    public enum Content: Sendable, Equatable {
        case none
        case body([UInt8], type: String)
    }

    public var url: CallURL
    public var content = Content.none
    public var settings = CallSettings()
    /// The file with the key that signs the body (`HookSignature`); `nil`: unsigned.
    public var signingKeyFile: String?
    /// The value of the Host field; `nil`: the URL's host and port.
    public var host: String?
    /// The plan whose versions are probed, told in `x-sluice-synthetic`; `nil` for other calls.
    public var probedFor: String?

    public init(url: CallURL) { self.url = url }
}

/// A program of the directory that `--allow-commands` names.
public struct CallProgram: Sendable, Equatable {
    /// The file's name in the directory.
    public var name: String
    public var arguments: [String] = []
    /// Variables besides PATH; their names begin with `SLUICE_ROLLOUT_`.
    public var environment: [RolloutPlan.Label] = []

    public init(name: String) { self.name = name }
}

/// How a URL is asked: header fields, and TLS towards https. The same for metrics and webhooks.
public struct CallSettings: Sendable, Equatable {
    public struct Header: Sendable, Equatable {
        public enum Value: Sendable, Equatable {
            case text(String)
            /// The file's contents without blanks and line breaks at its ends, read at each call,
            /// so that a token may be renewed in place.
            case file(String)
        }

        public var name: String
        public var value: Value
        public init(name: String, value: Value) {
            self.name = name
            self.value = value
        }
    }

    public var headers: [Header] = []
    /// A file of header lines, `name: value` each, read at each call.
    public var headersFile: String?
    /// The name that TLS asks for and verifies; `nil`: the URL's host.
    public var serverName: String?
    /// Whether the server's certificate is verified. Without, whoever is on the way may answer.
    public var verifies = true
    /// A PEM file with the authorities to trust; `nil`: those that the system trusts.
    public var authorityFile: String?
    /// PEM files with which Sluice shows who it is; both or none.
    public var certificateFile: String?
    public var keyFile: String?

    public init() {}

    public static let headersMax = 32
    public static let headerBytesMax = 8_192

    /// Why a header cannot be sent; `nil` when it can. Fields that frame the message or name its
    /// receiver are Sluice's own.
    public static func problem(header name: String) -> CallProblem? {
        let bytes = Array(name.utf8)
        guard !bytes.isEmpty, bytes.count <= 128, ASCII.tokenLength(bytes.span) == bytes.count
        else { return CallProblem("\"\(name.prefix(80))\" is no name of a header field") }
        let own = [
            "host", "connection", "content-length", "content-type", "transfer-encoding", "te",
            "trailer", "upgrade", "expect", "keep-alive", "proxy-connection", "accept-encoding",
        ]
        let lower = name.lowercased()
        guard !own.contains(lower), !lower.hasPrefix("x-sluice-") else {
            return CallProblem("the header field \"\(lower)\" is set by Sluice itself")
        }
        return nil
    }

    /// Reads a file of header lines; empty lines and those that begin with # say nothing.
    public static func lines(_ bytes: [UInt8]) throws(CallProblem) -> [(name: String, [UInt8])] {
        func trimmed(_ part: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
            func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d }
            let rest = part.drop(while: isBlank)
            guard let last = rest.lastIndex(where: { !isBlank($0) }) else { return [] }
            return rest[...last]
        }
        var headers: [(String, [UInt8])] = []
        for line in bytes.split(separator: 0x0a).map(trimmed) {
            if line.isEmpty || line.first == UInt8(ascii: "#") { continue }
            guard let colon = line.firstIndex(of: 0x3a) else {
                throw CallProblem("a line has no colon; each line is \"name: value\"")
            }
            let name = String(decoding: trimmed(line[..<colon]), as: UTF8.self)
            if let problem = problem(header: name) { throw problem }
            let value = Array(trimmed(line[(colon + 1)...]))
            guard isHeaderValue(value) else {
                throw CallProblem(
                    "the value of \(name) has a control character, or more than "
                        + "\(headerBytesMax) bytes")
            }
            headers.append((name, value))
            guard headers.count <= headersMax else {
                throw CallProblem("there are more than \(headersMax) headers")
            }
        }
        return headers
    }

    /// Whether bytes may stand in a header field (RFC 9110 §5.5), and are not too many.
    public static func isHeaderValue(_ bytes: [UInt8]) -> Bool {
        bytes.count <= headerBytesMax
            && bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }
    }
}
