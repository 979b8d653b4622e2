// The field table of what monitoring is told: who the process is, and in which words.

extension ObjectSchema {
    static let identity = ObjectSchema(
        name: "identity",
        example: "{ workload: frontend, namespace: shop, app: frontend, version: v3 }",
        help: "Who this process is to monitoring.",
        fields: [
            .field(
                "workload", .name, default: "from Kubernetes",
                "By default WORKLOAD_NAME, else POD_NAME without its hashes, else the host's name."
            ),
            .field(
                "namespace", .name, default: "from Kubernetes",
                "By default POD_NAMESPACE, else default."),
            .field(
                "app", .name, default: "from Kubernetes",
                "By default of the pod's labels, in /etc/podinfo/labels, the canonical name, "
                    + "app.kubernetes.io/name or app."),
            .field(
                "version", .name, default: "from Kubernetes",
                "By default of the pod's labels the canonical revision, app.kubernetes.io/version "
                    + "or version."),
            .field(
                "cluster", .name, default: "from Kubernetes",
                "By default CLUSTER_ID, else Kubernetes."),
        ], isGroup: true)

    static let istioMetrics = ObjectSchema(
        name: "metrics in Istio's words",
        example: "{ reporter: auto, sizes: off }",
        help: "How requests are shown in Istio's words.",
        fields: [
            .field(
                "reporter", .choice(["auto", "source", "destination", "both"]), default: "auto",
                "Whose view of a request; auto gives both, because this process is the only proxy "
                    + "on the path, and half of the tools read each."),
            .field(
                "sizes", .choice(["on", "off"]), default: "off",
                "Histograms of the sizes of bodies, and not only sums: the one thing that costs "
                    + "something with each request."),
        ], isGroup: true)
}
