import Base
import Evidence
import Routing
import Telemetry
import Upstream

/// The part of a snapshot that weights do not change: routes and how they match, services, versions
/// with their clusters, filters, texts. This is the larger part by far; snapshots that differ in
/// weights alone share one.
@usableFromInline struct SnapshotPlans: ~Copyable, Sendable {
    @usableFromInline let table: RouteTable
    @usableFromInline let routes: FixedArray<Snapshot.RoutePlan>
    @usableFromInline let services: FixedArray<Snapshot.ServicePlan>
    @usableFromInline let versions: FixedArray<Snapshot.VersionPlan>
    @usableFromInline let sticky: FixedArray<SharedBox<Stickiness>>
    @usableFromInline let edits: FixedArray<Snapshot.EditPlan>
    @usableFromInline let editedNames: FixedArray<ByteRange>
    @usableFromInline let rows: FixedArray<Snapshot.RowPlan>
    @usableFromInline let retries: FixedArray<RetryPolicy>
    @usableFromInline let filters: FixedArray<Snapshot.FilterPlan>
    @usableFromInline let faults: FixedArray<Snapshot.FaultPlan>
    @usableFromInline let mirrors: FixedArray<Snapshot.MirrorPlan>
    @usableFromInline let checks: FixedArray<Snapshot.CheckPlan>
    @usableFromInline let log: LogProgram
    @usableFromInline let store: ByteStore
    /// The protocol of each listener, by its number.
    let listenerProtocols: FixedArray<Document.ListenerProtocol>
    /// Whether clients may end their side, by the listener's number.
    let halfClosers: FixedArray<Bool>
    /// Whose split each of the snapshot's splits is, in the same order.
    let splitOwners: FixedArray<SplitOwner>
    /// The routes that stages' rules have copies of, by the copies' numbers.
    let ruleOriginals: FixedArray<Int>
    /// The number of the first such copy.
    let firstRuleRoute: Int
    /// By service.
    let matched: FixedArray<MatchedPlan>
    /// Some route forwards by weights that are all zero, and so has no split.
    let lacksSplits: Bool
    /// Where the rows and clusters are held.
    let metrics: MetricRegistry

    /// Whose weights a split has.
    struct SplitOwner: BitwiseCopyable, Sendable {
        /// Into the document's routes; -1 for the split of a service's own hosts.
        var route: Int
        /// Into the document's services.
        var service: Int
    }

    /// Where the requests of one service are counted that a stage's rule took.
    struct MatchedPlan: BitwiseCopyable, Sendable {
        /// `nil` without rules.
        var evidence: SharedBox<EpochEvidence>?
    }

    deinit {
        releaseNumbers()
        for i in 0..<matched.count { matched[i].evidence?.release() }
        for i in 0..<versions.count {
            versions[i].cluster.release()
            versions[i].latch.release()
        }
        for i in 0..<sticky.count { sticky[i].release() }
        for i in 0..<filters.count { filters[i].rateLimit?.release() }
        for i in 0..<faults.count {
            faults[i].delayDraws?.release()
            faults[i].abortDraws?.release()
        }
        for i in 0..<mirrors.count {
            mirrors[i].cluster.release()
            mirrors[i].draws.release()
        }
    }

    private borrowing func releaseNumbers() {
        var held: (rows: [Int], clusters: [Int]) = ([], [])
        for i in 0..<rows.count { held.rows.append(rows[i].id) }
        for i in 0..<versions.count { held.clusters.append(versions[i].cluster.value.id) }
        for i in 0..<mirrors.count {
            held.rows.append(mirrors[i].row.id)
            held.clusters.append(mirrors[i].cluster.value.id)
        }
        metrics.release(rows: held.rows, clusters: held.clusters)
    }
}
