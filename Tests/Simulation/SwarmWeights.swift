import Base
import Configuration
import Evidence

/// The weights of a swarm's world, and who changes them: people who set weights over the file's,
/// take them away and reset the guard; files whose section changes; a version that fails for a
/// while. Notes what a check needs to know of them, and looks at the overlay after each act.
///
/// Draws from a generator of its own, so that a world whose weights stay is what its seed always
/// made.
final class SwarmWeights {
    /// A time in which the weights in force stayed; ends where the next begins.
    struct Period {
        var from: Instant
        var weights: [Int]
    }

    /// The evidence of one epoch, held over its end.
    struct Epoch {
        var from: Instant
        var evidence: HeldEvidence
        /// Requests that had ended when the process ceased to keep it; `nil` while it does.
        var keptRequests: Int?
    }

    /// Whether anybody changes them.
    let isChanging: Bool
    private unowned let world: World
    private let options: SwarmOptions
    private var random: PRNG
    private var generation: UInt64 = 1
    /// As the file says them, in percent.
    private var file: [Int]
    /// The other version answers 500 to everything.
    private(set) var isFailing = false
    private(set) var periods: [Period] = []
    private(set) var epochs: [Epoch] = []
    /// Times in which the other version was out for a while at least.
    private(set) var outTimes: [(from: Instant, to: Instant)] = []
    private var tripCount = 0
    private var lookedAt = Instant(nanoseconds: 0)
    /// Weights that were refused for a version that is out, and looks that found drift.
    private(set) var refusalCount = 0, driftCount = 0
    /// Where acts are told, and what does not hold.
    var tell: (String) -> Void = { _ in }
    var demand: (Bool, String) -> Void = { _, _ in }

    init(seed: UInt64, _ world: World, _ options: SwarmOptions, isChanging: Bool) {
        self.world = world
        self.options = options
        self.isChanging = isChanging
        random = PRNG(seed: seed &* 48_611 &+ 11)
        file = options.weights
        periods = [Period(from: world.now, weights: world.weights)]
        hold()
    }

    private func pick<T>(_ choices: [T]) -> T { choices[Int(random.below(UInt64(choices.count)))] }

    /// Draws when and how often something is done.
    func draw() {
        for _ in 0..<(5 + random.below(8)) {
            let at = Duration.microseconds(Int64(random.below(400_000)))
            world.after(at) { [unowned self] in act() }
        }
        if options.guarding != nil, random.below(3) > 0 {
            world.after(.milliseconds(Int64(random.below(100)))) { [unowned self] in fail(true) }
        }
    }

    // MARK: Acts

    private func act() {
        look()
        let wasOut = isOut
        switch random.below(8) {
        case 0, 1, 2: set(pick([0, 1, 5, 20, 50, 80]), wasOut: wasOut)
        case 3: follow()
        case 4:
            file = pick([[90, 10], [50, 50], [84, 16], [99, 1], [100, 0]])
            reload()
        case 5: reload()
        case 6:
            let versions = world.resetGuard(service: "s")
            say("guard reset: \(versions)")
            demand(versions.isEmpty == !wasOut, "a reset of \(versions), out \(wasOut)")
        default: fail(!isFailing)
        }
        if wasOut, world.weights[1] == 0 {
            demand(!isOut, "a weight of 0 in force has not ended the trip")
        }
    }

    private func set(_ share: Int, wasOut: Bool) {
        let inForce = world.weights
        let raises = share * inForce.reduce(0, +) > inForce[1] * 100
        var isTaken = false
        publish {
            isTaken = world.setWeights(
                [Overlay.Share("v1", 100 - share), .init("v2", share)], generation: generation)
        }
        say("weights set, \(share) %: \(isTaken ? "taken" : "refused")")
        if !isTaken { refusalCount += 1 }
        demand(isTaken != (wasOut && raises), "\(share) % over \(inForce), out \(wasOut)")
        if isTaken, wasOut, share > 0 { demand(isOut, "lower weights have let v2 in") }
    }

