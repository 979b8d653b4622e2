import Base
import Errands
import Foundation
import Platform
import Rollout
import Support
import TLS
import Testing

@Suite struct RequestTests {
    @Test(
        "each framing of an answer is read, behind interim answers too",
        arguments: [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
        ])
    func framings(_ answer: String) async throws {
        let server = try ScriptedServer.answering(answer)
        let outcome = try await Desk().ask(server.url)
        #expect(outcome.answer?.status == 200 && outcome.text == "hello")
    }

    @Test("a request says what is wanted, with the settings' headers, and asks for no encoding")
    func asked() async throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID())")
        try "Bearer s3cret\n".write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let seen = NSLocked("")
        let server = try ScriptedServer { connection in
            let text = connection.request()
            seen.with { $0 = text }
            connection.send("HTTP/1.1 204 No Content\r\n\r\n")
        }
        let outcome = try await Desk().ask(server.url + "/a/b?c=d%20e") { request in
            request.settings.headers = [
                .init(name: "Authorization", value: .file(file.path)),
                .init(name: "x-scope-orgid", value: .text("tenant-1")),
            ]
        }
        #expect(outcome.answer?.status == 204)
        #expect(
            seen.with { $0 } == """
                GET /a/b?c=d%20e HTTP/1.1\r
                host: 127.0.0.1:\(server.port)\r
                user-agent: sluice\r
                accept: */*\r
                accept-encoding: identity\r
                connection: close\r
                authorization: Bearer s3cret\r
                x-scope-orgid: tenant-1\r
                \r\n
                """)
    }

    @Test("a file of header lines goes along, and one that would frame the message is refused")
    func headerLines() async throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID())")
        defer { try? FileManager.default.removeItem(at: file) }
        let seen = NSLocked("")
        let server = try ScriptedServer { connection in
            let text = connection.request()
            seen.with { $0 = text }
            connection.send("HTTP/1.1 204 No Content\r\n\r\n")
        }
        let desk = try Desk()
        try "# of the team\n\nAuthorization:  Bearer x:y \r\nx-a: 1\n".write(
            to: file, atomically: true, encoding: .utf8)
        _ = try await desk.ask(server.url) { $0.settings.headersFile = file.path }
        let text = seen.with { $0 }
        #expect(text.hasSuffix("\r\nauthorization: Bearer x:y\r\nx-a: 1\r\n\r\n"), "\(text)")
        for line in ["content-length: 5", "nothing", "x-a: a\u{1}b", "X-Sluice-Signature: x"] {
            try line.write(to: file, atomically: true, encoding: .utf8)
            let outcome = try await desk.ask(server.url) { $0.settings.headersFile = file.path }
            #expect(outcome.failure?.kind == .file, "\(line)")
        }
        #expect(server.connectionCount == 1)
    }

    @Test("a signed body carries the HMAC of its time and its bytes")
    func signed() async throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID())")
        try "0123456789abcdef\nan older one\n".write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let seen = NSLocked("")
        let server = try ScriptedServer { connection in
            let text = connection.request()
            seen.with { $0 = text }
            connection.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        }
        _ = try await Desk().ask(server.url, body: "{\"a\":1}") { $0.signingKeyFile = file.path }
        let text = seen.with { $0 }
        func field(_ name: String) -> String {
            text.components(separatedBy: "\(name): ").last?.components(separatedBy: "\r\n")[0] ?? ""
        }
        #expect(text.hasPrefix("POST / HTTP/1.1\r\n") && text.hasSuffix("\r\n\r\n{\"a\":1}"))
        let seconds = try #require(Int64(field("x-sluice-time")))
        #expect(abs(Double(seconds) - Date().timeIntervalSince1970) < 3_600)
        let code = HMAC.sha256(
            key: Array("0123456789abcdef".utf8), Array("\(seconds).{\"a\":1}".utf8))
        let hex = code.map { String(format: "%02x", $0) }.joined()
        #expect(field("x-sluice-signature") == "sha256=\(hex)")
    }

    @Test("a key that is too short, or a header's file that is missing, is a failure by name")
    func files() async throws {
        let server = try ScriptedServer.answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID())")
        try "short".write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let desk = try Desk()
        let short = try await desk.ask(server.url, body: "x") { $0.signingKeyFile = file.path }
        #expect(short.failure?.kind == .file)
        #expect(short.failure?.message.contains("openssl rand -hex 32") == true)
        let missing = try await desk.ask(server.url) {
            $0.settings.headers = [.init(name: "authorization", value: .file("/nowhere/token"))]
        }
        #expect(missing.failure?.message.contains("/nowhere/token") == true)
        #expect(server.connectionCount == 0)
    }

    @Test(
        "an answer that is cut off is no answer",
        arguments: [
            ("", "without an answer"), ("HTTP/1.1 200 OK\r\nconte", "within the answer's head"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "4 more were announced"),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
                "after 5 bytes"
            ),
        ])
    func cut(_ answer: String, _ words: String) async throws {
        let server = try ScriptedServer.answering(answer)
        let failure = try await Desk().ask(server.url).failure
        #expect(failure?.kind == .cut)
        #expect(failure?.message.contains(words) == true, "\(failure?.message ?? "")")
    }

    @Test(
        "an answer beyond the limit is given up, whether it says how long it is or not",
        arguments: [
            "HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 1_001),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n"
                + String(repeating: "x", count: 1_001),
        ])
    func large(_ answer: String) async throws {
        let server = try ScriptedServer { connection in
            _ = connection.request()
            connection.send(answer)
            connection.waitForEnd()
        }
        let outcome = try await Desk { $0.answerBytesMax = 1_000 }.ask(server.url)
        #expect(outcome.failure?.kind == .tooLarge)
    }

    @Test(
        "bytes that are no HTTP/1.1 are said to be none",
        arguments: ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 101 Go\r\n\r\n", "HTTP/2 200\r\n\r\n"])
    func foreign(_ answer: String) async throws {
        let server = try ScriptedServer { connection in
            connection.send(answer)
            connection.waitForEnd()
        }
        #expect(try await Desk().ask(server.url).failure?.kind == .notHTTP)
    }

    @Test("a redirect is an answer, which nobody follows")
    func redirect() async throws {
        let other = try ScriptedServer.answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        let server = try ScriptedServer.answering(
            "HTTP/1.1 302 Found\r\nlocation: \(other.url)/x\r\ncontent-length: 0\r\n\r\n")
        let answer = try await Desk().ask(server.url).answer
        #expect(answer?.isRedirect == true && other.connectionCount == 0)
        #expect(answer?.complaint?.contains("\(other.url)/x") == true)
    }

    @Test("a server that answers before it has read the whole body is heard")
    func early() async throws {
        let server = try ScriptedServer { connection in
            connection.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno")
            connection.waitForEnd()
        }
        let outcome = try await Desk().ask(
            server.url, body: String(repeating: "x", count: 8 << 20))
        #expect(outcome.answer?.status == 413 && outcome.text == "no")
    }

    @Test("a provider that hangs is a state with a time, for whoever asks")
    func hangs() async throws {
        let server = try ScriptedServer.hanging()
        let desk = try Desk()
        let ticket = desk.give(try Desk.call(server.url, limit: .seconds(3_600)))
        await desk.until { $0.first?.stage == .awaiting }
        let status = try #require(desk.errands.underWay.first)
        #expect(status.ticket == ticket && status.party == server.url)
        #expect(status.deadline > status.since)
        desk.errands.cancel(ticket)
        #expect(await desk.report(ticket).outcome.failure?.kind == .cancelled)
        #expect(desk.errands.underWay.isEmpty)
    }

    @Test("a call ends when its time is over, wherever it is, and says so")
    func timesOut() async throws {
        let server = try ScriptedServer.hanging()
        let failure = try await Desk().ask(server.url, limit: .milliseconds(300)).failure
        #expect(failure?.kind == .timedOut)
        #expect(failure?.message.hasPrefix(server.url) == true)
        #expect(failure?.message.hasSuffix(" within 300 ms") == true)
    }

    @Test("a party that hangs has a few places, and leaves the others to others")
    func places() async throws {
        let slow = try ScriptedServer.hanging()
        let fast = try ScriptedServer.answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        let desk = try Desk { $0.runningMax = 4 }
        let held = try (0..<6).map { _ in desk.give(try Desk.call(slow.url)) }
        #expect(try await desk.ask(fast.url).answer?.status == 200)
        #expect(slow.connectionCount <= 3)
        for ticket in held { desk.errands.cancel(ticket) }
        for ticket in held {
            #expect(await desk.report(ticket).outcome.failure?.kind == .cancelled)
        }
    }

    @Test("calls beyond the queue are refused at once, and every call has its report")
    func bounded() async throws {
        let slow = try ScriptedServer.hanging()
        let desk = try Desk {
            $0.runningMax = 1
            $0.waitingMax = 2
        }
        let tickets = try (0..<5).map { _ in desk.give(try Desk.call(slow.url)) }
        for ticket in tickets[3...] {
            #expect(await desk.report(ticket).outcome.failure?.kind == .busy)
        }
        desk.errands.stop()
        for ticket in tickets[..<3] {
            #expect(await desk.report(ticket).outcome.failure?.kind == .cancelled)
        }
        #expect(try await desk.ask(slow.url).failure?.kind == .cancelled)
    }

    @Test("a closed port is refused by name, and the next address of a name is tried")
    func addresses() async throws {
        let server = try ScriptedServer.answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        let port = server.port
        let desk = try Desk(lookUp: { host, _ in
            host == "two"
                ? .success([.ipv4(127, 0, 0, 9, port: 0), .ipv4(127, 0, 0, 1, port: 0)])
                : .success([.ipv4(127, 0, 0, 9, port: 0)])
        })
        #expect(try await desk.ask("http://two:\(port)/").answer?.status == 200)
        let failure = try await desk.ask("http://one:\(port)/").failure
        #expect(failure?.kind == .notConnected)
        #expect(failure?.message.contains("127.0.0.9:\(port)") == true, "\(failure!)")
    }

    @Test("a name server that hangs keeps its own callers alone, and each name asks once")
    func names() async throws {
        let gate = DispatchSemaphore(value: 0), asked = NSLocked(0)
        let desk = try Desk(lookUp: { host, _ in
            if host == "slow" {
                asked.with { $0 += 1 }
                gate.wait()
            }
            return .failure(.init(reason: "no such host"))
        })
        let first = desk.give(try Desk.call("http://slow/"))
        let second = desk.give(try Desk.call("http://slow:81/"))
        await desk.until { $0.count { $0.stage == .resolving } == 2 }
        let other = try await desk.ask("http://other/")
        #expect(other.failure == CallFailure(.noAddress, "other has no address: no such host"))
        gate.signal()
        for ticket in [first, second] {
            #expect(await desk.report(ticket).outcome.failure?.kind == .noAddress)
        }
        #expect(asked.with { $0 } == 1)
    }

    @Test("the metadata service and the own admin endpoint are not called, whatever the name")
    func forbidden() async throws {
        let admin = try ScriptedServer.answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        let port = admin.port
        let desk = try Desk(
            { $0.admin = [.ipv4(127, 0, 0, 1, port: port)] },
            lookUp: { host, _ in
                .success([
                    host == "metadata"
                        ? .ipv4(169, 254, 169, 254, port: 0) : .ipv4(127, 0, 0, 1, port: 0)
                ])
            })
        for url in [
            "http://metadata/", "http://169.254.169.254/latest", "http://[::ffff:169.254.169.254]/",
            "http://friend:\(port)/", "http://127.0.0.1:\(port)/drain", "http://0.0.0.0:\(port)/",
        ] {
            let failure = try await desk.ask(url).failure
            #expect(failure?.kind == .forbidden, "\(url): \(String(describing: failure))")
        }
        #expect(admin.connectionCount == 0)
    }

    // MARK: TLS

    private func authority() throws -> URL {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID()).pem")
        try Data(Fixtures.authority).write(to: file)
        return file
    }

    private static let local: Errands.Lookup = { _, _ in .success([.ipv4(127, 0, 0, 1, port: 0)]) }

    @Test("over TLS the server's certificate is verified, by the authority and by the name")
    func secure() async throws {
        let file = try authority()
        defer { try? FileManager.default.removeItem(at: file) }
        let server = try secureServer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        let desk = try Desk(lookUp: RequestTests.local)
        let url = "https://localhost:\(server.port)/"
        let good = try await desk.ask(url) { $0.settings.authorityFile = file.path }
        #expect(good.text == "hello", "\(good)")
        let unknown = try await desk.ask(url)
        #expect(unknown.failure?.kind == .notSecure)
        let wrongName = try await desk.ask("https://other:\(server.port)/") {
            $0.settings.authorityFile = file.path
        }
        #expect(wrongName.failure?.message.contains("hostname mismatch") == true, "\(wrongName)")
        let address = try await desk.ask("https://127.0.0.1:\(server.port)/") {
            $0.settings.authorityFile = file.path
        }
        #expect(address.failure?.message.contains("IP address mismatch") == true, "\(address)")
    }

    @Test("an answer without a length that TLS does not end was perhaps cut off")
    func truncated() async throws {
        let file = try authority()
        defer { try? FileManager.default.removeItem(at: file) }
        let desk = try Desk(lookUp: RequestTests.local)
        for (ends, isWhole) in [(true, true), (false, false)] {
            let server = try secureServer("HTTP/1.1 200 OK\r\n\r\nhello", endsProperly: ends)
            let outcome = try await desk.ask("https://localhost:\(server.port)/") {
                $0.settings.authorityFile = file.path
            }
            #expect((outcome.text == "hello") == isWhole, "\(outcome)")
            #expect((outcome.failure?.kind == .cut) == !isWhole)
        }
    }

    @Test("a server that asks who calls is shown the certificate, and refuses who has none")
    func clients() async throws {
        let file = try authority()
        let own = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID()).pem")
        try Data(Fixtures.client.chain + [0x0a] + Fixtures.client.key).write(to: own)
        defer { for file in [file, own] { try? FileManager.default.removeItem(at: file) } }
        let server = try secureServer(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nyo", asksClients: true)
        let desk = try Desk(lookUp: RequestTests.local)
        let url = "https://localhost:\(server.port)/"
        let known = try await desk.ask(url) {
            $0.settings.authorityFile = file.path
            $0.settings.certificateFile = own.path
        }
        #expect(known.text == "yo", "\(known)")
        let nobody = try await desk.ask(url) { $0.settings.authorityFile = file.path }
        #expect(nobody.failure?.kind == .notSecure, "\(nobody)")
    }

    @Test("plain HTTP where https was asked for is no TLS")
    func plain() async throws {
        let server = try ScriptedServer { connection in
            connection.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            connection.waitForEnd()
        }
        let outcome = try await Desk().ask("https://127.0.0.1:\(server.port)/")
        #expect(outcome.failure?.kind == .notSecure, "\(outcome)")
    }
}
