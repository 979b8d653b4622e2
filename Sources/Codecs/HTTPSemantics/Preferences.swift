/// The preferences of a client, as `Accept` and `Accept-Encoding` say them (RFC 9110 §12.4.2): a
/// list of words, each perhaps with parameters and a quality.
public struct Preferences: Sendable {
    /// One word of the list.
    public struct Range: Sendable {
        /// The media range or coding, in lower case.
        public let word: String
        /// Thousandths, 0 for what is not wanted; 1,000 where nothing is said.
        public let quality: Int
        fileprivate let parameters: [(name: String, value: String)]

        /// The value of a parameter, without its quotes; `nil` where the range has none.
        public func parameter(_ name: String) -> String? {
            parameters.first { $0.name == name }?.value
        }
    }

    public let ranges: [Range]

    /// Words that are looked at; more of them are nobody's honest preferences.
    static let rangesMax = 64

    /// Reads a field's value. A range whose quality is none (RFC 9110 §12.4.2) is left out, as if
    /// it had not been sent.
    public init(_ value: String) {
        ranges = value.split(separator: ",").prefix(Preferences.rangesMax).compactMap { element in
            let parts = element.split(separator: ";").map(Preferences.trimmed)
            guard let word = parts.first, !word.isEmpty else { return nil }
            var quality = 1_000
            var parameters: [(name: String, value: String)] = []
            for part in parts.dropFirst() {
                let pair = part.split(separator: "=", maxSplits: 1).map(Preferences.trimmed)
                guard pair.count == 2 else { continue }
                let name = pair[0].lowercased()
                guard name == "q" else {
                    parameters.append((name, pair[1].filter { $0 != "\"" }))
                    continue
                }
                guard let read = Preferences.thousandths(pair[1]) else { return nil }
                quality = read
            }
            return Range(word: word.lowercased(), quality: quality, parameters: parameters)
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while let first = text.first, first == " " || first == "\t" { text = text.dropFirst() }
        while let last = text.last, last == " " || last == "\t" { text = text.dropLast() }
        return String(text)
    }

    /// A quality: `0`, `1`, or up to three digits behind a point.
    private static func thousandths(_ text: String) -> Int? {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = Int(parts[0]), parts[0].count == 1, whole == 0 || whole == 1 else {
            return nil
        }
        let digits = parts.count > 1 ? parts[1] : ""
        guard digits.count <= 3, digits.allSatisfy({ $0.isASCII && $0.isNumber }) else {
            return nil
        }
        let padded = digits + String(repeating: "0", count: 3 - digits.count)
        let value = whole * 1_000 + (Int(padded) ?? 0)
        return value <= 1_000 ? value : nil
    }

    /// The quality of a media type: that of the most exact range that takes the type.
    ///
    /// - Parameter fits: whether a range that names the type means a form of it that there is.
    /// - Returns: 0 where nothing takes the type; and whether a range names it.
    public func quality(
        ofType type: String, _ subtype: String, where fits: (Range) -> Bool
    ) -> (quality: Int, isNamed: Bool) {
        let named = ranges.filter { $0.word == "\(type)/\(subtype)" }
        if !named.isEmpty { return (named.filter(fits).map(\.quality).max() ?? 0, true) }
        for word in ["\(type)/*", "*/*"] {
            let wide = ranges.filter { $0.word == word }
            if let quality = wide.map(\.quality).max() { return (quality, false) }
        }
        return (0, false)
    }

    /// Whether a content coding is wanted by name, or by `*`, with a quality above 0 that is not
    /// below that of the plain content (RFC 9110 §12.5.3).
    public func takesCoding(_ coding: String) -> Bool {
        func quality(_ word: String) -> Int? {
            ranges.filter { $0.word == word }.map(\.quality).max()
        }
        guard let own = quality(coding) ?? quality("*"), own > 0 else { return false }
        return own >= quality("identity") ?? 0
    }
}
