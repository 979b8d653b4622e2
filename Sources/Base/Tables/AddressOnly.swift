import Synchronization

/// A field that makes its struct live at one address.
///
/// A large struct without one is copied to the stack whenever it is lent to a function (measured: a
/// sixth of a request's instructions went into such copies); with one it is lent by its address.
public struct AddressOnly: ~Copyable, Sendable {
    private let cell = Atomic<Bool>(false)
    public init() {}
}
