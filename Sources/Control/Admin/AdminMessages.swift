import Configuration
import JSON

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

    public init(
        method: String, path: String, query: String, fields: [(name: String, value: String)],
        body: [UInt8], isAdmin: Bool, isLoopback: Bool
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.fields = fields
        self.body = body
        self.isAdmin = isAdmin
        self.isLoopback = isLoopback
    }

    func field(_ name: String) -> String? {
        fields.first { $0.name == name }?.value
    }
}

public struct AdminResponse {
    public var status: UInt16
    public var contentType: String
    public var body: String

    public init(status: UInt16, contentType: String = "application/json", body: String) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    public static func json(_ value: JSONText, status: UInt16 = 200) -> AdminResponse {
        AdminResponse(status: status, body: value.text() + "\n")
    }

    public static func error(_ status: UInt16, _ message: String) -> AdminResponse {
        json(.object([("error", .string(message))]), status: status)
    }
}

/// The outcome of a request: a page, or a change that whoever runs the process makes and answers.
public enum AdminAnswer {
    case page(AdminResponse)
    /// The configuration in force. Whoever runs the process looks at the file first, which may take
    /// long, and makes the page by `AdminRouter.configurationPage`.
    case configuration
    case change(AdminChange)
}

/// A change that somebody with the right to it asks for.
public enum AdminChange: Equatable, Sendable {
    /// Read the configuration file again.
    case reload
    /// Stop being ready, then finish and exit.
    case drain
    case logLevel(Document.LogLevel)
    /// Give a service other weights than the file's; `isForced`: also where a version that gains
    /// has no endpoints.
    case setWeights(service: String, [GivenWeight], isForced: Bool)
    /// Give a service the file's weights again.
    case followFile(service: String, isForced: Bool)

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
