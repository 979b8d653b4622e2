// The field table of routes.

extension ObjectSchema {
    static let route = ObjectSchema(
        name: "route",
        example: "{ name: rest, to: reviews }",
        help: "One rule; the first whose match holds takes the request.",
        fields: [
            FieldSpec(
                name: "name", type: .name, isRequired: true,
                help: "A label for metrics, logs and draws; unique."),
            .field(
                "match", .either([.object(match), .list(.object(match))]),
                "All keys must hold; a list is an OR. Without it the route takes everything."),
            .field(
                "to", .text(expected: "service or service/version"),
                "A service, or one of its versions outright."),
            .field("split", .map(.weight, keys: .names), "Overrides the versions' weights."),
            .field("redirect", .object(redirect), "Answers with a redirect."),
            .field("respond", .object(respond), "Answers with a fixed response."),
            .field("rewrite", .object(rewrite), "Changes what the origin sees of the target."),
            .field("headers", .object(headerEdits), "Edits of fields."),
            .field("timeouts", .object(routeTimeouts), "Times of this route."),
            .field(
                "connect", .choice(["allow", "refuse"]), default: "refuse",
                "Whether CONNECT is passed on to the origin."),
            .field(
                "retries", .either([.choice(["off"]), .object(routeRetries)]),
                "When a request of this route is sent once more."),
            .field("fault", .object(fault), "Faults, for tests of the callers."),
            .field("mirror", .object(mirror), "Copies to another version."),
            .field("rateLimit", .object(rateLimit), "So many requests in so much time."),
        ])

    static let match = ObjectSchema(
        name: "match",
        example: "{ path: { prefix: /api } }",
        help: "Conditions, all of which must hold.",
        fields: [
            .field(
                "listeners", .list(.text(expected: "a listener's name")),
                "Listeners that the request may have come in at."),
            .field(
                "scheme", .choice(["http", "https"]),
                "How the client spoke; behind trustedHops, to the proxy in front."),
            .field("hosts", .list(.text(expected: "a host name")), "`*.x` is a suffix, `*` any."),
            .field("path", .object(path), "One of exact, prefix, template, regex."),
            .field("methods", .list(.text(expected: "a method")), "Upper case."),
            .field("headers", .map(valuePattern, keys: .headers), "By name; without case."),
            .field("queries", .map(valuePattern, keys: .any), "Query parameters, as written."),
            .field("cookies", .map(valuePattern, keys: .any), "Cookies."),
        ])

    static let path = ObjectSchema(
        name: "path",
        example: "{ prefix: /api }",
        help: "How the path must look.",
        fields: [
            .field("exact", .text(expected: "a path"), "The whole path."),
            .field("prefix", .text(expected: "a path"), "By element: /a matches /a and /a/x."),
            .field("template", .text(expected: "a path with {names}"), "{name} is one element."),
            .field("regex", .text(expected: "an RE2 pattern"), "The whole path, RE2."),
        ])

    static let valuePattern: ValueType = .either([.anyText, .object(valueConditions)])

    static let valueConditions = ObjectSchema(
        name: "value condition",
        example: "{ exact: beta }",
        help: "How a value must look.",
        fields: [
            .field("exact", .anyText, "The whole value."),
            .field("prefix", .text(expected: "text"), "How it begins."),
            .field("suffix", .text(expected: "text"), "How it ends."),
            .field("regex", .text(expected: "an RE2 pattern"), "The whole value, RE2."),
            .field("present", .choice(["true"]), "It is there, whatever its value."),
            .field("not", .choice(["true", "false"]), default: "false", "The opposite."),
        ], shortFor: "exact")

    static let redirect = ObjectSchema(
        name: "redirect",
        example: "{ scheme: https, host: example.com }",
        help: "Where the client is sent; what is left out stays.",
        fields: [
            .field("scheme", .choice(["http", "https"]), "The scheme."),
            .field("host", .text(expected: "a host name"), "The host."),
            .field("port", .integer(1...65_535, orWord: nil), "The port."),
            .field(
                "path", .text(expected: "a path"),
                "The whole path; the client's query stays unless the path has one."),
            .field("prefix", .text(expected: "a path"), "Replaces the prefix that matched."),
            .field(
                "status", .choice(["301", "302", "303", "307", "308"]), default: "302",
                "The status code."),
        ])

    static let respond = ObjectSchema(
        name: "fixed response",
        example: "{ status: 200, body: ok }",
        help: "An answer without an origin.",
        fields: [
            .field("status", .integer(200...599, orWord: nil), default: "200", "The status code."),
            .field("body", .anyText, "The body, at most 64 KiB."),
            .field(
                "contentType", .text(expected: "a media type"), default: "text/plain",
                "The body's type."),
        ])

    static let rewrite = ObjectSchema(
        name: "rewrite",
        example: "{ path: /v2 }",
        help: "What the origin sees instead.",
        fields: [
            .field("path", .text(expected: "a path"), "The whole path; the query stays."),
            .field("prefix", .text(expected: "a path"), "Replaces the prefix that matched."),
            .field("host", .text(expected: "a host name"), "The Host field."),
        ])

    static let headerEdits = ObjectSchema(
        name: "header edits",
        example: "{ request: { set: { x-env: canary } } }",
        help: "Edits of fields, request and response.",
        fields: [
            .field("request", .object(edits), "Towards the origin."),
            .field(
                "response", .object(edits),
                "Towards the client, on every answer: Sluice's own ones too."),
        ], isGroup: true)

    static let edits = ObjectSchema(
        name: "edits",
        example: "{ set: { x-env: canary } }",
        help: "remove, then set, then add; a route's edits act first, then those of the version.",
        fields: [
            .field(
                "set", .map(.anyText, keys: .headers),
                "Leaves one line of the name, whoever wrote others."),
            .field("add", .map(.anyText, keys: .headers), "Adds a line."),
            .field(
                "remove", .list(.text(expected: "a header name")),
                "Removes every line, Sluice's own ones too."),
        ], isGroup: true)
}
