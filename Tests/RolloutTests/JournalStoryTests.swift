import Base
import JSON
import Rollout
import Testing

@Suite("The history and the replay of a journal") struct JournalStoryTests {
    /// The records of a world's journal.
    static func records(_ world: RolloutWorld) throws -> [JournalRecord] {
        var records: [JournalRecord] = []
        _ = try JournalCodec.read(world.journal, RolloutWorld.digest) { records.append($0) }
        return records
    }

    static func story(_ records: [JournalRecord]) throws -> JournalStory {
        var story = JournalStory()
        for record in records { try story.add(record) }
        return story
    }

    /// A rollout in its first stage, with a judge that looks once a second.
    struct Watched {
        var world = RolloutWorld(Plans.plain)
        var stage: SyntheticStage
        var encodings: [String] = []
        var verdicts: [Verdict] = []

        init(canary: SyntheticService.Version = .init(errors: 0.01)) {
            stage = VerdictTests.stage(
                share: 0.3, stable: .init(errors: 0.01), canary: canary, absolute: .init())
        }

        mutating func look() {
            world.pass(1)
            let verdict = stage.step()
            verdicts.append(verdict)
            let judge = stage.judge
            var text: String?
            let effects = world.machine.look(verdict, now: world.now) {
                let written = JudgeCodec.text(judge)
                text = written
                return written
            }
            world.perform(effects)
            if let text { encodings.append(text) }
        }
    }

    // MARK: History

    @Test("a history has what was said, the weights asked for and in force, who approved, the ends")
    func history() throws {
        var world = RolloutWorld(
            Plans.plan([
                Plans.stage("gate", 500) { $0.approval = RolloutPlan.Approval() },
                Plans.stage("half", 5_000),
            ]))
        world.pass(120)
        world.look(.healthy)
        world.approve(by: "anna")
        world.say(.abort(force: false), by: "ben")
        let story = try JournalStoryTests.story(JournalStoryTests.records(world))
        let texts = story.lines.map(\.text)
        for words in [
            "started by anna", "asks for 5 % for v2 (epoch 1)", "5 % for v2 in force (epoch 1)",
            "anna approved stage gate", "asks for 50 % for v2 (epoch 2)", "ben aborted it",
            "asks for 0 % for v2 (epoch 3)", "0 % for v2 in force (epoch 3)",
        ] {
            #expect(texts.contains { $0.contains(words) }, "\(words)")
        }
        #expect(story.lines.map(\.sequence) == story.lines.map(\.sequence).sorted())
        #expect(story.ends.map(\.phase) == [.aborted] && story.ends[0].reason.contains("ben"))
        // Each line once, although a state keeps the last twenty.
        #expect(texts.count { $0.contains("started by anna") } == 1)
    }

