import Base
import Testing
import Upstream

/// Random sequences of outcomes against a model that keeps the whole history and counts anew.
@Suite struct OutlierTests {
    /// Slow and obvious: what happened, in order.
    struct Model {
        var policy: OutlierPolicy
        var since: [OutlierEjection.Outcome] = []
        /// Begin and end of each ejection.
        var ejections: [(from: Instant, until: Instant)] = []
        var level = 0

        func isEjected(_ now: Instant) -> Bool { ejections.last.map { now < $0.until } ?? false }

        /// How many of the last outcomes are in a row of some kinds.
        func run(_ kinds: Set<OutlierEjection.Outcome>) -> Int {
            since.reversed().prefix { kinds.contains($0) }.count
        }

        mutating func record(_ outcome: OutlierEjection.Outcome, _ now: Instant) -> Bool {
            if isEjected(now) { return false }
            since.append(outcome)
            let errors = run([.serverError, .gatewayError, .localFailure])
            let gateway = run([.gatewayError, .localFailure])
            let local = run([.localFailure])
            func reaches(_ run: Int, _ max: Int) -> Bool { max > 0 && run >= max }
            return reaches(errors, policy.errorsInARowMax)
                || reaches(gateway, policy.gatewayErrorsInARowMax)
                || reaches(local, policy.localFailuresInARowMax)
        }

        mutating func eject(_ now: Instant) {
            if let last = ejections.last {
                let quiet = (now - last.until).nanoseconds / policy.interval.nanoseconds
                level = max(0, level - Int(quiet))
            }
            level += 1
            let time = min(
                max(policy.baseEjectionTime, policy.maxEjectionTime).nanoseconds,
                policy.baseEjectionTime.nanoseconds * Int64(level))
            ejections.append((now, now + .nanoseconds(time)))
            since = []
        }
    }

    @Test("the machine and a model that counts everything anew agree", arguments: 0..<200)
    func model(seed: Int) {
        var random = PRNG(seed: UInt64(seed))
        var policy = OutlierPolicy()
        policy.errorsInARowMax = Int(random.below(6))
        policy.gatewayErrorsInARowMax = Int(random.below(4))
        policy.localFailuresInARowMax = Int(random.below(4))
        policy.interval = .seconds(Int64(random.below(10) + 1))
        policy.baseEjectionTime = .seconds(Int64(random.below(20) + 1))
        policy.maxEjectionTime = .seconds(Int64(random.below(100)))
        var machine = OutlierEjection()
        var model = Model(policy: policy)
        var now = Instant(nanoseconds: 5_000_000_000)
        for _ in 0..<400 {
            now = now + .milliseconds(Int64(random.below(random.below(20) == 0 ? 60_000 : 300)))
            let isBack = machine.readmit(now: now)
            if isBack { #expect(model.ejections.last?.until ?? .never <= now) }
            #expect(machine.isEjected == model.isEjected(now), "seed \(seed)")
            let outcome = OutlierEjection.Outcome.allCases[Int(random.below(4))]
            let cause = machine.record(outcome, policy: policy)
            #expect((cause != nil) == model.record(outcome, now), "seed \(seed)")
            if let cause, random.below(3) > 0 {
                // Sometimes the limit on ejections forbids it, and the run goes on.
                let until = machine.eject(cause, now: now, policy: policy)
                model.eject(now)
                #expect(until == model.ejections.last?.until, "seed \(seed)")
            }
        }
    }

    @Test("5xx, gateway errors and failures without an answer are runs of their own kinds")
    func causes() {
        var policy = OutlierPolicy()
        policy.errorsInARowMax = 4
        policy.gatewayErrorsInARowMax = 3
        policy.localFailuresInARowMax = 2
        func cause(_ outcomes: [OutlierEjection.Outcome]) -> OutlierEjection.Cause? {
            var machine = OutlierEjection()
            return outcomes.reduce(nil) { _, outcome in machine.record(outcome, policy: policy) }
        }
        #expect(cause([.localFailure, .localFailure]) == .localFailures)
        #expect(cause([.gatewayError, .localFailure, .gatewayError]) == .gatewayErrors)
        #expect(cause([.serverError, .gatewayError, .gatewayError, .serverError]) == .errors)
        #expect(cause([.serverError, .serverError, .serverError]) == nil)
        #expect(cause([.gatewayError, .gatewayError, .success, .gatewayError]) == nil)
        #expect(OutlierEjection.Outcome(status: 499) == .success)
        #expect(OutlierEjection.Outcome(status: 501) == .serverError)
        #expect(OutlierEjection.Outcome(status: 504) == .gatewayError)
    }

    @Test("a success rate is an outlier's below the mean less so many deviations")
    func successRate() throws {
        let policy = SuccessRatePolicy()
        func tallies(_ successes: [Int], of requests: Int = 100) -> [SuccessRatePolicy.Tally] {
            successes.map { .init(requests: requests, successes: $0) }
        }
        let some = tallies([100, 100, 99, 100, 98, 60])
        let threshold = try #require(policy.threshold(some))
        #expect(some.map { policy.isOutlier($0, threshold: threshold) }.firstIndex(of: true) == 5)
        #expect(some.count { policy.isOutlier($0, threshold: threshold) } == 1)
        // Equal ones have no outlier, however bad all of them are.
        let equal = tallies([10, 10, 10, 10, 10])
        let level = try #require(policy.threshold(equal))
        #expect(!equal.contains { policy.isOutlier($0, threshold: level) })
        // Too few endpoints, or too few requests of each.
        #expect(policy.threshold(tallies([100, 100, 100, 0])) == nil)
        #expect(policy.threshold(tallies([99, 99, 99, 99, 0], of: 99)) == nil)
    }
}

/// Endpoints and their cluster together: what the workers share.
@Suite struct EndpointStateTests {
    static let start = Instant(nanoseconds: 1_000_000_000)

