"""HTTP/2 and gRPC with the clients and origins that people run, through every pairing of versions."""
import asyncio, hashlib, json, os, re, shutil, socket, subprocess, tempfile, threading, unittest
import httpx
import calls
from frames import *
from harness import OK, Demo, Origin, Proxy, answering, config, until

NODE = shutil.which("node")


class Nghttpd:
    """nghttp2's server as an origin: files, with a trailer."""

    def __init__(self, files):
        self.folder = tempfile.TemporaryDirectory()
        for name, content in files.items():
            with open(os.path.join(self.folder.name, name), "wb") as file:
                file.write(content)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            ["nghttpd", "--no-tls", "--address=127.0.0.1", "-d", self.folder.name, "--trailer=x-sum: 7", str(self.port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.listens)

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        except OSError:
            return False

    def close(self):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def sha(data):
    return hashlib.sha256(data).hexdigest()


class HTTP2(unittest.TestCase):
    def start(self, text, *options):
        proxy = Proxy(text, *options)
        self.addCleanup(proxy.stop)
        return proxy

    def demo(self, name="v1"):
        demo = Demo(name)
        self.addCleanup(demo.stop)
        return demo

    def behind(self, port, protocol="http2"):
        """A proxy in front of another: HTTP/2 on the way to it."""
        return self.start(config(port, service=f"    protocol: {protocol}"))

    def pairings(self):
        """A port for each pairing's upstream side: straight to the demo, and through a second proxy by HTTP/2."""
        demo = self.demo()
        near = self.start(config(demo.port))
        far = self.behind(near.port)
        return {"h1 upstream": near, "h2 upstream": far}

    # Clients

    def curl(self, port, *options, path="/"):
        out = subprocess.run(["curl", "-sS", "--max-time", "20", *options, f"http://127.0.0.1:{port}{path}"], capture_output=True)
        self.assertEqual(out.returncode, 0, out.stderr)
        return out.stdout

    def test_curl_through_every_pairing(self):
        body = os.urandom(300_000)
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            for name, proxy in self.pairings().items():
                for version in ("--http1.1", "--http2-prior-knowledge"):
                    with self.subTest(upstream=name, client=version):
                        self.assertEqual(json.loads(self.curl(proxy.port, version, path="/a?b=c"))["path"], "/a?b=c")
                        echo = json.loads(self.curl(proxy.port, version, "--data-binary", f"@{file.name}"))
                        self.assertEqual(echo["bodyBytes"], len(body))
                        # Without a length: chunks on HTTP/1.1, DATA until END_STREAM on HTTP/2.
                        echo = json.loads(self.upload(proxy.port, version, body))
                        self.assertEqual(echo["bodyBytes"], len(body))
                        head = self.curl(proxy.port, version, "-I")
                        self.assertRegex(head, rb"HTTP/(1.1 200 OK|2 200)")

    def upload(self, port, version, body):
        out = subprocess.run(["curl", "-sS", "--max-time", "20", version, "-X", "POST", "-T", "-", f"http://127.0.0.1:{port}/"],
                             input=body, capture_output=True)
        return out.stdout

    def test_downloads_and_trailers_through_every_pairing(self):
        big = os.urandom(5_000_000)
        origin = Nghttpd({"big": big})
        self.addCleanup(origin.close)
        near = self.behind(origin.port)
        far = self.behind(near.port)
        for name, proxy in (("h2", near), ("h2 twice", far)):
            for version in ("--http1.1", "--http2-prior-knowledge"):
                with self.subTest(upstream=name, client=version):
                    self.assertEqual(sha(self.curl(proxy.port, version, path="/big")), sha(big))
        client = Client(far.port)
        client.send(window(0, 1 << 24) + settings((4, 1 << 24)))
        client.request(path="/big")
        self.assertEqual(client.outcome(), "200")
        trailers = [dict(f[3]) for f in client.seen if f[0] == HEADERS]
        self.assertEqual(trailers[-1].get("x-sum"), "7")
        client.close()

    def test_httpx_and_many_streams(self):
        async def run(proxy):
            async with httpx.AsyncClient(http1=False, http2=True, timeout=30) as client:
                answers = await asyncio.gather(*(client.get(f"http://127.0.0.1:{proxy.port}/{i}") for i in range(300)))
            self.assertEqual({a.http_version for a in answers}, {"HTTP/2"})
            self.assertEqual([a.json()["path"] for a in answers], [f"/{i}" for i in range(300)])
        for name, proxy in self.pairings().items():
            with self.subTest(name):
                asyncio.run(run(proxy))

    @unittest.skipUnless(NODE, "node is not installed")
    def test_node_as_client_and_origin(self):
        script = """
const http2 = require('http2');
const server = http2.createServer((request, response) => {
  let count = 0;
  request.on('data', d => count += d.length);
  request.on('end', () => {
    response.writeHead(200, {'content-type': 'text/plain', trailer: 'x-count'});
    response.addTrailers({'x-count': String(count)});
    response.end('from node: ' + count);
  });
});
server.listen(0, '127.0.0.1', () => {
  console.log(server.address().port);
  process.stdin.once('data', port => {
    const client = http2.connect('http://127.0.0.1:' + String(port).trim());
    let left = 50;
    for (let i = 0; i < 50; i++) {
      const stream = client.request({':method': 'POST', ':path': '/' + i});
      let text = '', sum = '';
      stream.setEncoding('utf8');
      stream.on('data', d => text += d);
      stream.on('trailers', t => sum = t['x-count']);
      stream.on('end', () => {
        console.log(text + ' ' + sum);
        if (--left === 0) { client.close(); server.close(); process.exit(0); }
      });
      stream.end('x'.repeat(i * 1000));
    }
  });
});"""
        for between in ("h2", "h1"):
            with self.subTest(between=between):
                node = subprocess.Popen([NODE, "-e", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                self.addCleanup(node.kill)
                proxy = self.behind(int(node.stdout.readline()))
                if between == "h1":
                    proxy = self.start(config(proxy.port))
                out, _ = node.communicate(f"{proxy.port}\n", timeout=30)
                self.assertEqual(sorted(out.splitlines()), sorted(f"from node: {i * 1000} {i * 1000}" for i in range(50)))

    def test_nghttp_and_h2load_count_exactly(self):
        one, two = self.demo("v1"), self.demo("v2")
        near = [self.start(config(demo.port)) for demo in (one, two)]
        straight = self.start(config(one.port, two.port, ("99%", "1%")))
        through = self.start(config(near[0].port, near[1].port, ("99%", "1%"), service="    protocol: http2"))
        for name, proxy in (("h1 upstream", straight), ("h2 upstream", through)):
            with self.subTest(name):
                out = subprocess.run(["h2load", "-n20000", "-c10", "-m32", f"http://127.0.0.1:{proxy.port}/"], capture_output=True, text=True).stdout
                self.assertIn("20000 succeeded, 0 failed", out)
                count = lambda version: proxy.metric(rf'sluice_requests_total\{{.*version="{version}".*code="200"')
                self.assertEqual((count("v1"), count("v2")), (19800, 200))
                out = subprocess.run(["nghttp", "-v", f"http://127.0.0.1:{proxy.port}/"], capture_output=True, text=True).stdout
                self.assertIn(":status: 200", out)
                self.assertEqual(proxy.metric(r'sluice_requests_by_protocol_total\{protocol="HTTP/2"'), 20001)
        # The last request begins a block of draws: one in a hundred times it is v2's.
        counts = [n.metric(r'sluice_requests_by_protocol_total\{protocol="HTTP/2"') for n in near]
        self.assertIn(counts, ([19801, 200], [19800, 201]))

    def test_sessions_stick_over_both_versions(self):
        one, two = self.demo("v1"), self.demo("v2")
        sticky = "    sticky: { cookie: session }"
        near = [self.start(config(demo.port)) for demo in (one, two)]
        proxies = (self.start(config(one.port, two.port, ("50%", "50%"), service=sticky)),
                   self.start(config(near[0].port, near[1].port, ("50%", "50%"), service=sticky + "\n    protocol: http2")))
        versions = set()
        with httpx.Client(http1=False, http2=True) as second, httpx.Client() as first:
            for i in range(100):
                cookie = {"cookie": f"theme=dark; session=user-{i}"}
                served = {c.get(f"http://127.0.0.1:{p.port}/", headers=cookie).json()["version"]
                          for p in proxies for c in (first, second, second)}
                self.assertEqual(len(served), 1)
                versions |= served
        self.assertEqual(versions, {"v1", "v2"})

    # Messages

    def test_interim_responses_head_and_empty_answers(self):
        answers = {
            "/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
            "/304": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", "/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        }

        def serve(origin, connection):
            rest = b""
            while True:
                head, rest = origin.head(connection, rest)
                if head is None:
                    return
                method, path = head.split(" ")[:2]
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" if method == "HEAD" else answers[path])
        origin = Origin(serve)
        self.addCleanup(origin.close)
        near = self.start(config(origin.port))
        for proxy in (near, self.behind(near.port)):
            client = Client(proxy.port)
            for i, (path, statuses) in enumerate((("/hints", ["103", "200"]), ("/204", ["204"]), ("/304", ["304"]), ("/chunks", ["200", None]))):
                stream = 1 + 2 * i
                client.request(stream, path=path)
                client.outcome(stream)
                heads = [dict(f[3]) for f in client.seen if f[0] == HEADERS and f[2] == stream]
                self.assertEqual([h.get(":status") for h in heads], statuses, path)
            self.assertEqual(heads[-1].get("x-sum"), "1")
            client.request(9, method="HEAD", path="/x")
            self.assertEqual(client.outcome(9), "200")
            self.assertEqual(dict(client.seen[-1][3])["content-length"], "5")
            client.close()

    def test_an_answer_before_the_request_is_complete(self):
        def serve(origin, connection):
            origin.head(connection)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        origin = Origin(serve)
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port))
        client = Client(proxy.port)
        client.request(method="POST", end=False)
        self.assertEqual(client.outcome(), "403")
        # The rest is not wanted, and the client is told so without an error.
        self.assertEqual(client.outcome(), "rst NO_ERROR")
        client.request(3, method="POST", end=False)
        self.assertEqual(client.outcome(3), "403")
        client.close()

    def test_a_broken_answer_is_a_reset_stream_and_a_reset_stream_ends_the_origins_connection(self):
        gone = threading.Event()

        def serve(origin, connection):
            head, _ = origin.head(connection)
            if "/cut" in head:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
                return
            try:
                while connection.recv(65536):
                    pass
            finally:
                gone.set()
        origin = Origin(serve)
        self.addCleanup(origin.close)
        near = self.start(config(origin.port))
        for proxy in (near, self.behind(near.port)):
            client = Client(proxy.port)
            client.request(path="/cut")
            self.assertEqual(client.outcome(), "rst INTERNAL_ERROR")
            client.request(3, path="/wait")
            until(lambda: any("/wait" in h for h in origin.heads))
            client.send(reset(3))
            self.assertTrue(gone.wait(10))
            gone.clear()
            origin.heads.clear()
            self.assertTrue(client.acknowledged())
            client.close()
        self.assertEqual(near.metric(r'sluice_http2_stream_resets_total\{side="downstream",code="CANCEL"'), 2)

    def test_a_slow_reader_stops_only_its_own_producer(self):
        body = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 50_000_000
        origin = Origin(answering(body))
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, self.demo().port, routes="routes: [{ name: big, match: { path: { exact: /big } }, to: s/v1 }, { name: rest, to: s/v2 }]"))
        client = Client(proxy.port)
        client.request(1, path="/big")
        while sum(len(f[3]) for f in client.seen if f[0] == DATA and f[2] == 1) < 65535:
            client.next()
        client.send(window(0, 1 << 20))
        for stream in range(3, 103, 2):
            client.request(stream)
            self.assertEqual(client.outcome(stream), "200")
        self.assertEqual(proxy.metric(r"sluice_requests_in_flight"), 1)
        client.send(reset(1))
        self.assertTrue(client.acknowledged())
        client.close()

    def test_websockets_over_every_pairing(self):
        """RFC 8441, and the handshake of RFC 6455 that it stands for."""
        import base64
        accept = lambda key: base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()

        def serve(origin, connection):
            head, rest = origin.head(connection)
            key = re.search(r"(?i)sec-websocket-key: (\S+)", head).group(1)
            connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept(key)}\r\n\r\n".encode())
            while True:
                piece = rest or connection.recv(65536)
                rest = b""
                if not piece:
                    return
                connection.sendall(piece.upper())
        origin = Origin(serve)
        self.addCleanup(origin.close)
        near = self.start(config(origin.port))
        for proxy in (near, self.behind(near.port)):
            client = Client(proxy.port)
            client.send(frame(HEADERS, 4, 1, client.block((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                                                          (":path", "/chat"), (":authority", "a.test"), ("sec-websocket-version", "13"))))
            client.send(frame(DATA, 0, 1, b"hello"))
            got = b""
            while got != b"HELLO":
                kind, flags, stream, payload = client.next()
                if kind == HEADERS:
                    self.assertEqual(dict(payload)[":status"], "200")
                got += payload if kind == DATA else b""
            client.send(frame(DATA, 1, 1))
            self.assertEqual(client.outcome(), None)
            client.close()
            raw = proxy.connect()
            raw.sendall(b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nbytes")
            seen = b""
            while b"BYTES" not in seen:
                seen += raw.recv(4096)
            self.assertIn(b"101 Switching", seen)
            self.assertIn(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", seen)
            raw.close()

    # Life of connections

    def test_a_drain_says_goaway_and_lets_streams_finish(self):
        release = threading.Event()

        def serve(origin, connection):
            rest = b""
            while True:
                head, rest = origin.head(connection, rest)
                if head is None:
                    return
                if "/wait" in head:
                    release.wait(20)
                connection.sendall(OK)
        origin = Origin(serve)
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port))
        client = Client(proxy.port)
        client.request(path="/wait")
        until(lambda: origin.heads)
        proxy.process.send_signal(15)
        last = []
        while not last:
            kind, _, _, payload = client.next()
            if kind == GOAWAY:
                last.append(struct.unpack(">II", payload[:8]))
        self.assertEqual(last[0], (0x7fffffff, 0))
        # A request that was on its way is served.
        client.request(3)
        self.assertEqual(client.outcome(3), "200")
        release.set()
        self.assertEqual(client.outcome(1), "200")
        self.assertEqual(proxy.process.wait(20), 0)
        client.close()

    def test_goaway_and_refused_streams_of_an_origin_are_repeated_elsewhere(self):
        """Requests that the origin says it has not acted on, bodies included."""
        import h2.config, h2.connection, h2.events

        def serve(origin, connection):
            server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            server.initiate_connection()
            connection.sendall(server.data_to_send())
            answered = 0
            while True:
                piece = connection.recv(65536)
                if not piece:
                    return
                for event in server.receive_data(piece):
                    if isinstance(event, h2.events.StreamEnded):
                        answered += 1
                        if origin.mode == "refuse all" or (origin.mode == "refuse" and answered == 1):
                            server.reset_stream(event.stream_id, 7)
                        elif origin.mode == "goaway" and answered == 2:
                            server.close_connection(0, last_stream_id=event.stream_id - 2)
                            connection.sendall(server.data_to_send())
                            return
                        else:
                            server.send_headers(event.stream_id, [(":status", "200"), ("content-length", "2")])
                            server.send_data(event.stream_id, b"ok", end_stream=True)
                connection.sendall(server.data_to_send())
        origin = Origin(serve)
        self.addCleanup(origin.close)
        for mode in ("refuse", "goaway"):
            origin.mode = mode
            proxy = self.behind(origin.port)
            for i in range(4):
                answer = proxy.get("/", method="POST", body=b"x" * 1000)
                self.assertEqual((answer.status, answer.text), (200, "ok"), mode)
            self.assertGreaterEqual(proxy.metric(r"sluice_upstream_retries_total"), 1)
        origin.mode = "refuse all"
        proxy = self.behind(origin.port)
        self.assertEqual(proxy.get("/").status, 502)
        self.assertEqual(proxy.metric(r"sluice_upstream_retries_total"), 1, "once, not as often as it is refused")

    def test_an_endpoint_that_falls_silent_is_asked_and_given_up(self):
        """The connection stays open, and nobody reads it: what a vanished machine looks like."""
        silent = threading.Event()

        def serve(origin, connection):
            import h2.config, h2.connection, h2.events
            server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            server.initiate_connection()
            connection.sendall(server.data_to_send())
            while not silent.is_set():
                for event in server.receive_data(connection.recv(65536)):
                    if isinstance(event, h2.events.RequestReceived):
                        silent.set()
                connection.sendall(server.data_to_send())
            until(lambda: done, 20)
        done = []
        origin = Origin(serve)
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, service="    protocol: http2\n    connectionPool: { pingInterval: 200ms }"))
        self.assertEqual(proxy.get("/", method="POST", body=b"x").status, 502)
        self.assertEqual(proxy.metric(r"sluice_upstream_disconnects_total"), 1)
        done.append(True)

    def test_listeners_that_speak_one_version(self):
        demo = self.demo()
        only = lambda protocol: config(demo.port).replace('address: "127.0.0.1:0" }]', f'address: "127.0.0.1:0", protocol: {protocol} }}]')
        first, second = self.start(only("http1")), self.start(only("http2"))
        self.assertIn(b"HTTP/1.1 400", first.raw(PREFACE + settings()))
        self.assertEqual(first.get("/").status, 200)
        client = Client(second.port, False)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(client.outcome(), "goaway PROTOCOL_ERROR")
        client = Client(second.port)
        client.request()
        self.assertEqual(client.outcome(), "200")
        client.close()

    def test_reload_of_limits_under_open_sessions(self):
        """Buffers are sized anew while sessions go on. (Simulation, seed 37.)"""
        server = calls.Server("v1")
        self.addCleanup(server.stop)
        proxy = self.behind(server.port)
        with calls.channel(proxy.port) as channel:
            call = channel.unary_unary("/demo.Echo/Unary")
            for size in ("16KiB", "1KiB", "256KiB", "64KiB"):
                self.assertEqual(call(b"x" * 50_000, timeout=20), b"x" * 50_000)
                with open(proxy.path) as file:
                    text = re.sub(r"\ndefaults: .*", "", file.read())
                with open(proxy.path, "w") as file:
                    file.write(text + f"\ndefaults: {{ limits: {{ headerBytes: {size} }} }}\n")
                proxy.reload()
                self.assertEqual(call(b"y" * 50_000, timeout=20), b"y" * 50_000)

    def test_reload_keeps_streams(self):
        server = calls.Server("v1")
        self.addCleanup(server.stop)
        proxy = self.behind(server.port)
        with calls.channel(proxy.port) as channel:
            sent = []
            more = threading.Condition()

            def requests():
                for i in range(20):
                    with more:
                        more.wait_for(lambda: len(sent) > i, 20)
                    yield b"%d" % i
            call = channel.stream_stream("/demo.Echo/Both")(requests(), timeout=60)
            for i in range(20):
                proxy.reload()
                with more:
                    sent.append(i)
                    more.notify()
                self.assertEqual(next(call), b"%d" % i)
            self.assertRaises(StopIteration, next, call)


if __name__ == "__main__":
    unittest.main()
