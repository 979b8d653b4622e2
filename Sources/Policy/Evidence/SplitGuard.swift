import Base
import Judge
import Synchronization

/// The sums of the guard for one split, one for each version but the stable one, shared by all
/// workers. Lives longer than an epoch: a change of weights changes the steps, not the sums.
public struct SplitGuard: ~Copyable, Sendable {
    /// Into the service's versions.
    public let stable: Int
    /// Names of the service's versions.
    public let versions: [String]
    /// `GuardSum` words by version.
    private let sums: SharedCounters
    /// `GuardSteps` words by version; 0 where the guard does not look at the version.
    private let steps: SharedCounters
    private let errors: SharedCounters
    private let epoch = Atomic<UInt64>(0)

    public init(versions: [String], stable: Int) {
        self.versions = versions
        self.stable = stable
        sums = SharedCounters(count: versions.count)
        steps = SharedCounters(count: versions.count)
        errors = SharedCounters(count: versions.count)
    }

    /// Puts the shares of an epoch in force. Called by whoever compiles snapshots.
    ///
    /// - Parameter ratio: `nil` switches the guard off, and its sums begin anew.
    public func begin(epoch: UInt64, weights: [Int], ratio: Double?) {
        for version in versions.indices {
            let share = SplitGuard.share(of: version, weights, stable: stable)
            guard let ratio, let share, share <= Guard.shareMax else {
                steps.set(0, at: version)
                if ratio == nil { reset(version: version) }
                continue
            }
            steps.set(GuardSteps(share: share, ratio: ratio).word, at: version)
        }
        self.epoch.store(epoch, ordering: .releasing)
    }

    /// The part of a version of its own and the stable version's requests, above 0; `nil` for a
    /// version without weight and for the stable one.
    public static func share(of version: Int, _ weights: [Int], stable: Int) -> Double? {
        guard version != stable, weights[version] > 0 else { return nil }
        return Double(weights[version]) / Double(weights[version] + weights[stable])
    }

    /// Takes an error. Errors of the stable version count whatever their epoch, those of others
    /// only in the present one: their share was another.
    ///
    /// - Parameter epoch: the epoch in which the request's version was chosen.
    /// - Returns: the sum, when it has reached its limit: the version is to be taken out.
    public func failed(version: Int, epoch: UInt64) -> GuardSum? {
        guard version == stable else {
            let steps = GuardSteps(word: self.steps[version])
            guard steps.word != 0, epoch == self.epoch.load(ordering: .acquiring) else {
                return nil
            }
            _ = errors.next(version)
            let sum = update(version) { $0.afterCanary(steps) }
            return sum.isReached ? sum : nil
        }
        for other in versions.indices where other != stable {
            let steps = GuardSteps(word: self.steps[other])
            if steps.word != 0 { _ = update(other) { $0.afterStable(steps) } }
        }
        return nil
    }

    private func update(_ version: Int, _ next: (GuardSum) -> GuardSum) -> GuardSum {
        while true {
            let held = sums[version]
            let sum = next(GuardSum(word: held))
            if sums.exchange(version, from: held, to: sum.word) { return sum }
        }
    }

    /// The sum of a version; `nil` where the guard does not look at the version.
    public func sum(version: Int) -> GuardSum? {
        steps[version] == 0 ? nil : GuardSum(word: sums[version])
    }

    /// Errors of a version that its sum has taken.
    public func errorCount(version: Int) -> Int { Int(truncatingIfNeeded: errors[version]) }

    /// Begins a version's sum anew.
    public func reset(version: Int) {
        sums.set(0, at: version)
        errors.set(0, at: version)
    }
}
