import Base
import CScanScalar
import HTTP1
import HTTPSemantics
import Testing

/// The vector scan of many lines against the parser of one.
@Suite struct FieldScanTests {
    /// Lines in the order they come, as `name|value|known|canonical`, until one is no field line.
    private static func slow(_ bytes: [UInt8]) -> [String] {
        var lines: [String] = []
        var at = 0
        while let line = try? FieldLineParser.line(bytes.span, at: at),
            case .field(let field, let next) = line
        {
            lines.append(text(field.name, field.value, field.known, field.isCanonical, bytes))
            at = next
        }
        return lines
    }

    private static func text(
        _ name: ByteRange, _ value: ByteRange, _ known: KnownField, _ isCanonical: Bool,
        _ bytes: [UInt8]
    ) -> String {
        let name = ASCII.string(bytes.span.extracting(name.range))
        let value = ASCII.string(bytes.span.extracting(value.range))
        return "\(name)|\(value)|\(known)|\(isCanonical)"
    }

    private static let names = [
        "Host", "te", "Via", "cookie", "Expect", "Referer", "X-Some-Field", "user-agent", "Date",
        "Content-Length", "transfer-encoding", "X-Forwarded-Proto", "x-forwarded-fox", "_private",
        "a-name-that-is-longer-than-28-bytes", "Connection", "SET-COOKIE", "x", "b@d", "Upgrade ",
        "http2-settings", "X-Forwarded-Host", "traceparent", "authorization", "content-type",
    ]

    private static func value(_ random: inout PRNG) -> [UInt8] {
        let length = Int(random.below(70))
        return (0..<length).map { _ in
            switch random.below(40) {
            case 0: return 0x20
            case 1: return 0x09
            case 2: return UInt8(truncatingIfNeeded: random.next())
            default: return UInt8(0x21 + random.below(0x5e))
            }
        }
    }

    @Test("what the scan takes is what the parser reads, and it takes every plain line")
    func differential() {
        var random = PRNG(seed: 77)
        var taken = 0, all = 0
        for _ in 0..<20_000 {
            var bytes: [UInt8] = []
            for _ in 0..<(1 + random.below(20)) {
                bytes += Array(Self.names[Int(random.below(UInt64(Self.names.count)))].utf8)
                bytes += Array([": ", ": ", ": ", ":", ":  "][Int(random.below(5))].utf8)
                bytes += Self.value(&random)
                bytes += Array(["\r\n", "\r\n", "\r\n", "\n", "\r"][Int(random.below(5))].utf8)
            }
            bytes += Array("\r\n".utf8)
            bytes.removeLast(Int(random.below(UInt64(bytes.count))))
            let expected = Self.slow(bytes)
            var table = FieldTable(capacity: 100)
            _ = table.scan(bytes.span, from: 0)
            var found: [String] = []
            var seen = KnownFields(), repeated = KnownFields()
            for i in 0..<table.count {
                let field = table[i]
                found.append(
                    Self.text(field.name, field.value, field.known, field.isCanonical, bytes))
                if seen.contains(field.known) { repeated.insert(field.known) }
                seen.insert(field.known)
            }
            let sets = [table.seen, table.repeated]
            #expect(sets == [seen, repeated])
            #expect(found == Array(expected.prefix(found.count)))
            taken += found.count
            all += expected.count
        }
        // Odd lines end the scan, and most runs have one.
        #expect(taken > all / 4)
    }

    @Test("the scan without vectors, as other machines have it, finds the same")
    func scalar() {
        var random = PRNG(seed: 79)
        for _ in 0..<20_000 {
            var bytes: [UInt8] = random.below(2) == 0 ? Array("GET /some/path-x?q=1".utf8) : []
            if !bytes.isEmpty, random.below(3) > 0 { bytes += Array(" HTTP/1.1\r\n".utf8) }
            let lines = bytes.count
            for _ in 0..<random.below(8) {
                bytes += Array(Self.names[Int(random.below(UInt64(Self.names.count)))].utf8)
                bytes += Array(": ".utf8) + Self.value(&random) + Array("\r\n".utf8)
            }
            if !bytes.isEmpty, random.below(2) == 0 {
                bytes[Int(random.below(UInt64(bytes.count)))] = UInt8(random.below(256))
            }
            bytes.removeLast(Int(random.below(UInt64(bytes.count + 1))))
            let host = Int(random.below(UInt64(bytes.count + 1)))
            let differences = unsafe bytes.withUnsafeBufferPointer { p -> [Int32] in
                guard let start = p.baseAddress else { return [0, 0] }
                let from = min(lines, p.count)
                return unsafe [
                    cscan_compare_lines(start + from, p.count - from),
                    cscan_compare_rest(start, p.count, host),
                ]
            }
            #expect(differences == [0, 0])
        }
    }

    @Test("a table of one or two places takes no more")
    func room() {
        let bytes = Array("a: 1\r\nhost: some.host.example\r\nb: some more bytes\r\n\r\n".utf8)
        for capacity in 1...3 {
            var table = FieldTable(capacity: capacity)
            let end = table.scan(bytes.span, from: 0)
            let count = table.count
            let isIn = table.append(Field(name: .empty, value: .empty, known: .te))
            #expect(count == min(3, capacity) && isIn == (capacity > 3))
            #expect(end == [6, 31, 51][capacity - 1])
        }
    }

    @Test("every known field is found by its name, in any case, and by no other")
    func names() {
        for field in KnownField.allCases where field != .other {
            let name = field.name.description
            for text in [name, name.uppercased(), name.prefix(1).uppercased() + name.dropFirst()] {
                let known = KnownField.intern(Array(text.utf8).span)
                #expect(known == field)
            }
            for i in name.utf8.indices {
                // Bytes that bit 5 turns into the right one must not pass for it.
                var bytes = Array(name.utf8)
                bytes[name.utf8.distance(from: name.utf8.startIndex, to: i)] &= 0x1f
                let known = KnownField.intern(bytes.span)
                #expect(known == .other)
            }
            let longer = KnownField.intern(Array((name + "x").utf8).span)
            #expect(longer == .other)
        }
    }

    @Test("plain paths and hosts end where the byte tables say")
    func pathsAndHosts() {
        var random = PRNG(seed: 78)
        for _ in 0..<20_000 {
            let length = Int(random.below(60))
            let bytes = (0..<length).map { _ -> UInt8 in
                random.below(12) == 0
                    ? UInt8(truncatingIfNeeded: random.next())
                    : Array("aZ09-_/abc.".utf8)[Int(random.below(11))]
            }
            var path = 0
            while path < length, Self.isName(bytes[path]) || Self.isSlash(bytes, path) { path += 1 }
            var host = 0
            while host < length, Self.isName(bytes[host]) || bytes[host] == 0x2e { host += 1 }
            let scanned = [
                ASCII.plainPathLength(bytes.span),
                ASCII.plainHostLength(
                    bytes.span, in: ByteRange(start: 0, count: length)),
            ]
            #expect(scanned == [path, host])
        }
    }

    private static func isName(_ b: UInt8) -> Bool {
        ASCII.isAlpha(b) || ASCII.isDigit(b) || b == 0x2d || b == 0x5f
    }

    private static func isSlash(_ bytes: [UInt8], _ at: Int) -> Bool {
        bytes[at] == 0x2f && (at == 0 || bytes[at - 1] != 0x2f)
    }
}
