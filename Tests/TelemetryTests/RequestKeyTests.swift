import Base
import Telemetry
import Testing

/// The key of a request's series, which carries all that other vocabularies have as labels.
@Suite struct RequestKeyTests {
    @Test(
        "a code has status, kind and call in it, and numbers that gRPC does not know mean UNKNOWN")
    func codes() {
        for status in [UInt16(0), 101, 200, 404, 503, 999] {
            for isGRPC in [false, true] {
                for call in -1...127 {
                    let code = RequestCode(status: status, isGRPC: isGRPC, call: Int8(call))
                    #expect(code.status == status && code.isGRPC == isGRPC)
                    #expect(code.call == (call < 0 ? nil : call > 16 ? 2 : call))
                }
            }
        }
    }

    @Test("ends are of one kind by their class, and calls besides by whether they succeeded")
    func kinds() {
        func kind(_ status: UInt16, _ call: Int8?) -> EndKind {
            EndKind(RequestCode(status: status, isGRPC: call != nil, call: call ?? -1))
        }
        #expect(kind(200, nil).statusClass == "2xx" && !kind(200, nil).isGRPC)
        #expect(kind(0, nil).statusClass == "0" && kind(0, 14).statusClass == "0")
        #expect(kind(101, nil).statusClass == "1xx" && kind(999, nil).statusClass == "5xx")
        #expect(kind(200, 0).statusClass == "2xx" && kind(200, 0).isGRPC)
        #expect(kind(200, 0) != kind(200, 14) && kind(200, 14).statusClass == "2xx")
        #expect(kind(503, 0) == kind(503, 14) && kind(503, -1) == kind(503, 14))
        var all: Set<EndKind> = []
        for status in stride(from: UInt16(0), to: 600, by: 50) {
            for call in [nil, -1, 0, 14] as [Int8?] { all.insert(kind(status, call)) }
        }
        #expect(all.count == EndKind.count)
        #expect(all.allSatisfy { $0.rawValue < EndKind.count })
    }

    @Test("no part of a key runs into another")
    func parts() {
        func key(
            _ listener: Int, _ row: Int, _ assign: Assign, _ flags: UInt8, _ code: UInt16
        ) -> UInt64 {
            MetricRegistry.key(
                .requests, listener: listener, row: row, assign: assign, flags: flags, code: code)
        }
        var seen: Set<UInt64> = [key(0, 0, .none, 0, 0)]
        for bit in 0..<12 { seen.insert(key(1 << bit, 0, .none, 0, 0)) }
        for bit in 0..<20 { seen.insert(key(0, 1 << bit, .none, 0, 0)) }
        for assign in Assign.allCases where assign != .none {
            seen.insert(key(0, 0, assign, 0, 0))
        }
        for bit in 0..<8 { seen.insert(key(0, 0, .none, 1 << bit, 0)) }
        for bit in 0..<16 { seen.insert(key(0, 0, .none, 0, 1 << bit)) }
        #expect(seen.count == 1 + 12 + 20 + Assign.allCases.count - 1 + 8 + 16)
        #expect(seen.allSatisfy { $0 >> 60 == MetricRegistry.SeriesKind.requests.rawValue })
    }

    @Test("rows beyond the last number are counted where nobody sees them")
    func fullTable() {
        let registry = MetricRegistry(rowsMax: 100)
        for number in 0..<120 {
            _ = registry.row(.init(route: "\(number)", service: "", version: ""))
        }
        let extent = registry.extent
        #expect(extent.rows == 100)
        let late = registry.row(.init(route: "late", service: "", version: ""))
        let shard = CounterShard()
        var counters = WorkerCounters(registry: registry, shard: shard)
        var summary = ExchangeSummary()
        summary.row = late.id
        summary.status = 200
        counters.started(rowSlot: late.slot)
        counters.finished(summary, rowSlot: late.slot)
        #expect(registry.extent.slots == extent.slots)
        registry.release(rows: [late.id], clusters: [late.id])
        #expect(!registry.contents().series.contains { $0.kind == .requests })
    }

    @Test("sets of flags have numbers, and those beyond the last share one")
    func flags() {
        let registry = MetricRegistry(), shard = CounterShard()
        let row = registry.row(.init(route: "r", service: "s", version: "v"))
        var counters = WorkerCounters(registry: registry, shard: shard)
        func count(_ flags: UInt32) {
            var summary = ExchangeSummary()
            summary.row = row.id
            summary.status = 503
            summary.flags = ResponseFlags(rawValue: flags)
            counters.finished(summary, rowSlot: row.slot)
        }
        for flags in 0..<UInt32(300) { for _ in 0...flags % 3 { count(flags) } }
        let series = registry.contents().series.filter { $0.kind == .requests }
        #expect(series.count == 256)
        for one in series {
            let expected: UInt64 =
                one.flags == MetricRegistry.otherFlags
                ? (255..<300).reduce(0) { $0 + UInt64($1 % 3) + 1 } : UInt64(one.flags) % 3 + 1
            #expect(shard.value(one.slot) == expected, "\(one.flags)")
        }
        var page = PrometheusText(format: .prometheus)
        RequestMetricsPage(registry: registry, shards: [shard]).write(.requests, to: &page)
        let lines = ASCII.string(page.buffer.readable).split(separator: "\n")
        let requests = lines.filter { $0.hasPrefix("sluice_requests_total{") }
        #expect(requests.count == 1 && requests[0].hasSuffix(" 600"), "one series, whatever flags")
    }
}
