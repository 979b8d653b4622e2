import Base
import Configuration
import Evidence

/// Checks of the versions of a swarm's world: shares, users, evidence.
extension Swarm {
    private static let versions = ["v1", "v2"]

    /// Every request is counted as its version was chosen, and no client leaves that undone. A
    /// connection that is asked to authenticate keeps its endpoint, and draws no version again.
    private var isPlain: Bool {
        !options.hasFaults && !hasCredentials && !origins.contains { $0.hasAsked }
    }

    var tripCount: Int { world.latch(service: "s", version: "v2")?.tripCount ?? 0 }

    /// Requests of the service by version, and how their version was chosen.
    private func counted(_ family: String, _ version: String, _ assign: String) -> Int {
        Int(
            world.metric(
                family, "service=\"s\",version=\"\(version)\",assign=\"\(assign)\""))
    }

    // MARK: Shares

    /// The share is exact: of N draws each version has within one of its weight.
    func checkWeights() {
        guard !options.hasFallback, !options.isSticky, tripCount == 0 else { return }
        guard weights.isChanging else {
            return checkShare(
                Swarm.versions.map { counted("sluice_requests_total", $0, "weighted") },
                options.weights)
        }
        guard isPlain else { return }
        for epoch in weights.epochs {
            checkShare(
                (0..<2).map { epoch.evidence.counts(version: $0).requests },
                epoch.evidence.weights)
        }
    }

    private func checkShare(_ counts: [Int], _ weights: [Int]) {
        let total = counts.reduce(0, +), sum = weights.reduce(0, +)
        for (count, weight) in zip(counts, weights) {
            let exact = Double(total) * Double(weight) / Double(sum)
            demand(
                abs(Double(count) - exact) < 1, "\(count) of \(total) draws at weight \(weight)")
        }
    }

    // MARK: Users

    /// A session is on the version that its position has by the weights, whoever asks when. While
    /// the guard has a version out, its users, and nobody else, may be on the stable one.
    func checkSessions(_ outcomes: [Outcome]) {
        guard options.isSticky, !options.hasFallback else { return }
        // A connection that carries an identity keeps its version whatever the weights are.
        let isBound = hasCredentials || origins.contains { $0.hasAsked }
        if isBound, weights.isChanging || tripCount > 0 { return }
        for outcome in outcomes where !outcome.version.isEmpty && !pinned.contains(outcome.id) {
            let client = String(outcome.id.prefix { $0 != "-" })
            guard let session = sessions[client] else { continue }
            let inForce = weights.weights(between: outcome.sentAt, and: outcome.at)
            let homes = Set(inForce.map { Swarm.home(of: session, $0) })
            let wasOut = weights.wasOut(between: outcome.sentAt, and: outcome.at)
            demand(
                homes.contains(outcome.version)
                    || wasOut && homes.contains("v2") && outcome.version == "v1",
                "\(outcome.id) of \(session) was on \(outcome.version) under \(inForce), "
                    + "v2 out: \(wasOut)")
        }
    }

    /// The version of a session by its position: the first version beside the stable one has the
    /// positions from 0 on (splitting.md §3).
    private static func home(of session: String, _ weights: [Int]) -> String {
        let sum = UInt64(weights[0] + weights[1]), part = UInt64(weights[1])
        if part == 0 || part == sum { return part == 0 ? "v1" : "v2" }
        let boundary = sum.dividingFullWidth((high: part, low: 0)).quotient
        let position = XXH64.hash(session, seed: XXH64.hash("s", seed: 0))
        return position < boundary ? "v2" : "v1"
    }

    // MARK: Evidence

    /// The evidence of all epochs together is what the counters and the clients say, to the
    /// request.
    func checkEvidence(_ outcomes: [Outcome]) {
        demand(
            world.latch(service: "s", version: "v1")?.tripCount == 0, "the stable version tripped")
        checkKept()
        for (index, version) in Swarm.versions.enumerated() {
            var counts = VersionEvidence()
            for epoch in weights.epochs { counts.add(epoch.evidence.counts(version: index)) }
            checkCounters(counts, version)
            checkClients(counts, version, outcomes)
            if isPlain { checkEpochs(index, outcomes) }
        }
    }

