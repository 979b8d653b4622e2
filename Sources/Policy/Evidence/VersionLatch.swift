import Base
import Synchronization

/// Why the guard took a version out.
public enum TripCause: UInt8, BitwiseCopyable, Sendable, CaseIterable {
    /// The version had far more than its share of the errors.
    case errors
    /// No endpoint of the version could be reached, several requests in a row.
    case unreachable

    public var label: StaticString {
        switch self {
        case .errors: return "errors"
        case .unreachable: return "unreachable"
        }
    }
}

/// The numbers of a trip, for people.
public struct Trip: BitwiseCopyable, Sendable, Equatable {
    public var cause = TripCause.errors
    /// The sum when it reached its limit; for `unreachable` requests in a row without an endpoint.
    public var sum = 0.0
    public var limit = 0.0
    /// Errors of both versions that the guard had seen, and those of the version that tripped.
    public var errors = 0
    public var versionErrors = 0
    public var at = Instant(nanoseconds: 0)
    /// Microseconds since 1970 of a trip that an earlier process had, which `at` cannot say; 0 for
    /// a trip of this process.
    public var earlierMicros: Int64 = 0

    public init() {}
}

extension Trip {
    /// Why a version is out, with the numbers that say so.
    public func words(of version: String) -> String {
        let why =
            switch cause {
            case .errors: "\(versionErrors) of \(errors) errors are its own"
            case .unreachable:
                "\(Int(max(0, min(sum, 1e9)))) requests in a row reached none of its endpoints, "
                    + "because connections were refused or not answered"
            }
        return "the guard took \(version) out: \(why)"
    }
}

/// Whether the guard has taken one version of a service out: shared by all workers and all splits
/// of the service, longer than snapshots live.
///
///             trip: too many errors, or not to be reached
///     open ────────────────────────────────────────────────▶ tripped
///      ▲                                                        │
///      └── reset, by a person or by weights of 0 in force ──────┘
///
/// To trip is one atomic exchange, and every decision behind it sees it. Whoever wants to raise a
/// version, or to let it in again, says of which trip count that decision knew
/// (`reset(ifTripCount:)`): a trip in the same moment stands.
public struct VersionLatch: ~Copyable, Sendable {
    /// The trip count, and in the lowest bit whether the version is out.
    private let state = Atomic<UInt64>(0)
    /// The trip count whose numbers are written.
    private let told = Atomic<UInt64>(0)
    private let numbers = SharedCounters(count: 7)

    public init() {}

    public var isTripped: Bool {
        @inline(__always) get { state.load(ordering: .relaxed) & 1 == 1 }
    }

    /// How often the version was taken out; goes on where the process before stopped if the version
    /// was out then.
    public var tripCount: Int { Int(state.load(ordering: .relaxed) >> 1) }

    /// Takes the version out.
    /// - Returns: whether this call did; `false` when the version was out already.
    public func trip(_ trip: Trip) -> Bool {
        let held = state.load(ordering: .relaxed)
        guard held & 1 == 0 else { return false }
        guard
            state.compareExchange(
                expected: held, desired: held + 3, ordering: .acquiringAndReleasing
            ).exchanged
        else { return false }
        tell(trip, number: (held + 3) >> 1)
        return true
    }

    /// Takes a version out that was out when the process before ended; no worker may run yet.
    /// - Parameter number: the trip count then, from 1.
    public func restore(_ trip: Trip, number: Int) {
        guard number > 0, state.load(ordering: .relaxed) == 0 else { return }
        state.store(UInt64(number) << 1 | 1, ordering: .releasing)
        tell(trip, number: UInt64(number))
    }

    private func tell(_ trip: Trip, number: UInt64) {
        numbers.set(UInt64(trip.cause.rawValue), at: 0)
        numbers.set(trip.sum.bitPattern, at: 1)
        numbers.set(trip.limit.bitPattern, at: 2)
        numbers.set(UInt64(max(0, trip.errors)), at: 3)
        numbers.set(UInt64(max(0, trip.versionErrors)), at: 4)
        numbers.set(trip.at.nanoseconds, at: 5)
        numbers.set(UInt64(bitPattern: trip.earlierMicros), at: 6)
        told.store(number, ordering: .releasing)
    }

    /// The numbers of the last trip, and which it was; `nil` before the first.
    public var lastTrip: (number: Int, trip: Trip)? {
        let number = told.load(ordering: .acquiring)
        guard number > 0 else { return nil }
        var trip = Trip()
        trip.cause = TripCause(rawValue: UInt8(truncatingIfNeeded: numbers[0])) ?? .errors
        trip.sum = Double(bitPattern: numbers[1])
        trip.limit = Double(bitPattern: numbers[2])
        trip.errors = Int(truncatingIfNeeded: numbers[3])
        trip.versionErrors = Int(truncatingIfNeeded: numbers[4])
        trip.at = Instant(nanoseconds: numbers[5])
        trip.earlierMicros = Int64(bitPattern: numbers[6])
        return (Int(number), trip)
    }

    /// Lets the version in again, unless it was taken out once more meanwhile.
    ///
    /// - Parameter count: the trip count that whoever decided this knew of.
    /// - Returns: whether the version was out and is in now.
    public func reset(ifTripCount count: Int) -> Bool {
        let held = UInt64(count) << 1
        return state.compareExchange(
            expected: held | 1, desired: held, ordering: .acquiringAndReleasing
        ).exchanged
    }
}
