import CPlatform

/// Directories: counting entries, and watching for changes.
public enum Directory {
    static func count(_ path: String) -> Int {
        guard let directory = unsafe opendir(path) else { return 0 }
        defer { unsafe closedir(directory) }
        var count = 0
        while let entry = unsafe readdir(directory) {
            if unsafe entry.pointee.d_name.0 != 0x2e { count += 1 }
        }
        return count
    }

    /// Watches a directory for anything that may replace a file in it: writes, renames, symlink
    /// swaps.
    public final class Watch: Sendable {
        public let descriptor: Int32

        public init(_ path: String) throws(SystemError) {
            descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
            guard descriptor >= 0 else { throw SystemError("inotify_init1") }
            let mask = UInt32(IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB)
            guard unsafe inotify_add_watch(descriptor, path, mask) >= 0 else {
                let error = SystemError("inotify_add_watch")
                Socket.close(descriptor)
                throw error
            }
        }

        deinit { Socket.close(descriptor) }

        /// Takes all events so far; `true` when there were any.
        public func drain() -> Bool {
            var bytes = [UInt8](repeating: 0, count: 4_096)
            var any = false
            while unsafe read(descriptor, &bytes, bytes.count) > 0 { any = true }
            return any
        }
    }
}
