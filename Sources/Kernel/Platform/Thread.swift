import CPlatform

/// A kernel thread that runs one closure.
public enum Thread {
    private final class Box {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }

    /// Starts a thread. `name` shows in process listings, cut to 15 bytes.
    @safe public struct Handle: @unchecked Sendable {
        fileprivate let id: pthread_t
        public func join() { _ = pthread_join(id, nil) }
        /// Nobody will join: what the thread holds is given back when it ends.
        public func detach() { _ = pthread_detach(id) }
    }

    public static func start(
        name: String, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) -> Handle {
        let box = unsafe Unmanaged.passRetained(Box(body))
        var id = pthread_t()
        let code = unsafe pthread_create(&id, nil, threadEntry, box.toOpaque())
        guard code == 0 else {
            unsafe box.release()
            throw SystemError("pthread_create", code: code)
        }
        _ = unsafe cplatform_setname(id, String(name.prefix(15)))
        return Handle(id: id)
    }

    fileprivate static func run(_ argument: UnsafeMutableRawPointer) {
        let box = unsafe Unmanaged<Box>.fromOpaque(argument).takeRetainedValue()
        box.body()
    }
}

private func threadEntry(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let argument = unsafe argument { unsafe Thread.run(argument) }
    return nil
}
