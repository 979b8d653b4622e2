import Base
import JSON
import Rollout
import Testing

@Suite struct HookMessageTests {
    private var message: HookMessage {
        var message = HookMessage(
            rollout: "reviews-3", sequence: 17, event: .rolledBack,
            time: WallTime(microseconds: 1_764_392_400_999_999))
        message.service = "reviews"
        message.canary = "v2"
        message.stable = "v1"
        message.state = "rolledBack"
        message.stage = "half"
        message.weight = 1_250
        message.text = "errors of v2 are <5 %> & more than \"tolerated\""
        message.numbers = [
            .init(name: "logEvidence", value: 4.75), .init(name: "eta", value: .infinity),
        ]
        message.labels = [.init(name: "team", value: "shop")]
        return message
    }

    @Test("the body is JSON with the message's key, its time and its numbers")
    func body() throws {
        let root = try JSONReader.read(message.body(.sluice))
        #expect(root["rollout"]?.text == "reviews-3" && root["sequence"]?.integer == 17)
        #expect(root["event"]?.text == "rolledBack" && root["time"]?.text == "2025-11-29T05:00:00Z")
        #expect(root["text"]?.text == message.text)
        #expect(root["labels"]?["team"]?.text == "shop")
        guard case .number(12.5)? = root["weight"]?.content,
            case .number(4.75)? = root["numbers"]?["logEvidence"]?.content,
            case .null? = root["numbers"]?["eta"]?.content
        else {
            Issue.record("the numbers are others")
            return
        }
        #expect(message.idempotencyKey == "reviews-3.17")
    }

    @Test("Slack gets one text, in which nothing of ours is markup")
    func slack() throws {
        let root = try JSONReader.read(message.body(.slack))
        #expect(root.members?.count == 1)
        #expect(
            root["text"]?.text == """
                *reviews* rolledBack: v2 at 12.5 %, stage half (rollout reviews-3)
                errors of v2 are &lt;5 %&gt; &amp; more than "tolerated"
                """)
    }

    @Test("dates are those of the calendar, leap years included")
    func dates() throws {
        for (seconds, text) in [
            (Int64(0), "1970-01-01T00:00:00Z"), (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"), (1_709_164_800, "2024-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"), (1_735_689_599, "2024-12-31T23:59:59Z"),
        ] {
            var message = message
            message.time = WallTime(microseconds: seconds * 1_000_000)
            let root = try JSONReader.read(message.body(.sluice))
            #expect(root["time"]?.text == text)
        }
    }

    @Test("a webhook is a signed POST with an idempotency key, a command has the message around it")
    func calls() throws {
        var values = CallValues()
        try values.set("canary", "v2")
        let hook = RolloutPlan.Hook(
            call: .webhook(url: "https://h/{{canary}}", secretFile: "/key", format: .sluice))
        guard case .request(let request) = try HookCalls(hook).call(message, values).work else {
            Issue.record("no request")
            return
        }
        #expect(request.url.text == "https://h/v2" && request.signingKeyFile == "/key")
        #expect(
            request.settings.headers == [
                .init(name: "idempotency-key", value: .text("reviews-3.17"))
            ])
        let command = RolloutPlan.Hook(call: .command(["tell.sh", "{{canary}}"]))
        guard case .program(let program) = try HookCalls(command).call(message, values).work else {
            Issue.record("no program")
            return
        }
        let environment = program.environment.map { "\($0.name)=\($0.value)" }
        #expect(program.arguments == ["v2"])
        #expect(environment.contains("SLUICE_ROLLOUT_CANARY=v2"))
        #expect(environment.contains("SLUICE_ROLLOUT_EVENT=rolledBack"))
        #expect(environment.contains("SLUICE_ROLLOUT_SEQUENCE=17"))
    }

    @Test("a hook before a stage passes, asks to be asked again, or fails")
    func words() {
        func word(_ status: UInt16) -> HookCalls.Word {
            HookCalls.word(.answered(CallAnswer(status: status)))
        }
        #expect(word(200) == .passes && word(204) == .passes)
        #expect(word(503) == .askAgain("the answer's status is 503"))
        #expect(word(302) == .fails("the answer's status is 302"))
        #expect(HookCalls.word(.ended(ProgramEnd(cause: .exit(75)))) == .askAgain("exit code 75"))
        #expect(HookCalls.word(.ended(ProgramEnd(cause: .exit(2)))) == .fails("exit code 2"))
        #expect(HookCalls.word(.failed(CallFailure(.timedOut, "x"))) == .fails("x"))
        #expect(HookCalls.word(.failed(CallFailure(.busy, "x"))) == .askAgain("x"))
    }

    @Test("the signature is over the time, a full stop and the body")
    func signature() {
        let value = HookSignature.value(key: [1], seconds: 42, body: Array("{}".utf8)) {
            key, data in
            #expect(key == [1] && data == Array("42.{}".utf8))
            return [0x00, 0xab, 0xff]
        }
        #expect(value == "sha256=00abff")
    }
}

