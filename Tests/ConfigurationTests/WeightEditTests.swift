import Base
import Configuration
import Testing

/// Weights that are put into a file's text.
@Suite struct WeightEditTests {
    /// A file as people write them, with weights at the marks.
    static func text(
        _ a: String = "95%", _ b: String = " 5%", own: (String, String) = ("1", "1"),
        stable: String = "v1"
    ) -> String {
        """
        # Wichtig: größer als nötig — bitte lassen.
        listeners: [{ name: http, address: "127.0.0.1:80" }]
        services:
            other: { versions: { v1: { weight: 95, endpoints: ["10.0.0.9:80"] } } }   # 95% too
            "shop":
                stable:   \(stable)   # until further notice
                versions:
                    v1: { weight: \(a), endpoints: ["10.0.0.1:80"] }   # ü
                    v2:
                        weight:\(b)\t# the canary
                        endpoints: ["10.0.1.1:80"]
        routes:
          - { name: own, match: { path: { exact: /own } }, to: shop, split: { v1: \(own.0), "v2": \(own.1) } }
          - { name: "else", match: { path: { exact: /else } }, to: other }
          - { name: rest, to: shop }


        """
    }

    static func lines(_ weights: [Int], stable: Int = 0) throws -> String {
        var document = try #require(ConfigurationReading(Array(text().utf8)).document)
        let index = try #require(document.services.firstIndex { $0.name == "shop" })
        for (v, weight) in weights.enumerated() {
            document.services[index].versions[v].weight = weight
        }
        document.services[index].stable = stable
        for i in document.routes.indices {
            if case .forward(index, nil, _?) = document.routes[i].action {
                document.routes[i].action = .forward(
                    service: index, version: nil, split: weights)
            }
        }
        return WeightWords.lines(document, service: index)
    }

    static func edited(_ file: String, _ lines: String) -> String {
        switch WeightEdit.apply(lines, to: Array(file.utf8)) {
        case .success(let bytes): String(decoding: bytes, as: UTF8.self)
        case .failure(let problem): "refused: \(problem.text)"
        }
    }

    @Test("only the numbers change, and the stable version's name; comments and notation stay")
    func numbers() throws {
        let file = WeightEditTests.text()
        let new = WeightEditTests.edited(file, try WeightEditTests.lines([80, 20]))
        #expect(new == WeightEditTests.text("80%", " 20%", own: ("80%", "20%")))
        #expect(WeightEditTests.edited(new, try WeightEditTests.lines([80, 20])) == new)
        let done = WeightEditTests.edited(new, try WeightEditTests.lines([0, 100], stable: 1))
        #expect(done == WeightEditTests.text("0%", " 100%", own: ("0%", "100%"), stable: "v2"))
        // Weights that two decimals of a percent do not say are whole numbers.
        let thirds = WeightEditTests.edited(done, try WeightEditTests.lines([2, 1], stable: 0))
        #expect(thirds == WeightEditTests.text("2", " 1", own: ("2", "1")))
    }

    @Test("lines end as they ended, and quotes stay")
    func notation() throws {
        let file = WeightEditTests.text("\"95%\"", " '5%'")
        let crlf = file.split(separator: "\n", omittingEmptySubsequences: false)
            .joined(separator: "\r\n")
        let new = WeightEditTests.edited(crlf, try WeightEditTests.lines([80, 20]))
        let right = WeightEditTests.text("\"80%\"", " '20%'", own: ("80%", "20%"))
        #expect(
            new
                == right.split(separator: "\n", omittingEmptySubsequences: false)
                .joined(separator: "\r\n"))
    }

    @Test("a file that cannot say the weights by its numbers is refused with the reason")
    func refusals() throws {
        let lines = try WeightEditTests.lines([80, 20])
        let file = WeightEditTests.text()
        func refusal(_ old: String, _ new: String) -> String {
            let text = file.replacing(old, with: new)
            #expect(text != file)
            return WeightEditTests.edited(text, lines)
        }
        #expect(refusal("\"shop\":", "\"shops\":").contains("no service \"shop\""))
        #expect(refusal("weight: 5%\t", "").contains("gives shop/v2 no weight:"))
        #expect(refusal("name: own,", "name: mine,").contains("no route \"own\""))
        #expect(refusal("services:", "services: [").contains("is not YAML"))
        #expect(
            refusal("weight: 95, endpoints: [\"10.0.0.9:80\"]", "weight: 95, endpoints: [7]")
                .contains("not valid"))
        // A number that an anchor gives to another service too.
        let shared = file.replacing(
            "{ weight: 95, endpoints: [\"10.0.0.9:80\"] }",
            with:
                "&w { weight: 95%, endpoints: [\"10.0.0.9:80\"] }, v3: { weight: 5%, endpoints: [\"10.0.0.8:80\"] }"
        )
        .replacing("v1: { weight: 95%, endpoints: [\"10.0.0.1:80\"] }", with: "v1: *w")
        #expect(WeightEditTests.edited(shared, lines).hasPrefix("refused:"))
    }
}
