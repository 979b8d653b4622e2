import Base
import Configuration
import Platform
import Resolver
import Synchronization
import Upstream

/// What the admin pages show, made from read-only looks at shared state. No secrets.
enum AdminViews {
    static func configuration(_ control: ControlLoop) -> JSONText {
        let text =
            (try? Files.read(control.file.path, bytesMax: ConfigurationFile.bytesMax))
            .map { String(decoding: $0, as: UTF8.self) } ?? ""
        let onDisk = ConfigurationReading(Array(text.utf8)).hash
        return .object([
            ("file", .string(control.file.path)), ("hash", .string(control.file.hash)),
            ("generation", .integer(Int(control.generation))),
            ("fileHasChanged", .bool(onDisk != control.file.hash)),
            ("lastRejection", .string(control.status.lastRejection)),
            (
                "workers",
                .array(
                    control.group.workers.map {
                        .integer(Int($0.generation.load(ordering: .acquiring)))
                    })
            ),
            ("configuration", DocumentJSON.document(control.file.document)),
        ])
    }

    static func clusters(_ control: ControlLoop) -> JSONText {
        let snapshot = control.group.cell.retained()
        defer { snapshot.release() }
        let document = snapshot.value.document
        var services: [JSONText] = []
        for (i, service) in document.services.enumerated() {
            let plan = snapshot.value.services[i]
            var versions: [JSONText] = []
            for (v, version) in service.versions.enumerated() {
                let cluster = snapshot.value.versions[plan.versions.start + v].cluster
                versions.append(self.version(version, cluster, control))
            }
            services.append(
                .object([("service", .string(service.name)), ("versions", .array(versions))]))
        }
        return .object([("services", .array(services))])
    }

    private static func version(
        _ version: Document.Version, _ cluster: SharedBox<Cluster>, _ control: ControlLoop
    ) -> JSONText {
        var endpoints: [JSONText] = []
        for i in 0..<cluster.value.endpoints.count {
            let endpoint = cluster.value.endpoints[i]
            endpoints.append(
                .object([
                    ("address", .string(UnixPaths.text(endpoint.address))),
                    ("state", .string(endpoint.state.value.isOut ? "out" : "in")),
                    (
                        "why",
                        .string(endpoint.state.value.isOut ? "refused its last connect" : "")
                    ),
                    (
                        "failedConnects",
                        .integer(Int(endpoint.state.value.failedConnects.load(ordering: .relaxed)))
                    ),
                ]))
        }
        let state = cluster.value.state
        var pairs: [(String, JSONText)] = [
            ("version", .string(version.name)), ("endpoints", .array(endpoints)),
            ("connections", .integer(state.value.connectionCount)),
            ("requests", .integer(state.value.requestCount)),
            ("pending", .integer(state.value.pendingCount)),
        ]
        if let dns = version.dns {
            let answer = control.resolver.answers[Resolver.Name(host: dns.name, port: dns.port)]
            pairs.append(("dns", .string("\(dns.name):\(dns.port)")))
            pairs.append(("dnsFailure", .string(answer?.failure ?? "not tried yet")))
        }
        return .object(pairs)
    }

    static func connections(_ control: ControlLoop) -> JSONText {
        .object([
            (
                "workers",
                .array(
                    control.group.workers.map { worker in
                        .object([
                            ("worker", .integer(worker.index)),
                            ("downstream", .integer(control.group.loads[worker.index])),
                        ])
                    })
            ),
            (
                "listeners",
                .array(
                    control.listeners.open.map { listener in
                        .object([
                            ("name", .string(listener.name)),
                            ("address", .string(Listeners.text(listener))),
                        ])
                    })
            ),
        ])
    }

    /// Why the process is not ready, or `nil` when it is.
    static func notReadyReason(_ control: ControlLoop) -> String? {
        if control.drain.isUnderWay { return "not ready: draining" }
        let answers = control.resolver.answers
        for service in control.file.document.services {
            for version in service.versions {
                guard let dns = version.dns else { continue }
                let answer = answers[Resolver.Name(host: dns.name, port: dns.port)]
                if answer?.addresses.isEmpty ?? true {
                    let why = answer?.failure ?? ""
                    return
                        "not ready: \(service.name)/\(version.name): \(dns.name) does not resolve"
                        + (why.isEmpty ? "" : " (\(why))")
                }
            }
        }
        return nil
    }
}
