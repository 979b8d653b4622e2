import Base
import HTTP2
import HTTPSemantics
import Routing
import Telemetry
import Upstream
import YAML

/// A configuration file as plain values: words read, units applied, names checked. What the
/// compiler turns into a `Snapshot`.
public struct Document: Sendable, Equatable {
    public struct Listener: Sendable, Equatable {
        public var name: String
        public var address: Address
        public var `protocol` = ListenerProtocol.auto
        public var tls: ListenerTLS?
        /// A client may end its side and wait for its answer.
        public var allowsHalfClose = false
    }

    public enum ListenerProtocol: String, Sendable, BitwiseCopyable { case auto, http1, http2 }

    /// Names of PEM files, as the file has them.
    public struct CertificatePaths: Sendable, Equatable {
        public var certificate: String
        public var key: String
    }

    public struct ListenerTLS: Sendable, Equatable {
        public var certificates: [CertificatePaths]
        public var clientCA: String?
        public var requiresClientCertificate: Bool
        /// TLS 1.3 alone.
        public var isModern: Bool
    }

    public struct UpstreamTLS: Sendable, Equatable {
        public var ca: String?
        public var sni: String?
        public var verifies: Bool
        public var certificate: CertificatePaths?
    }

    public struct Version: Sendable, Equatable {
        public var name: String
        public var weight: Int
        public var endpoints: [Address]
        /// A name to resolve, with its port.
        public var dns: NameAndPort?
        public var edits = HeaderEdits()
        public var fault: Fault?
        /// The release that runs there, in the user's words.
        public var revision: String?
        /// The version's names in monitoring; defaults are not filled in.
        public var workload: String?
        public var host: String?
        @Aside public var mark: YAMLMark
    }

    public struct NameAndPort: Hashable, Sendable {
        public var name: String
        public var port: UInt16

        public init(name: String, port: UInt16) {
            self.name = name
            self.port = port
        }
    }

    public struct Sticky: Sendable, Equatable {
        public var source: Stickiness.Source
        /// Empty: only the issued cookie names a session.
        public var name: String
        public var issue: String?
        public var ttl: Duration
        public var salt: String
        public var keysPath: String?
    }

    public struct HashKey: Sendable, Equatable {
        public var source: Stickiness.Source
        public var name: String
    }

    public struct Service: Sendable, Equatable {
        public var name: String
        public var hosts: [String]
        public var versions: [Version]
        public var stable: Int
        public var sticky: Sticky?
        public var fallsBack: Bool
        public var policy: BalancingPolicy
        public var hashKey: HashKey?
        public var dnsRefresh: Duration
        public var connectTimeout: Duration
        public var limits: PoolLimits
        public var `protocol` = UpstreamProtocol.http1
        public var tls: UpstreamTLS?
        public var healthCheck: HealthCheck?
        public var outlier: OutlierPolicy?
        /// 0...100.
        public var healthyPercentMin = 0
        public var warmup: Warmup?
        /// The definition of an error of a version.
        public var errors = VersionErrors()
        /// The ratio of error rates that the guard looks for; `nil`: there is no guard.
        public var guardRatio: Int?
        /// The service's names in monitoring; defaults are not filled in.
        public var namespace: String?
        public var app: String?
        public var host: String?
        /// Rules of a rollout's stages; never the file's, always an overlay's.
        public var stageRules: StageRules?
        @Aside public var mark: YAMLMark
        /// Weights were written as percents.
        public var isPercent: Bool
    }

    public struct HeaderEdits: Sendable, Equatable {
        public struct Direction: Sendable, Equatable {
            public var set: [(name: String, value: String)] = []
            public var add: [(name: String, value: String)] = []
            public var remove: [String] = []
            public init() {}

            public static func == (a: Direction, b: Direction) -> Bool {
                a.remove == b.remove && a.set.elementsEqual(b.set, by: ==)
                    && a.add.elementsEqual(b.add, by: ==)
            }
        }
        public var request = Direction()
        public var response = Direction()
        public init() {}
    }

    public enum Action: Sendable, Equatable {
        case forward(service: Int, version: Int?, split: [Int]?)
        case redirect(Redirect)
        case respond(status: UInt16, body: String, contentType: String)
    }

    public struct Redirect: Sendable, Equatable {
        public var scheme: String?
        public var host: String?
        public var port: Int?
        public var path: String?
        public var prefix: String?
        public var status: UInt16
    }

    public struct Rewrite: Sendable, Equatable {
        public var path: String?
        public var prefix: String?
        public var host: String?
    }

    public struct Route: Sendable, Equatable {
        public var name: String
        public var matches: [MatchRule]
        public var action: Action
        public var rewrite: Rewrite?
        public var edits: HeaderEdits
        public var firstByte: Duration?
        public var request: Duration?
        public var idle: Duration?
        public var perTry: Duration?
        public var write: Duration?
        /// `nil`: the default ones.
        public var retries: RetryPolicy?
        public var fault: Fault?
        public var mirror: Mirror?
        public var rateLimit: RateLimit?
        public var allowsConnect: Bool
        @Aside public var mark: YAMLMark

