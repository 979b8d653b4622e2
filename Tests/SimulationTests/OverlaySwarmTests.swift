import Base
import Configuration
import Evidence
import Simulation
import Testing

/// Random lives of a process of two workers under an overlay: weights that are set and taken away,
/// files that change beneath them, versions that fail, the guard, and people who reset it.
@Suite struct OverlaySwarmTests {
    /// A user with a session, who sends one request after the other.
    struct Visit {
        var version: Int
        var sent: Instant
        var arrived: Instant
    }

    enum Event { case publication, trip, reset }

    final class Life {
        let seed: UInt64
        let isSticky: Bool
        let origins = EvidenceScenarios.origins()
        let process: SimulatedProcess
        private var random: PRNG
        private var generation: UInt64 = 1
        private var fileWeights: [Int]
        private(set) var story: [String] = []
        private(set) var findings: [String] = []
        private(set) var visits: [String: [Visit]] = [:]
        private(set) var errors = [0, 0]
        private(set) var held: [HeldEvidence] = []
        private(set) var events: [(at: Instant, kind: Event)] = []
        private(set) var clients: [SimulatedClient] = []
        private var isFailing = false
        private(set) var tripCount = 0
        private(set) var refusalCount = 0, driftCount = 0

        init(seed: UInt64) {
            self.seed = seed
            random = PRNG(seed: seed &* 48_611)
            isSticky = random.below(3) > 0
            fileWeights = [[95, 5], [80, 20], [50, 50]][Int(random.below(3))]
            process = SimulatedProcess(
                seed: seed, yaml: Life.yaml(fileWeights, isSticky, "60s"), origins: origins,
                workerCount: 2)
            process.workers[0].faults.latencyMax = .microseconds(100)
            for world in process.workers {
                world.checksTables = false
                world.afterTurn = { [unowned self] in lookForTrips() }
            }
            for (version, origin) in origins.enumerated() {
                origin.delay = .milliseconds(1)
                origin.onRequest = { [unowned self] in arrived($0, version) }
            }
            hold()
        }

        static func yaml(_ weights: [Int], _ isSticky: Bool, _ idle: String) -> String {
            EvidenceScenarios.yaml(
                weights,
                service: "guard: on" + (isSticky ? "\n    sticky: { cookie: session }" : ""),
                route: "retries: off, timeouts: { idle: \(idle) }")
        }

        private func arrived(
            _ request: SimulatedOrigin.Request, _ version: Int
        ) -> SimulatedOrigin.Answer? {
            let user = String(request.id.prefix { $0 != "-" })
            let sent = lastAnswer[user] ?? Instant(nanoseconds: 0)
            visits[user, default: []].append(
                Visit(version: version, sent: sent, arrived: request.at))
            let fails = version == 1 && isFailing
            if fails { errors[version] += 1 }
            return fails ? .init(500, delay: .milliseconds(1)) : nil
        }

        private var lastAnswer: [String: Instant] = [:]

        func start(users: Int, each: Int) {
            let world = process.workers[0]
            for n in 0..<users {
                world.after(.microseconds(Int64(random.below(20_000)))) { [self] in
                    process.accept { [self] world in
                        let client = SimulatedClient(
                            world, name: "u\(n)",
                            Resilience.gets(each, ["cookie: session=user\(n)"]))
                        lastAnswer["u\(n)"] = world.now
                        client.onOutcome = { [unowned self] in lastAnswer["u\(n)"] = world.now }
                        clients.append(client)
                        client.start()
                    }
                }
            }
            for _ in 0..<(6 + random.below(10)) {
                world.after(.microseconds(Int64(random.below(200_000)))) { [unowned self] in act() }
            }
        }

        private func lookForTrips() {
            let count = process.workers[0].latch(service: "s", version: "v2")?.tripCount ?? 0
            guard count > tripCount else { return }
            tripCount = count
            note(.trip, "v2 is out")
        }

        private func note(_ kind: Event, _ words: String) {
            let now = process.workers[0].now
            events.append((now, kind))
            story.append("\(now.nanoseconds / 1_000) us: \(words)")
        }

        private func hold() {
            for evidence in process.holdEvidence() where evidence.route == "rest" {
                if held.contains(where: { $0.epoch == evidence.epoch }) { continue }
                held.append(evidence)
            }
        }

        private var isOut: Bool {
            process.workers[0].latch(service: "s", version: "v2")?.isTripped ?? false
        }

