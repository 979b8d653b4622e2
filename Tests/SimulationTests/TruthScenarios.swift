import Base
import Configuration
import Evidence
import Simulation
import Testing

/// The evidence of a loaded process of two workers, against what its origins and its clients
/// counted themselves: to the unit, in each epoch.
@Suite struct TruthScenarios {
    #if DEBUG
    static let userCount = 60, requestsEach = 100
    #else
    static let userCount = 200, requestsEach = 500
    #endif

    /// A configuration that says its epoch to the origins with each request that it decides.
    static func yaml(epoch: Int, _ weights: [Int], idle: String = "60s") -> String {
        EvidenceScenarios.yaml(
            weights,
            route: """
                retries: { attempts: 1, on: [5xx, reset], backoff: 1ms }, \
                timeouts: { firstByte: 150ms, idle: \(idle) }, \
                headers: { request: { set: { x-epoch: "\(epoch)" } } }
                """, defaults: "retries: { budget: unlimited }")
    }

    /// The fate that an origin gives to one request.
    enum Fate: CaseIterable {
        case fine, error, refusal, silence, garbage
        /// The origin is slow enough for two changes of weights to come between.
        case late
        /// The client leaves before the answer, and in the middle of the answer.
        case left, cut

        var isError: Bool { self == .error || self == .silence || self == .garbage }
    }

    /// The attempts of one request, in their order, as the origins saw them.
    struct Story {
        var version = 0
        var epoch = 0
        var fates: [Fate] = []
    }

    /// The counts that the stories tell of.
    static func expected(_ stories: some Sequence<Story>) -> VersionEvidence {
        var sum = VersionEvidence()
        for story in stories {
            guard let first = story.fates.first, let last = story.fates.last else { continue }
            sum.requests += 1
            if last.isError { sum.errors += 1 }
            if first.isError { sum.firstErrors += 1 }
            if last == .refusal { sum.clientErrors += 1 }
            if last == .silence || last == .left { sum.left += 1 }
        }
        return sum
    }

    /// Counts as words, to be compared; times are compared by how many there are.
    static func text(_ counts: VersionEvidence) -> String {
        let answers = counts.latency.reduce(0, +), others = counts.censored.reduce(0, +)
        return "\(counts.requests) requests, \(counts.errors) errors, \(counts.firstErrors) first, "
            + "\(counts.clientErrors) of clients, \(counts.left) left, \(answers) answered, "
            + "\(others) censored"
    }

    static func text(expected: VersionEvidence, _ stories: some Sequence<Story>) -> String {
        var expected = expected
        let lefts = stories.count { $0.fates.last == .left }
        expected.censored[0] = expected.errors + lefts
        expected.latency[0] = expected.requests - expected.censored[0]
        return text(expected)
    }

    /// Somebody who sends requests one after the other, and connects again after leaving.
    final class User {
        private let process: SimulatedProcess
        let name: String
        private var left: Int
        private var connections = 0
        private(set) var clients: [SimulatedClient] = []

        init(_ process: SimulatedProcess, name: String, count: Int) {
            self.process = process
            self.name = name
            left = count
        }

        func start() {
            let count = left
            guard count > 0 else { return }
            connections += 1
            let client = "\(name).\(connections)"
            process.accept { [self] world in
                let client = SimulatedClient(world, name: client, Resilience.gets(count))
                clients.append(client)
                client.start()
            }
        }

        /// The origin has the request at which this user gives up.
        func leave(_ world: World) {
            guard let client = clients.last else { return }
            client.breakOff()
            left -= client.sentCount
            world.after(.milliseconds(1)) { [self] in start() }
        }
    }

    /// The process, its origins and its users, with what the origins saw.
    final class House {
        let origins = EvidenceScenarios.origins()
        let process: SimulatedProcess
        private(set) var users: [String: User] = [:]
        private(set) var stories: [String: Story] = [:]
        private var random: PRNG

        init(seed: UInt64) {
            random = PRNG(seed: seed)
            process = SimulatedProcess(
                seed: seed, yaml: TruthScenarios.yaml(epoch: 1, [95, 5]), origins: origins,
                workerCount: 2)
            process.workers[0].faults.latencyMax = .microseconds(100)
            for world in process.workers { world.checksTables = false }
            for n in 0..<TruthScenarios.userCount {
                let name = "u\(n)"
                users[name] = User(process, name: name, count: TruthScenarios.requestsEach)
            }
            for (version, origin) in origins.enumerated() {
                origin.delay = .milliseconds(2)
                origin.onRequest = { [unowned self] in took($0, version) }
            }
        }

