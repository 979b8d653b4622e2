import Base
import CPlatform

extension Files {
    /// Why a file cannot be replaced.
    public enum ReplacementProblem: Error {
        case system(SystemError)
        /// The path leads to a link, which the replacement would take away.
        case isLink
        /// Somebody has changed the file since it was read.
        case hasChanged
    }

    /// Puts bytes in place of a plain file's: afterwards, and after a crash at any moment, the file
    /// is the old one or the new one as a whole. Owner and permissions stay.
    ///
    /// - Parameter old: the bytes that the file was read with.
    public static func replace(
        _ path: String, _ old: [UInt8], with bytes: [UInt8]
    ) throws(ReplacementProblem) {
        var info = stat()
        guard unsafe lstat(path, &info) == 0 else { throw .system(SystemError("stat")) }
        guard info.st_mode & mode_t(S_IFMT) != mode_t(S_IFLNK) else { throw .isLink }
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { String(path[...$0]) } ?? ""
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let temporary = "\(folder).\(name).\(getpid()).new"
        do throws(SystemError) {
            try write(bytes, to: temporary, like: info)
        } catch {
            unsafe unlink(temporary)
            throw .system(error)
        }
        var problem: ReplacementProblem?
        do throws(SystemError) {
            if try readPlain(path, bytesMax: max(old.count, 1)) != old { problem = .hasChanged }
        } catch {
            problem = .hasChanged
        }
        if problem == nil, unsafe rename(temporary, path) != 0 {
            problem = .system(SystemError("rename"))
        }
        if let problem {
            unsafe unlink(temporary)
            throw problem
        }
        // The new name is on the disk too; where that fails, a crash may leave the old file.
        let place = folder.isEmpty ? "." : folder
        let directory = unsafe cplatform_open(place, O_RDONLY | O_CLOEXEC, 0)
        if directory >= 0 {
            _ = fsync(directory)
            Socket.close(directory)
        }
    }

    private static func write(
        _ bytes: [UInt8], to path: String, like info: stat
    ) throws(SystemError) {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let fd = unsafe cplatform_open(path, flags, 0o600)
        guard fd >= 0 else { throw SystemError("open") }
        defer { Socket.close(fd) }
        if info.st_uid != geteuid() || info.st_gid != getegid() {
            guard fchown(fd, info.st_uid, info.st_gid) == 0 else { throw SystemError("chown") }
        }
        guard fchmod(fd, info.st_mode & 0o7777) == 0 else { throw SystemError("chmod") }
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBufferPointer { p in
                unsafe CPlatform.write(fd, p.baseAddress! + done, p.count - done)
            }
            guard count > 0 else { throw SystemError("write") }
            done += count
        }
        guard fsync(fd) == 0 else { throw SystemError("fsync") }
    }
}
