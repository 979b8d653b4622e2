import Base
import HTTPSemantics
import Rollout
import YAML

/// The metrics, synthetic requests and hooks of a plan.
extension DocumentDecoder {
    static let argumentsMax = 64

    // MARK: Metrics

    /// - Parameter isOfStage: the metrics are a stage's own, which has no others to be asked in.
    mutating func metrics(_ list: YAMLNode, isOfStage: Bool = false) -> [RolloutPlan.Metric] {
        var metrics: [RolloutPlan.Metric] = []
        bound(list.elements.count, "metrics", list)
        for element in list.elements {
            guard let place = element["name"], let name = place.text,
                let source = source(element, name)
            else { continue }
            if metrics.contains(where: { $0.name == name }) {
                fail(
                    "there are two metrics named \"\(name)\"", place.start,
                    hint: "write name: \(unusedName(name, metrics.map(\.name)))")
            }
            var metric = RolloutPlan.Metric(name: name, source: source)
            metric.interval = duration(element, "interval", metric.interval)
            metric.delay = duration(element, "delay", metric.delay)
            // One question ends before the next.
            metric.timeout = duration(element, "timeout", min(metric.timeout, metric.interval))
            metric.min = element["min"]?.text.flatMap(Units.decimal)
            metric.max = element["max"]?.text.flatMap(Units.decimal)
            metric.comparesStable = element["compare"] != nil
            if let count = element["failures"]?.text.flatMap({ Int($0) }) {
                metric.failures = count
            }
            metric.failuresTotal = element["failuresTotal"]?.text.flatMap { Int($0) } ?? 0
            if let text = element["noValue"]?.text {
                metric.noValue = RolloutPlan.Metric.NoValue(rawValue: text) ?? .wait
            }
            if let text = element["onFailure"]?.text {
                metric.onFailure = RolloutPlan.Metric.OnFailure(rawValue: text) ?? .rollback
            }
            if let access = element["prometheus"] ?? element["web"] {
                metric.access = self.access(access)
            }
            if let stages = element["stages"] {
                if isOfStage {
                    fail(
                        "the metric \"\(name)\" of a stage names stages", stages.start,
                        hint: "take it out, or move the metric to the plan")
                }
                for stage in stages.elements {
                    guard let text = stage.text else { continue }
                    metric.stages.append(text)
                    stageReferences.append(Document.Place(text: text, mark: stage.start))
                }
            }
            checkLimits(metric, element)
            metrics.append(metric)
        }
        return metrics
    }

    private mutating func source(_ node: YAMLNode, _ name: String) -> RolloutPlan.Metric.Source? {
        let given = ["prometheus", "web", "command"].filter { node[$0] != nil }
        guard given.count == 1, let value = node[given[0]] else {
            let has = given.isEmpty ? "none" : given.joined(separator: " and ")
            fail(
                "the metric \"\(name)\" has \(has), expected one of prometheus, web, command",
                node.start,
                hint: given.isEmpty
                    ? "add prometheus: \(ObjectSchema.prometheus.example)" : "keep one of them")
            return nil
        }
        switch given[0] {
        case "prometheus":
            guard let url = url(value["url"]), let query = value["query"], let text = query.text
            else { return nil }
            checkTemplate(text, query.start)
            return .prometheus(url: url, query: text)
        case "web":
            guard let url = url(value["url"]) else { return nil }
            let pointer = value["json"]?.text ?? ""
            if !pointer.isEmpty, !pointer.hasPrefix("/"), let place = value["json"] {
                fail(
                    "\"\(pointer)\" is no JSON pointer", place.start,
                    hint: "write /" + pointer.replacing(".", with: "/"))
            }
            return .web(url: url, pointer: pointer)
        default: return .command(command(value))
        }
    }

    private mutating func checkLimits(_ metric: RolloutPlan.Metric, _ node: YAMLNode) {
        let isCommand = if case .command = metric.source { true } else { false }
        for key in ["min", "max", "compare"] {
            guard isCommand, let place = node[key] else { continue }
            fail(
                "the metric \"\(metric.name)\" is a command, which has no \(key)", place.start,
                hint: "take it out: exit 0 passes, 75 is no value, all else fails")
        }
        if !isCommand, metric.min == nil, metric.max == nil {
            fail(
                "the metric \"\(metric.name)\" has neither min nor max, so nothing can fail",
                node.start,
                hint: metric.comparesStable
                    ? "add max: 1.1, the largest ratio of canary to stable"
                    : "add max: 100, or min:")
        }
        if let min = metric.min, let max = metric.max, min > max, let place = node["min"] {
            fail(
                "min of the metric \"\(metric.name)\" is above its max", place.start,
                hint: "the value passes from min to max: write the smaller number at min")
        }
        if metric.interval < .seconds(1), let place = node["interval"] {
            fail(
                "interval of the metric \"\(metric.name)\" is below 1s", place.start,
                hint: "write 1s, or longer")
        }
        if metric.timeout > metric.interval, let place = node["timeout"] {
            fail(
                "timeout of the metric \"\(metric.name)\" is longer than its interval",
                place.start, hint: "write a shorter one: one question ends before the next")
        }
        if metric.failuresTotal != 0, metric.failuresTotal < metric.failures,
            let place = node["failuresTotal"]
        {
            fail(
                "failuresTotal of the metric \"\(metric.name)\" is below its failures",
                place.start, hint: "failures are in a row, failuresTotal altogether")
        }
    }

