import Base
import HTTPSemantics
import RE2

// The compiled forms of matchers: plain values that name their texts in the table's store.

/// A rule for the host.
struct CompiledHost: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable { case any, exact, suffix }
    var kind: Kind
    var text: ByteRange
}

/// A rule for the path. `expression` is the place of a `.regex` in the table's expressions.
struct CompiledPath: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable { case any, exact, prefix, template, regex }
    var kind: Kind
    var text: ByteRange
    var expression: UInt32 = 0
}

/// A rule for a field, a cookie or a query parameter. `expression` is the place of a `.regex` in
/// the table's expressions.
struct CompiledValue: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable { case present, exact, prefix, suffix, regex }
    var source: ValueRule.Source
    var kind: Kind
    var isNegated: Bool
    var known: KnownField
    var name: ByteRange
    var text: ByteRange
    var expression: UInt32 = 0
}

/// `/users/{id}/orders`: literal elements, and `{name}` for any one element that is not empty.
enum PathTemplate {
    static func matches(_ template: Span<UInt8>, _ path: Span<UInt8>) -> Bool {
        var t = 0, p = 0
        while t < template.count {
            if template[t] == UInt8(ascii: "{") {
                while t < template.count, template[t] != 0x2f { t += 1 }
                let start = p
                while p < path.count, path[p] != 0x2f { p += 1 }
                if p == start { return false }
            } else {
                guard p < path.count, path[p] == template[t] else { return false }
                t += 1
                p += 1
            }
        }
        return p == path.count
    }

    /// The elements before the first variable, without the slash behind them.
    static func literalPrefix(_ template: String) -> String {
        guard let brace = template.firstIndex(of: "{") else { return template }
        var prefix = template[..<brace]
        while prefix.last == "/" { prefix = prefix.dropLast() }
        return String(prefix)
    }
}

/// Collects what `RouteTable` is made of.
struct RouteTableBuilder: ~Copyable {
    var entries: [RouteTable.Entry] = []
    var hosts: [CompiledHost] = []
    var furtherPaths: [CompiledPath] = []
    var methodNames: [ByteRange] = []
    var values: [CompiledValue] = []
    var listeners: [Int] = []
    var expressions: [RegularExpression] = []
    var keys: [[RouteIndex.Key]] = []
    private var store = ByteStore()

    /// The number of a listener by its name.
    private let listenerNumber: (String) -> Int

    init(listenerNumber: @escaping (String) -> Int) { self.listenerNumber = listenerNumber }

    consuming func finishStore() -> ByteStore { store }

    mutating func add(_ match: MatchRule, route: UInt32) {
        let hostStart = hosts.count
        for host in match.hosts { hosts.append(compile(host: host)) }
        let path = compile(path: match.path)
        let pathStart = furtherPaths.count
        for path in match.furtherPaths { furtherPaths.append(compile(path: path)) }
        let nameStart = methodNames.count
        var bits: UInt16 = 0
        for name in match.methods {
            let method = Method(Array(name.utf8).span)
            if method == .other {
                methodNames.append(store.intern(name))
            } else {
                bits |= 1 << UInt16(method.rawValue)
            }
        }
        let valueStart = values.count
        for value in match.values { values.append(compile(value)) }
        let listenerStart = listeners.count
        for name in match.listeners { listeners.append(listenerNumber(name)) }
        entries.append(
            RouteTable.Entry(
                route: route,
                arrival: RouteTable.ArrivalRule(
                    isAny: match.listeners.isEmpty && match.scheme == nil, scheme: match.scheme,
                    listeners: .init(start: listenerStart, end: listeners.count)),
                hosts: .init(start: hostStart, end: hosts.count), path: path,
                methodBits: bits,
                otherMethods: .init(start: nameStart, end: methodNames.count),
                values: .init(start: valueStart, end: values.count),
                furtherPaths: .init(start: pathStart, end: furtherPaths.count)))
        keys.append(RouteIndex.keys(for: match))
    }

    private mutating func compile(host: String) -> CompiledHost {
        if host == "*" { return CompiledHost(kind: .any, text: .empty) }
        if host.hasPrefix("*.") {
            return CompiledHost(kind: .suffix, text: store.intern(String(host.dropFirst())))
        }
        return CompiledHost(kind: .exact, text: store.intern(host))
    }

    private mutating func compile(path: PathRule?) -> CompiledPath {
        switch path {
        case nil: return CompiledPath(kind: .any, text: .empty)
        case .exact(let text): return CompiledPath(kind: .exact, text: store.intern(text))
        case .prefix(let text):
            return CompiledPath(kind: .prefix, text: store.intern(RouteIndex.trimmed(text)))
        case .template(let text): return CompiledPath(kind: .template, text: store.intern(text))
        case .regex(let expression):
            expressions.append(expression)
            return CompiledPath(
                kind: .regex, text: .empty, expression: UInt32(expressions.count - 1))
        }
    }

    private mutating func compile(_ rule: ValueRule) -> CompiledValue {
        let known: KnownField =
            rule.source == .header ? KnownField.intern(Array(rule.name.utf8).span) : .other
        var compiled = CompiledValue(
            source: rule.source, kind: .present, isNegated: rule.isNegated, known: known,
            name: store.intern(rule.name), text: .empty)
        switch rule.pattern {
        case .present: break
        case .exact(let text):
            compiled.kind = .exact
            compiled.text = store.intern(text)
        case .prefix(let text):
            compiled.kind = .prefix
            compiled.text = store.intern(text)
        case .suffix(let text):
            compiled.kind = .suffix
            compiled.text = store.intern(text)
        case .regex(let expression):
            compiled.kind = .regex
            expressions.append(expression)
            compiled.expression = UInt32(expressions.count - 1)
        }
        return compiled
    }
}
