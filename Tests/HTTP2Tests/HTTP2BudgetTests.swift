import Base
import Testing

import HTTP2

@Suite struct HTTP2BudgetTests {
    @Test("two seconds' worth may come at once, and a second's is refilled each second")
    func refill() {
        let limits = HTTP2Limits()
        var now = Instant(nanoseconds: 0)
        var budget = HTTP2Budget(limits, now: now)
        var taken = 0
        while budget.takeReset() == .none { taken += 1 }
        #expect(taken == 200)
        now = now + .seconds(1)
        budget.refill(limits, now: now)
        taken = 0
        while budget.takeReset() == .none { taken += 1 }
        #expect((98...100).contains(taken))
        budget.refill(limits, now: now + .seconds(100))
        taken = 0
        while budget.takeControlFrame() == .none { taken += 1 }
        #expect(taken == 200)
    }

    @Test("window updates are bounded by the DATA frames that they may belong to")
    func windowUpdates() {
        var budget = HTTP2Budget(HTTP2Limits(), now: Instant(nanoseconds: 0))
        for _ in 0..<100 { #expect(budget.takeWindowUpdate(HTTP2Limits()) == .none) }
        #expect(budget.takeWindowUpdate(HTTP2Limits()) == .windowUpdates)
        budget.dataFramesSent = 10
        for _ in 0..<99 { #expect(budget.takeWindowUpdate(HTTP2Limits()) == .none) }
    }
}
