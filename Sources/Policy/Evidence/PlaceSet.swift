/// A set of places of sessions, as a value: for the judge, who keeps those that have failed, and
/// for whoever joins the places of several processes.
public struct PlaceSet: Sendable, Equatable {
    /// 64 places a word, the least in the lowest bit; none at all for an empty set.
    public private(set) var words: [UInt64]

    public init() { words = [] }

    /// - Parameter words: at most `SessionPlaces.count` / 64; what is missing is empty.
    public init(words: [UInt64]) {
        precondition(words.count <= SessionPlaces.count / 64, "no more places than there are")
        self.words = words
        trim()
    }

    /// Equal sets have equal words: empty ones at the end are not kept.
    private mutating func trim() {
        guard let last = words.lastIndex(where: { $0 != 0 }) else { return words = [] }
        words.removeLast(words.count - 1 - last)
    }

    public var isEmpty: Bool { words.isEmpty }

    /// - Parameter place: 0..<`SessionPlaces.count`.
    public mutating func insert(_ place: Int) {
        precondition(place >= 0 && place < SessionPlaces.count, "a place that there is")
        let word = place >> 6
        if word >= words.count {
            words += Array(repeating: 0, count: word + 1 - words.count)
        }
        words[word] |= 1 << UInt64(place & 63)
    }

    public func contains(_ place: Int) -> Bool {
        let word = place >> 6
        return word >= 0 && word < words.count && words[word] >> UInt64(place & 63) & 1 == 1
    }

    public mutating func formUnion(_ other: PlaceSet) {
        if other.words.count > words.count {
            words += Array(repeating: 0, count: other.words.count - words.count)
        }
        for (i, word) in other.words.enumerated() { words[i] |= word }
    }

    public func union(_ other: PlaceSet) -> PlaceSet {
        var both = self
        both.formUnion(other)
        return both
    }

    public func subtracting(_ other: PlaceSet) -> PlaceSet {
        var rest = self
        for i in 0..<min(words.count, other.words.count) { rest.words[i] &= ~other.words[i] }
        rest.trim()
        return rest
    }

    /// The number of places of the set in a range.
    public func count(in range: Range<Int>) -> Int {
        let first = max(0, range.lowerBound), end = min(range.upperBound, words.count << 6)
        guard first < end else { return 0 }
        let last = end - 1
        var sum = 0
        for word in (first >> 6)...(last >> 6) {
            var bits = words[word]
            if word == first >> 6 { bits &= .max << UInt64(first & 63) }
            if word == last >> 6 { bits &= .max >> UInt64(63 - last & 63) }
            sum += bits.nonzeroBitCount
        }
        return sum
    }

    public var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }
}
