import Base
import Configuration
import JSON
import Platform

/// The file of an overlay: where it is, and how it is read and replaced. Blocks as long as the file
/// system does.
public struct OverlayFile: Sendable, Equatable {
    /// The directory that the file is in, and its name there.
    package let directory: String
    let name: String

    /// - Parameter config: the configuration file's path, which relative names start from.
    public init(_ rollouts: Document.Rollouts, beside config: String) {
        var whole = ConfigurationFile.resolve(rollouts.directory, beside: config)
        while whole.utf8.count > 1, whole.hasSuffix("/") { whole.removeLast() }
        whole += "/" + rollouts.overlay
        if rollouts.overlay.hasPrefix("/") { whole = rollouts.overlay }
        let slash = whole.lastIndex(of: "/") ?? whole.startIndex
        let parent = String(whole[..<slash])
        directory = parent.isEmpty ? "/" : parent
        name = String(whole[whole.index(after: slash)...])
    }

    /// The file's path, for messages and to be watched.
    public var path: String { directory == "/" ? "/" + name : directory + "/" + name }

    /// The file that is written before it takes the place of the other.
    var temporaryName: String { "." + name + ".new" }

    /// The file that keeps room.
    var reserveName: String { "." + name + ".reserve" }
    static let reserveBytes = 64 << 10

    // MARK: Reading

    /// The overlay as it was found.
    public enum Reading: Sendable, Equatable {
        /// An overlay; an empty one where there is no file.
        case overlay(Overlay)
        /// A file that is not believed, or cannot be read: why, and what to do.
        case bad(String)
    }

    public func read() -> Reading {
        do throws(DirectoryProblem) {
            guard let open = try OpenDirectory.open(directory) else { return .overlay(Overlay()) }
            return read(in: open)
        } catch {
            return .bad(text(error, of: directory, isDirectory: true))
        }
    }

    /// Reads the file in a directory that is open.
    package func read(in open: some FileDirectory) -> Reading {
        let bytes: [UInt8]
        do throws(DirectoryProblem) {
            guard let found = try open.read(name, bytesMax: OverlayCodec.bytesMax) else {
                return .overlay(Overlay())
            }
            bytes = found
        } catch {
            return .bad(text(error, of: path, isDirectory: false))
        }
        do throws(JSONError) {
            return .overlay(try OverlayCodec.read(bytes))
        } catch {
            return .bad(
                "\(path):\(error): this is no overlay that Sluice wrote; put it right, or remove "
                    + "it, and the file's own weights hold")
        }
    }

    // MARK: Writing

    /// Puts an overlay in place of the file: afterwards, and after a crash at any moment, the file
    /// is the old one or the new one as a whole. Makes the directory when there is none.
    ///
    /// - Parameter usesReserve: whether room that is kept for going back may be used up.
    /// - Returns: why that did not succeed; `nil` when the overlay is on the disk.
    public func write(_ overlay: Overlay, usesReserve: Bool) -> WriteFailure? {
        var hasReplaced = false
        do throws(DirectoryProblem) {
            let open = try OpenDirectory.make(directory)
            try open.lock()
            try write(overlay, in: open, usesReserve: usesReserve, hasReplaced: &hasReplaced)
            return nil
        } catch {
            return WriteFailure(
                text: text(error, of: directory, isDirectory: true, isWritten: true),
                isOldKept: !hasReplaced)
        }
    }

    /// Why an overlay is not on the disk.
    public struct WriteFailure: Error, Equatable, Sendable {
        /// The reason, and what to do.
        public let text: String
        /// The overlay that was there is there still; otherwise it may be the old or the new one.
        public let isOldKept: Bool
    }

    /// Keeps room for going back, where there is a directory already.
    public func reserve() {
        guard let found = try? OpenDirectory.open(directory), (try? found.lock()) != nil else {
            return
        }
        reserve(in: found)
    }

    /// Puts an overlay in place of the file in a directory that is open, if need be in the room
    /// that is kept; keeps such room again.
    package func write(
        _ overlay: Overlay, in open: some FileDirectory, usesReserve: Bool, hasReplaced: inout Bool
    ) throws(DirectoryProblem) {
        do throws(DirectoryProblem) {
            try write(overlay, in: open, hasReplaced: &hasReplaced)
        } catch {
            guard usesReserve, case .system(let failure) = error, failure.cause == .noSpace else {
                throw error
            }
            try open.remove(reserveName)
            try write(overlay, in: open, hasReplaced: &hasReplaced)
        }
        reserve(in: open)
    }

