/// A violation names what a peer did against HTTP/1.1. In a request, `status` is the answer owed
/// before the connection closes; in a response the client gets 502 whatever the violation.
public enum HTTP1Violation: UInt8, Error, Sendable, BitwiseCopyable, CaseIterable {
    case badRequestLine, badMethod, badTarget, targetTooLong, badVersion, unsupportedVersion
    case badFieldName, badFieldValue, obsoleteFold, headTooLarge, tooManyFields
    case missingHost, repeatedHost, badHost, hostMismatch
    case badContentLength, repeatedContentLength, lengthWithTransferEncoding, framingInHTTP10
    case unknownTransferCoding, badTransferEncoding, badConnectionField, badExpectation
    case badChunkSize, chunkExtensionsTooLong, badChunkEnd, badTrailer, trailersTooLarge
    case bodyTooLarge, badStatusLine, badUpgrade, badChunkExtension

    /// The status of RFC 9112 and RFC 9110 for a request that does this.
    public var status: UInt16 {
        switch self {
        case .targetTooLong: return 414
        case .headTooLarge, .tooManyFields, .trailersTooLarge: return 431
        case .unsupportedVersion: return 505
        case .unknownTransferCoding: return 501
        case .bodyTooLarge: return 413
        case .badExpectation: return 417
        default: return 400
        }
    }

    /// The cause in counters and logs.
    public var cause: StaticString {
        switch self {
        case .badRequestLine: return "bad-request-line"
        case .badMethod: return "bad-method"
        case .badTarget: return "bad-target"
        case .targetTooLong: return "target-too-long"
        case .badVersion: return "bad-version"
        case .unsupportedVersion: return "unsupported-version"
        case .badFieldName: return "bad-field-name"
        case .badFieldValue: return "bad-field-value"
        case .obsoleteFold: return "obsolete-fold"
        case .headTooLarge: return "head-too-large"
        case .tooManyFields: return "too-many-fields"
        case .missingHost: return "missing-host"
        case .repeatedHost: return "repeated-host"
        case .badHost: return "bad-host"
        case .hostMismatch: return "host-mismatch"
        case .badContentLength: return "bad-content-length"
        case .repeatedContentLength: return "repeated-content-length"
        case .lengthWithTransferEncoding: return "length-with-transfer-encoding"
        case .framingInHTTP10: return "framing-in-http10"
        case .unknownTransferCoding: return "unknown-transfer-coding"
        case .badTransferEncoding: return "bad-transfer-encoding"
        case .badConnectionField: return "bad-connection-field"
        case .badExpectation: return "bad-expectation"
        case .badChunkSize: return "bad-chunk-size"
        case .chunkExtensionsTooLong: return "chunk-extensions-too-long"
        case .badChunkEnd: return "bad-chunk-end"
        case .badTrailer: return "bad-trailer"
        case .trailersTooLarge: return "trailers-too-large"
        case .bodyTooLarge: return "body-too-large"
        case .badStatusLine: return "bad-status-line"
        case .badUpgrade: return "bad-upgrade"
        case .badChunkExtension: return "bad-chunk-extension"
        }
    }
}

/// Limits on what is read from a peer before it is refused. All in bytes unless said otherwise.
///
/// Two words, so that it travels in registers: the other limits follow from these.
public struct HeadLimits: Sendable, BitwiseCopyable {
    /// The most bytes of a whole head, empty line included.
    public let headBytesMax: Int
    /// The most field lines of a head.
    public let fieldCountMax: Int

    public init(headBytesMax: Int = 65_536, fieldCountMax: Int = 100) {
        self.headBytesMax = headBytesMax
        self.fieldCountMax = fieldCountMax
    }

    /// The most bytes of a request line without its CRLF.
    public var requestLineBytesMax: Int { min(headBytesMax, max(8_192, headBytesMax / 2)) }
    /// Trailer section: what HTTP/2's SETTINGS announce is one number for heads and trailers.
    public var trailerBytesMax: Int { headBytesMax }
    /// The most bytes of one chunk-size line with its extensions.
    public var chunkLineBytesMax: Int { 1_024 }
    /// The most bytes of chunk extensions of one body in all.
    public var chunkExtensionBytesMax: Int { 16_384 }
}

/// Whether a head was all there.
public enum HeadProgress: Sendable, BitwiseCopyable {
    case incomplete
    /// The head's length in bytes, the empty line included.
    case complete(headBytes: Int)
}
