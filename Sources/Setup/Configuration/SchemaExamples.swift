// What messages say is expected: in words, and as a value that can be taken as it stands.

extension ValueType {
    private var isContainer: Bool {
        switch self {
        case .object, .list, .map: return true
        default: return false
        }
    }

    /// One word alone, such as off.
    var isSingleWord: Bool {
        if case .choice(let words) = self { return words.count == 1 }
        return false
    }

    /// The values that belong here, in words.
    var expectation: String {
        switch self {
        case .text(let expected): return expected
        case .anyText: return "text"
        case .name: return "a name"
        case .integer(let range, let word):
            let numbers = "a whole number from \(range.lowerBound) to \(range.upperBound)"
            return word.map { "\(numbers), or \($0)" } ?? numbers
        case .integerOr(let range, let words):
            return "one of \(words.joined(separator: ", ")), or a whole number from "
                + "\(range.lowerBound) to \(range.upperBound)"
        case .duration(let word):
            return "a duration such as 250ms or 1m30s" + (word.map { ", or \($0)" } ?? "")
        case .delay: return "a duration such as 250ms or 1m30s, or 0s"
        case .size(let word): return "a size such as 64KiB" + (word.map { ", or \($0)" } ?? "")
        case .decimal(let range):
            if range.upperBound >= 1e15 { return "a number such as 0.5" }
            return "a number from \(Units.text(range.lowerBound)) to "
                + Units.text(range.upperBound)
        case .share: return "a percentage from 0% to 100% with at most two decimals"
        case .shareOr(let word): return "\(ValueType.share.expectation), or \(word)"
        case .weight: return "a whole number from 0 to 1000000, or a percentage such as 1%"
        case .address: return "an address such as 127.0.0.1:8080, [::1]:8080 or unix:/path"
        case .choice(let words):
            return words.count == 1 ? words[0] : "one of " + words.joined(separator: ", ")
        case .object, .map: return "a mapping such as \(example)"
        case .list: return "a list such as \(example)"
        case .either(let types):
            // A word such as off stands last: it is seldom what was meant.
            let sorted =
                types.filter { !$0.isContainer && !$0.isSingleWord }
                + types.filter(\.isContainer) + types.filter(\.isSingleWord)
            return sorted.map(\.expectation).joined(separator: ", or ")
        }
    }

    /// A value as the file would write it in one line.
    public var example: String {
        switch self {
        case .text(let expected): return ValueType.texts[expected] ?? "\"\(expected)\""
        case .anyText: return "canary"
        case .name: return "v1"
        case .integer(let range, _), .integerOr(let range, _):
            return String([100, 10, 503].first { range.contains($0) } ?? range.lowerBound)
        case .duration, .delay: return "30s"
        case .size: return "1MiB"
        case .decimal(let range):
            return Units.text([1.1, 2].first(where: range.contains) ?? range.lowerBound)
        case .share, .shareOr: return "10%"
        case .weight: return "100%"
        case .address: return "\"127.0.0.1:8080\""
        case .choice(let words): return words[0]
        case .object(let schema): return schema.example
        case .list(let element): return "[\(element.example)]"
        case .map(.weight, _): return "{ v1: 90%, v2: 10% }"
        case .map(let value, .names):
            if case .object(let schema) = value, schema.name == ObjectSchema.service.name {
                return "{ reviews: \(value.example) }"
            }
            return "{ v1: \(value.example) }"
        case .map(let value, _): return "{ x-user-group: \(value.example) }"
        case .either(let types): return types.first?.example ?? ""
        }
    }

    /// Examples of text, by what the table says that it stands for.
    private static let texts: [String: String] = [
        "a path": "/api", "a path with {names}": "\"/users/{id}\"", "text": "canary",
        "an RE2 pattern": "\"/v[0-9]+\"", "a host name": "example.com", "a method": "GET",
        "a header name": "x-user", "a cookie name": "session", "a cookie name, or off": "sluice-id",
        "a listener's name": "http", "a media type": "application/json", "a file": "/dev/stdout",
        "a file name": "FILE", "name:port": "\"reviews:9080\"", "service/version": "reviews/v2",
        "service or service/version": "reviews",
        "a status or a range such as 200-299": "200-299",
        "a name for the experiment": "checkout-1", "a condition": "'branch == \"main\"'",
        "a window": "\"Mon-Fri 09:00-16:00 Europe/Berlin\"", "a revision": "1.4.2",
        "a URL": "\"https://example.com/\"", "a query": "\"up\"", "a JSON pointer": "/value",
        "a program": "check.sh", "a directory's name": "/var/lib/sluice",
        "the name of a service": "reviews", "the name of a version": "v2",
        "the name of a route": "rest", "the name of a stage": "small",
        "the name of a token": "release-team",
    ]
}
