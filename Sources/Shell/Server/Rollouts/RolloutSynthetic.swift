import Base
import Configuration
import Errands
import Evidence
import Files
import Platform
import Rollout
import Telemetry
import Upstream

/// Requests of Sluice's own to both versions of a rollout, straight to their endpoints
/// (docs/decisions/2026-11-29-synthetic-requests-go-straight.md).
extension ControlLoop {
    /// Begins or ends synthetic requests of a rollout.
    func setSynthetic(_ isOn: Bool, _ driver: RolloutDriver) {
        guard isOn, let run = driver.machine?.state.run, let plan = run.plan.synthetic else {
            driver.synthetic = nil
            return
        }
        driver.syntheticCount += 1
        let now = SystemClock.now()
        driver.synthetic = SyntheticProbe(
            number: driver.syntheticCount, rate: plan.rate, now: now, seed: Files.randomSeed())
        agenda.set(.sendSynthetic, noLaterThan: now)
    }

    /// Sends what is due, of all rollouts.
    func sendSynthetic(_ now: Instant) {
        var next = Instant.never
        for driver in rollouts.values {
            guard let state = driver.machine?.state, !state.phase.hasEnded else {
                driver.synthetic = nil
                continue
            }
            for ask in driver.synthetic?.due(now: now) ?? [] { send(ask, state.run, driver) }
            next = min(next, driver.synthetic?.nextDeadline ?? .never)
        }
        if !next.isNever { agenda.set(.sendSynthetic, noLaterThan: next) }
    }

    private func send(_ ask: SyntheticProbe.Ask, _ run: RolloutRun, _ driver: RolloutDriver) {
        let name = ask.side == .canary ? run.plan.canary : run.stable
        guard let service = file.document.services.first(where: { $0.name == run.plan.service }),
            let errands = syntheticThread()
        else {
            driver.synthetic?.end(ask, nil)
            return
        }
        let turn =
            ask.side == .canary ? driver.syntheticTurns.canary : driver.syntheticTurns.stable
        if ask.side == .canary {
            driver.syntheticTurns.canary &+= 1
        } else {
            driver.syntheticTurns.stable &+= 1
        }
        let endpoints = endpoints(service.name, name)
        guard !endpoints.isEmpty else {
            // Users would have no answer either.
            driver.synthetic?.end(ask, failure(service.errors, .zero, isTimeout: false))
            return
        }
        let address = endpoints[turn % endpoints.count]
        do throws(CallProblem) {
            guard address.family != .unix else {
                throw CallProblem("\(address.description) is a unix socket")
            }
            let scheme = service.tls == nil ? "http" : "https"
            let path = run.plan.synthetic?.path ?? "/"
            var request = CallRequest(url: try CallURL("\(scheme)://\(address.description)\(path)"))
            request.settings = settings(run, service)
            request.host = host(run, service)
            // The application can tell these requests from users' by it.
            request.probedFor = run.plan.name
            rolloutTickets += 1
            errandsUnderWay[rolloutTickets] = .synthetic(
                plan: driver.name, id: run.id, run: driver.synthetic?.number ?? 0, ask)
            errands.perform(
                OutgoingCall(.request(request), limit: ControlLoop.syntheticLimit),
                ticket: rolloutTickets)
        } catch {
            cannotSend(error.message, driver)
            driver.synthetic?.end(ask, nil)
        }
    }

    /// The longest that a synthetic request may take.
    private static let syntheticLimit = Duration.seconds(15)

    private func syntheticThread() -> Errands? {
        if let syntheticErrands { return syntheticErrands }
        var options = Errands.Options()
        options.runningMax = 64
        options.runningOfPartyMax = 32
        options.admin = file.document.admin
        options.agent = "sluice-synthetic"
        let inbox = inbox
        do throws(SystemError) {
            syntheticErrands = try Errands(options) { inbox.put(.errandDone($0)) }
        } catch {
            log.error("synthetic requests cannot begin", [("error", error.message)])
        }
        return syntheticErrands
    }