    // MARK: Commands and URLs

    /// A program and its arguments.
    private mutating func command(_ node: YAMLNode) -> [String] {
        let arguments = node.elements.compactMap(\.text)
        guard let program = arguments.first, arguments.count <= DocumentDecoder.argumentsMax else {
            fail(
                arguments.isEmpty
                    ? "command is an empty list"
                    : "command has more than \(DocumentDecoder.argumentsMax) arguments",
                node.start, hint: "write [check.sh, \"ARGUMENT\"]")
            return []
        }
        let isPlain =
            program.utf8.count <= 255 && !program.hasPrefix(".") && !program.hasPrefix("-")
            && program.utf8.allSatisfy { $0 != 0x2f && $0 != 0x7b && $0 > 0x20 && $0 != 0x7f }
        if !isPlain {
            let name = program.split(separator: "/").last.map(String.init) ?? ""
            let hint =
                program.contains(" ")
                ? "write ["
                    + program.split(separator: " ").map { Replacement.quoted(String($0)) }
                    .joined(separator: ", ") + "]: a program and each argument by itself, no shell"
                : program.contains("/") && !name.isEmpty && !name.contains("{")
                    ? "write \(name), and run with --allow-commands "
                        + String(program.dropLast(name.count))
                    : "write the name of a file in the directory of --allow-commands"
            // Braces in a message would bring advice about variables of other programs.
            fail(
                program.contains("{")
                    ? "a program's name is written out, without names in braces"
                    : "\"\(program)\" is no name of a program", node.elements[0].start, hint: hint)
        }
        for element in node.elements {
            guard let text = element.text else { continue }
            if text.utf8.count > 4_096 || text.utf8.contains(0) {
                fail(
                    "an argument has more than 4096 bytes, or a byte of 0", element.start,
                    hint: "pass the name of a file instead")
            }
            checkTemplate(text, element.start)
        }
        return arguments
    }

    private mutating func checkTemplate(_ text: String, _ mark: YAMLMark) {
        let known = RolloutPlan.templateNames
        let hint = "between double braces stand " + known.joined(separator: ", ")
        do throws(CallProblem) {
            let names = try CallTemplate(text).names
            if names.contains("revision") { usesRevision = mark }
            for name in names where !known.contains(name) {
                // The braces themselves would bring advice about variables of other programs.
                fail(
                    "no value of a rollout is called \"\(name)\"", mark,
                    hint: DidYouMean.closest(to: name, among: known)
                        .map { "did you mean \"\($0)\"?" } ?? hint)
            }
        } catch {
            fail(error.message, mark, hint: hint)
        }
    }

