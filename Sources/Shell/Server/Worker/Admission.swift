import Base
import Configuration
import Routing
import Synchronization

/// Which clients are let in now, over all workers: how many, how fast, and whether there is memory
/// for what they would ask.
///
/// Clients that are not let in wait in the kernel's queue; nobody is accepted to be closed.
final class Admission: Sendable {
    /// How long connections close behind their answers once somebody had to wait.
    private static let crowdedFor = Duration.milliseconds(100)

    let connectionsMax: Int
    private let crowdedUntil = Atomic<UInt64>(0)
    private let bufferBytesMax: Atomic<Int>
    /// Bytes that `auto` stands for.
    private let bufferBytesAuto: Int
    private let rate = Lock<SharedBox<RateLimit>?>(nil)
    private let hasRate = Atomic<Bool>(false)

    init(_ limits: Document.Limits, connectionsMax: Int, memoryBytes: Int, isContainer: Bool) {
        self.connectionsMax = connectionsMax
        bufferBytesAuto = isContainer ? memoryBytes / 2 : memoryBytes / 4
        bufferBytesMax = Atomic(.max)
        apply(limits)
    }

    /// A configuration is in force.
    func apply(_ limits: Document.Limits) {
        let bytes = limits.bufferBytes == 0 ? bufferBytesAuto : limits.bufferBytes
        bufferBytesMax.store(bytes, ordering: .relaxed)
        rate.withLock { held in
            let policy = RateLimitPolicy(
                requests: max(1, limits.acceptRate), per: .seconds(1),
                burst: max(1, limits.acceptRate / 10), keysMax: 0)
            if let box = held {
                if limits.acceptRate > 0, box.value.policy == policy { return }
                box.release()
            }
            held = limits.acceptRate > 0 ? SharedBox(RateLimit(policy)) : nil
            hasRate.store(limits.acceptRate > 0, ordering: .relaxed)
        }
    }

    /// Takes the right to accept one connection.
    /// - Returns: how long to wait for it instead; `nil` when it is given.
    @inline(__always)
    func takeRate(now: Instant) -> Duration? {
        hasRate.load(ordering: .relaxed) ? takeLimited(now) : nil
    }

    @inline(never)
    private func takeLimited(_ now: Instant) -> Duration? {
        rate.withLock { held in
            guard let box = held else { return nil }
            let verdict = box.value.take(now: now)
            return verdict.isAllowed ? nil : verdict.wait
        }
    }

    /// There was no connection after all.
    @inline(__always)
    func giveBackRate() {
        if hasRate.load(ordering: .relaxed) { giveBackLimited() }
    }

    @inline(never)
    private func giveBackLimited() { rate.withLock { $0?.value.giveBack() } }

    /// Somebody waits for a place: connections are not kept for a while.
    func crowd(now: Instant) {
        crowdedUntil.store((now + Admission.crowdedFor).nanoseconds, ordering: .relaxed)
    }

    @inline(__always)
    func isCrowded(now: Instant) -> Bool {
        crowdedUntil.load(ordering: .relaxed) > now.nanoseconds
    }

    /// Buffers hold as much as they may.
    @inline(__always)
    func isFull(bytes: Int) -> Bool { bytes > bufferBytesMax.load(ordering: .relaxed) }

    var bufferLimit: Int { bufferBytesMax.load(ordering: .relaxed) }
}
