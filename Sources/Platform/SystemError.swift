import CPlatform

/// A system call that failed, and its errno.
public struct SystemError: Error, Sendable, Equatable {
    public let call: StaticString
    public let code: Int32

    public init(_ call: StaticString, code: Int32 = cplatform_errno()) {
        self.call = call
        self.code = code
    }

    /// `bind: Address already in use`.
    public var message: String { unsafe "\(call): \(String(cString: strerror(code)))" }

    public static func == (a: SystemError, b: SystemError) -> Bool { a.code == b.code }
}
