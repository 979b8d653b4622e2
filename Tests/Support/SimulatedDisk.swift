import Base
import Platform

/// A directory on a disk that exists in memory alone, which fails and crashes where a test says.
///
/// Two states are kept apart: what the process sees, and what the disk has for certain. A crash
/// leaves of everything in between what a draw says: of the bytes of each file that were not synced
/// any prefix, or the whole length with zeros where the end was torn, and of the changes of names
/// that were not synced any subset that one order of writing allows, in an order of their own from
/// that of the bytes. That is what ext4, XFS and others may do at their worst.
///
/// Confined to one thread.
public final class SimulatedDisk: AppendingDirectory {
    /// A file, which may have several names or none.
    private struct File {
        /// As the process reads it.
        var bytes: [UInt8] = []
        /// As it is after a crash, whatever happens.
        var synced: [UInt8] = []
        /// Bytes of room that are kept behind the end.
        var reserved = 0
    }

    private enum NameChange {
        case set(String, file: Int)
        case removed(String)
        case renamed(String, to: String, file: Int)
    }

    /// One step that a program asked the disk for.
    public enum Step: String, Sendable, CaseIterable {
        case read, create, write, sync, rename, remove, syncNames, append, truncate, reserve
    }

    /// Thrown by the step at which the process ends, and by all behind it.
    public static let killed = DirectoryProblem.system(SystemError("killed", code: 4))

    private var files: [File] = []
    /// Names as the process sees them.
    private var names: [String: Int] = [:]
    private var syncedNames: [String: Int] = [:]
    private var pending: [NameChange] = []
    /// Every step so far.
    public private(set) var steps: [Step] = []
    /// The process is killed in front of the step with this number.
    public var killedBefore: Int?
    /// Steps with these numbers fail, with this code.
    public var failures: [Int: Int32] = [:]
    /// Bytes that the disk has left; a write takes at most so many.
    public var room = Int.max
    /// The most that one write takes.
    public var writeMax = Int.max

    public init() {}

    private func begin(_ step: Step) throws(DirectoryProblem) {
        let number = steps.count
        if let killedBefore, number >= killedBefore { throw SimulatedDisk.killed }
        steps.append(step)
        if let code = failures[number] { throw .system(SystemError("simulated", code: code)) }
    }

    // MARK: The process's side

    public func read(_ name: String, bytesMax: Int) throws(DirectoryProblem) -> [UInt8]? {
        try begin(.read)
        guard let file = names[name] else { return nil }
        guard files[file].bytes.count <= bytesMax else { throw .tooLarge }
        return files[file].bytes
    }

    public func create(_ name: String) throws(DirectoryProblem) -> Int32 {
        try begin(.create)
        guard names[name] == nil else { throw .system(SystemError("open", code: 17)) }
        files.append(File())
        names[name] = files.count - 1
        pending.append(.set(name, file: files.count - 1))
        return Int32(files.count - 1)
    }

    public func write(_ file: Int32, _ bytes: Span<UInt8>) throws(DirectoryProblem) -> Int {
        try begin(.write)
        let kept = files[Int(file)].reserved
        let (all, isAll) = room.addingReportingOverflow(kept)
        let count = min(bytes.count, isAll ? .max : all, writeMax)
        guard count > 0 else { throw .system(SystemError("write", code: 28)) }
        room -= max(0, count - kept)
        files[Int(file)].reserved = max(0, kept - count)
        for i in 0..<count { files[Int(file)].bytes.append(bytes[i]) }
        return count
    }

    public func sync(_ file: Int32) throws(DirectoryProblem) {
        try begin(.sync)
        files[Int(file)].synced = files[Int(file)].bytes
    }

    public func close(_ file: Int32) {}

    public func append(_ name: String) throws(DirectoryProblem) -> (file: Int32, bytes: Int)? {
        try begin(.append)
        guard let file = names[name] else { return nil }
        return (Int32(file), files[file].bytes.count)
    }

