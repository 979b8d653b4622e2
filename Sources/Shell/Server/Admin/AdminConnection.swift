import Admin
import Base
import HTTP1
import HTTPSemantics
import Platform

/// A client of the admin or the metrics endpoint.
///
///     reading ──a request is handed over──▶ waiting ──answer──▶ sending ──sent──▶ reading
///
/// An answer that is there at once skips `waiting`. No request is read while the answer to the one
/// before is not with the client, so that a client that reads nothing can ask for nothing more.
final class AdminConnection {
    let descriptor: Int32
    let isAdmin: Bool
    let isLoopback: Bool
    let isUnix: Bool
    /// Says which request waits for its answer, also when the descriptor is another's by then.
    let ticket: UInt64
    var inbound = ByteBuffer()
    /// Heads, and whole answers that are short.
    private var outbound = ByteBuffer()
    /// A page that follows `outbound`, and how much of it was sent.
    private(set) var page: AdminContent?
    private var sentCount = 0
    private(set) var closesAfterFlush = false
    /// A request was read whose answer comes later.
    private(set) var waiting: Waiting?
    /// The answer that is waited for is a page.
    private(set) var awaitsPage = false
    /// The request is being handed over: whoever answers at once need not go on with the next.
    private(set) var isHandingOver = false
    /// Whom the connection waits for, and until when.
    private(set) var wait: AdminWait
    /// The connection is among those that are to have another turn.
    var isQueued = false

    struct Waiting {
        var isHead: Bool
        var keepsAlive: Bool
        /// The content that the client has already (`If-None-Match`).
        var known: String?
    }

    /// Answers above this length are sent from where they lie, and not copied.
    private static let copiedBytesMax = 4_096
    /// Bytes that are sent before others have their turn.
    private static let sliceBytes = 256 << 10

    init(
        _ descriptor: Int32, isAdmin: Bool, isLoopback: Bool, isUnix: Bool, serial: UInt32,
        now: Instant
    ) {
        self.descriptor = descriptor
        self.isAdmin = isAdmin
        self.isLoopback = isLoopback
        self.isUnix = isUnix
        ticket = UInt64(UInt32(bitPattern: descriptor)) << 32 | UInt64(serial)
        wait = .head(since: now)
    }

    /// Something is left to be sent.
    var owesBytes: Bool { !outbound.isEmpty || page != nil }
    /// A page is being made or sent for it.
    var hasPage: Bool { awaitsPage || page != nil }

    /// Bytes of a request came.
    func received(now: Instant) {
        if case .nextRequest = wait { wait = .head(since: now) }
    }

    // MARK: One request after another

    /// A request is handed over; the answer is written at once or by `answer`.
    func handOver(
        _ request: AdminRequest, keepsAlive: Bool, _ respond: AdminServer.Respond
    ) {
        let waiting = Waiting(
            isHead: request.method == "HEAD", keepsAlive: keepsAlive,
            known: request.fields.first { $0.name == "if-none-match" }?.value)
        self.waiting = waiting
        wait = .answer
        isHandingOver = true
        let response = respond(request, ticket)
        isHandingOver = false
        if let response { answer(response) }
    }

    /// The answer will be a page.
    func awaitPage() { awaitsPage = true }

    func answer(_ response: AdminResponse) {
        guard let waiting else { return }
        self.waiting = nil
        awaitsPage = false
        if response.isKnown(by: waiting.known), let tag = response.entityTag {
            return writeUnchanged(tag, keepsAlive: waiting.keepsAlive)
        }
        write(response, isHead: waiting.isHead, keepsAlive: waiting.keepsAlive)
    }

    /// The client has the content already (RFC 9110 §15.4.5).
    private func writeUnchanged(_ tag: String, keepsAlive: Bool) {
        MessageEncoder.statusLine(304, to: &outbound)
        outbound.append(text: "etag: \(tag)\r\ncache-control: no-cache\r\n")
        outbound.append(text: "\(AdminServer.markName): \(SluiceVersion.text)\r\n")
        if !keepsAlive { outbound.append("connection: close\r\n") }
        outbound.append("\r\n")
        closesAfterFlush = !keepsAlive
    }

    /// The request breaks a rule of HTTP: an answer, the last one.
    func refuse(_ violation: HTTP1Violation) {
        let response = AdminResponse(
            status: violation.status, contentType: "text/plain", body: "\(violation.cause)\n")
        write(response, isHead: false, keepsAlive: false)
    }

    private func write(_ response: AdminResponse, isHead: Bool, keepsAlive: Bool) {
        let now = SystemClock.now()
        wait = .reader(began: now, progress: now, taken: 0)
        let bytes = response.content.bytes
        MessageEncoder.statusLine(response.status, to: &outbound)
        outbound.append(text: "content-type: \(response.contentType)\r\n")
        outbound.append(text: "content-length: \(bytes.count)\r\n")
        if let coding = response.contentEncoding {
            outbound.append(text: "content-encoding: \(coding)\r\n")
        }
        if let fields = response.vary { outbound.append(text: "vary: \(fields)\r\n") }
        if let tag = response.entityTag {
            outbound.append(text: "etag: \(tag)\r\ncache-control: no-cache\r\n")
        } else {
            outbound.append("cache-control: no-store\r\n")
        }
        outbound.append("x-content-type-options: nosniff\r\n")
        outbound.append(text: "\(AdminServer.markName): \(SluiceVersion.text)\r\n")
        if response.status == 401 {
            // RFC 9110 §11.6.1: says how to come in.
            outbound.append("www-authenticate: Bearer realm=\"sluice\"\r\n")
        }
        if let seconds = response.retryAfter {
            outbound.append(text: "retry-after: \(seconds)\r\n")
        }
        if !keepsAlive { outbound.append("connection: close\r\n") }
        outbound.append("\r\n")
        closesAfterFlush = !keepsAlive
        if isHead { return }
        if bytes.count <= AdminConnection.copiedBytesMax {
            outbound.append(bytes.span)
        } else {
            page = response.content
            sentCount = 0
        }
    }

    // MARK: Sending

    enum Sending { case done, blocked, slice, broken }

    /// Sends what there is: until the client's side is full, or others are to have their turn.
    func send(now: Instant) -> Sending {
        var left = AdminConnection.sliceBytes
        while !outbound.isEmpty {
            switch Socket.send(descriptor, outbound.readable) {
            case .bytes(let count):
                outbound.consume(count)
                wait.took(count, now: now)
            case .wouldBlock: return .blocked
            case .endOfStream, .failed: return .broken
            }
        }
        while let bytes = page?.bytes, sentCount < bytes.count {
            if left <= 0 { return .slice }
            let end = min(bytes.count, sentCount + left)
            switch Socket.send(descriptor, bytes.span.extracting(sentCount..<end)) {
            case .bytes(let count):
                sentCount += count
                left -= count
                wait.took(count, now: now)
            case .wouldBlock: return .blocked
            case .endOfStream, .failed: return .broken
            }
        }
        page = nil
        if case .reader = wait {
            wait = inbound.isEmpty ? .nextRequest(since: now) : .head(since: now)
        }
        return .done
    }
}
