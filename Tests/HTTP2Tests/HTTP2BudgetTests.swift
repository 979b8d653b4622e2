import Base
import Testing

import HTTP2

/// The budget's rule said slowly: every piece of work fills the savings of each kind at once, and
/// whoever takes pays from the savings and then from what time gave.
private struct Model {
    struct Purse {
        var time: Int
        var savings = 0
        var most: Int

        mutating func earn(_ count: Int) {
            for _ in 0..<count where savings < most { savings += 1 }
        }

        mutating func take(_ count: Int) -> Bool {
            for _ in 0..<count {
                if savings > 0 { savings -= 1 } else { time -= 1 }
            }
            return time >= 0
        }
    }

    let limits: HTTP2Limits
    var now: Instant
    var resets, controlFrames, emptyFrames, priorities, windowUpdates, lateFrames: Purse
    var lateBytes = 0
    var bytesOfWindowUpdates = 0

    init(_ limits: HTTP2Limits, now: Instant) {
        self.limits = limits
        self.now = now
        resets = Purse(time: limits.resetsPerSecond * 2, most: limits.resetsPerSecond * 10)
        controlFrames = Purse(
            time: limits.controlFramesPerSecond * 2, most: limits.controlFramesPerSecond * 10)
        emptyFrames = Purse(
            time: limits.emptyFramesPerSecond * 2, most: limits.emptyFramesPerSecond * 10)
        priorities = Purse(
            time: limits.priorityFramesPerStream, most: limits.priorityFramesPerStream * 100)
        windowUpdates = Purse(time: limits.controlFramesPerSecond, most: .max)
        lateFrames = Purse(
            time: limits.resetsPerSecond * 2, most: limits.resetsPerSecond * 100)
    }

    mutating func pass(_ time: Duration) {
        let tenths = Int(min(time.nanoseconds / 100_000_000, 20))
        guard tenths > 0 else { return }
        func add(_ purse: inout Purse, _ perSecond: Int) {
            purse.time = min(perSecond * 2, purse.time + perSecond * tenths / 10)
        }
        add(&resets, limits.resetsPerSecond)
        add(&controlFrames, limits.controlFramesPerSecond)
        add(&emptyFrames, limits.emptyFramesPerSecond)
        add(&windowUpdates, limits.controlFramesPerSecond)
        add(&lateFrames, limits.resetsPerSecond)
    }

    mutating func openedStream() {
        priorities.earn(limits.priorityFramesPerStream)
        windowUpdates.earn(2)
        lateFrames.earn(4)
    }

    mutating func answered() {
        resets.earn(1)
        controlFrames.earn(2)
    }

    mutating func sentData(_ byteCount: Int) {
        controlFrames.earn(1)
        windowUpdates.earn(limits.windowUpdatesPerDataFrame)
        for _ in 0..<byteCount {
            bytesOfWindowUpdates += 1
            if bytesOfWindowUpdates % 256 == 0 { windowUpdates.earn(1) }
        }
    }

    mutating func receivedData() {
        controlFrames.earn(1)
        emptyFrames.earn(1)
    }

    mutating func takeLateData(_ byteCount: Int) -> Bool {
        let cost = byteCount < 64 ? 64 : byteCount
        if cost > lateBytes { return lateFrames.take(1) }
        lateBytes -= cost
        return true
    }
}

@Suite struct HTTP2BudgetTests {
    @Test("the budget says what its slow model says, step by step", arguments: 1..<60)
    func model(_ seed: UInt64) {
        var random = PRNG(seed: seed)
        var limits = HTTP2Limits()
        limits.resetsPerSecond = 10 + Int(random.below(40))
        limits.controlFramesPerSecond = 10 + Int(random.below(40))
        limits.emptyFramesPerSecond = 10 + Int(random.below(40))
        limits.priorityFramesPerStream = 1 + Int(random.below(20))
        var now = Instant(nanoseconds: 0)
        var budget = HTTP2Budget(limits, now: now)
        var model = Model(limits, now: now)
        // A mood lasts, so that budgets run full and run empty.
        var mood = random.below(4)
        for step in 0..<6_000 {
            if step % 500 == 0 { mood = random.below(4) }
            let isWork = mood == 0 ? true : mood == 1 ? false : random.below(2) == 0
            if isWork {
                work(&random, &budget, &model)
            } else {
                let breach = take(&random, &budget, &model, limits)
                #expect(breach.0 == breach.1, "seed \(seed), step \(step)")
            }
            if random.below(50) == 0 {
                let time = Duration.milliseconds(100 + Int64(random.below(3_000)))
                now = now + time
                budget.refill(limits, now: now)
                model.pass(time)
            }
        }
    }

