import Base
import Platform
import Rollout

/// The outcome of an errand, with the ticket that whoever gave it chose.
public struct ErrandReport: Sendable {
    public var ticket: UInt64
    public var outcome: CallOutcome
    public var took: Duration
}

/// An errand that is under way: where it is, and since when. A provider that hangs shows here.
public struct ErrandStatus: Sendable, Equatable {
    /// The stations of an errand in their order; a program has the first two and the last.
    public enum Stage: String, Sendable, CaseIterable {
        /// Others are before it.
        case waiting
        /// Files of the call are read, or its program is loaded.
        case preparing
        case resolving
        case connecting
        case securing
        case sending
        /// Everything is sent, and nothing has come.
        case awaiting
        case receiving
        case running

        /// The stage in words that follow the name of the party.
        var text: String {
            switch self {
            case .waiting: return "waited for other calls"
            case .preparing: return "waited for files of the disk"
            case .resolving: return "waited for a name server"
            case .connecting: return "was not connected"
            case .securing: return "did not finish TLS's handshake"
            case .sending: return "did not take the whole request"
            case .awaiting: return "did not answer"
            case .receiving: return "did not finish its answer"
            case .running: return "did not end"
            }
        }
    }

    public var ticket: UInt64
    /// The party that is asked (`OutgoingCall.party`).
    public var party: String
    public var stage: Stage
    /// When the stage began, and when the errand is given up.
    public var since: Instant
    public var deadline: Instant
}

/// Asks the world outside for rollouts: URLs and programs. One thread of its own performs all
/// errands side by side; it starts with the first. Nobody waits for it: an errand is handed over,
/// and its one report comes later, at the latest when its time is over.
///
/// Any thread may call.
public final class Errands: Sendable {
    public struct Options: Sendable {
        /// Errands that are performed at one time; of one party.
        public var runningMax = 8
        public var runningOfPartyMax = 3
        /// Errands that may wait.
        public var waitingMax = 256
        /// Bytes of an answer's content.
        public var answerBytesMax = 1 << 20
        /// The programs that may be run; `nil`: none.
        public var programs: ProgramDirectory?
        /// The addresses of this process's admin endpoint, which no call goes to.
        public var admin: [Address] = []
        public var agent = "sluice"
        public init() {}
    }

    public typealias Lookup =
        @Sendable (_ host: String, _ port: UInt16) -> Result<[Address], NameLookup.Failure>

    struct Order: Sendable {
        var ticket: UInt64
        var call: OutgoingCall
        var begun: Instant
    }

    /// The letters to the errand thread, and its shared notes.
    struct State: Sendable {
        var orders: [Order] = []
        var cancelled: [UInt64] = []
        var prepared: [(serial: UInt64, made: Result<Preparation.Made, CallFailure>)] = []
        var looked: [(host: String, found: Result<[Address], NameLookup.Failure>)] = []
        var statuses: [ErrandStatus] = []
        /// Errands that are neither done nor in `orders`.
        var heldCount = 0
        var hasThread = false
        var isStopped = false
    }

    let options: Options
    let lookUp: Lookup
    let state = Lock(State())
    let wakeup: Wakeup
    let disks = HelperThreads(name: "errand-files", threadsMax: 2)
    let names = HelperThreads(name: "errand-names", threadsMax: 4)
    let trust = SystemTrust()
    private let notify: @Sendable (ErrandReport) -> Void

    /// - Parameters:
    ///   - lookUp: asks for a name's addresses and may block.
    ///   - notify: takes an errand's one report; called on the errand thread, and must not block.
    public init(
        _ options: Options,
        lookUp: @escaping Lookup = { NameLookup.addresses(host: $0, port: $1) },
        notify: @escaping @Sendable (ErrandReport) -> Void
    ) throws(SystemError) {
        self.options = options
        self.lookUp = lookUp
        self.notify = notify
        wakeup = try Wakeup()
    }

    /// Hands an errand over. Its report comes once, whatever happens.
    ///
    /// - Parameter ticket: the caller's name for it, of which there is one at a time.
    public func perform(_ call: OutgoingCall, ticket: UInt64) {
        enum Place { case taken, takenByNobody, full, stopped }
        let now = SystemClock.now()
        let place = state.withLock { state -> Place in
            if state.isStopped { return .stopped }
            let most = options.waitingMax + options.runningMax
            guard state.orders.count + state.heldCount < most else { return .full }
            state.orders.append(Order(ticket: ticket, call: call, begun: now))
            defer { state.hasThread = true }
            return state.hasThread ? .taken : .takenByNobody
        }
        func refuse(_ kind: CallFailure.Kind, _ text: String) {
            report(ticket, .failed(CallFailure(kind, text)), since: now)
        }
        switch place {
        case .taken: wakeup.wake()
        case .takenByNobody: start()
        case .full:
            refuse(.busy, "\(call.party) was not asked: \(options.waitingMax) calls wait already")
        case .stopped: refuse(.cancelled, "\(call.party) was not asked: the process ends")
        }
    }

    /// Takes an errand back; its report says so. Nothing happens where there is none.
    public func cancel(_ ticket: UInt64) {
        state.withLock { $0.cancelled.append(ticket) }
        wakeup.wake()
    }

    /// The errands that are under way, in the order in which they were given.
    public var underWay: [ErrandStatus] { state.withLock { $0.statuses } }

    /// Ends all errands, programs with whatever they have started, and the thread. No errand is
    /// taken from here on.
    public func stop() {
        state.withLock { $0.isStopped = true }
        wakeup.wake()
    }

    func report(_ ticket: UInt64, _ outcome: CallOutcome, since begun: Instant) {
        notify(ErrandReport(ticket: ticket, outcome: outcome, took: SystemClock.now() - begun))
    }

    private func start() {
        let failure: SystemError
        do throws(SystemError) {
            let poller = try Poller()
            try poller.addInput(wakeup.descriptor, token: ErrandLoop.wakeToken)
            let thread = ErrandThread(ErrandLoop(self, poller))
            return try Thread.start(name: "errands") { thread.loop.run() }.detach()
        } catch {
            failure = error
        }
        let orders = state.withLock { state in
            defer {
                state.orders = []
                state.hasThread = false
            }
            return state.orders
        }
        for order in orders {
            let text = "\(order.call.party) was not asked: no thread for it: \(failure.message)"
            report(order.ticket, .failed(CallFailure(.busy, text)), since: order.begun)
        }
    }
}

/// Carries the loop to its thread. Used once by each, and the start of the thread lies between.
private final class ErrandThread: @unchecked Sendable {
    var loop: ErrandLoop
    init(_ loop: consuming ErrandLoop) { self.loop = loop }
}
