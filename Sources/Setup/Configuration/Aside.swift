/// Wraps a value that is no part of what its owner means, such as the place where the owner stands
/// in a file: two of them are always equal, so that owners are compared by what they mean.
@propertyWrapper public struct Aside<Value: Sendable>: Sendable, Equatable {
    public var wrappedValue: Value

    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }

    public static func == (a: Aside, b: Aside) -> Bool { true }
}
