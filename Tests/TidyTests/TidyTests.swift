import Foundation
import Testing

/// The rules of the house, kept by a test that reads the tree.
@Suite struct TidyTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    struct File: Sendable {
        var path: String
        var lines: [Substring]
        /// The folder below the floor's, or, where a floor is one target, the floor's own.
        var target: String {
            let folders = path.split(separator: "/").dropFirst().map(String.init)
            guard let first = folders.first else { return "" }
            return ["Base", "sluice"].contains(first) ? first : folders.dropFirst().first ?? ""
        }
    }

    static let files: [File] = {
        let manager = FileManager.default
        return ["Sources", "Tests"].flatMap { folder -> [File] in
            let base = root.appendingPathComponent(folder)
            let names = manager.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
            return names.filter { $0.hasSuffix(".swift") }.sorted().compactMap { name in
                guard
                    let text = try? String(
                        contentsOf: base.appendingPathComponent(name), encoding: .utf8)
                else { return nil }
                return File(
                    path: "\(folder)/\(name)",
                    lines: text.split(separator: "\n", omittingEmptySubsequences: false))
            }
        }
    }()

    static var sources: [File] { files.filter { $0.path.hasPrefix("Sources/") } }

    /// The floors: what each target may import. The same table as in Package.swift and ARCHITECTURE.md.
    static let imports: [String: Set<String>] = [
        "Base": ["CScan", "Glibc", "Synchronization"],
        "HTTPSemantics": ["Base"],
        "JSON": [],
        "HTTP1": ["Base", "HTTPSemantics"],
        "HTTP2": ["CNGHTTP2", "Base", "HTTPSemantics", "HTTP1"],
        "TLS": ["COpenSSL", "Base"],
        "YAML": ["CYAML", "Base"],
        "RE2": ["CRE2", "Base"],
        "Gzip": ["CZlib", "Base"],
        "Platform": ["CPlatform", "Base"],
        "Routing": ["Base", "HTTPSemantics", "RE2", "Synchronization"],
        "Upstream": ["Base", "Synchronization"],
        "Telemetry": ["Base", "HTTPSemantics", "Synchronization"],
        "Judge": ["Glibc"],
        "Evidence": ["Base", "Judge", "Synchronization"],
        "Rollout": ["Base", "JSON", "Judge", "Evidence", "Glibc"],
        "Configuration": [
            "Base", "JSON", "HTTPSemantics", "HTTP2", "YAML", "RE2", "Routing", "Upstream",
            "Telemetry", "Judge", "Evidence", "Rollout", "Synchronization",
        ],
        "Rewriting": ["Base", "HTTPSemantics", "HTTP1", "Routing", "Telemetry", "Configuration"],
        "Proxy": [
            "Base", "HTTPSemantics", "HTTP1", "HTTP2", "Routing", "Upstream", "Telemetry",
            "Judge", "Evidence", "Configuration", "Rewriting",
        ],
        "Resolver": ["Platform", "Base", "Synchronization"],
        "Origin": ["Platform", "JSON", "HTTPSemantics", "HTTP1", "Base"],
        "Explain": [
            "Base", "JSON", "HTTPSemantics", "HTTP1", "Routing", "Upstream", "Evidence",
            "Configuration", "Rewriting",
        ],
        "Admin": [
            "Base", "Gzip", "JSON", "HTTPSemantics", "Judge", "Telemetry", "Upstream", "Evidence",
            "Rollout", "Configuration", "Explain", "Synchronization",
        ],
        "Files": [
            "Base", "JSON", "HTTPSemantics", "Platform", "TLS", "Upstream", "Telemetry",
            "Rollout", "Configuration",
        ],
        "Errands": [
            "Base", "HTTPSemantics", "HTTP1", "TLS", "Platform", "Rollout", "Synchronization",
        ],
        "Server": [
            "Base", "JSON", "Platform", "HTTPSemantics", "HTTP1", "TLS", "Routing", "Upstream",
            "Telemetry", "Evidence", "Rollout", "Configuration", "Proxy", "Resolver", "Files",
            "Errands", "Admin", "Synchronization",
        ],
        "sluice": [
            "ArgumentParser", "Base", "Configuration", "Explain", "Files", "JSON", "Origin",
            "Platform", "Server",
        ],
    ]

    /// The targets that a target must not know, nor reach through others where that is said of an outer floor.
    static let never: [String: Set<String>] = [
        "JSON": ["Telemetry", "Configuration", "Platform"],
        "Judge": ["Base", "Telemetry", "Platform"],
        "Evidence": ["Telemetry", "Configuration", "Platform"],
        "Rollout": ["Telemetry", "Configuration", "Platform"],
        "Routing": ["Upstream", "Configuration", "Platform"],
        "Upstream": ["Routing", "Configuration", "Platform"],
        "Configuration": ["Platform", "TLS", "Proxy"],
        "Rewriting": ["Upstream", "Proxy", "Platform"],
        "Proxy": ["Platform", "TLS", "Explain", "Admin", "Files"],
        "Explain": ["Platform", "Proxy", "Files"],
        "Admin": ["Platform", "Proxy", "Files", "Server"],
        "Files": ["Proxy", "Admin", "Server"],
        "Errands": ["Configuration", "Proxy", "Admin", "Server"],
        "sluice": ["Proxy", "TLS"],
    ]

    /// Floors that know the machine or the whole, which nobody below may reach by any way.
    static let outer: Set<String> = [
        "Platform", "Resolver", "Proxy", "Explain", "Admin", "Files", "Errands",
        "Server",
    ]

    /// Targets that a target's imports lead to.
    static func reached(from target: String) -> Set<String> {
        var seen: Set<String> = [], waiting = Array(imports[target] ?? [])
        while let next = waiting.popLast() {
            if seen.insert(next).inserted { waiting += imports[next] ?? [] }
        }
        return seen
    }

    @Test("nobody imports, or reaches by others, what must stay unknown")
    func neverImported() {
        for (target, names) in TidyTests.never {
            #expect(TidyTests.imports[target]?.isDisjoint(with: names) == true, "\(target)")
            let outer = names.intersection(TidyTests.outer)
            // The roof holds everything together.
            if target == "sluice" { continue }
            let reached = TidyTests.reached(from: target).intersection(outer)
            #expect(reached.isEmpty, "\(target) reaches \(reached.sorted())")
        }
    }

    @Test("only what stands beside the I/O line or above it reaches the kernel")
    func ioLine() {
        let allowed: Set<String> = ["Resolver", "Origin", "Files", "Errands", "Server", "sluice"]
        for target in TidyTests.imports.keys where !allowed.contains(target) {
            #expect(!TidyTests.reached(from: target).contains("Platform"), "\(target)")
        }
    }

    /// Modules that are no targets: of the system, and of packages.
    static let systemModules: Set<String> = ["Synchronization", "Glibc", "ArgumentParser"]

    @Test("Package.swift has the same table")
    func package() throws {
        let text = try String(
            contentsOf: TidyTests.root.appendingPathComponent("Package.swift"), encoding: .utf8)
        let floor = /floor\(\s*"(\w+)",\s*in:\s*"\w+"(?:,\s*\[([^\]]*)\])?/
        var found = 0
        for match in text.matches(of: floor) {
            let names = (match.2 ?? "").split { !($0.isLetter || $0.isNumber) }.map(String.init)
            let wanted = TidyTests.imports[String(match.1)]?.subtracting(TidyTests.systemModules)
            #expect(Set(names) == wanted, "\(match.1)")
            found += 1
        }
        // All but Base and the command line, which no function makes.
        #expect(found == TidyTests.imports.count - 2)
    }

    @Test("the table of floors in ARCHITECTURE.md is this one")
    func architecture() throws {
        let page = try String(
            contentsOf: TidyTests.root.appendingPathComponent("ARCHITECTURE.md"), encoding: .utf8)
        func names(_ cell: String) -> Set<String> {
            Set(cell.split { !($0.isLetter || $0.isNumber) }.map(String.init))
        }
        let section = page.components(separatedBy: "## Floors")[1]
            .components(separatedBy: "\n## ")[0]
        var rows: Set<String> = []
        for line in section.split(separator: "\n") where line.hasPrefix("| ") {
            let cells = line.components(separatedBy: "|").dropFirst().map { String($0) }
            let target = cells[0].filter { $0.isLetter || $0.isNumber }
            // The table's head.
            if target == "target" { continue }
            rows.insert(target)
            let imports = TidyTests.imports[target]?.subtracting(TidyTests.systemModules)
            #expect(names(cells[1]) == imports, "\(target) imports")
            #expect(names(cells[2]) == TidyTests.never[target] ?? [], "\(target) never")
        }
        #expect(rows == Set(TidyTests.imports.keys))
    }

    @Test("a target imports only what its floor may")
    func floors() {
        for file in TidyTests.sources {
            let allowed = TidyTests.imports[file.target]
            #expect(allowed != nil, "\(file.path): a target without a row")
            for line in file.lines where line.hasPrefix("import ") {
                let name = String(line.dropFirst(7))
                #expect(allowed?.contains(name) == true, "\(file.path) imports \(name)")
            }
        }
    }

    @Test("files stay within 500 lines and lines within 100 columns")
    func lengths() {
        for file in TidyTests.sources {
            #expect(file.lines.count <= 501, "\(file.path): \(file.lines.count) lines")
            for (i, line) in file.lines.enumerated() {
                #expect(line.count <= 100, "\(file.path):\(i + 1): \(line.count) columns")
            }
        }
    }

    @Test("functions stay within 70 lines")
    func functions() {
        for file in TidyTests.sources {
            var start: (line: Int, indent: Int)?
            for (i, line) in file.lines.enumerated() {
                let indent = line.prefix { $0 == " " }.count
                if line.contains("func "), line.contains("("), !line.contains("//"), start == nil {
                    start = (i, indent)
                }
                if let begun = start,
                    line.hasPrefix(String(repeating: " ", count: begun.indent) + "}"),
                    indent == begun.indent
                {
                    #expect(i - begun.line < 72, "\(file.path):\(begun.line + 1)")
                    start = nil
                }
            }
        }
    }

    /// Words that break determinism or purity below the I/O line, and why.
    static let banned: [(word: String, targets: Set<String>, why: String)] = [
        ("Hasher", [], "seeded per process: pods would disagree"),
        (".hashValue", [], "seeded per process: pods would disagree"),
        (".randomElement", [], "randomness comes from the PRNG that is handed in"),
        ("SystemRandomNumberGenerator", [], "randomness comes from the PRNG that is handed in"),
        ("ContinuousClock", [], "time is an argument"),
        ("Date(", [], "time is an argument"),
        ("try!", [], "errors have a fate"),
        ("import Foundation", [], "43 MB of image"),
        ("TODO", [], "unfinished business belongs in an issue"),
        ("FIXME", [], "unfinished business belongs in an issue"),
    ]

    @Test("banned words do not appear in the product")
    func words() {
        for file in TidyTests.sources {
            for (i, line) in file.lines.enumerated() where !line.contains("//") {
                for rule in TidyTests.banned {
                    #expect(
                        !line.contains(rule.word),
                        "\(file.path):\(i + 1): \(rule.word): \(rule.why)")
                }
            }
        }
    }

    @Test("unsafe code lives in Base, Platform, HTTP2, TLS, YAML, RE2 and Gzip alone")
    func unsafeCode() {
        let allowed: Set<String> = ["Base", "Platform", "HTTP2", "TLS", "YAML", "RE2", "Gzip"]
        for file in TidyTests.sources where !allowed.contains(file.target) {
            for (i, line) in file.lines.enumerated() where !line.contains("//") {
                #expect(!line.contains("unsafe "), "\(file.path):\(i + 1)")
                #expect(!line.contains("Unsafe"), "\(file.path):\(i + 1)")
            }
        }
    }

    @Test("the documents and commands that the project promises are there")
    func documentsExist() {
        let manager = FileManager.default
        for name in [
            "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "LICENSE", "SECURITY.md",
            "config/sluice.yaml", "config/reference.yaml", "config/sluice.schema.json", ".ci/run",
            "scripts/run", "scripts/test", "scripts/bench",
        ] {
            #expect(
                manager.fileExists(atPath: TidyTests.root.appendingPathComponent(name).path),
                "\(name)")
        }
    }
}
