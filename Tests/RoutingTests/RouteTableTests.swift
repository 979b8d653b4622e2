import Base
import HTTP1
import HTTPSemantics
import RE2
import Routing
import Testing

@Suite struct RouteTableTests {
    struct Request {
        var method = "GET"
        var host = "a.example.com"
        var path = "/"
        var query = ""
        var headers: [String] = []
    }

    static func match(
        _ table: borrowing RouteTable, _ request: Request, _ arrival: Arrival = .none
    ) -> Int? {
        var text = "\(request.method) \(request.path)"
        if !request.query.isEmpty { text += "?" + request.query }
        text += " HTTP/1.1\r\nHost: \(request.host)\r\n"
        for header in request.headers { text += header + "\r\n" }
        let bytes = Array((text + "\r\n").utf8)
        var head = RequestHead(fieldCountMax: 100)
        var parser = RequestHeadParser()
        guard case .complete? = try? parser.parse(bytes.span, into: &head, limits: HeadLimits())
        else {
            return -1
        }
        return table.match(
            head: head, bytes: bytes.span, host: Array(request.host.utf8).span,
            path: Array(request.path.utf8).span, arrival: arrival)
    }

    static func rule(
        hosts: [String] = [], path: PathRule? = nil, methods: [String] = [],
        values: [ValueRule] = []
    ) -> MatchRule {
        var rule = MatchRule()
        rule.hosts = hosts
        rule.path = path
        rule.methods = methods
        rule.values = values
        return rule
    }

    static func header(_ name: String, _ pattern: ValuePattern, not: Bool = false) -> ValueRule {
        ValueRule(source: .header, name: name, pattern: pattern, isNegated: not)
    }

    @Test("a pattern that may match nothing matches a text that is nowhere")
    func emptyText() throws {
        let pattern = try RegularExpression("b*")
        let nowhere = pattern.matches(Span())
        #expect(nowhere)
        let more = try RegularExpression("b+").matches(Span())
        #expect(!more)
    }

    @Test("listeners and schemes are asked before all else, in a walk and by the index")
    func arrivals() {
        var inner = MatchRule()
        inner.listeners = ["inner", "other"]
        var secure = MatchRule()
        secure.scheme = .https
        var both = MatchRule()
        both.listeners = ["outer"]
        both.scheme = .http
        both.path = .prefix("/a")
        let numbers = ["inner": 3, "other": 5, "outer": 70]
        // Enough routes that nothing takes, and the index is used.
        let never = (0..<8).map { RouteTableTests.rule(path: .exact("/never\($0)")) }
        for others in [[], never] {
            let table = RouteTable(
                routes: [[inner], [secure], [both]] + others.map { [$0] } + [[]],
                listenerNumber: { numbers[$0] ?? -2 })
            let looks = table.looksAtArrival, last = table.matchCount - 1
            #expect(looks)
            let cases: [(Int, RequestScheme, String, Int)] = [
                (3, .http, "/", 0), (5, .https, "/", 0), (4, .https, "/", 1), (4, .http, "/", last),
                (70, .http, "/a/b", 2), (70, .http, "/b", last), (70, .https, "/a", 1),
                (71, .http, "/a", last), (-1, .http, "/a", last),
            ]
            for (listener, scheme, path, expected) in cases {
                let found = RouteTableTests.match(
                    table, Request(path: path), Arrival(listener: listener, scheme: scheme))
                #expect(found == expected, "\(listener) \(scheme) \(path)")
            }
        }
        let open = RouteTable(routes: [[]])
        let looks = open.looksAtArrival
        #expect(!looks)
    }

