/// The phases of one kind of slot, with the table of steps between them.
///
/// A type's table and the diagram in the slot's comment say the same, step by step: a test compares
/// them, and another takes note of the steps that simulated worlds take.
protocol MachinePhase: RawRepresentable, CaseIterable, BitwiseCopyable where RawValue == UInt8 {
    /// Whether the table has a step. Where `next` is a literal, nothing is left of this but one
    /// test of bits.
    static func allows(_ phase: Self, _ next: Self) -> Bool
}

/// The phase of a slot: changed by steps of its table alone.
///
/// A step that the table lacks is a fault of ours. Debug builds trap at once. Release builds go on,
/// and the slot remembers the step beyond its tenant, for `DataPlane.check`; but they do not look
/// at the steps that most requests take (`enterOften`).
struct Machine<Phase: MachinePhase>: BitwiseCopyable {
    private(set) var phase: Phase
    /// The last step that the table lacks, as `Step` numbers it.
    private var misstep = UInt8.max
    #if DEBUG
    /// The steps that were taken, a bit each.
    private var taken: UInt64 = 0
    #endif

    init(_ first: Phase) { phase = first }

    /// Takes a step.
    @inline(__always)
    mutating func enter(_ next: Phase) {
        if !Phase.allows(phase, next) { stumble(to: next) }
        #if DEBUG
        taken |= 1 << UInt64(Step(from: phase, to: next).number)
        #endif
        phase = next
    }

    /// Takes a step that most requests take: looked at in debug builds alone, where a test of bits
    /// with each of them would be felt.
    @inline(__always)
    mutating func enterOften(_ next: Phase) {
        #if DEBUG
        enter(next)
        #else
        phase = next
        #endif
    }

    /// Begins anew, for the slot's next tenant.
    @inline(__always)
    mutating func restart(at first: Phase) { phase = first }

    @inline(never)
    private mutating func stumble(to next: Phase) {
        assertionFailure("a slot goes from \(phase) to \(next), which its table lacks")
        misstep = Step(from: phase, to: next).number
    }

    /// A step between two phases.
    struct Step {
        var from: Phase
        var to: Phase

        /// At most eight phases: the number is below 64.
        var number: UInt8 { from.rawValue << 3 | to.rawValue }
        /// Both phases by their names.
        var name: String { "\(from) -> \(to)" }
    }

    /// A step that the slot has taken and that its table lacks.
    var fault: Step? {
        if misstep == .max { return nil }
        return Step.all.first { $0.number == misstep }
    }

    /// The steps that slots of the kind have taken by name; empty in release builds, where nobody
    /// takes note.
    var history: [String] {
        #if DEBUG
        return Step.all.filter { taken >> UInt64($0.number) & 1 == 1 }.map(\.name)
        #else
        return []
        #endif
    }

    /// The table by name.
    static var table: [String] {
        Step.all.filter { Phase.allows($0.from, $0.to) }.map(\.name)
    }
}

extension Machine.Step {
    fileprivate static var all: [Machine.Step] {
        Phase.allCases.flatMap { from in
            Phase.allCases.map { Machine.Step(from: from, to: $0) }
        }
    }
}
