import Base

/// The part of the metrics page that comes from the workers' shards, in Sluice's own words. Every
/// number is a sum over the shards, read while they are written.
public struct RequestMetricsPage {
    public let contents: MetricRegistry.Contents
    let shards: [CounterShard]
    private let linesLost: UInt64
    /// First slots of the runs of ends, by row.
    private let ends: [Int: [Int]]

    /// A series that must exist at zero: (listener, row labels, assign).
    public struct Expected: Hashable, Sendable {
        public var listener: String
        public var labels: MetricRegistry.RowLabels
        public var assign: Assign
        public init(listener: String, labels: MetricRegistry.RowLabels, assign: Assign) {
            self.listener = listener
            self.labels = labels
            self.assign = assign
        }
    }

    /// All that the page is written from besides the shards.
    public struct Ground {
        /// Series of the snapshot in force, shown at zero until they are seen.
        public var expected: [Expected]
        /// The text of a refusal's cause by its number.
        public var refusedCause: (UInt8) -> String

        public init(
            expected: [Expected] = [], refusedCause: @escaping (UInt8) -> String = { "\($0)" }
        ) {
            self.expected = expected
            self.refusedCause = refusedCause
        }
    }

    /// Rows up to which errors and durations are on the page before they have counted anything;
    /// with more of them a row's begin with its first event.
    public static let zeroRowsMax = 1_000

    /// - Parameters:
    ///   - linesLost: lines of the access log that its file did not take; those that the workers
    ///     dropped are in the shards.
    ///   - hidden: what is not on the page.
    public init(
        registry: MetricRegistry, shards: [CounterShard], linesLost: UInt64 = 0,
        hiding hidden: MetricRegistry.Selection = .init()
    ) {
        let contents = registry.contents(hiding: hidden)
        var ends: [Int: [Int]] = [:]
        for series in contents.series where series.kind == .ends && !series.isRowHidden {
            ends[series.row, default: []].append(series.slot)
        }
        self.contents = contents
        self.shards = shards
        self.linesLost = linesLost
        self.ends = ends
    }

    func sum(_ slot: Int) -> UInt64 { shards.reduce(0) { $0 &+ $1.value(slot) } }

    public func worker(_ metric: WorkerMetric) -> UInt64 {
        sum(metric.rawValue) &+ (metric == .accessLogDropped ? linesLost : 0)
    }

    /// Writes the families of one use; nothing for those that have none of the workers' counters in
    /// Sluice's own words.
    public func write(
        _ use: MetricCatalog.Use, to page: inout PrometheusText, _ ground: Ground = Ground()
    ) {
        switch use {
        case .requests: writeRequests(to: &page, ground)
        case .upstream:
            writeClusters(to: &page)
            gauge(
                MetricCatalog.upstreamConnections, .upstreamConnections,
                .upstreamConnectionsClosed, &page)
        case .clients: writeClients(to: &page, ground)
        case .istio, .http, .rollouts, .process: break
        }
        var last = ""
        for metric in WorkerMetric.allCases {
            guard let entry = MetricCatalog.worker(metric), entry.family.use == use else {
                continue
            }
            begin(entry.family, after: &last, &page)
            page.sample(entry.label.map { [$0] } ?? [], worker(metric))
        }
        for former in MetricCatalog.formerNames
        where page.format == .prometheus && former.family.use == use {
            page.family(former.family)
            page.sample([], worker(former.metric))
        }
    }

    /// Metrics of one family stand together in their list.
    func begin(
        _ family: MetricCatalog.Family, after last: inout String, _ page: inout PrometheusText
    ) {
        if family.name != last { page.family(family) }
        last = family.name
    }

    private func gauge(
        _ family: MetricCatalog.Family, _ opened: WorkerMetric, _ closed: WorkerMetric,
        _ page: inout PrometheusText
    ) {
        // Closed is read first: it never runs ahead of what was opened.
        let closed = worker(closed)
        let opened = worker(opened)
        page.family(family)
        page.sample([], opened >= closed ? opened - closed : 0)
    }

    // MARK: Requests

    private func writeRequests(to page: inout PrometheusText, _ ground: Ground) {
        writeCodes(to: &page, expected: ground.expected)
        // So that a configuration of thousands of routes has no page of zeros.
        let rows = Set(ground.expected.map(\.labels))
        let isFew = rows.count <= RequestMetricsPage.zeroRowsMax
        writeErrors(to: &page, expected: isFew ? ground.expected : [])
        writeDurations(to: &page, expected: isFew ? rows : [])
        writeRows(to: &page)
        writeCalls(to: &page)
        page.family(MetricCatalog.mirrorDuration)
        for row in contents.rows where row.labels.isMirror { writeDuration(row, to: &page) }
        writeRoutes(to: &page)
    }

    private static func labels(
        _ listener: String, _ labels: MetricRegistry.RowLabels, _ assign: Assign
    ) -> [(String, String)] {
        [
            ("listener", listener), ("route", labels.route), ("service", labels.service),
            ("version", labels.version), ("assign", "\(assign.label)"),
        ]
    }

