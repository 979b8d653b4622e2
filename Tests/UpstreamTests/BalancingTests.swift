import Base
import Testing
import Upstream

@Suite struct BalancingTests {
    struct Fixture: ~Copyable {
        let cluster: Cluster
        let states: [SharedBox<EndpointState>]
    }

    static func fixture(
        _ count: Int, _ policy: BalancingPolicy, _ change: (inout ClusterSpec) -> Void = { _ in }
    ) -> Fixture {
        let addresses = (0..<count).map { Address.ipv4(10, 0, 0, UInt8($0 + 1), port: 80) }
        let states = addresses.enumerated().map { SharedBox(EndpointState(id: $0, address: $1)) }
        var spec = ClusterSpec(
            service: "s", version: "v", endpoints: addresses, policy: policy, limits: PoolLimits(),
            connectTimeout: .seconds(1))
        change(&spec)
        return Fixture(
            cluster: Cluster(spec, state: SharedBox(ClusterState(id: 0)), endpoints: states),
            states: states)
    }

    static func choices(
        _ cluster: borrowing Cluster, _ count: Int, hash: (Int) -> UInt64 = { _ in 0 },
        load: (Int) -> Int = { _ in 0 }, tried: Cluster.Tried = Cluster.Tried(),
        now: Instant = Instant(nanoseconds: 0)
    ) -> [Int] {
        var turn: UInt32 = 0
        var random = PRNG(seed: 1)
        var picks: [Int] = []
        for i in 0..<count {
            let pick = cluster.choose(
                hash: hash(i), turn: &turn, tried: tried, now: now, random: &random)
            guard let pick else {
                picks.append(-1)
                continue
            }
            let prefersRival = pick.rival >= 0 && load(pick.rival) < load(pick.position)
            picks.append(prefersRival ? pick.rival : pick.position)
        }
        return picks
    }

