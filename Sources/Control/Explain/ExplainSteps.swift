import Base
import Configuration
import Evidence
import JSON
import Routing
import Upstream

/// Collects an explanation as text and as JSON, in the order of the decisions.
struct Steps {
    private let file: String
    private let document: Document
    private let snapshot: SharedBox<Snapshot>
    private let now: Instant
    private let sources: [OverlayMerge.Source]
    private let wall: WallTime
    private let zones: PlanZones
    private var lines: [String] = []
    private var pairs: [(String, JSONText)] = []
    private var rules: [JSONText] = []

    init(_ ground: ExplainGround) {
        file = ground.file
        document = ground.snapshot.value.document
        snapshot = ground.snapshot
        now = ground.now
        sources = ground.sources
        wall = ground.wall
        zones = ground.zones
    }

    /// Four decimals, without Foundation.
    static func decimal(_ value: Double) -> String {
        let scaled = Int((value * 10_000).rounded())
        let rest = String(scaled % 10_000)
        return "\(scaled / 10_000)." + String(repeating: "0", count: 4 - rest.count) + rest
    }

    func finish() -> Explanation {
        Explanation(
            json: .object(pairs + [("rules", .array(rules))]),
            text: lines.joined(separator: "\n") + "\n")
    }

    mutating func request(_ query: ExplainQuery, host: [UInt8], path: [UInt8]) {
        let host = String(decoding: host, as: UTF8.self)
        let path = String(decoding: path, as: UTF8.self)
        lines.append("request   \(query.method) host \(host) path \(path)")
        pairs.append(("host", .string(host)))
        pairs.append(("path", .string(path)))
    }

    /// - Parameters:
    ///   - isOpen: no route asks where a request came in.
    ///   - isGiven: the listener was asked for.
    mutating func listener(
        _ listener: Document.Listener, _ scheme: RequestScheme, isOpen: Bool, isGiven: Bool
    ) {
        func text(_ listener: Document.Listener) -> String {
            "\(listener.name) (\(UnixPaths.text(listener.address)))"
        }
        let text =
            isOpen && !isGiven
            ? "any of " + document.listeners.map(text).joined(separator: ", ")
            : "\(text(listener)), scheme \(scheme.rawValue)"
        lines.append("listener  " + text)
        pairs.append(("listener", .string(listener.name)))
        pairs.append(("scheme", .string(scheme.rawValue)))
    }

    /// The route's name and where it stands in the file.
    private func name(_ route: Int) -> (name: String, place: String) {
        if let original = snapshot.value.original(ofRuleRoute: route) {
            let found = name(original)
            return ("\(found.name) and the rule of \(author(ofRuleRoute: route))", found.place)
        }
        if route < document.routes.count {
            let found = document.routes[route]
            return (found.name, "\(file):\(found.line)")
        }
        return ("a service's own hosts", file)
    }

    /// The rollout whose stage has the rule that made a route.
    private func author(ofRuleRoute route: Int) -> String {
        let service = snapshot.value.routes[route].service
        return "rollout \(document.services[service].stageRules?.rollout ?? "")"
    }

    /// Who says which version a route's requests get, for one that names it.
    func namedBy(_ route: Int) -> String {
        snapshot.value.original(ofRuleRoute: route) == nil
            ? "named by the route"
            : "named by the rule of \(author(ofRuleRoute: route)), before any share"
    }

    mutating func tried(_ route: Int, match: Int, _ failure: MatchFailure) {
        let found = name(route)
        let verdict: String
        switch failure {
        case .none: verdict = "matches"
        case .listener: verdict = "no: the listener differs"
        case .scheme: verdict = "no: the scheme differs"
        case .host: verdict = "no: the host differs"
        case .path: verdict = "no: the path differs"
        case .method: verdict = "no: the method differs"
        case .value(let i): verdict = "no: " + value(route, i)
        }
        lines.append("rule      \(found.name) (\(found.place)): \(verdict)")
        rules.append(
            .object([
                ("route", .string(found.name)), ("place", .string(found.place)),
                ("verdict", .string(verdict)),
            ]))
    }

    /// A condition that does not hold, in words. Alternatives of one route share the numbering of
    /// their own conditions.
    private func value(_ route: Int, _ i: Int) -> String {
        guard route < document.routes.count,
            let match = document.routes[route].matches.first(where: { i < $0.values.count })
        else { return "a condition does not hold" }
        let rule = match.values[i]
        return "the \(rule.source) \"\(rule.name)\" does not hold"
    }

    mutating func noRoute() {
        lines.append("result    404, flag NR: no route takes it")
        pairs.append(("result", .string("404 NR")))
    }

    mutating func connectRefused() {
        lines.append("result    405, flag DPE: the route does not pass CONNECT on (connect: allow)")
        pairs.append(("result", .string("405 DPE")))
    }

