import Base
import Configuration
import Evidence
import Routing
import Telemetry
import Testing

/// Evidence and latches over reloads.
@Suite struct EvidenceBookTests {
    private static func text(
        _ weights: String = "90, 10", service: String = "", routes: String = "",
        versions: String = ""
    ) -> String {
        let parts = weights.split(separator: ",").map { $0.filter { $0 != " " } }
        return """
            listeners: [{ name: http, address: "127.0.0.1:8080" }]
            services:
              s:
                stable: v1
                versions:
                  v1: { weight: \(parts[0]), endpoints: ["127.0.0.1:1"] }
                  v2: { weight: \(parts[1]), endpoints: ["127.0.0.1:2"] }
                  \(versions)
                \(service)
              alone: { versions: { v1: { endpoints: ["127.0.0.1:3"] } } }
            routes:
              \(routes)
              - { name: solo, match: { path: { exact: /solo } }, to: alone }
              - { name: rest, to: s }
            """
    }

    /// One after the other, each by the lighter way where there is one.
    private func publish(_ texts: [String], _ look: (Int, SharedRegistry) throws -> Void) throws {
        let process = ReweightingTests.Process()
        for (i, text) in texts.enumerated() {
            _ = process.publish(try ReweightingTests().document(text), shares: true)
            let snapshot = try #require(process.basis).snapshot
            // Each version of the last route ends a request in each configuration.
            let split = snapshot.value.splits[snapshot.value.splits.count - 1]
            let evidence = try #require(split.evidence)
            for version in evidence.value.subject.versions.indices {
                evidence.value.record(RequestOutcome(), version, worker: 0)
            }
            try look(i, process.registry)
        }
    }

    private func rest(_ registry: SharedRegistry) throws -> SplitReport {
        try #require(registry.evidenceReports().first { $0.route == "rest" })
    }

    @Test("an epoch goes on over reloads that leave the weights alone; two are kept")
    func epochs() throws {
        let texts = [
            EvidenceBookTests.text(), EvidenceBookTests.text(service: "connectTimeout: 1s"),
            EvidenceBookTests.text("80, 20"), EvidenceBookTests.text("70, 30"),
        ]
        let kept: [[UInt64: Int]] = [[1: 2], [1: 4], [1: 4, 2: 2], [2: 2, 3: 2]]
        try publish(texts) { i, registry in
            var found: [UInt64: Int] = [:]
            for epoch in try rest(registry).epochs {
                found[epoch.epoch] = epoch.versions.map(\.counts.requests).reduce(0, +)
            }
            #expect(found == kept[i])
            #expect(!registry.evidenceReports().contains { $0.route == "solo" })
        }
    }

    @Test("a version of weight 0 that comes and goes adds no epoch, and loses no count")
    func sameEpoch() throws {
        let more = EvidenceBookTests.text(
            versions: "v3: { weight: 0, endpoints: [\"127.0.0.1:4\"] }")
        let plain = EvidenceBookTests.text()
        try publish([plain, more, plain, more]) { i, registry in
            let report = try rest(registry)
            #expect(report.epochs.count == 1 && report.epochs[0].epoch == 1)
            let counts = Dictionary(
                uniqueKeysWithValues: report.epochs[0].versions.map {
                    ($0.version, $0.counts.requests)
                })
            #expect(counts["v1"] == i + 1 && counts["v2"] == i + 1)
        }
    }

    @Test("requests that end after two more changes of weights are counted as lost")
    func lost() throws {
        let process = ReweightingTests.Process()
        _ = process.publish(try ReweightingTests().document(EvidenceBookTests.text()), shares: true)
        // An exchange keeps the snapshot that it began with.
        let old = try #require(process.basis).snapshot
        old.retain()
        for weights in ["80, 20", "70, 30"] {
            _ = process.publish(
                try ReweightingTests().document(EvidenceBookTests.text(weights)), shares: true)
        }
        let last = old.value.splits.count - 1
        let evidence = try #require(old.value.splits[last].evidence)
        for _ in 0..<3 { evidence.value.record(RequestOutcome(), 1, worker: 1) }
        #expect(try rest(process.registry).lost == 3)
        evidence.value.record(RequestOutcome(), 1, worker: 1)
        old.release()
        #expect(try rest(process.registry).lost == 4)
        #expect(try rest(process.registry).lost == 4)
    }

