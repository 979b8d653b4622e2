import Base
import Configuration
import Routing
import Testing

/// A change of weights alone: what is shared with the snapshot before, and that it decides like a
/// full compilation.
@Suite struct ReweightingTests {
    /// A random configuration; the same shape gives the same text but for its weights.
    struct Drawn {
        var services = 0
        var text = ""

        init(shape: UInt64, weights: UInt64) {
            var shape = PRNG(seed: shape), weights = PRNG(seed: weights)
            services = Int(shape.below(3)) + 1
            var counts: [Int] = []
            text = "listeners: [{ name: http, address: \"127.0.0.1:8080\" }]\nservices:\n"
            for s in 0..<services {
                let count = Int(shape.below(4)) + 1
                counts.append(count)
                text += "  s\(s):\n    stable: v\(shape.below(UInt64(count)))\n"
                if shape.below(2) == 0 { text += "    hosts: [\"s\(s).test\"]\n" }
                if shape.below(2) == 0 { text += "    sticky: { cookie: c }\n" }
                text += "    versions:\n"
                for v in 0..<count {
                    text +=
                        "      v\(v): { weight: \(Drawn.weight(v, &weights)), "
                        + "endpoints: [\"127.0.0.1:\(s * 10 + v + 1)\"] }\n"
                }
            }
            text += "routes:\n"
            for r in 0..<Int(shape.below(8)) + 1 {
                let s = Int(shape.below(UInt64(services)))
                text += "  - { name: r\(r), match: { path: { prefix: /r\(r) } }, "
                switch shape.below(4) {
                case 0: text += "to: s\(s)/v0 }\n"
                case 1:
                    let split = (0..<counts[s]).map { "v\($0): \(Drawn.weight($0, &weights))" }
                    text += "to: s\(s), split: { \(split.joined(separator: ", ")) } }\n"
                case 2: text += "redirect: { path: /elsewhere } }\n"
                default: text += "to: s\(s) }\n"
                }
            }
        }

        /// The first version always has some, so that no split is without.
        private static func weight(_ version: Int, _ random: inout PRNG) -> Int {
            // Few values, so that some splits keep their weights.
            Int(random.below(3)) + (version == 0 ? 1 : 0)
        }
    }

    /// A process of its own: two of one seed draw alike.
    final class Process {
        let registry = SharedRegistry(metrics: .init(), seed: 7)
        var basis: SnapshotCompiler.Basis?

        func inputs(_ generation: UInt64) -> SnapshotCompiler.Inputs {
            .init(generation: generation, hash: "\(generation)")
        }

        /// - Returns: whether plans were shared.
        func publish(_ document: Document, shares: Bool) -> Bool {
            let inputs = inputs((basis?.inputs.generation ?? 0) + 1)
            var isReweighted = false
            let snapshot: SharedBox<Snapshot>
            if shares, let basis {
                (snapshot, isReweighted) = SnapshotCompiler.compile(
                    document, inputs, registry: registry, after: basis)
            } else {
                snapshot = SnapshotCompiler.compile(document, inputs, registry: registry)
            }
            basis?.snapshot.release()
            basis = .init(snapshot: snapshot, inputs: inputs)
            return isReweighted
        }

        deinit { basis?.snapshot.release() }
    }

    func document(_ text: String) throws -> Document {
        let reading = ConfigurationReading(Array(text.utf8))
        return try #require(reading.document, "\(reading.errors.map(\.message)): \(text)")
    }

    @Test("a change of weights alone decides every request and session like a full compilation")
    func equivalence() throws {
        for shape in 1...25 as ClosedRange<UInt64> {
            let full = Process(), light = Process()
            for step in 1...3 as ClosedRange<UInt64> {
                let next = try document(Drawn(shape: shape, weights: shape &* 31 &+ step).text)
                _ = full.publish(next, shares: false)
                let isReweighted = light.publish(next, shares: true)
                #expect(isReweighted == (step > 1))
                let a = try #require(full.basis).snapshot, b = try #require(light.basis).snapshot
                #expect(a.value.generation == b.value.generation)
                #expect(a.value.hash == b.value.hash)
                #expect(a.value.document == b.value.document)
                for i in 0..<a.value.epochs.count {
                    #expect(a.value.epochs[i] == b.value.epochs[i])
                }
                try compare(a, b, "shape \(shape), step \(step)")
            }
        }
    }

    /// Takes as many draws of both, and compares what they and the sessions come to.
    func compare(
        _ a: SharedBox<Snapshot>, _ b: SharedBox<Snapshot>, _ label: String
    ) throws {
        try #require(a.value.splits.count == b.value.splits.count)
        try #require(a.value.routes.count == b.value.routes.count)
        for r in 0..<a.value.routes.count {
            #expect(a.value.routes[r].split == b.value.routes[r].split)
            #expect(a.value.routes[r].pinned == b.value.routes[r].pinned)
            #expect(a.value.routes[r].service == b.value.routes[r].service)
            #expect(a.value.routes[r].rows == b.value.routes[r].rows)
        }
        var random = PRNG(seed: 3)
        for i in 0..<a.value.splits.count {
            let x = a.value.splits[i], y = b.value.splits[i]
            // The numbers of the draws tell whether a split went on or began anew.
            for _ in 0..<30 {
                let mine = x.draws.value.draw(), other = y.draws.value.draw()
                #expect(mine.number == other.number, "\(label), split \(i)")
                #expect(mine.version == other.version, "\(label), split \(i)")
                let position = random.next()
                let here = x.intervals.value.version(at: position)
                let there = y.intervals.value.version(at: position)
                #expect(here == there, "\(label), split \(i)")
                let place = x.draws.value.nextPlace(version: mine.version)
                let twin = y.draws.value.nextPlace(version: mine.version)
                #expect(place == twin, "\(label), split \(i)")
            }
        }
    }

