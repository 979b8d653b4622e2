/// XXH64 (Yann Collet; the algorithm's published specification): stable on every machine, in every
/// process, in every release. Anything that routes by hash uses this and nothing else.
public enum XXH64 {
    @usableFromInline static let p1: UInt64 = 0x9e37_79b1_85eb_ca87
    @usableFromInline static let p2: UInt64 = 0xc2b2_ae3d_27d4_eb4f
    @usableFromInline static let p3: UInt64 = 0x1656_67b1_9e37_79f9
    @usableFromInline static let p4: UInt64 = 0x85eb_ca77_c2b2_ae63
    @usableFromInline static let p5: UInt64 = 0x27d4_eb2f_1656_67c5

    private static func rotl(_ x: UInt64, _ r: UInt64) -> UInt64 { (x << r) | (x >> (64 - r)) }

    private static func round(_ acc: UInt64, _ input: UInt64) -> UInt64 {
        rotl(acc &+ input &* p2, 31) &* p1
    }

    private static func merge(_ acc: UInt64, _ value: UInt64) -> UInt64 {
        (acc ^ round(0, value)) &* p1 &+ p4
    }

    private static func load(_ bytes: Span<UInt8>, _ at: Int, _ count: Int) -> UInt64 {
        var word: UInt64 = 0
        for i in 0..<count { word |= UInt64(bytes[at + i]) << UInt64(8 * i) }
        return word
    }

    public static func hash(_ bytes: Span<UInt8>, seed: UInt64) -> UInt64 {
        var at = 0
        let count = bytes.count
        var h: UInt64
        if count >= 32 {
            var v1 = seed &+ p1 &+ p2, v2 = seed &+ p2, v3 = seed, v4 = seed &- p1
            while at + 32 <= count {
                v1 = round(v1, ASCII.word(bytes, at: at))
                v2 = round(v2, ASCII.word(bytes, at: at + 8))
                v3 = round(v3, ASCII.word(bytes, at: at + 16))
                v4 = round(v4, ASCII.word(bytes, at: at + 24))
                at += 32
            }
            h = rotl(v1, 1) &+ rotl(v2, 7) &+ rotl(v3, 12) &+ rotl(v4, 18)
            h = merge(merge(merge(merge(h, v1), v2), v3), v4)
        } else {
            h = seed &+ p5
        }
        h = h &+ UInt64(count)
        while at + 8 <= count {
            h = rotl(h ^ round(0, ASCII.word(bytes, at: at)), 27) &* p1 &+ p4
            at += 8
        }
        if at + 4 <= count {
            h = rotl(h ^ (load(bytes, at, 4) &* p1), 23) &* p2 &+ p3
            at += 4
        }
        while at < count {
            h = rotl(h ^ (UInt64(bytes[at]) &* p5), 11) &* p1
            at += 1
        }
        h = (h ^ (h >> 33)) &* p2
        h = (h ^ (h >> 29)) &* p3
        return h ^ (h >> 32)
    }

    public static func hash(_ bytes: [UInt8], seed: UInt64) -> UInt64 {
        hash(bytes.span, seed: seed)
    }

    public static func hash(_ text: String, seed: UInt64) -> UInt64 {
        hash(Array(text.utf8), seed: seed)
    }
}

/// SipHash-2-4 (Aumasson and Bernstein 2012): a 64-bit keyed MAC for short messages.
public struct SipHash: Sendable, BitwiseCopyable, Equatable {
    private let k0: UInt64, k1: UInt64

    /// - Parameter key: 16 bytes, two little-endian words.
    public init(k0: UInt64, k1: UInt64) {
        self.k0 = k0
        self.k1 = k1
    }

    public func mac(_ bytes: Span<UInt8>) -> UInt64 {
        var v0 = k0 ^ 0x736f_6d65_7073_6575, v1 = k1 ^ 0x646f_7261_6e64_6f6d
        var v2 = k0 ^ 0x6c79_6765_6e65_7261, v3 = k1 ^ 0x7465_6462_7974_6573
        func rotl(_ x: UInt64, _ r: UInt64) -> UInt64 { (x << r) | (x >> (64 - r)) }
        func round() {
            v0 = v0 &+ v1
            v1 = rotl(v1, 13) ^ v0
            v0 = rotl(v0, 32)
            v2 = v2 &+ v3
            v3 = rotl(v3, 16) ^ v2
            v0 = v0 &+ v3
            v3 = rotl(v3, 21) ^ v0
            v2 = v2 &+ v1
            v1 = rotl(v1, 17) ^ v2
            v2 = rotl(v2, 32)
        }
        var at = 0
        while at + 8 <= bytes.count {
            var word: UInt64 = 0
            for i in 0..<8 { word |= UInt64(bytes[at + i]) << UInt64(8 * i) }
            v3 ^= word
            round()
            round()
            v0 ^= word
            at += 8
        }
        var last = UInt64(truncatingIfNeeded: bytes.count) << 56
        for i in 0..<(bytes.count - at) { last |= UInt64(bytes[at + i]) << UInt64(8 * i) }
        v3 ^= last
        round()
        round()
        v0 ^= last
        v2 ^= 0xff
        for _ in 0..<4 { round() }
        return v0 ^ v1 ^ v2 ^ v3
    }
}
