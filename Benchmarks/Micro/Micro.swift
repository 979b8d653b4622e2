import Base
import HTTP1
import HTTP2
import HTTPSemantics
import Platform
import Routing

/// Nanoseconds of the steps that a request takes, one line each. The least of many samples: what the
/// step costs when nothing else disturbs it. For comparing two builds, run them in turn.
@main enum Micro {
    static func main() {
        report("request head of 8 fields, 431 bytes: parse") { requestHeads($0) }
        report("response head of 4 fields: parse") { responseHeads($0) }
        for count in [1, 100, 10_000] { routes(count) }
        draws()
        report("split 84/10/5/1: lay out 10,000 draws") { layouts([84, 10, 5, 1], $0) }
        report("split 50.01/29.99/13.99/6.01: lay out 10,000 draws") {
            layouts([5_001, 2_999, 1_399, 601], $0)
        }
        report("cookie's session of a split: find") { sessions($0) }
        report("deadline that moves away: set") { timers($0) }
        report("deadline that comes nearer: set") { nearerTimers($0) }
        report("status line, 3 fields: encode") { encodes($0) }
        report("request id: draw and encode") { identifiers($0) }
        report("header block of a request, 12 fields: compress, and take apart again") {
            headerBlocks($0)
        }
        exchanges("request and answer through the data plane: lines as they came", route: "")
        exchanges(
            "request and answer through the data plane: 2 fields set, 1 removed",
            route: ", headers: { request: { set: { x-a: b }, remove: [referer] }, "
                + "response: { set: { server: sluice } } }")
        reloads()
        let pair = SessionPair(request: request)
        report("request and answer through two HTTP/2 sessions") { pair.run($0) }
    }

    static func exchanges(_ name: String, route: String) {
        var exchanges = Exchanges(request: request, route: route)
        report(name) { exchanges.run($0) }
    }

    /// Runs `body` for a number of rounds that takes about 2 ms, 40 times.
    static func report(_ name: String, _ body: (Int) -> Void) {
        var rounds = 1
        while true {
            let start = SystemClock.now()
            body(rounds)
            if (SystemClock.now() - start).nanoseconds > 2_000_000 { break }
            rounds *= 2
        }
        var least = Double.infinity
        for _ in 0..<40 {
            let start = SystemClock.now()
            body(rounds)
            least = min(least, Double((SystemClock.now() - start).nanoseconds) / Double(rounds))
        }
        let tenths = Int((least * 10).rounded())
        let figure = "\(tenths / 10).\(tenths % 10)"
        let gap = String(repeating: " ", count: max(1, 12 - figure.utf8.count))
        print("\(gap)\(figure) ns  \(name)")
    }

    static let request = Array(
        """
        GET /r/hello/world?x=1 HTTP/1.1\r
        Host: bench.test\r
        Cookie: session=abcdef0123456789; theme=dark\r
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r
        Accept-Language: en-US,en;q=0.5\r
        Accept-Encoding: gzip, deflate\r
        Referer: http://bench.test/where/the/user/came/from\r
        X-Trace: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r
        \r\n
        """.utf8)

    static func parsedRequest() -> RequestHead {
        var head = RequestHead(fieldCountMax: 100)
        var parser = RequestHeadParser()
        let limits = HeadLimits()
        precondition((try? parser.parse(request.span, into: &head, limits: limits)) != nil)
        return head
    }

    static func requestHeads(_ rounds: Int) {
        var head = RequestHead(fieldCountMax: 100)
        for _ in 0..<rounds {
            var parser = RequestHeadParser()
            let limits = HeadLimits()
            precondition((try? parser.parse(request.span, into: &head, limits: limits)) != nil)
        }
    }

    static func responseHeads(_ rounds: Int) {
        let bytes = Array(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nETag: \"abc\"\r\nServer: x\r\n\r\nhello, world"
                .utf8)
        var head = ResponseHead(fieldCountMax: 100)
        for _ in 0..<rounds {
            var parser = ResponseHeadParser()
            let limits = HeadLimits()
            precondition((try? parser.parse(bytes.span, into: &head, limits: limits)) != nil)
        }
    }

