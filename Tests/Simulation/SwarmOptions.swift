import Base

/// Options that one seed gives the configuration, the network, the origins and the clients. Options
/// are drawn one by one and may be absent: a bug that one feature hides shows where it is missing.
public struct SwarmOptions {
    /// Limits that are checked after every turn.
    public struct Caps { public var connections = Int.max, pending = Int.max, requests = Int.max }

    public var weights = [90, 10]
    public var isHTTP2Upstream = false
    public var caps = Caps()
    public var isSticky = false
    /// Another version may stand in for one that is unavailable.
    public var hasFallback = false
    /// The guard may take the other version out. Drawn by the swarm, so that the worlds of older
    /// seeds stay what they were.
    public var guarding: String?
    /// Answers name the version that made them. Drawn by the swarm too.
    public var namesVersions = false
    /// Requests may be answered before a version was chosen, or be refused for their size.
    public var isTiny = false
    public var endpoints = [3, 1]
    /// Clients may end their side and wait for their answers.
    public var allowsHalfClose = false
    private var service: [String] = []
    private var route: [String] = []
    private var defaults: [String] = []

    public init(_ random: inout PRNG) {
        weights = [[90, 10], [50, 50], [84, 16], [99, 1], [100, 0]][Int(random.below(5))]
        isHTTP2Upstream = random.below(3) == 0
        isSticky = random.below(3) == 0
        hasFallback = random.below(4) == 0
        isTiny = random.below(8) == 0
        endpoints = [1 + Int(random.below(3)), 1 + Int(random.below(2))]
        drawService(&random)
        drawRoute(&random)
        drawDefaults(&random)
        allowsHalfClose = random.below(2) == 0
    }

    /// Whether requests may be held back or answered on purpose.
    public var hasFaults: Bool { route.contains { $0.hasPrefix("fault") } }

    private func one(_ random: inout PRNG, of choices: [String]) -> [String] {
        random.below(2) == 0 ? [] : [choices[Int(random.below(UInt64(choices.count)))]]
    }

    private mutating func drawService(_ random: inout PRNG) {
        if isHTTP2Upstream { service.append("protocol: http2") }
        if isSticky { service.append("sticky: { cookie: session, issue: sid }") }
        if hasFallback { service.append("whenUnavailable: fallback") }
        service += one(
            &random,
            of: [
                "outlierDetection: { consecutive5xx: 2, baseEjectionTime: 50ms, interval: 100ms, maxEjectionPercent: 100 }",
                "outlierDetection: { consecutiveLocalOriginFailures: 1, maxEjectionPercent: 50, minHealthPercent: 50 }",
                "outlierDetection: { successRate: { minEndpoints: 2, minRequests: 1, stdevFactor: 0 }, interval: 200ms }",
            ])
        service += one(
            &random,
            of: [
                "healthCheck: { path: /healthz, interval: 300ms, timeout: 50ms, unhealthyThreshold: 1 }",
                "healthCheck: { tcp: true, interval: 200ms, timeout: 50ms }",
            ]
                + (isHTTP2Upstream
                    ? ["healthCheck: { grpc: \"\", interval: 250ms, timeout: 100ms }"] : []))
        service += one(&random, of: ["warmup: 200ms"])
        service += one(&random, of: ["connectTimeout: 10ms"])
        service += one(
            &random,
            of: ["loadBalancer: roundRobin", "loadBalancer: leastRequest", "loadBalancer: random"])
        var pool: [String] = []
        if random.below(3) == 0 {
            caps.connections = 1 + Int(random.below(3))
            pool.append("maxConnections: \(caps.connections)")
        }
        if random.below(3) == 0 {
            caps.pending = 1 + Int(random.below(4))
            pool.append("maxPendingRequests: \(caps.pending)")
        }
        if random.below(4) == 0 {
            caps.requests = 1 + Int(random.below(6))
            pool.append("maxRequests: \(caps.requests)")
        }
        pool += one(&random, of: ["maxRequestsPerConnection: 2", "maxRequestsPerConnection: 1"])
        pool += one(&random, of: ["maxConnectionDuration: 40ms", "idleTimeout: 20ms"])
        if !pool.isEmpty { service.append("connectionPool: { \(pool.joined(separator: ", ")) }") }
    }

