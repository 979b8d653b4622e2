import Base
import Configuration
import Evidence
import HTTPSemantics
import JSON
import Judge

/// The page `/evidence`: what the versions of each split did, epoch by epoch, and the guard
/// (docs/evidence.md; the shape is config/evidence.schema.json).
enum EvidencePage {
    /// The page with its entity tag (RFC 9110 §8.8.3).
    static func response(_ process: some ProcessView) -> AdminResponse {
        let body = json(process)
        var tag = ByteBuffer()
        tag.append("\"")
        tag.appendHex(XXH64.hash(Array(body.utf8).span, seed: 0), width: 16)
        tag.append("\"")
        return AdminResponse(status: 200, body: body, entityTag: ASCII.string(tag.readable))
    }

    /// The page as JSON in one line. Nothing in it is of the moment, so that the same evidence
    /// gives the same bytes.
    static func json(_ process: some ProcessView) -> String {
        let page = JSONText.object([
            ("version", .string(process.version)),
            ("generation", .integer(Int(process.generation))),
            ("startedAtMicros", .integer(Int(process.startedAt.microseconds))),
            (
                "buckets",
                .object([
                    ("firstEndMicros", .integer(250)), ("perDoubling", .integer(4)),
                    ("count", .integer(LatencyBuckets.count)),
                ])
            ),
            ("splits", .array(process.evidence().map { split($0, process) })),
            ("sessions", .array(process.sessions().map(sessions))),
            (
                "trips",
                .array(
                    process.latches().filter { $0.tripCount > 0 }.map {
                        trip($0, process)
                    })
            ),
        ])
        return page.line() + "\n"
    }

    private static func split(_ report: SplitReport, _ process: some ProcessView) -> JSONText {
        .object([
            ("route", .string(report.route)),
            ("service", .string(report.epochs.last?.service ?? "")),
            ("lost", .integer(report.lost)),
            ("epochs", .array(report.epochs.map { epoch($0, process) })),
            (
                "guard",
                .array(
                    report.sums.map {
                        .object([
                            ("version", .string($0.version)), ("sum", .number($0.sum)),
                            ("limit", .number($0.limit)), ("errors", .integer($0.errors)),
                            ("versionErrors", .integer($0.versionErrors)),
                        ])
                    })
            ),
        ])
    }

    private static func epoch(_ report: EpochReport, _ process: some ProcessView) -> JSONText {
        .object([
            ("epoch", .integer(Int(report.epoch))),
            ("begunAtMicros", .integer(Int(process.wallTime(of: report.begun).microseconds))),
            ("stable", .string(report.stable)),
            ("unit", .string(report.isSticky ? "session" : "request")),
            ("versions", .array(report.versions.map(version))),
        ])
    }

    private static func version(_ report: VersionReport) -> JSONText {
        let counts = report.counts
        return .object([
            ("version", .string(report.version)), ("weight", .integer(report.weight)),
            ("weightSum", .integer(report.weightSum)), ("requests", .integer(counts.requests)),
            ("errors", .integer(counts.errors)), ("clientErrors", .integer(counts.clientErrors)),
            ("firstErrors", .integer(counts.firstErrors)), ("left", .integer(counts.left)),
            ("latency", histogram(counts.latency)), ("censored", histogram(counts.censored)),
            (
                "sessions",
                report.places.map {
                    .object([("seen", .integer($0.seen)), ("failed", .integer($0.failed))])
                } ?? .null
            ),
        ])
    }

    /// The buckets up to the last that is not empty.
    private static func histogram(_ buckets: [Int]) -> JSONText {
        let end = (buckets.lastIndex { $0 != 0 } ?? -1) + 1
        return .array(buckets[..<end].map { .integer($0) })
    }

