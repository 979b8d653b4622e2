import Synchronization

/// The whole data plane: bytes of a client and of its origins through routing, rewriting and pools.
/// What leaves must be, to a second reader, exactly the messages that came.
enum ExchangeTargets {
    private static func yaml(_ service: String) -> String {
        """
        listeners: [{ name: http, address: "127.0.0.1:80" }]
        services:
          s:
            stable: v1
            \(service)
            sticky: { cookie: sid, issue: sluice-s }
            versions:
              v1: { weight: 90%, endpoints: ["10.0.0.1:80"] }
              v2: { weight: 10%, endpoints: ["10.0.1.1:80"] }
        routes:
          - name: beta
            match: { path: { prefix: /b }, headers: { x-group: beta } }
            to: s/v2
            headers: { request: { set: { x-a: b }, remove: [referer] }, response: { set: { server: s } } }
          - { name: rest, to: s }
        defaults:
          forwarding: { trustedHops: 2, via: on, version: x-v, flags: x-flags }
          timeouts: { headers: 1s, idle: 2s, keepAlive: 1s }
          limits: { bodyBytes: 100KiB }
        """
    }

    /// One driver for all runs of a target; fuzzers and tests run one at a time.
    private final class Held: @unchecked Sendable {
        let driver: PlaneDriver
        init(_ driver: PlaneDriver) { self.driver = driver }
    }
    private static let toHTTP1 = Mutex(
        Held(PlaneDriver(yaml: yaml(""), speaksHTTP2: false)))
    private static let toHTTP2 = Mutex(
        Held(PlaneDriver(yaml: yaml("protocol: http2"), speaksHTTP2: true)))

    /// Seed, the client's bytes, `=====`, the origins' bytes.
    private static func parts(
        _ input: [UInt8]
    ) -> (seed: UInt64, client: [UInt8], origin: [UInt8])? {
        guard let first = input.first else { return nil }
        let bytes = input.dropFirst()
        let mark = Array("=====".utf8)
        var i = bytes.startIndex
        while i + mark.count <= bytes.endIndex {
            if Array(bytes[i..<(i + mark.count)]) == mark {
                return (UInt64(first), Array(bytes[..<i]), Array(bytes[(i + mark.count)...]))
            }
            i += 1
        }
        return (UInt64(first), Array(bytes), [])
    }

    static func plain(_ input: [UInt8]) throws {
        guard let (seed, client, origin) = parts(input) else { return }
        let record = try toHTTP1.withLock {
            try $0.driver.run(client: client, origin: origin, seed: seed)
        }
        let sent = isHTTP2(client) ? nil : clientMessages(client)
        for bytes in record.toOrigins { try checkForwarded(bytes, sent: sent) }
        try checkAnswers(record, client: client, sent: sent, origin: origin)
    }

    static func http2Origin(_ input: [UInt8]) throws {
        guard let (seed, client, origin) = parts(input) else { return }
        let record = try toHTTP2.withLock {
            try $0.driver.run(client: client, origin: origin, seed: seed)
        }
        for bytes in record.toOrigins where !bytes.isEmpty {
            try demand(isHTTP2(bytes), "no preface")
            try checkFrames(Array(bytes.dropFirst(24)))
        }
        let sent = isHTTP2(client) ? nil : clientMessages(client)
        try checkAnswers(record, client: client, sent: sent, origin: nil)
    }

    /// Lines that become values of fields which are rewritten or understood.
    static func fields(_ input: [UInt8]) throws {
        let names = [
            "X-Forwarded-For", "x-forwarded-proto", "X-Request-Id", "Forwarded", "Via", "TE",
            "Connection", "traceparent", "Upgrade", "Expect", "Cookie", "Referer", "Trailer",
            "x-forwarded-host", "x-request-timeout-ms", "grpc-timeout",
        ]
        var request = Array("POST /b HTTP/1.1\r\nHost: a.test\r\ncontent-length: 2\r\n".utf8)
        let lines = input.dropFirst().split(separator: 10, omittingEmptySubsequences: false)
        for (i, line) in lines.enumerated().prefix(40) {
            let kept = line.filter { $0 >= 0x20 && $0 != 0x7f || $0 == 9 }
            if i > 0, kept.isEmpty { continue }
            request += Array(names[i % names.count].utf8) + [0x3a, 0x20] + kept + [13, 10]
        }
        request += Array("\r\nhi".utf8)
        let answer = Array("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".utf8)
        let record = try toHTTP1.withLock {
            try $0.driver.run(client: request, origin: answer, seed: UInt64(input.first ?? 0))
        }
        for bytes in record.toOrigins {
            try checkForwarded(bytes, sent: clientMessages(request))
            for message in try Oracle.requests(bytes) {
                let chain = message.values("x-forwarded-for")
                try demand(chain.count == 1, "\(chain.count) chains")
                let text = String(decoding: chain.first ?? [], as: UTF8.self)
                try demand(text.hasSuffix("10.1.1.1"), "the client is not in \(text)")
                try demand(message.values("x-forwarded-proto").count == 1, "not one scheme")
                try demand(message.values("x-request-id").count == 1, "not one id")
                // An answer that comes first ends the rest of the request.
                try demand(
                    !message.isWhole || message.body == Array("hi".utf8), "another body")
            }
        }
    }

    // MARK: What must hold

    private static func isHTTP2(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    }

