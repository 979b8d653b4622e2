import Base
import Configuration
import Telemetry
import Upstream

/// Work that one worker does at intervals for the whole process: health checks, and comparisons of
/// endpoints' success rates. Empty in all but the first worker.
struct Rounds {
    var checks: [HealthCheck] = []
    var comparisons: [Comparison] = []

    /// One cluster whose endpoints are compared.
    struct Comparison {
        /// Retained while it is active.
        var cluster: SharedBox<Cluster>
        var isActive = true
        var timer = LazyTimer()
    }

    /// A new snapshot is in force.
    static func adopt(_ turn: inout Turn) {
        guard turn.worker == 0 else { return }
        adoptChecks(&turn)
        adoptComparisons(&turn)
    }

    private static func adoptChecks(_ turn: inout Turn) {
        let snapshot = turn.snapshots.newest
        for i in turn.rounds.checks.indices { turn.rounds.checks[i].isNamed = false }
        for s in 0..<snapshot.value.services.count {
            let service = snapshot.value.services[s]
            guard service.check >= 0 else { continue }
            let policy = snapshot.value.checks[service.check].policy
            for v in service.versions.start..<service.versions.end {
                let cluster = snapshot.value.versions[v].cluster
                for position in 0..<cluster.value.endpoints.count {
                    HealthChecks.put(
                        &turn, cluster, position: position, plan: service.check,
                        version: v, policy: policy)
                }
            }
        }
        for i in turn.rounds.checks.indices
        where turn.rounds.checks[i].isActive && !turn.rounds.checks[i].isNamed {
            HealthChecks.stop(&turn, i)
        }
    }

    private static func adoptComparisons(_ turn: inout Turn) {
        let snapshot = turn.snapshots.newest
        var wanted: [SharedBox<Cluster>] = []
        for v in 0..<snapshot.value.versions.count {
            let cluster = snapshot.value.versions[v].cluster
            if cluster.value.detectsOutliers, cluster.value.outlier.successRate != nil {
                wanted.append(cluster)
            }
        }
        for i in turn.rounds.comparisons.indices where turn.rounds.comparisons[i].isActive {
            let id = turn.rounds.comparisons[i].cluster.value.id
            turn.rounds.comparisons[i].cluster.release()
            guard let w = wanted.firstIndex(where: { $0.value.id == id }) else {
                turn.rounds.comparisons[i].isActive = false
                turn.rounds.comparisons[i].timer.clear()
                continue
            }
            let cluster = wanted.remove(at: w)
            cluster.retain()
            turn.rounds.comparisons[i].cluster = cluster
        }
        for cluster in wanted {
            cluster.retain()
            let index: Int
            let free = turn.rounds.comparisons.firstIndex { !$0.isActive }
            if let free {
                turn.rounds.comparisons[free].cluster = cluster
                turn.rounds.comparisons[free].isActive = true
                index = free
            } else {
                turn.rounds.comparisons.append(Comparison(cluster: cluster))
                index = turn.rounds.comparisons.count - 1
            }
            schedule(&turn, index)
        }
    }

    private static func schedule(_ turn: inout Turn, _ index: Int) {
        let interval = turn.rounds.comparisons[index].cluster.value.outlier.interval
        turn.rounds.comparisons[index].timer.attach(
            to: &turn.timers, payload: Timers.payload(.comparison, UInt32(index)))
        turn.rounds.comparisons[index].timer.set(turn.now + interval, on: &turn.timers)
    }

    /// An interval is over: endpoints whose success rate is an outlier's are ejected.
    static func compare(_ turn: inout Turn, _ index: Int) {
        guard turn.rounds.comparisons[index].timer.fired(now: turn.now, on: &turn.timers),
            turn.rounds.comparisons[index].isActive
        else { return }
        schedule(&turn, index)
        let cluster = turn.rounds.comparisons[index].cluster
        let count = cluster.value.endpoints.count
        guard let policy = cluster.value.outlier.successRate else { return }
        let tallies = (0..<count).map { cluster.value.endpoints[$0].state.value.takeTally() }
        guard let threshold = policy.threshold(tallies) else { return }
        for position in 0..<count
        where policy.isOutlier(tallies[position], threshold: threshold) {
            let isEjected = cluster.value.endpoints[position].state.value.ejectForSuccessRate(
                cluster.value.outlier, cluster: cluster.value.state.value, endpointCount: count,
                now: turn.now)
            if isEjected { Outliers.ejected(&turn, cluster, position, .successRate) }
        }
    }
}
