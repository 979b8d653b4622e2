import Base
import HTTPSemantics
import RE2

/// All matches of all routes, compiled: which route a request takes. Immutable; any thread may
/// read.
///
/// The first route in listed order that matches wins, and nothing else decides. The index only
/// leaves out matches that cannot hold (`RouteIndex`), so the answer is that of a walk from the
/// top.
public struct RouteTable: ~Copyable, Sendable {
    /// Consecutive elements of one of the table's arrays.
    struct Run: BitwiseCopyable {
        var start: Int
        var end: Int
        var isEmpty: Bool { start == end }
    }

    struct ArrivalRule: BitwiseCopyable {
        /// Whether the match asks for nothing.
        var isAny: Bool
        var scheme: RequestScheme?
        /// A run in `listeners`; no listeners means any.
        var listeners: Run
    }

    struct Entry: BitwiseCopyable {
        var route: UInt32
        var arrival: ArrivalRule
        /// A run in `hosts`; no hosts means any.
        var hosts: Run
        var path: CompiledPath
        /// A bit per `Method`; 0 means any. Methods by other names are conditions.
        var methodBits: UInt16
        var otherMethods: Run
        var values: Run
        /// A run in `furtherPaths`.
        var furtherPaths: Run
    }

    let entries: FixedArray<Entry>
    let hosts: FixedArray<CompiledHost>
    let furtherPaths: FixedArray<CompiledPath>
    let methodNames: FixedArray<ByteRange>
    let values: FixedArray<CompiledValue>
    /// Listeners' numbers.
    let listeners: FixedArray<Int>
    let store: ByteStore
    let expressions: [RegularExpression]
    let index: RouteIndex
    /// Some match looks at the host; without one it need not be prepared.
    public let looksAtHost: Bool
    /// Some match looks at the listener or at the scheme.
    public let looksAtArrival: Bool
    private let addressOnly = AddressOnly()

    /// - Parameters:
    ///   - routes: for each route its matches; a route without any takes every request.
    ///   - listenerNumber: the number by which requests' listeners are known, by name.
    public init(routes: [[MatchRule]], listenerNumber: @escaping (String) -> Int = { _ in -2 }) {
        self.init(
            numbered: routes.enumerated().map { ($0, $1) }, listenerNumber: listenerNumber)
    }

    /// - Parameter numbered: routes in the order in which they are tried, each by the number that
    ///   `match` answers with.
    public init(
        numbered: [(route: Int, matches: [MatchRule])],
        listenerNumber: @escaping (String) -> Int = { _ in -2 }
    ) {
        var builder = RouteTableBuilder(listenerNumber: listenerNumber)
        for (route, matches) in numbered {
            for match in matches.isEmpty ? [MatchRule()] : matches {
                builder.add(match, route: UInt32(route))
            }
        }
        entries = FixedArray(builder.entries)
        hosts = FixedArray(builder.hosts)
        furtherPaths = FixedArray(builder.furtherPaths)
        methodNames = FixedArray(builder.methodNames)
        values = FixedArray(builder.values)
        listeners = FixedArray(builder.listeners)
        looksAtArrival = builder.entries.contains { !$0.arrival.isAny }
        expressions = builder.expressions
        index = RouteIndex(builder.keys)
        looksAtHost = !builder.hosts.isEmpty
        store = builder.finishStore()
    }

    /// The number of matches in all; at least one for each route.
    public var matchCount: Int { entries.count }

    /// The route that takes the request, by position, or `nil`.
    ///
    /// - Parameters:
    ///   - bytes: the head's bytes, to which `head`'s positions refer.
    ///   - host: lower case, without port.
    ///   - path: in normal form.
    ///   - arrival: where and how the request came in.
    public func match(
        head: borrowing RequestHead, bytes: Span<UInt8>, host: Span<UInt8>, path: Span<UInt8>,
        arrival: Arrival = .none
    ) -> Int? {
        if index.isUseful {
            return matchByIndex(
                head: head, bytes: bytes, host: host, path: path, arrival: arrival)
        }
        return walk(head: head, bytes: bytes, host: host, path: path, arrival: arrival)
    }

    private func walk(
        head: borrowing RequestHead, bytes: Span<UInt8>, host: Span<UInt8>, path: Span<UInt8>,
        arrival: Arrival
    ) -> Int? {
        for i in 0..<entries.count {
            let failure = failure(
                of: i, head: head, bytes: bytes, host: host, path: path, arrival: arrival)
            if failure == .none { return Int(entries[i].route) }
        }
        return nil
    }

    private func matchByIndex(
        head: borrowing RequestHead, bytes: Span<UInt8>, host: Span<UInt8>, path: Span<UInt8>,
        arrival: Arrival
    ) -> Int? {
        var best = entries.count
        var lists = RouteIndex.Lists()
        index.find(host: host, path: path, into: &lists)
        if lists.isOverfull {
            return walk(head: head, bytes: bytes, host: host, path: path, arrival: arrival)
        }
        for list in 0..<lists.count {
            // Candidates stand in listed order: the first that holds is the list's best.
            for i in lists.start(list)..<lists.end(list) {
                let candidate = Int(index.candidates[i])
                if candidate >= best { break }
                let failure = failure(
                    of: candidate, head: head, bytes: bytes, host: host, path: path,
                    arrival: arrival)
                if failure == .none {
                    best = candidate
                    break
                }
            }
        }
        return best < entries.count ? Int(entries[best].route) : nil
    }

