import Base

/// The part of the metrics page that comes from the workers' shards. Runs on the control thread;
/// every number is a sum over the shards, read while they are written.
public struct RequestMetricsPage {
    private let contents: MetricRegistry.Contents
    private let shards: [CounterShard]

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

    /// Rows up to which errors and durations are on the page before they have counted anything;
    /// with more of them a row's begin with its first event.
    public static let zeroRowsMax = 1_000

    /// - Parameter hidden: what is not on the page.
    public init(
        registry: MetricRegistry, shards: [CounterShard],
        hiding hidden: MetricRegistry.Selection = .init()
    ) {
        contents = registry.contents(hiding: hidden)
        self.shards = shards
    }

    private func sum(_ slot: Int) -> UInt64 { shards.reduce(0) { $0 &+ $1.value(slot) } }

    public func worker(_ metric: WorkerMetric) -> UInt64 { sum(metric.rawValue) }

    private static func labels(
        _ series: MetricRegistry.Series
    ) -> [(String, String)] {
        [
            ("listener", series.listener), ("route", series.labels.route),
            ("service", series.labels.service), ("version", series.labels.version),
            ("assign", "\(series.assign.label)"),
        ]
    }

    private static func labels(_ series: Expected) -> [(String, String)] {
        [
            ("listener", series.listener), ("route", series.labels.route),
            ("service", series.labels.service), ("version", series.labels.version),
            ("assign", "\(series.assign.label)"),
        ]
    }

    /// - Parameters:
    ///   - expected: series of the snapshot in force, shown at zero until they are seen.
    ///   - refusedCause: the text of a refusal's cause by its number.
    public func write(
        to page: inout PrometheusText, expected: [Expected], refusedCause: (UInt8) -> String
    ) {
        writeRequests(to: &page, expected: expected)
        // So that a configuration of thousands of routes has no page of zeros.
        let rows = Set(expected.map(\.labels))
        let isFew = rows.count <= RequestMetricsPage.zeroRowsMax
        writeErrors(to: &page, expected: isFew ? expected : [])
        writeRows(to: &page, expected: isFew ? rows : [])
        page.family(MetricCatalog.refused)
        for series in contents.series where series.kind == .refused {
            page.sample(
                [
                    ("listener", series.listener),
                    ("cause", refusedCause(UInt8(truncatingIfNeeded: series.code))),
                ], sum(series.slot))
        }
        writeTransport(to: &page)
        writeClusters(to: &page)
        writeRoutes(to: &page)
        var last = ""
        for metric in WorkerMetric.allCases {
            guard let entry = MetricCatalog.worker(metric) else { continue }
            begin(entry.family, after: &last, &page)
            page.sample(entry.label.map { [$0] } ?? [], worker(metric))
        }
        for former in MetricCatalog.formerNames where page.format == .prometheus {
            page.family(former.family)
            page.sample([], worker(former.metric))
        }
        gauge(
            "sluice_downstream_connections", "Client connections open.", .downstreamConnections,
            .downstreamConnectionsClosed, &page)
        gauge(
            "sluice_upstream_connections", "Connections to endpoints open.",
            .upstreamConnections, .upstreamConnectionsClosed, &page)
        gauge("sluice_tunnels", "Tunnels open.", .tunnelsOpened, .tunnelsClosed, &page)
    }

