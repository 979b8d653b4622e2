import Base
import Foundation
import HTTPSemantics
import Telemetry
import Testing

/// Lines of the access log: formats with operators, and those that are written by hand.
@Suite struct AccessLogTests {
    /// A request with an answer, and what a test says otherwise.
    struct Facts: ~Copyable {
        var summary = ExchangeSummary()
        var notes = LogNotes()
        var labels = AccessLogFormat.Names()
        var text = ByteBuffer()
        var names = ByteBuffer()
        var client = ByteBuffer()
        var violation: StaticString = ""

        init() {
            summary.method = put("GET")
            summary.target = put("/a?b=1&c=x%20y")
            summary.authority = put("shop.test")
            summary.userAgent = put("curl/8")
            summary.requestID = put("3a7b6cac-6db8-40ea-81bd-1a0b35962314")
            summary.forwardedFor = put("192.0.2.7")
            summary.status = 200
            summary.bytesReceived = 17
            summary.bytesSent = 310
            summary.duration = .microseconds(17_900)
            summary.firstByte = .microseconds(14_300)
            summary.arrival = WallTime(microseconds: 1_800_000_000_123_456)
            summary.attempts = 1
            summary.peer = .ipv4(127, 0, 0, 1, port: 9)
            summary.client = .ipv4(192, 0, 2, 7, port: 0)
            summary.endpoint = .ipv4(10, 0, 0, 1, port: 80)
            labels.route = name("rest")
            labels.service = name("shop")
            labels.version = name("v2")
        }

        mutating func put(_ value: String) -> ByteRange {
            let start = text.writerIndex
            text.append(text: value)
            return ByteRange(start, end: text.writerIndex)
        }

        mutating func name(_ value: String) -> ByteRange {
            let start = names.writerIndex
            names.append(text: value)
            return ByteRange(start, end: names.writerIndex)
        }

        func line(_ program: borrowing LogProgram) -> String {
            var second = ByteBuffer(), out = ByteBuffer()
            HTTPDate.appendRFC3339(second: summary.arrival, to: &second)
            program.append(
                summary, notes, labels, violation: violation,
                LogSource(
                    second: second.readable, text: text.readable, names: names.readable,
                    client: client.readable), to: &out)
            return ASCII.string(out.readable)
        }

        /// A line of a text, without its newline.
        func line(_ format: String) -> String {
            String(line(AccessLogTests.program(format)).dropLast())
        }

        /// A line of a mapping with one key, without its newline.
        func json(_ format: String) -> String {
            guard case .success(let pieces) = LogTemplateReader.read(format) else { return "bad" }
            let member = LogTemplate.Member(key: "k", value: .text(pieces, source: format))
            let program = LogProgram(
                LogTemplate(.object([member])), hostName: "pod-1", environment: ["A": "b\"c"])
            return String(line(program).dropLast())
        }
    }

    static func program(_ format: String) -> LogProgram {
        guard case .success(let pieces) = LogTemplateReader.read(format) else {
            Issue.record("\(format) is not read")
            return LogProgram(.json)
        }
        return LogProgram(
            LogTemplate(.text(pieces, source: format)), hostName: "pod-1",
            environment: ["A": "b\"c"])
    }

    static func problem(_ format: String) -> LogTemplateReader.Problem? {
        guard case .failure(let problem) = LogTemplateReader.read(format) else { return nil }
        return problem
    }

    // MARK: Operators

