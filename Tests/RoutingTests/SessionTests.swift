import Base
import Routing
import Testing

/// The properties of sessions that splitting.md §3 promises.
@Suite struct SessionTests {
    static func intervals(_ weights: [Int], stable: Int = 0) throws -> SessionIntervals {
        SessionIntervals(weights: try #require(SplitWeights(weights)), stable: stable)
    }

    @Test("P6: with two canaries exactly the mass moves by which their shares change")
    func minimal() throws {
        var random = PRNG(seed: 4)
        for _ in 0..<300 {
            let a = Int(random.below(50)), b = Int(random.below(50))
            let c = Int(random.below(50)), d = Int(random.below(50))
            let before = try SessionTests.intervals([100 - a - b, a, b])
            let after = try SessionTests.intervals([100 - c - d, c, d])
            let name: (Int) -> String = { "v\($0)" }
            let moved = before.moved(to: after, name: name, nextName: name)
            #expect(abs(moved - Double(abs(a - c) + abs(b - d)) / 100) < 1e-9)
        }
    }

    @Test("P6: users of a version whose share rises all stay")
    func monotone() throws {
        var random = PRNG(seed: 6)
        let steps = [0, 1, 5, 25, 50, 100]
        let positions = (0..<20_000).map { _ in random.next() }
        var canary: Set<Int> = []
        for step in steps {
            let intervals = try SessionTests.intervals([100 - step, step])
            let now = Set(positions.indices.filter { intervals.version(at: positions[$0]) == 1 })
            #expect(canary.isSubset(of: now))
            canary = now
        }
        let back = try SessionTests.intervals([100, 0])
        let allBack = positions.allSatisfy { back.version(at: $0) == 0 }
        #expect(allBack)
    }

    @Test("with three canaries the mass that moves stays within the stack's bound")
    func stacked() throws {
        var random = PRNG(seed: 7)
        let name: (Int) -> String = { "v\($0)" }
        for _ in 0..<200 {
            let old = (0..<3).map { _ in Int(random.below(30)) }
            let new = (0..<3).map { _ in Int(random.below(30)) }
            let before = try SessionTests.intervals([100 - old.reduce(0, +)] + old)
            let after = try SessionTests.intervals([100 - new.reduce(0, +)] + new)
            let moved = before.moved(to: after, name: name, nextName: name)
            // The third stacks on the first: it shifts by what the first changes.
            let bound = zip(old, new).reduce(0) { $0 + abs($1.0 - $1.1) } + abs(old[0] - new[0])
            #expect(moved <= Double(bound) / 100 + 1e-9)
        }
    }

    @Test("P7: new sessions are split exactly, and later weights cut them evenly")
    func placed() throws {
        let first = try #require(SplitWeights([90, 10]))
        let draws = Draws(weights: first, seed: 21)
        let intervals = SessionIntervals(weights: first, stable: 0)
        let positions = (0..<10_000).map { _ in
            let version = draws.draw().version
            let position = intervals.position(in: version, at: draws.nextPlace(version: version))
            let found = intervals.version(at: position)
            #expect(found == version)
            return position
        }
        for share in [0, 1, 5, 10, 25, 50, 75, 99, 100] {
            let later = try SessionTests.intervals([100 - share, share])
            let seen = positions.count { later.version(at: $0) == 1 }
            #expect(abs(Double(seen) - Double(share) * 100) <= 4 + 50)
        }
    }

    /// Positions of the first new sessions of each of many processes that all serve one version.
    static func fleet(_ processes: Int, sessions: Int) throws -> [UInt64] {
        let weights = try #require(SplitWeights([100, 0]))
        let intervals = SessionIntervals(weights: weights, stable: 0)
        var random = PRNG(seed: 5)
        return (0..<processes).flatMap { _ -> [UInt64] in
            let draws = Draws(weights: weights, seed: random.next())
            return (0..<sessions).map { _ in
                intervals.position(in: 0, at: draws.nextPlace(version: 0))
            }
        }
    }

    @Test("new sessions of many processes that begin alike have positions of their own")
    func fleetPositions() throws {
        #expect(Set(try SessionTests.fleet(1_000, sessions: 7)).count == 7_000)
    }

    @Test("a later cut takes its share of the sessions of a fleet, however few each process has")
    func fleetShare() throws {
        let positions = try SessionTests.fleet(1_000, sessions: 7)
        for share in [1, 2, 5, 10, 50] {
            let later = try SessionTests.intervals([100 - share, share])
            let seen = Double(positions.count { later.version(at: $0) == 1 })
            let mean = 7_000 * Double(share) / 100
            // 4.5 deviations of as many independent positions; places of one process repel.
            #expect(abs(seen - mean) <= 4.5 * (mean * (1 - Double(share) / 100)).squareRoot())
        }
    }

    @Test("one seed gives one sequence of places, and each version has its own")
    func placesOfASeed() throws {
        let weights = try #require(SplitWeights([50, 50]))
        let one = Draws(weights: weights, seed: 3), same = Draws(weights: weights, seed: 3)
        for _ in 0..<100 {
            let first = one.nextPlace(version: 0), second = one.nextPlace(version: 1)
            #expect(first != second)
            #expect(first == same.nextPlace(version: 0))
            #expect(second == same.nextPlace(version: 1))
        }
    }

    @Test("P8: hashed cookies are uniform by chi-square")
    func uniform() {
        var buckets = [Int](repeating: 0, count: 256)
        let count = 1_000_000
        for i in 0..<count {
            var buffer = ByteBuffer(capacity: 32)
            buffer.append("session-")
            buffer.appendDecimal(UInt64(i))
            buckets[Int(XXH64.hash(buffer.readable, seed: 99) >> 56)] += 1
        }
        let expected = Double(count) / 256
        let chi = buckets.reduce(0.0) {
            $0 + (Double($1) - expected) * (Double($1) - expected) / expected
        }
        // 255 degrees of freedom: mean 255, deviation 22.6.
        #expect(chi > 160 && chi < 360, "\(chi)")
    }

    @Test("P8: canary sets are nested over a whole rollout, for 100,000 sessions")
    func nested() throws {
        let salt = XXH64.hash("exp", seed: 0)
        let positions = (0..<100_000).map { XXH64.hash("user-\($0)", seed: salt) }
        var before: [Bool] = positions.map { _ in false }
        for share in [0, 1, 5, 25, 50, 100] {
            let intervals = try SessionTests.intervals([100 - share, share])
            let now = positions.map { intervals.version(at: $0) == 1 }
            #expect(zip(before, now).allSatisfy { !$0.0 || $0.1 })
            before = now
        }
    }

    @Test("the issued cookie reads back, and nothing else does")
    func cookie() {
        let key = SipHash(k0: 1, k1: 2), other = SipHash(k0: 3, k1: 4)
        let ticket = StickyCookie.Ticket(
            position: 0x0123_4567_89ab_cdef, issuedSeconds: 1_800_000_000)
        func text(_ key: SipHash?) -> [UInt8] {
            var out = ByteBuffer()
            StickyCookie.encode(ticket, key: key, to: &out)
            return Array(ASCII.string(out.readable).utf8)
        }
        func read(_ text: [UInt8], _ keys: [SipHash]) -> StickyCookie.Ticket? {
            StickyCookie.decode(text.span, keys: keys, acceptsUnsigned: keys.isEmpty)
        }
        #expect(text(key).count == 28)
        var second = ticket
        second.key = 1
        #expect(read(text(key), [other, key]) == second, "it says which key it was")
        #expect(read(text(nil), []) == ticket)
        #expect(read(text(key), [other]) == nil)
        #expect(read(text(nil), [key]) == nil)
        #expect(read(text(key), []) == nil)
        for i in 0..<28 {
            var forged = text(key)
            forged[i] = forged[i] == 0x41 ? 0x42 : 0x41
            #expect(read(forged, [key]) == nil)
        }
    }
}
