// The field table: every key of the configuration file, in one place.

extension ObjectSchema {
    /// The whole file.
    public static let document = ObjectSchema(
        name: "configuration",
        example: "{ listeners: [{ name: http, address: \"127.0.0.1:8080\" }], "
            + "routes: [{ name: all, respond: { status: 200 } }] }",
        help: "The whole file.",
        fields: [
            .required("listeners", .list(.object(listener)), "Where clients connect."),
            .field(
                "workers", .integer(1...64, orWord: "auto"), default: "auto",
                "Worker threads; auto reads the container's CPU limit, else the affinity mask."),
            .field(
                "admin", .either([.address, .list(.address), .object(admin)]),
                default: "127.0.0.1:15000", "The admin endpoint; loopback unless said otherwise."),
            .field(
                "metrics", .either([.address, .list(.address), .object(metrics)]),
                default: "[::]:15020",
                "Where /metrics, /ready and /live are served; `[::]` takes IPv4 too."),
            .field(
                "identity", .object(identity),
                "Who this process is to monitoring; each key outranks what Kubernetes says."),
            .field(
                "services", .map(.object(service), keys: .names),
                "Named sets of versions that routes send requests to."),
            .field("routes", .list(.object(route)), "Listed order; the first match wins."),
            .field("defaults", .object(defaults), "What holds unless a route says otherwise."),
            .field("log", .object(log), "The process's own log, on standard error."),
            .field(
                "accessLog", .either([.choice(["off"]), .object(accessLog)]), default: "off",
                "A line for each request."),
            .field("drain", .object(drain), "How the process stops."),
            .field(
                "rollouts", .object(rollouts),
                "Weights that are put over those of this file, by hand or by a rollout."),
        ], allowsExtensions: true, isGroup: true)

    static let listener = ObjectSchema(
        name: "listener",
        example: "{ name: http, address: \"0.0.0.0:8080\" }",
        help: "An address where clients connect.",
        fields: [
            .required("name", .name, "A label for metrics and logs; unique."),
            .required(
                "address", .address,
                "`0.0.0.0:8080`, `[::]:8080` or `unix:/run/sluice.sock`. `[::]` takes IPv4 too, "
                    + "unless an IPv4 address with the same port is listed besides."),
            .field(
                "protocol", .choice(["auto", "http1", "http2"]), default: "auto",
                "auto tells HTTP/2 from HTTP/1.1 by its preface, or with TLS by ALPN."),
            .field("tls", .object(listenerTLS), "TLS for clients."),
            .field(
                "clientHalfClose", .choice(["abort", "allow"]), default: "abort",
                "A client of HTTP/1.1 that ends its side while its request is under way: abort "
                    + "takes it for gone and ends the request; allow answers it all the same."),
        ])

    static let admin = ObjectSchema(
        name: "admin",
        example: "{ address: \"127.0.0.1:15000\", token: admin.token }",
        help: "The admin endpoint.",
        fields: [
            .required(
                "address", .either([.address, .list(.address)]), "Where it listens: one or several."
            ),
            .field(
                "token", .text(expected: "a file name"),
                "A file whose first line must come as `Authorization: Bearer …` with each request "
                    + "but those for /live and /ready; it may do everything."),
            .field(
                "tokens", .list(.object(adminToken)),
                "Further tokens, each with a name and what it may do."),
        ], shortFor: "address")

    static let metrics = ObjectSchema(
        name: "metrics",
        example: "{ address: \"[::]:15020\", retention: 1h }",
        help: "The metrics endpoint.",
        fields: [
            .field(
                "address", .either([.address, .list(.address)]), default: "[::]:15020",
                "Where it listens: one or several."),
            .field(
                "retention", .delay, default: "1h",
                "How long the series of versions, routes and listeners that are gone stay; of a "
                    + "service's only those that went last, the others for 5m at most."),
            .field(
                "istio", .either([.choice(["on", "off"]), .object(istioMetrics)]), default: "on",
                "Requests in Istio's words besides, for Flagger, Argo Rollouts, Kiali and Istio's "
                    + "dashboards."),
            .field(
                "http", .choice(["on", "off"]), default: "off",
                "http_request_duration_seconds besides, by class of status; the application "
                    + "behind may export the same name."),
        ], shortFor: "address")

