import Base
import Evidence
import HTTP2
import HTTPSemantics
import Routing
import Telemetry
import Upstream

/// The immutable truth of one generation of the configuration: every name resolved to a number,
/// every table built. Shared by all threads in a `SharedBox`; an exchange keeps the one it began
/// with.
///
/// A snapshot owns what weights decide, its splits, and shares everything else, its plans, with
/// snapshots that differ in weights alone (`reweighted`).
public struct Snapshot: ~Copyable, Sendable {
    /// Grows with every publication, 1 is the first.
    public let generation: UInt64
    /// The hash of the file, 16 hex digits.
    public let hash: String
    public let document: Document
    public let settings: Settings
    public let splits: FixedArray<SplitPlan>
    /// The number of each service's epoch, in the document's order of services, from 1. `EpochBook`
    /// says when the next one begins. Numbers only grow, and begin anew with the process.
    public let epochs: FixedArray<UInt64>
    @usableFromInline let plans: SharedBox<SnapshotPlans>
    private let addressOnly = AddressOnly()

    /// Takes over the caller's references to the plans and to what the splits name.
    init(
        generation: UInt64, hash: String, document: Document, settings: Settings,
        splits: [SplitPlan], epochs: [UInt64], plans: SharedBox<SnapshotPlans>
    ) {
        self.generation = generation
        self.hash = hash
        self.document = document
        self.settings = settings
        self.splits = FixedArray(splits)
        self.epochs = FixedArray(epochs)
        self.plans = plans
    }

    deinit {
        for i in 0..<splits.count {
            splits[i].draws.release()
            splits[i].intervals.release()
            splits[i].evidence?.release()
            splits[i].errors?.release()
        }
        plans.release()
    }

    @inlinable public var table: RouteTable {
        @inline(__always) _read { yield plans.value.table }
    }
    @inlinable public var routes: FixedArray<RoutePlan> {
        @inline(__always) _read { yield plans.value.routes }
    }
    @inlinable public var services: FixedArray<ServicePlan> {
        @inline(__always) _read { yield plans.value.services }
    }
    @inlinable public var versions: FixedArray<VersionPlan> {
        @inline(__always) _read { yield plans.value.versions }
    }
    @inlinable public var sticky: FixedArray<SharedBox<Stickiness>> {
        @inline(__always) _read { yield plans.value.sticky }
    }
    /// Edits of rows, by number. Number 0 changes nothing.
    @inlinable public var edits: FixedArray<EditPlan> {
        @inline(__always) _read { yield plans.value.edits }
    }
    /// Names that edits take out, in lower case.
    @inlinable public var editedNames: FixedArray<ByteRange> {
        @inline(__always) _read { yield plans.value.editedNames }
    }
    @inlinable public var rows: FixedArray<RowPlan> {
        @inline(__always) _read { yield plans.value.rows }
    }
    @inlinable public var retries: FixedArray<RetryPolicy> {
        @inline(__always) _read { yield plans.value.retries }
    }
    @inlinable public var filters: FixedArray<FilterPlan> {
        @inline(__always) _read { yield plans.value.filters }
    }
    @inlinable public var faults: FixedArray<FaultPlan> {
        @inline(__always) _read { yield plans.value.faults }
    }
    @inlinable public var mirrors: FixedArray<MirrorPlan> {
        @inline(__always) _read { yield plans.value.mirrors }
    }
    @inlinable public var checks: FixedArray<CheckPlan> {
        @inline(__always) _read { yield plans.value.checks }
    }
    /// The format of the access log.
    @inlinable public var log: LogProgram {
        @inline(__always) _read { yield plans.value.log }
    }
    /// Texts of the plans.
    @inlinable public var store: ByteStore {
        @inline(__always) _read { yield plans.value.store }
    }

    /// Facts that lines of the access log need; none without one.
    public var logNeeds: LogNeeds { settings.logs ? log.needs : [] }

