import Base
import HTTP1
import HTTP2
import HTTPSemantics
import Testing

/// One stream's trouble is its own.
@Suite struct IsolationTests {
    static func request(_ path: String, _ more: String = "") -> String {
        "GET \(path) HTTP/1.1\r\nhost: a\r\n\(more)\r\n"
    }

    static func body(_ count: Int) -> String { String(repeating: "y", count: count) }

    static func answer(_ count: Int) -> String {
        "HTTP/1.1 200 OK\r\ncontent-length: \(count)\r\n\r\n" + body(count)
    }

    /// Bytes that one stream after the other may send while nothing of them leaves.
    static func heldBytes(_ pair: Pair, _ end: Pair.End, before: [Int]) -> Int {
        zip(end.streams, before).map { (end.texts[$0.index]?.count ?? 0) - $1 }.reduce(0, +)
    }

    @Test("readers that stall with large windows hold nobody else, and what they hold is bounded")
    func stalledReaders() {
        let pair = Pair()
        for i in 0..<8 { pair.client.say(pair.stream(), IsolationTests.request("/\(i)")) }
        pair.exchange()
        // All grow as far as they may, and then stop.
        for i in 0..<8 {
            pair.server.say(pair.server.streams[i], IsolationTests.answer(20_000_000))
        }
        for _ in 0..<60 {
            let there = pair.server.output(now: pair.now)
            pair.client.receive(there.span, now: pair.now)
            pair.server.receive(pair.client.output(now: pair.now).span, now: pair.now)
            if (pair.client.texts[0]?.count ?? 0) > 9_000_000 { break }
        }
        pair.client.stalled = Set(pair.client.streams.map(\.index))
        let before = pair.client.streams.map { pair.client.texts[$0.index]?.count ?? 0 }
        pair.exchange()
        let held = IsolationTests.heldBytes(pair, pair.client, before: before)
        let bound = 2 * HTTP2Limits().streamWindowBytesMax + 8 * HTTP2Limits().streamWindowBytes
        #expect(held > 1_000_000 && held <= bound)
        let small = pair.stream()
        pair.client.say(small, IsolationTests.request("/small"))
        pair.exchange()
        pair.server.say(pair.server.streams[8], PairTests.ok)
        pair.exchange()
        #expect(pair.client.text(small.index) == PairTests.ok)
    }

    @Test("uploads that stall hold no other upload, however many there are")
    func stalledUploads() {
        let pair = Pair()
        pair.exchange()
        for i in 0..<99 {
            pair.client.say(
                pair.stream(),
                "POST /\(i) HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n"
                    + IsolationTests.body(300_000))
        }
        pair.server.credits = false
        pair.exchange()
        pair.server.credits = true
        pair.server.stalled = Set(pair.server.streams.map(\.index))
        let last = pair.stream()
        pair.client.say(
            last,
            "POST /last HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n"
                + IsolationTests.body(300_000))
        pair.exchange()
        let slot = pair.server.streams[99].index
        #expect(pair.server.text(slot).utf8.count > 300_000)
    }

    @Test("a stream that keeps most of its window gets a smaller one, and others may grow again")
    func windowsShrink() {
        let pair = Pair()
        for i in 0..<2 { pair.client.say(pair.stream(), IsolationTests.request("/\(i)")) }
        pair.exchange()
        pair.server.say(pair.server.streams[0], IsolationTests.answer(60_000_000))
        while (pair.client.texts[0]?.count ?? 0) < 20_000_000 {
            pair.client.receive(pair.server.output(now: pair.now).span, now: pair.now)
            pair.server.receive(pair.client.output(now: pair.now).span, now: pair.now)
        }
        pair.client.stalled = [pair.client.streams[0].index]
        let before = pair.client.texts[0]?.count ?? 0
        pair.exchange()
        // Half a window is here: a little leaves, and the other half may come.
        var held = (pair.client.texts[0]?.count ?? 0) - before
        pair.client.h2.credit(pair.client.streams[0], keeping: held - 5_000)
        pair.exchange()
        held = (pair.client.texts[0]?.count ?? 0) - before - 5_000
        #expect(held > 8_000_000)
        // A tenth leaves: nothing may come for it.
        let after = pair.client.texts[0]?.count ?? 0
        pair.client.h2.credit(pair.client.streams[0], keeping: held * 9 / 10)
        pair.exchange()
        #expect(pair.client.texts[0]?.count == after)
        pair.client.stalled = []
        pair.client.h2.credit(pair.client.streams[0], keeping: 0)
        pair.exchange()
        #expect(pair.client.closed[0] == 0 && pair.client.texts[0]?.count ?? 0 > 60_000_000)
    }

