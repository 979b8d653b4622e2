import Base
import Configuration
import Explain

/// The kind of a page about rollouts.
public enum RolloutPageKind: String, Hashable, Sendable, CaseIterable {
    /// Where each rollout stands.
    case status
    /// The deeds of a rollout, by its journal.
    case history
    /// Whether the journal's records follow from one another.
    case verify
    /// The judge's last verdicts with their numbers.
    case explain
    /// How long each stage of a plan would take at the traffic of now.
    case plan
}

/// Requests about rollouts → pages and commands.
enum RolloutRouter {
    /// In a pod the application shares the loopback address, so that a command over TCP wants a
    /// token even there; a unix socket is its owner's alone.
    ///
    /// - Parameter what: the command, as the subject of a sentence.
    static func refusal(
        _ request: AdminRequest, _ process: some ProcessView, what: String = "a rollout's command"
    ) -> AdminResponse? {
        if request.isUnix || !process.tokens.isEmpty { return nil }
        return .error(
            403,
            "\(what) over TCP wants a token, because whatever runs beside Sluice "
                + "reaches the same address: write admin: { address: …, token: FILE } with a "
                + "secret in the file, or admin: unix:/run/sluice.sock; then sluice reload, and "
                + "try again")
    }

    /// A service's shares are a rollout's to set where the file has a plan for the service, or a
    /// rollout of the service runs: whoever sets the shares by hand must be let in as whoever
    /// commands the rollout.
    ///
    /// - Parameter what: the change, such as "a change of the weights".
    static func refusal(
        _ what: String, ofService name: String, _ request: AdminRequest,
        _ process: some ProcessView
    ) -> AdminResponse? {
        let document = process.snapshot.value.document
        let hasPlan = !document.plans(ofService: name).isEmpty
        let file = process.weights.file.services.firstIndex { $0.name == name }
        let entry = file.flatMap {
            process.weights.sources.indices.contains($0) ? process.weights.sources[$0].entry : nil
        }
        guard hasPlan || entry?.rollout?.isRunning == true else { return nil }
        return refusal(
            request, process, what: "\(what) of \(name), of which there are rollouts,")
    }

    static func answer(
        _ request: AdminRequest, _ process: some ProcessView
    ) -> AdminAnswer {
        let word = request.path == "/rollouts" ? "status" : String(request.path.dropFirst(10))
        if let kind = RolloutPageKind(rawValue: word) { return page(kind, request) }
        guard let verb = RolloutRequest.Verb(rawValue: word) else {
            return .page(
                .error(
                    404,
                    "there is no \(request.path); GET / on the admin address lists the pages"))
        }
        guard request.method == "POST" else {
            return .page(.error(405, "\(request.path) is a change: use POST"))
        }
        if let refusal = refusal(request, process) { return .page(refusal) }
        switch RolloutRequest.read(verb, request.query) {
        case .success(var command):
            // The name of a token is a proof, and the caller's own word is none.
            if let name = AdminRouter.key(of: request, process)?.name { command.by = name }
            return .change(.rollout(command))
        case .failure(let problem): return .page(.error(400, problem.text))
        }
    }

    private static func page(_ kind: RolloutPageKind, _ request: AdminRequest) -> AdminAnswer {
        guard request.method == "GET" || request.method == "HEAD" else {
            return .page(.error(405, "\(request.path) is read with GET"))
        }
        var name: String?, asText = false
        for pair in request.query.split(separator: "&") {
            switch pair {
            case "format=text": asText = true
            case "format=json": asText = false
            case _ where pair.hasPrefix("name="):
                name = ExplainQuery.decoded(String(pair.dropFirst(5)))
            default:
                return .page(.error(400, "use \(request.path)?name=NAME&format=text"))
            }
        }
        if kind != .status, name == nil {
            return .page(.error(400, "use \(request.path)?name=NAME"))
        }
        return .work(.rollouts(name: name, kind, asText: asText))
    }
}
