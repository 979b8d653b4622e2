import Base
import Judge
import Rollout
import Upstream
import YAML

/// The plans of rollouts.
extension DocumentDecoder {
    /// Plans, and stages of one plan, that a file may have.
    static let plansMax = 1_000
    static let stagesMax = 100
    /// Elements of any other list of a plan.
    static let listMax = 50

    mutating func rollouts(_ node: YAMLNode) {
        guard let place = node["directory"], let directory = place.text else { return }
        if directory.isEmpty || directory.utf8.count > 4_000 {
            fail(
                "rollouts.directory is no name of a directory", place.start,
                hint: "write /var/lib/sluice, or another directory of Sluice's own")
        }
        document.rollouts = Document.Rollouts(directory: directory)
        if let place = node["overlay"], let name = place.text {
            if name.isEmpty || name.hasSuffix("/") || name == "." || name == ".."
                || !name.hasPrefix("/") && name.contains("/") || name.utf8.count > 4_000
            {
                fail(
                    "rollouts.overlay is \"\(name)\", expected a file's name", place.start,
                    hint: "a name without / is in rollouts.directory: write overlay.json; one "
                        + "elsewhere begins with /")
            }
            document.rollouts?.overlay = name
        }
        guard let list = node["plans"] else { return }
        guard list.elements.count <= DocumentDecoder.plansMax else {
            return fail(
                "there are \(list.elements.count) plans", list.start,
                hint: "write at most \(DocumentDecoder.plansMax)")
        }
        var places: [String: YAMLMark] = [:]
        for element in list.elements {
            guard let plan = plan(element, &places) else { continue }
            document.rollouts?.plans.append(plan)
        }
        if errors.isEmpty { checkStarts(list) }
    }

    /// Two plans of one service would both begin when its revision changes.
    private mutating func checkStarts(_ list: YAMLNode) {
        for element in list.elements {
            guard let service = element["service"]?.text, let start = element["start"],
                start.text == RolloutPlan.Start.onRevision.rawValue,
                let other = list.elements.first(where: {
                    $0["service"]?.text == service && $0.start != element.start
                })
            else { continue }
            fail(
                "the service \"\(service)\" has another plan on line \(other.start.line), so this "
                    + "one cannot begin by itself", start.start,
                hint: "write start: manual in all plans of one service, or keep one plan")
        }
    }

    // MARK: One plan

    private mutating func plan(
        _ node: YAMLNode, _ places: inout [String: YAMLMark]
    ) -> RolloutPlan? {
        guard let servicePlace = node["service"], let serviceName = servicePlace.text,
            let canaryPlace = node["canary"], let canary = canaryPlace.text
        else { return nil }
        let name = node["name"]?.text ?? serviceName
        checkName(name, (node["name"] ?? servicePlace).start, &places)
        guard let service = document.services.first(where: { $0.name == serviceName }) else {
            let names = document.services.map(\.name)
            fail(
                "there is no service named \"\(serviceName)\"", servicePlace.start,
                hint: DidYouMean.closest(to: serviceName, among: names)
                    .map { "did you mean \"\($0)\"?" }
                    ?? "services: " + names.joined(separator: ", "))
            return nil
        }
        guard isCanary(canary, of: service, canaryPlace) else { return nil }
        var plan = RolloutPlan(name: name, service: serviceName, canary: canary, stages: [])
        if let list = node["routes"] { plan.routes = routes(list, service) }
        stageReferences = []
        usesRevision = nil
        plan.inputs = inputs(node["inputs"], given: plan.knownNames)
        if let judge = node["judge"] { plan.judge = policy(judge, JudgeOf()) }
        if let limits = node["absolute"] { plan.absolute = absolute(limits, plan.absolute) }
        if let node = node["guard"] {
            plan.guardRatio =
                node.text == "off" ? nil : node["ratio"]?.text.flatMap { Double($0) } ?? 10
        }
        if let list = node["metrics"] { plan.metrics = metrics(list) }
        if let node = node["synthetic"] { plan.synthetic = synthetic(node) }
        if let labels = node["labels"] { bound(labels.entries.count, "labels", labels) }
        for entry in node["labels"]?.entries ?? [] {
            plan.labels.append(RolloutPlan.Label(name: entry.key, value: entry.value.text ?? ""))
        }
        terms(node, &plan)
        plan.stages = RolloutPlan.defaultStages
        if let list = node["stages"] { stages(list, &plan) }
        for place in stageReferences { checkStage(place.text, place.mark, plan) }
        if let list = node["hooks"] { hooks(list, &plan) }
        check(plan, node, service)
        return plan
    }