    @Test("with memory short no window grows")
    func noGrowthWhenShort() {
        let pair = Pair()
        pair.client.say(pair.stream(), IsolationTests.request("/"))
        pair.exchange()
        pair.client.credits = false
        pair.server.say(pair.server.streams[0], IsolationTests.answer(3_000_000))
        var largest = 0
        for _ in 0..<40 {
            let there = pair.server.output(now: pair.now)
            largest = max(largest, there.count)
            pair.client.receive(there.span, now: pair.now)
            pair.client.h2.credit(pair.client.streams[0], keeping: 0, mayGrow: false)
            pair.server.receive(pair.client.output(now: pair.now).span, now: pair.now)
        }
        #expect(largest < 70_000 && (pair.client.texts[0]?.count ?? 0) > 2_000_000)
    }

    // MARK: Header blocks

    /// A client connection that has asked twice, and what the endpoint sends it.
    static func asking(_ limits: HTTP2Limits = HTTP2Limits()) -> Pair {
        let pair = Pair(limits: limits)
        for i in 0..<3 { pair.client.say(pair.stream(), request("/\(i)")) }
        pair.client.receive(Frames.frame(Frames.settings, 0, 0, []).span, now: pair.now)
        _ = pair.client.output(now: pair.now)
        return pair
    }

    static let ok: [UInt8] = [0x88]

    @Test(
        "an answer with a field longer than any list costs that answer alone, and the tables agree",
        arguments: [0, 0x40, 0x10] as [UInt8])
    func longField(_ first: UInt8) {
        for isName in [false, true] {
            for size in [16_384, 1_000] where size == 16_384 || first == 0 && !isName {
                let pair = IsolationTests.asking()
                let long = [UInt8](repeating: UInt8(ascii: "~"), count: 66_000)
                // Entry 62 of the table.
                pair.client.receive(
                    Frames.block(
                        1, IsolationTests.ok + Frames.literal("x-kept", "1", first: 0x40),
                        ends: true
                    ).span, now: pair.now)
                let field =
                    isName
                    ? Frames.literal(String(decoding: long, as: UTF8.self), "v", first: first)
                    : Frames.literal("x-large", long, first: first)
                // Of a thousand bytes a frame there are too many.
                pair.client.receive(
                    Frames.block(
                        3, IsolationTests.ok + field + Frames.literal("x-new", "2", first: 0x40),
                        ends: true, size: size
                    ).span, now: pair.now)
                if size == 1_000 {
                    #expect(pair.client.breaches == [.controlFrames])
                    continue
                }
                pair.client.receive(
                    Frames.block(5, IsolationTests.ok + [0x80 | 62], ends: true).span,
                    now: pair.now)
                #expect(pair.client.breaches.isEmpty)
                #expect(pair.client.text(0).contains("x-kept: 1\r\n"))
                #expect(pair.client.text(2).contains("x-new: 2\r\n"))
                #expect(IsolationTests.isRefused(pair.client.text(1), .headTooLarge))
            }
        }
    }

    /// Whether the HTTP/1.1 parser refuses a response for this.
    static func isRefused(_ text: String, _ cause: HTTP1Violation) -> Bool {
        var parser = ResponseHeadParser()
        var head = ResponseHead(fieldCountMax: 104)
        do throws(HTTP1Violation) {
            let limits = HeadLimits(
                headBytesMax: 65_536 + HTTP2Connection.textBytesAdded, fieldCountMax: 104)
            _ = try parser.parse(Array(text.utf8).span, into: &head, limits: limits)
            return false
        } catch {
            return error == cause
        }
    }

    @Test(
        "fields longer than the library decodes are read where limits allow them",
        arguments: 1..<40)
    func longFieldsAllowed(_ seed: UInt64) {
        var random = PRNG(seed: seed)
        var limits = HTTP2Limits()
        limits.headerListBytesMax = 262_144
        let pair = IsolationTests.asking(limits)
        var expected: [String] = []
        for i in 0..<3 {
            var bytes = IsolationTests.ok
            var lines = ""
            for j in 0..<Int(1 + random.below(3)) {
                let length = Int(random.below(80_000))
                // Long and short in Huffman's code.
                let byte: UInt8 = random.below(2) == 0 ? UInt8(ascii: "~") : UInt8(ascii: "e")
                let value = [UInt8](repeating: byte, count: length)
                bytes += Frames.literal(
                    "x-\(j)", value, first: [0, 0x40, 0x10][Int(random.below(3))])
                lines += "x-\(j): \(String(decoding: value, as: UTF8.self))\r\n"
            }
            expected.append(lines)
            let frames = Frames.block(2 * i + 1, bytes, ends: true)
            var at = 0
            while at < frames.count {
                let next = min(frames.count, at + 1 + Int(random.below(9_000)))
                pair.client.receive(frames.span.extracting(at..<next), now: pair.now)
                at = next
            }
        }
        #expect(pair.client.breaches.isEmpty)
        for i in 0..<3 {
            #expect(pair.client.text(UInt32(i)).hasPrefix("HTTP/1.1 200 OK\r\n" + expected[i]))
        }
    }

