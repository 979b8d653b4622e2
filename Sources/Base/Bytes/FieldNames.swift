import CScan

/// Names of fields that have a number, for the scan of field lines. Made once, lives for ever; any
/// thread may read.
@safe public struct FieldNames: @unchecked Sendable {
    let places: UnsafePointer<cscan_name>
    let multiplier: UInt64

    /// - Parameter names: lower-case letters, digits and "-", 1 to 24 of them; numbers are 1...63.
    public init(_ names: [(name: StaticString, number: UInt8)]) {
        let table = UnsafeMutablePointer<cscan_name>.allocate(capacity: Int(CSCAN_NAME_PLACES))
        var random = PRNG(seed: 1)
        var multiplier: UInt64
        // About one multiplier of a hundred gives each of 35 names a place of its own.
        repeat {
            multiplier = random.next() | 1
            unsafe table.initialize(repeating: cscan_name(), count: Int(CSCAN_NAME_PLACES))
        } while !names.allSatisfy { unsafe FieldNames.put($0.name, $0.number, table, multiplier) }
        unsafe places = UnsafePointer(table)
        self.multiplier = multiplier
    }

    private static func put(
        _ name: StaticString, _ number: UInt8, _ table: UnsafeMutablePointer<cscan_name>,
        _ multiplier: UInt64
    ) -> Bool {
        precondition(
            (1...63).contains(number) && (1...24).contains(name.utf8CodeUnitCount),
            "a name that the table can hold")
        return unsafe cscan_put_name(
            name.utf8Start, name.utf8CodeUnitCount, UInt32(number), table, multiplier) != 0
    }

    /// The number of a name, compared without case; 0 when it has none.
    public func number(_ name: Span<UInt8>) -> UInt8 {
        unsafe name.withUnsafeBufferPointer { p in
            guard let start = p.baseAddress else { return 0 }
            return unsafe cscan_known(start, p.count, places, multiplier)
        }
    }
}