    /// Lists of a plan have an end, as all of it goes into a journal.
    mutating func bound(_ count: Int, _ what: String, _ list: YAMLNode) {
        if count > DocumentDecoder.listMax {
            fail(
                "there are \(count) \(what)", list.start,
                hint: "write at most \(DocumentDecoder.listMax)")
        }
    }

    private mutating func checkName(
        _ name: String, _ mark: YAMLMark, _ places: inout [String: YAMLMark]
    ) {
        // Names become names of directories.
        if name.utf8.first.map({ ASCII.isAlpha($0) || ASCII.isDigit($0) }) != true {
            let mended = name.drop { !($0.isASCII && ($0.isLetter || $0.isNumber)) }
            fail(
                "the plan's name \"\(name)\" does not begin with a letter or a digit", mark,
                hint: "write name: \(mended.isEmpty ? "reviews" : String(mended))")
        }
        if let first = places[name] {
            fail(
                "there are two plans named \"\(name)\": the first stands on line \(first.line)",
                mark, hint: "write name: \(unusedName(name, Array(places.keys)))")
        }
        places[name] = mark
    }

    private mutating func isCanary(
        _ canary: String, of service: Document.Service, _ place: YAMLNode
    ) -> Bool {
        guard service.versions.contains(where: { $0.name == canary }) else {
            fail(
                "canary names \"\(canary)\", which is no version of \"\(service.name)\"",
                place.start, hint: canaryHint(canary, service))
            return false
        }
        if service.versions[service.stable].name == canary {
            let others = service.versions.map(\.name).filter { $0 != canary }
            // So a file looks after each rollout that has succeeded.
            warn(
                "the canary \"\(canary)\" is the stable version of \"\(service.name)\": the plan "
                    + "has nothing to do",
                place.start,
                hint: others.isEmpty
                    ? "add the next version to the service, and name that"
                    : "for the next rollout write canary: and the next version; to bring "
                        + "\(others[0]) back give the service stable: \(others[0])")
        }
        return true
    }

    /// The stable version is no canary, however alike the names are.
    private func canaryHint(_ canary: String, _ service: Document.Service) -> String {
        let stable = service.versions[service.stable].name
        let others = service.versions.map(\.name).filter { $0 != stable }
        if let meant = DidYouMean.closest(to: canary, among: others) {
            return "did you mean \"\(meant)\"?"
        }
        return others.isEmpty
            ? "add the version to the service again, or take the plan out"
            : "versions that may grow are " + others.joined(separator: ", ")
    }

    private mutating func routes(_ list: YAMLNode, _ service: Document.Service) -> [String] {
        if list.elements.isEmpty {
            fail(
                "routes is an empty list", list.start,
                hint: "take it out for all routes that lead to \"\(service.name)\"")
        }
        // The routes that split the service's requests by weight.
        var known: [String] = [], others: Set<String> = []
        for route in document.routes {
            if case .forward(let index, nil, _) = route.action,
                document.services[index].name == service.name
            {
                known.append(route.name)
            } else {
                others.insert(route.name)
            }
        }
        var names: [String] = []
        for element in list.elements {
            guard let name = element.text else { continue }
            if names.contains(name) {
                fail("routes names \"\(name)\" twice", element.start, hint: "take one of them out")
            } else if !known.contains(name) {
                let list = "those that do: " + known.joined(separator: ", ")
                fail(
                    others.contains(name)
                        ? "the route \"\(name)\" does not lead to \"\(service.name)\" by weight"
                        : "there is no route named \"\(name)\"", element.start,
                    hint: DidYouMean.closest(to: name, among: known).map {
                        "did you mean \"\($0)\"?"
                    }
                        ?? (known.isEmpty
                            ? "no route does; take routes out of the plan" : list))
            }
            names.append(name)
        }
        if !names.isEmpty, names.allSatisfy(known.contains),
            let left = known.first(where: { !names.contains($0) })
        {
            fail(
                "routes leaves \"\(left)\" out, and a rollout changes the weights of every route "
                    + "that leads to \"\(service.name)\" by weight", list.start,
                hint: "take routes out of the plan, or give these routes a service of their own "
                    + "with the same endpoints")
        }
        return names
    }