    private static func labels(_ labels: MetricRegistry.RowLabels) -> [(String, String)] {
        [("route", labels.route), ("service", labels.service), ("version", labels.version)]
    }

    private static func joined(_ labels: [(String, String)]) -> String {
        labels.map(\.1).joined(separator: "\u{1}")
    }

    /// A sample of `sluice_requests_total`, which has several series of the registry: its flags and
    /// the statuses of calls are in the keys too.
    private struct CodeCell: Hashable {
        var listener: String
        var row: Int
        var assign: Assign
        var status: UInt16
    }

    private func writeCodes(to page: inout PrometheusText, expected: [Expected]) {
        page.family(MetricCatalog.requests)
        var places: [CodeCell: Int] = [:]
        var cells: [(cell: CodeCell, labels: MetricRegistry.RowLabels, count: UInt64)] = []
        for series in contents.series
        where series.kind == .requests && !series.isRowHidden && !series.isListenerHidden {
            let cell = CodeCell(
                listener: series.listener, row: series.row, assign: series.assign,
                status: RequestCode(rawValue: series.code).status)
            if let place = places[cell] {
                cells[place].count &+= sum(series.slot)
            } else {
                places[cell] = cells.count
                cells.append((cell, series.labels, sum(series.slot)))
            }
        }
        var seen: Set<String> = []
        for (cell, labels, count) in cells {
            let pairs =
                RequestMetricsPage.labels(cell.listener, labels, cell.assign)
                + [("code", "\(cell.status)")]
            page.sample(pairs, count)
            if MetricCatalog.codesAtZero.contains(cell.status) {
                seen.insert(RequestMetricsPage.joined(pairs))
            }
        }
        let codes = MetricCatalog.codesAtZero.map { ("code", "\($0)") }
        writeZeros(codes, of: expected, but: seen, to: &page)
    }

    /// Series that have counted nothing are at 0 from the start: a rate would miss the first of an
    /// event whose series begins with the event.
    private func writeZeros(
        _ values: [(String, String)], of expected: [Expected], but seen: Set<String>,
        to page: inout PrometheusText
    ) {
        for series in expected {
            for value in values {
                let pairs =
                    RequestMetricsPage.labels(series.listener, series.labels, series.assign)
                    + [value]
                if !seen.contains(RequestMetricsPage.joined(pairs)) { page.sample(pairs, 0) }
            }
        }
    }

    private func writeErrors(to page: inout PrometheusText, expected: [Expected]) {
        page.family(MetricCatalog.errors)
        var seen: Set<String> = []
        for series in contents.series where series.kind == .errors {
            let cause = ErrorCause(rawValue: UInt8(truncatingIfNeeded: series.code)) ?? .none
            let pairs =
                RequestMetricsPage.labels(series.listener, series.labels, series.assign)
                + [("cause", "\(cause.label)")]
            page.sample(pairs, sum(series.slot))
            seen.insert(RequestMetricsPage.joined(pairs))
        }
        let causes = MetricCatalog.causesAtZero.map { ("cause", "\($0.label)") }
        writeZeros(causes, of: expected, but: seen, to: &page)
    }

    private var clientRows: [MetricRegistry.Row] { contents.rows.filter { !$0.labels.isMirror } }

    private func writeDurations(
        to page: inout PrometheusText, expected: Set<MetricRegistry.RowLabels>
    ) {
        page.family(MetricCatalog.duration)
        for row in clientRows where ends[row.id] != nil || expected.contains(row.labels) {
            writeDuration(row, to: &page)
        }
    }

    private func writeDuration(_ row: MetricRegistry.Row, to page: inout PrometheusText) {
        let labels = PrometheusText.text(RequestMetricsPage.labels(row.labels))
        var total: UInt64 = 0
        for (i, bound) in MetricCatalog.durationBounds.enumerated() {
            total += sum(row, MetricRegistry.EndSlot.buckets + i)
            page.sample(
                text: labels, bound: PrometheusText.seconds(bound), total, suffix: "_bucket")
        }
        total += sum(row, MetricRegistry.EndSlot.buckets + MetricCatalog.durationBounds.count)
        page.sample(text: labels, bound: "+Inf", total, suffix: "_bucket")
        page.sample(
            text: labels, microseconds: sum(row, MetricRegistry.EndSlot.durationSum),
            suffix: "_sum")
        page.sample(text: labels, total, suffix: "_count")
    }

    /// The sum over a row's runs of ends.
    private func sum(_ row: MetricRegistry.Row, _ place: Int) -> UInt64 {
        (ends[row.id] ?? []).reduce(0) { $0 &+ sum($1 + place) }
    }

