import Base
import HTTP2
import Testing

/// Patterns of honest peers beside the flood that looks like each: the first may go on for ever,
/// the second ends the connection within 20,000 frames (RFC 9113 §10.5).
@Suite struct HonestAndHostileTests {
    struct Row: Sendable {
        let name: String
        /// Rounds of the honest pattern: so many, so far apart.
        let rounds: Int
        let pause: Duration
        let honest: @Sendable (RawPeer, Int) -> Void
        let flood: @Sendable (RawPeer, Int) -> Void
        let breach: HTTP2Breach
        /// Happens before either.
        var prepare: @Sendable (RawPeer) -> Void = { _ in }
        var acknowledges = true
    }

    /// A call of gRPC-Go that is answered message by message: the estimate of the round trip.
    static func message(_ peer: RawPeer, _: Int) {
        peer.say(.data, 0, 1, [0, 0, 0, 0, 3, 97, 98, 99])
        peer.ours(1, "8\r\n12345678\r\n")
        peer.window(0)
        peer.window(1)
        peer.say(.ping, 0, 0, Array("bdp ping".utf8))
    }

    static let streaming = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

    static func beginCall(_ peer: RawPeer) {
        peer.reply = nil
        peer.open(ends: false)
        if peer.isClient {
            peer.ours(1, streaming)
        } else {
            peer.say(.headers, 4, 1, RawPeer.answer)
        }
    }

    // MARK: Clients

