import Base
import Platform
import Rollout

/// The journal of one plan on a disk: `DIRECTORY/NAME/journal`, which only grows. Blocks as long as
/// the file system does; used by one thread at a time.
///
/// As long as the value lives, the directory is locked: one process writes. Files are reached
/// through the directory's descriptor, follow no links, and must be this user's alone. A record is
/// on the disk, or not there at all: what a failure or a crash left behind is cut off before
/// anything else is written.
public struct JournalFile<Disk: AppendingDirectory> {
    private let disk: Disk
    /// The file's path, for messages.
    public let path: String
    private let digest: @Sendable ([UInt8]) -> [UInt8]
    /// The hash of the last line.
    private var hash = JournalCodec.origin
    /// The hash of the line before the last one.
    private var beforeLast = JournalCodec.origin
    /// The length of the lines that stand.
    private var bytes = 0
    /// The number of the last record.
    private var sequence = 0
    /// Whether the file is known to have its name on the disk.
    private var isNamed = false

    /// Bytes from which on the next snapshot begins a new file.
    package var renewBytes = 8 << 20

    static var name: String { "journal" }
    /// The file before this one, which only people read.
    static var oldName: String { "journal.1" }
    /// The next file, before it takes the journal's name.
    static var newName: String { ".journal.new" }
    /// Room that is kept on the disk for going back.
    static var reserveBytes: Int { 64 << 10 }
    /// The largest journal that is read.
    static var bytesMax: Int { 256 << 20 }

    private init(_ disk: Disk, _ path: String, _ digest: @escaping @Sendable ([UInt8]) -> [UInt8]) {
        self.disk = disk
        self.path = path
        self.digest = digest
    }

    /// The journal as it was found.
    public struct Found {
        public var file: JournalFile<Disk>
        public var fold: JournalFold
        /// A line for the process log: what was left out; `nil` when nothing was.
        public var note: String?
    }

    /// Reads the journal of a directory that is open and locked.
    package static func open(
        in disk: Disk, path: String, digest: @escaping @Sendable ([UInt8]) -> [UInt8],
        visit: (JournalRecord) -> Void = { _ in }
    ) throws(JournalProblem) -> Found {
        var file = JournalFile(disk, path, digest)
        let found: [UInt8]?
        do throws(DirectoryProblem) {
            found = try file.read()
        } catch {
            throw JournalProblem(error, path)
        }
        guard let found else { return Found(file: file, fold: JournalFold()) }
        do throws(JournalCodec.Problem) {
            let reading = try JournalCodec.read(found, digest, visit: visit)
            file.hash = reading.hash
            file.bytes = reading.bytes
            file.sequence = reading.fold.sequence
            let note =
                reading.torn == 0
                ? nil
                : "\(path): a last line of \(reading.torn) bytes was not written as a whole and is "
                    + "left out; what it would have told did not happen"
            return Found(file: file, fold: reading.fold, note: note)
        } catch {
            throw JournalProblem(
                text: "\(path):\(error.line): \(error.text); the journal is not believed: put back "
                    + "the file as Sluice wrote it, or end the rollout with "
                    + "`\(JournalProblem.discarding(path))`, and the overlay's weights hold until "
                    + "then")
        }
    }

    /// Reads the file; finishes what a process left behind that ended between two names.
    private func read() throws(DirectoryProblem) -> [UInt8]? {
        if let found = try disk.read(JournalFile.name, bytesMax: JournalFile.bytesMax) {
            return found
        }
        guard try disk.read(JournalFile.newName, bytesMax: JournalFile.bytesMax) != nil,
            try disk.read(JournalFile.oldName, bytesMax: JournalFile.bytesMax) != nil
        else { return nil }
        try disk.rename(JournalFile.newName, to: JournalFile.name)
        try disk.syncNames()
        return try disk.read(JournalFile.name, bytesMax: JournalFile.bytesMax)
    }

    // MARK: Writing

