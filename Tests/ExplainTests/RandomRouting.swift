import Base

/// Configurations and requests that a seed draws: small worlds of names, so that conditions hold
/// about as often as not.
struct RandomRouting {
    private var random: PRNG

    init(seed: UInt64) { random = PRNG(seed: seed) }

    private mutating func one<T>(of list: [T]) -> T {
        list[Int(random.below(UInt64(list.count)))]
    }

    private mutating func chance(_ percent: UInt64) -> Bool { random.below(100) < percent }

    // MARK: Configuration

    /// The text of a file with two listeners, three services and some routes. Routes mark what they
    /// touch with `x-route`, and each version has a port of its own.
    mutating func configuration() -> String {
        var text = """
            listeners:
              - { name: plain, address: "127.0.0.1:8080" }
              - { name: secure, address: "127.0.0.1:8443", tls: { certificate: a, key: b } }
            services:

            """
        for (i, name) in ["a", "b", "c"].enumerated() {
            text += service(name, port: 9_000 + 10 * i)
        }
        text += "routes:\n"
        for i in 0...random.below(8) { text += route("r\(i)") }
        text += "defaults:\n"
        text += "  pathNormalization: \(one(of: ["on", "on", "on", "off"]))\n"
        text += "  forwarding: { trustedHops: \(one(of: [0, 0, 1, 2])) }\n"
        return text
    }

    private mutating func service(_ name: String, port: Int) -> String {
        let weights = one(of: [["1", "1"], ["100%", "0%"], ["0", "5"], ["90%", "10%"]])
        var text = "  \(name):\n    stable: v1\n"
        if chance(40) {
            let host = one(of: ["a.test", "*.test", "b.a.test", "other"])
            text += "    hosts: [\"\(host)\"]\n"
        }
        if chance(40) {
            text += "    sticky: { \(one(of: ["cookie: session", "header: x-user"])) }\n"
        }
        if chance(20) { text += "    whenUnavailable: fallback\n" }
        text += "    versions:\n"
        for (i, weight) in weights.enumerated() {
            text += "      v\(i + 1): { weight: \(weight), "
            text += "endpoints: [\"127.0.0.1:\(port + i)\"] }\n"
        }
        return text
    }

    private mutating func route(_ name: String) -> String {
        var text = "  - name: \(name)\n"
        var hasPrefix = false
        if chance(90) {
            var alternatives: [String] = []
            // A prefix is replaced only where every alternative has one.
            let wantsPrefix = chance(40)
            for _ in 0...random.below(2) { alternatives.append(match(wantsPrefix: wantsPrefix)) }
            hasPrefix = wantsPrefix
            text += "    match: [\(alternatives.joined(separator: ", "))]\n"
        }
        let edits = "set: { x-route: \(name) }"
        text += "    headers: { request: { \(edits) }, response: { \(edits) } }\n"
        switch random.below(10) {
        case 0: text += "    respond: { status: \(one(of: [200, 404, 503])), body: hello }\n"
        case 1, 2:
            var keys: [String] = []
            if chance(40) { keys.append("scheme: \(one(of: ["http", "https"]))") }
            if chance(40) { keys.append("host: \(one(of: ["new.test", "a.test"]))") }
            if chance(30) { keys.append("port: \(one(of: [80, 443, 8443]))") }
            if hasPrefix, chance(40) {
                keys.append("prefix: \(one(of: ["/", "/new", "/new/"]))")
            } else if chance(40) || keys.isEmpty {
                keys.append("path: \"\(one(of: ["/", "/new", "/new?own=1"]))\"")
            }
            text += "    redirect: { \(keys.joined(separator: ", ")) }\n"
        default:
            let service = one(of: ["a", "b", "c"])
            text += "    to: \(service)\(one(of: ["", "", "", "/v1", "/v2"]))\n"
            if chance(20) { text += "    connect: allow\n" }
            if chance(40) { text += "    rewrite: { \(rewrite(hasPrefix: hasPrefix)) }\n" }
        }
        return text
    }

