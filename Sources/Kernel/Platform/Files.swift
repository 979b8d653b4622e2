import Base
import CPlatform

/// Whole files, and files that only grow.
public enum Files {
    /// Reads a file of at most `bytesMax` bytes.
    public static func read(_ path: String, bytesMax: Int) throws(SystemError) -> [UInt8] {
        let fd = unsafe cplatform_open(path, O_RDONLY | O_CLOEXEC, 0)
        guard fd >= 0 else { throw SystemError("open") }
        defer { Socket.close(fd) }
        return try read(fd, bytesMax: bytesMax)
    }

    /// Reads a plain file of at most `bytesMax` bytes. A pipe, which might keep its reader for
    /// ever, or a device is an error.
    public static func readPlain(_ path: String, bytesMax: Int) throws(SystemError) -> [UInt8] {
        let fd = unsafe cplatform_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0)
        guard fd >= 0 else { throw SystemError("open") }
        defer { Socket.close(fd) }
        var info = stat()
        guard unsafe fstat(fd, &info) == 0 else { throw SystemError("fstat") }
        switch info.st_mode & mode_t(S_IFMT) {
        case mode_t(S_IFREG): return try read(fd, bytesMax: bytesMax)
        case mode_t(S_IFDIR): throw SystemError("read", code: EISDIR)
        default: throw SystemError("open", code: SystemError.notPlain)
        }
    }

    private static func read(_ fd: Int32, bytesMax: Int) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let n = unsafe CPlatform.read(fd, &chunk, chunk.count)
            if n < 0 { throw SystemError("read") }
            if n == 0 { return bytes }
            bytes += chunk[..<n]
            guard bytes.count <= bytesMax else { throw SystemError("read", code: EFBIG) }
        }
    }

    /// A stamp tells a file from what it was before: another file, another time or another length.
    public struct Stamp: Sendable, Equatable {
        private let device: UInt64
        private let number: UInt64
        private let length: Int64
        private let seconds: Int64
        private let nanoseconds: Int64

        fileprivate init(_ info: stat) {
            device = UInt64(info.st_dev)
            number = UInt64(info.st_ino)
            length = Int64(info.st_size)
            seconds = Int64(info.st_mtim.tv_sec)
            nanoseconds = Int64(info.st_mtim.tv_nsec)
        }

        /// Whether both are stamps of one file or directory, whatever has become of its contents.
        public func isOfSameFile(as other: Stamp) -> Bool {
            device == other.device && number == other.number
        }
    }

    /// The stamp of the file that a path leads to; `nil` when it leads to none.
    public static func stamp(_ path: String) -> Stamp? {
        var info = stat()
        return unsafe stat(path, &info) == 0 ? Stamp(info) : nil
    }

    /// Whether a path leads to a plain file that has this one name. Such a file is complete when
    /// its writer closes it; a link to another is complete when it is made.
    public static func isPlainWithOneName(_ path: String) -> Bool {
        var info = stat()
        guard unsafe lstat(path, &info) == 0 else { return false }
        return info.st_mode & mode_t(S_IFMT) == mode_t(S_IFREG) && info.st_nlink == 1
    }

    /// Opens a file to append to, made when it is not there. A pipe that nobody reads is an error,
    /// not a wait.
    public static func openAppending(_ path: String) throws(SystemError) -> Int32 {
        let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK
        let fd = unsafe cplatform_open(path, flags, 0o644)
        guard fd >= 0 else { throw SystemError("open") }
        _ = cplatform_set_blocking(fd)
        return fd
    }

    /// Why a file could not be opened to append to, found out without making it; `nil` where
    /// nothing speaks against it.
    public static func obstacle(toAppending path: String) -> SystemError? {
        var info = stat()
        if unsafe stat(path, &info) == 0 {
            if info.st_mode & mode_t(S_IFMT) == mode_t(S_IFDIR) {
                return SystemError("open", code: EISDIR)
            }
            return mayUse(path, W_OK)
        }
        if cplatform_errno() != ENOENT { return SystemError("open") }
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        return mayUse(parent.isEmpty ? "/" : parent, W_OK | X_OK)
    }

    private static func mayUse(_ path: String, _ mode: Int32) -> SystemError? {
        unsafe faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 ? nil : SystemError("open")
    }

    /// Removes a unix socket's file, unless another has taken its place.
    ///
    /// - Parameter stamp: the file's, from when the socket was bound.
    public static func removeSocket(_ path: String, ifStill stamp: Stamp) {
        guard let now = Files.stamp(path), now.isOfSameFile(as: stamp) else { return }
        _ = unsafe unlink(path)
    }

    /// Writes as much as the file takes now.
    public static func write(_ fd: Int32, _ bytes: Span<UInt8>) -> Int {
        unsafe bytes.withUnsafeBufferPointer { p in
            unsafe max(0, CPlatform.write(fd, p.baseAddress, p.count))
        }
    }

    /// Writes all bytes, and waits for as long as the file takes none: also where another process
    /// that shares the open file has made it one that does not wait.
    ///
    /// - Returns: how many were written, and what kept the others from it.
    public static func append(
        _ fd: Int32, _ bytes: Span<UInt8>
    ) -> (count: Int, failure: SystemError?) {
        unsafe bytes.withUnsafeBufferPointer { p in
            var done = 0
            while done < p.count {
                let n = unsafe CPlatform.write(fd, p.baseAddress! + done, p.count - done)
                if n > 0 {
                    done += n
                    continue
                }
                let error = SystemError("write", code: n == 0 ? ENOSPC : cplatform_errno())
                switch error.code {
                case EINTR: continue
                case EAGAIN:
                    var entry = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                    _ = unsafe poll(&entry, 1, -1)
                default: return (done, error)
                }
            }
            return (done, nil)
        }
    }

    public static func write(_ fd: Int32, all text: String) {
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let n = write(fd, bytes.span.extracting(done..<bytes.count))
            if n == 0 { return }
            done += n
        }
    }

    /// Eight random bytes of the kernel's; the clock's where a kernel gives none.
    public static func randomSeed() -> UInt64 {
        var seed: UInt64 = 0
        guard unsafe cplatform_random(&seed, 8) == 8 else {
            return UInt64(bitPattern: SystemClock.wall().microseconds)
                ^ SystemClock.now().nanoseconds
        }
        return seed
    }
}