    /// Addresses of a version that are in the rotation now.
    private func endpoints(_ service: String, _ version: String) -> [Address] {
        let snapshot = basis.snapshot
        let document = snapshot.value.document
        guard let s = document.services.firstIndex(where: { $0.name == service }),
            let v = document.services[s].versions.firstIndex(where: { $0.name == version })
        else { return [] }
        let cluster = snapshot.value.versions[snapshot.value.services[s].versions.start + v].cluster
        let now = SystemClock.now()
        return (0..<cluster.value.endpoints.count).filter { cluster.value.isIn($0, now: now) }
            .map { cluster.value.endpoints[$0].address }
    }

    /// The host that is asked for: the plan's, or the one that health checks and users ask for.
    private func host(_ run: RolloutRun, _ service: Document.Service) -> String {
        run.plan.synthetic?.headers.first { $0.name.lowercased() == "host" }?.value
            ?? service.healthCheck?.host ?? service.hosts.first { !$0.hasPrefix("*") }
            ?? service.name
    }

    /// Header fields and TLS as the service's own requests have them.
    private func settings(_ run: RolloutRun, _ service: Document.Service) -> CallSettings {
        func place(_ name: String?) -> String? {
            name.map { ConfigurationFile.resolve($0, beside: file.path) }
        }
        let own = run.plan.synthetic?.headers ?? []
        var settings = CallSettings()
        settings.headers = own.filter { $0.name.lowercased() != "host" }.map {
            .init(name: $0.name, value: .text($0.value))
        }
        if let tls = service.tls {
            settings.serverName = tls.sni ?? host(run, service)
            settings.verifies = tls.verifies
            settings.authorityFile = place(tls.ca)
            settings.certificateFile = place(tls.certificate?.certificate)
            settings.keyFile = place(tls.certificate?.key)
        }
        return settings
    }

    // MARK: Ends

    /// A synthetic request has ended.
    func syntheticDone(
        _ outcome: CallOutcome, _ took: Duration, _ ask: SyntheticProbe.Ask,
        _ driver: RolloutDriver
    ) {
        let service = driver.machine?.state.run.plan.service
        let errors = file.document.services.first { $0.name == service }?.errors
        driver.synthetic?.end(ask, end(outcome, took, errors ?? VersionErrors(), driver))
    }

    /// The end of a request as evidence; `nil` where it says nothing of the version.
    private func end(
        _ outcome: CallOutcome, _ took: Duration, _ errors: VersionErrors, _ driver: RolloutDriver
    ) -> RequestOutcome? {
        switch outcome {
        case .answered(let answer):
            if errors.takes(status: answer.status, call: -1) {
                return failure(errors, took, isTimeout: false, isAnswer: true)
            }
            var end = RequestOutcome()
            end.time = took
            end.isClientError = (400...499).contains(answer.status)
            return end
        case .failed(let reason):
            switch reason.kind {
            case .timedOut: return failure(errors, took, isTimeout: true)
            case .notConnected, .notSecure, .cut, .notHTTP, .noAddress:
                return failure(errors, took, isTimeout: false)
            case .forbidden, .tooLarge, .file, .program, .busy, .cancelled:
                cannotSend(reason.message, driver)
                return nil
            }
        case .ended: return nil
        }
    }

    /// A request without a good answer, as the service's definition of an error has it.
    private func failure(
        _ errors: VersionErrors, _ took: Duration, isTimeout: Bool, isAnswer: Bool = false
    ) -> RequestOutcome {
        let isError = isAnswer || errors.takesNoAnswer
        var end = RequestOutcome()
        end.end = isError ? .failure : .departure
        end.time = took
        end.isFirstError = isError
        end.isTimeout = isError && isTimeout
        return end
    }

    /// Says once why synthetic requests tell nothing.
    private func cannotSend(_ why: String, _ driver: RolloutDriver) {
        guard driver.syntheticProblem == nil else { return }
        driver.syntheticProblem = why
        log.warning(
            "a synthetic request of a rollout tells nothing of its version; neither does the "
                + "other one of its pair",
            [("plan", driver.name), ("why", why)])
    }
}
