/// Reads the text of a format: everything between operators stands for itself, and `%%` for a
/// percent sign.
public struct LogTemplateReader {
    /// The first thing that is wrong with a text.
    public struct Problem: Error, Equatable, Sendable {
        /// Unicode scalars of the text in front of the place.
        public var offset: Int
        public var message: String
        public var hint: String
    }

    /// The longest value that `:Z` may ask for, and the longest name.
    private static let lengthMax = 65_536
    private static let nameBytesMax = 256

    private let text: [Unicode.Scalar]
    private var at = 0
    private var pieces: [LogTemplate.Piece] = []
    private var literal = String.UnicodeScalarView()

    private init(_ text: String) { self.text = Array(text.unicodeScalars) }

    public static func read(_ text: String) -> Result<[LogTemplate.Piece], Problem> {
        var reader = LogTemplateReader(text)
        do throws(Problem) {
            try reader.readAll()
            return .success(reader.pieces)
        } catch {
            return .failure(error)
        }
    }

    private mutating func readAll() throws(Problem) {
        while at < text.count {
            guard text[at] == "%" else {
                literal.append(text[at])
                at += 1
                continue
            }
            if at + 1 < text.count, text[at + 1] == "%" {
                literal.append("%")
                at += 2
                continue
            }
            let use = try readOperator()
            endLiteral()
            pieces.append(.value(use))
        }
        endLiteral()
    }

    private mutating func endLiteral() {
        if literal.isEmpty { return }
        pieces.append(.text(String(literal)))
        literal = String.UnicodeScalarView()
    }

    private func problem(at offset: Int, _ message: String, _ hint: String) -> Problem {
        Problem(offset: offset, message: message, hint: hint)
    }

    /// Takes scalars while they are some.
    private mutating func take(while isTaken: (Unicode.Scalar) -> Bool) -> String {
        var taken = String.UnicodeScalarView()
        while at < text.count, isTaken(text[at]) {
            taken.append(text[at])
            at += 1
        }
        return String(taken)
    }

    // MARK: One operator

    /// `%NAME(argument):length%`; `at` is at its first percent sign, and behind the last after it.
    private mutating func readOperator() throws(Problem) -> LogTemplate.Use {
        let start = at
        at += 1
        let name = take { ("A"..."Z").contains($0) || ("0"..."9").contains($0) || $0 == "_" }
        guard !name.isEmpty else {
            let word = take { ("a"..."z").contains($0) || $0 == "_" }
            if let meant = LogOperator(name: word.uppercased()) {
                throw problem(
                    at: start, "%\(word) begins no operator",
                    "operators are in capitals: write \(LogTemplateReader.example(meant))")
            }
            throw problem(
                at: start, "a percent sign begins no operator",
                (word.isEmpty ? "" : "write combined for Apache's format; ")
                    + "operators are written as %RESPONSE_CODE%, and a percent sign as %%")
        }
        guard let known = LogOperator(name: name) else { throw unknown(name, at: start) }
        let argumentStart = at + 1
        var argument: String?
        if at < text.count, text[at] == "(" {
            at += 1
            argument = take { $0 != ")" }
            guard at < text.count else {
                throw problem(
                    at: start, "%\(name)( has no closing parenthesis",
                    "write \(LogTemplateReader.example(known))")
            }
            at += 1
        }
        let lengthStart = at
        var length: String?
        if at < text.count, text[at] == ":" {
            at += 1
            length = take { ("0"..."9").contains($0) }
        }
        guard at < text.count, text[at] == "%" else {
            let found = at < text.count ? "\"\(text[at])\" stands" : "the format ends"
            throw problem(
                at: start, "%\(name) has no closing percent sign: \(found) where it belongs",
                "write \(LogTemplateReader.example(known)), and %% for a percent sign")
        }
        at += 1
        var use = LogTemplate.Use(known)
        try read(argument, of: name, into: &use, at: argument == nil ? start : argumentStart)
        if let length { try read(length: length, of: name, into: &use, at: lengthStart) }
        return use
    }