    /// An absolute URL of http or https whose scheme, host and port are written out.
    private mutating func url(_ node: YAMLNode?) -> String? {
        guard let node, let text = node.text else { return nil }
        let schemes = ["http://", "https://"]
        guard text.utf8.count <= 2_048, let scheme = schemes.first(where: text.hasPrefix),
            text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f })
        else {
            let host = text.prefix { $0 != "/" }
            fail(
                "\"\(text.prefix(100))\" is no URL of http or https", node.start,
                hint: Units.nameAndPort(String(host)) != nil || Units.address(String(host)) != nil
                    ? "write http://\(text)" : "write https://example.com/path, without spaces")
            return nil
        }
        let authority = text.dropFirst(scheme.count).prefix { !"/?#".contains($0) }
        if authority.contains("@") {
            fail(
                "a URL with a name and a password would be shown to whoever sees the file",
                node.start,
                hint: "take them out, and add headersFile: FILE with a line "
                    + "authorization: …")
            return nil
        }
        if authority.contains("{") {
            fail(
                "names in braces stand in a URL's path and query alone, not in its host",
                node.start, hint: "write the host and the port out")
            return nil
        }
        if text.contains("#") {
            fail("a URL that is asked has no fragment", node.start, hint: "take # out")
        }
        guard DocumentDecoder.isAuthority(String(authority)) else {
            fail(
                "\"\(authority)\" is no host with or without a port", node.start,
                hint: "write \(scheme)example.com:8443/")
            return nil
        }
        if DocumentDecoder.isLinkLocal(String(authority)) {
            fail(
                "\"\(authority)\" is a link-local address, which is never asked", node.start,
                hint: "clouds keep credentials there; write another host")
        }
        checkTemplate(String(text.dropFirst(scheme.count + authority.count)), node.start)
        return text
    }

    private static func isAuthority(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let length = Authority.hostLength(bytes.span), length > 0 else { return false }
        if length == bytes.count { return true }
        guard bytes[length] == 0x3a, let port = Address.port(bytes[(length + 1)...]) else {
            return false
        }
        return port > 0
    }

    private static func isLinkLocal(_ text: String) -> Bool {
        let lower = text.lowercased()
        return lower.hasPrefix("169.254.") || lower.hasPrefix("[fe8") || lower.hasPrefix("[fe9")
            || lower.hasPrefix("[fea") || lower.hasPrefix("[feb")
    }

    private mutating func access(_ node: YAMLNode) -> RolloutPlan.Access {
        var access = RolloutPlan.Access()
        access.headersFile = file(node["headersFile"])
        guard let value = node["tls"] else { return access }
        if node["url"]?.text?.hasPrefix("http://") == true {
            fail(
                "tls beside a URL of http", value.start,
                hint: "write https:// in the URL, or take tls out")
        }
        let read = upstreamTLS(value)
        var tls = RolloutPlan.TLS()
        tls.ca = read.ca
        tls.sni = read.sni
        tls.verifies = read.verifies
        tls.certificate = read.certificate?.certificate
        tls.key = read.certificate?.key
        for key in ["ca", "certificate", "key"] { _ = file(value[key]) }
        access.tls = tls
        return access
    }

    /// A file that must be there when the configuration is loaded.
    private mutating func file(_ node: YAMLNode?) -> String? {
        guard let node, let name = node.text else { return nil }
        document.rollouts?.files.append(Document.Place(text: name, mark: node.start))
        return name
    }

    // MARK: Synthetic requests

    mutating func synthetic(_ node: YAMLNode) -> RolloutPlan.Synthetic? {
        guard let place = node["path"], let path = place.text else { return nil }
        let bytes = Array(path.prefix { $0 != "?" }.utf8)
        if bytes.first != 0x2f || ASCII.pathLength(bytes.span).count != bytes.count
            || path.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f || $0 == 0x23 })
        {
            fail("\"\(path)\" is not a path", place.start, hint: pathHint(path))
        }
        var synthetic = RolloutPlan.Synthetic(path: path)
        if let headers = node["headers"] { bound(headers.entries.count, "headers", headers) }
        for entry in node["headers"]?.entries ?? [] {
            let value = entry.value.text ?? ""
            checkValue(value, entry.value.start)
            if entry.key.lowercased() != "host",
                let problem = CallSettings.problem(header: entry.key)
            {
                fail(problem.message, entry.keyStart, hint: "take it out")
            }
            synthetic.headers.append(RolloutPlan.Label(name: entry.key, value: value))
        }
        if let rate = node["rate"]?.text.flatMap(Units.decimal) { synthetic.rate = rate }
        return synthetic
    }

    // MARK: Hooks

    mutating func hooks(_ list: YAMLNode, _ plan: inout RolloutPlan) {
        bound(list.elements.count, "hooks", list)
        for element in list.elements {
            guard let call = call(element) else { continue }
            var hook = RolloutPlan.Hook(call: call)
            hook.timeout = duration(element, "timeout", hook.timeout)
            let events = element["events"], before = element["before"]
            if (events == nil) == (before == nil) {
                fail(
                    events == nil
                        ? "the hook has neither events nor before"
                        : "the hook has events and before", element.start,
                    hint: events == nil
                        ? "add events: [rolledBack, succeeded], or before: STAGE"
                        : "write two hooks: one is told, one is waited for")
            }
            for event in events?.elements ?? [] {
                let known = event.text.flatMap { RolloutPlan.Hook.Event(rawValue: $0) }
                if let known, !hook.events.contains(known) { hook.events.append(known) }
            }
            if let events, events.elements.isEmpty {
                fail(
                    "events is an empty list", events.start,
                    hint: "write [started, rolledBack, succeeded]")
            }
            if let before, let name = before.text {
                hook.before = name
                checkStage(name, before.start, plan)
            }
            if let value = element["onFailure"], let text = value.text {
                hook.onFailure = RolloutPlan.Hook.OnFailure(rawValue: text) ?? .hold
                if before == nil {
                    fail(
                        "a hook of events has no onFailure: nothing waits for it", value.start,
                        hint: "take it out, or write before: STAGE in the place of events")
                }
            }
            if let value = element["webhook"] { hook.access = access(value) }
            plan.hooks.append(hook)
        }
    }

    private mutating func call(_ node: YAMLNode) -> RolloutPlan.Hook.Call? {
        switch (node["webhook"], node["command"]) {
        case (let webhook?, nil):
            guard let url = url(webhook["url"]) else { return nil }
            let format = webhook["format"]?.text.flatMap { RolloutPlan.Hook.Format(rawValue: $0) }
            return .webhook(
                url: url, secretFile: file(webhook["secret"]), format: format ?? .sluice)
        case (nil, let command?): return .command(self.command(command))
        case (nil, nil):
            fail(
                "the hook calls nothing", node.start,
                hint: "add webhook: \(ObjectSchema.webhook.example), or command: [check.sh]")
        case (_?, _?):
            fail(
                "the hook has a webhook and a command", node.start, hint: "write two hooks")
        }
        return nil
    }
}
