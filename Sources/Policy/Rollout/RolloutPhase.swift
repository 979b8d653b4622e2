/// The state that a rollout is in.
///
///     entering ──all that the stage's entry wants is there──▶ applying
///     entering ──the stage is entered only with an approval──▶ awaiting
///     entering ──`when`, a hook or missing endpoints──▶ held
///     entering ──a person, drift, a lost overlay──▶ paused
///     entering ──the last stage is passed over──▶ finishing
///     entering ──abort, trip, regression, limit, policies──▶ rollingBack
///     applying ──the weights are in force──▶ watching
///     applying ──the stage is passed over──▶ entering
///     applying ──the weights are refused, or worse evidence──▶ held
///     applying ──a person, drift, a lost overlay──▶ paused
///     applying ──finish by force, or the last stage is passed over──▶ finishing
///     applying ──abort, trip, regression, limit, policies──▶ rollingBack
///     watching ──healthy, or the stage is passed over──▶ entering
///     watching ──healthy, and the stage is left only with an approval──▶ awaiting
///     watching ──inconclusive, or worse evidence──▶ held
///     watching ──a person, drift, a lost overlay──▶ paused
///     watching ──the last stage is healthy──▶ finishing
///     watching ──abort, trip, regression, limit, policies──▶ rollingBack
///     awaiting ──approve──▶ entering
///     awaiting ──nobody approved in time, or worse evidence──▶ held
///     awaiting ──a person, drift, a lost overlay──▶ paused
///     awaiting ──approve, of the last stage──▶ finishing
///     awaiting ──abort, trip, regression, limit, policies──▶ rollingBack
///     held ──approve, or look at the entry again──▶ entering
///     held ──look──▶ watching
///     held ──look, where the approval came too late──▶ awaiting
///     held ──a person, drift, a lost overlay──▶ paused
///     held ──approve, of the last stage──▶ finishing
///     held ──abort, trip, regression, limit, policies──▶ rollingBack
///     paused ──resume──▶ entering
///     paused ──abort, trip, regression, limit, policies──▶ rollingBack
///     finishing ──the canary is the stable version──▶ succeeded
///     finishing ──a person, drift, a lost overlay──▶ paused
///     finishing ──abort, trip, regression, limit──▶ rollingBack
///     rollingBack ──the stable version has too few endpoints──▶ blocked
///     rollingBack ──weight 0 is in force──▶ rolledBack
///     rollingBack ──weight 0 is in force, by a newer release──▶ superseded
///     rollingBack ──weight 0 is in force, by a person──▶ aborted
///     blocked ──endpoints came, or abort by force──▶ rollingBack
public enum RolloutPhase: String, Sendable, Codable, CaseIterable {
    /// A stage is about to be entered: `when`, approval, window, hooks, endpoints, in this order.
    case entering
    /// The stage's weights were asked for and are not yet in force.
    case applying
    /// The stage's weights are in force and the judge looks.
    case watching
    /// A person's approval is asked for.
    case awaiting
    /// A person has to decide: approve, look, abort.
    case held
    /// A person or drift stopped it: resume, abort.
    case paused
    /// The publication that makes the canary the stable version was asked for.
    case finishing
    /// Weight 0 of the canary was asked for and is not yet in force.
    case rollingBack
    /// A rollback that waits for endpoints of the stable version.
    case blocked
    case succeeded
    case rolledBack
    /// Rolled back because another revision took the canary's place.
    case superseded
    /// Rolled back by a person.
    case aborted

    public var hasEnded: Bool {
        switch self {
        case .succeeded, .rolledBack, .superseded, .aborted: true
        default: false
        }
    }

    /// Whether the rollout gives the canary's users back, or has given them back.
    public var goesBack: Bool {
        switch self {
        case .rollingBack, .blocked, .rolledBack, .superseded, .aborted: true
        default: false
        }
    }

    /// Words for messages and pages.
    public var words: String {
        switch self {
        case .entering: "entering a stage"
        case .applying: "applying weights"
        case .watching: "watching"
        case .awaiting: "awaiting approval"
        case .held: "held"
        case .paused: "paused"
        case .finishing: "finishing"
        case .rollingBack: "rolling back"
        case .blocked: "rollback blocked"
        case .succeeded: "succeeded"
        case .rolledBack: "rolled back"
        case .superseded: "superseded"
        case .aborted: "aborted"
        }
    }

    /// Whether the diagram has a step.
    static func allows(_ phase: RolloutPhase, _ next: RolloutPhase) -> Bool {
        switch (phase, next) {
        case (.entering, .applying), (.entering, .awaiting), (.entering, .held),
            (.entering, .paused), (.entering, .finishing), (.entering, .rollingBack),
            (.applying, .watching), (.applying, .entering), (.applying, .held),
            (.applying, .paused), (.applying, .finishing), (.applying, .rollingBack),
            (.watching, .entering), (.watching, .awaiting), (.watching, .held),
            (.watching, .paused), (.watching, .finishing), (.watching, .rollingBack),
            (.awaiting, .entering), (.awaiting, .held), (.awaiting, .paused),
            (.awaiting, .finishing), (.awaiting, .rollingBack),
            (.held, .entering), (.held, .watching), (.held, .awaiting), (.held, .paused),
            (.held, .finishing), (.held, .rollingBack),
            (.paused, .entering), (.paused, .rollingBack),
            (.finishing, .succeeded), (.finishing, .paused), (.finishing, .rollingBack),
            (.rollingBack, .blocked), (.rollingBack, .rolledBack), (.rollingBack, .superseded),
            (.rollingBack, .aborted), (.blocked, .rollingBack):
            return true
        default: return false
        }
    }

    /// The steps of the table, by name, for the documentation and tests.
    package static var table: [String] {
        allCases.flatMap { from in
            allCases.filter { allows(from, $0) }.map { "\(from) -> \($0)" }
        }
    }
}
