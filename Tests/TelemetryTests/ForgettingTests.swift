import Base
import Telemetry
import Testing

/// Memory of series that are gone, and that others get.
@Suite struct ForgettingTests {
    private let registry = MetricRegistry()
    private let shards = [CounterShard(), CounterShard()]

    private func row(_ version: String) -> (id: Int, slot: Int) {
        registry.row(.init(route: "r", service: "s", version: version))
    }

    private func selection(_ rows: [Int]) -> MetricRegistry.Selection {
        var selection = MetricRegistry.Selection()
        selection.rows = Set(rows)
        return selection
    }

    private func count(_ counters: inout WorkerCounters, _ row: (id: Int, slot: Int)) {
        var summary = ExchangeSummary()
        summary.row = row.id
        summary.status = 200
        summary.assign = .weighted
        counters.started(rowSlot: row.slot)
        counters.finished(summary, rowSlot: row.slot)
    }

    private func requests(_ version: String) -> UInt64 {
        registry.contents().series.filter { $0.labels.version == version && $0.kind == .requests }
            .reduce(0) { sum, series in
                shards.reduce(sum) { $0 + $1.value(series.slot) }
            }
    }

    @Test("what somebody holds is not forgotten, however often it was held")
    func held() {
        let a = row("a")
        _ = row("a")
        registry.release(rows: [a.id], clusters: [])
        #expect(registry.forget(selection([a.id]), shards).rows == [])
        registry.release(rows: [a.id], clusters: [])
        #expect(registry.forget(selection([a.id]), shards).rows == [a.id])
        #expect(registry.forget(selection([a.id]), shards).rows == [])
        #expect(registry.slot(ofRow: a.id) == nil)
    }

    @Test("the next row gets the number and the slots, at zero, and counts for itself alone")
    func next() {
        var one = WorkerCounters(registry: registry, shard: shards[0])
        var two = WorkerCounters(registry: registry, shard: shards[1])
        let a = row("a")
        count(&one, a)
        count(&two, a)
        #expect(requests("a") == 2)
        registry.release(rows: [a.id], clusters: [])
        _ = registry.forget(selection([a.id]), shards)
        let extent = registry.extent
        let b = row("b")
        #expect(b.id == a.id && b.slot == a.slot)
        for part in 0..<MetricRegistry.RowSlot.count {
            #expect(shards.allSatisfy { $0.value(b.slot + part) == 0 })
        }
        // Series of another kind take the slot that a's had.
        _ = registry.slot(
            forKey: MetricRegistry.key(.refused, listener: 0, row: 0, assign: .none, code: 1))
        one.refresh()
        two.refresh()
        count(&one, b)
        count(&two, b)
        #expect(requests("a") == 0 && requests("b") == 2)
        #expect(registry.extent.rows == extent.rows && registry.extent.slots <= extent.slots + 1)
        let refused = registry.contents().series.filter { $0.kind == .refused }
        #expect(refused.allSatisfy { series in shards.allSatisfy { $0.value(series.slot) == 0 } })
    }

    @Test("a worker asks anew only when something was forgotten")
    func refresh() {
        var counters = WorkerCounters(registry: registry, shard: shards[0])
        let a = row("a")
        count(&counters, a)
        counters.refresh()
        count(&counters, a)
        #expect(requests("a") == 2 && registry.forgetCount == 0)
    }

    @Test("nothing is forgotten while a page is being written")
    func reading() {
        let a = row("a")
        registry.release(rows: [a.id], clusters: [])
        registry.reading {
            #expect(registry.forget(selection([a.id]), shards).rows == [])
            #expect(registry.contents().rows.map(\.labels.version) == ["a"])
        }
        #expect(registry.forget(selection([a.id]), shards).rows == [a.id])
        #expect(registry.contents().rows.isEmpty)
    }

    @Test("a number that is not known is no trouble")
    func unknown() {
        #expect(registry.forget(selection([-1, 0, 7_000_000]), shards).rows == [])
    }

    @Test("of more rows than may stay those leave that went first")
    func surplus() {
        var retention = SeriesRetention()
        var now = Instant(nanoseconds: 1)
        let half = SeriesRetention.goneMax / 2
        let early = (0..<half).map { row("early\($0)").id }
        let late = (0..<(half + 10)).map { row("late\($0)").id }
        for named in [late, []] {
            now = now + .seconds(1)
            var selection = MetricRegistry.Selection()
            selection.rows = Set(named)
            retention.apply(.init(selection, registry), now: now)
        }
        let busy = early[0]
        let hidden = retention.hidden(retention: .seconds(60), now: now) { $0 == busy }
        #expect(hidden.rows == Set(early[1...10]))
    }
}
