import Base
import Configuration
import Testing
import Upstream

/// The configuration of resilience, as the document holds it.
@Suite struct ResilienceReadingTests {
    static func read(
        service: String = "", route: String = "", defaults: String = ""
    ) throws -> Document {
        var text = BadConfigurationTests.base
        if !service.isEmpty {
            text = Text.replacing(text, "stable: v1", with: "stable: v1\n    \(service)")
        }
        if !route.isEmpty { text = Text.replacing(text, "to: s ", with: "to: s, \(route) ") }
        if !defaults.isEmpty { text += "\ndefaults: { \(defaults) }" }
        let reading = ConfigurationReading(Array(text.utf8))
        return try #require(reading.document, "\(reading.errors.map(\.message))")
    }

    @Test("PINGs keep gRPC's rules unless the operator has set an interval; versions may go back")
    func pings() throws {
        func limits(_ text: String) throws -> PoolLimits {
            try ResilienceReadingTests.read(service: text).services[0].limits
        }
        #expect(try limits("dnsRefresh: 1s") == PoolLimits())
        #expect(!PoolLimits().pingsAtWill && PoolLimits().pingInterval == .seconds(30))
        let set = try limits("connectionPool: { pingInterval: 10s }")
        #expect(set.pingsAtWill && set.pingInterval == .seconds(10))
        #expect(try limits("connectionPool: { pingInterval: off }").pingInterval == .unlimited)
        #expect(try limits("connectionPool: { pingInterval: auto }") == PoolLimits())
        let bad = Text.replacing(
            BadConfigurationTests.base, "stable: v1",
            with: "stable: v1\n    connectionPool: { pingInterval: soon }")
        #expect(ConfigurationReading(Array(bad.utf8)).errors.count == 1)
    }

    @Test("nothing is checked, ejected, delayed, copied or limited unless it is asked for")
    func absent() throws {
        let document = try ResilienceReadingTests.read()
        let service = document.services[0], route = document.routes[0]
        #expect(service.healthCheck == nil && service.outlier == nil && service.warmup == nil)
        #expect(service.versions.allSatisfy { $0.fault == nil })
        #expect(route.fault == nil && route.mirror == nil && route.rateLimit == nil)
        #expect(route.retries == nil && route.perTry == nil)
        // What is safe to repeat is repeated.
        #expect(document.retries.retriesMax == 2)
        #expect(document.retries.conditions == .safe)
        #expect(!document.retries.repeatsAllMethods)
        #expect(document.timeouts.perTry.isUnlimited)
        #expect(document.timeouts.connectionAge.isUnlimited)
    }

    @Test("an empty object turns outlier detection on, with Istio's defaults")
    func outlier() throws {
        let document = try ResilienceReadingTests.read(service: "outlierDetection: {}")
        #expect(document.services[0].outlier == OutlierPolicy())
        let all = try ResilienceReadingTests.read(
            service: """
                outlierDetection: { consecutive5xx: off, consecutiveGatewayErrors: 3, \
                consecutiveLocalOriginFailures: 7, interval: 1s, baseEjectionTime: 2s, \
                maxEjectionTime: 1m, maxEjectionPercent: 50, minHealthPercent: 20, \
                successRate: { minEndpoints: 3, minRequests: 10, stdevFactor: 1500 } }
                """)
        let policy = try #require(all.services[0].outlier)
        #expect(policy.errorsInARowMax == 0 && policy.gatewayErrorsInARowMax == 3)
        #expect(policy.localFailuresInARowMax == 7 && policy.interval == .seconds(1))
        #expect(policy.baseEjectionTime == .seconds(2) && policy.maxEjectionTime == .seconds(60))
        #expect(policy.maxEjectionPercent == 50)
        let rate = try #require(policy.successRate)
        #expect(rate.endpointsMin == 3 && rate.requestsMin == 10 && rate.deviations == 1_500)
        #expect(all.services[0].healthyPercentMin == 20)
    }

