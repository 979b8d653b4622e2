import Base
import Support
import Testing

import TLS

/// A client and a server in memory, with certificates made beforehand (Fixtures.swift).
final class TLSPair {
    var client = TLSConnection()
    var server = TLSConnection()
    var toServer: [UInt8] = []
    var toClient: [UInt8] = []
    var clientDone = false
    var serverDone = false
    var failed = false

    static func server(
        _ tickets: TLSTickets, _ protocols: TLSProtocols = .both, modern: Bool = false
    ) throws -> TLSContext {
        let context = try TLSContext.server(protocols, isModern: modern, tickets: tickets)
        try context.add(Fixtures.server)
        return context
    }

    static func client(_ protocols: TLSProtocols = .both) throws -> TLSContext {
        let context = try TLSContext.client(protocols, verifies: true)
        try context.trust(Fixtures.authority)
        return context
    }

    init(
        _ clientContext: TLSContext, _ serverContext: TLSContext, name: String = "localhost",
        resuming: TLSResumption? = nil
    ) {
        let isOpen = client.openClient(clientContext, name: name, resuming: resuming)
        let waits = server.openServer(serverContext)
        #expect(isOpen && waits)
    }

    static func bytes(_ output: inout TLSOutput) -> [UInt8] {
        var bytes: [UInt8] = []
        let view = output.bytes
        for i in 0..<view.count { bytes.append(view[i]) }
        output.clear()
        return bytes
    }

    /// Hands over bytes in pieces of at most `cut` until both have finished, or one failed.
    func handshake(cut: () -> Int = { 1 << 20 }) {
        var output = TLSOutput()
        let none: [UInt8] = []
        _ = client.handshake(none.span, to: &output)
        toServer = TLSPair.bytes(&output)
        var rounds = 0
        while !failed, !clientDone || !serverDone, rounds < 100_000 {
            rounds += 1
            if !toServer.isEmpty {
                let piece = take(&toServer, cut())
                step(&server, piece, &serverDone, &toClient, &output)
            }
            if !toClient.isEmpty {
                let piece = take(&toClient, cut())
                step(&client, piece, &clientDone, &toServer, &output)
            }
            if toServer.isEmpty, toClient.isEmpty { return }
        }
    }

    private func take(_ from: inout [UInt8], _ count: Int) -> [UInt8] {
        let n = min(count, from.count)
        defer { from.removeFirst(n) }
        return Array(from[..<n])
    }

    private func step(
        _ tls: inout TLSConnection, _ piece: [UInt8], _ isDone: inout Bool, _ back: inout [UInt8],
        _ output: inout TLSOutput
    ) {
        if isDone {
            var plain = ByteBuffer()
            _ = tls.read(piece.span, to: &plain, atMost: 100, answers: &output)
        } else {
            switch tls.handshake(piece.span, to: &output) {
            case .done: isDone = true
            case .wantsMore: break
            case .failed: failed = true
            }
        }
        back += TLSPair.bytes(&output)
    }

    // The checks' macros copy what they look at, and TLS connections cannot be copied.
    var wasResumed: Bool { client.wasResumed }
    var isHTTP2: (client: Bool, server: Bool) { (client.isHTTP2, server.isHTTP2) }
    var version: UInt8 { server.version }
    var clientCause: UInt8 { client.failureCause }
    var serverCause: UInt8 { server.failureCause }
    var clientReason: String { client.failureText }
    func takeResumption() -> TLSResumption? { client.takeResumption() }

    /// Sends bytes from the client to the server, in pieces, and returns what the server read.
    func send(_ text: [UInt8], cut: () -> Int) -> [UInt8] {
        var output = TLSOutput()
        let isWritten = client.write(text.span, to: &output)
        #expect(isWritten)
        var cipher = toServer + TLSPair.bytes(&output)
        toServer = []
        var plain = ByteBuffer()
        while !cipher.isEmpty {
            let piece = take(&cipher, cut())
            var bytes = piece
            while case .bytes = server.read(
                bytes.span, to: &plain, atMost: 1_000, answers: &output)
            {
                bytes = []
            }
        }
        var got: [UInt8] = []
        let view = plain.readable
        for i in 0..<view.count { got.append(view[i]) }
        return got
    }
}

@Suite struct TLSPairTests {
    @Test(
        "a handshake agrees on HTTP/2, verifies the name, and carries bytes, however it is cut",
        arguments: 0..<40)
    func carries(_ seed: UInt64) throws {
        let tickets = try TLSTickets()
        var random = PRNG(seed: seed)
        let cut = { seed == 0 ? 1 : Int(random.below(seed * 40 + 1)) + 1 }
        let pair = try TLSPair(TLSPair.client(), TLSPair.server(tickets))
        pair.handshake(cut: cut)
        #expect(pair.clientDone && pair.serverDone && !pair.failed)
        #expect(pair.isHTTP2 == (true, true))
        #expect(pair.version == 3)
        let text = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        #expect(pair.send(text, cut: cut) == text)
    }

    @Test("ALPN takes what both speak; nothing in common is refused")
    func alpn() throws {
        let tickets = try TLSTickets()
        let one = try TLSPair(TLSPair.client(.http1), TLSPair.server(tickets))
        one.handshake()
        #expect(one.serverDone && !one.isHTTP2.server)
        let none = try TLSPair(TLSPair.client(.http1), TLSPair.server(tickets, .http2))
        none.handshake()
        #expect(none.failed)
    }

