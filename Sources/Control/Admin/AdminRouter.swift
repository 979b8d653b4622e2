import Base
import Configuration
import Explain
import Gzip
import JSON
import Telemetry

/// Admin requests → pages and changes. A GET never changes anything; changes are POSTs. Where a
/// token is configured, everything on the admin address but the probes' pages asks for it.
public enum AdminRouter {
    /// Answers a request from what the process is seen to be.
    public static func answer(
        to request: AdminRequest, _ process: some ProcessView
    ) -> AdminAnswer {
        switch (request.isAdmin, request.path) {
        case (_, "/ready"): return readOnly(request) { ready(process) }
        case (_, "/live"):
            return readOnly(request) {
                AdminResponse(status: 200, contentType: "text/plain", body: "live\n")
            }
        case (let isAdmin, "/metrics"), (let isAdmin, "/evidence"):
            // A scraper may name the host as it likes.
            if isAdmin, let refusal = tokenRefusal(request, process) { return .page(refusal) }
            return request.path == "/metrics" ? metrics(request) : evidence(request)
        case (true, _):
            if let refusal = refusal(request, process) ?? tokenRefusal(request, process) {
                return .page(refusal)
            }
            return admin(request, process)
        default: return .page(notFound())
        }
    }

    private static func metrics(_ request: AdminRequest) -> AdminAnswer {
        guard let query = MetricsQuery(request) else {
            return readOnly(request) { .error(400, MetricsQuery.advice) }
        }
        return work(request, .metrics(query))
    }

    private static func admin(
        _ request: AdminRequest, _ process: some ProcessView
    ) -> AdminAnswer {
        switch request.path {
        case "/": return readOnly(request) { index() }
        case "/config": return work(request, .configuration(onDisk: nil))
        case "/clusters": return work(request, .clusters)
        case "/connections": return readOnly(request) { .json(AdminViews.connections(process)) }
        case "/explain": return work(request, .explanation(query: request.query))
        case "/weights": return weights(request, process)
        case "/weights/follow": return follow(request, process)
        case "/weights/export":
            guard let service = parameters(request)?.service else {
                return readOnly(request) { .error(400, "use /weights/export?service=NAME") }
            }
            return work(request, .weightLines(service: service))
        case "/reload":
            if request.method == "POST" { return .change(.reload) }
            return readOnly(request) { .json(AdminViews.reload(process)) }
        case "/drain": return drain(request, process)
        case "/log": return logLevel(request, process)
        case "/guard/reset": return resetGuard(request, process)
        case _ where request.path == "/rollouts" || request.path.hasPrefix("/rollouts/"):
            return RolloutRouter.answer(request, process)
        default: return .page(notFound())
        }
    }

    /// Makes a page. Any thread may, of a view that it has to itself.
    public static func make(_ page: AdminPage, _ process: some ProcessView) -> AdminResponse {
        switch page {
        case .metrics(let query): return metricsPage(query, process)
        case .clusters: return .json(AdminViews.clusters(process))
        case .evidence(isText: true):
            return AdminResponse(
                status: 200, contentType: "text/plain", body: EvidencePage.text(process))
        case .evidence(isText: false): return EvidencePage.response(process)
        case .configuration(let onDisk):
            return .json(AdminViews.configuration(process, onDisk: onDisk))
        case .explanation(let query): return explain(query, process)
        case .weights(let asText): return WeightsPage.answer(asText: asText, process)
        case .weightLines(let service): return WeightsPage.export(service, process)
        case .rollouts(let name, let kind, let asText):
            return RolloutPage.answer(name, kind, asText: asText, process)
        }
    }

    private static func metricsPage(
        _ query: MetricsQuery, _ process: some ProcessView
    ) -> AdminResponse {
        let text = MetricsPage.text(process, query)
        var response = AdminResponse(
            status: 200, contentType: PrometheusText.contentType(query.format), bytes: [])
        response.vary = "accept, accept-encoding"
        // Where memory is short the page goes as it is.
        if query.isCompressed, let small = Gzip.compressed(text.readable) {
            response.content = AdminContent(small)
            response.contentEncoding = "gzip"
        } else {
            response.content = AdminContent(text.bytes)
        }
        return response
    }

    // MARK: Guards

    /// DNS rebinding: a page in a browser must not reach a loopback endpoint by a name of its own.
    private static func refusal(
        _ request: AdminRequest, _ process: some ProcessView
    ) -> AdminResponse? {
        if request.field("origin") != nil {
            return .error(403, "requests from web pages are refused")
        }
        let host = (request.field("host") ?? "").lowercased()
        let name =
            host.hasPrefix("[")
            ? String(host.prefix { $0 != "]" }) + "]"
            : String(host.prefix { $0 != ":" })
        let isAddress = name.hasPrefix("[") || name.allSatisfy { $0.isNumber || $0 == "." }
        if request.isLoopback, name != "localhost", !isAddress {
            return .error(403, "the Host of an admin request is localhost or an address")
        }
        return nil
    }