    static let service = ObjectSchema(
        name: "service",
        example: "{ versions: { v1: { endpoints: [\"127.0.0.1:9081\"] } } }",
        help: "A named set of versions.",
        fields: [
            .field(
                "hosts", .list(.text(expected: "a host name")),
                "Hosts that go to this service when no route takes a request; `*.x` is a suffix."),
            .field(
                "protocol", .choice(["http1", "http2", "auto"]), default: "http1",
                "What the endpoints speak; auto is what ALPN chooses with tls, else http1."),
            .field("tls", .object(upstreamTLS), "TLS towards the endpoints."),
            .field(
                "stable", .name, default: "the first one",
                "The version users fall back to; required with sticky."),
            .required("versions", .map(.object(version), keys: .names), "The versions, in order."),
            .field("sticky", .object(sticky), "Keeps a session on its version."),
            .field(
                "whenUnavailable", .choice(["fail", "fallback"]), default: "fail",
                "fail answers 503 for exactly the version's share; fallback uses the stable one."),
            .field(
                "errors", .list(.choice(versionErrors)), default: "[5xx, no-answer, grpc]",
                "What is an error of a version, for counters, evidence, guard and ejection; grpc "
                    + "is unknown, deadline-exceeded, internal, unavailable and data-loss."),
            .field(
                "guard", .either([.choice(["on", "off"]), .object(guardPolicy)]), default: "off",
                "Takes a version out of its share at once when it alone has the errors."),
            .field(
                "loadBalancer",
                .either([
                    .choice(["leastRequest", "roundRobin", "random", "ringHash", "maglev"]),
                    .object(hashedBalancer),
                ]), default: "leastRequest", "Which endpoint of a version is next."),
            .field(
                "dnsRefresh", .duration(orWord: nil), default: "5s",
                "How often names are resolved again; the last good answer is kept."),
            .field(
                "connectTimeout", .duration(orWord: nil), default: "250ms",
                "How long a connect to an endpoint may take."),
            .field("connectionPool", .object(connectionPool), "Bounds, over all workers."),
            .field("healthCheck", .object(healthCheck), "Asks endpoints whether they are well."),
            .field(
                "outlierDetection", .object(outlierDetection),
                "Ejects endpoints that answer with errors."),
            .field(
                "warmup", .either([.duration(orWord: "off"), .object(warmup)]), default: "off",
                "The slow start of an endpoint that is back, or new."),
            .field(
                "namespace", .name, default: "the process's",
                "The service's namespace in metrics.istio."),
            .field(
                "app", .name, default: "the service's name", "The service's app in metrics.istio."),
            .field(
                "host", .text(expected: "a host name"),
                default: "NAME.NAMESPACE.svc.cluster.local",
                "The service's host in metrics.istio; by default the first of hosts that is a "
                    + "name in a cluster, else the one that the name comes to."),
        ])

    static let version = ObjectSchema(
        name: "version",
        example: "{ endpoints: [\"127.0.0.1:9081\"] }",
        help: "One version of a service.",
        fields: [
            .field(
                "weight", .weight, default: "0",
                "Relative integer, or percent; percents of a service total 100 %."),
            .field("endpoints", .list(.address), "Addresses of the version's instances."),
            .field(
                "dns", .text(expected: "name:port"),
                "A name whose every address is an endpoint."),
            .field("headers", .object(headerEdits), "Edits for requests that this version serves."),
            .field("fault", .object(fault), "Faults in requests that this version would serve."),
            .field(
                "revision", .text(expected: "a revision"),
                "What runs there, in the words of your releases: shown, and known to rollouts."),
            .field(
                "workload", .name, default: "SERVICE-VERSION",
                "The version's workload in metrics.istio, as Flagger and Kiali know it."),
            .field(
                "host", .text(expected: "a host name"), default: "the service's",
                "The version's own host in metrics.istio, where it has one."),
        ])

    static let sticky = ObjectSchema(
        name: "sticky",
        example: "{ cookie: session, issue: sluice-id }",
        help: "What a session is known by.",
        fields: [
            .field("cookie", .text(expected: "a cookie name"), "The application's session cookie."),
            .field("header", .text(expected: "a header name"), "A header instead of a cookie."),
            .field(
                "issue", .text(expected: "a cookie name, or off"), default: "off",
                "A cookie that Sluice sets, so that every client becomes a session and its first "
                    + "request agrees with the second. off: none, and no warning about that."),
            .field(
                "ttl", .duration(orWord: nil), default: "24h", "How long the issued cookie lives."),
            .field(
                "salt", .text(expected: "a name for the experiment"), default: "the service's name",
                "Names the experiment; changing it moves users."),
            .field(
                "keys", .text(expected: "a file name"),
                "A file of keys, 32 hex digits a line; the first signs, all verify."),
        ])

