import Base
import Rollout
import Routing
import YAML

/// The stages of a plan.
extension DocumentDecoder {
    mutating func stages(_ list: YAMLNode, _ plan: inout RolloutPlan) {
        plan.stages = []
        var places: [String: YAMLMark] = [:]
        var nodes: [YAMLNode] = []
        if list.elements.isEmpty {
            fail(
                "stages is an empty list", list.start,
                hint: "take it out for 1%, 5%, 25%, 50% and 100%")
        }
        for (i, element) in list.elements.enumerated() {
            let made: [RolloutPlan.Stage]
            if let ramp = element["ramp"] {
                made = self.ramp(ramp, element)
            } else {
                made = [stage(element, i, plan)]
            }
            for stage in made {
                let mark = (element["name"] ?? element).start
                if let first = places[stage.name] {
                    fail(
                        "there are two stages named \"\(stage.name)\": the first stands on line "
                            + "\(first.line)", mark,
                        hint: "give this one a name: "
                            + unusedName(stage.name, Array(places.keys)))
                }
                places[stage.name] = mark
                plan.stages.append(stage)
                nodes.append(element)
            }
        }
        if plan.stages.count > DocumentDecoder.stagesMax {
            fail(
                "the plan \"\(plan.name)\" has \(plan.stages.count) stages", list.start,
                hint: "write at most \(DocumentDecoder.stagesMax)")
        }
        rise(plan, nodes)
        for (stage, node) in zip(plan.stages, nodes) { checkWatch(stage, node, plan) }
    }

    private mutating func ramp(_ node: YAMLNode, _ stage: YAMLNode) -> [RolloutPlan.Stage] {
        func share(_ key: String) -> Int { node[key]?.text.flatMap(Units.share) ?? 0 }
        let (from, to, step) = (share("from"), share("to"), share("step"))
        if let other = stage.entries.first(where: { $0.key != "ramp" }) {
            fail(
                "a stage with ramp has \"\(other.key)\" too", other.keyStart,
                hint: "take it out; a stage of its own, before or after, may have it")
        }
        guard from <= to, step > 0, (to - from) / step < DocumentDecoder.stagesMax else {
            let place = (step == 0 ? node["step"] : node["to"]) ?? node
            fail(
                step == 0
                    ? "the ramp's step is 0%"
                    : from > to
                        ? "the ramp goes from \(Units.percent(from)) down to \(Units.percent(to))"
                        : "the ramp has more than \(DocumentDecoder.stagesMax) stages",
                place.start, hint: "write \(ObjectSchema.ramp.example)")
            return []
        }
        let minTime = node["minTime"]?.text.flatMap(Units.duration)
        return RolloutPlan.ramp(from: from, to: to, step: step, minTime: minTime)
    }

    private mutating func stage(
        _ node: YAMLNode, _ number: Int, _ plan: RolloutPlan
    ) -> RolloutPlan.Stage {
        let weight = node["weight"]?.text.flatMap(Units.share)
        let name =
            node["name"]?.text ?? weight.map(RolloutPlan.shareName) ?? "stage-\(number + 1)"
        var stage = RolloutPlan.Stage(name: name, weight: weight)
        func time(_ key: String) -> Duration? { node[key]?.text.flatMap(Units.duration) }
        stage.minTime = time("minTime")
        stage.maxTime = time("maxTime")
        stage.watch = time("watch")
        stage.warmup = time("warmup") ?? .zero
        stage.holdBack = node["holdBack"]?.text.flatMap(Units.share) ?? 0
        if let value = node["match"] { stage.match = stageMatch(value) }
        if let value = node["approve"] { stage.approval = approval(value) }
        if let value = node["window"] { stage.windows = windows(value) }
        if let value = node["when"] { stage.when = condition(value, plan) }
        onFalse(node, &stage)
        if let value = node["judge"] {
            stage.judge = policy(value, JudgeOf(plan: plan.judge))
        }
        if let value = node["absolute"] { stage.absolute = absolute(value, plan.absolute) }
        if let value = node["metrics"] { stage.metrics = metrics(value, isOfStage: true) }
        let shortest = stage.watch ?? stage.minTime ?? plan.judge.minTime
        if let longest = stage.maxTime, let place = node["maxTime"], longest < shortest {
            fail(
                "maxTime of the stage \"\(name)\" is shorter than its minTime of "
                    + Units.text(shortest), place.start,
                hint: "write a longer one, or a shorter minTime; the judge's default is 1m")
        }
        return stage
    }

