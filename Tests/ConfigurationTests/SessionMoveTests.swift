import Configuration
import Testing

/// Users whom a reload moves although no weight asks for it, as the process log tells of them.
@Suite struct SessionMoveTests {
    private static func document(
        _ versions: String, stable: String = "v1", salt: String = "", service: String = "shop",
        route: String = "to: shop"
    ) throws -> Document {
        var text = """
            listeners: [{ name: http, address: "127.0.0.1:8080" }]
            services:
              \(service):
                stable: \(stable)
                sticky: { issue: sluice-id\(salt.isEmpty ? "" : ", salt: " + salt) }
                versions:

            """
        for version in versions.split(separator: " ") {
            let parts = version.split(separator: "=")
            text += "      \(parts[0]): { weight: \(parts[1])%, endpoints: [\"127.0.0.1:1\"] }\n"
        }
        text += """
            routes:
              - { name: first, match: { path: { exact: /a } }, \(route) }
              - { name: rest, \(route) }
            """
        let reading = ConfigurationReading(Array(text.utf8))
        return try #require(reading.document, "\(reading.errors.map(\.message))")
    }

    /// Rows: subject · versions before · after · the share that moves, and a part of the cause;
    /// `nil`: nobody moves who need not.
    static let rows: [(String, String, String, String?, String)] = [
        ("the same", "v1=90 v2=10", "v1=90 v2=10", nil, ""),
        ("a weight is raised", "v1=90 v2=10", "v1=50 v2=50", nil, ""),
        ("a second canary", "v1=90 v2=10", "v1=80 v2=10 v3=10", nil, ""),
        ("one of two goes to 0", "v1=80 v2=10 v3=10", "v1=90 v2=0 v3=10", nil, ""),
        (
            "one of weight 0 is inserted in front", "v1=90 v2=10", "v1=90 v15=0 v2=10", "20.00 %",
            "v2 is number 2 of the versions beside the stable one, and was number 1"
        ),
        ("one of weight 0 is added behind", "v1=90 v2=10", "v1=90 v2=10 v3=0", nil, ""),
        (
            "one of weight 0 is removed in front", "v1=90 v2=0 v3=10", "v1=90 v3=10", "20.00 %",
            "v3 is number 1 of the versions beside the stable one, and was number 2"
        ),
        (
            "two lines change their places", "v1=70 v2=10 v3=20", "v1=70 v3=20 v2=10", "40.00 %",
            "v3 is number 1"
        ),
        ("the stable one stands elsewhere", "v1=90 v2=10", "v2=10 v1=90", nil, ""),
        (
            "three stand one behind the other", "v1=70 v2=10 v3=10 v4=10",
            "v1=60 v2=20 v3=10 v4=10", "20.00 %", "three or more versions"
        ),
        ("a version has another name", "v1=90 v2=10", "v1=90 v3=10", nil, ""),
    ]

    @Test("users whom the weights do not move are found, with the cause", arguments: rows)
    func moves(_ row: (String, String, String, String?, String)) throws {
        let found = SessionMove.all(
            from: try SessionMoveTests.document(row.1), to: try SessionMoveTests.document(row.2))
        #expect(found.count == (row.3 == nil ? 0 : 1), "\(row.0): \(found)")
        #expect(found.first?.share == row.3, "\(row.0)")
        #expect(found.first?.cause.contains(row.4) ?? true, "\(row.0): \(found)")
        #expect(found.first?.route ?? "first" == "first", "one cause is told of once")
    }

    @Test("another stable version, salt or name of the service moves users too")
    func others() throws {
        let versions = "v1=50 v2=50"
        let before = try SessionMoveTests.document(versions)
        let stable = SessionMove.all(
            from: before, to: try SessionMoveTests.document(versions, stable: "v2"))
        #expect(stable.first?.cause == "stable is v2, and was v1")
        let salt = SessionMove.all(
            from: before, to: try SessionMoveTests.document(versions, salt: "new"))
        #expect(salt.first?.cause == "the salt changes: users are placed anew")
        let renamed = try SessionMoveTests.document(
            versions, service: "store", route: "to: store")
        #expect(
            SessionMove.all(from: before, to: renamed)
                == salt.map { move in
                    var move = move
                    move.share = SessionMove.all(from: before, to: renamed).first?.share ?? ""
                    return move
                })
    }
}
