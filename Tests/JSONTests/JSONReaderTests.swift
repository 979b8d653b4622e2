import Base
import Foundation
import JSON
import Testing

/// The strict reader, against Foundation's and against its own writer.
@Suite struct JSONReaderTests {
    func read(_ text: String) throws -> JSONNode { try JSONReader.read(Array(text.utf8)) }

    /// A random value, and the same for Foundation.
    static func value(_ random: inout PRNG, depth: Int) -> JSONText {
        let texts = ["", "a", "ü\u{1F600}\u{0}\n", "\"\\/", "\u{7f}\u{2028}", "1e5"]
        switch random.below(depth > 4 ? 5 : 7) {
        case 0: return .null
        case 1: return .bool(random.below(2) == 0)
        case 2: return .integer(Int(truncatingIfNeeded: random.next()) >> Int(random.below(60)))
        case 3: return .number(Double(random.below(1_000_000)) / 64 + 0.5)
        case 4: return .string(texts[Int(random.below(UInt64(texts.count)))])
        case 5: return .array((0..<random.below(4)).map { _ in value(&random, depth: depth + 1) })
        default:
            return .object(
                (0..<random.below(4)).map { i in
                    (texts[Int(i)] + "\(i)", value(&random, depth: depth + 1))
                })
        }
    }

    func same(_ node: JSONNode, _ text: JSONText) -> Bool {
        switch (node.content, text) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.string(let a), .string(let b)): a == b
        case (.array(let a), .array(let b)): a.count == b.count && zip(a, b).allSatisfy(same)
        case (.object(let a), .object(let b)):
            a.count == b.count && zip(a, b).allSatisfy { $0.name == $1.0 && same($0.value, $1.1) }
        default: false
        }
    }

    @Test("what the writer writes is read as it was")
    func roundTrip() throws {
        for seed in 1...400 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            let value = JSONReaderTests.value(&random, depth: 0)
            #expect(same(try read(value.text()), value), "seed \(seed)")
        }
    }

    @Test("no broken text crashes the reader, and what it takes Foundation takes too")
    func broken() {
        var taken = 0
        for seed in 1...4_000 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            var bytes = Array(JSONReaderTests.value(&random, depth: 0).text().utf8)
            let pool = Array("{}[]\",:\\u0tfn-1eE. \u{80}".utf8)
            for _ in 0...random.below(3) where !bytes.isEmpty {
                let at = Int(random.below(UInt64(bytes.count)))
                let byte = pool[Int(random.below(UInt64(pool.count)))]
                switch random.below(3) {
                case 0: bytes[at] = byte
                case 1: bytes.insert(byte, at: at)
                default: bytes.remove(at: at)
                }
            }
            guard (try? JSONReader.read(bytes)) != nil else { continue }
            taken += 1
            let other = try? JSONSerialization.jsonObject(
                with: Data(bytes), options: .fragmentsAllowed)
            #expect(other != nil, "\(String(decoding: bytes, as: UTF8.self))")
        }
        #expect(taken > 100)
    }

    /// Texts that are refused, and where.
    static let refusals: [(text: String, error: String)] = [
        ("", "1:1: the text ends early"), ("{", "1:2: the text ends early"),
        ("{\n  \"a\": 1,\n  \"a\": 2\n}", "3:3: \"a\" is given twice"),
        ("[1 2]", "1:4: expected a comma or ]"), ("[1,]", "1:4: expected a value"),
        ("{\"a\" 1}", "1:6: expected a colon"), ("{a: 1}", "1:2: expected a name in quotes"),
        ("01", "1:2: something stands behind the value"), ("-", "1:2: expected a digit"),
        ("1.", "1:3: expected a digit behind the point"),
        ("1e", "1:3: expected a digit of the exponent"), ("1e999", "1:1: the number is too large"),
        ("nul", "1:1: expected a value"), ("\"a", "1:1: a text without end"),
        ("\"\\x\"", "1:3: no such escape"), ("\"\\u12\"", "1:6: expected four hexadecimal digits"),
        ("\"\\ud800\"", "1:8: half of a surrogate pair"),
        ("\"\\udc00\"", "1:8: half of a surrogate pair"),
        ("\"a\tb\"", "1:3: a control character in a text, which \\u can write"),
        ("[\"ü\", ü]", "1:7: expected a value"),
        (String(repeating: "[", count: 33), "1:33: more than 32 levels"),
    ]

    @Test("a text that is refused is refused at its place", arguments: refusals)
    func refusal(text: String, error: String) {
        #expect(message(Array(text.utf8)) == error)
    }

    func message(_ bytes: [UInt8]) -> String {
        do throws(JSONError) {
            _ = try JSONReader.read(bytes)
            return ""
        } catch {
            return error.description
        }
    }

    @Test("bytes that are not UTF-8, too many bytes and too many values are refused")
    func limits() {
        #expect(message([0x22, 0xc3, 0x28, 0x22]) == "1:1: the text is not UTF-8")
        #expect(message([0x22, 0xed, 0xa0, 0x80, 0x22]) == "1:1: the text is not UTF-8")
        let large = [UInt8](repeating: 0x20, count: (1 << 20) + 1)
        #expect(message(large).hasSuffix("at most 1048576 are read"))
        let many = "[" + String(repeating: "0,", count: 100_000) + "0]"
        #expect(message(Array(many.utf8)).hasSuffix("more than 100000 values"))
    }

    @Test("pairs of surrogates are one character, and escapes mean what they say")
    func escapes() throws {
        let node = try read("\"\\ud83d\\ude00\\n\\u00fc\\/\"")
        #expect(node.text == "\u{1F600}\nü/")
    }
}
