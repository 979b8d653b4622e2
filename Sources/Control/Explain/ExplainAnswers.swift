import Base
import Configuration
import HTTPSemantics
import Rewriting
import Routing

/// A request under explanation, in the forms in which the data plane has it.
struct ExplainedForms {
    let bytes: [UInt8]
    /// In normal form, as `path`.
    let host: [UInt8]
    let path: [UInt8]
    let origin: RequestOrigin
}

// What becomes of a request on its way to an origin, and of its answer.

extension Steps {
    // MARK: Answers of our own

    /// A redirect with its `Location`, or a fixed response.
    mutating func direct(
        _ plan: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>,
        _ head: borrowing RequestHead, _ forms: ExplainedForms
    ) {
        guard plan.kind == .redirect else {
            result(plan.status, "a fixed response with status \(plan.status)")
            return say("body", "body", "\(plan.body.length) bytes")
        }
        result(plan.status, "a redirect with status \(plan.status)")
        var location = ByteBuffer()
        let isKnown = Redirects.appendLocation(
            plan, snapshot.value.store, head, forms.bytes.span, origin: forms.origin,
            path: forms.path.span, to: &location)
        say(
            "location", "location",
            isKnown
                ? ASCII.string(location.readable) : "none: 400, nothing says which host is meant")
    }

    // MARK: Edits

    /// Tells what the origin sees instead of what the client asked for.
    mutating func rewrite(
        _ plan: Snapshot.RoutePlan, _ snapshot: SharedBox<Snapshot>,
        _ head: borrowing RequestHead, _ forms: ExplainedForms
    ) {
        var parts: [String] = []
        // The target of CONNECT is an authority, which no rewrite changes.
        if plan.pathEdit != .none, head.method != .connect {
            var target = ByteBuffer()
            Rewrites.appendPath(
                plan, snapshot.value.store, head, forms.bytes.span, path: forms.path.span,
                to: &target)
            if head.hasQuery {
                target.append(UInt8(ascii: "?"))
                target.append(forms.bytes.span.extracting(head.query.range))
            }
            parts.append("target \(ASCII.string(target.readable))")
        }
        if !plan.host.isEmpty {
            parts.append("host \(ASCII.string(snapshot.value.store.bytes(plan.host)))")
        }
        if !parts.isEmpty {
            say("rewrite", "rewrite", "the origin sees " + parts.joined(separator: ", "))
        }
    }

    /// Edits of the request and of its answer; of each version that may serve, where they differ.
    ///
    /// - Parameters:
    ///   - route: `nil` for a service's own hosts.
    ///   - versions: of those of the service, the ones that may serve.
    mutating func edits(
        _ route: Document.Route?, _ service: Document.Service?, versions: [Int]
    ) {
        let own = route?.edits ?? Document.HeaderEdits()
        let all = versions.map { version -> (request: FieldEdits, response: FieldEdits) in
            let more = service?.versions[version].edits ?? Document.HeaderEdits()
            return (
                FieldEdits([own.request, more.request]), FieldEdits([own.response, more.response])
            )
        }
        guard let service, let first = all.first else {
            return edits(FieldEdits([own.response]), "response", "responseEdits", of: "")
        }
        let isSame = all.allSatisfy {
            $0.request == first.request && $0.response == first.response
        }
        for (i, version) in versions.enumerated() where i == 0 || !isSame {
            let name = isSame ? "" : service.versions[version].name
            edits(all[i].request, "request", "requestEdits", of: name)
            edits(all[i].response, "response", "responseEdits", of: name)
        }
    }

    private mutating func edits(
        _ edits: FieldEdits, _ direction: String, _ key: String, of version: String
    ) {
        if edits.isEmpty { return }
        let written = Set(edits.lines.map { $0.name.lowercased() })
        var parts = edits.removed.filter { !written.contains($0) }.map { "remove \($0)" }
        for line in edits.lines {
            let isSet = edits.removed.contains(line.name.lowercased())
            let value = SecretFields.shown(line.value, of: line.name)
            parts.append("\(isSet ? "set" : "add") \(line.name): \(value)")
        }
        let title = version.isEmpty ? direction : "\(version), \(direction)"
        say(
            "edits", version.isEmpty ? key : "\(key) of \(version)",
            title + ": " + parts.joined(separator: "; "))
    }

    // MARK: Keys and sessions

    /// The rate limit, and the bucket that the request takes from.
    mutating func rate(
        _ limit: Document.RateLimit?, _ head: borrowing RequestHead, _ forms: ExplainedForms
    ) {
        guard let limit else { return }
        var text =
            "\(limit.policy.requests) requests in \(Units.text(limit.policy.per)), "
            + "\(limit.policy.burst) at once"
        switch limit.key {
        case .none: break
        case .address: text += ", for each client's address"
        case .header(let name):
            let value = Steps.header(name, head, forms)
            text += ", for each value of the header \(name); " + Steps.bucket(value)
        case .cookie(let name):
            let value = Steps.cookie(name, head, forms)
            text += ", for each value of the cookie \(name); " + Steps.bucket(value)
        }
        say("rate", "rateLimit", text)
    }

    private static func bucket(_ value: String?) -> String {
        value.map { "here \"\($0)\"" } ?? "here the one of all requests without it"
    }

    private static func header(
        _ name: String, _ head: borrowing RequestHead, _ forms: ExplainedForms
    ) -> String? {
        let wanted = Array(name.utf8)
        for i in 0..<head.fields.count {
            let field = forms.bytes.span.extracting(head.fields[i].name.range)
            if ASCII.equalFold(field, wanted.span) {
                return ASCII.string(forms.bytes.span.extracting(head.fields[i].value.range))
            }
        }
        return nil
    }

    private static func cookie(
        _ name: String, _ head: borrowing RequestHead, _ forms: ExplainedForms
    ) -> String? {
        let wanted = Array(name.utf8)
        for i in 0..<head.fields.count where head.fields[i].known == .cookie {
            let field = forms.bytes.span.extracting(head.fields[i].value.range)
            if let value = Cookie.value(named: wanted.span, in: field) {
                return ASCII.string(field.extracting(value.range))
            }
        }
        return nil
    }

    /// Whether the answer brings a session's cookie.
    mutating func cookie(_ sticky: Document.Sticky, wantsCookie: Bool) {
        guard let issue = sticky.issue else {
            return say("cookie", "cookie", "none is issued: sticky issues none")
        }
        say(
            "cookie", "cookie",
            wantsCookie
                ? "\(issue) is issued with the answer, for \(Units.text(sticky.ttl)); not where "
                    + "the answer is meant for shared caches, or an edit names Set-Cookie"
                : "none is issued: the request's \(issue) is good for half of its time yet")
    }
}
