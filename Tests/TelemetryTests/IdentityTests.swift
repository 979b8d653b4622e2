import Telemetry
import Testing

/// Who the process is: the file, then what Kubernetes tells, then what is always so.
@Suite struct IdentityTests {
    static func identity(
        _ variables: [String: String], labels: [String: String] = [:], host: String = "machine",
        _ settings: ProcessIdentity.Settings = .init()
    ) -> ProcessIdentity {
        ProcessIdentity(
            settings, .init(variables: variables, podLabels: labels, hostName: host))
    }

    @Test("a pod's name without what Kubernetes puts behind is the workload")
    func pods() {
        for (pod, workload) in [
            ("reviews-v2-7d4b9c6f5-x2x9k", "reviews-v2"), ("db-0", "db"), ("db-main-12", "db-main"),
            ("agent-x2x9k", "agent"), ("single", "single"), ("my-app", "my-app"),
            ("frontend-abcde", "frontend-abcde"), ("a-b-c", "a-b-c"),
        ] {
            #expect(IdentityTests.identity(["POD_NAME": pod]).workload == workload, "\(pod)")
        }
        #expect(IdentityTests.identity([:]).workload == "machine")
        #expect(IdentityTests.identity([:], host: "").workload == "sluice")
    }

    @Test("the file outranks the environment, and an empty variable is none")
    func ranks() {
        let variables = [
            "POD_NAME": "front-7d4b9c6f5-x2x9k", "WORKLOAD_NAME": "", "POD_NAMESPACE": "shop",
            "ISTIO_META_WORKLOAD_NAME": "named", "ISTIO_META_CLUSTER_ID": "east",
        ]
        let told = IdentityTests.identity(variables)
        #expect(told.workload == "named" && told.namespace == "shop" && told.cluster == "east")
        #expect(told.app == nil && told.version == nil)
        var settings = ProcessIdentity.Settings()
        settings.workload = "own"
        settings.cluster = "west"
        settings.version = "v9"
        let own = IdentityTests.identity(variables, settings)
        #expect(own.workload == "own" && own.namespace == "shop" && own.cluster == "west")
        #expect(own.version == "v9" && own.instance == "front-7d4b9c6f5-x2x9k")
        let nothing = IdentityTests.identity([:])
        #expect(nothing.namespace == "default" && nothing.cluster == "Kubernetes")
    }

    @Test("labels of the pod say app and version, the canonical ones first")
    func labels() {
        let file = """
            app="plain"
            app.kubernetes.io/name="recommended"
            service.istio.io/canonical-name="canonical"
            version="v1"
            broken
            also=broken

            """
        var labels = ProcessIdentity.labels(file)
        #expect(labels.count == 4)
        #expect(IdentityTests.identity([:], labels: labels).app == "canonical")
        labels["service.istio.io/canonical-name"] = nil
        #expect(IdentityTests.identity([:], labels: labels).app == "recommended")
        labels["app.kubernetes.io/name"] = ""
        #expect(IdentityTests.identity([:], labels: labels).app == "plain")
        #expect(IdentityTests.identity([:], labels: labels).version == "v1")
    }

    @Test("a name from outside has no blanks and no end that nobody reads")
    func hostile() {
        let long = String(repeating: "a", count: 300)
        let found = IdentityTests.identity([
            "POD_NAMESPACE": " shop\n", "WORKLOAD_NAME": long, "CLUSTER_ID": "é\u{1b}",
        ])
        #expect(found.namespace == "shop" && found.workload == "machine")
        #expect(found.cluster.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f })
    }
}
