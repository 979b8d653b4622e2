import Base
import Errands
import Rollout
import Testing

@Suite struct AnswerReaderTests {
    private func read(_ pieces: [ArraySlice<UInt8>], isClean: Bool = true) -> CallOutcome {
        var reader = AnswerReader(party: "http://a", bytesMax: 1_000)
        for piece in pieces {
            reader.inbound.append(Array(piece))
            if let outcome = reader.read() { return outcome }
        }
        return reader.end(isClean: isClean)
    }

    @Test("an answer is the same in whatever pieces it comes")
    func pieces() {
        let answers = [
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                + "5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n",
            "HTTP/1.1 500 Oops\r\n\r\nhello",
        ]
        for answer in answers {
            let bytes = Array(answer.utf8)
            let whole = read([bytes[...]])
            #expect(whole.text == "hello")
            #expect(read(bytes.indices.map { bytes[$0...$0] }) == whole)
            for at in bytes.indices { #expect(read([bytes[..<at], bytes[at...]]) == whole) }
        }
    }

    @Test("whatever bytes come, the reader ends, and never with more than the limit")
    func hostile() {
        var random = PRNG(seed: 20_261_129)
        let seed = Array(
            ("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
                + "location: /x\r\n\r\n5\r\nhello\r\n3e8\r\n" + String(repeating: "x", count: 600))
                .utf8)
        for _ in 0..<3_000 {
            var bytes = seed
            for _ in 0..<(1 + random.below(4)) {
                let at = Int(random.below(UInt64(bytes.count)))
                switch random.below(3) {
                case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: at)
                default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: at)
                }
            }
            let cut = Int(random.below(UInt64(bytes.count + 1)))
            let isClean = random.below(2) == 0
            let outcome = read([bytes[..<cut], bytes[cut...]], isClean: isClean)
            if let answer = outcome.answer {
                #expect(answer.body.count <= 1_000 && answer.status >= 200)
            } else {
                #expect(outcome.failure?.message.hasPrefix("http://a ") == true)
            }
        }
    }

    @Test("interim answers without end are no answer")
    func interim() {
        let one = Array("HTTP/1.1 103 Early Hints\r\n\r\n".utf8)
        let outcome = read([Array(repeatElement(one, count: 100).joined())[...]])
        #expect(outcome.failure?.kind == .notHTTP)
    }
}
