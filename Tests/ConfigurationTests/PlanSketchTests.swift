import Base
import Configuration
import Rollout
import Testing

/// Plans as people are shown them: the one that `rollout init` prints, and plans in words.
@Suite struct PlanSketchTests {
    static let file = """
        listeners:
          - { name: http, address: "127.0.0.1:8080" }
        services:
          s:
            stable: v1
            versions:
              v1: { weight: 1, endpoints: ["127.0.0.1:1"] }
              v2: { weight: 0, endpoints: ["127.0.0.1:2"], revision: 1.4.2 }
          alone: { versions: { v1: { endpoints: ["127.0.0.1:1"] } } }
        routes:
          - { name: rest, to: s }
          - { name: other, match: { path: { prefix: /a } }, to: alone }

        """

    static func document(_ text: String) throws -> Document {
        let reading = ConfigurationReading(Array(text.utf8))
        return try #require(reading.document, "\(reading.errors.map(\.message))")
    }

    static func sketch(
        _ text: String, _ service: String = "s", canary: String? = nil
    ) throws -> Result<String, PlanSketch.Failure> {
        PlanSketch.text(try document(text), service: service, canary: canary)
    }

    @Test(
        "the lines of init go into the file as they are, and mean what the shortest plan means",
        arguments: [
            "", "rollouts:\n  directory: /a\n",
            "rollouts:\n  directory: /a\n  plans:\n    - { service: s, canary: v2 }\n",
        ])
    func taken(_ before: String) throws {
        let text = PlanSketchTests.file + before
        let lines = try PlanSketchTests.sketch(text).get()
        let plan = try #require(try PlanSketchTests.document(text + lines).rollouts?.plans.last)
        var short = try #require(
            try PlanSketchTests.document(
                PlanSketchTests.file
                    + "rollouts: { directory: /a, plans: [{ service: s, canary: v2 }] }\n"
            ).rollouts?.plans.first)
        short.name = before.contains("plans") ? "s-2" : "s"
        #expect(plan == short)
        #expect(lines.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test("the canary is the last version without weight, unless it is named")
    func canary() throws {
        let three = Text.replacing(
            PlanSketchTests.file, "revision: 1.4.2 }",
            with: "revision: 1.4.2 }\n      v3: { weight: 1, endpoints: [\"127.0.0.1:3\"] }")
        #expect(try PlanSketchTests.sketch(three).get().contains("canary: v2"))
        let named = try PlanSketchTests.sketch(three, canary: "v3").get()
        #expect(named.contains("canary: v3"))
        #expect(named.contains("v3 has a weight in the file already"))
    }

    @Test("init says where a start would be refused for want of a token")
    func token() throws {
        let words = "# The admin address is TCP and has no token"
        #expect(try PlanSketchTests.sketch(PlanSketchTests.file).get().contains(words))
        for admin in ["unix:/run/a.sock", "{ address: \"127.0.0.1:1\", token: a.token }"] {
            let text = "admin: \(admin)\n" + PlanSketchTests.file
            #expect(try !PlanSketchTests.sketch(text).get().contains(words), "\(admin)")
        }
    }

    @Test("a canary that is gone from the file: the stable version is never proposed")
    func gone() throws {
        let file = Text.replacing(
            PlanSketchTests.file,
            "      v2: { weight: 0, endpoints: [\"127.0.0.1:2\"], revision: 1.4.2 }\n", with: "")
        let plan = "rollouts: { directory: /a, plans: [{ service: s, canary: v2 }] }\n"
        let reading = ConfigurationReading(Array((file + plan).utf8))
        let error = try #require(reading.errors.first)
        #expect(error.message.contains("no version of \"s\""))
        #expect(error.hint == "add the version to the service again, or take the plan out")
    }

    @Test("what has no plan is said, with what to do")
    func refused() throws {
        func why(_ service: String, _ canary: String? = nil) throws -> String {
            let result = try PlanSketchTests.sketch(
                PlanSketchTests.file, service, canary: canary)
            guard case .failure(let failure) = result else { return "" }
            return failure.text
        }
        #expect(try why("alon").contains("did you mean \"alone\"?"))
        #expect(try why("alone").contains("has one version; add the new one"))
        #expect(try why("s", "v1").contains("is the stable version"))
        #expect(try why("s", "v9").contains("may grow: v2"))
    }

    @Test("a plan in words has its shares, and each condition of its stages")
    func words() throws {
        let plan = """
            rollouts:
              directory: /a
              plans:
                - service: s
                  canary: v2
                  stages:
                    - { name: testers, weight: 0%, match: { headers: { x-a: b } } }
                    - { name: gate, weight: 5%, approve: { notStarter: on, timeout: 24h }, when: 'branch == "main"' }
                    - { weight: 50%, window: ["Mon-Fri 09:00-16:00", "Sun 10:00-11:00"] }
                    - { name: all, weight: 100%, holdBack: 2%, watch: 30m }

            """
        let document = try PlanSketchTests.document(PlanSketchTests.file + plan)
        // 2026-11-28T12:00:00Z, a Saturday.
        let saturday = WallTime(microseconds: 1_795_867_200_000_000)
        let lines = document.planLines(ofService: 0, at: saturday, zones: PlanZones())
        #expect(
            lines == [
                "s: v2 (revision 1.4.2) by a rule of its own, 5 %, 50 %, 100 % (2 % held back); "
                    + "starts by hand",
                "  stage testers: from here on requests of { headers: { x-a: b } } go to the "
                    + "canary, and are not judged",
                "  stage gate: entered only when branch == \"main\", held when not",
                "  stage gate: left only with the approval of somebody who has not started it, "
                    + "held without it after 24h",
                "  stage 50: entered only Mon-Fri 09:00-16:00, or Sun 10:00-11:00: closed, opens "
                    + "Sun 2026-11-29 10:00 UTC",
                "  stage all: watched for 30m",
            ])
        // 2026-11-30T10:00:00Z, a Monday.
        let monday = WallTime(microseconds: 1_796_032_800_000_000)
        let open = document.planLines(ofService: 0, at: monday, zones: PlanZones())
        #expect(open[4].hasSuffix("Sun 10:00-11:00: open now"))
        #expect(document.planLines(ofService: 1, at: monday, zones: PlanZones()).isEmpty)
    }
}
