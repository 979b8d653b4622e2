import Foundation
import Testing

/// ARCHITECTURE.md is true as far as a test can see: each type, function, file, page and word that
/// it names in the font of code is declared in Sources, or is a file of the repository.
@Suite struct ArchitectureTests {
    /// An index of all that the sources declare.
    struct Index {
        /// Files, by a type that they declare or extend.
        var filesOfType: [String: Set<Int>] = [:]
        /// Types that are declared, not only extended.
        var declared: Set<String> = []
        /// Names of functions, properties, cases and nested types, by file.
        var members: [Set<String>] = []
        /// Names of files without folders.
        var fileNames: Set<String> = []
        /// Every word of the sources, C and comments included.
        var words: Set<Substring> = []
    }

    /// A name behind one of some words, as in `func name`.
    private static func name(_ line: Substring, after words: [String]) -> Substring? {
        let parts = line.split { $0 == " " }
        for (i, part) in parts.enumerated() where words.contains(String(part)) {
            // Of `static func`, `indirect enum`, `private(set) var` the last word counts.
            guard i + 1 < parts.count else { return nil }
            let rest = parts[i + 1]
            if words.contains(String(rest)) { continue }
            return rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." }
        }
        return nil
    }

    /// The product, and the tests that the page tells of.
    static let files = TidyTests.files.filter { file in
        ["Sources/", "Tests/Simulation", "Tests/Fuzzing"].contains { file.path.hasPrefix($0) }
    }

    static let index: Index = {
        var index = Index()
        let typeWords = ["struct", "enum", "class", "actor", "protocol", "typealias"]
        for (number, file) in files.enumerated() {
            index.fileNames.insert((file.path as NSString).lastPathComponent)
            var members: Set<String> = []
            for line in file.lines {
                index.words.formUnion(line.split { !$0.isLetter && !$0.isNumber && $0 != "_" })
                let code = line.drop { $0 == " " }
                if code.hasPrefix("//") { continue }
                if let type = name(code, after: typeWords) {
                    index.declared.insert(String(type))
                    members.insert(String(type))
                    index.filesOfType[String(type), default: []].insert(number)
                }
                if let type = name(code, after: ["extension"])?.split(separator: ".").last {
                    index.filesOfType[String(type), default: []].insert(number)
                }
                if let name = name(code, after: ["func", "var", "let"]) {
                    members.insert(String(name))
                }
                if code.hasPrefix("case ") {
                    for part in code.dropFirst(5).split(separator: ",") {
                        let name = part.drop { $0 == " " }.prefix { $0.isLetter || $0.isNumber }
                        members.insert(String(name))
                    }
                }
            }
            index.members.append(members)
        }
        let ground = TidyTests.root.appendingPathComponent("Sources/Ground")
        let names = FileManager.default.enumerator(atPath: ground.path)?.compactMap {
            $0 as? String
        }
        for name in names ?? [] where name.hasSuffix(".h") || name.hasSuffix(".c") {
            let text = DocumentTests.text("Sources/Ground/\(name)")
            for line in text.split(separator: "\n") {
                index.words.formUnion(line.split { !$0.isLetter && !$0.isNumber && $0 != "_" })
            }
        }
        return index
    }()

    /// Whether `Type`, `Type.member` or `Type.Nested` is declared.
    static func isDeclared(_ parts: [String]) -> Bool {
        guard index.declared.contains(parts[0]), let files = index.filesOfType[parts[0]] else {
            return false
        }
        guard parts.count > 1 else { return true }
        if parts.count > 2, !isDeclared(Array(parts[1...])) { return false }
        return files.contains { index.members[$0].contains(parts[1]) }
    }

    /// Whether a name is that of a type or a folder of the tests.
    static func isTest(_ parts: [String]) -> Bool {
        parts.count == 1 && testNames.contains(parts[0])
    }

    private static let testNames: Set<String> = {
        let tests = TidyTests.root.appendingPathComponent("Tests").path
        var names: Set<String> = []
        for case let path as String in FileManager.default.enumerator(atPath: tests) ?? .init() {
            let name = path.split(separator: "/").last ?? ""
            names.insert(name.hasSuffix(".swift") ? String(name.dropLast(6)) : String(name))
            guard name.hasSuffix(".swift") else { continue }
            for line in DocumentTests.text("Tests/\(path)").split(separator: "\n") {
                let words = line.split(separator: " ")
                for (word, next) in zip(words, words.dropFirst())
                where ["struct", "class", "enum"].contains(word) {
                    names.insert(String(next.prefix { $0.isLetter || $0.isNumber }))
                }
            }
        }
        return names
    }()

