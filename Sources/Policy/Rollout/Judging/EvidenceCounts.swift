import Evidence
import Judge

/// Counts of both versions of one stratum.
struct EvidencePair: Sendable, Equatable {
    var stable = VersionEvidence()
    var canary = VersionEvidence()

    /// Whether counters are smaller than they were: the process has begun anew.
    func wentBack(from before: EvidencePair) -> Bool {
        stable.wentBack(from: before.stable) || canary.wentBack(from: before.canary)
    }

    func since(_ before: EvidencePair) -> EvidencePair {
        EvidencePair(
            stable: stable.since(before.stable), canary: canary.since(before.canary))
    }

    mutating func add(_ other: EvidencePair) {
        stable.add(other.stable)
        canary.add(other.canary)
    }

    /// The increment that these counts are.
    ///
    /// - Parameters:
    ///   - hasSessions: units of errors are counted elsewhere; these counts tell of times alone.
    ///   - leavesTimesOut: times are not judged now.
    func increment(hasSessions: Bool, leavesTimesOut: Bool) -> Increment {
        Increment(
            stable: stable.counts(hasSessions, leavesTimesOut),
            canary: canary.counts(hasSessions, leavesTimesOut))
    }
}

extension VersionEvidence {
    /// Whether counters are smaller than they were.
    package func wentBack(from before: VersionEvidence) -> Bool {
        requests < before.requests || errors < before.errors || firstErrors < before.firstErrors
            || left < before.left || clientErrors < before.clientErrors
            || zip(latency, before.latency).contains { $0 < $1 }
            || zip(censored, before.censored).contains { $0 < $1 }
    }

    /// - Precondition: no counter went back.
    package func since(_ before: VersionEvidence) -> VersionEvidence {
        var rest = self
        rest.requests -= before.requests
        rest.errors -= before.errors
        rest.clientErrors -= before.clientErrors
        rest.firstErrors -= before.firstErrors
        rest.left -= before.left
        for k in rest.latency.indices {
            rest.latency[k] -= before.latency[k]
            rest.censored[k] -= before.censored[k]
        }
        return rest
    }

    /// Units whose time is in a histogram.
    var timed: Int { latency.reduce(0, +) + censored.reduce(0, +) }

    /// Counters beside a request's may be read before the request's own: there are never more
    /// events than units.
    fileprivate func counts(_ hasSessions: Bool, _ leavesTimesOut: Bool) -> VersionCounts {
        var counts = VersionCounts(
            units: hasSessions ? 0 : requests,
            errors: hasSessions ? 0 : min(errors, requests),
            firstErrors: hasSessions ? 0 : min(firstErrors, requests))
        if leavesTimesOut { return counts }
        let timed = self.timed
        counts.latency = latency
        counts.censored = censored
        counts.left = min(left, timed - latency.reduce(0, +))
        if hasSessions { counts.timedUnits = timed }
        return counts
    }
}
