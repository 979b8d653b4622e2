import Base
import Configuration
import Evidence
import Files
import Platform
import Synchronization

// What the control loop has to do with the guard: trips are the workers' own, in milliseconds. The
// loop tells of them, and has them written, so that they outlive the process.

extension ControlLoop {
    /// Says with numbers which versions the guard has taken out since it was asked last.
    func logTrips() {
        for latch in registry.latchReports() {
            let key = latch.service + "/" + latch.version
            // Trips of the process before were told by that one.
            guard latch.tripCount > tripsTold[key, default: 0], let trip = latch.lastTrip,
                trip.earlierMicros == 0
            else { continue }
            tripsTold[key] = latch.tripCount
            tellTrip(
                latch.service, latch.version, trip.words(of: latch.version))
            log.warning(
                "guard took a version out; its requests go to the stable version until "
                    + "\"sluice guard reset \(latch.service)\", or a weight of 0",
                [
                    ("service", latch.service), ("version", latch.version),
                    ("cause", "\(trip.cause.label)"), ("versionErrors", "\(trip.versionErrors)"),
                    ("errors", "\(trip.errors)"), ("sum", "\(trip.sum)"),
                    ("limit", "\(trip.limit)"), ("trips", "\(latch.tripCount)"),
                    (
                        "afterRestart",
                        file.overlayFile == nil
                            ? "in again, for want of a rollouts: directory" : "out"
                    ),
                ])
        }
    }

    /// Has the overlay name the versions that are out now; a restart reads them there.
    func keepTrips() {
        // Another process writes the overlay, and its weights may be newer than those known here.
        guard file.overlayFile != nil, !drain.isUnderWay, !isStandby else { return }
        let trips = registry.latchReports().compactMap { latch -> Overlay.Trip? in
            guard latch.isTripped, let trip = latch.lastTrip else { return nil }
            let since = trip.at - startedAtInstant
            let micros = startedAt.microseconds + since.microseconds
            return Overlay.Trip(
                service: latch.service, version: latch.version, number: latch.tripCount, trip,
                atMicros: trip.earlierMicros > 0 ? trip.earlierMicros : max(0, micros))
        }
        // A directory that was never used need not be made for nothing.
        if trips.isEmpty, overlays.overlay.trips.isEmpty { return }
        perform(overlays.keep(trips, now: SystemClock.now()))
    }

    /// A configuration is in force: trips end whose work it does. As long as some worker goes by an
    /// older one they stay, or its users would go to a version that is out.
    ///
    /// - Parameter only: the service whose weights have changed; `nil`: any may have.
    func settleTrips(only: String? = nil) {
        guard group.workers.allSatisfy({ $0.generation.load(ordering: .acquiring) >= generation })
        else { return }
        for (service, version) in registry.settleTrips(basis.snapshot.value.document, only: only) {
            log.info(
                "guard reset by the configuration",
                [
                    ("service", service), ("version", version),
                ])
        }
        keepTrips()
    }

    /// Lets all versions of a service in again.
    /// - Returns: the names of those that were out.
    func resetGuard(service: String) -> [String] {
        let versions = registry.resetGuard(service: service)
        tellReset(service, versions)
        return versions
    }

    private func tellReset(_ service: String, _ versions: [String]) {
        for version in versions {
            log.info("guard reset", [("service", service), ("version", version)])
        }
        keepTrips()
    }

    /// Says which versions stay out although the configuration in force gives them a share; behind
    /// a start and a reload, whose weights do not end a trip.
    func remindOfTrips() {
        for latch in registry.latchReports() where latch.isTripped {
            log.warning(
                "a version stays out that the guard has taken out; the weights that the "
                    + "configuration gives it hold from \"sluice guard reset \(latch.service)\" on",
                [("service", latch.service), ("version", latch.version)])
        }
    }

    // MARK: Raising a version

    /// The trip counts of a service's versions, which a decision to raise one goes by.
    func tripCounts(of service: String) -> [String: Int] {
        let reports = registry.latchReports().filter { $0.service == service }
        return Dictionary(uniqueKeysWithValues: reports.map { ($0.version, $0.tripCount) })
    }

    /// Versions of a service that are out.
    func versionsOut(of service: String) -> [String] {
        registry.latchReports().filter { $0.service == service && $0.isTripped }.map(\.version)
    }

    /// Why weights that somebody asked for must not be in force: a version that they raise was
    /// taken out since that was decided.
    func obstacle(_ ask: WeightsAsk) -> String? {
        let counts = tripCounts(of: ask.service)
        let raced = ask.raised.filter { counts[$0] != ask.tripCounts[$0] }
        guard let version = raced.first else { return nil }
        return "the guard took \(ask.service)/\(version) out while its weight was to be raised; "
            + "the weights stay as they were. Look at sluice evidence; sluice guard reset "
            + "\(ask.service) lets it in again"
    }

    /// Weights that somebody asked for are in force in every worker. Trips end that they were to
    /// end, and no others.
    /// - Returns: why the weights of before are put in force again; `nil` when they hold.
    func settleTrips(behind ask: WeightsAsk) -> String? {
        if let why = obstacle(ask) { return why }
        let due = ask.tripCounts.filter { ask.lettingIn.contains($0.key) }
        tellReset(ask.service, registry.resetGuard(service: ask.service, ifTripCounts: due))
        settleTrips(only: ask.service)
        return nil
    }
}
