import Base

/// When an endpoint's own answers take it out of the rotation; Istio's `OutlierDetection`.
public struct OutlierPolicy: Sendable, BitwiseCopyable, Equatable {
    /// Answers of 5xx and local-origin failures in a row; 0: not looked at.
    public var errorsInARowMax = 5
    /// Answers of 502, 503, 504 and local-origin failures in a row; 0: not looked at.
    public var gatewayErrorsInARowMax = 0
    /// Failed connects, timeouts and broken connections in a row; 0: not looked at.
    public var localFailuresInARowMax = 5
    /// How often success rates are compared, and how long an endpoint must behave until one of its
    /// ejections is forgotten.
    public var interval = Duration.seconds(10)
    public var baseEjectionTime = Duration.seconds(30)
    public var maxEjectionTime = Duration.seconds(300)
    /// 0...100. Of several endpoints one may always be ejected, unless it is 0.
    public var maxEjectionPercent = 10
    public var successRate: SuccessRatePolicy?

    public init() {}

    /// Endpoints of so many that may be ejected at one time.
    public func ejectedMax(of count: Int) -> Int {
        let share = count * maxEjectionPercent / 100
        return maxEjectionPercent > 0 && count > 1 ? max(1, share) : share
    }
}

/// Passive health of one endpoint: whether its answers let it keep its place in the rotation.
///
///               a run of failures, or a low success rate
///     admitted ──────────────────────────────────────────▶ ejected
///        ▲                                                    │
///        └───────── base ejection time × times passed ────────┘
///
/// Each ejection is longer than the one before; an interval without one makes the next shorter.
public struct OutlierEjection: Sendable {
    public enum Outcome: UInt8, Sendable, BitwiseCopyable, CaseIterable {
        case success
        /// A 5xx other than 502, 503, 504.
        case serverError
        /// An answer of 502, 503 or 504.
        case gatewayError
        /// No answer: the connect failed, the connection broke, or a timeout passed.
        case localFailure

        /// Reads the result of an attempt from the status of its answer.
        public init(status: UInt16) {
            switch status {
            case 502, 503, 504: self = .gatewayError
            case 500...: self = .serverError
            default: self = .success
            }
        }
    }

    public enum Cause: UInt8, Sendable, BitwiseCopyable, CaseIterable {
        case errors, gatewayErrors, localFailures, successRate

        public var label: StaticString {
            switch self {
            case .errors: return "consecutive-5xx"
            case .gatewayErrors: return "consecutive-gateway-errors"
            case .localFailures: return "consecutive-local-origin-failures"
            case .successRate: return "success-rate"
            }
        }
    }

    /// Runs of failures without a success between; saturating.
    private var errors: UInt16 = 0
    private var gatewayErrors: UInt16 = 0
    private var localFailures: UInt16 = 0
    private var times = 0
    private var readmittedAt = Instant(nanoseconds: 0)
    /// The time until which the endpoint is ejected; `nil` when it is not.
    public private(set) var until: Instant?
    /// The cause of the last ejection.
    public private(set) var cause: Cause?

    public init() {}

    public var isEjected: Bool { until != nil }
    /// Whether a success would change anything.
    public var hasRun: Bool { errors > 0 || gatewayErrors > 0 || localFailures > 0 }
    public var failuresInARow: Int { Int(max(errors, localFailures)) }

    /// Takes an outcome.
    /// - Returns: why the endpoint is to be ejected, if it is: then call `eject`.
    public mutating func record(_ outcome: Outcome, policy: OutlierPolicy) -> Cause? {
        // A straggler from before the ejection says nothing new.
        if isEjected { return nil }
        switch outcome {
        case .success:
            forgetRuns()
            return nil
        case .serverError:
            advance(&errors)
            gatewayErrors = 0
            localFailures = 0
        case .gatewayError:
            advance(&errors)
            advance(&gatewayErrors)
            localFailures = 0
        case .localFailure:
            advance(&errors)
            advance(&gatewayErrors)
            advance(&localFailures)
        }
        func isReached(_ run: UInt16, _ max: Int) -> Bool { max > 0 && run >= max }
        if isReached(localFailures, policy.localFailuresInARowMax) { return .localFailures }
        if isReached(gatewayErrors, policy.gatewayErrorsInARowMax) { return .gatewayErrors }
        if isReached(errors, policy.errorsInARowMax) { return .errors }
        return nil
    }

    private func advance(_ run: inout UInt16) { run = run == .max ? run : run + 1 }

    private mutating func forgetRuns() {
        errors = 0
        gatewayErrors = 0
        localFailures = 0
    }

    /// Takes the endpoint out. Whoever calls has made sure that enough others stay.
    /// - Returns: when its time is over.
    public mutating func eject(_ cause: Cause, now: Instant, policy: OutlierPolicy) -> Instant {
        if times > 0, policy.interval > .zero {
            let quiet = (now - readmittedAt).nanoseconds / policy.interval.nanoseconds
            times = Int(max(0, Int64(times) - quiet))
        }
        times += 1
        let (product, overflow) = policy.baseEjectionTime.nanoseconds.multipliedReportingOverflow(
            by: Int64(times))
        let longest = max(policy.baseEjectionTime, policy.maxEjectionTime)
        let time = overflow ? longest : min(longest, .nanoseconds(product))
        forgetRuns()
        self.cause = cause
        until = now + time
        return now + time
    }

    /// Lets the endpoint back in when its time is over.
    /// - Returns: whether it was.
    public mutating func readmit(now: Instant) -> Bool {
        guard let end = until, end <= now else { return false }
        until = nil
        readmittedAt = end
        return true
    }
}

/// Which endpoints answer well so much more rarely than the others that they are ejected; Envoy's
/// success-rate ejection.
public struct SuccessRatePolicy: Sendable, BitwiseCopyable, Equatable {
    /// Endpoints with enough requests that a comparison needs.
    public var endpointsMin = 5
    /// Requests within an interval that an endpoint is judged by.
    public var requestsMin = 100
    /// How many thousandths of a standard deviation below the mean are too few.
    public var deviations = 1_900

    public init() {}

    /// The requests of one endpoint in one interval.
    public struct Tally: Sendable, BitwiseCopyable {
        public var requests: Int
        public var successes: Int

        public init(requests: Int, successes: Int) {
            self.requests = requests
            self.successes = successes
        }
    }

    /// The rate below which an endpoint is an outlier, 0...1; `nil` when too few can be compared.
    public func threshold(_ tallies: [Tally]) -> Double? {
        let rates = tallies.filter { $0.requests >= max(1, requestsMin) }.map(
            SuccessRatePolicy.rate)
        guard rates.count >= max(1, endpointsMin) else { return nil }
        let mean = rates.reduce(0, +) / Double(rates.count)
        let variance = rates.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(rates.count)
        return mean - variance.squareRoot() * Double(deviations) / 1_000
    }

    /// Whether a tally is below a threshold that `threshold` gave.
    public func isOutlier(_ tally: Tally, threshold: Double) -> Bool {
        tally.requests >= max(1, requestsMin) && SuccessRatePolicy.rate(tally) < threshold
    }

    private static func rate(_ tally: Tally) -> Double {
        Double(tally.successes) / Double(tally.requests)
    }
}
