import Base
import YAML

/// A file's text read and checked: the document, or everything that is wrong with it.
public struct ConfigurationReading: Sendable {
    /// `nil` when there are errors.
    public var document: Document?
    public var errors: [ConfigurationError]
    public var warnings: [ConfigurationError]
    /// XXH64 of the file's bytes, 16 hex digits.
    public var hash: String
    /// The file's.
    public let bytes: [UInt8]
    /// The nodes that the document was made of, with places; `nil` when there are errors.
    public var tree: YAMLNode?

    /// Reads a configuration. Pure: bytes in, values out.
    public init(_ bytes: [UInt8]) {
        hash = ConfigurationReading.hash(bytes)
        self.bytes = bytes
        errors = []
        warnings = []
        let documents: [YAMLNode]
        do throws(YAMLError) {
            documents = try YAMLReader.documents(bytes)
        } catch {
            errors = [YAMLHints.explain(error, bytes)]
            return
        }
        guard var root = documents.first else {
            errors = [
                ConfigurationError(
                    "the file is empty", at: YAMLMark(line: 1, column: 1),
                    hint: "a smallest file is \(ObjectSchema.document.example)")
            ]
            return
        }
        for next in documents.dropFirst() { join(next, into: &root) }
        root = SchemaWords.canonical(root)
        var checker = SchemaChecker()
        checker.check(root, .object(.document), at: "")
        errors += checker.errors
        if !errors.isEmpty {
            finish()
            return
        }
        var decoder = DocumentDecoder()
        decoder.bytes = bytes
        decoder.decode(root)
        errors = decoder.errors
        warnings = decoder.warnings
        if errors.isEmpty {
            document = decoder.document
            tree = root
            SchemaHints.findVariables(root, &warnings)
        }
        finish()
    }

    /// XXH64 of a file's bytes, 16 hex digits.
    public static func hash(_ bytes: [UInt8]) -> String {
        let digits = String(XXH64.hash(bytes, seed: 0), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private mutating func finish() {
        for i in errors.indices { SchemaHints.complete(&errors[i]) }
        errors.sort { $0.mark < $1.mark }
        warnings.sort { $0.mark < $1.mark }
    }

    /// Where a value stands that is reached by keys, by names of list elements, and by their
    /// positions; of a path that the file does not have, the last part that it has.
    public func mark(of path: [String]) -> YAMLMark {
        var mark = tree?.start ?? YAMLMark(line: 1, column: 1)
        var node = tree
        for step in path {
            node = node.flatMap { ConfigurationReading.step(step, from: $0) }
            guard let node else { return mark }
            mark = node.start
        }
        return mark
    }

    /// Something about the value that is reached in that way.
    public func problem(
        _ message: String, of path: [String], hint: String,
        severity: ConfigurationError.Severity = .error
    ) -> ConfigurationError {
        ConfigurationError(message, at: mark(of: path), hint: hint, severity: severity)
    }

    /// Whether the file gives a value that is reached in that way.
    public func has(_ path: [String]) -> Bool {
        var node = tree
        for step in path { node = node.flatMap { ConfigurationReading.step(step, from: $0) } }
        return node != nil
    }

    private static func step(_ step: String, from node: YAMLNode) -> YAMLNode? {
        if let next = node[step] { return next }
        let elements = node.elements
        return elements.first { $0["name"]?.text == step }
            ?? Int(step).flatMap { elements.indices.contains($0) ? elements[$0] : nil }
    }

    /// Lists and maps of several documents are joined; anything given twice is an error.
    private mutating func join(_ next: YAMLNode, into root: inout YAMLNode) {
        guard case .mapping(var entries) = root.content, case .mapping(let more) = next.content
        else {
            errors.append(
                ConfigurationError("a document that is not a mapping", at: next.start))
            return
        }
        for entry in more {
            guard let i = entries.firstIndex(where: { $0.key == entry.key }) else {
                entries.append(entry)
                continue
            }
            switch (entries[i].value.content, entry.value.content) {
            case (.sequence(let a), .sequence(let b)):
                entries[i].value.content = .sequence(a + b)
            case (.mapping(let a), .mapping(let b)):
                for pair in b where a.contains(where: { $0.key == pair.key }) {
                    errors.append(
                        ConfigurationError(
                            "\(entry.key).\(pair.key) is given in two documents", at: pair.keyStart)
                    )
                }
                entries[i].value.content = .mapping(a + b)
            default:
                errors.append(
                    ConfigurationError(
                        "\(entry.key) is given in two documents", at: entry.keyStart))
            }
        }
        root.content = .mapping(entries)
    }

    /// Errors and warnings as a person reads them, one behind the other.
    public func text(file: String, bytes: [UInt8]) -> String {
        let lines = ConfigurationError.lines(bytes)
        return (errors + warnings).map { $0.text(file: file, lines: lines) }
            .joined(separator: "\n")
    }
}
