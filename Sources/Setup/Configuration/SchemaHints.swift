import Base
import YAML

/// Guesses what somebody may have meant who wrote something else than the field table asks for.
enum SchemaHints {
    // MARK: Keys

    /// Keys of other proxies, and near misses that are not slips of the finger, by the object they
    /// stand in; "" holds everywhere.
    private static let otherNames: [String: [String: String]] = [
        "configuration": [
            "upstreams": "services", "clusters": "services", "backends": "services",
            "service": "services", "backend": "services", "rules": "routes", "route": "routes",
            "server": "listeners", "servers": "listeners", "frontend": "listeners",
            "timeouts": "defaults: { timeouts: … }", "retries": "defaults: { retries: … }",
            "limits": "defaults: { limits: … }", "logging": "log", "logs": "log",
            "forwarding": "defaults: { forwarding: … }", "http": "listeners",
        ],
        "listener": [
            "port": "address: \"0.0.0.0:PORT\"", "host": "address: \"HOST:PORT\"",
            "bind": "address", "listen": "address", "ssl": "tls", "certificate": "tls: { … }",
            "cert": "tls: { certificate: …, key: … }",
        ],
        "listener TLS": ["cert": "certificate", "crt": "certificate", "ca": "clientCA"],
        "match": [
            "prefix": "path: { prefix: … }", "exact": "path: { exact: … }",
            "regex": "path: { regex: … }", "url": "path", "uri": "path", "header": "headers",
            "query": "queries", "queryParams": "queries", "cookie": "cookies", "verb": "methods",
            "domains": "hosts", "authority": "hosts", "tls": "scheme: https",
            "listener": "listeners: [ … ]",
        ],
        "route": [
            "prefix": "match: { path: { prefix: … } }", "path": "match: { path: { prefix: … } }",
            "host": "match: { hosts: [ … ] }", "hosts": "match: { hosts: [ … ] }",
            "methods": "match: { methods: [ … ] }", "service": "to", "cluster": "to",
            "backend": "to", "weights": "split", "timeout": "timeouts: { request: … }",
            "mirrors": "mirror", "faults": "fault", "directResponse": "respond",
            "return": "respond", "rewriteTarget": "rewrite: { prefix: … }",
        ],
        "service": [
            "endpoints": "versions: { v1: { endpoints: [ … ] } }",
            "servers": "versions: { v1: { endpoints: [ … ] } }",
            "subsets": "versions", "timeout": "connectTimeout",
            "connect_timeout": "connectTimeout", "lb": "loadBalancer", "balancer": "loadBalancer",
            "circuitBreaker": "outlierDetection or connectionPool",
            "dns": "versions: { v1: { dns: … } }",
        ],
        "version": [
            "address": "endpoints: [ … ]", "addresses": "endpoints", "servers": "endpoints",
            "hosts": "endpoints", "host": "dns: name:port", "percent": "weight: 10%",
            "share": "weight",
        ],
        "retries": ["retryOn": "on", "numRetries": "attempts", "count": "attempts"],
        "health check": [
            "http": "path", "httpGet": "path", "url": "path", "uri": "path", "period": "interval",
            "threshold": "unhealthyThreshold", "expectedStatuses": "statuses",
        ],
        "hash key": ["by": "header or cookie", "name": "header", "key": "header"],
        "warm-up": ["time": "duration", "window": "duration"],
        "drain": [
            "timeout": "grace", "wait": "delay", "period": "grace", "terminationGrace": "grace",
        ],
        "admin": ["port": "address: \"127.0.0.1:PORT\"", "host": "address: \"HOST:PORT\""],
        "metrics": ["port": "address: \"127.0.0.1:PORT\"", "host": "address: \"HOST:PORT\""],
        "forwarding": [
            "xff": "trustedHops", "hops": "trustedHops", "trustedProxies": "trustedHops",
        ],
        "limits": [
            "maxBody": "bodyBytes", "body": "bodyBytes", "maxBodyBytes": "bodyBytes",
            "client_max_body_size": "bodyBytes", "maxConnections": "connections",
            "maxHeaderBytes": "headerBytes", "rate": "acceptRate", "memory": "bufferBytes",
        ],
        "value condition": [
            "contains": "regex: \".*TEXT.*\"", "in": "regex: \"A|B\"", "equals": "exact",
            "eq": "exact", "value": "exact", "startsWith": "prefix", "endsWith": "suffix",
            "exists": "present: true", "matches": "regex", "invert": "not: true",
        ],
        "route timeouts": [
            "connect": "connectTimeout: … in the service", "read": "firstByte", "send": "idle",
            "keepAlive": "defaults: { timeouts: { keepAlive: … } }",
            "headers": "defaults: { timeouts: { headers: … } }",
        ],
        "rate limit": [
            "rps": "requests: …, per: 1s", "limit": "requests", "period": "per", "unit": "per",
            "key": "by", "interval": "per",
        ],
        "mirror": ["percent": "share: 10%", "service": "to", "host": "to"],
        "delay": ["duration": "time", "fixedDelay": "time", "percent": "share: 10%"],
        "abort": ["code": "status", "httpStatus": "status", "percent": "share: 10%"],
        "upstream TLS": [
            "cert": "certificate", "crt": "certificate", "cacert": "ca", "caFile": "ca",
            "insecure": "verify: off", "insecureSkipVerify": "verify: off", "serverName": "sni",
            "host": "sni",
        ],
        "access log": ["file": "path", "destination": "path", "level": "log: { level: … }"],
        "log": ["path": "accessLog: { path: … }", "file": "accessLog: { path: … }"],
        "fault": [
            "status": "abort: { status: … }", "time": "delay: { time: … }",
            "percent": "abort: { status: …, share: 10% }",
            "share": "abort: { status: …, share: 10% }",
        ],
        "redirect": ["code": "status", "to": "host or path", "https": "scheme: https"],
        "fixed response": ["code": "status", "text": "body", "type": "contentType"],
        "header edits": [
            "set": "request: { set: … } or response: { set: … }",
            "add": "request: { add: … } or response: { add: … }",
            "remove": "request: { remove: … } or response: { remove: … }",
        ],
    ]

