import Base

/// Why a file is not taken, and which other files it names: one of them may be what is mended next.
package struct ReloadRejection: Equatable, Sendable {
    package var text: String
    package var files: [String]

    package init(text: String, files: [String] = []) {
        self.text = text
        self.files = files
    }
}

/// Where a reload is, for whoever waits for it.
package enum ReloadStep: Equatable, Sendable {
    case reading, checking, waiting, openingSockets, lookingUpNames, compiling, confirming
    case lettingSocketsGo

    /// In words that follow "the process is".
    package var text: String {
        switch self {
        case .reading: "reading the file"
        case .checking: "checking the file"
        case .waiting: "waiting until addresses that have changed are in force"
        case .openingSockets: "opening sockets"
        case .lookingUpNames: "looking up names"
        case .compiling: "compiling the configuration"
        case .confirming: "waiting until every worker uses the configuration"
        case .lettingSocketsGo: "letting go of sockets"
        }
    }
}

/// Takes configurations from their file into force, for the control loop, which never waits: a pure
/// value that is told what happened and when, and says what to do next.
///
/// There are two halves, because a file may take long to be read while names get new addresses that
/// must not wait for it. The **reader** brings a file from the disk to a checked candidate:
///
///     idle ──ask──▶ reading ──its bytes are there──▶ checking ──accepted──▶ (publisher)
///                      │                              │     └──publisher busy──▶ holding
///                      └──too long──▶ stuck ◀─too long┘        (publisher) ◀──free──┘
///                                       └──the job returns at last──▶ idle, or reading again
///     reading, checking ──rejected──▶ idle, or reading again for later asks
///     holding ──ask──▶ reading
///
/// The **publisher** brings a candidate, or the document in force
/// with new addresses or weights (a renewal), to the workers:
///
///     idle ──candidate──▶ preparing ──sockets open──▶ names ──tried, or 1 s──▶ compiling
///      └──new addresses, new weights─────────────────────────────────────────▶ compiling
///     compiling ──▶ confirming ──all workers, or 1 s──▶ leaving ──sockets let go, or 1 s──▶ idle
///                                   └──of a renewal──▶ idle
///
/// Everything that can refuse a candidate comes before `compiling`; what is compiled is published.
///
/// - An ask during a reading is answered by one further reading, which begins when the first ends:
///   whoever asks is answered for the file as it was read after the ask. A candidate that waits
///   while somebody asks again is dropped for the newer file.
/// - New addresses during `names` are part of what is compiled; later ones make one renewal. So do
///   new weights of the overlay, and whoever asked for them is answered when that is in force.
/// - A drain refuses asks and readings; what is compiled already is published. Renewals go on,
///   because requests do.
package struct ReloadMachine<Candidate, Product> {
    /// Somebody wants the file to be read.
    package struct Ask: Equatable, Sendable {
        /// For the log: `SIGHUP`, `watch`, `admin`.
        package var cause: String
        /// Where the answer goes; `nil`: nobody waits for one.
        package var ticket: UInt64?

        package init(cause: String, ticket: UInt64? = nil) {
            self.cause = cause
            self.ticket = ticket
        }
    }

    package enum Reader {
        case idle
        /// A job reads the file for `asks`; `later` came since.
        case reading(asks: [Ask], later: [Ask], until: Instant)
        case checking(asks: [Ask], later: [Ask], until: Instant)
        /// The job was given up, and has not returned. `later` wait for it, with a bound.
        case stuck(later: [Ask], until: Instant)
        case holding(Candidate, asks: [Ask])
    }

    /// A publication that is on its way to the workers.
    package enum Work {
        case reload(Candidate, asks: [Ask])
        case renewal(asks: [Ask])
    }

    /// A renewal that comes behind what is under way: addresses or weights have changed which the
    /// compilation may not have seen.
    package struct Owed {
        package var isDue = false
        /// Who waits for new weights.
        package var asks: [Ask] = []

        package static var nothing: Owed { Owed() }

        fileprivate func with(_ ask: Ask?) -> Owed {
            Owed(isDue: true, asks: asks + (ask.map { [$0] } ?? []))
        }
    }

    package enum Publisher {
        case idle
        case preparing(asks: [Ask], owed: Owed)
        case names(Candidate, asks: [Ask], owed: Owed, until: Instant)
        /// `until`: when slowness is worth a line in the log; a compilation is never given up.
        case compiling(Work, owed: Owed, until: Instant)
        case confirming(Work, owed: Owed, until: Instant)
        case leaving(Candidate, asks: [Ask], owed: Owed, until: Instant)
    }

    package enum Refusal: Equatable, Sendable {
        case rejected(ReloadRejection)
        /// The file's bytes did not come in time.
        case readingTooLong
        /// The bytes came, and what is made of them did not.
        case checkingTooLong
        case draining
    }

    package enum Effect {
        /// Read and check the file, on a thread of its own; then `fileRead`, and `accept` or
        /// `reject`.
        case read
        /// Open what the candidate listens on; then `prepared` or `unprepared`.
        case prepare(Candidate)
        /// Look up the names of the candidate, and those in force; then `namesTried`.
        case watchNames(Candidate)
        /// Compile the candidate, or the document in force anew; then `compiled`.
        case compile(Candidate?)
        /// Put it in force; then `confirmed`, when every worker uses it.
        case publish(Product, Candidate?)
        /// Tell the workers of sockets that come and go; then `listenersReleased`, when they have
        /// let go of those.
        case changeListeners(Candidate)
        /// Everything is in force: close what was let go of, answer, log.
        case finish(Candidate, [Ask])
        case finishRenewal([Ask])
        /// Nothing changes: answer, log.
        case refuse([Ask], Refusal)
        /// Undo what was opened and watched for it.
        case discard(Candidate)
        case warnOfSlowCompilation
    }

    package static var readLimit: Duration { .seconds(10) }
    /// Generous: a large file on a small share of a processor is no failure.
    package static var checkLimit: Duration { .seconds(300) }
    package static var namesLimit: Duration { .seconds(1) }
    package static var compileLimit: Duration { .seconds(30) }
    package static var confirmLimit: Duration { .seconds(1) }
    package static var leaveLimit: Duration { .seconds(1) }

    package private(set) var reader = Reader.idle
    package private(set) var publisher = Publisher.idle
    package private(set) var isDraining = false

    package init() {}

    /// When `timePassed` is due; `.never` when nothing waits.
    package var nextDeadline: Instant {
        let readers: Instant =
            switch reader {
            case .idle, .holding: .never
            case .reading(_, _, let until), .checking(_, _, let until), .stuck(_, let until): until
            }
        switch publisher {
        case .idle, .preparing: return readers
        case .names(_, _, _, let until), .compiling(_, _, let until), .confirming(_, _, let until),
            .leaving(_, _, _, let until):
            return min(readers, until)
        }
    }

    /// The candidate that is on its way to the workers, if one is.
    package var underWay: Candidate? {
        switch publisher {
        case .names(let candidate, _, _, _), .leaving(let candidate, _, _, _),
            .compiling(.reload(let candidate, _), _, _),
            .confirming(.reload(let candidate, _), _, _):
            candidate
        case .idle, .preparing, .compiling, .confirming: nil
        }
    }

    /// The farthest step of a reload that is under way; `nil` for none.
    package var step: ReloadStep? {
        switch publisher {
        case .preparing: return .openingSockets
        case .names: return .lookingUpNames
        case .compiling(.reload, _, _): return .compiling
        case .confirming(.reload, _, _): return .confirming
        case .leaving: return .lettingSocketsGo
        case .idle, .compiling, .confirming: break
        }
        switch reader {
        case .idle: return nil
        case .reading: return .reading
        case .checking: return .checking
        case .stuck(let later, _): return later.isEmpty ? nil : .reading
        case .holding: return .waiting
        }
    }

    /// Asks that wait for an answer, for tests: each is answered once.
    package var waiting: [Ask] {
        var all: [Ask] = []
        switch reader {
        case .idle: break
        case .reading(let asks, let later, _), .checking(let asks, let later, _):
            all += asks + later
        case .stuck(let later, _): all += later
        case .holding(_, let asks): all += asks
        }
        switch publisher {
        case .idle: break
        case .preparing(let asks, let owed), .names(_, let asks, let owed, _),
            .leaving(_, let asks, let owed, _), .compiling(.reload(_, let asks), let owed, _),
            .confirming(.reload(_, let asks), let owed, _),
            .compiling(.renewal(let asks), let owed, _),
            .confirming(.renewal(let asks), let owed, _):
            all += asks + owed.asks
        }
        return all
    }

    // MARK: The reader

    package mutating func ask(_ ask: Ask, now: Instant) -> [Effect] {
        if isDraining { return [.refuse([ask], .draining)] }
        switch reader {
        case .idle: return read([ask], now)
        case .reading(let asks, let later, let until):
            reader = .reading(asks: asks, later: ReloadMachine.join(later, ask), until: until)
        case .checking(let asks, let later, let until):
            reader = .checking(asks: asks, later: ReloadMachine.join(later, ask), until: until)
        case .stuck(let later, let until):
            reader = .stuck(
                later: ReloadMachine.join(later, ask),
                until: later.isEmpty ? now + ReloadMachine.readLimit : until)
        case .holding(let candidate, let asks):
            return [.discard(candidate)] + read(ReloadMachine.join(asks, ask), now)
        }
        return []
    }

    /// Asks that nobody waits for are the same when their causes are: their number stays bounded.
    private static func join(_ asks: [Ask], _ ask: Ask) -> [Ask] {
        ask.ticket == nil && asks.contains(ask) ? asks : asks + [ask]
    }

    private mutating func read(_ asks: [Ask], _ now: Instant) -> [Effect] {
        reader = .reading(asks: asks, later: [], until: now + ReloadMachine.readLimit)
        return [.read]
    }

    /// The job has the file's bytes.
    package mutating func fileRead(now: Instant) {
        guard case .reading(let asks, let later, _) = reader else { return }
        reader = .checking(asks: asks, later: later, until: now + ReloadMachine.checkLimit)
    }

    /// The job has returned with a candidate.
    package mutating func accept(_ candidate: Candidate, now: Instant) -> [Effect] {
        switch reader {
        case .reading(let asks, let later, _), .checking(let asks, let later, _):
            guard case .idle = publisher else {
                if later.isEmpty {
                    reader = .holding(candidate, asks: asks)
                    return []
                }
                return [.discard(candidate)]
                    + read(later.reduce(asks) { ReloadMachine.join($0, $1) }, now)
            }
            reader = .idle
            let effects = begin(candidate, asks)
            return later.isEmpty ? effects : effects + read(later, now)
        case .stuck(let later, _):
            reader = .idle
            return [.discard(candidate)] + (later.isEmpty ? [] : read(later, now))
        case .idle, .holding: preconditionFailure("a job returns once")
        }
    }

    /// The job has returned, and the file is not taken.
    package mutating func reject(_ rejection: ReloadRejection, now: Instant) -> [Effect] {
        let refusal: [Effect], next: [Ask]
        switch reader {
        case .reading(let asks, let later, _), .checking(let asks, let later, _):
            (refusal, next) = ([.refuse(asks, .rejected(rejection))], later)
        case .stuck(let later, _): (refusal, next) = ([], later)
        case .idle, .holding: preconditionFailure("a job returns once")
        }
        reader = .idle
        return next.isEmpty ? refusal : refusal + read(next, now)
    }

    // MARK: The publisher

    private mutating func begin(_ candidate: Candidate, _ asks: [Ask]) -> [Effect] {
        publisher = .preparing(asks: asks, owed: .nothing)
        return [.prepare(candidate)]
    }

    /// The candidate's sockets are open.
    package mutating func prepared(_ candidate: Candidate, now: Instant) -> [Effect] {
        guard case .preparing(let asks, let owed) = publisher else {
            preconditionFailure("what is prepared was to be prepared")
        }
        if isDraining {
            publisher = .idle
            return [.discard(candidate), .refuse(asks, .draining)] + next(owed: owed, now)
        }
        publisher = .names(
            candidate, asks: asks, owed: owed, until: now + ReloadMachine.namesLimit)
        return [.watchNames(candidate)]
    }

    /// The candidate cannot listen where it says.
    package mutating func unprepared(_ rejection: ReloadRejection, now: Instant) -> [Effect] {
        guard case .preparing(let asks, let owed) = publisher else {
            preconditionFailure("what is not prepared was to be prepared")
        }
        publisher = .idle
        return [.refuse(asks, .rejected(rejection))] + next(owed: owed, now)
    }

    /// Every name that is watched was looked up once.
    package mutating func namesTried(now: Instant) -> [Effect] {
        guard case .names(let candidate, let asks, let owed, _) = publisher else { return [] }
        // New addresses and weights are part of what is compiled now; who waits for weights is
        // answered by a renewal behind it, as in every other state.
        return compile(
            .reload(candidate, asks: asks), owed.asks.isEmpty ? .nothing : owed, now)
    }

    /// A name has other addresses than before.
    package mutating func addressesChanged(now: Instant) -> [Effect] { renew(nil, now) }

    /// The overlay gives other weights than before.
    /// - Parameter ask: who waits until these are in force.
    package mutating func weightsChanged(_ ask: Ask?, now: Instant) -> [Effect] { renew(ask, now) }

    private mutating func renew(_ ask: Ask?, _ now: Instant) -> [Effect] {
        switch publisher {
        case .idle: return compile(.renewal(asks: ask.map { [$0] } ?? []), .nothing, now)
        case .preparing(let asks, let owed):
            publisher = .preparing(asks: asks, owed: owed.with(ask))
        case .names(let candidate, let asks, let owed, let until):
            publisher = .names(candidate, asks: asks, owed: owed.with(ask), until: until)
        case .compiling(let work, let owed, let until):
            publisher = .compiling(work, owed: owed.with(ask), until: until)
        case .confirming(let work, let owed, let until):
            publisher = .confirming(work, owed: owed.with(ask), until: until)
        case .leaving(let candidate, let asks, let owed, let until):
            publisher = .leaving(candidate, asks: asks, owed: owed.with(ask), until: until)
        }
        return []
    }

    private mutating func compile(_ work: Work, _ owed: Owed, _ now: Instant) -> [Effect] {
        publisher = .compiling(work, owed: owed, until: now + ReloadMachine.compileLimit)
        if case .reload(let candidate, _) = work { return [.compile(candidate)] }
        return [.compile(nil)]
    }

    package mutating func compiled(_ product: Product, now: Instant) -> [Effect] {
        guard case .compiling(let work, let owed, _) = publisher else {
            preconditionFailure("what is compiled was to be compiled")
        }
        publisher = .confirming(
            work, owed: owed, until: now + ReloadMachine.confirmLimit)
        if case .reload(let candidate, _) = work { return [.publish(product, candidate)] }
        return [.publish(product, nil)]
    }

    /// Every worker uses what was published.
    package mutating func confirmed(now: Instant) -> [Effect] {
        guard case .confirming(let work, let owed, _) = publisher else { return [] }
        switch work {
        case .reload(let candidate, let asks):
            publisher = .leaving(
                candidate, asks: asks, owed: owed,
                until: now + ReloadMachine.leaveLimit)
            return [.changeListeners(candidate)]
        case .renewal(let asks):
            publisher = .idle
            return [.finishRenewal(asks)] + next(owed: owed, now)
        }
    }

    /// Every worker has let go of the sockets that leave.
    package mutating func listenersReleased(now: Instant) -> [Effect] {
        guard case .leaving(let candidate, let asks, let owed, _) = publisher else {
            return []
        }
        publisher = .idle
        return [.finish(candidate, asks)] + next(owed: owed, now)
    }

    /// The publisher is free. A candidate that waits comes next, which brings new addresses too;
    /// but who waits for weights does not wait for a candidate that may be refused.
    private mutating func next(owed: Owed, _ now: Instant) -> [Effect] {
        if owed.asks.isEmpty, case .holding(let candidate, let asks) = reader {
            reader = .idle
            return begin(candidate, asks)
        }
        return owed.isDue ? compile(.renewal(asks: owed.asks), .nothing, now) : []
    }

    // MARK: Time, and the end

    /// To be called when `nextDeadline` is past; nothing happens before.
    package mutating func timePassed(now: Instant) -> [Effect] {
        var effects: [Effect] = []
        switch reader {
        case .reading(let asks, let later, let until) where until <= now:
            effects += giveUp(asks + later, .readingTooLong)
        case .checking(let asks, let later, let until) where until <= now:
            effects += giveUp(asks + later, .checkingTooLong)
        case .stuck(let later, let until) where until <= now:
            effects += giveUp(later, .readingTooLong)
        case .idle, .reading, .checking, .stuck, .holding: break
        }
        switch publisher {
        case .names(_, _, _, let until) where until <= now: effects += namesTried(now: now)
        case .confirming(_, _, let until) where until <= now: effects += confirmed(now: now)
        case .leaving(_, _, _, let until) where until <= now:
            effects += listenersReleased(now: now)
        case .compiling(let work, let owed, let until) where until <= now:
            publisher = .compiling(work, owed: owed, until: .never)
            effects.append(.warnOfSlowCompilation)
        case .idle, .preparing, .names, .compiling, .confirming, .leaving: break
        }
        return effects
    }

    /// The job goes on without anybody who waits for it.
    private mutating func giveUp(_ asks: [Ask], _ refusal: Refusal) -> [Effect] {
        reader = .stuck(later: [], until: .never)
        return asks.isEmpty ? [] : [.refuse(asks, refusal)]
    }

    /// The process is about to end: no file is taken any more.
    package mutating func beginDrain(now: Instant) -> [Effect] {
        isDraining = true
        var effects: [Effect] = []
        switch reader {
        case .idle: break
        case .reading(let asks, let later, _), .checking(let asks, let later, _):
            effects += giveUp(asks + later, .draining)
        case .stuck(let later, _): effects += giveUp(later, .draining)
        case .holding(let candidate, let asks):
            reader = .idle
            effects += [.discard(candidate), .refuse(asks, .draining)]
        }
        if case .names(let candidate, let asks, let owed, _) = publisher {
            publisher = .idle
            effects += [.discard(candidate), .refuse(asks, .draining)]
            effects += next(owed: owed, now)
        }
        return effects
    }
}
