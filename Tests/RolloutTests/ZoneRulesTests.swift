import Base
import Foundation
import JSON
import Rollout
import Testing

/// Rules of time zones, compared with Python's zoneinfo (Tests/Fixtures/zones/make.py).
@Suite("The rules of a time zone")
struct ZoneRulesTests {
    struct Zone: Sendable, CustomTestStringConvertible {
        var name: String
        var bytes: [UInt8]
        /// Times in seconds since 1970, and seconds east of UTC.
        var offsets: [(Int, Int)]
        /// From when, the window, and when it opens.
        var openings: [(Int, String, Int)]
        var testDescription: String { name }
    }

    static let zones: [Zone] = {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Fixtures/zones/zones.json")
        guard let data = try? Data(contentsOf: file),
            let list = try? JSONReader.read(Array(data)).elements
        else { return [] }
        return list.compactMap { node in
            guard let name = node["zone"]?.text, let text = node["file"]?.text,
                let bytes = Data(base64Encoded: text)
            else { return nil }
            func rows(_ key: String) -> [[JSONNode]] {
                (node[key]?.elements ?? []).compactMap(\.elements)
            }
            return Zone(
                name: name, bytes: Array(bytes),
                offsets: rows("offsets").map { ($0[0].integer ?? 0, $0[1].integer ?? 0) },
                openings: rows("openings").map {
                    ($0[0].integer ?? 0, $0[1].text ?? "", $0[2].integer ?? 0)
                })
        }
    }()

    @Test("there are zones north and south, with changes of an hour, half of one, and of a day")
    func fixture() {
        #expect(ZoneRulesTests.zones.count == 13)
        #expect(ZoneRulesTests.zones.reduce(0) { $0 + $1.offsets.count } > 1_000)
    }

    @Test("offsets around every change of some years up to 2100 are zoneinfo's", arguments: zones)
    func offsets(_ zone: Zone) throws {
        let rules = try ZoneRules(zone.bytes)
        for (time, offset) in zone.offsets {
            #expect(rules.offset(at: Int64(time)) == offset, "\(zone.name) at \(time)")
        }
    }

    @Test("windows open when a search minute by minute says so", arguments: zones)
    func openings(_ zone: Zone) throws {
        let rules = try ZoneRules(zone.bytes)
        for (from, text, opening) in zone.openings {
            let window = try TimeWindow(text)
            let start = WallTime(microseconds: Int64(from) * 1_000_000)
            let next = try #require(window.nextOpening(from: start, in: rules), "\(text)")
            #expect(next.seconds == Int64(opening), "\(text) from \(from)")
            #expect(window.isOpen(at: next, in: rules))
            #expect(window.isOpen(at: start, in: rules) == (from == opening), "\(text) at \(from)")
        }
    }

