import Base
import JSON
import Routing
import YAML

/// The changes that a new configuration brings: every field whose meaning differs, the requests and
/// sessions that move to another version, and what a reload does besides.
public struct ConfigurationDiff: Sendable {
    /// A route whose requests are shared out differently.
    public struct Shift: Sendable {
        public var route: String
        /// The fate of requests, in words.
        public var text: String
        /// Share of sessions whose version changes, 0...1; `nil` without sessions on both sides.
        public var sessionsMoved: Double?
    }

    public let changes: [FieldChange]
    public let shifts: [Shift]
    /// Acts of a reload on sockets, connections and counts, a sentence each.
    public let effects: [String]
    /// The fate of the overlay under the new file, a sentence for each service that it has.
    public let overlays: [String]

    public var isSame: Bool { changes.isEmpty }

    /// Both readings must be without errors; `nil` otherwise.
    /// - Parameter overlay: what is put over the weights of both.
    public init?(
        from old: ConfigurationReading, to new: ConfigurationReading,
        under overlay: Overlay = Overlay()
    ) {
        guard let before = old.document, let after = new.document, let oldTree = old.tree,
            let newTree = new.tree
        else { return nil }
        changes = FieldComparison(old: oldTree, new: newTree).changes
        let merge = OverlayMerge(after, under: overlay)
        shifts = ConfigurationDiff.shifts(
            OverlayMerge(before, under: overlay).document, merge.document)
        overlays = ConfigurationDiff.sentences(merge, after)
        effects = ReloadEffects.of(changes, before, after)
    }

    private static func sentences(_ merge: OverlayMerge, _ file: Document) -> [String] {
        var sentences: [String] = []
        for (service, source) in zip(file.services, merge.sources) {
            switch source {
            case .file: break
            case .overlay(let entry):
                sentences.append(
                    "\(service.name): \(entry.text), \(source.author); the file's weights have no "
                        + "effect")
            case .drift(let entry, let shares, let obstacle):
                sentences.append(
                    "\(service.name): \(entry.text), \(source.author); the file's, "
                        + "\(Overlay.text(shares)), are not applied: \(obstacle.text); sluice "
                        + "weights follow \(service.name) takes them")
            }
        }
        return sentences
            + merge.dropped.map {
                "\($0.service): the overlay (\($0.entry.text), \($0.entry.author)) ends: "
                    + $0.why.text
            }
    }

    // MARK: Routes

    /// Where a route's requests go.
    struct Aim {
        var document: Document
        var service: Int
        var weights: SplitWeights
        var isPinned: Bool

        var config: Document.Service { document.services[service] }
        var hasSessions: Bool { config.sticky != nil && !isPinned }

        func name(_ version: Int) -> String { config.name + "/" + config.versions[version].name }

        /// `v1 90 %, v2 10 %`, versions without weight left out.
        var text: String {
            let parts = zip(config.versions, weights.weights).compactMap { version, weight in
                weight == 0 ? nil : "\(version.name) \(ConfigurationDiff.percent(weight, weights))"
            }
            return config.name + ": " + parts.joined(separator: ", ")
        }
    }

    static func aims(_ document: Document) -> [(route: String, aim: Aim?)] {
        var aims: [(String, Aim?)] = document.routes.map { route in
            guard case .forward(let service, let version, let split) = route.action else {
                return (route.name, nil)
            }
            let all = document.services[service].versions
            let weights =
                version.map { named in all.indices.map { $0 == named ? 1 : 0 } } ?? split
                ?? all.map(\.weight)
            guard let weights = SplitWeights(weights) else { return (route.name, nil) }
            return (
                route.name,
                Aim(
                    document: document, service: service, weights: weights,
                    isPinned: version != nil)
            )
        }
        for (i, service) in document.services.enumerated() where !service.hosts.isEmpty {
            guard let weights = SplitWeights(service.versions.map(\.weight)) else { continue }
            aims.append(
                (
                    SnapshotCompiler.implicitName(service.name),
                    Aim(document: document, service: i, weights: weights, isPinned: false)
                ))
        }
        return aims
    }

    private static func shifts(_ old: Document, _ new: Document) -> [Shift] {
        var before: [String: Aim?] = [:]
        for (route, aim) in aims(old) { before[route] = .some(aim) }
        return aims(new).compactMap { route, aim in
            guard let was = before[route], let was, let now = aim else { return nil }
            return shift(route, was, now)
        }
    }

    private static func shift(_ route: String, _ was: Aim, _ now: Aim) -> Shift? {
        var parts: [String] = []
        if was.text != now.text { parts.append("new requests: \(was.text) → \(now.text)") }
        var moved: Double?
        switch (was.hasSessions, now.hasSessions) {
        case (true, true):
            let share = sessionsMoved(was, now)
            if share > 0 || !parts.isEmpty { moved = share }
            if let words = identity(was, now) { parts.append(words) }
        case (false, true):
            parts.append("sessions begin: a user stays with the version of the first request")
        case (true, false):
            parts.append("sessions end: each request is drawn by itself")
        case (false, false): break
        }
        if parts.isEmpty, moved == nil { return nil }
        return Shift(route: route, text: parts.joined(separator: "; "), sessionsMoved: moved)
    }

    /// Says by what else sessions are known now, in words; `nil` when that stays.
    static func identity(_ was: Aim, _ now: Aim) -> String? {
        guard let a = was.config.sticky, let b = now.config.sticky else { return nil }
        if a.source != b.source || a.name != b.name {
            return "sessions are known by another cookie or header: users begin as new ones"
        }
        if a.salt != b.salt { return "the salt changes: users are placed anew" }
        if a.issue != nil, a.issue != b.issue {
            return "issued cookies by the name \"\(a.issue ?? "")\" are no longer read"
        }
        return nil
    }