        /// One act of whoever runs the process.
        private func act() {
            let before = process.weights, wasOut = isOut
            generation += 1
            switch random.below(7) {
            case 0, 1:
                let share = [0, 1, 5, 20, 50][Int(random.below(5))]
                let shares = [Overlay.Share("v1", 100 - share), .init("v2", share)]
                let isTaken = process.setWeights(shares, generation: generation)
                if isTaken { note(.publication, "weights set, \(share) %") }
                if !isTaken { refusalCount += 1 }
                demand(isTaken || wasOut, "weights were refused, and nobody is out")
                if wasOut, isTaken, share > 0 {
                    demand(isOut, "weights that lower v2 have let it in")
                }
            case 2:
                if process.setWeights(nil, generation: generation) {
                    note(.publication, "the file is followed")
                }
            case 3: reload([[95, 5], [80, 20], [50, 50], [100, 0]][Int(random.below(4))])
            case 4: reload(fileWeights)
            case 5:
                let versions = process.workers[0].resetGuard(service: "s")
                if !versions.isEmpty { note(.reset, "guard reset") }
            default:
                isFailing.toggle()
                story.append("v2 fails: \(isFailing)")
            }
            hold()
            checkOverlay()
            if wasOut, process.weights[1] * before.reduce(0, +) == 0 {
                demand(!isOut, "a weight of 0 in force has not ended the trip")
            }
        }

        private func reload(_ weights: [Int]) {
            fileWeights = weights
            process.reload(
                yaml: Life.yaml(weights, isSticky, "\(60 + random.below(9))s"),
                generation: generation)
            note(.publication, "a file with \(weights)")
        }

        /// An overlay never survives a section that has changed, unless it says that it does, and
        /// the file would move many.
        private func checkOverlay() {
            guard let entry = process.entry else {
                return demand(
                    process.weights[1] * fileWeights.reduce(0, +)
                        == fileWeights[1] * process.weights.reduce(0, +),
                    "no overlay, and not the file's weights: \(process.weights)")
            }
            let share = entry.shares.first { $0.version == "v2" }?.weight ?? 0
            let sum = entry.shares.reduce(0) { $0 + $1.weight }
            demand(
                process.weights[1] * sum == share * process.weights.reduce(0, +),
                "\(process.weights) under \(entry.text)")
            switch process.source {
            case .file: demand(false, "an entry without force is kept")
            case .overlay:
                demand(entry.fingerprint == process.fingerprint, "an overlay of another section")
            case .drift:
                driftCount += 1
                let moved = abs(Double(share) / Double(sum) - Double(fileWeights[1]) / 100)
                demand(moved > 0.01, "kept against a file that moves \(moved)")
            }
        }

        func demand(_ condition: Bool, _ message: @autoclosure () -> String) {
            if !condition, findings.count < 10 { findings.append(message()) }
        }

        /// The evidence of all epochs is what the origins had of requests that were drawn.
        func checkEvidence() {
            let fallbacks = Int(
                process.workers[0].metric("sluice_requests_total", "assign=\"fallback\""))
            let seen = (0..<2).map { version in
                visits.values.joined().count { $0.version == version }
            }
            for version in 0..<2 {
                var requests = 0, failed = 0
                for evidence in held {
                    let counts = evidence.counts(version: version)
                    requests += counts.requests
                    failed += counts.errors
                }
                let drawn = seen[version] - (version == 0 ? fallbacks : 0)
                demand(
                    requests == drawn && failed == errors[version],
                    "v\(version + 1): \(requests) and \(failed) errors counted, \(drawn) and "
                        + "\(errors[version]) there were")
            }
            demand(
                clients.flatMap(\.outcomes).count == seen.reduce(0, +),
                "the clients have other answers than the origins gave")
        }

        /// Nobody comes to another version without a reason, and by a trip nobody but the users of
        /// the version that is out.
        func checkUsers() {
            guard isSticky else { return }
            for (user, visits) in visits {
                for (a, b) in zip(visits, visits.dropFirst()) where a.version != b.version {
                    let reasons = events.filter { a.sent <= $0.at && $0.at <= b.arrived }
                    let isTripAlone =
                        !reasons.isEmpty && reasons.allSatisfy { $0.kind == .trip }
                    demand(!reasons.isEmpty, "\(user) was moved, and nothing had happened")
                    demand(
                        !isTripAlone || a.version == 1,
                        "\(user) of the stable version was moved by a trip")
                }
            }
        }
    }

    @Test("the lives that are drawn have trips, weights that are refused for them, and drift")
    func reach() {
        var trips = 0, refusals = 0, drifts = 0
        for seed in 100..<125 as Range<UInt64> {
            let life = Life(seed: seed)
            life.start(users: 30, each: 40)
            life.process.run(until: .seconds(600))
            trips += life.tripCount
            refusals += life.refusalCount
            drifts += life.driftCount
        }
        #expect(trips > 3 && drifts > 3 && refusals > 0, "\(trips), \(drifts), \(refusals)")
    }

    @Test(
        "whatever is set, reloaded, tripped and reset: evidence adds up, overlays fit, nobody is moved without a reason",
        arguments: 0..<60)
    func lives(seed: Int) {
        let life = Life(seed: UInt64(seed))
        life.start(users: 30, each: 40)
        life.process.run(until: .seconds(600))
        life.process.run()
        life.checkEvidence()
        life.checkUsers()
        #expect(
            life.findings.isEmpty,
            "seed \(seed): \(life.findings)\n\(life.story.joined(separator: "\n"))")
        #expect(life.process.workers.allSatisfy { $0.leftovers.isEmpty })
    }
}
