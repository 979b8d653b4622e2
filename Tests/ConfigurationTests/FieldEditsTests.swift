import Base
import Configuration
import Testing

/// How edits of several levels come together.
@Suite struct FieldEditsTests {
    /// A model of edits, word for word: each acts on the lines that the one before has left.
    static func model(
        _ lines: [(String, String)], _ levels: [Document.HeaderEdits.Direction]
    ) -> [String] {
        var lines = lines
        func take(_ name: String) {
            lines.removeAll { $0.0.lowercased() == name.lowercased() }
        }
        for level in levels {
            level.remove.forEach(take)
            for (name, value) in level.set {
                take(name)
                lines.append((name, value))
            }
            for (name, value) in level.add { lines.append((name, value)) }
        }
        return lines.map { "\($0.0.lowercased()): \($0.1)" }
    }

    @Test("edits of two levels put together do what they do one after the other")
    func together() {
        var random = PRNG(seed: 3)
        func name() -> String {
            ["a", "A", "bc", "Bc", "x-long", "X-LONG", "d"][Int(random.below(7))]
        }
        func pairs() -> [(name: String, value: String)] {
            (0..<random.below(4)).map { (name(), "\($0)\(random.below(9))") }
        }
        for _ in 0..<5_000 {
            let levels = (0..<2).map { _ in
                var level = Document.HeaderEdits.Direction()
                level.set = pairs()
                level.add = pairs()
                level.remove = (0..<random.below(3)).map { _ in name() }
                return level
            }
            let lines: [(String, String)] = (0..<random.below(6)).map { (name(), "o\($0)") }
            let edits = FieldEdits(levels)
            #expect(edits.removed.allSatisfy { $0 == $0.lowercased() })
            var found = lines.filter { !edits.removed.contains($0.0.lowercased()) }
            found += edits.lines.map { ($0.name, $0.value) }
            #expect(
                found.map { "\($0.0.lowercased()): \($0.1)" }
                    == FieldEditsTests.model(lines, levels))
        }
    }

    @Test("the version has the last word, and set leaves one line of its name")
    func order() {
        var route = Document.HeaderEdits.Direction()
        route.set = [("X-Env", "route")]
        route.add = [("x-tag", "1")]
        route.remove = ["x-old"]
        var version = Document.HeaderEdits.Direction()
        version.set = [("x-env", "version")]
        version.add = [("x-tag", "2"), ("x-old", "again")]
        let edits = FieldEdits([route, version])
        #expect(edits.removed == ["x-old", "x-env"])
        #expect(
            edits.lines.map { "\($0.name)=\($0.value)" }
                == ["x-tag=1", "x-env=version", "x-tag=2", "x-old=again"])
        #expect(FieldEdits([]).isEmpty)
    }
}
