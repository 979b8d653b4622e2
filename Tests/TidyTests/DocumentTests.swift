import Foundation
import Testing

/// The documents are true as far as a test can see: what they name is there, and what the code
/// cites is there.
@Suite struct DocumentTests {
    /// A Markdown file: its path from the root, and its lines.
    struct Page: Sendable {
        var path: String
        var lines: [Substring]

        var folder: String { (path as NSString).deletingLastPathComponent }
    }

    static func text(_ path: String) -> String {
        let file = TidyTests.root.appendingPathComponent(path)
        return (try? String(contentsOf: file, encoding: .utf8)) ?? ""
    }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(
            atPath: TidyTests.root.appendingPathComponent(path).standardizedFileURL.path)
    }

    static let pages: [Page] = {
        var paths = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"]
        for folder in ["docs", "Benchmarks"] {
            let base = TidyTests.root.appendingPathComponent(folder).path
            let names = FileManager.default.enumerator(atPath: base)?.compactMap { $0 as? String }
            paths += (names ?? []).filter { $0.hasSuffix(".md") }.sorted().map { "\(folder)/\($0)" }
        }
        return paths.map {
            Page(path: $0, lines: text($0).split(separator: "\n", omittingEmptySubsequences: false))
        }
    }()

    // MARK: Pages

    /// A table's second line, the one that separates the head from the rows.
    private static func isSeparator(_ line: Substring) -> Bool {
        line.hasPrefix("|") && line.contains("-") && line.allSatisfy { "|-: ".contains($0) }
    }

    @Test("every table begins with a head, so no blank line cuts one")
    func tables() {
        for page in DocumentTests.pages {
            var isInside = false, isCode = false
            for (i, line) in page.lines.enumerated() {
                if line.hasPrefix("```") { isCode.toggle() }
                if isCode { continue }
                if line.hasPrefix("|"), !isInside {
                    let next = i + 1 < page.lines.count ? page.lines[i + 1] : ""
                    #expect(
                        DocumentTests.isSeparator(next),
                        "\(page.path):\(i + 1): a row without a head; a blank line above it?")
                }
                isInside = line.hasPrefix("|")
            }
        }
    }

    @Test("every link from one page to a file of the repository leads somewhere")
    func links() {
        var count = 0
        for page in DocumentTests.pages {
            for (i, line) in page.lines.enumerated() {
                for part in line.components(separatedBy: "](").dropFirst() {
                    let target = part.prefix { $0 != ")" && $0 != "#" }
                    if target.isEmpty || target.contains("://") { continue }
                    count += 1
                    #expect(
                        DocumentTests.exists("\(page.folder)/\(target)"),
                        "\(page.path):\(i + 1): \(target) is not there")
                }
            }
        }
        #expect(count > 100)
    }

    @Test("the index of decisions has a line for every page, once")
    func decisions() {
        let folder = "docs/decisions"
        let index = DocumentTests.text("\(folder)/README.md")
        let pages = DocumentTests.pages.filter {
            $0.folder == folder && !$0.path.hasSuffix("README.md")
        }
        #expect(pages.count > 50)
        for page in pages {
            let name = (page.path as NSString).lastPathComponent
            #expect(index.contains("(\(name))"), "\(name) has no line in \(folder)/README.md")
            #expect(
                name.range(of: #"^20\d\d-\d\d-\d\d-[a-z0-9-]+\.md$"#, options: .regularExpression)
                    != nil, "\(name): a page is named YYYY-MM-DD-short-name.md")
        }
    }

    // MARK: Citations

    /// `name.md`, with the section that is cited behind it.
    static func citations(_ line: Substring) -> [(page: String, section: String?)] {
        var found: [(String, String?)] = []
        let pattern = /([A-Za-z][A-Za-z0-9_\/-]*\.md)(?: §([0-9]+(?:\.[0-9]+)*))?/
        for match in line.matches(of: pattern) {
            found.append((String(match.output.1), match.output.2.map(String.init)))
        }
        return found
    }

    @Test("every page and section that the code cites is there")
    func cited() {
        var count = 0
        for file in TidyTests.files where !file.path.hasPrefix("Tests/TidyTests/") {
            for (i, line) in file.lines.enumerated() where line.contains(".md") {
                for citation in DocumentTests.citations(line) {
                    count += 1
                    let name = citation.page
                    let paths = [name, "docs/\(name)"].filter(DocumentTests.exists)
                    #expect(!paths.isEmpty, "\(file.path):\(i + 1): no page \(name)")
                    guard let section = citation.section, let path = paths.first else { continue }
                    let heads = DocumentTests.text(path).split(separator: "\n").filter {
                        $0.hasPrefix("#")
                    }
                    #expect(
                        heads.contains { $0.drop { $0 == "#" }.hasPrefix(" §\(section) ") },
                        "\(file.path):\(i + 1): \(name) has no §\(section)")
                }
            }
        }
        #expect(count >= 8)
        #expect(
            DocumentTests.citations("see splitting.md §12, docs/judge.md").map(\.page)
                == ["splitting.md", "docs/judge.md"])
        #expect(DocumentTests.citations("see splitting.md §12.").first?.section == "12")
    }
}