    /// The process keeps the last two epochs, and what ended too late for the others is lost.
    private func checkKept() {
        guard let report = world.evidence.first(where: { $0.route == "rest" }) else {
            return demand(false, "the split has no evidence")
        }
        let epochs = weights.epochs
        demand(weights.isChanging || epochs.count == 1, "an epoch was begun")
        let numbers = report.epochs.map(\.epoch)
        demand(
            numbers == epochs.suffix(2).map(\.evidence.epoch),
            "\(numbers) are kept of \(epochs.map(\.evidence.epoch))")
        let late = epochs.reduce(0) { sum, epoch in
            sum + (epoch.keptRequests.map { epoch.evidence.requests - $0 } ?? 0)
        }
        demand(report.lost == late, "\(report.lost) are lost, \(late) ended too late")
        for (reported, epoch) in zip(report.epochs, epochs.suffix(2)) {
            for (index, version) in reported.versions.enumerated() {
                demand(
                    version.counts == epoch.evidence.counts(version: index),
                    "epoch \(reported.epoch) is told otherwise than it is")
            }
        }
    }

    private func checkCounters(_ counts: VersionEvidence, _ version: String) {
        var requests = 0, errors = 0
        for assign in ["weighted", "sticky"] {
            requests += counted("sluice_requests_total", version, assign)
            errors += counted("sluice_errors_total", version, assign)
            let drained = "version=\"\(version)\",assign=\"\(assign)\",cause=\"drain\""
            errors -= Int(world.metric("sluice_errors_total", drained))
        }
        demand(counts.requests <= requests, "\(version): \(counts) of \(requests)")
        demand(
            !isPlain || counts.requests == requests && counts.errors == errors,
            "\(version): \(counts.requests), \(counts.errors) of \(requests), \(errors)")
        let inHistograms = (counts.latency + counts.censored).reduce(0, +)
        demand(
            options.isSticky
                ? inHistograms <= counts.requests : inHistograms == counts.requests,
            "\(version): \(inHistograms) in histograms of \(counts.requests)")
    }

    /// The clients' own count, of all answers that they got from a version, is no more than what is
    /// counted; and the same where each of their requests was answered whole.
    private func checkClients(
        _ counts: VersionEvidence, _ version: String, _ outcomes: [Outcome]
    ) {
        guard isPlain else { return }
        let own = outcomes.filter { !pinned.contains($0.id) && $0.end == .complete }
        let failed = own.count { $0.version == version && $0.status >= 500 }
        let errors = counts.errors + counted("sluice_errors_total", version, "fallback")
        demand(failed <= errors, "\(version): clients saw \(failed) errors of \(errors)")
        let seen = own.count { ($0.fields["x-served-by"] ?? $0.version) == version }
        let requests = counts.requests + counted("sluice_requests_total", version, "fallback")
        demand(seen <= requests, "\(version): clients saw \(seen) answers of \(requests)")
        if options.namesVersions, isAnsweredWhole {
            demand(seen == requests, "\(version): clients saw \(seen) answers of \(requests)")
        }
    }

    /// An answer that came before an epoch began is of the older ones, and a request that was sent
    /// behind its beginning is not.
    private func checkEpochs(_ index: Int, _ outcomes: [Outcome]) {
        let version = Swarm.versions[index]
        guard !options.hasFallback, counted("sluice_requests_total", version, "fallback") == 0
        else { return }
        let own = outcomes.filter { $0.version == version && !pinned.contains($0.id) }
        let counts = weights.epochs.map { $0.evidence.counts(version: index).requests }
        for (i, epoch) in weights.epochs.enumerated().dropFirst() {
            let older = own.count { $0.at < epoch.from }
            let newer = own.count { $0.sentAt > epoch.from }
            demand(
                older <= counts[..<i].reduce(0, +) && newer <= counts[i...].reduce(0, +),
                "\(version): \(older) answers before epoch \(epoch.evidence.epoch), \(newer) "
                    + "requests behind its beginning, and \(counts) by epoch")
        }
    }
}
