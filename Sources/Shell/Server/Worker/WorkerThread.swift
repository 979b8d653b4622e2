import Base
import Configuration
import Platform
import Proxy

/// Carries a worker's loop from the thread that makes it to the one that runs it. Used once by
/// each, and the start of the thread lies between.
final class WorkerThread: @unchecked Sendable {
    private var loop: WorkerLoop

    private init(_ loop: consuming WorkerLoop) { self.loop = loop }

    /// Makes a worker and runs its loop on a thread of its own.
    /// - Parameter prepare: called before the thread starts, with the worker.
    static func start(
        index: Int, group: WorkerGroup, setup: DataPlane.Setup, prepare: (Worker) -> Void
    ) throws(SystemError) {
        let loop = try WorkerLoop(index: index, group: group, setup: setup)
        let worker = loop.worker
        prepare(worker)
        let thread = WorkerThread(loop)
        _ = try Thread.start(name: "worker-\(index)") { thread.loop.run() }
    }
}