    static let clients: [Row] = [
        Row(
            name: "gRPC-Go's PING for each DATA", rounds: 20_000, pause: .milliseconds(1),
            honest: message, flood: { peer, _ in peer.say(.ping, 0, 0, Array("12345678".utf8)) },
            breach: .controlFrames, prepare: beginCall),
        Row(
            name: "800 calls a second of which every fifth is cancelled", rounds: 8_000,
            pause: .microseconds(1_250),
            honest: { peer, i in
                peer.reply = i % 5 == 0 ? nil : HonestAndHostileTests.ok
                let id = peer.open()
                if i % 5 == 0 { peer.reset(id) }
            },
            flood: { peer, _ in
                peer.reply = nil
                peer.reset(peer.open())
            }, breach: .resets),
        Row(
            name: "subscriptions that always end by a cancel behind the beginning of the answer",
            rounds: 5_000, pause: .milliseconds(1),
            honest: { peer, _ in
                peer.reply = nil
                let id = peer.open()
                peer.ours(id, streaming)
                peer.reset(id)
            },
            flood: { peer, _ in
                // MadeYouReset: the client makes this side reset.
                peer.reply = nil
                peer.window(peer.open(), 0)
            }, breach: .resets),
        Row(
            name: "an endpoint that stands still, and deadlines of 200 ms on all streams",
            rounds: 100, pause: .milliseconds(200),
            honest: { peer, _ in
                peer.reply = nil
                let ids = (0..<100).map { _ in peer.open() }
                peer.now = peer.now + .milliseconds(200)
                for id in ids { peer.reset(id) }
            },
            flood: { peer, _ in
                peer.reply = nil
                let ids = (0..<100).map { _ in peer.open() }
                for id in ids { peer.reset(id) }
            }, breach: .resets),
        Row(
            name: "600 requests at once before the limit is known", rounds: 1, pause: .zero,
            honest: { peer, _ in
                peer.reply = nil
                for _ in 0..<600 { peer.open() }
            },
            flood: { peer, _ in
                peer.reply = nil
                peer.open()
            }, breach: .resets, acknowledges: false),
        Row(
            name: "ten resets and ten requests in one write, at the limit of streams",
            rounds: 500, pause: .milliseconds(150),
            honest: { peer, i in
                peer.reply = nil
                if i == 0 { for _ in 0..<100 { peer.open() } }
                peer.swap(10)
            },
            flood: { peer, i in
                peer.reply = nil
                if i == 0 { for _ in 0..<100 { peer.open() } }
                peer.open()
            }, breach: .resets),
        Row(
            name: "a cancel behind each answer, on its closed stream", rounds: 20_000,
            pause: .microseconds(100),
            honest: { peer, _ in peer.reset(peer.open()) },
            flood: { peer, _ in peer.reset(1) }, breach: .closedStreams,
            prepare: { $0.open() }),
        Row(
            name: "uploads broken off here, whose rest was on its way", rounds: 300,
            pause: .milliseconds(100), honest: lateUpload,
            flood: { peer, _ in peer.say(.data, 0, 1, [1]) }, breach: .closedStreams,
            prepare: { peer in
                peer.reply = nil
                peer.open(ends: false)
                peer.breakOff(1)
            }),
        Row(
            name: "a WINDOW_UPDATE for each piece of what was read", rounds: 20_000,
            pause: .milliseconds(1),
            honest: { peer, _ in
                peer.ours(1, "8\r\n12345678\r\n")
                for _ in 0..<5 {
                    peer.window(0, 1)
                    peer.window(1, 1)
                }
            }, flood: { peer, _ in peer.window(0, 1) }, breach: .windowUpdates,
            prepare: beginCall),
        Row(
            name: "SETTINGS with a new window each tenth message", rounds: 20_000,
            pause: .milliseconds(1),
            honest: { peer, i in
                message(peer, i)
                if i % 10 == 0 { peer.say(.settings, 0, 0, windowSetting) }
            },
            flood: { peer, _ in peer.say(.settings, 0, 0, windowSetting) },
            breach: .controlFrames, prepare: beginCall),
        Row(
            name: "six settings at once", rounds: 10, pause: .seconds(1),
            honest: { peer, _ in
                peer.say(.settings, 0, 0, (0..<6).flatMap { _ in windowSetting })
            },
            flood: { peer, _ in
                // One frame that moves all windows 2,730 times.
                peer.say(.settings, 0, 0, (0..<2_730).flatMap { _ in windowSetting })
            }, breach: .controlFrames),
        Row(
            name: "an empty DATA behind each with content", rounds: 20_000, pause: .milliseconds(1),
            honest: { peer, i in
                message(peer, i)
                peer.say(.data, 0, 1)
            }, flood: { peer, _ in peer.say(.data, 0, 1) }, breach: .emptyFrames,
            prepare: beginCall),
        Row(
            name: "padded DATA", rounds: 20_000, pause: .milliseconds(1),
            honest: { peer, _ in peer.say(.data, 8, 1, [2, 97, 0, 0]) },
            flood: { peer, _ in peer.say(.data, 8, 1, [2, 0, 0]) }, breach: .emptyFrames,
            prepare: beginCall),
        Row(
            name: "the priorities of old browsers and of nghttp", rounds: 2_000,
            pause: .milliseconds(1),
            honest: { peer, i in
                if i == 0 {
                    for id in [3, 5, 7, 9, 11] as [Int32] {
                        peer.say(.priority, 0, id + 100_000, priority)
                    }
                }
                let id = peer.open()
                for _ in 0..<3 { peer.say(.priority, 0, id, priority) }
                peer.say(.priorityUpdate, 0, 0, RawPeer.word(1) + Array("u=3".utf8))
            },
            flood: { peer, i in
                peer.say(.priority, 0, 1, RawPeer.word(3) + [UInt8(truncatingIfNeeded: i)])
            }, breach: .priorities),
        Row(
            name: "PRIORITY_UPDATE for each request", rounds: 2_000, pause: .milliseconds(1),
            honest: { peer, _ in
                let id = peer.open()
                peer.say(.priorityUpdate, 0, 0, RawPeer.word(UInt32(id)) + Array("u=3".utf8))
            },
            flood: { peer, _ in
                peer.say(.priorityUpdate, 0, 0, RawPeer.word(1) + Array("u=3".utf8))
            }, breach: .priorities),
        Row(
            name: "an unknown frame with each request (GREASE)", rounds: 5_000,
            pause: .milliseconds(1),
            honest: { peer, _ in
                peer.say(.unknown, 0, 0, [1])
                peer.open()
            },
            flood: { peer, _ in peer.say(.unknown, 0, 0, [1]) }, breach: .controlFrames),
        Row(
            name: "GOAWAY, announced and final", rounds: 2, pause: .seconds(1),
            honest: { peer, _ in peer.say(.goAway, 0, 0, [0, 0, 0, 1, 0, 0, 0, 0]) },
            flood: { peer, _ in peer.say(.goAway, 0, 0, [0, 0, 0, 1, 0, 0, 0, 0]) },
            breach: .controlFrames),
        Row(
            name: "requests that were on their way when the end was said", rounds: 1, pause: .zero,
            honest: { peer, _ in
                peer.shutDown()
                for _ in 0..<900 { peer.open() }
            },
            flood: { peer, i in
                if i == 0 { peer.shutDown() }
                peer.open()
            }, breach: .resets, prepare: { $0.open(ends: false) }),
    ]