    @Test(
        "between two changes the offset stays, and at each of them it may differ", arguments: zones)
    func transitions(_ zone: Zone) throws {
        let rules = try ZoneRules(zone.bytes)
        var at: Int64 = 1_700_000_000, seen = 0
        while let next = rules.transition(after: at), seen < 60 {
            #expect(next > at)
            #expect(rules.offset(at: at) == rules.offset(at: next - 1))
            at = next
            seen += 1
        }
        if zone.name == "Europe/Berlin" { #expect(seen == 60) }
        if zone.name == "Etc/GMT+5" { #expect(seen == 0) }
    }

    @Test("a file that is cut anywhere is refused")
    func cut() {
        for zone in ZoneRulesTests.zones {
            for length in 0..<zone.bytes.count {
                let bytes = Array(zone.bytes[..<length])
                #expect(throws: ZoneRules.Failure.self) { try ZoneRules(bytes) }
            }
        }
    }

    @Test("a file with any byte changed is refused, or its rules can be asked at any time")
    func hostile() {
        var random = SplitMix(seed: 7)
        var taken = 0
        for _ in 0..<20_000 {
            let zone = ZoneRulesTests.zones[Int(random.next() % UInt64(ZoneRulesTests.zones.count))]
            var bytes = zone.bytes
            for _ in 0...Int(random.next() % 3) {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(random.next() & 0xff)
            }
            guard let rules = try? ZoneRules(bytes) else { continue }
            taken += 1
            for time in [Int64.min, -1, 0, 1_790_000_000, Int64(random.next() >> 1), .max] {
                #expect(abs(rules.offset(at: time)) < 700_000)
                if let next = rules.transition(after: time) { #expect(next > Int64.min) }
            }
            if let window = try? TimeWindow("Mon 02:00-03:00") {
                _ = window.nextOpening(from: WallTime(microseconds: .max), in: rules)
                _ = window.nextOpening(from: WallTime(microseconds: .min), in: rules)
            }
        }
        #expect(taken > 1_000)
    }

    /// A file of version 2 with one kind of local time and a footer.
    static func file(_ footer: String, leaps: UInt8 = 0, version: UInt8 = 0x32) -> [UInt8] {
        func header(_ types: UInt8, _ leaps: UInt8) -> [UInt8] {
            var bytes = Array("TZif".utf8) + [version] + [UInt8](repeating: 0, count: 15)
            for count in [0, 0, leaps, 0, types, 0] { bytes += [0, 0, 0, count] }
            return bytes
        }
        return header(0, 0) + header(1, leaps) + [UInt8](repeating: 0, count: 6)
            + [UInt8](repeating: 0, count: Int(leaps) * 12) + Array("\n\(footer)\n".utf8)
    }

    static let footers: [(String, Int64, Int)] = [
        ("UTC0", 0, 0), ("<+0330>-3:30", 0, 12_600),
        ("EST5EDT,M3.2.0,M11.1.0", 1_790_000_000, -14_400),
        ("EST5EDT,M3.2.0,M11.1.0", 1_798_000_000, -18_000),
        // Daylight time all year (RFC 9636 §3.3.1).
        ("XXX3EDT4,0/0,J365/23", 1_798_000_000, -14_400),
        ("XXX3EDT4,0/0,J365/23", 1_767_225_600, -14_400),
        // The end of daylight time is winter time here: the standard one is summer's.
        ("IST-1GMT0,M10.5.0,M3.5.0/1", 1_798_000_000, 0),
        ("IST-1GMT0,M10.5.0,M3.5.0/1", 1_790_000_000, 3_600),
        // J60 is 1 March in leap years too, 59 is 29 February in them.
        ("AAA0BBB-1,J60/0,J61/0", 1_835_481_600, 3_600),
        ("AAA0BBB-1,59/0,60/0", 1_835_395_200, 3_600),
        // Times beyond a day, and before it.
        ("AAA0BBB,M1.1.1/-24,M1.1.1/167", 1_798_934_400, 3_600),
    ]

    @Test("the footer's rule holds after the last transition", arguments: footers)
    func footer(_ text: String, _ time: Int64, _ offset: Int) throws {
        let rules = try ZoneRules(ZoneRulesTests.file(text))
        #expect(rules.offset(at: time) == offset)
    }

    static let bad = [
        "E5", "EST", "EST25", "EST5EDT,M3.2.0", "EST5EDT,M13.2.0,M11.1.0", "EST5EDT,M3.6.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0", "EST5EDT,J0,J1", "EST5EDT,366,1", "EST5EDT,M3.2.0/168,M11.1.0",
        "EST5EDT,M3.2.0,M11.1.0 ", "<+03", "EST5:60", "EST5EDT", "EST99999999999999999999",
    ]

    @Test("a footer that is no rule is refused", arguments: bad)
    func badFooter(_ text: String) {
        #expect(throws: ZoneRules.Failure.self) { try ZoneRules(ZoneRulesTests.file(text)) }
    }

    @Test("files of version 1, and those that count leap seconds, are refused by name")
    func kinds() {
        func message(_ bytes: [UInt8]) -> String {
            do throws(ZoneRules.Failure) {
                _ = try ZoneRules(bytes)
                return ""
            } catch { return error.message }
        }
        #expect(message(ZoneRulesTests.file("UTC0", version: 0)).contains("version 1"))
        #expect(message(ZoneRulesTests.file("UTC0", leaps: 1)).contains("leap seconds"))
        #expect(
            message(Array("#!/bin/sh".utf8) + [UInt8](repeating: 0, count: 60)).contains("no file"))
        #expect(message([UInt8](repeating: 0, count: 300_000)).contains("too long"))
    }
}

/// A small generator of numbers that are the same in every run.
struct SplitMix {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