    /// - Parameter given: names that every rollout has.
    private mutating func inputs(_ list: YAMLNode?, given: [String]) -> [String] {
        var names: [String] = []
        if let list { bound(list.elements.count, "inputs", list) }
        for element in list?.elements ?? [] {
            guard let name = element.text else { continue }
            if given.contains(name) {
                fail(
                    "inputs names \"\(name)\", which every rollout has", element.start,
                    hint: "take it out")
            } else if ["and", "or", "not", "in"].contains(name)
                || name.utf8.first.map({ ASCII.isAlpha($0) || $0 == 0x5f }) != true
            {
                fail(
                    "\"\(name)\" cannot stand in a condition", element.start,
                    hint: "begin with a letter, and take none of and, or, not, in")
            } else if names.contains(name) {
                fail("inputs names \"\(name)\" twice", element.start, hint: "take one of them out")
            }
            names.append(name)
        }
        return names
    }

    // MARK: Terms

    private mutating func terms(_ node: YAMLNode, _ plan: inout RolloutPlan) {
        if let text = node["start"]?.text {
            plan.start = RolloutPlan.Start(rawValue: text) ?? .manual
        }
        if node["maxDuration"] != nil {
            let limit = limit(node, "maxDuration", .unlimited)
            plan.maxDuration = limit.isUnlimited ? nil : limit
        }
        plan.keepStable = duration(node, "keepStable", plan.keepStable)
        if let count = node["minEndpoints"]?.text.flatMap({ Int($0) }) { plan.minEndpoints = count }
        plan.readyWithin = duration(node, "readyWithin", plan.readyWithin)
        if let share = node["rollback"]?["capacity"]?.text.flatMap(Units.share) {
            plan.rollbackCapacity = Double(share) / 10_000
        }
        for entry in node["labels"]?.entries ?? [] where (entry.value.text ?? "").utf8.count > 256 {
            fail(
                "the label \"\(entry.key)\" has more than 256 bytes", entry.value.start,
                hint: "write a shorter one")
        }
    }

    /// Where a judge's settings stand.
    struct JudgeOf {
        /// The plan's, for a stage.
        var plan = RolloutPlan.JudgePolicy()
    }

    mutating func policy(_ node: YAMLNode, _ base: JudgeOf) -> RolloutPlan.JudgePolicy {
        var policy = base.plan
        func share(_ node: YAMLNode?, _ key: String) -> Double? {
            node?[key]?.text.flatMap(Units.share).map { Double($0) / 10_000 }
        }
        if let value = share(node, "falseRollbacks"), let place = node["falseRollbacks"] {
            if !(0.0001...0.2).contains(value) {
                fail(
                    "falseRollbacks is \(place.text ?? ""), expected 0.01% to 20%", place.start,
                    hint: value == 0
                        ? "a judge that acts is wrong at times; write 0.1%, or onRegression: hold"
                        : "write 1%")
            }
            policy.falseRollbacks = value
        }
        let tolerate = node["tolerate"]
        if let value = share(tolerate, "points") { policy.tolerance.points = value }
        if let value = tolerate?["ratio"]?.text.flatMap(Units.decimal) {
            policy.tolerance.ratio = value
        }
        if let value = tolerate?["p95"]?.text.flatMap(Units.decimal) {
            policy.tolerance.latency = value
        }
        if let text = tolerate?["time"]?.text, let span = Units.duration(text) {
            policy.tolerance.time = Double(span.nanoseconds) / 1e9
        }
        if let value = share(node, "maxIncrease") { policy.maxIncrease = value }
        if let count = node["minRequests"]?.text.flatMap({ Int($0) }) { policy.minRequests = count }
        policy.minTime = duration(node, "minTime", policy.minTime)
        if let text = node["onInconclusive"]?.text {
            policy.onInconclusive = RolloutPlan.OnInconclusive(rawValue: text) ?? .hold
        }
        if let text = node["onRegression"]?.text {
            policy.onRegression = RolloutPlan.OnRegression(rawValue: text) ?? .rollback
        }
        return policy
    }

