import Base
import Configuration
import Evidence
import Synchronization

// What the control loop has to do with the guard: trips are the workers' own, in milliseconds.

extension ControlLoop {
    /// Says with numbers which versions the guard has taken out since it was asked last.
    func logTrips() {
        for latch in registry.latchReports() {
            let key = latch.service + "/" + latch.version
            guard latch.tripCount > tripsTold[key, default: 0], let trip = latch.lastTrip else {
                continue
            }
            tripsTold[key] = latch.tripCount
            log.warning(
                "guard took a version out; its requests go to the stable version until "
                    + "\"sluice guard reset \(latch.service)\", or a weight of 0",
                [
                    ("service", latch.service), ("version", latch.version),
                    ("cause", "\(trip.cause.label)"), ("versionErrors", "\(trip.versionErrors)"),
                    ("errors", "\(trip.errors)"), ("sum", "\(trip.sum)"),
                    ("limit", "\(trip.limit)"), ("trips", "\(latch.tripCount)"),
                ])
        }
    }

    /// A configuration is in force: trips end whose work it does. As long as some worker goes by an
    /// older one they stay, or its users would go to a version that is out.
    func settleTrips() {
        guard group.workers.allSatisfy({ $0.generation.load(ordering: .acquiring) >= generation })
        else { return }
        for (service, version) in registry.settleTrips(basis.snapshot.value.document) {
            log.info(
                "guard reset by the configuration",
                [
                    ("service", service), ("version", version),
                ])
        }
    }
}