        private func took(_ request: SimulatedOrigin.Request, _ version: Int)
            -> SimulatedOrigin.Answer?
        {
            let mark = request.head.firstRange(of: "x-epoch: ")?.upperBound
            let epoch = mark.flatMap { Int(String(request.head[$0])) } ?? 0
            var story = stories[request.id] ?? Story(version: version, epoch: epoch)
            #expect(story.version == version && story.epoch == epoch, "a retry is its request's")
            let fate = draw(version)
            story.fates.append(fate)
            stories[request.id] = story
            let user = users[String(request.id.prefix { $0 != "." })]
            let world = process.workers[0]
            switch fate {
            case .fine: return nil
            case .error: return .init(503, delay: .milliseconds(1))
            case .refusal: return .init(404, delay: .milliseconds(1))
            case .silence: return .init(200, reply: .silence)
            case .garbage: return .init(200, reply: .garbage)
            case .late: return .init(200, delay: .milliseconds(140))
            case .left:
                world.after(.milliseconds(20)) { user?.leave(world) }
                return .init(200, delay: .milliseconds(60))
            case .cut:
                world.after(.milliseconds(20)) { user?.leave(world) }
                return .init(200, reply: .half, delay: .milliseconds(2))
            }
        }

        /// One of twenty of the stable version, and one of four of the other, is not fine.
        private func draw(_ version: Int) -> Fate {
            guard random.below(version == 0 ? 20 : 4) == 0 else { return .fine }
            return [.error, .error, .refusal, .silence, .garbage, .late, .left, .cut][
                Int(random.below(8))]
        }
    }

    @Test(
        "100,000 requests over two workers, with errors, retries, clients that leave, timeouts, reloads and new weights, are counted to the unit"
    )
    func truth() {
        let seed: UInt64 = 1
        let house = House(seed: seed)
        let process = house.process, world = process.workers[0]
        for user in house.users.values.sorted(by: { $0.name < $1.name }) { user.start() }
        var held = process.holdEvidence(), inTime = -1
        // The weights change twice within the time of a late answer; other reloads change nothing.
        let quarter = Int64(TruthScenarios.requestsEach)
        let steps: [(at: Int64, epoch: Int, weights: [Int], idle: String)] = [
            (quarter / 2, 1, [95, 5], "61s"), (quarter, 2, [80, 20], "61s"),
            (quarter + 50, 2, [80, 20], "62s"), (quarter + 100, 3, [90, 10], "62s"),
            (quarter * 3, 3, [90, 10], "63s"),
        ]
        for (i, step) in steps.enumerated() {
            world.after(.milliseconds(step.at)) {
                process.reload(
                    yaml: TruthScenarios.yaml(
                        epoch: step.epoch, step.weights, idle: step.idle),
                    generation: UInt64(i + 2))
                if held.last?.epoch != UInt64(step.epoch) { held += process.holdEvidence() }
                // The first epoch is kept no more from the third on.
                if step.epoch == 3, inTime < 0 {
                    inTime = held.first { $0.route == "rest" }?.requests ?? 0
                }
            }
        }
        process.run()
        #expect(process.workers.allSatisfy { $0.leftovers.isEmpty })
        let report = world.evidence.first { $0.route == "rest" }
        #expect(report?.epochs.map(\.epoch) == [2, 3])
        let rest = held.filter { $0.route == "rest" }
        #expect(rest.map(\.epoch) == [1, 2, 3])
        for epoch in rest {
            for version in 0..<2 {
                let own = house.stories.values.filter {
                    $0.epoch == Int(epoch.epoch) && $0.version == version
                }
                let counted = epoch.counts(version: version)
                let expected = TruthScenarios.expected(own)
                #expect(
                    TruthScenarios.text(counted)
                        == TruthScenarios.text(expected: expected, own),
                    "seed \(seed), epoch \(epoch.epoch), v\(version + 1)")
                #expect(own.count > 20)
                let reported = report?.epochs.first { $0.epoch == epoch.epoch }?.versions[version]
                if epoch.epoch > 1 { #expect(reported?.counts == counted) }
            }
        }
        // Stragglers of the first epoch are named, and are the only ones.
        let all = (0..<2).reduce(0) { $0 + (rest.first?.counts(version: $1).requests ?? 0) }
        #expect(report?.lost ?? 0 > 0 && report?.lost == all - inTime)
        checkClients(house)
    }

    /// The clients' own count is the origins'.
    private func checkClients(_ house: House) {
        let clients = house.users.values.flatMap(\.clients)
        let outcomes = clients.flatMap(\.outcomes).filter { $0.end == .complete }
        let stories = house.stories.values
        #expect(stories.count == TruthScenarios.userCount * TruthScenarios.requestsEach)
        #expect(clients.reduce(0) { $0 + $1.sentCount } == stories.count)
        #expect(outcomes.count { $0.status >= 500 } == stories.count { $0.fates.last!.isError })
        #expect(outcomes.count { $0.status == 404 } == stories.count { $0.fates.last == .refusal })
        let gone = stories.count { $0.fates.last == .left || $0.fates.last == .cut }
        #expect(outcomes.count + gone == stories.count)
    }
}
