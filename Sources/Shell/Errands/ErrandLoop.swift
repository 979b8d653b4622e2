import Base
import Platform
import Rollout

/// One errand on its thread.
final class Errand {
    let serial: UInt64
    let order: Errands.Order
    let deadline: Instant
    var stage = ErrandStatus.Stage.waiting
    var since: Instant
    /// A request: its bytes, the addresses that are left to try, the connection.
    var message: Preparation.Message?
    var addresses: [Address] = []
    var connection: CallConnection?
    /// When the next address is tried.
    var connectDeadline = Instant.never
    /// Why addresses so far did not do.
    var refusals: [String] = []
    var isForbidden = true
    /// A program: the child, and the last of what it printed.
    var child: ChildProcess?
    var printed = ProgramEnd(cause: .exit(0))

    init(serial: UInt64, _ order: Errands.Order) {
        self.serial = serial
        self.order = order
        deadline = order.begun + order.call.limit
        since = order.begun
    }

    var request: CallRequest? {
        if case .request(let request) = order.call.work { return request }
        return nil
    }

    func enter(_ stage: ErrandStatus.Stage, _ now: Instant) {
        if self.stage == stage { return }
        self.stage = stage
        since = now
    }

    var status: ErrandStatus {
        ErrandStatus(
            ticket: order.ticket, party: order.call.party, stage: stage, since: since,
            deadline: deadline)
    }
}

/// The thread of all errands: one poller, no wait but its own.
struct ErrandLoop: ~Copyable {
    let errands: Errands
    var poller: Poller
    /// Errands by serial, which are in the order in which they came.
    var running: [UInt64: Errand] = [:]
    var waiting: [Errand] = []
    /// Hosts whose addresses are being looked up.
    var lookups: Set<String> = []
    /// Programs that were killed and have not ended yet.
    var dying: [UInt64: ChildProcess] = [:]
    private var nextSerial: UInt64 = 1
    private var mustTell = false

    /// Tokens: an errand's serial, shifted, with the kind of its descriptor.
    static let wakeToken: UInt64 = 0
    static let socketKind: UInt64 = 1, endKind: UInt64 = 2, outputKind: UInt64 = 3

    init(_ errands: Errands, _ poller: consuming Poller) {
        self.errands = errands
        self.poller = poller
    }

    mutating func run() {
        while true {
            let now = SystemClock.now()
            takeLetters(now)
            let isStopped = errands.state.withLock { $0.isStopped }
            if isStopped { return endAll() }
            expire(now)
            startWaiting(now)
            tell()
            guard let count = try? poller.wait(milliseconds: timeout()) else { return endAll() }
            for i in 0..<count { handle(poller.ready(i)) }
        }
    }

    private func timeout() -> Int32 {
        var next = Instant.never
        for errand in running.values {
            next = min(next, errand.deadline, errand.connectDeadline)
        }
        for errand in waiting { next = min(next, errand.deadline) }
        if next.isNever { return -1 }
        return Int32(clamping: (next - SystemClock.now()).millisecondsUp)
    }

    private mutating func takeLetters(_ now: Instant) {
        errands.wakeup.clear()
        let letters = errands.state.withLock { state -> Errands.State in
            let taken = state
            state.orders = []
            state.cancelled = []
            state.prepared = []
            state.looked = []
            state.heldCount += taken.orders.count
            return taken
        }
        for order in letters.orders {
            waiting.append(Errand(serial: nextSerial, order))
            nextSerial += 1
            mustTell = true
        }
        for (serial, made) in letters.prepared { prepared(serial, made, now) }
        for (host, found) in letters.looked { looked(host, found, now) }
        for ticket in letters.cancelled { cancel(ticket) }
    }

    private mutating func cancel(_ ticket: UInt64) {
        let all = waiting + running.values
        for errand in all where errand.order.ticket == ticket {
            let text = "the call of \(errand.order.call.party) was taken back"
            finish(errand, .failed(CallFailure(.cancelled, text)))
        }
    }

    /// Begins errands as long as there are places: of one party a few, so that a provider that
    /// hangs leaves room for the others.
    private mutating func startWaiting(_ now: Instant) {
        var at = 0
        while at < waiting.count, running.count < errands.options.runningMax {
            let errand = waiting[at]
            let party = errand.order.call.party
            let ofParty = running.values.count { $0.order.call.party == party }
            guard ofParty < errands.options.runningOfPartyMax else {
                at += 1
                continue
            }
            waiting.remove(at: at)
            running[errand.serial] = errand
            prepare(errand, now)
        }
    }

