import Routing

/// Weights as a person gives them on a command line: `v1=80% v2=20%`.
public enum WeightWords {
    /// Reads the weights of a service. They are all percents that total 100 %, or all whole
    /// numbers, as in the file; versions that are not named get none.
    ///
    /// - Parameter words: pairs of a version's name and its weight.
    /// - Returns: a share for each version of the service, in its order; or what is wrong, and what
    ///   to do.
    public static func shares(
        _ words: [(version: String, weight: String)], of service: Document.Service
    ) -> Result<[Overlay.Share], WeightProblem> {
        func problem(_ text: String) -> Result<[Overlay.Share], WeightProblem> {
            .failure(WeightProblem(text: text))
        }
        let names = service.versions.map(\.name)
        if words.isEmpty { return problem("no weights are given; write \(example(names))") }
        var given: [String: Int] = [:]
        var percents = 0
        for (name, text) in words {
            guard names.contains(name) else {
                return problem(
                    "the service \"\(service.name)\" has no version \"\(name)\"; it has "
                        + names.joined(separator: ", "))
            }
            guard given[name] == nil else { return problem("\"\(name)\" is given twice") }
            if let share = Units.share(text) {
                percents += 1
                given[name] = share
            } else if let number = Int(text), (0...1_000_000).contains(number) {
                given[name] = number
            } else {
                return problem(
                    "the weight of \"\(name)\" is \"\(text)\", expected a percentage such as 20%, "
                        + "or a whole number")
            }
        }
        if percents > 0, percents < words.count {
            return problem("percents and whole numbers are mixed; write all of them as percents")
        }
        let sum = given.values.reduce(0, +)
        if percents > 0, sum != 10_000 {
            return problem(
                "the percents total \(Units.percent(sum)), expected 100%; versions that are not "
                    + "named get none")
        }
        guard let reduced = SplitWeights(names.map { given[$0] ?? 0 }) else {
            return problem("all weights are 0; give one version a weight")
        }
        guard reduced.sum <= SplitWeights.sumMax else {
            return problem(
                "the weights reduce to a sum of \(reduced.sum), above \(SplitWeights.sumMax); use "
                    + "percents with at most two decimals")
        }
        return .success(zip(names, reduced.weights).map { Overlay.Share($0, $1) })
    }

    private static func example(_ names: [String]) -> String {
        guard names.count > 1 else { return "\(names.first ?? "v1")=100%" }
        return "\(names[0])=80% \(names[1])=20%"
    }

    /// The lines of a service's section that say what an overlay says, to be committed to the file.
    ///
    /// - Parameters:
    ///   - index: the service's, in a document that is under the overlay.
    public static func lines(_ document: Document, service index: Int) -> String {
        let service = document.services[index]
        let texts = texts(service.versions.map(\.weight))
        var text = "services:\n  \(Replacement.quoted(service.name)):\n"
        text += "    stable: \(Replacement.quoted(service.versions[service.stable].name))\n"
        text += "    versions:\n"
        for (version, weight) in zip(service.versions, texts) {
            text += "      \(Replacement.quoted(version.name)): { weight: \(weight) }\n"
        }
        let splits = document.ownSplits(ofService: index)
        if splits.isEmpty { return text }
        text += "routes:\n"
        for (route, split) in splits {
            let parts = zip(service.versions, WeightWords.texts(split)).map {
                "\(Replacement.quoted($0.name)): \($1)"
            }
            text += "  - { name: \(Replacement.quoted(route)), "
            text += "split: { \(parts.joined(separator: ", ")) } }\n"
        }
        return text
    }

    /// Weights as the file writes them: percents where two decimals say them exactly, else whole
    /// numbers.
    public static func texts(_ weights: [Int]) -> [String] {
        guard let reduced = SplitWeights(weights) else { return weights.map { "\($0)" } }
        guard 10_000 % reduced.sum == 0 else { return reduced.weights.map { "\($0)" } }
        return reduced.weights.map { Units.percent($0 * (10_000 / reduced.sum)) }
    }
}

/// Why weights are not taken; the text says what to do.
public struct WeightProblem: Error, Equatable, Sendable {
    public let text: String

    public init(text: String) { self.text = text }
}
