import Base
import Testing
import Upstream

@Suite struct RetryTests {
    @Test(
        "over any span, retries are within the share of its requests and the floor of its seconds",
        arguments: 0..<60)
    func budget(seed: Int) {
        var random = PRNG(seed: UInt64(seed))
        let budget = RetryBudget(
            perRequest: Int(random.below(5_000)), perSecond: Int(random.below(20)))
        let state = ClusterState(id: 0)
        var now = Instant(nanoseconds: 7_000_000_000)
        // What happened, with the sums before it.
        var events: [(at: Instant, requests: Int, retries: Int)] = [(now, 0, 0)]
        var requests = 0, retries = 0
        for _ in 0..<600 {
            now =
                now + .microseconds(Int64(random.below(random.below(9) == 0 ? 4_000_000 : 20_000)))
            for _ in 0..<random.below(4) {
                if state.takeRequest(max: .max) { requests += 1 }
            }
            for _ in 0..<random.below(4)
            where state.takeRetry(max: .max, budget: budget, now: now) == nil {
                retries += 1
                state.freeRetry()
            }
            events.append((now, requests, retries))
        }
        for _ in 0..<300 {
            let i = Int(random.below(UInt64(events.count)))
            let j = Int(random.below(UInt64(events.count)))
            let a = events[min(i, j)], b = events[max(i, j)]
            let seconds = Double((b.at - a.at).nanoseconds) / 1e9
            let most =
                Double(budget.perRequest) / 10_000 * Double(b.requests - a.requests)
                + Double(budget.perSecond) * (seconds + 10) + 1
            #expect(Double(b.retries - a.retries) <= most + 0.001, "seed \(seed)")
        }
    }

    @Test("a budget that lay unused gives its reserve, and then no more than it earns")
    func reserve() {
        let state = ClusterState(id: 0)
        let budget = RetryBudget(perRequest: 2_000, perSecond: 10)
        let now = Instant(nanoseconds: 500_000_000_000)
        func spend(_ now: Instant) -> Int {
            var count = 0
            while state.takeRetry(max: .max, budget: budget, now: now) == nil { count += 1 }
            return count
        }
        let left = state.retriesLeft(budget, now: now)
        #expect(left == 100)
        #expect(spend(now) == 100)
        #expect(spend(now + .seconds(1)) == 10)
        for _ in 0..<50 { _ = state.takeRequest(max: .max) }
        #expect(spend(now + .seconds(1)) == 10)
        #expect(spend(now + .seconds(3_600)) == 100)
    }

    @Test("a budget of nothing allows nothing, and none at all everything")
    func extremes() {
        let state = ClusterState(id: 0)
        let now = Instant(nanoseconds: 500_000_000_000)
        let none = state.takeRetry(
            max: .max, budget: RetryBudget(perRequest: 0, perSecond: 0), now: now)
        #expect(none == .budget)
        let all = (0..<10_000).allSatisfy { _ in
            state.takeRetry(max: .max, budget: nil, now: now) == nil
        }
        #expect(all)
    }

    @Test("a smaller budget after a larger one is in force at once, and owes nothing")
    func changed() {
        let state = ClusterState(id: 0)
        let now = Instant(nanoseconds: 500_000_000_000)
        for _ in 0..<1_000 { _ = state.takeRequest(max: .max) }
        let large = RetryBudget(perRequest: 10_000, perSecond: 1_000)
        while state.takeRetry(max: .max, budget: large, now: now) == nil {}
        let small = RetryBudget(perRequest: 0, perSecond: 1)
        var count = 0
        while state.takeRetry(max: .max, budget: small, now: now + .seconds(2)) == nil {
            count += 1
        }
        #expect(count <= 10)
        let later = state.takeRetry(max: .max, budget: small, now: now + .seconds(4))
        #expect(later == nil)
    }

    @Test("retries under way are bounded, and one that ends makes room")
    func limit() {
        let state = ClusterState(id: 0)
        let now = Instant(nanoseconds: 0)
        let taken = (0..<3).map { _ in state.takeRetry(max: 2, budget: nil, now: now) == nil }
        #expect(taken == [true, true, false])
        state.freeRetry()
        let again = state.takeRetry(max: 2, budget: nil, now: now)
        #expect(again == nil)
    }

    @Test("requests in flight are bounded exactly, and all that began are counted")
    func requests() {
        let state = ClusterState(id: 0)
        let taken = (0..<5).count { _ in state.takeRequest(max: 3) }
        #expect(taken == 3)
        let counts = (state.requestCount, state.requestTotal)
        #expect(counts == (3, 3))
        for _ in 0..<3 { state.freeRequest() }
        let after = (state.requestCount, state.requestTotal)
        #expect(after == (0, 3))
    }

    @Test("waits double up to the longest, and are spread over all of it")
    func backoff() {
        var backoff = RetryBackoff()
        backoff.base = .milliseconds(20)
        backoff.longest = .milliseconds(100)
        var random = PRNG(seed: 1)
        for (retry, most) in [(1, 20), (2, 40), (3, 80), (4, 100), (200, 100)] {
            let waits = (0..<2_000).map { _ in
                backoff.wait(before: retry, random: &random).nanoseconds
            }
            #expect(waits.allSatisfy { (0...Int64(most) * 1_000_000).contains($0) })
            let mean = waits.reduce(0, +) / 2_000
            #expect(abs(mean - Int64(most) * 500_000) < Int64(most) * 30_000, "retry \(retry)")
        }
        backoff.base = .zero
        #expect(backoff.wait(before: 3, random: &random) == .zero)
    }

    @Test("conditions take the statuses that they name, and no other")
    func conditions() {
        func statuses(_ conditions: RetryPolicy.Conditions, codes: [UInt16] = []) -> [UInt16] {
            var policy = RetryPolicy()
            policy.conditions = conditions
            for code in codes { policy.codes.insert(code) }
            return [200, 304, 400, 404, 409, 429, 500, 501, 502, 503, 504, 599].filter {
                policy.takes(status: $0)
            }
        }
        #expect(statuses(.safe) == [])
        #expect(statuses(.reset) == [])
        #expect(statuses(.gatewayError) == [502, 503, 504])
        #expect(statuses(.serverError) == [500, 501, 502, 503, 504, 599])
        #expect(statuses(.retriable4xx) == [409])
        #expect(statuses([], codes: [429, 200, 599]) == [429, 599])
        var policy = RetryPolicy()
        policy.conditions = [.unavailable, .cancelled]
        #expect((0..<17).filter { policy.takes(grpcStatus: $0) } == [1, 14])
        #expect(policy.looksAtAnswers && !policy.takesReset)
        #expect(!RetryPolicy().repeatsSent)
    }
}
