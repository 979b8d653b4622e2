"""The access log as pipelines read it: strict patterns over requests of every kind, in each ready-made format, and the cause of every failure."""
import json, os, re, socket, ssl, subprocess, tempfile, unittest
import grpc
import calls
from certificates import Authority
from frames import Client
from harness import BINARY, OK, Case, Last, Origin, answering, config, status, until
from test_retries import dead_port

WORD = r'(?:[^"\\ \x00-\x1f\x7f-\xff]|\\x[0-9a-f]{2})+'
TEXT = r'(?:[^"\\\x00-\x1f\x7f-\xff]|\\x[0-9a-f]{2})+'
ADDRESS = r"\d+\.\d+\.\d+\.\d+:\d+"
START = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]"
FLAGS = r"(?:-|[A-Z]{2,4}(?:,[A-Z]{2,4})*)"
DETAILS = r"(?:[a-z0-9_.]+(?:\{[A-Za-z0-9_|:-]+\})?)"
REQUEST = rf'"(?P<method>{WORD}) (?P<path>{WORD}) (?P<protocol>HTTP/1\.[01]|HTTP/2)"'
NUMBERS = r"(?P<received>\d+) (?P<sent>\d+) (?P<duration>\d+) (?P<service>-|\d+)"
FIELDS = rf'"(?P<xff>{TEXT})" "(?P<agent>{TEXT})" "(?P<id>{TEXT})" "(?P<authority>{TEXT})" "(?P<host>-|{ADDRESS})"'
ENVOY = re.compile(rf"{START} {REQUEST} (?P<status>\d+) (?P<flags>{FLAGS}) {NUMBERS} {FIELDS}\n")
ISTIO = re.compile(
    rf'{START} {REQUEST} (?P<status>\d+) (?P<flags>{FLAGS}) (?P<details>{DETAILS}) - "(?P<transport>{TEXT})" {NUMBERS} {FIELDS} '
    rf"(?P<cluster>-|{WORD}) (?P<upstream_local>-|{ADDRESS}) (?P<local>{ADDRESS}) (?P<remote>{ADDRESS}) (?P<sni>-|{WORD}) (?P<route>-|{WORD})\n")
KEYS = """start_time route_name method path protocol response_code response_flags response_code_details connection_termination_details
bytes_received bytes_sent duration upstream_service_time x_forwarded_for user_agent request_id authority upstream_host upstream_cluster
upstream_local_address downstream_local_address downstream_remote_address requested_server_name upstream_transport_failure_reason""".split()
NUMERIC = {"response_code", "bytes_received", "bytes_sent", "duration"}
# What Envoy 1.40 says of the same (flags, details); statuses are Sluice's own.
CAUSES = [
    ("/ok", 200, "-", r"via_upstream"),
    ("/none", 404, "NR", r"route_not_found"),
    ("/fixed", 200, "-", r"direct_response"),
    ("/moved", 302, "-", r"direct_response"),
    ("/refused", 502, "UF", r"upstream_reset_before_response_started\{remote_connection_failure\|refused\}"),
    ("/closed", 502, "UC", r"upstream_reset_before_response_started\{connection_termination\|closed_after_0_bytes\}"),
    ("/half", 200, "UC", r"upstream_reset_after_response_started\{connection_termination\|closed_after_5_bytes\}"),
    ("/garbage", 502, "UPE", r"upstream_reset_before_response_started\{protocol_error\|malformed_answer_bad-status-line\}"),
    ("/late", 504, "UT", r"response_timeout"),
    ("/over", 504, "UT", r"response_timeout"),
    ("/twice", 504, "URX,UT", r"upstream_per_try_timeout"),
    ("/error", 503, "-", r"via_upstream"),
    ("/tired", 503, "URX", r"via_upstream"),
    ("/fault", 418, "FI", r"fault_filter_abort"),
    ("/limited", 429, "RL", r"local_rate_limited"),
    ("/tls", 502, "UF", r"upstream_reset_before_response_started\{remote_connection_failure\|TLS_certificate_of_an_unknown_authority\}"),
    ("/name", 502, "UF", r"upstream_reset_before_response_started\{remote_connection_failure\|TLS_certificate_for_another_name\}"),
]
ROUTES = """routes:
  - { name: fixed, match: { path: { exact: /fixed } }, respond: { status: 200, body: hello } }
  - { name: moved, match: { path: { exact: /moved } }, redirect: { path: /ok } }
  - { name: refused, match: { path: { exact: /refused } }, to: dead, retries: { attempts: 0 } }
  - { name: late, match: { path: { exact: /late } }, to: s, timeouts: { firstByte: 50ms } }
  - { name: over, match: { path: { exact: /over } }, to: s, timeouts: { request: 50ms } }
  - { name: twice, match: { path: { exact: /twice } }, to: s, timeouts: { perTry: 50ms }, retries: { attempts: 1, on: [reset], backoff: 1ms } }
  - { name: tired, match: { path: { exact: /tired } }, to: s, retries: { attempts: 1, on: [5xx], backoff: 1ms } }
  - { name: fault, match: { path: { exact: /fault } }, to: s, fault: { abort: { status: 418 } } }
  - { name: limited, match: { path: { exact: /limited } }, to: s, rateLimit: { requests: 1, per: 1h } }
  - { name: tls, match: { path: { exact: /tls } }, to: secure, retries: { attempts: 0 } }
  - { name: name, match: { path: { exact: /name } }, to: named, retries: { attempts: 0 } }
  - { name: calls, match: { path: { prefix: /demo.Echo } }, to: calls }
  - { name: rest, match: { path: { regex: "/(ok|closed|half|garbage|error).*" } }, to: s, retries: { attempts: 0 } }
"""


