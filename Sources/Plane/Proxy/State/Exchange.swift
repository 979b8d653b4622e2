import Base
import Configuration
import Evidence
import HTTP1
import HTTP2
import HTTPSemantics
import Telemetry
import Upstream

/// One request and its response.
///
/// Request and response move on their own; the exchange ends when both have, or when one breaks.
/// The request begins as `head`, and may end in any phase:
///
///     head     ──the head went out, and the body follows────▶ body
///     head     ──all of it went out─────────────────────────▶ complete
///     head     ──answered, and a short body is still to come▶ discarding
///     body     ──the last of it went out────────────────────▶ complete
///     body     ──answered, and a short body is still to come▶ discarding
///     body     ──sent once more─────────────────────────────▶ head
///     complete ──sent once more─────────────────────────────▶ head
///
/// The response begins as `waiting`, and ends as `complete`, or with the exchange:
///
///     waiting  ──an endpoint's answer begins────────────────▶ body
///     waiting  ──answered here, or given up─────────────────▶ complete
///     body     ──whole, or given up─────────────────────────▶ complete
struct Exchange: ~Copyable {
    /// Whose request it is.
    enum Kind: UInt8, BitwiseCopyable {
        case client
        /// A copy of a client's, whose answer is dropped.
        case mirror
        /// A health check's.
        case check
    }

    enum RequestPhase: UInt8, MachinePhase {
        /// The head waits in the arena for a connection.
        case head
        /// The head is sent, the body is being passed on.
        case body
        case complete
        /// The rest of the body is read and dropped: the response did not wait for it.
        case discarding

        @inline(__always)
        static func allows(_ phase: RequestPhase, _ next: RequestPhase) -> Bool {
            switch (phase, next) {
            case (.head, .body), (.head, .complete), (.head, .discarding): return true
            case (.body, .complete), (.body, .discarding), (.body, .head): return true
            case (.complete, .head): return true
            default: return false
            }
        }
    }

    enum ResponsePhase: UInt8, MachinePhase {
        case waiting
        case body
        case complete

        @inline(__always)
        static func allows(_ phase: ResponsePhase, _ next: ResponsePhase) -> Bool {
            switch (phase, next) {
            case (.waiting, .body), (.waiting, .complete), (.body, .complete): return true
            default: return false
            }
        }
    }

    /// How the response body's end is shown to the client.
    enum Sink: UInt8, BitwiseCopyable { case none, length, chunked, untilClose }

    /// The framing of a request's content.
    enum Content: UInt8, BitwiseCopyable {
        case none, length, chunked

        init(_ framing: BodyFraming) {
            if framing == .chunked {
                self = .chunked
            } else {
                self = framing.hasBody ? .length : .none
            }
        }
    }

    /// Whether the exchange is to leave HTTP: the client asked for another protocol, or for a
    /// tunnel by CONNECT.
    enum Tunnel: UInt8, BitwiseCopyable { case none, wanted, open }

    /// Whether the connection to the endpoint is what authenticates here, so that it is one
    /// client's alone.
    enum Binding: UInt8, BitwiseCopyable {
        case none
        /// The connection becomes the client's.
        case binds
        /// The request goes by a connection that carries its client's identity already, and may go
        /// by no other.
        case bound
    }

    /// The step that waits for `attemptDeadline` to pass.
    enum Hold: BitwiseCopyable {
        /// Nothing waits: the deadline is that of the attempt under way.
        case none
        /// An attempt, the first or another.
        case attempt
        /// The answer of a fault.
        case abort(Faults.Abort)
    }

    private let addressOnly = AddressOnly()
    var kind = Kind.client
    var downstream = DownstreamID.none
    var attempt = AttemptID.none
    private(set) var requestMachine = Machine(RequestPhase.head)
    private(set) var responseMachine = Machine(ResponsePhase.waiting)
    var requestPhase: RequestPhase { requestMachine.phase }
    var responsePhase: ResponsePhase { responseMachine.phase }
    var sink = Sink.none

    /// Into the worker's held snapshots.
    var snapshot = 0
    var route = -1
    /// Into the snapshot's versions, or -1.
    var version = -1
    /// The cluster of the exchange's version, in the exchange's snapshot.
    var cluster: SharedBox<Cluster>?
    var rowSlot = 0
    /// Counted as started in its row.
    var isCounted = false

    var method = Method.get
    var isHTTP10 = false
    /// The client's connection is TLS.
    var isSecure = false
    /// The client's scheme is https, by the connection or by the word of a trusted hop.
    var cameByHTTPS = false
    /// Into the snapshot's edits, as the exchange's row says.
    var edits = 0
    var keepsAlive = false
    var content = Content.none
    var tunnel = Tunnel.none
    /// The client waits for `100 Continue` before it sends its body (RFC 9110 §10.1.1).
    var awaitsContinue = false
    var binding = Binding.none
    /// The client is owed our session cookie with this position.
    var owesCookie = false
    var cookiePosition: UInt64 = 0
    /// Where the request's end is evidence about its version; `nil`: the version was no fair draw,
    /// or a fault had its hand in it. The exchange's snapshot keeps the evidence alive.
    var evidence: SharedBox<EpochEvidence>?
    /// Into the versions of the service; set with the evidence.
    var evidenceVersion = 0
    /// The way in which the end counts; set with the evidence.
    var unit = EvidenceUnit.none
    /// The first attempt was an error of the version; set when another follows.
    var hasFirstError = false

