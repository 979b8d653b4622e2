import Base
import Testing
import Upstream

@Suite struct ActiveHealthTests {
    @Test("the machine and a model that looks at the whole history agree", arguments: 0..<100)
    func model(seed: Int) {
        var random = PRNG(seed: UInt64(seed))
        var policy = HealthCheckPolicy()
        policy.healthyThreshold = Int(random.below(4) + 1)
        policy.unhealthyThreshold = Int(random.below(4) + 1)
        var machine = ActiveHealth()
        var history: [Bool] = []
        // Where the endpoint stood when the last change was made.
        var isUnhealthy = false, sinceChange = 0
        #expect(!machine.isChecked && !machine.isUnhealthy)
        for _ in 0..<300 {
            let isWell = random.below(3) > 0
            history.append(isWell)
            sinceChange += 1
            let change = machine.record(isWell: isWell, policy: policy)
            let run = history.suffix(sinceChange).reversed().prefix { $0 == isWell }.count
            let wanted =
                history.count == 1
                ? !isWell
                : isUnhealthy
                    ? !(isWell && run >= policy.healthyThreshold)
                    : !isWell && run >= policy.unhealthyThreshold
            switch change {
            case .becameHealthy: #expect(isUnhealthy && !wanted, "seed \(seed)")
            case .becameUnhealthy: #expect(!isUnhealthy && wanted, "seed \(seed)")
            case nil: #expect(isUnhealthy == wanted, "seed \(seed)")
            }
            if wanted != isUnhealthy { sinceChange = 0 }
            // The first result begins a state, but counts for none.
            if history.count == 1 { sinceChange = 0 }
            isUnhealthy = wanted
            #expect(machine.isUnhealthy == isUnhealthy, "seed \(seed)")
        }
        #expect(machine.successCount == UInt64(history.count { $0 }))
        #expect(machine.failureCount == UInt64(history.count { !$0 }))
    }
}
