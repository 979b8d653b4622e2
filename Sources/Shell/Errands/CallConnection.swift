import Base
import Platform
import Rollout
import TLS

/// One connection of one call, with TLS or without. Confined to the errand thread.
///
///     connecting ──▶ securing ──▶ sending ──▶ awaiting ──▶ receiving ──▶ an outcome
///          └──────── plain ──────────┘
final class CallConnection {
    enum Stage { case connecting, securing, sending, awaiting, receiving }

    /// The place where a step has led.
    enum Step {
        case goesOn
        /// The connect failed, with the system's words: another address may do.
        case notConnected(String)
        case over(CallOutcome)
    }

    let descriptor: Int32
    let address: Address
    private(set) var stage = Stage.connecting
    private let party: String
    /// The name that TLS asks for and verifies.
    private let name: String
    private let message: Preparation.Message
    private var reader: AnswerReader
    /// Bytes for the socket: plain, or encrypted.
    private var outbound = ByteBuffer()
    private var tls = TLSConnection()
    private var cipher = ByteBuffer()
    private var output = TLSOutput()
    /// The peer takes no more bytes; its answer may be on its way.
    private var isDeaf = false

    private static let readBytesMax = 65_536

    /// Begins to connect.
    init(
        _ address: Address, _ request: CallRequest, _ message: Preparation.Message,
        answerBytesMax: Int
    ) throws(SystemError) {
        descriptor = try Socket.connect(address).fd
        self.address = address
        party = request.url.origin
        name = request.settings.serverName ?? request.url.host
        self.message = message
        reader = AnswerReader(party: request.url.origin, bytesMax: answerBytesMax)
    }

    deinit { Socket.close(descriptor) }

    /// The socket has news.
    func handle(_ event: Poller.Ready) -> Step {
        if stage == .connecting {
            let code = Socket.takeError(descriptor)
            guard code == 0 else {
                return .notConnected(SystemError("connect", code: code).message)
            }
            guard event.isWritable else { return .goesOn }
            if let outcome = connected() { return .over(outcome) }
        }
        flush()
        return receive()
    }

    private func connected() -> CallOutcome? {
        guard let context = message.context else {
            outbound.append(message.bytes)
            stage = .sending
            return nil
        }
        stage = .securing
        guard tls.openClient(context, name: name, resuming: nil, onlyHTTP1: true) else {
            return .failed(CallFailure(.notSecure, "no memory for TLS towards \(party)"))
        }
        let nothing = ByteBuffer()
        return shakeHands(nothing.readable)
    }

    private func shakeHands(_ bytes: Span<UInt8>) -> CallOutcome? {
        let result = tls.handshake(bytes, to: &output)
        takeOutput()
        switch result {
        case .wantsMore: return nil
        case .failed:
            flush()
            return .failed(
                CallFailure(
                    .notSecure, "no TLS with \(party) at \(address.description): \(tls.failureText)"
                ))
        case .done:
            let bytes = message.bytes
            guard tls.write(bytes.span, to: &output) else {
                return .failed(CallFailure(.cut, "TLS with \(party) broke: \(tls.failureText)"))
            }
            takeOutput()
            stage = .sending
            return nil
        }
    }

    private func takeOutput() {
        if output.isEmpty { return }
        outbound.append(output.bytes)
        output.clear()
    }

    private func flush() {
        while !outbound.isEmpty, !isDeaf {
            switch Socket.send(descriptor, outbound.readable) {
            case .bytes(let count): outbound.consume(count)
            case .wouldBlock: return
            case .endOfStream, .failed: isDeaf = true
            }
        }
        if stage == .sending { stage = .awaiting }
    }

    /// Reads until the socket is empty or the answer is whole. The answer's limit bounds it.
    private func receive() -> Step {
        while true {
            let transfer =
                message.context == nil
                ? Socket.receive(
                    descriptor, into: &reader.inbound, atMost: CallConnection.readBytesMax)
                : receiveCipher()
            switch transfer {
            case .wouldBlock: return .goesOn
            case .endOfStream:
                if stage == .securing {
                    let text = "\(party) closed the connection within TLS's handshake"
                    return .over(.failed(CallFailure(.notSecure, text)))
                }
                return .over(reader.end(isClean: message.context == nil))
            case .failed(let code):
                let text = SystemError("recv", code: code).message
                return .over(
                    .failed(CallFailure(.cut, "the connection to \(party) broke: \(text)")))
            case .bytes:
                if message.context != nil, let outcome = decrypt() { return .over(outcome) }
                if let outcome = reader.read() { return .over(outcome) }
                if reader.hasBegun { stage = .receiving }
            }
        }
    }

    private func receiveCipher() -> Transfer {
        cipher.clear()
        return Socket.receive(descriptor, into: &cipher, atMost: CallConnection.readBytesMax)
    }

    /// Takes the bytes that were read into the handshake, and behind it into the answer.
    private func decrypt() -> CallOutcome? {
        var isFresh = true
        let nothing = ByteBuffer()
        if stage == .securing {
            if let outcome = shakeHands(cipher.readable) { return outcome }
            flush()
            if stage == .securing { return nil }
            isFresh = false
        }
        while true {
            let room = CallConnection.readBytesMax
            let reading =
                isFresh
                ? tls.read(
                    cipher.readable, to: &reader.inbound, atMost: room, answers: &output)
                : tls.read(
                    nothing.readable, to: &reader.inbound, atMost: room, answers: &output)
            isFresh = false
            takeOutput()
            switch reading {
            case .bytes:
                if let outcome = reader.read() { return outcome }
            case .wantsMore:
                flush()
                return nil
            case .ended: return reader.end(isClean: true)
            case .failed:
                // TLS 1.3 tells of a refused client certificate behind the handshake.
                let kind: CallFailure.Kind = reader.hasBegun ? .cut : .notSecure
                return .failed(
                    CallFailure(kind, "TLS with \(party) broke: \(tls.failureText)"))
            }
        }
    }
}
