import Admin
import Base
import Errands
import Files
import Platform
import Telemetry

/// A thread beside the control loop for jobs that may take long, which it does one behind the
/// other. It starts with its first job and stays.
final class JobThread: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var hasStarted = false
    }

    private let name: String
    private let state = Lock(State())
    private let wakeup: Wakeup

    /// - Parameter name: shows in process listings.
    init(name: String) throws(SystemError) {
        self.name = name
        wakeup = try Wakeup()
    }

    /// Adds a job, and returns at once. Any thread may call it.
    ///
    /// Where no thread can be started the job is done here: late is better than never.
    func put(_ job: @escaping @Sendable () -> Void) {
        let isFirst = state.withLock { state in
            state.jobs.append(job)
            defer { state.hasStarted = true }
            return !state.hasStarted
        }
        guard isFirst else { return wakeup.wake() }
        do throws(SystemError) {
            _ = try Thread.start(name: name) { [self] in run() }
        } catch {
            state.withLock { $0.hasStarted = false }
            doAll()
        }
    }

    private func run() {
        while true {
            doAll()
            wakeup.wait()
        }
    }

    private func doAll() {
        while let job = state.withLock({ $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }) { job() }
    }
}

/// A message of another thread to the control loop.
enum ControlLetter: Sendable {
    /// The reading that is under way has the file's bytes.
    case fileRead
    /// The reading has ended well.
    case accepted(ReloadCandidate)
    case rejected(ReloadRejection)
    case compiled(CompiledSnapshot)
    /// A write of the overlay has ended; `failure`: why it did not succeed.
    case overlayWritten(failure: OverlayFile.WriteFailure?)
    /// The journal of a plan was opened, or cannot be.
    case journalOpened(plan: String, RolloutJournal.Opening)
    /// The journal of a plan was put aside under that name, for the command with the ticket, or
    /// cannot be.
    case journalDiscarded(plan: String, ticket: UInt64, Result<String?, JournalProblem>)
    /// Records of a journal are on the disk; `failure`: why they are not.
    case journalWritten(plan: String, sequence: Int, failure: String?)
    /// An errand of a rollout has ended.
    case errandDone(ErrandReport)
    /// A file that is watched is another than it was.
    case filesChanged
    /// The hash of the file as it is now, for the admin request with the ticket.
    case hashed(ticket: UInt64, String)
    /// Rows and clusters that were forgotten; their numbers are others' from now on.
    case forgotten(MetricRegistry.Selection)
    /// The page that was being made.
    case pageMade(AdminResponse)
}

/// Letters to the control loop: any thread puts, the control loop takes.
final class ControlInbox: Sendable {
    private let letters = Lock<[ControlLetter]>([])
    private let wakeup: Wakeup

    init() throws(SystemError) { wakeup = try Wakeup() }

    var descriptor: Int32 { wakeup.descriptor }

    func put(_ letter: ControlLetter) {
        letters.withLock { $0.append(letter) }
        wakeup.wake()
    }

    func takeAll() -> [ControlLetter] {
        wakeup.clear()
        return letters.withLock { letters in
            defer { letters = [] }
            return letters
        }
    }
}