@Suite struct HookQueueTests {
    private func message(_ sequence: Int) -> HookMessage {
        HookMessage(
            rollout: "r", sequence: sequence, event: .stage, time: WallTime(microseconds: 0))
    }

    private func at(_ seconds: Int) -> Instant {
        Instant(nanoseconds: UInt64(seconds) * 1_000_000_000)
    }

    private let down = CallOutcome.failed(CallFailure(.notConnected, "down"))
    private func status(_ code: UInt16) -> CallOutcome { .answered(CallAnswer(status: code)) }

    @Test("messages are delivered in their order, one at a time")
    func order() {
        var queue = HookQueue(), random = PRNG(seed: 1)
        for i in 1...3 { #expect(queue.add(message(i)) == nil) }
        for i in 1...3 {
            #expect(queue.next(now: at(1)) == .send(message(i)))
            queue.began()
            #expect(queue.next(now: at(1)) == .wait(until: .never))
            #expect(queue.end(status(200), now: at(1), random: &random) == .delivered(sequence: i))
        }
        #expect(queue.next(now: at(1)) == .wait(until: .never) && queue.entries.isEmpty)
        #expect(queue.end(status(200), now: at(1), random: &random) == nil)
    }

    @Test("pauses between attempts double up to five minutes, and the message stays the first")
    func pauses() {
        var queue = HookQueue(), random = PRNG(seed: 2), now = at(10)
        _ = queue.add(message(1))
        _ = queue.add(message(2))
        for attempt in 0..<12 {
            #expect(queue.next(now: now) == .send(message(1)))
            queue.began()
            guard case .again(1, let pause, "down")? = queue.end(down, now: now, random: &random)
            else {
                Issue.record("no pause")
                return
            }
            let whole = min(300, 1 << attempt)
            #expect(pause <= .seconds(Int64(whole)) && pause >= .milliseconds(Int64(whole) * 800))
            #expect(queue.next(now: now) == .wait(until: now + pause))
            now = now + pause
        }
    }

    @Test("a message that the receiver refuses for good is given up after five attempts")
    func refused() {
        var queue = HookQueue(), random = PRNG(seed: 3)
        _ = queue.add(message(1))
        _ = queue.add(message(2))
        var end: HookQueue.End?
        var attempts = 0
        repeat {
            queue.began()
            end = queue.end(status(attempts % 2 == 0 ? 400 : 429), now: at(1), random: &random)
            attempts += 1
        } while queue.entries.first?.message.sequence == 1
        #expect(end == .givenUp(sequence: 1, reason: "the answer's status is 400"))
        // 429 asks for patience and is no refusal.
        #expect(attempts == 9 && queue.droppedCount == 1)
        #expect(queue.next(now: at(1)) == .send(message(2)))
    }

    @Test("a full queue loses its oldest message, but not the one that is under way")
    func bounded() {
        var queue = HookQueue(), random = PRNG(seed: 4)
        for i in 1...100 { #expect(queue.add(message(i)) == nil) }
        queue.began()
        #expect(queue.add(message(101)) == message(2))
        #expect(queue.end(status(200), now: at(1), random: &random) == .delivered(sequence: 1))
        #expect(queue.add(message(102)) == nil)
        #expect(queue.add(message(103)) == message(3))
        #expect(queue.entries.count == 100 && queue.droppedCount == 2)
    }

    @Test("a restart keeps the messages and their attempts, and the first is due at once")
    func restart() {
        var queue = HookQueue(), random = PRNG(seed: 5)
        for i in 1...3 { _ = queue.add(message(i)) }
        queue.began()
        _ = queue.end(down, now: at(1), random: &random)
        let again = HookQueue(entries: queue.entries, droppedCount: 7, now: at(50))
        #expect(again.entries == queue.entries && again.entries[0].attempts == 1)
        #expect(again.next(now: at(50)) == .send(message(1)) && again.droppedCount == 7)
    }
}
