import Base
import Configuration
import Evidence
import JSON
import Routing
import Testing

/// The overlay as a value: its text, fingerprints, and who wins where file and overlay differ.
@Suite struct OverlayTests {
    /// A random service "s" beside another, whose parts can be drawn anew one by one.
    struct Section {
        var weights: [Int]
        var stable: Int
        var own: [Int]?
        var isSticky: Bool
        var isEmpty: [Bool]
        var extra = ""

        init(_ random: inout PRNG) {
            weights = Section.weights(&random)
            stable = Int(random.below(3))
            own = random.below(2) == 0 ? Section.weights(&random) : nil
            isSticky = random.below(2) == 0
            isEmpty = [false, false, random.below(4) == 0]
        }

        static func weights(_ random: inout PRNG) -> [Int] {
            let all = [
                [100, 0, 0], [95, 5, 0], [9_950, 50, 0], [50, 50, 0], [80, 10, 10], [0, 1, 0],
            ]
            return all[Int(random.below(UInt64(all.count)))]
        }

        var names: [String] { ["a", "b", "c"] }

        var text: String {
            var text = "listeners: [{ name: http, address: \"127.0.0.1:8080\" }]\nservices:\n"
            text += "  t: { versions: { a: { weight: 1, endpoints: [\"127.0.0.1:9\"] } } }\n"
            text += "  s:\n    stable: \(names[stable])\n    hosts: [s.test]\n\(extra)"
            if isSticky { text += "    sticky: { cookie: c, issue: off }\n" }
            text += "    versions:\n"
            for (i, name) in names.enumerated() {
                let list = isEmpty[i] ? "" : "\"127.0.0.1:\(i + 1)\""
                text += "      \(name): { weight: \(weights[i]), endpoints: [\(list)] }\n"
            }
            text += "routes:\n  - { name: t, match: { path: { exact: /t } }, to: t }\n"
            if let own {
                let split = zip(names, own).map { "\($0): \($1)" }.joined(separator: ", ")
                text +=
                    "  - { name: own, match: { path: { exact: /o } }, to: s, split: { \(split) } }\n"
            }
            return text + "  - { name: pinned, match: { path: { exact: /p } }, to: s/a }\n"
        }
    }

    static func document(_ text: String) throws -> Document {
        let reading = ConfigurationReading(Array(text.utf8))
        return try #require(reading.document, "\(reading.errors.map(\.message)): \(text)")
    }

    static let service = 1

    /// The version of each of many users, found one by one: the slow and obvious way.
    static func users(_ document: Document, _ split: [Int]) -> [String] {
        let service = document.services[OverlayTests.service]
        guard let weights = SplitWeights(split) else { return [] }
        let intervals = SessionIntervals(weights: weights, stable: service.stable)
        return (0..<2_000).map {
            service.versions[intervals.version(at: UInt64($0) * (.max / 2_000) + 77)].name
        }
    }

    /// The weights of the service's own hosts, then those of the route.
    static func splits(_ document: Document) -> [[Int]] {
        var splits = [document.services[service].versions.map(\.weight)]
        for route in document.routes {
            if case .forward(service, nil, let split?) = route.action { splits.append(split) }
        }
        return splits
    }

    static func shares(_ weights: [Int]) -> [Double] {
        let sum = Double(weights.reduce(0, +))
        return weights.map { Double($0) / sum }
    }

    /// The largest part of the users that comes to another version, counted.
    static func moved(_ a: Document, _ b: Document) -> Double {
        zip(splits(a), splits(b)).map { before, after in
            if a.services[service].sticky == nil {
                return zip(shares(before), shares(after)).map { abs($0 - $1) }.reduce(0, +) / 2
            }
            let pairs = zip(users(a, before), users(b, after))
            return Double(pairs.count { $0 != $1 }) / 2_000
        }.max() ?? 0
    }