    @Test("round robin serves each in turn, and passes over those that are out")
    func roundRobin() {
        let fixture = BalancingTests.fixture(3, .roundRobin)
        let all = BalancingTests.choices(fixture.cluster, 300)
        for i in 0..<3 { #expect(all.count { $0 == i } == 100) }
        let isFirst = fixture.states[1].value.takeOut(), isAgain = fixture.states[1].value.takeOut()
        #expect(isFirst && !isAgain)
        #expect(!BalancingTests.choices(fixture.cluster, 300).contains(1))
    }

    @Test("least request prefers the idler of two, and nothing is chosen when all are out")
    func leastRequest() {
        let fixture = BalancingTests.fixture(4, .leastRequest)
        let picks = BalancingTests.choices(fixture.cluster, 4_000, load: { $0 == 0 ? 10 : 0 })
        #expect(!picks.contains(0))
        for state in fixture.states { _ = state.value.takeOut() }
        #expect(BalancingTests.choices(fixture.cluster, 1) == [-1])
        let isAvailable = fixture.cluster.isAvailable(now: Instant(nanoseconds: 0))
        #expect(!isAvailable)
    }

    @Test(
        "hashed policies keep a key, share evenly, and move only the keys of what left",
        arguments: [BalancingPolicy.ringHash, .maglev])
    func hashed(policy: BalancingPolicy) {
        let fixture = BalancingTests.fixture(5, policy)
        var random = PRNG(seed: 2)
        let keys = (0..<20_000).map { _ in random.next() }
        let before = BalancingTests.choices(fixture.cluster, keys.count, hash: { keys[$0] })
        #expect(before == BalancingTests.choices(fixture.cluster, keys.count, hash: { keys[$0] }))
        for i in 0..<5 {
            let share = before.count { $0 == i }
            #expect(share > 2_400 && share < 5_600, "\(share)")
        }
        _ = fixture.states[3].value.takeOut()
        let after = BalancingTests.choices(fixture.cluster, keys.count, hash: { keys[$0] })
        for (a, b) in zip(before, after) where a != 3 { #expect(a == b) }
        #expect(!after.contains(3))
    }

    @Test(
        "what was tried is avoided while there is another, and taken again when there is none",
        arguments: [BalancingPolicy.leastRequest, .roundRobin, .random, .ringHash, .maglev])
    func tried(policy: BalancingPolicy) {
        let fixture = BalancingTests.fixture(3, policy)
        var tried = Cluster.Tried()
        tried.insert(1)
        #expect(!BalancingTests.choices(fixture.cluster, 200, tried: tried).contains(1))
        tried.insert(0)
        #expect(Set(BalancingTests.choices(fixture.cluster, 200, tried: tried)) == [2])
        _ = fixture.states[2].value.takeOut()
        #expect(!BalancingTests.choices(fixture.cluster, 200, tried: tried).contains(2))
        #expect(!BalancingTests.choices(fixture.cluster, 200, tried: tried).contains(-1))
    }

    @Test(
        "below the panic threshold all endpoints are used, those that are out too",
        arguments: [BalancingPolicy.leastRequest, .roundRobin, .random, .ringHash, .maglev])
    func panic(policy: BalancingPolicy) {
        let fixture = BalancingTests.fixture(4, policy) { $0.healthyPercentMin = 50 }
        var random = PRNG(seed: 3)
        let keys = (0..<1_000).map { _ in random.next() }
        for i in 0..<2 { _ = fixture.states[i].value.takeOut() }
        let half = Set(BalancingTests.choices(fixture.cluster, 1_000, hash: { keys[$0] }))
        #expect(half == [2, 3])
        _ = fixture.states[2].value.takeOut()
        let few = Set(BalancingTests.choices(fixture.cluster, 1_000, hash: { keys[$0] }))
        // On a ring a key goes on to the next endpoint that is in before it would panic.
        #expect(few == (policy == .ringHash ? [3] : [0, 1, 2, 3]))
        _ = fixture.states[3].value.takeOut()
        #expect(!BalancingTests.choices(fixture.cluster, 100, hash: { keys[$0] }).contains(-1))
        let isAvailable = fixture.cluster.isAvailable(now: Instant(nanoseconds: 0))
        #expect(isAvailable)
    }

    @Test(
        "an endpoint that is back gets its share little by little",
        arguments: [BalancingPolicy.leastRequest, .roundRobin, .random])
    func warmup(policy: BalancingPolicy) {
        let start = Instant(nanoseconds: 1_000_000_000)
        let fixture = BalancingTests.fixture(4, policy) {
            $0.warmup = Warmup(duration: .seconds(10))
        }
        fixture.states[0].value.warm(start)
        func share(after seconds: Int64) -> Int {
            BalancingTests.choices(fixture.cluster, 8_000, now: start + .seconds(seconds))
                .count { $0 == 0 }
        }
        let shares = [0, 5, 9, 10].map(share)
        #expect(shares[0] > 100 && shares[0] < 330, "a tenth of 2,000: \(shares)")
        #expect(shares[1] > 800 && shares[1] < 1_200, "a half: \(shares)")
        #expect(shares[2] > 1_600, "\(shares)")
        #expect(shares[3] > 1_850, "\(shares)")
        let isWarming = fixture.states[0].value.condition.contains(.warming)
        #expect(!isWarming)
    }

    @Test("shared limits are exact, and a freed place can be taken again")
    func limits() {
        let state = ClusterState(id: 1)
        let taken = (0..<3).map { _ in state.takeConnection(max: 2) }
        #expect(taken == [true, true, false])
        state.freeConnection()
        let again = state.takeConnection(max: 2)
        #expect(again)
        state.wait(worker: 3)
        let waiters = state.waiters
        #expect(waiters == 8)
        state.stopWaiting(worker: 3)
        let left = state.waiters
        #expect(left == 0)
    }

    @Test("probes wait 100 ms, then twice as long each time, up to 2 s")
    func backoff() {
        var backoff = ProbeBackoff()
        let waits = (0..<7).map { _ in backoff.advance().nanoseconds / 1_000_000 }
        #expect(waits == [100, 200, 400, 800, 1_600, 2_000, 2_000])
    }
}
