import Base

/// The families of Istio's vocabulary, which Flagger, Argo Rollouts, Kiali and Istio's dashboards
/// read. All of them are sums of what the workers count anyway; nothing is counted for them but the
/// sizes of bodies, where these are wanted.
///
/// A version's sums are over all routes and listeners, those that are gone included, for as long as
/// the version is on the page: none of them ever falls.
public struct IstioMetricsPage {
    /// Whose view of a request a series gives.
    public enum Reporter: String, Sendable, CaseIterable { case source, destination }

    public struct Settings: Sendable, Equatable {
        /// `nil`: as the listeners say. A process that no listener gives a role is the only proxy
        /// on the path, and gives both views.
        public var reporters: [Reporter]?
        /// Bodies have histograms, and not only sums.
        public var hasSizes = false
        public init() {}
    }

    private struct RequestCell: Hashable {
        var isMutual: Bool
        var code: UInt16
        var flags: UInt8
    }

    private struct EndCell: Hashable {
        var isMutual: Bool
        var isGRPC: Bool
        var statusClass: String
    }

    /// The sums of one version, or of all requests that no version has answered.
    private struct Group {
        var labels: MetricRegistry.RowLabels
        var destination: [String]
        var requests: [RequestCell: UInt64] = [:]
        /// Runs of ends.
        var ends: [EndCell: [UInt64]] = [:]
        /// Runs of sizes, by whether the listener's clients show certificates.
        var sizes: [Bool: [UInt64]] = [:]

        /// The sums over all listeners, as the side of the source sees them.
        func merged() -> Group {
            var group = self
            group.requests = [:]
            group.ends = [:]
            group.sizes = [:]
            for (cell, count) in requests {
                let key = RequestCell(isMutual: false, code: cell.code, flags: cell.flags)
                group.requests[key, default: 0] &+= count
            }
            for (cell, run) in ends {
                let key = EndCell(
                    isMutual: false, isGRPC: cell.isGRPC, statusClass: cell.statusClass)
                group.ends[key] = IstioMetricsPage.added(run, group.ends[key])
            }
            for run in sizes.values {
                group.sizes[false] = IstioMetricsPage.added(run, group.sizes[false])
            }
            return group
        }
    }

    private let settings: Settings
    private let source: [String]
    private let build: String
    private let flagTexts: [String]
    private var groups: [Group]

    /// - Parameters:
    ///   - named: services and versions of the configuration in force, whose series exist at zero.
    ///   - version: the program's.
    public init(
        _ requests: RequestMetricsPage, _ process: ProcessIdentity, _ settings: Settings,
        named: Set<MetricRegistry.RowLabels>, version: String
    ) {
        self.settings = settings
        source = process.source
        build = version
        let contents = requests.contents
        flagTexts = contents.flagSets.map { flags in
            var text = ByteBuffer()
            flags.append(to: &text)
            return ASCII.string(text.readable)
        }
        groups = []
        var places: [MetricRegistry.RowLabels: Int] = [:]
        for cluster in contents.clusters where !cluster.labels.isMirror {
            places[cluster.labels] = groups.count
            groups.append(
                Group(
                    labels: cluster.labels,
                    destination: (cluster.identity ?? VersionIdentity()).destination(
                        service: cluster.labels.service, version: cluster.labels.version,
                        of: process)))
        }
        let nobody = MetricRegistry.RowLabels(route: "", service: "", version: "")
        places[nobody] = groups.count
        groups.append(Group(labels: nobody, destination: VersionIdentity.nobody))
        collect(requests, places)
        collect(contents.estates, contents.isMutual, places)
        addZeros(named, contents, places)
    }

    // MARK: Sums

    private static func added(_ run: [UInt64], _ other: [UInt64]?) -> [UInt64] {
        guard let other else { return run }
        return zip(run, other).map { $0 &+ $1 }
    }

    private mutating func collect(
        _ requests: RequestMetricsPage, _ places: [MetricRegistry.RowLabels: Int]
    ) {
        for series in requests.contents.series where !series.labels.isMirror {
            guard let place = places[Estates.owner(series.labels)] else { continue }
            switch series.kind {
            case .requests:
                let cell = RequestCell(
                    isMutual: series.isMutual, code: series.code, flags: series.flags)
                groups[place].requests[cell, default: 0] &+= requests.sum(series.slot)
            case .ends:
                add(
                    EndKind(rawValue: UInt8(truncatingIfNeeded: series.code)), series.isMutual,
                    requests.run(series), to: place)
            case .sizes:
                groups[place].sizes[series.isMutual] = IstioMetricsPage.added(
                    requests.run(series), groups[place].sizes[series.isMutual])
            case .errors, .refused, .cluster, .resets, .handshakes, .handshakeFailures, .filters:
                break
            }
        }
    }