    /// A file that does nothing but take room on the disk, which is given up for an overlay that
    /// takes users back.
    private func reserve(in open: some FileDirectory) {
        let found = try? open.read(reserveName, bytesMax: OverlayFile.reserveBytes)
        if found?.count == OverlayFile.reserveBytes { return }
        do throws(DirectoryProblem) {
            try open.remove(reserveName)
            let file = try open.create(reserveName)
            defer { open.close(file) }
            // Zeros would take no room on file systems that compress.
            var random = PRNG(seed: 1)
            let bytes = (0..<OverlayFile.reserveBytes).map { _ in
                UInt8(truncatingIfNeeded: random.next())
            }
            var done = 0
            while done < bytes.count {
                done += try open.write(file, bytes.span.extracting(done..<bytes.count))
            }
            try open.sync(file)
        } catch {
            // A part of it would be no use, and take what others need.
            try? open.remove(reserveName)
        }
    }

    /// Puts an overlay in place of the file in a directory that is open.
    /// - Parameter hasReplaced: set once the old file may be gone.
    package func write(
        _ overlay: Overlay, in open: some FileDirectory, hasReplaced: inout Bool
    ) throws(DirectoryProblem) {
        let bytes = Array(OverlayCodec.text(overlay).utf8)
        try keepAside(in: open)
        // One of a process that was killed.
        try open.remove(temporaryName)
        do throws(DirectoryProblem) {
            let file = try open.create(temporaryName)
            defer { open.close(file) }
            var done = 0
            while done < bytes.count {
                done += try open.write(file, bytes.span.extracting(done..<bytes.count))
            }
            // In front of the rename, or a crash could leave the new name with nothing behind it.
            try open.sync(file)
        } catch {
            try? open.remove(temporaryName)
            throw error
        }
        hasReplaced = true
        try open.rename(temporaryName, to: name)
        try open.syncNames()
    }

    /// A file that is not believed is somebody's all the same: it gets another name before it would
    /// be replaced.
    private func keepAside(in open: some FileDirectory) throws(DirectoryProblem) {
        guard case .bad = read(in: open) else { return }
        try open.rename(name, to: name + ".bad")
    }

    // MARK: Words

    private func text(
        _ problem: DirectoryProblem, of place: String, isDirectory: Bool, isWritten: Bool = false
    ) -> String {
        let kind = isDirectory ? "the directory \(place)" : place
        switch problem {
        case .system(let error):
            let deed = isWritten ? "\(path) cannot be written" : "\(kind) cannot be read"
            return "\(deed): \(error.message)" + OverlayFile.advice(error, directory, isWritten)
        case .isLink:
            return "\(kind) is a symbolic link, which is not followed here; name in rollouts: the "
                + "place that it leads to"
        case .wrongKind:
            return "\(kind) is no plain \(isDirectory ? "directory" : "file"); remove it, or name "
                + "another in rollouts:"
        case .foreign(let owner):
            return "\(kind) belongs to user \(owner) and is not believed; it must be of the user "
                + "that runs Sluice"
        case .permissive:
            return "\(kind) can be read or written by others and is not believed; run chmod "
                + "\(isDirectory ? "700" : "600") \(place)"
        case .tooLarge:
            return "\(kind) has more than \(OverlayCodec.bytesMax >> 20) MiB; remove it, and the "
                + "file's own weights hold"
        case .busy:
            return "another process is writing in \(directory); ask again when it has ended"
        }
    }

    private static func advice(
        _ error: SystemError, _ directory: String, _ isWritten: Bool
    ) -> String {
        switch error.cause {
        case .missing:
            let parent = directory.lastIndex(of: "/").map { String(directory[..<$0]) } ?? ""
            return isWritten ? "; make the directory above it: mkdir -p \(parent)" : ""
        case .forbidden:
            return "; the user that runs Sluice must be able to "
                + (isWritten ? "write" : "read") + " in \(directory)"
        case .noSpace: return "; make room on the disk of \(directory)"
        case .readOnly:
            return "; the disk of \(directory) is mounted read-only: name in rollouts: a "
                + "directory that can be written"
        case .tooLarge:
            return "; the limit on file sizes of this process (ulimit -f) is too small"
        default: return ""
        }
    }
}
