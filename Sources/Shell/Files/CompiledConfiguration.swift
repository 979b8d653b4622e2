import Base
import Configuration
import Platform
import Telemetry

/// A configuration file compiled as a process would do it, for a command that serves nobody: names
/// are looked up once, and what does not resolve has no endpoints.
public final class CompiledConfiguration {
    public let snapshot: SharedBox<Snapshot>
    private let registry = SharedRegistry(metrics: MetricRegistry(), seed: 0)

    public init(_ file: ConfigurationFile) {
        var addresses: [Document.NameAndPort: [Address]] = [:]
        for (name, _) in file.document.names {
            if case .success(let found) = NameLookup.addresses(host: name.name, port: name.port) {
                addresses[name] = found
            }
        }
        snapshot = SnapshotCompiler.compile(
            file.document,
            .init(
                generation: 1, hash: file.hash, addresses: addresses, stickyKeys: file.stickyKeys),
            registry: registry)
    }

    deinit { snapshot.release() }

    /// The number of a listener in the snapshot.
    public func number(ofListener name: String) -> Int { registry.metrics.listener(name) }
}
