import Base
import HTTPSemantics
import Testing

/// gRPC's words in HTTP's fields.
@Suite struct GRPCTests {
    static func text(_ write: (inout ByteBuffer) -> Void) -> String {
        var buffer = ByteBuffer()
        write(&buffer)
        return ASCII.string(buffer.readable)
    }

    @Test("a timeout is written in the finest unit of at most eight digits, and never as none")
    func timeouts() {
        for (time, text) in [
            (Duration(nanoseconds: 1), "1n"), (.zero, "1n"), (.milliseconds(-5), "1n"),
            (Duration(nanoseconds: 99_999_999), "99999999n"),
            (Duration(nanoseconds: 100_000_000), "100000u"), (.seconds(1), "1000000u"),
            (.microseconds(99_999_999), "99999999u"), (.seconds(100), "100000m"),
            (.milliseconds(99_999_999), "99999999m"), (.seconds(100_000), "100000S"),
            (.seconds(99_999_999), "99999999S"), (.seconds(100_000_000), "1666666M"),
            (.seconds(5_999_999_999), "99999999M"), (.seconds(6_000_000_000), "1666666H"),
        ] {
            #expect(GRPCTests.text { GRPC.appendTimeout(time, to: &$0) } == text)
        }
    }

    @Test("a timeout that was written is read as what it was, less than a unit short")
    func timeoutsThereAndBack() {
        var random = PRNG(seed: 7)
        for _ in 0..<2_000 {
            let nanoseconds = Int64(1 + random.below(1 << (1 + random.below(60))))
            let text = GRPCTests.text {
                GRPC.appendTimeout(Duration(nanoseconds: nanoseconds), to: &$0)
            }
            let read = GRPC.timeout(Array(text.utf8).span)?.nanoseconds ?? -1
            #expect(read <= nanoseconds && read > nanoseconds - nanoseconds / 50_000 - 1, "\(text)")
        }
    }

    @Test("a message is visible ASCII, with escapes for the rest")
    func messages() {
        let bytes = Array("50 %, naïve\r\n".utf8)
        let text = GRPCTests.text { GRPC.appendMessage(bytes.span, to: &$0) }
        #expect(text == "50 %25, na%C3%AFve%0D%0A")
    }
}
