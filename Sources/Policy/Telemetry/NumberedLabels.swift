/// Labels with a small number each. Whoever uses a number holds it; the labels of a number that
/// nobody holds may be forgotten, and the number is another's then.
struct NumberedLabels: Sendable {
    struct Entry: Sendable {
        var labels: MetricRegistry.RowLabels
        /// The first of a row's slots; -1 for labels without slots of their own.
        var slot: Int
        var holders = 0
        /// Keys of the series that have the number.
        var keys: [UInt64] = []
    }

    /// By number; `nil` where the labels were forgotten.
    private(set) var entries: [Entry?] = []
    private var numbers: [MetricRegistry.RowLabels: Int] = [:]
    private var free: [Int] = []

    /// How many labels have a number.
    var count: Int { numbers.count }

    /// The number of labels, if they have one.
    func number(_ labels: MetricRegistry.RowLabels) -> Int? { numbers[labels] }

    /// Gives new labels a number: one that is free, or the next.
    mutating func add(_ labels: MetricRegistry.RowLabels, slot: Int) -> Int {
        let entry = Entry(labels: labels, slot: slot)
        let id: Int
        if let number = free.popLast() {
            id = number
            entries[id] = entry
        } else {
            id = entries.count
            entries.append(entry)
        }
        numbers[labels] = id
        return id
    }

    func entry(_ id: Int) -> Entry? { id >= 0 && id < entries.count ? entries[id] : nil }

    /// Whether labels can get a number below a limit.
    func hasRoom(_ limit: Int) -> Bool { !free.isEmpty || entries.count < limit }

    mutating func hold(_ id: Int) {
        if id < entries.count { entries[id]?.holders += 1 }
    }

    mutating func release(_ id: Int) {
        guard let holders = entry(id)?.holders else { return }
        precondition(holders > 0, "released once for every hold")
        entries[id]?.holders = holders - 1
    }

    /// A series has the number.
    mutating func note(key: UInt64, of id: Int) { entries[id]?.keys.append(key) }

    /// Forgets labels that nobody holds. Their number stays taken until `free`.
    /// - Returns: what there was; `nil` when somebody holds the number, or nothing was there.
    mutating func forget(_ id: Int) -> Entry? {
        guard let entry = entry(id), entry.holders == 0 else { return nil }
        numbers[entry.labels] = nil
        entries[id] = nil
        return entry
    }

    /// The number of labels that were forgotten may be given to others.
    mutating func free(_ id: Int) { free.append(id) }
}