    private mutating func rewrite(hasPrefix: Bool) -> String {
        if chance(30) { return "host: in.test" }
        if hasPrefix { return "prefix: \(one(of: ["/", "/v2", "/v2/"]))" }
        return "path: \(one(of: ["/", "/v2"]))"
    }

    /// The rule of a stage: one match, or two.
    mutating func rule() -> String {
        let one = match(wantsPrefix: chance(30))
        return chance(70) ? one : "[\(one), \(match(wantsPrefix: chance(30)))]"
    }

    private mutating func match(wantsPrefix: Bool) -> String {
        var keys: [String] = []
        if chance(15) { keys.append("listeners: [\(one(of: ["plain", "secure"]))]") }
        if chance(15) { keys.append("scheme: \(one(of: ["http", "https"]))") }
        if chance(40) {
            let host = one(of: ["a.test", "*.test", "*.a.test", "*", "b.a.test"])
            keys.append("hosts: [\"\(host)\"]")
        }
        if wantsPrefix {
            keys.append("path: { prefix: \"\(one(of: ["/", "/a", "/a/b", "/a%7Cb"]))\" }")
        } else if chance(60) {
            let path = one(of: [
                "exact: /a", "exact: /a/b", "prefix: /a", "template: \"/a/{x}\"",
                "regex: \"/a/[a-z]+\"", "exact: \"/a%7Cb\"", "exact: /",
            ])
            keys.append("path: { \(path) }")
        }
        if chance(20) { keys.append("methods: [\(one(of: ["GET", "POST", "PURGE"]))]") }
        if chance(20) {
            let value = one(of: ["yes", "{ present: true }", "{ not: true, exact: no }"])
            keys.append("headers: { x-beta: \(value) }")
        }
        if chance(15) { keys.append("queries: { q: \(one(of: ["\"1\"", "{ prefix: a }"])) }") }
        if chance(15) {
            keys.append("cookies: { session: \(one(of: ["s1", "{ regex: \"s.\" }"])) }")
        }
        return "{ \(keys.joined(separator: ", ")) }"
    }

    // MARK: Requests

    /// A request in the two forms in which it is asked for.
    struct Request {
        var method: String
        /// The question to `explain`: a URL, or the authority of CONNECT.
        var url: String
        /// The request's target, its Host, and whether it comes by TLS.
        var target: String
        var host: String
        var isSecure: Bool
        var headers: [String] = []
    }

    mutating func request() -> Request {
        let method = one(of: [
            "GET", "GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PURGE", "CONNECT",
        ])
        var host = one(of: ["a.test", "b.a.test", "b.test", "other", "test", "nobody"])
        if chance(20) { host = host.uppercased() }
        if chance(20) { host += "." }
        if chance(20) || method == "CONNECT" { host += one(of: [":80", ":8080"]) }
        let isSecure = chance(30)
        var target = one(of: [
            "/", "/a", "/a/", "/a/b", "/a/bc", "/ab", "/a/b/c", "/A", "/a%7Cb", "/a|b", "/a%7cb/x",
            "/%61", "/a//b", "/a/./b", "/x/../a", "/../a", "/a/%2e%2e/b", "/a%00", "/a%2Fb", "/%zz",
        ])
        if chance(30) { target += one(of: ["?q=1", "?q=abc", "?x", "?q=2&q=1"]) }
        var request = Request(
            method: method, url: (isSecure ? "https://" : "http://") + host + target,
            target: target, host: host, isSecure: isSecure)
        if method == "CONNECT" {
            request.url = host
            request.target = host
            // The listener follows from a URL's scheme, which this one has not.
            request.isSecure = false
        }
        if chance(30) { request.headers.append("x-beta: \(one(of: ["yes", "no"]))") }
        if chance(30) { request.headers.append("cookie: session=\(one(of: ["s1", "s2", "t"]))") }
        if chance(30) { request.headers.append("x-user: u\(random.below(9))") }
        if chance(30) {
            let word = one(of: ["http", "https", "https, http"])
            request.headers.append("x-forwarded-proto: \(word)")
        }
        if chance(20) {
            request.headers.append("x-forwarded-host: \(one(of: ["a.test", "w.test"]))")
        }
        return request
    }
}
