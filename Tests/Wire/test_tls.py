"""TLS on both sides: who is let in and who is not, names, sessions, certificates that change under load."""
import json, os, re, select, shutil, socket, ssl, subprocess, time, unittest
import grpc, httpx
import calls
from certificates import Authority
from frames import Client
from harness import OK, Demo, Origin, Proxy, answering, config, until


def https(port):
    return f"https://localhost:{port}/"


class TLS(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority, cls.other = Authority(), Authority("Other CA")
        cls.server = cls.authority.issue("server", "DNS:localhost,IP:127.0.0.1")
        cls.client = cls.authority.issue("client", 'URI:spiffe://shop/alice,DNS:alice.test', subject="alice")
        cls.stranger = cls.other.issue("stranger", "DNS:eve.test", subject="eve")
        cls.expired = cls.authority.issue("expired", "DNS:localhost", days=-1)
        cls.wild = cls.authority.issue("wild", "DNS:*.shop.test")
        cls.exact = cls.authority.issue("exact", "DNS:a.shop.test", key="rsa")

    @classmethod
    def tearDownClass(cls):
        cls.authority.close()
        cls.other.close()

    def start(self, text):
        proxy = Proxy(text)
        self.addCleanup(proxy.stop)
        proxy.tls = int(re.search(r"https=127\.0\.0\.1:(\d+)", proxy.log[-1]).group(1))
        return proxy

    def listener(self, tls, port=None, protocol="auto", **more):
        """A proxy whose second listener, https, has TLS."""
        if port is None:
            demo = Demo("v1")
            self.addCleanup(demo.stop)
            port = demo.port
        text = config(port, **more).replace(
            'listeners: [{ name: http, address: "127.0.0.1:0" }]',
            'listeners: [{ name: http, address: "127.0.0.1:0" }, '
            f'{{ name: https, address: "127.0.0.1:0", protocol: {protocol}, tls: {tls} }}]')
        return text

    def own(self, pair=None, more=""):
        certificate, key = pair or self.server
        return f"{{ certificate: {certificate}, key: {key}{more} }}"

    def curl(self, port, *options, name="localhost"):
        return subprocess.run(
            ["curl", "-sS", "--max-time", "20", "--cacert", self.authority.ca, "--resolve", f"{name}:{port}:127.0.0.1", *options,
             f"https://{name}:{port}/"], capture_output=True, text=True)

    def s_client(self, port, *options, request=b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
        out = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", self.authority.ca, "-ign_eof", *options],
            input=request, capture_output=True, timeout=20)
        return (out.stdout + out.stderr).decode("latin-1")

    # Listeners

    def test_more_pipelined_than_any_buffer_holds(self):
        proxy = self.start(self.listener(self.own()))
        context = ssl.create_default_context(cafile=self.authority.ca)
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with context.wrap_socket(socket.create_connection(("127.0.0.1", proxy.tls)), server_hostname="localhost") as connection:
            # By one thread, because a TLS object of Python is not for two at a time; the answers are longer than
            # what the sockets hold, so that writing and reading take turns.
            connection.setblocking(False)
            rest = memoryview(request * 9_999 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            out = b""
            while True:
                try:
                    if rest:
                        rest = rest[connection.send(rest[:16384]):]
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
                try:
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    out += piece
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    ready = select.select([connection], [connection] if rest else [], [], 20)
                    self.assertTrue(any(ready), "20 s without a byte")
        self.assertEqual(out.count(b"HTTP/1.1 200 OK"), 10_000)

    def test_versions_protocols_and_what_the_origin_is_told(self):
        proxy = self.start(self.listener(self.own()))
        for options, alpn in ((["--http1.1"], "1.1"), (["--http2"], "2"), (["--tls-max", "1.2", "--http2"], "2")):
            out = self.curl(proxy.tls, *options, "-w", "%{http_version} %{ssl_verify_result}")
            self.assertEqual(out.returncode, 0, out.stderr)
            self.assertIn('"x-forwarded-proto": "https"', out.stdout)
            self.assertTrue(out.stdout.endswith(f"{alpn} 0"), out.stdout[-20:])
        self.assertIn('"x-forwarded-proto": "http"', proxy.get("/").text)
        self.assertEqual(proxy.metric(r'sluice_tls_handshakes_total\{side="downstream",version="1.3"'), 2)
        self.assertEqual(proxy.metric(r'sluice_tls_handshakes_total\{side="downstream",version="1.2"'), 1)
        for old in ("-tls1", "-tls1_1"):
            self.assertRegex(self.s_client(proxy.tls, old, "-cipher", "ALL:@SECLEVEL=0"), "alert|no protocols")
        weak = self.s_client(proxy.tls, "-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0")
        self.assertIn("handshake failure", weak)

    def test_the_log_says_what_was_spoken(self):
        path = self.authority.file("access.log")
        proxy = self.start(self.listener(self.own(), extra=f"accessLog: {{ path: {path} }}"))
        for options in (["--http2"], ["--http1.1", "--tls-max", "1.2"]):
            self.assertEqual(self.curl(proxy.tls, *options).returncode, 0)
        proxy.get("/")
        until(lambda: os.path.exists(path) and open(path).read().count("\n") == 3)
        lines = [json.loads(line) for line in open(path)]
        self.assertEqual([(l["protocol"], l.get("tls")) for l in lines], [("HTTP/2", "1.3"), ("HTTP/1.1", "1.2"), ("HTTP/1.1", None)])

    def test_only_modern(self):
        proxy = self.start(self.listener(self.own(more=', minVersion: "1.3"')))
        self.assertEqual(self.curl(proxy.tls).returncode, 0)
        self.assertIn("protocol version", self.s_client(proxy.tls, "-tls1_2"))
        self.assertEqual(proxy.metric(r'sluice_tls_handshake_failures_total\{side="downstream",cause="none-in-common"'), 1)

    def test_names_choose_the_certificate(self):
        (certificate, key), (exact, exact_key) = self.wild, self.exact
        more = f", certificates: [{{ certificate: {certificate}, key: {key} }}, {{ certificate: {exact}, key: {exact_key} }}]"
        proxy = self.start(self.listener(self.own(more=more)))
        for name, subject in (("localhost", "server"), ("b.shop.test", "wild"), ("a.shop.test", "exact"), ("a.b.shop.test", "server"), ("nowhere.test", "server")):
            out = self.s_client(proxy.tls, "-servername", name)
            self.assertRegex(out, rf"subject=CN ?= ?{subject}", name)
        self.assertRegex(self.s_client(proxy.tls, "-noservername"), r"subject=CN ?= ?server")
        self.assertNotEqual(self.curl(proxy.tls, name="nowhere.test").returncode, 0)

    def test_clients_must_show_a_certificate(self):
        proxy = self.start(self.listener(self.own(more=f", clientCA: {self.authority.ca}")))
        out = self.curl(proxy.tls, "--cert", self.client[0], "--key", self.client[1], "-H", "x-forwarded-client-cert: forged")
        self.assertIn(';Subject=\\"CN=alice\\";URI=\\"spiffe://shop/alice\\";DNS=\\"alice.test\\"', out.stdout)
        self.assertNotIn("forged", out.stdout)
        self.assertIn("certificate required", self.curl(proxy.tls).stderr)
        self.assertIn("unknown ca", self.curl(proxy.tls, "--cert", self.stranger[0], "--key", self.stranger[1]).stderr)
        cause = lambda name: proxy.metric(rf'sluice_tls_handshake_failures_total\{{side="downstream",cause="{name}"')
        until(lambda: cause("no-certificate") == 1 and cause("unknown-authority") == 1)
        until(lambda: any("a TLS handshake failed" in line for line in proxy.log))

    def test_clients_may_show_a_certificate(self):
        proxy = self.start(self.listener(self.own(more=f", clientCA: {self.authority.ca}, clientCertificate: optional")))
        self.assertNotIn("x-forwarded-client-cert", self.curl(proxy.tls, "-H", "x-forwarded-client-cert: forged").stdout)
        self.assertIn("CN=alice", self.curl(proxy.tls, "--cert", self.client[0], "--key", self.client[1]).stdout)

    def test_sessions_are_taken_up_again_over_reloads(self):
        proxy = self.start(self.listener(self.own()))
        for version in ("-tls1_2", "-tls1_3"):
            saved = self.authority.file("session")
            self.assertIn("New, ", self.s_client(proxy.tls, version, "-sess_out", saved))
            proxy.reload()
            self.assertIn("Reused, ", self.s_client(proxy.tls, version, "-sess_in", saved))
        self.assertEqual(proxy.metric(r"sluice_downstream_tls_resumptions_total"), 2)

    def test_bytes_that_are_not_tls_and_clients_that_say_nothing(self):
        proxy = self.start(self.listener(self.own(), extra="defaults: { timeouts: { headers: 300ms } }"))
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", os.urandom(1000)):
            with socket.create_connection(("127.0.0.1", proxy.tls)) as raw:
                raw.settimeout(20)
                raw.sendall(data)
                try:
                    while raw.recv(4096):
                        pass
                except ConnectionResetError:
                    pass
        with socket.create_connection(("127.0.0.1", proxy.tls)) as silent:
            silent.settimeout(20)
            self.assertEqual(silent.recv(1), b"")
        cause = lambda name: proxy.metric(rf'sluice_tls_handshake_failures_total\{{side="downstream",cause="{name}"')
        until(lambda: cause("not-tls") == 2 and cause("timeout") == 1)
        self.assertEqual(self.curl(proxy.tls).returncode, 0)

    def test_bytes_one_by_one(self):
        """A handshake and a request through a relay that passes single bytes on."""
        proxy = self.start(self.listener(self.own()))
        context = ssl.create_default_context(cafile=self.authority.ca)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        raw = socket.create_connection(("127.0.0.1", proxy.tls))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.settimeout(20)

        def pump():
            for byte in outgoing.read():
                raw.sendall(bytes([byte]))

        def until_done(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    pump()
                    incoming.write(raw.recv(1))
                finally:
                    pump()
        until_done(session.do_handshake)
        session.write(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while b"x-request-id" not in answer:
            answer += until_done(lambda: session.read(100))
        self.assertIn(b"200 OK", answer)
        raw.close()

    def test_large_bodies_both_ways(self):
        body = os.urandom(8_000_000)

        def serve(origin, connection):
            head, rest = origin.head(connection)
            length = int(re.search(r"(?i)content-length: (\d+)", head).group(1))
            while len(rest) < length:
                rest += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(rest) + rest)
        origin = Origin(serve)
        self.addCleanup(origin.close)
        proxy = self.start(self.listener(self.own(), port=origin.port))
        for second in (False, True):
            with httpx.Client(http1=not second, http2=second, verify=ssl.create_default_context(cafile=self.authority.ca), timeout=60) as client:
                self.assertEqual(client.post(https(proxy.tls), content=body).content, body)

    # Reloads

    def test_a_bad_certificate_at_reload_changes_nothing_and_says_why(self):
        folder = self.authority.file("rotating")
        os.makedirs(folder, exist_ok=True)
        pair = [shutil.copy(path, folder) for path in self.server]
        proxy = self.start(self.listener(self.own(pair)))
        whole = [open(path, "rb").read() for path in pair]
        bad = [
            (0, b"nonsense", "is not PEM"), (1, b"", "is empty"), (0, None, "cannot be read"),
            (1, open(self.client[1], "rb").read(), "does not belong to the certificate"),
        ]
        def rejections():
            return [line for line in proxy.log if "configuration rejected" in line]

        for count, (which, content, reason) in enumerate(bad, 1):
            if content is None:
                os.rename(pair[which], pair[which] + ".away")
            else:
                open(pair[which], "wb").write(content)
            proxy.reload()
            # The count of reloads may be seen before the line is read.
            until(lambda: len(rejections()) == count)
            why = rejections()[-1]
            self.assertIn(os.path.basename(pair[which]), why)
            self.assertIn(reason, why)
            self.assertEqual(self.curl(proxy.tls).returncode, 0)
            if content is None:
                os.rename(pair[which] + ".away", pair[which])
            open(pair[which], "wb").write(whole[which])
        self.assertEqual(proxy.metric(r'sluice_config_reloads_total\{result="rejected"'), len(bad))

    def test_a_certificate_is_replaced_under_load(self):
        folder = self.authority.file("replaced")
        os.makedirs(folder, exist_ok=True)
        pair = [shutil.copy(path, folder) for path in self.server]
        proxy = self.start(self.listener(self.own(pair)))
        load = subprocess.Popen(["h2load", "-n30000", "-c10", "-m8", https(proxy.tls).replace("localhost", "127.0.0.1")], stdout=subprocess.PIPE, text=True)
        once = subprocess.Popen(["h2load", "--h1", "-n600", "-c600", "-t1", "-r200", https(proxy.tls).replace("localhost", "127.0.0.1")], stdout=subprocess.PIPE, text=True)
        old = self.s_client(proxy.tls)
        next_pair = self.authority.issue("next", "DNS:localhost,IP:127.0.0.1")
        for i, path in enumerate(next_pair):
            shutil.copy(path, pair[i])
        proxy.reload()
        self.assertIn("30000 succeeded, 0 failed", load.communicate()[0])
        self.assertIn("600 succeeded, 0 failed", once.communicate()[0])
        self.assertRegex(old, r"subject=CN ?= ?server")
        self.assertRegex(self.s_client(proxy.tls), r"subject=CN ?= ?next")

    def test_a_changed_certificate_is_seen_without_a_signal(self):
        folder = self.authority.file("watched")
        os.makedirs(folder, exist_ok=True)
        pair = [shutil.copy(path, folder) for path in self.server]
        proxy = Proxy(self.listener(self.own(pair)), "--watch")
        self.addCleanup(proxy.stop)
        port = int(re.search(r"https=127\.0\.0\.1:(\d+)", proxy.log[-1]).group(1))
        for i, path in enumerate(self.authority.issue("later", "DNS:localhost")):
            shutil.copy(path, pair[i] + ".new")
            os.rename(pair[i] + ".new", pair[i])
        until(lambda: re.search(r"subject=CN ?= ?later", self.s_client(port)))

    # Towards endpoints

    def secure_origin(self, pair, client_ca=False, name="https"):
        """A proxy with TLS as an origin with TLS."""
        more = f", clientCA: {self.authority.ca}" if client_ca else ""
        return self.start(self.listener(self.own(pair, more)))

    def towards(self, port, tls, protocol="auto"):
        proxy = Proxy(config(port, service=f"    protocol: {protocol}\n    tls: {tls}", extra="defaults: { forwarding: { flags: x-flags } }").replace(
            "    stable: v1", "    stable: v1\n    connectTimeout: 2s"))
        self.addCleanup(proxy.stop)
        return proxy

    def test_endpoints_are_verified(self):
        good, gone = self.secure_origin(self.server), self.secure_origin(self.expired)
        ca = self.authority.ca
        cases = [
            (good, f"{{ ca: {ca}, sni: localhost }}", 200, None),
            (good, f"{{ ca: {ca}, sni: elsewhere.test }}", 502, "wrong-name"),
            (good, f"{{ ca: {self.other.ca}, sni: localhost }}", 502, "unknown-authority"),
            (good, "{ sni: localhost }", 502, "unknown-authority"),
            (good, "{ sni: elsewhere.test, verify: off }", 200, None),
            (gone, f"{{ ca: {ca}, sni: localhost }}", 502, "expired"),
        ]
        for origin, tls, status, cause in cases:
            for protocol in ("http1", "http2", "auto"):
                with self.subTest(tls=tls, protocol=protocol):
                    proxy = self.towards(origin.tls, tls, protocol)
                    answer = proxy.get("/")
                    self.assertEqual(answer.status, status, answer.text)
                    if cause:
                        self.assertEqual(answer.headers["x-flags"], "UF")
                        self.assertEqual(proxy.metric(rf'sluice_tls_handshake_failures_total\{{side="upstream",cause="{cause}"'), 1)
        plain = Origin(answering(OK))
        self.addCleanup(plain.close)
        # It waits for the end of a request that never comes.
        self.assertEqual(self.towards(plain.port, f"{{ ca: {ca}, sni: localhost }}").get("/").status, 504)

    def test_what_is_spoken_is_agreed_on(self):
        origin = self.secure_origin(self.server)
        for protocol, spoken in (("http1", "HTTP/1.1"), ("http2", "HTTP/2"), ("auto", "HTTP/2")):
            before = origin.metric(rf'sluice_requests_by_protocol_total\{{protocol="{spoken}"')
            proxy = self.towards(origin.tls, f"{{ ca: {self.authority.ca}, sni: localhost }}", protocol)
            for _ in range(5):
                self.assertEqual(proxy.get("/").status, 200)
            self.assertEqual(origin.metric(rf'sluice_requests_by_protocol_total\{{protocol="{spoken}"') - before, 5)

    def test_our_own_certificate_is_shown_and_sessions_are_resumed(self):
        origin = self.secure_origin(self.server, client_ca=True)
        tls = f"{{ ca: {self.authority.ca}, sni: localhost, certificate: {self.client[0]}, key: {self.client[1]} }}"
        proxy = self.towards(origin.tls, tls, "http1")
        self.assertIn("CN=alice", proxy.get("/").text)
        # Many at once need more connections, which take the session up.
        subprocess.run(["h2load", "--h1", "-n200", "-c20", f"http://127.0.0.1:{proxy.port}/"], capture_output=True)
        self.assertGreater(proxy.metric(r"sluice_upstream_tls_resumptions_total"), 0)
        self.assertEqual(self.towards(origin.tls, f"{{ ca: {self.authority.ca}, sni: localhost }}").get("/").status, 502)

    def test_calls_over_tls_from_end_to_end(self):
        certificate, key = (open(path, "rb").read() for path in self.server)
        ca = open(self.authority.ca, "rb").read()
        server = calls.Server("v1", grpc.ssl_server_credentials([(key, certificate)]))
        self.addCleanup(server.stop)
        proxy = self.start(self.listener(
            self.own(), port=server.port, service=f"    protocol: http2\n    tls: {{ ca: {self.authority.ca}, sni: localhost }}"))
        with calls.channel(proxy.tls, grpc.ssl_channel_credentials(ca)) as channel:
            self.assertEqual(channel.unary_unary("/demo.Echo/Unary")(b"x" * 100_000, timeout=20), b"x" * 100_000)
            self.assertEqual(len(list(channel.unary_stream("/demo.Echo/Server")(b"500", timeout=20))), 500)

    def test_a_reload_that_adds_tls_changes_the_way_to_the_endpoints(self):
        origin = self.secure_origin(self.server)
        plain, secure = origin.port, origin.tls
        proxy = Proxy(config(plain))
        self.addCleanup(proxy.stop)
        self.assertIn('"x-forwarded-proto": "http"', proxy.get("/").text)
        proxy.write(config(secure, service=f"    tls: {{ ca: {self.authority.ca}, sni: localhost }}"))
        proxy.reload()
        self.assertIn('"x-forwarded-proto": "https"', proxy.get("/").text)
        proxy.write(config(plain))
        proxy.reload()
        self.assertIn('"x-forwarded-proto": "http"', proxy.get("/").text)


if __name__ == "__main__":
    unittest.main()
