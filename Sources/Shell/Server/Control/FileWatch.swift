import Base
import Platform

/// Notices that a file of the configuration has become another: by a write, a rename, or a link
/// that now leads elsewhere. Links are followed into other directories, as Kubernetes' `..data`
/// and chains of links need it.
///
/// Directories are watched, and what happens in them is compared with the stamps of the files:
/// a log that is written beside the configuration is no change of it.
final class FileWatch {
    /// A watch, and the stamp of the directory that it was made for: a watch stays with its
    /// directory when another takes the path.
    private struct Watched {
        let watch: Directory.Watch
        let stamp: Files.Stamp?

        func leads(to path: String) -> Bool {
            guard let stamp, let now = Files.stamp(path) else { return false }
            return stamp.isOfSameFile(as: now)
        }
    }

    private var watches: [String: Watched] = [:]
    private var stamps: [String: Files.Stamp?] = [:]

    /// Watches these files from now on, and takes them to be as they are now.
    /// - Parameter add: lets the loop wait for a directory's descriptor.
    /// - Returns: directories that cannot be watched, with the reason.
    func follow(
        _ files: [String], add: (Int32) throws(SystemError) -> Void
    ) -> [(directory: String, why: String)] {
        stamps = Dictionary(
            files.map { ($0, Files.stamp($0)) }, uniquingKeysWith: { first, _ in first })
        return renew(add: add)
    }

    /// Watches the directories by which the files are reached now: one of them may be another than
    /// it was, at the same path, or may have come back. To be called when a directory told
    /// something.
    func renew(
        add: (Int32) throws(SystemError) -> Void
    ) -> [(directory: String, why: String)] {
        var wanted: Set<String> = []
        for file in stamps.keys { wanted.formUnion(Directory.onTheWay(to: file)) }
        // Closing its descriptor takes a watch from the poller too.
        watches = watches.filter { wanted.contains($0.key) && $0.value.leads(to: $0.key) }
        var failed: [(directory: String, why: String)] = []
        for directory in wanted.sorted() where watches[directory] == nil {
            do throws(SystemError) {
                let watch = try Directory.Watch(directory)
                try add(watch.descriptor)
                watches[directory] = Watched(watch: watch, stamp: Files.stamp(directory))
            } catch {
                failed.append((directory, error.message))
            }
        }
        return failed
    }

    /// Takes what the directories tell; whether there was anything.
    func drain() -> Bool { watches.values.reduce(false) { $1.watch.drain() || $0 } }

    /// Whether a file is another than when it was last looked at.
    var hasChanged: Bool { stamps.contains { Files.stamp($0.key) != $0.value } }
}
