import Base
import Platform

/// Notices that a file of the configuration has become another: by a write, a rename, or a link
/// that now leads elsewhere. Links are followed into other directories, as Kubernetes' `..data`
/// and chains of links need it.
///
/// Directories are watched for the names on the way to the files; a file whose name was told of is
/// compared with its stamp. Whatever else is written beside the configuration makes nobody look at
/// it, and a file that is saved in place is looked at when its writer has closed it, not before: a
/// half of it is never loaded. All of this is done on a thread of its own, because a file system
/// that hangs answers nobody.
final class FileWatch: Sendable {
    private struct State {
        var files: [String]
        /// How each file was when it was last looked at, or read.
        var stamps: [String: Files.Stamp?]
        /// Files that this process is writing itself, and how many such writes have ended.
        var own: Set<String> = []
        var ownCount = 0
    }

    /// How long after the last change the files are looked at: editors write in several steps.
    private static let debounce = Duration.milliseconds(50)

    private let state: Lock<State>
    private let wakeup: Wakeup
    private let log: ProcessLog
    private let tell: @Sendable () -> Void

    /// Takes the files to be as they are now.
    /// - Parameter tell: called on the watch's thread when one of them has changed.
    init(
        _ files: [String], log: ProcessLog, tell: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        state = Lock(State(files: files, stamps: FileWatch.stamps(files)))
        wakeup = try Wakeup()
        self.log = log
        self.tell = tell
    }

    private static func stamps(_ files: [String]) -> [String: Files.Stamp?] {
        Dictionary(files.map { ($0, Files.stamp($0)) }, uniquingKeysWith: { first, _ in first })
    }

    func start() throws(SystemError) {
        _ = try Thread.start(name: "file-watch") { [self] in run() }
    }

    /// Watches these files from now on; those that are watched already are compared with what they
    /// were. Any thread may call it, and never waits.
    func follow(_ files: [String]) {
        state.withLock { state in
            state.files = files
            state.stamps = state.stamps.filter { files.contains($0.key) }
        }
        wakeup.wake()
    }

    /// Files that will be followed, as they were read: what becomes of them from here on is news.
    /// To be called on the thread that reads.
    func noteRead(_ files: [String]) {
        let stamps = FileWatch.stamps(files)
        state.withLock { $0.stamps.merge(stamps) { known, _ in known } }
    }

    /// The files are about to be read: what they are now is no news. To be called on the thread
    /// that reads, because it may wait for the file system.
    func willRead() {
        let stamps = FileWatch.stamps(state.withLock { $0.files })
        state.withLock { $0.stamps.merge(stamps) { _, new in new } }
    }

    /// This process is about to write a file itself, until `noteWritten`: what becomes of the file
    /// is no news.
    func willWrite(_ file: String) { state.withLock { _ = $0.own.insert(file) } }

    func noteWritten(_ file: String) {
        let stamp = Files.stamp(file)
        state.withLock { state in
            state.own.remove(file)
            state.ownCount += 1
            if state.files.contains(file) { state.stamps[file] = .some(stamp) }
        }
    }

    /// - Returns: whether one of these files is another than when it was last looked at, or read.
    private func look(at touched: Set<String>) -> Bool {
        while true {
            let (files, count) = state.withLock { state in
                (state.files.filter { touched.contains($0) }, state.ownCount)
            }
            let now = FileWatch.stamps(files)
            let isNews = state.withLock { state -> Bool? in
                // A write of our own has ended meanwhile, and the stamps may be older than it.
                guard state.ownCount == count else { return nil }
                let theirs = now.filter { !state.own.contains($0.key) }
                defer { state.stamps.merge(theirs) { _, new in new } }
                return theirs.contains { file, stamp in
                    guard let known = state.stamps[file] else { return false }
                    return known != stamp
                }
            }
            if let isNews { return isNews }
        }
    }

    // MARK: The thread

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

    private func run() {
        do throws(SystemError) {
            try watch()
        } catch {
            log.error(
                "files cannot be watched; send SIGHUP instead", [("error", error.message)])
        }
    }

    /// The directories by which files are reached, and in them the names that matter.
    private struct Ways {
        var watches: [String: Watched] = [:]
        /// By file: the names on its way, by directory.
        var names: [String: [String: Set<String>]] = [:]

        /// Takes all events so far.
        /// - Returns: the files that may be others now.
        func takeEvents() -> Set<String> {
            var touched: Set<String> = []
            for (directory, watched) in watches {
                for event in watched.watch.drain() where matters(event, directory) {
                    for (file, names) in names {
                        guard let own = names[directory] else { continue }
                        if event.name.isEmpty || own.contains(event.name) { touched.insert(file) }
                    }
                }
            }
            return touched
        }

        private func matters(_ event: Directory.Watch.Event, _ directory: String) -> Bool {
            guard event.isCreation else { return true }
            let path = directory == "/" ? "/" + event.name : directory + "/" + event.name
            return !Files.isPlainWithOneName(path)
        }
    }

    private func watch() throws(SystemError) {
        var poller = try Poller()
        try poller.addInput(wakeup.descriptor, token: 0)
        var ways = Ways()
        var touched: Set<String> = []
        // Whatever happened before the directories are watched is found by the first look.
        var lookAt = SystemClock.now()
        while true {
            let wait = lookAt.isNever ? -1 : (lookAt - SystemClock.now()).millisecondsUp
            let count = try poller.wait(milliseconds: Int32(clamping: wait))
            for i in 0..<count where poller.ready(i).token == 0 {
                wakeup.clear()
                lookAt = min(lookAt, SystemClock.now())
            }
            let more = ways.takeEvents()
            if !more.isEmpty {
                touched.formUnion(more)
                lookAt = SystemClock.now() + FileWatch.debounce
            }
            guard lookAt <= SystemClock.now() else { continue }
            lookAt = .never
            touched.formUnion(renew(&ways, poller))
            if look(at: touched) { tell() }
            touched = []
        }
    }

    /// Watches the directories by which the files are reached now: one of them may be another than
    /// it was, at the same path, or may have come back.
    ///
    /// - Returns: the files that nobody has told of until now: they may be others than they were.
    private func renew(_ ways: inout Ways, _ poller: borrowing Poller) -> Set<String> {
        var names: [String: [String: Set<String>]] = [:]
        for file in state.withLock({ $0.files }) { names[file] = Directory.onTheWay(to: file) }
        var unseen = Set(names.keys.filter { ways.names[$0] == nil })
        let wanted = names.values.reduce(into: Set<String>()) { $0.formUnion($1.keys) }
        // Closing its descriptor takes a watch from the poller too.
        ways.watches = ways.watches.filter {
            wanted.contains($0.key) && $0.value.leads(to: $0.key)
        }
        for directory in wanted.sorted() where ways.watches[directory] == nil {
            for (file, own) in names where own[directory] != nil { unseen.insert(file) }
            do throws(SystemError) {
                let watch = try Directory.Watch(directory)
                try poller.addInput(watch.descriptor, token: 1)
                ways.watches[directory] = Watched(watch: watch, stamp: Files.stamp(directory))
            } catch {
                log.error(
                    "files cannot be watched; send SIGHUP instead",
                    [("directory", directory), ("error", error.message)])
            }
        }
        ways.names = names
        return unseen
    }
}
