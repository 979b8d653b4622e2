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
}