    @Test("routes of a service with the same weights have their sessions together, others apart")
    func sessions() throws {
        let process = ReweightingTests.Process()
        let text = EvidenceBookTests.text(
            service: "sticky: { cookie: c, issue: off }",
            routes: "- { name: a, match: { path: { exact: /a } }, to: s }\n"
                + "  - { name: own, match: { path: { exact: /o } }, to: s, split: { v1: 1, v2: 1 } }"
        )
        _ = process.publish(try ReweightingTests().document(text), shares: true)
        let snapshot = try #require(process.basis).snapshot
        let places = (0..<snapshot.value.splits.count).compactMap {
            snapshot.value.splits[$0].evidence?.value.places
        }
        try #require(places.count == 3)
        let areNew = [0, 2, 1].map { places[$0].value.see(1 << 60) }
        #expect(areNew == [true, false, true], "rest has the weights of a, own has others")
        let reports = process.registry.sessionsReports()
        #expect(reports.map(\.routes) == [["a", "rest"], ["own"]])
        #expect(reports.map(\.seen.count) == [1, 1] && reports.allSatisfy { $0.failed.isEmpty })
    }

    @Test("a trip is reset by weights of 0 everywhere, by no guard, and by nothing else")
    func trips() throws {
        let ground = EvidenceBookTests.text(service: "guard: on")
        let own = "- { name: own, match: { path: { exact: /o } }, to: s, split: { v1: 1, v2: 1 } }"
        let steps: [(text: String, resets: Bool)] = [
            (ground, false), (EvidenceBookTests.text("50, 50", service: "guard: on"), false),
            (EvidenceBookTests.text("100, 0", service: "guard: on", routes: own), false),
            (EvidenceBookTests.text("100, 0", service: "guard: { ratio: 5 }"), true),
            (EvidenceBookTests.text(), true),
        ]
        for (text, resets) in steps {
            let process = ReweightingTests.Process()
            _ = process.publish(try ReweightingTests().document(ground), shares: true)
            let snapshot = try #require(process.basis).snapshot
            let isTripped = snapshot.value.versions[1].latch.value.trip(Trip())
            #expect(isTripped)
            _ = process.publish(try ReweightingTests().document(text), shares: true)
            let next = try #require(process.basis).snapshot
            let ended = process.registry.settleTrips(next.value.document)
            #expect(ended.map(\.version) == (resets ? ["v2"] : []))
            let isOut = next.value.versions[1].latch.value.isTripped
            #expect(isOut == !resets)
        }
    }

    @Test(
        "a trip holds on over a restart, unless its version is gone, stable, without share or guard"
    )
    func restores() throws {
        let ground = EvidenceBookTests.text(service: "guard: on")
        func trip(_ version: String, _ service: String = "s") -> Overlay.Trip {
            Overlay.Trip(service: service, version: version, number: 4, .init(), atMicros: 9)
        }
        let rows: [(text: String, trip: Overlay.Trip, holds: Bool)] = [
            (ground, trip("v2"), true), (ground, trip("v3"), false), (ground, trip("v1"), false),
            (ground, trip("v2", "t"), false),
            (EvidenceBookTests.text("100, 0", service: "guard: on"), trip("v2"), false),
            (EvidenceBookTests.text(), trip("v2"), false),
        ]
        for (text, trip, holds) in rows {
            let process = ReweightingTests.Process()
            _ = process.publish(try ReweightingTests().document(text), shares: true)
            let snapshot = try #require(process.basis).snapshot
            let held = process.registry.restoreTrips([trip], snapshot.value.document)
            #expect(held == (holds ? [trip] : []))
            let out = process.registry.latchReports().filter(\.isTripped)
            #expect(out.map(\.version) == (holds ? ["v2"] : []))
            guard holds else { continue }
            let isOut = snapshot.value.versions[1].latch.value.isTripped
            #expect(isOut)
            // A decision that knows of another trip lets nobody in.
            #expect(process.registry.resetGuard(service: "s", ifTripCounts: ["v2": 3]) == [])
            #expect(process.registry.resetGuard(service: "s", ifTripCounts: ["v2": 4]) == ["v2"])
        }
    }

