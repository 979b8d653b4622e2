import Platform
import Telemetry

/// Reads what Kubernetes and the machine tell the process about itself.
enum Surroundings {
    /// Bytes of the pod's labels that are read.
    private static let labelBytesMax = 1 << 20

    static func read() -> ProcessIdentity.Environment {
        var environment = ProcessIdentity.Environment(hostName: Machine.hostName())
        for name in ProcessIdentity.variableNames {
            environment.variables[name] = Machine.environment(name)
        }
        // Most pods have no such file, and a process outside a cluster never has.
        if let bytes = try? Files.readPlain(
            ProcessIdentity.labelsPath, bytesMax: labelBytesMax)
        {
            environment.podLabels = ProcessIdentity.labels(String(decoding: bytes, as: UTF8.self))
        }
        return environment
    }
}