    private func writeRows(to page: inout PrometheusText) {
        let rows = clientRows
        page.family(MetricCatalog.inFlight)
        for row in rows {
            let finished = sum(row.slot + MetricRegistry.RowSlot.finished)
            let started = sum(row.slot + MetricRegistry.RowSlot.started)
            page.sample(
                RequestMetricsPage.labels(row.labels), started >= finished ? started - finished : 0)
        }
        page.family(MetricCatalog.bytesReceived)
        for row in rows {
            page.sample(
                RequestMetricsPage.labels(row.labels),
                sum(row, MetricRegistry.EndSlot.bytesReceived))
        }
        page.family(MetricCatalog.bytesSent)
        for row in rows {
            page.sample(
                RequestMetricsPage.labels(row.labels), sum(row, MetricRegistry.EndSlot.bytesSent))
        }
    }

    /// Calls of clients; copies of calls are in the requests that have `assign="mirror"`.
    private func writeCalls(to page: inout PrometheusText) {
        struct Cell: Hashable {
            var row: Int
            var call: Int
        }
        page.family(MetricCatalog.calls)
        var places: [Cell: Int] = [:]
        var cells: [(call: Int, labels: MetricRegistry.RowLabels, count: UInt64)] = []
        for series in contents.series
        where series.kind == .requests && !series.isRowHidden && !series.labels.isMirror {
            guard let call = RequestCode(rawValue: series.code).call else { continue }
            let cell = Cell(row: series.row, call: call)
            if let place = places[cell] {
                cells[place].count &+= sum(series.slot)
            } else {
                places[cell] = cells.count
                cells.append((call, series.labels, sum(series.slot)))
            }
        }
        for (call, labels, count) in cells {
            page.sample(RequestMetricsPage.labels(labels) + [("grpc_status", "\(call)")], count)
        }
    }

    private func writeRoutes(to page: inout PrometheusText) {
        var last = ""
        for metric in RouteMetric.allCases {
            guard let entry = MetricCatalog.route(metric) else { continue }
            begin(entry.family, after: &last, &page)
            for series in contents.series
            where series.kind == .filters && series.code == metric.rawValue {
                var pairs = RequestMetricsPage.labels(series.labels)
                if let label = entry.label { pairs.append(label) }
                page.sample(pairs, sum(series.slot))
            }
        }
    }

    // MARK: Endpoints and clients

    private func writeClusters(to page: inout PrometheusText) {
        var slots: [UInt16: [MetricRegistry.RowLabels: Int]] = [:]
        for series in contents.series where series.kind == .cluster {
            slots[series.code, default: [:]][series.labels] = series.slot
        }
        var last = ""
        for metric in ClusterMetric.allCases {
            guard let entry = MetricCatalog.cluster(metric) else { continue }
            begin(entry.family, after: &last, &page)
            for cluster in contents.clusters
            where cluster.labels.isMirror || metric != .mirrorsDropped {
                let labels = cluster.labels
                var pairs = [("service", labels.service), ("version", labels.version)]
                if labels.isMirror { pairs.append(("pool", "mirror")) }
                if let label = entry.label { pairs.append(label) }
                page.sample(pairs, slots[metric.rawValue]?[labels].map(sum) ?? 0)
            }
        }
    }

    private func writeClients(to page: inout PrometheusText, _ ground: Ground) {
        page.family(MetricCatalog.refused)
        for series in contents.series where series.kind == .refused {
            page.sample(
                [
                    ("listener", series.listener),
                    ("cause", ground.refusedCause(UInt8(truncatingIfNeeded: series.code))),
                ], sum(series.slot))
        }
        page.family(MetricCatalog.byProtocol)
        for `protocol` in HTTPProtocol.allCases {
            page.sample([("protocol", "\(`protocol`.label)")], worker(`protocol`.metric))
        }
        func family(
            _ family: MetricCatalog.Family, _ kind: MetricRegistry.SeriesKind, _ label: String,
            _ text: (UInt16) -> String
        ) {
            page.family(family)
            for series in contents.series where series.kind == kind {
                let side = series.row == 0 ? "downstream" : "upstream"
                page.sample([("side", side), (label, text(series.code))], sum(series.slot))
            }
        }
        family(MetricCatalog.resets, .resets, "code") { RequestMetricsPage.resetCode($0) }
        family(MetricCatalog.handshakes, .handshakes, "version") { "1.\($0)" }
        family(MetricCatalog.handshakeFailures, .handshakeFailures, "cause") { code in
            "\((HandshakeFailure(rawValue: UInt8(truncatingIfNeeded: code)) ?? .other).label)"
        }
        gauge(
            MetricCatalog.clientConnections, .downstreamConnections, .downstreamConnectionsClosed,
            &page)
        gauge(MetricCatalog.tunnels, .tunnelsOpened, .tunnelsClosed, &page)
    }

    /// The names of RFC 9113 §7.
    private static func resetCode(_ code: UInt16) -> String {
        let names = [
            "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL",
            "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ]
        return Int(code) < names.count ? names[Int(code)] : "other"
    }
}