    /// Why a span in the font of code is not true; `nil` when it is.
    static func fault(_ span: String) -> String? {
        if span.hasSuffix(".swift"), !span.contains("/") {
            return index.fileNames.contains(span) ? nil : "no such file in Sources"
        }
        if span.hasSuffix(".md") {
            return [span, "docs/\(span)"].contains(where: DocumentTests.exists)
                ? nil : "no such page"
        }
        // A path, perhaps with arguments behind it.
        let path = String(span.prefix { $0 != " " })
        if path == "Sources" || path.contains("/") && !path.hasPrefix("/") {
            return DocumentTests.exists(path) ? nil : "no such file or folder"
        }
        let parts = span.split(separator: ".").map(String.init)
        if span.first?.isUppercase == true, parts.allSatisfy(isName) {
            return isDeclared(parts) || isTest(parts) ? nil : "not declared in Sources or Tests"
        }
        for word in span.split(whereSeparator: { !$0.isLetter && !$0.isNumber && $0 != "_" })
        where !index.words.contains(word) {
            return "\"\(word)\" does not occur in Sources"
        }
        return nil
    }

    private static func isName(_ text: String) -> Bool {
        text.allSatisfy { $0.isLetter || $0.isNumber || $0 == "_" }
    }

    /// The spans in the font of code, without blocks of code.
    static func spans(_ text: String) -> [(line: Int, span: String)] {
        var spans: [(Int, String)] = [], isCode = false
        for (i, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
        {
            if line.hasPrefix("```") { isCode.toggle() }
            if isCode { continue }
            let parts = line.components(separatedBy: "`")
            for k in stride(from: 1, to: parts.count, by: 2) { spans.append((i + 1, parts[k])) }
        }
        return spans
    }

    @Test("each type, function, file and word that ARCHITECTURE.md names in code font is there")
    func named() {
        let spans = ArchitectureTests.spans(DocumentTests.text("ARCHITECTURE.md"))
        #expect(spans.count > 200)
        for (line, span) in spans {
            let fault = ArchitectureTests.fault(span)
            #expect(fault == nil, "ARCHITECTURE.md:\(line): `\(span)`: \(fault ?? "")")
        }
    }

    @Test("names in the diagrams of ARCHITECTURE.md are declared too")
    func drawn() {
        let blocks = DocumentTests.text("ARCHITECTURE.md").components(separatedBy: "```")
        var count = 0
        for k in stride(from: 1, to: blocks.count, by: 2) {
            for word in blocks[k].split(whereSeparator: {
                !$0.isLetter && !$0.isNumber && $0 != "."
            }) {
                let parts = word.split(separator: ".").map(String.init)
                // `Type.member`, or a name in which a second capital stands.
                guard parts.count == 2, parts[0].first?.isUppercase == true,
                    parts[1].first?.isLowercase == true
                else { continue }
                count += 1
                #expect(ArchitectureTests.isDeclared(parts), "ARCHITECTURE.md draws \(word)")
            }
        }
        #expect(count > 5)
    }

    /// Types with state that several threads may touch, by file: those that hold atomics or locks.
    /// The folder Shared of Base has the tools for such state, and no state of its own.
    static let shared: [String: String] = {
        var found: [String: String] = [:]
        // A struct that holds an AddressOnly has an address; the atomic in it is never read.
        for file in TidyTests.sources
        where !file.path.hasPrefix("Sources/Base/Shared/")
            && !file.path.hasSuffix("/AddressOnly.swift")
        {
            var owner: Substring = ""
            for line in file.lines where !line.drop(while: { $0 == " " }).hasPrefix("//") {
                if !line.hasPrefix(" "),
                    let type = name(line, after: ["struct", "class", "enum", "extension"])
                {
                    owner = type
                }
                if !line.hasPrefix("import "),
                    ["Atomic<", "Lock<", "Lock(", "SharedCounters("].contains(where: line.contains)
                {
                    found[String(owner)] = file.path
                }
            }
        }
        return found
    }()

    @Test("all state that threads share is in the table of ARCHITECTURE.md")
    func sharedState() {
        let text = DocumentTests.text("ARCHITECTURE.md")
        let section = text.components(separatedBy: "### Shared between threads").last ?? ""
        let table = section.components(separatedBy: "\n## ").first ?? ""
        #expect(ArchitectureTests.shared.count > 10)
        for (type, path) in ArchitectureTests.shared {
            #expect(
                table.contains("`\(type)`"),
                "\(path): \(type) is shared between threads, and has no row")
        }
    }

    @Test("a name that is not there is found to be missing")
    func search() {
        #expect(ArchitectureTests.fault("Filters.apply") == nil)
        #expect(ArchitectureTests.fault("Filters.pass") != nil)
        #expect(ArchitectureTests.fault("NoSuchType") != nil)
        #expect(ArchitectureTests.fault("NoSuchFile.swift") != nil)
        #expect(ArchitectureTests.fault("Sources/NoSuchFolder") != nil)
        #expect(ArchitectureTests.fault("timeouts.headers") == nil)
        #expect(ArchitectureTests.fault("timeouts.hairdos") != nil)
    }
}
