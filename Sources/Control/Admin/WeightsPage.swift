import Base
import Configuration
import JSON

/// The weights of all services, and where each comes from.
public struct WeightsState: Sendable {
    /// The path of the overlay's file; `nil` where the configuration has no `rollouts:`.
    public var overlayPath: String?
    /// Why the overlay's file is not believed; `nil` when it is.
    public var problem: String?
    /// Why the overlay in force is not on the disk; `nil` when it is.
    public var unwritten: String?
    /// In the order of the services.
    public var sources: [OverlayMerge.Source]
    /// The document as the file has it.
    public var file: Document

    public init(
        overlayPath: String?, problem: String?, unwritten: String?,
        sources: [OverlayMerge.Source], file: Document
    ) {
        self.overlayPath = overlayPath
        self.problem = problem
        self.unwritten = unwritten
        self.sources = sources
        self.file = file
    }
}

/// The page `/weights`: as JSON, as a table for people, and as lines to commit.
public enum WeightsPage {
    static func answer(asText: Bool, _ process: some ProcessView) -> AdminResponse {
        asText
            ? AdminResponse(status: 200, contentType: "text/plain", body: table(process))
            : .json(page(process))
    }

    static func export(_ service: String, _ process: some ProcessView) -> AdminResponse {
        let document = process.snapshot.value.document
        guard let index = document.services.firstIndex(where: { $0.name == service }) else {
            return .error(404, "there is no service \"\(service)\" in force")
        }
        return AdminResponse(
            status: 200, contentType: "text/plain",
            body: WeightWords.lines(document, service: index))
    }

    // MARK: JSON

    private static func page(_ process: some ProcessView) -> JSONText {
        let state = process.weights
        func text(_ text: String?) -> JSONText { text.map { .string($0) } ?? .null }
        return .object([
            (
                "overlay",
                .object([
                    ("file", text(state.overlayPath)), ("problem", text(state.problem)),
                    ("unwritten", text(state.unwritten)),
                ])
            ),
            ("services", .array(services(process))),
        ])
    }

    /// Each service of the document in force.
    static func services(_ process: some ProcessView) -> [JSONText] {
        let document = process.snapshot.value.document
        let out = versionsOut(process)
        return document.services.indices.map { service($0, document, process, out) }
    }

    /// Versions that the guard has taken out, by service.
    private static func versionsOut(_ process: some ProcessView) -> [String: [String]] {
        process.latches().filter(\.isTripped).reduce(into: [:]) {
            $0[$1.service, default: []].append($1.version)
        }
    }

    private static func service(
        _ index: Int, _ document: Document, _ process: some ProcessView, _ out: [String: [String]]
    ) -> JSONText {
        let service = document.services[index]
        let source = source(index, process)
        var pairs: [(String, JSONText)] = [
            ("service", .string(service.name)),
            ("weights", weights(service.versions.map(\.weight), service)),
            ("stable", .string(service.versions[service.stable].name)),
        ]
        let splits = document.ownSplits(ofService: index)
        pairs.append(
            (
                "splits",
                .array(
                    splits.map {
                        .object([
                            ("route", .string($0.route)), ("weights", weights($0.weights, service)),
                        ])
                    })
            ))
        pairs += origin(source)
        pairs.append(("tripped", .array((out[service.name] ?? []).map { .string($0) })))
        pairs.append(("epoch", .integer(Int(clamping: process.snapshot.value.epochs[index]))))
        return .object(pairs)
    }

    /// The members that say where weights come from.
    static func origin(_ source: OverlayMerge.Source) -> [(String, JSONText)] {
        var pairs: [(String, JSONText)] = [("from", .string(source.author))]
        if let rollout = source.entry?.rollout {
            pairs.append(
                (
                    "rollout",
                    .object([
                        ("name", .string(rollout.name)), ("epoch", .integer(rollout.epoch)),
                    ])
                ))
        }
        if let rules = source.entry?.rules {
            pairs.append(
                (
                    "rules",
                    .object([
                        ("version", .string(rules.version)),
                        ("matches", .array(rules.matches.map { .string($0) })),
                    ])
                ))
        }
        if case .drift(_, let file, let obstacle) = source {
            pairs.append(
                (
                    "drift",
                    .object([
                        ("file", .string(Overlay.text(file))), ("why", .string(obstacle.text)),
                    ])
                ))
        }
        return pairs
    }

