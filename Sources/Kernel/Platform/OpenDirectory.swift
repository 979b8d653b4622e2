import CPlatform

/// Why a file of a directory of our own is not read, or not written.
public enum DirectoryProblem: Error, Equatable, Sendable {
    case system(SystemError)
    /// A symbolic link stands there.
    case isLink
    /// Something else than a plain file, or than a directory.
    case wrongKind
    /// Another user's, by the user's number.
    case foreign(UInt32)
    /// Others may read or write it; the permissions' last nine bits.
    case permissive(UInt32)
    case tooLarge
    /// Another process writes there.
    case busy
}

/// The files of one directory, and the steps by which one of them is replaced as a whole. Names
/// have no slashes.
///
/// The real one is `OpenDirectory`; tests have one that crashes between any two steps.
public protocol FileDirectory {
    /// Reads a file that is this user's alone.
    /// - Returns: `nil` when there is no such file.
    func read(_ name: String, bytesMax: Int) throws(DirectoryProblem) -> [UInt8]?
    /// Makes a file for this user alone, which must not be there yet, and opens it to be written.
    func create(_ name: String) throws(DirectoryProblem) -> Int32
    /// Writes at the end of an open file as much as the disk takes.
    /// - Returns: how many bytes were written, at least one.
    func write(_ file: Int32, _ bytes: Span<UInt8>) throws(DirectoryProblem) -> Int
    /// Waits until the bytes of an open file are on the disk.
    func sync(_ file: Int32) throws(DirectoryProblem)
    func close(_ file: Int32)
    /// Gives a file another name, in place of a file that has it.
    func rename(_ name: String, to other: String) throws(DirectoryProblem)
    /// Removes a file; nothing happens where there is none.
    func remove(_ name: String) throws(DirectoryProblem)
    /// Waits until the names of the directory are on the disk.
    func syncNames() throws(DirectoryProblem)
}

/// A directory with files that grow.
public protocol AppendingDirectory: FileDirectory {
    /// Opens a file that is this user's alone, to be written at its end.
    /// - Returns: the file and its length; `nil` when there is no such file.
    func append(_ name: String) throws(DirectoryProblem) -> (file: Int32, bytes: Int)?
    /// Cuts an open file off behind so many bytes.
    func truncate(_ file: Int32, to bytes: Int) throws(DirectoryProblem)
    /// Keeps room on the disk for so many bytes behind the end of an open file, so that writes of
    /// them find it. Nothing happens on file systems that cannot.
    func reserve(_ file: Int32, bytes: Int) throws(DirectoryProblem)
}

/// A directory that is open: files are reached through its descriptor, so that nobody can put
/// another in its place meanwhile, and no links are followed.
public final class OpenDirectory: AppendingDirectory, Sendable {
    private let descriptor: Int32

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { Socket.close(descriptor) }

    /// Opens a directory that is this user's alone.
    /// - Returns: `nil` when there is none.
    public static func open(_ path: String) throws(DirectoryProblem) -> OpenDirectory? {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        let fd = unsafe cplatform_open(path, flags, 0)
        guard fd >= 0 else {
            let error = SystemError("open")
            if error.code == ENOENT { return nil }
            throw isLink(AT_FDCWD, path) ? .isLink : .system(error)
        }
        let directory = OpenDirectory(descriptor: fd)
        try check(fd, kind: S_IFDIR)
        return directory
    }

    /// Makes a directory of mode 0700 in one that exists, and opens it.
    public static func make(_ path: String) throws(DirectoryProblem) -> OpenDirectory {
        guard unsafe mkdir(path, 0o700) == 0 || cplatform_errno() == EEXIST else {
            throw .system(SystemError("mkdir"))
        }
        guard let directory = try open(path) else { throw .system(SystemError("open")) }
        return directory
    }

    /// Opens a directory in this one, which is this user's alone and no link; makes one of mode
    /// 0700 when there is none.
    public func directory(_ name: String) throws(DirectoryProblem) -> OpenDirectory {
        if unsafe mkdirat(descriptor, name, 0o700) == 0 {
            // What is written into it is of no use without its name.
            try syncNames()
        } else if cplatform_errno() != EEXIST {
            throw .system(SystemError("mkdir"))
        }
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        let fd = unsafe cplatform_openat(descriptor, name, flags, 0)
        guard fd >= 0 else {
            let error = SystemError("open")
            throw OpenDirectory.isLink(descriptor, name) ? .isLink : .system(error)
        }
        let directory = OpenDirectory(descriptor: fd)
        try OpenDirectory.check(fd, kind: S_IFDIR)
        return directory
    }

    private static func isLink(_ directory: Int32, _ name: String) -> Bool {
        var info = stat()
        return unsafe fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0
            && info.st_mode & mode_t(S_IFMT) == mode_t(S_IFLNK)
    }

