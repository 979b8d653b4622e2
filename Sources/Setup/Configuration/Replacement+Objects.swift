import Base
import HTTPSemantics

/// Values for the objects of a route, made of a plain text in their place.
enum RouteReplacement {
    /// - Returns: a complete value; `nil` where the text says nothing of one.
    static func value(_ text: String, _ schema: String) -> String? {
        switch schema {
        case "path": return path(text)
        case "match": return match(text)
        case "redirect": return redirect(text)
        case "rewrite":
            if text.hasPrefix("/") {
                return "{ path: \(quoted(text)) } for every request, or { prefix: "
                    + "\(quoted(text)) } to put it in the place of the prefix that matched"
            }
            return isHost(text) ? "{ host: \(text) }" : nil
        case "fixed response":
            if let status = Int(text), (200...599).contains(status) { return "{ status: \(text) }" }
            return "{ body: \(quoted(text)) }"
        case "retries":
            guard let count = Int(text), (0...10).contains(count) else { return nil }
            return count == 0 ? "off" : "{ attempts: \(text) }"
        case "route timeouts", "timeouts":
            return time(text).map { "{ request: \($0) }" }
        case "fault":
            if Units.share(text) != nil { return "{ abort: { status: 503, share: \(text) } }" }
            if isStatus(text) { return "{ abort: { status: \(text), share: 100% } }" }
            return time(text).map { "{ delay: { time: \($0) } }" }
        case "abort":
            if Units.share(text) != nil { return "{ status: 503, share: \(text) }" }
            return isStatus(text) ? "{ status: \(text) }" : nil
        case "delay": return time(text).map { "{ time: \($0) }" }
        case "mirror":
            if text.contains("/") { return "{ to: \(quoted(text)) }" }
            return SchemaChecker.isName(text)
                ? "{ to: \(text)/VERSION } with the name of the version that gets the copies" : nil
        case "rate limit": return rate(text)
        case "hash key":
            if ["ip", "address", "client", "source"].contains(text.lowercased()) {
                return "address"
            }
            return SchemaChecker.isToken(text) ? "{ header: \(quoted(text)) }" : nil
        default: return nil
        }
    }

    private static func quoted(_ text: String) -> String { Replacement.quoted(text) }

    private static func isStatus(_ text: String) -> Bool {
        Int(text).map { (200...599).contains($0) } ?? false
    }

    /// A length of time; a bare number is one of seconds.
    static func time(_ text: String) -> String? {
        if let number = Int(text), number > 0, number <= 99_999 { return "\(number)s" }
        guard let time = Units.duration(text), time > .zero else { return nil }
        return text
    }

    static func isHost(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return text.contains(".") && Authority.hostLength(bytes.span) == bytes.count
    }

    /// A path that is matched, with what other programs write for all below it.
    private static func path(_ text: String) -> String {
        if text == "/" || text == "*" || text == "/*" { return "{ prefix: / }" }
        if text.hasSuffix("/*") || text.hasSuffix("/**") {
            return path(String(text[..<(text.lastIndex(of: "/") ?? text.endIndex)]))
        }
        let bytes = Array(text.utf8)
        if text.hasPrefix("^") || text.hasPrefix("~") || text.contains(".*") || text.contains("(") {
            var pattern = text.drop { $0 == "~" || $0 == " " || $0 == "^" }
            if pattern.last == "$" { pattern.removeLast() }
            return "{ regex: \"\(pattern)\" }"
        }
        guard text.hasPrefix("/") else {
            return isPath(bytes) ? "{ prefix: /\(text) }" : "{ prefix: /api }"
        }
        if text.contains("{") { return "{ template: \"\(text)\" }" }
        guard isPath(bytes) else { return "{ prefix: /api }" }
        return "{ prefix: \(quoted(text)) } for all below it, or { exact: \(quoted(text)) } for it "
            + "alone"
    }

    private static func isPath(_ bytes: [UInt8]) -> Bool {
        ASCII.isStrictPath(bytes.span) && !bytes.contains(UInt8(ascii: "?"))
    }

    private static func match(_ text: String) -> String? {
        if text == "*" { return "{}" }
        if text.hasPrefix("/") {
            let value = path(text)
            return "{ path: " + (value.firstIndex(of: "}").map { String(value[...$0]) } ?? value)
                + " }"
        }
        if Method(Array(text.uppercased().utf8).span) != .other {
            return "{ methods: [\(text.uppercased())] }"
        }
        if text == "https" || text == "http" { return "{ scheme: \(text) }" }
        return isHost(text) ? "{ hosts: [\(quoted(text))] }" : nil
    }

