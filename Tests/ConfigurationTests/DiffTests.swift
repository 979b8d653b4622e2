import Base
import Configuration
import Testing
import YAML

/// Edits of single fields, made from the field table: a new row is tested without anybody thinking
/// of it.
struct SchemaEdits {
    struct Edit: Sendable {
        /// Keys that lead to the field; names that an author chooses are left out.
        var path: [String]
        var old: YAMLNode
        var new: YAMLNode
    }

    private var line = 1

    /// Names that stand for an author's.
    static let names: Set<String> = ["a-name", "b-name", "k", "1", "aaa", "bbb", "ccc"]

    private mutating func node(_ content: YAMLNode.Content) -> YAMLNode {
        line += 1
        let mark = YAMLMark(line: line, column: 1)
        return YAMLNode(content: content, start: mark, end: mark)
    }

    private mutating func scalar(_ text: String) -> YAMLNode {
        node(.scalar(text, isQuoted: false))
    }

    private mutating func mapping(_ pairs: [(String, YAMLNode)]) -> YAMLNode {
        let entries = pairs.map { pair in
            line += 1
            return YAMLNode.Entry(
                key: pair.0, keyStart: YAMLMark(line: line, column: 1), value: pair.1)
        }
        return node(.mapping(entries))
    }

    /// Every edit of one value of a type.
    mutating func edits(_ type: ValueType, besides text: String? = nil) -> [Edit] {
        switch type {
        case .object(let schema): return objectEdits(schema)
        case .list(let element):
            return edits(element).map { edit in
                var edit = edit
                edit.old = node(.sequence([edit.old]))
                edit.new = node(.sequence([edit.new]))
                return edit
            }
        case .map(let element, _):
            return edits(element).map { edit in
                var edit = edit
                edit.old = mapping([("k", edit.old)])
                edit.new = mapping([("k", edit.new)])
                return edit
            }
        case .either(let types):
            var all: [Edit] = []
            for type in types { all += edits(type, besides: text) }
            for (a, b) in zip(types, types.dropFirst()) {
                guard let old = edits(a, besides: text).first?.old,
                    let new = edits(b, besides: text).last?.new
                else { continue }
                all.append(Edit(path: [], old: old, new: new))
            }
            return all
        default:
            let samples = SchemaEdits.samples(type).filter { $0 != text }
            return zip(samples, samples.dropFirst()).map {
                Edit(path: [], old: scalar($0), new: scalar($1))
            }
        }
    }

    private mutating func objectEdits(_ schema: ObjectSchema) -> [Edit] {
        var all: [Edit] = []
        for field in schema.fields {
            func others() -> [(String, YAMLNode)] {
                schema.fields.filter { $0.isRequired && $0.name != field.name }.compactMap {
                    other in sample(other.type).map { (other.name, $0) }
                }
            }
            for edit in edits(field.type, besides: field.defaultText) {
                all.append(
                    Edit(
                        path: [field.name] + edit.path,
                        old: mapping(others() + [(field.name, edit.old)]),
                        new: mapping(others() + [(field.name, edit.new)])))
            }
            guard !field.isRequired, let given = addition(field) else { continue }
            all.append(
                Edit(
                    path: [field.name], old: mapping(others()),
                    new: mapping(others() + [(field.name, given)])))
        }
        return all
    }

    /// A value whose being there is an edit: groups say nothing without a key.
    private mutating func addition(_ field: FieldSpec) -> YAMLNode? {
        if let edit = edits(field.type, besides: field.defaultText).last { return edit.new }
        guard let text = SchemaEdits.samples(field.type).first(where: { $0 != field.defaultText })
        else { return nil }
        return scalar(text)
    }

    private mutating func sample(_ type: ValueType) -> YAMLNode? {
        if case .object(let schema) = type {
            var pairs: [(String, YAMLNode)] = []
            for field in schema.fields where field.isRequired {
                if let value = sample(field.type) { pairs.append((field.name, value)) }
            }
            return mapping(pairs)
        }
        return edits(type).first?.old ?? SchemaEdits.samples(type).first.map { scalar($0) }
    }

    /// Texts of a type, no two of which mean the same.
    static func samples(_ type: ValueType) -> [String] {
        switch type {
        case .text, .anyText: return ["aaa", "bbb", "ccc"]
        case .name: return ["a-name", "b-name"]
        case .integer(let range, let word):
            return ["\(range.upperBound)", "\(range.lowerBound)"] + (word.map { [$0] } ?? [])
        case .integerOr(let range, let words):
            return ["\(range.lowerBound)", "\(range.upperBound)"] + words
        case .duration(let word): return ["7s", "8001ms"] + (word.map { [$0] } ?? [])
        case .delay: return ["0s", "7s", "8001ms"]
        case .size(let word): return ["70KiB", "80KB"] + (word.map { [$0] } ?? [])
        case .decimal: return ["3", "4.5"]
        case .share: return ["7%", "8.01%"]
        case .shareOr(let word): return ["7%", "8.01%", word]
        case .weight: return ["7", "8", "7%", "8.01%"]
        case .address: return ["127.0.0.1:7001", "[::1]:7001", "unix:/a"]
        case .choice(let words): return words
        case .object, .list, .map, .either: return []
        }
    }
}

