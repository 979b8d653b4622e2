import Base
import Configuration
import HTTP1
import HTTPSemantics
import JSON
import Routing
import Upstream

/// A request to be explained.
public struct ExplainQuery: Sendable {
    public var method: String
    /// `http://host/path` or a path.
    public var url: String
    /// `name: value` each.
    public var headers: [String] = []
    /// The listener that it comes in at; otherwise one that speaks the URL's scheme.
    public var listener: String?

    /// The scheme that the URL says; `nil` for a path.
    var scheme: RequestScheme? {
        RequestScheme.allCases.first { url.hasPrefix($0.rawValue + "://") }
    }

    public init(method: String, url: String) {
        self.method = method
        self.url = url
    }

    /// A query parameter's text without its percent-encoding.
    package static func decoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        let source = Array(text.utf8)
        var i = 0
        while i < source.count {
            if source[i] == 0x25, i + 2 < source.count, let high = ASCII.hex(source[i + 1]),
                let low = ASCII.hex(source[i + 2])
            {
                bytes.append(high << 4 | low)
                i += 3
            } else {
                bytes.append(source[i] == 0x2b ? 0x20 : source[i])
                i += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The data plane's decisions about a request, and the reasons for them.
public struct Explanation: Sendable {
    public var json: JSONText
    public var text: String
}

/// The ground that an explanation stands on: a configuration, and the time at which it is asked.
public struct ExplainGround {
    public var snapshot: SharedBox<Snapshot>
    /// The configuration file's path, for places in it.
    public var file: String
    /// The number of a listener in the snapshot, by its name.
    public var listenerNumber: (String) -> Int
    public var now: Instant
    public var wall: WallTime
    /// Where the services' weights come from, in the document's order; empty where they can only
    /// be the file's.
    public var sources: [OverlayMerge.Source] = []
    /// The time zones of the plans' windows.
    public var zones: PlanZones

    public init(
        snapshot: SharedBox<Snapshot>, file: String, listenerNumber: @escaping (String) -> Int,
        now: Instant, wall: WallTime, sources: [OverlayMerge.Source] = [],
        zones: PlanZones = PlanZones()
    ) {
        self.sources = sources
        self.zones = zones
        self.snapshot = snapshot
        self.file = file
        self.listenerNumber = listenerNumber
        self.now = now
        self.wall = wall
    }
}

/// Explains decisions with the very tables that make them.
public enum Explainer {
    /// Why there is nothing to explain; the text says what to do.
    public struct Failure: Error, Sendable { public let text: String }

    /// Says what the data plane would do with a request, and why. Nothing is drawn, counted or
    /// otherwise changed by it.
    public static func explain(
        _ query: ExplainQuery, _ ground: ExplainGround
    ) -> Result<Explanation, Failure> {
        let snapshot = ground.snapshot
        var head = RequestHead(fieldCountMax: 1_000)
        let bytes = message(query)
        var parser = RequestHeadParser()
        do throws(HTTP1Violation) {
            guard
                case .complete = try parser.parse(
                    bytes.span, into: &head, limits: HeadLimits(fieldCountMax: 1_000))
            else { return .failure(Failure(text: "this is not a whole request")) }
        } catch {
            return .failure(
                Failure(text: "the request would be refused with \(error.status): \(error.cause)"))
        }
        let document = snapshot.value.document
        let listener: Document.Listener
        switch self.listener(of: query, document) {
        case .success(let found): listener = found
        case .failure(let failure): return .failure(failure)
        }
        // The same function that the data plane asks, with this machine in the client's place.
        let origin = RequestOrigin(
            head, bytes.span, peer: .ipv4(127, 0, 0, 1, port: 0), isSecure: listener.tls != nil,
            trustedHops: snapshot.value.settings.trustedHops)
        let arrival = Arrival(
            listener: ground.listenerNumber(listener.name), scheme: origin.isSecure ? .https : .http
        )
        var steps = Steps(ground)
        // Host and path in the data plane's own form.
        var key = MatchKey()
        guard
            key.take(
                head, bytes.span, looksAtHost: true,
                normalizesPaths: snapshot.value.settings.normalizesPaths)
        else {
            return .failure(Failure(text: "the request would be refused with 400: bad-path"))
        }
        let host = copy(key.host), path = copy(key.path(in: bytes.span))
        steps.request(query, host: host, path: path)
        steps.listener(
            listener, arrival.scheme, isOpen: !snapshot.value.table.looksAtArrival,
            isGiven: query.listener != nil)
        let table = matchTable(snapshot, head, bytes, host, path, arrival, &steps)
        guard let route = table else {
            steps.noRoute()
            return .success(steps.finish())
        }
        steps.winner(route, snapshot)
        let forms = ExplainedForms(bytes: bytes, host: host, path: path, origin: origin)
        decide(route, ground, head, forms, &steps)
        return .success(steps.finish())
    }

    /// The listener that is asked for, or the first that speaks the URL's scheme.
    private static func listener(
        of query: ExplainQuery, _ document: Document
    ) -> Result<Document.Listener, Failure> {
        let all = document.listeners
        if let name = query.listener {
            if let found = all.first(where: { $0.name == name }) { return .success(found) }
            return .failure(
                Failure(
                    text: "there is no listener named \"\(name)\"; there are "
                        + all.map(\.name).joined(separator: ", ")))
        }
        let speaking = all.first { listener in
            query.scheme.map { ($0 == .https) == (listener.tls != nil) } ?? true
        }
        guard let found = speaking ?? all.first else {
            return .failure(Failure(text: "the file has no listener"))
        }
        return .success(found)
    }

    private static func message(_ query: ExplainQuery) -> [UInt8] {
        var target = query.url
        var host: String?
        for scheme in ["http://", "https://"] where target.hasPrefix(scheme) {
            let rest = target.dropFirst(scheme.count)
            let authority = rest.prefix { $0 != "/" && $0 != "?" }
            host = String(authority)
            target = String(rest.dropFirst(authority.count))
        }
        if target.isEmpty || target.hasPrefix("?") { target = "/" + target }
        // The target of CONNECT is an authority (RFC 9112 §3.2.3).
        if query.method == "CONNECT" { host = target }
        var text = "\(query.method) \(target) HTTP/1.1\r\n"
        let hasHost = query.headers.contains { $0.lowercased().hasPrefix("host:") }
        if !hasHost { text += "Host: \(host ?? "localhost")\r\n" }
        for header in query.headers { text += header + "\r\n" }
        return Array((text + "\r\n").utf8)
    }

    private static func copy(_ view: Span<UInt8>) -> [UInt8] { view.indices.map { view[$0] } }

    private static func matchTable(
        _ snapshot: SharedBox<Snapshot>, _ head: borrowing RequestHead, _ bytes: [UInt8],
        _ host: [UInt8], _ path: [UInt8], _ arrival: Arrival, _ steps: inout Steps
    ) -> Int? {
        let winner = snapshot.value.table.match(
            head: head, bytes: bytes.span, host: host.span, path: path.span, arrival: arrival)
        for match in 0..<snapshot.value.table.matchCount {
            let route = snapshot.value.table.route(ofMatch: match)
            let failure = snapshot.value.table.failure(
                of: match, head: head, bytes: bytes.span, host: host.span, path: path.span,
                arrival: arrival)
            steps.tried(route, match: match, failure)
            if failure == .none { break }
        }
        return winner
    }

    private static func decide(
        _ route: Int, _ ground: ExplainGround, _ head: borrowing RequestHead,
        _ forms: ExplainedForms, _ steps: inout Steps
    ) {
        let snapshot = ground.snapshot
        let plan = snapshot.value.routes[route]
        let document = snapshot.value.document
        let listed = snapshot.value.original(ofRuleRoute: route) ?? route
        let config = listed < document.routes.count ? document.routes[listed] : nil
        guard plan.kind == .forward else {
            steps.direct(plan, snapshot, head, forms)
            steps.edits(config, nil, versions: [])
            return steps.rate(config?.rateLimit, head, forms)
        }
        if head.method == .connect, !plan.allowsConnect { return steps.connectRefused() }
        let service = document.services[plan.service]
        let versions = version(
            plan, service, ground, head, forms.bytes, namedBy: steps.namedBy(route), &steps)
        steps.rewrite(plan, snapshot, head, forms)
        steps.edits(config, service, versions: versions)
        steps.rate(config?.rateLimit, head, forms)
        steps.endpoints(plan, snapshot)
        steps.times(plan, snapshot)
    }

    /// - Returns: the versions that may serve; one where that is decided.
    private static func version(
        _ plan: Snapshot.RoutePlan, _ config: Document.Service, _ ground: ExplainGround,
        _ head: borrowing RequestHead, _ bytes: [UInt8], namedBy: String, _ steps: inout Steps
    ) -> [Int] {
        let snapshot = ground.snapshot
        let service = snapshot.value.services[plan.service]
        var session: Stickiness.Session?
        if plan.pinned < 0 {
            steps.split(plan, snapshot)
            if service.sticky >= 0 {
                session = snapshot.value.sticky[service.sticky].value.session(
                    head: head, bytes: bytes.span, wall: ground.wall)
            }
        }
        // Each draw that there may be, by the rule that the data plane follows. Nobody knows of
        // connections that carry the client's identity.
        let out = steps.guarding(plan, snapshot)
        func choice(drawn: Int, fallsBack: Bool) -> VersionChoice {
            VersionChoice.choose(
                named: plan.pinned,
                session: {
                    guard let session, session.origin != .none else { return -1 }
                    return snapshot.value.splits[plan.split].intervals.value.version(
                        at: session.position)
                },
                bound: { -1 }, drawn: { drawn }, stable: service.stable, fallsBack: fallsBack,
                isUsable: { version in
                    if out.contains(version) { return false }
                    return !service.fallsBack
                        || snapshot.value.versions[service.versions.start + version].cluster.value
                            .isAvailable(now: ground.now)
                })
        }
        let weights =
            plan.pinned < 0 ? snapshot.value.splits[plan.split].draws.value.weights.weights : []
        let draws = plan.pinned < 0 ? weights.indices.filter { weights[$0] > 0 } : [plan.pinned]
        let found = draws.map { choice(drawn: $0, fallsBack: false) }
        let mayMove = service.fallsBack || !out.isEmpty
        let served = draws.map { choice(drawn: $0, fallsBack: mayMove) }
        switch found[0].way {
        case .named: steps.version(served[0], found[0], of: plan.service, namedBy)
        case .session, .bound, .fallback:
            let position = Double(session?.position ?? 0) / 0x1p64
            let source = session?.origin == .issued ? "issued cookie" : "session"
            steps.version(
                served[0], found[0], of: plan.service,
                "the \(source)'s position is \(Steps.decimal(position))")
        case .drawn:
            steps.drawn(sticky: config.sticky)
            let places = zip(found, served).filter { $1.way == .fallback }
            steps.fallbacks(
                places.map { (drawn: $0.version, stable: $1.version) }, of: plan.service)
        }
        if let session, let sticky = config.sticky {
            steps.cookie(sticky, wantsCookie: session.wantsCookie)
        }
        var versions: [Int] = []
        for choice in served where !versions.contains(choice.version) {
            versions.append(choice.version)
        }
        // Any other may turn out not to be usable when the request comes.
        if config.fallsBack, !versions.contains(config.stable) { versions.append(config.stable) }
        return versions
    }
}
