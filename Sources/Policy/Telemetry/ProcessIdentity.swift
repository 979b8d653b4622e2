import Base

/// Who the process is to tools that watch a cluster: which workload, where, and of which version.
public struct ProcessIdentity: Sendable, Hashable {
    public var workload: String
    public var namespace: String
    /// `nil`: nobody says.
    public var app: String?
    public var version: String?
    public var cluster: String
    /// The pod's name, or the host's.
    public var instance: String

    /// The keys of `identity:` in the configuration; `nil` for those that are left out.
    public struct Settings: Sendable, Hashable {
        public var workload: String?
        public var namespace: String?
        public var app: String?
        public var version: String?
        public var cluster: String?
        public init() {}
    }

    /// The words of Kubernetes to a container, and those of the machine itself.
    public struct Environment: Sendable {
        /// Environment variables; an empty one is as good as none.
        public var variables: [String: String]
        /// The pod's labels.
        public var podLabels: [String: String]
        public var hostName: String

        public init(
            variables: [String: String] = [:], podLabels: [String: String] = [:],
            hostName: String = ""
        ) {
            self.variables = variables
            self.podLabels = podLabels
            self.hostName = hostName
        }

        fileprivate func variable(_ names: String...) -> String? {
            names.lazy.compactMap { ProcessIdentity.cleaned(variables[$0]) }.first
        }

        fileprivate func label(_ names: String...) -> String? {
            names.lazy.compactMap { ProcessIdentity.cleaned(podLabels[$0]) }.first
        }
    }

    /// The variables that are read.
    public static let variableNames = [
        "POD_NAME", "POD_NAMESPACE", "WORKLOAD_NAME", "ISTIO_META_WORKLOAD_NAME", "CLUSTER_ID",
        "ISTIO_META_CLUSTER_ID",
    ]
    /// Where Kubernetes puts the pod's labels, if the pod asks for that (its downward API).
    public static let labelsPath = "/etc/podinfo/labels"
    /// Istio's name of a cluster that was given none.
    public static let defaultCluster = "Kubernetes"
    /// Bytes of a name from outside; more is no name.
    private static let nameBytesMax = 253

    /// Each key of the settings outranks the environment.
    public init(_ settings: Settings, _ environment: Environment) {
        let pod = environment.variable("POD_NAME")
        let host = ProcessIdentity.cleaned(environment.hostName) ?? "sluice"
        instance = pod ?? host
        workload =
            settings.workload
            ?? environment.variable("WORKLOAD_NAME", "ISTIO_META_WORKLOAD_NAME")
            ?? pod.map(ProcessIdentity.workload(ofPod:)) ?? host
        namespace = settings.namespace ?? environment.variable("POD_NAMESPACE") ?? "default"
        app =
            settings.app
            ?? environment.label(
                "service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
        version =
            settings.version
            ?? environment.label(
                "service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
        cluster =
            settings.cluster ?? environment.variable("CLUSTER_ID", "ISTIO_META_CLUSTER_ID")
            ?? ProcessIdentity.defaultCluster
    }

    /// A text from outside without what no name has; `nil` where nothing is left.
    private static func cleaned(_ text: String?) -> String? {
        guard let text, text.utf8.count <= nameBytesMax else { return nil }
        let plain = text.utf8.filter { $0 > 0x20 && $0 < 0x7f }
        return plain.isEmpty ? nil : String(decoding: plain, as: UTF8.self)
    }

    /// The workload of a pod by the pod's name, less the parts that Kubernetes puts behind: the
    /// number of a StatefulSet's pod, the two hashes of a Deployment's, the one of a DaemonSet's.
    static func workload(ofPod name: String) -> String {
        var parts = name.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count > 1, let last = parts.last else { return name }
        if !last.isEmpty, last.allSatisfy({ $0.isNumber }) {
            parts.removeLast()
        } else if isHash(last, 5...5) {
            parts.removeLast()
            if parts.count > 1, isHash(parts[parts.count - 1], 6...10) { parts.removeLast() }
        }
        return parts.joined(separator: "-")
    }

    /// Whether a part of a name is made of the characters that Kubernetes draws names from, which
    /// have no vowels.
    private static func isHash(_ part: Substring, _ length: ClosedRange<Int>) -> Bool {
        length.contains(part.utf8.count)
            && part.allSatisfy { "bcdfghjklmnpqrstvwxz2456789".contains($0) }
    }

    /// The labels in a file of the downward API: a line each, `key="value"`.
    public static func labels(_ file: String) -> [String: String] {
        var labels: [String: String] = [:]
        for line in file.split(separator: "\n") {
            let pair = line.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, pair[1].count >= 2, pair[1].first == "\"",
                pair[1].last == "\""
            else { continue }
            labels[String(pair[0])] = String(pair[1].dropFirst().dropLast())
        }
        return labels
    }

    /// The values of `source_*`, in the order of `MetricCatalog.istioSource`.
    var source: [String] {
        let unknown = VersionIdentity.unknown
        return [
            workload, app ?? workload, version ?? "latest", namespace, unknown, app ?? unknown,
            version ?? unknown, cluster,
        ]
    }
}