    /// Whoever shows no token is asked for one, and whoever shows a wrong one is too.
    private static func tokenRefusal(
        _ request: AdminRequest, _ process: some ProcessView
    ) -> AdminResponse? {
        guard !process.tokens.isEmpty else { return nil }
        guard let key = key(of: request, process) else {
            return .error(
                401,
                "this address needs the token of admin.token, or one of admin.tokens, as "
                    + "Authorization: Bearer …; /live and /ready do not")
        }
        let right = wanted(request)
        if key.may(right) { return nil }
        return .error(
            403,
            "the token \(key.name ?? "admin.token") may "
                + key.rights.map(\.rawValue).joined(separator: ", ")
                + "; \(request.method) \(request.path) wants may: [\(right.rawValue)] of its entry "
                + "in admin.tokens of the file")
    }

    /// The token that a request shows; `nil`: none that is known.
    static func key(of request: AdminRequest, _ process: some ProcessView) -> AdminKey? {
        // The name of a scheme has no case (RFC 9110 §11.1).
        let parts = (request.field("authorization") ?? "").split(
            separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        // Each is compared, so that the time does not tell which one was nearly right.
        return process.tokens.filter { same(String(parts[1]), $0.token) }.first
    }

    /// The right that a request wants.
    private static func wanted(_ request: AdminRequest) -> Document.AdminRight {
        if request.method == "GET" || request.method == "HEAD" { return .read }
        switch request.path {
        case "/rollouts/pause", "/rollouts/resume": return .pause
        case "/rollouts/approve", "/rollouts/look": return .approve
        case "/rollouts/abort": return .abort
        default: return .all
        }
    }

    /// Compares without telling by time where two texts differ.
    private static func same(_ a: String, _ b: String) -> Bool {
        let x = Array(a.utf8), y = Array(b.utf8)
        guard x.count == y.count else { return false }
        return zip(x, y).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static func readOnly(
        _ request: AdminRequest, _ body: () -> AdminResponse
    ) -> AdminAnswer {
        request.method == "GET" || request.method == "HEAD"
            ? .page(body()) : .page(.error(405, "\(request.path) is read with GET"))
    }

    private static func work(_ request: AdminRequest, _ page: AdminPage) -> AdminAnswer {
        request.method == "GET" || request.method == "HEAD"
            ? .work(page) : .page(.error(405, "\(request.path) is read with GET"))
    }

    private static func notFound() -> AdminResponse {
        .error(404, "there is no such page; GET / on the admin address lists them")
    }

    // MARK: Pages

    private static func index() -> AdminResponse {
        AdminResponse(
            status: 200, contentType: "text/plain",
            body: """
                GET  /config       the configuration in force, its hash and generation
                GET  /clusters     services, versions, endpoints and their state
                GET  /connections  connections and exchanges by worker, and listeners
                GET  /explain      ?method=GET&url=http://host/path&header=name:value
                GET  /evidence     what each version did, by epoch; ?format=text for people
                GET  /weights      shares of versions, and where they come from; ?format=text
                POST /weights      ?service=NAME&weight=v1=80%25&weight=v2=20%25: over the file's
                POST /weights/follow  ?service=NAME takes the file's weights again
                GET  /weights/export  ?service=NAME: the lines to commit to the file
                GET  /metrics      Prometheus text, OpenMetrics by Accept; ?use=istio: a part of it
                GET  /ready /live  for probes
                POST /reload       read the configuration file again; GET says how far it is
                POST /drain        stop being ready, then finish and exit
                GET  /log          the log level; POST /log?level=debug changes it
                POST /guard/reset  ?service=NAME: let its versions in again that the guard took out
                GET  /rollouts     state of all rollouts, or of ?name=NAME; ?format=text for people
                GET  /rollouts/history /rollouts/verify /rollouts/explain /rollouts/plan  ?name=NAME
                POST /rollouts/start   ?name=NAME; and approve, pause, resume, abort, retry, skip,
                                   finish, look

                """)
    }

    private static func evidence(_ request: AdminRequest) -> AdminAnswer {
        switch request.query {
        case "", "format=json": return work(request, .evidence(isText: false))
        case "format=text": return work(request, .evidence(isText: true))
        default: return .page(.error(400, "use /evidence, or /evidence?format=text"))
        }
    }

    private static func ready(_ process: some ProcessView) -> AdminResponse {
        if let reason = process.notReadyReason {
            return AdminResponse(status: 503, contentType: "text/plain", body: reason + "\n")
        }
        return AdminResponse(status: 200, contentType: "text/plain", body: "ready\n")
    }

    private static func explain(_ text: String, _ process: some ProcessView) -> AdminResponse {
        var query = ExplainQuery(method: "GET", url: "")
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { continue }
            let value = ExplainQuery.decoded(String(parts[1]))
            switch parts[0] {
            case "method": query.method = value
            case "url": query.url = value
            case "header": query.headers.append(value)
            case "listener": query.listener = value
            default: return .error(400, "explain knows method, url, header and listener")
            }
        }
        let metrics = process.metrics
        let ground = ExplainGround(
            snapshot: process.snapshot, file: process.path,
            listenerNumber: { metrics.listener($0) }, now: process.now, wall: process.wall,
            sources: process.weights.overlayPath == nil ? [] : process.weights.sources,
            zones: process.zones)
        switch Explainer.explain(query, ground) {
        case .success(let explanation): return .json(explanation.json)
        case .failure(let failure): return .error(400, failure.text)
        }
    }

    // MARK: Weights

    /// The query of a change of weights, understood.
    private struct WeightParameters {
        var service = ""
        var weights: [AdminChange.GivenWeight] = []
        var options = AdminChange.WeightsOptions()
    }

    /// - Returns: `nil` for a query that says something else, or names no service.
    private static func parameters(_ request: AdminRequest) -> WeightParameters? {
        var found = WeightParameters()
        for pair in request.query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { return nil }
            let value = ExplainQuery.decoded(String(parts[1]))
            switch parts[0] {
            case "service": found.service = value
            case "force": found.options.isForced = value == "1"
            case "resetGuard": found.options.resetsGuard = value == "1"
            case "weight":
                let given = value.split(separator: "=", maxSplits: 1)
                guard given.count == 2 else { return nil }
                found.weights.append(
                    .init(version: String(given[0]), weight: String(given[1])))
            default: return nil
            }
        }
        return found.service.isEmpty ? nil : found
    }

