import Base
import JSON
import Judge

/// Reads members of a written state, with errors that say where.
struct StateReader {
    /// Counts above it are no counts of ours, and sums of millions of them still fit.
    static let countMax = 1 << 40
    /// A hundred years.
    static let timeMax = 3_200_000_000 * 1_000_000_000

    let node: JSONNode

    init(_ node: JSONNode) { self.node = node }

    func error(_ message: String) -> JSONError { JSONError(message, at: node.mark) }

    func member(_ name: String) throws(JSONError) -> JSONNode {
        guard let member = node[name] else { throw error("\(name) is missing") }
        return member
    }

    /// A member that may be `null`.
    func optional<Value>(
        _ name: String, _ read: (JSONNode) throws(JSONError) -> Value
    ) throws(JSONError) -> Value? {
        let member = try member(name)
        if case .null = member.content { return nil }
        return try read(member)
    }

    func text(_ name: String) throws(JSONError) -> String {
        let member = try member(name)
        guard let text = member.text else {
            throw JSONError("\(name) is a text, and not \(member.kind)", at: member.mark)
        }
        return text
    }

    func bool(_ name: String) throws(JSONError) -> Bool {
        let member = try member(name)
        guard case .bool(let value) = member.content else {
            throw JSONError("\(name) is true or false, and not \(member.kind)", at: member.mark)
        }
        return value
    }

    func list(_ name: String, max: Int) throws(JSONError) -> [JSONNode] {
        let member = try member(name)
        guard let elements = member.elements, elements.count <= max else {
            throw JSONError("\(name) is a list of at most \(max)", at: member.mark)
        }
        return elements
    }

    func count(_ name: String) throws(JSONError) -> Int { try StateReader.count(member(name)) }

    /// A whole number, 0...`countMax`.
    static func count(_ node: JSONNode) throws(JSONError) -> Int {
        guard let value = node.integer, (0...countMax).contains(value) else {
            throw JSONError("a count is a whole number from 0 to \(countMax)", at: node.mark)
        }
        return value
    }

    /// As many counts as are wanted.
    func counts(_ name: String, _ wanted: Int) throws(JSONError) -> [Int] {
        let elements = try list(name, max: wanted)
        guard elements.count == wanted else { throw error("\(name) are \(wanted) counts") }
        var counts: [Int] = []
        for element in elements { counts.append(try StateReader.count(element)) }
        return counts
    }

    func time(_ name: String) throws(JSONError) -> Duration {
        try StateReader.time(member(name))
    }

    func optionalTime(_ name: String) throws(JSONError) -> Duration? {
        try optional(name) { node throws(JSONError) in try StateReader.time(node) }
    }

    /// A time in nanoseconds, not negative; `.unlimited` too.
    static func time(_ node: JSONNode) throws(JSONError) -> Duration {
        guard let value = node.integer, value >= 0,
            value <= timeMax || value == Int(Duration.unlimited.nanoseconds)
        else { throw JSONError("a time is a number of nanoseconds", at: node.mark) }
        return Duration(nanoseconds: Int64(value))
    }

    func integer(_ name: String) throws(JSONError) -> Int {
        let member = try member(name)
        guard let value = member.integer else {
            throw JSONError("\(name) is a whole number", at: member.mark)
        }
        return value
    }

    func word(_ name: String) throws(JSONError) -> UInt64 {
        try StateReader.word(member(name))
    }

    static func word(_ node: JSONNode) throws(JSONError) -> UInt64 {
        guard let text = node.text, let word = HexWords.word(text) else {
            throw JSONError("sixteen hexadecimal digits are wanted", at: node.mark)
        }
        return word
    }

    func bits(_ name: String) throws(JSONError) -> Double { try StateReader.bits(member(name)) }

    /// A number by its bits; any but NaN.
    static func bits(_ node: JSONNode) throws(JSONError) -> Double {
        let value = Double(bitPattern: try word(node))
        if value.isNaN { throw JSONError("the digits are no number", at: node.mark) }
        return value
    }

    static func bitsList(_ node: JSONNode, count: Int) throws(JSONError) -> [Double] {
        guard let elements = node.elements, elements.count == count else {
            throw JSONError("a list of \(count) numbers is wanted", at: node.mark)
        }
        var numbers: [Double] = []
        for element in elements { numbers.append(try bits(element)) }
        return numbers
    }

    /// A histogram, as `JudgeCodec.histogram` writes one.
    ///
    /// - Parameter mayBeMissing: no buckets at all are a histogram too.
    func histogram(_ name: String, mayBeMissing: Bool = false) throws(JSONError) -> [Int] {
        let buckets = LatencyBuckets.count
        let runs = try list(name, max: 1 + 2 * buckets)
        guard let first = runs.first?.integer, runs.count % 2 == 1,
            first == buckets || mayBeMissing && first == 0
        else { throw error("\(name) has \(buckets) buckets") }
        var counts = Array(repeating: 0, count: first), at = -1
        for i in stride(from: 1, to: runs.count, by: 2) {
            guard let bucket = runs[i].integer, bucket > at, bucket < first else {
                throw JSONError("no such bucket, or not in order", at: runs[i].mark)
            }
            at = bucket
            counts[bucket] = try StateReader.count(runs[i + 1])
        }
        return counts
    }
}
