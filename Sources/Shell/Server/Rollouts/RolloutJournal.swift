import Base
import Files
import Platform
import Rollout
import TLS

/// The journal of one plan, for the thread that writes. Its calls block as long as the disk does.
final class RolloutJournal: Sendable {
    /// A journal that was opened, and what it tells.
    struct Opened: Sendable {
        var journal: RolloutJournal
        var fold: JournalFold
        /// A line for the process log; `nil` for none.
        var note: String?
    }

    /// The outcome of opening a journal, and the overlay as the disk had it right behind that: the
    /// process that followed the rollouts before may have changed it.
    struct Opening: Sendable {
        var outcome: Result<Opened, JournalProblem>
        var overlay: OverlayFile.Reading
        /// `OverlayMachine.serial` when the opening was asked for.
        var serial: UInt64
    }

    private let file: Lock<JournalFile<OpenDirectory>>

    private init(_ file: JournalFile<OpenDirectory>) { self.file = Lock(file) }

    /// Opens the journal of a plan in the directory of all rollouts, and then reads the overlay.
    static func open(_ place: OverlayFile, plan: String, serial: UInt64) -> Opening {
        let outcome = open(place.directory, plan: plan)
        return Opening(outcome: outcome, overlay: place.read(), serial: serial)
    }

    private static func open(
        _ directory: String, plan: String
    ) -> Result<Opened, JournalProblem> {
        do throws(JournalProblem) {
            let found = try JournalFile.open(
                directory: directory, plan: plan, digest: { SHA256.hash($0) })
            return .success(
                Opened(
                    journal: RolloutJournal(found.file), fold: found.fold, note: found.note))
        } catch {
            return .failure(error)
        }
    }

    /// - Returns: why the records are not on the disk; `nil` when they are.
    func append(_ records: [JournalRecord], goesBack: Bool) -> String? {
        file.withLock { $0.append(records, goesBack: goesBack) }
    }
}
