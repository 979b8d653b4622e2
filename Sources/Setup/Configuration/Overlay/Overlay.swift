import Base
import Evidence
import Routing

/// Weights that were put over those of the configuration file, by hand or by a rollout, which never
/// rewrite a user's file. A value; the files on a disk are read and written by `OverlayFile`.
public struct Overlay: Sendable, Equatable {
    /// The share of one version.
    public struct Share: Sendable, Equatable {
        public var version: String
        /// Relative to the sum of all; not negative.
        public var weight: Int

        public init(_ version: String, _ weight: Int) {
            self.version = version
            self.weight = weight
        }
    }

    /// The rollout that put weights there.
    public struct Rollout: Sendable, Equatable {
        public var name: String
        /// The number of the rollout's step, from 1.
        public var epoch: Int
        /// Whether the rollout goes on behind this step: while it does, no edit of the file changes
        /// the weights.
        public var isRunning: Bool

        public init(name: String, epoch: Int, isRunning: Bool = false) {
            self.name = name
            self.epoch = epoch
            self.isRunning = isRunning
        }
    }

    /// Rules of a rollout's stages: requests that match one of them go to a version outright.
    public struct Rules: Sendable, Equatable {
        public var version: String
        /// The text of each, as `StageMatch` reads them; 1...100, each of at most 16,384 bytes.
        public var matches: [String]

        public init(version: String, matches: [String]) {
            self.version = version
            self.matches = matches
        }

        /// As many as a plan has stages.
        static let matchesMax = 100
    }

    /// The weights of one service, and of every `split:` of its routes.
    public struct Entry: Sendable, Equatable {
        /// At most 16 versions, each once, which `SplitWeights` takes; versions that are not
        /// named have no share.
        public var shares: [Share]
        /// The stable version; `nil`: the file's.
        public var stable: String?
        /// `nil`: set by hand.
        public var rollout: Rollout?
        /// Rules that stand before the weights; only a rollout has some.
        public var rules: Rules?
        /// The fingerprint of the service's section in the file that the entry was made over.
        public var fingerprint: String

        public init(
            shares: [Share], stable: String? = nil, rollout: Rollout? = nil,
            rules: Rules? = nil, fingerprint: String
        ) {
            self.shares = shares
            self.stable = stable
            self.rollout = rollout
            self.rules = rules
            self.fingerprint = fingerprint
        }
    }

    /// A version that the guard has taken out, and that stays out over a restart.
    public struct Trip: Sendable, Equatable {
        public var service: String
        public var version: String
        /// `VersionLatch.tripCount`, from 1.
        public var number: Int
        public var cause: TripCause
        /// The guard's sum and its limit at the trip; finite and not negative.
        public var sum: Double
        public var limit: Double
        /// Errors of both versions that the guard had seen, and those of this one.
        public var errors: Int
        public var versionErrors: Int
        /// Microseconds since 1970.
        public var atMicros: Int64

        public init(
            service: String, version: String, number: Int, _ trip: Evidence.Trip, atMicros: Int64
        ) {
            self.service = service
            self.version = version
            self.number = number
            cause = trip.cause
            sum = trip.sum
            limit = trip.limit
            errors = trip.errors
            versionErrors = trip.versionErrors
            self.atMicros = atMicros
        }

        /// The numbers for the latch of the process that goes on.
        var numbers: Evidence.Trip {
            var trip = Evidence.Trip()
            trip.cause = cause
            trip.sum = sum
            trip.limit = limit
            trip.errors = errors
            trip.versionErrors = versionErrors
            trip.earlierMicros = atMicros
            return trip
        }
    }

    /// Entries by the service's name.
    public var services: [String: Entry]
    /// Versions that are out, sorted by service and version. They change no weights.
    public var trips: [Trip]

    public init(services: [String: Entry] = [:], trips: [Trip] = []) {
        self.services = services
        self.trips = trips
    }

    /// The largest number of services in one overlay.
    public static let servicesMax = 10_000
    /// The largest number of trips in one overlay.
    public static let tripsMax = 10_000
}

/// A change of an overlay: one service gets an entry, or loses the one it has.
public struct OverlayChange: Sendable, Equatable {
    public var service: String
    /// `nil`: the file's weights hold from here on.
    public var entry: Overlay.Entry?

    public init(service: String, entry: Overlay.Entry?) {
        self.service = service
        self.entry = entry
    }
}

extension Overlay {
    public mutating func apply(_ change: OverlayChange) {
        services[change.service] = change.entry
    }
}

extension Overlay.Entry {
    /// `v1 80 %, v2 20 %`, as the pages and the log write shares; versions without one are left
    /// out. Rules stand behind.
    public var text: String {
        guard let rules else { return Overlay.text(shares) }
        return Overlay.text(shares) + ", and to \(rules.version) whatever matches "
            + rules.matches.joined(separator: " or ")
    }

    /// Who put the weights there: `by hand`, or `rollout NAME`.
    public var author: String { rollout.map { "rollout \($0.name)" } ?? "by hand" }

    /// The share of a version, 0 for one that is not named.
    func weight(of version: String) -> Int {
        shares.first { $0.version == version }?.weight ?? 0
    }
}

extension Overlay {
    /// `v1 80 %, v2 20 %`; versions without a share are left out.
    public static func text(_ shares: [Share]) -> String {
        guard let weights = SplitWeights(shares.map(\.weight)) else { return "nothing" }
        return zip(shares, weights.weights).compactMap { share, weight in
            weight == 0
                ? nil : "\(share.version) \(ConfigurationDiff.percent(weight, weights))"
        }.joined(separator: ", ")
    }

    /// Words for a part of all users, 0...1: `15.00 %`.
    public static func percent(_ part: Double) -> String { ConfigurationDiff.percent(part) }
}