    @Test("a health check is of one kind; its statuses are one or a range")
    func healthCheck() throws {
        let http = try #require(
            ResilienceReadingTests.read(
                service: "healthCheck: { path: /up, statuses: 200-204, host: h.test, interval: 2s }"
            ).services[0].healthCheck)
        #expect(http.policy.kind == .http && http.path == "/up" && http.host == "h.test")
        #expect(http.policy.statusMin == 200 && http.policy.statusMax == 204)
        #expect(http.policy.interval == .seconds(2) && http.policy.timeout == .seconds(1))
        #expect(http.policy.healthyThreshold == 2 && http.policy.unhealthyThreshold == 3)
        let one = try ResilienceReadingTests.read(
            service: "healthCheck: { path: /, statuses: 204 }")
        #expect(one.services[0].healthCheck?.policy.statusMin == 204)
        #expect(one.services[0].healthCheck?.policy.statusMax == 204)
        let tcp = try ResilienceReadingTests.read(service: "healthCheck: { tcp: true }")
        #expect(tcp.services[0].healthCheck?.policy.kind == .tcp)
        let grpc = try ResilienceReadingTests.read(
            service: "protocol: http2\n    healthCheck: { grpc: \"a.B\" }")
        #expect(grpc.services[0].healthCheck?.policy.kind == .grpc)
        #expect(grpc.services[0].healthCheck?.grpcService == "a.B")
    }

    @Test("retries: conditions and codes together; off; a budget of defaults alone")
    func retries() throws {
        let document = try ResilienceReadingTests.read(
            route: """
                retries: { attempts: 3, on: [reset, 5xx, 429, unavailable], methods: all, \
                backoff: 10ms, maxBackoff: 1s, maxRetryAfter: 0s, bodyBytes: 1KiB }
                """,
            defaults: "retries: { attempts: 1, budget: 5%, minPerSecond: 0 }")
        let policy = try #require(document.routes[0].retries)
        #expect(policy.retriesMax == 3 && policy.repeatsAllMethods)
        #expect(policy.conditions == [.reset, .serverError, .unavailable])
        #expect(policy.codes.contains(429) && !policy.codes.contains(500))
        #expect(policy.backoff.base == .milliseconds(10) && policy.backoff.longest == .seconds(1))
        #expect(policy.retryAfterMax == .zero && policy.bodyBytesMax == 1_024)
        #expect(document.retries.retriesMax == 1)
        #expect(document.retryBudget?.perSecond == 0)
        let off = try ResilienceReadingTests.read(route: "retries: off")
        #expect(off.routes[0].retries?.retriesMax == 0)
        let unlimited = try ResilienceReadingTests.read(defaults: "retries: { budget: unlimited }")
        #expect(unlimited.retryBudget == nil)
    }

    @Test("faults, copies and rate limits of a route")
    func filters() throws {
        let document = try ResilienceReadingTests.read(
            route: """
                fault: { byHeader: allow, delay: { time: 1s, share: 0.5% }, \
                abort: { status: 503, grpcStatus: 14 } }, \
                mirror: { to: s/v2, share: 12.34%, bodyBytes: 1MiB, \
                connectionPool: { maxConnections: 3 } }, \
                rateLimit: { requests: 5, per: 1s, by: { cookie: c }, maxKeys: 7 }
                """)
        let route = document.routes[0]
        #expect(route.fault?.isByHeader == true)
        #expect(route.fault?.delay?.time == .seconds(1) && route.fault?.delay?.share == 50)
        let abort = try #require(route.fault?.abort)
        #expect(abort.status == 503 && abort.grpcStatus == 14 && abort.share == 10_000)
        let mirror = try #require(route.mirror)
        #expect(mirror.service == 0 && mirror.version == 1 && mirror.share == 1_234)
        #expect(mirror.bodyBytesMax == 1 << 20)
        #expect(mirror.limits.connectionsMax == 3 && mirror.limits.requestsMax == 200)
        #expect(route.rateLimit?.key == .cookie("c"))
        #expect(route.rateLimit?.policy.burst == 5)
        #expect(route.rateLimit?.policy.keysMax == 7)
    }
}
