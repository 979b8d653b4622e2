import Base
import HTTP1
import HTTP2
import HTTPSemantics
import Testing

/// Ends of messages, of numbers and of what is not known yet.
@Suite struct EndingTests {
    /// A server whose client gives no window: neither for the connection nor for its streams.
    static func starved() -> Pair {
        let pair = Pair()
        let head: [UInt8] = [0x82, 0x84, 0x86] + Frames.literal(":authority", "a")
        var bytes = Frames.preface
        bytes += Frames.frame(Frames.settings, 0, 0, Frames.setting(4, 65_535))
        for stream in [1, 3, 5] { bytes += Frames.block(stream, head, ends: true) }
        pair.server.receive(bytes.span, now: pair.now)
        _ = pair.server.output(now: pair.now)
        // All that the connection may carry.
        pair.server.say(pair.server.streams[0], IsolationTests.answer(100_000))
        let sent = Frames.read(pair.server.output(now: pair.now))
        let count = sent.filter { $0.type == Frames.data }.map(\.payload.count).reduce(0, +)
        #expect(count == 65_535)
        return pair
    }

    @Test("an end without content goes out with no window left")
    func endWithoutWindow() {
        let pair = EndingTests.starved()
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        pair.server.say(pair.server.streams[1], head)
        _ = pair.server.output(now: pair.now)
        pair.server.say(pair.server.streams[1], "0\r\n\r\n")
        let sent = Frames.read(pair.server.output(now: pair.now))
        #expect(sent == [Frames.Seen(type: 0, flags: 1, stream: 3, payload: [])])
    }

    @Test("trailers go out with no window left, also behind a stream that waits for one")
    func trailersWithoutWindow() {
        let pair = EndingTests.starved()
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        pair.server.say(pair.server.streams[1], head + "2\r\nok\r\n")
        pair.server.say(pair.server.streams[2], head)
        pair.server.say(pair.server.streams[2], "0\r\ngrpc-status: 0\r\n\r\n")
        let sent = Frames.read(pair.server.output(now: pair.now))
        #expect(sent.filter(\.endsStream).map(\.stream) == [5])
        #expect(sent.filter { $0.type == Frames.data }.isEmpty)
        // With a window the others go on in their order.
        let more = Frames.frame(Frames.windowUpdate, 0, 0, [0, 1, 0, 0])
        pair.server.receive(more.span, now: pair.now)
        pair.server.say(pair.server.streams[1], "0\r\n\r\n")
        let rest = Frames.read(pair.server.output(now: pair.now))
        #expect(rest.filter(\.endsStream).map(\.stream) == [3])
    }

    @Test("a window below nothing holds content, and no end (RFC 9113 §6.9.2)")
    func negativeWindow() {
        let pair = EndingTests.starved()
        pair.server.receive(
            (Frames.frame(Frames.windowUpdate, 0, 0, [0, 1, 0, 0])
                + Frames.frame(Frames.settings, 0, 0, Frames.setting(4, 0))).span, now: pair.now)
        _ = pair.server.output(now: pair.now)
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        pair.server.say(pair.server.streams[1], head)
        pair.server.say(pair.server.streams[2], head + "2\r\nok\r\n0\r\n\r\n")
        _ = pair.server.output(now: pair.now)
        pair.server.say(pair.server.streams[1], "0\r\nx: 1\r\n\r\n")
        let sent = Frames.read(pair.server.output(now: pair.now))
        #expect(sent.filter(\.endsStream).map(\.stream) == [3])
        #expect(sent.filter { $0.type == Frames.data }.isEmpty)
    }

    static let bodyless: [(method: String, extra: String, hasLength: Bool)] = [
        ("POST", "", true), ("PUT", "", true), ("PATCH", "", true), ("GET", "", false),
        ("DELETE", "", false), ("OPTIONS", "", false), ("PROPFIND", "", false),
        ("POST", "content-length: 0\r\n", true),
    ]

    @Test("a request without content says so where content is expected", arguments: 0..<8)
    func bodylessRequests(_ index: Int) {
        let (method, extra, hasLength) = EndingTests.bodyless[index]
        let pair = Pair()
        pair.client.say(pair.stream(), "\(method) / HTTP/1.1\r\nhost: a\r\n\(extra)\r\n")
        let sent = Frames.read(Array(pair.client.output(now: pair.now).dropFirst(24)))
        #expect(sent.filter(\.endsStream).map(\.type) == [Frames.headers])
        let raw = Pair()
        raw.server.receive(Frames.preface.span, now: raw.now)
        raw.client.say(raw.stream(), "\(method) / HTTP/1.1\r\nhost: a\r\n\(extra)\r\n")
        raw.server.receive(
            Array(raw.client.output(now: raw.now).dropFirst(24)).span, now: raw.now)
        let length = hasLength ? "content-length: 0\r\n" : ""
        #expect(raw.server.text() == "\(method) / HTTP/1.1\r\nhost: a\r\n\(length)\r\n")
    }

    @Test("a connection whose numbers run out takes no more streams, and serves those it has")
    func numbersRunOut() {
        let pair = Pair()
        pair.exchange()
        pair.client.h2.skipNumbers(to: Int32.max - 6)
        var streams: [StreamSlot] = []
        while let stream = pair.client.makeStream() { streams.append(stream) }
        #expect(streams.count == 3 && pair.client.isGoingAway)
        for stream in streams { pair.client.say(stream, IsolationTests.request("/")) }
        pair.exchange()
        #expect(pair.server.streams.count == 3 && pair.client.closed.isEmpty)
        for stream in pair.server.streams { pair.server.say(stream, PairTests.ok) }
        pair.exchange()
        #expect(pair.client.closed.count == 3)
        #expect(streams.allSatisfy { pair.client.text($0.index) == PairTests.ok })
        #expect(pair.client.makeStream() == nil && pair.client.isGoingAway)
    }

    @Test("before its settings a peer is asked for one stream, and for no WebSocket")
    func beforeSettings() {
        var limits = HTTP2Limits()
        limits.streamsMax = 7
        let pair = Pair(limits: limits)
        #expect(pair.client.streamsAllowed == 1 && !pair.client.allowsWebSockets)
        pair.exchange()
        #expect(pair.client.streamsAllowed == 7 && pair.client.allowsWebSockets)
    }

    @Test("an upgrade that HTTP/2 has not is left out")
    func otherUpgrade() {
        let pair = Pair()
        pair.exchange()
        pair.client.say(
            pair.stream(),
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: tail\r\n\r\n")
        pair.exchange()
        #expect(pair.server.text() == "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    }
}
