/// A set of places in few bytes, for the wire: a Golomb-coded set, whose parameter is a power of
/// two (a Rice code).
///
/// Each place, in rising order, is written as its gap, the number of places between it and the one
/// before. `gap >> remainderBits` as so many zeros, a one, and then the low `remainderBits` bits of
/// the gap; the highest bit of each byte comes first. With `remainderBits` 0 that is the plain
/// bitmap; with the parameter that `init` chooses it is never longer than the bitmap, and near the
/// least that is possible for places that users have by chance: 13 KB for 10,000 users.
public struct GolombCodedPlaces: Sendable, Equatable {
    /// The number of places.
    public var count: Int
    /// Low bits of a gap that are written as they are, 0...`remainderBitsMax`.
    public var remainderBits: Int
    /// The gaps' bits; what is left of the last byte is zeros.
    public var gaps: [UInt8]

    public static let remainderBitsMax = SessionPlaces.placeBits - 1

    /// Codes as somebody else has written them, not yet checked.
    public init(count: Int, remainderBits: Int, gaps: [UInt8]) {
        self.count = count
        self.remainderBits = remainderBits
        self.gaps = gaps
    }

    /// Writes a set. Equal sets give equal codes.
    public init(_ places: PlaceSet) {
        count = places.count
        remainderBits = 0
        gaps = []
        guard let last = places.words.last else { return }
        let end = places.words.count << 6 - last.leadingZeroBitCount
        remainderBits = GolombCodedPlaces.remainderBits(count: count, between: end - count)
        var writer = Writer()
        writer.bytes.reserveCapacity(
            (count * (remainderBits + 1) + (end - count) >> remainderBits) / 8 + 1)
        var next = 0
        for (number, word) in places.words.enumerated() {
            var bits = word
            while bits != 0 {
                let place = number << 6 + bits.trailingZeroBitCount
                bits &= bits - 1
                let gap = place - next
                writer.putZeros(gap >> remainderBits)
                writer.put(1 << remainderBits | gap & (1 << remainderBits - 1), remainderBits + 1)
                next = place + 1
            }
        }
        gaps = writer.finish()
    }

    /// The parameter with the shortest code, judged by how long the code can be at most: the zeros
    /// of all gaps are no more than those of their sum. 0 gives the bitmap's length exactly.
    ///
    /// - Parameter between: the places below the last that are not of the set.
    private static func remainderBits(count: Int, between: Int) -> Int {
        var best = 0, length = Int.max
        for bits in 0...remainderBitsMax {
            let own = count * (bits + 1) + between >> bits
            if own < length { (best, length) = (bits, own) }
        }
        return best
    }

    /// The set; `nil` where codes are none that can be read whole: with bits too few or too many,
    /// or for places that there are not. Whoever wrote them may have chosen any parameter.
    public var places: PlaceSet? {
        guard (0...GolombCodedPlaces.remainderBitsMax).contains(remainderBits),
            (0...SessionPlaces.count).contains(count)
        else { return nil }
        var words = [UInt64](repeating: 0, count: SessionPlaces.count / 64)
        var reader = Reader(bytes: gaps)
        var next = 0
        for _ in 0..<count {
            guard let zeros = reader.takeZeros(), let low = reader.take(remainderBits) else {
                return nil
            }
            // There are no more zeros than bits, so that this is far from overflowing.
            let place = next + zeros << remainderBits + low
            guard place < SessionPlaces.count else { return nil }
            words[place >> 6] |= 1 << UInt64(place & 63)
            next = place + 1
        }
        return reader.isAtEnd ? PlaceSet(words: words) : nil
    }

    private struct Writer {
        var bytes: [UInt8] = []
        /// Bits that are no whole byte yet, the last in the lowest bit.
        private var held: UInt64 = 0
        private var heldCount = 0

        /// - Parameter count: at most 32.
        mutating func put(_ bits: Int, _ count: Int) {
            held = held << UInt64(count) | UInt64(bits)
            heldCount += count
            while heldCount >= 8 {
                heldCount -= 8
                bytes.append(UInt8(truncatingIfNeeded: held >> UInt64(heldCount)))
            }
        }

        mutating func putZeros(_ count: Int) {
            var left = count
            while left > 0 {
                put(0, min(left, 32))
                left -= 32
            }
        }

        mutating func finish() -> [UInt8] {
            if heldCount > 0 { put(0, 8 - heldCount) }
            return bytes
        }
    }

    private struct Reader {
        let bytes: [UInt8]
        /// The next bit.
        private var at = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        /// Fewer than eight bits are left, and all of them are zeros.
        var isAtEnd: Bool {
            let left = bytes.count * 8 - at
            guard left < 8 else { return false }
            return left == 0 || bytes[bytes.count - 1] & (1 << UInt8(left) - 1) == 0
        }

        private mutating func takeBit() -> Int? {
            guard at >> 3 < bytes.count else { return nil }
            defer { at += 1 }
            return Int(bytes[at >> 3] >> UInt8(7 - at & 7) & 1)
        }

        /// Zeros up to the next one, which is taken with them.
        mutating func takeZeros() -> Int? {
            var zeros = 0
            while let bit = takeBit() {
                if bit == 1 { return zeros }
                zeros += 1
            }
            return nil
        }

        mutating func take(_ count: Int) -> Int? {
            var value = 0
            for _ in 0..<count {
                guard let bit = takeBit() else { return nil }
                value = value << 1 | bit
            }
            return value
        }
    }
}
