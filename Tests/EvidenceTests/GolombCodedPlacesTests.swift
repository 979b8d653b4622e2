import Base
import Evidence
import Testing

/// Sets of places on the wire, against a slow reading and writing bit by bit.
@Suite struct GolombCodedPlacesTests {
    /// The bits of a code as a text of zeros and ones, made as the documentation says.
    private static func slowBits(_ places: [Int], _ remainderBits: Int) -> String {
        var text = "", last = -1
        for place in places.sorted() {
            let gap = place - last - 1, low = String(gap % (1 << remainderBits), radix: 2)
            text += String(repeating: "0", count: gap / (1 << remainderBits)) + "1"
            if remainderBits > 0 {
                text += String(repeating: "0", count: remainderBits - low.count) + low
            }
            last = place
        }
        return text
    }

    private static func bits(_ bytes: [UInt8]) -> String {
        bytes.map {
            let text = String($0, radix: 2)
            return String(repeating: "0", count: 8 - text.count) + text
        }.joined()
    }

    private static func set(_ places: some Sequence<Int>) -> PlaceSet {
        var set = PlaceSet()
        for place in places { set.insert(place) }
        return set
    }

    /// Places of many densities, spread and in clusters, drawn from a seed.
    private static func draw(_ seed: UInt64) -> Set<Int> {
        var random = PRNG(seed: seed)
        let count = [1, 2, 7, 60, 700, 3_000][Int(random.below(6))]
        let widths = [SessionPlaces.count, 10_486, 4_000, 64]
        let width = widths[Int(random.below(4))]
        let first = Int(random.below(UInt64(SessionPlaces.count - width + 1)))
        var places: Set<Int> = []
        for _ in 0..<count { places.insert(first + Int(random.below(UInt64(width)))) }
        return places
    }

    @Test("a set is written bit by bit as a slow model writes it, and read as it was")
    func bothWays() {
        for seed in 0..<120 as Range<UInt64> {
            let places = GolombCodedPlacesTests.draw(seed)
            let set = GolombCodedPlacesTests.set(places)
            let coded = GolombCodedPlaces(set)
            let slow = GolombCodedPlacesTests.slowBits(Array(places), coded.remainderBits)
            let padding = String(repeating: "0", count: (8 - slow.utf8.count % 8) % 8)
            #expect(GolombCodedPlacesTests.bits(coded.gaps) == slow + padding, "seed \(seed)")
            #expect(coded.count == places.count)
            #expect(coded.places == set, "seed \(seed)")
        }
    }

    @Test("whatever parameter a writer has chosen, the set is read")
    func anyParameter() {
        let places = [0, 1, 5, 63, 64, 1_000, 70_000, SessionPlaces.count - 1]
        for remainderBits in 0...GolombCodedPlaces.remainderBitsMax {
            var text = GolombCodedPlacesTests.slowBits(places, remainderBits)
            text += String(repeating: "0", count: (8 - text.utf8.count % 8) % 8)
            let digits = Array(text.utf8)
            let bytes = stride(from: 0, to: digits.count, by: 8).map { start in
                digits[start..<start + 8].reduce(UInt8(0)) { $0 << 1 | ($1 - 0x30) }
            }
            let coded = GolombCodedPlaces(
                count: places.count, remainderBits: remainderBits, gaps: bytes)
            #expect(coded.places == GolombCodedPlacesTests.set(places), "\(remainderBits)")
        }
    }

    @Test("no set, every place, the first and the last place")
    func edges() {
        #expect(GolombCodedPlaces(PlaceSet()).gaps.isEmpty)
        #expect(GolombCodedPlaces(PlaceSet()).places == PlaceSet())
        let full = PlaceSet(words: Array(repeating: .max, count: SessionPlaces.count / 64))
        let coded = GolombCodedPlaces(full)
        #expect(coded.remainderBits == 0 && coded.gaps.allSatisfy { $0 == 0xff })
        #expect(coded.gaps.count == SessionPlaces.count / 8 && coded.places == full)
        for place in [0, 63, 64, SessionPlaces.count - 1] {
            let set = GolombCodedPlacesTests.set([place])
            let one = GolombCodedPlaces(set)
            #expect(one.places == set && one.gaps.count <= 3, "\(place)")
        }
    }

    @Test("a code is never longer than the bitmap, and near the least that is possible")
    func length() {
        var random = PRNG(seed: 4)
        var sizes: [Int] = []
        for count in [100, 10_000, 100_000, 700_000] {
            var set = PlaceSet()
            for _ in 0..<count { set.insert(Int(random.below(UInt64(SessionPlaces.count)))) }
            let coded = GolombCodedPlaces(set)
            #expect(coded.gaps.count <= SessionPlaces.count / 8)
            sizes.append(coded.gaps.count)
            #expect(coded.places == set)
        }
        // No code can have fewer than 185, 10,145, 57,628 and 131,009 bytes on average.
        for (size, most) in zip(sizes, [195, 10_400, 59_000, 131_072]) { #expect(size <= most) }
        for seed in 0..<120 as Range<UInt64> {
            let set = GolombCodedPlacesTests.set(GolombCodedPlacesTests.draw(seed))
            let bitmap = set.words.count * 8
            #expect(GolombCodedPlaces(set).gaps.count <= bitmap, "seed \(seed)")
        }
    }

    @Test("codes that nobody can have written are no set, and nothing traps")
    func hostile() {
        let set = GolombCodedPlacesTests.set([3, 900, 40_000, 1_000_000])
        let good = GolombCodedPlaces(set)
        func change(_ edit: (inout GolombCodedPlaces) -> Void) -> PlaceSet? {
            var coded = good
            edit(&coded)
            return coded.places
        }
        #expect(change { _ in } == set)
        #expect(change { $0.count = 5 } == nil, "more places than there are bits for")
        #expect(change { $0.count = 3 } == nil, "bits that are of no place")
        #expect(change { $0.count = -1 } == nil)
        #expect(change { $0.count = .max } == nil)
        #expect(change { $0.remainderBits = -1 } == nil)
        #expect(change { $0.remainderBits = 20 } == nil)
        #expect(change { $0.remainderBits = .max } == nil)
        #expect(change { $0.gaps = [] } == nil)
        #expect(change { $0.gaps.removeLast() } == nil)
        #expect(change { $0.gaps.append(0) } == nil, "a byte of no use")
        #expect(change { $0.gaps = [UInt8](repeating: 0, count: 200_000) } == nil, "no end")
        let beyond = GolombCodedPlaces(
            count: 1, remainderBits: 19, gaps: [0b0010_0000, 0, 0])
        #expect(beyond.places == nil, "a place that there is not")
        let last = GolombCodedPlaces(count: 1, remainderBits: 19, gaps: [0x7f, 0xff, 0xf8])
        #expect(last.places == GolombCodedPlacesTests.set([SessionPlaces.count - 1]))
        let padded = GolombCodedPlaces(count: 1, remainderBits: 19, gaps: [0x7f, 0xff, 0xf9])
        #expect(padded.places == nil, "padding that is not zeros")
        var random = PRNG(seed: 5)
        for _ in 0..<2_000 {
            var coded = GolombCodedPlaces(
                count: Int(random.below(12)), remainderBits: Int(random.below(20)), gaps: [])
            for _ in 0..<random.below(20) { coded.gaps.append(UInt8(random.below(256))) }
            guard let places = coded.places else { continue }
            #expect(places.count == coded.count)
        }
    }
}
