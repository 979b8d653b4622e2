import Base

/// The word of a person.
public enum RolloutCommand: Sendable, Equatable, Codable {
    /// Go on. Carries the rollout's id and the stage's name, so that nobody approves another stage
    /// than the one that was looked at.
    case approve(id: String, stage: String)
    case pause
    case resume
    /// Take everything back. By force: even if the stable version has too few endpoints.
    case abort(force: Bool)
    /// Try the stage of a held rollout once more; its time begins again.
    case look
    /// Pass over a stage.
    case skip(stage: String)
    /// Make the canary the stable version at once.
    case finish(force: Bool)
    /// Begin a rolled-back revision again; refused while a rollout runs.
    case retry
    /// Give way to a new rollout of the service.
    case supersede
}

/// Everything that a rollout is told, by its driver. Stages and hooks are indices into the plan.
public enum RolloutEvent: Sendable, Equatable, Codable {
    /// A person's command; `by` is the name of the token, or of the user of the unix socket.
    case command(RolloutCommand, by: String)
    /// The judge looked; `judge` is the judge's whole state as text, which nobody here reads.
    case look(Verdict, judge: String)
    /// A metric of the plan has failed too often.
    case metricFailed(name: String, text: String)
    /// The guard of a process took the canary out.
    case tripped(String)
    /// The weights of an order are in force. `timeToConclude` at the rate of now, if known: the
    /// stage's `maxTime` is made of it where the plan has none.
    case confirmed(epoch: Int, timeToConclude: Duration?)
    /// The weights of an order were not taken: nothing has changed.
    case refused(epoch: Int, text: String)
    /// The answer to `askWhen`; `holds` is `nil` where a name has no value.
    case when(stage: Int, holds: Bool?, text: String)
    /// The answer to `askWindow`; `text` says when it opens or closes next.
    case window(stage: Int, isOpen: Bool, text: String)
    /// The end of a hook in front of a stage.
    case hook(stage: Int, hook: Int, result: RolloutHookResult)
    /// A notice was delivered, or given up.
    case notified(number: Int)
    /// The endpoints in rotation of both versions. Told whenever a number changes.
    case endpoints(canary: Int, stable: Int)
    /// The file's own section changed under the rollout.
    case drift(String)
    /// The file and the overlay agree again, or a person took the file's weights.
    case driftEnded
    /// Somebody set weights of the service by force, or took the file's.
    case weightsByHand(by: String)
    case canaryRevision(String)
    case stableRevision(String)
    /// The canary is no longer in the file.
    case canaryRemoved
    /// Too few processes report.
    case quorumLost(String)
    /// A process begins to follow the rollout: `wall` is the time since the last record.
    case restarted(wall: Duration, overlay: FoundOverlay?)
    /// Time has passed, on both clocks; `wall` may be negative and is then none.
    case time(monotonic: Duration, wall: Duration)
    /// Records up to this number are on the disk.
    case written(sequence: Int)
    /// The records that were asked to be written are not on the disk.
    case notWritten(String)
}

public enum RolloutHookResult: Sendable, Equatable, Codable {
    case passed
    /// Exit code 75: call again in half a minute.
    case askAgain(String)
    case failed(String)
}

/// The service's overlay as a process found it at its start.
public struct FoundOverlay: Sendable, Equatable, Codable {
    /// The id of the rollout that wrote it; `nil`: by hand.
    public var rollout: String?
    public var epoch: Int
    /// The canary's share in hundredths of a percent.
    public var share: Int
    /// The guard had taken the canary out.
    public var isTripped: Bool

    public init(rollout: String?, epoch: Int, share: Int, isTripped: Bool = false) {
        self.rollout = rollout
        self.epoch = epoch
        self.share = share
        self.isTripped = isTripped
    }
}

/// The weights that a rollout wants. Idempotent by rollout and epoch.
public struct WeightsOrder: Sendable, Equatable, Codable {
    /// Grows with every order of the rollout, from 1.
    public var epoch: Int
    /// The canary's share in hundredths of a percent, 0...10,000; the stable version has the rest
    /// of what both have.
    public var share: Int
    /// Rules that send requests to the canary besides, as texts of the plan.
    public var rules: [String]
    /// The canary becomes the stable version by the same publication; without this the stable
    /// version is the one of the start.
    public var movesStable: Bool
    /// No user goes forward by it: in force before anything is written, over an order that is under
    /// way.
    public var goesBack: Bool
}

/// A call to a hook that is told of something. Delivered at least once; `number` lets the receiver
/// see a second time.
public struct RolloutNotice: Sendable, Equatable, Codable {
    /// Unique within the rollout, from 1.
    public var number: Int
    /// Index into the plan's hooks.
    public var hook: Int
    public var event: RolloutPlan.Hook.Event
    public var stage: String
    public var phase: RolloutPhase
    public var text: String
    public var time: WallTime
}

/// The deeds that a rollout asks its driver for, in their order. All of them may be asked for again
/// after a restart.
public enum RolloutEffect: Sendable, Equatable {
    /// Append to the journal and sync; then `written` or `notWritten`. One write is under way at a
    /// time. `goesBack`: the room that is kept for going back may be used.
    case write([JournalRecord], goesBack: Bool)
    /// Put the weights in force; then `confirmed` or `refused`. A newer order replaces an older one
    /// that is under way.
    case setWeights(WeightsOrder)
    /// The judge begins a stage; or goes on with it.
    case beginStage(stage: Int, epoch: Int, isResumed: Bool)
    /// Answer with `when`.
    case askWhen(stage: Int)
    /// Answer with `window`. Asked again every ten seconds while the stage is entered.
    case askWindow(stage: Int)
    /// Call a hook in front of a stage; answer with `hook`. `number` is the message's, of which
    /// notices have others.
    case callHook(stage: Int, hook: Int, number: Int)
    /// Deliver, with retries; then `notified`.
    case notify(RolloutNotice)
    /// Send requests of Sluice's own to both versions, from now on or no more.
    case synthetic(Bool)
    /// A line of the process log.
    case log(String)
    /// A command was done; `ask` is the number that came with it.
    case answer(ask: UInt64, String)
    /// A command was not done: why, and what to do.
    case refuse(ask: UInt64, String)
    /// The rollout is over; `records` up to here are in the journal, or will be.
    case ended(RolloutPhase)
}