    mutating func winner(_ route: Int, _ snapshot: SharedBox<Snapshot>) {
        let plan = snapshot.value.routes[route]
        let label = ASCII.string(snapshot.value.store.bytes(plan.name))
        lines.append("route     \(label) (\(name(route).place))")
        pairs.append(("route", .string(label)))
        if snapshot.value.original(ofRuleRoute: route) != nil {
            pairs.append(("rule", .string(author(ofRuleRoute: route))))
        }
    }

    /// Tells what the proxy answers by itself.
    mutating func result(_ status: UInt16, _ text: String) {
        lines.append("result    " + text)
        pairs.append(("result", .string("\(status)")))
    }

    mutating func split(_ plan: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>) {
        let service = document.services[plan.service]
        let draws = snapshot.value.splits[plan.split].draws
        let sum = draws.value.weights.sum
        let parts = zip(service.versions, draws.value.weights.weights).map { version, weight in
            "\(version.name) \(Steps.decimal(Double(weight) * 100 / Double(sum))) %"
        }
        lines.append("split     " + parts.joined(separator: ", ") + "; off by less than 1 request")
        pairs.append(("split", .array(parts.map { .string($0) })))
        if plan.service < sources.count { weights(sources[plan.service]) }
        plans(ofService: plan.service)
    }

    /// The plans by which the service's weights may change.
    private mutating func plans(ofService service: Int) {
        let plans = document.planLines(ofService: service, at: wall, zones: zones)
        if plans.isEmpty { return }
        for line in plans { lines.append("plan      " + line) }
        pairs.append(("plans", .array(plans.map { .string($0) })))
    }

    /// Where the weights of the split come from.
    private mutating func weights(_ source: OverlayMerge.Source) {
        switch source {
        case .file: say("weights", "weightsFrom", source.author + "'s")
        case .overlay(let entry):
            say("weights", "weightsFrom", "\(source.author): \(entry.text), over the file's")
        case .drift(let entry, let file, let obstacle):
            say(
                "weights", "weightsFrom",
                "\(source.author): \(entry.text); the file has changed to \(Overlay.text(file)), "
                    + "which is not applied: \(obstacle.text)")
        }
    }

    /// - Parameters:
    ///   - choice: the version that serves.
    ///   - found: the version that would serve if every version were usable.
    ///   - why: how that was found.
    mutating func version(
        _ choice: VersionChoice, _ found: VersionChoice, of service: Int, _ why: String
    ) {
        let name = name(choice.version, of: service)
        let assign = Steps.assign(choice.way)
        var why = why
        if choice != found { why += "; \(self.name(found.version, of: service)) is not usable now" }
        lines.append("version   \(name) (assign \(assign)): \(why)")
        pairs.append(("version", .string(name)))
        pairs.append(("assign", .string(assign)))
        pairs.append(("why", .string(why)))
    }

    /// Versions that may be drawn and are not usable now, each with the one that stands in.
    mutating func fallbacks(_ places: [(drawn: Int, stable: Int)], of service: Int) {
        if places.isEmpty { return }
        var all: [JSONText] = []
        for place in places {
            let text =
                "\(name(place.drawn, of: service)) is not usable now: its share goes to "
                + "\(name(place.stable, of: service)) (assign \(Steps.assign(.fallback)))"
            lines.append("fallback  " + text)
            all.append(.string(text))
        }
        pairs.append(("fallback", .array(all)))
    }

    private func name(_ version: Int, of service: Int) -> String {
        let found = document.services[service]
        return found.name + "/" + found.versions[version].name
    }

    /// The label that the counters have for a way to a version (splitting.md §1).
    private static func assign(_ way: VersionChoice.Way) -> String {
        switch way {
        case .named: "header"
        case .session, .bound: "sticky"
        case .drawn: "weighted"
        case .fallback: "fallback"
        }
    }

    /// - Parameter sticky: of the service; `nil` without one.
    mutating func drawn(sticky: Document.Sticky?) {
        let text: String
        if let issue = sticky?.issue {
            text = "a new session: one draw of the split, then the cookie \"\(issue)\" keeps it"
        } else if let sticky {
            text =
                "one draw of the split, and nothing keeps it: the session's next request, with "
                + "\"\(sticky.name)\", is placed by the hash of that and may go to another "
                + "version; issue: would make them agree"
        } else {
            text = "one draw of the split"
        }
        lines.append("version   by the next draw (assign weighted): \(text)")
        pairs.append(("assign", .string("weighted")))
        pairs.append(("why", .string(text)))
    }

    /// The guard of the service, if it has one and the route splits.
    /// - Returns: versions that the guard has taken out.
    mutating func guarding(_ plan: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>) -> [Int] {
        let service = document.services[plan.service]
        guard plan.pinned < 0, let ratio = service.guardRatio, service.versions.count > 1 else {
            return []
        }
        let first = snapshot.value.services[plan.service].versions.start
        let out = service.versions.indices.filter {
            $0 != service.stable && snapshot.value.versions[first + $0].latch.value.isTripped
        }
        let stable = service.versions[service.stable].name
        var text =
            "takes a version out whose errors are far more than \(stable)'s (ratio \(ratio))"
        if !out.isEmpty {
            text =
                out.map { service.versions[$0].name }.joined(separator: ", ")
                + " is out: its requests go to \(stable) (assign fallback) until "
                + "sluice guard reset \(service.name)"
        }
        say("guard", "guard", text)
        return out
    }

