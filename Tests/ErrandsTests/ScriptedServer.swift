import Base
import Foundation
import Platform
import Support
import TLS

/// A server of the tests on the loopback address: a script for each connection, on a thread.
final class ScriptedServer: Sendable {
    /// One connection, with calls that wait.
    struct Connection {
        let fd: Int32

        /// Reads up to the end of a request's head and the body that it announces.
        func request() -> String {
            var text = "", bytes = [UInt8](repeating: 0, count: 65_536)
            while true {
                if let end = text.range(of: "\r\n\r\n") {
                    let head = text[..<end.lowerBound].lowercased()
                    let length =
                        head.components(separatedBy: "content-length: ").dropFirst().first
                        .flatMap { Int($0.prefix { $0.isNumber }) } ?? 0
                    if text[end.upperBound...].utf8.count >= length { return text }
                }
                let n = Foundation.recv(fd, &bytes, bytes.count, 0)
                if n <= 0 { return text }
                text += String(decoding: bytes[..<n], as: UTF8.self)
            }
        }

        func send(_ text: String) { send(Array(text.utf8)) }

        func send(_ bytes: [UInt8]) {
            var at = 0
            while at < bytes.count {
                let n = bytes[at...].withUnsafeBytes {
                    Foundation.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                if n <= 0 { return }
                at += n
            }
        }

        /// Waits until the peer has closed.
        func waitForEnd() {
            var bytes = [UInt8](repeating: 0, count: 65_536)
            while Foundation.recv(fd, &bytes, bytes.count, 0) > 0 {}
        }
    }

    let port: UInt16
    private let listener: Int32
    private let count = NSLocked(0)

    var url: String { "http://127.0.0.1:\(port)" }
    /// Connections that were accepted.
    var connectionCount: Int { count.with { $0 } }

    init(_ script: @escaping @Sendable (Connection) -> Void) throws {
        let listener = try Socket.listen(.ipv4(127, 0, 0, 1, port: 0), isDual: false)
        self.listener = listener
        port = Socket.boundAddress(listener)!.port
        let count = count
        let flags = fcntl(listener, F_GETFL)
        _ = fcntl(listener, F_SETFL, flags & ~O_NONBLOCK)
        Thread.detachNewThread {
            while true {
                let fd = Foundation.accept(listener, nil, nil)
                if fd < 0 { return }
                count.with { $0 += 1 }
                Thread.detachNewThread {
                    script(Connection(fd: fd))
                    Foundation.close(fd)
                }
            }
        }
    }

    deinit {
        Foundation.shutdown(listener, Int32(SHUT_RDWR))
        Foundation.close(listener)
    }

    /// A server that reads each request and gives one answer.
    static func answering(_ text: String) throws -> ScriptedServer {
        try ScriptedServer { connection in
            _ = connection.request()
            connection.send(text)
        }
    }

    /// A server that never answers.
    static func hanging() throws -> ScriptedServer { try ScriptedServer { $0.waitForEnd() } }
}

/// A TLS server that answers every request with one text.
///
/// - Parameter endsProperly: whether it says that it was the end (RFC 8446 §6.1).
func secureServer(
    _ answer: String, endsProperly: Bool = true, asksClients: Bool = false
) throws -> ScriptedServer {
    let tickets = try TLSTickets()
    let context = try TLSContext.server(.http1, isModern: false, tickets: tickets)
    try context.add(Fixtures.server)
    if asksClients {
        try context.trust(Fixtures.authority)
        context.askClients(required: true)
    }
    return try ScriptedServer { connection in
        var tls = TLSConnection()
        var output = TLSOutput()
        guard tls.openServer(context) else { return }
        var isOpen = false, plain = ByteBuffer(), hasAnswered = false
        var bytes = [UInt8](repeating: 0, count: 65_536)
        func flush() {
            connection.send(output.bytes.withUnsafeBufferPointer { Array($0) })
            output.clear()
        }
        while !hasAnswered {
            let n = Foundation.recv(connection.fd, &bytes, bytes.count, 0)
            if n <= 0 { return }
            var piece = Array(bytes[..<n])
            if !isOpen {
                switch tls.handshake(piece.span, to: &output) {
                case .failed: return flush()
                case .wantsMore:
                    flush()
                    continue
                case .done: isOpen = true
                }
                flush()
                piece = []
            }
            _ = tls.read(piece.span, to: &plain, atMost: 65_536, answers: &output)
            if ASCII.string(plain.readable).contains("\r\n\r\n") {
                _ = tls.write(Array(answer.utf8).span, to: &output)
                if endsProperly { tls.end(to: &output) }
                hasAnswered = true
            }
            flush()
        }
        Foundation.shutdown(connection.fd, Int32(SHUT_WR))
        connection.waitForEnd()
    }
}
