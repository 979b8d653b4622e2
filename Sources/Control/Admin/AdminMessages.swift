import Configuration
import JSON
import Telemetry

/// A request to the admin or metrics endpoint, read whole.
public struct AdminRequest {
    public var method: String
    public var path: String
    public var query: String
    /// Names in lower case.
    public var fields: [(name: String, value: String)]
    public var body: [UInt8]
    /// Came to an admin address, not to a metrics one.
    public var isAdmin: Bool
    /// Came to an address that only this machine reaches.
    public var isLoopback: Bool
    /// Came by a unix socket, which only its owner can open.
    public var isUnix: Bool

    public init(
        method: String, path: String, query: String, fields: [(name: String, value: String)],
        body: [UInt8], isAdmin: Bool, isLoopback: Bool, isUnix: Bool = false
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.fields = fields
        self.body = body
        self.isAdmin = isAdmin
        self.isLoopback = isLoopback
        self.isUnix = isUnix
    }

    func field(_ name: String) -> String? {
        fields.first { $0.name == name }?.value
    }

    /// The value of a field that is a list, of all its lines (RFC 9110 §5.3).
    func list(_ name: String) -> String {
        fields.filter { $0.name == name }.map(\.value).joined(separator: ",")
    }
}

/// The bytes of an answer, shared by all who are sent them.
public final class AdminContent: Sendable {
    public let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }
}

public struct AdminResponse: Sendable {
    public var status: UInt16
    public var contentType: String
    public var content: AdminContent
    /// Seconds after which it is worth asking again; `nil`: that says nothing.
    public var retryAfter: Int?
    /// The entity tag of the content, with its quotes; `nil` for pages that are new each time.
    public var entityTag: String?
    /// The coding of the content (RFC 9110 §8.4); `nil` for none.
    public var contentEncoding: String?
    /// The fields of the request that the content depends on (RFC 9110 §12.5.5); `nil` for none.
    public var vary: String?

    public init(
        status: UInt16, contentType: String = "application/json", body: String,
        entityTag: String? = nil
    ) {
        self.status = status
        self.contentType = contentType
        content = AdminContent(Array(body.utf8))
        self.entityTag = entityTag
    }

    public init(status: UInt16, contentType: String, bytes: [UInt8]) {
        self.status = status
        self.contentType = contentType
        content = AdminContent(bytes)
    }

    /// Whether the client has the content already (RFC 9110 §13.1.2).
    ///
    /// - Parameter known: the request's `If-None-Match`.
    public func isKnown(by known: String?) -> Bool {
        guard status == 200, let entityTag, let known else { return false }
        return known == "*"
            || known.split(separator: ",").contains { element in
                let tag = element.drop { $0 == " " }.prefix { $0 != " " }
                // A weak tag is as good here (RFC 9110 §8.8.3.2): a cache may have made it weak.
                return (tag.hasPrefix("W/") ? tag.dropFirst(2) : tag) == entityTag
            }
    }

    /// The content as text.
    public var body: String { String(decoding: content.bytes, as: UTF8.self) }

    public static func json(_ value: JSONText, status: UInt16 = 200) -> AdminResponse {
        AdminResponse(status: status, body: value.text() + "\n")
    }

    /// A page for people.
    static func text(_ body: String) -> AdminResponse {
        AdminResponse(status: 200, contentType: "text/plain", body: body)
    }

    public static func error(_ status: UInt16, _ message: String) -> AdminResponse {
        json(.object([("error", .string(message))]), status: status)
    }
}

/// The outcome of a request: an answer, a page that takes long to make, or a change. Whoever runs
/// the process makes the latter two, and answers then.
public enum AdminAnswer {
    case page(AdminResponse)
    case work(AdminPage)
    case change(AdminChange)
}

/// A page whose making takes the longer the larger the configuration is: at 10,000 routes some
/// tenths of a second. `AdminRouter.make` makes it, on a thread that nobody waits for. Equal pages
/// that are asked for at one time may be one.
public enum AdminPage: Hashable, Sendable {
    case metrics(MetricsQuery)
    case clusters
    /// The evidence of each version; for people, or as JSON with an entity tag.
    case evidence(isText: Bool)
    /// The configuration in force, with the hash of the file as it is now; `nil` when nobody knows.
    /// Whoever runs the process looks at the file first, which may take long too.
    case configuration(onDisk: String?)
    /// The explanation of a request, which the query describes.
    case explanation(query: String)
    /// The weights of all services, and where they come from.
    case weights(asText: Bool)
    /// The lines of the file that say a service's weights.
    case weightLines(service: String)
    /// One rollout, or all of them.
    case rollouts(name: String?, RolloutPageKind, asText: Bool)
}

/// A change that somebody with the right to it asks for.
public enum AdminChange: Equatable, Sendable {
    /// Read the configuration file again.
    case reload
    /// Stop being ready, then finish and exit.
    case drain
    case logLevel(Document.LogLevel)
    /// Let the versions of a service in again that the guard has taken out.
    case resetGuard(service: String)
    /// Give a service other weights than the file's.
    case setWeights(service: String, [GivenWeight], WeightsOptions)
    /// Give a service the file's weights again.
    case followFile(service: String, WeightsOptions)
    /// Do something with a rollout.
    case rollout(RolloutRequest)

    /// Obstacles that whoever changes weights knows of, and wants to be overcome.
    public struct WeightsOptions: Equatable, Sendable {
        /// A version that gains may have no endpoints.
        public var isForced = false
        /// Versions that the guard has taken out are let in again.
        public var resetsGuard = false

        public init(isForced: Bool = false, resetsGuard: Bool = false) {
            self.isForced = isForced
            self.resetsGuard = resetsGuard
        }
    }

    /// The weight of one version in a person's notation.
    public struct GivenWeight: Equatable, Sendable {
        public var version: String
        public var weight: String

        public init(version: String, weight: String) {
            self.version = version
            self.weight = weight
        }
    }
}
