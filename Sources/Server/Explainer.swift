import Base
import Configuration
import HTTP1
import HTTPSemantics
import Platform
import Routing
import Telemetry
import Upstream

/// A request to be explained.
public struct ExplainQuery: Sendable {
    public var method: String
    /// `http://host/path` or a path.
    public var url: String
    /// `name: value` each.
    public var headers: [String] = []

    public init(method: String, url: String) {
        self.method = method
        self.url = url
    }

    /// Percent-decoding of a query parameter.
    static func decoded(_ text: String) -> String {
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

/// What the data plane would decide, and why.
public struct Explanation: Sendable {
    public var json: JSONText
    public var text: String
}

/// Explains decisions with the very tables that make them.
public enum Explainer {
    public struct Failure: Error, Sendable { public let text: String }

    /// Explains against a configuration file that is not running.
    public static func explain(
        _ query: ExplainQuery, file: ConfigurationFile
    ) -> Result<Explanation, Failure> {
        let registry = SharedRegistry(metrics: .init(), seed: 0)
        var addresses: [Document.NameAndPort: [Address]] = [:]
        for (name, _) in file.document.names {
            if case .success(let found) = NameLookup.addresses(host: name.name, port: name.port) {
                addresses[name] = found
            }
        }
        let snapshot = SnapshotCompiler.compile(
            file.document,
            .init(
                generation: 1, hash: file.hash, addresses: addresses, stickyKeys: file.stickyKeys),
            registry: registry)
        defer { snapshot.release() }
        return explain(query, snapshot, path: file.path)
    }

    static func explain(
        _ query: ExplainQuery, _ snapshot: SharedBox<Snapshot>, path file: String
    ) -> Result<Explanation, Failure> {
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
        var steps = Steps(file: file, document: snapshot.value.document)
        let host = lowerHost(head, bytes)
        guard let path = normalPath(head, bytes, snapshot) else {
            return .failure(Failure(text: "the request would be refused with 400: bad-path"))
        }
        steps.request(query, host: host, path: path)
        let table = matchTable(snapshot, head, bytes, host, path, &steps)
        guard let route = table else {
            steps.noRoute()
            return .success(steps.finish())
        }
        steps.winner(route, snapshot)
        decide(route, snapshot, head, bytes, &steps)
        return .success(steps.finish())
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
        var text = "\(query.method) \(target) HTTP/1.1\r\n"
        let hasHost = query.headers.contains { $0.lowercased().hasPrefix("host:") }
        if !hasHost { text += "Host: \(host ?? "localhost")\r\n" }
        for header in query.headers { text += header + "\r\n" }
        return Array((text + "\r\n").utf8)
    }

    private static func lowerHost(_ head: borrowing RequestHead, _ bytes: [UInt8]) -> [UInt8] {
        let authority = bytes.span.extracting(head.authority.range)
        let length = Authority.hostLength(authority) ?? 0
        return bytes[head.authority.lower..<(head.authority.lower + length)].map(ASCII.lower)
    }

    private static func normalPath(
        _ head: borrowing RequestHead, _ bytes: [UInt8], _ snapshot: SharedBox<Snapshot>
    ) -> [UInt8]? {
        let path = bytes[head.path.range]
        if head.isPathPlain || !snapshot.value.settings.normalizesPaths { return Array(path) }
        var buffer = ByteBuffer()
        do throws(PathNormalizer.Failure) {
            try PathNormalizer.normalize(bytes.span.extracting(head.path.range), into: &buffer)
        } catch {
            return nil
        }
        var copy: [UInt8] = []
        let view = buffer.readable
        for i in 0..<view.count { copy.append(view[i]) }
        return copy
    }

    private static func matchTable(
        _ snapshot: SharedBox<Snapshot>, _ head: borrowing RequestHead, _ bytes: [UInt8],
        _ host: [UInt8], _ path: [UInt8], _ steps: inout Steps
    ) -> Int? {
        let winner = snapshot.value.table.match(
            head: head, bytes: bytes.span, host: host.span, path: path.span)
        for match in 0..<snapshot.value.table.matchCount {
            let route = snapshot.value.table.route(ofMatch: match)
            if let winner, route > winner { break }
            let failure = snapshot.value.table.failure(
                of: match, head: head, bytes: bytes.span, host: host.span, path: path.span)
            steps.tried(route, match: match, failure)
            if failure == .none { break }
        }
        return winner
    }

    private static func decide(
        _ route: Int, _ snapshot: SharedBox<Snapshot>, _ head: borrowing RequestHead,
        _ bytes: [UInt8], _ steps: inout Steps
    ) {
        let plan = snapshot.value.routes[route]
        guard plan.kind == .forward else { return steps.direct(plan) }
        let service = snapshot.value.services[plan.service]
        if plan.pinned >= 0 {
            steps.version(plan.pinned, of: plan.service, "named by the route", "header")
        } else {
            steps.split(plan, snapshot)
            let split = snapshot.value.splits[plan.split]
            var session: Stickiness.Session?
            if service.sticky >= 0 {
                session = snapshot.value.sticky[service.sticky].value.session(
                    head: head, bytes: bytes.span, wall: SystemClock.wall())
            }
            if let session, session.origin != .none {
                let version = split.intervals.value.version(at: session.position)
                let position = Double(session.position) / 0x1p64
                let source = session.origin == .issued ? "issued cookie" : "session"
                steps.version(
                    version, of: plan.service,
                    "the \(source)'s position is \(Steps.decimal(position))", "sticky")
            } else {
                steps.drawn(sticky: snapshot.value.document.services[plan.service].sticky)
            }
        }
        steps.endpoints(plan, snapshot)
        steps.times(plan, snapshot)
    }
}
