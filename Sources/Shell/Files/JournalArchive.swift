import Base
import Platform
import Rollout
import TLS

/// The journals of a plan as somebody reads them who writes nothing, beside the process that does:
/// the file before the last renewal, then the one in use. Blocks as long as the disk does.
public struct JournalArchive: Sendable {
    public var story = JournalStory()
    public var replay = JournalReplay()
    /// The path of the file in use.
    public var path: String
    /// The fault that the reading ended with, and what to do; `nil`: everything was believed.
    public var problem: String?
    /// Bytes of a last line that is not whole: torn by a crash, or being written now.
    public var torn = 0
    /// The hash of the last record.
    public var hash = JournalCodec.origin

    /// `hash` as hexadecimal digits.
    public var hashText: String { JournalCodec.hex(hash) }

    /// The outcome of a replay in lines for people.
    public var replayLines: [String] {
        var lines = [
            "\(path): \(story.recordCount) records, \(replay.lookCount) looks of the judge, "
                + "\(replay.computedCount) computed anew, \(replay.differenceCount) would differ"
        ]
        lines += replay.differences.map { "  record \($0.sequence): \($0.text)" }
        lines += replay.snapshotDifferences.map {
            "  record \($0): the snapshot is not what the records before it lead to; it was "
                + "written by a Sluice of other rules, or somebody changed it"
        }
        if torn > 0 {
            lines.append("  \(torn) bytes at the end are no whole record and are left out")
        }
        return lines
    }

    /// Whether a verdict or a snapshot is not what the records lead to.
    public var replayDiffers: Bool {
        replay.differenceCount > 0 || !replay.snapshotDifferences.isEmpty
    }

    private let replays: Bool

    private init(_ path: String, replays: Bool) {
        self.path = path
        self.replays = replays
    }

    /// Reads what a plan's directory has.
    ///
    /// - Parameters:
    ///   - directory: that of all rollouts.
    ///   - plan: the plan's name.
    public static func read(directory: String, plan: String) -> JournalArchive {
        var archive = JournalArchive("\(directory)/\(plan)/journal", replays: false)
        guard JournalName.isName(plan) else {
            archive.problem = "\(plan) is no name of a plan"
            return archive
        }
        do throws(DirectoryProblem) {
            // A renewal between both readings changes the names: one that is read again is whole.
            for _ in 0..<2 {
                archive = JournalArchive(archive.path, replays: false)
                guard let disk = try OpenDirectory.open("\(directory)/\(plan)") else { break }
                try archive.take(
                    older: disk.read("journal.1", bytesMax: bytesMax),
                    newer: disk.read("journal", bytesMax: bytesMax))
                if archive.problem == nil { break }
            }
        } catch {
            archive.problem = JournalProblem(error, archive.path).text
        }
        return archive
    }

    /// Reads one file, wherever it came from, and computes its verdicts anew.
    public static func replay(file: String) -> JournalArchive {
        var archive = JournalArchive(file, replays: true)
        do throws(SystemError) {
            archive.take(try Files.read(file, bytesMax: bytesMax), file)
        } catch {
            archive.problem = "\(file): \(error.message)"
        }
        return archive
    }

    static var bytesMax: Int { 256 << 20 }

    private mutating func take(older: [UInt8]?, newer: [UInt8]?) {
        if let older {
            take(older, path + ".1")
            guard problem == nil else { return }
            // The newer file begins with the last line of the older one, so that nobody can take
            // records out between them.
            if let newer, let end = newer.firstIndex(of: 0x0a),
                SHA256.hash(Array(newer[..<end])) != hash
            {
                problem =
                    "\(path) does not go on where \(path).1 ends, at record \(story.sequence): "
                    + "one of the files is not the one that Sluice wrote; put it back, or take "
                    + "\(path).1 away if it is older"
                return
            }
        }
        if let newer { take(newer, path) }
    }

    private mutating func take(_ bytes: [UInt8], _ path: String) {
        var story = story, replay = replay
        var last = 0
        do throws(JournalCodec.Problem) {
            let reading = try JournalCodec.read(bytes, { SHA256.hash($0) }) { record in
                // The reading has folded the record already, so that it follows for certain.
                try? story.add(record)
                if replays { try? replay.add(record) }
                last = record.sequence
            }
            hash = reading.hash
            torn = reading.torn
        } catch {
            problem =
                "\(path):\(error.line): "
                + (last > 0 ? "behind record \(last): " : "") + error.text
        }
        self.story = story
        self.replay = replay
    }
}