    private func work(_ random: inout PRNG, _ budget: inout HTTP2Budget, _ model: inout Model) {
        switch random.below(5) {
        case 0:
            budget.streamsOpened += 1
            model.openedStream()
        case 1:
            budget.answers += 1
            model.answered()
        case 2:
            let count = 1 + Int(random.below(600))
            budget.dataFramesSent += 1
            budget.dataBytesSent += count
            model.sentData(count)
        case 3:
            budget.dataFramesReceived += 1
            model.receivedData()
        default:
            let window = Int(random.below(3_000)) - 200
            budget.expectLate(window, most: 20_000)
            model.lateBytes += max(0, window)
            if model.lateBytes > 20_000 { model.lateBytes = 20_000 }
        }
    }

    private func take(
        _ random: inout PRNG, _ budget: inout HTTP2Budget, _ model: inout Model,
        _ limits: HTTP2Limits
    ) -> (Bool, Bool) {
        switch random.below(7) {
        case 0: return (budget.takeReset(limits) == .none, model.resets.take(1))
        case 1:
            let count = 1 + Int(random.below(6))
            return (
                budget.takeControlFrames(count, limits) == .none, model.controlFrames.take(count)
            )
        case 2: return (budget.takeEmptyFrame(limits) == .none, model.emptyFrames.take(1))
        case 3: return (budget.takePriority(limits) == .none, model.priorities.take(1))
        case 4: return (budget.takeWindowUpdate(limits) == .none, model.windowUpdates.take(1))
        case 5: return (budget.takeLateFrame(limits) == .none, model.lateFrames.take(1))
        default:
            let count = 1 + Int(random.below(400))
            return (budget.takeLateData(count, limits) == .none, model.takeLateData(count))
        }
    }

    @Test("without work two seconds' worth may come at once, and a second's each second")
    func refill() {
        let limits = HTTP2Limits()
        var now = Instant(nanoseconds: 0)
        var budget = HTTP2Budget(limits, now: now)
        var taken = 0
        while budget.takeReset(limits) == .none { taken += 1 }
        #expect(taken == 200)
        now = now + .seconds(1)
        budget.refill(limits, now: now)
        taken = 0
        while budget.takeReset(limits) == .none { taken += 1 }
        #expect((98...100).contains(taken))
        budget.refill(limits, now: now + .seconds(100))
        taken = 0
        while budget.takeControlFrames(1, limits) == .none { taken += 1 }
        #expect(taken == 200)
    }

    @Test("window updates are paid for by the content that they may belong to, however late")
    func windowUpdates() {
        let limits = HTTP2Limits()
        var budget = HTTP2Budget(limits, now: Instant(nanoseconds: 0))
        for _ in 0..<100 { #expect(budget.takeWindowUpdate(limits) == .none) }
        #expect(budget.takeWindowUpdate(limits) == .windowUpdates)
        var other = HTTP2Budget(limits, now: Instant(nanoseconds: 0))
        other.dataFramesSent = 100_000
        other.dataBytesSent = 25_600_000
        var taken = 0
        while other.takeWindowUpdate(limits) == .none { taken += 1 }
        #expect(taken == 100 + 1_000_000 + 100_000)
    }

    @Test("so many streams are refused free of charge to a peer that may not know the limit")
    func pardons() {
        let limits = HTTP2Limits()
        var budget = HTTP2Budget(limits, now: Instant(nanoseconds: 0))
        var taken = 0
        while budget.takeRefusal(limits, isPardonable: true) == .none { taken += 1 }
        #expect(taken == 1_000 + 200)
        var other = HTTP2Budget(limits, now: Instant(nanoseconds: 0))
        taken = 0
        while other.takeRefusal(limits, isPardonable: false) == .none { taken += 1 }
        #expect(taken == 200)
    }
}
