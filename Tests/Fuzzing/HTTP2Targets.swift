import Base
import HTTP1
import HTTP2
import HTTPSemantics

/// HTTP/2 connections: whatever comes, text that is handed on is HTTP/1.1 in one reading.
enum HTTP2Targets {
    /// As a server: what clients send.
    static func client(_ input: [UInt8]) throws { try both(input, isServer: true) }

    /// As a client: what origins send, to requests that are under way.
    static func origin(_ input: [UInt8]) throws { try both(input, isServer: false) }

    private static func both(_ input: [UInt8], isServer: Bool) throws {
        guard let first = input.first else { return }
        let bytes = Array(input.dropFirst())
        let whole = try Reader(isServer: isServer).read(bytes, seed: nil)
        let pieces = try Reader(isServer: isServer).read(bytes, seed: UInt64(first))
        try demand(whole == pieces, "in pieces it reads differently: \(whole) and \(pieces)")
    }

    private final class Reader {
        private var h2 = HTTP2Connection()
        private var workspace = HTTP2Workspace(limits: HeadLimits())
        private let isServer: Bool
        private let now = Instant(nanoseconds: 1_000_000_000)
        private var texts: [UInt32: [UInt8]] = [:]
        private var ended: Set<UInt32> = []
        private var answered = 0

        init(isServer: Bool) {
            self.isServer = isServer
            h2.open(
                isServer: isServer, isSecure: false, limits: HTTP2Limits(), seed: 1, now: now)
            guard !isServer else { return }
            for method in ["GET", "HEAD", "POST"] {
                guard let stream = h2.makeStream(owner: 1) else { continue }
                let text = "\(method) / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
                _ = h2.take(stream, Array(text.utf8).span, &workspace)
            }
            drop()
        }

        /// - Returns: what each stream says; chunks are as the pieces were, and mean nothing.
        func read(_ bytes: [UInt8], seed: UInt64?) throws -> [UInt32: [Oracle.Message]] {
            var random = PRNG(seed: seed ?? 0)
            var at = 0
            while at < bytes.count {
                let length = seed == nil ? bytes.count : 1 + Int(random.below(20))
                let end = min(bytes.count, at + length)
                while at < end {
                    var text = ByteBuffer()
                    let taken = h2.receive(
                        bytes.span.extracting(at..<end), text: &text, now: now)
                    try demand(taken >= 0 && taken <= end - at, "took \(taken) of \(end - at)")
                    try handle(text)
                    if taken == 0 { break }
                    at += taken
                }
                at = end
                // Whole, what answers is sent at once; in pieces, in between.
                if seed != nil { drop() }
            }
            drop()
            for text in texts { try check(text.value, isEnded: ended.contains(text.key)) }
            return Dictionary(
                uniqueKeysWithValues: texts.map {
                    ($0.key, meaning($0.value, isEnded: ended.contains($0.key)))
                })
        }

        private func drop() {
            var out = ByteBuffer()
            while h2.send(into: &out, atMost: 65_536, now: now, &workspace) { out.clear() }
            h2.forgetEvents()
        }

        private func handle(_ text: borrowing ByteBuffer) throws {
            for i in 0..<h2.eventCount {
                switch h2.event(i) {
                case .opened(let stream):
                    h2.setOwner(stream, UInt64(stream.index) + 1)
                    texts[stream.index] = []
                case .text(let stream, let range):
                    try demand(range.upper <= text.writerIndex, "text that is not there")
                    let piece = text.span(range)
                    for j in 0..<piece.count { texts[stream.index, default: []].append(piece[j]) }
                    h2.credit(stream, keeping: 0)
                case .ended(let stream): ended.insert(stream.index)
                case .closed, .breach, .malformed, .drained, .wrote, .goingAway, .settings,
                    .droppedTrailers:
                    break
                }
            }
            h2.forgetEvents()
        }

        private func meaning(_ text: [UInt8], isEnded: Bool) -> [Oracle.Message] {
            var oracle = Oracle(text)
            var messages: [Oracle.Message] = []
            while !oracle.isAtEnd,
                var message = try? oracle.next(isRequest: isServer, isHead: false)
            {
                // How much of a broken message comes before it breaks is the pieces' affair.
                if !isEnded || !message.isWhole {
                    message.body = []
                    message.isWhole = false
                }
                messages.append(message)
                if !message.values("upgrade").isEmpty { break }
            }
            return messages
        }

        /// A head that is handed on is one; a message that has ended is whole in itself.
        private func check(_ text: [UInt8], isEnded: Bool) throws {
            guard !text.isEmpty else { return }
            if isServer {
                if text.starts(with: "CONNECT ".utf8) { return }
                var oracle = Oracle(text)
                guard let message = try oracle.next(isRequest: true, isHead: false) else {
                    // One above the limit is handed on without an end, to be refused as any other.
                    try demand(text.count > HeadLimits().headBytesMax, "half a head")
                    return
                }
                try demand(message.values("host").count == 1, "not one host")
                // What follows a handshake is no HTTP.
                if !message.values("upgrade").isEmpty { return }
                try demand(oracle.isAtEnd, "bytes behind a stream's request")
                try demand(message.isWhole || !isEnded, "a request that ended is cut off")
                return
            }
            var oracle = Oracle(text)
            while !oracle.isAtEnd {
                guard let message = try oracle.next(isRequest: false, isHead: false) else { break }
                if message.start.dropFirst(9).first != 0x31 { break }
            }
        }
    }
}
