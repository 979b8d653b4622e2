import Base
import HTTP1
import HTTP2

/// A connection of ours, and a peer that says any frame it likes. What is received is credited at
/// once; streams are let go when they close, as their owner does.
final class RawPeer {
    enum Kind: UInt8 {
        case data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate
        case continuation
        case priorityUpdate = 16
        case unknown = 0x77
    }

    let isClient: Bool
    var now = Instant(nanoseconds: 1_000_000_000)
    private var h2 = HTTP2Connection()
    private var workspace = HTTP2Workspace(limits: HeadLimits())
    /// Streams by their number, as long as they are open.
    private(set) var slots: [Int32: StreamSlot] = [:]
    private var newest: Int32 = 0
    /// Numbers of requests that were said in one read.
    private var said: [Int32] = []
    private(set) var breaches: [HTTP2Breach] = []
    private(set) var frameCount = 0
    /// Frames that came back.
    private(set) var answers: [(kind: UInt8, flags: UInt8, id: Int32, payload: [UInt8])] = []
    /// Ends of streams, by their code.
    private(set) var closed: [UInt32: Int] = [:]
    /// The answer of our side to each request that is complete; `nil`: nothing yet.
    var reply: String? = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    private(set) var openedCount = 0

    var isBroken: Bool { !breaches.isEmpty }

    /// - Parameter isClient: the peer is a client, and the connection a server's.
    init(isClient: Bool, acknowledges: Bool = true) {
        self.isClient = isClient
        h2.open(
            isServer: isClient, isSecure: false, limits: HTTP2Limits(), seed: 1, now: now)
        if isClient { receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)) }
        say(.settings)
        if acknowledges { say(.settings, 1) }
        answers = []
    }

    static func frame(
        _ kind: Kind, _ flags: UInt8 = 0, _ id: Int32 = 0, _ payload: [UInt8] = []
    ) -> [UInt8] {
        var bytes = Array(word(UInt32(payload.count)).dropFirst())
        bytes.append(kind.rawValue)
        bytes.append(flags)
        bytes += word(UInt32(bitPattern: id))
        return bytes + payload
    }

    static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// Fields as literals without indexing and without Huffman coding.
    static func block(_ fields: [(String, String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (name, value) in fields {
            bytes.append(0)
            bytes.append(UInt8(name.utf8.count))
            bytes += Array(name.utf8)
            bytes.append(UInt8(value.utf8.count))
            bytes += Array(value.utf8)
        }
        return bytes
    }

    static let request = block([
        (":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a"),
    ])
    static let answer = block([(":status", "200")])

    func say(_ kind: Kind, _ flags: UInt8 = 0, _ id: Int32 = 0, _ payload: [UInt8] = []) {
        frameCount += 1
        receive(RawPeer.frame(kind, flags, id, payload))
    }

    /// Several frames in one read.
    func say(_ frames: [[UInt8]]) {
        frameCount += frames.count
        receive(frames.flatMap { $0 })
    }

    func reset(_ id: Int32, _ code: UInt32 = 8) { say(.reset, 0, id, RawPeer.word(code)) }

    func window(_ id: Int32, _ more: UInt32 = 8) { say(.windowUpdate, 0, id, RawPeer.word(more)) }

    /// A new stream of the peer's, or, of an endpoint, a request of ours.
    @discardableResult
    func open(ends: Bool = true) -> Int32 {
        newest += newest == 0 ? 1 : 2
        if isClient {
            say(.headers, ends ? 5 : 4, newest, RawPeer.request)
        } else if let slot = h2.makeStream(owner: UInt64(newest)) {
            slots[newest] = slot
            ours(
                slot,
                ends
                    ? "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
                    : "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        }
        return newest
    }

    /// Our side says something on a stream.
    func ours(_ id: Int32, _ text: String) {
        if let slot = slots[id] { ours(slot, text) }
    }

    private func ours(_ slot: StreamSlot, _ text: String) {
        _ = h2.take(slot, Array(text.utf8).span, &workspace)
        write()
    }

    /// Our side breaks a stream off.
    func breakOff(_ id: Int32) {
        guard let slot = slots.removeValue(forKey: id) else { return }
        h2.release(slot, broken: isClient ? .internalError : .cancel, now: now)
        write()
    }

    /// Takes the oldest streams back and opens as many new ones and `more`, in one read.
    func swap(_ count: Int, more: Int = 0) {
        var frames = slots.keys.sorted().prefix(count).map {
            RawPeer.frame(.reset, 0, $0, RawPeer.word(8))
        }
        for _ in 0..<count + more {
            newest += 2
            frames.append(RawPeer.frame(.headers, 5, newest, RawPeer.request))
            said.append(newest)
        }
        say(frames)
        said = []
    }

    var wasToldTooManyPings: Bool { h2.wasToldTooManyPings }

    func ping() {
        h2.ping()
        write()
    }

    func shutDown() {
        h2.shutDown()
        write()
    }

    private func receive(_ bytes: [UInt8]) {
        var at = 0
        while at < bytes.count {
            var text = ByteBuffer()
            let taken = h2.receive(
                bytes.span.extracting(at..<bytes.count), text: &text, now: now)
            handleEvents()
            write()
            if taken == 0 { return }
            at += taken
        }
    }

    private func handleEvents() {
        var todo: [HTTP2Event] = []
        for i in 0..<h2.eventCount { todo.append(h2.event(i)) }
        h2.forgetEvents()
        for event in todo {
            switch event {
            case .opened(let stream):
                openedCount += 1
                let number = said.isEmpty ? newest : said.removeFirst()
                h2.setOwner(stream, UInt64(number))
                slots[number] = stream
            case .text(let stream, _):
                h2.credit(stream, keeping: 0)
                if isClient, let reply, h2.hasEnded(stream) {
                    _ = h2.take(stream, Array(reply.utf8).span, &workspace)
                }
            case .closed(let stream, let code, _):
                closed[code, default: 0] += 1
                let number = slots.first { $0.value == stream }?.key
                if let number { slots[number] = nil }
                h2.release(stream, broken: nil, now: now)
            case .breach(let breach): breaches.append(breach)
            default: break
            }
        }
    }

    private func write() {
        var out = ByteBuffer()
        while h2.send(into: &out, atMost: 65_536, now: now, &workspace) {}
        handleEvents()
        let view = out.readable
        var at = !isClient && view.count > 24 && view[0] == UInt8(ascii: "P") ? 24 : 0
        while at + 9 <= view.count {
            let length = Int(view[at]) << 16 | Int(view[at + 1]) << 8 | Int(view[at + 2])
            var number: Int32 = 0
            for i in 5..<9 { number = number << 8 | Int32(view[at + i]) }
            let payload = (0..<min(length, 16)).map { view[at + 9 + $0] }
            answers.append((view[at + 3], view[at + 4], number, payload))
            at += 9 + length
        }
        if answers.count > 10_000 { answers.removeFirst(5_000) }
    }
}