    /// A false condition skips a stage, but never one that somebody's word or a time guards.
    private mutating func onFalse(_ node: YAMLNode, _ stage: inout RolloutPlan.Stage) {
        let isGuarded = stage.approval != nil || !stage.windows.isEmpty
        if stage.when != nil { stage.onFalse = isGuarded ? .hold : .skip }
        guard let value = node["onFalse"], let text = value.text else { return }
        if node["when"] == nil {
            fail(
                "the stage \"\(stage.name)\" has onFalse, but no when", value.start,
                hint: "add when: 'branch == \"main\"', or take onFalse out")
        } else if !isGuarded, text != RolloutPlan.OnFalse.skip.rawValue {
            fail(
                "the stage \"\(stage.name)\" has neither approve nor window, so a false when skips "
                    + "it", value.start,
                hint: "take onFalse out, or add approve: on, which nothing skips unasked")
        }
        stage.onFalse = RolloutPlan.OnFalse(rawValue: text) ?? .hold
    }

    // MARK: Conditions to enter

    private mutating func stageMatch(_ node: YAMLNode) -> String {
        let nodes = if case .sequence(let list) = node.content { list } else { [node] }
        if nodes.isEmpty {
            fail("match is an empty list", node.start, hint: "take it out")
        }
        for node in nodes {
            if node.entries.isEmpty {
                fail(
                    "match of a stage takes every request", node.start,
                    hint: "name whom it is for: { headers: { x-user-group: beta } }")
            }
            _ = match(node)
        }
        let text = StageMatch.text(node)
        if text.utf8.count > StageMatch.bytesMax {
            fail(
                "match of a stage has \(text.utf8.count) bytes", node.start,
                hint: "write at most \(StageMatch.bytesMax): the journal of a rollout has it")
        }
        return text
    }

    private mutating func approval(_ node: YAMLNode) -> RolloutPlan.Approval? {
        if node.text == "off" { return nil }
        var approval = RolloutPlan.Approval()
        for element in node["by"]?.elements ?? [] {
            guard let name = element.text else { continue }
            checkApprover(name, element)
            approval.by.append(name)
        }
        if let by = node["by"] { bound(approval.by.count, "tokens", by) }
        if let by = node["by"], approval.by.isEmpty {
            fail("approve.by is an empty list", by.start, hint: "take it out for any token")
        }
        approval.notStarter = node["notStarter"]?.text == "on"
        approval.isBefore = node["before"]?.text == "on"
        let timeout = limit(node, "timeout", .unlimited)
        approval.timeout = timeout.isUnlimited ? nil : timeout
        if let value = node["onTimeout"], let text = value.text {
            approval.onTimeout = RolloutPlan.OnTimeout(rawValue: text) ?? .hold
            if approval.timeout == nil {
                fail(
                    "approve has onTimeout, but no timeout", value.start,
                    hint: "add timeout: 24h, or take onTimeout out")
            }
        }
        return approval
    }

    private mutating func checkApprover(_ name: String, _ node: YAMLNode) {
        let tokens = document.adminTokens
        guard let token = tokens.first(where: { $0.name == name }) else {
            let meant = DidYouMean.closest(to: name, among: tokens.map(\.name))
            return fail(
                "approve names \"\(name)\", which is no token of admin.tokens", node.start,
                hint: meant.map { "did you mean \"\($0)\"?" }
                    ?? "add it to admin.tokens: { name: \(name), file: FILE, may: [read, approve] }"
            )
        }
        if !token.may(.approve) {
            fail(
                "approve names \"\(name)\", a token that may not approve", node.start,
                hint: "add approve to may: of that token")
        }
    }

    private mutating func windows(_ node: YAMLNode) -> [String] {
        let nodes = if case .sequence(let list) = node.content { list } else { [node] }
        if nodes.isEmpty {
            fail("window is an empty list", node.start, hint: "take it out for any time")
        }
        bound(nodes.count, "windows", node)
        var texts: [String] = []
        for node in nodes {
            guard let text = node.text else { continue }
            do throws(TimeWindow.Failure) {
                let window = try TimeWindow(text)
                if window.zone != "UTC" {
                    document.rollouts?.zones.append(
                        Document.Place(text: window.zone, mark: node.start))
                }
            } catch {
                fail(error.message, node.start, hint: error.hint)
            }
            texts.append(text)
        }
        return texts
    }

