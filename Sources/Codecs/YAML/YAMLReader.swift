import CYAML

/// Reads YAML text into nodes through libyaml's events, within limits.
///
/// Differences from YAML 1.1: every scalar is text, keys are scalars, duplicate keys are errors,
/// tags are ignored. Merge keys (`<<`) are followed.
@safe public struct YAMLReader: ~Copyable {
    public struct Limits: Sendable {
        public var bytesMax = 4 << 20
        public var depthMax = 64
        /// Nodes in all, those that aliases repeat counted each time.
        public var nodesMax = 500_000
        public init() {}
    }

    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let limits: Limits
    /// The whole text, which outlives the reader.
    private let bytes: UnsafeBufferPointer<UInt8>
    private var anchors: [String: YAMLNode] = [:]
    private var nodeCount = 0

    /// All documents of a text; a document without content is left out.
    public static func documents(
        _ bytes: [UInt8], limits: Limits = Limits()
    ) throws(YAMLError) -> [YAMLNode] {
        guard bytes.count <= limits.bytesMax else {
            throw YAMLError(
                message: "the file has \(bytes.count) bytes, the limit is \(limits.bytesMax)",
                mark: YAMLMark(line: 1, column: 1))
        }
        let outcome: Result<[YAMLNode], YAMLError> = unsafe bytes.withUnsafeBufferPointer { p in
            var reader = unsafe YAMLReader(p, limits: limits)
            do throws(YAMLError) {
                return .success(try reader.stream())
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    private init(_ bytes: UnsafeBufferPointer<UInt8>, limits: Limits) {
        unsafe self.bytes = bytes
        unsafe parser = .allocate(capacity: 1)
        unsafe yaml_parser_initialize(parser)
        unsafe yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
        self.limits = limits
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
    }

    // MARK: Events

    /// One event, copied out of libyaml's memory.
    private struct Event {
        enum Kind {
            case alias, scalar, sequenceStart, mappingStart, end, documentStart, streamEnd, other
        }
        var kind: Kind
        var text = ""
        var anchor: String?
        var isQuoted = false
        var start: YAMLMark
        var end: YAMLMark
    }

    private static func mark(_ mark: yaml_mark_t) -> YAMLMark {
        YAMLMark(line: mark.line + 1, column: mark.column + 1)
    }

    private static func string(_ p: UnsafeMutablePointer<UInt8>?) -> String? {
        guard let p = unsafe p else { return nil }
        return unsafe String(cString: p)
    }

    private mutating func next() throws(YAMLError) -> Event {
        var raw = unsafe yaml_event_t()
        guard unsafe yaml_parser_parse(parser, &raw) == 1 else { throw syntaxError() }
        defer { unsafe yaml_event_delete(&raw) }
        let start = unsafe YAMLReader.mark(raw.start_mark),
            end = unsafe YAMLReader.mark(raw.end_mark)
        var event = Event(kind: .other, start: start, end: end)
        switch unsafe raw.type {
        case YAML_ALIAS_EVENT:
            event.kind = .alias
            event.anchor = unsafe YAMLReader.string(raw.data.alias.anchor)
        case YAML_SCALAR_EVENT:
            event.kind = .scalar
            let scalar = unsafe raw.data.scalar
            event.anchor = unsafe YAMLReader.string(scalar.anchor)
            event.isQuoted = unsafe scalar.style != YAML_PLAIN_SCALAR_STYLE
            event.text = unsafe String(
                decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length),
                as: UTF8.self)
        case YAML_SEQUENCE_START_EVENT:
            event.kind = .sequenceStart
            event.anchor = unsafe YAMLReader.string(raw.data.sequence_start.anchor)
        case YAML_MAPPING_START_EVENT:
            event.kind = .mappingStart
            event.anchor = unsafe YAMLReader.string(raw.data.mapping_start.anchor)
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: event.kind = .end
        case YAML_DOCUMENT_START_EVENT: event.kind = .documentStart
        case YAML_STREAM_END_EVENT: event.kind = .streamEnd
        default: break
        }
        return event
    }

    private func syntaxError() -> YAMLError {
        var message = "this is not YAML"
        if let problem = unsafe parser.pointee.problem { message = unsafe String(cString: problem) }
        var mark = unsafe YAMLReader.mark(parser.pointee.problem_mark)
        // Bytes that are no text are met before libyaml has a place: only their offset is known.
        if unsafe parser.pointee.error == YAML_READER_ERROR {
            mark = unsafe YAMLReader.mark(of: parser.pointee.problem_offset, in: bytes)
        }
        var error = YAMLError(message: message, mark: mark)
        if let context = unsafe parser.pointee.context {
            error.context = unsafe String(cString: context)
            error.contextMark = unsafe YAMLReader.mark(parser.pointee.context_mark)
        }
        return error
    }

    /// The place of a byte, whatever stands there.
    private static func mark(of offset: Int, in bytes: UnsafeBufferPointer<UInt8>) -> YAMLMark {
        var mark = YAMLMark(line: 1, column: 1)
        for i in 0..<min(offset, bytes.count) {
            let byte = unsafe bytes[i]
            if byte == UInt8(ascii: "\n") {
                mark = YAMLMark(line: mark.line + 1, column: 1)
            } else if byte & 0xc0 != 0x80 {
                mark.column += 1
            }
        }
        return mark
    }

    // MARK: Nodes

    private mutating func stream() throws(YAMLError) -> [YAMLNode] {
        var documents: [YAMLNode] = []
        while true {
            let event = try next()
            switch event.kind {
            case .streamEnd: return documents
            case .documentStart:
                anchors = [:]
                let node = try self.node(from: try next(), depth: 0)
                if !node.isNull { documents.append(node) }
            default: break
            }
        }
    }

    private mutating func count(_ nodes: Int, _ mark: YAMLMark) throws(YAMLError) {
        nodeCount += nodes
        guard nodeCount <= limits.nodesMax else {
            throw YAMLError(
                message: "the file has more than \(limits.nodesMax) values, aliases included",
                mark: mark)
        }
    }

    private mutating func node(from event: Event, depth: Int) throws(YAMLError) -> YAMLNode {
        guard depth < limits.depthMax else {
            throw YAMLError(
                message: "values are nested deeper than \(limits.depthMax)", mark: event.start)
        }
        try count(1, event.start)
        let node: YAMLNode
        switch event.kind {
        case .alias:
            let name = event.anchor ?? ""
            guard let known = anchors[name] else {
                throw YAMLError(message: "there is no anchor named \"\(name)\"", mark: event.start)
            }
            try count(YAMLReader.size(known), event.start)
            return known
        case .scalar:
            node = YAMLNode(
                content: .scalar(event.text, isQuoted: event.isQuoted), start: event.start,
                end: event.end)
        case .sequenceStart: node = try sequence(event, depth: depth)
        case .mappingStart: node = try mapping(event, depth: depth)
        default:
            throw YAMLError(message: "a value was expected here", mark: event.start)
        }
        if let anchor = event.anchor { anchors[anchor] = node }
        return node
    }

    private mutating func sequence(_ event: Event, depth: Int) throws(YAMLError) -> YAMLNode {
        var nodes: [YAMLNode] = []
        while true {
            let next = try self.next()
            if next.kind == .end {
                return YAMLNode(content: .sequence(nodes), start: event.start, end: next.end)
            }
            nodes.append(try node(from: next, depth: depth + 1))
        }
    }

    private mutating func mapping(_ event: Event, depth: Int) throws(YAMLError) -> YAMLNode {
        var entries: [YAMLNode.Entry] = []
        var keys: Set<String> = []
        var merged: [YAMLNode.Entry] = []
        while true {
            let next = try self.next()
            if next.kind == .end {
                // Of several mappings that are merged the first has the say.
                entries += merged.filter { keys.insert($0.key).inserted }
                return YAMLNode(content: .mapping(entries), start: event.start, end: next.end)
            }
            guard next.kind == .scalar else {
                throw YAMLError(message: "a key must be plain text", mark: next.start)
            }
            let value = try node(from: try self.next(), depth: depth + 1)
            if next.text == "<<", !next.isQuoted {
                merged += value.entries
                for element in value.elements { merged += element.entries }
                continue
            }
            guard keys.insert(next.text).inserted else {
                let first = entries.first { $0.key == next.text }
                let place = first.map { ": the first stands on line \($0.keyStart.line)" } ?? ""
                throw YAMLError(
                    message: "the key \"\(next.text)\" is given twice\(place)", mark: next.start)
            }
            entries.append(
                YAMLNode.Entry(key: next.text, keyStart: next.start, value: value))
        }
    }

    private static func size(_ node: YAMLNode) -> Int {
        switch node.content {
        case .scalar: return 1
        case .sequence(let nodes): return nodes.reduce(1) { $0 + size($1) }
        case .mapping(let entries): return entries.reduce(1) { $0 + size($1.value) }
        }
    }
}
