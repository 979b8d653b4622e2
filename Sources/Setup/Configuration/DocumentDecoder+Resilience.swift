import Base
import HTTPSemantics
import Judge
import Routing
import Telemetry
import Upstream
import YAML

extension DocumentDecoder {
    // MARK: Health

    mutating func healthCheck(
        _ node: YAMLNode, _ service: Document.Service
    ) -> Document.HealthCheck? {
        var check = Document.HealthCheck()
        let given = ["path", "tcp", "grpc"].filter { node[$0] != nil }
        guard given.count == 1 else {
            fail(
                "healthCheck needs one of path, tcp, grpc", node.start,
                hint: given.isEmpty ? "add path: /healthz" : "keep one of them")
            return nil
        }
        switch given[0] {
        case "path":
            check.policy.kind = .http
            check.path = node["path"]?.text ?? ""
            checkTarget(node["path"])
        case "tcp": check.policy.kind = .tcp
        default:
            check.policy.kind = .grpc
            check.grpcService = node["grpc"]?.text ?? ""
            if service.protocol == .http1 {
                fail(
                    "healthCheck.grpc needs protocol: http2", node.start,
                    hint: "gRPC does not go over HTTP/1.1; add protocol: http2 to the service, or "
                        + "check with path: or tcp: true")
            }
            if check.grpcService.utf8.count > 200 {
                fail("healthCheck.grpc has more than 200 bytes", node.start)
            }
        }
        if let host = node["host"] { checkHost(host) }
        check.host = node["host"]?.text
        if let statuses = node["statuses"] { self.statuses(statuses, &check.policy) }
        check.policy.interval = duration(node, "interval", check.policy.interval)
        check.policy.timeout = duration(node, "timeout", check.policy.timeout)
        check.policy.healthyThreshold = number(
            node, "healthyThreshold", check.policy.healthyThreshold)
        check.policy.unhealthyThreshold = number(
            node, "unhealthyThreshold", check.policy.unhealthyThreshold)
        if check.policy.timeout > check.policy.interval {
            warn(
                "healthCheck.timeout is longer than its interval", node.start,
                hint: "a check that hangs delays the next")
        }
        return check
    }

