import Base
import Configuration
import HTTP1
import Platform
import Resolver
import Telemetry

/// Admin requests → responses. A GET never changes anything; changes are POSTs, with the token when
/// one is configured.
enum AdminRouter {
    /// - Returns: the answer; `nil` when it comes later, by the ticket.
    static func respond(
        to request: AdminRequest, control: ControlLoop, ticket: UInt64
    ) -> AdminResponse? {
        switch (request.isAdmin, request.path) {
        case (_, "/metrics"): return readOnly(request) { metrics(request, control) }
        case (_, "/ready"): return readOnly(request) { ready(control) }
        case (_, "/live"):
            return readOnly(request) {
                AdminResponse(status: 200, contentType: "text/plain", body: "live\n")
            }
        case (true, _):
            if let refusal = refusal(request, control) { return refusal }
            if request.path == "/reload", request.method == "POST" {
                control.askForReload(cause: "admin", ticket: ticket)
                return nil
            }
            if request.path == "/config", ["GET", "HEAD"].contains(request.method) {
                return control.describeConfiguration(ticket: ticket)
            }
            return admin(request, control)
        default: return notFound()
        }
    }

    private static func admin(_ request: AdminRequest, _ control: ControlLoop) -> AdminResponse {
        switch request.path {
        case "/": return readOnly(request) { index() }
        case "/clusters": return readOnly(request) { json(AdminViews.clusters(control)) }
        case "/connections": return readOnly(request) { json(AdminViews.connections(control)) }
        case "/explain": return readOnly(request) { explain(request, control) }
        // GET and POST of these two are answered before.
        case "/config": return error(405, "\(request.path) is read with GET")
        case "/reload": return error(405, "\(request.path) is a change: use POST")
        case "/drain": return drain(request, control)
        case "/log": return logLevel(request, control)
        default: return notFound()
        }
    }

    // MARK: Guards

    /// DNS rebinding: a page in a browser must not reach a loopback endpoint by a name of its own.
    private static func refusal(
        _ request: AdminRequest, _ control: ControlLoop
    ) -> AdminResponse? {
        if request.field("origin") != nil {
            return error(403, "requests from web pages are refused")
        }
        let host = (request.field("host") ?? "").lowercased()
        let name =
            host.hasPrefix("[")
            ? String(host.prefix { $0 != "]" }) + "]"
            : String(host.prefix { $0 != ":" })
        let isAddress = name.hasPrefix("[") || name.allSatisfy { $0.isNumber || $0 == "." }
        if request.isLoopback, name != "localhost", !isAddress {
            return error(403, "the Host of an admin request is localhost or an address")
        }
        if request.method == "POST", let token = control.admin.token,
            !same(request.field("authorization") ?? "", "Bearer " + token)
        {
            return error(401, "a change needs the admin token as Authorization: Bearer …")
        }
        return nil
    }

    /// Compares without telling by time where two texts differ.
    private static func same(_ a: String, _ b: String) -> Bool {
        let x = Array(a.utf8), y = Array(b.utf8)
        guard x.count == y.count else { return false }
        return zip(x, y).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static func readOnly(
        _ request: AdminRequest, _ body: () -> AdminResponse
    ) -> AdminResponse {
        request.method == "GET" || request.method == "HEAD"
            ? body() : error(405, "\(request.path) is read with GET")
    }

    static func error(_ status: UInt16, _ message: String) -> AdminResponse {
        AdminResponse(
            status: status, body: JSONText.object([("error", .string(message))]).text() + "\n")
    }

    private static func json(_ value: JSONText) -> AdminResponse {
        AdminResponse(status: 200, body: value.text() + "\n")
    }

    private static func notFound() -> AdminResponse {
        error(404, "there is no such page; GET / on the admin address lists them")
    }

    // MARK: Pages

    private static func index() -> AdminResponse {
        AdminResponse(
            status: 200, contentType: "text/plain",
            body: """
                GET  /config       the configuration in force, its hash and generation
                GET  /clusters     services, versions, endpoints and their state
                GET  /connections  connections and exchanges by worker
                GET  /explain      ?method=GET&url=http://host/path&header=name:value
                GET  /metrics      Prometheus text, OpenMetrics by Accept
                GET  /ready /live  for probes
                POST /reload       read the configuration file again
                POST /drain        stop being ready, then finish and exit
                GET  /log          the log level; POST /log?level=debug changes it

                """)
    }

    private static func metrics(
        _ request: AdminRequest, _ control: ControlLoop
    ) -> AdminResponse {
        let format = PrometheusText.format(accept: request.field("accept") ?? "")
        return AdminResponse(
            status: 200, contentType: PrometheusText.contentType(format),
            body: MetricsPage.text(control, format: format))
    }

    private static func ready(_ control: ControlLoop) -> AdminResponse {
        if let reason = control.readiness.reason(control) {
            return AdminResponse(status: 503, contentType: "text/plain", body: reason + "\n")
        }
        return AdminResponse(status: 200, contentType: "text/plain", body: "ready\n")
    }

    private static func explain(
        _ request: AdminRequest, _ control: ControlLoop
    ) -> AdminResponse {
        var query = ExplainQuery(method: "GET", url: "")
        for pair in request.query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { continue }
            let value = ExplainQuery.decoded(String(parts[1]))
            switch parts[0] {
            case "method": query.method = value
            case "url": query.url = value
            case "header": query.headers.append(value)
            case "listener": query.listener = value
            default: return error(400, "explain knows method, url, header and listener")
            }
        }
        let snapshot = control.group.cell.retained()
        defer { snapshot.release() }
        switch Explainer.explain(
            query, snapshot, control.registry.metrics, path: control.file.path)
        {
        case .success(let explanation): return json(explanation.json)
        case .failure(let failure): return error(400, failure.text)
        }
    }

    // MARK: Changes

    /// The configuration in force.
    /// - Parameter onDisk: the hash of the file as it is now; `nil` when nobody knows.
    static func configuration(_ control: ControlLoop, onDisk: String?) -> AdminResponse {
        json(AdminViews.configuration(control, onDisk: onDisk))
    }

    /// The answer to those who asked for a reload.
    static func reloaded(_ outcome: ReloadOutcome) -> AdminResponse {
        switch outcome {
        case .accepted(let generation, let hash):
            return json(
                .object([
                    ("result", .string("accepted")), ("generation", .integer(Int(generation))),
                    ("hash", .string(hash)),
                ]))
        case .rejected(let text):
            var response = json(
                .object([("result", .string("rejected")), ("error", .string(text))]))
            response.status = 409
            return response
        }
    }

    private static func drain(_ request: AdminRequest, _ control: ControlLoop) -> AdminResponse {
        if request.method == "POST" { control.beginDrain(cause: "admin") }
        guard request.method == "POST" || request.method == "GET" else {
            return error(405, "use GET or POST")
        }
        return json(
            .object([
                ("draining", .bool(control.drain.isUnderWay)),
                ("connections", .integer(control.openConnections)),
            ]))
    }

    private static func logLevel(
        _ request: AdminRequest, _ control: ControlLoop
    ) -> AdminResponse {
        if request.method == "POST" {
            let parts = request.query.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[0] == "level",
                let level = Document.LogLevel(rawValue: String(parts[1]))
            else { return error(400, "use /log?level=debug, info, warning or error") }
            control.log.level = level
        }
        return json(.object([("level", .string(control.log.level.rawValue))]))
    }
}
