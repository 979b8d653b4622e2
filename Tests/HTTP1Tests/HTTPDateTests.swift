import Base
import HTTPSemantics
import Testing

/// Dates as peers send them, and what `Retry-After` makes of them (RFC 9110 §5.6.7, §10.2.3).
@Suite struct HTTPDateTests {
    static func seconds(_ text: String) -> Int64? { HTTPDate.seconds(Array(text.utf8).span) }

    @Test("the three forms of one moment are read alike")
    func forms() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] { #expect(HTTPDateTests.seconds(text) == 784_111_777, "\(text)") }
        #expect(HTTPDateTests.seconds("Thu, 01 Jan 1970 00:00:00 GMT") == 0)
        #expect(HTTPDateTests.seconds("Sat Nov 26 08:49:37 2016") == 1_480_150_177)
        #expect(HTTPDateTests.seconds("Thursday, 31-Dec-69 23:59:59 GMT") == 3_155_759_999)
        #expect(HTTPDateTests.seconds("Wed, 29 Feb 2096 00:00:00 GMT") == 3_981_312_000)
    }

    @Test(
        "what is no date is none",
        arguments: [
            "", "Sun", "Sun,", "Sun, 06 Nov 1994 08:49:37", "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Apr 1994 08:49:37 GMT", "Sun, 29 Feb 2100 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 06 08:49:37 1994 GMT", "Sun Nov  6 08:49:37 94",
            "Su, 06 Nov 1994 08:49:37 GMT",
        ])
    func refused(text: String) { #expect(HTTPDateTests.seconds(text) == nil) }

    @Test("every date that is written is read back", arguments: 0..<200)
    func pair(seed: Int) {
        var random = PRNG(seed: UInt64(seed))
        let time = Int64(random.below(253_402_300_800))
        var out = ByteBuffer()
        HTTPDate.append(WallTime(microseconds: time * 1_000_000), to: &out)
        #expect(HTTPDate.seconds(out.readable) == time, "\(ASCII.string(out.readable))")
    }

    @Test("Retry-After is seconds or a date, and never negative")
    func retryAfter() {
        func wait(_ text: String, at seconds: Int64 = 784_111_700) -> Duration? {
            RetryAfter.wait(
                Array(text.utf8).span, wall: WallTime(microseconds: seconds * 1_000_000))
        }
        #expect(wait("0") == .zero)
        #expect(wait("120") == .seconds(120))
        #expect(wait("99999999999") == .seconds(1 << 31))
        #expect(wait("Sun, 06 Nov 1994 08:49:37 GMT") == .seconds(77))
        #expect(wait("Sun, 06 Nov 1994 08:49:37 GMT", at: 784_111_999) == .zero)
        for text in ["", "-1", "1.5", "soon", "1 ", "99999999999999999999999"] {
            #expect(wait(text) == nil, "\(text)")
        }
    }
}
