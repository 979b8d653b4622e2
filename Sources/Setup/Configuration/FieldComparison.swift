import Base
import YAML

/// One field whose meaning differs between two files.
public struct FieldChange: Sendable {
    public enum Kind: String, Sendable { case added, removed, changed, moved }

    public var kind: Kind
    /// The keys that lead to the field; elements of lists by their names: `routes.rest.rewrite`.
    public var path: [String]
    /// The old value as the file writes it; `nil` when it is not given.
    public var old: String?
    public var new: String?
    public var oldMark: YAMLMark?
    public var newMark: YAMLMark?

    public var place: String { path.joined(separator: ".") }
}

/// Compares two checked trees along the field table, so that every key of the table takes part.
///
/// Values are compared by what they mean (`1000ms` is `1s`, a default that is written down is what
/// leaving it out is) and shown as the files write them.
public struct FieldComparison {
    public private(set) var changes: [FieldChange] = []
    private let roots: (old: YAMLNode, new: YAMLNode)

    /// - Parameters old, new: trees in which `SchemaChecker` found nothing wrong.
    public init(old: YAMLNode, new: YAMLNode) {
        roots = (old, new)
        fields(Side(old), Side(new), .document, [])
    }

    /// A node of one file, or the place where it would stand.
    private struct Side {
        var node: YAMLNode?
        var key: YAMLMark?
        /// The value that holds when the field is not given, as the file would write it.
        var fallback: String?

        init(_ node: YAMLNode?, key: YAMLMark? = nil, fallback: String? = nil) {
            self.node = node
            self.key = key
            self.fallback = fallback
        }

        func child(_ name: String, fallback: String?) -> Side {
            let entry = node?.entries.first { $0.key == name }
            return Side(entry?.value, key: entry?.keyStart, fallback: fallback)
        }

        /// The scalar's text, or what holds without it.
        var text: String? { node == nil ? fallback : node?.text }
        var mark: YAMLMark? { key ?? node?.start }
    }

    private mutating func report(
        _ kind: FieldChange.Kind, _ path: [String], _ old: Side, _ new: Side
    ) {
        func shown(_ side: Side) -> String? {
            side.node.map { FieldComparison.text($0, at: path) } ?? side.fallback
        }
        // Elements of a list that holds without being written stand nowhere.
        func mark(_ side: Side) -> YAMLMark? {
            side.node == nil || side.mark?.line == 0 ? nil : side.mark
        }
        var change = FieldChange(
            kind: kind, path: path, old: shown(old), new: shown(new), oldMark: mark(old),
            newMark: mark(new))
        if kind == .changed, change.old == nil { change.kind = .added }
        if kind == .changed, change.new == nil { change.kind = .removed }
        changes.append(change)
    }

    /// One of the two is not given.
    private mutating func reportPresence(_ path: [String], _ old: Side, _ new: Side) {
        report(old.node == nil ? .added : .removed, path, old, new)
    }

    // MARK: Kinds

    private mutating func value(_ old: Side, _ new: Side, _ type: ValueType, _ path: [String]) {
        if old.node == nil, new.node == nil { return }
        switch type {
        case .object(let schema):
            if old.node == nil || new.node == nil, !schema.isGroup {
                return reportPresence(path, old, new)
            }
            fields(old, new, schema, path)
        case .list(.object(let schema))
        where schema.spec(named: "name")?.isRequired == true
            || schema.name == ObjectSchema.rolloutPlan.name:
            named(old, new, schema, path)
        case .list(.object(let schema)): listed(old, new, schema, path)
        case .list(let element): scalars(old, new, element, path)
        case .map(let element, let keys): mapped(old, new, element, keys, path)
        case .either(let types): either(old, new, types, path)
        default:
            let was = FieldComparison.meaning(old.text, type)
            let now = FieldComparison.meaning(new.text, type)
            if was == now { return }
            report(.changed, path, old, new)
        }
    }

    private mutating func fields(
        _ old: Side, _ new: Side, _ schema: ObjectSchema, _ path: [String]
    ) {
        for field in schema.fields {
            let before = old.child(
                field.name, fallback: fallback(field, old.node, path, roots.old))
            let after = new.child(field.name, fallback: fallback(field, new.node, path, roots.new))
            value(before, after, field.type, path + [field.name])
        }
    }

