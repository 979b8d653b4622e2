import Base
import Configuration
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
        let registry = SharedRegistry(metrics: MetricRegistry(), seed: 1)
        SnapshotCompiler.compile(
            document, .init(generation: 1, hash: "0"), registry: registry
        ).release()
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