    @Test("errors and guard are read as they are written")
    func reading() throws {
        func service(_ text: String) throws -> Document.Service {
            try ReweightingTests().document(EvidenceBookTests.text(service: text)).services[0]
        }
        let plain = try service("")
        #expect(plain.errors == VersionErrors() && plain.guardRatio == nil)
        #expect(try service("errors: [5xx, no-answer, grpc]").errors == VersionErrors())
        let own = try service("errors: [no-answer, resource-exhausted, unavailable]").errors
        #expect(own == VersionErrors(serverErrors: false, calls: [8, 14]))
        #expect(try service("guard: on").guardRatio == 10)
        #expect(try service("guard: off").guardRatio == nil)
        #expect(try service("guard: { ratio: 4 }").guardRatio == 4)
        for bad in ["errors: []", "errors: [4xx]", "guard: { ratio: 1 }", "guard: maybe"] {
            let reading = ConfigurationReading(Array(EvidenceBookTests.text(service: bad).utf8))
            #expect(reading.document == nil && !reading.errors.isEmpty, "\(bad)")
        }
    }

    @Test("a look for the judge has both versions of each route, epoch by epoch, with its limits")
    func sample() throws {
        let texts = [EvidenceBookTests.text(), EvidenceBookTests.text("80, 20")]
        var question = EvidenceQuestion(service: "s", canary: "v2", startedAt: 77) { route in
            route == "rest" ? .seconds(9) : .zero
        }
        try publish(texts) { i, registry in
            let sample = try #require(
                registry.evidenceSample(question, now: Instant(nanoseconds: 5_000_000_000)))
            #expect(sample.stable == "v1" && sample.canary == "v2" && sample.sessions == nil)
            let strata = sample.strata.filter { $0.route == "rest" }
            #expect(strata.map(\.epoch) == (i == 0 ? [1] : [1, 2]))
            #expect(strata.allSatisfy { $0.stable.requests == 1 && $0.canary.requests == 1 })
            #expect(strata.allSatisfy { $0.startedAt == 77 && $0.timeLimit == .seconds(9) })
            let weights = try #require(strata.last)
            #expect(weights.canaryWeight / weights.stableWeight == (i == 0 ? 1.0 / 9 : 0.25))
            question.routes = ["solo"]
            #expect(registry.evidenceSample(question, now: Instant(nanoseconds: 0)) == nil)
            question.routes = ["rest"]
            #expect(
                registry.evidenceSample(question, now: Instant(nanoseconds: 0))?.strata.count
                    == i + 1)
            question.routes = []
        }
        question.canary = "v1"
        try publish(texts) { _, registry in
            #expect(registry.evidenceSample(question, now: Instant(nanoseconds: 0)) == nil)
        }
    }

    @Test("of a sticky service a look has the places of both versions, in the epoch in force")
    func sampleOfSessions() throws {
        let question = EvidenceQuestion(service: "s", canary: "v2", startedAt: 1) { _ in .zero }
        let process = ReweightingTests.Process()
        for weights in ["50, 50", "75, 25"] {
            let text = EvidenceBookTests.text(weights, service: "sticky: { cookie: c }")
            _ = process.publish(try ReweightingTests().document(text), shares: true)
            let snapshot = try #require(process.basis).snapshot
            let split = snapshot.value.splits[snapshot.value.splits.count - 1]
            let evidence = try #require(split.evidence)
            let kept = evidence.value.places
            let places = try #require(kept)
            for eighth in 0..<8 as Range<UInt64> {
                _ = places.value.see(eighth << 61 + 1 << 50)
                if eighth == 1 { _ = places.value.fail(eighth << 61 + 1 << 50) }
            }
            let sample = try #require(
                process.registry.evidenceSample(question, now: Instant(nanoseconds: 0)))
            let sessions = try #require(sample.sessions)
            let seen = [sessions.stablePlaces, sessions.canaryPlaces].map {
                sessions.seen.count(in: $0)
            }
            #expect(seen == (weights == "50, 50" ? [4, 4] : [6, 2]))
            #expect(sessions.failed.count == 1)
            #expect(sessions.failed.count(in: sessions.canaryPlaces) == 1)
            #expect(sessions.epoch == (weights == "50, 50" ? 1 : 2))
            // The sets that other processes are told are the ones that the judge sees.
            let reports = process.registry.sessionsReports()
            #expect(reports.map(\.epoch) == (weights == "50, 50" ? [1] : [1, 2]))
            let report = try #require(reports.last)
            #expect(report.service == "s" && report.routes == ["rest"])
            #expect(report.seen == sessions.seen && report.failed == sessions.failed)
            #expect(report.versions.map(\.version) == ["v1", "v2"])
            #expect(
                report.versions.map(\.places) == [sessions.stablePlaces, sessions.canaryPlaces])
        }
    }
}
