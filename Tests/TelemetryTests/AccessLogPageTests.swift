import Foundation
import Telemetry
import Testing

/// The page for users, docs/access-log.md, has every operator and every flag, with what the code
/// says of them.
@Suite struct AccessLogPageTests {
    static func page() throws -> String {
        let folder = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return try String(contentsOfFile: "/\(folder)/docs/access-log.md", encoding: .utf8)
    }

    /// The text between a mark and the next end.
    static func part(_ mark: String) throws -> String {
        let page = try page()
        let start = try #require(page.range(of: "<!-- \(mark) -->\n")).upperBound
        let end = try #require(page.range(of: "<!-- end -->", range: start..<page.endIndex))
        return String(page[start..<end.lowerBound])
    }

    static var operators: String {
        var rows = ["| operator | in JSON | value |", "|---|---|---|"]
        for name in LogOperator.allCases {
            let entry = name.entry
            var text = "`%\(entry.names[0])"
            switch entry.argument {
            case .none: break
            case .fields: text += "(X?Y)"
            case .time: text += "(FORMAT)"
            case .words(let words): text += "(\(words.joined(separator: " or ")))"
            case .path: text += "(X:Y)"
            case .name: text += "(X)"
            }
            text += (entry.takesLength ? ":Z" : "") + "%`"
            if entry.names.count > 1 { text += ", `%\(entry.names[1])…%`" }
            rows.append("| \(text) | \(entry.kind.rawValue) | \(entry.meaning) |")
        }
        return rows.joined(separator: "\n") + "\n"
    }

    @Test("the page has the table of operators as the code has it")
    func table() throws {
        let page = try AccessLogPageTests.part("operators")
        #expect(page == AccessLogPageTests.operators, "\(AccessLogPageTests.operators)")
    }

    @Test("the page has each flag with its long name")
    func flags() throws {
        let page = try AccessLogPageTests.part("flags")
        for place in 0..<ResponseFlags.count {
            let entry = ResponseFlags.entry(place)
            #expect(page.contains("| `\(entry.letters)` | `\(entry.long)` |"), "\(entry.letters)")
        }
        #expect(page.split(separator: "\n").count == ResponseFlags.count + 2)
    }

    @Test("the page has the words of each cause")
    func causes() throws {
        let page = try AccessLogPageTests.page()
        let inside: Set<Failure.Reason> = [.none, .rejected]
        for reason in Failure.Reason.allCases where !inside.contains(reason) {
            let words = "\(reason.text)".split(separator: " ").joined(separator: " ")
            #expect(page.contains("`\(words)"), "\(words)")
        }
    }
}