    static func sessionsMoved(_ was: Aim, _ now: Aim) -> Double {
        let before = SessionIntervals(weights: was.weights, stable: was.config.stable)
        let after = SessionIntervals(weights: now.weights, stable: now.config.stable)
        if identity(was, now) == nil {
            return before.moved(to: after, name: { was.name($0) }, nextName: { now.name($0) })
        }
        if let shift = shift(was, now) {
            return shifted(by: shift, before, after, was, now)
        }
        // Everybody is placed anew: a session stays only by chance.
        var stays = 0.0
        for i in was.config.versions.indices {
            guard let j = now.config.versions.indices.first(where: { now.name($0) == was.name(i) })
            else { continue }
            stays += before.share(of: i) * after.share(of: j)
        }
        return 1 - stays
    }

    /// How far another salt moves the position that an issued cookie has; `nil` where sessions are
    /// known by something else than before, or by a hash that another salt makes another.
    private static func shift(_ was: Aim, _ now: Aim) -> UInt64? {
        guard let a = was.config.sticky, let b = now.config.sticky, a.issue != nil,
            a.issue == b.issue, a.source == b.source, a.name == b.name
        else { return nil }
        return XXH64.hash(b.salt, seed: 0) &- XXH64.hash(a.salt, seed: 0)
    }

    /// The share of sessions that a shift of all positions moves, by so many positions.
    private static func shifted(
        by shift: UInt64, _ before: borrowing SessionIntervals,
        _ after: borrowing SessionIntervals, _ was: Aim,
        _ now: Aim
    ) -> Double {
        let count: UInt64 = 1 << 14
        var moved = 0
        for i in 0..<count {
            let position = i << 50 | 1 << 49
            let old = was.name(before.version(at: position))
            if old != now.name(after.version(at: position &+ shift)) { moved += 1 }
        }
        return Double(moved) / Double(count)
    }

    static func percent(_ weight: Int, _ weights: SplitWeights) -> String {
        let hundredths = (weight * 1_000_000 / weights.sum + 50) / 100
        let rest = hundredths % 100
        let decimals = rest == 0 ? "" : ".\(rest / 10)\(rest % 10)"
        return "\(hundredths / 100)\(decimals) %"
    }

    static func percent(_ share: Double) -> String {
        let hundredths = Int((share * 10_000).rounded())
        return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10) %"
    }
}

// MARK: Output

extension ConfigurationDiff {
    /// Writes the difference for people to read.
    ///
    /// - Parameters old, new: names of the two files.
    public func text(old: String, new: String) -> String {
        if isSame { return "no differences\n" }
        var text = ""
        for change in changes {
            text += "\(change.place): \(ConfigurationDiff.words(change))\n"
            let places = [(old, change.oldMark), (new, change.newMark)].compactMap { file, mark in
                mark.map { "\(file):\($0.line):\($0.column)" }
            }
            if !places.isEmpty { text += "    \(places.joined(separator: " → "))\n" }
        }
        if !shifts.isEmpty { text += "\nwho moves\n" }
        for shift in shifts {
            var parts = shift.text.isEmpty ? [] : [shift.text]
            if let moved = shift.sessionsMoved {
                parts.append("sessions that move: \(ConfigurationDiff.percent(moved))")
            }
            text += "  route \(shift.route): \(parts.joined(separator: "; "))\n"
        }
        if !overlays.isEmpty { text += "\nweights over the file's\n" }
        for sentence in overlays { text += "  \(sentence)\n" }
        if !effects.isEmpty { text += "\nwhat a reload does\n" }
        for effect in effects { text += "  \(effect)\n" }
        return text
    }

    private static func words(_ change: FieldChange) -> String {
        func side(_ text: String?, _ mark: YAMLMark?) -> String {
            guard let text else { return "not given" }
            return mark == nil ? "not given (\(text))" : text
        }
        switch change.kind {
        // What holds without being given has no place.
        case .added:
            return "added, \(change.new ?? "")" + (change.newMark == nil ? " (by default)" : "")
        case .removed:
            return "removed, \(change.old ?? "")" + (change.oldMark == nil ? " (by default)" : "")
        case .moved: return "moved, \(change.old ?? "") → \(change.new ?? "")"
        case .changed:
            return side(change.old, change.oldMark) + " → " + side(change.new, change.newMark)
        }
    }

    public func json(old: String, new: String) -> JSONText {
        func place(_ file: String, _ mark: YAMLMark?) -> JSONText {
            guard let mark else { return .null }
            return .object([
                ("file", .string(file)), ("line", .integer(mark.line)),
                ("column", .integer(mark.column)),
            ])
        }
        func text(_ text: String?) -> JSONText { text.map { .string($0) } ?? .null }
        return .object([
            ("same", .bool(isSame)),
            (
                "changes",
                .array(
                    changes.map { change in
                        .object([
                            ("field", .string(change.place)),
                            ("kind", .string(change.kind.rawValue)),
                            ("old", text(change.old)), ("new", text(change.new)),
                            ("oldPlace", place(old, change.oldMark)),
                            ("newPlace", place(new, change.newMark)),
                        ])
                    })
            ),
            (
                "routes",
                .array(
                    shifts.map { shift in
                        .object([
                            ("route", .string(shift.route)), ("text", .string(shift.text)),
                            ("sessionsMoved", shift.sessionsMoved.map { .number($0) } ?? .null),
                        ])
                    })
            ),
            ("overlays", .array(overlays.map { .string($0) })),
            ("effects", .array(effects.map { .string($0) })),
        ])
    }
}
