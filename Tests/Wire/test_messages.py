"""HTTP/1.1 at the wire: what the origin gets, what the client gets, whether they stay in step."""
import re, select, socket, threading, unittest
from harness import HALF_CLOSE, OK, Case, Origin, Proxy, answering, config, until


class Messages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(answering(OK))
        cls.proxy = Proxy(config(cls.origin.port, listener=HALF_CLOSE, extra="""
defaults:
  timeouts: { headers: 1s, firstByte: 1s, idle: 1s }
  limits: { headerBytes: 16KiB, headers: 30, bodyBytes: 1MiB }
  forwarding: { flags: x-sluice-flags }
"""))

    @classmethod
    def tearDownClass(cls):
        assert cls.proxy.stop() == 0

    def refused(self, data, status):
        out = self.proxy.raw(data)
        self.assertTrue(out.startswith(b"HTTP/1.1 %d " % status), out[:80])
        self.assertIn(b"connection: close", out)

    def test_refusals(self):
        cases = [
            (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400), (b"GET / HTTP/1.1\nHost: a\n\n", 400),
            (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", 413),
            (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 40 + b"\r\n", 431),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17000, 431),
            (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400), (b"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
            (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
            (b"GET / HTTP/1.1\r\nHost: a\r\n", 408),
        ]
        before = len(self.origin.heads)
        for data, status in cases:
            with self.subTest(data=data[:60]):
                self.refused(data, status)
        self.assertEqual(len(self.origin.heads), before)
        self.assertGreaterEqual(self.proxy.metric("sluice_downstream_refused_total"), len(cases))

    def test_fields(self):
        out = self.proxy.raw(
            b"GET /a?b HTTP/1.1\r\nHost: A.example:80\r\nX-First: 1\r\nConnection: close, X-Drop\r\n"
            b"X-Drop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
            b"x-forwarded-for: 9.9.9.9\r\nTraceparent: 00-a-b-01\r\nweird:   spaced \t\r\n\r\n")
        self.assertTrue(out.endswith(b"\r\n\r\nok"), out)
        head = self.origin.heads[-1]
        names = [line.split(":")[0] for line in head.split("\r\n")[1:]]
        self.assertEqual(head.split("\r\n")[0], "GET /a?b HTTP/1.1")
        for gone in ("X-Drop", "Keep-Alive", "TE", "Upgrade", "HTTP2-Settings", "Connection"):
            self.assertNotIn(gone, names)
        self.assertIn("Host: A.example:80", head)
        self.assertIn("Traceparent: 00-a-b-01", head)
        self.assertIn("weird: spaced\r\n", head + "\r\n")
        self.assertIn("x-forwarded-for: 127.0.0.1", head)
        self.assertNotIn("9.9.9.9", head)
        self.assertRegex(head, r"x-request-id: [0-9a-f-]{36}")
        self.assertLess(names.index("Host"), names.index("X-First"))

    def test_absolute_form_and_http10(self):
        self.proxy.raw(b"GET http://h.test/x HTTP/1.1\r\nHost: h.test\r\nConnection: close\r\n\r\n")
        self.assertTrue(self.origin.heads[-1].startswith("GET /x HTTP/1.1\r\nHost: h.test"))
        out = self.proxy.raw(b"GET / HTTP/1.0\r\n\r\n")
        self.assertIn(b"connection: close", out)
        self.assertIn("host: s", self.origin.heads[-1])
        out = self.proxy.raw(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        self.assertEqual(out.count(b"HTTP/1.1 200"), 2)

    def test_pipelining_and_half_close(self):
        request = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
        out = self.proxy.raw(b"".join(request % i for i in range(50)), half_close=True)
        self.assertEqual(out.count(b"HTTP/1.1 200 OK"), 50)

    def test_more_pipelined_than_any_buffer_holds(self):
        """Each answer makes room for one request; what is kept must not grow with each read. (Simulation, seed 13959.)"""
        out = self.proxy.raw(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000, half_close=True)
        self.assertEqual(out.count(b"HTTP/1.1 200 OK"), 20_000)

    def test_chunked_pieces(self):
        connection = self.proxy.connect()
        data = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" \
            b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n"
        for i in range(len(data)):
            connection.sendall(data[i:i + 1])
        self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 200"))
        connection.close()


class Origins(unittest.TestCase):
    """One origin a test, each with its own manners."""

    def serve(self, response, **options):
        origin = Origin(response if callable(response) else answering(response))
        proxy = Proxy(config(origin.port, **options))
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        self.addCleanup(origin.close)
        return proxy, origin

    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    def test_framings(self):
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
        proxy, _ = self.serve(chunked)
        out = proxy.raw(self.request)
        self.assertIn(b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", out)
        out = proxy.raw(b"GET / HTTP/1.0\r\n\r\n")
        self.assertTrue(out.endswith(b"\r\n\r\nabc"), out)
        self.assertNotIn(b"chunked", out)

    def test_close_delimited(self):
        def serve(origin, connection):
            origin.head(connection)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        proxy, _ = self.serve(serve)
        out = proxy.raw(self.request)
        self.assertTrue(out.endswith(b"9\r\nall of it\r\n0\r\n\r\n"), out)

    def test_truncation_is_visible(self):
        def serve(origin, connection):
            origin.head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        proxy, _ = self.serve(serve)
        out = proxy.raw(self.request)
        self.assertTrue(out.endswith(b"<reset>") or not out.endswith(b"part" * 25))
        self.assertEqual(proxy.metric('sluice_errors_total.*cause="reset"'), 1)

    def test_bad_responses_are_502(self):
        for bad in (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", b"nonsense\r\n\r\n",
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"):
            with self.subTest(bad=bad):
                proxy, _ = self.serve(bad)
                self.assertTrue(proxy.raw(self.request).startswith(b"HTTP/1.1 502 "))

    def test_interim_and_expect(self):
        def serve(origin, connection):
            _, rest = origin.head(connection)
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while len(rest) < 4:
                rest += connection.recv(100)
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
        proxy, _ = self.serve(serve)
        connection = proxy.connect()
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 100 Continue"))
        connection.sendall(b"body")
        out = b""
        while piece := connection.recv(1000):
            out += piece
        self.assertTrue(out.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK"), out)
        connection.close()

    def test_head_204_304(self):
        proxy, _ = self.serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        out = proxy.raw(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + self.request.replace(b"GET", b"HEAD"))
        self.assertEqual(out.count(b"Content-Length: 5"), 3)
        proxy, _ = self.serve(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
        self.assertEqual(proxy.raw(self.request * 1).count(b"HTTP/1.1 304"), 1)

    def test_upgrade(self):
        def serve(origin, connection):
            head, rest = origin.head(connection)
            assert "upgrade: websocket" in head.lower() and "connection: upgrade" in head.lower()
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi")
            while piece := connection.recv(1000):
                connection.sendall(piece.upper())
            connection.sendall(b"bye")
        proxy, _ = self.serve(serve)
        connection = proxy.connect()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        out = b""
        while not out.endswith(b"hi"):
            out += connection.recv(1000)
        self.assertTrue(out.startswith(b"HTTP/1.1 101 "))
        connection.sendall(b"hello")
        self.assertEqual(connection.recv(1000), b"HELLO")
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(connection.recv(1000), b"bye")
        self.assertEqual(connection.recv(1000), b"")
        connection.close()
        until(lambda: proxy.metric('sluice_requests_total.*code="101"') == 1)

    def test_reused_connection_that_died(self):
        def serve(origin, connection):
            origin.head(connection)
            connection.sendall(OK)
        proxy, origin = self.serve(serve)
        for _ in range(30):
            self.assertEqual(proxy.get().status, 200)

    def test_slow_reader_bounds_memory(self):
        size = 64 << 20
        def serve(origin, connection):
            origin.head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            block = b"x" * 65536
            for _ in range(size // len(block)):
                connection.sendall(block)
        proxy, _ = self.serve(serve)
        connection = proxy.connect()
        connection.sendall(self.request)
        connection.recv(1000)
        before = proxy.metric("process_resident_memory_bytes")
        got = 0
        while piece := connection.recv(1 << 20):
            got += len(piece)
        self.assertGreater(got, size - 2000)
        self.assertLess(proxy.metric("process_resident_memory_bytes") - before, 8 << 20)
        connection.close()

    def test_upload(self):
        received = []
        def serve(origin, connection):
            head, rest = origin.head(connection)
            need = int(re.search(r"(?i)content-length: (\d+)", head).group(1))
            total = len(rest)
            while total < need:
                total += len(connection.recv(1 << 20))
            received.append(total)
            connection.sendall(OK)
        proxy, _ = self.serve(serve)
        self.assertEqual(proxy.get(method="POST", body=b"u" * (32 << 20)).status, 200)
        self.assertEqual(received, [32 << 20])

    def test_silence_is_504(self):
        def serve(origin, connection):
            origin.head(connection)
            connection.recv(1)
        proxy, _ = self.serve(serve, extra="defaults: { timeouts: { firstByte: 300ms }, forwarding: { flags: x-sluice-flags } }")
        response = proxy.get()
        self.assertEqual((response.status, response.headers["x-sluice-flags"]), (504, "UT"))


REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Interims(Case):
    def test_interim_answers_are_signs_of_life_and_not_for_http10(self):
        def serve(origin, connection):
            head, _ = origin.head(connection)
            for _ in range(8):
                connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
                select.select([connection], [], [], 0.2)
            connection.sendall(OK)
        origin = Origin(serve)
        self.addCleanup(origin.close)
        near = self.start(config(origin.port, routes="routes: [{ name: rest, to: s, timeouts: { firstByte: 1s } }]"))
        far = self.start(config(near.port, service="    protocol: http2", routes="routes: [{ name: rest, to: s, timeouts: { firstByte: 1s } }]"))
        for proxy in (near, far):
            # Eight times 0.2 s: longer than the time for the first byte.
            out = proxy.raw(REQUEST)
            self.assertEqual((out.count(b"HTTP/1.1 102 "), out.count(b"HTTP/1.1 200 OK")), (8, 1), out)
            out = proxy.raw(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"))
            self.assertEqual((out.count(b"HTTP/1.1 102 "), out.count(b"HTTP/1.1 200 OK")), (0, 1), out)
        # The time of the whole request does not begin anew.
        whole = self.start(config(origin.port, routes="routes: [{ name: rest, to: s, timeouts: { firstByte: 1s, request: 700ms } }]"))
        out = whole.raw(REQUEST)
        self.assertIn(b"HTTP/1.1 504 ", out)
        self.assertLess(out.count(b"HTTP/1.1 102 "), 8)


if __name__ == "__main__":
    unittest.main()