    mutating func absolute(
        _ node: YAMLNode, _ base: RolloutPlan.AbsoluteLimits
    ) -> RolloutPlan.AbsoluteLimits {
        var limits = base
        if let share = node["errorRate"]?.text.flatMap(Units.share) {
            limits.errorRate = Double(share) / 10_000
        }
        func time(_ key: String) -> Duration? { node[key]?.text.flatMap(Units.duration) }
        limits.p50 = time("p50") ?? limits.p50
        limits.p95 = time("p95") ?? limits.p95
        limits.p99 = time("p99") ?? limits.p99
        return limits
    }

    // MARK: The whole

    private mutating func check(_ plan: RolloutPlan, _ node: YAMLNode, _ service: Document.Service)
    {
        let canary = service.versions.first { $0.name == plan.canary }
        if plan.start == .onRevision, canary?.revision == nil, let place = node["start"] {
            fail(
                "start: onRevision, but the version \"\(plan.canary)\" has no revision",
                place.start,
                hint: "add revision: 1.4.2, or what your releases are called, to "
                    + "services.\(service.name).versions.\(plan.canary)")
        }
        if let mark = usesRevision, !CallValues.isValue(canary?.revision ?? "") {
            fail(
                "the plan \"\(plan.name)\" uses the revision of \"\(plan.canary)\", which "
                    + (canary?.revision == nil ? "has none" : "cannot stand in another text"),
                mark,
                hint: "give services.\(service.name).versions.\(plan.canary) revision: of at most "
                    + "128 letters, digits and ._:/@+-")
        }
        let policies = [plan.judge] + plan.stages.compactMap(\.judge)
        if plan.synthetic == nil, policies.contains(where: { $0.onInconclusive == .synthetic }) {
            fail(
                "onInconclusive: synthetic, but the plan has no synthetic requests",
                (node["judge"]?["onInconclusive"] ?? node).start,
                hint: "add synthetic: \(ObjectSchema.synthetic.example) to the plan")
        }
        if plan.synthetic != nil, service.protocol == .http2 {
            fail(
                "synthetic requests are HTTP/1.1, and the endpoints of \"\(service.name)\" are "
                    + "spoken to in HTTP/2 alone", (node["synthetic"] ?? node).start,
                hint: "take synthetic: out, and let onInconclusive hold or ask; or ask the "
                    + "versions by a command, as a metric of the plan")
        }
        let index = document.services.firstIndex { $0.name == service.name } ?? 0
        let isSplit =
            !service.hosts.isEmpty
            || document.routes.contains {
                if case .forward(index, nil, _) = $0.action { true } else { false }
            }
        if !isSplit {
            warn(
                "no route leads to \"\(service.name)\" by weight, so the plan \"\(plan.name)\" "
                    + "shifts nobody", node.start,
                hint: "write to: \(service.name) in a route, without a version")
        }
        if let last = plan.share(ofStage: plan.stages.count - 1),
            plan.stages.last?.weight ?? last < 10_000
        {
            warn(
                "the last stage of \"\(plan.name)\" gives the canary \(Units.percent(last)), and "
                    + "its success all at once the rest", (node["stages"] ?? node).start,
                hint: "add { name: all, weight: 100%, holdBack: 2%, watch: 10m } behind it")
        }
    }

    /// The release that runs as a version.
    mutating func revision(_ node: YAMLNode) -> String? {
        guard let text = node.text else { return nil }
        let isPrintable = text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }
        if text.utf8.count > 128 || !isPrintable {
            fail(
                "revision is no text of at most 128 bytes without control characters", node.start,
                hint: "write 1.4.2, or what your releases are called")
        }
        return text
    }
}
