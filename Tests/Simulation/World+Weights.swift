import Base
import Configuration
import Evidence

/// Weights of the first service of a world, and what its versions did under them. They are the
/// process's, whichever of its workers is asked.
extension World {
    /// Puts weights over those of the file's first service, or takes them away, unless that would
    /// raise a version that is out. For worlds of one worker, which uses them at once.
    ///
    /// - Parameter shares: `nil` for the file's own.
    /// - Returns: whether they were taken.
    public func setWeights(_ shares: [Overlay.Share]?, generation: UInt64) -> Bool {
        guard nature.setWeights(shares, generation: generation) else { return false }
        publish()
        return true
    }

    /// The weights in force, where they come from, and the entry over them.
    public var weights: [Int] { nature.snapshot.value.document.services[0].versions.map(\.weight) }
    public var source: OverlayMerge.Source { nature.sources.first ?? .file }
    public var entry: Overlay.Entry? { nature.overlay.services[nature.file.services[0].name] }
    /// The fingerprint of the service as the file has it.
    public var fingerprint: String { nature.file.fingerprint(ofService: 0) }

    /// The evidence of the epoch in force of each split, to be looked at when the process keeps it
    /// no more.
    public func holdEvidence() -> [HeldEvidence] { nature.holdEvidence() }

    /// Whether a version of the snapshot in force is out, and how often it was taken out; cheap
    /// enough for every turn.
    public func trips(version: Int) -> (count: Int, isOut: Bool) {
        let latch = nature.snapshot.value.versions[version].latch
        return (latch.value.tripCount, latch.value.isTripped)
    }
}
