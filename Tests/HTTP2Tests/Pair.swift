import Base
import HTTP1
import HTTP2
import HTTPSemantics

/// Two connections in one thread: what one writes the other reads, cut as a test says.
final class Pair {
    /// One side, and what its streams have said.
    final class End {
        var h2 = HTTP2Connection()
        var workspace = HTTP2Workspace(limits: HeadLimits())
        /// The text of each stream, by its slot's index.
        var texts: [UInt32: [UInt8]] = [:]
        var streams: [StreamSlot] = []
        var ended: Set<UInt32> = []
        var closed: [UInt32: UInt32] = [:]
        var unprocessed: Set<UInt32> = []
        var breaches: [HTTP2Breach] = []
        var malformedCount = 0
        var drainedCount = 0
        var droppedTrailersCount = 0
        /// Bytes received are credited at once; a test may hold them back, of all streams or some.
        var credits = true
        var stalled: Set<UInt32> = []

        func text(_ index: UInt32 = 0) -> String {
            String(decoding: texts[index] ?? [], as: UTF8.self)
        }

        /// - Returns: whether more text must wait.
        @discardableResult
        func say(_ stream: StreamSlot, _ text: String) -> Bool {
            h2.take(stream, Array(text.utf8).span, &workspace)
        }

        // The checks' macros copy what they look at, and connections cannot be copied.
        var isFinished: Bool { h2.isFinished }
        var isGoingAway: Bool { h2.isGoingAway }
        var allowsWebSockets: Bool { h2.allowsWebSockets }
        var streamsAllowed: Int { h2.streamsAllowed }
        func isStalled(_ stream: StreamSlot) -> Bool { h2.isStalled(stream) }
        func makeStream() -> StreamSlot? { h2.makeStream(owner: 9) }
        var nextStall: Instant { h2.nextStall }
        func release(
            _ stream: StreamSlot, now: Instant, patience: Duration = .unlimited
        ) -> Bool {
            h2.release(stream, broken: nil, now: now, patience: patience)
        }
        func resetStalled(now: Instant) { h2.resetStalled(now: now) }

        func takeEvents(_ text: borrowing ByteBuffer) {
            for i in 0..<h2.eventCount {
                switch h2.event(i) {
                case .opened(let stream):
                    streams.append(stream)
                    h2.setOwner(stream, UInt64(stream.index) + 1)
                case .text(let stream, let range):
                    let piece = text.span(range)
                    for j in 0..<piece.count { texts[stream.index, default: []].append(piece[j]) }
                    if credits, !stalled.contains(stream.index) {
                        h2.credit(stream, keeping: 0)
                    }
                case .ended(let stream): ended.insert(stream.index)
                case .closed(let stream, let code, let isUnprocessed):
                    closed[stream.index] = code
                    if isUnprocessed { unprocessed.insert(stream.index) }
                case .breach(let breach): breaches.append(breach)
                case .malformed: malformedCount += 1
                case .drained: drainedCount += 1
                case .droppedTrailers: droppedTrailersCount += 1
                case .wrote, .goingAway, .settings: break
                }
            }
            h2.forgetEvents()
        }

        func receive(_ bytes: Span<UInt8>, now: Instant) {
            var at = 0
            while at < bytes.count {
                var text = ByteBuffer()
                let taken = h2.receive(
                    bytes.extracting(at..<bytes.count), text: &text, now: now)
                takeEvents(text)
                if taken == 0 { return }
                at += taken
            }
        }

        func output(now: Instant) -> [UInt8] {
            var out = ByteBuffer()
            while h2.send(into: &out, atMost: 65_536, now: now, &workspace) {}
            takeEvents(ByteBuffer())
            var bytes: [UInt8] = []
            let view = out.readable
            for i in 0..<view.count { bytes.append(view[i]) }
            return bytes
        }
    }

    let client = End()
    let server = End()
    var now = Instant(nanoseconds: 1_000_000_000)

    /// - Parameter limits: of both sides, or of the client where `ofServer` has the server's.
    init(limits: HTTP2Limits = HTTP2Limits(), ofServer: HTTP2Limits? = nil) {
        client.h2.open(
            isServer: false, isSecure: false, limits: limits, seed: 1, now: now)
        server.h2.open(
            isServer: true, isSecure: false, limits: ofServer ?? limits, seed: 2, now: now)
    }

    /// A new stream of the client's.
    func stream() -> StreamSlot {
        guard let slot = client.h2.makeStream(owner: UInt64(client.streams.count) + 100) else {
            preconditionFailure("room for a stream")
        }
        client.streams.append(slot)
        return slot
    }

    /// Passes bytes both ways until neither side has more to say.
    ///
    /// - Parameter cut: the length of the next piece, or the whole when it is 0.
    func exchange(cut: () -> Int = { 0 }) {
        while true {
            let there = client.output(now: now), back = server.output(now: now)
            if there.isEmpty, back.isEmpty { return }
            pass(there, to: server, cut)
            pass(back, to: client, cut)
        }
    }

    private func pass(_ bytes: [UInt8], to end: End, _ cut: () -> Int) {
        var at = 0
        while at < bytes.count {
            let length = cut()
            let next = length == 0 ? bytes.count : min(bytes.count, at + length)
            end.receive(bytes.span.extracting(at..<next), now: now)
            at = next
        }
    }
}