    @Test("each operator is read under each of its names, and writes its value or a dash")
    func all() {
        let facts = Facts()
        for name in LogOperator.allCases {
            let entry = name.entry
            let argument: String
            switch entry.argument {
            case .none, .time, .words, .path: argument = ""
            case .fields: argument = "(X-NONE)"
            case .name: argument = "(none)"
            }
            for spelling in entry.names {
                let line = facts.line("%\(spelling)\(argument)%")
                #expect(!line.isEmpty && !line.hasPrefix("%"), "\(spelling): \(line)")
                let json = facts.json("%\(spelling)\(argument)%")
                let value = json.dropFirst(5).dropLast()
                let isString = value.hasPrefix("\"")
                #expect(json.hasPrefix("{\"k\":"), "\(json)")
                #expect(
                    value == "null" || isString == (entry.kind == .string), "\(spelling): \(json)")
                // No flag is a dash in JSON too.
                let isFlags = name == .responseFlags || name == .responseFlagsLong
                #expect(
                    isFlags || (line == "-") == (value == "null"), "\(spelling): \(line) \(json)")
            }
        }
    }

    @Test(
        "an operator writes what the request's facts say",
        arguments: [
            ("%START_TIME%", "2027-01-15T08:00:00.123Z"),
            ("%START_TIME(%s.%3f)%", "1800000000.123"),
            ("%START_TIME(%Y/%m/%d %H:%M:%S %f)%", "2027/01/15 08:00:00 123456"),
            ("%START_TIME(%F %T %9f %1f)%", "2027-01-15 08:00:00 123456000 1"),
            (
                "%START_TIME(%a, %d %b %y %I%p %j %u %Z%z %%)%",
                "Fri, 15 Jan 27 08AM 015 5 UTC+0000 %"
            ),
            ("%REQ(:METHOD)% %REQ(:authority)% %REQ(:SCHEME)%", "GET shop.test http"),
            ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/a?b=1&c=x%20y"),
            ("%REQ(X-ENVOY-ORIGINAL-PATH)%", "-"), ("%REQ(USER-AGENT):4%", "curl"),
            ("%REQ(x-none?user-agent)%", "curl/8"), ("%REQ(X-NONE?ALSO-NONE)%", "-"),
            ("%PROTOCOL%", "HTTP/1.1"), ("%RESPONSE_CODE% %RESPONSE_FLAGS%", "200 -"),
            ("%BYTES_RECEIVED% %BYTES_SENT%", "17 310"),
            ("%DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "17 14 3"),
            ("%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", "14"), ("%REQUEST_DURATION%", "-"),
            ("%UPSTREAM_HOST% %UPSTREAM_CLUSTER%", "10.0.0.1:80 shop/v2"),
            ("%SLUICE_SERVICE% %SLUICE_VERSION% %SLUICE_ASSIGN% %SLUICE_DRAW%", "shop v2 none -"),
            ("%UPSTREAM_REQUEST_ATTEMPT_COUNT% %ROUTE_NAME%", "1 rest"),
            ("%DOWNSTREAM_REMOTE_ADDRESS%", "192.0.2.7:0"),
            ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "192.0.2.7"),
            ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "127.0.0.1:9"),
            ("%PATH%|%PATH(NQ)%|%PATH(NQ:PATH):1%", "/a?b=1&c=x%20y|/a|/"),
            ("%PATH(WQ:ORIG)%", "-"), ("%QUERY_PARAM(c)% %QUERY_PARAM(b):1%", "x%20y 1"),
            ("%QUERY_PARAM(d)%", "-"), ("%GRPC_STATUS% %GRPC_STATUS_NUMBER%", "- -"),
            ("%STREAM_ID%", "3a7b6cac-6db8-40ea-81bd-1a0b35962314"),
            ("%HOSTNAME% %ENVIRONMENT(A)% %ENVIRONMENT(B)%", "pod-1 b\\x22c -"),
            ("%RESPONSE_CODE_DETAILS%", "via_upstream"), ("100%% of it", "100% of it"),
        ])
    func values(format: String, line: String) {
        #expect(Facts().line(format) == line)
    }

    @Test("a call's status has its three forms, and a trace its id")
    func calls() {
        var facts = Facts()
        facts.summary.grpcStatus = 14
        facts.summary.traceparent = facts.put(
            "00-bc27ea6153ea8201f473728e315d6bb0-9611bb62e7eb001d-01")
        #expect(
            facts.line("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)%")
                == "Unavailable UNAVAILABLE 14")
        #expect(facts.line("%TRACE_ID%") == "bc27ea6153ea8201f473728e315d6bb0")
        #expect(facts.json("%GRPC_STATUS_NUMBER%") == "{\"k\":14}")
        #expect(facts.json("%GRPC_STATUS(NUMBER)%") == "{\"k\":\"14\"}")
    }

    @Test("fields of the answer and its trailers, addresses and the client's certificate are shown")
    func notes() {
        var facts = Facts()
        facts.notes.responseLines = facts.put("content-type: text/plain\r\nx-a: b\"\r\n")
        facts.notes.trailerLines = facts.put("grpc-message: no\r\n")
        facts.notes.requestLines = facts.put("GET / HTTP/1.1\r\nx-user-group: beta\r\n\r\n")
        facts.notes.hosts = facts.put("10.0.0.1:80,10.0.0.2:80")
        facts.notes.upstreamProtocol = .http2
        facts.notes.upstreamLocal = .ipv4(10, 0, 0, 9, port: 47_516)
        facts.notes.local = .ipv4(10, 0, 0, 8, port: 443)
        facts.notes.connection = 7
        facts.notes.requestTime = .milliseconds(3)
        facts.client.append(
            text:
                "a.testHash=00;Subject=\"CN=x;URI=\\\"y\\\"\";URI=\"spiffe://a\";URI=\"spiffe://b\""
        )
        facts.notes.serverName = ByteRange(0, end: 6)
        facts.notes.identity = ByteRange(6, end: facts.client.count)
        facts.summary.tlsVersion = 3
        let lines = [
            ("%RESP(X-A)% %RESP(X-B?CONTENT-TYPE):4% %RESP(X)%", "b\\x22 text -"),
            ("%TRAILER(GRPC-MESSAGE)%", "no"), ("%REQ(X-User-Group)% %REQ(GET)%", "beta -"),
            ("%UPSTREAM_HOSTS_ATTEMPTED%", "10.0.0.1:80,10.0.0.2:80"),
            ("%UPSTREAM_PROTOCOL% %UPSTREAM_LOCAL_ADDRESS%", "HTTP/2 10.0.0.9:47516"),
            (
                "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% "
                    + "%DOWNSTREAM_LOCAL_PORT%", "10.0.0.8:443 10.0.0.8 443"
            ),
            ("%REQUESTED_SERVER_NAME% %DOWNSTREAM_TLS_VERSION%", "a.test TLSv1.3"),
            ("%DOWNSTREAM_PEER_SUBJECT%", "CN=x;URI=\\x5c\\x22y\\x5c\\x22"),
            ("%DOWNSTREAM_PEER_URI_SAN%", "spiffe://a,spiffe://b"),
            ("%CONNECTION_ID% %REQUEST_DURATION%", "7 3"),
        ]
        for (format, line) in lines { #expect(facts.line(format) == line, "\(format)") }
        facts.notes.sentTarget = facts.put("/v2/a")
        #expect(
            facts.line("%REQ(:PATH)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%") == "/v2/a /a?b=1&c=x%20y")
        #expect(
            facts.line("%PATH(NQ:ORIG)% %PATH(NQ:PATH)% %PATH(NQ)%") == "/a /v2/a /a")
    }

    @Test("a format that shows no such line keeps none")
    func kept() {
        let program = AccessLogTests.program("%RESP(X-A?B)% %REQ(USER-AGENT)%")
        #expect(program.needs == [.responseLines])
        var head = ByteBuffer(), out = ByteBuffer()
        head.append(text: "HTTP/1.1 200 OK\r\nX-a: 1\r\nc: 2\r\nb: 3\r\n\r\n")
        let range = program.keep(head.readable, of: .responseField, to: &out)
        #expect(ASCII.string(out.span(range)) == "X-a: 1\r\nb: 3\r\n")
        #expect(program.keep(head.readable, of: .requestField, to: &out).isEmpty)
        #expect(AccessLogTests.program(LogTemplate.envoyText).needs == [])
    }

    // MARK: Mistakes

    @Test(
        "what is no operator is refused at its place, with what to write",
        arguments: [
            ("a %DYNAMIC_METADATA(x)%", 2, "has no meaning here", "%SLUICE_SERVICE%"),
            ("%REQ_WITHOUT_QUERY(X)%", 0, "has no meaning here", "write %PATH(NQ)%"),
            ("%EMIT_TIME%", 0, "is not supported", "write %START_TIME% and %DURATION%"),
            ("%RESPONSE_CODES%", 0, "there is no operator", "did you mean %RESPONSE_CODE%?"),
            ("%UPSTREAM_HOSTS%", 0, "there is no operator", "did you mean %UPSTREAM_HOST%?"),
            ("ab 100% c", 6, "begins no operator", "a percent sign as %%"),
            ("%h %l", 0, "begins no operator", "write combined for Apache's format"),
            ("%REQ(A%", 0, "no closing parenthesis", "write %REQ(USER-AGENT)%"),
            ("%PROTOCOL", 0, "no closing percent sign", "write %PROTOCOL%"),
            ("%REQ%", 0, "lacks the name of a field", "%REQ(X?Y)%"),
            ("%REQ(a b)%", 5, "is not the name of a field", "no spaces"),
            ("%RESP(:PATH)%", 6, "is not the name of a field", "write %REQ(:PATH)%"),
            ("%REQ(A?B?C)%", 5, "has 3 names of fields", "%REQ(X?Y)%"),
            ("%duration%", 0, "%duration begins no operator", "write %DURATION%"),
            ("%REQ(A):-1%", 0, "\"-\" stands where it belongs", "write %REQ(USER-AGENT)%"),
            ("%PROTOCOL", 0, "the format ends where it belongs", "write %PROTOCOL%"),
            ("%DURATION:5%", 9, "takes no length", "write %DURATION%"),
            ("%REQ(A):0%", 7, "expected a number from 1 to 65536", ":64"),
            ("%DURATION(x)%", 10, "takes nothing in parentheses", "write %DURATION%"),
            ("%GRPC_STATUS(x)%", 13, "is unknown", "SNAKE_STRING"),
            ("%PATH(X)%", 6, "is unknown", "%PATH(NQ)%"),
            ("%QUERY_PARAM%", 0, "lacks its name", "%QUERY_PARAM(NAME)%"),
            ("%START_TIME(%Q)%", 12, "has no %Q", "%3fZ"),
        ])
    func mistakes(format: String, offset: Int, message: String, hint: String) throws {
        let problem = try #require(AccessLogTests.problem(format))
        #expect(problem.offset == offset, "\(problem)")
        #expect(problem.message.contains(message), "\(problem)")
        #expect(problem.hint.contains(hint), "\(problem)")
    }

    // MARK: Whole formats

    @Test("a line of Envoy's format is Envoy's, to the letter")
    func envoy() {
        let facts = Facts()
        #expect(
            facts.line(LogTemplate.envoyText)
                == "[2027-01-15T08:00:00.123Z] \"GET /a?b=1&c=x%20y HTTP/1.1\" 200 - 17 310 17 14 "
                + "\"192.0.2.7\" \"curl/8\" \"3a7b6cac-6db8-40ea-81bd-1a0b35962314\" "
                + "\"shop.test\" \"10.0.0.1:80\"")
        #expect(
            facts.line(LogTemplate.istioText)
                == "[2027-01-15T08:00:00.123Z] \"GET /a?b=1&c=x%20y HTTP/1.1\" 200 - via_upstream "
                + "- \"-\" 17 310 17 14 \"192.0.2.7\" \"curl/8\" "
                + "\"3a7b6cac-6db8-40ea-81bd-1a0b35962314\" \"shop.test\" \"10.0.0.1:80\" shop/v2 "
                + "- - 192.0.2.7:0 - rest")
    }

    @Test("Istio's JSON has its 24 keys in order, numbers as numbers and null for nothing")
    func istioJSON() {
        let program = LogProgram(.istioJSON, hostName: "", environment: [:])
        #expect(
            Facts().line(program)
                == """
                {"authority":"shop.test","bytes_received":17,"bytes_sent":310,\
                "connection_termination_details":null,"downstream_local_address":null,\
                "downstream_remote_address":"192.0.2.7:0","duration":17,"method":"GET",\
                "path":"/a?b=1&c=x%20y","protocol":"HTTP/1.1",\
                "request_id":"3a7b6cac-6db8-40ea-81bd-1a0b35962314",\
                "requested_server_name":null,"response_code":200,\
                "response_code_details":"via_upstream","response_flags":"-","route_name":"rest",\
                "start_time":"2027-01-15T08:00:00.123Z","upstream_cluster":"shop/v2",\
                "upstream_host":"10.0.0.1:80","upstream_local_address":null,\
                "upstream_service_time":"14","upstream_transport_failure_reason":null,\
                "user_agent":"curl/8","x_forwarded_for":"192.0.2.7"}\n
                """)
        #expect(LogTemplate.istioKeys.count == 24)
    }

    @Test("a mapping may be nested; keys are sorted, text around a value makes it a string")
    func mapping() {
        func text(_ format: String) -> LogTemplate.Shape {
            guard case .success(let pieces) = LogTemplateReader.read(format) else {
                return .text([], source: "")
            }
            return .text(pieces, source: format)
        }
        let template = LogTemplate(
            .object([
                .init(key: "z\"", value: text("%DURATION% ms")),
                .init(key: "b", value: text("c\n\"")),
                .init(key: "a", value: .object([.init(key: "n", value: text("%RESPONSE_CODE%"))])),
                .init(key: "c", value: text("%REQ(X)%")),
                .init(key: "d", value: text("<%REQ(X)%>")),
                .init(key: "e", value: text("")),
            ]))
        let line = Facts().line(LogProgram(template, hostName: "", environment: [:]))
        #expect(
            line
                == "{\"a\":{\"n\":200},\"b\":\"c\\u000a\\\"\",\"c\":null,\"d\":\"<->\",\"e\":\"\","
                + "\"z\\\"\":\"17 ms\"}\n")
        #expect(template.operatorCount == 4)
    }

    // MARK: Escaping

    @Test("a log line never carries a raw control byte, quote or newline of a client")
    func escaping() {
        var facts = Facts()
        facts.summary.target = facts.put("/\u{1}\"\\\u{7f}é\n")
        let programs = [
            facts.line(LogProgram(.json)), facts.line(LogProgram(.combined)),
            facts.line(LogTemplate.envoyText) + "\n", facts.json("x%PATH%") + "\n",
            facts.json("%PATH%") + "\n",
        ]
        for line in programs {
            #expect(line.utf8.count { $0 == 0x0a } == 1)
            #expect(line.utf8.allSatisfy { $0 == 0x0a || ($0 >= 0x20 && $0 < 0x7f) })
        }
        #expect(facts.line("%PATH%") == "/\\x01\\x22\\x5c\\x7f\\xc3\\xa9\\x0a")
        #expect(facts.json("%PATH%") == "{\"k\":\"/\\u0001\\\"\\\\\\u007f\\u00c3\\u00a9\\u000a\"}")
    }

    @Test("a native line names the client, and the peer that the connection is from")
    func client() {
        let facts = Facts()
        let line = facts.line(LogProgram(.json))
        #expect(line.hasPrefix("{\"time\":\"2027-01-15T08:00:00.123456Z\",\"method\":\"GET\""))
        #expect(line.contains("\"peer\":\"127.0.0.1\",\"client\":\"192.0.2.7\""))
        #expect(!line.contains("\"cause\""))
        let combined = facts.line(LogProgram(.combined))
        #expect(combined.hasPrefix("192.0.2.7 - - [15/Jan/2027:08:00:00 +0000]"))
    }

    // MARK: Failures

    @Test(
        "each failure has its words, and its place among Envoy's details",
        arguments: [
            (
                Failure(.refused), "refused",
                "upstream_reset_before_response_started{remote_connection_failure|refused}"
            ),
            (
                Failure(.connectTimeout), "connect timed out",
                "upstream_reset_before_response_started{remote_connection_failure"
                    + "|connect_timed_out}"
            ),
            (
                .handshake(.expired), "TLS certificate expired",
                "upstream_reset_before_response_started{remote_connection_failure"
                    + "|TLS_certificate_expired}"
            ),
            (
                Failure(.reset, 17), "reset after 17 bytes",
                "upstream_reset_before_response_started{connection_termination"
                    + "|reset_after_17_bytes}"
            ),
            (
                Failure(.closed, 1), "closed after 1 byte",
                "upstream_reset_before_response_started{connection_termination"
                    + "|closed_after_1_byte}"
            ),
            (
                Failure(.streamReset, 2), "stream reset with INTERNAL-ERROR",
                "upstream_reset_before_response_started{connection_termination"
                    + "|stream_reset_with_INTERNAL-ERROR}"
            ),
            (
                Failure(.malformed, 1), "malformed answer bad-x",
                "upstream_reset_before_response_started{protocol_error|malformed_answer_bad-x}"
            ),
            (
                Failure(.pendingLimit), "limit of waiting requests",
                "upstream_reset_before_response_started{overflow|limit_of_waiting_requests}"
            ),
            (Failure(.firstByteTimeout), "first byte timed out", "response_timeout"),
            (Failure(.requestTimeout), "request timed out", "response_timeout"),
            (Failure(.attemptTimeout), "attempt timed out", "upstream_per_try_timeout"),
            (Failure(.idleTimeout), "idle timed out", "stream_idle_timeout"),
            (Failure(.clientLeft), "client left", "downstream_remote_disconnect"),
            (Failure(.rejected, 1), "bad-x", "http1.codec_error"),
            (Failure(.noRoute), "no route", "route_not_found"),
            (Failure(.noEndpoint), "no endpoint", "no_healthy_upstream"),
            (Failure(.rateLimit), "rate limit", "local_rate_limited"),
            (Failure(.fault), "fault on purpose", "fault_filter_abort"),
            (Failure(.overload), "short of memory", "overload"),
        ])
    func failures(failure: Failure, words: String, details: String) {
        var facts = Facts()
        facts.summary.failure = failure
        facts.summary.firstByte = Duration(nanoseconds: -1)
        facts.violation = "bad-x"
        #expect(facts.line(LogProgram(.json)).contains("\"cause\":\"\(words)\""))
        #expect(facts.line("%RESPONSE_CODE_DETAILS%") == details)
        let isTLS = failure.reason == .handshake
        #expect(facts.line("%UPSTREAM_TRANSPORT_FAILURE_REASON%") == (isTLS ? words : "-"))
    }

    @Test("no failure's words need escaping, and none are the same as another's")
    func words() {
        var seen: Set<String> = []
        for reason in Failure.Reason.allCases where reason != .none {
            let text = Failure(reason, 1).text(violation: "x")
            #expect(!text.isEmpty && seen.insert(text).inserted, "\(text)")
            #expect(
                text.utf8.allSatisfy {
                    ASCII.isAlpha($0) || ASCII.isDigit($0) || $0 == 0x20 || $0 == 0x2d
                }, "\(text)")
        }
        for failure in HandshakeFailure.allCases {
            let words = Failure.handshake(failure)
            #expect(words.handshake == failure && words.text().hasPrefix("TLS "))
        }
        #expect(MemoryLayout<Failure>.size <= 8)
    }

    @Test("an answer that broke off in the middle says so, and a fixed one whose it is")
    func details() {
        var facts = Facts()
        facts.summary.failure = Failure(.reset, 3)
        #expect(
            facts.line("%RESPONSE_CODE_DETAILS%")
                == "upstream_reset_after_response_started{connection_termination"
                + "|reset_after_3_bytes}")
        facts.summary.failure = .none
        facts.summary.firstByte = Duration(nanoseconds: -1)
        #expect(facts.line("%RESPONSE_CODE_DETAILS%") == "direct_response")
        facts.summary.failure = Failure(.rejected, 1)
        facts.violation = "missing-host"
        #expect(facts.line("%RESPONSE_CODE_DETAILS%") == "missing_host_header")
    }

    // MARK: Flags

    @Test("every flag has letters and a long name, and used-up retries come first")
    func flags() {
        var all: ResponseFlags = [], letters: Set<String> = []
        for place in 0..<ResponseFlags.count {
            let entry = ResponseFlags.entry(place)
            #expect(letters.insert("\(entry.letters)").inserted)
            #expect(all.isDisjoint(with: entry.flag))
            all.insert(entry.flag)
        }
        var facts = Facts()
        facts.summary.flags = [.upstreamTimeout, .retryLimit]
        #expect(facts.line("%RESPONSE_FLAGS%") == "URX,UT")
        #expect(
            facts.line("%RESPONSE_FLAGS_LONG%")
                == "UpstreamRetryLimitExceeded,UpstreamRequestTimeout")
        facts.summary.flags = all
        #expect(facts.line("%RESPONSE_FLAGS%").split(separator: ",").count == 17)
    }
}