    /// Whether a client on a listener may end its side and wait for its answer.
    public func allowsHalfClose(_ listener: Int) -> Bool {
        listener < plans.value.halfClosers.count && plans.value.halfClosers[listener]
    }

    /// Whether a listener speaks HTTP/1.1 alone, so that HTTP/2's preface is read as HTTP/1.1.
    public func speaksHTTP1Only(_ listener: Int) -> Bool {
        protocols(listener) == .http1
    }

    /// Whether nothing but HTTP/2 is understood on a listener.
    public func speaksHTTP2Only(_ listener: Int) -> Bool {
        protocols(listener) == .http2
    }

    private func protocols(_ listener: Int) -> Document.ListenerProtocol? {
        listener < plans.value.listenerProtocols.count
            ? plans.value.listenerProtocols[listener] : nil
    }

    /// Consecutive elements of one of the snapshot's arrays.
    public struct Run: BitwiseCopyable, Sendable {
        public var start: Int
        public var end: Int
        @inlinable public var isEmpty: Bool { start == end }
        public static var none: Run { Run(start: 0, end: 0) }
        public init(start: Int, end: Int) {
            self.start = start
            self.end = end
        }
    }

    /// Where (route, service, version) is counted.
    public struct RowPlan: BitwiseCopyable, Sendable {
        public var id: Int
        public var slot: Int
        /// Into `edits`: the route's and the version's together; 0 for none.
        public var edits = 0
    }

    public struct RoutePlan: BitwiseCopyable, Sendable {
        public enum Kind: UInt8, BitwiseCopyable, Sendable { case forward, redirect, respond }
        public enum PathEdit: UInt8, BitwiseCopyable, Sendable { case none, path, prefix }

        public var kind = Kind.forward
        public var name = ByteRange.empty
        public var service = -1
        /// Into `splits`.
        public var split = -1
        /// The version that the route names outright, or -1.
        public var pinned = -1
        public var firstByte = Duration.unlimited
        public var request = Duration.unlimited
        public var idle = Duration.unlimited
        /// The time of one attempt.
        public var perTry = Duration.unlimited
        /// How long the client may take nothing of what waits for it.
        public var write = Duration.unlimited
        /// Into `retries`.
        public var retry = 0
        /// Into `filters`, or -1.
        public var filter = -1
        /// Whether the route has filters, or a version of its service has a fault, or a stage's
        /// rule made it.
        public var isSpecial = false
        public var pathEdit = PathEdit.none
        /// Replaces the path or its matched prefix. A redirect's path may have a query behind it.
        public var pathText = ByteRange.empty
        /// Bytes of the normal-form prefix that is replaced.
        public var prefixLength = 0
        /// Replaces the host; empty for none.
        public var host = ByteRange.empty
        public var allowsConnect = false
        /// The status of a redirect or fixed response.
        public var status: UInt16 = 0
        public var scheme = ByteRange.empty
        public var port: UInt16 = 0
        public var body = ByteRange.empty
        public var contentType = ByteRange.empty
        /// Into `rows`: without a version, then one for each version of the service.
        public var rows = 0
    }

    public struct ServicePlan: BitwiseCopyable, Sendable {
        public var name = ByteRange.empty
        /// Into `versions`.
        public var versions = Run.none
        public var stable = 0
        /// Into `sticky`, or -1.
        public var sticky = -1
        public var fallsBack = false
        /// Whether the guard may take versions out.
        public var hasGuard = false
        /// Into `checks`, or -1.
        public var check = -1
        public var hashSource = Stickiness.Source.header
        /// The header or cookie that the balancer hashes; empty: the client's address.
        public var hashName = ByteRange.empty
        public var hashKnown = KnownField.other
    }

    /// The acts of a route on a request, besides passing the request on.
    public struct FilterPlan: BitwiseCopyable, Sendable {
        public enum Key: UInt8, BitwiseCopyable, Sendable { case none, address, header, cookie }

