import Synchronization

/// A few pages of bytes that one thread publishes and many read, without a lock for readers.
///
/// A page is named by a number that only grows; page n replaces page n - 4. A reader gets a byte of
/// exactly the page it asked for, or nothing: the page's number is checked before and after.
/// Memory is taken with the first page.
@safe public struct PageRing: ~Copyable, @unchecked Sendable {
    private static let places: UInt64 = 4

    public let pageBytes: Int
    private let memory: Atomic<UnsafeMutableRawPointer?>
    /// Number + 1 of the page in each place; 0 while it is written.
    private let numbers: FourAtomics
    private let writer: Atomic<Bool>

    public init(pageBytes: Int) {
        self.pageBytes = pageBytes
        unsafe memory = Atomic(nil)
        numbers = .init()
        writer = Atomic(false)
    }

    deinit { if let base = unsafe memory.load(ordering: .relaxed) { unsafe base.deallocate() } }

    private func cells(_ base: UnsafeMutableRawPointer, page: UInt64) -> UnsafeMutablePointer<
        Atomic<UInt8>
    > {
        unsafe base.assumingMemoryBound(to: Atomic<UInt8>.self)
            + Int(page % PageRing.places) * pageBytes
    }

    /// One byte of a page, or `nil` when that page is not there.
    public func read(page: UInt64, at offset: Int) -> UInt8? {
        precondition(offset >= 0 && offset < pageBytes, "an offset within the page")
        guard let base = unsafe memory.load(ordering: .acquiring) else { return nil }
        let place = Int(page % PageRing.places)
        guard numbers.load(place) == page + 1 else { return nil }
        let byte = unsafe cells(base, page: page)[offset].load(ordering: .relaxed)
        atomicMemoryFence(ordering: .acquiring)
        return numbers.loadRelaxed(place) == page + 1 ? byte : nil
    }

    public func holds(page: UInt64) -> Bool {
        numbers.load(Int(page % PageRing.places)) == page + 1
    }

    /// Puts a page in its place, unless a newer one is there or another thread is publishing.
    public func publish(page: UInt64, _ bytes: [UInt8]) {
        precondition(bytes.count == pageBytes, "a whole page")
        guard
            writer.compareExchange(
                expected: false, desired: true, ordering: .acquiringAndReleasing
            ).exchanged
        else { return }
        defer { writer.store(false, ordering: .releasing) }
        let base: UnsafeMutableRawPointer
        if let held = unsafe memory.load(ordering: .acquiring) {
            unsafe base = held
        } else {
            unsafe base = .allocate(byteCount: pageBytes * Int(PageRing.places), alignment: 64)
            unsafe memory.store(base, ordering: .releasing)
        }
        let place = Int(page % PageRing.places)
        guard numbers.load(place) < page + 1 else { return }
        numbers.store(place, 0)
        atomicMemoryFence(ordering: .acquiringAndReleasing)
        let target = unsafe cells(base, page: page)
        for i in 0..<pageBytes { unsafe target[i].store(bytes[i], ordering: .relaxed) }
        numbers.store(place, page + 1)
    }
}

/// A group of four atomic words, one for each page of the ring.
struct FourAtomics: ~Copyable, Sendable {
    private let a = Atomic<UInt64>(0), b = Atomic<UInt64>(0)
    private let c = Atomic<UInt64>(0), d = Atomic<UInt64>(0)

    func load(_ i: Int) -> UInt64 {
        switch i {
        case 0: return a.load(ordering: .acquiring)
        case 1: return b.load(ordering: .acquiring)
        case 2: return c.load(ordering: .acquiring)
        default: return d.load(ordering: .acquiring)
        }
    }

    func loadRelaxed(_ i: Int) -> UInt64 {
        switch i {
        case 0: return a.load(ordering: .relaxed)
        case 1: return b.load(ordering: .relaxed)
        case 2: return c.load(ordering: .relaxed)
        default: return d.load(ordering: .relaxed)
        }
    }

    func store(_ i: Int, _ value: UInt64) {
        switch i {
        case 0: a.store(value, ordering: .releasing)
        case 1: b.store(value, ordering: .releasing)
        case 2: c.store(value, ordering: .releasing)
        default: d.store(value, ordering: .releasing)
        }
    }
}
