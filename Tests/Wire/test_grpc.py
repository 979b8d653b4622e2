"""gRPC with Python's grpcio at both ends."""
import os, socket, threading, unittest
import grpc
import calls
from frames import *
from harness import Case, Origin, Proxy, answering, config, until
from test_h2_origins import Peer


class Calls(unittest.TestCase):
    """All four kinds, deadlines, cancellation, metadata, large messages, a thousand at once."""

    @classmethod
    def setUpClass(cls):
        cls.one, cls.two = calls.Server("v1"), calls.Server("v2")
        cls.near = Proxy(config(cls.one.port, cls.two.port, ("90%", "10%"), service="    protocol: http2",
                                extra="defaults: { limits: { http2: { maxConcurrentStreams: 1000 } } }"))
        cls.far = Proxy(config(cls.near.port, service="    protocol: http2\n    connectionPool: { maxRequests: 2000, maxPendingRequests: 2000 }",
                               extra="defaults: { limits: { http2: { maxConcurrentStreams: 1000 } } }"))
        # A thousand connects at once: how long a slow machine needs for them is not tested here.
        cls.over_h1 = Proxy(config(cls.near.port, service="    connectTimeout: 10s\n    connectionPool: { maxConnections: 2000, maxRequests: 2000, maxPendingRequests: 2000 }",
                                   extra="defaults: { limits: { http2: { maxConcurrentStreams: 1000 } } }"))

    @classmethod
    def tearDownClass(cls):
        for each in (cls.over_h1, cls.far, cls.near, cls.one, cls.two):
            each.stop()

    def each(self):
        for name, proxy in (("h2", self.near), ("h2 twice", self.far), ("h1 between", self.over_h1)):
            with self.subTest(name), calls.channel(proxy.port) as channel:
                yield channel

    def test_unary_with_metadata(self):
        for channel in self.each():
            sent = (("x-user", "alice"), ("data-bin", b"\x00\xff\x01"))
            answer, call = channel.unary_unary("/demo.Echo/Unary").with_call(b"hello", metadata=sent, timeout=20)
            self.assertEqual((answer, call.code()), (b"hello", grpc.StatusCode.OK))
            served = dict(call.trailing_metadata())["served-by"]
            seen = (self.one if served == "v1" else self.two).echo.metadata[-1]
            self.assertEqual((seen["x-user"], seen["data-bin"]), ("alice", b"\x00\xff\x01"))

    def test_streams(self):
        for channel in self.each():
            self.assertEqual(list(channel.unary_stream("/demo.Echo/Server")(b"1000", timeout=20)), [b"%d" % i for i in range(1000)])
            self.assertEqual(channel.stream_unary("/demo.Echo/Client")(iter([b"x" * 1000] * 1000), timeout=20), b"1000000")
            self.assertEqual(list(channel.stream_stream("/demo.Echo/Both")((b"%d" % i for i in range(500)), timeout=20)), [b"%d" % i for i in range(500)])

    def test_large_messages(self):
        message = os.urandom(4 << 20)
        for channel in self.each():
            self.assertEqual(channel.unary_unary("/demo.Echo/Unary")(message, timeout=30), message)

    def test_errors_come_with_their_details_and_a_clients_own_are_none_of_the_version(self):
        errors = r'sluice_errors_total\{.*cause="response"'
        before = self.near.metric(errors)
        for channel in self.each():
            with self.assertRaises(grpc.RpcError) as caught:
                channel.unary_unary("/demo.Echo/Fail")(b"", timeout=20)
            self.assertEqual((caught.exception.code(), caught.exception.details()), (grpc.StatusCode.FAILED_PRECONDITION, "not now"))
            self.assertEqual(dict(caught.exception.trailing_metadata())["detail"], "why")
            with self.assertRaises(grpc.RpcError) as caught:
                channel.unary_unary("/demo.Echo/None")(b"", timeout=20)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertGreaterEqual(self.near.metric(r'sluice_grpc_calls_total\{.*grpc_status="9"'), 2)
        self.assertEqual(self.near.metric(errors), before)

    def test_deadlines_and_cancellation_reach_the_origin(self):
        for channel in self.each():
            for server in (self.one, self.two):
                server.echo.cancelled.clear()
            with self.assertRaises(grpc.RpcError) as caught:
                channel.unary_unary("/demo.Echo/Wait")(b"", timeout=0.3)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            until(lambda: self.one.echo.cancelled.is_set() or self.two.echo.cancelled.is_set())
            for server in (self.one, self.two):
                server.echo.cancelled.clear()
            call = channel.unary_stream("/demo.Echo/Endless")(b"")
            next(call)
            call.cancel()
            until(lambda: self.one.echo.cancelled.is_set() or self.two.echo.cancelled.is_set())

    def counted(self, proxy, code="4"):
        """Calls with the status, errors by a timeout, requests that left, of the only version."""
        return [proxy.metric(pattern) for pattern in (
            rf'sluice_grpc_calls_total\{{.*grpc_status="{code}"', r'sluice_errors_total\{.*cause="timeout"', r'sluice_requests_total\{.*code="0"')]

    def test_deadlines_count_one_way_whoever_is_first(self):
        # The client's own deadline, ours, and the origin's answer that it was too late.
        for name, method, timeout, route in (
                ("client, nothing answered", "Wait", 0.3, ""), ("client, in the answer", "Pause", 0.3, ""),
                ("Sluice, nothing answered", "Wait", 20, ", timeouts: { request: 300ms }"), ("Sluice, in the answer", "Pause", 20, ", timeouts: { request: 300ms }"),
                ("Sluice, by silence", "Pause", 20, ", timeouts: { idle: 300ms }"), ("Sluice, no first byte", "Wait", 20, ", timeouts: { firstByte: 300ms }"),
                ("origin", "Late", 20, "")):
            for protocol in ("http2", "http1"):
                with self.subTest(name, protocol=protocol):
                    routes = f"routes: [{{ name: rest, to: s{route} }}]"
                    near = Proxy(config(self.one.port, service="    protocol: http2", routes=routes))
                    self.addCleanup(near.stop)
                    proxy = Proxy(config(near.port, service=f"    protocol: {protocol}"))
                    self.addCleanup(proxy.stop)
                    with calls.channel(proxy.port) as channel:
                        call = channel.unary_stream(f"/demo.Echo/{method}")
                        answer, got = call(b"", timeout=timeout), []
                        with self.assertRaises(grpc.RpcError) as caught:
                            for piece in answer:
                                got.append(piece)
                        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
                        self.assertEqual(got, [b"first"] if method == "Pause" else [])
                    for each in (near, proxy):
                        until(lambda: self.counted(each)[0] == 1)
                        self.assertEqual(self.counted(each), [1, 1, 0])

    def test_a_thousand_at_once(self):
        for channel in self.each():
            unary = channel.unary_unary("/demo.Echo/Unary")
            futures = [unary.future(b"%d" % i, timeout=30) for i in range(1000)]
            self.assertEqual([f.result() for f in futures], [b"%d" % i for i in range(1000)])

    def test_no_origin_is_unavailable(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        proxy = Proxy(config(port, service="    protocol: http2"))
        self.addCleanup(proxy.stop)
        with calls.channel(proxy.port) as channel, self.assertRaises(grpc.RpcError) as caught:
            channel.unary_unary("/demo.Echo/Unary")(b"", timeout=20)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(proxy.metric(r'sluice_grpc_calls_total\{.*grpc_status="14"'), 1)


class BrokenCalls(Case):
    """What grpcio is told when an endpoint breaks off in the middle of its answer. A reset of the stream would be INTERNAL to it."""

    ANSWER = (("content-type", "application/grpc"),)
    FIRST = b"\0\0\0\0\5first"

    # How the endpoint breaks off behind its first message, and the cause that is counted.
    WAYS = [
        ("RST_STREAM", lambda p: p.send(reset(p.stream, 2)), "reset"),
        ("a cancel", lambda p: p.send(reset(p.stream, 8)), "reset"),
        ("REFUSED_STREAM", lambda p: p.send(reset(p.stream, 7)), "reset"),
        ("the end of the connection", lambda p: p.connection.close(), "reset"),
        ("GOAWAY that leaves the call out", lambda p: p.send(frame(GOAWAY, 0, 0, bytes(8))), "reset"),
        ("a frame that is none", lambda p: p.send(frame(DATA, 0, 0, b"x")), "invalid"),
        ("a field in upper case", lambda p: p.headers(("X-A", "v"), flags=5, status=None), "invalid"),
        ("trailers that are too many", lambda p: p.headers(*[(f"x{i}", "v") for i in range(110)], flags=5, status=None), "invalid"),
    ]

    def behind(self, serve, service="    protocol: http2"):
        origin = Origin(serve)
        self.addCleanup(origin.close)
        return self.start(config(origin.port, service=service, routes="routes: [{ name: r, to: s, retries: off }]"))

    def told(self, proxy):
        """What a call gets: its messages, its code and its details."""
        with calls.channel(proxy.port) as channel:
            answer, got = channel.unary_stream("/demo.Echo/Server")(b"", timeout=20), []
            with self.assertRaises(grpc.RpcError) as caught:
                for piece in answer:
                    got.append(piece)
            return got, caught.exception.code(), caught.exception.details()

    def test_whatever_the_endpoint_does_the_call_is_unavailable(self):
        for what, act, cause in self.WAYS:
            with self.subTest(what):
                def serve(origin, connection):
                    peer = Peer(connection)
                    peer.exactly(len(PREFACE))
                    peer.send(settings())
                    peer.stream = peer.request()
                    peer.headers(*self.ANSWER)
                    peer.data(self.FIRST, 0)
                    # The client has the message when the endpoint breaks off.
                    has_message.wait(10)
                    act(peer)
                    while True:
                        peer.next()
                has_message = threading.Event()
                proxy = self.behind(serve)
                with calls.channel(proxy.port) as channel:
                    answer = channel.unary_stream("/demo.Echo/Server")(b"", timeout=20)
                    self.assertEqual(next(answer), b"first")
                    has_message.set()
                    with self.assertRaises(grpc.RpcError) as caught:
                        next(answer)
                self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
                self.assertIn("endpoint", caught.exception.details())
                until(lambda: proxy.metric(r'sluice_grpc_calls_total\{.*grpc_status="14"') == 1)
                self.assertEqual(proxy.metric(rf'sluice_errors_total\{{.*cause="{cause}"'), 1)

    def test_an_endpoint_of_http1_that_breaks_off_is_unavailable_too(self):
        for what, head in (("chunked", b"Transfer-Encoding: chunked\r\n\r\na\r\n" + self.FIRST + b"\r\n"),
                           ("a chunk that is none", b"Transfer-Encoding: chunked\r\n\r\na\r\n" + self.FIRST + b"\r\nxx\r\n"),
                           ("a length", b"Content-Length: 20\r\n\r\n" + self.FIRST)):
            with self.subTest(what):
                def serve(origin, connection):
                    origin.head(connection)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n" + head)
                proxy = self.behind(serve, "    protocol: http1")
                got, code, details = self.told(proxy)
                self.assertEqual((got, code), ([b"first"], grpc.StatusCode.UNAVAILABLE))
                self.assertIn("endpoint", details)

    def test_calls_that_no_endpoint_sees_end_with_a_status(self):
        origin = Origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
        self.addCleanup(origin.close)
        routes = """routes:
  - { name: held, match: { path: { prefix: /held } }, respond: { status: 503, body: "back at five, naïve" } }
  - { name: moved, match: { path: { prefix: /moved } }, redirect: { scheme: https } }
  - { name: open, match: { path: { prefix: /open } }, to: s }"""
        proxy = self.start(config(origin.port, routes=routes))
        many = tuple((f"x-{i}", "v") for i in range(120))
        for path, metadata, code, details in (
                ("/none/None", (), grpc.StatusCode.UNIMPLEMENTED, "Not Found"),
                ("/held/Held", (), grpc.StatusCode.UNAVAILABLE, "back at five, naïve"),
                ("/moved/Moved", (), grpc.StatusCode.UNKNOWN, "redirect"),
                ("/open/Many", many, grpc.StatusCode.RESOURCE_EXHAUSTED, "Request Header Fields Too Large")):
            with self.subTest(path), calls.channel(proxy.port) as channel, self.assertRaises(grpc.RpcError) as caught:
                channel.unary_unary(path)(b"", metadata=metadata, timeout=20)
            self.assertEqual(caught.exception.code(), code)
            self.assertIn(details, caught.exception.details())
        self.assertEqual(proxy.metric(r'sluice_grpc_calls_total\{.*grpc_status="8"'), 1)


if __name__ == "__main__":
    unittest.main()
