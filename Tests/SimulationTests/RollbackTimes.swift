import Base
import Foundation
import Simulation
import Testing

/// How long a bad version keeps its users: from its first bad answer to a share of 0, by the judge
/// alone and with the guard, over the production data plane under the virtual clock.
///
/// The table of docs/rollouts.md is this suite's: `SLUICE_LONG=1 SLUICE_WRITE=1 swift test -c release
/// --filter RollbackTimes` writes the table, `SLUICE_LONG=1` alone compares all of the table with
/// what is found, and without either the cells that are cheap are compared.
@Suite struct RollbackTimes {
    struct Cell: Sendable, Hashable, CustomTestStringConvertible {
        /// Requests a second to both versions together.
        var perSecond: Int
        /// The share of the canary, in percent.
        var share: Int
        /// The part of the canary's answers that are errors.
        var errors: Double
        var hasGuard: Bool
        var testDescription: String {
            "\(perSecond)/s, \(share) %, \(errors), \(hasGuard ? "guard" : "judge")"
        }
    }

    static let rates = [10, 100, 1_000], shares = [1, 5, 25], badness = [1.0, 0.2]
    /// The stage is older than the judge's time to settle when the version turns bad.
    static let healthySeconds = 20
    static let seeds: Range<UInt64> = 0..<11

    static var cells: [Cell] {
        badness.flatMap { errors in
            rates.flatMap { rate in
                shares.flatMap { share in
                    [true, false].map {
                        Cell(perSecond: rate, share: share, errors: errors, hasGuard: $0)
                    }
                }
            }
        }
    }

    /// The cells that take few requests.
    static var cheap: [Cell] { cells.filter { $0.perSecond * $0.share == 250 } }

    /// - Returns: the time, and the canary's requests from the first bad answer on; `nil`: it kept
    ///   its users for an hour.
    static func run(_ cell: Cell, seed: UInt64) -> (time: Duration, reason: String)? {
        let healthy = JudgedService.Version(errors: 0.001)
        let service = JudgedService(
            seed: seed, weights: [100, 0], stable: healthy, canary: .errors(0),
            service: cell.hasGuard ? "guard: on" : "")
        let rollout = RolloutOverPlane(service, share: cell.share)
        for _ in 0..<healthySeconds { rollout.pass(requests: cell.perSecond) }
        service.canary = JudgedService.Version(
            errors: cell.errors, errorTime: .milliseconds(5))
        for _ in 0..<3_600 where !rollout.phase.hasEnded { rollout.pass(requests: cell.perSecond) }
        guard let off = rollout.offAt, let first = service.firstError, rollout.phase == .rolledBack
        else { return nil }
        let had = service.origins[1].requestCount
        for _ in 0..<2 { rollout.pass(requests: min(cell.perSecond, 100)) }
        #expect(service.origins[1].requestCount == had, "nobody is sent to the canary any more")
        return (off - first, rollout.reason)
    }

    /// The median over the seeds.
    static func median(_ cell: Cell) -> Duration? {
        let found = seeds.compactMap { run(cell, seed: $0) }
        #expect(found.count == seeds.count, "\(cell)")
        // With the guard on, whichever of the two comes first takes the version out.
        if !cell.hasGuard {
            #expect(found.allSatisfy { $0.reason.contains("worse than") }, "\(cell): \(found)")
        }
        return found.map(\.time).sorted().dropFirst(seeds.count / 2).first
    }

    static func words(_ time: Duration?) -> String {
        guard let time else { return "never" }
        let seconds = Double(time.nanoseconds) / 1e9
        if seconds < 0.995 { return "\(Int((seconds * 1_000).rounded())) ms" }
        if seconds < 9.95 { return String(format: "%.1f s", seconds) }
        if seconds < 119.5 { return "\(Int(seconds.rounded())) s" }
        return "\(Int((seconds / 60).rounded())) min"
    }

