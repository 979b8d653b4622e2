import Base
import Platform

/// Resolves names on a thread of its own, again and again, and keeps each name's last good answer.
///
/// `getaddrinfo` knows no TTL and may take seconds; nothing else ever waits for it, except
/// `waitForFirstAnswers`, with a bound.
public final class Resolver: Sendable {
    public struct Name: Hashable, Sendable {
        public var host: String
        public var port: UInt16
        public init(host: String, port: UInt16) {
            self.host = host
            self.port = port
        }
    }

    /// What is known of one name.
    public struct Answer: Sendable, Equatable {
        /// Sorted, without duplicates; empty until the name resolved once.
        public var addresses: [Address] = []
        /// Why the last attempt failed; empty when it did not.
        public var failure = ""
        public var attempts = 0
    }

    private struct State {
        var refresh: [Name: Duration] = [:]
        var answers: [Name: Answer] = [:]
        var due: [Name: Instant] = [:]
        var hasChanged = false
        var isStopped = false
    }

    private let state = Lock(State())
    private let wakeup: Wakeup
    private let notify: @Sendable () -> Void

    /// - Parameter notify: called on the resolver's thread after an answer changed.
    public init(notify: @escaping @Sendable () -> Void) throws(SystemError) {
        wakeup = try Wakeup()
        self.notify = notify
        _ = try Thread.start(name: "resolver") { [self] in self.run() }
    }

    /// The names to keep resolved from now on; others are forgotten.
    public func watch(_ names: [Name: Duration]) {
        state.withLock { state in
            state.refresh = names
            state.answers = state.answers.filter { names[$0.key] != nil }
            state.due = state.due.filter { names[$0.key] != nil }
            for name in names.keys where state.due[name] == nil {
                state.due[name] = Instant(nanoseconds: 0)
            }
        }
        wakeup.wake()
    }

    public func stop() {
        state.withLock { $0.isStopped = true }
        wakeup.wake()
    }

    public var answers: [Name: Answer] { state.withLock { $0.answers } }

    /// Whether an answer has changed since the last call.
    public func takeChange() -> Bool {
        state.withLock { state in
            defer { state.hasChanged = false }
            return state.hasChanged
        }
    }

    /// Waits until each name was tried once, at most for `limit`.
    public func waitForFirstAnswers(limit: Duration) {
        let deadline = SystemClock.now() + limit
        while SystemClock.now() < deadline {
            let isDone = state.withLock { state in
                state.refresh.keys.allSatisfy { state.answers[$0] != nil }
            }
            if isDone { return }
            SystemClock.pause(.milliseconds(2))
        }
    }

    // MARK: The thread

    private func run() {
        while true {
            let now = SystemClock.now()
            let next = state.withLock { state -> (stop: Bool, due: Name?, wait: Instant) in
                let due = state.due.filter { $0.value <= now }.keys
                    .min { ($0.host, $0.port) < ($1.host, $1.port) }
                return (state.isStopped, due, state.due.values.min() ?? .never)
            }
            if next.stop { return }
            if let name = next.due {
                resolve(name)
            } else {
                let wait = next.wait.isNever ? -1 : (next.wait - now).millisecondsUp
                wakeup.wait(milliseconds: Int32(clamping: wait))
            }
        }
    }

    private func resolve(_ name: Name) {
        let outcome = NameLookup.addresses(host: name.host, port: name.port)
        let now = SystemClock.now()
        let changed = state.withLock { state -> Bool in
            guard let refresh = state.refresh[name] else { return false }
            // A fifth of jitter, so that many sidecars do not ask in step.
            let jitter = Int64(now.nanoseconds % 1_000) * refresh.nanoseconds / 5_000
            state.due[name] = now + Duration(nanoseconds: refresh.nanoseconds - jitter)
            var answer = state.answers[name] ?? Answer()
            let before = answer
            answer.attempts += 1
            switch outcome {
            case .success(let addresses):
                answer.addresses = addresses
                answer.failure = ""
            case .failure(let failure): answer.failure = failure.reason
            }
            state.answers[name] = answer
            let isNew = before.addresses != answer.addresses || before.failure != answer.failure
            if isNew { state.hasChanged = true }
            return isNew
        }
        if changed { notify() }
    }
}
