import Synchronization

/// A value that one thread at a time may look at: the standard library's `Mutex`, which the thread
/// sanitizer cannot see into. Under it (`THREAD_SANITIZER` is defined) each passage says that it
/// happens after the one before.
public struct Lock<Value: ~Copyable>: ~Copyable, Sendable {
    @usableFromInline let mutex: Mutex<Value>
    #if THREAD_SANITIZER
    @usableFromInline let key = UInt(
        bitPattern: UnsafeMutableRawPointer.allocate(byteCount: 8, alignment: 8))
    #endif

    @inlinable public init(_ value: consuming sending Value) { mutex = Mutex(value) }

    /// Waits for its turn. `body` must not take the same lock.
    @inlinable public borrowing func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        #if THREAD_SANITIZER
        let key = key
        return try mutex.withLock {
            (value: inout sending Value) throws(Failure) -> sending Result in
            threadSanitizerAcquire(key)
            defer { threadSanitizerRelease(key) }
            return try body(&value)
        }
        #else
        return try mutex.withLock(body)
        #endif
    }
}

#if THREAD_SANITIZER
@_silgen_name("__tsan_acquire") @usableFromInline func threadSanitizerAcquire(_ place: UInt)
@_silgen_name("__tsan_release") @usableFromInline func threadSanitizerRelease(_ place: UInt)
#endif
