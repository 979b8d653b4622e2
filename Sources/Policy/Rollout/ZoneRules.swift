import Base

/// The offsets of a time zone from UTC, read from a file of the tz database (TZif, RFC 9636):
/// transitions that are listed, and after the last of them the rule of the footer.
///
/// The bytes may be anything: a file that is none is refused, and no input takes more than its own
/// length in time and memory.
public struct ZoneRules: Sendable, Equatable {
    /// Why bytes are no rules.
    public struct Failure: Error, Sendable, Equatable {
        public var message: String
        init(_ message: String) { self.message = message }
    }

    /// Universal time, which has one offset.
    public static let utc = ZoneRules(transitions: [], offsets: [], first: 0, footer: nil)

    /// The largest file that is read, in bytes.
    public static let bytesMax = 262_144

    /// Seconds since 1970, strictly rising.
    private let transitions: [Int64]
    /// Seconds east of UTC from each transition on.
    private let offsets: [Int]
    /// The offset before the first transition.
    private let first: Int
    /// The rule after the last transition.
    private let footer: PosixZone?

    private init(transitions: [Int64], offsets: [Int], first: Int, footer: PosixZone?) {
        self.transitions = transitions
        self.offsets = offsets
        self.first = first
        self.footer = footer
    }

    /// Reads a file of version 2 or later.
    public init(_ bytes: [UInt8]) throws(Failure) {
        guard bytes.count <= ZoneRules.bytesMax else { throw Failure("the file is too long") }
        var reader = TZifReader(bytes)
        let old = try reader.header()
        guard old.version >= 0x32 else { throw Failure("version 1 of TZif has no rule for later") }
        try reader.skip(old.length(timeBytes: 4))
        let header = try reader.header()
        guard header.leapCount == 0 else {
            throw Failure("its times count leap seconds, as those under right/ do")
        }
        guard (1...256).contains(header.typeCount) else {
            throw Failure("it has \(header.typeCount) kinds of local time, expected 1 to 256")
        }
        guard header.length(timeBytes: 8) <= reader.rest else { throw TZifReader.cut }
        var transitions: [Int64] = []
        for _ in 0..<header.timeCount {
            let time = try reader.integer(8)
            if let last = transitions.last, time <= last {
                throw Failure("its transitions are not in order")
            }
            transitions.append(time)
        }
        var kinds: [Int] = []
        for _ in 0..<header.timeCount { kinds.append(Int(try reader.byte())) }
        var types: [Int] = []
        for _ in 0..<header.typeCount {
            let offset = Int(try reader.integer(4))
            _ = try reader.integer(2)
            // RFC 9636 §3.2: more than -25 and less than 26 hours.
            guard offset > -90_000, offset < 93_600 else {
                throw Failure("an offset of \(offset) seconds is no local time")
            }
            types.append(offset)
        }
        guard kinds.allSatisfy(types.indices.contains) else {
            throw Failure("a transition leads to a kind of local time that is not there")
        }
        try reader.skip(header.charCount + header.standardCount + header.universalCount)
        self.transitions = transitions
        offsets = kinds.map { types[$0] }
        first = types[0]
        let text = try reader.footer()
        footer = text.isEmpty ? nil : try PosixZone(text)
    }

    /// Times further from 1970 are read as this one: the year is 9999.
    static let secondsMax: Int64 = 253_402_300_799

    /// Seconds east of UTC at a time in seconds since 1970.
    public func offset(at seconds: Int64) -> Int {
        let seconds = min(max(seconds, -ZoneRules.secondsMax), ZoneRules.secondsMax)
        guard let last = transitions.last, seconds < last else {
            return footer?.offset(at: seconds) ?? offsets.last ?? first
        }
        let next = firstTransition(after: seconds)
        return next == 0 ? first : offsets[next - 1]
    }

    /// The next time after one at which the offset may change; `nil` when none comes.
    public func transition(after seconds: Int64) -> Int64? {
        let seconds = min(max(seconds, -ZoneRules.secondsMax), ZoneRules.secondsMax)
        let next = firstTransition(after: seconds)
        if next < transitions.count { return transitions[next] }
        return footer?.transition(after: seconds)
    }

    /// The number of the first listed transition after a time.
    private func firstTransition(after seconds: Int64) -> Int {
        var low = 0, high = transitions.count
        while low < high {
            let middle = (low + high) / 2
            if transitions[middle] <= seconds { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// Reads the parts of a TZif file.
private struct TZifReader {
    struct Header {
        var version: UInt8
        var universalCount: Int
        var standardCount: Int
        var leapCount: Int
        var timeCount: Int
        var typeCount: Int
        var charCount: Int

        /// The bytes of the block that follows.
        func length(timeBytes: Int) -> Int {
            timeCount * (timeBytes + 1) + typeCount * 6 + charCount
                + leapCount * (timeBytes + 4) + standardCount + universalCount
        }
    }

    static let cut = ZoneRules.Failure("it ends too soon")

    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var rest: Int { bytes.count - at }

    mutating func byte() throws(ZoneRules.Failure) -> UInt8 {
        guard at < bytes.count else { throw TZifReader.cut }
        at += 1
        return bytes[at - 1]
    }

    /// A whole number with its sign, the first byte the highest.
    mutating func integer(_ count: Int) throws(ZoneRules.Failure) -> Int64 {
        guard rest >= count else { throw TZifReader.cut }
        var value: UInt64 = bytes[at] & 0x80 == 0 ? 0 : .max
        for i in 0..<count { value = value << 8 | UInt64(bytes[at + i]) }
        at += count
        return Int64(bitPattern: value)
    }

    mutating func skip(_ count: Int) throws(ZoneRules.Failure) {
        guard rest >= count else { throw TZifReader.cut }
        at += count
    }

    mutating func header() throws(ZoneRules.Failure) -> Header {
        guard rest >= 44 else { throw TZifReader.cut }
        guard Array(bytes[at..<at + 4]) == Array("TZif".utf8) else {
            throw ZoneRules.Failure("it is no file of time zones")
        }
        let version = bytes[at + 4]
        at += 20
        var counts: [Int] = []
        for _ in 0..<6 {
            let count = Int(try integer(4))
            guard (0...bytes.count).contains(count) else { throw TZifReader.cut }
            counts.append(count)
        }
        return Header(
            version: version, universalCount: counts[0], standardCount: counts[1],
            leapCount: counts[2], timeCount: counts[3], typeCount: counts[4],
            charCount: counts[5])
    }

    /// The text between the two line ends behind the data (RFC 9636 §3.3).
    mutating func footer() throws(ZoneRules.Failure) -> [UInt8] {
        guard try byte() == 0x0a, let end = bytes[at...].firstIndex(of: 0x0a) else {
            throw ZoneRules.Failure("its footer is missing")
        }
        return Array(bytes[at..<end])
    }
}