    /// A path, perhaps with a query.
    private mutating func checkTarget(_ node: YAMLNode?) {
        guard let node, let text = node.text else { return }
        let isVisible = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x23 }
        if !text.hasPrefix("/") || !isVisible {
            fail(
                "\"\(text)\" is not a path", node.start,
                hint: text.hasPrefix("/")
                    ? "a path starts with / and has no space or control character"
                    : pathHint(text))
        }
    }

    private mutating func statuses(_ node: YAMLNode, _ policy: inout HealthCheckPolicy) {
        let parts = (node.text ?? "").split(separator: "-", omittingEmptySubsequences: false)
            .map { UInt16($0) }
        guard let first = parts.first, let low = first, let last = parts.last, let high = last,
            parts.count <= 2, (100...599).contains(low), (low...599).contains(high)
        else {
            return fail(
                "healthCheck.statuses is \"\(node.text ?? "")\", expected a status or a range "
                    + "such as 200-299", node.start,
                hint: "write \(statusRange(node.text ?? ""))")
        }
        policy.statusMin = low
        policy.statusMax = high
    }

    /// `2xx` as a range; the usual one for other texts.
    private func statusRange(_ text: String) -> String {
        guard text.lowercased().hasSuffix("xx"), text.count == 3, let digit = text.first,
            "12345".contains(digit)
        else { return "200-299" }
        return "\(digit)00-\(digit)99"
    }

    mutating func outlierDetection(_ node: YAMLNode, _ service: inout Document.Service) {
        var policy = OutlierPolicy()
        policy.errorsInARowMax = number(
            node, "consecutive5xx", policy.errorsInARowMax, off: 0)
        policy.gatewayErrorsInARowMax = number(
            node, "consecutiveGatewayErrors", policy.gatewayErrorsInARowMax, off: 0)
        policy.localFailuresInARowMax = number(
            node, "consecutiveLocalOriginFailures", policy.localFailuresInARowMax, off: 0)
        policy.interval = duration(node, "interval", policy.interval)
        policy.baseEjectionTime = duration(node, "baseEjectionTime", policy.baseEjectionTime)
        policy.maxEjectionTime = duration(node, "maxEjectionTime", policy.maxEjectionTime)
        policy.maxEjectionPercent = number(node, "maxEjectionPercent", policy.maxEjectionPercent)
        if let rate = node["successRate"] {
            var success = SuccessRatePolicy()
            success.endpointsMin = number(rate, "minEndpoints", success.endpointsMin)
            success.requestsMin = number(rate, "minRequests", success.requestsMin)
            success.deviations = number(rate, "stdevFactor", success.deviations)
            policy.successRate = success
        }
        service.outlier = policy
        service.healthyPercentMin = number(node, "minHealthPercent", 0)
    }

    mutating func warmup(_ node: YAMLNode) -> Warmup? {
        let length = node.text.map(Units.limit) ?? duration(node, "duration", .unlimited)
        // Without a limit it would never end: off, or 0s.
        if length.isUnlimited { return nil }
        var warmup = Warmup(duration: length)
        warmup.shareMin = number(node, "minimumPercent", 10) * 100
        return warmup
    }

    // MARK: Errors of a version

    mutating func versionErrors(_ node: YAMLNode) -> VersionErrors {
        var errors = VersionErrors(serverErrors: false, noAnswer: false, calls: [])
        for element in node.elements {
            switch element.text {
            case "5xx": errors.takesServerErrors = true
            case "no-answer": errors.takesNoAnswer = true
            case "grpc": for status in VersionErrors.serverCalls { errors.insert(call: status) }
            case let name?:
                guard let i = ObjectSchema.callStatuses.firstIndex(of: name) else { continue }
                errors.insert(call: UInt8(i + 1))
            case nil: break
            }
        }
        if node.elements.isEmpty {
            fail(
                "errors is an empty list: no version could ever be found to be bad", node.start,
                hint: "write errors: [5xx, no-answer, grpc], or leave it out")
        }
        return errors
    }

    mutating func guardPolicy(_ node: YAMLNode, _ service: inout Document.Service) {
        guard node.text != "off" else { return }
        service.guardRatio = number(node, "ratio", Int(Guard.ratio))
        if service.versions.count < 2 {
            warn(
                "the guard of \"\(service.name)\" has nothing to do: there is one version",
                node.start, hint: "add a second version, or take guard out")
        }
    }

    // MARK: Retries

    /// - Parameter otherwise: what holds for keys that are left out.
    mutating func retries(_ node: YAMLNode, _ otherwise: RetryPolicy) -> RetryPolicy {
        if node.text == "off" { return .off }
        var policy = otherwise
        policy.retriesMax = UInt8(clamping: number(node, "attempts", Int(policy.retriesMax)))
        if let list = node["on"] {
            policy.conditions = []
            policy.codes = RetryPolicy.Codes()
            for element in list.elements { condition(element, &policy) }
            if list.elements.isEmpty, policy.retriesMax > 0 {
                fail("retries.on is an empty list", list.start, hint: "write retries: off")
            }
        }
        if let methods = node["methods"] { policy.repeatsAllMethods = methods.text == "all" }
        policy.backoff.base = duration(node, "backoff", policy.backoff.base)
        policy.backoff.longest = duration(
            node, "maxBackoff", max(policy.backoff.base, policy.backoff.longest))
        if policy.backoff.longest < policy.backoff.base, let value = node["maxBackoff"] {
            fail(
                "retries.maxBackoff is shorter than backoff", value.start,
                hint: "write maxBackoff: \(Units.text(policy.backoff.base)), or longer")
        }
        policy.retryAfterMax = duration(node, "maxRetryAfter", policy.retryAfterMax)
        policy.bodyBytesMax = bodyBytes(node, "retries", policy.bodyBytesMax)
        if policy.repeatsAllMethods, policy.retriesMax > 0, policy.repeatsSent {
            warn(
                "retries repeats methods that are not idempotent", (node["methods"] ?? node).start,
                hint: "an order may be placed twice; methods: idempotent does not do that")
        }
        return policy.retriesMax == 0 ? .off : policy
    }

    private func condition(_ node: YAMLNode, _ policy: inout RetryPolicy) {
        switch node.text {
        case "connect-failure": policy.conditions.insert(.connectFailure)
        case "refused-stream": policy.conditions.insert(.refusedStream)
        case "reset": policy.conditions.insert(.reset)
        case "gateway-error": policy.conditions.insert(.gatewayError)
        case "5xx": policy.conditions.insert(.serverError)
        case "retriable-4xx": policy.conditions.insert(.retriable4xx)
        case "cancelled": policy.conditions.insert(.cancelled)
        case "deadline-exceeded": policy.conditions.insert(.deadlineExceeded)
        case "internal": policy.conditions.insert(.internal)
        case "resource-exhausted": policy.conditions.insert(.resourceExhausted)
        case "unavailable": policy.conditions.insert(.unavailable)
        default: if let code = node.text.flatMap({ UInt16($0) }) { policy.codes.insert(code) }
        }
    }

    mutating func retryBudget(_ node: YAMLNode) {
        guard node.text != "off" else { return }
        if node["budget"]?.text == "unlimited" {
            document.retryBudget = nil
            return
        }
        var budget = RetryBudget()
        budget.perRequest = node["budget"]?.text.flatMap(Units.share) ?? budget.perRequest
        budget.perSecond = number(node, "minPerSecond", budget.perSecond)
        document.retryBudget = budget
    }

    // MARK: Faults, mirrors, rate limits

    mutating func fault(_ node: YAMLNode) -> Document.Fault {
        var fault = Document.Fault()
        if let delay = node["delay"] {
            fault.delay = Document.Fault.Delay(
                time: duration(delay, "time", .seconds(1)), share: share(delay))
        }
        if let abort = node["abort"] {
            let status = abort["status"]?.text.flatMap { UInt16($0) }
            let grpc = abort["grpcStatus"]?.text.flatMap { UInt8($0) }
            if status == nil, grpc == nil {
                fail("abort has no status", abort.start, hint: "add status: 503")
            }
            fault.abort = Document.Fault.Abort(
                status: status ?? GRPC.httpStatus(for: grpc ?? 14), grpcStatus: grpc,
                share: share(abort))
        }
        fault.isByHeader = node["byHeader"]?.text == "allow"
        if fault.delay == nil, fault.abort == nil, !fault.isByHeader {
            fail(
                "fault does nothing", node.start, hint: "give it delay:, abort: or byHeader: allow")
        }
        return fault
    }

    mutating func mirror(_ node: YAMLNode, _ name: String) -> Document.Mirror? {
        guard let to = node["to"] else { return nil }
        guard case .forward(let service, let named, _)? = forward(node) else { return nil }
        guard let version = named ?? onlyVersion(service) else {
            fail(
                "mirror names no version of \"\(document.services[service].name)\"", to.start,
                hint: "write \(document.services[service].name)/"
                    + document.services[service].versions[0].name)
            return nil
        }
        var mirror = Document.Mirror(service: service, version: version, share: share(node))
        mirror.bodyBytesMax = bodyBytes(node, "mirror", mirror.bodyBytesMax)
        if let pool = node["connectionPool"] {
            mirror.limits = self.pool(pool, Document.Mirror.defaultLimits)
        }
        return mirror
    }

    private func onlyVersion(_ service: Int) -> Int? {
        document.services[service].versions.count == 1 ? 0 : nil
    }

    mutating func rateLimit(_ node: YAMLNode) -> Document.RateLimit {
        let requests = number(node, "requests", 1)
        let per = duration(node, "per", .seconds(1))
        let burst = number(node, "burst", requests)
        var key = Document.RateLimit.Key.none
        if let by = node["by"] {
            if by.text == "address" {
                key = .address
            } else {
                let header = by["header"]?.text, cookie = by["cookie"]?.text
                if (header == nil) == (cookie == nil) {
                    fail(
                        "rateLimit.by needs a header or a cookie", by.start,
                        hint: "write \(ObjectSchema.hashKey.example), or address")
                } else if !SchemaChecker.isToken(header ?? cookie ?? "") {
                    fail("\"\(header ?? cookie ?? "")\" is no header or cookie name", by.start)
                }
                key = header.map { .header($0) } ?? .cookie(cookie ?? "")
            }
        } else if let keys = node["maxKeys"] {
            fail(
                "maxKeys without by", keys.start,
                hint:
                    "add by: address, which says what has a bucket of its own, or take maxKeys out")
        }
        if per > .zero, per.nanoseconds / Int64(requests) < 1, let value = node["requests"] {
            fail(
                "rateLimit.requests is above a billion a second", value.start,
                hint: "take rateLimit out: no machine serves so many")
        }
        let keys = key == .none ? 0 : number(node, "maxKeys", 10_000)
        return Document.RateLimit(
            policy: RateLimitPolicy(requests: requests, per: per, burst: burst, keysMax: keys),
            key: key)
    }

    // MARK: Values

    private func share(_ node: YAMLNode) -> Int {
        node["share"]?.text.flatMap(Units.share) ?? 10_000
    }

    private func number(
        _ node: YAMLNode, _ key: String, _ otherwise: Int, off: Int? = nil
    ) -> Int {
        guard let text = node[key]?.text else { return otherwise }
        return Int(text) ?? off ?? otherwise
    }

    private mutating func bodyBytes(_ node: YAMLNode, _ name: String, _ otherwise: Int) -> Int {
        guard let value = node["bodyBytes"], let bytes = value.text.flatMap(Units.size) else {
            return otherwise
        }
        if bytes > 16 << 20 {
            fail(
                "\(name).bodyBytes is \"\(value.text ?? "")\", expected at most 16MiB", value.start)
        }
        return bytes
    }
}
