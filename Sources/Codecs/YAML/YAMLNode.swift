/// A place in a YAML file. Both count from 1; columns count bytes of UTF-8 as code points.
public struct YAMLMark: Hashable, Sendable, Comparable {
    public var line: Int
    public var column: Int

    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    public static func < (a: YAMLMark, b: YAMLMark) -> Bool {
        (a.line, a.column) < (b.line, b.column)
    }
}

/// One node of a YAML document with its place. Scalars are text, whatever they look like.
public struct YAMLNode: Sendable {
    public struct Entry: Sendable {
        public var key: String
        public var keyStart: YAMLMark
        public var value: YAMLNode

        public init(key: String, keyStart: YAMLMark, value: YAMLNode) {
            self.key = key
            self.keyStart = keyStart
            self.value = value
        }
    }

    public indirect enum Content: Sendable {
        case scalar(String, isQuoted: Bool)
        case sequence([YAMLNode])
        case mapping([Entry])
    }

    public var content: Content
    public var start: YAMLMark
    public var end: YAMLMark

    public init(content: Content, start: YAMLMark, end: YAMLMark) {
        self.content = content
        self.start = start
        self.end = end
    }

    /// The value of a mapping's key.
    public subscript(key: String) -> YAMLNode? {
        guard case .mapping(let entries) = content else { return nil }
        return entries.first { $0.key == key }?.value
    }

    public var entries: [Entry] {
        if case .mapping(let entries) = content { return entries }
        return []
    }

    public var elements: [YAMLNode] {
        if case .sequence(let nodes) = content { return nodes }
        return []
    }

    public var text: String? {
        if case .scalar(let text, _) = content { return text }
        return nil
    }

    /// A value left out: `key:` and nothing behind it, or an unquoted `~` or `null`.
    public var isNull: Bool {
        if case .scalar(let text, isQuoted: false) = content {
            return text.isEmpty || text == "~" || text == "null"
        }
        return false
    }
}

/// Why a file is not YAML, or more than the limits allow.
public struct YAMLError: Error, Sendable {
    public var message: String
    public var mark: YAMLMark
    /// The part of the file that libyaml was reading when it met the problem, in libyaml's words;
    /// empty when it says nothing.
    public var context = ""
    /// The place where `context` began.
    public var contextMark: YAMLMark?

    init(message: String, mark: YAMLMark) {
        self.message = message
        self.mark = mark
    }
}