    static let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    static let windowSetting: [UInt8] = [0, 4, 0, 1, 0, 0]
    static let priority = RawPeer.word(0) + [15]

    /// Our side breaks an upload off; the 64 KiB that its window let through come all the same, and
    /// so do trailers, and the client's own reset.
    static func lateUpload(_ peer: RawPeer, _: Int) {
        peer.reply = nil
        let id = peer.open(ends: false)
        peer.breakOff(id)
        let piece = [UInt8](repeating: 1, count: 100)
        peer.say((0..<650).map { _ in RawPeer.frame(.data, 0, id, piece) })
        peer.say(.headers, 5, id, RawPeer.block([("x-sum", "1")]))
        peer.reset(id)
    }

    // MARK: Endpoints

    static let endpoints: [Row] = [
        Row(
            name: "NO_ERROR behind the whole answer, 1,000 times a second", rounds: 10_000,
            pause: .milliseconds(1),
            honest: { peer, _ in
                let id = peer.open(ends: false)
                peer.say([
                    RawPeer.frame(.headers, 5, id, RawPeer.answer),
                    RawPeer.frame(.reset, 0, id, RawPeer.word(0)),
                ])
            },
            flood: { peer, _ in peer.reset(1, 0) }, breach: .closedStreams,
            prepare: { peer in peer.reset(peer.open()) }),
        Row(
            name: "all requests refused, 5,000 a second", rounds: 20_000,
            pause: .microseconds(200), honest: { peer, _ in peer.reset(peer.open(), 7) },
            flood: { peer, _ in peer.reset(1, 7) }, breach: .closedStreams,
            prepare: { peer in peer.reset(peer.open()) }),
        Row(
            name: "an answer each that is malformed", rounds: 5_000, pause: .milliseconds(1),
            honest: { peer, _ in
                peer.say(.headers, 5, peer.open(), RawPeer.block([("a", "b")]))
            },
            flood: { peer, _ in peer.say(.headers, 5, 1, RawPeer.answer) },
            breach: .closedStreams, prepare: { peer in peer.breakOff(peer.open()) }),
        Row(
            name: "gRPC-Go's PING for each DATA", rounds: 20_000, pause: .milliseconds(1),
            honest: message, flood: { peer, _ in peer.say(.ping, 0, 0, Array("12345678".utf8)) },
            breach: .controlFrames, prepare: beginCall),
        Row(
            name: "60 downloads whose client left, still on their way", rounds: 20,
            pause: .seconds(1), honest: lateDownloads,
            flood: { peer, _ in peer.say(.data, 0, 1, [1]) }, breach: .closedStreams,
            prepare: { peer in
                peer.open()
                peer.say(.headers, 4, 1, RawPeer.answer)
                peer.breakOff(1)
            }),
        Row(
            name: "acknowledgements", rounds: 1_000, pause: .seconds(30),
            honest: { peer, _ in
                peer.ping()
                peer.say(.ping, 1, 0, [UInt8](repeating: 0, count: 8))
            },
            flood: { peer, _ in peer.say(.ping, 1, 0, [UInt8](repeating: 0, count: 8)) },
            breach: .controlFrames),
        Row(
            name: "acknowledgements of settings", rounds: 1, pause: .zero,
            honest: { peer, _ in peer.say(.settings, 1) },
            flood: { peer, _ in peer.say(.settings, 1) }, breach: .controlFrames,
            acknowledges: false),
        Row(
            name: "a WINDOW_UPDATE for each piece of an upload", rounds: 20_000,
            pause: .milliseconds(1),
            honest: { peer, _ in
                peer.ours(1, "8\r\n12345678\r\n")
                peer.window(0, 8)
                peer.window(1, 8)
            }, flood: { peer, _ in peer.window(0, 1) }, breach: .windowUpdates,
            prepare: beginCall),
    ]

    static func lateDownloads(_ peer: RawPeer, _: Int) {
        let ids = (0..<60).map { _ in peer.open() }
        for id in ids { peer.say(.headers, 4, id, RawPeer.answer) }
        for id in ids { peer.breakOff(id) }
        let piece = [UInt8](repeating: 1, count: 100)
        for id in ids {
            peer.say((0..<600).map { _ in RawPeer.frame(.data, 0, id, piece) })
            peer.say(.headers, 5, id, RawPeer.block([("grpc-status", "0")]))
        }
    }

