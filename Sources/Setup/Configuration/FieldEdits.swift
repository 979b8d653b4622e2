/// The sum of the edits of all levels for one head: the lines that go, and those that are added.
///
/// Edits act in this order, each on what the one before has left: the route's, then the version's,
/// so that the version has the last word; at each level `remove`, then `set`, then `add`. They act
/// on the whole head, the lines that the proxy writes itself included, so `set` leaves one line of
/// its name and `remove` none. Names are compared without case.
public struct FieldEdits: Sendable, Equatable {
    public struct Line: Sendable, Equatable {
        public var name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// Names in lower case; every line of these is taken out first.
    public private(set) var removed: [String] = []
    /// Lines that are then added, in this order.
    public private(set) var lines: [Line] = []

    public var isEmpty: Bool { removed.isEmpty && lines.isEmpty }

    /// - Parameter levels: the route's edits, then the version's.
    public init(_ levels: [Document.HeaderEdits.Direction]) {
        for level in levels {
            for name in level.remove { remove(name.lowercased()) }
            for (name, value) in level.set {
                remove(name.lowercased())
                lines.append(Line(name: name, value: value))
            }
            for (name, value) in level.add { lines.append(Line(name: name, value: value)) }
        }
    }

    private mutating func remove(_ name: String) {
        if !removed.contains(name) { removed.append(name) }
        lines.removeAll { $0.name.lowercased() == name }
    }
}
