import Foundation
import Testing

/// The state of the data plane's slots: diagrams say what tables allow, and no slot keeps what its
/// last tenant left behind.
@Suite struct StateTests {
    static var files: [TidyTests.File] {
        TidyTests.sources.filter {
            $0.path.hasPrefix("Sources/Plane/Proxy/")
                || $0.path.hasSuffix("/ExchangeSummary.swift")
        }
    }

    /// The steps that the comments of a file show, in lines as
    /// `idle ──a whole head came──▶ exchange`.
    static func drawn(_ file: TidyTests.File) -> [String] {
        file.lines.compactMap { line in
            guard line.hasPrefix("///     "), line.contains("──"),
                let arrow = line.range(of: "▶ ")
            else { return nil }
            let from = line.dropFirst(8).prefix { $0.isLetter || $0.isNumber }
            return "\(from) -> \(line[arrow.upperBound...])"
        }
    }

    /// The steps that the tables of a file allow: the pairs of `allows`.
    static func allowed(_ file: TidyTests.File) -> [String] {
        var steps: [String] = [], isTable = false
        for line in file.lines {
            if line.contains("static func allows") { isTable = true }
            if isTable {
                for pair in line.components(separatedBy: "(.").dropFirst() {
                    let names = pair.prefix { $0 != ")" }.components(separatedBy: ", .")
                    if names.count == 2 { steps.append("\(names[0]) -> \(names[1])") }
                }
            }
            if line.contains("default: return false") { isTable = false }
        }
        return steps
    }

    @Test("each diagram of a machine has the steps of its table, and no others")
    func diagrams() {
        let machines = StateTests.files.filter { file in
            file.lines.contains { $0.contains(": UInt8, MachinePhase {") }
        }
        #expect(machines.count >= 5)
        for file in machines {
            let allowed = StateTests.allowed(file)
            #expect(!allowed.isEmpty, "\(file.path)")
            #expect(StateTests.drawn(file).sorted() == allowed.sorted(), "\(file.path)")
        }
    }

    /// Fields that `reset` leaves alone, and who sets them before anybody reads them.
    static let setElsewhere: [String: String] = [
        "Exchange.arrival": "Exchanges.begin and InnerRequests.open, for every tenant",
        "Exchange.method": "Exchanges.begin, Mirrors.describe and HealthChecks.start",
        "Exchange.cookiePosition": "Decisions.assign; read where there is a session alone",
        "Exchange.evidenceVersion": "Decisions.assign, with the evidence; read with it alone",
        "Exchange.unit": "Decisions.assign, with the evidence; read with it alone",
        "Exchange.check": "HealthChecks.start; read where kind is .check alone",
        "ExchangeSummary.peer": "Exchanges.begin and Mirrors.describe; nobody reads a check's",
        "ExchangeSummary.client": "Exchanges.begin and Mirrors.describe; nobody reads a check's",
        "HTTP2Link.socket": "HTTP2Links.open, for every tenant",
    ]

    /// The fields of structs that begin anew by a list, each as `Struct.field`, and whether the
    /// list has it. A struct that assigns a fresh value to itself cannot forget one.
    static func fields(_ file: TidyTests.File) -> [(name: String, isReset: Bool)] {
        var fields: [String: [String]] = [:], listed: [String: Set<String>] = [:]
        var owner = "", isReset = false
        for line in file.lines {
            if !line.hasPrefix(" "), let range = line.range(of: "struct ") {
                owner = String(line[range.upperBound...].prefix { $0.isLetter || $0.isNumber })
            }
            if line.contains("mutating func reset()") {
                isReset = true
                listed[owner] = listed[owner] ?? []
                continue
            }
            if line == "    }" { isReset = false }
            let word = line.drop { $0 == " " }.drop { $0 == "`" }
                .prefix { $0.isLetter || $0.isNumber }
            if isReset {
                listed[owner]?.insert(String(word))
                // As in `if replay.capacity > 0 { replay.release() }`.
                if word == "if", let name = line.components(separatedBy: "{ ").last {
                    listed[owner]?.insert(String(name.prefix { $0.isLetter || $0.isNumber }))
                }
            } else if let name = StateTests.stored(line) {
                fields[owner, default: []].append(name)
            }
        }
        return listed.flatMap { owner, names in
            names.contains("self")
                ? [] : (fields[owner] ?? []).map { ("\(owner).\($0)", names.contains($0)) }
        }
    }

    /// The name of the field that a line declares, if it is a struct's own and no computed one.
    private static func stored(_ line: Substring) -> String? {
        guard line.hasPrefix("    "), !line.hasPrefix("     "), !line.hasSuffix("}"),
            !line.hasSuffix("{")
        else { return nil }
        var rest = line.dropFirst(4)
        for word in ["public ", "private(set) ", "private "] where rest.hasPrefix(word) {
            rest = rest.dropFirst(word.count)
        }
        guard rest.hasPrefix("var ") else { return nil }
        return String(rest.dropFirst(4).drop { $0 == "`" }.prefix { $0.isLetter || $0.isNumber })
    }

    @Test("a slot's reset forgets no field, but those that every tenant sets")
    func resets() {
        let fields = StateTests.files.flatMap(StateTests.fields)
        #expect(fields.count > 60, "\(fields.count)")
        let forgotten = fields.filter { !$0.isReset }.map(\.name)
        #expect(Set(forgotten) == Set(StateTests.setElsewhere.keys), "\(forgotten)")
    }
}
