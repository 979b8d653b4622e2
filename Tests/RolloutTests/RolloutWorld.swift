import Base
import Rollout
import Testing

/// A driver of one rollout in memory: performs every deed at once, or as a test says.
struct RolloutWorld {
    /// How a deed of the world ends.
    enum Answers { case good, bad, never }

    var machine: RolloutMachine
    var now = WallTime(microseconds: 1_800_000_000_000_000)

    /// The journal's bytes, and the hash of its last line.
    var journal: [UInt8] = []
    var hash = JournalCodec.origin
    /// The weights in force.
    var epoch = 0
    var share: Int
    var rules: [String] = []
    var stable: String

    var disk = Answers.good
    /// Whether records become bytes, which takes most of the time.
    var keepsJournal = true
    var weights = Answers.good
    var hooks = RolloutWorld.passed
    var whens: Bool? = true
    var isWindowOpen = true
    var timeToConclude: Duration? = .seconds(60)
    /// By stage, where a test has a judge that can say; goes before `timeToConclude`.
    var timesToConclude: [Duration?] = []

    var logs: [String] = []
    var answers: [String] = []
    var refusals: [String] = []
    var notices: [RolloutNotice] = []
    /// The numbers of calls to hooks in front of stages.
    var asked: [Int] = []
    var ends: [RolloutPhase] = []
    var stagesBegun: [Int] = []
    /// Every order, in turn, with the phase in which it was given.
    var orders: [(order: WeightsOrder, phase: RolloutPhase)] = []
    private var queue: [RolloutEvent] = []
    /// The state that the records lead to, followed one by one.
    private var fold = JournalFold()
    /// How often that was something else than the machine's own state.
    var differences = 0

    static let passed: RolloutHookResult? = .passed

    /// SHA-256 is a floor above; any hash makes a chain.
    static func digest(_ bytes: [UInt8]) -> [UInt8] {
        (0..<4).flatMap { seed in
            let word = XXH64.hash(bytes, seed: UInt64(seed))
            return (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) }
        }
    }

    static func run(_ plan: RolloutPlan, number: Int = 1) -> RolloutRun {
        var run = RolloutRun(
            number: number, plan: plan, stable: "v1", startedBy: "anna",
            startedAt: WallTime(microseconds: 1_800_000_000_000_000), share: 0, canaryEndpoints: 4,
            stableEndpoints: 4)
        run.canaryRevision = "1.4.2"
        run.stableRevision = "1.4.1"
        return run
    }

    /// - Parameters:
    ///   - number: of the rollout in its journal.
    ///   - sequence: the number of the journal's last record.
    init(
        _ plan: RolloutPlan, number: Int = 1, after sequence: Int = 0,
        timesToConclude: [Duration?] = [], prepare: (inout RolloutRun) -> Void = { _ in }
    ) {
        var run = RolloutWorld.run(plan, number: number)
        prepare(&run)
        self.timesToConclude = timesToConclude
        let (machine, effects) = RolloutMachine.start(run, after: sequence, now: now)
        self.machine = machine
        share = run.share
        stable = run.stable
        follow()
        perform(effects)
    }

    /// Gives the machine an event, and compares it with what its new records lead to.
    private mutating func handle(_ event: RolloutEvent, ask: UInt64 = 0) -> [RolloutEffect] {
        let effects = machine.handle(event, now: now, ask: ask)
        follow()
        return effects
    }

    private mutating func follow() {
        let news = machine.unwritten.filter { $0.sequence > fold.sequence }
        guard !news.isEmpty || machine.sequence < fold.sequence else { return }
        do {
            // Many records that found no disk have become one.
            if machine.sequence < fold.sequence { fold = JournalFold() }
            for record in machine.unwritten where record.sequence > fold.sequence {
                try fold.apply(record)
            }
            if fold.state != machine.state { differences += 1 }
        } catch {
            differences += 1
        }
    }

    var phase: RolloutPhase { machine.state.phase }
    var stage: String { machine.state.plan.stages[machine.state.stage].name }

    mutating func send(_ event: RolloutEvent, ask: UInt64 = 0) {
        perform(handle(event, ask: ask))
    }

    mutating func say(_ command: RolloutCommand, by: String = "ben") {
        send(.command(command, by: by), ask: 7)
    }

    mutating func approve(by: String = "ben") {
        say(.approve(id: machine.state.run.id, stage: stage), by: by)
    }

    mutating func look(_ kind: Verdict.Kind, judge: String = "{}") {
        send(.look(Verdict(kind, "because of \(kind)"), judge: judge))
    }

    /// Lets both clocks run.
    mutating func pass(_ seconds: Int64) {
        now.microseconds += seconds * 1_000_000
        send(.time(monotonic: .seconds(seconds), wall: .seconds(seconds)))
    }

    /// All deeds of an event come before the next event.
    mutating func perform(_ effects: [RolloutEffect]) {
        for effect in effects { perform(effect) }
        while !queue.isEmpty {
            let event = queue.removeFirst()
            for effect in handle(event) { perform(effect) }
        }
    }

    private mutating func perform(_ effect: RolloutEffect) {
        switch effect {
        case .write(let records, _): write(records)
        case .setWeights(let order): set(order)
        case .beginStage(let stage, _, _): stagesBegun.append(stage)
        case .askWhen(let stage):
            later(.when(stage: stage, holds: whens, text: "branch is main"))
        case .askWindow(let stage):
            later(.window(stage: stage, isOpen: isWindowOpen, text: "opens Mon 09:00"))
        case .callHook(let stage, let hook, let number):
            asked.append(number)
            if let result = hooks { later(.hook(stage: stage, hook: hook, result: result)) }
        case .notify(let notice):
            notices.append(notice)
            later(.notified(number: notice.number))
        case .log(let text): logs.append(text)
        case .answer(_, let text): answers.append(text)
        case .refuse(_, let text): refusals.append(text)
        case .ended(let phase): ends.append(phase)
        case .synthetic: break
        }
    }

    private mutating func later(_ event: RolloutEvent) {
        queue.append(event)
    }

    private mutating func write(_ records: [JournalRecord]) {
        switch disk {
        case .good:
            for record in records where keepsJournal {
                let (bytes, hash) = JournalCodec.line(record, after: hash, RolloutWorld.digest)
                journal += bytes
                self.hash = hash
            }
            later(.written(sequence: records.last?.sequence ?? 0))
        case .bad: later(.notWritten("no space left"))
        case .never: break
        }
    }

    private mutating func set(_ order: WeightsOrder) {
        orders.append((order, machine.state.phase))
        switch weights {
        case .good:
            epoch = order.epoch
            share = order.share
            rules = order.rules
            if order.movesStable { stable = machine.state.plan.canary }
            let stage = machine.state.stage
            let time =
                timesToConclude.indices.contains(stage) ? timesToConclude[stage] : timeToConclude
            later(.confirmed(epoch: order.epoch, timeToConclude: time))
        case .bad: later(.refused(epoch: order.epoch, text: "the overlay cannot be written"))
        case .never: break
        }
    }

    /// The journal, read back.
    func reading() throws -> JournalCodec.Reading {
        try JournalCodec.read(journal, RolloutWorld.digest)
    }

    /// The process is killed, and another follows the rollout.
    mutating func restart(away: Duration = .seconds(5)) throws {
        let reading = try reading()
        machine = try #require(RolloutMachine(reading.fold))
        fold = reading.fold
        queue = []
        let overlay =
            epoch == 0
            ? nil : FoundOverlay(rollout: machine.state.run.id, epoch: epoch, share: share)
        send(.restarted(wall: away, overlay: overlay))
    }
}