    private func writeTransport(to page: inout PrometheusText) {
        page.family(MetricCatalog.byProtocol)
        for `protocol` in HTTPProtocol.allCases {
            page.sample([("protocol", "\(`protocol`.label)")], worker(`protocol`.metric))
        }
        page.family(MetricCatalog.calls)
        for series in contents.series where series.kind == .calls {
            page.sample(
                [
                    ("route", series.labels.route), ("service", series.labels.service),
                    ("version", series.labels.version), ("grpc_status", "\(series.code)"),
                ], sum(series.slot))
        }
        func family(
            _ family: MetricCatalog.Family, _ kind: MetricRegistry.SeriesKind, _ label: String,
            _ text: (UInt16) -> String
        ) {
            page.family(family)
            for series in contents.series where series.kind == kind {
                let side = series.key >> 20 & 1 == 0 ? "downstream" : "upstream"
                page.sample([("side", side), (label, text(series.code))], sum(series.slot))
            }
        }
        family(MetricCatalog.resets, .resets, "code") { RequestMetricsPage.resetCode($0) }
        family(MetricCatalog.handshakes, .handshakes, "version") { "1.\($0)" }
        family(MetricCatalog.handshakeFailures, .handshakeFailures, "cause") { code in
            "\((HandshakeFailure(rawValue: UInt8(truncatingIfNeeded: code)) ?? .other).label)"
        }
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

    private func gauge(
        _ name: String, _ help: String, _ opened: WorkerMetric, _ closed: WorkerMetric,
        _ page: inout PrometheusText
    ) {
        // Closed is read first: it never runs ahead of what was opened.
        let closed = worker(closed)
        let opened = worker(opened)
        page.family(.init(name: name, kind: .gauge, help: help))
        page.sample([], opened >= closed ? opened - closed : 0)
    }

    private func writeRequests(to page: inout PrometheusText, expected: [Expected]) {
        page.family(MetricCatalog.requests)
        var seen: Set<String> = []
        for series in contents.series where series.kind == .requests {
            let labels = RequestMetricsPage.labels(series) + [("code", "\(series.code)")]
            page.sample(labels, sum(series.slot))
            if MetricCatalog.codesAtZero.contains(series.code) {
                seen.insert(labels.map(\.1).joined(separator: "\u{1}"))
            }
        }
        for series in expected {
            for code in MetricCatalog.codesAtZero {
                let labels = RequestMetricsPage.labels(series) + [("code", "\(code)")]
                if seen.contains(labels.map(\.1).joined(separator: "\u{1}")) { continue }
                page.sample(labels, 0)
            }
        }
    }

    private func writeErrors(to page: inout PrometheusText, expected: [Expected]) {
        page.family(MetricCatalog.errors)
        var seen: Set<String> = []
        for series in contents.series where series.kind == .errors {
            let cause = ErrorCause(rawValue: UInt8(truncatingIfNeeded: series.code)) ?? .none
            let labels = RequestMetricsPage.labels(series) + [("cause", "\(cause.label)")]
            page.sample(labels, sum(series.slot))
            seen.insert(labels.map(\.1).joined(separator: "\u{1}"))
        }
        for series in expected {
            for cause in MetricCatalog.causesAtZero {
                let labels = RequestMetricsPage.labels(series) + [("cause", "\(cause.label)")]
                if seen.contains(labels.map(\.1).joined(separator: "\u{1}")) { continue }
                page.sample(labels, 0)
            }
        }
    }

    private func writeRows(
        to page: inout PrometheusText, expected: Set<MetricRegistry.RowLabels>
    ) {
        func rowLabels(_ row: MetricRegistry.Row) -> [(String, String)] {
            [
                ("route", row.labels.route), ("service", row.labels.service),
                ("version", row.labels.version),
            ]
        }
        let rows = contents.rows.filter { !$0.labels.isMirror }
        page.family(MetricCatalog.inFlight)
        for row in rows {
            let finished = sum(row.slot + MetricRegistry.RowSlot.finished)
            let started = sum(row.slot + MetricRegistry.RowSlot.started)
            page.sample(rowLabels(row), started >= finished ? started - finished : 0)
        }
        page.family(MetricCatalog.bytesReceived)
        for row in rows {
            page.sample(rowLabels(row), sum(row.slot + MetricRegistry.RowSlot.bytesReceived))
        }
        page.family(MetricCatalog.bytesSent)
        for row in rows {
            page.sample(rowLabels(row), sum(row.slot + MetricRegistry.RowSlot.bytesSent))
        }
        page.family(MetricCatalog.duration)
        for row in rows
        where sum(row.slot + MetricRegistry.RowSlot.finished) > 0 || expected.contains(row.labels) {
            writeDuration(row, rowLabels(row), to: &page)
        }
        page.family(MetricCatalog.mirrorDuration)
        for row in contents.rows where row.labels.isMirror {
            writeDuration(row, rowLabels(row), to: &page)
        }
    }

    private func writeDuration(
        _ row: MetricRegistry.Row, _ labels: [(String, String)], to page: inout PrometheusText
    ) {
        var total: UInt64 = 0
        for (i, bound) in MetricCatalog.durationBounds.enumerated() {
            total += sum(row.slot + MetricRegistry.RowSlot.buckets + i)
            page.sample(
                labels + [("le", PrometheusText.seconds(bound))], total, suffix: "_bucket")
        }
        total += sum(
            row.slot + MetricRegistry.RowSlot.buckets + MetricCatalog.durationBounds.count)
        page.sample(labels + [("le", "+Inf")], total, suffix: "_bucket")
        page.sample(
            labels, microseconds: sum(row.slot + MetricRegistry.RowSlot.durationSum),
            suffix: "_sum")
        page.sample(labels, total, suffix: "_count")
    }

    /// Metrics of one family stand together in their list.
    private func begin(
        _ family: MetricCatalog.Family, after last: inout String, _ page: inout PrometheusText
    ) {
        if family.name != last { page.family(family) }
        last = family.name
    }

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

    private func writeRoutes(to page: inout PrometheusText) {
        var last = ""
        for metric in RouteMetric.allCases {
            guard let entry = MetricCatalog.route(metric) else { continue }
            begin(entry.family, after: &last, &page)
            for series in contents.series
            where series.kind == .filters && series.code == metric.rawValue {
                var pairs = [
                    ("route", series.labels.route), ("service", series.labels.service),
                    ("version", series.labels.version),
                ]
                if let label = entry.label { pairs.append(label) }
                page.sample(pairs, sum(series.slot))
            }
        }
    }
}
