import Base

/// Which name is looked up next: pure, over time that its caller tells.
///
/// The name that is due longest goes first, so that none waits for ever. Names whose last lookup
/// failed or was slow may take half of the threads at most, so that those that answer are asked as
/// often as they should be, however many others time out.
///
///     due ──next──▶ under way ──finish──▶ resting ──its refresh, or sooner after a failure──▶ due
public struct NameSchedule: Sendable {
    public typealias Name = Resolver.Name

    public enum Next: Equatable, Sendable {
        case lookUp(Name)
        /// Nothing to do before then; `.never` when there are no names.
        case wait(until: Instant)
    }

    private struct Entry: Sendable {
        var refresh: Duration
        var due = Instant(nanoseconds: 0)
        var isUnderWay = false
        var isSuspect = false
        var failuresInARow = 0
    }

    /// Lookups that may be under way at one time.
    public let threadsMax: Int
    /// A lookup that took as long is one that others should not wait for.
    public static let slow = Duration.milliseconds(500)
    /// The wait after the first failure; doubled with each, up to the name's refresh.
    public static let firstRetry = Duration.milliseconds(250)

    private var entries: [Name: Entry] = [:]
    private var random: PRNG

    /// - Parameter seed: of the jitter.
    public init(threadsMax: Int, seed: UInt64) {
        self.threadsMax = threadsMax
        random = PRNG(seed: seed)
    }

    private var suspectsMax: Int { max(1, threadsMax / 2) }

    /// Every name that is watched.
    public var names: [Name] { Array(entries.keys) }

    public func holds(_ name: Name) -> Bool { entries[name] != nil }

    /// The names from now on. New ones are due at once; others keep their place.
    public mutating func watch(_ names: [Name: Duration]) {
        entries = entries.filter { names[$0.key] != nil }
        for (name, refresh) in names {
            entries[name, default: Entry(refresh: refresh)].refresh = refresh
        }
    }

    /// Begins the lookup that it returns.
    public mutating func next(now: Instant) -> Next {
        let suspects = entries.values.count { $0.isUnderWay && $0.isSuspect }
        let mayBeSuspect = suspects < suspectsMax
        var first: (key: Name, value: Entry)?
        for entry in entries
        where !entry.value.isUnderWay && (mayBeSuspect || !entry.value.isSuspect) {
            // Of equals the name decides, so that one seed is one order.
            if let held = first, !NameSchedule.isBefore(entry, held) { continue }
            first = entry
        }
        guard let first else { return .wait(until: .never) }
        guard first.value.due <= now else { return .wait(until: first.value.due) }
        entries[first.key]?.isUnderWay = true
        return .lookUp(first.key)
    }

    private static func isBefore(
        _ a: (key: Name, value: Entry), _ b: (key: Name, value: Entry)
    ) -> Bool {
        if a.value.due != b.value.due { return a.value.due < b.value.due }
        return (a.key.host, a.key.port) < (b.key.host, b.key.port)
    }

    /// A lookup has ended.
    /// - Parameter hasFailed: it brought no address.
    public mutating func finish(_ name: Name, hasFailed: Bool, took: Duration, now: Instant) {
        guard var entry = entries[name] else { return }
        entry.isUnderWay = false
        entry.isSuspect = hasFailed || took >= NameSchedule.slow
        entry.failuresInARow = hasFailed ? entry.failuresInARow + 1 : 0
        var rest = entry.refresh
        if hasFailed, entry.failuresInARow <= 16 {
            let retry = NameSchedule.firstRetry.nanoseconds << Int64(entry.failuresInARow - 1)
            rest = min(rest, Duration(nanoseconds: retry))
        }
        // A fifth of jitter, so that many sidecars do not ask in step.
        let jitter = random.below(UInt64(max(1, rest.nanoseconds / 5)))
        entry.due = now + Duration(nanoseconds: rest.nanoseconds - Int64(jitter))
        entries[name] = entry
    }
}