    /// A URL, or a part of one, taken apart.
    private static func redirect(_ text: String) -> String? {
        if ["301", "302", "303", "307", "308"].contains(text) {
            return "{ scheme: https, status: \(text) }"
        }
        if text == "https" || text == "http" { return "{ scheme: \(text) }" }
        var parts: [String] = []
        var rest = Substring(text)
        for scheme in ["https", "http"] where rest.hasPrefix("\(scheme)://") {
            parts.append("scheme: \(scheme)")
            rest = rest.dropFirst(scheme.count + 3)
            break
        }
        let isRelative = parts.isEmpty && (text.hasPrefix("/") || !text.contains("."))
        var path = isRelative ? (text.hasPrefix("/") ? rest : "/" + rest) : ""
        if !isRelative {
            let authority = rest.prefix { !"/?#".contains($0) }
            path = rest.dropFirst(authority.count)
            let bytes = Array(authority.utf8)
            if !authority.contains("$"), let length = Authority.hostLength(bytes.span) {
                parts.append("host: \(quoted(String(authority.prefix(length))))")
                if length + 1 < bytes.count {
                    parts.append("port: \(authority.dropFirst(length + 1))")
                }
            }
        }
        path = path.prefix { $0 != "#" }
        let plain = Array(path.prefix { $0 != "?" }.utf8)
        let keeps =
            path.isEmpty || path == "/" && !isRelative || path.contains("$")
            || !ASCII.isStrictPath(plain.span)
        if !keeps { parts.append("path: \(quoted(String(path)))") }
        if parts.isEmpty { return nil }
        return "{ \(parts.joined(separator: ", ")) }"
            + (keeps ? ", which keeps the path of the request" : "")
    }

    /// `100`, `100/s`, `100r/m`, `10 per minute`.
    private static func rate(_ text: String) -> String? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let count = Int(digits), (1...1_000_000_000).contains(count) else { return nil }
        var unit = text.dropFirst(digits.count).lowercased()[...]
        for word in [" ", "r", "/", "per", " "] where unit.hasPrefix(word) {
            unit = unit.dropFirst(word.count)
        }
        let per = unit.first.flatMap { ["m": "1m", "h": "1h", "d": "24h"][String($0)] } ?? "1s"
        return "{ requests: \(count), per: \(per) }"
    }
}

/// Values for the objects of a service, made of a plain text in their place.
enum ServiceReplacement {
    static func value(_ text: String, _ schema: String) -> String? {
        let isAddress = Units.address(text) != nil
        switch schema {
        case "service":
            return isAddress ? "{ versions: { v1: { endpoints: [\"\(text)\"] } } }" : nil
        case "version":
            if isAddress { return "{ endpoints: [\"\(text)\"] } with a weight beside it" }
            if Units.nameAndPort(text) != nil {
                return "{ dns: \"\(text)\" } with a weight beside it"
            }
            return Units.share(text).map { _ in
                "{ weight: \(text), endpoints: [\"127.0.0.1:9081\"] }"
            }
        case "sticky":
            switch text.lowercased() {
            case "cookie": return "{ issue: sluice-id }"
            case "header": return "{ header: x-user }"
            default: break
            }
            return SchemaChecker.isToken(text)
                ? "{ cookie: \(Replacement.quoted(text)), issue: sluice-id }" : nil
        case "health check":
            switch text.lowercased() {
            case "tcp": return "{ tcp: true }"
            case "grpc": return "{ grpc: \"\" } and protocol: http2 for the service"
            default: break
            }
            if text.hasPrefix("/") { return "{ path: \(Replacement.quoted(text)) }" }
            return RouteReplacement.time(text).map { "{ path: /healthz, interval: \($0) }" }
        case "outlier detection":
            return Int(text).flatMap { $0 > 0 ? "{ consecutive5xx: \($0) }" : nil }
        case "connection pool":
            return Int(text).flatMap { $0 > 0 ? "{ maxConnections: \($0) }" : nil }
        case "warm-up":
            if let time = RouteReplacement.time(text) { return time }
            return Units.share(text).flatMap {
                $0 >= 100 && $0 % 100 == 0
                    ? "{ duration: 30s, minimumPercent: \($0 / 100) }" : nil
            } ?? "30s"
        case "certificate": return "{ certificate: \(Replacement.quoted(text)), key: FILE }"
        default: return nil
        }
    }
}

/// Values for the objects of the process, made of a plain text in their place.
enum ProcessReplacement {
    static func value(_ text: String, _ schema: String) -> String? {
        switch schema {
        case "listener":
            if Units.address(text) != nil { return "{ name: http, address: \"\(text)\" }" }
            let port = text.hasPrefix(":") ? text.dropFirst() : text[...]
            guard let number = Int(port), (1...65_535).contains(number) else { return nil }
            return "{ name: http, address: \"0.0.0.0:\(number)\" }"
        case "log":
            let level = ["warn": "warning", "trace": "debug", "fatal": "error"][text] ?? text
            if Document.LogLevel(rawValue: level) != nil { return "{ level: \(level) }" }
            return text == "json" ? "{ format: json }" : nil
        case "access log":
            switch text.lowercased() {
            case "stdout", "-", "console": return "{ path: /dev/stdout }"
            case "stderr": return "{ path: /dev/stderr }"
            case "json", "combined", "envoy", "istio", "istio-json":
                return "{ path: /dev/stdout, format: \(text.lowercased()) }"
            default: return "{ path: \(Replacement.quoted(text)) }"
            }
        case "drain":
            return RouteReplacement.time(text).map { "{ grace: \($0) }" }
        case "forwarding":
            return Int(text).flatMap {
                (0...16).contains($0) ? "{ trustedHops: \($0) }" : nil
            }
        default: return nil
        }
    }
}
