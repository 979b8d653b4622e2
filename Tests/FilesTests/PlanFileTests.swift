import Base
import Configuration
import Files
import Foundation
import Rollout
import Testing

/// The files that plans and tokens name: each is there when a configuration is taken.
@Suite struct PlanFileTests {
    /// A folder that is gone after the test.
    final class Folder {
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("sluice-plan-\(UUID().uuidString)").path

        init() throws {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func write(_ name: String, _ text: String) throws {
            try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8)
        }
    }

    static func text(admin: String = "\"127.0.0.1:15000\"", _ plan: String) -> String {
        """
        listeners:
          - { name: http, address: "127.0.0.1:8080" }
        admin: \(admin)
        services:
          s:
            stable: v1
            versions:
              v1: { weight: 1, endpoints: ["127.0.0.1:1"] }
              v2: { weight: 0, endpoints: ["127.0.0.1:2"] }
        routes:
          - { name: rest, to: s }
        rollouts:
          directory: state
          plans: [{ service: s, canary: v2, \(plan) }]
        """
    }

    static func load(_ folder: Folder, _ text: String) throws -> Result<
        ConfigurationFile, ConfigurationFile.Rejection
    > {
        try folder.write("sluice.yaml", text)
        return ConfigurationFile.load("\(folder.path)/sluice.yaml")
    }

    static func rejection(_ folder: Folder, _ text: String) throws -> String {
        switch try load(folder, text) {
        case .success: return ""
        case .failure(let rejection): return rejection.text
        }
    }

    @Test("a directory of rollouts whose parent is missing is warned of")
    func parent() throws {
        let folder = try Folder()
        func warnings(_ directory: String) throws -> String? {
            let text = PlanFileTests.text("guard: on")
                .replacingOccurrences(of: "directory: state", with: "directory: \(directory)")
            return try PlanFileTests.load(folder, text).get().warnings
        }
        #expect(try warnings("state") == "")
        let warning = try #require(try warnings("no/state"))
        #expect(warning.contains("there is no \(folder.path)/no"))
        #expect(warning.contains("mkdir -p \(folder.path)/no"))
    }

    @Test("a file of a plan that is missing is an error at its place")
    func missing() throws {
        let folder = try Folder()
        let plan =
            "hooks: [{ events: [stage], webhook: { url: \"https://a/\", secret: hook.key } }]"
        let text = try PlanFileTests.rejection(folder, PlanFileTests.text(plan))
        #expect(text.contains("sluice.yaml:14:102: error: \(folder.path)/hook.key cannot be read"))
        try folder.write("hook.key", "secret\n")
        #expect(try PlanFileTests.rejection(folder, PlanFileTests.text(plan)) == "")
    }

    @Test("a time zone that nobody knows is an error at its window")
    func zones() throws {
        let folder = try Folder()
        func plan(_ zone: String) -> String {
            PlanFileTests.text("stages: [{ weight: 100%, window: \"09:00-10:00 \(zone)\" }]")
        }
        let text = try PlanFileTests.rejection(folder, plan("Europe/Berlinn"))
        #expect(text.contains("sluice.yaml:14:70: error: "))
        #expect(text.contains("Europe/Berlinn"))
        let file = try PlanFileTests.load(folder, plan("Europe/Berlin")).get()
        #expect(file.zones.rules["Europe/Berlin"]?.offset(at: 1_790_000_000) == 7_200)
    }

    @Test("the rules of a zone come from a file that may be anything")
    func files() throws {
        let folder = try Folder()
        try folder.write("Bad", "no zone")
        func failure(_ zone: String) -> ZoneFile.Failure? {
            if case .failure(let failure) = ZoneFile.load(zone, from: folder.path) {
                return failure
            }
            return nil
        }
        #expect(failure("Bad")?.text == "\(folder.path)/Bad cannot be used: it ends too soon")
        #expect(failure("None")?.hint.contains("apt-get install tzdata") == true)
        #expect(failure("../Bad")?.text == "\"../Bad\" is no time zone")
        #expect(failure("UTC") == nil)
    }

    @Test("tokens are read with their names and rights; missing ones and twins are errors")
    func tokens() throws {
        let folder = try Folder()
        let admin =
            "{ address: \"127.0.0.1:15000\", token: a.token, tokens: "
            + "[{ name: b, file: b.token, may: [read, approve] }] }"
        let text = PlanFileTests.text(admin: admin, "start: manual")
        let none = try PlanFileTests.rejection(folder, text)
        #expect(none.contains("a.token cannot be read") && none.contains("b.token cannot be read"))
        try folder.write("a.token", "one\n")
        try folder.write("b.token", "one\n")
        #expect(try PlanFileTests.rejection(folder, text).contains("has the token of another"))
        try folder.write("b.token", "two\nnote\n")
        let file = try PlanFileTests.load(folder, text).get()
        #expect(file.adminToken == "one")
        #expect(file.adminTokens.map(\.name) == [nil, "b"])
        #expect(file.adminTokens[1].token == "two")
        #expect(file.adminTokens[1].may(.approve) && !file.adminTokens[1].may(.abort))
    }

    @Test("without admin.token the pages ask for the token that may do everything")
    func all() throws {
        let folder = try Folder()
        try folder.write("b.token", "two\n")
        try folder.write("c.token", "three\n")
        let admin =
            "{ address: \"127.0.0.1:15000\", tokens: [{ name: b, file: b.token, may: [read] }, "
            + "{ name: c, file: c.token, may: [all] }] }"
        let text = PlanFileTests.text(admin: admin, "start: manual")
        #expect(try PlanFileTests.load(folder, text).get().adminToken == "three")
    }
}