    /// Why the n-th match does not hold, or `.none` when it does.
    public func failure(
        of match: Int, head: borrowing RequestHead, bytes: Span<UInt8>, host: Span<UInt8>,
        path: Span<UInt8>, arrival: Arrival = .none
    ) -> MatchFailure {
        // Conditions that a match does not have cost a comparison and no call.
        if !entries[match].arrival.isAny {
            let failure = arrivalFailure(entries[match].arrival, arrival)
            if failure != .none { return failure }
        }
        if !entries[match].hosts.isEmpty, !hostHolds(entries[match].hosts, host) { return .host }
        if entries[match].path.kind != .any, !pathHolds(entries[match].path, path) { return .path }
        let bits = entries[match].methodBits
        if bits != 0 || !entries[match].otherMethods.isEmpty,
            bits & (1 << UInt16(head.method.rawValue)) == 0,
            !nameHolds(entries[match].otherMethods, head, bytes)
        {
            return .method
        }
        let run = entries[match].values
        for i in run.start..<run.end where !valueHolds(values[i], head, bytes) {
            return .value(i - run.start)
        }
        if !entries[match].furtherPaths.isEmpty,
            !furtherPathsHold(entries[match].furtherPaths, path)
        {
            return .path
        }
        return .none
    }

    /// The route that the n-th match belongs to.
    public func route(ofMatch match: Int) -> Int { Int(entries[match].route) }

    // MARK: Conditions

    @inline(never)
    private func arrivalFailure(_ rule: ArrivalRule, _ arrival: Arrival) -> MatchFailure {
        if let scheme = rule.scheme, scheme != arrival.scheme { return .scheme }
        if rule.listeners.isEmpty { return .none }
        for i in rule.listeners.start..<rule.listeners.end where listeners[i] == arrival.listener {
            return .none
        }
        return .listener
    }

    private func hostHolds(_ run: Run, _ host: Span<UInt8>) -> Bool {
        for i in run.start..<run.end {
            let pattern = hosts[i]
            let text = store.bytes(pattern.text)
            switch pattern.kind {
            case .any: return true
            case .exact: if ASCII.equal(host, text) { return true }
            case .suffix:
                // "*.example.com" keeps ".example.com"; at least one label must stand before it.
                if host.count > text.count,
                    ASCII.equal(host.extracting((host.count - text.count)..<host.count), text)
                {
                    return true
                }
            }
        }
        return false
    }

    @inline(never)
    private func furtherPathsHold(_ run: Run, _ path: Span<UInt8>) -> Bool {
        for i in run.start..<run.end where !pathHolds(furtherPaths[i], path) { return false }
        return true
    }

    private func pathHolds(_ rule: CompiledPath, _ path: Span<UInt8>) -> Bool {
        let text = store.bytes(rule.text)
        switch rule.kind {
        case .any: return true
        case .exact: return ASCII.equal(path, text)
        case .prefix:
            guard path.count >= text.count, ASCII.equal(path.extracting(0..<text.count), text)
            else {
                return false
            }
            return path.count == text.count || path[text.count] == 0x2f || text.isEmpty
        case .template: return PathTemplate.matches(text, path)
        case .regex: return expressions[Int(rule.expression)].matches(path)
        }
    }

    private func nameHolds(
        _ run: Run, _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> Bool {
        for i in run.start..<run.end
        where ASCII.equal(store.bytes(methodNames[i]), bytes.extracting(head.methodName.range)) {
            return true
        }
        return false
    }

    private func valueHolds(
        _ rule: CompiledValue, _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> Bool {
        let found: Bool
        switch rule.source {
        case .header: found = headerHolds(rule, head, bytes)
        case .cookie: found = cookieHolds(rule, head, bytes)
        case .query: found = queryHolds(rule, head, bytes)
        }
        return found != rule.isNegated
    }

    private func headerHolds(
        _ rule: CompiledValue, _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> Bool {
        let name = store.bytes(rule.name)
        for i in 0..<head.fields.count {
            let field = head.fields[i]
            guard field.name.length == name.count, rule.known == field.known,
                ASCII.equalFold(bytes.extracting(field.name.range), name)
            else { continue }
            if patternHolds(rule, bytes.extracting(field.value.range)) { return true }
        }
        return false
    }

    private func cookieHolds(
        _ rule: CompiledValue, _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> Bool {
        let name = store.bytes(rule.name)
        for i in 0..<head.fields.count where head.fields[i].known == .cookie {
            let field = bytes.extracting(head.fields[i].value.range)
            if let value = Cookie.value(named: name, in: field),
                patternHolds(rule, field.extracting(value.range))
            {
                return true
            }
        }
        return false
    }

    /// Query parameters are compared as they are written, without decoding.
    private func queryHolds(
        _ rule: CompiledValue, _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> Bool {
        let name = store.bytes(rule.name)
        let query = bytes.extracting(head.query.range)
        var at = 0
        while at < query.count {
            let start = at
            while at < query.count, query[at] != 0x26 { at += 1 }
            let pair = query.extracting(start..<at)
            at += 1
            let split = ASCII.index(of: 0x3d, in: pair)
            if ASCII.equal(pair.extracting(0..<(split ?? pair.count)), name) {
                let value = split.map { $0 + 1 } ?? pair.count
                if patternHolds(rule, pair.extracting(value..<pair.count)) { return true }
            }
        }
        return false
    }

    private func patternHolds(_ rule: CompiledValue, _ value: Span<UInt8>) -> Bool {
        let text = store.bytes(rule.text)
        switch rule.kind {
        case .present: return true
        case .exact: return ASCII.equal(value, text)
        case .prefix:
            return value.count >= text.count && ASCII.equal(value.extracting(0..<text.count), text)
        case .suffix:
            return value.count >= text.count
                && ASCII.equal(value.extracting((value.count - text.count)..<value.count), text)
        case .regex: return expressions[Int(rule.expression)].matches(value)
        }
    }
}
