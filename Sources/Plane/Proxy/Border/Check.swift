import Base
import Configuration
import HTTP2
import Upstream

extension DataPlane {
    /// Whether the tables agree with each other: links lead both ways, lists are lists, loads and
    /// permits are what the slots say, phases fit what a slot holds.
    ///
    /// For tests, between two turns of the driver, when all effects are performed. Takes time with
    /// the number of slots.
    /// - Returns: a line for each fault; none when all is well.
    package func check() -> [String] {
        var faults: [String] = []
        checkDownstream(&faults)
        checkExchanges(&faults)
        checkAttempts(&faults)
        checkUpstream(&faults)
        checkPools(&faults)
        checkLinks(&faults)
        checkMachines(&faults)
        return faults
    }

    /// Finds steps that a machine's table lacks, also of tenants that are gone.
    private func checkMachines(_ faults: inout [String]) {
        for index in 0..<tables.downstream.indexEnd {
            guard let step = tables.downstream[index: index].machine.fault else { continue }
            faults.append("downstream \(index) went \(step.name)")
        }
        for index in 0..<tables.exchanges.indexEnd {
            if let step = tables.exchanges[index: index].requestMachine.fault {
                faults.append("exchange \(index) had its request go \(step.name)")
            }
            if let step = tables.exchanges[index: index].responseMachine.fault {
                faults.append("exchange \(index) had its response go \(step.name)")
            }
        }
        for index in 0..<tables.attempts.indexEnd {
            guard let step = tables.attempts[index: index].machine.fault else { continue }
            faults.append("attempt \(index) went \(step.name)")
        }
        for index in 0..<tables.upstream.indexEnd {
            guard let step = tables.upstream[index: index].machine.fault else { continue }
            faults.append("upstream \(index) went \(step.name)")
        }
        for index in 0..<tables.links.indexEnd {
            guard let step = tables.links[index: index].machine.fault else { continue }
            faults.append("HTTP/2 connection \(index) went \(step.name)")
        }
    }

    private func checkDownstream(_ faults: inout [String]) {
        var sockets = 0
        for index in 0..<tables.downstream.indexEnd {
            guard let id = tables.downstream.tenant(at: index) else { continue }
            if !tables.downstream[id].isStream { sockets += 1 }
            let exchange = tables.downstream[id].exchange
            let phase = tables.downstream[id].phase
            let has = !exchange.isNone
            if has, !tables.exchanges.holds(exchange) {
                faults.append("downstream \(index) has an exchange that is over")
                continue
            }
            switch phase {
            case .exchange, .tunnel:
                if !has { faults.append("downstream \(index) is in \(phase) without an exchange") }
            case .idle, .head, .lingering, .http2, .closed:
                if has { faults.append("downstream \(index) is in \(phase) with an exchange") }
            }
            if has, tables.exchanges[exchange].downstream != id {
                faults.append("downstream \(index) has an exchange of another")
            }
            if phase == .http2, !tables.links.holds(tables.downstream[id].h2) {
                faults.append("downstream \(index) carries no HTTP/2 connection")
            }
            var kept = tables.downstream[id].firstPrivate
            while !kept.isNone {
                if !tables.upstream.holds(kept) || tables.upstream[kept].client != id {
                    faults.append("downstream \(index) lists a connection that is not its own")
                    break
                }
                kept = tables.upstream[kept].nextIdle
            }
        }
        if sockets != turn.socketCount {
            faults.append("\(sockets) sockets of clients, and \(turn.socketCount) counted")
        }
    }

    private func checkExchanges(_ faults: inout [String]) {
        for index in 0..<tables.exchanges.indexEnd {
            guard let id = tables.exchanges.tenant(at: index) else { continue }
            let downstream = tables.exchanges[id].downstream
            if !tables.downstream.holds(downstream) {
                faults.append("exchange \(index) has no client")
            } else if tables.downstream[downstream].exchange != id {
                faults.append("exchange \(index) is not its client's")
            }
            let attempt = tables.exchanges[id].attempt
            if !attempt.isNone, !tables.attempts.holds(attempt) {
                faults.append("exchange \(index) has an attempt that is over")
            }
            if tables.attempts.holds(attempt), tables.attempts[attempt].exchange != id {
                faults.append("exchange \(index) has an attempt of another")
            }
            if tables.exchanges[id].responsePhase == .complete,
                tables.exchanges[id].requestPhase != .discarding
            {
                faults.append("exchange \(index) has its answer and has not ended")
            }
            if tables.exchanges[id].isWaiting, tables.attempts.holds(attempt) {
                faults.append("exchange \(index) waits with an attempt under way")
            }
            if tables.exchanges[id].timer.deadline.isNever {
                faults.append("exchange \(index) has no deadline")
            }
        }
    }