    private mutating func condition(_ node: YAMLNode, _ plan: RolloutPlan) -> String? {
        guard case .scalar(let text, let isQuoted) = node.content else { return nil }
        func mark(_ offset: Int) -> YAMLMark {
            // Escapes of a text in quotes are rare; without them this is the very place.
            let isOneLine = node.end.line == node.start.line
            return isOneLine
                ? YAMLMark(
                    line: node.start.line,
                    column: node.start.column + offset + (isQuoted ? 1 : 0)) : node.start
        }
        do throws(Condition.Failure) {
            let condition = try Condition(text)
            let known = plan.knownNames
            for (name, offset) in condition.names where !known.contains(name) {
                fail(
                    "when knows no \"\(name)\"", mark(offset),
                    hint: DidYouMean.closest(to: name, among: known).map {
                        "did you mean \"\($0)\"?"
                    }
                        ?? "add inputs: [\(name)] to the plan, for sluice rollout start --set "
                        + "\(name)=VALUE; known without: "
                        + known.joined(separator: ", "))
            }
        } catch {
            fail("when is no condition: \(error.message)", mark(error.offset), hint: error.hint)
        }
        return text
    }

    // MARK: Shares

    private mutating func rise(_ plan: RolloutPlan, _ nodes: [YAMLNode]) {
        var last: (weight: Int, name: String)?
        for (stage, node) in zip(plan.stages, nodes) {
            guard let weight = stage.weight else { continue }
            if let last, weight <= last.weight {
                let isEqual = weight == last.weight
                warn(
                    "the stage \"\(stage.name)\" gives the canary \(Units.percent(weight)), "
                        + (isEqual
                            ? "as \"\(last.name)\" does"
                            : "less than \"\(last.name)\" with \(Units.percent(last.weight))"),
                    (node["weight"] ?? node).start,
                    hint: isEqual
                        ? "leave weight out to keep the share of the stage before"
                        : "stages raise the share; put them in the order of their weights")
            }
            last = (weight, stage.name)
        }
    }

    private mutating func checkWatch(
        _ stage: RolloutPlan.Stage, _ node: YAMLNode, _ plan: RolloutPlan
    ) {
        for key in ["holdBack", "watch"] {
            guard let place = node[key], stage.weight != 10_000 else { continue }
            fail(
                "the stage \"\(stage.name)\" has \(key), but not weight: 100%", place.start,
                hint: key == "watch"
                    ? "write minTime: \(place.text ?? "10m")"
                    : "take it out: below 100% the stable version has a share anyway")
        }
        if let place = node["holdBack"], !(0...5_000).contains(stage.holdBack) {
            fail(
                "holdBack is \(Units.percent(stage.holdBack)), expected at most 50%", place.start,
                hint: "write holdBack: 2%")
        }
        guard let place = node["watch"], stage.weight == 10_000 else { return }
        if let other = node["minTime"] {
            fail(
                "the stage \"\(stage.name)\" has watch and minTime", other.start,
                hint: "keep watch: it is the least time of this stage")
        }
        let limits = stage.absolute ?? plan.absolute
        if stage.holdBack == 0, limits.isEmpty, (stage.metrics ?? plan.metrics).isEmpty {
            fail(
                "nothing can be watched in \"\(stage.name)\": at 100% no request goes to the "
                    + "stable version, to compare with", place.start,
                hint: "add holdBack: 2%, or give the plan absolute: "
                    + "\(ObjectSchema.absoluteLimits.example), or metrics")
        }
    }

    mutating func checkStage(_ name: String, _ mark: YAMLMark, _ plan: RolloutPlan) {
        let names = plan.stages.map(\.name)
        if names.contains(name) { return }
        // Of short names, such as 5, every other is only one letter off.
        let meant = name.count > 2 ? DidYouMean.closest(to: name, among: names) : nil
        fail(
            "there is no stage named \"\(name)\" in the plan \"\(plan.name)\"", mark,
            hint: meant.map { "did you mean \"\($0)\"?" }
                ?? "stages: " + names.joined(separator: ", "))
    }
}
