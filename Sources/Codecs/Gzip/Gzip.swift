import Base
import CZlib

/// Compression of whole texts in the gzip format (RFC 1952), by zlib.
public enum Gzip {
    /// zlib's fastest: pages of metrics repeat themselves so much that more work saves little.
    private static let level: Int32 = 1
    /// The largest window (2^15), with gzip's header and trailer (16).
    private static let windowBits: Int32 = 15 + 16
    private static let memoryLevel: Int32 = 8

    /// Compresses all of a text at once, with about 270 KiB of memory besides the result.
    ///
    /// - Returns: the member's bytes; `nil` where memory is short, or the text has 2 GiB or more.
    public static func compressed(_ text: Span<UInt8>) -> [UInt8]? {
        guard text.count < 1 << 31 else { return nil }
        var stream = unsafe z_stream()
        let begun = unsafe deflateInit2_(
            &stream, level, Z_DEFLATED, windowBits, memoryLevel, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        guard begun == Z_OK else { return nil }
        defer { unsafe deflateEnd(&stream) }
        let bound = Int(unsafe deflateBound(&stream, UInt(text.count)))
        var isWhole = false
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: bound) { room, count in
            unsafe text.withUnsafeBufferPointer { input in
                // zlib reads what it is lent, and does not write it.
                unsafe stream.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
                unsafe stream.avail_in = UInt32(input.count)
                unsafe stream.next_out = room.baseAddress
                unsafe stream.avail_out = UInt32(bound)
                isWhole = unsafe deflate(&stream, Z_FINISH) == Z_STREAM_END
                count = Int(unsafe stream.total_out)
            }
        }
        guard isWhole else { return nil }
        // Without the room that was left over, which is as long as the text.
        var member: [UInt8] = []
        member.reserveCapacity(bytes.count)
        member.append(contentsOf: bytes)
        return member
    }
}
