import Telemetry
import YAML

// The format of the access log: a name, a text with operators, or a mapping of keys to such texts.

extension DocumentDecoder {
    /// Names of formats.
    static let logFormats = ["json", "envoy", "istio", "istio-json", "combined"]

    /// Operators of one format.
    private static let logOperatorsMax = 256

    mutating func logFormat(_ node: YAMLNode) -> Document.AccessLog.Format {
        switch node.text {
        case "json": return .json
        case "combined": return .combined
        case "envoy": return .template(.envoy, name: "envoy")
        case "istio": return .template(.istio, name: "istio")
        case "istio-json": return .template(.istioJSON, name: "istio-json")
        default: break
        }
        let before = errors.count
        let template = LogTemplate(shape(node, at: "accessLog.format", isAlone: true))
        // A value in the place of one that is wrong; the document is not used.
        guard errors.count == before else { return .json }
        let count = template.operatorCount
        if count == 0 {
            fail(
                "accessLog.format is \(node.kindName), expected one of "
                    + DocumentDecoder.logFormats.joined(separator: ", ")
                    + ", or a text with operators such as %RESPONSE_CODE%", node.start,
                hint: DocumentDecoder.hint(forFormat: node))
        } else if count > DocumentDecoder.logOperatorsMax {
            fail(
                "accessLog.format has \(count) operators, expected at most "
                    + "\(DocumentDecoder.logOperatorsMax)", node.start)
        }
        return .template(template, name: nil)
    }

    /// For a format that shows nothing of a request.
    private static func hint(forFormat node: YAMLNode) -> String {
        guard let text = node.text else {
            return "write { status: \"%RESPONSE_CODE%\", path: \"%PATH%\" }, with operators as "
                + "values"
        }
        if text.contains("$") { return "write combined for the usual format of nginx" }
        return SchemaHints.choice(text, logFormats, key: "format")
    }

    /// - Parameter isAlone: the text is the whole line, and no value of a JSON object.
    private mutating func shape(
        _ node: YAMLNode, at path: String, isAlone: Bool
    ) -> LogTemplate.Shape {
        guard let text = node.text else {
            return .object(
                node.entries.map {
                    LogTemplate.Member(
                        key: $0.key,
                        value: shape($0.value, at: "\(path).\($0.key)", isAlone: false))
                })
        }
        // Block scalars end in a line break, and lines get one of their own.
        let line = isAlone ? text.trimmingLineBreaks : text
        if isAlone, line.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\t" }) {
            fail(
                "\(path) has a line break or another control character in it", node.start,
                hint: "a request has one line; write a folded text, with > in place of |")
            return .text([], source: line)
        }
        switch LogTemplateReader.read(line) {
        case .success(let pieces): return .text(pieces, source: line)
        case .failure(let problem):
            fail(
                "\(path): \(problem.message)", mark(of: problem.offset, in: line, node),
                hint: problem.hint)
            return .text([], source: line)
        }
    }

    // MARK: Places

    /// The place in the file of a part of a text, whatever way the text is written in: quoted,
    /// folded, with escapes.
    ///
    /// - Parameter offset: scalars of the text in front of the part.
    private func mark(of offset: Int, in text: String, _ node: YAMLNode) -> YAMLMark {
        let scalars = Array(text.unicodeScalars)
        // What the file writes in one piece.
        let part = Array(
            scalars[offset...].prefix {
                $0.value > 0x20 && $0.value < 0x7f && $0 != "\"" && $0 != "\\" && $0 != "'"
            })
        guard !part.isEmpty else { return node.start }
        var left = DocumentDecoder.places(of: part, in: scalars[..<offset]).count
        let lines = ConfigurationError.lines(bytes)
        for number in node.start.line...max(node.start.line, node.end.line)
        where number <= lines.count {
            let line = Array(lines[number - 1].unicodeScalars)
            let from = number == node.start.line ? node.start.column - 1 : 0
            guard from < line.count else { continue }
            for place in DocumentDecoder.places(of: part, in: line[from...]) {
                if left == 0 { return YAMLMark(line: number, column: place + 1) }
                left -= 1
            }
        }
        return node.start
    }

    /// The indices at which a part begins.
    private static func places(
        of part: [Unicode.Scalar], in text: ArraySlice<Unicode.Scalar>
    ) -> [Int] {
        text.indices.filter { text[$0...].starts(with: part) }
    }
}

extension String {
    /// The text without line breaks at its end.
    fileprivate var trimmingLineBreaks: String {
        var scalars = Substring(self).unicodeScalars
        while let last = scalars.last, last == "\n" || last == "\r" { scalars.removeLast() }
        return String(scalars)
    }
}