    @Test("a name that the certificate lacks, and an authority that is not trusted, are refused")
    func verification() throws {
        let tickets = try TLSTickets()
        let wrong = try TLSPair(TLSPair.client(), TLSPair.server(tickets), name: "elsewhere.test")
        wrong.handshake()
        #expect(wrong.failed && wrong.clientCause == 4)
        let context = try TLSContext.client(.both, verifies: true)
        let stranger = try TLSPair(context, TLSPair.server(tickets))
        stranger.handshake()
        #expect(stranger.failed && stranger.clientCause == 2)
        #expect(stranger.clientReason.contains("certificate"))
    }

    @Test("a TLS ticket is good under the newest key and the one before it, not under older ones")
    func tickets() throws {
        let tickets = try TLSTickets()
        let client = try TLSPair.client()
        for (rotations, isResumed) in [(0, true), (1, true), (2, false)] {
            let first = try TLSPair(client, TLSPair.server(tickets))
            first.handshake()
            #expect(!first.wasResumed)
            // TLS 1.3's ticket follows the handshake.
            _ = first.send([1], cut: { 1 << 20 })
            var plain = ByteBuffer()
            var output = TLSOutput()
            _ = first.client.read(first.toClient.span, to: &plain, atMost: 100, answers: &output)
            let ticket = try #require(first.takeResumption())
            for _ in 0..<rotations { tickets.rotate() }
            // Contexts are made anew at a reload; the keys stay.
            let next = try TLSPair(client, TLSPair.server(tickets), resuming: ticket)
            next.handshake()
            #expect(next.clientDone && next.wasResumed == isResumed, "\(rotations)")
        }
    }

    @Test("a client's certificate is asked for, verified, and described")
    func mutual() throws {
        let tickets = try TLSTickets()
        let server = try TLSPair.server(tickets)
        try server.trust(Fixtures.authority)
        server.askClients(required: true)
        let client = try TLSPair.client()
        let without = TLSPair(client, server)
        without.handshake()
        #expect(without.failed && without.serverCause == 1)
        try client.add(Fixtures.client)
        let with = TLSPair(client, server)
        with.handshake()
        #expect(with.serverDone)
        var identity = ByteBuffer()
        with.server.appendIdentity(to: &identity)
        let text = ASCII.string(identity.readable)
        #expect(text.hasPrefix("Hash="))
        #expect(
            text.hasSuffix(
                ";Subject=\"CN=al\\\\\\\"ice\";URI=\"spiffe://shop/alice\";DNS=\"alice.test\""))
    }

    @Test("an end is told from bytes that stop, however little of it is taken at a time")
    func ends() throws {
        let tickets = try TLSTickets()
        let pair = try TLSPair(TLSPair.client(), TLSPair.server(tickets))
        pair.handshake()
        var output = TLSOutput()
        var cipher: [UInt8] = []
        let isWritten = pair.client.write(Array("last".utf8).span, to: &output)
        #expect(isWritten)
        pair.client.end(to: &output)
        while !output.isEmpty {
            let view = output.bytes
            let count = min(3, view.count)
            for i in 0..<count { cipher.append(view[i]) }
            output.consume(count)
        }
        var plain = ByteBuffer()
        let cut = Array(cipher.dropLast())
        let first = pair.server.read(cut.span, to: &plain, atMost: 100, answers: &output)
        let none: [UInt8] = []
        let second = pair.server.read(none.span, to: &plain, atMost: 100, answers: &output)
        let third = pair.server.read(
            Array(cipher.suffix(1)).span, to: &plain, atMost: 100, answers: &output)
        #expect((first, second, third) == (.bytes(4), .wantsMore, .ended))
        #expect(ASCII.string(plain.readable) == "last")
    }

    @Test("who trusts the system's authorities does not trust others")
    func systemTrust() throws {
        let tickets = try TLSTickets()
        let context = try TLSContext.client(.both, verifies: true)
        try context.trustSystem()
        let pair = try TLSPair(context, TLSPair.server(tickets))
        pair.handshake()
        #expect(pair.failed && pair.clientCause == 2)
    }

    @Test(
        "PEM that is none, a key of another certificate, and a missing key are refused with a reason"
    )
    func badFiles() throws {
        let tickets = try TLSTickets()
        let context = try TLSContext.server(.both, isModern: false, tickets: tickets)
        let bad = [
            TLSCertificate(chain: Array("nonsense".utf8), key: Fixtures.server.key),
            TLSCertificate(chain: Fixtures.server.chain, key: []),
            TLSCertificate(chain: Fixtures.server.chain, key: Fixtures.client.key),
        ]
        for pair in bad {
            #expect(throws: TLSFailure.self) { try context.add(pair) }
        }
        #expect(throws: TLSFailure.self) { try context.trust([]) }
    }

    @Test("mutated bytes fail the handshake or change nothing; they never trap", arguments: 1..<300)
    func mutation(_ seed: UInt64) throws {
        var random = PRNG(seed: seed)
        let tickets = try TLSTickets()
        let pair = try TLSPair(TLSPair.client(), TLSPair.server(tickets))
        var output = TLSOutput()
        let none: [UInt8] = []
        _ = pair.client.handshake(none.span, to: &output)
        var hello = TLSPair.bytes(&output)
        for _ in 0..<(1 + random.below(5)) {
            hello[Int(random.below(UInt64(hello.count)))] ^= UInt8(1 << random.below(8))
        }
        _ = pair.server.handshake(hello.span, to: &output)
        _ = TLSPair.bytes(&output)
    }
}
