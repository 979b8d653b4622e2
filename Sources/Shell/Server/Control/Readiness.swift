import Base
import Configuration
import Files
import Platform
import Resolver
import Upstream

/// Whether load balancers should send clients here.
///
///     starting ──listeners open, names looked up, endpoints checked──▶ ready ──drain──▶ draining
///
/// Once ready, a process stays ready until it drains or a listener is lost: what is missing behind
/// it, such as a canary's name that does not exist yet, is the concern of warnings, metrics and
/// 503s, and taking every pod out because of it would make an outage of a gap. `ControlLoop` moves
/// the machine; looking at it changes nothing.
struct Readiness {
    /// Has been ready once.
    private(set) var hasBegun = false
    private let startedAt: Instant

    /// How long names that have weight and do not resolve hold back the first readiness. Right
    /// behind a pod's start its network is often not up yet; a name that does not exist is no
    /// reason to wait for ever.
    static let namesWait = Duration.seconds(10)

    init(startedAt: Instant) { self.startedAt = startedAt }

    /// - Returns: whether the process became ready just now.
    mutating func advance(_ control: ControlLoop) -> Bool {
        guard !hasBegun, !control.drain.isUnderWay, startReason(control) == nil else {
            return false
        }
        hasBegun = true
        return true
    }

    /// Why the process is not ready, or `nil` when it is.
    func reason(_ control: ControlLoop) -> String? {
        if control.drain.isUnderWay { return "not ready: draining" }
        for listener in control.file.document.listeners
        where !control.listeners.open.contains(where: { $0.name == listener.name }) {
            return "not ready: the listener \(listener.name) is not open"
        }
        return hasBegun ? nil : startReason(control)
    }

    private func startReason(_ control: ControlLoop) -> String? {
        unresolvedReason(control) ?? Readiness.uncheckedReason(control)
    }

    /// A name that requests are split to and that has no address yet.
    private func unresolvedReason(_ control: ControlLoop) -> String? {
        if SystemClock.now() >= startedAt + Readiness.namesWait { return nil }
        let document = control.file.document
        let answers = control.resolver.answers
        for (i, service) in document.services.enumerated() {
            // Names first: to ask for weights looks at every route.
            let missing = service.versions.indices.filter { v in
                guard let dns = service.versions[v].dns else { return false }
                let answer = answers[Resolver.Name(host: dns.name, port: dns.port)]
                return answer?.addresses.isEmpty ?? true
            }
            if missing.isEmpty { continue }
            let weighted = document.weighted(ofService: i)
            for v in missing where weighted.contains(v) {
                guard let dns = service.versions[v].dns else { continue }
                let answer = answers[Resolver.Name(host: dns.name, port: dns.port)]
                let why = answer?.failure ?? ""
                return "not ready: \(service.name)/\(service.versions[v].name): \(dns.name) does "
                    + "not resolve" + (why.isEmpty ? "" : " (\(why))")
            }
        }
        return nil
    }

    /// An endpoint whose first health check is still to come says nothing about itself yet.
    private static func uncheckedReason(_ control: ControlLoop) -> String? {
        guard control.file.document.services.contains(where: { $0.healthCheck != nil }) else {
            return nil
        }
        let now = SystemClock.now()
        let snapshot = control.group.cell.retained()
        defer { snapshot.release() }
        for (i, service) in snapshot.value.document.services.enumerated()
        where service.healthCheck != nil {
            let versions = snapshot.value.services[i].versions
            for v in versions.start..<versions.end {
                let cluster = snapshot.value.versions[v].cluster
                for e in 0..<cluster.value.endpoints.count
                where !cluster.value.endpoints[e].state.value.view(now: now).isChecked {
                    let address = UnixPaths.text(cluster.value.endpoints[e].address)
                    return "not ready: \(service.name): \(address) was not checked yet"
                }
            }
        }
        return nil
    }
}
