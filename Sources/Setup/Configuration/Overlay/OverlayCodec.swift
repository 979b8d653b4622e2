import Evidence
import JSON
import Routing

/// The text of an overlay's file: JSON, with the same bytes for equal overlays.
public enum OverlayCodec {
    /// The number of the form; another Sluice may write another one.
    static let format = 1
    /// The largest file that is read, in bytes.
    public static let bytesMax = 4 << 20

    public static func text(_ overlay: Overlay) -> String {
        let services = overlay.services.sorted { $0.key < $1.key }
        var pairs: [(String, JSONText)] = [
            ("format", .integer(format)),
            ("services", .object(services.map { ($0.key, entry($0.value)) })),
        ]
        if !overlay.trips.isEmpty { pairs.append(("trips", trips(overlay.trips))) }
        return JSONText.object(pairs).text() + "\n"
    }

    /// Trips by service and version.
    private static func trips(_ trips: [Overlay.Trip]) -> JSONText {
        var services: [(String, [(String, JSONText)])] = []
        for trip in trips.prefix(Overlay.tripsMax) {
            if services.last?.0 != trip.service { services.append((trip.service, [])) }
            services[services.count - 1].1.append((trip.version, self.trip(trip)))
        }
        return .object(services.map { ($0.0, .object($0.1)) })
    }

    private static func trip(_ trip: Overlay.Trip) -> JSONText {
        .object([
            ("number", .integer(trip.number)), ("cause", .string("\(trip.cause.label)")),
            ("sum", .number(trip.sum)), ("limit", .number(trip.limit)),
            ("errors", .integer(trip.errors)), ("versionErrors", .integer(trip.versionErrors)),
            ("atMicros", .integer(Int(trip.atMicros))),
        ])
    }

    private static func entry(_ entry: Overlay.Entry) -> JSONText {
        var pairs: [(String, JSONText)] = [
            ("weights", .object(entry.shares.map { ($0.version, .integer($0.weight)) }))
        ]
        if let stable = entry.stable { pairs.append(("stable", .string(stable))) }
        if let rollout = entry.rollout {
            var members: [(String, JSONText)] = [
                ("name", .string(rollout.name)), ("epoch", .integer(rollout.epoch)),
            ]
            if rollout.isRunning { members.append(("running", .bool(true))) }
            pairs.append(("rollout", .object(members)))
        }
        if let rules = entry.rules {
            pairs.append(
                (
                    "rules",
                    .object([
                        ("version", .string(rules.version)),
                        ("matches", .array(rules.matches.map { .string($0) })),
                    ])
                ))
        }
        return .object(pairs + [("fingerprint", .string(entry.fingerprint))])
    }

    /// Reads a text. Whoever wrote it is not believed: everything that an overlay promises is
    /// checked, and the error says where and what.
    public static func read(_ bytes: [UInt8]) throws(JSONError) -> Overlay {
        var limits = JSONReader.Limits()
        limits.bytesMax = bytesMax
        limits.nodesMax = 1_000_000
        limits.depthMax = 8
        let root = try JSONReader.read(bytes, limits: limits)
        // Another form may have other keys.
        if let number = root["format"], number.integer != format {
            throw error("this Sluice reads format \(format)", number)
        }
        try check(
            root, keys: ["format", "services", "trips"], required: ["format", "services"])
        var overlay = Overlay()
        let services = try members(root["services"] ?? root, "the services")
        guard services.count <= Overlay.servicesMax else {
            throw error("more than \(Overlay.servicesMax) services", root)
        }
        for member in services {
            guard SchemaChecker.isName(member.name) else {
                throw JSONError("this is no name of a service", at: member.mark)
            }
            overlay.services[member.name] = try entry(member.value)
        }
        if let node = root["trips"] { overlay.trips = try trips(node) }
        return overlay
    }