        public var rateLimit: SharedBox<RateLimit>?
        public var rateKey = Key.none
        public var rateName = ByteRange.empty
        public var rateKnown = KnownField.other
        /// Into `faults`, or -1.
        public var fault = -1
        /// Into `mirrors`, or -1.
        public var mirror = -1
    }

    public struct FaultPlan: BitwiseCopyable, Sendable {
        public var delay = Duration.zero
        /// Two-way draws: 0 means that the request is delayed, or answered; 1 that it is not.
        public var delayDraws: SharedBox<Draws>?
        public var abortDraws: SharedBox<Draws>?
        public var abortStatus: UInt16 = 0
        /// The status that gRPC calls get; -1: the one that the HTTP status means to them.
        public var abortGRPC: Int16 = -1
        public var isByHeader = false
    }

    public struct MirrorPlan: BitwiseCopyable, Sendable {
        public var service: Int
        /// Into `versions`.
        public var version: Int
        /// The version's endpoints, with limits and connections of their own.
        public var cluster: SharedBox<Cluster>
        /// Two-way draws: 0 means that the request is copied; 1 that it is not.
        public var draws: SharedBox<Draws>
        public var bodyBytesMax: Int
        /// Where the copies are counted, and how they are edited.
        public var row: RowPlan
    }

    /// The request that checks a service's endpoints.
    public struct CheckPlan: BitwiseCopyable, Sendable {
        public var policy: HealthCheckPolicy
        /// Head and body; nothing for a check that only connects.
        public var message = ByteRange.empty
        /// A route with the check's times that no request matches.
        public var route: Int
    }

    public struct VersionPlan: BitwiseCopyable, Sendable {
        public var name: ByteRange
        /// The response field line that names the version, with its CRLF; empty for none.
        public var line: ByteRange
        public var cluster: SharedBox<Cluster>
        /// Into `faults`, or -1.
        public var fault: Int
        /// Whether the guard has taken the version out.
        public var latch: SharedBox<VersionLatch>
        /// The definition of an error of the version.
        public var errors: VersionErrors
    }

    public struct SplitPlan: BitwiseCopyable, Sendable {
        public var draws: SharedBox<Draws>
        public var intervals: SharedBox<SessionIntervals>
        /// The number of the service's epoch (`Snapshot.epochs`).
        public var epoch: UInt64 = 0
        /// Where the ends of requests are counted; `nil` where the service has one version.
        public var evidence: SharedBox<EpochEvidence>?
        /// The guard's sums; `nil` where the service has no guard.
        public var errors: SharedBox<SplitGuard>?
    }

    /// The sum of edits for requests and answers of one row (`FieldEdits`).
    public struct EditPlan: BitwiseCopyable, Sendable {
        public var request = Direction()
        public var response = Direction()

        public struct Direction: BitwiseCopyable, Sendable {
            /// Into `editedNames`.
            public var removed = Run.none
            /// The text of whole lines.
            public var lines = ByteRange.empty
            public var isEmpty: Bool { removed.isEmpty && lines.isEmpty }
        }
    }

    /// Plain settings that the data plane reads.
    public struct Settings: BitwiseCopyable, Sendable {
        public var timeouts = Document.Timeouts()
        public var limits = Document.Limits()
        public var http2 = HTTP2Limits()
        public var normalizesPaths = true
        public var trustedHops = 0
        public var requestID = Document.Forwarding.RequestID.create
        public var via = false
        public var flagsField = ByteRange.empty
        /// Whether there is an access log, and requests are written to it.
        public var logs = false
        /// Hundredths of a percent of requests that are logged.
        public var accessLogSample = 0
        /// Whether requests that failed are logged, whatever the sample says.
        public var logsErrors = false
        /// Row of requests that no route took.
        public var noRouteRow = 0
        /// Whether the sizes of bodies are counted.
        public var countsSizes = false
        /// Nanoseconds that a byte of a client's body or answer buys; 0: slowness is no reason.
        public var nanosecondsPerByte: Int64 = 0
    }
}
