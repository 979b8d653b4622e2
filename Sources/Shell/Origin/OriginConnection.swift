import Base
import HTTP1
import HTTPSemantics
import JSON
import Platform

/// A request as the demo's origin shows it.
struct OriginRequest {
    var method: String
    var target: String
    var fields: [(String, String)]
    var bodyBytes: Int
    var keepsAlive: Bool

    /// The answer that shows what was received.
    func echo(version: String) -> [UInt8] {
        response(
            200,
            .object([
                ("version", .string(version)), ("method", .string(method)),
                ("path", .string(target)), ("bodyBytes", .integer(bodyBytes)),
                ("headers", .object(fields.map { ($0.0, .string($0.1)) })),
            ]))
    }

    /// The answer that is an error on purpose.
    func failure(version: String, status: UInt16) -> [UInt8] {
        response(
            status,
            .object([
                ("version", .string(version)),
                ("error", .string("on purpose: by --error-rate or /demo/errors")),
            ]))
    }

    func response(_ status: UInt16, _ json: JSONText) -> [UInt8] {
        let body = json.text()
        var head = "HTTP/1.1 \(status) \(Status.reason(status))\r\n"
        head += "content-type: application/json\r\ncontent-length: \(body.utf8.count + 1)\r\n"
        if !keepsAlive { head += "connection: close\r\n" }
        head += "\r\n"
        return Array((head + (method == "HEAD" ? "" : body + "\n")).utf8)
    }
}

extension OriginRequest {
    /// The answer to a request that cannot be read; the connection ends with it.
    static func refusal(_ violation: HTTP1Violation) -> [UInt8] {
        let body =
            JSONText.object([
                ("error", .string("\(violation.cause)"))
            ]).text() + "\n"
        return Array(
            ("HTTP/1.1 \(violation.status) \(Status.reason(violation.status))\r\n"
                + "content-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n"
                + "connection: close\r\n\r\n" + body).utf8)
    }
}

/// One client connection of the demo's origin.
final class OriginConnection {
    let generation: Int
    var inbound = ByteBuffer()
    private var outbound = ByteBuffer()
    private var closesAfterFlush = false
    /// A request could not be read: its answer was the last.
    private(set) var isRefused = false
    private var parser = RequestHeadParser()
    /// A request whose body is still arriving.
    private var open: (request: OriginRequest, body: BodyDecoder)?

    init(generation: Int) { self.generation = generation }

    /// The next whole request; `nil` while there is none.
    func next() -> Result<OriginRequest, HTTP1Violation>? {
        do throws(HTTP1Violation) {
            if open == nil { try readHead() }
            guard var current = open else { return nil }
            var at = inbound.readerIndex
            defer { inbound.consume(at - inbound.readerIndex) }
            let limits = HeadLimits()
            let bytes = inbound.span(ByteRange(start: 0, count: inbound.writerIndex))
            while !current.body.isComplete {
                switch try current.body.next(bytes, at: &at, limits: limits) {
                case .content(let range): current.request.bodyBytes += range.length
                case .trailers, .complete: break
                case .incomplete:
                    open = current
                    return nil
                }
            }
            open = nil
            return .success(current.request)
        } catch {
            return .failure(error)
        }
    }

    private func readHead() throws(HTTP1Violation) {
        guard !inbound.isEmpty else { return }
        var head = RequestHead(fieldCountMax: 100)
        let bytes = inbound.readable
        guard case .complete(let count) = try parser.parse(bytes, into: &head, limits: HeadLimits())
        else { return }
        func text(_ range: ByteRange) -> String { ASCII.string(bytes.extracting(range.range)) }
        var fields: [(String, String)] = []
        for i in 0..<head.fields.count {
            fields.append((text(head.fields[i].name).lowercased(), text(head.fields[i].value)))
        }
        let request = OriginRequest(
            method: text(head.methodName), target: text(head.target), fields: fields, bodyBytes: 0,
            keepsAlive: head.keepsAlive)
        open = (request, BodyDecoder(head.framing))
        if head.expectsContinue { outbound.append("HTTP/1.1 100 Continue\r\n\r\n") }
        inbound.consume(count)
    }

    /// Answers what cannot be read; what the client sends from here on is dropped, so that a reset
    /// does not take the answer from it.
    func refuse(_ violation: HTTP1Violation) {
        outbound.append(OriginRequest.refusal(violation))
        isRefused = true
    }

    func send(_ response: [UInt8], closes: Bool) {
        outbound.append(response)
        closesAfterFlush = closesAfterFlush || closes
    }

    /// Writes what the socket takes. `false`: the connection is over.
    func flush(_ descriptor: Int32) -> Bool {
        while !outbound.isEmpty {
            switch Socket.send(descriptor, outbound.readable) {
            case .bytes(let count): outbound.consume(count)
            case .wouldBlock: return true
            case .endOfStream, .failed: return false
            }
        }
        if isRefused {
            Socket.shutdownWrite(descriptor)
            return true
        }
        return !closesAfterFlush
    }
}