    /// Appends records and waits until each is on the disk.
    ///
    /// - Parameters:
    ///   - records: numbered from the last one on; those that are there already are left out.
    ///   - goesBack: whether the room that is kept for going back may be used up.
    /// - Returns: why none of them is to be counted on; `nil` when all are on the disk.
    public mutating func append(_ records: [JournalRecord], goesBack: Bool) -> String? {
        let before = sequence
        if let first = records.first(where: { $0.sequence > before }), before > 0,
            first.sequence != before + 1
        {
            return "\(path): record \(first.sequence) does not follow record \(before); read the "
                + "journal again"
        }
        do throws(DirectoryProblem) {
            let file = try open()
            defer { disk.close(file) }
            do throws(DirectoryProblem) {
                try write(records, file, goesBack)
            } catch {
                // Tried again before the next write if it fails.
                try? disk.truncate(file, to: bytes)
                throw error
            }
            if !isNamed {
                try disk.syncNames()
                isNamed = true
            }
            try? disk.reserve(file, bytes: JournalFile.reserveBytes)
            if let last = records.last, case .snapshot = last.body, sequence > before,
                bytes > renewBytes
            {
                renew(last)
            }
            return nil
        } catch {
            return JournalProblem(error, path).text
        }
    }

    /// Opens the file, and cuts off what a failure or a crash left behind.
    private func open() throws(DirectoryProblem) -> Int32 {
        guard let found = try disk.append(JournalFile.name) else {
            // Somebody has removed it, and with it what the records say.
            guard bytes == 0 else { throw .system(SystemError("open", code: 2)) }
            return try disk.create(JournalFile.name)
        }
        do throws(DirectoryProblem) {
            if found.bytes < bytes { throw .wrongKind }
            if found.bytes > bytes {
                try disk.truncate(found.file, to: bytes)
                try disk.sync(found.file)
            }
        } catch {
            disk.close(found.file)
            throw error
        }
        return found.file
    }

    private mutating func write(
        _ records: [JournalRecord], _ file: Int32, _ goesBack: Bool
    ) throws(DirectoryProblem) {
        var length = bytes, last = sequence, hash = self.hash, before = beforeLast
        for record in records where record.sequence > last {
            let line = JournalCodec.line(record, after: hash, digest)
            guard line.bytes.count <= JournalCodec.lineMax else { throw .tooLarge }
            if !goesBack {
                // Whoever goes forward leaves room to go back.
                try disk.reserve(file, bytes: line.bytes.count + JournalFile.reserveBytes)
            }
            var done = 0
            while done < line.bytes.count {
                done += try disk.write(
                    file, line.bytes.span.extracting(done..<line.bytes.count))
            }
            // Each by itself: a later line may come to the disk before an earlier one.
            try disk.sync(file)
            length += line.bytes.count
            last = record.sequence
            before = hash
            hash = line.hash
        }
        beforeLast = before
        bytes = length
        sequence = last
        self.hash = hash
    }

    /// Begins a new file with the snapshot that the old one ends with, so that a journal does not
    /// grow for ever; the chain goes on. The old file stays as `journal.1`. Where that fails the
    /// old one goes on, too.
    private mutating func renew(_ snapshot: JournalRecord) {
        let line = JournalCodec.line(snapshot, after: beforeLast, digest).bytes
        do throws(DirectoryProblem) {
            try disk.remove(JournalFile.newName)
            let file = try disk.create(JournalFile.newName)
            defer { disk.close(file) }
            var done = 0
            while done < line.count {
                done += try disk.write(file, line.span.extracting(done..<line.count))
            }
            try disk.sync(file)
            // In front of the change of names, or both could be gone.
            try disk.syncNames()
            try disk.rename(JournalFile.name, to: JournalFile.oldName)
            do throws(DirectoryProblem) {
                try disk.rename(JournalFile.newName, to: JournalFile.name)
            } catch {
                try disk.rename(JournalFile.oldName, to: JournalFile.name)
                throw error
            }
            bytes = line.count
            isNamed = false
            try disk.syncNames()
            isNamed = true
            try disk.reserve(file, bytes: JournalFile.reserveBytes)
        } catch {
            return
        }
    }