    static let hashedBalancer = ObjectSchema(
        name: "hashed load balancer",
        example: "{ ringHash: { header: x-user } }",
        help: "A consistent choice by a key of the request.",
        fields: [
            .field("ringHash", .object(hashKey), "Consistent hashing on a ring."),
            .field("maglev", .object(hashKey), "Maglev's table: more even, cheaper to look up."),
        ])

    static let hashKey = ObjectSchema(
        name: "hash key",
        example: "{ header: x-user }",
        help: "What of the request is hashed.",
        fields: [
            .field("header", .text(expected: "a header name"), "A header's value."),
            .field("cookie", .text(expected: "a cookie name"), "A cookie's value."),
        ])

    static let connectionPool = ObjectSchema(
        name: "connection pool",
        example: "{ maxConnections: 100 }",
        help: "Bounds of one version, over all workers.",
        fields: [
            .field(
                "maxConnections", .integer(1...1_000_000, orWord: "unlimited"), default: "1024",
                "Connections to the version's endpoints."),
            .field(
                "maxPendingRequests", .integer(0...1_000_000, orWord: "unlimited"), default: "1024",
                "Requests that wait for a connection."),
            .field(
                "maxRequests", .integer(1...1_000_000, orWord: "unlimited"), default: "1024",
                "Requests in flight."),
            .field(
                "maxRetries", .integer(0...1_000_000, orWord: "unlimited"), default: "unlimited",
                "Retries under way; the retry budget holds besides."),
            .field(
                "maxRequestsPerConnection", .integer(1...1_000_000_000, orWord: "unlimited"),
                default: "unlimited", "Requests before a connection is closed."),
            .field(
                "maxConcurrentStreams", .integer(1...100_000, orWord: nil), default: "100",
                "Streams of one HTTP/2 connection; the endpoint's own limit holds besides."),
            .field(
                "idleTimeout", .duration(orWord: "off"), default: "60s",
                "How long an unused connection is kept."),
            .field(
                "maxConnectionDuration", .duration(orWord: "off"), default: "off",
                "The age at which a connection serves no new request."),
            .field(
                "pingInterval", .either([.choice(["auto"]), .duration(orWord: "off")]),
                default: "auto",
                "How long an HTTP/2 connection with open streams may be silent before it is asked "
                    + "with a PING, and again before it is given up. auto: 30s, but as seldom as "
                    + "gRPC servers want it: once, and again after 5 minutes or when the endpoint "
                    + "has sent something since."),
        ], isGroup: true)

    static let defaults = ObjectSchema(
        name: "defaults",
        example: "{ timeouts: { request: 30s } }",
        help: "What holds unless a route says otherwise.",
        fields: [
            .field("timeouts", .object(timeouts), "Times."),
            .field(
                "retries", .either([.choice(["off"]), .object(retries)]),
                "When a request is sent once more."),
            .field("limits", .object(limits), "Limits on what is read."),
            .field("forwarding", .object(forwarding), "Fields that the proxy adds."),
            .field(
                "pathNormalization", .choice(["on", "off"]), default: "on",
                "Paths are brought into normal form before they are matched."),
        ], isGroup: true)

    static let timeouts = ObjectSchema(
        name: "timeouts",
        example: "{ request: 30s }",
        help: "Times. `off` means no limit, and so does `0s`.",
        fields: [
            .field(
                "headers", .duration(orWord: "off"), default: "10s",
                "From a head's first byte to its last."),
            .field(
                "firstByte", .duration(orWord: "off"), default: "15s",
                "From the end of the request to the response head; anew with each interim answer."),
            .field("request", .duration(orWord: "off"), default: "off", "The whole exchange."),
            .field(
                "idle", .duration(orWord: "off"), default: "60s",
                "Without a byte of a body or a tunnel; not while the client does not take its "
                    + "answer, which write is for."),
            .field(
                "keepAlive", .duration(orWord: "off"), default: "75s",
                "A client connection between requests."),
            .field(
                "write", .duration(orWord: "off"), default: "30s",
                "Without progress in writing to a client: how long a reader may pause."),
            .field(
                "perTry", .duration(orWord: "off"), default: "off",
                "One attempt, from the last byte of the request to the response head; then the "
                    + "next, if retries allow it. Connects have connectTimeout."),
            .field(
                "maxConnectionDuration", .duration(orWord: "off"), default: "off",
                "The age at which a client connection takes no new request."),
        ], isGroup: true)

