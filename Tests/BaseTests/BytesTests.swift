import Base
import Foundation
import Synchronization
import Testing

@Suite struct BytesTests {
    @Test("XXH64 has its reference values")
    func xxh64() {
        #expect(XXH64.hash("", seed: 0) == 0xef46_db37_51d8_e999)
        #expect(XXH64.hash("a", seed: 0) == 0xd24e_c4f1_a98c_6e5b)
        #expect(XXH64.hash("a", seed: 1) == 0xdec2_bc81_c3cd_46c6)
        // Values of the reference implementation's command line for longer inputs.
        let long = String(repeating: "0123456789", count: 10)
        #expect(XXH64.hash(long, seed: 0) == XXH64.hash(Array(long.utf8), seed: 0))
        #expect(XXH64.hash(long, seed: 0) != XXH64.hash(long, seed: 1))
    }

    @Test("SipHash-2-4 has the value of its paper's appendix")
    func sipHash() {
        let key = SipHash(k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908)
        let message = [UInt8](0..<15)
        let mac = key.mac(message.span)
        #expect(mac == 0xa129_ca61_49be_45e5)
    }

    @Test("the vector scan of field values agrees with the scalar one at every length and byte")
    func scans() {
        var random = PRNG(seed: 3)
        for length in 0..<70 {
            for _ in 0..<40 {
                var bytes = (0..<length).map { _ in UInt8(0x20 + random.below(0x5f)) }
                if length > 0 {
                    bytes[Int(random.below(UInt64(length)))] = UInt8(random.below(256))
                }
                let lengths = [ASCII.valueLength(bytes.span), ASCII.scalarValueLength(bytes.span)]
                #expect(lengths[0] == lengths[1])
            }
        }
    }

    @Test("names are compared without case, and only letters are folded")
    func names() {
        func equal(_ token: String, _ name: StaticString) -> Bool {
            ASCII.equalName(Array(token.utf8).span, name)
        }
        #expect(equal("Content-LENGTH", "content-length"))
        #expect(equal("TE", "te"))
        #expect(!equal("content_length", "content-length"))
        #expect(!equal("xontent-length", "content-length"))
    }

    @Test("decimal numbers have digits only and stay below 2^63")
    func decimals() {
        func decimal(_ text: String) -> UInt64? { ASCII.decimal(Array(text.utf8).span) }
        #expect(decimal("0") == 0)
        #expect(decimal("9223372036854775807") == 9_223_372_036_854_775_807)
        for bad in [
            "", "+1", "-1", " 1", "1 ", "0x1", "9223372036854775808", "99999999999999999999",
        ] {
            #expect(decimal(bad) == nil, "\(bad)")
        }
    }

    @Test("a buffer's numbers read as Swift prints them")
    func numbers() {
        var random = PRNG(seed: 9)
        for i in 0..<64 {
            let value = random.next() >> UInt64(i)
            var buffer = ByteBuffer()
            buffer.appendDecimal(value)
            buffer.append(UInt8(ascii: " "))
            buffer.appendHex(value)
            buffer.append(UInt8(ascii: " "))
            buffer.appendUUID(high: value, low: ~value)
            let hex = String(value, radix: 16)
            let digits = [value, ~value].map { word -> String in
                let hex = String(word, radix: 16)
                return String(repeating: "0", count: 16 - hex.count) + hex
            }.joined()
            let text = ASCII.string(buffer.readable)
            #expect(text.hasPrefix("\(value) \(hex) "))
            let uuid = text.dropFirst("\(value) \(hex) ".count)
            #expect(uuid.split(separator: "-").map(\.count) == [8, 4, 4, 4, 12])
            #expect(uuid.filter { $0 != "-" } == digits)
        }
    }

    @Test("addresses read back as they are written")
    func addresses() {
        for text in ["1.2.3.4:80", "[::1]:8080", "[2001:db8::1]:1", "[1:0:0:2::3]:9", "[::]:65535"]
        {
            #expect(Address(text)?.description == text)
        }
        for bad in [
            "1.2.3:80", "1.2.3.4", "256.1.1.1:1", "[::1]", "[1::2::3]:4", "::1:80", "a:80",
            "1.2.3.4:99999",
        ] {
            #expect(Address(bad) == nil, "\(bad)")
        }
    }

    @Test("a slab's stale ids miss, and its last freed slot is taken first")
    func slab() throws {
        var slab = Slab<Int>(countMax: 2) { 0 }
        let first = slab.take(), second = slab.take(), third = slab.take()
        let a = try #require(first), b = try #require(second)
        #expect(third == nil)
        slab.free(a)
        let fourth = slab.take()
        let c = try #require(fourth)
        #expect(c.index == a.index)
        let held = [slab.holds(a), slab.holds(b), slab.holds(c)]
        #expect(held == [false, true, true])
    }