    /// The way in which the end of a request is evidence about the request's version.
    enum EvidenceUnit: UInt8, BitwiseCopyable {
        /// The end says nothing about the version.
        case none
        /// The request of a service without sessions.
        case request
        /// The request of a session, whose position is `cookiePosition`.
        case session
        /// The service has sessions, and the request belongs to none.
        case placeless
    }
    /// Key for the hashed balancers.
    var hash: UInt64 = 0
    var holdsRequestPermit = false
    /// The cost of interim answers so far (`ResponseRelay.interimBytesMax`).
    var interimBytes: UInt32 = 0
    var retry = RetryState()
    var hold = Hold.none
    /// The exchange of this request's mirrored copy, while that is still fed its body.
    var mirror = ExchangeID.none
    /// The check that the exchange is for, when it is a check's.
    var check = 0
    /// The body's text as it went to an endpoint, for another attempt. Of a body larger than the
    /// policy allows nothing is kept.
    var replay = ByteBuffer()

    /// Whether, and how, the request may be sent once more.
    struct RetryState: BitwiseCopyable {
        /// Who looks at the heads of answers.
        enum Watch: UInt8, BitwiseCopyable {
            case none
            /// The endpoint's ejection, or a call's status.
            case notes
            /// These, and the policy: an answer's status may be a reason for another attempt.
            case repeats
        }

        /// The part of the kept body that the next connection gets.
        enum Resend: UInt8, BitwiseCopyable {
            case none
            /// The part that the connection before has got; the rest follows as it comes.
            case part
            case all
        }

        /// Attempts that may still follow, by the route's policy, and those that did.
        var left: UInt8 = 0
        var count: UInt8 = 0
        var holdsPermit = false
        var watch = Watch.none
        /// Another attempt may need the body, and all of it was kept so far.
        var keepsBody = false
        var isReplayable = true
        var resend = Resend.none
        /// A reused connection died under the request, or an endpoint refused it, and it was sent
        /// again: not a second time for that.
        var isRepaired = false
        var isRefused = false
        /// An endpoint wants it by HTTP/1.1.
        var onlyHTTP1 = false
        /// Endpoints that have had an attempt.
        var tried = Cluster.Tried()
    }

    /// The head for the origin, and behind it texts for the log. Kept for the whole exchange.
    var arena = ByteBuffer()
    var head = ByteRange.empty
    /// The protocol that the client asked to upgrade to, in the arena.
    var upgrade = ByteRange.empty
    var summary = ExchangeSummary()
    /// Facts for the log that only some formats show.
    var log = LogNotes()
    var arrival = Instant(nanoseconds: 0)
    var requestDeadline = Instant.never
    /// When a gRPC client gives its call up, as it told (`grpc-timeout`).
    var callDeadline = Instant.never
    var firstByteDeadline = Instant.never
    var idleDeadline = Instant.never
    /// The deadline of the attempt under way, or of the wait in front of the next.
    var attemptDeadline = Instant.never
    var timer = LazyTimer()

    var hasRequestBody: Bool { content != .none }
    /// The content is gRPC's: errors are told in its trailers.
    var isGRPC: Bool {
        get { summary.isGRPC }
        set { summary.isGRPC = newValue }
    }
    /// Whether a tunnel was asked for; it may be open by now.
    var wantsTunnel: Bool { tunnel != .none }
    var isConnect: Bool { method == .connect }
    var isBound: Bool { binding == .bound }
    /// Whether a step waits for its time: there is no attempt then.
    var isWaiting: Bool {
        if case .none = hold { return false }
        return true
    }

    /// Becomes as a fresh slot, for its next tenant, but for the memory of the arena. A list, and
    /// no fresh value in the place of this one: that would be made elsewhere and copied, with each
    /// request. `Tests/TidyTests` finds what the list forgets.
    @inline(__always)
    mutating func reset() {
        kind = .client
        downstream = .none
        attempt = .none
        requestMachine.restart(at: .head)
        responseMachine.restart(at: .waiting)
        sink = .none
        snapshot = 0
        route = -1
        version = -1
        cluster = nil
        rowSlot = 0
        isCounted = false
        isHTTP10 = false
        isSecure = false
        cameByHTTPS = false
        edits = 0
        keepsAlive = false
        content = .none
        tunnel = .none
        awaitsContinue = false
        binding = .none
        owesCookie = false
        evidence = nil
        hasFirstError = false
        hash = 0
        holdsRequestPermit = false
        interimBytes = 0
        retry = RetryState()
        hold = .none
        mirror = .none
        if replay.capacity > 0 { replay.release() }
        arena.clear(keepingAtMost: 4_096)
        head = .empty
        upgrade = .empty
        summary.reset()
        if log.isUsed { log = LogNotes() }
        requestDeadline = .never
        callDeadline = .never
        firstByteDeadline = .never
        idleDeadline = .never
        attemptDeadline = .never
        timer.clear()
    }

    init() {}

    @inline(__always)
    mutating func enter(request next: RequestPhase) { requestMachine.enter(next) }
    @inline(__always)
    mutating func enter(response next: ResponsePhase) { responseMachine.enter(next) }
    @inline(__always)
    mutating func enterOften(request next: RequestPhase) { requestMachine.enterOften(next) }
    @inline(__always)
    mutating func enterOften(response next: ResponsePhase) { responseMachine.enterOften(next) }
}
