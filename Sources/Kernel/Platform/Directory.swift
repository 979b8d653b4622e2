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

    /// Links that are followed on the way to one file; the kernel's own bound.
    private static let linksMax = 40

    /// The directories in which a change may make a path lead to another file, each with the names
    /// that matter there: that of the file, and those of every link on the way to it, whatever
    /// directory the links lead into.
    public static func onTheWay(to path: String) -> [String: Set<String>] {
        var found: [String: Set<String>] = [:]
        var place = path.hasPrefix("/") ? "/" : "."
        var left = path.split(separator: "/").map(String.init)
        var links = 0
        while !left.isEmpty {
            let name = left.removeFirst()
            if name == "." { continue }
            let full = place == "/" ? "/" + name : place + "/" + name
            if let target = link(full) {
                found[place, default: []].insert(name)
                links += 1
                // Links in a circle lead nowhere.
                if links > linksMax { return found }
                if target.hasPrefix("/") { place = "/" }
                left = target.split(separator: "/").map(String.init) + left
            } else if left.isEmpty || Files.stamp(full) == nil {
                // The file, or where the way ends for now.
                found[place, default: []].insert(name)
                return found
            } else {
                place = full
            }
        }
        return found
    }

    /// Where a link leads to, as it says; `nil` for anything else.
    private static func link(_ path: String) -> String? {
        var bytes = [CChar](repeating: 0, count: 4_096)
        let count = unsafe readlink(path, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Watches a directory for anything that may replace a file in it: writes, renames, symlink
    /// swaps.
    public final class Watch: Sendable {
        public let descriptor: Int32

        public init(_ path: String) throws(SystemError) {
            descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
            guard descriptor >= 0 else { throw SystemError("inotify_init1") }
            let mask = UInt32(
                IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_MOVE_SELF
                    | IN_DELETE_SELF)
            guard unsafe inotify_add_watch(descriptor, path, mask) >= 0 else {
                let error = SystemError("inotify_add_watch")
                Socket.close(descriptor)
                throw error
            }
        }

        deinit { Socket.close(descriptor) }

        /// An event in a directory.
        public struct Event: Sendable {
            /// The entry; empty where the directory itself has gone, or where events were lost.
            public var name: String
            /// An entry was made. A plain file by that name may be empty still: it is told of again
            /// when whoever writes it has closed it.
            public var isCreation: Bool
        }

        /// Takes all events so far.
        public func drain() -> [Event] {
            var events: [Event] = []
            var bytes = [UInt8](repeating: 0, count: 4_096)
            let headBytes = MemoryLayout<inotify_event>.size
            while true {
                let count = unsafe read(descriptor, &bytes, bytes.count)
                guard count > 0 else { return events }
                var at = 0
                while at + headBytes <= count {
                    let head = unsafe bytes.withUnsafeBytes {
                        unsafe $0.loadUnaligned(fromByteOffset: at, as: inotify_event.self)
                    }
                    let end = min(at + headBytes + Int(head.len), count)
                    let name = bytes[(at + headBytes)..<end].prefix { $0 != 0 }
                    events.append(
                        Event(
                            name: String(decoding: name, as: UTF8.self),
                            isCreation: head.mask & UInt32(IN_CREATE) != 0))
                    at = end
                }
            }
        }
    }
}
