import YAML

/// Puts the weights that hold into a configuration file's text. Only the numbers change, and the
/// stable version's name: comments, order and all other bytes stay as they are.
public enum WeightEdit {
    /// One scalar of the text, and the text that is to stand there.
    private struct Replacement {
        var range: Range<Int>
        var text: String
    }

    /// - Parameters:
    ///   - lines: the lines that say what holds, as `WeightWords.lines` makes them.
    ///   - file: the text of the file.
    /// - Returns: the new text; or why this file has to be edited by hand. A text that comes back
    ///   was read again, and says what `lines` say, and for the rest what it said before.
    public static func apply(
        _ lines: String, to file: [UInt8]
    ) -> Result<[UInt8], WeightProblem> {
        do throws(WeightProblem) {
            let root = try only(file, "the file")
            let wanted = try only(Array(lines.utf8), "the lines to commit")
            var places = try services(wanted, root, file)
            for route in wanted["routes"]?.elements ?? [] {
                places += try splits(route, root, file)
            }
            var text = file
            for place in places.sorted(by: { $0.range.lowerBound > $1.range.lowerBound }) {
                text.replaceSubrange(place.range, with: Array(place.text.utf8))
            }
            try check(text, lines, against: file)
            return .success(text)
        } catch {
            return .failure(error)
        }
    }

    private static func problem(_ text: String) -> WeightProblem { WeightProblem(text: text) }

    private static func only(
        _ bytes: [UInt8], _ name: String
    ) throws(WeightProblem) -> YAMLNode {
        let documents: [YAMLNode]
        do throws(YAMLError) {
            documents = try YAMLReader.documents(bytes)
        } catch {
            throw problem("\(name) is not YAML: \(error.message), line \(error.mark.line)")
        }
        guard documents.count == 1, let first = documents.first else {
            throw problem("\(name) has \(documents.count) documents, expected one")
        }
        return first
    }

    // MARK: Places

    private static func services(
        _ wanted: YAMLNode, _ root: YAMLNode, _ file: [UInt8]
    ) throws(WeightProblem) -> [Replacement] {
        var places: [Replacement] = []
        for service in wanted["services"]?.entries ?? [] {
            guard let node = root["services"]?[service.key] else {
                throw problem("the file has no service \"\(service.key)\"")
            }
            if let name = service.value["stable"], let there = node["stable"] {
                places += try replacement(of: there, by: name.text ?? "", file)
            }
            for version in service.value["versions"]?.entries ?? [] {
                guard let weight = node["versions"]?[version.key]?["weight"] else {
                    throw problem(
                        "the file gives \(service.key)/\(version.key) no weight: whose number "
                            + "could be changed")
                }
                places += try replacement(
                    of: weight, by: version.value["weight"]?.text ?? "", file)
            }
        }
        return places
    }

    private static func splits(
        _ wanted: YAMLNode, _ root: YAMLNode, _ file: [UInt8]
    ) throws(WeightProblem) -> [Replacement] {
        let name = wanted["name"]?.text ?? ""
        let route = root["routes"]?.elements.first { $0["name"]?.text == name }
        guard let split = route?["split"] else {
            throw problem("the file has no route \"\(name)\" with a split:")
        }
        var places: [Replacement] = []
        for share in wanted["split"]?.entries ?? [] {
            guard let weight = split[share.key] else {
                // A version that is not named has no share.
                if (share.value.text ?? "").allSatisfy({ $0 == "0" || $0 == "%" }) { continue }
                throw problem("the split: of route \"\(name)\" does not name \(share.key)")
            }
            places += try replacement(of: weight, by: share.value.text ?? "", file)
        }
        return places
    }

    /// The place of a scalar, where the text is to be another.
    private static func replacement(
        of node: YAMLNode, by text: String, _ file: [UInt8]
    ) throws(WeightProblem) -> [Replacement] {
        guard case .scalar(let old, let isQuoted) = node.content else {
            throw problem("line \(node.start.line) of the file has no plain value")
        }
        if old == text { return [] }
        let quote = isQuoted ? 1 : 0
        let from = offset(of: node.start, in: file) + quote
        let to = offset(of: node.end, in: file) - quote
        guard from < to, to <= file.count, file[from..<to].elementsEqual(old.utf8) else {
            throw problem("line \(node.start.line) of the file says its value in another way")
        }
        return [Replacement(range: from..<to, text: text)]
    }

    /// The place of a mark in the bytes; beyond their end where there is no such line.
    private static func offset(of mark: YAMLMark, in file: [UInt8]) -> Int {
        var line = 1, at = 0
        while line < mark.line, at < file.count {
            if file[at] == UInt8(ascii: "\n") { line += 1 }
            at += 1
        }
        var column = 1
        while column < mark.column, at < file.count {
            at += 1
            while at < file.count, file[at] & 0xc0 == 0x80 { at += 1 }
            column += 1
        }
        return at
    }

    // MARK: The proof

    /// The new text is a valid file that says the lines, and beside them what the old one says.
    /// Anchors that several services share fail here, and numbers that do not go together.
    private static func check(
        _ text: [UInt8], _ lines: String, against file: [UInt8]
    ) throws(WeightProblem) {
        let reading = ConfigurationReading(text)
        guard let old = ConfigurationReading(file).document else {
            throw problem("the file is not valid; sluice validate says why")
        }
        guard let new = reading.document, old.services.count == new.services.count else {
            throw problem(
                "with the new weights the file would not be valid: "
                    + (reading.errors.first?.message ?? "no document"))
        }
        guard
            let index = new.services.indices.first(where: {
                WeightWords.lines(new, service: $0) == lines
            })
        else { throw problem("the file cannot say these weights by its numbers alone") }
        var other = old
        other.services[index].stable = new.services[index].stable
        let isRestTheSame = old.services.indices.allSatisfy {
            $0 == index || old.fingerprint(ofService: $0) == new.fingerprint(ofService: $0)
        }
        guard isRestTheSame, new.isSameButForWeights(as: other) else {
            throw problem("the numbers stand in the file for something else too")
        }
    }
}
