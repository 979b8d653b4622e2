import Base
import Evidence
import Judge
import Testing

@Suite struct EvidenceTests {
    private static func evidence(
        workers: Int = 2, places: SharedBox<SessionPlaces>? = nil
    ) -> EpochEvidence {
        EpochEvidence(
            .init(
                route: "all", service: "shop", versions: ["v1", "v2"], weights: [9, 1], stable: 0,
                isSticky: places != nil),
            epoch: 3, begun: Instant(nanoseconds: 5), workers: workers, places: places)
    }

    @Test("what any mix of requests comes to is what a plain count of them says")
    func counts() {
        var random = PRNG(seed: 21)
        let evidence = EvidenceTests.evidence()
        var plain = [VersionEvidence(), VersionEvidence()]
        for _ in 0..<20_000 {
            var outcome = RequestOutcome()
            outcome.end = RequestOutcome.End.allCases[Int(random.below(3))]
            outcome.time = .microseconds(Int64(random.below(200_000)))
            outcome.isClientError = outcome.end == .answer && random.below(4) == 0
            outcome.isFirstError = random.below(3) == 0
            outcome.isTimeout = outcome.end == .failure && random.below(2) == 0
            outcome.isNewPlace = random.below(3) != 0
            let version = Int(random.below(2)), worker = Int(random.below(2))
            evidence.record(outcome, version, worker: worker)
            plain[version].requests += 1
            if outcome.end == .failure { plain[version].errors += 1 }
            if outcome.isClientError { plain[version].clientErrors += 1 }
            if outcome.isFirstError { plain[version].firstErrors += 1 }
            guard outcome.isNewPlace else { continue }
            if outcome.isTimeout || outcome.end == .departure { plain[version].left += 1 }
            let bucket = LatencyBuckets.bucket(nanoseconds: outcome.time.nanoseconds)
            if outcome.end == .answer {
                plain[version].latency[bucket] += 1
            } else {
                plain[version].censored[bucket] += 1
            }
        }
        let found = [evidence.counts(version: 0), evidence.counts(version: 1)]
        #expect(found == plain)
        #expect(found[0].requests + found[1].requests == 20_000)
    }

    @Test("a plain answer is counted as its long form is")
    func plainAnswers() {
        let evidence = EvidenceTests.evidence()
        for micros in [0, 1, 250, 251, 40_000, 70_000_000] as [Int64] {
            var outcome = RequestOutcome()
            outcome.time = .microseconds(micros)
            evidence.record(outcome, 0, worker: 0)
            evidence.recordAnswer(1, worker: 1, nanoseconds: micros * 1_000)
        }
        let long = evidence.counts(version: 0), short = evidence.counts(version: 1)
        #expect(long == short)
        #expect(long.requests == 6)
    }

    @Test("a session is one place, however often it comes, and has one first error")
    func places() {
        let places = SessionPlaces()
        func see(_ position: UInt64) -> Bool { places.see(position) }
        func fail(_ position: UInt64) -> Bool { places.fail(position) }
        let position: UInt64 = 0x1234_5678_9abc_def0
        #expect(see(position))
        #expect(!see(position))
        #expect(!see(position + 1))
        #expect(see(position &+ 1 << 44))
        #expect(fail(position))
        #expect(!fail(position))
        let counts = places.counts(first: 0, last: .max)
        #expect(counts == (2, 1))
    }

    @Test("places that a boundary cuts are in no count, all others are in exactly one")
    func boundaries() {
        var random = PRNG(seed: 8)
        let places = SessionPlaces()
        var marked: Set<UInt64> = []
        for _ in 0..<5_000 {
            let position = random.next()
            _ = places.see(position)
            marked.insert(position >> 44)
        }
        for _ in 0..<200 {
            let cut = random.next()
            let low = places.counts(first: 0, last: cut - 1).seen
            let high = places.counts(first: cut, last: .max).seen
            let isCutMarked = marked.contains(cut >> 44) && cut << 20 != 0
            #expect(low + high == marked.count - (isCutMarked ? 1 : 0))
        }
        let cut = places.counts(first: 5 << 44, last: 5 << 44)
        let narrow = places.counts(first: 3, last: 7)
        #expect(cut == (0, 0) && narrow == (0, 0))
    }

    @Test("counting bits of any range agrees with looking at each")
    func bits() {
        var random = PRNG(seed: 30)
        let bits = SharedBits(count: 512)
        for _ in 0..<150 { _ = bits.mark(Int(random.below(512))) }
        for _ in 0..<300 {
            let a = Int(random.below(513)), b = Int(random.below(513))
            let range = min(a, b)..<max(a, b)
            let count = bits.marked(in: range)
            #expect(count == range.count { bits.contains($0) })
        }
    }
}
