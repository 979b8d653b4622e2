import Admin
import Base
import Configuration
import Files
import JSON
import Platform
import Rollout

/// Journals of rollouts: opened, waited for, put aside, and given up.
extension ControlLoop {
    func openJournal(_ driver: RolloutDriver) {
        guard let place = file.overlayFile else {
            driver.journal = .closed("the file in force has no rollouts: directory")
            return
        }
        if case .standby = driver.journal {} else { driver.journal = .opening }
        guard !driver.isOpening else { return }
        driver.isOpening = true
        let (name, serial, inbox) = (driver.name, overlays.serial, inbox)
        writing.put {
            let opening = RolloutJournal.open(place, plan: name, serial: serial)
            inbox.put(.journalOpened(plan: name, opening))
        }
    }

    /// A journal was opened, or cannot be.
    func journalOpened(_ name: String, _ opening: RolloutJournal.Opening) {
        guard let driver = rollouts[name] else { return }
        driver.isOpening = false
        // Whoever drains has left the rollouts to others; the journal is closed with its value.
        guard !drain.isUnderWay else { return leave(driver) }
        switch opening.outcome {
        case .failure(let problem) where problem.isBusy:
            adopt(opening)
            if case .standby = driver.journal {} else { log.info(problem.text, [("plan", name)]) }
            driver.journal = .standby(problem.text)
            agenda.set(.lookAtRollouts, noLaterThan: SystemClock.now() + .seconds(1))
        case .failure(let problem):
            driver.journal = .closed(problem.text)
            log.error(
                "the journal of a rollout cannot be used; its weights stay as they are",
                [("plan", name), ("why", problem.text)])
        case .success(let opened):
            if case .standby = driver.journal {
                adopt(opening)
                log.info(
                    "the process that followed the rollouts has ended; this one takes over",
                    [("plan", name)])
            }
            driver.journal = .open(opened.journal)
            if let note = opened.note { log.warning(note) }
            driver.sequence = opened.fold.sequence
            driver.runCount = opened.fold.state?.run.number ?? 0
            resume(driver, opened.fold)
            settleLostRollout(driver)
            startByRevision(driver)
        }
        let waiting = driver.waiting
        driver.waiting = []
        for (request, ticket) in waiting {
            if let answer = command(request, ticket: ticket) { self.answer(ticket, answer) }
        }
    }

    /// The overlay that another process has written comes into force here too.
    private func adopt(_ opening: RolloutJournal.Opening) {
        guard case .overlay(let read) = opening.overlay, !overlays.isNewer(than: opening.serial),
            read.services != overlays.overlay.services
        else { return }
        overlays.take(read)
        file = file.overlaid(by: overlays.overlay)
        perform(reloads.weightsChanged(nil, now: SystemClock.now()))
    }

    /// Whether another process follows rollouts of this directory.
    var isStandby: Bool {
        rollouts.values.contains { if case .standby = $0.journal { true } else { false } }
    }

    // MARK: Giving up

    /// Leaves all rollouts to another process, at once: a process that drains gives their locks up.
    /// The weights in force stay.
    func leaveRollouts() {
        for driver in rollouts.values { leave(driver) }
    }

    private func leave(_ driver: RolloutDriver) {
        // The lock goes behind the writes that are under way, or the next process could be
        // overtaken by them.
        if let journal = driver.file { writing.put { withExtendedLifetime(journal) {} } }
        driver.journal = .closed("the process is draining, and leaves its rollouts to another")
        driver.machine = nil
        driver.revisionObstacle = nil
        for (_, ticket) in driver.waiting + (driver.successor.map { [$0] } ?? []) {
            answer(ticket, .error(503, "the process is draining"))
        }
        driver.waiting = []
        driver.successor = nil
    }

    // MARK: Putting aside

    /// Ends a rollout whose journal cannot be read: its file is put aside, and the canary's share
    /// goes back.
    /// - Returns: a refusal; `nil` when the answer comes later, by the ticket.
    func discardJournal(_ driver: RolloutDriver, ticket: UInt64) -> AdminResponse? {
        guard driver.file == nil || driver.machine?.notWritten != nil,
            let place = file.overlayFile, !drain.isUnderWay
        else {
            return .error(
                409,
                "the journal of \(driver.name) can be read, and nothing is discarded; sluice "
                    + "rollout abort \(driver.name) ends the rollout")
        }
        giveUp(driver)
        let (name, directory, inbox) = (driver.name, place.directory, inbox)
        writing.put {
            let outcome: Result<String?, JournalProblem>
            do throws(JournalProblem) {
                outcome = .success(
                    try JournalFile.discard(directory: directory, plan: name))
            } catch {
                outcome = .failure(error)
            }
            inbox.put(.journalDiscarded(plan: name, ticket: ticket, outcome))
        }
        return nil
    }

    /// Closes a journal that cannot be written, so that its directory's lock is free.
    private func giveUp(_ driver: RolloutDriver) {
        guard let journal = driver.file else { return }
        let why = driver.machine?.notWritten ?? "it is being put aside"
        driver.journal = .closed(why)
        writing.put { withExtendedLifetime(journal) {} }
    }

    func journalDiscarded(
        _ name: String, _ outcome: Result<String?, JournalProblem>, ticket: UInt64
    ) {
        guard let driver = rollouts[name] else {
            return answer(ticket, .error(409, "the plan \(name) is gone from the file"))
        }
        switch outcome {
        case .failure(let problem): answer(ticket, .error(409, problem.text))
        case .success(let aside):
            let back = takeBack(rolloutOf: name)
            let text =
                (aside.map { "the journal lies aside as \($0); " } ?? "there was no journal; ")
                + (back.map { "\($0) has weight 0, and the rollout has ended" }
                    ?? "no weights of this rollout were in force")
            log.warning(text, [("plan", name)])
            driver.note(text, at: SystemClock.wall())
            driver.machine = nil
            driver.synthetic = nil
            openJournal(driver)
            answer(
                ticket, .json(.object([("result", .string("done")), ("text", .string(text))])))
        }
    }
}
