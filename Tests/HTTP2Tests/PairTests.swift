import Base
import HTTP1
import HTTP2
import HTTPSemantics
import Testing

@Suite struct PairTests {
    static let get = "GET /a?b=c HTTP/1.1\r\nhost: a.test\r\nX-Mixed: Case\r\n\r\n"
    static let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    @Test("a request and its answer arrive as the HTTP/1.1 text that they were")
    func roundTrip() {
        let pair = Pair()
        let stream = pair.stream()
        pair.client.say(stream, PairTests.get)
        pair.exchange()
        #expect(
            pair.server.text() == "GET /a?b=c HTTP/1.1\r\nhost: a.test\r\nx-mixed: Case\r\n\r\n")
        pair.server.say(pair.server.streams[0], PairTests.ok)
        pair.exchange()
        #expect(pair.client.text() == PairTests.ok)
        #expect(pair.client.closed == [0: 0] && pair.server.closed == [0: 0])
    }

    static let messages: [(request: String, atServer: String, answer: String, atClient: String)] = [
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n"
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\nkeep-alive: 1\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        ),
        (
            "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
        ),
        (
            // An answer that is its trailers alone: END_STREAM on its only header block.
            "POST /s/M HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /s/M HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n"
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncookie: a=1; b=2\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\ncookie: a=1; b=2\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        ),
    ]

    @Test("bodies, trailers, interim and empty answers keep their meaning", arguments: 0..<5)
    func meanings(_ index: Int) {
        let message = PairTests.messages[index]
        let pair = Pair()
        pair.client.say(pair.stream(), message.request)
        pair.exchange()
        #expect(pair.server.text() == message.atServer)
        pair.server.say(pair.server.streams[0], message.answer)
        pair.exchange()
        #expect(pair.client.text() == message.atClient)
        #expect(pair.client.closed == [0: 0] && pair.server.closed == [0: 0])
    }

    @Test("any cut of the bytes gives the same text", arguments: 1..<200)
    func splitInvariance(_ seed: UInt64) {
        var random = PRNG(seed: seed)
        let pair = Pair()
        var said: [String] = []
        for i in 0..<8 {
            let body = String(repeating: "x", count: Int(random.below(3_000)))
            let size = String(body.utf8.count, radix: 16)
            let text =
                "POST /\(i) HTTP/1.1\r\nhost: a\r\nx-\(i): \(i)\r\ntransfer-encoding: chunked\r\n\r\n"
                + (body.isEmpty ? "" : "\(size)\r\n\(body)\r\n") + "0\r\nt: \(i)\r\n\r\n"
            said.append(text)
            pair.client.say(pair.stream(), text)
        }
        pair.exchange { Int(random.below(40)) + 1 }
        for i in 0..<8 {
            // Where a DATA frame is cut the chunks are others; what they hold is not.
            #expect(PairTests.content(pair.server.text(UInt32(i))) == PairTests.content(said[i]))
        }
    }

    /// A message with its chunks joined: head, content, trailers.
    static func content(_ text: String) -> [String] {
        let bytes = Array(text.utf8)
        func line(from start: Int) -> Int? {
            (start..<max(start, bytes.count - 1)).first { bytes[$0] == 13 && bytes[$0 + 1] == 10 }
        }
        func string(_ range: Range<Int>) -> String {
            String(decoding: bytes[range], as: UTF8.self)
        }
        var at = 0
        while let end = line(from: at), end > at { at = end + 2 }
        let head = string(0..<at)
        at += 2
        var body = ""
        while let end = line(from: at), let size = Int(string(at..<end), radix: 16) {
            at = end + 2
            if size == 0 { break }
            body += string(at..<at + size)
            at += size + 2
        }
        return [head, body, string(min(at, bytes.count)..<bytes.count)]
    }

    @Test("mutated bytes never trap, and what comes through is well-formed", arguments: 1..<400)
    func mutation(_ seed: UInt64) {
        var random = PRNG(seed: seed)
        let pair = Pair()
        for i in 0..<4 {
            pair.client.say(
                pair.stream(),
                "POST /\(i) HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")
        }
        var bytes = pair.client.output(now: pair.now)
        for _ in 0..<(1 + random.below(6)) {
            let at = 24 + Int(random.below(UInt64(bytes.count - 24)))
            switch random.below(3) {
            case 0: bytes[at] ^= UInt8(1 << random.below(8))
            case 1: bytes.remove(at: at)
            default: bytes.insert(UInt8(random.below(256)), at: at)
            }
        }
        pair.server.receive(bytes.span, now: pair.now)
        _ = pair.server.output(now: pair.now)
        for text in pair.server.texts.values {
            var parser = RequestHeadParser()
            var head = RequestHead(fieldCountMax: 200)
            // A head that is handed on parses, or is refused with a status: it never reads as two.
            let progress = try? parser.parse(text.span, into: &head, limits: HeadLimits())
            if case .complete(let length)? = progress { #expect(length <= text.count) }
        }
        // The server's own side goes on: it can be closed and opened again.
        pair.server.h2.close()
        #expect(pair.server.isFinished)
    }

    @Test("what the window does not let through waits, and a slow reader holds one stream alone")
    func flowControl() {
        var limits = HTTP2Limits()
        limits.streamWindowBytesMax = limits.streamWindowBytes
        let pair = Pair(limits: limits)
        pair.exchange()
        for i in 0..<2 { pair.client.say(pair.stream(), "GET /\(i) HTTP/1.1\r\nhost: a\r\n\r\n") }
        pair.exchange()
        pair.client.credits = false
        let body = String(repeating: "y", count: 300_000)
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n"
        #expect(pair.server.say(pair.server.streams[0], head + body))
        pair.exchange()
        #expect(pair.client.text(0).utf8.count == head.utf8.count + 65_536)
        #expect(pair.server.isStalled(pair.server.streams[0]))
        pair.server.say(pair.server.streams[1], PairTests.ok)
        pair.exchange()
        #expect(pair.client.text(1) == PairTests.ok)
        pair.client.credits = true
        pair.client.h2.credit(pair.client.streams[0], keeping: 0)
        pair.exchange()
        #expect(pair.client.text(0) == head + body)
        #expect(pair.server.drainedCount == 1)
    }

    @Test("a stream whose bytes leave at once may have 6.25 MB under way: 1 Gbit/s at 50 ms")
    func windowGrows() {
        let pair = Pair()
        pair.client.say(pair.stream(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        pair.exchange()
        let count = 40_000_000
        pair.server.say(
            pair.server.streams[0],
            "HTTP/1.1 200 OK\r\ncontent-length: \(count)\r\n\r\n"
                + String(repeating: "z", count: count))
        var largest = 0, rounds = 0
        while pair.client.closed.isEmpty, rounds < 100 {
            // One round trip: all that the windows let through, then all that credits it.
            let there = pair.server.output(now: pair.now)
            pair.client.receive(there.span, now: pair.now)
            pair.server.receive(pair.client.output(now: pair.now).span, now: pair.now)
            largest = max(largest, there.count)
            rounds += 1
        }
        #expect(pair.client.closed == [0: 0])
        #expect(largest >= 6_250_000)
        #expect(rounds <= 16)
    }

    @Test("a refused stream and one behind GOAWAY are told apart from one that was begun")
    func unprocessed() {
        var limits = HTTP2Limits()
        limits.streamsMax = 1
        let pair = Pair(limits: limits)
        pair.exchange()
        for i in 0..<2 { pair.client.say(pair.stream(), "GET /\(i) HTTP/1.1\r\nhost: a\r\n\r\n") }
        pair.exchange()
        #expect(pair.client.closed == [1: 7] && pair.client.unprocessed == [1])
        pair.server.h2.shutDown()
        pair.exchange()
        #expect(pair.client.isGoingAway)
        #expect(pair.client.makeStream() == nil)
        pair.server.say(pair.server.streams[0], PairTests.ok)
        pair.exchange()
        #expect(pair.client.text(0) == PairTests.ok)
        #expect(pair.server.isFinished == false)
        _ = pair.server.release(pair.server.streams[0], now: pair.now)
        #expect(pair.server.isFinished)
    }

    @Test("a stream whose peer takes nothing is reset in the end")
    func stalled() {
        let pair = Pair()
        pair.client.say(pair.stream(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        pair.exchange()
        pair.client.credits = false
        let body = String(repeating: "y", count: 70_000)
        let stream = pair.server.streams[0]
        pair.server.say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + body)
        #expect(pair.server.release(stream, now: pair.now, patience: .seconds(30)))
        pair.exchange()
        let end = pair.now + .seconds(30)
        #expect(pair.server.nextStall == end)
        pair.server.resetStalled(now: pair.now + .seconds(29))
        #expect(pair.server.nextStall == end)
        pair.server.resetStalled(now: end)
        #expect(pair.server.nextStall.isNever)
        pair.exchange()
        #expect(pair.client.closed == [0: 8])
    }

    @Test("a peer whose settings do not offer WebSockets is not asked for one (RFC 8441 §3)")
    func webSocketNotOffered() {
        let pair = Pair()
        // SETTINGS without a setting.
        let settings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]
        pair.client.receive(settings.span, now: pair.now)
        #expect(!pair.client.allowsWebSockets)
        let stream = pair.stream()
        pair.client.say(
            stream,
            "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        )
        pair.exchange()
        #expect(pair.client.closed == [stream.index: 0])
        #expect(pair.client.unprocessed.isEmpty && pair.server.streams.isEmpty)
    }

    @Test("WebSockets cross as the handshake of either version")
    func webSocket() {
        let pair = Pair()
        pair.exchange()
        #expect(pair.client.allowsWebSockets)
        pair.client.say(
            pair.stream(),
            "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        )
        pair.exchange()
        #expect(pair.server.text().hasPrefix("GET /chat HTTP/1.1\r\nhost: a\r\n"))
        #expect(pair.server.text().contains("upgrade: websocket\r\nsec-websocket-key: "))
        pair.server.say(
            pair.server.streams[0],
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                + "sec-websocket-accept: aaaaaaaaaaaaaaaaaaaaaaaaaaa=\r\n\r\nhello")
        pair.exchange()
        let answer = pair.client.text()
        #expect(answer.hasPrefix("HTTP/1.1 101 Switching Protocols\r\n"))
        // RFC 6455 §1.3's example.
        #expect(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
        #expect(answer.hasSuffix("\r\n\r\nhello"))
        pair.client.say(pair.client.streams[0], "bye")
        pair.client.h2.end(pair.client.streams[0])
        pair.exchange()
        #expect(pair.server.text().hasSuffix("\r\n\r\nbye") && pair.server.ended == [0])
    }

    @Test("a header block larger than a frame goes in several, and is read whole")
    func largeBlock() {
        let pair = Pair()
        let value = String(repeating: "v", count: 20_000)
        pair.client.say(
            pair.stream(),
            "GET / HTTP/1.1\r\nhost: a\r\nx-a: \(value)\r\nx-b: \(value)\r\n\r\n")
        pair.exchange()
        #expect(pair.server.text().utf8.count > 40_000)
        #expect(pair.server.text().contains("x-b: \(value)\r\n"))
    }
}