    mutating func endpoints(_ plan: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>) {
        let service = snapshot.value.services[plan.service]
        let config = document.services[plan.service]
        var all: [JSONText] = []
        for (i, version) in config.versions.enumerated() {
            let cluster = snapshot.value.versions[service.versions.start + i].cluster
            var texts: [String] = []
            for e in 0..<cluster.value.endpoints.count {
                let endpoint = cluster.value.endpoints[e]
                let why = EndpointText.why(endpoint.state.value.view(now: now), now)
                texts.append(UnixPaths.text(endpoint.address) + (why.isEmpty ? "" : " (\(why))"))
            }
            let list = texts.isEmpty ? "none" : texts.joined(separator: ", ")
            lines.append("endpoints \(version.name): \(list), by \(config.policy)")
            all.append(
                .object([
                    ("version", .string(version.name)),
                    ("endpoints", .array(texts.map { .string($0) })),
                ]))
        }
        pairs.append(("endpoints", .array(all)))
    }

    mutating func times(_ plan: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>) {
        let connect = document.services[plan.service].connectTimeout
        let times = [
            ("connect", connect), ("perTry", plan.perTry), ("firstByte", plan.firstByte),
            ("request", plan.request), ("idle", plan.idle), ("write", plan.write),
        ]
        let text = times.map { "\($0.0) \(Units.text($0.1))" }.joined(separator: ", ")
        lines.append("timeouts  " + text)
        pairs.append(
            ("timeouts", .object(times.map { ($0.0, .string(Units.text($0.1))) })))
        retries(plan, snapshot)
        filters(plan, snapshot)
        health(plan)
    }

    mutating func say(_ title: String, _ key: String, _ text: String) {
        let gap = String(repeating: " ", count: max(1, 10 - title.utf8.count))
        lines.append(title + gap + text)
        pairs.append((key, .string(text)))
    }

    private mutating func retries(_ plan: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>) {
        let policy = snapshot.value.retries[plan.retry]
        var text = policy.text
        if policy.retriesMax > 0 {
            text += ", within " + (document.retryBudget?.text ?? "no budget")
        }
        text += "; once more when a reused connection died first (idempotent methods)"
        say("retries", "retries", text)
    }

    private mutating func filters(_ plan: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>) {
        guard plan.filter >= 0 else { return }
        let filter = snapshot.value.filters[plan.filter]
        if filter.fault >= 0 {
            let fault = snapshot.value.faults[filter.fault]
            var parts: [String] = []
            if let draws = fault.delayDraws {
                parts.append("\(Units.text(fault.delay)) for \(Steps.share(draws.value))")
            }
            if let draws = fault.abortDraws {
                parts.append("status \(fault.abortStatus) for \(Steps.share(draws.value))")
            }
            if fault.isByHeader { parts.append("as x-sluice-fault-* asks") }
            say("fault", "fault", parts.joined(separator: ", "))
        }
        if filter.mirror >= 0 {
            let mirror = snapshot.value.mirrors[filter.mirror]
            let service = document.services[mirror.service]
            let first = snapshot.value.services[mirror.service].versions.start
            say(
                "mirror", "mirror",
                "\(Steps.share(mirror.draws.value)) to \(service.name)/"
                    + service.versions[mirror.version - first].name)
        }
    }

    /// The share of a draw's version 0.
    private static func share(_ draws: borrowing Draws) -> String {
        Units.percent(draws.weights.weights[0] * 10_000 / draws.weights.sum)
    }

    private mutating func health(_ plan: Snapshot.RoutePlan) {
        let service = document.services[plan.service]
        if let check = service.healthCheck?.policy {
            say(
                "health", "healthCheck",
                "\(check.kind) every \(Units.text(check.interval)), within "
                    + "\(Units.text(check.timeout)); out after \(check.unhealthyThreshold) "
                    + "failures, in after \(check.healthyThreshold) successes")
        }
        if let outlier = service.outlier {
            func run(_ name: String, _ max: Int) -> String? { max > 0 ? "\(max) \(name)" : nil }
            let runs = [
                run("5xx", outlier.errorsInARowMax),
                run("gateway errors", outlier.gatewayErrorsInARowMax),
                run("failures without an answer", outlier.localFailuresInARowMax),
            ].compactMap { $0 }.joined(separator: ", ")
            say(
                "ejection", "outlierDetection",
                "after \(runs) in a row"
                    + (outlier.successRate == nil ? "" : ", or an outlier's success rate")
                    + "; \(Units.text(outlier.baseEjectionTime)) the first time, at most "
                    + "\(outlier.maxEjectionPercent) % of the endpoints")
        }
    }
}