    @Test(
        "a block in Huffman's code that is longer than the library decodes is read as it was meant")
    func longHuffman() {
        var limits = HTTP2Limits()
        limits.headerListBytesMax = 262_144
        let pair = Pair(limits: limits)
        // 29 bits for five bytes: 100 KB.
        let value = String(repeating: "e5tx-", count: 28_000)
        pair.client.say(pair.stream(), IsolationTests.request("/", "x-long: \(value)\r\n"))
        pair.exchange()
        #expect(pair.server.text().contains("x-long: \(value)\r\n"))
        #expect(pair.server.breaches.isEmpty)
    }

    // MARK: Trailers and counts

    @Test("trailers that are too many or too large break the message, and never end it as if well")
    func trailersTooLarge() {
        let many = (0..<101).map { "x-\($0): v\r\n" }.joined()
        let large = "x: \(IsolationTests.body(66_000))\r\n"
        let fitting = (0..<100).map { "x-\($0): v\r\n" }.joined()
        for (trailers, isTaken) in [(many, false), (large, false), (fitting, true)] {
            let pair = Pair()
            let text = "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\(trailers)\r\n"
            pair.client.say(pair.stream(), "POST / HTTP/1.1\r\nhost: a\r\n" + text)
            pair.exchange()
            pair.server.say(pair.server.streams[0], "HTTP/1.1 200 OK\r\n" + text)
            pair.exchange()
            #expect(IsolationTests.isWhole(pair.server.text()) == isTaken)
            #expect(IsolationTests.isWhole(pair.client.text()) == isTaken)
            #expect(pair.client.breaches.isEmpty && pair.server.breaches.isEmpty)
        }
    }

    /// Whether a chunked message ends, for a reader with the usual limits.
    static func isWhole(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let start = text.firstRange(of: "\r\n\r\n") else { return false }
        var at = text.utf8.distance(from: text.startIndex, to: start.upperBound)
        var decoder = BodyDecoder(.chunked)
        while let step = try? decoder.next(bytes.span, at: &at, limits: HeadLimits()) {
            switch step {
            case .content: continue
            case .trailers, .complete: return true
            case .incomplete: return false
            }
        }
        return false
    }

    @Test("trailers behind a length have no place in HTTP/1.1; that they are dropped is told")
    func trailersBehindLength() {
        let pair = IsolationTests.asking()
        pair.client.receive(
            (Frames.block(
                1, IsolationTests.ok + Frames.literal("content-length", "2"), ends: false)
                + Frames.frame(Frames.data, 0, 1, Array("ok".utf8))
                + Frames.block(1, Frames.literal("x-t", "1"), ends: true)).span, now: pair.now)
        #expect(pair.client.text(0) == PairTests.ok)
        #expect(pair.client.droppedTrailersCount == 1)
    }

    @Test("cookie crumbs are one field, whatever their number; their bytes count")
    func crumbs() {
        for (count, isTaken) in [(500, true), (2_000, false)] {
            let pair = Pair()
            pair.exchange()
            let lines = (0..<count).map { "cookie: c\($0)=v\r\n" }.joined()
            pair.client.say(pair.stream(), IsolationTests.request("/", lines))
            pair.exchange()
            let joined = (0..<count).map { "c\($0)=v" }.joined(separator: "; ")
            #expect(pair.server.text().contains("cookie: \(joined)\r\n") == isTaken)
            #expect(pair.server.text().hasSuffix("\r\n\r\n") == isTaken)
        }
    }

    @Test(
        "as many fields as may be are taken by either version, and one more is not",
        arguments: [0, 1])
    func fieldCount(_ more: Int) {
        let pair = Pair()
        // With the host a hundred.
        let lines = (0..<99 + more).map { "x-\($0): v\r\n" }.joined()
        pair.client.say(pair.stream(), IsolationTests.request("/", lines))
        pair.exchange()
        #expect(pair.server.text().hasSuffix("\r\n\r\n") == (more == 0))
    }

    @Test(
        "names of any number and length arrive in lower case, in heads and in trailers",
        arguments: 1..<30)
    func manyNames(_ seed: UInt64) {
        var random = PRNG(seed: seed)
        var limits = HTTP2Limits()
        limits.headerListBytesMax = 262_144
        limits.fieldCountMax = 5_000
        let pair = Pair(limits: limits)
        pair.exchange()
        // More fields than there was room for, or more bytes of names, or neither.
        let count = 1 + Int(random.below(900))
        let padding = String(repeating: "N", count: Int(random.below(60)))
        let names = (0..<count).map { "X-Mixed-\(padding)-\($0)" }
        let lines = names.map { "\($0): Value\r\n" }.joined()
        let lower = names.map { "\($0.lowercased()): Value\r\n" }.joined()
        let head = "POST / HTTP/1.1\r\nhost: a\r\n\(lines)transfer-encoding: chunked\r\n\r\n"
        pair.client.say(pair.stream(), head + "1\r\n.\r\n0\r\n\(lines)\r\n")
        pair.exchange()
        #expect(
            pair.server.text()
                == "POST / HTTP/1.1\r\nhost: a\r\n\(lower)transfer-encoding: chunked\r\n\r\n"
                + "1\r\n.\r\n0\r\n\(lower)\r\n")
    }
}