    /// Journals that may lie aside.
    package static var discardedMax: Int { 100 }

    /// Puts the journal aside as `journal.bad`, or `journal.bad.2` and so on where others lie
    /// there: nothing is lost. Another can begin then.
    ///
    /// - Returns: the name that the journal has now; `nil` where somebody has removed it.
    package static func discard(in disk: Disk, path: String) throws(JournalProblem) -> String? {
        do throws(DirectoryProblem) {
            for number in 1...discardedMax {
                let aside = name + ".bad" + (number == 1 ? "" : ".\(number)")
                if let taken = try disk.append(aside) {
                    disk.close(taken.file)
                    continue
                }
                try disk.rename(name, to: aside)
                try disk.syncNames()
                return aside
            }
        } catch .system(let error) where error.cause == .missing {
            return nil
        } catch {
            throw JournalProblem(error, path)
        }
        throw JournalProblem(
            text: "\(path): \(discardedMax) journals lie aside already; move them away first")
    }
}

extension JournalFile: Sendable where Disk: Sendable {}
extension JournalFile.Found: Sendable where Disk: Sendable {}

/// Why a journal cannot be read or written, and what to do.
public struct JournalProblem: Error, Equatable, Sendable {
    public var text: String
    /// Another process follows the rollouts: this one stands by.
    public var isBusy = false
}

extension JournalFile where Disk == OpenDirectory {
    /// Opens the journal of a plan and locks its directory, which is made when there is none.
    ///
    /// - Parameters:
    ///   - directory: that of all rollouts.
    ///   - plan: a name that begins with a letter or a digit, and has no slash.
    ///   - digest: SHA-256.
    ///   - visit: is shown each record.
    public static func open(
        directory: String, plan: String, digest: @escaping @Sendable ([UInt8]) -> [UInt8],
        visit: (JournalRecord) -> Void = { _ in }
    ) throws(JournalProblem) -> Found {
        let place = "\(directory)/\(plan)"
        let disk = try lock(directory, plan)
        return try open(in: disk, path: "\(place)/\(name)", digest: digest, visit: visit)
    }

    /// Puts a plan's journal aside, which cannot be read.
    /// - Returns: the path that it has now; `nil` where somebody has removed it.
    public static func discard(
        directory: String, plan: String
    ) throws(JournalProblem) -> String? {
        let disk = try lock(directory, plan)
        let aside = try discard(in: disk, path: "\(directory)/\(plan)/\(name)")
        return aside.map { "\(directory)/\(plan)/\($0)" }
    }

    private static func lock(
        _ directory: String, _ plan: String
    ) throws(JournalProblem) -> OpenDirectory {
        let place = "\(directory)/\(plan)"
        guard JournalName.isName(plan) else {
            throw JournalProblem(
                text: "\(plan) is no name of a plan: it begins with a letter or a digit and has "
                    + "letters, digits, dots, dashes and underscores")
        }
        let parent: OpenDirectory
        do throws(DirectoryProblem) {
            parent = try OpenDirectory.make(directory)
        } catch {
            throw JournalProblem(error, ofDirectory: directory)
        }
        let disk: OpenDirectory
        do throws(DirectoryProblem) {
            disk = try parent.directory(plan)
        } catch {
            throw JournalProblem(error, ofDirectory: place)
        }
        do throws(DirectoryProblem) {
            try disk.lock()
        } catch .busy {
            let owner = (try? disk.read("pid", bytesMax: 64)) ?? nil
            let words = owner.flatMap { String(validating: $0, as: UTF8.self) }
            let pid = words.flatMap { Int($0.split(separator: "\n").first ?? "") }
            let who = pid.map { "process \($0)" } ?? "another process"
            throw JournalProblem(
                text: "\(who) follows the rollouts of \(place); this one stands by and takes over "
                    + "when it ends", isBusy: true)
        } catch {
            throw JournalProblem(error, ofDirectory: place)
        }
        note(in: disk)
        return disk
    }

