import Base
import CNGHTTP2

/// Header compression (RFC 7541) of one connection, both ways, by libnghttp2's codec.
///
/// Fields must be given and taken in the order in which their blocks go over the wire.
@safe package struct HPACK: ~Copyable {
    private var inflater: OpaquePointer?
    private var deflater: OpaquePointer?

    package init() {
        unsafe inflater = nil
        unsafe deflater = nil
    }

    deinit {
        if let inflater = unsafe inflater { unsafe nghttp2_hd_inflate_del(inflater) }
        if let deflater = unsafe deflater { unsafe nghttp2_hd_deflate_del(deflater) }
    }

    /// Begins a connection; both tables have the initial 4,096 bytes (RFC 9113 §6.5.2).
    package mutating func open() {
        close()
        precondition(unsafe nghttp2_hd_inflate_new(&inflater) == 0, "memory for a table")
        precondition(unsafe nghttp2_hd_deflate_new(&deflater, 4_096) == 0, "memory for a table")
    }

    mutating func close() {
        if let inflater = unsafe inflater { unsafe nghttp2_hd_inflate_del(inflater) }
        if let deflater = unsafe deflater { unsafe nghttp2_hd_deflate_del(deflater) }
        unsafe inflater = nil
        unsafe deflater = nil
    }

    /// The peer's table has another size from now on; ours never grows beyond the initial.
    mutating func setPeerTableSize(_ bytes: Int) {
        guard let deflater = unsafe deflater else { return }
        _ = unsafe nghttp2_hd_deflate_change_table_size(deflater, min(bytes, 4_096))
    }

    /// Decodes a fragment of a header block and gives each field to `body`.
    /// - Returns: `false`: the fragment is not HPACK, and the connection is lost with its table.
    package mutating func inflate(
        _ fragment: Span<UInt8>, isLast: Bool, _ block: inout HeaderBlock, _ limits: HTTP2Limits
    ) -> Bool {
        guard let inflater = unsafe inflater else { return false }
        return unsafe fragment.withUnsafeBufferPointer { bytes in
            var at = 0
            while true {
                var field = unsafe nghttp2_nv()
                var flags: Int32 = 0
                let taken = unsafe nghttp2_hd_inflate_hd2(
                    inflater, &field, &flags, bytes.baseAddress.map { unsafe $0 + at },
                    bytes.count - at, isLast ? 1 : 0)
                guard taken >= 0 else { return false }
                at += taken
                if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
                    let name = unsafe Span(
                        _unsafeElements: UnsafeBufferPointer(
                            start: field.name, count: field.namelen))
                    let value = unsafe Span(
                        _unsafeElements: UnsafeBufferPointer(
                            start: field.value, count: field.valuelen))
                    block.add(name, value, limits: limits)
                }
                if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 {
                    _ = unsafe nghttp2_hd_inflate_end_headers(inflater)
                    return at == bytes.count
                }
                if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) == 0, at == bytes.count {
                    return !isLast
                }
            }
        }
    }

    /// Appends the block of some fields.
    package mutating func deflate(_ fields: borrowing FieldList, to out: inout ByteBuffer) {
        guard let deflater = unsafe deflater else { return }
        let count = fields.count
        unsafe fields.withPointer { pointer in
            let room = unsafe nghttp2_hd_deflate_bound(deflater, pointer, count)
            _ = unsafe out.write(atMost: room) { memory in
                let written = unsafe nghttp2_hd_deflate_hd(
                    deflater, memory.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    memory.count, pointer, count)
                return max(0, written)
            }
        }
    }
}

/// Fields on their way into a header block: where names and values lie, for one call.
@safe package struct FieldList: ~Copyable {
    private let fields: FixedArray<nghttp2_nv>
    private(set) var count = 0
    /// Names in lower case (RFC 9113 §8.2.1), where they did not come so. Never grows while it is
    /// pointed into.
    private var names: ByteBuffer

    package init(capacity: Int) {
        unsafe fields = FixedArray(repeating: nghttp2_nv(), count: capacity)
        names = ByteBuffer(capacity: 16_384)
    }

    package mutating func removeAll() {
        count = 0
        names.clear()
    }

    func withPointer(_ body: (UnsafePointer<nghttp2_nv>) -> Void) {
        unsafe fields.withPointer { unsafe body(UnsafePointer($0)) }
    }

    /// Adds a field; its bytes must stay where they are until the block is made.
    ///
    /// - Parameter isUnique: no other message will have the value, so it is kept out of the table:
    ///   one that fills with ids finds nothing else any more.
    package mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>, isUnique: Bool = false) {
        var name = name
        if FieldList.hasUpper(name), names.capacity - names.writerIndex >= name.count {
            let start = names.writerIndex
            names.appendLower(name)
            name = names.span(ByteRange(start, end: names.writerIndex))
        }
        unsafe name.withUnsafeBufferPointer { n in
            unsafe value.withUnsafeBufferPointer { v in
                unsafe put(n.baseAddress, n.count, v.baseAddress, v.count, isUnique: isUnique)
            }
        }
    }

    mutating func add(_ name: StaticString, _ value: Span<UInt8>) {
        unsafe value.withUnsafeBufferPointer { v in
            unsafe put(name.utf8Start, name.utf8CodeUnitCount, v.baseAddress, v.count)
        }
    }

    mutating func add(_ name: StaticString, _ value: StaticString) {
        unsafe put(
            name.utf8Start, name.utf8CodeUnitCount, value.utf8Start, value.utf8CodeUnitCount)
    }

    /// `:status`, three digits.
    mutating func addStatus(_ status: UInt16) {
        let start = names.writerIndex
        names.appendDecimal(UInt64(status))
        add(":status", names.span(ByteRange(start, end: names.writerIndex)))
    }

    @inline(__always)
    private static func hasUpper(_ name: Span<UInt8>) -> Bool {
        for i in 0..<name.count where name[i] &- 0x41 < 26 { return true }
        return false
    }

    private mutating func put(
        _ name: UnsafePointer<UInt8>?, _ nameCount: Int, _ value: UnsafePointer<UInt8>?,
        _ valueCount: Int, isUnique: Bool = false
    ) {
        guard unsafe count < fields.count else { return }
        unsafe fields[count] = nghttp2_nv(
            name: UnsafeMutablePointer(mutating: name),
            value: UnsafeMutablePointer(mutating: value), namelen: nameCount,
            valuelen: valueCount,
            flags: isUnique ? UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue) : 0)
        count += 1
    }
}
