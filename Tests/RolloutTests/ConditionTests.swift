import Rollout
import Testing

@Suite("The condition of a stage")
struct ConditionTests {
    static let values = ["branch": "main", "revision": "1.4.2", "empty": ""]

    static func outcome(_ text: String) throws -> Condition.Outcome {
        try Condition(text).outcome { values[$0] }
    }

    static let cases: [(String, Condition.Outcome)] = [
        ("branch == \"main\"", .yes), ("branch == 'main'", .yes), ("branch == \"dev\"", .no),
        ("branch != \"main\"", .no), ("branch != \"dev\"", .yes),
        ("branch in [\"dev\", \"main\"]", .yes), ("branch in ['dev']", .no),
        ("not branch == \"main\"", .no), ("not not branch == \"main\"", .yes),
        ("empty == \"\"", .yes), ("revision == \"1.4.2\" and branch == \"main\"", .yes),
        // and binds more tightly than or, and not more tightly than both.
        ("branch == \"main\" or branch == \"x\" and branch == \"y\"", .yes),
        ("(branch == \"main\" or branch == \"x\") and branch == \"y\"", .no),
        ("not branch == \"x\" and branch == \"main\"", .yes),
        // A name without a value matters only where the outcome hangs on it.
        ("ticket == \"a\"", .unknown("ticket")), ("not ticket == \"a\"", .unknown("ticket")),
        ("ticket == \"a\" and branch == \"dev\"", .no),
        ("branch == \"dev\" and ticket == \"a\"", .no),
        ("ticket == \"a\" or branch == \"main\"", .yes),
        ("ticket == \"a\" or branch == \"dev\"", .unknown("ticket")),
        ("a == \"1\" and b == \"2\"", .unknown("a")),
        ("branch == \"ma\\in\"", .yes), ("branch == 'ma\"in'", .no),
        (" branch==\"main\"and revision!=\"1\" ", .yes),
    ]

    @Test("a condition is yes, no, or hangs on a name without a value", arguments: cases)
    func outcomes(_ text: String, _ outcome: Condition.Outcome) throws {
        #expect(try ConditionTests.outcome(text) == outcome)
    }

    static let bad: [(String, Int, String, String)] = [
        ("", 0, "is empty", "take it out"), ("   ", 3, "is empty", ""),
        ("branch", 6, "the end", "is compared"), ("branch = \"a\"", 7, "\"=\"", "write =="),
        ("branch == main", 10, "no text", "\"main\""), ("branch == ", 10, "the end", "text"),
        ("branch == \"main", 10, "no end", "\""), ("(branch == \"a\"", 14, "the end", "write )"),
        ("branch == \"a\")", 13, "\")\"", "take it out"),
        ("branch == \"a\" branch == \"b\"", 14, "could end", "and, or or"),
        ("branch in \"a\"", 10, "a list", "in ["), ("branch in [\"a\" \"b\"]", 15, "\"]\"", "]"),
        ("branch == \"a\" || branch == \"b\"", 14, "\"||\"", "write or"),
        ("and == \"a\"", 0, "a name", "begins with a name"), ("!branch", 0, "\"!\"", "write not"),
        ("\"a\" == branch", 0, "a name", ""), ("branch > \"a\"", 7, "\">\"", "made of"),
    ]

    @Test("a mistake is told with its place and what to write", arguments: bad)
    func refused(_ text: String, _ offset: Int, _ message: String, _ hint: String) {
        do throws(Condition.Failure) {
            _ = try Condition(text)
            Issue.record("it is taken")
        } catch {
            #expect(error.offset == offset)
            #expect(error.message.contains(message), "\(error.message)")
            #expect(hint.isEmpty || error.hint.contains(hint), "\(error.hint)")
        }
    }

    @Test("neither depth nor length can harm the reader")
    func bounds() throws {
        let deep = String(repeating: "(", count: 1_500)
        let negated = String(repeating: "not ", count: 400) + "a == \"b\""
        let long = String(repeating: "a == \"b\" and ", count: 1_000) + "a == \"b\""
        for text in [deep, negated, long] {
            #expect(throws: Condition.Failure.self) { try Condition(text) }
        }
        let wide = String(repeating: "a == \"b\" and ", count: 150) + "a == \"b\""
        #expect(try Condition(wide).outcome { _ in "b" } == .yes)
    }

    @Test("names are told in order, each once, with their places")
    func names() throws {
        let names = try Condition("a == \"1\" and (b == \"a\" or a != \"2\")").names
        #expect(names.map(\.name) == ["a", "b"])
        #expect(names.map(\.offset) == [0, 14])
    }
}
