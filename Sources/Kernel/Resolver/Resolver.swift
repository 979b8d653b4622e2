import Base
import Platform

/// Resolves names on threads of its own, again and again, and keeps each name's last good answer.
///
/// `getaddrinfo` knows no TTL and may take many seconds, so a few lookups run side by side, and
/// `NameSchedule` sees to it that names that time out hold up no others. Nothing else ever waits
/// for a lookup, except `waitForFirstAnswers`, with a bound.
public final class Resolver: Sendable {
    public struct Name: Hashable, Sendable {
        public var host: String
        public var port: UInt16
        public init(host: String, port: UInt16) {
            self.host = host
            self.port = port
        }
        public var text: String { "\(host):\(port)" }
    }

    /// The facts that are known of one name.
    public struct Answer: Sendable, Equatable {
        /// Sorted, without duplicates; empty until the name resolved once.
        public var addresses: [Address] = []
        /// Why the last attempt failed; empty when it did not.
        public var failure = ""
        public var attempts: UInt64 = 0
        /// Attempts that failed.
        public var failures: UInt64 = 0
        public init() {}
    }

    /// Changes since somebody last asked.
    public struct Changes: Sendable {
        /// Some name has other addresses.
        public var hasNewAddresses = false
        /// Names that failed and had not before, with the reason.
        public var failed: [Name: String] = [:]
        /// Names that resolve again.
        public var recovered: Set<Name> = []
    }

    public typealias Lookup = @Sendable (Name) -> Result<[Address], NameLookup.Failure>

    private struct State {
        var schedule: NameSchedule
        var answers: [Name: Answer] = [:]
        var changes = Changes()
        /// One for each thread: a wake is taken by whoever sees it first.
        var wakeups: [Wakeup] = []
        var isStopped = false
    }

    /// Lookups that may run side by side.
    public static let threadsMax = 4

    private let state: Lock<State>
    private let lookUp: Lookup
    private let notify: @Sendable () -> Void

    /// - Parameters:
    ///   - seed: of the jitter.
    ///   - lookUp: asks for one name and may block.
    ///   - notify: called on one of the resolver's threads after something changed, and after a
    ///     name's first attempt.
    public init(
        seed: UInt64,
        lookUp: @escaping Lookup = { NameLookup.addresses(host: $0.host, port: $0.port) },
        notify: @escaping @Sendable () -> Void
    ) {
        state = Lock(State(schedule: .init(threadsMax: Resolver.threadsMax, seed: seed)))
        self.lookUp = lookUp
        self.notify = notify
    }

    /// The names to keep resolved from now on; others are forgotten. Threads are started as names
    /// need them: a configuration without names costs none.
    public func watch(_ names: [Name: Duration]) throws(SystemError) {
        let held = state.withLock { state -> Int in
            state.schedule.watch(names)
            state.answers = state.answers.filter { names[$0.key] != nil }
            state.changes.failed = state.changes.failed.filter { names[$0.key] != nil }
            state.changes.recovered = state.changes.recovered.filter { names[$0] != nil }
            return state.wakeups.count
        }
        var next = held
        while next < min(Resolver.threadsMax, names.count) {
            do throws(SystemError) {
                try startThread(next)
            } catch {
                // Fewer threads are slower, none is a failure.
                if next == 0 { throw error }
                break
            }
            next += 1
        }
        wakeAll()
    }

    private func startThread(_ number: Int) throws(SystemError) {
        let wakeup = try Wakeup()
        _ = try Thread.start(name: "resolver-\(number)") { [self] in run(wakeup) }
        state.withLock { $0.wakeups.append(wakeup) }
    }

    public func stop() {
        state.withLock { $0.isStopped = true }
        wakeAll()
    }

    private func wakeAll() {
        for wakeup in state.withLock({ $0.wakeups }) { wakeup.wake() }
    }

    public var answers: [Name: Answer] { state.withLock { $0.answers } }

    /// Takes the changes since the last call.
    public func takeChanges() -> Changes {
        state.withLock { state in
            defer { state.changes = Changes() }
            return state.changes
        }
    }

    /// Whether each name that is watched was tried once. `notify` is called when a name's first
    /// attempt ends.
    public var hasTriedAll: Bool {
        state.withLock { state in
            state.schedule.names.allSatisfy { state.answers[$0] != nil }
        }
    }

    /// Waits until each name was tried once, at most for `limit`. For a start, when nothing is
    /// served yet; a loop that serves asks `hasTriedAll` when it is notified.
    public func waitForFirstAnswers(limit: Duration) {
        let deadline = SystemClock.now() + limit
        while SystemClock.now() < deadline {
            if hasTriedAll { return }
            SystemClock.pause(.milliseconds(2))
        }
    }

    // MARK: The threads

    private func run(_ wakeup: Wakeup) {
        while true {
            let now = SystemClock.now()
            let next = state.withLock { state in
                state.isStopped ? nil : state.schedule.next(now: now)
            }
            switch next {
            case nil: return
            case .lookUp(let name): resolve(name)
            case .wait(let until):
                let wait = until.isNever ? -1 : max(1, (until - SystemClock.now()).millisecondsUp)
                wakeup.wait(milliseconds: Int32(clamping: wait))
            }
        }
    }

    private func resolve(_ name: Name) {
        let begun = SystemClock.now()
        let outcome = lookUp(name)
        let now = SystemClock.now()
        let isNews = state.withLock { state -> Bool in
            guard state.schedule.holds(name) else { return false }
            var answer = state.answers[name] ?? Answer()
            let before = answer
            answer.attempts += 1
            switch outcome {
            case .success(let addresses):
                answer.addresses = addresses
                answer.failure = ""
            case .failure(let failure):
                answer.failure = failure.reason
                answer.failures += 1
            }
            state.schedule.finish(
                name, hasFailed: !answer.failure.isEmpty, took: now - begun, now: now)
            state.answers[name] = answer
            return state.changes.note(name, from: before, to: answer) || before.attempts == 0
        }
        if isNews { notify() }
        // A thread that waits may have had to leave this name's place to it.
        wakeAll()
    }
}

extension Resolver.Changes {
    /// - Returns: whether there is anything new.
    fileprivate mutating func note(
        _ name: Resolver.Name, from before: Resolver.Answer, to answer: Resolver.Answer
    ) -> Bool {
        let isNew = before.addresses != answer.addresses
        if isNew { hasNewAddresses = true }
        // Name servers may take turns in why they fail; that is no change.
        guard before.failure.isEmpty != answer.failure.isEmpty else { return isNew }
        if answer.failure.isEmpty {
            failed[name] = nil
            recovered.insert(name)
        } else {
            recovered.remove(name)
            failed[name] = answer.failure
        }
        return true
    }
}
