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
    /// 1 for versions above `Guard.shareMax`, which the absolute rule looks at.
    private let isAbsolute: SharedCounters
    /// `AbsoluteSum` words by version, the stable one's too; of the present epoch.
    private let absolute: SharedCounters
    /// Four numbers by version, from when its absolute sum left 0: its requests and errors, and the
    /// stable version's.
    private let begun: SharedCounters
    private let epoch = Atomic<UInt64>(0)

    public init(versions: [String], stable: Int) {
        self.versions = versions
        self.stable = stable
        sums = SharedCounters(count: versions.count)
        steps = SharedCounters(count: versions.count)
        errors = SharedCounters(count: versions.count)
        isAbsolute = SharedCounters(count: versions.count)
        absolute = SharedCounters(count: versions.count)
        begun = SharedCounters(count: versions.count * 4)
    }

    /// Puts the shares of an epoch in force. Called by whoever compiles snapshots.
    ///
    /// - Parameter ratio: `nil` switches the guard off, and its sums begin anew.
    public func begin(epoch: UInt64, weights: [Int], ratio: Double?) {
        let isNew = epoch != self.epoch.load(ordering: .acquiring)
        for version in versions.indices {
            let share = SplitGuard.share(of: version, weights, stable: stable)
            if isNew { absolute.set(0, at: version) }
            isAbsolute.set(
                ratio != nil && weights[stable] > 0 && (share ?? 0) > Guard.shareMax ? 1 : 0,
                at: version)
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

    /// Takes an error by the absolute rule, where that holds: for a version that has nearly all of
    /// its own and the stable version's requests, and for the stable version beside it.
    ///
    /// - Parameters:
    ///   - epoch: as in `failed(version:epoch:)`; only the present one counts.
    ///   - tally: the present epoch's requests and errors of a version, this error included.
    /// - Returns: the sum, when it has reached its limit and the stable version is well: the
    ///   version is to be taken out.
    public func failedByItself(
        version: Int, epoch: UInt64, tally: (Int) -> (requests: Int, errors: Int)
    ) -> AbsoluteSum? {
        let isOwn = isAbsolute[version] == 1
        let isBeside = version == stable && versions.indices.contains { isAbsolute[$0] == 1 }
        guard isOwn || isBeside, epoch == self.epoch.load(ordering: .acquiring) else { return nil }
        let counts = tally(version)
        let goods = counts.requests - counts.errors
        var sum = AbsoluteSum()
        while true {
            let held = absolute[version]
            sum = AbsoluteSum(word: held).afterError(goods: goods)
            if absolute.exchange(version, from: held, to: sum.word) {
                let was = AbsoluteSum(word: held).now(goods: goods)
                if isOwn, was.value == 0 { note(version, counts, tally(stable)) }
                break
            }
        }
        guard isOwn, sum.isReached else { return nil }
        let other = tally(stable)
        let stableSum = AbsoluteSum(word: absolute[stable]).now(
            goods: other.requests - other.errors)
        func since(_ number: Int, _ now: Int) -> Int {
            now - Int(truncatingIfNeeded: begun[version * 4 + number])
        }
        let isWell = AbsoluteSum.isStableWell(
            canary: (since(0, counts.requests), since(1, counts.errors)),
            stable: (since(2, other.requests), since(3, other.errors)))
        return isWell && stableSum.value < AbsoluteSum.commonLimit ? sum : nil
    }

    /// A version's absolute sum has left 0 with an error.
    private func note(
        _ version: Int, _ counts: (requests: Int, errors: Int),
        _ stable: (requests: Int, errors: Int)
    ) {
        begun.set(UInt64(max(0, counts.requests - 1)), at: version * 4)
        begun.set(UInt64(max(0, counts.errors - 1)), at: version * 4 + 1)
        begun.set(UInt64(stable.requests), at: version * 4 + 2)
        begun.set(UInt64(stable.errors), at: version * 4 + 3)
    }

    /// The sum of a version; `nil` where the relative rule does not look at the version.
    public func sum(version: Int) -> GuardSum? {
        steps[version] == 0 ? nil : GuardSum(word: sums[version])
    }

    /// The absolute sum of a version; `nil` where the absolute rule does not look at the version.
    public func absoluteSum(version: Int) -> AbsoluteSum? {
        isAbsolute[version] == 0 ? nil : AbsoluteSum(word: absolute[version])
    }

    /// Errors of a version that its sum has taken.
    public func errorCount(version: Int) -> Int { Int(truncatingIfNeeded: errors[version]) }

    /// Begins a version's sum anew.
    public func reset(version: Int) {
        sums.set(0, at: version)
        errors.set(0, at: version)
        absolute.set(0, at: version)
    }
}
