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

    /// Reads a configuration. Pure: bytes in, values out.
    public init(_ bytes: [UInt8]) {
        let digits = String(XXH64.hash(bytes, seed: 0), radix: 16)
        hash = String(repeating: "0", count: 16 - digits.count) + digits
        errors = []
        warnings = []
        let documents: [YAMLNode]
        do throws(YAMLError) {
            documents = try YAMLReader.documents(bytes)
        } catch {
            errors = [ConfigurationError(error.message, at: error.mark)]
            return
        }
        guard var root = documents.first else {
            errors = [
                ConfigurationError(
                    "the file is empty", at: YAMLMark(line: 1, column: 1),
                    hint: "a smallest file has listeners and routes")
            ]
            return
        }
        for next in documents.dropFirst() { join(next, into: &root) }
        var checker = SchemaChecker()
        checker.check(root, .object(.document), at: "")
        errors += checker.errors
        if !errors.isEmpty {
            sort()
            return
        }
        var decoder = DocumentDecoder()
        decoder.decode(root)
        errors = decoder.errors
        warnings = decoder.warnings
        if errors.isEmpty { document = decoder.document }
        sort()
    }

    private mutating func sort() {
        errors.sort { $0.mark < $1.mark }
        warnings.sort { $0.mark < $1.mark }
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

    /// Errors and warnings as a person reads them, a blank line between two.
    public func text(file: String, bytes: [UInt8]) -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        return (errors + warnings).map { $0.text(file: file, lines: lines) }
            .joined(separator: "\n")
    }
}
