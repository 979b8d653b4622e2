import Foundation
import Testing

/// Doc comments stand alone: an editor shows each without the line above it.
@Suite struct ProseTests {
    /// Words that begin a fragment, or a sentence whose subject stands in the line above.
    static let openings = ["Of", "It", "Its", "The same", "What"]

    /// Folders whose comments are still to be rewritten. The list only gets shorter.
    static let unfinished: [String] = []

    /// The first line of each doc comment, with its number.
    static func beginnings(_ lines: [Substring]) -> [(number: Int, text: Substring)] {
        var found: [(Int, Substring)] = [], wasComment = false
        for (i, line) in lines.enumerated() {
            let text = line.drop { $0 == " " }
            let isComment = text.hasPrefix("///")
            if isComment, !wasComment {
                found.append((i + 1, text.dropFirst(3).drop { $0 == " " }))
            }
            wasComment = isComment
        }
        return found
    }

    /// The opening that a comment begins with and should not; `nil` when there is none.
    static func fault(_ text: Substring) -> String? {
        openings.first { word in
            text.hasPrefix(word) && text.dropFirst(word.count).first?.isLetter != true
        }
    }

    @Test("no doc comment begins with a word that leans on the line above it")
    func openings() {
        for file in TidyTests.files {
            if ProseTests.unfinished.contains(where: file.path.hasPrefix) { continue }
            for comment in ProseTests.beginnings(file.lines) {
                let fault = ProseTests.fault(comment.text)
                #expect(
                    fault == nil,
                    "\(file.path):\(comment.number): begins with \"\(fault ?? "")\": say what it is"
                )
            }
        }
    }

    @Test("a fragment is found, and a sentence is not taken for one")
    func search() {
        #expect(ProseTests.fault("Of the whole representation.") == "Of")
        #expect(ProseTests.fault("The same of two values.") == "The same")
        #expect(ProseTests.fault("What is there.") == "What")
        #expect(ProseTests.fault("Offsets of the lines.") == nil)
        #expect(ProseTests.fault("Items that wait.") == nil)
        #expect(ProseTests.fault("Whatever a peer sends.") == nil)
        let lines: [Substring] = ["/// One.", "/// It goes on.", "var a = 1", "    /// Its end."]
        #expect(ProseTests.beginnings(lines).map(\.number) == [1, 4])
    }
}
