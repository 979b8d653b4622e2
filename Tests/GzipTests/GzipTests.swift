import Base
import CZlib
import Gzip
import Testing

@Suite struct GzipTests {
    /// Reads a member back by zlib's other half.
    static func expanded(_ member: [UInt8], bytesMax: Int) -> [UInt8]? {
        var stream = z_stream(), member = member
        guard
            inflateInit2_(&stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
                == Z_OK
        else { return nil }
        defer { inflateEnd(&stream) }
        var out = [UInt8](repeating: 0, count: bytesMax + 1)
        let length = out.count
        let result = member.withUnsafeMutableBufferPointer { input in
            out.withUnsafeMutableBufferPointer { room in
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = room.baseAddress
                stream.avail_out = UInt32(length)
                return inflate(&stream, Z_FINISH)
            }
        }
        return result == Z_STREAM_END ? Array(out.prefix(Int(stream.total_out))) : nil
    }

    @Test("a text comes back from what it was compressed to, whatever its length")
    func roundTrip() throws {
        var random = PRNG(seed: 3)
        for length in [0, 1, 2, 1_000, 65_535, 65_536, 1_000_000] {
            for isRandom in [false, true] {
                let text = (0..<length).map {
                    isRandom ? UInt8(truncatingIfNeeded: random.next()) : UInt8($0 % 7)
                }
                let compressed = Gzip.compressed(text.span)
                let member = try #require(compressed)
                #expect(member.starts(with: [0x1f, 0x8b, 8]), "RFC 1952's magic and deflate")
                #expect(GzipTests.expanded(member, bytesMax: length) == text)
            }
        }
    }

    @Test("lines with most in common become a small part of themselves")
    func ratio() throws {
        let lines = (0..<5_000).map {
            "istio_requests_total{reporter=\"source\",source_workload=\"frontend\",code=\"\($0)\"} \($0)\n"
        }
        let text = Array(lines.joined().utf8)
        let compressed = Gzip.compressed(text.span)
        let member = try #require(compressed)
        #expect(member.count * 8 < text.count)
        #expect(member.capacity < text.count)
    }
}