    private mutating func collect(
        _ estates: Estates, _ isMutual: [Bool], _ places: [MetricRegistry.RowLabels: Int]
    ) {
        for (owner, estate) in estates.versions {
            guard let place = places[owner] else { continue }
            for (key, count) in estate.requests {
                let cell = RequestCell(
                    isMutual: IstioMetricsPage.isMutual(key, isMutual),
                    code: UInt16(truncatingIfNeeded: key),
                    flags: MetricRegistry.flags(ofKey: key))
                groups[place].requests[cell, default: 0] &+= count
            }
            for (key, run) in estate.runs {
                let isMutual = IstioMetricsPage.isMutual(key, isMutual)
                if MetricRegistry.SeriesKind(rawValue: key >> 60) == .ends {
                    add(
                        EndKind(rawValue: UInt8(truncatingIfNeeded: key)), isMutual, run, to: place)
                } else {
                    groups[place].sizes[isMutual] = IstioMetricsPage.added(
                        run, groups[place].sizes[isMutual])
                }
            }
        }
    }

    private static func isMutual(_ key: UInt64, _ list: [Bool]) -> Bool {
        let listener = MetricRegistry.listener(ofKey: key)
        return listener < list.count && list[listener]
    }

    private mutating func add(
        _ kind: EndKind, _ isMutual: Bool, _ run: [UInt64], to place: Int
    ) {
        let cell = EndCell(
            isMutual: isMutual, isGRPC: kind.isGRPC, statusClass: kind.statusClass)
        groups[place].ends[cell] = IstioMetricsPage.added(run, groups[place].ends[cell])
    }

    /// Codes of a version that exist at zero before its first request, so that a rate sees the
    /// first error, and a judge that asks too early gets a number.
    private static let codesAtZero: [UInt16] = [200, 500, 503]

    private mutating func addZeros(
        _ named: Set<MetricRegistry.RowLabels>, _ contents: MetricRegistry.Contents,
        _ places: [MetricRegistry.RowLabels: Int]
    ) {
        let run = [UInt64](repeating: 0, count: MetricRegistry.EndSlot.count)
        let policies = Set(contents.isMutual).isEmpty ? [false] : Set(contents.isMutual)
        for labels in named {
            guard let place = places[labels] else { continue }
            for isMutual in policies {
                for status in IstioMetricsPage.codesAtZero {
                    let code = RequestCode(status: status, isGRPC: false, call: -1)
                    let cell = RequestCell(isMutual: isMutual, code: code.rawValue, flags: 0)
                    groups[place].requests[cell, default: 0] &+= 0
                    add(EndKind(code), isMutual, run, to: place)
                }
            }
        }
    }

    // MARK: Page

    /// One group as one reporter sees it, with the labels that all of its lines have.
    private struct View {
        var group: Group
        var reporter: Reporter
        var labels: String

        func policy(_ isMutual: Bool) -> String {
            let value =
                switch reporter {
                case .source: VersionIdentity.unknown
                case .destination: isMutual ? "mutual_tls" : "none"
                }
            return ",connection_security_policy=\"\(value)\""
        }
    }

    public func write(to page: inout PrometheusText) {
        let views = groups.flatMap { group in
            (settings.reporters ?? Reporter.allCases).map { view(group, $0) }
        }
        writeRequests(views, &page)
        writeDurations(views, &page)
        writeSizes(
            views, MetricCatalog.istioReceived, MetricRegistry.EndSlot.bytesReceived,
            MetricRegistry.SizeSlot.received, &page)
        writeSizes(
            views, MetricCatalog.istioSent, MetricRegistry.EndSlot.bytesSent,
            MetricRegistry.SizeSlot.sent, &page)
        page.family(MetricCatalog.istioBuild)
        page.sample([("component", "proxy"), ("tag", "sluice-\(build)")], 1)
    }

    private func view(_ group: Group, _ reporter: Reporter) -> View {
        let labels =
            [("reporter", reporter.rawValue)]
            + zip(MetricCatalog.istioSource, source)
            + zip(MetricCatalog.istioDestination, group.destination)
        return View(
            group: reporter == .source ? group.merged() : group, reporter: reporter,
            labels: PrometheusText.text(labels))
    }

    private func writeRequests(_ views: [View], _ page: inout PrometheusText) {
        page.family(MetricCatalog.istioRequests)
        for view in views {
            let cells = view.group.requests.sorted {
                ($0.key.isMutual ? 1 : 0, $0.key.code, $0.key.flags)
                    < ($1.key.isMutual ? 1 : 0, $1.key.code, $1.key.flags)
            }
            for (cell, count) in cells {
                let code = RequestCode(rawValue: cell.code)
                let flags = flagText(cell.flags)
                page.sample(
                    text: view.labels
                        + ",request_protocol=\"\(code.isGRPC ? "grpc" : "http")\""
                        + ",response_code=\"\(code.status)\""
                        + ",grpc_response_status=\"\(code.call.map { "\($0)" } ?? "")\""
                        + ",response_flags=\"\(flags)\""
                        + view.policy(cell.isMutual), count)
            }
        }
    }

    private func flagText(_ number: UInt8) -> String {
        Int(number) < flagTexts.count ? flagTexts[Int(number)] : "other"
    }

