import Base
import Routing
import Synchronization
import Testing

/// Shared by the threads of a test.
final class Counts: Sendable {
    let counts = SharedCounters(count: 3)
}

/// The properties of draws that splitting.md §2 promises.
@Suite struct SplitTests {
    static let weightSets: [[Int]] = [
        [99, 1], [50, 50], [90, 5, 5], [70, 20, 10], [84, 10, 5, 1], [40, 20, 20, 20], [1, 1, 1],
        [50, 10, 10, 10, 10, 10], [1], [0, 7, 3], [9_999, 1], [5_000, 3_000, 1_999, 1],
        [625, 625, 1, 8_749],
    ]

    @Test(
        "P1: every prefix is off by less than one request for every version", arguments: weightSets)
    func prefixBound(weights: [Int]) throws {
        let split = try #require(SplitWeights(weights))
        let draws = Draws(weights: split, seed: 5)
        var counts = [Int](repeating: 0, count: weights.count)
        var isBounded = true
        for n in 1...(3 * 8_192) {
            counts[draws.draw().version] += 1
            for (v, weight) in split.weights.enumerated() {
                // |count - n w / M| < 1, in integers.
                isBounded = isBounded && abs(counts[v] * split.sum - n * weight) < split.sum
            }
        }
        #expect(isBounded)
    }

    @Test("P2: every place of a block goes to each version with exactly its probability")
    func marginals() {
        for weights in [[9, 1], [7, 2, 1], [4, 2, 2, 2]] {
            let sum = weights.reduce(0, +)
            let rounds = 6_000
            var counts = [[Int]](repeating: [Int](repeating: 0, count: weights.count), count: sum)
            var layout = SplitLayout(weights: weights)
            for block in 0..<rounds {
                var slots: [UInt8] = []
                layout.append(block: UInt64(block), seed: 77, to: &slots)
                for (t, v) in slots.enumerated() { counts[t][Int(v)] += 1 }
            }
            for t in 0..<sum {
                for (v, weight) in weights.enumerated() {
                    let p = Double(weight) / Double(sum)
                    let sigma = (p * (1 - p) / Double(rounds)).squareRoot()
                    #expect(abs(Double(counts[t][v]) / Double(rounds) - p) < 4.5 * sigma)
                }
            }
        }
    }

    @Test("P2: traffic with a period gets the share too, in every phase")
    func periods() throws {
        let draws = Draws(weights: try #require(SplitWeights([50, 50])), seed: 8)
        let versions = (0..<100_000).map { _ in draws.draw().version }
        for period in 2...50 {
            for phase in 0..<period {
                var seen = 0, first = 0
                for i in stride(from: phase, to: versions.count, by: period) {
                    seen += 1
                    first += versions[i] == 0 ? 1 : 0
                }
                let share = Double(first) / Double(seen)
                #expect(abs(share - 0.5) < 4.5 * (0.25 / Double(seen)).squareRoot())
            }
        }
    }

    @Test("P3: processes are not in step: 1,000 of them send a 1 % canary its share of 30 each")
    func fleet() {
        var layout = SplitLayout(weights: [99, 1])
        var canary = 0
        for process in 0..<1_000 {
            // The first block of a process's draws.
            var slots: [UInt8] = []
            layout.append(block: 0, seed: UInt64(process) &* 0x9e37_79b9, to: &slots)
            canary += slots.prefix(30).count { $0 == 1 }
        }
        #expect((220...380).contains(canary), "\(canary)")
    }

    @Test("P5: eight threads take a million draws in all, and the totals are exact")
    func threads() async throws {
        let weights = try #require(SplitWeights([97, 2, 1]))
        let box = SharedBox(Draws(weights: weights, seed: 3))
        let shared = Counts()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<125_000 { _ = shared.counts.next(box.value.draw().version) }
                }
            }
        }
        let totals = (0..<3).map { shared.counts[$0] }
        #expect(totals == [970_000, 20_000, 10_000])
        box.release()
    }

    @Test("a draw's version is a function of seed and number, whoever lays the page out")
    func deterministic() throws {
        let weights = try #require(SplitWeights([84, 10, 5, 1]))
        let a = Draws(weights: weights, seed: 12), b = Draws(weights: weights, seed: 12)
        for n in 0..<20_000 {
            let draw = a.draw()
            if n % 4_000 == 0 { a.layOutAhead() }
            guard n % 97 == 0 else { continue }
            let replayed = b.version(of: draw.number)
            #expect(replayed == draw.version)
        }
    }

    @Test(
        "a layout's work is linear: a bounded number of steps for each slot and version",
        arguments: weightSets + [[4_999, 4_999, 1, 1], [9_000] + Array(repeating: 100, count: 10)])
    func linear(weights: [Int]) {
        let sum = weights.reduce(0, +)
        var layout = SplitLayout(weights: weights)
        var slots: [UInt8] = []
        let blocks = 20_000 / sum
        for block in 0..<blocks { layout.append(block: UInt64(block), seed: 4, to: &slots) }
        // Two edges a slot and version at most, each walked a few times within a small forest.
        #expect(layout.stepCount <= 16 * weights.count * sum * blocks)
        #expect(slots.count == sum * blocks)
    }

    @Test("weights are reduced, and what has no sum is refused")
    func weights() {
        #expect(SplitWeights([9_900, 100])?.weights == [99, 1])
        #expect(SplitWeights([0, 0]) == nil)
        #expect(SplitWeights([0, 5])?.only == 1)
    }
}
