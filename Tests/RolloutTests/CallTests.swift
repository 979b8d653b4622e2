import Rollout
import Testing

@Suite struct CallTests {
    private func values(_ pairs: [String: String]) throws -> CallValues {
        var values = CallValues()
        for (name, value) in pairs { try values.set(name, value) }
        return values
    }

    private func message(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "nothing was thrown"
        } catch {
            return (error as? CallProblem)?.message ?? "\(error)"
        }
    }

    // MARK: URLs

    @Test(
        "a URL is taken apart, and its parts make it again",
        arguments: [
            ("http://a", "a", 80, "/", "a"),
            ("https://A.b:8443/x?y=1", "a.b", 8_443, "/x?y=1", "a.b:8443"),
            ("HTTP://[::1]:9/", "::1", 9, "/", "[::1]:9"),
            ("https://10.0.0.1?q", "10.0.0.1", 443, "/?q", "10.0.0.1"),
        ])
    func urls(_ text: String, _ host: String, _ port: UInt16, _ target: String, _ authority: String)
        throws
    {
        let url = try CallURL(text)
        #expect(url.host == host && url.port == port && url.target == target)
        #expect(url.authority == authority)
        #expect(try CallURL(url.text) == url)
    }

    @Test(
        "what is no URL of http, or hides something, is refused with the reason",
        arguments: [
            ("prometheus:9090", "begins with http://"), ("ftp://a", "begins with http://"),
            ("http://", "the URL's host is"), ("http://a:b@c/", "no user and password"),
            ("http://a/#x", "%23"), ("http://a b/", "the URL's host is"), ("http://a/x y", "%20"),
            ("http://a:0/", "1 to 65535"), ("http://a:70000/", "1 to 65535"),
            ("http://a:/", "port is missing"),
            ("http://[::1/", "no IPv6 address"), ("http://[::1]x/", "no host with a port"),
            ("http://a/\r\nx: y", "%D"), ("http://a\u{e4}/", "the URL's host is"),
            ("http://1.2.3.4%2f/", "the URL's host is"),
        ])
    func badURLs(_ text: String, _ words: String) {
        let said = message { _ = try CallURL(text) }
        #expect(said.contains(words), "\(text): \(said)")
    }

    // MARK: Templates

    @Test("values are set only in the form that a template may take")
    func valueForms() throws {
        var values = CallValues()
        try values.set("canary", "v2.1+b/x:y@z_-")
        for bad in [
            "", "a b", "a\"", "a\n", "ä", "{{x}}", "$(id)", String(repeating: "x", count: 129),
        ] {
            #expect(throws: CallProblem.self) { try values.set("canary", bad) }
        }
        for bad in ["", "1a", "a-b", "a b"] {
            #expect(throws: CallProblem.self) { try values.set(bad, "x") }
        }
        #expect(values["canary"] == "v2.1+b/x:y@z_-")
    }

    @Test("braces without a partner, or without a name, are refused")
    func badBraces() {
        for text in ["{{canary", "a {{}} b", "{{ canary x }}", "{{1}}", "{{{{canary}}}}"] {
            #expect(throws: CallProblem.self, "\(text)") { try CallTemplate(text) }
        }
        #expect(
            message { _ = try CallTemplate("{{nobody}}").argument(CallValues()) }.contains(
                "{{nobody}}"))
    }

    @Test("a query's value is escaped as its place in PromQL needs it")
    func promQL() throws {
        let values = try values(["canary": "1.4.2+b", "stage": "half"])
        for (text, wanted) in [
            (#"a{v="{{canary}}"}"#, #"a{v="1.4.2+b"}"#),
            (#"a{v='{{ canary }}'}"#, #"a{v='1.4.2+b'}"#),
            (#"a{v=~"{{canary}}|x"}"#, #"a{v=~"1\\.4\\.2\\+b|x"}"#),
            (#"a{v!~ `{{canary}}`}"#, #"a{v!~ `1\.4\.2\+b`}"#),
            (#"a{u=~"x",v="{{canary}}"}"#, #"a{u=~"x",v="1.4.2+b"}"#),
            (#"a{u="\"=~",v="{{canary}}"}"#, #"a{u="\"=~",v="1.4.2+b"}"#),
            ("rate_{{stage}}_total", "rate_half_total"),
            (#"a{v="{{stage}}",w=~"{{canary}}"}"#, #"a{v="half",w=~"1\\.4\\.2\\+b"}"#),
        ] {
            #expect(try CallTemplate(text).promQL(values) == wanted)
        }
        // Outside of quotes a value is a name or a number, and no arithmetic.
        for text in ["a * {{canary}}", "a # {{canary}}", #"a{v="\{{canary}}"}"#] {
            #expect(throws: CallProblem.self, "\(text)") { try CallTemplate(text).promQL(values) }
        }
    }

    @Test("no value leaves its place in a URL, and none makes a scheme, a host or a port")
    func urlPlaces() throws {
        let values = try values(["canary": "a/b+c:d@e", "dots": ".."])
        let url = try CallTemplate("http://h:1/x/{{canary}}?v={{canary}}").url(values)
        #expect(url.target == "/x/a%2Fb%2Bc%3Ad%40e?v=a%2Fb%2Bc%3Ad%40e")
        #expect(throws: CallProblem.self) { try CallTemplate("http://h/{{dots}}/x").url(values) }
        #expect(try CallTemplate("http://h/?x={{dots}}").url(values).target == "/?x=..")
        for text in [
            "{{canary}}://h/", "http://{{canary}}/", "http://h:{{canary}}/", "http://h{{canary}}",
            "{{canary}}", "http://{{canary}}",
        ] {
            #expect(throws: CallProblem.self, "\(text)") { try CallTemplate(text).url(values) }
        }
    }

    @Test("an argument is never made an option by its value, and never another argument")
    func arguments() throws {
        let values = try values(["canary": "--help"])
        #expect(throws: CallProblem.self) { try CallTemplate("{{canary}}").argument(values) }
        #expect(try CallTemplate("v={{canary}}").argument(values) == "v=--help")
        let program = try CallPrograms.program(["check.sh", "v={{canary}}", "; rm"], values)
        #expect(program.name == "check.sh" && program.arguments == ["v=--help", "; rm"])
        #expect(program.environment.map(\.name) == ["SLUICE_ROLLOUT_CANARY"])
        for words in [[], ["/bin/sh"], ["../x"], ["{{canary}}"], ["-c"], [".x"], ["a b"]] {
            #expect(throws: CallProblem.self, "\(words)") {
                try CallPrograms.program(words, values)
            }
        }
    }

    // MARK: Headers and texts of others

    @Test("fields that frame a message or are Sluice's own are no settings")
    func headers() {
        for name in [
            "Host", "content-length", "Transfer-Encoding", "x-sluice-signature", "a b", "",
        ] {
            #expect(CallSettings.problem(header: name) != nil, "\(name)")
        }
        #expect(CallSettings.problem(header: "Authorization") == nil)
        #expect(!CallSettings.isHeaderValue(Array("a\r\nb".utf8)))
    }

    @Test("texts of others are shown in one line, cut, and without control characters")
    func shown() {
        #expect(CallText.shown("a\u{1b}[31m\r\n\u{202e}b") == "a [31m   b")
        #expect(CallText.shown(String(repeating: "x", count: 300)).unicodeScalars.count == 201)
    }

    @Test("numbers in messages have six digits at most")
    func numbers() {
        for (value, text) in [
            (0.02, "0.02"), (1.0 / 3, "0.333333"), (12.0, "12"), (0, "0"), (-2.5, "-2.5"),
            (1234.56789, "1234.57"),
        ] {
            #expect(CallText.number(value) == text)
        }
    }
}
