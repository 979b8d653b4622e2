import Base
import CNGHTTP2

/// Header compression (RFC 7541) of one connection, both ways, by libnghttp2's codec.
///
/// Fields must be given and taken in the order in which their blocks go over the wire.
@safe package struct HPACK: ~Copyable {
    private var inflater: OpaquePointer?
    private var deflater: OpaquePointer?
    /// The state of a block that comes in several frames.
    private var long = LongLiterals()

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
        long.reset()
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
        if isLast, !long.isMidway { return decode(fragment, isLast: true, &block, limits) }
        return inflateInPieces(fragment, isLast: isLast, &block, limits)
    }

    /// A block of several frames: it may have strings that the library takes for an error.
    @inline(never)
    private mutating func inflateInPieces(
        _ fragment: Span<UInt8>, isLast: Bool, _ block: inout HeaderBlock, _ limits: HTTP2Limits
    ) -> Bool {
        long.append(fragment)
        while true {
            switch long.next(listBytesMax: limits.headerListBytesMax) {
            case .plain(let count):
                let bytes = long.bytes(ByteRange(start: 0, count: count))
                guard decode(bytes, isLast: false, &block, limits) else { return false }
                long.consume(count)
            case .literal(let literal):
                guard addLong(literal, &block, limits) else { return false }
                long.consume(literal.byteCount)
                if literal.isIndexed { emptyTable() }
            case .dropped(let isIndexed):
                block.refuse()
                if isIndexed { emptyTable() }
            case .malformed: return false
            case .more:
                guard isLast else { return true }
                guard long.isAtBoundary else { return false }
                long.reset()
                return decode(fragment.extracting(0..<0), isLast: true, &block, limits)
            }
        }
    }

    private func addLong(
        _ literal: LongLiterals.Literal, _ block: inout HeaderBlock, _ limits: HTTP2Limits
    ) -> Bool {
        var name = ByteBuffer(), value = ByteBuffer()
        if literal.nameIndex > 0 {
            guard let inflater = unsafe inflater,
                let entry = unsafe nghttp2_hd_inflate_get_table_entry(inflater, literal.nameIndex)
            else { return false }
            unsafe name.append(
                Span(
                    _unsafeElements: UnsafeBufferPointer(
                        start: entry.pointee.name, count: entry.pointee.namelen)))
        } else {
            guard read(literal.name, to: &name) else { return false }
        }
        guard read(literal.value, to: &value) else { return false }
        block.add(name.readable, value.readable, limits: limits)
        return true
    }

    private func read(_ text: LongLiterals.Text, to out: inout ByteBuffer) -> Bool {
        let bytes = long.bytes(text.range)
        if text.isHuffman { return HuffmanCode.decode(bytes, to: &out) }
        out.append(bytes)
        return true
    }

    /// An entry larger than the table empties it (RFC 7541 §4.4): done by one that the library
    /// decodes, a field `x` of 4,200 bytes, which goes nowhere.
    private mutating func emptyTable() {
        guard let inflater = unsafe inflater else { return }
        var literal = ByteBuffer(capacity: 4_300)
        for byte: UInt8 in [0x40, 1, UInt8(ascii: "x"), 0x7f, 0xe9, 0x1f] { literal.append(byte) }
        for _ in 0..<4_200 { literal.append(UInt8(ascii: "-")) }
        unsafe literal.readable.withUnsafeBufferPointer { bytes in
            var at = 0
            while at < bytes.count {
                var field = unsafe nghttp2_nv()
                var flags: Int32 = 0
                let taken = unsafe nghttp2_hd_inflate_hd2(
                    inflater, &field, &flags, bytes.baseAddress.map { unsafe $0 + at },
                    bytes.count - at, 0)
                guard taken > 0 else { return }
                at += taken
            }
        }
    }

    private mutating func decode(
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
    private var fields: FixedArray<nghttp2_nv>
    private(set) var count = 0
    /// Names in lower case (RFC 9113 §8.2.1), where they did not come so. `fields` points into it,
    /// so it grows by `growNames` alone.
    private var names: ByteBuffer
    /// Memory for names that is kept from one block to the next.
    private static let nameBytesKept = 16_384

    package init(capacity: Int) {
        unsafe fields = FixedArray(repeating: nghttp2_nv(), count: capacity)
        names = ByteBuffer(capacity: FieldList.nameBytesKept)
    }

    package mutating func removeAll() {
        count = 0
        names.clear()
        if names.capacity > FieldList.nameBytesKept {
            names = ByteBuffer(capacity: FieldList.nameBytesKept)
        }
    }

    @inline(never)
    private mutating func growFields() {
        let larger = unsafe FixedArray(repeating: nghttp2_nv(), count: fields.count * 2)
        for i in 0..<count { unsafe larger[i] = fields[i] }
        unsafe fields = larger
    }

    /// Moves the names in memory, and the pointers to them.
    @inline(never)
    private mutating func growNames(_ more: Int) {
        var larger = ByteBuffer(capacity: max(names.capacity * 2, names.writerIndex + more))
        larger.append(names.readable)
        let byteCount = names.writerIndex
        unsafe names.readable.withUnsafeBufferPointer { old in
            unsafe larger.readable.withUnsafeBufferPointer { new in
                guard let from = old.baseAddress, let to = new.baseAddress else { return }
                func moved(_ at: UnsafeMutablePointer<UInt8>?) -> UnsafeMutablePointer<UInt8>? {
                    guard let at = unsafe at, unsafe at >= from, unsafe at < from + byteCount
                    else { return unsafe at }
                    return unsafe UnsafeMutablePointer(mutating: to + (UnsafePointer(at) - from))
                }
                for i in 0..<count {
                    unsafe fields[i].name = moved(fields[i].name)
                    unsafe fields[i].value = moved(fields[i].value)
                }
            }
        }
        swap(&names, &larger)
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
        if FieldList.hasUpper(name) {
            if names.capacity - names.writerIndex < name.count { growNames(name.count) }
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

    /// Adds `:status` with its three digits.
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
        if unsafe count == fields.count { growFields() }
        unsafe fields[count] = nghttp2_nv(
            name: UnsafeMutablePointer(mutating: name),
            value: UnsafeMutablePointer(mutating: value), namelen: nameCount,
            valuelen: valueCount,
            flags: isUnique ? UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue) : 0)
        count += 1
    }
}
