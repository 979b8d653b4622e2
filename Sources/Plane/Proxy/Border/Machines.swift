import Base

/// One of the machines of a data plane: its table, and the steps that its slots have taken.
package struct MachineReport {
    package var name: String
    /// The steps that the machine may take, as `from -> to`.
    package var table: [String]
    /// The steps that it has taken, in debug builds.
    package var taken: Set<String>
}

extension DataPlane {
    /// Whether machines take note of their steps: in debug builds.
    package static var notesSteps: Bool {
        #if DEBUG
        return true
        #else
        return false
        #endif
    }

    /// Every machine, with the steps of all its slots since the data plane began.
    package var machines: [MachineReport] {
        var downstream: Set<String> = [], upstream: Set<String> = [], attempts: Set<String> = []
        var requests: Set<String> = [], responses: Set<String> = []
        for index in 0..<tables.downstream.indexEnd {
            downstream.formUnion(tables.downstream[index: index].machine.history)
        }
        for index in 0..<tables.exchanges.indexEnd {
            requests.formUnion(tables.exchanges[index: index].requestMachine.history)
            responses.formUnion(tables.exchanges[index: index].responseMachine.history)
        }
        for index in 0..<tables.attempts.indexEnd {
            attempts.formUnion(tables.attempts[index: index].machine.history)
        }
        for index in 0..<tables.upstream.indexEnd {
            upstream.formUnion(tables.upstream[index: index].machine.history)
        }
        var links: Set<String> = []
        for index in 0..<tables.links.indexEnd {
            links.formUnion(tables.links[index: index].machine.history)
        }
        return [
            report("DownstreamConnection.Phase", DownstreamConnection.Phase.self, downstream),
            report("Exchange.RequestPhase", Exchange.RequestPhase.self, requests),
            report("Exchange.ResponsePhase", Exchange.ResponsePhase.self, responses),
            report("Attempt.Phase", Attempt.Phase.self, attempts),
            report("UpstreamConnection.Phase", UpstreamConnection.Phase.self, upstream),
            report("HTTP2Link.Phase", HTTP2Link.Phase.self, links),
        ]
    }

    private func report<Phase: MachinePhase>(
        _ name: String, _ phase: Phase.Type, _ taken: Set<String>
    ) -> MachineReport {
        MachineReport(name: name, table: Machine<Phase>.table, taken: taken)
    }
}