    private static func weights(
        _ request: AdminRequest, _ process: some ProcessView
    ) -> AdminAnswer {
        guard request.method == "POST" else {
            guard ["", "format=text", "format=json"].contains(request.query) else {
                return readOnly(request) { .error(400, "use /weights, or /weights?format=text") }
            }
            return work(request, .weights(asText: request.query == "format=text"))
        }
        guard let found = parameters(request) else {
            return .page(
                .error(400, "use /weights?service=NAME&weight=v1=80%25&weight=v2=20%25"))
        }
        if let refusal = RolloutRouter.refusal(
            "a change of the weights", ofService: found.service, request, process)
        {
            return .page(refusal)
        }
        return .change(
            .setWeights(service: found.service, found.weights, found.options))
    }

    private static func follow(
        _ request: AdminRequest, _ process: some ProcessView
    ) -> AdminAnswer {
        guard request.method == "POST" else {
            return .page(.error(405, "/weights/follow is a change: use POST"))
        }
        guard let found = parameters(request), found.weights.isEmpty else {
            return .page(.error(400, "use /weights/follow?service=NAME"))
        }
        if let refusal = RolloutRouter.refusal(
            "a change of the weights", ofService: found.service, request, process)
        {
            return .page(refusal)
        }
        return .change(.followFile(service: found.service, found.options))
    }

    // MARK: Changes, and what they change

    private static func drain(
        _ request: AdminRequest, _ process: some ProcessView
    ) -> AdminAnswer {
        switch request.method {
        case "POST": return .change(.drain)
        case "GET": return .page(drainPage(process))
        default: return .page(.error(405, "use GET or POST"))
        }
    }

    /// How far a drain is; also the answer to the change that begins it.
    public static func drainPage(_ process: some ProcessView) -> AdminResponse {
        .json(
            .object([
                ("draining", .bool(process.isDraining)),
                ("connections", .integer(process.openConnections)),
            ]))
    }

    private static func logLevel(
        _ request: AdminRequest, _ process: some ProcessView
    ) -> AdminAnswer {
        guard request.method == "POST" else { return .page(logPage(process.logLevel)) }
        let parts = request.query.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, parts[0] == "level",
            let level = Document.LogLevel(rawValue: String(parts[1]))
        else { return .page(.error(400, "use /log?level=debug, info, warning or error")) }
        return .change(.logLevel(level))
    }

    private static func resetGuard(
        _ request: AdminRequest, _ process: some ProcessView
    ) -> AdminAnswer {
        guard request.method == "POST" else {
            return .page(.error(405, "/guard/reset is a change: use POST"))
        }
        let parts = request.query.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, parts[0] == "service" else {
            return .page(.error(400, "use /guard/reset?service=NAME"))
        }
        let name = ExplainQuery.decoded(String(parts[1]))
        guard process.snapshot.value.document.services.contains(where: { $0.name == name }) else {
            return .page(.error(404, "there is no service \"\(name)\" in force"))
        }
        if let refusal = RolloutRouter.refusal(
            "a reset of the guard", ofService: name, request, process)
        {
            return .page(refusal)
        }
        return .change(.resetGuard(service: name))
    }

    /// The answer to a reset of the guard.
    /// - Parameter versions: those that were out.
    public static func guardPage(service: String, versions: [String]) -> AdminResponse {
        .json(
            .object([
                ("service", .string(service)), ("reset", .array(versions.map { .string($0) })),
            ]))
    }

    /// The log level; also the answer to a change of it.
    public static func logPage(_ level: Document.LogLevel) -> AdminResponse {
        .json(.object([("level", .string(level.rawValue))]))
    }
}
