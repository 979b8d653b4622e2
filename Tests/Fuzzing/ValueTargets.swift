import Base
import HTTP1
import HTTPSemantics
import Routing

/// Values inside heads.
enum ValueTargets {
    private static func array(_ bytes: Span<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        for i in 0..<bytes.count { out.append(bytes[i]) }
        return out
    }

    private static func normalized(_ path: [UInt8]) -> [UInt8]? {
        var out = ByteBuffer()
        guard (try? PathNormalizer.normalize(path.span, into: &out)) != nil else { return nil }
        return array(out.readable)
    }

    static func path(_ input: [UInt8]) throws {
        let path = [0x2f] + input.filter { $0 > 0x20 && $0 != 0x7f && $0 != 0x3f && $0 != 0x23 }
        guard let normal = normalized(path) else { return }
        try demand(normal.first == 0x2f, "a normal form that is no path")
        let segments = normal.split(separator: 0x2f, omittingEmptySubsequences: false)
        for (i, segment) in segments.enumerated() where i > 0 {
            let isLast = i == segments.count - 1
            try demand(!segment.isEmpty || isLast, "an empty segment")
            try demand(
                Array(segment) != [0x2e] && Array(segment) != [0x2e, 0x2e], "a dot segment")
        }
        // A percent sign that was encoded stays so; a second pass finds nothing to do.
        try demand(normalized(normal) == normal, "the normal form has another")
        try demand(!normal.contains(0), "a NUL")
        try demand(normal.allSatisfy { $0 > 0x20 && $0 < 0x7f }, "a byte that needs an escape")
        try demand(!normal.contains { "\"<>[\\]^`{|}".utf8.contains($0) }, "another such byte")
        let there = elements(path), here = elements(normal)
        if !there.contains([0x2e]), !there.contains([0x2e, 0x2e]) {
            try demand(there == here, "an origin that decodes once reads another path")
        }
    }

    /// The elements that an origin reads which splits a path and then decodes each element once;
    /// what is no escape stands for itself.
    private static func elements(_ path: [UInt8]) -> [[UInt8]] {
        path.split(separator: 0x2f).map { element in
            let bytes = Array(element)
            var out: [UInt8] = []
            var i = 0
            while i < bytes.count {
                let digits = bytes[min(i + 1, bytes.count)..<min(i + 3, bytes.count)]
                let text = String(decoding: digits, as: UTF8.self)
                if bytes[i] == 0x25, digits.count == 2, digits.allSatisfy({ $0 > 0x2f }),
                    let value = UInt8(text, radix: 16)
                {
                    out.append(value)
                    i += 3
                } else {
                    out.append(bytes[i])
                    i += 1
                }
            }
            return out
        }
    }

    /// 16 bytes of key and then the field: no cookie that its key did not write is taken.
    static func cookie(_ input: [UInt8]) throws {
        let field = Array(input.dropFirst(2))
        let name = Array("sluice-s".utf8)
        if let range = Cookie.value(named: name.span, in: field.span) {
            try demand(range.upper <= field.count, "a value beyond the field")
            try demand(range.lower >= name.count + 1, "a value before its name")
            // A value may be quoted (RFC 6265 §4.1.1).
            let equals = field[range.lower - 1] == 0x22 ? range.lower - 2 : range.lower - 1
            try demand(equals >= name.count, "a value before its name")
            let before = field[(equals - name.count)...equals]
            try demand(Array(before) == name + [0x3d], "a value that is not the name's")
            try demand(!field[range.range].contains(0x3b), "a value with a semicolon")
        }
        let key = SipHash(k0: 1, k1: 2), other = SipHash(k0: 3, k1: 4)
        for keys in [[], [key], [other, key]] {
            let ticket = StickyCookie.decode(
                field.span, keys: keys, acceptsUnsigned: keys.isEmpty)
            guard let ticket else { continue }
            var spellings: [[UInt8]] = []
            for key in keys.isEmpty ? [nil] : keys.map(Optional.some) {
                var out = ByteBuffer()
                StickyCookie.encode(ticket, key: key, to: &out)
                spellings.append(array(out.readable))
            }
            try demand(spellings.contains(field), "a ticket that no key of ours writes")
        }
    }

    /// Numbers, dates, authorities and addresses.
    static func values(_ input: [UInt8]) throws {
        let view = input.span
        if let host = Authority.hostLength(view) {
            try demand(host > 0 && host <= input.count, "a host of \(host) of \(input.count)")
            try demand(
                input.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x40 && $0 != 0x2c },
                "a bad authority")
        }
        if let timeout = GRPC.timeout(view) {
            try demand(timeout >= .zero, "a timeout before now")
        }
        if let status = GRPC.status(view) { try demand(status >= -1, "a status of \(status)") }
        if let seconds = HTTPDate.seconds(view) {
            var out = ByteBuffer()
            HTTPDate.append(WallTime(microseconds: seconds * 1_000_000), to: &out)
            let back = HTTPDate.seconds(out.readable)
            try demand(back == seconds, "a date that reads back as another")
        }
        if let wait = RetryAfter.wait(view, wall: WallTime(microseconds: 0)) {
            try demand(wait >= .zero, "a wait before now")
        }
        let text = String(decoding: input, as: UTF8.self)
        if let address = Address(text) {
            try demand(Address(address.description) == address, "\(address) is another address")
        }
    }
}