    /// Keys that tell what other file somebody has given.
    private static let otherFiles: [String: String] = {
        let manifest =
            "this is a Kubernetes manifest: give Sluice what stands in its data: as a file of its "
            + "own"
        let envoy = "this is Envoy's file; Sluice's own has listeners:, services: and routes:"
        return [
            "apiVersion": manifest, "kind": manifest, "metadata": manifest, "data": manifest,
            "spec": manifest, "static_resources": envoy, "dynamic_resources": envoy,
        ]
    }()

    /// For a key that an object does not have.
    static func unknownKey(_ key: String, in schema: ObjectSchema) -> String {
        let names = schema.fields.map(\.name)
        if let word = (otherNames[schema.name] ?? rolloutNames[schema.name])?[key] {
            return "write \(word)"
        }
        if schema.name == "configuration", let whose = otherFiles[key] { return whose }
        if let meant = DidYouMean.closest(to: key, among: names) {
            return "did you mean \"\(meant)\"?"
        }
        switch schema.name {
        case "header edits":
            return "write request: { set: { \(key): … } } for the origin, or response: { set: "
                + "{ \(key): … } } for the client"
        case "edits": return "write set: { \(key): … }"
        default: break
        }
        let known = "known keys: " + names.joined(separator: ", ")
        if let owner = owner(of: key, besides: schema.name) {
            return "\"\(key)\" stands in \(owner); \(known)"
        }
        return known
    }

    /// The object that has the key, where one alone does.
    private static func owner(of key: String, besides name: String) -> String? {
        var found: [String] = []
        var seen: Set<String> = []
        func walk(_ type: ValueType, _ path: String) {
            switch type {
            case .object(let schema):
                guard seen.insert(path).inserted, path.utf8.count < 200 else { return }
                for field in schema.fields {
                    let next = path.isEmpty ? field.name : "\(path).\(field.name)"
                    if field.name == key { found.append(path.isEmpty ? "the file" : path) }
                    walk(field.type, next)
                }
            case .list(let element): walk(element, path)
            case .map(let element, _): walk(element, path + ".NAME")
            case .either(let types): for type in types { walk(type, path) }
            default: break
            }
        }
        walk(.object(.document), "")
        return (1...2).contains(found.count) ? found.joined(separator: " and in ") : nil
    }