/// Plans of tests.
enum Plans {
    static func plan(_ stages: [RolloutPlan.Stage]) -> RolloutPlan {
        RolloutPlan(name: "reviews", service: "reviews", canary: "v2", stages: stages)
    }

    static func stage(
        _ name: String, _ weight: Int?, _ change: (inout RolloutPlan.Stage) -> Void = { _ in }
    ) -> RolloutPlan.Stage {
        var stage = RolloutPlan.Stage(name: name, weight: weight)
        change(&stage)
        return stage
    }

    /// A plan with one of everything: a rule alone, a gate, a window, a hook, a hold-back.
    static var whole: RolloutPlan {
        var plan = plan([
            stage("testers", 0) {
                $0.match = "{ headers: { x-user-group: beta } }"
                $0.minTime = .seconds(600)
            },
            stage("small", 100),
            stage("gate", nil) {
                $0.approval = RolloutPlan.Approval()
                $0.approval?.by = ["ben", "cleo"]
                $0.approval?.notStarter = true
                $0.approval?.timeout = .seconds(86_400)
                $0.approval?.onTimeout = .rollback
                $0.when = "branch == \"main\""
            },
            stage("half", 5_000) { $0.windows = ["Mon-Fri 09:00-16:00 Europe/Berlin"] },
            stage("all", 10_000) {
                $0.holdBack = 200
                $0.watch = .seconds(1_800)
            },
        ])
        var before = RolloutPlan.Hook(call: .command(["check.sh"]))
        before.before = "half"
        var told = RolloutPlan.Hook(
            call: .webhook(url: "https://hooks.example/x", secretFile: nil, format: .sluice))
        told.events = RolloutPlan.Hook.Event.allCases
        plan.hooks = [before, told]
        return plan
    }

    static var plain: RolloutPlan {
        plan([
            stage("small", 100), stage("half", 5_000), stage("all", 10_000) { $0.holdBack = 200 },
        ])
    }
}