    /// Refuses what is of another kind, another user's but root's, or open to others.
    private static func check(_ fd: Int32, kind: Int32) throws(DirectoryProblem) {
        var info = stat()
        guard unsafe fstat(fd, &info) == 0 else { throw .system(SystemError("fstat")) }
        guard info.st_mode & mode_t(S_IFMT) == mode_t(kind) else { throw .wrongKind }
        guard info.st_uid == geteuid() || info.st_uid == 0 else { throw .foreign(info.st_uid) }
        guard info.st_mode & 0o077 == 0 else { throw .permissive(info.st_mode & 0o777) }
    }

    public func read(_ name: String, bytesMax: Int) throws(DirectoryProblem) -> [UInt8]? {
        // A pipe by that name would keep whoever opens it.
        let flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK
        let fd = unsafe cplatform_openat(descriptor, name, flags, 0)
        guard fd >= 0 else {
            let error = SystemError("open")
            if error.code == ENOENT { return nil }
            throw OpenDirectory.isLink(descriptor, name) ? .isLink : .system(error)
        }
        defer { Socket.close(fd) }
        try OpenDirectory.check(fd, kind: S_IFREG)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe CPlatform.read(fd, &chunk, chunk.count)
            if count < 0 { throw .system(SystemError("read")) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            if bytes.count > bytesMax { throw .tooLarge }
        }
    }

    public func create(_ name: String) throws(DirectoryProblem) -> Int32 {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let fd = unsafe cplatform_openat(descriptor, name, flags, 0o600)
        guard fd >= 0 else { throw .system(SystemError("open")) }
        return fd
    }

    public func write(_ file: Int32, _ bytes: Span<UInt8>) throws(DirectoryProblem) -> Int {
        let count = unsafe bytes.withUnsafeBufferPointer { p in
            unsafe CPlatform.write(file, p.baseAddress, p.count)
        }
        if count < 0 { throw .system(SystemError("write")) }
        if count == 0 { throw .system(SystemError("write", code: ENOSPC)) }
        return count
    }

    public func sync(_ file: Int32) throws(DirectoryProblem) {
        guard fsync(file) == 0 else { throw .system(SystemError("fsync")) }
    }

    public func close(_ file: Int32) { Socket.close(file) }

    public func rename(_ name: String, to other: String) throws(DirectoryProblem) {
        guard unsafe cplatform_renameat(descriptor, name, descriptor, other) == 0 else {
            throw .system(SystemError("rename"))
        }
    }

    public func remove(_ name: String) throws(DirectoryProblem) {
        guard unsafe unlinkat(descriptor, name, 0) == 0 || cplatform_errno() == ENOENT else {
            throw .system(SystemError("unlink"))
        }
    }

    public func syncNames() throws(DirectoryProblem) {
        guard fsync(descriptor) == 0 else { throw .system(SystemError("fsync")) }
    }

    /// The number of this process, which it may leave behind in a directory that it has locked.
    public static var processNumber: Int { Int(getpid()) }

    /// Keeps other processes from writing here as long as this directory is open. Nobody waits.
    public func lock() throws(DirectoryProblem) {
        guard cplatform_flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let error = SystemError("flock")
            throw error.code == EWOULDBLOCK ? .busy : .system(error)
        }
    }

    public func append(_ name: String) throws(DirectoryProblem) -> (file: Int32, bytes: Int)? {
        let flags = O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK
        let fd = unsafe cplatform_openat(descriptor, name, flags, 0)
        guard fd >= 0 else {
            let error = SystemError("open")
            if error.code == ENOENT { return nil }
            throw OpenDirectory.isLink(descriptor, name) ? .isLink : .system(error)
        }
        var info = stat()
        do throws(DirectoryProblem) {
            try OpenDirectory.check(fd, kind: S_IFREG)
            guard unsafe fstat(fd, &info) == 0 else { throw .system(SystemError("fstat")) }
        } catch {
            Socket.close(fd)
            throw error
        }
        return (fd, Int(info.st_size))
    }

    public func truncate(_ file: Int32, to bytes: Int) throws(DirectoryProblem) {
        guard ftruncate(file, off_t(bytes)) == 0 else { throw .system(SystemError("ftruncate")) }
    }

    public func reserve(_ file: Int32, bytes: Int) throws(DirectoryProblem) {
        var info = stat()
        guard unsafe fstat(file, &info) == 0 else { throw .system(SystemError("fstat")) }
        let keepSize: Int32 = 1
        guard cplatform_fallocate(file, keepSize, info.st_size, off_t(bytes)) == 0 else {
            let error = SystemError("fallocate")
            if error.code == EOPNOTSUPP || error.code == ENOSYS { return }
            throw .system(error)
        }
    }
}