    private static func weights(_ weights: [Int], _ service: Document.Service) -> JSONText {
        .object(
            zip(service.versions, WeightWords.texts(weights)).map { ($0.name, .string($1)) })
    }

    static func source(_ index: Int, _ process: some ProcessView) -> OverlayMerge.Source {
        let sources = process.weights.sources
        return index < sources.count ? sources[index] : .file
    }

    // MARK: Text

    /// The weights of a service in one line; `nil` for a service that is not in force.
    public static func line(of service: String, _ process: some ProcessView) -> String? {
        let document = process.snapshot.value.document
        guard let found = document.services.first(where: { $0.name == service }) else { return nil }
        return Overlay.text(found.versions.map { .init($0.name, $0.weight) })
    }

    /// The answer to a change of a service's weights that is in force.
    public static func changed(_ service: String, _ process: some ProcessView) -> AdminResponse {
        let document = process.snapshot.value.document
        guard let index = document.services.firstIndex(where: { $0.name == service }) else {
            return .error(409, "a reload has taken the service \"\(service)\" away meanwhile")
        }
        let state = process.weights
        var pairs: [(String, JSONText)] = [
            ("result", .string("accepted")),
            ("generation", .integer(Int(clamping: process.generation))),
        ]
        if case .object(let members) = self.service(
            index, document, process, versionsOut(process))
        {
            pairs += members
        }
        if let unwritten = state.unwritten { pairs.append(("unwritten", .string(unwritten))) }
        return .json(.object(pairs))
    }

    private static func table(_ process: some ProcessView) -> String {
        let document = process.snapshot.value.document
        let state = process.weights
        var rows = [["SERVICE", "VERSION", "WEIGHT", "FROM"]]
        var notes: [String] = []
        for (i, service) in document.services.enumerated() {
            let source = source(i, process)
            let own = i < state.file.services.count ? state.file.services[i] : service
            let filed = WeightWords.texts(own.versions.map(\.weight))
            let texts = WeightWords.texts(service.versions.map(\.weight))
            for (v, version) in service.versions.enumerated() {
                var from = source.author
                if source.entry != nil, v < filed.count { from += ", file: \(filed[v])" }
                rows.append([
                    v == 0 ? service.name : "",
                    version.name + (v == service.stable ? " (stable)" : ""), texts[v], from,
                ])
            }
            for (route, weights) in document.ownSplits(ofService: i) where source.entry == nil {
                notes.append(
                    "route \(route) has weights of its own: "
                        + Overlay.text(zip(service.versions, weights).map { .init($0.name, $1) }))
            }
            if case .drift(_, let file, let obstacle) = source {
                notes.append(
                    "\(service.name): the file has changed to \(Overlay.text(file)), which is not "
                        + "applied: \(obstacle.text); sluice weights follow \(service.name) "
                        + "takes it")
            }
        }
        for latch in process.latches() where latch.isTripped {
            notes.append(
                "\(latch.service): the guard has taken \(latch.version) out, which gets no share "
                    + "until sluice guard reset \(latch.service)")
        }
        if let problem = state.problem { notes.append("the overlay is not believed: \(problem)") }
        if let unwritten = state.unwritten {
            notes.append("in force and not written yet: \(unwritten)")
        }
        return columns(rows) + notes.map { $0 + "\n" }.joined()
    }

    /// Rows as columns, two spaces between them.
    private static func columns(_ rows: [[String]]) -> String {
        let widths = (0..<4).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            var line = ""
            for (i, cell) in row.enumerated() {
                line += cell
                if i < 3 { line += String(repeating: " ", count: widths[i] - cell.count + 2) }
            }
            return line + "\n"
        }.joined()
    }
}
