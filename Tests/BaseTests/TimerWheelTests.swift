import Base
import Testing

@Suite struct TimerWheelTests {
    @Test("a timer never fires early and at most two ticks late, over all levels")
    func firesOnTime() {
        var random = PRNG(seed: 11)
        var wheel = TimerWheel(now: Instant(nanoseconds: 5_000))
        let spans: [UInt64] = [
            1_000_000, 40_000_000, 3_000_000_000, 900_000_000_000, 40_000_000_000_000,
        ]
        var deadlines: [UInt64] = []
        for i in 0..<500 {
            let deadline = 5_000 + random.below(spans[i % spans.count])
            deadlines.append(deadline)
            wheel.arm(wheel.take(payload: UInt64(i)), at: Instant(nanoseconds: deadline))
        }
        var fired: [UInt64: UInt64] = [:]
        while wheel.armedCount > 0 {
            let now = wheel.nextDeadline
            var list: [UInt64] = []
            wheel.expire(now: now, into: &list)
            for payload in list { fired[payload] = now.nanoseconds }
        }
        for (i, deadline) in deadlines.enumerated() {
            let at = fired[UInt64(i)] ?? 0
            #expect(at >= deadline)
            #expect(at - deadline <= 2 << 22)
        }
    }

    @Test("timers armed at any time fire as a sorted list would, over all levels")
    func agreesWithModel() {
        // Found by simulation: a near timer of level 0 hid a nearer one that waited on level 1.
        var random = PRNG(seed: 12)
        var wheel = TimerWheel(now: Instant(nanoseconds: 0))
        var waiting: [UInt64: UInt64] = [:]
        var now: UInt64 = 0
        for payload in 0..<3_000 as Range<UInt64> {
            let spans: [UInt64] = [300_000_000, 3_000_000_000, 2_000_000_000_000]
            let deadline = now + random.below(spans[Int(random.below(3))])
            waiting[payload] = deadline
            wheel.arm(wheel.take(payload: payload), at: Instant(nanoseconds: deadline))
            now += random.below(400_000_000)
            var fired: [UInt64] = []
            wheel.expire(now: Instant(nanoseconds: now), into: &fired)
            for payload in fired {
                let deadline = waiting.removeValue(forKey: payload)
                #expect(deadline.map { $0 <= now } == true)
            }
            let late = waiting.values.filter { $0 + (2 << 22) < now }
            #expect(late.isEmpty)
        }
    }

    @Test("the next deadline is never after the next firing, whatever is armed, moved and disarmed")
    func announcesTheNext() {
        var random = PRNG(seed: 13)
        var wheel = TimerWheel(now: Instant(nanoseconds: 0))
        let timers = (0..<20).map { wheel.take(payload: $0) }
        var now = Instant(nanoseconds: 0)
        for _ in 0..<20_000 {
            let id = timers[Int(random.below(20))]
            let spans: [UInt64] = [30_000_000, 3_000_000_000, 2_000_000_000_000]
            switch random.below(4) {
            case 0: wheel.disarm(id)
            case 1, 2:
                let span = spans[Int(random.below(3))]
                wheel.arm(id, at: now + Duration.nanoseconds(Int64(random.below(span))))
            default:
                // An idle loop sleeps until the announced time, or is woken before.
                let next = wheel.nextDeadline
                let until = now + Duration.nanoseconds(Int64(random.below(5_000_000_000)))
                now = max(now, min(next, until))
                if next <= now {
                    var fired: [UInt64] = []
                    wheel.expire(now: now, into: &fired)
                    let after = wheel.nextDeadline
                    #expect(after > now, "what has come is served, or the loop would never sleep")
                }
            }
            let first = timers.map { wheel.due($0) }.min() ?? .never
            let next = wheel.nextDeadline
            #expect(next <= first)
            #expect(wheel.armedCount > 0 || next == .never)
        }
    }

    @Test("a disarmed timer does not fire, a moved one fires at its new time")
    func moves() {
        var wheel = TimerWheel(now: Instant(nanoseconds: 0))
        let a = wheel.take(payload: 1), b = wheel.take(payload: 2)
        wheel.arm(a, at: Instant(nanoseconds: 1_000_000_000))
        wheel.arm(b, at: Instant(nanoseconds: 1_000_000_000))
        wheel.disarm(a)
        wheel.arm(b, at: Instant(nanoseconds: 9_000_000_000))
        var fired: [UInt64] = []
        wheel.expire(now: Instant(nanoseconds: 8_000_000_000), into: &fired)
        #expect(fired.isEmpty)
        wheel.expire(now: Instant(nanoseconds: 9_100_000_000), into: &fired)
        #expect(fired == [2])
        let next = wheel.nextDeadline
        #expect(next == .never)
    }

    @Test("a lazy timer whose deadline moved away is armed again, not fired")
    func lazy() {
        var wheel = TimerWheel(now: Instant(nanoseconds: 0))
        var timer = LazyTimer()
        timer.attach(to: &wheel, payload: 7)
        timer.set(Instant(nanoseconds: 1_000_000_000), on: &wheel)
        timer.set(Instant(nanoseconds: 5_000_000_000), on: &wheel)
        var fired: [UInt64] = []
        let early = Instant(nanoseconds: 1_100_000_000), late = Instant(nanoseconds: 5_100_000_000)
        wheel.expire(now: early, into: &fired)
        #expect(fired == [7])
        let isEarly = timer.fired(now: early, on: &wheel)
        #expect(!isEarly)
        wheel.expire(now: late, into: &fired)
        let isDue = timer.fired(now: late, on: &wheel)
        #expect(isDue)
    }
}