    @Test("who wins is as a slow and obvious model says, for random files and overlays")
    func precedence() throws {
        var outcomes: [String: Int] = [:]
        for seed in 1...600 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            let before = Section(&random)
            var now = before
            if random.below(3) > 0 { now.weights = Section.weights(&random) }
            if random.below(4) == 0 { now.stable = Int(random.below(3)) }
            if random.below(4) == 0 { now.own = Section(&random).own }
            let made = try OverlayTests.document(before.text)
            let file = try OverlayTests.document(now.text)
            let weights = Section.weights(&random)
            var entry = Overlay.Entry(
                shares: zip(before.names, weights).map { .init($0, $1) },
                stable: random.below(3) == 0 ? "a" : nil,
                fingerprint: made.fingerprint(ofService: OverlayTests.service))
            if random.below(10) == 0 { entry.shares.append(.init("gone", 3)) }
            let isRunning = random.below(5) == 0
            if isRunning { entry.rollout = .init(name: "r", epoch: 2, isRunning: true) }
            let merge = OverlayMerge(file, under: Overlay(services: ["s": entry]))

            // The model: what the section says, as plain values.
            func says(_ section: Section) -> [String] {
                func plain(_ weights: [Int]) -> String {
                    "\(OverlayTests.shares(weights).map { Int(($0 * 1e6).rounded()) })"
                }
                return [plain(section.weights), section.names[section.stable]]
                    + (section.own.map { [plain($0)] } ?? [])
            }
            var under = now
            under.weights = weights
            if under.own != nil { under.own = weights }
            if let stable = entry.stable { under.stable = under.names.firstIndex(of: stable)! }
            let held = try OverlayTests.document(under.text)
            let moved = OverlayTests.moved(held, file)
            let expected: String
            if entry.shares.count > 3 {
                expected = "gone"
            } else if says(before) == says(now) {
                expected = "overlay"
            } else if isRunning {
                expected = "running"
            } else if says(under) == says(now) {
                expected = "retired"
            } else if now.isEmpty[2],
                OverlayTests.splits(file).contains(where: {
                    OverlayTests.shares($0)[2] > OverlayTests.shares(weights)[2]
                })
            {
                expected = "empty"
            } else {
                expected = moved <= 0.0101 ? "file" : "drift"
            }
            let outcome: String
            switch (merge.sources[OverlayTests.service], merge.dropped.first?.why) {
            case (.file, .versionIsGone("gone")): outcome = "gone"
            case (.file, .retired): outcome = "retired"
            case (.file, .fileWins(let part)):
                outcome = "file"
                #expect(abs(part - moved) < 0.002, "seed \(seed)")
            case (.overlay(let found), nil):
                outcome = "overlay"
                #expect(found == entry)
            case (.drift(_, _, .moves(let part)), nil):
                outcome = "drift"
                #expect(abs(part - moved) < 0.002, "seed \(seed)")
            case (.drift(_, _, .noEndpoints("c")), nil): outcome = "empty"
            case (.drift(_, _, .rolloutRuns("r")), nil): outcome = "running"
            default: outcome = "nothing that there is"
            }
            #expect(outcome == expected, "seed \(seed)")
            outcomes[outcome, default: 0] += 1
            // The document in force has the weights of whoever won, and differs in nothing else.
            let wins = ["overlay", "drift", "empty", "running"].contains(outcome) ? held : file
            #expect(
                OverlayTests.splits(merge.document).map(OverlayTests.shares)
                    == OverlayTests.splits(wins).map(OverlayTests.shares), "seed \(seed)")
            #expect(
                merge.document.services[1].stable == wins.services[1].stable, "seed \(seed)")
            #expect(merge.document.services[0] == file.services[0])
            #expect(merge.document.routes.first == file.routes.first)
            #expect(merge.document.routes.last == file.routes.last)
        }
        #expect(
            Set(outcomes.keys)
                == ["gone", "overlay", "retired", "empty", "file", "drift", "running"])
    }

    @Test("an overlay of a service that is gone is dropped, and others are left alone")
    func gone() throws {
        var random = PRNG(seed: 1)
        let file = try OverlayTests.document(Section(&random).text)
        let entry = Overlay.Entry(shares: [.init("a", 1)], fingerprint: "0123456789abcdef")
        let merge = OverlayMerge(file, under: Overlay(services: ["u": entry]))
        #expect(merge.dropped.map(\.service) == ["u"])
        #expect(merge.dropped.map(\.why) == [.serviceIsGone])
        #expect(merge.document == file)
        #expect(OverlayMerge(file, under: Overlay()).document == file)
    }

    // MARK: Fingerprints

    /// Edits of a file, and whether they make the section another.
    static let edits: [(name: String, edit: @Sendable (inout Section) -> Void, differs: Bool)] = [
        ("weights", { $0.weights = [90, 10, 0] }, true),
        ("the notation of weights", { $0.weights = [1_900, 100, 0] }, false),
        ("stable", { $0.stable = 1 }, true), ("a route's split", { $0.own = [1, 1, 0] }, true),
        ("a split of equal meaning", { $0.own = [38, 2, 0] }, false),
        ("a route's split that is gone", { $0.own = nil }, true),
        ("endpoints", { $0.isEmpty = [false, true, false] }, false),
        ("sessions", { $0.isSticky.toggle() }, false),
        ("other keys", { $0.extra = "    whenUnavailable: fallback\n" }, false),
    ]

    @Test(
        "the fingerprint is of versions, weights, stable and splits, and of nothing else",
        arguments: edits)
    func fingerprint(
        name: String, edit: @Sendable (inout Section) -> Void, differs: Bool
    ) throws {
        var random = PRNG(seed: 3)
        var section = Section(&random)
        section.weights = [95, 5, 0]
        section.own = [19, 1, 0]
        section.stable = 0
        let before = try OverlayTests.document(section.text).fingerprint(ofService: 1)
        edit(&section)
        let after = try OverlayTests.document(section.text).fingerprint(ofService: 1)
        #expect((before != after) == differs, "\(name)")
        #expect(after.utf8.count == 16)
    }

    @Test("a version that is added with weight 0 keeps the fingerprint, and so the overlay")
    func added() throws {
        let text = { (versions: String) in
            "listeners: [{ name: http, address: \"127.0.0.1:8080\" }]\nservices:\n"
                + "  s: { stable: a, hosts: [s.test], versions: { \(versions) } }\n"
        }
        let two =
            "a: { weight: 1, endpoints: [\"127.0.0.1:1\"] }, "
            + "b: { weight: 0, endpoints: [\"127.0.0.1:2\"] }"
        let old = try OverlayTests.document(text(two))
        let new = try OverlayTests.document(
            text(two + ", c: { weight: 0, endpoints: [\"127.0.0.1:3\"] }"))
        let entry = Overlay.Entry(
            shares: [.init("a", 4), .init("b", 1)], fingerprint: old.fingerprint(ofService: 0))
        let merge = OverlayMerge(new, under: Overlay(services: ["s": entry]))
        #expect(merge.sources == [.overlay(entry)])
        #expect(merge.document.services[0].versions.map(\.weight) == [4, 1, 0])
    }

    // MARK: Text

    static func drawn(_ random: inout PRNG) -> Overlay {
        var overlay = Overlay()
        for i in 0..<random.below(4) {
            let shares = (0...random.below(4)).map { v in
                Overlay.Share("v\(v)", Int(random.below(20)) + (v == 0 ? 1 : 0))
            }
            var entry = Overlay.Entry(
                shares: shares, stable: random.below(2) == 0 ? "v0" : nil,
                rollout: random.below(2) == 0
                    ? .init(name: "r\(i)", epoch: Int(random.below(9)) + 1) : nil,
                fingerprint: "0123456789abcde\(random.below(10))")
            if entry.rollout != nil, random.below(2) == 0 {
                let rules = ["{ headers: { x: \"\\U0000000a\" } }", "{ path: { prefix: /ä } }"]
                entry.rules = Overlay.Rules(
                    version: "v0", matches: Array(rules.prefix(Int(random.below(2)) + 1)))
            }
            overlay.services["s-\(i).x_Y"] = entry
        }
        overlay.trips = drawnTrips(&random)
        return overlay
    }

    static func drawnTrips(_ random: inout PRNG) -> [Overlay.Trip] {
        (0..<random.below(4)).map { i in
            var trip = Trip()
            trip.cause = TripCause.allCases[Int(random.below(2))]
            trip.sum = Double(random.below(100_000)) / 1_000
            trip.limit = Double(random.below(1_000)) / 7
            trip.errors = Int(random.below(1_000))
            trip.versionErrors = Int(random.below(1_000))
            return Overlay.Trip(
                service: "s-\(i / 2)", version: "v\(i)", number: Int(random.below(9)) + 1, trip,
                atMicros: Int64(random.below(1 << 52)))
        }
    }

    @Test("an overlay is read as it was written, and equal ones have the same bytes")
    func roundTrip() throws {
        for seed in 1...300 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            let overlay = OverlayTests.drawn(&random)
            let text = OverlayCodec.text(overlay)
            let back = try OverlayCodec.read(Array(text.utf8))
            #expect(back == overlay, "seed \(seed)")
            #expect(OverlayCodec.text(back) == text)
        }
    }

    @Test("a text broken at random is refused, or is an overlay that keeps its promises")
    func hostile() {
        for seed in 1...3_000 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            var bytes = Array(OverlayCodec.text(OverlayTests.drawn(&random)).utf8)
            for _ in 0...random.below(4) {
                let at = Int(random.below(UInt64(bytes.count)))
                if random.below(2) == 0 {
                    bytes[at] = UInt8(truncatingIfNeeded: random.next())
                } else {
                    bytes.remove(at: at)
                }
            }
            guard let overlay = try? OverlayCodec.read(bytes) else { continue }
            for entry in overlay.services.values {
                let weights = SplitWeights(entry.shares.map(\.weight))
                #expect(weights != nil && weights!.sum <= SplitWeights.sumMax)
                #expect((1...16).contains(entry.shares.count))
                #expect(Set(entry.shares.map(\.version)).count == entry.shares.count)
                #expect(entry.rollout.map { $0.epoch >= 1 } ?? true)
                if let rules = entry.rules {
                    #expect(entry.rollout != nil && (1...100).contains(rules.matches.count))
                    #expect(entry.shares.contains { $0.version == rules.version })
                    #expect(rules.matches.allSatisfy { (1...16_384).contains($0.utf8.count) })
                }
            }
            let trips = overlay.trips
            #expect(
                trips.allSatisfy {
                    $0.number >= 1 && $0.sum >= 0 && $0.sum.isFinite && $0.limit >= 0
                        && $0.errors >= 0 && $0.versionErrors >= 0 && $0.atMicros >= 0
                })
            #expect(Set(trips.map { "\($0.service)/\($0.version)" }).count == trips.count)
        }
    }

    static func text(_ entry: String) -> String {
        "{ \"format\": 1, \"services\": { \"s\": { \(entry) } } }"
    }

    static func trip(
        _ number: String, _ cause: String, sum: String = "12", version: String = "v2"
    ) -> String {
        "{ \"format\": 1, \"services\": {}, \"trips\": { \"s\": { \"\(version)\": { \"number\": \(number), "
            + "\"cause\": \"\(cause)\", \"sum\": \(sum), \"limit\": 11.5, \"errors\": 9, "
            + "\"versionErrors\": 7, \"atMicros\": 5 } } } }"
    }

    static func rules(_ rules: String) -> String {
        text(
            "\"weights\": { \"a\": 1 }, \"rollout\": { \"name\": \"r\", \"epoch\": 1 }, "
                + "\"rules\": { \(rules) }, \(print)")
    }

    static let print = "\"fingerprint\": \"0123456789abcdef\""

    static let refusals: [(text: String, error: String)] = [
        ("[]", "1:1: this is a list, expected an object"),
        ("{ \"format\": 2, \"services\": {} }", "1:13: this Sluice reads format 1"),
        ("{ \"format\": 1 }", "1:1: services is missing"),
        (
            "{ \"format\": 1, \"services\": {}, \"x\": 1 }",
            "1:32: there is no key \"x\" here, but format, services, trips"
        ),
        (trip("1", "errors"), "ok"),
        (trip("0", "errors"), "1:68: expected a whole number from 1"),
        (trip("1", "bad luck"), "1:80: expected errors or unreachable"),
        (trip("1", "errors", sum: "-1"), "1:97: expected a number from 0"),
        (trip("1", "errors", version: "a b"), "1:50: this is no name"),
        (
            "{ \"format\": 1, \"services\": { \"a b\": {} } }",
            "1:30: this is no name of a service"
        ),
        (text("\"weights\": { \"a\": 1 }"), "1:35: fingerprint is missing"),
        (text("\"weights\": { \"a\": 0 }, \(print)"), "1:48: all weights are 0"),
        (
            text("\"weights\": { \"a\": -1 }, \(print)"),
            "1:55: expected a whole number from 0 to 1000000"
        ),
        (
            text("\"weights\": { \"a\": 9999, \"b\": 2 }, \(print)"),
            "1:48: the weights reduce to a sum of 10001, above 10000"
        ),
        (text("\"weights\": {}, \(print)"), "1:48: expected the weights of 1 to 16 versions"),
        (
            text("\"weights\": { \"a\": 1 }, \"stable\": \"b\", \(print)"),
            "1:70: expected one of the versions that have weights here"
        ),
        (
            text(
                "\"weights\": { \"a\": 1 }, \"rollout\": { \"name\": \"r\", \"epoch\": 0 }, \(print)"
            ),
            "1:95: expected a number from 1"
        ),
        (
            text("\"weights\": { \"a\": 1 }, \"rules\": { \"version\": \"a\" }, \(print)"),
            "1:69: only a rollout has rules"
        ),
        (rules("\"version\": \"a\", \"matches\": [\"{}\"]"), "ok"),
        (rules("\"version\": \"a\""), "1:109: matches is missing"),
        (
            rules("\"version\": \"b\", \"matches\": [\"{}\"]"),
            "1:122: expected one of the versions that have weights here"
        ),
        (
            rules("\"version\": \"a\", \"matches\": []"),
            "1:138: expected a list of 1 to 100 rules"
        ),
        (
            rules("\"version\": \"a\", \"matches\": \"{}\""),
            "1:138: expected a list of 1 to 100 rules"
        ),
        (
            rules("\"version\": \"a\", \"matches\": [7]"),
            "1:139: expected a rule of 1 to 16384 bytes"
        ),
        (
            rules("\"version\": \"a\", \"matches\": [\"\"]"),
            "1:139: expected a rule of 1 to 16384 bytes"
        ),
        (
            rules(
                "\"version\": \"a\", \"matches\": [\"\(String(repeating: "x", count: 16_385))\"]"),
            "1:139: expected a rule of 1 to 16384 bytes"
        ),
        (
            rules(
                "\"version\": \"a\", \"matches\": ["
                    + (0..<101).map { _ in "\"{}\"" }.joined(separator: ",") + "]"),
            "1:138: expected a list of 1 to 100 rules"
        ),
        (
            rules("\"version\": \"a\", \"matches\": [\"{}\"], \"more\": 1"),
            "1:146: there is no key \"more\" here, but version, matches"
        ),
        (
            text("\"weights\": { \"a\": 1 }, \"fingerprint\": \"0123\""),
            "1:75: expected 16 hexadecimal digits"
        ),
    ]

    @Test("an overlay that is refused is refused at its place", arguments: refusals)
    func refusal(text: String, expected: String) {
        do throws(JSONError) {
            _ = try OverlayCodec.read(Array(text.utf8))
            if expected != "ok" { Issue.record("taken: \(text)") }
        } catch {
            let found = error as JSONError
            #expect(found.description == expected)
        }
    }
}
