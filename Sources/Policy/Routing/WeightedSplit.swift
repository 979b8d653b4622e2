import Base
import Synchronization

/// The weights of one split, in the service's order of versions.
public struct SplitWeights: Hashable, Sendable {
    /// Divided by their greatest common divisor; not all zero.
    public let weights: [Int]
    /// M, the sum of the reduced weights.
    public let sum: Int

    /// The largest sum of reduced weights: percents with two decimals always fit.
    public static let sumMax = 10_000

    /// - Returns: `nil` when all weights are zero or one is negative.
    public init?(_ weights: [Int]) {
        func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? a : gcd(b, a % b) }
        guard weights.allSatisfy({ $0 >= 0 }) else { return nil }
        let divisor = weights.reduce(0, gcd)
        guard divisor > 0 else { return nil }
        self.weights = weights.map { $0 / divisor }
        sum = self.weights.reduce(0, +)
    }

    /// The only version that has weight, if there is just one.
    public var only: Int? {
        weights.count(where: { $0 > 0 }) == 1 ? weights.firstIndex { $0 > 0 } : nil
    }
}

/// The draws of one split: the t-th request gets a version that is a function of (seed, t), so that
/// the shares are exact at every prefix over any number of threads. One atomic add and one load.
///
/// Lives in a `SharedBox` and outlives the snapshots that name it: a reload that leaves the weights
/// alone goes on with the same counter and seed.
public struct Draws: ~Copyable, Sendable {
    public let weights: SplitWeights
    public let seed: UInt64
    private let only: Int
    private let counter: Atomic<UInt64>
    private let pages: PageRing
    private let blocksPerPage: Int
    /// New sessions placed inside each version's interval.
    private let placed: SharedCounters
    /// Where each version's sequence of places begins.
    private let firstPlaces: FixedArray<UInt64>

    public init(weights: SplitWeights, seed: UInt64) {
        self.weights = weights
        self.seed = seed
        only = weights.only ?? -1
        counter = Atomic(0)
        blocksPerPage = max(1, 8_192 / weights.sum)
        pages = PageRing(pageBytes: blocksPerPage * weights.sum)
        placed = SharedCounters(count: weights.weights.count)
        // Another stream than the layout's, which is made from the same seed.
        var random = PRNG(seed: seed ^ 0x4f1b_bcdc_bfa5_3e0b)
        firstPlaces = FixedArray(weights.weights.map { _ in random.next() })
    }

    /// The number of draws taken so far.
    public var count: UInt64 { counter.load(ordering: .relaxed) }

    public struct Draw: BitwiseCopyable, Sendable {
        public var version: Int
        /// The draw's number, from 0.
        public var number: UInt64
        /// A new page has begun: whoever lays pages out ahead should look.
        public var wantsLayout: Bool
    }

    /// Takes the next draw.
    public borrowing func draw() -> Draw {
        let number = counter.add(1, ordering: .relaxed).oldValue
        if only >= 0 { return Draw(version: only, number: number, wantsLayout: false) }
        let (page, slot) = number.quotientAndRemainder(dividingBy: UInt64(pages.pageBytes))
        if let version = pages.read(page: page, at: Int(slot)) {
            return Draw(version: Int(version), number: number, wantsLayout: slot == 0)
        }
        // Ahead of whoever lays pages out: the same page, made here.
        let bytes = layout(page: page)
        pages.publish(page: page, bytes)
        return Draw(version: Int(bytes[Int(slot)]), number: number, wantsLayout: true)
    }

    /// The version that draw `number` gets; what `draw` answers, without taking it.
    public borrowing func version(of number: UInt64) -> Int {
        if only >= 0 { return only }
        let (page, slot) = number.quotientAndRemainder(dividingBy: UInt64(pages.pageBytes))
        return Int(layout(page: page)[Int(slot)])
    }

    /// Whether one of the pages that will be drawn from next is not laid out yet. Nothing is for a
    /// split that was never drawn.
    public var lacksPages: Bool {
        guard only < 0 else { return false }
        let taken = counter.load(ordering: .relaxed)
        guard taken > 0 else { return false }
        let current = taken / UInt64(pages.pageBytes)
        return (current..<(current + 3)).contains { !pages.holds(page: $0) }
    }

    /// Lays out the pages that will be drawn from next. Off the hot path; nothing is laid out for a
    /// split that was never drawn.
    public borrowing func layOutAhead() {
        guard only < 0 else { return }
        let taken = counter.load(ordering: .relaxed)
        guard taken > 0 else { return }
        let current = taken / UInt64(pages.pageBytes)
        for page in current..<(current + 3) where !pages.holds(page: page) {
            pages.publish(page: page, layout(page: page))
        }
    }

    private borrowing func layout(page: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(pages.pageBytes)
        var layout = SplitLayout(weights: weights.weights)
        let first = page * UInt64(blocksPerPage)
        for block in first..<(first + UInt64(blocksPerPage)) {
            layout.append(block: block, seed: seed, to: &bytes)
        }
        return bytes
    }

    /// The next place of a new session inside a version's interval, as a fraction of 2^64: a
    /// golden-ratio sequence, so that any later cut finds its share of the sessions.
    ///
    /// The sequence begins at a point of its own for each seed and version. Sequences that all
    /// begin alike would put the first sessions of every process of a fleet at the same few
    /// positions, and a later cut would find all of them or none.
    public borrowing func nextPlace(version: Int) -> UInt64 {
        placed.next(version) &* 0x9e37_79b9_7f4a_7c15 &+ firstPlaces[version]
    }
}
