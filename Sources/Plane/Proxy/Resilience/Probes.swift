import Base
import Configuration
import Upstream

extension Pools {
    /// The endpoint refused a connect: out of the rotation at once, for all workers, and probed
    /// until it is back. The worker that took it out owes the probes.
    static func takeOut(_ tables: inout Tables, _ turn: inout Turn, attempt: AttemptID) {
        let cluster = Attempts.cluster(tables, of: tables.attempts[attempt].exchange)
        let endpoint = cluster.value.endpoints[tables.attempts[attempt].position]
        guard endpoint.state.value.takeOut() else { return }
        // The probe outlives the snapshot that named the endpoint.
        endpoint.state.retain()
        cluster.value.state.retain()
        var probe = Probe(
            endpoint: endpoint.state, cluster: cluster.value.state,
            connectTimeout: cluster.value.connectTimeout, warmup: cluster.value.warmup)
        probe.isActive = true
        let index: Int
        if let free = turn.probes.firstIndex(where: { !$0.isActive }) {
            probe.timer = turn.probes[free].timer
            turn.probes[free] = probe
            index = free
        } else {
            turn.probes.append(probe)
            index = turn.probes.count - 1
        }
        turn.endpointPools[endpoint.id].probe = index
        schedule(&turn, index)
    }

    private static func schedule(_ turn: inout Turn, _ index: Int) {
        let wait = turn.probes[index].backoff.advance()
        turn.probes[index].timer.attach(
            to: &turn.timers, payload: Timers.payload(.probe, UInt32(index)))
        turn.probes[index].timer.set(turn.now + wait, on: &turn.timers)
    }

    /// The probe's timer fired: try to connect.
    static func probe(_ tables: inout Tables, _ turn: inout Turn, _ index: Int) {
        guard turn.probes[index].timer.fired(now: turn.now, on: &turn.timers),
            turn.probes[index].isActive
        else { return }
        let probe = turn.probes[index]
        let state = probe.cluster
        // At the limit the probe waits its turn like everybody.
        guard
            state.value.takeConnection(max: turn.clusterPools[state.value.id].limits.connectionsMax)
        else { return schedule(&turn, index) }
        guard
            let id = EndpointConnections.open(
                &tables, &turn, endpoint: probe.endpoint.value.id, cluster: state.value.id,
                address: probe.endpoint.value.address, timeout: probe.connectTimeout)
        else {
            state.value.freeConnection()
            return schedule(&turn, index)
        }
        tables.upstream[id].purpose = .probe
    }

    static func probeSucceeded(_ turn: inout Turn, endpoint: Int) {
        let index = turn.endpointPools[endpoint].probe
        if index >= 0 { endProbe(&turn, index) }
    }

    /// The endpoint is back, or no longer of interest.
    static func endProbe(_ turn: inout Turn, _ index: Int) {
        let probe = turn.probes[index]
        probe.endpoint.value.bringBack(warmup: probe.warmup, now: turn.now)
        turn.endpointPools[probe.endpoint.value.id].probe = -1
        turn.probes[index].isActive = false
        turn.probes[index].timer.clear()
        probe.endpoint.release()
        probe.cluster.release()
    }

    static func probeFailed(_ tables: inout Tables, _ turn: inout Turn, endpoint: Int) {
        let index = turn.endpointPools[endpoint].probe
        if index >= 0, turn.probes[index].isActive { schedule(&turn, index) }
    }
}
