import Base

/// The judge's word at one look: what becomes of the stage now, and why.
public struct Verdict: Sendable, Equatable, Codable {
    /// In the order in which they are asked at each look: the first that holds is the verdict.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// The guard of a process took the canary out.
        case tripped
        /// The canary is worse than tolerated, and the evidence has used the budget up.
        case regression
        /// The canary is certainly above a limit of its own, and the stable version is not.
        case limit
        /// Both versions are above a limit, or both became worse together: nobody's fault here.
        case commonCause
        /// A metric from elsewhere failed.
        case external
        /// The canary has had too few requests.
        case noData
        /// The canary is certainly no worse than allowed: the stage may be left.
        case healthy
        /// The stage's time is over, and the evidence says neither.
        case inconclusive
        /// There is not enough evidence yet.
        case watching
    }

    public var kind: Kind
    /// One or two sentences with numbers: why, what would change the verdict, and about when.
    public var reason: String
    /// The logarithm of the evidence that the canary is worse, and the limit at which it goes back.
    public var logEvidence = 0.0
    public var logLimit = 0.0
    /// Time until the stage is conclusive at the present rate; `nil`: not known, or never.
    public var timeToConclude: Duration?

    public init(_ kind: Kind, _ reason: String) {
        self.kind = kind
        self.reason = reason
    }
}