    @Test("each matcher holds for what it says and for nothing else")
    func matchers() throws {
        func holds(_ rule: MatchRule, _ request: Request) -> Bool {
            RouteTableTests.match(RouteTable(routes: [[rule]]), request) == 0
        }
        let prefix = RouteTableTests.rule(path: .prefix("/abc"))
        #expect(holds(prefix, Request(path: "/abc")))
        #expect(holds(prefix, Request(path: "/abc/x")))
        #expect(!holds(prefix, Request(path: "/abcd")))
        #expect(holds(RouteTableTests.rule(path: .prefix("/")), Request(path: "/x")))
        let template = RouteTableTests.rule(path: .template("/users/{id}/orders"))
        #expect(holds(template, Request(path: "/users/7/orders")))
        #expect(!holds(template, Request(path: "/users//orders")))
        #expect(!holds(template, Request(path: "/users/7/orders/1")))
        let regex = RouteTableTests.rule(path: .regex(try RegularExpression("/v[0-9]+/.*")))
        #expect(holds(regex, Request(path: "/v12/x")))
        #expect(!holds(regex, Request(path: "/w/v12/x")))
        let value = RouteTableTests.rule(values: [
            RouteTableTests.header("x-a", .regex(try RegularExpression("b*")))
        ])
        #expect(holds(value, Request(headers: ["x-a: bb"])))
        #expect(holds(value, Request(headers: ["x-a:"])))
        #expect(!holds(value, Request(headers: ["x-a: c"])))
        let host = RouteTableTests.rule(hosts: ["*.example.com"])
        #expect(holds(host, Request(host: "a.b.example.com")))
        #expect(!holds(host, Request(host: "example.com")))
        #expect(holds(RouteTableTests.rule(methods: ["PURGE"]), Request(method: "PURGE")))
        #expect(!holds(RouteTableTests.rule(methods: ["PURGE", "PUT"]), Request()))
        let present = RouteTableTests.rule(values: [RouteTableTests.header("x-a", .present)])
        #expect(holds(present, Request(headers: ["X-A:"])))
        #expect(!holds(present, Request()))
        let not = RouteTableTests.rule(values: [
            RouteTableTests.header("x-a", .exact("1"), not: true)
        ])
        #expect(holds(not, Request()))
        #expect(!holds(not, Request(headers: ["x-a: 1"])))
        let query = RouteTableTests.rule(
            values: [ValueRule(source: .query, name: "q", pattern: .prefix("1"))])
        #expect(holds(query, Request(query: "a=2&q=12")))
        #expect(!holds(query, Request(query: "qq=12")))
        let cookie = RouteTableTests.rule(
            values: [ValueRule(source: .cookie, name: "c", pattern: .suffix("z"))])
        #expect(holds(cookie, Request(headers: ["Cookie: a=b; c=xyz"])))
    }

    @Test("the index gives the answer of a walk from the top, for random tables and requests")
    func indexAgreesWithWalk() {
        var random = PRNG(seed: 31)
        let parts = ["a", "b", "c", "users", "x1"]
        let hosts = ["a.example.com", "b.example.com", "*.example.com", "*", "c.test"]
        func path(_ depth: UInt64) -> String {
            let count = Int(random.below(depth) + 1)
            return "/" + (0..<count).map { _ in parts[Int(random.below(5))] }.joined(separator: "/")
        }
        func rule() -> MatchRule {
            var rule = MatchRule()
            if random.below(2) == 0 { rule.hosts = [hosts[Int(random.below(5))]] }
            switch random.below(5) {
            case 0: rule.path = .exact(path(3))
            case 1: rule.path = .prefix(path(3))
            case 2: rule.path = .template(path(2) + "/{id}")
            case 3: rule.methods = ["POST"]
            default: rule.values = [RouteTableTests.header("x-a", .exact("\(random.below(3))"))]
            }
            return rule
        }
        for _ in 0..<8 {
            let rules = (0..<30).map { _ in [rule()] }
            let table = RouteTable(routes: rules)
            for _ in 0..<30 {
                let request = Request(
                    method: random.below(4) == 0 ? "POST" : "GET",
                    host: ["a.example.com", "b.example.com", "z.y.example.com", "c.test"][
                        Int(random.below(4))],
                    path: path(4), headers: random.below(2) == 0 ? ["x-a: \(random.below(3))"] : [])
                var walked: Int?
                // One table a route: no index, no order.
                for (i, rule) in rules.enumerated() where walked == nil {
                    if RouteTableTests.match(RouteTable(routes: [rule]), request) == 0 {
                        walked = i
                    }
                }
                let indexed = RouteTableTests.match(table, request)
                #expect(indexed == walked)
            }
        }
    }
}