    /// Messages that a second reader finds in the client's bytes, up to what it refuses: of a body
    /// that breaks, what came before may have gone on already.
    private static func clientMessages(_ bytes: [UInt8]) -> [Oracle.Message] {
        var messages: [Oracle.Message] = []
        var rest = bytes
        while !rest.isEmpty {
            // RFC 9112 §2.2: an empty line before a request line is passed over.
            if rest.starts(with: [13, 10]) { rest.removeFirst(2) }
            var oracle = Oracle(rest)
            oracle.keepsBroken = true
            guard let message = try? oracle.next(isRequest: true, isHead: false) else { break }
            messages.append(message)
            rest = Array(rest[oracle.at...])
        }
        return messages
    }

    /// The forms of a target that mean the same to an origin (RFC 9112 §3.2).
    private static func originForms(_ target: [UInt8]) -> [[UInt8]] {
        if target.first == 0x2f || target == [0x2a] { return [target] }
        // Bytes, not text: a target may have such as are no UTF-8.
        guard let colon = target.firstIndex(of: 0x3a) else { return [target] }
        let rest = Array(target[colon...].dropFirst(3))
        let path = rest.firstIndex { $0 == 0x2f || $0 == 0x3f }
        guard let path else { return [[0x2f], [0x2a]] }
        return [rest[path] == 0x2f ? Array(rest[path...]) : [0x2f] + rest[path...]]
    }

    private static let hopByHop: Set<String> = [
        "keep-alive", "proxy-connection", "http2-settings",
    ]

    private static func checkForwarded(
        _ bytes: [UInt8], sent: [Oracle.Message]?
    ) throws {
        var oracle = Oracle(bytes)
        while !oracle.isAtEnd {
            guard let message = try oracle.next(isRequest: true, isHead: false) else {
                throw Finding("half a head to an origin")
            }
            try demand(message.values("host").count == 1, "not one host")
            try demand(message.start.suffix(9) == Array(" HTTP/1.1".utf8)[...], "a version")
            for field in message.fields {
                try demand(!hopByHop.contains(field.name), "\(field.name) goes on")
            }
            if let sent, !sent.contains(where: { matches(message, $0) }) {
                throw Finding(
                    "nobody sent \(String(decoding: message.start, as: UTF8.self)) "
                        + "with \(message.body.count) bytes")
            }
            // What follows a handshake is no HTTP.
            if !message.values("upgrade").isEmpty { return }
            try demand(message.isWhole || oracle.isAtEnd, "bytes behind half a message")
        }
    }

    private static func matches(_ forwarded: Oracle.Message, _ sent: Oracle.Message) -> Bool {
        let a = forwarded.words, b = sent.words
        guard a[0] == b[0], originForms(b[1]).contains(a[1]) else { return false }
        if forwarded.isWhole { return sent.isWhole && forwarded.body == sent.body }
        return sent.body.starts(with: forwarded.body)
    }

    private static func checkAnswers(
        _ record: PlaneDriver.Record, client: [UInt8], sent: [Oracle.Message]?,
        origin: [UInt8]?
    ) throws {
        guard let sent else {
            // The preface's own answer, or the refusal of what only looked like one.
            if !record.toClient.starts(with: "HTTP/1.1 ".utf8) { try checkFrames(record.toClient) }
            return
        }
        let isPlain = sent.allSatisfy {
            $0.words[0] != Array("HEAD".utf8) && $0.values("upgrade").isEmpty
        }
        var oracle = Oracle(record.toClient)
        var count = 0
        while !oracle.isAtEnd {
            let isHead = count < sent.count && sent[count].words[0] == Array("HEAD".utf8)
            guard let message = try oracle.next(isRequest: false, isHead: isHead) else {
                throw Finding("half a head to the client")
            }
            let status = Array(message.start[9...11])
            if status == Array("101".utf8) { return }
            // What was no request has no method: its refusal is the connection's last words.
            if isHead, message.values("connection").contains(Array("close".utf8)) { return }
            if status[0] == 0x31 { continue }
            count += 1
            if isPlain, let origin, !message.values("x-v").isEmpty,
                message.values("x-flags").isEmpty, !message.body.isEmpty
            {
                try demand(
                    answers(origin).contains {
                        message.isWhole && $0.isWhole
                            ? $0.body == message.body : $0.body.starts(with: message.body)
                    }, "an answer that no origin gave")
            }
            try demand(message.isWhole || oracle.isAtEnd, "bytes behind half an answer")
        }
        // One more for what was no request; half a request is the last.
        let most = sent.count + (sent.last?.isWhole == false ? 0 : 1)
        try demand(count <= most, "\(count) answers to \(sent.count) requests")
    }

    private static func answers(_ bytes: [UInt8]) -> [Oracle.Message] {
        var oracle = Oracle(bytes)
        oracle.keepsBroken = true
        var messages: [Oracle.Message] = []
        while !oracle.isAtEnd,
            let message = try? oracle.next(isRequest: false, isHead: false)
        {
            messages.append(message)
        }
        return messages
    }

    /// Frames have their lengths, up to where the connection ended (RFC 9113 §4.1).
    private static func checkFrames(_ bytes: [UInt8]) throws {
        var at = 0
        while at < bytes.count {
            try demand(at + 9 <= bytes.count, "half a frame's head")
            let length = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
            try demand(length <= 16_384, "a frame of \(length)")
            at += 9 + length
        }
        try demand(at == bytes.count, "half a frame")
    }
}