    /// The sets of places, each as a Golomb-coded set in base64 (RFC 4648 §4).
    private static func sessions(_ report: SessionsReport) -> JSONText {
        .object([
            ("service", .string(report.service)), ("epoch", .integer(Int(report.epoch))),
            ("routes", .array(report.routes.map { .string($0) })),
            (
                "versions",
                .array(
                    report.versions.map {
                        .object([
                            ("version", .string($0.version)),
                            ("firstPlace", .integer($0.places.lowerBound)),
                            ("places", .integer($0.places.count)),
                        ])
                    })
            ),
            ("seen", places(report.seen)), ("failed", places(report.failed)),
        ])
    }

    private static func places(_ set: PlaceSet) -> JSONText {
        let coded = GolombCodedPlaces(set)
        return .object([
            ("count", .integer(coded.count)), ("remainderBits", .integer(coded.remainderBits)),
            ("gaps", .string(Base64.text(coded.gaps.span))),
        ])
    }

    private static func trip(_ report: LatchReport, _ process: some ProcessView) -> JSONText {
        let trip = report.lastTrip
        return .object([
            ("service", .string(report.service)), ("version", .string(report.version)),
            ("tripped", .bool(report.isTripped)), ("count", .integer(report.tripCount)),
            ("cause", .string(trip.map { "\($0.cause.label)" } ?? "")),
            ("sum", .number(trip?.sum ?? 0)), ("limit", .number(trip?.limit ?? 0)),
            ("errors", .integer(trip?.errors ?? 0)),
            ("versionErrors", .integer(trip?.versionErrors ?? 0)),
            (
                "atMicros",
                trip.map {
                    .integer(
                        $0.earlierMicros > 0
                            ? Int($0.earlierMicros)
                            : Int(process.wallTime(of: $0.at).microseconds))
                } ?? .null
            ),
        ])
    }

    // MARK: A table

    /// The page as a table for people: versions of a split below each other, the epoch in force
    /// first.
    static func text(_ process: some ProcessView) -> String {
        var out = ""
        for report in process.evidence() {
            for epoch in report.epochs.reversed() {
                let isLast = epoch.epoch == report.epochs.last?.epoch
                out += "route \(report.route)  service \(epoch.service)  epoch \(epoch.epoch)"
                out += isLast ? "\n" : " (the one before)\n"
                out += table(epoch)
            }
            for sum in report.sums {
                out += "  guard of \(sum.version): \(PageText.decimals(sum.sum, 2)) of "
                out += "\(PageText.decimals(sum.limit, 2)), \(sum.errors) errors seen, "
                out += "\(sum.versionErrors) of them its own\n"
            }
            if report.lost > 0 {
                out += "  \(report.lost) requests ended too late for the two epochs kept\n"
            }
        }
        for latch in process.latches() where latch.isTripped {
            out += "guard: \(latch.version) of \(latch.service) is out"
            out += latch.lastTrip.map { " (\($0.cause.label))" } ?? ""
            out += "; sluice guard reset \(latch.service) lets it in again\n"
        }
        return out.isEmpty
            ? "no service of this process has two versions, so there is nothing to compare\n" : out
    }

    private static func table(_ epoch: EpochReport) -> String {
        var rows = [
            [
                "version", "share", "requests", "errors", "rate", "client", "first", "left", "p50",
                "p95",
            ] + (epoch.isSticky ? ["sessions", "failed"] : [])
        ]
        for version in epoch.versions {
            let counts = version.counts
            let share = Double(version.weight) / Double(max(1, version.weightSum))
            var row = [
                version.version + (version.version == epoch.stable ? " *" : ""),
                PageText.percent(share),
                "\(counts.requests)", "\(counts.errors)",
                counts.requests > 0
                    ? PageText.percent(Double(counts.errors) / Double(counts.requests)) : "-",
                "\(counts.clientErrors)", "\(counts.firstErrors)", "\(counts.left)",
                PageText.time(counts.latency, 0.5), PageText.time(counts.latency, 0.95),
            ]
            if epoch.isSticky {
                row += ["\(version.places?.seen ?? 0)", "\(version.places?.failed ?? 0)"]
            }
            rows.append(row)
        }
        return PageText.table(rows)
    }
}
