/// The names of a version in tools that watch a cluster, as far as the configuration says: the
/// labels of Istio's families come from here.
public struct VersionIdentity: Sendable, Hashable {
    /// The Deployment, say; by default `SERVICE-VERSION`.
    public var workload: String?
    /// By default the process's own.
    public var namespace: String?
    /// By default the service's name.
    public var app: String?
    /// The host that clients call; by default the first of the service's hosts that is a name in a
    /// cluster, else `SERVICE.NAMESPACE.svc.cluster.local`.
    public var host: String?

    public init(
        workload: String? = nil, namespace: String? = nil, app: String? = nil, host: String? = nil
    ) {
        self.workload = workload
        self.namespace = namespace
        self.app = app
        self.host = host
    }

    static let unknown = "unknown"

    /// The values of `destination_*`, in the order of `MetricCatalog.istioDestination`.
    func destination(
        service: String, version: String, of process: ProcessIdentity
    ) -> [String] {
        let namespace = namespace ?? process.namespace
        let host = host ?? "\(service).\(namespace).svc.cluster.local"
        let labels = host.split(separator: ".").map(String.init)
        // Only a name in a cluster has its namespace behind the service.
        let isInCluster = labels.count == 2 || labels.count > 2 && labels[2] == "svc"
        return [
            workload ?? "\(service)-\(version)", namespace, VersionIdentity.unknown,
            app ?? service, version, host, app ?? service, version, labels.first ?? host,
            isInCluster ? labels[1] : namespace, process.cluster,
        ]
    }

    /// The values of `destination_*` of requests that no version has answered.
    static let nobody: [String] = MetricCatalog.istioDestination.map {
        $0 == "destination_canonical_revision" ? "latest" : unknown
    }
}