    @Test("endpoints keep their numbers and rows their slots, and draws of other routes go on")
    func sharing() throws {
        let text = """
            listeners: [{ name: http, address: "127.0.0.1:8080" }]
            services:
              s: { versions: { a: { weight: 9, endpoints: ["127.0.0.1:1"] }, b: { weight: 1, endpoints: ["127.0.0.1:2"] } } }
            routes:
              - { name: own, match: { path: { prefix: /own } }, to: s, split: { a: 1, b: 1 } }
              - { name: rest, to: s }
            """
        let process = Process()
        let first = try document(text)
        _ = process.publish(first, shares: false)
        let before = try #require(process.basis).snapshot
        before.retain()
        defer { before.release() }
        for _ in 0..<5 { _ = before.value.splits[0].draws.value.draw() }
        for _ in 0..<5 { _ = before.value.splits[1].draws.value.draw() }
        let next = try first.reweighted([Reweighting(.service("s"), ["a": 1, "b": 3])])
        let isReweighted = process.publish(next, shares: true)
        #expect(isReweighted)
        let after = try #require(process.basis).snapshot
        #expect(after.value.splits[0].draws.value.count == 5)
        #expect(after.value.splits[1].draws.value.count == 0)
        #expect(after.value.splits[1].draws.value.weights == SplitWeights([1, 3]))
        let number = before.value.versions[0].cluster.value.endpoints[0].id
        #expect(after.value.versions[0].cluster.value.endpoints[0].id == number)
        #expect(after.value.rows[0].slot == before.value.rows[0].slot)
        // The weights come back: a new block, not the one that was left.
        let isBack = process.publish(first, shares: true)
        #expect(isBack)
        let back = try #require(process.basis).snapshot
        #expect(back.value.splits[0].draws.value.count == 5)
        #expect(back.value.splits[1].draws.value.count == 0)
    }

    @Test("what the shared plans name outlives the snapshot that they were compiled for")
    func ownership() throws {
        let process = Process()
        let text = Drawn(shape: 5, weights: 1).text
        _ = process.publish(try document(text), shares: false)
        for weights in 2...200 as ClosedRange<UInt64> {
            let next = try document(Drawn(shape: 5, weights: weights).text)
            let isReweighted = process.publish(next, shares: true)
            #expect(isReweighted)
        }
        let last = try #require(process.basis).snapshot
        #expect(last.value.versions[0].cluster.value.endpoints.count == 1)
        let name = ASCII.string(last.value.store.bytes(last.value.services[0].name))
        #expect(name == "s0")
    }

    @Test("a file that differs elsewhere too is compiled whole", arguments: DiffTests.edits)
    func others(old: String, new: String, field: String, line: Int) throws {
        let before = try document(DiffTests.base)
        let after = try document(Text.replacing(DiffTests.base, old, with: new))
        #expect(!after.isSameButForWeights(as: before), "\(field)")
        #expect(after.isSameButForWeights(as: after))
    }

    @Test("comments, blank lines and other weights are no other difference")
    func alike() throws {
        let before = try document(DiffTests.base)
        var text = Text.replacing(DiffTests.base, "services:", with: "# a comment\n\nservices:")
        #expect(try document(text) == before)
        text = Text.replacing(text, "90%", with: "5")
        text = Text.replacing(text, "10%", with: "1")
        let after = try document(text)
        #expect(after != before)
        #expect(after.isSameButForWeights(as: before))
    }

    @Test("a split that begins or ceases to be is compiled whole")
    func noSplit() throws {
        func text(_ weight: Int) -> String {
            "listeners: [{ name: http, address: \"127.0.0.1:8080\" }]\nservices:\n"
                + "  s: { versions: { a: { weight: \(weight), endpoints: [\"127.0.0.1:1\"] }, "
                + "b: { weight: 0, endpoints: [\"127.0.0.1:2\"] } } }\n"
                + "routes: [{ name: r, to: s/a }]\n"
        }
        let with = try document(text(1))
        var without = with
        without.services[0].versions[0].weight = 0
        without.services[0].hosts = ["s.test"]
        var again = without
        again.services[0].versions[0].weight = 1
        let process = Process()
        _ = process.publish(without, shares: false)
        let began = process.publish(again, shares: true)
        #expect(!began)
        let ceased = process.publish(without, shares: true)
        #expect(!ceased)
        #expect(try #require(process.basis).snapshot.value.splits.count == 0)
    }

    @Test("weights that cannot be are refused with a reason, and the document stays")
    func refusals() throws {
        let document = try document(DiffTests.base)
        func refusal(_ split: Reweighting.Split, _ weights: [String: Int]) -> ReweightingError? {
            do throws(ReweightingError) {
                _ = try document.reweighted([Reweighting(split, weights)])
                return nil
            } catch {
                return error
            }
        }
        #expect(refusal(.service("t"), ["v1": 1]) == .noService("t"))
        #expect(refusal(.route("t"), ["v1": 1]) == .noRoute("t"))
        #expect(refusal(.route("a"), ["v1": 1]) == .noSplit(route: "a"))
        #expect(
            refusal(.service("s"), ["v3": 1]) == .noVersion(service: "s", version: "v3"))
        #expect(refusal(.service("s"), ["v1": -1]) == .negative(version: "v1"))
        #expect(refusal(.route("rest"), ["v1": 0]) == .noWeight)
        #expect(refusal(.route("rest"), ["v1": 9_999, "v2": 2]) == .tooFine(sum: 10_001))
        #expect(refusal(.route("rest"), ["v1": 9_999, "v2": 1]) == nil)
    }
}
