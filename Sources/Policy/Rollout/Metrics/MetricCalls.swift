import Base

/// The calls that a metric's reading takes, and how their outcomes become readings.
public struct MetricCalls: Sendable {
    public typealias Metric = RolloutPlan.Metric

    /// Which version's number is asked for.
    public enum Version: Sendable { case canary, stable }

    private let metric: Metric
    private let settings: CallSettings

    /// A query longer than this goes into a POST's body.
    private static let queryBytesMax = 2_048
    public static let queryTextBytesMax = 16_384

    public init(_ metric: Metric, settings: CallSettings = CallSettings()) {
        self.metric = metric
        self.settings = settings
    }

    /// The versions to ask for: both, where the metric compares.
    public var versions: [Version] { metric.comparesStable ? [.canary, .stable] : [.canary] }

    /// Whether the texts of a metric can be used, asked when a configuration is read.
    ///
    /// - Parameter names: of the values that a rollout of this plan will have.
    public func check(names: Set<String>) throws(CallProblem) {
        func check(_ text: String) throws(CallProblem) -> CallTemplate {
            let template = try CallTemplate(text)
            for name in template.names where !names.contains(name) {
                throw CallProblem(
                    "{{\(name)}} is unknown; there are: "
                        + names.sorted().joined(separator: ", "))
            }
            return template
        }
        switch metric.source {
        case .prometheus(let url, let query):
            let base = try check(url)
            guard !base.hasValues else {
                throw CallProblem("the address of a Prometheus takes no values; its query does")
            }
            let parsed = try CallURL(url)
            guard !parsed.target.contains("?") else {
                throw CallProblem("the address of a Prometheus has no ? and no query")
            }
            guard !query.isEmpty, query.utf8.count <= MetricCalls.queryTextBytesMax else {
                throw CallProblem(
                    "the query has \(query.utf8.count) bytes, expected 1 to "
                        + "\(MetricCalls.queryTextBytesMax)")
            }
            _ = try check(query)
        case .web(let url, let pointer):
            try check(url).checkURL()
            let place = try check(pointer)
            if !place.hasValues { _ = try JSONPointer(pointer) }
        case .command(let words):
            try CallPrograms.check(words, names: names)
        }
    }

    /// The call that brings a version's number.
    ///
    /// - Parameter values: of the rollout; `version` is set here, and where the stable version is
    ///   asked for, `canary` stands for it too, so that one query serves both.
    public func call(
        for version: Version, _ values: CallValues, limit: Duration = .seconds(10)
    ) throws(CallProblem) -> OutgoingCall {
        var values = values
        if let name = values[version == .canary ? "canary" : "stable"] {
            try values.set("version", name)
            if version == .stable { try values.set("canary", name) }
        }
        switch metric.source {
        case .prometheus(let url, let query):
            return OutgoingCall(
                .request(try prometheus(url, query, values)), limit: limit)
        case .web(let url, _):
            var request = CallRequest(url: try CallTemplate(url).url(values))
            request.settings = settings
            return OutgoingCall(.request(request), limit: limit)
        case .command(let words):
            return OutgoingCall(
                .program(try CallPrograms.program(words, values)), limit: limit)
        }
    }

    private func prometheus(
        _ url: String, _ query: String, _ values: CallValues
    ) throws(CallProblem) -> CallRequest {
        let text = "query=" + CallTemplate.percentEncoded(try CallTemplate(query).promQL(values))
        var base = try CallURL(url)
        while base.target.hasSuffix("/") { base.target.removeLast() }
        let path = "/api/v1/query"
        if !base.target.hasSuffix(path) { base.target += path }
        var request: CallRequest
        if text.utf8.count <= MetricCalls.queryBytesMax {
            base.target += "?" + text
            request = CallRequest(url: base)
        } else {
            request = CallRequest(url: base)
            request.content = .body(
                Array(text.utf8), type: "application/x-www-form-urlencoded")
        }
        request.settings = settings
        return request
    }

    /// The reading that an outcome is.
    public func reading(_ outcome: CallOutcome, _ values: CallValues) -> MetricReading {
        switch metric.source {
        case .prometheus: return .prometheus(outcome)
        case .command: return .program(outcome)
        case .web(_, let pointer):
            do throws(CallProblem) {
                let text = try CallTemplate(pointer).pointer(values)
                return .web(outcome, at: try JSONPointer(text))
            } catch {
                return .noValue(error.message)
            }
        }
    }
}

/// Programs of a plan: a list of words, the first of which names a file.
public enum CallPrograms {
    public static let wordsMax = 64

    public static func check(
        _ words: [String], names: Set<String>
    ) throws(CallProblem) {
        guard let name = words.first, words.count <= wordsMax else {
            throw CallProblem(
                "a command is a list of 1 to \(wordsMax) words: a program and its arguments")
        }
        guard isProgram(name) else {
            throw CallProblem(
                "\"\(CallText.shown(name, most: 80))\" is no name of a program: letters, digits "
                    + "and ._- without a slash; programs lie in the directory that "
                    + "--allow-commands names, and values may stand in arguments alone")
        }
        for word in words.dropFirst() {
            let template = try CallTemplate(word)
            for name in template.names where !names.contains(name) {
                throw CallProblem(
                    "{{\(name)}} is unknown; there are: "
                        + names.sorted().joined(separator: ", "))
            }
            guard word.utf8.count <= 4_096, !word.utf8.contains(0) else {
                throw CallProblem("an argument is longer than 4096 bytes, or has a NUL")
            }
        }
    }

    /// The program with its arguments, and the values as variables: `SLUICE_ROLLOUT_CANARY` is
    /// that of `{{canary}}`.
    public static func program(
        _ words: [String], _ values: CallValues
    ) throws(CallProblem) -> CallProgram {
        try check(words, names: Set(values.values.keys))
        var program = CallProgram(name: words[0])
        for word in words.dropFirst() {
            program.arguments.append(try CallTemplate(word).argument(values))
        }
        program.environment = values.values.sorted { $0.key < $1.key }.map { name, value in
            RolloutPlan.Label(name: "SLUICE_ROLLOUT_" + name.uppercased(), value: value)
        }
        return program
    }

    private static func isProgram(_ name: String) -> Bool {
        guard (1...128).contains(name.utf8.count), let first = name.utf8.first else { return false }
        return (ASCII.isAlpha(first) || ASCII.isDigit(first))
            && name.utf8.allSatisfy {
                ASCII.isAlpha($0) || ASCII.isDigit($0) || Array("._-".utf8).contains($0)
            }
    }
}
