import Evidence

/// Words of 64 bits, and sets of places, as hexadecimal digits.
enum HexWords {
    private static let digits = Array("0123456789abcdef".utf8)

    /// Sixteen digits.
    static func word(_ value: UInt64) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }

    /// A word of exactly sixteen lower-case digits.
    static func word(_ text: some StringProtocol) -> UInt64? {
        let bytes = text.utf8
        guard bytes.count == 16, bytes.allSatisfy({ digits.contains($0) }) else { return nil }
        return UInt64(text, radix: 16)
    }

    /// The words of a set that are not empty, each behind its number: "0:1f,3a:8000000000000000".
    static func text(_ places: PlaceSet) -> String {
        var parts: [String] = []
        for (number, word) in places.words.enumerated() where word != 0 {
            parts.append(String(number, radix: 16) + ":" + String(word, radix: 16))
        }
        return parts.joined(separator: ",")
    }

    /// A set from its text; `nil` for a text that `text` would not have made.
    static func places(_ text: String) -> PlaceSet? {
        if text.isEmpty { return PlaceSet() }
        let count = SessionPlaces.count / 64
        var words: [UInt64] = []
        for part in text.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        {
            let sides = part.split(
                separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            guard sides.count == 2, let number = HexWords.number(sides[0]),
                let word = HexWords.number(sides[1]),
                number < UInt64(count), word != 0, number >= UInt64(words.count)
            else { return nil }
            words += Array(repeating: 0, count: Int(number) - words.count)
            words.append(word)
        }
        return PlaceSet(words: words)
    }

    /// A number of one to sixteen lower-case digits, without a zero in front.
    private static func number(_ bytes: Substring.UTF8View) -> UInt64? {
        guard (1...16).contains(bytes.count), bytes.count == 1 || bytes.first != digits[0] else {
            return nil
        }
        var value: UInt64 = 0
        for byte in bytes {
            guard let digit = digits.firstIndex(of: byte) else { return nil }
            value = value << 4 | UInt64(digit)
        }
        return value
    }
}
