import Base
import Platform

/// A few threads for work that may block for long: names, files, programs that are being loaded.
/// A thread starts when there is work and ends when there is none.
final class HelperThreads: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var threadCount = 0
    }

    private let state = Lock(State())
    private let name: String
    private let threadsMax: Int
    /// Jobs that may wait; a disk that hangs for hours must not gather them.
    private static let jobsMax = 64

    /// - Parameter name: shows in process listings.
    init(name: String, threadsMax: Int) {
        self.name = name
        self.threadsMax = threadsMax
    }

    /// Adds a job, and returns at once.
    /// - Returns: `false` when too many wait, or no thread can be started.
    func put(_ job: @escaping @Sendable () -> Void) -> Bool {
        enum Next { case queued, starts, full }
        let next = state.withLock { state -> Next in
            guard state.jobs.count < HelperThreads.jobsMax else { return .full }
            state.jobs.append(job)
            guard state.threadCount < threadsMax else { return .queued }
            state.threadCount += 1
            return .starts
        }
        guard case .starts = next else { return next == .queued }
        do throws(SystemError) {
            try Thread.start(name: name) { [self] in run() }.detach()
            return true
        } catch {
            return state.withLock { state in
                state.threadCount -= 1
                // Others will come to it.
                if state.threadCount > 0 { return true }
                state.jobs = []
                return false
            }
        }
    }

    private func run() {
        while true {
            let job = state.withLock { state -> (@Sendable () -> Void)? in
                if state.jobs.isEmpty {
                    state.threadCount -= 1
                    return nil
                }
                return state.jobs.removeFirst()
            }
            guard let job else { return }
            job()
        }
    }
}