    /// An example of the value that a missing key could have.
    static func example(of field: FieldSpec, in schema: ObjectSchema) -> String {
        switch (schema.name, field.name) {
        case ("listener", "name"): return "http"
        case ("route", "name"): return "rest"
        case (_, "per"): return "1s"
        default: return field.type.example
        }
    }

    // MARK: Scalars

    /// The hint for text that is no name.
    static func name(_ text: String) -> String {
        let letters = text.map { character -> Character in
            SchemaChecker.isName(String(character)) ? character : "-"
        }
        let mended = String(letters.prefix(63))
        return (SchemaChecker.isName(mended) ? "write \(mended): " : "") + SchemaChecker.nameHint
    }

    /// Words of people who want no limit, or nothing at all.
    static let wordsForNone: Set<String> = [
        "off", "false", "no", "none", "never", "disabled", "infinity", "infinite", "unlimited",
        "max", "-1",
    ]

    /// For a number or a size where a word stands for no limit.
    static func noLimit(_ text: String, _ word: String?) -> String {
        guard let word, text == "0" || wordsForNone.contains(text.lowercased()) else { return "" }
        return "did you mean \"\(word)\"?"
    }

    static func delay(_ text: String) -> String {
        wordsForNone.contains(text.lowercased())
            ? "0s is no wait at all; for a long one write its length, such as 1h"
            : duration(text, orWord: nil)
    }

    static func duration(_ text: String, orWord word: String?) -> String {
        if Int(text) != nil {
            if text == "0", let word { return "\(word) means no limit" }
            return "a number needs a unit: \(text)s or \(text)ms"
        }
        if wordsForNone.contains(text.lowercased()) {
            return word.map { "did you mean \"\($0)\"?" }
                ?? "this time has an end; for a long one write its length, such as 1h"
        }
        if text.contains(".") { return "without fractions: 1s500ms" }
        if let mended = mended(duration: text) { return "write \(mended)" }
        if let last = text.last, "hms".contains(last), text.dropLast().allSatisfy(\.isNumber) {
            return "at most five digits stand before a unit"
                + (word.map { ", and \($0) means no limit" } ?? "")
        }
        return "the units are h, m, s and ms, in this order"
    }

    /// A length of time with spaces in it, or with the longer names of units.
    private static func mended(duration text: String) -> String? {
        let compact = text.lowercased().filter { $0 != " " }
        if Units.duration(compact) != nil { return compact }
        let digits = compact.prefix { $0.isASCII && $0.isNumber }
        guard let number = Int(digits), number <= 4_000 else { return nil }
        switch compact.dropFirst(digits.count) {
        case "sec", "secs", "second", "seconds": return "\(number)s"
        case "msec", "millis", "milliseconds": return "\(number)ms"
        case "min", "mins", "minute", "minutes": return "\(number)m"
        case "hr", "hrs", "hour", "hours": return "\(number)h"
        case "d", "day", "days": return "\(number * 24)h"
        default: return nil
        }
    }

    /// For text with a number in front where a number alone belongs.
    static func number(_ text: String, _ range: ClosedRange<Int>) -> String {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard digits.count < text.count, let number = Int(digits), range.contains(number) else {
            return ""
        }
        return "write \(number)"
    }

    /// For text that is no number with decimals.
    static func decimal(_ text: String, _ range: ClosedRange<Double>) -> String {
        if let share = Units.share(text) {
            let ratio = 1 + Double(share) / 10_000
            return range.contains(ratio) && range.lowerBound >= 1
                ? "\(text) more is \(Units.text(ratio)) times as much: write \(Units.text(ratio))"
                : "write \(Units.text(Double(share) / 10_000)): a number, without %"
        }
        let mended = text.replacing(",", with: ".")
        if Units.decimal(mended).map(range.contains) ?? false { return "write \(mended)" }
        return ""
    }

    /// For text that is no percentage.
    static func share(_ text: String) -> String {
        if Int(text) != nil { return "did you mean \(text)%?" }
        guard let share = Units.share(text + "%") else { return "" }
        guard text.hasPrefix("0."), share > 0 else { return "did you mean \(text)%?" }
        // Either of the two may be meant.
        return "write \(text)%, or \(Units.percent(share * 100)) for \(text) of all"
    }

