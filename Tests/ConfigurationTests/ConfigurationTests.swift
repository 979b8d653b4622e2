import Base
import Configuration
import Routing
import Testing
import YAML

@Suite struct ConfigurationTests {
    @Test("durations, sizes and shares are read in exactly their forms")
    func units() {
        #expect(Units.duration("250ms") == .milliseconds(250))
        #expect(Units.duration("1h2m3s4ms")?.nanoseconds == 3_723_004_000_000)
        for bad in ["", "5", "1s1m", "1.5s", "-1s", "1 s", "1d", "100000s", "s"] {
            #expect(Units.duration(bad) == nil, "\(bad)")
        }
        #expect(Units.text(.milliseconds(90_250)) == "1m30s250ms")
        #expect(Units.size("64KiB") == 65_536)
        #expect(Units.size("64kb") == nil)
        #expect(Units.share("0.05%") == 5)
        #expect(Units.share("100%") == 10_000)
        for bad in ["101%", "1.234%", "%", ".5%", "1", "-1%"] { #expect(Units.share(bad) == nil) }
    }

    @Test("scalars stay text until their field types them")
    func scalars() throws {
        let text = Text.replacing(
            BadConfigurationTests.base, "to: s", with: "to: s, match: { headers: { x-canary: no } }"
        )
        let document = try #require(ConfigurationReading(Array(text.utf8)).document)
        guard case .exact(let value)? = document.routes[0].matches[0].values.first?.pattern else {
            Issue.record("an exact value was expected")
            return
        }
        #expect(value == "no")
    }

    @Test("a service may take every host that no route took")
    func anyHost() throws {
        let text = Text.replacing(
            BadConfigurationTests.base, "stable: v1", with: "stable: v1\n    hosts: [\"*\"]")
        let document = try #require(ConfigurationReading(Array(text.utf8)).document)
        #expect(document.services[0].hosts == ["*"])
    }

    @Test("merge keys bring entries of one mapping, or of several, behind its own")
    func merges() throws {
        let text = """
            a: &a { x: 1, y: 2 }
            b: &b { y: 8, z: 3 }
            c: { <<: *a, y: 9 }
            d: { <<: [*a, *b] }
            """
        let root = try #require(try YAMLReader.documents(Array(text.utf8)).first)
        let keys = root.entries.map { entry in
            (entry.key, entry.value.entries.map { "\($0.key)=\($0.value.text ?? "")" }.sorted())
        }
        #expect(keys.map(\.0) == ["a", "b", "c", "d"])
        #expect(keys[2].1 == ["x=1", "y=9"])
        #expect(keys[3].1 == ["x=1", "y=2", "z=3"])
    }

    @Test("documents of one file are joined")
    func documents() throws {
        let text =
            BadConfigurationTests.base
            + "\n---\nroutes: [{ name: two, to: s/v2 }]\nservices: { t: { versions: { a: { endpoints: [\"127.0.0.1:3\"] } } } }"
        let document = try #require(ConfigurationReading(Array(text.utf8)).document)
        #expect(document.routes.map(\.name) == ["rest", "two"])
        #expect(document.services.map(\.name) == ["s", "t"])
    }

    @Test(
        "what can hardly be meant is a warning: shadowed routes, weight without endpoints, no keys")
    func warnings() {
        var text = Text.replacing(
            BadConfigurationTests.base, "  - { name: rest, to: s }",
            with: "  - { name: rest, to: s, headers: { response: { remove: [Set-Cookie] } } }\n"
                + "  - { name: late, to: s/v2 }")
        text = Text.replacing(text, ", endpoints: [\"127.0.0.1:2\"]", with: "")
        text = Text.replacing(text, "stable: v1", with: "stable: v1\n    sticky: { issue: sid }")
        let warnings = ConfigurationReading(Array(text.utf8)).warnings.map(\.message).joined(
            separator: "|")
        #expect(warnings.contains("\"late\" is never reached"))
        #expect(warnings.contains("has weight but no endpoints"))
        #expect(warnings.contains("without keys"))
        #expect(warnings.contains("on the route \"rest\" take the session cookie \"sid\" away"))
    }

    @Test("a reload that leaves weights alone keeps the draws; changed weights start anew")
    func draws() throws {
        let registry = SharedRegistry(metrics: .init(), seed: 1)
        func compile(_ text: String, _ generation: UInt64) throws -> SharedBox<Snapshot> {
            let document = try #require(ConfigurationReading(Array(text.utf8)).document)
            return SnapshotCompiler.compile(
                document, .init(generation: generation, hash: ""), registry: registry)
        }
        let first = try compile(BadConfigurationTests.base, 1)
        for _ in 0..<7 { _ = first.value.splits[0].draws.value.draw() }
        let other = Text.replacing(BadConfigurationTests.base, "name: http", with: "name: web")
        let second = try compile(other, 2)
        #expect(second.value.splits[0].draws.value.count == 7)
        var changed = Text.replacing(BadConfigurationTests.base, "90%", with: "80%")
        changed = Text.replacing(changed, "10%", with: "20%")
        let third = try compile(changed, 3)
        #expect(third.value.splits[0].draws.value.count == 0)
        first.release()
        second.release()
        third.release()
    }

    @Test("the schema has a description for every key and knows what is required")
    func schema() {
        let text = SchemaJSON.document().text()
        #expect(text.contains("\"required\": [\n    \"listeners\"\n  ]"))
        #expect(!text.contains("\"description\": \"\""))
        #expect(text.contains("\"whenUnavailable\""))
        #expect(text.contains("outlierDetection"))
    }
}