    static func routes(_ count: Int) {
        var rules: [[MatchRule]] = []
        for i in 0..<count {
            var rule = MatchRule()
            rule.path = .prefix(i == count - 1 ? "/r/hello" : "/other/\(i)")
            rules.append([rule])
        }
        let table = RouteTable(routes: rules)
        let head = parsedRequest()
        let path = request.span.extracting(head.path.range)
        let host = request.span.extracting(head.authority.range)
        report("route of \(count), the last one: match") { rounds in
            for _ in 0..<rounds {
                let found = table.match(head: head, bytes: request.span, host: host, path: path)
                precondition(found == count - 1)
            }
        }
    }

    static func draws() {
        guard let weights = SplitWeights([99, 1]) else { return }
        let draws = Draws(weights: weights, seed: 1)
        // So many that a page is laid out for nearly each of them.
        report("split 99/1: 10,000 draws and their layout") { rounds in
            for _ in 0..<(rounds * 10_000) where draws.draw().wantsLayout { draws.layOutAhead() }
        }
    }

    static func layouts(_ weights: [Int], _ rounds: Int) {
        let blocks = 10_000 / weights.reduce(0, +)
        var layout = SplitLayout(weights: weights)
        for round in 0..<rounds {
            var slots: [UInt8] = []
            slots.reserveCapacity(10_000)
            for block in 0..<blocks {
                layout.append(block: UInt64(round * blocks + block), seed: 1, to: &slots)
            }
            precondition(slots.count == 10_000)
        }
    }

    static func sessions(_ rounds: Int) {
        let stickiness = Stickiness(
            source: .cookie, name: "session", issue: nil, ttlSeconds: 60, salt: "s", keys: [])
        guard let weights = SplitWeights([90, 10]) else { return }
        let intervals = SessionIntervals(weights: weights, stable: 0)
        let head = parsedRequest()
        var sum = 0
        for _ in 0..<rounds {
            let session = stickiness.session(
                head: head, bytes: request.span, wall: WallTime(microseconds: 0))
            sum += intervals.version(at: session.position)
        }
        precondition(sum >= 0)
    }

    static func timers(_ rounds: Int) {
        var wheel = TimerWheel(now: Instant(nanoseconds: 0))
        var timer = LazyTimer()
        timer.attach(to: &wheel, payload: 1)
        for i in 0..<rounds {
            timer.set(Instant(nanoseconds: 1_000_000_000 + UInt64(i)), on: &wheel)
        }
    }

    static func nearerTimers(_ rounds: Int) {
        var wheel = TimerWheel(now: Instant(nanoseconds: 0))
        var timer = LazyTimer()
        timer.attach(to: &wheel, payload: 1)
        let far = 1_000_000_000 + UInt64(rounds) * 1_000
        for i in 0..<rounds {
            timer.set(Instant(nanoseconds: far - UInt64(i) * 1_000), on: &wheel)
        }
    }

    static func encodes(_ rounds: Int) {
        var out = ByteBuffer(capacity: 1_024)
        let value = Array("text/plain".utf8)
        for _ in 0..<rounds {
            out.clear()
            MessageEncoder.statusLine(200, to: &out)
            for _ in 0..<3 { MessageEncoder.field("content-type", value.span, to: &out) }
        }
    }

    /// One connection's tables at both ends, as they are after the first requests.
    static func headerBlocks(_ rounds: Int) {
        var sender = HPACK()
        var receiver = HPACK()
        sender.open()
        receiver.open()
        var fields = FieldList(capacity: 100)
        var block = HeaderBlock()
        var wire = ByteBuffer(capacity: 4_096)
        let head = parsedRequest()
        let pseudo = [
            (":method", "GET"), (":scheme", "https"), (":authority", "bench.test"),
            (":path", "/r/hello/world?x=1"),
        ].map { (Array($0.utf8), Array($1.utf8)) }
        for _ in 0..<rounds {
            fields.removeAll()
            for (name, value) in pseudo { fields.add(name.span, value.span) }
            for i in 1..<head.fields.count {
                let field = head.fields[i]
                fields.add(
                    request.span.extracting(field.name.range),
                    request.span.extracting(field.value.range))
            }
            wire.clear()
            sender.deflate(fields, to: &wire)
            block.begin(.request, .none)
            let isWhole = receiver.inflate(
                wire.readable, isLast: true, &block, HTTP2Limits())
            precondition(isWhole && !block.isMalformed)
        }
    }

    static func identifiers(_ rounds: Int) {
        var out = ByteBuffer(capacity: 64)
        var random = PRNG(seed: 1)
        for _ in 0..<rounds {
            out.clear()
            out.appendUUID(high: random.next(), low: random.next())
        }
    }
}
