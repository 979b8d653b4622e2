/// Lines that wait to be written, in their order, of a bounded length together. A value; who shares
/// one guards it.
package struct LogQueue {
    /// Lines to be written at one time.
    package struct Batch: Equatable {
        package var bytes: [UInt8]
        package var lineCount: Int
        /// Lines that were dropped since the batch before: there was no room, or nobody took them.
        package var droppedCount: Int

        package init(bytes: [UInt8], lineCount: Int, droppedCount: Int) {
            self.bytes = bytes
            self.lineCount = lineCount
            self.droppedCount = droppedCount
        }
    }

    /// Bytes that wait, in all.
    package static let bytesMax = 256 << 10

    private var bytes: [UInt8] = []
    private var lineCount = 0
    private var droppedCount = 0
    /// Lines that could not be written.
    private var lostCount = 0
    private var isUnderWay = false

    package init() {}

    /// Nothing waits, and nothing is being written.
    package var isWritten: Bool { lineCount == 0 && !isUnderWay }

    /// Adds a line, or drops and counts it where there is no room.
    package mutating func put(_ line: [UInt8]) {
        // Those behind a line that was dropped wait until its loss is told: order stays.
        guard droppedCount == 0, bytes.count + line.count <= LogQueue.bytesMax else {
            droppedCount += 1
            return
        }
        bytes += line
        lineCount += 1
    }

    /// Takes all that waits; `nil` when that is nothing.
    package mutating func take() -> Batch? {
        guard lineCount > 0 else { return nil }
        defer {
            (bytes, lineCount, droppedCount, lostCount) = ([], 0, 0, 0)
            isUnderWay = true
        }
        return Batch(
            bytes: bytes, lineCount: lineCount, droppedCount: droppedCount + lostCount)
    }

    /// A batch was written, or was lost: a full disk took nothing.
    package mutating func written(_ batch: Batch, isLost: Bool) {
        isUnderWay = false
        if isLost { lostCount += batch.lineCount + batch.droppedCount }
    }
}