    // MARK: The table

    @Test("a client that works is not ended, and one that floods is", arguments: clients.indices)
    func client(_ index: Int) { check(HonestAndHostileTests.clients[index], isClient: true) }

    @Test(
        "an endpoint that works is not ended, and one that floods is", arguments: endpoints.indices)
    func endpoint(_ index: Int) { check(HonestAndHostileTests.endpoints[index], isClient: false) }

    private func check(_ row: Row, isClient: Bool) {
        let honest = RawPeer(isClient: isClient, acknowledges: row.acknowledges)
        row.prepare(honest)
        for i in 0..<row.rounds where !honest.isBroken {
            row.honest(honest, i)
            honest.now = honest.now + row.pause
        }
        #expect(honest.breaches.isEmpty, "\(row.name), after \(honest.frameCount) frames")
        let flood = RawPeer(isClient: isClient, acknowledges: row.acknowledges)
        row.prepare(flood)
        var round = 0
        while !flood.isBroken, flood.frameCount < 200_000 {
            row.flood(flood, round)
            round += 1
            // A frame each 10 microseconds.
            flood.now = flood.now + .microseconds(10)
        }
        #expect(flood.breaches == [row.breach], "\(row.name), the flood")
        #expect(flood.frameCount < 20_000, "\(row.name), the flood")
    }

    @Test("a flood behind long honest work is ended as soon as one without")
    func floodAfterWork() {
        let peer = RawPeer(isClient: true)
        HonestAndHostileTests.beginCall(peer)
        for i in 0..<20_000 { HonestAndHostileTests.message(peer, i) }
        #expect(!peer.isBroken)
        let before = peer.frameCount
        while !peer.isBroken, peer.frameCount < before + 200_000 {
            peer.say(.ping, 0, 0, Array("12345678".utf8))
        }
        #expect(peer.breaches == [.controlFrames])
        #expect(peer.frameCount - before < 2_000)
    }

    // MARK: Closed streams

    @Test("what was on its way to a stream that was reset here is ignored, trailers and all")
    func late() {
        let peer = RawPeer(isClient: true)
        peer.reply = nil
        for _ in 0..<200 {
            let id = peer.open(ends: false)
            peer.breakOff(id)
        }
        let resets = peer.answers.count { $0.kind == 3 }
        for id in stride(from: Int32(1), through: 399, by: 2) {
            peer.say(.data, 0, id, [1, 2, 3])
            peer.say(.headers, 5, id, RawPeer.block([("x-sum", "1")]))
            peer.reset(id)
            peer.window(id)
        }
        #expect(!peer.isBroken)
        #expect(peer.answers.count { $0.kind == 3 } == resets)
    }

    @Test("a number that goes back is an error, though its stream may be long closed")
    func backwards() {
        let peer = RawPeer(isClient: true)
        for _ in 0..<100 { peer.open() }
        peer.say(.headers, 5, 3, RawPeer.request)
        #expect(peer.breaches == [.protocolError])
    }

    @Test("content behind the peer's own end of a stream is an error of that stream")
    func afterItsOwnEnd() {
        let peer = RawPeer(isClient: true)
        let id = peer.open()
        peer.say(.data, 0, id, [1])
        #expect(peer.answers.last?.kind == 3 && peer.answers.last?.payload == RawPeer.word(5))
        #expect(!peer.isBroken)
    }

    @Test("reset streams make room at once, but no more than as many again are taken in one read")
    func roomAfterResets() {
        let peer = RawPeer(isClient: true)
        peer.reply = nil
        for _ in 0..<100 { peer.open() }
        peer.now = peer.now + .seconds(1)
        peer.swap(100)
        #expect(peer.openedCount == 200 && peer.closed == [8: 100])
        peer.now = peer.now + .seconds(1)
        // Of 200 more in one read 100 are taken, for the 100 that were taken back.
        peer.swap(100, more: 100)
        #expect(peer.openedCount == 300)
    }

    @Test("a gRPC server's GOAWAY that names pings is understood")
    func tooManyPings() {
        let peer = RawPeer(isClient: false)
        peer.open()
        #expect(!peer.wasToldTooManyPings)
        peer.say(
            .goAway, 0, 0, RawPeer.word(1) + RawPeer.word(11) + Array("too_many_pings".utf8))
        #expect(peer.wasToldTooManyPings && !peer.isBroken)
    }
}