    private mutating func drawRoute(_ random: inout PRNG) {
        route += one(
            &random,
            of: [
                "retries: { attempts: 3, on: [connect-failure, refused-stream, reset, 5xx], backoff: 5ms, methods: all }",
                "retries: { attempts: 1, on: [gateway-error], bodyBytes: 100B }", "retries: off",
            ])
        route += one(
            &random,
            of: [
                "fault: { delay: { time: 10ms, share: 30% }, abort: { status: 503, share: 20% } }",
                "fault: { byHeader: allow, delay: { time: 100ms, share: 10% } }",
            ])
        route += one(
            &random,
            of: [
                "mirror: { to: s/v2 }", "mirror: { to: s/v2, share: 50%, bodyBytes: 50B }",
                "mirror: { to: s/v2, connectionPool: { maxConnections: 1, maxRequests: 2 } }",
            ])
        route += one(&random, of: ["rateLimit: { requests: 100, per: 1s, burst: 10, by: address }"])
        route += one(
            &random,
            of: [
                "timeouts: { perTry: 15ms, request: 200ms }",
                "timeouts: { firstByte: 30ms, idle: 40ms }",
                "timeouts: { request: 20ms }",
            ])
        route += one(
            &random,
            of: [
                "headers: { request: { set: { x-a: b }, remove: [x-group] }, response: { set: { x-r: s } } }"
            ])
    }

    private mutating func drawDefaults(_ random: inout PRNG) {
        defaults += one(
            &random,
            of: [
                "timeouts: { maxConnectionDuration: 60ms, write: 50ms }",
                "timeouts: { keepAlive: 30ms }",
                "timeouts: { headers: 40ms, idle: 300ms }",
            ])
        defaults += one(&random, of: ["retries: { budget: 0%, minPerSecond: 1 }"])
        if isTiny {
            defaults.append(
                "limits: { headerBytes: 1KiB, headers: 8, bodyBytes: 300B, http2: { maxConcurrentStreams: 2 } }"
            )
        } else if random.below(4) == 0 {
            defaults.append(
                "limits: { http2: { initialWindow: 64KiB, maxWindow: 64KiB, maxConcurrentStreams: 3 } }"
            )
        }
    }

    /// Addresses of a version's endpoints, the first `count` of four.
    public static func addresses(_ version: Int, _ count: Int) -> [String] {
        (1...count).map { "10.0.\(version).\($0):80" }
    }

    /// - Parameters:
    ///   - weights: of the versions in percent, when somebody has changed the file.
    ///   - endpoints: how many the versions have, when pods have come or gone.
    ///   - limits: whose timeouts and limits are in force instead.
    ///   - isQuiet: without what never comes to rest.
    public func yaml(
        weights: [Int]? = nil, endpoints: [Int]? = nil, limits: SwarmOptions? = nil,
        isQuiet: Bool = false
    ) -> String {
        let weights = weights ?? self.weights
        let counts = endpoints ?? self.endpoints
        let defaults =
            (limits ?? self).defaults
            + (namesVersions ? ["forwarding: { version: x-served-by }"] : [])
        let lists = (0..<2).map { v in
            SwarmOptions.addresses(v, counts[v]).map { "\"\($0)\"" }.joined(separator: ", ")
        }
        let lines =
            service.filter {
                !isQuiet || !$0.hasPrefix("healthCheck") && !$0.hasPrefix("outlier")
            } + (guarding.map { [$0] } ?? [])
        return """
            listeners:
              - name: http
                address: "127.0.0.1:80"
                clientHalfClose: \(allowsHalfClose ? "allow" : "abort")
            services:
              s:
                stable: v1
                versions:
                  v1: { weight: \(weights[0])%, endpoints: [\(lists[0])] }
                  v2: { weight: \(weights[1])%, endpoints: [\(lists[1])] }
                \(lines.joined(separator: "\n    "))
            routes:
              - { name: beta, match: { headers: { x-group: beta } }, to: s/v2 }
              - { name: rest, to: s\(route.map { ", " + $0 }.joined()) }
            defaults: { \(defaults.joined(separator: ", ")) }
            """
    }
}
