import Base

/// One try of an exchange at one endpoint. An exchange has one, and another after a safe failure.
///
/// An attempt begins as `placed` and ends in any phase.
///
///     placed     ──a connection or a stream is free───────────────▶ sent
///     placed     ──a connection is made for it────────────────────▶ connecting
///     placed     ──the cluster is at its limit────────────────────▶ pending
///     pending    ──its turn has come──────────────────────────────▶ placed
///     connecting ──its connection is there────────────────────────▶ sent
///     connecting ──the connection speaks HTTP/2, and has no stream▶ placed
struct Attempt: ~Copyable {
    enum Phase: UInt8, MachinePhase {
        /// An endpoint was chosen, and the way to it is being looked for.
        case placed
        /// In the cluster's queue.
        case pending
        /// The attempt's connection is being made.
        case connecting
        /// The attempt has its connection.
        case sent

        @inline(__always)
        static func allows(_ phase: Phase, _ next: Phase) -> Bool {
            switch (phase, next) {
            case (.placed, .sent), (.placed, .connecting), (.placed, .pending): return true
            case (.pending, .placed): return true
            case (.connecting, .sent), (.connecting, .placed): return true
            default: return false
            }
        }
    }

    private(set) var machine = Machine(Phase.placed)
    var phase: Phase { machine.phase }
    var exchange = ExchangeID.none
    var connection = UpstreamID.none
    /// Position among the cluster's endpoints.
    var position = -1
    var endpoint = -1
    /// Whether the attempt was sent on a connection that had served before.
    var isReused = false
    /// HTTP/2 connections that were begun for it and did not serve it.
    var linkCount: UInt8 = 0
    var nextPending = AttemptID.none
    var previousPending = AttemptID.none

    /// Becomes a fresh slot, for its next tenant.
    mutating func reset() {
        let machine = machine
        self = Attempt()
        self.machine = machine
        self.machine.restart(at: .placed)
    }

    init() {}

    @inline(__always)
    mutating func enter(_ next: Phase) { machine.enter(next) }
    @inline(__always)
    mutating func enterOften(_ next: Phase) { machine.enterOften(next) }
}
