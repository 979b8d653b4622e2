import Foundation
import Testing

/// Which namespaces of the data plane call each other in a cycle. The numbers may only fall: control
/// flow belongs in the parent, and leaves do not call back (CONTRIBUTING.md).
@Suite struct CycleTests {
    /// Namespaces in the largest cycle of today, and cycles in all.
    static let largestCycleMax = 4
    static let cycleCountMax = 1

    /// A namespace is an `enum` without cases whose functions are static; it owns the lines from its
    /// declaration to the end of the file, or to the next one, extensions of it too.
    static func calls(in folder: String) -> [String: Set<String>] {
        let files = TidyTests.sources.filter { $0.target == folder }
        var names: Set<String> = []
        for file in files {
            for line in file.lines {
                if let name = declared(line, by: ["enum"]) { names.insert(name) }
            }
        }
        var calls: [String: Set<String>] = [:]
        for file in files {
            var owner: String?
            for line in file.lines {
                if let name = declared(line, by: ["enum", "extension", "struct"]) { owner = name }
                guard let owner, names.contains(owner), !isComment(line) else { continue }
                for name in names where name != owner && calledOn(name, in: line) {
                    calls[owner, default: []].insert(name)
                }
            }
        }
        return calls
    }

    private static func isComment(_ line: Substring) -> Bool {
        line.drop { $0 == " " }.hasPrefix("//")
    }

    /// The name that a line at the left margin declares.
    private static func declared(_ line: Substring, by words: [String]) -> String? {
        var rest = line
        for modifier in ["public ", "package ", "private ", "@inline(__always) "]
        where rest.hasPrefix(modifier) {
            rest = rest.dropFirst(modifier.count)
        }
        for word in words where rest.hasPrefix(word + " ") {
            return String(rest.dropFirst(word.count + 1).prefix { $0.isLetter || $0.isNumber })
        }
        return nil
    }

    /// Whether a line has a call `name.function(`.
    private static func calledOn(_ name: String, in line: Substring) -> Bool {
        var from = line.startIndex
        while let found = line.range(of: name + ".", range: from..<line.endIndex) {
            from = found.upperBound
            let isWhole =
                found.lowerBound == line.startIndex
                || !(line[line.index(before: found.lowerBound)].isLetter
                    || line[line.index(before: found.lowerBound)] == ".")
            let function = line[found.upperBound...].prefix { $0.isLetter || $0.isNumber }
            let isCall = line[found.upperBound...].dropFirst(function.count).first == "("
            if isWhole, isCall, function.first?.isLowercase == true { return true }
        }
        return false
    }

    /// The strongly connected components of more than one namespace, largest first: two are in one
    /// when each reaches the other.
    static func cycles(_ calls: [String: Set<String>]) -> [[String]] {
        func reached(from start: String) -> Set<String> {
            var seen: Set<String> = [], waiting = Array(calls[start] ?? [])
            while let next = waiting.popLast() {
                if seen.insert(next).inserted { waiting += calls[next] ?? [] }
            }
            return seen
        }
        let reach = Dictionary(uniqueKeysWithValues: calls.keys.map { ($0, reached(from: $0)) })
        var cycles: [[String]] = [], placed: Set<String> = []
        for name in calls.keys.sorted() where !placed.contains(name) {
            guard let mine = reach[name], mine.contains(name) else { continue }
            let cycle = calls.keys.filter { mine.contains($0) && reach[$0]!.contains(name) }
            placed.formUnion(cycle)
            cycles.append(cycle.sorted())
        }
        return cycles.sorted { $0.count > $1.count }
    }

    @Test("no namespace of the data plane joins a cycle that was smaller before")
    func largest() {
        let cycles = CycleTests.cycles(CycleTests.calls(in: "Proxy"))
        let largest = cycles.first ?? []
        #expect(
            largest.count <= CycleTests.largestCycleMax,
            "\(largest.count) namespaces call each other: \(largest.joined(separator: ", "))")
        #expect(cycles.count <= CycleTests.cycleCountMax, "\(cycles)")
    }

    @Test("a cycle is found in a graph that has one, and none in a tree")
    func search() {
        let knot: [String: Set<String>] = ["A": ["B"], "B": ["C"], "C": ["A", "D"], "D": []]
        #expect(CycleTests.cycles(knot) == [["A", "B", "C"]])
        #expect(CycleTests.cycles(["A": ["B"], "B": ["C"], "C": []]).isEmpty)
    }
}
