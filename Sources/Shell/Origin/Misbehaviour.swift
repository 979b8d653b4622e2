import Base
import JSON

/// The ways in which the demo's origin misbehaves at present. A person changes them while it runs,
/// by requests to `/demo`.
public struct Misbehaviour: Sendable, Equatable {
    /// Answers that are errors.
    public struct Errors: Sendable, Equatable {
        /// 0...1 of the requests.
        public var share = 0.0
        public var status: UInt16 = 500
        /// Only requests whose path begins so.
        public var path = "/"
        public init() {}
    }

    /// Answers that take longer.
    public struct Delay: Sendable, Equatable {
        public var add = Duration.zero
        public var share = 1.0
        public var path = "/"
        public init() {}
    }

    public var errors = Errors()
    public var delay = Delay()

    public init() {}

    var json: JSONText {
        .object([
            (
                "errors",
                .object([
                    ("share", .string(Misbehaviour.percent(errors.share))),
                    ("status", .integer(Int(errors.status))), ("path", .string(errors.path)),
                ])
            ),
            (
                "latency",
                .object([
                    ("add", .string("\(delay.add.nanoseconds / 1_000_000)ms")),
                    ("share", .string(Misbehaviour.percent(delay.share))),
                    ("path", .string(delay.path)),
                ])
            ),
        ])
    }

    private static func percent(_ share: Double) -> String {
        let hundredths = Int((share * 10_000).rounded())
        return hundredths % 100 == 0 ? "\(hundredths / 100)%" : "\(Double(hundredths) / 100)%"
    }
}

/// How the notations of the command line are read; handed in, so that both have one.
public struct OriginNotations: Sendable {
    /// `20%` as 0...1; `nil`: no share.
    public var share: @Sendable (String) -> Double?
    /// `50ms`; `nil`: no duration.
    public var duration: @Sendable (String) -> Duration?

    public init(
        share: @escaping @Sendable (String) -> Double?,
        duration: @escaping @Sendable (String) -> Duration?
    ) {
        self.share = share
        self.duration = duration
    }
}

/// The requests to `/demo`, by which a person makes a version bad, or good again.
enum OriginControl {
    /// Whether a request is one to `/demo`, and not to the echo.
    static func isControl(_ target: String) -> Bool {
        let path = target.prefix { $0 != "?" }
        return path == "/demo" || path.hasPrefix("/demo/")
    }

    private static let usage = """
        GET /demo shows it · POST /demo/errors?share=20%[&status=503][&path=/cart] · \
        POST /demo/latency?add=200ms[&share=50%][&path=/cart] · POST /demo/reset
        """

    private struct Wrong: Error {
        var status: UInt16
        var message: String
    }

    /// Does what a request wants.
    static func answer(
        _ request: OriginRequest, _ state: inout Misbehaviour, _ notations: OriginNotations
    ) -> (status: UInt16, body: JSONText) {
        do throws(Wrong) {
            try perform(request, &state, notations)
            return (200, state.json)
        } catch {
            return (
                error.status,
                .object([("error", .string(error.message)), ("usage", .string(usage))])
            )
        }
    }

    private static func perform(
        _ request: OriginRequest, _ state: inout Misbehaviour, _ notations: OriginNotations
    ) throws(Wrong) {
        // Whoever may send requests to the service must not make it bad for all others.
        if request.fields.contains(where: { $0.0 == "x-forwarded-for" || $0.0 == "forwarded" }) {
            throw Wrong(
                status: 403, message: "this came through a proxy; ask the origin's own address")
        }
        let parts = request.target.split(separator: "?", maxSplits: 1)
        let path = String(parts[0])
        if path == "/demo", request.method == "GET" { return }
        guard ["/demo/errors", "/demo/latency", "/demo/reset"].contains(path) else {
            throw Wrong(status: 404, message: "there is no \(path)")
        }
        guard request.method == "POST" else {
            throw Wrong(status: 405, message: "\(path) wants POST, as: curl -X POST")
        }
        var next = state
        if path == "/demo/reset" { next = Misbehaviour() }
        if path == "/demo/errors" { next.errors = Misbehaviour.Errors() }
        if path == "/demo/latency" { next.delay = Misbehaviour.Delay() }
        let query = parts.count > 1 ? String(parts[1]) : ""
        for pair in query.split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1).map(String.init)
            let value = sides.count > 1 ? decoded(sides[1]) : ""
            try set(sides[0], value, path, &next, notations)
        }
        if path == "/demo/errors", !query.contains("share=") {
            throw Wrong(status: 400, message: "share is missing, as in share=20%")
        }
        if path == "/demo/latency", !query.contains("add=") {
            throw Wrong(status: 400, message: "add is missing, as in add=200ms")
        }
        state = next
    }

    private static func set(
        _ name: String, _ value: String, _ path: String, _ next: inout Misbehaviour,
        _ notations: OriginNotations
    ) throws(Wrong) {
        let isErrors = path == "/demo/errors", isLatency = path == "/demo/latency"
        switch name {
        case "share" where isErrors || isLatency:
            guard let share = notations.share(value) else {
                throw Wrong(status: 400, message: "share is \"\(value)\", expected 20% or the like")
            }
            if isErrors { next.errors.share = share } else { next.delay.share = share }
        case "add" where isLatency:
            guard let add = notations.duration(value), add <= .seconds(3_600) else {
                throw Wrong(
                    status: 400, message: "add is \"\(value)\", expected 200ms or the like")
            }
            next.delay.add = add
        case "status" where isErrors:
            guard let status = UInt16(value), (400...599).contains(status) else {
                throw Wrong(status: 400, message: "status is \"\(value)\", expected 400 to 599")
            }
            next.errors.status = status
        case "path" where isErrors || isLatency:
            guard value.hasPrefix("/") else {
                throw Wrong(
                    status: 400, message: "path is \"\(value)\", expected the beginning of a path")
            }
            if isErrors { next.errors.path = value } else { next.delay.path = value }
        default: throw Wrong(status: 400, message: "\(path) has no parameter \(name)")
        }
    }

    /// Escapes of a query's value; a "%" that begins none stays, since `share=20%` is how people
    /// write it.
    private static func decoded(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var out: [UInt8] = [], at = 0
        while at < bytes.count {
            if bytes[at] == 0x25, at + 2 < bytes.count, let high = ASCII.hex(bytes[at + 1]),
                let low = ASCII.hex(bytes[at + 2])
            {
                out.append(high << 4 | low)
                at += 3
            } else {
                out.append(bytes[at])
                at += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