    @Test(
        "never more than the limit are out at one time, and each comes back by itself",
        arguments: [
            (3, 50, 1), (4, 50, 2), (1, 50, 0), (1, 100, 1), (10, 10, 1), (10, 0, 0), (2, 10, 1),
        ])
    func limit(count: Int, percent: Int, allowed: Int) {
        var policy = OutlierPolicy()
        policy.maxEjectionPercent = percent
        let fixture = BalancingTests.fixture(count, .roundRobin) { $0.outlier = policy }
        var out = 0
        for _ in 0..<20 {
            for state in fixture.states {
                let cause = state.value.failed(
                    .serverError, policy, cluster: fixture.cluster.state.value,
                    endpointCount: count, now: EndpointStateTests.start)
                if cause != nil { out += 1 }
            }
        }
        #expect(out == allowed)
        let later = EndpointStateTests.start + .seconds(31)
        var isIn = true
        for i in 0..<count { isIn = fixture.cluster.isIn(i, now: later) && isIn }
        // Asking changes nothing; choosing takes them back.
        let before = fixture.cluster.state.value.ejectedCount
        #expect(isIn && before == allowed)
        var turn: UInt32 = 0, random = PRNG(seed: 1)
        let choice = fixture.cluster.choose(
            hash: 0, turn: &turn, tried: .init(), now: later, random: &random)
        let left = fixture.cluster.state.value.ejectedCount
        #expect(choice != nil && left == 0)
    }

    @Test("the second ejection of an endpoint is twice as long as the first")
    func longer() {
        let policy = OutlierPolicy()
        let fixture = BalancingTests.fixture(3, .roundRobin) { $0.outlier = policy }
        func eject(_ now: Instant) -> Instant? {
            for _ in 0..<5 {
                _ = fixture.states[0].value.failed(
                    .localFailure, policy, cluster: fixture.cluster.state.value, endpointCount: 3,
                    now: now)
            }
            return fixture.states[0].value.view(now: now).ejectedUntil
        }
        let first = eject(EndpointStateTests.start)
        #expect(first == EndpointStateTests.start + .seconds(30))
        let again = EndpointStateTests.start + .seconds(31)
        #expect(eject(again) == again + .seconds(60))
        let isOut = fixture.states[0].value.isOut(now: again)
        #expect(isOut)
    }

    @Test("a success ends a run, and costs nothing when there is none")
    func success() {
        let policy = OutlierPolicy()
        let fixture = BalancingTests.fixture(3, .roundRobin) { $0.outlier = policy }
        let state = fixture.states[0]
        for _ in 0..<20 {
            for _ in 0..<4 {
                let cause = state.value.failed(
                    .gatewayError, policy, cluster: fixture.cluster.state.value, endpointCount: 3,
                    now: EndpointStateTests.start)
                #expect(cause == nil)
            }
            let isFailing = state.value.condition == .failing
            state.value.succeeded(policy)
            let isWell = state.value.condition.isEmpty
            #expect(isFailing && isWell)
        }
    }

    @Test("reasons to be out are told apart: one that goes leaves the others")
    func reasons() {
        let policy = OutlierPolicy()
        let fixture = BalancingTests.fixture(3, .roundRobin)
        let state = fixture.states[0]
        let now = EndpointStateTests.start
        _ = state.value.takeOut()
        #expect(state.value.checked(isWell: false, .init(), warmup: nil, now: now) != nil)
        for _ in 0..<5 {
            _ = state.value.failed(
                .localFailure, policy, cluster: fixture.cluster.state.value, endpointCount: 3,
                now: now)
        }
        let all = state.value.condition
        #expect(all == [.refused, .unhealthy, .ejected])
        state.value.bringBack(warmup: nil, now: now)
        let later = now + .seconds(60)
        let isOut = state.value.isOut(now: later)
        #expect(isOut, "its checks still fail")
        for _ in 0..<2 { _ = state.value.checked(isWell: true, .init(), warmup: nil, now: later) }
        let isStillOut = state.value.isOut(now: later)
        #expect(!isStillOut)
        state.value.pardon(cluster: fixture.cluster.state.value)
        let none = state.value.condition
        #expect(none.isEmpty)
    }

    @Test("tallies count each outcome once, whoever counts")
    func tallies() async {
        var policy = OutlierPolicy()
        policy.successRate = SuccessRatePolicy()
        policy.errorsInARowMax = 0
        policy.localFailuresInARowMax = 0
        let fixture = BalancingTests.fixture(2, .roundRobin) { $0.outlier = policy }
        let state = fixture.states[0]
        for i in 0..<1_000 {
            if i % 4 == 0 {
                _ = state.value.failed(
                    .serverError, policy, cluster: fixture.cluster.state.value, endpointCount: 2,
                    now: EndpointStateTests.start)
            } else {
                state.value.succeeded(policy)
            }
        }
        let tally = state.value.takeTally(), none = state.value.takeTally()
        #expect(tally.requests == 1_000 && tally.successes == 750 && none.requests == 0)
    }
}
