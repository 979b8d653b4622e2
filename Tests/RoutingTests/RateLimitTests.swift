import Base
import Routing
import Testing

@Suite struct RateLimitTests {
    static let start = Instant(nanoseconds: 3_000_000_000)

    static func limit(
        _ requests: Int, per: Duration = .seconds(1), burst: Int, keys: Int = 0
    ) -> RateLimit {
        RateLimit(RateLimitPolicy(requests: requests, per: per, burst: burst, keysMax: keys))
    }

    /// A bucket as its description says: tokens that come evenly, and never more than it holds.
    struct Model {
        let perNanosecond: Double
        let burst: Double
        var tokens: Double
        var at: Instant

        mutating func take(_ now: Instant) -> Bool? {
            tokens = min(burst, tokens + Double((now - at).nanoseconds) * perNanosecond)
            at = now
            // Too near to a whole token for floating point to say.
            if abs(tokens - 1) < 1e-6 { return nil }
            guard tokens >= 1 else { return false }
            tokens -= 1
            return true
        }
    }

    @Test("keys of values and addresses differ from seed to seed, and agree within one")
    func seeded() {
        let policy = RateLimitPolicy(requests: 1, per: .seconds(1), burst: 1, keysMax: 10)
        let one = RateLimit(policy, seed: 1), two = RateLimit(policy, seed: 2)
        let value = Array("alice".utf8)
        let first = one.key(of: value.span), again = one.key(of: value.span)
        let other = two.key(of: value.span)
        #expect(first == again && first != other)
        // Chosen so that the words' exclusive or is that of the first address.
        let a = Address(family: .ipv6, port: 1, high: 0x2001_0db8 << 32, low: 5)
        var samePlace = a
        samePlace.port = 2
        let key = one.key(of: a), moved = one.key(of: samePlace), foreign = two.key(of: a)
        #expect(key == moved && key != foreign)
        let crafted = Address(family: .ipv6, port: 1, high: a.high ^ 7, low: a.low ^ 7)
        let hit = one.key(of: crafted)
        #expect(hit != key)
    }

    @Test("a bucket and a model of tokens that trickle in agree", arguments: 0..<60)
    func model(seed: Int) {
        var random = PRNG(seed: UInt64(seed))
        let requests = Int(random.below(200) + 1), burst = Int(random.below(50) + 1)
        let limit = RateLimitTests.limit(requests, burst: burst)
        var now = RateLimitTests.start
        var model = Model(
            perNanosecond: 1 / Double(1_000_000_000 / requests), burst: Double(burst),
            tokens: Double(burst), at: now)
        for _ in 0..<2_000 {
            now = now + .microseconds(Int64(random.below(20_000)))
            let verdict = limit.take(now: now)
            guard let wanted = model.take(now) else { return }
            #expect(verdict.isAllowed == wanted, "seed \(seed)")
            #expect(
                verdict.remaining == Int(model.tokens)
                    || abs(model.tokens - model.tokens.rounded()) < 1e-5, "seed \(seed)")
        }
    }

    @Test("a refused request is told when the next is allowed, to the nanosecond")
    func wait() {
        let limit = RateLimitTests.limit(10, burst: 3)
        let now = RateLimitTests.start
        let allowed = (0..<4).map { _ in limit.take(now: now).isAllowed }
        #expect(allowed == [true, true, true, false])
        let verdict = limit.take(now: now)
        #expect(verdict.wait == .milliseconds(100) && verdict.remaining == 0)
        let tooEarly = limit.take(now: now + .nanoseconds(99_999_999)).isAllowed
        let inTime = limit.take(now: now + .milliseconds(100)).isAllowed
        #expect(!tooEarly && inTime)
    }

    @Test("threads that come at once get exactly what the bucket holds")
    func threads() async {
        let box = SharedBox(RateLimitTests.limit(1, per: .seconds(3_600), burst: 10_000, keys: 100))
        let counts = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    (0..<5_000).count { _ in
                        box.value.take(key: 42, now: RateLimitTests.start).isAllowed
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(counts.reduce(0, +) == 10_000)
        box.release()
    }

    @Test("each key has a bucket of its own, and keys beyond the table share one")
    func keys() {
        let limit = RateLimitTests.limit(1, per: .seconds(3_600), burst: 2, keys: 16)
        let now = RateLimitTests.start
        var allowed = 0
        var random = PRNG(seed: 1)
        for _ in 0..<10_000 where limit.take(key: random.next(), now: now).isAllowed {
            allowed += 1
        }
        // 16 places of a bucket each, one request of each key, and 2 for all the others.
        #expect(allowed == 18)
        // Two hours later the buckets are full and their places go to other keys.
        let later = now + .seconds(7_200)
        let again = (0..<3).map { _ in limit.take(key: 7, now: later).isAllowed }
        #expect(again == [true, true, false])
    }

    @Test("a limit that no number can hold is a large one, not a trap")
    func extremes() {
        let limit = RateLimitTests.limit(1, per: .seconds(86_400 * 365), burst: 1_000_000_000)
        let verdict = limit.take(now: RateLimitTests.start)
        #expect(verdict.isAllowed)
    }
}