    public func truncate(_ file: Int32, to bytes: Int) throws(DirectoryProblem) {
        try begin(.truncate)
        let extra = files[Int(file)].bytes.count - bytes
        guard extra > 0 else { return }
        files[Int(file)].bytes.removeLast(extra)
        let (sum, isAll) = room.addingReportingOverflow(extra)
        room = isAll ? .max : sum
    }

    public func reserve(_ file: Int32, bytes: Int) throws(DirectoryProblem) {
        try begin(.reserve)
        let missing = bytes - files[Int(file)].reserved
        guard missing > 0 else { return }
        guard missing <= room else { throw .system(SystemError("fallocate", code: 28)) }
        room -= missing
        files[Int(file)].reserved = bytes
    }

    public func rename(_ name: String, to other: String) throws(DirectoryProblem) {
        try begin(.rename)
        guard let file = names.removeValue(forKey: name) else {
            throw .system(SystemError("rename", code: 2))
        }
        if let old = names[other] { free(old) }
        names[other] = file
        pending.append(.renamed(name, to: other, file: file))
    }

    public func remove(_ name: String) throws(DirectoryProblem) {
        try begin(.remove)
        guard let file = names.removeValue(forKey: name) else { return }
        free(file)
        pending.append(.removed(name))
    }

    /// A file has no name any more: its room is the disk's again.
    private func free(_ file: Int) {
        let (sum, isAll) = room.addingReportingOverflow(files[file].bytes.count)
        room = isAll ? .max : sum
    }

    public func syncNames() throws(DirectoryProblem) {
        try begin(.syncNames)
        syncedNames = names
        pending = []
    }

    /// Puts a file there that is on the disk for certain.
    public func put(_ name: String, _ bytes: [UInt8]) throws(DirectoryProblem) {
        let file = try create(name)
        files[Int(file)].bytes = bytes
        try sync(file)
        try syncNames()
    }

    // MARK: The end of the process, and of the machine

    /// The process ends as by kill -9: everything that it did stays, and another begins.
    public func restartProcess() {
        killedBefore = nil
        failures = [:]
        room = .max
        steps = []
    }

    /// The machine loses its power: of what was not synced stays what the draws say.
    public func crash(_ random: inout PRNG) {
        restartProcess()
        names = syncedNames
        // Changes of names may come to the disk in part, each as a whole.
        for change in pending where random.below(2) == 0 {
            switch change {
            case .set(let name, let file): names[name] = file
            case .removed(let name): names[name] = nil
            case .renamed(let name, let other, let file):
                names[name] = nil
                names[other] = file
            }
        }
        pending = []
        syncedNames = names
        for i in files.indices { files[i].bytes = SimulatedDisk.torn(files[i], &random) }
        for i in files.indices { files[i].synced = files[i].bytes }
    }

    private static func torn(_ file: File, _ random: inout PRNG) -> [UInt8] {
        // Cut off, and not synced since: the disk may have cut it off or not.
        guard file.bytes.starts(with: file.synced) else {
            if random.below(2) == 0 { return file.synced }
            var cut = file
            cut.synced = Array(zip(file.bytes, file.synced).prefix { $0 == $1 }.map { $0.0 })
            return torn(cut, &random)
        }
        let sure = file.synced.count, all = file.bytes.count
        guard all > sure else { return file.synced }
        let kept = sure + Int(random.below(UInt64(all - sure + 1)))
        switch random.below(3) {
        case 0: return Array(file.bytes[..<kept])
        // The length is there, and the bytes are not.
        case 1: return file.bytes[..<kept] + [UInt8](repeating: 0, count: all - kept)
        default: return file.bytes
        }
    }

    /// The names that are there, sorted, and their bytes.
    public var contents: [(name: String, bytes: [UInt8])] {
        names.sorted { $0.key < $1.key }.map { ($0.key, files[$0.value].bytes) }
    }
}
