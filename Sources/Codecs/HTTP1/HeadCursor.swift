import Base
import HTTPSemantics

/// How far into a head that arrives in pieces the lines were checked, for both head parsers.
///
/// A head that is all there is read once. One that dribbles in is checked line by line and read
/// whole at its end, so that neither the result nor the moment of refusal depends on the pieces,
/// and the work stays linear.
@usableFromInline struct HeadCursor: BitwiseCopyable, Sendable {
    /// Start of the first line that is not complete yet; 0 before the first field line.
    @usableFromInline var checked: UInt32 = 0
    /// The number of field lines before the cursor.
    @usableFromInline var lineCount: UInt32 = 0

    @inlinable init() {}

    var isMidway: Bool { checked > 0 }

    /// Notes where the line starts that is not all there.
    mutating func stop(
        _ bytes: Span<UInt8>, lineStart: Int, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) {
        guard bytes.count < limits.headBytesMax else { throw .headTooLarge }
        checked = UInt32(truncatingIfNeeded: lineStart)
    }

    /// Checks the lines that are complete now. `true`: the head is all there and can be read.
    @inline(__always)
    mutating func isReady(
        _ bytes: Span<UInt8>, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> Bool {
        checked == 0 ? true : try checkLines(bytes, limits: limits)
    }

    private mutating func checkLines(
        _ bytes: Span<UInt8>, limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> Bool {
        var at = Int(checked)
        while true {
            switch try FieldLineParser.line(bytes, at: at) {
            case .field(_, let next):
                lineCount += 1
                guard lineCount <= limits.fieldCountMax else { throw .tooManyFields }
                at = next
            case .end: return true
            case .incomplete:
                try stop(bytes, lineStart: at, limits: limits)
                return false
            }
        }
    }

    /// Reads the field lines behind a head's first line into a table.
    ///
    /// - Parameter start: where they start; `nil` when the first line is not all there.
    /// - Returns: the head's length, or `nil` when it is not all there.
    @inline(__always)
    mutating func readLines(
        _ bytes: Span<UInt8>, from start: Int?, into fields: inout FieldTable,
        limits: borrowing HeadLimits
    ) throws(HTTP1Violation) -> Int? {
        guard let start else {
            try stop(bytes, lineStart: 0, limits: limits)
            return nil
        }
        switch try FieldLineParser.section(bytes, at: start, into: &fields, limits: limits) {
        case .incomplete(let line):
            try stop(bytes, lineStart: line, limits: limits)
            lineCount = UInt32(truncatingIfNeeded: fields.count)
            return nil
        case .complete(let end):
            guard end <= limits.headBytesMax else { throw .headTooLarge }
            checked = 0
            return end
        }
    }
}
