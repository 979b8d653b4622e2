import Base
import JSON

/// The text of a journal: one JSON object a line,
///
///     {"sequence":7,"time":…,"body":{…},"previous":"<SHA-256>","crc":"<CRC-32C>"}
///
/// in which `crc` covers the bytes in front of it and `previous` is the SHA-256 of the line before,
/// without its end; 64 zeros in the first line of all. The checksum finds what a crash has torn,
/// the chain what somebody has changed.
public enum JournalCodec {
    /// SHA-256 of bytes, 32 bytes; given by a floor above, which has OpenSSL.
    public typealias Digest = ([UInt8]) -> [UInt8]

    /// The longest line that is read or written, in bytes.
    public static let lineMax = 8 << 20
    /// The hash in front of the first line of all.
    public static let origin = [UInt8](repeating: 0, count: 32)

    /// The bytes behind those that the checksum covers: the member, eight digits, `"}`.
    private static let tailBytes = 8 + 8 + 2

    /// Writes a record.
    ///
    /// - Parameter previous: the hash of the line before.
    /// - Returns: the line with its end, and its hash.
    public static func line(
        _ record: JournalRecord, after previous: [UInt8], _ digest: Digest
    ) -> (bytes: [UInt8], hash: [UInt8]) {
        // Nothing in a record refuses to be encoded.
        let body = (try? JournalEncoder.encode(record.body)) ?? .null
        let head = JSONText.object([
            ("sequence", .integer(record.sequence)),
            ("time", .integer(Int(record.time.microseconds))), ("body", body),
            ("previous", .string(hex(previous))),
        ]).line()
        var bytes = Array(head.utf8.dropLast())
        bytes += Array(",\"crc\":\"\(hex(CRC32C.checksum(bytes)))\"}".utf8)
        let hash = digest(bytes)
        return (bytes + [0x0a], hash)
    }

    /// Why a journal is not believed.
    public struct Problem: Error, Equatable, Sendable {
        /// From 1.
        public var line: Int
        public var text: String
    }

    /// As much of a journal as stands.
    public struct Reading: Sendable, Equatable {
        public var fold = JournalFold()
        /// The hash of the last line.
        public var hash = JournalCodec.origin
        /// The length of the lines that stand, in bytes.
        public var bytes = 0
        public var lines = 0
        /// Bytes behind them, of a line that was never written as a whole.
        public var torn = 0
    }

    /// Reads a journal. Whoever wrote it is not believed: checksum, chain, numbers and form of each
    /// line are checked, and each record must follow from those before it. A last line that a crash
    /// has torn is left out; every other fault is an error.
    ///
    /// - Parameter visit: is shown each record, in their order.
    public static func read(
        _ bytes: [UInt8], _ digest: Digest, visit: (JournalRecord) -> Void = { _ in }
    ) throws(Problem) -> Reading {
        var reading = Reading()
        while reading.bytes < bytes.count {
            let rest = bytes[reading.bytes...]
            let end = rest.firstIndex(of: 0x0a) ?? bytes.count
            let line = Array(rest[..<end])
            guard end < bytes.count, isWhole(line) else {
                let isLast = end + 1 >= bytes.count
                guard isLast else {
                    throw Problem(
                        line: reading.lines + 1,
                        text: "the checksum is wrong, and other lines stand behind")
                }
                reading.torn = bytes.count - reading.bytes
                return reading
            }
            let record = try record(line, &reading, digest)
            do throws(JournalFold.Failure) {
                try reading.fold.apply(record)
            } catch {
                throw Problem(line: reading.lines + 1, text: error.text)
            }
            visit(record)
            reading.lines += 1
            reading.bytes = end + 1
        }
        return reading
    }

    /// Whether a line is as it was written: its checksum says so.
    private static func isWhole(_ line: [UInt8]) -> Bool {
        guard line.count > tailBytes, line.count <= lineMax else { return false }
        let head = line[..<(line.count - tailBytes)], end = line[(line.count - tailBytes)...]
        let wanted = Array(",\"crc\":\"\(hex(CRC32C.checksum(head)))\"}".utf8)
        return end.elementsEqual(wanted)
    }

    private static func record(
        _ line: [UInt8], _ reading: inout Reading, _ digest: Digest
    ) throws(Problem) -> JournalRecord {
        let number = reading.lines + 1
        var limits = JSONReader.Limits()
        limits.bytesMax = lineMax
        limits.nodesMax = 1_000_000
        let node: JSONNode
        do throws(JSONError) {
            node = try JSONReader.read(line, limits: limits)
        } catch {
            throw Problem(line: number, text: "column \(error.mark.column): \(error.message)")
        }
        let names = ["sequence", "time", "body", "previous", "crc"]
        guard node.members?.map(\.name) == names, let sequence = node["sequence"]?.integer,
            let time = node["time"]?.integer, let body = node["body"],
            let previous = node["previous"]?.text
        else { throw Problem(line: number, text: "this is no record of a journal") }
        // A journal that was begun anew goes on with the chain of the one before.
        guard number == 1 || previous == hex(reading.hash) else {
            throw Problem(
                line: number, text: "the chain is broken: this line does not follow the one before")
        }
        if number == 1, sequence == 1, previous != hex(origin) {
            throw Problem(line: number, text: "the chain does not begin with this line")
        }
        reading.hash = digest(line)
        do throws(JournalFold.Failure) {
            return JournalRecord(
                sequence: sequence, time: WallTime(microseconds: Int64(time)),
                body: try JournalDecoder.decode(JournalRecord.Body.self, body))
        } catch {
            throw Problem(line: number, text: error.text)
        }
    }

    // MARK: Digits

    public static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
            as: UTF8.self)
    }

    private static func hex(_ value: UInt32) -> String {
        hex((0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) })
    }
}