    /// Writes down which process has the lock; nothing depends on it.
    private static func note(in disk: OpenDirectory) {
        do throws(DirectoryProblem) {
            try disk.remove("pid")
            let file = try disk.create("pid")
            defer { disk.close(file) }
            _ = try disk.write(file, Array("\(OpenDirectory.processNumber)\n".utf8).span)
        } catch {
            return
        }
    }
}

enum JournalName {
    /// Whether a text may be the name of a directory of ours.
    static func isName(_ text: String) -> Bool {
        guard (1...128).contains(text.utf8.count), let first = text.utf8.first else { return false }
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte)
                || (0x61...0x7a).contains(byte)
        }
        return isAlphanumeric(first)
            && text.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x2d || $0 == 0x2e || $0 == 0x5f }
    }
}

extension JournalProblem {
    /// - Parameter path: that of a journal, `DIRECTORY/PLAN/journal`.
    init(_ problem: DirectoryProblem, _ path: String) {
        switch problem {
        case .wrongKind:
            text =
                "\(path) is no plain file of Sluice's, or somebody else has shortened it; put it "
                + "back, or end the rollout with `\(JournalProblem.discarding(path))`"
        case .system(let error) where error.cause == .missing:
            text =
                "\(path): \(error.message); nobody may remove the journal of a rollout that runs: "
                + "put it back, or end the rollout with `\(JournalProblem.discarding(path))`"
        default: text = JournalProblem.text(problem, path)
        }
    }

    /// - Parameter path: that of the directory of all rollouts, or of one plan in it.
    init(_ problem: DirectoryProblem, ofDirectory path: String) {
        switch problem {
        case .wrongKind:
            text =
                "\(path) is no directory; move it away, or name another place in rollouts: "
                + "directory:"
        case .system(let error) where error.cause == .missing:
            let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
            text =
                "\(path) cannot be made: \(error.message); make the directory above it: mkdir -p "
                + (parent.isEmpty ? "/" : parent)
        default: text = JournalProblem.text(problem, path)
        }
    }

    /// The command that ends the rollout of a journal, `DIRECTORY/PLAN/journal`.
    static func discarding(_ path: String) -> String {
        let plan = path.split(separator: "/").dropLast().last.map { " \($0)" } ?? ""
        return "sluice rollout abort\(plan) --discard-journal"
    }

    private static func text(_ problem: DirectoryProblem, _ path: String) -> String {
        switch problem {
        case .system(let error): "\(path): \(error.message)" + advice(error.cause)
        case .isLink:
            "\(path) is a symbolic link, which is not followed here; name in rollouts: the place "
                + "that it leads to"
        case .wrongKind: "\(path) is of another kind than Sluice made it"
        case .foreign(let owner):
            "\(path) belongs to user \(owner) and is not believed; it must be of the user that "
                + "runs Sluice"
        case .permissive(let mode):
            "\(path) can be read or written by others (mode \(String(mode, radix: 8))) and is not "
                + "believed; run chmod go-rwx \(path)"
        case .tooLarge: "\(path) is larger than Sluice reads; move it away when no rollout runs"
        case .busy: "another process is writing in \(path)"
        }
    }

    private static func advice(_ cause: SystemError.Cause) -> String {
        switch cause {
        case .noSpace: "; make room on that disk"
        case .tooLarge: "; the limit on file sizes of this process (ulimit -f) is too small"
        case .readOnly:
            "; that disk is mounted read-only: name in rollouts: a directory that can be written"
        case .forbidden: "; the user that runs Sluice must be able to write there"
        default: ""
        }
    }
}
