import Base
import Configuration
import JSON
import Rollout
import Telemetry
import YAML

/// The file.
enum ConfigurationTargets {
    static func read(_ input: [UInt8]) throws {
        let reading = ConfigurationReading(input)
        var lines = 1
        for byte in input where byte == 10 || byte == 13 { lines += 1 }
        for error in reading.errors {
            try demand(error.mark.line >= 1, "an error at line \(error.mark.line)")
            try demand(error.mark.column >= 1, "an error at column \(error.mark.column)")
            // Unicode has line ends of its own (YAML 1.1 §5.4).
            try demand(
                error.mark.line <= lines + input.count / 2 + 1, "an error behind the file")
            try demand(!error.message.isEmpty, "an error without a word")
        }
        _ = reading.text(file: "f.yaml", bytes: input)
        guard let document = reading.document else {
            try demand(!reading.errors.isEmpty, "refused without a reason")
            return
        }
        try demand(reading.errors.isEmpty, "errors, and taken all the same")
        try plans(document)
        let registry = SharedRegistry(metrics: MetricRegistry(), seed: 1)
        SnapshotCompiler.compile(
            document, .init(generation: 1, hash: "0"), registry: registry
        ).release()
    }

    /// Plans that are taken can be followed: conditions and windows are read, rules are read back
    /// from the text that a journal has, and everything can be shown at any time.
    private static func plans(_ document: Document) throws {
        for plan in document.rollouts?.plans ?? [] {
            try demand(!plan.stages.isEmpty, "a plan without a stage")
            for stage in plan.stages {
                for window in stage.windows {
                    try demand((try? TimeWindow(window)) != nil, "a window is none: \(window)")
                }
                if let when = stage.when {
                    try demand((try? Condition(when)) != nil, "a condition is none: \(when)")
                }
                guard let match = stage.match else { continue }
                let isRead =
                    if case .success = StageMatch.rules(match, document) { true } else { false }
                try demand(isRead, "a rule is not read back: \(match)")
            }
        }
        _ = DocumentJSON.document(document).text()
        for service in document.services.indices {
            for time in [Int64.min, 0, 1_790_000_000_000_000, .max] {
                _ = document.planLines(
                    ofService: service, at: WallTime(microseconds: time), zones: PlanZones())
            }
        }
    }

    /// A file whose services the seeds of overlays name.
    private static let under = """
        listeners: [{ name: http, address: "127.0.0.1:8080" }]
        services:
          shop:
            stable: v1
            hosts: [shop.test]
            sticky: { cookie: c, issue: off }
            versions:
              v1: { weight: 95%, endpoints: ["127.0.0.1:1"] }
              v2: { weight: 5%, endpoints: ["127.0.0.1:2"] }
          other:
            versions: { v1: { weight: 1, endpoints: ["127.0.0.1:3"] }, v2: { weight: 1 } }
        routes:
          - { name: own, match: { path: { exact: /own } }, to: shop, split: { v1: 1, v2: 1 } }
          - { name: rest, to: other }
        """

    /// An overlay that is taken is read again as it is written, and makes a document that compiles.
    static func overlay(_ input: [UInt8]) throws {
        guard let overlay = try? OverlayCodec.read(input) else { return }
        let text = OverlayCodec.text(overlay)
        let again = try? OverlayCodec.read(Array(text.utf8))
        try demand(again == overlay, "read otherwise than it was written")
        guard let file = ConfigurationReading(Array(under.utf8)).document else {
            return try demand(false, "the file is good")
        }
        let merge = OverlayMerge(file, under: overlay)
        try demand(merge.sources.count == file.services.count, "a source for each service")
        let held = merge.sources.count { $0.entry != nil }
        try demand(held + merge.dropped.count == overlay.services.count, "an entry is lost")
        for i in file.services.indices { _ = WeightWords.lines(merge.document, service: i) }
        let registry = SharedRegistry(metrics: MetricRegistry(), seed: 1)
        SnapshotCompiler.compile(
            merge.document, .init(generation: 1, hash: "0"), registry: registry
        ).release()
    }
}
