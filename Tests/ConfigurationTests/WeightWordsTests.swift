import Base
import Configuration
import Testing

/// Weights in the words of a command line and of a file.
@Suite struct WeightWordsTests {
    @Test("weights of a command line are read as the file's are, or refused with what to write")
    func words() throws {
        var random = PRNG(seed: 1)
        let service = try OverlayTests.document(OverlayTests.Section(&random).text).services[1]
        func read(_ words: [(String, String)]) -> String {
            switch WeightWords.shares(words.map { ($0.0, $0.1) }, of: service) {
            case .success(let shares): Overlay.text(shares)
            case .failure(let problem): problem.text
            }
        }
        #expect(read([("a", "80%"), ("b", "20%")]) == "a 80 %, b 20 %")
        #expect(read([("b", "0.25%"), ("a", "99.75%")]) == "a 99.75 %, b 0.25 %")
        #expect(read([("a", "3"), ("c", "1")]) == "a 75 %, c 25 %")
        #expect(read([]) == "no weights are given; write a=80% b=20%")
        #expect(read([("a", "80%"), ("b", "10%")]).hasPrefix("the percents total 90%"))
        #expect(read([("a", "80%"), ("b", "1")]).hasPrefix("percents and whole numbers are mixed"))
        #expect(read([("a", "x")]).hasPrefix("the weight of \"a\" is \"x\", expected"))
        #expect(read([("a", "1"), ("a", "2")]) == "\"a\" is given twice")
        #expect(read([("zzz", "1")]) == "the service \"s\" has no version \"zzz\"; it has a, b, c")
        #expect(read([("a", "0")]) == "all weights are 0; give one version a weight")
        #expect(
            read([("a", "9999"), ("b", "2")]).hasPrefix("the weights reduce to a sum of 10001"))
    }

    @Test("the lines to commit say to a reader what the overlay says, and retire it")
    func lines() throws {
        for seed in 1...100 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            let section = OverlayTests.Section(&random)
            let file = try OverlayTests.document(section.text)
            let entry = Overlay.Entry(
                shares: zip(section.names, [[1, 2, 0], [80, 20, 0]][Int(random.below(2))]).map {
                    .init($0, $1)
                }, fingerprint: file.fingerprint(ofService: 1))
            let overlay = Overlay(services: ["s": entry])
            let held = OverlayMerge(file, under: overlay).document
            let lines = WeightWords.lines(held, service: 1)
            // The file with what the lines say is the document that holds.
            var edited = section
            edited.weights = held.services[1].versions.map(\.weight)
            if edited.own != nil { edited.own = edited.weights }
            let next = try OverlayTests.document(edited.text)
            #expect(WeightWords.lines(next, service: 1) == lines)
            let merge = OverlayMerge(next, under: overlay)
            let isSame = next.fingerprint(ofService: 1) == entry.fingerprint
            #expect(merge.dropped.map(\.why) == (isSame ? [] : [.retired]))
            #expect(lines.contains(section.own == nil ? "a: { weight: " : "split: { a: "))
        }
    }
}