    private func follow() {
        var isTaken = false
        publish { isTaken = world.setWeights(nil, generation: generation) }
        if !isTaken { refusalCount += 1 }
        say("the file is followed: \(isTaken ? "taken" : "refused")")
    }

    private func fail(_ isFailing: Bool) {
        self.isFailing = isFailing
        say("v2 fails: \(isFailing)")
    }

    /// The file is read again, with the weights that it has now.
    func reload(
        endpoints: [Int]? = nil, limits: SwarmOptions? = nil, isQuiet: Bool = false
    ) {
        let yaml = options.yaml(
            weights: file, endpoints: endpoints, limits: limits, isQuiet: isQuiet)
        publish { world.reload(yaml: yaml, generation: generation) }
        if isChanging { say("the file is read, with \(file)") }
    }

    private func say(_ words: String) { tell("\(world.now.nanoseconds / 1_000) us: \(words)") }

    private func publish(_ change: () -> Void) {
        generation += 1
        // As they are before the process may cease to keep an epoch.
        let requests = epochs.map(\.evidence.requests)
        change()
        look()
        if periods.last?.weights != world.weights {
            periods.append(Period(from: world.now, weights: world.weights))
        }
        hold()
        for i in epochs.indices.dropLast(2) where epochs[i].keptRequests == nil {
            epochs[i].keptRequests = requests[i]
        }
        checkOverlay()
    }

    private func hold() {
        for evidence in world.holdEvidence()
        where evidence.route == "rest" && evidence.epoch != epochs.last?.evidence.epoch {
            epochs.append(Epoch(from: world.now, evidence: evidence))
        }
    }

    // MARK: Looks

    private var isOut: Bool { world.trips(version: 1).isOut }

    /// Looks whether the guard has taken the other version out; after each turn.
    func look() {
        guard options.guarding != nil else { return }
        let (count, isOut) = world.trips(version: 1)
        if count > tripCount {
            tripCount = count
            outTimes.append((lookedAt, world.now))
            say("v2 is out")
        } else if isOut || !outTimes.isEmpty && wasOut {
            outTimes[outTimes.count - 1].to = world.now
        }
        wasOut = isOut
        lookedAt = world.now
    }

    private var wasOut = false

    /// Whether the other version was out at some time between.
    func wasOut(between from: Instant, and to: Instant) -> Bool {
        outTimes.contains { $0.from <= to && from <= $0.to }
    }

    /// The weights that were in force at some time between.
    func weights(between from: Instant, and to: Instant) -> [[Int]] {
        periods.indices.compactMap { i in
            let end = i + 1 < periods.count ? periods[i + 1].from : .never
            return periods[i].from <= to && from <= end ? periods[i].weights : nil
        }
    }

    /// An overlay never survives a section that has changed, unless it says that it does, and the
    /// file would move many; and what is in force is what the two say.
    private func checkOverlay() {
        let weights = world.weights
        guard let entry = world.entry else {
            return demand(
                weights[1] * file.reduce(0, +) == file[1] * weights.reduce(0, +),
                "no overlay, and not the file's weights: \(weights)")
        }
        let share = entry.shares.first { $0.version == "v2" }?.weight ?? 0
        let sum = entry.shares.reduce(0) { $0 + $1.weight }
        demand(
            weights[1] * sum == share * weights.reduce(0, +), "\(weights) under \(entry.text)")
        switch world.source {
        case .file: demand(false, "an entry without force is kept")
        case .overlay:
            demand(entry.fingerprint == world.fingerprint, "an overlay of another section")
        case .drift:
            driftCount += 1
            let moved = abs(Double(share) / Double(sum) - Double(file[1]) / 100)
            demand(
                entry.fingerprint != world.fingerprint && moved > 0.01,
                "kept against a file that moves \(moved)")
        }
    }
}
