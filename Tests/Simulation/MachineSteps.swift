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

    /// Steps that no swarm takes, and why they are in a table all the same.
    package static let rare = [
        "DownstreamConnection.Phase: head -> http2":
            "takes a reload that lets a listener speak HTTP/2 in the middle of a preface"
    ]

    /// Faults of the tables, by the worlds of so many seeds: steps that nothing takes and that are
    /// not `rare`, and rare ones that are taken.
    package static func faults(seeds: Range<UInt64>) -> [String] {
        var steps = MachineSteps()
        for seed in seeds {
            let swarm = Swarm(seed: seed, checksTables: false)
            swarm.run()
            steps.add(swarm.steps)
        }
        let untaken = steps.table.subtracting(steps.taken).subtracting(rare.keys)
        let unlisted = Set(rare.keys).subtracting(steps.table)
        let common = Set(rare.keys).intersection(steps.taken)
        return untaken.sorted().map { "no world takes \($0)" }
            + unlisted.sorted().map { "the table lacks \($0)" }
            + common.sorted().map { "not rare: \($0)" }
    }
}