@Suite struct DiffTests {
    @Test("an edit of any field of the table is reported, with its place in a file")
    func everyField() {
        var source = SchemaEdits()
        let edits = source.edits(.object(.document))
        #expect(edits.count > 400)
        for edit in edits {
            let label = edit.path.joined(separator: ".")
            let changes = FieldComparison(old: edit.old, new: edit.new).changes
            #expect(changes.contains { $0.oldMark != nil || $0.newMark != nil }, "\(label)")
            for change in changes {
                let path = change.path.filter { !SchemaEdits.names.contains($0) }
                #expect(
                    edit.path.starts(with: path) || path.starts(with: edit.path),
                    "\(label): \(change.place)")
                #expect(change.old != change.new, "\(label)")
            }
            #expect(FieldComparison(old: edit.old, new: edit.old).changes.isEmpty, "\(label)")
            #expect(FieldComparison(old: edit.new, new: edit.new).changes.isEmpty, "\(label)")
        }
    }

    static let base = """
        listeners:
          - { name: http, address: "127.0.0.1:8080" }
        services:
          s:
            stable: v1
            sticky: { cookie: c }
            versions:
              v1: { weight: 90%, endpoints: ["127.0.0.1:1"] }
              v2: { weight: 10%, endpoints: ["127.0.0.1:2"] }
        routes:
          - { name: a, match: { path: { prefix: /a } }, to: s/v1 }
          - { name: rest, to: s }
        """

    /// (text replaced, by what, the field, its line in the new file)
    static let edits: [(String, String, String, Int)] = [
        ("name: rest,", "name: rest, rewrite: { path: /x },", "routes.rest.rewrite", 12),
        (
            "name: rest,", "name: rest, rateLimit: { requests: 1, per: 1s },",
            "routes.rest.rateLimit", 12
        ),
        ("name: rest,", "name: rest, retries: off,", "routes.rest.retries", 12),
        (
            "name: rest,", "name: rest, retries: { attempts: 3 },", "routes.rest.retries.attempts",
            12
        ),
        ("name: rest,", "name: rest, mirror: { to: s/v2 },", "routes.rest.mirror", 12),
        (
            "name: rest,", "name: rest, timeouts: { request: 1s },",
            "routes.rest.timeouts.request", 12
        ),
        (
            "name: rest,", "name: rest, headers: { request: { set: { X-A: b } } },",
            "routes.rest.headers.request.set.x-a", 12
        ),
        ("name: rest,", "name: rest, fault: { byHeader: allow },", "routes.rest.fault", 12),
        ("name: rest,", "name: rest, connect: allow,", "routes.rest.connect", 12),
        ("{ prefix: /a }", "{ prefix: /b }", "routes.a.match.path.prefix", 11),
        (
            "{ path: { prefix: /a } }", "[{ path: { prefix: /a } }, { hosts: [b] }]",
            "routes.a.match.2", 11
        ),
        ("to: s/v1", "to: s/v2", "routes.a.to", 11),
        ("name: a,", "name: b,", "routes.b", 11),
        ("\"127.0.0.1:1\"", "\"127.0.0.1:3\"", "services.s.versions.v1.endpoints", 8),
        ("endpoints: [\"127.0.0.1:1\"]", "dns: \"a.test:1\"", "services.s.versions.v1.dns", 8),
        ("stable: v1", "stable: v2", "services.s.stable", 5),
        ("stable: v1", "stable: v1\n    protocol: http2", "services.s.protocol", 6),
        ("stable: v1", "stable: v1\n    tls: {}", "services.s.tls", 6),
        ("stable: v1", "stable: v1\n    healthCheck: { path: / }", "services.s.healthCheck", 6),
        ("stable: v1", "stable: v1\n    outlierDetection: {}", "services.s.outlierDetection", 6),
        (
            "stable: v1", "stable: v1\n    connectionPool: { maxConnections: 5 }",
            "services.s.connectionPool.maxConnections", 6
        ),
        ("stable: v1", "stable: v1\n    hosts: [h.test]", "services.s.hosts", 6),
        ("cookie: c", "cookie: d", "services.s.sticky.cookie", 6),
        ("cookie: c", "cookie: c, salt: t", "services.s.sticky.salt", 6),
        ("127.0.0.1:8080\"", "127.0.0.1:8081\"", "listeners.http.address", 2),
        ("name: http,", "name: http, protocol: http1,", "listeners.http.protocol", 2),
        (
            "routes:", "defaults: { timeouts: { firstByte: 1s } }\nroutes:",
            "defaults.timeouts.firstByte", 10
        ),
        (
            "routes:", "defaults: { limits: { headers: 50 } }\nroutes:", "defaults.limits.headers",
            10
        ),
        ("routes:", "workers: 2\nroutes:", "workers", 10),
        ("routes:", "drain: { grace: 1s }\nroutes:", "drain.grace", 10),
        ("routes:", "accessLog: { path: a }\nroutes:", "accessLog", 10),
    ]

    @Test("a single edit is reported at its line, and nothing else is", arguments: edits)
    func singleEdit(old: String, new: String, field: String, line: Int) throws {
        let text = Text.replacing(DiffTests.base, old, with: new)
        let before = ConfigurationReading(Array(DiffTests.base.utf8))
        let after = ConfigurationReading(Array(text.utf8))
        let diff = try #require(ConfigurationDiff(from: before, to: after), "\(after.errors)")
        #expect(!diff.isSame)
        let change = try #require(diff.changes.last { $0.place == field }, "\(diff.changes)")
        #expect(change.newMark?.line == line)
        let related = diff.changes.filter { $0.path.first != change.path.first }
        #expect(related.isEmpty, "\(related)")
        let shown = diff.text(old: "o.yaml", new: "n.yaml")
        #expect(shown.contains("\(field): ") && shown.contains("n.yaml:\(line):"), "\(shown)")
        // Swift's own text of a value has quotes, brackets of types and labels.
        for word in ["Optional", "Configuration.", "Document", "YAMLNode", "MatchRule"] {
            #expect(!shown.contains(word), "\(shown)")
        }
        #expect(try #require(ConfigurationDiff(from: after, to: before)).changes.isEmpty == false)
    }

    /// (text replaced, by what): notations of one meaning.
    static let sameMeanings: [(String, String)] = [
        ("routes:", "# nothing\nroutes:"),
        ("routes:", "workers: auto\nroutes:"),
        ("routes:", "admin: { address: \"127.0.0.1:15000\" }\nroutes:"),
        ("routes:", "defaults: { timeouts: { firstByte: 15000ms }, retries: {} }\nroutes:"),
        ("routes:", "defaults: { limits: { headerBytes: 65536 } }\nroutes:"),
        ("routes:", "accessLog: off\nroutes:"),
        ("routes:", "accessLog: false\nroutes:"),
        ("stable: v1", "stable: v1\n    warmup: off"),
        (
            "    stable: v1\n    sticky: { cookie: c }",
            "    sticky: { salt: s, cookie: c }\n    stable: v1"
        ),
        ("weight: 90%", "weight: 90.00%"),
        ("match: { path: { prefix: /a } }", "match: [{ path: { prefix: /a } }]"),
        ("name: rest,", "name: rest, timeouts: { firstByte: 15s }, connect: refuse,"),
        ("name: rest,", "name: rest, retries: { on: [refused-stream, connect-failure] },"),
        ("127.0.0.1:8080\"", "127.0.0.1:8080\", protocol: auto"),
    ]

    @Test("other words for one meaning are no difference", arguments: sameMeanings)
    func sameMeaning(old: String, new: String) throws {
        let text = Text.replacing(DiffTests.base, old, with: new)
        #expect(text != DiffTests.base)
        let before = ConfigurationReading(Array(DiffTests.base.utf8))
        let after = ConfigurationReading(Array(text.utf8))
        let diff = try #require(ConfigurationDiff(from: before, to: after), "\(after.errors)")
        #expect(diff.isSame, "\(diff.text(old: "o", new: "n"))")
        #expect(diff.text(old: "o", new: "n") == "no differences\n")
    }

    @Test("a route's own time is compared with the default that held before")
    func inheritance() throws {
        let slow = "defaults: { timeouts: { firstByte: 30s } }\n" + DiffTests.base
        let same = Text.replacing(
            slow, "name: rest,", with: "name: rest, timeouts: { firstByte: 30s },")
        let other = Text.replacing(
            slow, "name: rest,", with: "name: rest, timeouts: { firstByte: 15s },")
        func diff(_ a: String, _ b: String) throws -> ConfigurationDiff {
            try #require(
                ConfigurationDiff(
                    from: ConfigurationReading(Array(a.utf8)),
                    to: ConfigurationReading(Array(b.utf8))))
        }
        #expect(try diff(slow, same).isSame)
        let change = try #require(try diff(slow, other).changes.first)
        #expect(change.place == "routes.rest.timeouts.firstByte")
        #expect(change.old == "30s" && change.oldMark == nil && change.new == "15s")
    }

    @Test("another salt moves the positions of issued cookies by one distance", arguments: 0..<20)
    func issuedSalt(number: Int) throws {
        func text(_ salt: String) -> [UInt8] {
            Array(
                Text.replacing(DiffTests.base, "cookie: c", with: "issue: i, salt: \(salt)").utf8)
        }
        let diff = try #require(
            ConfigurationDiff(
                from: ConfigurationReading(text("a")),
                to: ConfigurationReading(text("b\(number)"))))
        let moved = try #require(diff.shifts.first?.sessionsMoved)
        // A tenth is v2's, in one interval: it leaves it by the distance, at both ends.
        let shift = XXH64.hash("b\(number)", seed: 0) &- XXH64.hash("a", seed: 0)
        let distance = Double(min(shift, 0 &- shift)) / 0x1p64
        #expect(abs(moved - 2 * min(distance, 0.1)) < 1e-3)
    }

    @Test("values of edits that may be secret are not shown, wherever they are written")
    func secrets() throws {
        let edits = "headers: { request: { set: { authorization: OLD, x-a: plain } } }"
        let old = Text.replacing(DiffTests.base, "name: rest,", with: "name: rest, \(edits),")
        func diff(_ text: String) throws -> [FieldChange] {
            try #require(
                ConfigurationDiff(
                    from: ConfigurationReading(Array(old.utf8)),
                    to: ConfigurationReading(Array(text.utf8)))
            ).changes
        }
        // One value of them, one beside, all of them.
        let rotated = try diff(Text.replacing(old, "OLD", with: "NEW"))
        #expect(rotated.map(\.place) == ["routes.rest.headers.request.set.authorization"])
        #expect(rotated.first?.old == "(not shown)" && rotated.first?.new == "(not shown)")
        #expect(try diff(Text.replacing(old, "plain", with: "other")).first?.new == "other")
        let gone = try diff(DiffTests.base).compactMap(\.old)
        #expect(!gone.isEmpty && !gone.contains { $0.contains("OLD") }, "\(gone)")
        #expect(gone.contains { $0.contains("plain") })
    }

    @Test("what is said of users and sockets follows from the two files")
    func consequences() throws {
        func diff(_ old: String, _ new: String) throws -> ConfigurationDiff {
            let text = Text.replacing(DiffTests.base, old, with: new)
            return try #require(
                ConfigurationDiff(
                    from: ConfigurationReading(Array(DiffTests.base.utf8)),
                    to: ConfigurationReading(Array(text.utf8))))
        }
        let weights = try diff(
            "weight: 90%, endpoints: [\"127.0.0.1:1\"] }\n      v2: { weight: 10%",
            "weight: 75%, endpoints: [\"127.0.0.1:1\"] }\n      v2: { weight: 25%")
        let shift = try #require(weights.shifts.first)
        #expect(shift.route == "rest")
        #expect(shift.text == "new requests: s: v1 90 %, v2 10 % → s: v1 75 %, v2 25 %")
        #expect(abs((shift.sessionsMoved ?? 0) - 0.15) < 1e-9)
        #expect(weights.effects == ["the draws of the route rest begin anew, exact from there"])
        // A route that names a version has no sessions to move.
        let pinned = try #require(try diff("to: s/v1", "to: s/v2").shifts.first)
        #expect(
            pinned.sessionsMoved == nil && pinned.text == "new requests: s: v1 100 % → s: v2 100 %")
        let ended = try #require(try diff("    sticky: { cookie: c }\n", "").shifts.first)
        #expect(ended.sessionsMoved == nil && ended.text.hasPrefix("sessions end"))
        let salted = try #require(try diff("cookie: c", "cookie: c, salt: t").shifts.first)
        #expect(abs((salted.sessionsMoved ?? 0) - 0.18) < 1e-9)
        #expect(
            try diff("127.0.0.1:8080", "127.0.0.1:8081").effects.first?
                .hasPrefix("the listener http closes 127.0.0.1:8080 and opens 127.0.0.1:8081")
                == true)
        #expect(
            try diff("stable: v1", "stable: v1\n    protocol: http2").effects == [
                "all connections to endpoints of s are retired and made anew"
            ])
        #expect(
            try diff("routes:", "workers: 3\nroutes:").effects.first?.contains("next start") == true
        )
        let moved = try diff(
            "  - { name: a, match: { path: { prefix: /a } }, to: s/v1 }\n  - { name: rest, to: s }",
            "  - { name: rest, to: s }\n  - { name: a, match: { path: { prefix: /a } }, to: s/v1 }")
        #expect(moved.changes.map(\.kind) == [.moved])
    }
}