    private mutating func either(
        _ old: Side, _ new: Side, _ types: [ValueType], _ path: [String]
    ) {
        let before = FieldComparison.unfolded(old, types),
            after = FieldComparison.unfolded(
                new, types)
        let was = FieldComparison.shape(before, types), now = FieldComparison.shape(after, types)
        switch (was, now) {
        case (let was?, let now?) where was != now: report(.changed, path, old, new)
        case (let place?, _), (nil, let place?): value(before, after, types[place], path)
        case (nil, nil): break
        }
    }

    /// Which of the types a node has; a scalar that is not given has the scalar type, where the
    /// table knows what holds without it.
    private static func shape(_ side: Side, _ types: [ValueType]) -> Int? {
        let written = side.fallback.map { YAMLNode.Content.scalar($0, isQuoted: false) }
        guard let content = side.node?.content ?? written else { return nil }
        // Of several scalar types the last knows units besides words.
        return types.lastIndex { type in
            switch (type, content) {
            case (.object, .mapping), (.map, .mapping), (.list, .sequence): return true
            case (.object, _), (.map, _), (.list, _): return false
            case (_, .scalar): return true
            default: return false
            }
        }
    }

    /// Short forms written out: `admin: ADDRESS`, `warmup: 30s`, a value that is compared exactly,
    /// a single match.
    private static func unfolded(_ side: Side, _ types: [ValueType]) -> Side {
        let nowhere = YAMLMark(line: 0, column: 0)
        // What holds without being written stands nowhere.
        let written = side.fallback.map {
            YAMLNode(content: .scalar($0, isQuoted: false), start: nowhere, end: nowhere)
        }
        guard let node = side.node ?? written else { return side }
        var side = side
        let object = types.lazy.compactMap { type -> ObjectSchema? in
            if case .object(let schema) = type { schema } else { nil }
        }.first
        let isPlainWord = node.text.map { isWord($0, of: types) } ?? false
        if let key = object?.shortFor {
            let isMapping = if case .mapping = node.content { true } else { false }
            if !isMapping, !isPlainWord {
                let entry = YAMLNode.Entry(key: key, keyStart: node.start, value: node)
                side.node = YAMLNode(content: .mapping([entry]), start: node.start, end: node.end)
            }
        } else if types.contains(where: { isList($0, of: node) }) {
            side.node = YAMLNode(content: .sequence([node]), start: node.start, end: node.end)
        }
        return side
    }

    /// Whether a type is a list whose single element may stand without brackets.
    private static func isList(_ type: ValueType, of node: YAMLNode) -> Bool {
        guard case .list(let element) = type else { return false }
        if case .object = element, case .mapping = node.content { return true }
        return node.text != nil
    }

    private static func isWord(_ text: String, of types: [ValueType]) -> Bool {
        types.contains { type in
            switch type {
            case .choice(let words): return words.contains(text)
            case .duration(let word?): return word == text
            default: return false
            }
        }
    }

    // MARK: Lists and maps

    private mutating func named(
        _ old: Side, _ new: Side, _ schema: ObjectSchema, _ path: [String]
    ) {
        func entries(_ side: Side) -> [(String, Side)] {
            (side.node?.elements ?? []).map { node in
                // A plan has its service's name where it has none of its own.
                ((node["name"] ?? node["service"])?.text ?? "", Side(node))
            }
        }
        keyed(entries(old), entries(new), .object(schema), path, isOrdered: schema.name == "route")
    }

    private mutating func mapped(
        _ old: Side, _ new: Side, _ element: ValueType, _ keys: ValueType.KeyKind, _ path: [String]
    ) {
        func entries(_ side: Side) -> [(String, Side)] {
            (side.node?.entries ?? []).map { entry in
                let key = keys == .headers ? entry.key.lowercased() : entry.key
                return (key, Side(entry.value, key: entry.keyStart))
            }
        }
        // Sessions' intervals follow the order of the versions.
        keyed(
            entries(old), entries(new), element, path, isOrdered: path.last == "versions")
    }

    private mutating func keyed(
        _ old: [(String, Side)], _ new: [(String, Side)], _ type: ValueType, _ path: [String],
        isOrdered: Bool
    ) {
        var before: [String: Side] = [:], after: Set<String> = []
        for (name, side) in old { before[name] = side }
        for (name, side) in new {
            after.insert(name)
            guard let was = before[name] else {
                report(.added, path + [name], Side(nil), side)
                continue
            }
            value(was, side, type, path + [name])
        }
        for (name, side) in old where !after.contains(name) {
            report(.removed, path + [name], side, Side(nil))
        }
        if isOrdered {
            order(
                old.filter { after.contains($0.0) }, new.filter { before[$0.0] != nil }, path)
        }
    }