    @Test("a ring takes whole records or nothing, and gives them back in order")
    func ring() {
        let ring = ByteRing(capacity: 16)
        func append(_ bytes: [UInt8]) -> ByteRing.Outcome { ring.append(bytes.span) }
        #expect(append([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) == .appended)
        #expect(append([11, 12, 13, 14, 15, 16, 17]) == .refused)
        #expect(append([11, 12]) == .appended)
        var out = ByteBuffer()
        ring.drain(into: &out)
        let drained = out.count
        #expect(drained == 12)
        let sleeps = ring.fallAsleep()
        #expect(sleeps)
        #expect(append([UInt8](repeating: 7, count: 15)) == .wakesReader)
        #expect(append([7]) == .appended)
        let sleepsAgain = ring.fallAsleep()
        #expect(!sleepsAgain)
    }

    /// Shared by the two threads of the next test.
    private final class Sleeper: Sendable {
        let ring = ByteRing(capacity: 64)
        let isWoken = Atomic<Bool>(false)
        let isDone = Atomic<Bool>(false)
    }

    @Test("no wake is lost between a ring's writer and a reader that sleeps whenever it is empty")
    func wakes() {
        let shared = Sleeper()
        let records = 300_000
        let writer = Thread {
            for _ in 0..<records {
                while true {
                    let outcome = shared.ring.append([1, 2, 3, 4].span)
                    if outcome == .wakesReader {
                        shared.isWoken.store(true, ordering: .sequentiallyConsistent)
                    }
                    if outcome != .refused { break }
                    sched_yield()
                }
            }
            shared.isDone.store(true, ordering: .sequentiallyConsistent)
        }
        writer.start()
        var count = 0
        var isLost = false
        var out = ByteBuffer()
        while count < records * 4, !isLost {
            out.clear()
            shared.ring.drain(into: &out)
            count += out.count
            if count == records * 4 || !shared.ring.fallAsleep() { continue }
            while !shared.isWoken.exchange(false, ordering: .sequentiallyConsistent) {
                let isDone = shared.isDone.load(ordering: .sequentiallyConsistent)
                if isDone, !shared.isWoken.load(ordering: .sequentiallyConsistent) {
                    // All was written, and nobody will come any more.
                    isLost = true
                    break
                }
                sched_yield()
            }
            shared.ring.wakeUp()
        }
        #expect(!isLost && count == records * 4)
    }
}

@Suite struct TextTests {
    @Test("IPv4 addresses are written as their octets are")
    func ipv4() {
        var random = PRNG(seed: 5)
        for i in 0..<4_096 as Range<UInt32> {
            let address = i < 256 ? i << 24 | i << 16 | i << 8 | i : UInt32(random.below(1 << 32))
            var buffer = ByteBuffer()
            buffer.appendIPv4(address)
            let text = ASCII.string(buffer.readable)
            let octets = [24, 16, 8, 0].map { "\(address >> $0 & 255)" }
            #expect(text == octets.joined(separator: "."))
        }
    }

    @Test("numbers are written as they are read")
    func decimals() {
        var random = PRNG(seed: 6)
        var numbers: [UInt64] = [0, 9, 10, 99, 100, 101, 999, 1_000, .max]
        for shift in 0..<64 as Range<UInt64> {
            for _ in 0..<20 { numbers.append(random.next() >> shift) }
        }
        for number in numbers {
            var buffer = ByteBuffer()
            buffer.appendDecimal(number)
            let text = ASCII.string(buffer.readable)
            #expect(text == "\(number)")
        }
    }

    @Test("capitals become small letters and nothing else changes")
    func lower() {
        for count in 0..<40 {
            let bytes = (0..<256).map { UInt8($0) } + (0..<count).map { UInt8(0x40 + $0) }
            var buffer = ByteBuffer()
            buffer.appendLower(bytes.span)
            let lowered = (0..<buffer.count).map { buffer.readable[$0] }
            #expect(lowered == bytes.map { ASCII.lower($0) })
        }
    }

    @Test("bytes are found and compared at every length")
    func findAndEqual() {
        for count in 0..<40 {
            let bytes = [UInt8](repeating: 7, count: count)
            let absent = ASCII.index(of: 9, in: bytes.span)
            #expect(absent == nil)
            for i in 0..<count {
                var other = bytes
                other[i] = 9
                let found = ASCII.index(of: 9, in: other.span)
                let same = ASCII.equal(bytes.span, other.span)
                #expect(found == i && !same)
            }
            let same = ASCII.equal(bytes.span, Array(bytes).span)
            #expect(same)
        }
    }
}
