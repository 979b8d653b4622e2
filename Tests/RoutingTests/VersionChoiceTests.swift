import Routing
import Testing

@Suite struct VersionChoiceTests {
    /// The rule with the answers to its questions, which notes which of them were asked.
    private struct Case {
        var named = -1, session = -1, bound = -1, drawn = 2
        var stable = 0, fallsBack = false
        var unusable: Set<Int> = []

        func choose() -> (choice: VersionChoice, asked: [String]) {
            var asked: [String] = []
            let choice = VersionChoice.choose(
                named: named,
                session: {
                    asked.append("session")
                    return session
                },
                bound: {
                    asked.append("bound")
                    return bound
                },
                drawn: {
                    asked.append("drawn")
                    return drawn
                },
                stable: stable, fallsBack: fallsBack,
                isUsable: {
                    asked.append("usable \($0)")
                    return !unusable.contains($0)
                })
            return (choice, asked)
        }
    }

    @Test("the first that there is decides, and nothing behind it is asked")
    func order() {
        let named = Case(named: 3, session: 1, bound: 4).choose()
        #expect(named.choice == VersionChoice(3, .named) && named.asked.isEmpty)
        let session = Case(session: 1, bound: 4).choose()
        #expect(session.choice == VersionChoice(1, .session) && session.asked == ["session"])
        let bound = Case(bound: 4).choose()
        #expect(bound.choice == VersionChoice(4, .bound))
        #expect(bound.asked == ["session", "bound"])
        let drawn = Case().choose()
        #expect(drawn.choice == VersionChoice(2, .drawn))
        #expect(drawn.asked == ["session", "bound", "drawn"])
    }

    @Test("the stable version stands in for whatever was found, and only where it is not usable")
    func fallback() {
        let ways = [Case(named: 2), Case(session: 2), Case(bound: 2), Case(drawn: 2)]
        for var way in ways {
            let plain = way.choose().choice
            way.unusable = [2]
            #expect(way.choose().choice == plain, "the service does not fall back")
            way.fallsBack = true
            #expect(way.choose().choice == VersionChoice(0, .fallback))
            #expect(way.choose().asked.last == "usable 2")
            way.unusable = []
            #expect(way.choose().choice == plain)
        }
    }

    @Test("a stable version that is not usable stays: there is nothing to fall back to")
    func stable() {
        let choice = Case(drawn: 0, fallsBack: true, unusable: [0]).choose()
        #expect(choice.choice == VersionChoice(0, .drawn))
        #expect(choice.asked == ["session", "bound", "drawn"])
    }
}
