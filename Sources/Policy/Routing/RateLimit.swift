import Base

/// A policy of a rate limit: so many requests in so much time, and so many at once; for a route, or
/// for each value of a field of its requests.
public struct RateLimitPolicy: Sendable, Hashable {
    /// The number of requests in the time `per`, 1...1,000,000,000.
    public var requests: Int
    public var per: Duration
    /// Requests that may come at once after a time without any; 1 or more.
    public var burst: Int
    /// Buckets for single values; 0: one bucket for the route.
    public var keysMax: Int

    public init(requests: Int, per: Duration, burst: Int, keysMax: Int) {
        self.requests = requests
        self.per = per
        self.burst = burst
        self.keysMax = keysMax
    }
}

/// Token buckets of one route, exact over any number of threads: each is one word, the time at
/// which it will be full again (the generic cell rate algorithm, ITU-T I.371), moved by
/// compare-and-exchange.
///
/// With keys, buckets lie in a table of a fixed size. A bucket that is full says nothing, so its
/// place goes to the next key that needs one; keys that find no place share one bucket, which
/// limits them together: a flood of invented keys costs no memory and wins nothing.
public struct RateLimit: ~Copyable, Sendable {
    /// The verdict on one request.
    public struct Verdict: Sendable, BitwiseCopyable, Equatable {
        public var isAllowed: Bool
        /// The number of requests that might follow at once.
        public var remaining: Int
        /// Until the bucket is full again, or, for a refused request, until the next is allowed.
        public var wait: Duration
    }

    public let policy: RateLimitPolicy
    /// The seed of the hashes of keys. Clients must not know it: whoever can find a value with the
    /// hash of another client's value shares that client's bucket, and can keep it empty.
    private let seed: UInt64
    /// Nanoseconds between two requests at the limit.
    private let interval: UInt64
    /// The content of a full bucket, in nanoseconds.
    private let depth: UInt64
    /// The route's bucket, and behind it two words a place: the key, 0 for none, and its bucket.
    private let words: SharedCounters
    private let mask: UInt64

    /// The number of places that a key may have.
    private static let probes: UInt64 = 8

    /// - Parameter seed: of the hashes of keys; random for each process.
    public init(_ policy: RateLimitPolicy, seed: UInt64 = 0) {
        self.policy = policy
        self.seed = seed
        interval = UInt64(max(1, policy.per.nanoseconds / Int64(max(1, policy.requests))))
        let (product, overflow) = interval.multipliedReportingOverflow(
            by: UInt64(max(1, policy.burst)))
        depth = overflow ? 1 << 61 : min(product, 1 << 61)
        var places = policy.keysMax == 0 ? 0 : 16
        while places < policy.keysMax { places *= 2 }
        words = SharedCounters(count: 1 + places * 2)
        mask = UInt64(max(1, places)) - 1
    }

    /// Takes one request of the route's bucket.
    public func take(now: Instant) -> Verdict { take(bucket: 0, now.nanoseconds) }

    /// Gives a request of the route's bucket back that was taken and not used.
    public func giveBack() {
        while true {
            let held = words[0]
            if words.exchange(0, from: held, to: held > interval ? held &- interval : 0) { return }
        }
    }

    /// The key of a field's value.
    public func key(of value: Span<UInt8>) -> UInt64 { XXH64.hash(value, seed: seed) }

    /// The key of a client's address, whatever its port.
    public func key(of address: Address) -> UInt64 {
        func mixed(_ word: UInt64) -> UInt64 {
            var z = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
        let network = mixed(seed ^ address.high ^ UInt64(address.family.rawValue))
        return mixed(network ^ address.low)
    }

    /// Takes one request of a key's bucket.
    /// - Parameter key: a hash of the value; keys with the same hash share a bucket.
    public func take(key: UInt64, now: Instant) -> Verdict {
        guard policy.keysMax > 0 else { return take(now: now) }
        let bucket = bucket(of: key == 0 ? 1 : key, now.nanoseconds)
        return take(bucket: bucket ?? 0, now.nanoseconds)
    }

    /// The bucket that a key has, or gets now.
    private func bucket(of key: UInt64, _ now: UInt64) -> Int? {
        for probe in 0..<RateLimit.probes {
            let place = 1 + 2 * Int((key &+ probe) & mask)
            if words[place] == key { return place + 1 }
        }
        for probe in 0..<RateLimit.probes {
            let place = 1 + 2 * Int((key &+ probe) & mask)
            let held = words[place]
            if held == key { return place + 1 }
            // A bucket whose time is past is full: whoever it belonged to loses nothing, and
            // whoever gets it starts with a full one.
            if held != 0, words[place + 1] > now { continue }
            if words.exchange(place, from: held, to: key) || words[place] == key {
                return place + 1
            }
        }
        return nil
    }

    private func take(bucket: Int, _ now: UInt64) -> Verdict {
        while true {
            let held = words[bucket]
            let next = max(held, now) &+ interval
            if next > now &+ depth {
                return Verdict(
                    isAllowed: false, remaining: 0,
                    wait: .nanoseconds(Int64(clamping: next &- now &- depth)))
            }
            guard words.exchange(bucket, from: held, to: next) else { continue }
            return Verdict(
                isAllowed: true, remaining: Int((now &+ depth &- next) / interval),
                wait: .nanoseconds(Int64(clamping: next &- now)))
        }
    }
}