class Lines(Case):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.own = cls.authority.issue("server", "DNS:localhost")

    def origin(self):
        """An origin that gets into each kind of trouble, by the path that it is asked for."""
        def answer(head, body):
            path = head.split(" ")[1]
            if path in ("/late", "/over", "/twice"):
                return origin.hang(head, body)
            return {"/closed": None, "/garbage": b"SSH-2.0-x\r\n\r\n",
                    "/half": Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"),
                    "/error": status(503, body=b"no"), "/tired": status(503, body=b"no")}.get(path, OK)

        origin = self.backend(answer)
        return origin

    def secure_origin(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.own)
        def serve(origin, connection):
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
        origin = Origin(serve)
        self.addCleanup(origin.close)
        return origin

    def proxy(self, log):
        """A proxy with a service for each kind of trouble."""
        holder, dead = dead_port()
        self.addCleanup(holder.close)
        secure, server = self.secure_origin(), calls.Server("v1")
        self.addCleanup(server.stop)
        services = f"""  dead: {{ versions: {{ v1: {{ endpoints: ["127.0.0.1:{dead}"] }} }} }}
  secure: {{ tls: {{}}, connectTimeout: 10s, versions: {{ v1: {{ endpoints: ["127.0.0.1:{secure.port}"] }} }} }}
  named: {{ tls: {{ ca: {self.authority.ca}, sni: other.test }}, connectTimeout: 10s, versions: {{ v1: {{ endpoints: ["127.0.0.1:{secure.port}"] }} }} }}
  calls: {{ protocol: http2, connectTimeout: 10s, versions: {{ v1: {{ endpoints: ["127.0.0.1:{server.port}"] }} }} }}"""
        self.backing = self.origin()
        # A handshake on a busy machine takes its time, which is not tested here.
        return self.start(config(self.backing.port, service="    connectTimeout: 10s\n" + services, routes=ROUTES, extra=f"accessLog: {log}"))

    def ask(self, proxy, path, extra=b""):
        return proxy.raw(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: a.test\r\nUser-Agent: x\"\\y\r\nConnection: close\r\n" + extra + b"\r\n")

    def everything(self, proxy):
        """100 requests of every kind; returns how many."""
        count = 0
        # One is within the limit, and has a line like /ok's.
        self.ask(proxy, "/limited")
        for path, code, _, _ in CAUSES:
            self.ask(proxy, path)
        count += 1 + len(CAUSES)
        for bad in (b"bad\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /c HTTP/2.0\r\nHost: a\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n",
                    b"GET /e HTTP/1.1\r\nx: " + b"a" * 70_000 + b"\r\n", b"PUT /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"):
            proxy.raw(bad)
            count += 1
        with calls.channel(proxy.port) as channel:
            self.assertEqual(channel.unary_unary("/demo.Echo/Unary")(b"hello", timeout=20), b"hello")
            with self.assertRaises(grpc.RpcError):
                channel.unary_unary("/demo.Echo/Fail")(b"", timeout=20)
        count += 2
        # A client that leaves before its answer.
        leaver = proxy.connect()
        leaver.sendall(b"GET /late HTTP/1.1\r\nHost: a.test\r\n\r\n")
        leaver.close()
        client = Client(proxy.port)
        client.request(path="/ok?a=%22\"")
        self.assertEqual(client.outcome(), "200")
        client.close()
        proxy.get("/ok", method="POST", body=b"a" * 17)
        count += 3
        for _ in range(100 - count):
            self.ask(proxy, "/ok")
        return 100

    def lines(self, form, count=None):
        log = tempfile.NamedTemporaryFile("rb")
        self.addCleanup(log.close)
        proxy = self.proxy(f"{{ path: {log.name}, format: {form} }}")
        count = self.everything(proxy)
        def read():
            log.seek(0)
            return log.read()
        until(lambda: read().count(b"\n") >= count)
        text = read()
        self.assertTrue(text.isascii())
        lines = text.decode().splitlines(keepends=True)
        self.assertEqual(len(lines), count)
        return proxy, lines

    def check(self, found):
        """Each kind of request is there with Envoy's flags and details."""
        for path, code, flags, details in CAUSES:
            mine = [one for one in found if one["path"] == path and one["flags"] not in ("DPE", "DC")]
            if path == "/limited":
                mine = mine[1:]
            self.assertGreaterEqual(len(mine), 1, path)
            for one in mine:
                self.assertEqual((one["status"], one["flags"]), (str(code), flags), one)
                if "details" in one:
                    self.assertRegex(one["details"], f"^{details}$", path)
        left = [one for one in found if one["status"] == "0"]
        self.assertEqual([(one["path"], one["flags"]) for one in left], [("/late", "DC")])
        refused = [(one["status"], one["path"]) for one in found if one["flags"] == "DPE"]
        self.assertEqual(sorted(refused), sorted([
            ("400", "-"), ("400", "/"), ("505", "/c"), ("414", "-"), ("431", "/e"), ("501", "/ok")]))

    def test_every_line_of_envoys_format_is_envoys(self):
        _, lines = self.lines("envoy")
        found = []
        for line in lines:
            match = ENVOY.fullmatch(line)
            self.assertIsNotNone(match, line)
            found.append(match.groupdict())
        self.check(found)
        ok = [one for one in found if one["path"] == "/ok" and one["method"] == "GET"]
        self.assertEqual({one["agent"] for one in ok}, {r"x\x22\x5cy"})
        self.assertEqual({(one["received"], one["sent"], one["host"]) for one in ok}, {("0", "2", f"127.0.0.1:{self.backing.port}")})
        self.assertTrue(all(re.fullmatch(r"[0-9a-f-]{36}", one["id"]) and one["service"].isdigit() for one in ok))

    def test_every_line_of_istios_format_is_istios(self):
        proxy, lines = self.lines("istio")
        found = []
        for line in lines:
            match = ISTIO.fullmatch(line)
            self.assertIsNotNone(match, line)
            found.append(match.groupdict())
        self.check(found)
        for one in found:
            self.assertEqual(one["local"], f"127.0.0.1:{proxy.port}")
            if one["path"] == "/ok" and one["method"] == "GET":
                self.assertEqual((one["cluster"], one["route"]), ("s/v1", "rest"))
                self.assertRegex(one["upstream_local"], r"^127\.0\.0\.1:\d+$")
            if one["path"] == "/tls":
                self.assertEqual(one["transport"], "TLS certificate of an unknown authority")

    def test_every_object_of_istios_json_has_its_keys_and_types(self):
        _, lines = self.lines("istio-json")
        found = []
        for line in lines:
            one = json.loads(line)
            self.assertEqual(list(one), sorted(KEYS), line)
            for key, value in one.items():
                self.assertTrue(value is None and key not in NUMERIC or isinstance(value, int if key in NUMERIC else str), (key, value))
            self.assertRegex(one["start_time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            found.append({"path": one["path"] or "-", "status": str(one["response_code"]), "flags": one["response_flags"],
                          "details": one["response_code_details"]})
        self.check(found)

    def test_the_native_lines_say_the_cause_of_every_failure(self):
        _, lines = self.lines("json")
        causes = {}
        for line in lines:
            one = json.loads(line)
            causes.setdefault(one["path"], []).append(one.get("cause"))
        self.assertEqual(set(causes["/ok"]), {None, "unknown-transfer-coding"})
        for path, cause in (("/refused", "refused"), ("/closed", "closed after 0 bytes"), ("/half", "closed after 5 bytes"),
                            ("/garbage", "malformed answer bad-status-line"), ("/over", "request timed out"), ("/twice", "attempt timed out"),
                            ("/tls", "TLS certificate of an unknown authority"), ("/name", "TLS certificate for another name"),
                            ("/none", "no route"), ("/fault", "fault on purpose"), ("/limited", "rate limit")):
            self.assertEqual(causes[path][-1], cause, path)
        self.assertEqual(set(causes["/late"]), {"first byte timed out", "client left"})
        self.assertEqual(sorted(causes[""]), ["bad-method", "target-too-long"])
        self.assertEqual(causes["/e"], ["head-too-large"])
        self.assertEqual(causes["/"], ["missing-host"])

    def test_a_mapping_and_a_text_show_the_client_and_its_connection(self):
        log = tempfile.NamedTemporaryFile("r")
        self.addCleanup(log.close)
        os.environ["LOG_TEST_ZONE"] = "eu\"1"
        self.addCleanup(os.environ.pop, "LOG_TEST_ZONE")
        keys = {"sni": "%REQUESTED_SERVER_NAME%", "tls": "%DOWNSTREAM_TLS_VERSION%", "who": "%DOWNSTREAM_PEER_SUBJECT%", "uri": "%DOWNSTREAM_PEER_URI_SAN%",
                "local": "%DOWNSTREAM_LOCAL_PORT%", "connection": "%CONNECTION_ID%", "zone": "%ENVIRONMENT(LOG_TEST_ZONE)%", "host": "%HOSTNAME%",
                "nested": {"type": "%RESP(CONTENT-TYPE)%", "field": "%REQ(X-A?X-B):3%", "trailer": "%TRAILER(X-END)%", "query": "%QUERY_PARAM(q)%"}}
        certificate, key = self.own
        client = self.authority.issue("client", "URI:spiffe://shop/alice,DNS:alice.test", subject="alice")
        trailers = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-end: yes\r\n\r\n"
        origin = Origin(answering(trailers))
        self.addCleanup(origin.close)
        listener = (f', tls: {{ certificate: {certificate}, key: {key}, clientCA: {self.authority.ca}, clientCertificate: optional }}')
        proxy = self.start(config(origin.port, listener=listener, extra=f"accessLog: {{ path: {log.name}, format: {json.dumps(keys)} }}"))
        context = ssl.create_default_context(cafile=self.authority.ca)
        context.load_cert_chain(*client)
        for n in range(2):
            with context.wrap_socket(socket.create_connection(("127.0.0.1", proxy.port)), server_hostname="localhost") as connection:
                connection.sendall(b"GET /?q=a%20b HTTP/1.1\r\nHost: a\r\nX-B: beta\r\nConnection: close\r\n\r\n")
                while connection.recv(65536):
                    pass
        lines = until(lambda: (log.seek(0), text := log.read())[1].count("\n") == 2 and [json.loads(line) for line in text.splitlines()])
        for one in lines:
            self.assertEqual({**one, "connection": 0}, {
                "sni": "localhost", "tls": "TLSv1.3", "who": "CN=alice", "uri": "spiffe://shop/alice", "local": proxy.port, "connection": 0,
                "zone": 'eu"1', "host": socket.gethostname(),
                "nested": {"type": "text/plain", "field": "bet", "trailer": "yes", "query": "a%20b"}})
        self.assertNotEqual(lines[0]["connection"], lines[1]["connection"])

    def test_errors_are_always_written_and_a_reload_takes_another_format(self):
        log = tempfile.NamedTemporaryFile("r")
        self.addCleanup(log.close)
        def text():
            log.seek(0)
            return log.read()
        holder, dead = dead_port()
        self.addCleanup(holder.close)
        backend = self.backend()
        def file(form):
            return config(backend.port, service=f'  dead: {{ versions: {{ v1: {{ endpoints: ["127.0.0.1:{dead}"] }} }} }}',
                          routes="routes: [{ name: bad, match: { path: { prefix: /bad } }, to: dead, retries: { attempts: 0 } }, { name: rest, to: s }]",
                          extra=f"accessLog: {{ path: {log.name}, sample: 0%, errors: always, format: '{form}' }}")
        proxy = self.start(file("%RESPONSE_CODE% %RESPONSE_FLAGS%"))
        keeper = proxy.connect()
        keeper.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b"200 OK", keeper.recv(65536))
        for _ in range(50):
            self.assertEqual(proxy.get("/").status, 200)
        self.assertEqual(proxy.get("/bad").status, 502)
        until(lambda: text() == "502 UF\n")
        # A connection that was open before has its address in the new format.
        proxy.write(file("%DOWNSTREAM_LOCAL_ADDRESS% %RESPONSE_CODE_DETAILS%"))
        proxy.reload()
        keeper.sendall(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n")
        # An endpoint that has refused may be out by now.
        self.assertRegex(keeper.recv(65536), rb"^HTTP/1.1 50[23] ")
        keeper.close()
        until(lambda: text().count("\n") == 2)
        details = r"(upstream_reset_before_response_started\{remote_connection_failure\|refused\}|no_healthy_upstream)"
        self.assertRegex(text().splitlines()[1], rf"^127\.0\.0\.1:{proxy.port} {details}$")

    def test_an_operator_that_has_no_meaning_is_refused_at_its_place(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(config(1, extra="accessLog:\n  path: /dev/stdout\n  format: \"%PROTOCOL% %DYNAMIC_METADATA(a:b)%\""))
            file.flush()
            said = subprocess.run([BINARY, "validate", "-c", file.name], capture_output=True, text=True)
        self.assertEqual(said.returncode, 2)
        out = said.stdout + said.stderr
        self.assertRegex(out, r":\d+:23: error: accessLog.format: %DYNAMIC_METADATA% has no meaning here")
        self.assertIn("write %SLUICE_SERVICE%", out)


if __name__ == "__main__":
    unittest.main()