    private func checkAttempts(_ faults: inout [String]) {
        var loads = [Int](repeating: 0, count: turn.endpointPools.count)
        for index in 0..<tables.attempts.indexEnd {
            guard let id = tables.attempts.tenant(at: index) else { continue }
            let exchange = tables.attempts[id].exchange
            if !tables.exchanges.holds(exchange) || tables.exchanges[exchange].attempt != id {
                faults.append("attempt \(index) is not its exchange's")
            }
            let endpoint = tables.attempts[id].endpoint
            if endpoint >= 0 { loads[endpoint] += 1 }
            let connection = tables.attempts[id].connection
            if !connection.isNone, !tables.upstream.holds(connection) {
                faults.append("attempt \(index) has a connection that is over")
            }
            switch tables.attempts[id].phase {
            case .placed: faults.append("attempt \(index) is at an endpoint, and goes nowhere")
            case .pending: break
            case .connecting, .sent:
                if !tables.upstream.holds(connection) || tables.upstream[connection].attempt != id {
                    faults.append("attempt \(index) has a connection that is not its own")
                }
            }
        }
        for endpoint in 0..<turn.endpointPools.count
        where turn.endpointPools[endpoint].load != loads[endpoint] {
            faults.append(
                "endpoint \(endpoint) has \(loads[endpoint]) attempts, and a load of "
                    + "\(turn.endpointPools[endpoint].load)")
        }
    }

    private func checkUpstream(_ faults: inout [String]) {
        var connecting = [Int](repeating: 0, count: turn.endpointPools.count)
        for index in 0..<tables.upstream.indexEnd {
            guard let id = tables.upstream.tenant(at: index) else { continue }
            let attempt = tables.upstream[id].attempt
            if !attempt.isNone, !tables.attempts.holds(attempt) {
                faults.append("upstream \(index) has an attempt that is over")
            }
            let phase = tables.upstream[id].phase
            switch phase {
            case .idle, .closed, .http2:
                if tables.attempts.holds(attempt) {
                    faults.append("upstream \(index) is in \(phase) with an attempt")
                }
            case .busy, .tunnel:
                if !tables.attempts.holds(attempt) {
                    faults.append("upstream \(index) is in \(phase) without an attempt")
                }
            case .connecting:
                if !tables.upstream[id].isStream, !tables.upstream[id].isCheck,
                    tables.upstream[id].purpose != .oneOverHTTP1
                {
                    connecting[tables.upstream[id].endpoint] += 1
                }
            case .open: faults.append("upstream \(index) is open, for nobody")
            }
            if tables.attempts.holds(attempt), tables.attempts[attempt].connection != id {
                faults.append("upstream \(index) has an attempt that is elsewhere")
            }
        }
        for endpoint in 0..<turn.endpointPools.count
        where turn.endpointPools[endpoint].connectingCount != connecting[endpoint] {
            faults.append(
                "endpoint \(endpoint) has \(connecting[endpoint]) connections on their way, and "
                    + "counts \(turn.endpointPools[endpoint].connectingCount)")
        }
    }

    private func checkPools(_ faults: inout [String]) {
        var idle = [Int](repeating: 0, count: turn.clusterPools.count)
        for endpoint in 0..<turn.endpointPools.count {
            var count = 0, previous = UpstreamID.none, id = turn.endpointPools[endpoint].idle
            while !id.isNone {
                guard tables.upstream.holds(id), tables.upstream[id].phase == .idle,
                    tables.upstream[id].client.isNone, tables.upstream[id].endpoint == endpoint,
                    tables.upstream[id].previousIdle == previous
                else {
                    faults.append("endpoint \(endpoint) lists a connection that is not idle there")
                    break
                }
                count += 1
                idle[tables.upstream[id].cluster] += 1
                previous = id
                id = tables.upstream[id].nextIdle
            }
            if count != turn.endpointPools[endpoint].idleCount {
                faults.append("endpoint \(endpoint) has \(count) idle, and counts otherwise")
            }
        }
        for cluster in 0..<turn.clusterPools.count {
            if idle[cluster] != turn.clusterPools[cluster].idleCount {
                faults.append("cluster \(cluster) has \(idle[cluster]) idle, and counts otherwise")
            }
            if turn.clusterPools[cluster].isDue {
                faults.append("cluster \(cluster) has a queue that was not looked after")
            }
            var count = 0, previous = AttemptID.none
            var id = turn.clusterPools[cluster].firstPending
            while !id.isNone {
                guard tables.attempts.holds(id), tables.attempts[id].phase == .pending,
                    tables.attempts[id].previousPending == previous
                else {
                    faults.append("cluster \(cluster) queues an attempt that does not wait")
                    break
                }
                count += 1
                previous = id
                id = tables.attempts[id].nextPending
            }
            if count != turn.clusterPools[cluster].pendingCount {
                faults.append("cluster \(cluster) queues \(count), and counts otherwise")
            }
        }
    }

    /// Whether an HTTP/2 connection has a stream that is a connection here: one whose head is still
    /// coming is none yet.
    private func hasOwnedStream(_ id: HTTP2LinkID) -> Bool {
        for index in 0..<tables.links[id].engine.streamIndexEnd
        where tables.links[id].engine.owner(at: index) != 0 {
            return true
        }
        return false
    }

    private func checkLinks(_ faults: inout [String]) {
        for index in 0..<tables.links.indexEnd {
            guard let id = tables.links.tenant(at: index) else { continue }
            let socket = tables.links[id].socket
            let isCarried =
                socket.side == .downstream
                ? tables.downstream.holds(socket.downstream)
                    && tables.downstream[socket.downstream].h2 == id
                : tables.upstream.holds(socket.upstream)
                    && tables.upstream[socket.upstream].h2 == id
            if !isCarried { faults.append("HTTP/2 connection \(index) has no socket") }
            if tables.links[id].phase == .idle, hasOwnedStream(id) {
                faults.append("HTTP/2 connection \(index) is idle with streams")
            }
        }
    }
}
