import Foundation
import Judge

/// Values that the model in plain Python computes (Tests/Fixtures/judge/judge_reference.py).
enum Reference {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures/judge")

    static func text(_ name: String) -> String {
        (try? String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)) ?? ""
    }

    /// The lines `name = value` of values.txt; made anew by `judge_reference.py values`.
    static let values: [String: Double] = {
        var values: [String: Double] = [:]
        for line in text("values.txt").split(separator: "\n") {
            guard let mark = line.range(of: " = ", options: .backwards) else { continue }
            let word = line[mark.upperBound...]
            values[String(line[..<mark.lowerBound])] =
                word == "True" ? 1 : word == "False" ? 0 : Double(word)
        }
        return values
    }()

    /// Whether a number agrees with the model's to what its text says (12 digits).
    static func agrees(_ value: Double, _ expected: Double?) -> Bool {
        guard let expected else { return false }
        return abs(value - expected) <= 1e-9 * max(1, abs(expected))
    }

    /// The increments of random.jsonl.
    static func randomIncrements() throws -> [Increment] {
        try text("random.jsonl").split(separator: "\n").map { line in
            let pair = try JSONDecoder().decode([String: Counts].self, from: Data(line.utf8))
            return Increment(
                stable: pair["stable"]?.counts ?? VersionCounts(units: 0, errors: 0),
                canary: pair["canary"]?.counts ?? VersionCounts(units: 0, errors: 0))
        }
    }

    struct Counts: Decodable {
        var n: Int
        var errors: Int
        var firstErrors: Int
        var latency: [Int]
        var censored: [Int]
        var left: Int

        var counts: VersionCounts {
            VersionCounts(
                units: n, errors: errors, firstErrors: firstErrors, latency: latency,
                censored: censored, left: left)
        }
    }
}