    private func writeDurations(_ views: [View], _ page: inout PrometheusText) {
        page.family(MetricCatalog.istioDuration)
        for view in views {
            let cells = view.group.ends.sorted {
                ($0.key.isMutual ? 1 : 0, $0.key.isGRPC ? 1 : 0, $0.key.statusClass)
                    < ($1.key.isMutual ? 1 : 0, $1.key.isGRPC ? 1 : 0, $1.key.statusClass)
            }
            for (cell, run) in cells {
                let labels =
                    view.labels + ",request_protocol=\"\(cell.isGRPC ? "grpc" : "http")\""
                    + ",response_code=\"\(cell.statusClass)\"" + view.policy(cell.isMutual)
                var total: UInt64 = 0
                for (i, bound) in MetricCatalog.durationBounds.enumerated() {
                    total &+= run[MetricRegistry.EndSlot.buckets + i]
                    // Istio has all of ours but one.
                    if bound == 2_500 { continue }
                    page.sample(
                        text: labels, bound: PrometheusText.decimal(bound, digits: 3), total,
                        suffix: "_bucket")
                }
                total &+=
                    run[MetricRegistry.EndSlot.buckets + MetricCatalog.durationBounds.count]
                page.sample(text: labels, bound: "+Inf", total, suffix: "_bucket")
                page.sample(
                    text: labels, microseconds: run[MetricRegistry.EndSlot.durationSum],
                    inMilliseconds: true, suffix: "_sum")
                page.sample(text: labels, total, suffix: "_count")
            }
        }
    }

    /// - Parameters:
    ///   - bytes: the place of the bytes in a run of ends.
    ///   - sizes: the first place of the histogram in a run of sizes.
    private func writeSizes(
        _ views: [View], _ family: MetricCatalog.Family, _ bytes: Int, _ sizes: Int,
        _ page: inout PrometheusText
    ) {
        page.family(family)
        for view in views {
            for isMutual in [false, true] {
                let runs = view.group.ends.filter { $0.key.isMutual == isMutual }.values
                if runs.isEmpty { continue }
                let labels = view.labels + view.policy(isMutual)
                let counted = runs.reduce(UInt64(0)) { sum, run in
                    run[MetricRegistry.EndSlot.buckets...].reduce(sum, &+)
                }
                var total: UInt64 = 0
                if settings.hasSizes {
                    let run = view.group.sizes[isMutual]
                    for (i, bound) in MetricCatalog.sizeBounds.enumerated() {
                        total &+= run?[sizes + i] ?? 0
                        page.sample(
                            text: labels, bound: bound == 0 ? "0.5" : "\(bound)", total,
                            suffix: "_bucket")
                    }
                }
                // A size is counted behind its request, and read behind it too.
                let count = max(counted, total)
                page.sample(text: labels, bound: "+Inf", count, suffix: "_bucket")
                page.sample(
                    text: labels, runs.reduce(0) { $0 &+ $1[bytes] }, suffix: "_sum")
                page.sample(text: labels, count, suffix: "_count")
            }
        }
    }
}

extension RequestMetricsPage {
    /// The sums of a run of slots.
    func run(_ series: MetricRegistry.Series) -> [UInt64] {
        (0..<series.kind.slotCount).map { sum(series.slot + $0) }
    }

    /// Writes the family that applications export of themselves: all requests, by the class of
    /// their status. The sums are of everything that the process ever counted.
    public func writeHTTP(to page: inout PrometheusText) {
        let none = [UInt64](repeating: 0, count: MetricRegistry.EndSlot.count)
        var classes = ["2xx": none, "5xx": none]
        func add(_ kind: UInt16, _ run: [UInt64]) {
            let name = EndKind(rawValue: UInt8(truncatingIfNeeded: kind)).statusClass
            classes[name] = zip(classes[name] ?? none, run).map { $0 &+ $1 }
        }
        for series in contents.series where series.kind == .ends && !series.labels.isMirror {
            add(series.code, run(series))
        }
        for estate in Array(contents.estates.versions.values) + [contents.estates.others] {
            for (key, run) in estate.runs
            where MetricRegistry.SeriesKind(rawValue: key >> 60) == .ends {
                add(UInt16(truncatingIfNeeded: key), run)
            }
        }
        page.family(MetricCatalog.httpDuration)
        for (name, run) in classes.sorted(by: { $0.key < $1.key }) {
            let labels = "status=\"\(name)\""
            var total: UInt64 = 0
            for (i, bound) in MetricCatalog.durationBounds.enumerated() {
                total &+= run[MetricRegistry.EndSlot.buckets + i]
                page.sample(
                    text: labels, bound: PrometheusText.seconds(bound), total, suffix: "_bucket")
            }
            total &+= run[MetricRegistry.EndSlot.buckets + MetricCatalog.durationBounds.count]
            page.sample(text: labels, bound: "+Inf", total, suffix: "_bucket")
            page.sample(
                text: labels, microseconds: run[MetricRegistry.EndSlot.durationSum], suffix: "_sum")
            page.sample(text: labels, total, suffix: "_count")
        }
    }
}