    private func unknown(_ name: String, at offset: Int) -> Problem {
        if let hint = LogOperatorAdvice.refused[name] {
            return problem(at: offset, "%\(name)% has no meaning here", hint)
        }
        if let hint = LogOperatorAdvice.later[name] {
            return problem(at: offset, "%\(name)% is not supported", hint)
        }
        let names = LogOperator.allCases.flatMap(\.entry.names)
        let close = LogTemplateReader.closest(to: name, among: names)
        return problem(
            at: offset, "there is no operator %\(name)%",
            close.map { "did you mean %\($0)%?" } ?? "docs/access-log.md has the list")
    }

    /// A well-formed use of an operator, for messages.
    static func example(_ name: LogOperator) -> String {
        let text = name.entry.names[0]
        switch name.entry.argument {
        case .fields: return "%\(text)(USER-AGENT)%"
        case .name: return "%\(text)(NAME)%"
        case .path: return "%\(text)(NQ)%"
        case .time, .none, .words: return "%\(text)%"
        }
    }

    private func read(
        length: String, of name: String, into use: inout LogTemplate.Use, at offset: Int
    ) throws(Problem) {
        guard use.name.entry.takesLength else {
            throw problem(
                at: offset, "%\(name)% takes no length",
                "write \(LogTemplateReader.example(use.name))")
        }
        guard let bytes = Int(length), (1...LogTemplateReader.lengthMax).contains(bytes) else {
            throw problem(
                at: offset,
                "the length of %\(name)% is \"\(length)\", expected a number from 1 "
                    + "to \(LogTemplateReader.lengthMax)", "write :64 for at most 64 bytes")
        }
        use.lengthMax = bytes
    }

    // MARK: Arguments

    private func read(
        _ argument: String?, of name: String, into use: inout LogTemplate.Use, at offset: Int
    ) throws(Problem) {
        switch use.name.entry.argument {
        case .none:
            if argument != nil {
                throw problem(
                    at: offset, "%\(name)% takes nothing in parentheses", "write %\(name)%")
            }
        case .fields: try readFields(argument, of: name, into: &use, at: offset)
        case .time: use.time = try LogTimeReader.read(argument ?? "", at: offset)
        case .words(let words):
            let word = argument ?? words[0]
            guard words.contains(word) else {
                throw problem(
                    at: offset, "%\(name)(\(word))% is unknown",
                    "one of \(words.joined(separator: ", ")) stands there, or nothing")
            }
            use.first = word
        case .path: try readPath(argument ?? "", into: &use, at: offset)
        case .name:
            guard let argument, !argument.isEmpty,
                argument.utf8.count <= LogTemplateReader.nameBytesMax
            else {
                throw problem(
                    at: offset, "%\(name)% lacks its name",
                    "write \(LogTemplateReader.example(use.name))")
            }
            use.first = argument
        }
    }

    private static let pseudoFields = [":method", ":path", ":authority", ":scheme"]

    private func readFields(
        _ argument: String?, of name: String, into use: inout LogTemplate.Use, at offset: Int
    ) throws(Problem) {
        let parts = (argument ?? "").split(
            separator: "?", omittingEmptySubsequences: false
        ).map { $0.lowercased() }
        guard parts.count <= 2 else {
            throw problem(
                at: offset, "%\(name)% has \(parts.count) names of fields, expected one or two",
                "write %\(name)(X?Y)% for the first of two that is there")
        }
        guard let first = parts.first, !first.isEmpty else {
            throw problem(
                at: offset, "%\(name)% lacks the name of a field",
                "write %\(name)(USER-AGENT)%, or %\(name)(X?Y)% for the first of two")
        }
        for part in parts {
            let isPseudo = LogTemplateReader.pseudoFields.contains(part)
            let isField =
                !part.isEmpty && part.utf8.count <= LogTemplateReader.nameBytesMax
                && part.utf8.allSatisfy(LogTemplateReader.isTokenByte)
            guard isField || isPseudo && use.name == .requestField else {
                throw problem(
                    at: offset, "\"\(part)\" in %\(name)% is not the name of a field",
                    isPseudo
                        ? "only requests have it: write %REQ(\(part.uppercased()))%"
                        : "names have no spaces, colons or control characters")
            }
        }
        use.first = first
        use.second = parts.count > 1 ? parts[1] : ""
    }

