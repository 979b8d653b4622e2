import Synchronization

/// Bytes of memory that all buffers of the process hold now. Buffers count when they take memory
/// and when they give it back, which is when bytes have to wait, not once a request.
public enum BufferMemory {
    private static let held = Atomic<Int>(0)

    public static var bytes: Int { held.load(ordering: .relaxed) }

    static func take(_ count: Int) { held.wrappingAdd(count, ordering: .relaxed) }
    static func giveBack(_ count: Int) { held.wrappingSubtract(count, ordering: .relaxed) }
}
