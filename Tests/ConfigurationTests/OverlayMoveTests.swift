import Configuration
import Testing

/// How much of the users a file may move without being asked, under weights that somebody has set.
@Suite struct OverlayMoveTests {
    private static func document(_ canary: String, _ isSticky: Bool) throws -> Document {
        let rest = 100 - (Double(canary) ?? 0)
        let stable = rest == rest.rounded() ? "\(Int(rest))" : "\(rest)"
        let text = """
            listeners: [{ name: http, address: "127.0.0.1:8080" }]
            services:
              s:
                stable: v1
                versions:
                  v1: { weight: \(stable)%, endpoints: ["127.0.0.1:1"] }
                  v2: { weight: \(canary)%, endpoints: ["127.0.0.1:2"] }
                \(isSticky ? "sticky: { cookie: c, issue: off }" : "")
            routes: [{ name: all, to: s }]
            """
        let reading = ConfigurationReading(Array(text.utf8))
        return try #require(reading.document, "\(reading.errors.map(\.message))")
    }

    @Test(
        "a file that moves 1 % of the users wins, whichever way they go, and one that moves more does not",
        arguments: [
            (0, "1", true), (1, "0", true), (1, "2", true), (20, "19", true), (50, "51", true),
            (99, "100", true), (1, "2.01", false), (0, "1.01", false), (20, "18.99", false),
        ])
    func onePercent(overlay: Int, file: String, isTaken: Bool) throws {
        for isSticky in [false, true] {
            let before = try OverlayMoveTests.document("30", isSticky)
            let entry = Overlay.Entry(
                shares: [.init("v1", 100 - overlay), .init("v2", overlay)],
                fingerprint: before.fingerprint(ofService: 0))
            let now = try OverlayMoveTests.document(file, isSticky)
            let merge = OverlayMerge(now, under: Overlay(services: ["s": entry]))
            #expect((merge.sources == [.file]) == isTaken, "sticky \(isSticky)")
            #expect((merge.dropped.count == 1) == isTaken, "sticky \(isSticky)")
        }
    }
}
