import Base
import Configuration

/// Brings changes of the overlay into force and onto the disk, for the control loop, which never
/// waits: a pure value that is told what happened and when, and says what to do next.
///
/// There are two kinds of changes, because going back must never wait for a disk:
///
///     forward ──▶ waiting ──▶ writing ──written──▶ in force ──▶ published
///                                └──failed──▶ refused: nothing has changed
///     back ──▶ in force ──▶ published, and written behind it
///                              └──failed──▶ owed: written again after a while
///
/// - One write is under way at a time; forward changes that wait are written together.
/// - A change back of a service overtakes forward ones of the same service: those are refused.
/// - Versions that the guard has taken out are written like a change back, and publish nothing.
/// - What was read from the disk replaces what is in force, unless something was changed since
///   the reading began, or is owed to the disk: then memory is newer.
///
/// `Ask` is whoever waits for an answer; each one is answered once.
package struct OverlayMachine<Ask> {
    package struct Request {
        package var changes: [OverlayChange]
        package var ask: Ask?

        package init(_ changes: [OverlayChange], ask: Ask?) {
            self.changes = changes
            self.ask = ask
        }
    }

    package enum Effect {
        /// Write this to the disk; then `written` or `failed`. `goesBack`: nobody goes forward by
        /// it, so that it may use the room that is kept for that.
        case write(Overlay, goesBack: Bool)
        /// The overlay in force is another: publish it, and answer those who asked for it.
        case publish([Ask])
        /// Nothing has changed: answer.
        case refuse([Ask], String)
        /// The overlay in force is not on the disk, for this reason.
        case warn(String)
        /// The overlay in force is on the disk again, after a `warn`.
        case recovered
    }

    /// How long after a failure a write is tried again.
    package static var retryAfter: Duration { .seconds(5) }
    /// Forward changes that may wait for the disk.
    package static var waitingMax: Int { 64 }

    /// The overlay in force.
    package private(set) var overlay: Overlay
    /// As the disk has it; `nil` when a write failed half way, or its file is not believed.
    private var disk: Overlay?
    private var waiting: [Request] = []
    /// The overlay that is being written, with the changes that come into force by it.
    private var writing: (overlay: Overlay, forward: [Request])?
    private var retryAt = Instant.never
    /// Why the overlay in force is not on the disk; `nil` when it is, or soon will be.
    package private(set) var unwritten: String?
    /// Grows with every change, so that a reading can be told from what came after it.
    package private(set) var serial: UInt64 = 0

    /// - Parameters:
    ///   - overlay: as it was read at the start.
    ///   - isOnDisk: `false` when the file was not believed.
    package init(_ overlay: Overlay, isOnDisk: Bool) {
        self.overlay = overlay
        disk = isOnDisk ? overlay : nil
    }

    /// When `timePassed` is due; `.never` when nothing waits.
    package var nextDeadline: Instant { retryAt }

    /// Asks that wait for an answer, for tests.
    package var asks: [Ask] {
        ((writing?.forward ?? []) + waiting).compactMap(\.ask)
    }

    // MARK: Changes

    /// Wants changes to be in force once they are on the disk.
    package mutating func goForward(_ request: Request, now: Instant) -> [Effect] {
        guard waiting.count < OverlayMachine.waitingMax else {
            return refuse([request], "\(waiting.count) changes wait for the disk already")
        }
        serial += 1
        waiting.append(request)
        return writeNext(now)
    }

    /// Wants changes to be in force at once: they lower the share of what is new.
    package mutating func goBack(_ request: Request, now: Instant) -> [Effect] {
        serial += 1
        let services = Set(request.changes.map(\.service))
        func isOvertaken(_ other: Request) -> Bool {
            other.changes.contains { services.contains($0.service) }
        }
        var overtaken = waiting.filter(isOvertaken)
        waiting.removeAll(where: isOvertaken)
        if let under = writing {
            overtaken += under.forward.filter(isOvertaken)
            writing?.forward.removeAll(where: isOvertaken)
        }
        for change in request.changes { overlay.apply(change) }
        return refuse(overtaken, "a later change of the same service came into force before it")
            + [.publish(request.ask.map { [$0] } ?? [])] + writeNext(now)
    }

    private func refuse(_ requests: [Request], _ why: String) -> [Effect] {
        let asks = requests.compactMap(\.ask)
        return asks.isEmpty ? [] : [.refuse(asks, why)]
    }

    /// States which versions are out, which changes no weights: that is written at once where the
    /// disk has others, and tried again for as long as the disk refuses.
    package mutating func keep(_ trips: [Overlay.Trip], now: Instant) -> [Effect] {
        let isKnown = overlay.trips == trips && (disk?.trips ?? trips) == trips
        overlay.trips = trips
        return isKnown ? [] : writeNext(now)
    }

    // MARK: The disk

    private mutating func writeNext(_ now: Instant) -> [Effect] {
        guard writing == nil else { return [] }
        if waiting.isEmpty, disk == overlay, unwritten != nil {
            // What was owed was taken back: the disk has what is in force.
            unwritten = nil
            retryAt = .never
            return [.recovered]
        }
        // After a failure the disk rests, unless somebody waits for it.
        guard !waiting.isEmpty || disk != overlay && retryAt.isNever else { return [] }
        var next = overlay
        for request in waiting { for change in request.changes { next.apply(change) } }
        let goesBack = waiting.isEmpty
        writing = (next, waiting)
        waiting = []
        retryAt = .never
        return [.write(next, goesBack: goesBack)]
    }

    /// The overlay that was to be written is on the disk.
    /// - Parameter obstacle: why a change that came into force by that has to be refused all the
    ///   same; the disk is owed the overlay without the change.
    package mutating func written(
        now: Instant, _ obstacle: (Request) -> String? = { _ in nil }
    ) -> [Effect] {
        guard let under = writing else { return [] }
        writing = nil
        serial += 1
        disk = under.overlay
        var effects: [Effect] = []
        var taken: [Request] = []
        for request in under.forward {
            if let why = obstacle(request) {
                effects += refuse([request], why)
            } else {
                for change in request.changes { overlay.apply(change) }
                taken.append(request)
            }
        }
        if !taken.isEmpty { effects.append(.publish(taken.compactMap(\.ask))) }
        if disk == overlay, unwritten != nil {
            unwritten = nil
            effects.append(.recovered)
        }
        return effects + writeNext(now)
    }

    /// The write has failed.
    /// - Parameter isOldKept: the disk has what it had; otherwise that, or what was to be written.
    package mutating func failed(_ why: String, isOldKept: Bool, now: Instant) -> [Effect] {
        guard let under = writing else { return [] }
        writing = nil
        serial += 1
        // What is refused now must not come into force at the next start: where it may be on the
        // disk, the disk is owed the overlay in force.
        if !isOldKept { disk = nil }
        var effects = refuse(under.forward, why)
        if disk != overlay {
            retryAt = now + OverlayMachine.retryAfter
            if unwritten != why { effects.append(.warn(why)) }
            unwritten = why
        }
        if !waiting.isEmpty { effects += writeNext(now) }
        return effects
    }

    /// To be called when `nextDeadline` is past.
    package mutating func timePassed(now: Instant) -> [Effect] {
        guard retryAt <= now else { return [] }
        retryAt = .never
        return writeNext(now)
    }

    // MARK: What was read

    /// Whether an overlay that was read is older than what is in force.
    ///
    /// - Parameter serial: as it was when the reading began.
    package func isNewer(than serial: UInt64) -> Bool {
        serial != self.serial || writing != nil || !waiting.isEmpty || !retryAt.isNever
    }

    /// An overlay that was read comes into force with the file that was read beside it. Its trips
    /// do not: which versions are out is this process's own knowledge.
    package mutating func take(_ read: Overlay) {
        overlay.services = read.services
        disk = read
        unwritten = nil
    }

    /// Services whose entries have no force lose them; nobody's weights change by that.
    package mutating func drop(_ services: [String], now: Instant) -> [Effect] {
        for service in services { overlay.services[service] = nil }
        serial += 1
        return writeNext(now)
    }

    /// The file that was read is not believed: the overlay in force stays, and is written at the
    /// next change.
    package mutating func distrustDisk() { disk = nil }
}