    static func line(_ rate: Int, _ share: Int, _ found: [Cell: String]) -> String {
        let columns = badness.flatMap { errors in
            [true, false].map {
                found[Cell(perSecond: rate, share: share, errors: errors, hasGuard: $0)] ?? ""
            }
        }
        let number = rate == 1_000 ? "1,000" : "\(rate)"
        return "| \(number) | \(share) % | " + columns.joined(separator: " | ") + " |"
    }

    static let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("docs/rollouts.md")
    static let head =
        "| requests a second | share | all fail: guard | judge alone | a fifth fail: guard on | judge alone |"

    /// The cells of the table in the document.
    static func document() throws -> [Cell: String] {
        let lines = try String(contentsOf: page, encoding: .utf8).components(separatedBy: "\n")
        guard let start = lines.firstIndex(of: head) else { return [:] }
        var found: [Cell: String] = [:]
        for (i, line) in lines[(start + 2)...].prefix(rates.count * shares.count).enumerated() {
            let words = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            guard words.count == 6 else { return [:] }
            let (rate, share) = (rates[i / shares.count], shares[i % shares.count])
            for (j, errors) in badness.enumerated() {
                for (k, hasGuard) in [true, false].enumerated() {
                    found[
                        Cell(perSecond: rate, share: share, errors: errors, hasGuard: hasGuard)] =
                        words[2 + 2 * j + k]
                }
            }
        }
        return found
    }

    static func write(_ found: [Cell: String]) throws {
        var lines = try String(contentsOf: page, encoding: .utf8).components(separatedBy: "\n")
        let start = try #require(lines.firstIndex(of: head)) + 2
        let end = lines[start...].firstIndex { !$0.hasPrefix("|") } ?? lines.count
        lines.replaceSubrange(
            start..<end, with: rates.flatMap { rate in shares.map { line(rate, $0, found) } })
        try lines.joined(separator: "\n").write(to: page, atomically: true, encoding: .utf8)
    }

    /// Made on demand: `SLUICE_LONG=1` prints the lines, and compares them with the document's.
    static var isAsked: Bool {
        ProcessInfo.processInfo.environment["SLUICE_LONG"] != nil
            || !((try? document()) ?? [:]).isEmpty
    }

    @Test(
        "the table of docs/rollouts.md says how long a bad version keeps its users",
        .enabled(if: RollbackTimes.isAsked))
    func table() async throws {
        let environment = ProcessInfo.processInfo.environment
        let isLong = environment["SLUICE_LONG"] != nil
        let cells = isLong ? RollbackTimes.cells : RollbackTimes.cheap
        let found = await withTaskGroup(of: (Cell, String).self) { group in
            // Dearest first, so that both cores end together.
            for cell in cells.sorted(by: { $0.perSecond > $1.perSecond }) {
                group.addTask { (cell, RollbackTimes.words(RollbackTimes.median(cell))) }
            }
            return await group.reduce(into: [Cell: String]()) { $0[$1.0] = $1.1 }
        }
        if isLong {
            for rate in RollbackTimes.rates {
                for share in RollbackTimes.shares {
                    print(RollbackTimes.line(rate, share, found))
                }
            }
            if environment["SLUICE_WRITE"] != nil { try RollbackTimes.write(found) }
        }
        let document = try RollbackTimes.document()
        for cell in cells { #expect(document[cell] == found[cell], "\(cell)") }
    }

    @Test("a version that is bad from its first request has its users until the judge has settled")
    func fromTheStart() throws {
        for (hasGuard, atLeast, atMost) in [(true, 0, 2), (false, 10, 25)] {
            let service = JudgedService(
                seed: 1, weights: [100, 0], stable: .errors(0.001),
                canary: .init(errors: 1, errorTime: .milliseconds(5)),
                service: hasGuard ? "guard: on" : "")
            let rollout = RolloutOverPlane(service, share: 5)
            for _ in 0..<60 where !rollout.phase.hasEnded { rollout.pass(requests: 100) }
            let first = try #require(service.firstError), off = try #require(rollout.offAt)
            #expect(rollout.phase == .rolledBack)
            let seconds = (off - first).nanoseconds / 1_000_000_000
            #expect((Int64(atLeast)...Int64(atMost)).contains(seconds), "\(hasGuard): \(seconds)")
        }
    }
}