    @Test("lines are told once over hundreds of records, snapshots among them")
    func once() throws {
        var world = RolloutWorld(Plans.plain)
        for i in 0..<300 { world.say(i % 2 == 0 ? .pause : .resume) }
        let story = try JournalStoryTests.story(JournalStoryTests.records(world))
        #expect(story.lines.count { $0.text.contains("paused: ben asked for it") } == 150)
        // A file that goes on with another begins with the last record of that one.
        let records = try JournalStoryTests.records(world)
        let twice = try JournalStoryTests.story(records + [try #require(records.last)])
        #expect(twice.lines == story.lines && twice.recordCount == records.count)
    }

    @Test("many short rollouts leave snapshots, with which their journal is renewed")
    func short() throws {
        var sequence = 0, snapshots: [Int] = []
        for number in 1...60 {
            var world = RolloutWorld(Plans.plain, number: number, after: sequence)
            for i in 0..<10 { world.say(i % 2 == 0 ? .pause : .resume) }
            world.say(.abort(force: false))
            sequence = world.machine.sequence
            for record in try JournalStoryTests.records(world) {
                if case .snapshot = record.body { snapshots.append(record.sequence) }
            }
        }
        #expect(sequence > 600 && snapshots.count >= 2, "\(snapshots) of \(sequence)")
    }

    // MARK: Checkpoints

    @Test("the judge is written down with consequences and every ten seconds, and not else")
    func checkpoints() throws {
        var watched = Watched()
        watched.look()
        let first = watched.encodings.count
        let changes = watched.verdicts.count
        for _ in 0..<100 { watched.look() }
        let kinds = zip(watched.verdicts, watched.verdicts.dropFirst()).count {
            $0.0.kind != $0.1.kind
        }
        #expect(changes == 1 && first == 1)
        #expect(watched.encodings.count <= 1 + 11 + kinds + 2)
        #expect(watched.encodings.count >= 8)
        #expect(watched.world.differences == 0)
    }

    @Test("after a kill the judge goes on from the last checkpoint, to the bit")
    func restart() throws {
        var watched = Watched()
        for _ in 0..<35 { watched.look() }
        let text = try #require(watched.encodings.last)
        let fold = try watched.world.reading().fold
        #expect(fold.state?.judge == text)
        // Both go on with the same service from there.
        let found = try JudgeCodec.state(try #require(fold.state).judge)
        #expect(JudgeCodec.text(found) == text)
        var one = watched.stage, other = watched.stage
        one.judge = found
        other.judge = try JudgeCodec.state(text)
        for _ in 0..<30 {
            let (a, b) = (one.step(), other.step())
            #expect(a == b && a.logEvidence.bitPattern == b.logEvidence.bitPattern)
        }
    }

    // MARK: Replay

    static func replay(_ records: [JournalRecord]) throws -> JournalReplay {
        var replay = JournalReplay()
        for record in records { try replay.add(record) }
        return replay
    }

    @Test(
        "a journal's verdicts follow from its counters, of a good version and of a bad one",
        arguments: [0.01, 0.2])
    func replays(errors: Double) throws {
        var watched = Watched(canary: .init(errors: errors))
        for _ in 0..<60 where !watched.world.phase.hasEnded { watched.look() }
        let replay = try JournalStoryTests.replay(JournalStoryTests.records(watched.world))
        #expect(replay.differences == [] && replay.snapshotDifferences == [])
        #expect(replay.lookCount > 1 && replay.computedCount == replay.lookCount)
        let isBad = watched.verdicts.contains { $0.kind == .regression }
        #expect(isBad == (errors > 0.1))
    }

    @Test("a verdict or a number that somebody wrote in is named with its record")
    func forged() throws {
        var watched = Watched()
        for _ in 0..<40 { watched.look() }
        var records = try JournalStoryTests.records(watched.world)
        let index = try #require(
            records.lastIndex {
                if case .event(.look, _) = $0.body { true } else { false }
            })
        guard case .event(.look(var verdict, let judge), let facts) = records[index].body else {
            return
        }
        let sequence = records[index].sequence
        verdict.logEvidence += 1e-9
        records[index].body = .event(.look(verdict, judge: judge), facts)
        records = Array(records[...index])
        var replay = try JournalStoryTests.replay(records)
        #expect(replay.differences.map(\.sequence) == [sequence])
        #expect(replay.differences.first?.text.contains("log E") == true)
        verdict.logEvidence -= 1e-9
        verdict.kind = .regression
        records[index].body = .event(.look(verdict, judge: judge), facts)
        replay = try JournalStoryTests.replay(records)
        #expect(replay.differences.last?.text.contains("regression in the record") == true)
        records[index].body = .event(.look(verdict, judge: "{\"version\":1}"), facts)
        replay = try JournalStoryTests.replay(records)
        #expect(replay.differences.last?.text.contains("none that a judge wrote") == true)
    }

    @Test("a hostile judge's state is refused or computed, whatever its numbers are")
    func hostile() throws {
        var watched = Watched()
        for _ in 0..<40 { watched.look() }
        var records = try JournalStoryTests.records(watched.world)
        let index = try #require(
            records.lastIndex {
                if case .event(.look, _) = $0.body { true } else { false }
            })
        records = Array(records[...index])
        guard case .event(.look(let verdict, let judge), let facts) = records[index].body else {
            return
        }
        let before = try JournalStoryTests.replay(Array(records[..<index]))
        var random = PRNG(seed: 7), computed = 0
        let bad = ["9223372036854775807", "4611686018427387904", "0", "-1", "1000000000000"]
        let words = [
            "7ff0000000000000", "7ff8000000000001", "fff0000000000000", "7fefffffffffffff",
        ]
        for _ in 0..<500 {
            var bytes = Array(judge.utf8)
            for _ in 0...random.below(2) {
                let at = Int(random.below(UInt64(bytes.count)))
                guard let start = bytes[at...].firstIndex(where: { (0x30...0x39).contains($0) })
                else { continue }
                let isHex = start > 0 && bytes[start - 1] == 0x22
                func isDigit(_ byte: UInt8) -> Bool {
                    (0x30...0x39).contains(byte) || isHex && (0x61...0x66).contains(byte)
                }
                let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
                let list = isHex ? words : bad
                let text = list[Int(random.below(UInt64(list.count)))]
                bytes.replaceSubrange(start..<end, with: Array(text.utf8))
            }
            let text = String(decoding: bytes, as: UTF8.self)
            var replay = before
            var record = records[index]
            record.body = .event(.look(verdict, judge: text), facts)
            try replay.add(record)
            computed += replay.computedCount - before.computedCount
        }
        #expect(computed > 0)
    }
}
