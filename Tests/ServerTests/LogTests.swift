import Base
import Server
import Testing

@Suite struct LogTests {
    let start = Instant(nanoseconds: 1_000_000_000)

    @Test("lines are taken in their order, all at once")
    func order() {
        var queue = LogQueue()
        #expect(queue.isWritten && queue.take() == nil)
        queue.put([1])
        queue.put([2, 3])
        let batch = LogQueue.Batch(bytes: [1, 2, 3], lineCount: 2, droppedCount: 0)
        #expect(!queue.isWritten && queue.take() == batch)
        #expect(!queue.isWritten, "they are being written")
        queue.written(batch, isLost: false)
        #expect(queue.isWritten)
    }

    @Test("what does not fit is dropped and counted, and told behind what was there before")
    func full() throws {
        var queue = LogQueue()
        let line = [UInt8](repeating: 1, count: 1_024)
        for _ in 0..<256 { queue.put(line) }
        queue.put(line)
        queue.put([2])
        let taken = queue.take()
        let first = try #require(taken)
        #expect(first.bytes.count == LogQueue.bytesMax)
        #expect(first.lineCount == 256 && first.droppedCount == 2)
        queue.put([3])
        queue.written(first, isLost: false)
        #expect(queue.take() == LogQueue.Batch(bytes: [3], lineCount: 1, droppedCount: 0))
    }

    @Test("lines that a full disk refused are counted with the next ones")
    func lost() throws {
        var queue = LogQueue()
        queue.put([1])
        queue.put([2])
        let taken = queue.take()
        queue.written(try #require(taken), isLost: true)
        #expect(queue.isWritten && queue.take() == nil, "no line is written about a loss alone")
        queue.put([3])
        #expect(queue.take() == LogQueue.Batch(bytes: [3], lineCount: 1, droppedCount: 2))
    }

    @Test("a log that cannot be written is told of once, and once when it is written again")
    func losses() {
        var losses = LogLosses()
        #expect(losses.wrote(now: start) == nil)
        #expect(losses.lose(3, why: "full", now: start) == .failing(why: "full"))
        for i in Int64(0)..<1_000 {
            let now = start + .milliseconds(i)
            #expect(losses.lose(1, why: "full", now: now) == nil)
            #expect(losses.wrote(now: now) == nil, "one that takes some lines tells nothing")
        }
        #expect(losses.end() == .ended(lost: 1_003))
        let later = start + .milliseconds(999) + LogLosses.quiet
        #expect(losses.wrote(now: later) == .writtenAgain(lost: 1_003))
        #expect(losses.wrote(now: later) == nil && losses.end() == nil)
        #expect(losses.lose(1, why: "gone", now: later) == .failing(why: "gone"))
    }
}
