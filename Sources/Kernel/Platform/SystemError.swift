import CPlatform

/// A system call that failed, and its errno.
public struct SystemError: Error, Sendable, Equatable {
    public let call: StaticString
    public let code: Int32

    public init(_ call: StaticString, code: Int32 = cplatform_errno()) {
        self.call = call
        self.code = code
    }

    /// The code of an error that no system call gives: a pipe, a device or a socket stands where a
    /// plain file is wanted.
    static let notPlain: Int32 = -1

    /// `bind: Address already in use`.
    public var message: String {
        if code == SystemError.notPlain { return "it is no plain file" }
        return unsafe "\(call): \(String(cString: strerror(code)))"
    }

    public static func == (a: SystemError, b: SystemError) -> Bool { a.code == b.code }

    /// Causes that a message can give advice on.
    public enum Cause: Sendable {
        case missing, forbidden, isDirectory, tooLarge, inUse, noSuchAddress, noSuchFamily
        case exists, noSpace, readOnly, other
    }

    public var cause: Cause {
        switch code {
        case ENOENT, ENOTDIR: return .missing
        case EACCES, EPERM: return .forbidden
        case EISDIR: return .isDirectory
        case EFBIG: return .tooLarge
        case EEXIST: return .exists
        case ENOSPC, EDQUOT: return .noSpace
        case EROFS: return .readOnly
        case EADDRINUSE: return .inUse
        case EADDRNOTAVAIL: return .noSuchAddress
        case EAFNOSUPPORT: return .noSuchFamily
        default: return .other
        }
    }
}