    static let routeTimeouts = ObjectSchema(
        name: "route timeouts",
        example: "{ request: 30s }",
        help: "Times of one route.",
        fields: timeouts.fields.filter {
            ["firstByte", "request", "idle", "perTry", "write"].contains($0.name)
        }, isGroup: true)

    static let limits = ObjectSchema(
        name: "limits",
        example: "{ bodyBytes: 10MiB }",
        help: "Limits on what is read.",
        fields: [
            .field(
                "headerBytes", .size(orWord: nil), default: "64KiB",
                "A whole head; 1KiB to 256KiB. 431 beyond."),
            .field(
                "headers", .integer(1...1_000, orWord: nil), default: "100",
                "Field lines of a head. 431 beyond."),
            .field(
                "bodyBytes", .size(orWord: "unlimited"), default: "unlimited",
                "A request's body. 413 beyond."),
            .field(
                "connections", .integer(1...10_000_000, orWord: "auto"), default: "auto",
                "Client connections; auto leaves room for upstream ones under the descriptor limit."
            ),
            .field(
                "acceptRate", .integer(1...1_000_000, orWord: "unlimited"), default: "unlimited",
                "Connections accepted a second; the others wait in the kernel's queue."),
            .field(
                "bufferBytes", .size(orWord: "auto"), default: "auto",
                "Memory of all buffers, above which new requests get 503; auto: half of the "
                    + "container's limit, else a quarter of the machine's memory."),
            .field(
                "minBytesPerSecond", .integer(0...1_000_000_000, orWord: nil), default: "100",
                "What a client must send of a body, and take of an answer that waits for it, on "
                    + "average; 0: anything."),
            .field("http2", .object(http2Limits), "What one HTTP/2 connection may do."),
        ], isGroup: true)

    static let forwarding = ObjectSchema(
        name: "forwarding",
        example: "{ trustedHops: 1 }",
        help: "Fields that the proxy adds.",
        fields: [
            .field(
                "trustedHops", .integer(0...16, orWord: nil), default: "0",
                "Proxies in front whose x-forwarded-* is believed; 0 replaces what clients send."),
            .field(
                "requestId", .choice(["create", "pass", "off"]), default: "create",
                "create makes one when a trusted hop did not; pass never makes one."),
            .field("via", .choice(["on", "off"]), default: "off", "A Via field both ways."),
            .field(
                "version", .either([.text(expected: "a header name")]), default: "off",
                "A response header that says which version served; off for none."),
            .field(
                "flags", .either([.text(expected: "a header name")]), default: "off",
                "A response header with Envoy's response flags on local replies; off for none."),
        ], isGroup: true)

    static let log = ObjectSchema(
        name: "log",
        example: "{ level: info }",
        help: "The process's own log.",
        fields: [
            .field(
                "level", .choice(["debug", "info", "warning", "error"]), default: "info",
                "The least important line that is written."),
            .field(
                "format", .choice(["logfmt", "json"]), default: "logfmt", "The form of a line."),
        ], isGroup: true)

    static let accessLog = ObjectSchema(
        name: "access log",
        example: "{ path: /dev/stdout }",
        help: "A line for each request.",
        fields: [
            .required(
                "path", .text(expected: "a file"),
                "`/dev/stdout`, or a file to append to; relative to the "
                    + "configuration file's directory."),
            .field(
                "format",
                .either([
                    .text(expected: "json, envoy, istio, istio-json, combined or a text"),
                    .map(logValue(depth: 4), keys: .any),
                ]), default: "json",
                "The form of a line: a name, a text with operators such as %RESPONSE_CODE%, or a "
                    + "mapping of keys to such texts, which makes a JSON object."),
            .field("sample", .share, default: "100%", "The share of requests that is written."),
            .field(
                "errors", .choice(["sampled", "always"]), default: "sampled",
                "always writes every request with a status from 500, a flag or a failed call, "
                    + "whatever the sample."),
        ])

    /// A value of the JSON object of a line: a text, or an object of such values.
    private static func logValue(depth: Int) -> ValueType {
        depth == 0
            ? .anyText
            : .either([.anyText, .map(logValue(depth: depth - 1), keys: .any)])
    }

    static let drain = ObjectSchema(
        name: "drain",
        example: "{ delay: 5s, grace: 30s }",
        help: "How the process stops.",
        fields: [
            .field(
                "delay", .delay, default: "5s",
                "Not ready, but accepting: the time for load balancers to notice."),
            .field(
                "grace", .delay, default: "30s",
                "For exchanges under way, after the delay."),
        ], isGroup: true)
}