    /// Elements that changed places, as few as explain the new order.
    private mutating func order(
        _ old: [(String, Side)], _ new: [(String, Side)], _ path: [String]
    ) {
        var places: [String: Int] = [:]
        for (i, entry) in old.enumerated() { places[entry.0] = i }
        let sequence = new.compactMap { places[$0.0] }
        guard sequence.count == new.count else { return }
        let kept = FieldComparison.longestRise(sequence)
        for (i, place) in sequence.enumerated() where !kept.contains(place) {
            changes.append(
                FieldChange(
                    kind: .moved, path: path + [new[i].0], old: "place \(place + 1)",
                    new: "place \(i + 1)", oldMark: old[place].1.mark, newMark: new[i].1.mark))
        }
    }

    /// The elements of a longest rising subsequence (patience sorting).
    private static func longestRise(_ sequence: [Int]) -> Set<Int> {
        var tails: [Int] = [], before = [Int](repeating: -1, count: sequence.count)
        for (i, value) in sequence.enumerated() {
            var low = 0, high = tails.count
            while low < high {
                let middle = (low + high) / 2
                if sequence[tails[middle]] < value { low = middle + 1 } else { high = middle }
            }
            if low > 0 { before[i] = tails[low - 1] }
            if low == tails.count { tails.append(i) } else { tails[low] = i }
        }
        var kept: Set<Int> = []
        var at = tails.last ?? -1
        while at >= 0 {
            kept.insert(sequence[at])
            at = before[at]
        }
        return kept
    }

    /// Objects without names: what is equal at the beginning and at the end is left out, the rest
    /// is compared by position.
    private mutating func listed(
        _ old: Side, _ new: Side, _ schema: ObjectSchema, _ path: [String]
    ) {
        let before = old.node?.elements ?? [], after = new.node?.elements ?? []
        func isEqual(_ a: YAMLNode, _ b: YAMLNode) -> Bool {
            var trial = self
            trial.changes = []
            trial.fields(Side(a), Side(b), schema, path)
            return trial.changes.isEmpty
        }
        var start = 0, end = 0
        while start < min(before.count, after.count), isEqual(before[start], after[start]) {
            start += 1
        }
        while end < min(before.count, after.count) - start,
            isEqual(before[before.count - 1 - end], after[after.count - 1 - end])
        {
            end += 1
        }
        let olds = before[start..<(before.count - end)], news = after[start..<(after.count - end)]
        let isSingle = before.count == 1 && after.count == 1
        for i in start..<max(olds.endIndex, news.endIndex) {
            let a = Side(i < olds.endIndex ? before[i] : nil)
            let b = Side(i < news.endIndex ? after[i] : nil)
            value(a, b, .object(schema), isSingle ? path : path + ["\(i + 1)"])
        }
    }

    /// Values in any order, which only the arguments of commands have.
    private mutating func scalars(
        _ old: Side, _ new: Side, _ element: ValueType, _ path: [String]
    ) {
        if path.last == "command" {
            func arguments(_ side: Side) -> [String?] { (side.node?.elements ?? []).map(\.text) }
            if arguments(old) != arguments(new) { report(.changed, path, old, new) }
            return
        }
        func nodes(_ side: Side) -> [YAMLNode] {
            if let node = side.node { return node.elements }
            let words = (side.fallback ?? "").filter { $0 != "[" && $0 != "]" && $0 != " " }
            let nowhere = YAMLMark(line: 0, column: 0)
            return words.split(separator: ",").map {
                YAMLNode(
                    content: .scalar(String($0), isQuoted: false), start: nowhere, end: nowhere)
            }
        }
        func counts(_ nodes: [YAMLNode]) -> [String: Int] {
            nodes.reduce(into: [:]) {
                $0[FieldComparison.meaning($1.text, element) ?? "", default: 0] += 1
            }
        }
        /// The nodes that the other side has not.
        func others(_ nodes: [YAMLNode], than left: [String: Int]) -> [YAMLNode] {
            var left = left
            return nodes.filter { node in
                let meaning = FieldComparison.meaning(node.text, element) ?? ""
                guard let count = left[meaning], count > 0 else { return true }
                left[meaning] = count - 1
                return false
            }
        }
        let before = nodes(old), after = nodes(new)
        for node in others(before, than: counts(after)) {
            report(.removed, path, Side(node), Side(nil))
        }
        for node in others(after, than: counts(before)) {
            report(.added, path, Side(nil), Side(node))
        }
    }
}
