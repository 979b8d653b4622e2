import Base
import HTTPSemantics

/// Host and path of a request in the one form in which they are matched: the host in lower case
/// without port and without the root's dot, the path as `PathNormalizer` writes it. The data plane
/// and `explain` both ask here, so that they cannot differ.
///
/// Memory is kept from request to request, and a path that came in normal form is not copied.
public struct MatchKey: ~Copyable {
    private let addressOnly = AddressOnly()
    @usableFromInline var hostText = ByteBuffer(capacity: 256)
    @usableFromInline var pathText = ByteBuffer(capacity: 1_024)
    /// The path's place in the head, when it came in normal form; empty when `pathText` has it.
    @usableFromInline var pathInHead = ByteRange.empty

    public init() {}

    /// Takes a request's host and path.
    ///
    /// - Parameters:
    ///   - bytes: the head's bytes, to which positions refer.
    ///   - looksAtHost: some route asks for the host (`RouteTable.looksAtHost`). Without one the
    ///     host is left as it was, and must not be read.
    ///   - normalizesPaths: `settings.pathNormalization`.
    /// - Returns: `false` for a path that is refused with 400: it leaves the root, or contains an
    ///   encoded NUL.
    @inlinable @inline(__always)
    public mutating func take(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, looksAtHost: Bool,
        normalizesPaths: Bool
    ) -> Bool {
        if looksAtHost { takeHost(head, bytes) }
        pathInHead = head.path
        if head.path.isEmpty {
            pathText.clear()
            pathText.append(UInt8(0x2f))
        } else if !head.isPathPlain, normalizesPaths {
            return normalize(head.path, bytes)
        }
        return true
    }

    @usableFromInline
    mutating func takeHost(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) {
        hostText.clear()
        let host = ByteRange(start: head.authority.lower, count: head.hostLength)
        Authority.appendNormal(bytes.extracting(host.range), to: &hostText)
    }

    @usableFromInline @inline(never)
    mutating func normalize(_ path: ByteRange, _ bytes: Span<UInt8>) -> Bool {
        pathInHead = .empty
        pathText.clear()
        do throws(PathNormalizer.Failure) {
            try PathNormalizer.normalize(bytes.extracting(path.range), into: &pathText)
        } catch {
            return false
        }
        return true
    }

    /// The host in normal form; a view that is true until the next request is taken.
    @inlinable public var host: Span<UInt8> {
        @_lifetime(immortal)
        @inline(__always) get { hostText.readable }
    }

    /// The path in normal form; a view that is true until the next request is taken.
    ///
    /// - Parameter bytes: those that `take` was given.
    @inlinable @inline(__always)
    @_lifetime(copy bytes)
    public func path(in bytes: Span<UInt8>) -> Span<UInt8> {
        pathInHead.isEmpty ? pathText.readable : bytes.extracting(pathInHead.range)
    }
}
