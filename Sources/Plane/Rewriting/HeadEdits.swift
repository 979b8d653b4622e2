import Base
import Configuration
import HTTPSemantics

/// Edits of a head's text: the one place where a route's and a version's edits act, on requests and
/// on answers, on lines that came and on lines that this proxy wrote.
public enum HeadEdits {
    /// Takes lines out and adds others, as `FieldEdits` orders.
    ///
    /// - Parameters:
    ///   - edits: what to do; never empty, so that heads without edits pay nothing.
    ///   - head: ends with a head's field lines, without the empty line behind them.
    ///   - start: where the first field line starts, by position.
    ///   - spare: memory for the copy; its bytes are lost.
    @inline(never)
    public static func apply(
        _ edits: Snapshot.EditPlan.Direction, _ snapshot: SharedBox<Snapshot>,
        to head: inout ByteBuffer, from start: Int, spare: inout ByteBuffer
    ) {
        if !edits.removed.isEmpty { remove(edits.removed, snapshot, &head, start, &spare) }
        head.append(snapshot.value.store.bytes(edits.lines))
    }

    private static func remove(
        _ names: Snapshot.Run, _ snapshot: SharedBox<Snapshot>, _ head: inout ByteBuffer,
        _ start: Int, _ spare: inout ByteBuffer
    ) {
        let lines = head.span(ByteRange(start, end: head.writerIndex))
        var copied = 0
        spare.clear()
        FieldText.forEach(lines) { name, _, line in
            guard isNamed(lines.extracting(name.range), names, snapshot) else { return }
            spare.append(lines.extracting(copied..<line.lower))
            copied = line.upper
        }
        // Most edits find nothing to take out.
        guard copied > 0 else { return }
        spare.append(lines.extracting(copied..<lines.count))
        head.truncate(to: start)
        head.append(spare.readable)
    }

    private static func isNamed(
        _ name: Span<UInt8>, _ names: Snapshot.Run, _ snapshot: SharedBox<Snapshot>
    ) -> Bool {
        for i in names.start..<names.end {
            let edited = snapshot.value.store.bytes(snapshot.value.editedNames[i])
            if ASCII.equalFold(name, edited) { return true }
        }
        return false
    }
}
