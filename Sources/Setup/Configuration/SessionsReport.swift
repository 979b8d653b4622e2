import Base
import Evidence
import Routing

/// The sessions of a sticky service in one epoch, as sets of places: what a controller joins over
/// the processes of a fleet. A value, made for one look.
///
/// Splits of a service with the same weights have their sessions together, and are one report.
public struct SessionsReport: Sendable {
    public var service: String
    /// The service's epoch in this process.
    public var epoch: UInt64
    /// Names of the splits that have these sessions, sorted.
    public var routes: [String] = []
    /// The places of each version that has weight, those left out that a boundary cuts; in the
    /// order of the file.
    public var versions: [(version: String, places: Range<Int>)] = []
    /// Places of which a request has ended in the epoch, and those that had an error. One that has
    /// failed may be missing from those seen, if it failed between the two looks.
    public var seen = PlaceSet()
    public var failed = PlaceSet()

    init(service: String, epoch: UInt64) {
        self.service = service
        self.epoch = epoch
    }
}

/// A report whose sets are still to be copied.
struct PendingSessions {
    var report: SessionsReport
    let places: SharedBox<SessionPlaces>

    fileprivate init(_ places: SharedBox<SessionPlaces>, of service: String, epoch: UInt64) {
        self.places = places
        report = SessionsReport(service: service, epoch: epoch)
    }

    /// A split that has these sessions. An epoch may have several lists of versions: those of
    /// weight 0 come and go, and have no places.
    fileprivate mutating func add(_ subject: EpochEvidence.Subject) {
        if !report.routes.contains(subject.route) { report.routes.append(subject.route) }
        guard report.versions.isEmpty, let weights = SplitWeights(subject.weights) else { return }
        let intervals = SessionIntervals(weights: weights, stable: subject.stable)
        for (i, version) in subject.versions.enumerated() {
            guard let bounds = intervals.bounds(of: i) else { continue }
            report.versions.append(
                (version, SessionPlaces.range(first: bounds.first, last: bounds.last)))
        }
    }

    /// Copies what is marked, and gives the reference back.
    consuming func finished() -> SessionsReport {
        (report.seen, report.failed) = places.value.sets()
        places.release()
        return report
    }
}

extension EvidenceBook {
    /// The sessions of all sticky services in the two epochs that are kept, by service and epoch;
    /// each with a reference to its places, which `finished` gives back.
    func pendingSessions() -> [PendingSessions] {
        var all: [PendingSessions] = []
        for service in sessions.keys.sorted() {
            var own: [PendingSessions] = []
            for (_, kept) in kept(service: service) {
                for evidence in kept {
                    let subject = evidence.value.subject
                    guard let places = evidence.value.places else { continue }
                    let known = own.firstIndex { $0.places.isSame(as: places) }
                    if known == nil {
                        places.retain()
                        own.append(
                            PendingSessions(places, of: service, epoch: evidence.value.epoch))
                    }
                    own[known ?? own.count - 1].add(subject)
                }
            }
            // Stable for one epoch: in the order of the first routes.
            all += own.enumerated().sorted {
                ($0.element.report.epoch, $0.offset) < ($1.element.report.epoch, $1.offset)
            }.map(\.element)
        }
        return all
    }
}