    /// For text that is no weight.
    static func weight(_ text: String) -> String {
        if text.hasPrefix("0.") { return "shares are percentages: 0.1 is 10%" }
        guard let point = text.firstIndex(of: ".") else { return "" }
        if text.hasSuffix("%") { return "a percentage has at most two decimals" }
        let whole = text.prefix(upTo: point), rest = text[text.index(after: point)...]
        guard Int(whole) != nil, Int(rest) != nil else { return "" }
        return rest.utf8.count <= 2
            ? "write \(text)%, and percentages for the other versions too"
            : "a whole number has no decimals, and a percentage at most two"
    }

    /// Words of other programs for ours, by the key that they stand at; "" holds everywhere.
    private static let otherWords: [String: [String: String]] = [
        "protocol": [
            "h2": "http2", "h2c": "http2", "grpc": "http2", "http/2": "http2", "2": "http2",
            "h1": "http1", "http/1.1": "http1", "http": "http1", "1.1": "http1",
        ],
        "level": ["warn": "warning", "trace": "debug", "verbose": "debug", "fatal": "error"],
        "format": [
            "text": "logfmt", "plain": "logfmt", "common": "combined", "apache": "combined",
            "nginx": "combined",
        ],
        "minVersion": [
            "tlsv1.2": "1.2", "tls1.2": "1.2", "tlsv1_2": "1.2", "tlsv1.3": "1.3",
            "tls1.3": "1.3", "tlsv1_3": "1.3", "1.0": "1.2", "1.1": "1.2",
        ],
        "whenUnavailable": ["stable": "fallback", "on": "fallback", "off": "fail"],
        "loadBalancer": [
            "leastconn": "leastRequest", "least_conn": "leastRequest",
            "least_request": "leastRequest", "leastconnections": "leastRequest",
            "rr": "roundRobin", "round_robin": "roundRobin", "consistenthash": "ringHash",
            "ring_hash": "ringHash", "hash": "ringHash",
        ],
        "connect": ["on": "allow", "off": "refuse"],
        "byHeader": ["on": "allow", "off": "ignore"],
        "clientHalfClose": ["on": "allow", "off": "abort"],
        "clientCertificate": [
            "on": "required", "require": "required", "require_and_verify": "required",
            "verify": "required", "request": "optional",
        ],
        "requestId": ["on": "create"],
        "methods": ["non-idempotent": "all", "any": "all"],
        "onFalse": ["stop": "hold", "wait": "hold", "pause": "hold", "abort": "rollback"],
        "start": ["auto": "onRevision", "automatic": "onRevision", "on": "onRevision"],
        "noValue": ["ignore": "wait", "healthy": "pass", "unhealthy": "fail", "error": "fail"],
        "onFailure": ["abort": "rollback", "pause": "hold", "fail": "rollback"],
        "onRegression": ["abort": "rollback", "pause": "hold"],
        "onTimeout": [
            "abort": "rollback", "fail": "rollback", "pause": "hold", "wait": "hold",
        ],
        "events": [
            "start": "started", "step": "stage", "promoted": "succeeded", "success": "succeeded",
            "completed": "succeeded", "finished": "succeeded", "done": "succeeded",
            "failed": "rolledBack", "aborted": "rolledBack", "rollback": "rolledBack",
            "pause": "paused", "blocked": "rollbackBlocked", "approve": "approval",
        ],
        "onInconclusive": ["pause": "hold", "promote": "advance", "abort": "rollback"],
        "on": [
            "connect": "connect-failure", "timeout": "gateway-error",
            "retriable-status-codes": "503",
            "error": "connect-failure", "conn-failure": "connect-failure", "500-599": "5xx",
            "http_503": "503", "http_502": "502", "http_504": "504",
        ],
    ]

