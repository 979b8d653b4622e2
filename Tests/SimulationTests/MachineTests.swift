import Simulation
import Testing

/// The machines of the data plane, by the steps that they take.
@Suite struct MachineTests {
    @Test(
        "worlds take every step of the tables, and debug builds trap at any other",
        .enabled(if: MachineSteps.areNoted, "only debug builds take note of steps"))
    func steps() {
        let faults = MachineSteps.faults(seeds: 0..<80)
        #expect(faults.isEmpty, "\(faults.joined(separator: "\n"))")
    }
}
