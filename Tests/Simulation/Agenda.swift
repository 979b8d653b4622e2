import Base

/// Events that are to happen, by time and then by order of scheduling: a binary heap.
struct Agenda {
    private struct Entry {
        var at: Instant
        var order: Int
        var step: () -> Void
    }

    private var heap: [Entry] = []

    var nextAt: Instant { heap.first?.at ?? .never }

    private func isBefore(_ a: Int, _ b: Int) -> Bool {
        (heap[a].at, heap[a].order) < (heap[b].at, heap[b].order)
    }

    mutating func insert(at: Instant, order: Int, _ step: @escaping () -> Void) {
        heap.append(Entry(at: at, order: order, step: step))
        var child = heap.count - 1
        while child > 0, isBefore(child, (child - 1) / 2) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func takeNext() -> (() -> Void)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if heap.isEmpty { return first.step }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if isBefore(child, least) { least = child }
            }
            if least == parent { return first.step }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