    /// For text that is none of some words.
    static func choice(_ text: String, _ words: [String], key: String) -> String {
        let lower = text.lowercased()
        if key == "present" || key == "tcp", ["false", "no", "off"].contains(lower) {
            return key == "present"
                ? "write present: true, not: true for a value that is not there"
                : "take tcp out, and give path: or grpc:, or take healthCheck out"
        }
        if key == "protocol", lower == "https" || lower == "tls" {
            return "TLS has a key of its own, tls: { … }; take protocol out"
        }
        let plain = ["true": "on", "yes": "on", "false": "off", "no": "off"][lower] ?? lower
        if let word = otherWords[key]?[plain], words.contains(word) || Int(word) != nil {
            return "write \(word)"
        }
        if key == "format", words.contains("combined"),
            plain.contains("%") || otherWords["format"]?[plain] != nil
        {
            return "write combined"
        }
        if words.count == 1 { return "write \(words[0]), or take the key out" }
        return DidYouMean.closest(to: text, among: words).map { "did you mean \"\($0)\"?" } ?? ""
    }

    static func size(_ text: String) -> String {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let unit = text.dropFirst(digits.count).trimmed.uppercased()
        guard !digits.isEmpty, let letter = unit.first, "KMG".contains(letter) else { return "" }
        return "did you mean \(digits)\(letter)iB? \(digits)\(letter)B is in powers of ten"
    }

    static func address(_ text: String) -> String {
        if text.hasPrefix("unix:") {
            return "a unix socket is unix:/absolute/path of at most \(UnixPaths.pathBytesMax) bytes"
        }
        for scheme in ["http://", "https://"] where text.hasPrefix(scheme) {
            let rest = text.dropFirst(scheme.count).prefix { $0 != "/" }
            return "an address has no scheme and no path: \(rest)"
        }
        let isAlone = text.hasPrefix(":") && !text.dropFirst().contains(":")
        let port = isAlone || text.hasPrefix("*:") ? text.split(separator: ":").last : nil
        if let port = port.map(String.init) ?? (Int(text) != nil ? text : nil), let n = Int(port),
            (1...65_535).contains(n)
        {
            return "the host is missing: \"0.0.0.0:\(port)\" is every address of this machine, "
                + "\"[::]:\(port)\" those of IPv6 too, \"127.0.0.1:\(port)\" this machine alone"
        }
        if Address(text + ":80") != nil { return "a port is missing: \(text):80" }
        if text.hasPrefix("localhost:") { return "write 127.0.0.1\(text.dropFirst(9))" }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        if parts.count > 2, let last = parts.last,
            Address("[\(text.dropLast(last.count + 1))]:\(last)") != nil
        {
            return
                "an IPv6 address stands in brackets: \"[\(text.dropLast(last.count + 1))]:\(last)\""
        }
        if Units.nameAndPort(text) != nil {
            return "names are not resolved here; use dns: \(text) for endpoints"
        }
        return ""
    }

    // MARK: Variables

    private static let noVariables =
        "variables are not expanded; fill them in before, for example with envsubst"

    /// Adds what is known of any error.
    static func complete(_ error: inout ConfigurationError) {
        guard variable(in: error.message) != nil || error.message.contains("{{") else { return }
        error.hint = noVariables
    }

    /// Warns of values that look as if somebody expected them to be expanded.
    static func findVariables(_ root: YAMLNode, _ warnings: inout [ConfigurationError]) {
        func walk(_ node: YAMLNode, _ key: String) {
            switch node.content {
            case .scalar(let text, _):
                // A pattern has braces of its own.
                guard key != "regex", let name = variable(in: text) else { return }
                warnings.append(
                    ConfigurationError(
                        "\"\(name)\" is taken as it is written", at: node.start,
                        hint: noVariables, severity: .warning))
            case .sequence(let nodes): for node in nodes { walk(node, key) }
            case .mapping(let entries):
                for entry in entries where !entry.key.hasPrefix("x-") || key != "" {
                    walk(entry.value, entry.key)
                }
            }
        }
        walk(root, "")
    }

    /// `${NAME}` in a text.
    private static func variable(in text: String) -> Substring? {
        var rest = Substring(text)
        while let start = rest.firstIndex(of: "$") {
            rest = rest[start...]
            let name = rest.dropFirst(2).prefix {
                $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_")
            }
            if rest.dropFirst().first == "{", !name.isEmpty, name.first?.isNumber == false,
                let next = rest.dropFirst(2 + name.count).first, next == "}" || next == ":"
            {
                return rest.prefix { $0 != "}" } + (next == "}" ? "}" : "")
            }
            rest = rest.dropFirst()
        }
        return nil
    }
}
