import Configuration
import Explain
import Rollout

/// A person's command to a rollout, as the admin address takes it.
public struct RolloutRequest: Equatable, Sendable {
    public enum Verb: String, Sendable, CaseIterable {
        case start, approve, pause, resume, abort, retry, skip, finish, look
    }

    public var verb: Verb
    /// The plan's name.
    public var name: String
    /// The rollout that an approval is for; `nil` where the command names none.
    public var id: String?
    /// The stage that is approved or skipped to.
    public var stage: String?
    /// The revision that `start` names.
    public var revision: String?
    /// Values that `when` and `match` ask for.
    public var values: [RolloutPlan.Label] = []
    /// A word of the caller about who they are: a comment, not a proof.
    public var by: String?
    /// Also where a check stands against the command.
    public var isForced = false
    /// `start`: the rollout that runs ends, and this one begins.
    public var supersedes = false
    /// `start`: everything runs over live evidence, and no weight changes.
    public var isDryRun = false
    /// `abort`: of a rollout whose journal cannot be read.
    public var discardsJournal = false

    public init(_ verb: Verb, name: String) {
        self.verb = verb
        self.name = name
    }

    /// The longest text of one parameter, in bytes.
    static let textMax = 256
    /// The largest number of values.
    static let valuesMax = 32

    /// Whether a character stands for itself: no control characters (U+0000...U+001F,
    /// U+007F...U+009F), separators of lines, and marks of direction.
    private static func isShown(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0...0x1f, 0x7f...0x9f, 0x200e...0x200f, 0x2028...0x202e, 0x2066...0x2069: false
        default: true
        }
    }

    /// Reads the query of a POST to `/rollouts/VERB`.
    /// - Returns: the request, or a sentence that says what is wrong.
    static func read(_ verb: Verb, _ query: String) -> Result<RolloutRequest, RequestProblem> {
        var request = RolloutRequest(verb, name: "")
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = parts.count == 2 ? ExplainQuery.decoded(String(parts[1])) : ""
            guard value.utf8.count <= textMax else {
                return .failure(
                    RequestProblem("the value of \(parts[0]) is longer than \(textMax) bytes"))
            }
            // These texts are shown in terminals and lie in journals: a line that they begin, or a
            // colour, would look like one of Sluice's own.
            guard value.unicodeScalars.allSatisfy(isShown) else {
                return .failure(
                    RequestProblem(
                        "the value of \(parts[0]) has characters that control a terminal or the "
                            + "direction of text; use letters, digits and signs"))
            }
            switch parts[0] {
            case "name": request.name = value
            case "id": request.id = value
            case "stage": request.stage = value
            case "revision": request.revision = value
            case "by": request.by = value
            case "force": request.isForced = value == "1"
            case "supersede": request.supersedes = value == "1"
            case "dryRun": request.isDryRun = value == "1"
            case "discardJournal": request.discardsJournal = value == "1"
            case "set":
                let named = value.split(separator: "=", maxSplits: 1)
                guard named.count == 2, request.values.count < valuesMax else {
                    return .failure(
                        RequestProblem(
                            "set is NAME=VALUE, at most \(valuesMax) times; here it is \"\(value)\""
                        ))
                }
                request.values.append(.init(name: String(named[0]), value: String(named[1])))
            default:
                return .failure(
                    RequestProblem(
                        "a rollout's command has no parameter \"\(parts[0])\"; there are name, id, "
                            + "stage, revision, set, by, force, supersede, dryRun and "
                            + "discardJournal"))
            }
        }
        guard !request.name.isEmpty else {
            return .failure(RequestProblem("use /rollouts/\(verb.rawValue)?name=NAME"))
        }
        return .success(request)
    }
}

/// A fault of a request, in a sentence.
struct RequestProblem: Error {
    let text: String
    init(_ text: String) { self.text = text }
}