    private mutating func prepare(_ errand: Errand, _ now: Instant) {
        enter(errand, .preparing, now)
        let serial = errand.serial, call = errand.order.call, errands = errands
        let isTaken = errands.disks.put {
            let made = Preparation.make(
                call, agent: errands.options.agent, programs: errands.options.programs,
                system: errands.trust)
            let isStopped = errands.state.withLock { state in
                state.prepared.append((serial, made))
                return state.isStopped
            }
            // The thread that would have ended it is gone, or about to go.
            if isStopped, case .success(.child(let child)) = made { child.killAll() }
            errands.wakeup.wake()
        }
        if isTaken { return }
        let text = "\(call.party) was not asked: the disk does not answer"
        finish(errand, .failed(CallFailure(.file, text)))
    }

    private mutating func prepared(
        _ serial: UInt64, _ made: Result<Preparation.Made, CallFailure>, _ now: Instant
    ) {
        guard let errand = running[serial] else {
            // The time was over before the program was loaded.
            if case .success(.child(let child)) = made { bury(child, serial) }
            return
        }
        switch made {
        case .failure(let failure): finish(errand, .failed(failure))
        case .success(.child(let child)): watch(child, errand, now)
        case .success(.message(let message)):
            errand.message = message
            findAddresses(errand, now)
        }
    }

    // MARK: Time and ends

    private mutating func expire(_ now: Instant) {
        for errand in waiting + running.values where errand.deadline <= now {
            let text =
                "\(errand.order.call.party) \(errand.stage.text) within "
                + ErrandLoop.text(errand.order.call.limit)
            finish(errand, .failed(CallFailure(.timedOut, text)))
        }
        for errand in running.values where errand.connectDeadline <= now {
            tryNext(errand, after: "it did not answer", now)
        }
    }

    static func text(_ duration: Duration) -> String {
        let milliseconds = duration.nanoseconds / 1_000_000
        return milliseconds % 1_000 == 0 ? "\(milliseconds / 1_000) s" : "\(milliseconds) ms"
    }

    mutating func enter(_ errand: Errand, _ stage: ErrandStatus.Stage, _ now: Instant) {
        if errand.stage != stage { mustTell = true }
        errand.enter(stage, now)
    }

    /// Ends an errand, and reports.
    mutating func finish(_ errand: Errand, _ outcome: CallOutcome) {
        let wasRunning = running.removeValue(forKey: errand.serial) != nil
        if !wasRunning {
            guard let at = waiting.firstIndex(where: { $0 === errand }) else { return }
            waiting.remove(at: at)
        }
        // Closing it takes it out of the poller.
        errand.connection = nil
        if let child = errand.child { bury(child, errand.serial) }
        mustTell = true
        errands.state.withLock { $0.heldCount -= 1 }
        tell()
        errands.report(errand.order.ticket, outcome, since: errand.order.begun)
    }

    private mutating func endAll() {
        for errand in waiting + running.values {
            let text = "the call of \(errand.order.call.party) ends with the process"
            finish(errand, .failed(CallFailure(.cancelled, text)))
        }
        let left = errands.state.withLock { state in
            defer {
                state.orders = []
                state.isStopped = true
            }
            return state.orders
        }
        for order in left {
            let text = "\(order.call.party) was not asked: the process ends"
            errands.report(
                order.ticket, .failed(CallFailure(.cancelled, text)), since: order.begun)
        }
    }

    /// Writes down what is under way, for whoever asks.
    private mutating func tell() {
        guard mustTell else { return }
        mustTell = false
        let all = (waiting + running.values).sorted { $0.serial < $1.serial }.map(\.status)
        errands.state.withLock { $0.statuses = all }
    }

    private mutating func handle(_ event: Poller.Ready) {
        if event.token == ErrandLoop.wakeToken { return }
        let serial = event.token >> 2, kind = event.token & 3
        if kind == ErrandLoop.endKind, let child = dying[serial] {
            if child.takeEnd() == nil { return }
            Socket.close(child.descriptor)
            dying[serial] = nil
            return
        }
        guard let errand = running[serial] else { return }
        let now = SystemClock.now()
        switch kind {
        case ErrandLoop.socketKind: socketEvent(errand, event, now)
        case ErrandLoop.outputKind: _ = readOutput(errand)
        default: ended(errand)
        }
    }
}
