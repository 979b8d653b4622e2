import Base

/// Content that follows from an id, so that whoever gets it can say whether it is the right one.
/// It has line ends, so that it may look like what it is not.
public enum Pattern {
    public static func text(_ id: String, _ count: Int) -> String {
        var random = PRNG(seed: XXH64.hash(id, seed: 0))
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        var word: UInt64 = 0
        for i in 0..<count {
            if i % 8 == 0 { word = random.next() }
            let value = UInt8(word >> UInt64(8 * (i % 8)) & 31)
            bytes.append(
                value < 26 ? 0x61 + value : value == 26 ? 13 : value == 27 ? 10 : 0x30 + value - 28)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
