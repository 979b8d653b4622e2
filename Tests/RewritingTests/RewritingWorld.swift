import Base
import Configuration
import HTTP1
import HTTPSemantics
import Rewriting
import Routing
import Telemetry
import Testing

/// One route of one service, and requests that it takes: heads in, bytes out.
struct RewritingWorld {
    /// A key of the route, such as `rewrite: { prefix: /v2 }`.
    var route = ""
    /// Keys of the route's match.
    var match = ""
    /// Keys of `defaults.forwarding`.
    var forwarding = ""
    /// A key of the service's only version.
    var version = ""
    var peer = Address("192.0.2.7:999")!
    var isSecure = false
    var isCopy = false
    var identity = ""

    func document() -> String {
        var text = """
            listeners:
              - { name: http, address: "127.0.0.1:8080" }
            services:
              reviews:
                stable: v1
                versions:
                  v1: { endpoints: ["127.0.0.1:1"]\(version.isEmpty ? "" : ", " + version) }
            routes:
              - name: all

            """
        if !match.isEmpty { text += "    match: { \(match) }\n" }
        text += route.contains("redirect:") ? "" : "    to: reviews\n"
        if !route.isEmpty { text += "    \(route)\n" }
        if !forwarding.isEmpty { text += "defaults:\n  forwarding: { \(forwarding) }\n" }
        return text
    }

    func snapshot() throws -> SharedBox<Snapshot> {
        let reading = ConfigurationReading(Array(document().utf8))
        let document = try #require(reading.document, "\(reading.errors.map(\.message))")
        return SnapshotCompiler.compile(
            document, .init(generation: 1, hash: ""),
            registry: SharedRegistry(metrics: .init(), seed: 1))
    }

    /// The head that an origin gets, the lines apart by `|`, and what is noted for the log.
    struct Answer {
        var text: String
        var head: WrittenHead
        var log: [String: String]
    }

    /// - Parameter lines: request line and field lines, apart by `|`.
    func write(_ lines: String) throws -> Answer {
        let snapshot = try snapshot()
        defer { snapshot.release() }
        let bytes = RewritingWorld.bytes(lines)
        var head = RequestHead(fieldCountMax: 100)
        try RewritingWorld.parse(bytes, &head)
        var key = MatchKey()
        let isGood = key.take(head, bytes.span, looksAtHost: true, normalizesPaths: true)
        #expect(isGood)
        let hops = snapshot.value.settings.trustedHops
        var origin: RequestOrigin?
        if hops > 0 {
            origin = RequestOrigin(
                head, bytes.span, peer: peer, isSecure: isSecure, trustedHops: hops)
        }
        let identity = Array(identity.utf8)
        var summary = ExchangeSummary()
        summary.peer = peer
        var random = PRNG(seed: 1), id: (high: UInt64, low: UInt64) = (1, 2)
        var spare = ByteBuffer(), out = ByteBuffer()
        let request = OutgoingRequest(
            snapshot, route: 0, service: 0,
            edits: snapshot.value.rows[snapshot.value.routes[0].rows + 1].edits,
            isSecure: isSecure, isCopy: isCopy)
        let written = RequestHeadWriter.write(
            request, head, bytes.span, key: key, identity: identity.span, origin: &origin,
            random: &random, requestID: &id, spare: &spare, summary: &summary, to: &out)
        func text(_ range: ByteRange) -> String { ASCII.string(out.span(range)) }
        return Answer(
            text: RewritingWorld.shown(text(written.range)), head: written,
            log: [
                "method": text(summary.method), "target": text(summary.target),
                "authority": text(summary.authority), "userAgent": text(summary.userAgent),
                "referer": text(summary.referer), "requestID": text(summary.requestID),
                "forwardedFor": text(summary.forwardedFor),
                "traceparent": text(summary.traceparent), "upgrade": text(written.upgrade),
            ])
    }

    /// The `Location` that a redirect answers with; `nil` when it needs a host and has none.
    func location(_ lines: String) throws -> String? {
        let snapshot = try snapshot()
        defer { snapshot.release() }
        let bytes = RewritingWorld.bytes(lines)
        var head = RequestHead(fieldCountMax: 100)
        try RewritingWorld.parse(bytes, &head)
        var key = MatchKey()
        let isGood = key.take(head, bytes.span, looksAtHost: true, normalizesPaths: true)
        #expect(isGood)
        let origin = RequestOrigin(
            head, bytes.span, peer: peer, isSecure: isSecure,
            trustedHops: snapshot.value.settings.trustedHops)
        var out = ByteBuffer()
        let isKnown = Redirects.appendLocation(
            snapshot.value.routes[0], snapshot.value.store, head, bytes.span, origin: origin,
            path: key.path(in: bytes.span), to: &out)
        return isKnown ? ASCII.string(out.readable) : nil
    }

    static func bytes(_ lines: String) -> [UInt8] {
        Array((lines.split(separator: "|").joined(separator: "\r\n") + "\r\n\r\n").utf8)
    }

    private static func parse(_ bytes: [UInt8], _ head: inout RequestHead) throws {
        var parser = RequestHeadParser()
        guard case .complete = try parser.parse(bytes.span, into: &head, limits: HeadLimits())
        else {
            Issue.record("not a whole head")
            return
        }
    }

    /// Lines apart by `|`, without the two that say nothing about the rule under test: the id that
    /// is drawn, and the peer's own address.
    private static func shown(_ head: String) -> String {
        var lines = head.split(separator: "\r\n").map(String.init)
        lines.removeAll { $0 == "x-forwarded-for: 192.0.2.7" || $0 == "x-forwarded-proto: http" }
        let isDrawn = { (line: String) in
            line.hasPrefix("x-request-id: ") && !line.hasPrefix("x-request-id: 0000")
        }
        return lines.map { isDrawn($0) ? "x-request-id: NEW" : $0 }.joined(separator: "|")
    }
}