    private static func entry(_ node: JSONNode) throws(JSONError) -> Overlay.Entry {
        try check(
            node, keys: ["weights", "stable", "rollout", "rules", "fingerprint"],
            required: ["weights", "fingerprint"])
        let shares = try shares(node["weights"] ?? node)
        var stable: String?
        if let value = node["stable"] {
            guard let name = value.text, shares.contains(where: { $0.version == name }) else {
                throw error("expected one of the versions that have weights here", value)
            }
            stable = name
        }
        var rollout: Overlay.Rollout?
        if let value = node["rollout"] { rollout = try self.rollout(value) }
        var rules: Overlay.Rules?
        if let value = node["rules"] {
            guard rollout != nil else { throw error("only a rollout has rules", value) }
            rules = try self.rules(value, shares)
        }
        let print = node["fingerprint"] ?? node
        guard let fingerprint = print.text, fingerprint.utf8.count == 16,
            fingerprint.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
            )
        else { throw error("expected 16 hexadecimal digits", print) }
        return Overlay.Entry(
            shares: shares, stable: stable, rollout: rollout, rules: rules,
            fingerprint: fingerprint)
    }

    private static func shares(_ node: JSONNode) throws(JSONError) -> [Overlay.Share] {
        let members = try members(node, "the weights")
        guard (1...16).contains(members.count) else {
            throw error("expected the weights of 1 to 16 versions", node)
        }
        var shares: [Overlay.Share] = []
        for member in members {
            guard SchemaChecker.isName(member.name) else {
                throw JSONError("this is no name of a version", at: member.mark)
            }
            guard let weight = member.value.integer, (0...weightMax).contains(weight) else {
                throw error("expected a whole number from 0 to \(weightMax)", member.value)
            }
            shares.append(Overlay.Share(member.name, weight))
        }
        guard let reduced = SplitWeights(shares.map(\.weight)) else {
            throw error("all weights are 0", node)
        }
        guard reduced.sum <= SplitWeights.sumMax else {
            throw error(
                "the weights reduce to a sum of \(reduced.sum), above \(SplitWeights.sumMax)", node)
        }
        return shares
    }

    /// As the configuration file's weights.
    private static let weightMax = 1_000_000

    private static func rollout(_ node: JSONNode) throws(JSONError) -> Overlay.Rollout {
        try check(node, keys: ["name", "epoch", "running"], required: ["name", "epoch"])
        guard let name = node["name"]?.text, SchemaChecker.isName(name) else {
            throw error("expected the name of a rollout", node["name"] ?? node)
        }
        guard let epoch = node["epoch"]?.integer, epoch >= 1 else {
            throw error("expected a number from 1", node["epoch"] ?? node)
        }
        var isRunning = false
        if let member = node["running"] {
            guard case .bool(let value) = member.content else {
                throw error("expected true or false", member)
            }
            isRunning = value
        }
        return Overlay.Rollout(name: name, epoch: epoch, isRunning: isRunning)
    }

    /// Whether each text is a rule is found where it meets a configuration, which may have lost a
    /// listener that the rule names.
    private static func rules(
        _ node: JSONNode, _ shares: [Overlay.Share]
    ) throws(JSONError) -> Overlay.Rules {
        try check(node, keys: ["version", "matches"], required: ["version", "matches"])
        let version = node["version"] ?? node
        guard let name = version.text, shares.contains(where: { $0.version == name }) else {
            throw error("expected one of the versions that have weights here", version)
        }
        let list = node["matches"] ?? node
        guard let elements = list.elements, (1...Overlay.Rules.matchesMax).contains(elements.count)
        else { throw error("expected a list of 1 to \(Overlay.Rules.matchesMax) rules", list) }
        var matches: [String] = []
        for element in elements {
            guard let text = element.text, (1...StageMatch.bytesMax).contains(text.utf8.count)
            else {
                throw error("expected a rule of 1 to \(StageMatch.bytesMax) bytes", element)
            }
            matches.append(text)
        }
        return Overlay.Rules(version: name, matches: matches)
    }

    // MARK: Trips

    private static func trips(_ node: JSONNode) throws(JSONError) -> [Overlay.Trip] {
        var trips: [Overlay.Trip] = []
        for service in try members(node, "the trips") {
            for version in try members(service.value, "the trips of a service") {
                for member in [service, version] where !SchemaChecker.isName(member.name) {
                    throw JSONError("this is no name", at: member.mark)
                }
                trips.append(try trip(version.value, service.name, version.name))
            }
        }
        guard trips.count <= Overlay.tripsMax else {
            throw error("more than \(Overlay.tripsMax) trips", node)
        }
        return trips.sorted { ($0.service, $0.version) < ($1.service, $1.version) }
    }

    private static func trip(
        _ node: JSONNode, _ service: String, _ version: String
    ) throws(JSONError) -> Overlay.Trip {
        let keys = ["number", "cause", "sum", "limit", "errors", "versionErrors", "atMicros"]
        try check(node, keys: keys, required: keys)
        var trip = Trip()
        let cause = node["cause"] ?? node
        guard let known = TripCause.allCases.first(where: { "\($0.label)" == cause.text }) else {
            throw error("expected errors or unreachable", cause)
        }
        trip.cause = known
        trip.sum = try real(node["sum"] ?? node)
        trip.limit = try real(node["limit"] ?? node)
        trip.errors = try count(node["errors"] ?? node, from: 0)
        trip.versionErrors = try count(node["versionErrors"] ?? node, from: 0)
        return Overlay.Trip(
            service: service, version: version,
            number: try count(node["number"] ?? node, from: 1), trip,
            atMicros: Int64(try count(node["atMicros"] ?? node, from: 0)))
    }

    private static func count(_ node: JSONNode, from least: Int) throws(JSONError) -> Int {
        guard let number = node.integer, (least...countMax).contains(number) else {
            throw error("expected a whole number from \(least)", node)
        }
        return number
    }

    /// Counters have room for it twice over, and JavaScript's numbers too.
    private static let countMax = 1 << 53

    private static func real(_ node: JSONNode) throws(JSONError) -> Double {
        switch node.content {
        case .number(let value) where value >= 0: return value
        case .integer(let value) where value >= 0: return Double(value)
        default: throw error("expected a number from 0", node)
        }
    }

    // MARK: Shapes

    private static func error(_ message: String, _ node: JSONNode) -> JSONError {
        JSONError(message, at: node.mark)
    }

    private static func members(
        _ node: JSONNode, _ what: String
    ) throws(JSONError) -> [JSONNode.Member] {
        guard let members = node.members else {
            throw error("\(what) are \(node.kind), expected an object", node)
        }
        return members
    }

    /// An object has no other keys than these, because a key that is not understood may change what
    /// the others mean.
    private static func check(
        _ node: JSONNode, keys: [String], required: [String]
    ) throws(JSONError) {
        guard let members = node.members else {
            throw error("this is \(node.kind), expected an object", node)
        }
        if let other = members.first(where: { !keys.contains($0.name) }) {
            throw JSONError(
                "there is no key \(JSONText.quoted(other.name)) here, but "
                    + keys.joined(separator: ", "),
                at: other.mark)
        }
        for key in required where node[key] == nil {
            throw error("\(key) is missing", node)
        }
    }
}
