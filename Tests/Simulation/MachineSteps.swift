import Proxy

/// Steps of the data plane's machines, each as `Attempt.Phase: placed -> sent`: those that the
/// tables have, and those that simulated worlds have taken. Only debug builds take note.
package struct MachineSteps {
    package var table: Set<String> = []
    package var taken: Set<String> = []

    package init() {}

    package init(_ machines: [MachineReport]) {
        for machine in machines {
            table.formUnion(machine.table.map { "\(machine.name): \($0)" })
            taken.formUnion(machine.taken.map { "\(machine.name): \($0)" })
        }
    }

    package mutating func add(_ other: MachineSteps) {
        table.formUnion(other.table)
        taken.formUnion(other.taken)
    }

    package static var areNoted: Bool { DataPlane.notesSteps }

    /// Steps that few or no swarms take, and what takes them.
    package static let rare = [
        "DownstreamConnection.Phase: head -> http2":
            "a reload that lets a listener speak HTTP/2 in the middle of a preface",
        "DownstreamConnection.Phase: head -> lingering":
            "a head that is refused or never whole: clients of a swarm send good ones",
        "DownstreamConnection.Phase: head -> closed":
            "a stream that is reset in the middle of its head: clients of a swarm send it whole",
        "DownstreamConnection.Phase: idle -> closed":
            "a stream that is reset before its head: clients of a swarm send it at once",
        "DownstreamConnection.Phase: tunnel -> closed":
            "a WebSocket by a stream: tunnels of a swarm are sockets",
        "Exchange.RequestPhase: body -> head":
            "a retry in the middle of a body: clients of a swarm mostly send theirs at once",
    ]

    /// Faults of the tables, by the worlds of so many seeds: steps that nothing takes and that are
    /// not `rare`, and rare ones that no table has.
    package static func faults(seeds: Range<UInt64>) -> [String] {
        var steps = MachineSteps()
        for seed in seeds {
            let swarm = Swarm(seed: seed, checksTables: false)
            swarm.run()
            steps.add(swarm.steps)
        }
        let untaken = steps.table.subtracting(steps.taken).subtracting(rare.keys)
        let unlisted = Set(rare.keys).subtracting(steps.table)
        return untaken.sorted().map { "no world takes \($0)" }
            + unlisted.sorted().map { "the table lacks \($0)" }
    }
}