        /// Where the route stands in the file, from 1.
        public var line: Int { mark.line }
    }

    public struct Timeouts: Sendable, BitwiseCopyable, Equatable {
        public var headers = Duration.seconds(10)
        public var firstByte = Duration.seconds(15)
        public var request = Duration.unlimited
        public var idle = Duration.seconds(60)
        public var keepAlive = Duration.seconds(75)
        public var write = Duration.seconds(30)
        public var perTry = Duration.unlimited
        public var connectionAge = Duration.unlimited
    }

    public struct Limits: Sendable, BitwiseCopyable, Equatable {
        public var headBytes = 65_536
        public var fields = 100
        public var bodyBytes = UInt64.max
        /// 0: from the descriptor limit.
        public var connections = 0
        /// A second; 0: as many as come.
        public var acceptRate = 0
        /// 0: from the memory there is.
        public var bufferBytes = 0
        /// 0: anything.
        public var bytesPerSecondMin = 100
        public var http2 = HTTP2Limits()
    }

    public struct Forwarding: Sendable, Equatable {
        public enum RequestID: UInt8, Sendable, BitwiseCopyable { case create, pass, off }
        public var trustedHops = 0
        public var requestID = RequestID.create
        public var via = false
        public var versionField: String?
        public var flagsField: String?
    }

    public struct AccessLog: Sendable, Equatable {
        /// The form of lines.
        public enum Format: Sendable, Equatable {
            case json, combined
            /// A format with operators, and the name that the file calls it by, if it has one.
            case template(LogTemplate, name: String?)
        }

        public var path: String
        public var format: Format
        /// Hundredths of a percent, 0...10,000.
        public var sample: Int
        /// Whether requests that failed are written whatever the sample says.
        public var writesErrors = false
    }

    public enum LogLevel: String, Sendable, CaseIterable { case debug, info, warning, error }

    public var listeners: [Listener] = []
    /// 0: auto.
    public var workers = 0
    public var admin: [Address] = [.ipv4(127, 0, 0, 1, port: 15_000)]
    /// The file of the token that may do everything.
    public var adminTokenPath: String?
    /// Further tokens, which may do some things only.
    public var adminTokens: [AdminToken] = []
    public var metrics: [Address] = [Document.metricsDefault]
    /// How long the series of versions, routes and listeners that are gone stay on the page.
    public var metricsRetention = Duration.seconds(3_600)
    /// Families in Istio's words; `nil`: there are none.
    public var metricsIstio: IstioMetricsPage.Settings? = IstioMetricsPage.Settings()
    /// Whether there is the family that applications export of themselves.
    public var metricsHTTP = false
    /// Who the process is to monitoring, as far as the file says.
    public var identity = ProcessIdentity.Settings()
    public var services: [Service] = []
    public var routes: [Route] = []
    public var timeouts = Timeouts()
    public var retries = RetryPolicy()
    /// `nil`: without limit.
    public var retryBudget: RetryBudget? = RetryBudget()
    public var limits = Limits()
    public var normalizesPaths = true
    public var forwarding = Forwarding()
    public var logLevel = LogLevel.info
    public var logsJSON = false
    public var accessLog: AccessLog?
    /// `nil`: nothing is put over this file's weights.
    public var rollouts: Rollouts?
    public var drainDelay = Duration.seconds(5)
    public var drainGrace = Duration.seconds(30)

    /// Every address of the machine, IPv6 and IPv4: a probe may come by either.
    static let metricsDefault = Address(family: .ipv6, port: 15_020, high: 0, low: 0)

    /// Whether a socket on an address takes IPv4 clients besides those of IPv6: `[::]` stands for
    /// all addresses, unless an IPv4 address with the same port has a socket of its own.
    public func isDual(_ address: Address) -> Bool {
        guard address.family == .ipv6, address.isUnspecified else { return false }
        if address.port == 0 { return true }
        let all = listeners.map(\.address) + admin + metrics
        return !all.contains { $0.family == .ipv4 && $0.port == address.port }
    }

    /// Versions of a service that some of its requests are split to by weight.
    public func weighted(ofService index: Int) -> Set<Int> {
        var found: Set<Int> = []
        func add(_ weights: [Int]) {
            for (i, weight) in weights.enumerated() where weight > 0 { found.insert(i) }
        }
        let own = services[index].versions.map(\.weight)
        if !services[index].hosts.isEmpty { add(own) }
        for route in routes {
            guard case .forward(index, nil, let split) = route.action else { continue }
            add(split ?? own)
        }
        return found
    }

    /// Every name that must be resolved, with how often.
    public var names: [(key: NameAndPort, refresh: Duration)] {
        services.flatMap { service in
            service.versions.compactMap { version in
                version.dns.map { ($0, service.dnsRefresh) }
            }
        }
    }

    /// The weights a route's requests are split by.
    public func weights(ofRoute route: Route) -> SplitWeights? {
        guard case .forward(let service, _, let split) = route.action else { return nil }
        return SplitWeights(split ?? services[service].versions.map(\.weight))
    }
}