    /// RFC 9110 §5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"):
            return true
        default: return "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    private func readPath(
        _ argument: String, into use: inout LogTemplate.Use, at offset: Int
    ) throws(Problem) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        let query = parts.first.map(String.init) ?? ""
        let which = parts.count > 1 ? String(parts[1]) : ""
        guard ["", "WQ", "NQ"].contains(query), parts.count <= 2,
            ["", "ORIG", "PATH", "ORIG_OR_PATH"].contains(which)
        else {
            throw problem(
                at: offset, "%PATH(\(argument))% is unknown",
                "write %PATH(WQ)%, %PATH(NQ)%, and :ORIG, :PATH or :ORIG_OR_PATH behind")
        }
        use.first = query.isEmpty ? "WQ" : query
        use.second = which.isEmpty ? "ORIG_OR_PATH" : which
    }

    // MARK: Slips

    /// The closest of some names, if it is close enough to be a slip.
    private static func closest(to name: String, among names: [String]) -> String? {
        let scored = names.map { (name: $0, distance: distance(Array(name.utf8), Array($0.utf8))) }
        guard let best = scored.min(by: { $0.distance < $1.distance }),
            best.distance <= max(1, name.count / 3)
        else { return nil }
        return best.name
    }

    /// Levenshtein's distance.
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(0...b.count)
        for i in 0..<a.count {
            var corner = row[0]
            row[0] = i + 1
            for j in 0..<b.count {
                let cost = min(row[j], row[j + 1]) + 1
                let replaced = corner + (a[i] == b[j] ? 0 : 1)
                corner = row[j + 1]
                row[j + 1] = min(cost, replaced)
            }
        }
        return row[b.count]
    }
}

/// Reads `START_TIME`'s own format.
enum LogTimeReader {
    /// - Parameter offset: where the format stands in its text.
    static func read(
        _ text: String, at offset: Int
    ) throws(LogTemplateReader.Problem) -> [TimePiece] {
        var pieces: [TimePiece] = []
        var literal = String.UnicodeScalarView()
        let scalars = Array(text.unicodeScalars)
        var at = 0
        func problem(_ message: String) -> LogTemplateReader.Problem {
            LogTemplateReader.Problem(
                offset: offset + at, message: message,
                hint: "write %Y-%m-%dT%H:%M:%S.%3fZ, %s for seconds since 1970, or one of "
                    + TimePiece.letters.map { "%\($0)" }.joined(separator: " "))
        }
        while at < scalars.count {
            guard scalars[at] == "%" else {
                literal.append(scalars[at])
                at += 1
                continue
            }
            guard at + 1 < scalars.count else { throw problem("a time's format ends in %") }
            let letter = scalars[at + 1]
            var width = 2
            let piece: TimePiece
            if letter == "%" {
                literal.append("%")
                at += 2
                continue
            } else if letter == "f" {
                piece = .fraction(6)
            } else if ("1"..."9").contains(letter), at + 2 < scalars.count, scalars[at + 2] == "f" {
                piece = .fraction(UInt8(letter.value - 0x30))
                width = 3
            } else if TimePiece.letters.unicodeScalars.contains(letter) {
                piece = .letter(UInt8(letter.value))
            } else {
                throw problem("a time's format has no %\(letter)")
            }
            if !literal.isEmpty { pieces.append(.text(String(literal))) }
            literal = String.UnicodeScalarView()
            pieces.append(piece)
            at += width
        }
        if !literal.isEmpty { pieces.append(.text(String(literal))) }
        return pieces
    }
}
