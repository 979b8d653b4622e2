"""RFC 9113 as a client meets it, case by case, on a port that HTTP/1.1 clients share; an honest client is served after each."""
import struct, unittest
from frames import *
from harness import OK, Origin, Proxy, Reader, answering, config

LONG = b"x" * 16385


def error(*codes):
    """A connection error; its code may not be read when the reset overtakes it."""
    return tuple("goaway " + c for c in codes) + ("closed",)


def stream(*codes):
    """A stream error; an endpoint may treat it as one of the connection (§5.4.1)."""
    return tuple("rst " + c for c in codes) + error(*codes)


BAD = stream("PROTOCOL_ERROR")
# Section, what happens, the client's bytes behind preface and settings, what may come of stream 1.
CASES = [
    ("3.4", "settings are acknowledged", lambda c: c.request(), ("200",)),
    ("3.4", "the first frame is not SETTINGS", None, error("PROTOCOL_ERROR")),
    ("4.1", "an unknown frame type is ignored", lambda c: (c.send(frame(0x16, 0, 0, b"\0" * 8)), c.request()), ("200",)),
    ("4.1", "unknown flags are ignored", lambda c: (c.send(frame(PING, 0xfe, 0, b"\0" * 8)), c.request()), ("200",)),
    ("4.1", "the reserved bit is ignored", lambda c: (c.send(frame(PING, 0, 1 << 31, b"\0" * 8)), c.request()), ("200",)),
    ("4.2", "DATA above the frame size", lambda c: (c.request(end=False, method="POST"), c.send(frame(DATA, 0, 1, LONG))), error("FRAME_SIZE_ERROR")),
    ("4.2", "HEADERS above the frame size", lambda c: c.send(frame(HEADERS, 5, 1, LONG)), error("FRAME_SIZE_ERROR")),
    ("4.3", "a block that is not HPACK", lambda c: c.send(frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff")), error("COMPRESSION_ERROR")),
    ("4.3", "a table size above what was told", lambda c: c.send(frame(HEADERS, 5, 1, b"\x3f\xe1\xff\x03" + c.block())), error("COMPRESSION_ERROR")),
    ("4.3", "an index of nothing", lambda c: c.send(frame(HEADERS, 5, 1, b"\xfe")), error("COMPRESSION_ERROR")),
    ("4.3", "index 0", lambda c: c.send(frame(HEADERS, 5, 1, b"\x80")), error("COMPRESSION_ERROR")),
    ("4.3", "a block between another's frames", lambda c: c.send(frame(HEADERS, 1, 1, c.block()) + frame(PRIORITY, 0, 1, b"\0" * 5)), error("PROTOCOL_ERROR")),
    ("4.3", "another stream's HEADERS in a block", lambda c: c.send(frame(HEADERS, 1, 1, c.block()) + frame(HEADERS, 5, 3, c.block())), error("PROTOCOL_ERROR")),
    ("5.1", "idle: DATA", lambda c: c.send(frame(DATA, 1, 1, b"x")), error("PROTOCOL_ERROR")),
    ("5.1", "idle: RST_STREAM", lambda c: c.send(reset(1)), error("PROTOCOL_ERROR")),
    ("5.1", "idle: WINDOW_UPDATE", lambda c: c.send(window(1, 1)), error("PROTOCOL_ERROR")),
    ("5.1", "idle: CONTINUATION", lambda c: c.send(frame(CONTINUATION, 4, 1, c.block())), error("PROTOCOL_ERROR")),
    ("5.1", "half-closed: DATA", lambda c: (c.request(path="/slow"), c.send(frame(DATA, 1, 1, b"x"))), stream("STREAM_CLOSED")),
    ("5.1", "half-closed: HEADERS", lambda c: (c.request(path="/slow"), c.request(path="/slow")), stream("STREAM_CLOSED")),
    ("5.1", "half-closed: CONTINUATION", lambda c: (c.request(path="/slow"), c.send(frame(CONTINUATION, 4, 1, c.block()))), error("PROTOCOL_ERROR", "STREAM_CLOSED")),
    ("5.1", "half-closed: WINDOW_UPDATE and PRIORITY", lambda c: (c.request(), c.send(window(1, 10) + frame(PRIORITY, 0, 1, b"\0" * 5))), ("200",)),
    ("5.1", "closed by reset: DATA", lambda c: (c.request(end=False, method="POST"), c.send(reset(1) + frame(DATA, 1, 1, b"x"))), stream("STREAM_CLOSED")),
    ("5.1", "closed by reset: HEADERS", lambda c: (c.request(end=False, method="POST"), c.send(reset(1)), c.request()), stream("STREAM_CLOSED")),
    ("5.1.1", "an even number", lambda c: c.request(2), error("PROTOCOL_ERROR")),
    ("5.1.1", "a number that goes back", lambda c: (c.request(5, path="/slow"), c.request(3)), error("PROTOCOL_ERROR", "STREAM_CLOSED")),
    ("5.3.1", "a stream that depends on itself, in HEADERS", lambda c: c.send(frame(HEADERS, 0x25, 1, struct.pack(">IB", 1, 16) + c.block())), BAD),
    ("5.3.1", "a stream that depends on itself, in PRIORITY", lambda c: c.send(frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 16))), BAD),
    ("5.4.1", "GOAWAY of a client", lambda c: (c.send(frame(GOAWAY, 0, 0, b"\0" * 8)), c.request()), ("200", "closed")),
    ("6.1", "DATA on stream 0", lambda c: c.send(frame(DATA, 1, 0, b"x")), error("PROTOCOL_ERROR")),
    ("6.1", "padding as long as the frame", lambda c: (c.request(end=False, method="POST"), c.send(frame(DATA, 9, 1, b"\x06" + b"\0" * 5))), error("PROTOCOL_ERROR")),
    ("6.1", "padded DATA", lambda c: (c.request(end=False, method="POST"), c.send(frame(DATA, 9, 1, b"\x03ab\0\0\0"))), ("200",)),
    ("6.1", "DATA that is padding alone", lambda c: (c.request(end=False, method="POST"), c.send(frame(DATA, 9, 1, b"\x00"))), ("200",)),
    ("6.2", "HEADERS on stream 0", lambda c: c.send(frame(HEADERS, 5, 0, c.block())), error("PROTOCOL_ERROR")),
    ("6.2", "padding longer than the block", lambda c: c.send(frame(HEADERS, 13, 1, b"\xff" + c.block())), error("PROTOCOL_ERROR")),
    ("6.2", "padded HEADERS with priority", lambda c: c.send(frame(HEADERS, 0x2d, 1, b"\x04" + struct.pack(">IB", 0, 16) + c.block() + b"\0" * 4)), ("200",)),
    ("6.3", "PRIORITY on stream 0", lambda c: c.send(frame(PRIORITY, 0, 0, b"\0" * 5)), error("PROTOCOL_ERROR")),
    ("6.3", "PRIORITY of a wrong length", lambda c: (c.request(path="/slow"), c.send(frame(PRIORITY, 0, 1, b"\0" * 4))), stream("FRAME_SIZE_ERROR")),
    ("6.4", "RST_STREAM on stream 0", lambda c: c.send(reset(0)), error("PROTOCOL_ERROR")),
    ("6.4", "RST_STREAM of a wrong length", lambda c: (c.request(path="/slow"), c.send(frame(RST, 0, 1, b"\0" * 3))), error("FRAME_SIZE_ERROR")),
    ("6.5", "an acknowledgement with a payload", lambda c: c.send(frame(SETTINGS, 1, 0, b"\0" * 6)), error("FRAME_SIZE_ERROR")),
    ("6.5", "SETTINGS on a stream", lambda c: c.send(frame(SETTINGS, 0, 1, struct.pack(">HI", 3, 100))), error("PROTOCOL_ERROR")),
    ("6.5", "SETTINGS of a wrong length", lambda c: c.send(frame(SETTINGS, 0, 0, b"\0" * 5)), error("FRAME_SIZE_ERROR")),
    ("6.5.2", "ENABLE_PUSH of 2", lambda c: c.send(settings((2, 2))), error("PROTOCOL_ERROR")),
    ("6.5.2", "a window above 2^31-1", lambda c: c.send(settings((4, 1 << 31))), error("FLOW_CONTROL_ERROR")),
    ("6.5.2", "a frame size below 16384", lambda c: c.send(settings((5, 16383))), error("PROTOCOL_ERROR")),
    ("6.5.2", "a frame size above 2^24-1", lambda c: c.send(settings((5, 1 << 24))), error("PROTOCOL_ERROR")),
    ("6.5.2", "an unknown setting", lambda c: (c.send(settings((0xff, 1))), c.request()), ("200",)),
    ("6.5.3", "settings given twice", lambda c: (c.send(settings((4, 0), (4, 100))), c.request()), ("200",)),
    ("8441.3", "ENABLE_CONNECT_PROTOCOL of 2", lambda c: c.send(settings((8, 2))), error("PROTOCOL_ERROR")),
    ("6.6", "PUSH_PROMISE of a client", lambda c: c.send(frame(PUSH, 4, 1, b"\0\0\0\2" + c.block())), error("PROTOCOL_ERROR")),
    ("6.7", "PING on a stream", lambda c: c.send(frame(PING, 0, 1, b"\0" * 8)), error("PROTOCOL_ERROR")),
    ("6.7", "PING of a wrong length", lambda c: c.send(frame(PING, 0, 0, b"\0" * 6)), error("FRAME_SIZE_ERROR")),
    ("6.8", "GOAWAY on a stream", lambda c: c.send(frame(GOAWAY, 0, 1, b"\0" * 8)), error("PROTOCOL_ERROR")),
    ("6.9", "an increment of 0 on the connection", lambda c: c.send(window(0, 0)), error("PROTOCOL_ERROR")),
    ("6.9", "an increment of 0 on a stream", lambda c: (c.request(path="/slow"), c.send(window(1, 0))), BAD),
    ("6.9", "WINDOW_UPDATE of a wrong length", lambda c: c.send(frame(WINDOW, 0, 0, b"\0" * 3)), error("FRAME_SIZE_ERROR")),
    ("6.9.1", "a connection window above 2^31-1", lambda c: c.send(window(0, 0x7fffffff) * 2), error("FLOW_CONTROL_ERROR")),
    ("6.9.1", "a stream window above 2^31-1", lambda c: (c.request(path="/slow"), c.send(window(1, 0x7fffffff) * 2)), stream("FLOW_CONTROL_ERROR")),
    ("6.9.2", "a setting that makes a window too large", lambda c: (c.request(path="/slow"), c.send(window(1, 0x7fffffff - 65535) + settings((4, 70000)))), error("FLOW_CONTROL_ERROR")),
    ("6.10", "CONTINUATION frames", lambda c: split(c), ("200",)),
    ("6.10", "CONTINUATION behind END_HEADERS", lambda c: (c.request(path="/slow"), c.send(frame(CONTINUATION, 4, 1, c.block()))), error("PROTOCOL_ERROR", "STREAM_CLOSED")),
    ("6.10", "CONTINUATION on stream 0", lambda c: c.send(frame(HEADERS, 1, 1, c.block()) + frame(CONTINUATION, 4, 0, b"")), error("PROTOCOL_ERROR")),
    ("6.10", "DATA instead of CONTINUATION", lambda c: c.send(frame(HEADERS, 0, 1, c.block(method="POST")) + frame(DATA, 1, 1, b"x")), error("PROTOCOL_ERROR")),
    ("7", "an unknown code", lambda c: (c.request(3, path="/slow"), c.send(reset(3, 0xff)), c.request(5), setattr(c, "stream", 5)), ("200",)),
    ("8.1", "HEADERS twice without END_STREAM", lambda c: (c.request(end=False, method="POST"), c.request(end=False, method="POST")), BAD),
    ("8.1", "trailers", lambda c: (c.request(end=False, method="POST"), c.send(frame(DATA, 0, 1, b"x") + frame(HEADERS, 5, 1, c.encoder.encode([("x-sum", "1")])))), ("200",)),
    ("8.1", "a pseudo-field in trailers", lambda c: (c.request(end=False, method="POST"), c.send(frame(HEADERS, 5, 1, c.encoder.encode([(":path", "/")])))), BAD),
    ("8.2.1", "a name in upper case", lambda c: c.request(extra=[("X-A", "1")]), BAD),
    ("8.2.1", "a name with a colon", lambda c: c.request(extra=[("a:b", "1")]), BAD),
    ("8.2.1", "a name with a blank", lambda c: c.request(extra=[("a b", "1")]), BAD),
    ("8.2.1", "an empty name", lambda c: c.request(extra=[("", "1")]), BAD),
    ("8.2.1", "CR LF in a value", lambda c: c.request(extra=[("a", "1\r\nx: y")]), BAD),
    ("8.2.1", "LF in a value", lambda c: c.request(extra=[("a", "1\nb")]), BAD),
    ("8.2.1", "NUL in a value", lambda c: c.request(extra=[("a", "1\0")]), BAD),
    ("8.2.1", "a blank before a value", lambda c: c.request(extra=[("a", " 1")]), BAD),
    ("8.2.1", "a blank behind a value", lambda c: c.request(extra=[("a", "1\t")]), BAD),
    ("8.2.2", "connection", lambda c: c.request(extra=[("connection", "close")]), BAD),
    ("8.2.2", "keep-alive", lambda c: c.request(extra=[("keep-alive", "1")]), BAD),
    ("8.2.2", "proxy-connection", lambda c: c.request(extra=[("proxy-connection", "close")]), BAD),
    ("8.2.2", "transfer-encoding", lambda c: c.request(extra=[("transfer-encoding", "chunked")]), BAD),
    ("8.2.2", "upgrade", lambda c: c.request(extra=[("upgrade", "h2c")]), BAD),
    ("8.2.2", "te: trailers", lambda c: c.request(extra=[("te", "trailers")]), ("200",)),
    ("8.2.2", "te: gzip", lambda c: c.request(extra=[("te", "trailers, gzip")]), BAD),
    ("8.2.3", "cookie crumbs", lambda c: c.request(extra=[("cookie", "a=1"), ("cookie", "b=2")]), ("200",)),
    ("8.3", "an unknown pseudo-field", lambda c: c.request(extra=[(":x", "1")]), BAD),
    ("8.3", "a response's pseudo-field", lambda c: c.request(extra=[(":status", "200")]), BAD),
    ("8.3", "a pseudo-field behind a field", lambda c: fields(c, (":method", "GET"), (":scheme", "http"), ("a", "1"), (":path", "/"), (":authority", "a")), BAD),
    ("8.3.1", "an empty path", lambda c: c.request(path=""), BAD),
    ("8.3.1", "no method", lambda c: fields(c, (":scheme", "http"), (":path", "/"), (":authority", "a")), BAD),
    ("8.3.1", "no scheme", lambda c: fields(c, (":method", "GET"), (":path", "/"), (":authority", "a")), BAD),
    ("8.3.1", "no path", lambda c: fields(c, (":method", "GET"), (":scheme", "http"), (":authority", "a")), BAD),
    ("8.3.1", "the method twice", lambda c: c.request(extra=[(":method", "GET")]), BAD),
    ("8.3.1", "the path twice", lambda c: c.request(extra=[(":path", "/")]), BAD),
    ("8.3.1", "the authority twice", lambda c: c.request(extra=[(":authority", "a")]), BAD),
    ("8.3.1", "a path that is no path", lambda c: c.request(path="http://b.test/"), BAD),
    ("8.3.1", "a request line in the path", lambda c: c.request(path="/ HTTP/1.1\r\nx: y"), BAD),
    ("8.3.1", "a blank in the path", lambda c: c.request(path="/a b"), BAD),
    ("8.3.1", "a blank in the method", lambda c: c.request(method="GET /"), BAD),
    ("8.3.1", "* for OPTIONS", lambda c: c.request(method="OPTIONS", path="*"), ("200",)),
    ("8.3.1", "* for GET", lambda c: c.request(path="*"), BAD),
    ("8.3.1", "neither authority nor Host", lambda c: fields(c, (":method", "GET"), (":scheme", "http"), (":path", "/")), BAD),
    ("8.3.1", "Host instead of an authority", lambda c: fields(c, (":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a.test")), ("200",)),
    ("8.3.1", "Host and authority agree", lambda c: c.request(extra=[("host", "a.test")]), ("200",)),
    ("8.3.1", "Host and authority differ", lambda c: c.request(extra=[("host", "b.test")]), BAD),
    ("8.3.1", "Host twice", lambda c: fields(c, (":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a"), ("host", "a")), BAD),
    ("8.3.1", "credentials in the authority", lambda c: c.request(authority="user@a.test"), ("400",) + BAD),
    ("8.5", "CONNECT with a path", lambda c: c.request(method="CONNECT"), BAD),
    ("8.5", "CONNECT that no route allows", lambda c: fields(c, (":method", "CONNECT"), (":authority", "a.test:443")), ("405",)),
    ("8441.4", "an unknown protocol", lambda c: fields(c, (":method", "CONNECT"), (":protocol", "x"), (":scheme", "http"), (":path", "/"), (":authority", "a")), BAD),
    ("8441.4", ":protocol with GET", lambda c: fields(c, (":method", "GET"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/"), (":authority", "a")), BAD),
    ("8.1.1", "a length above the DATA", lambda c: (c.request(end=False, method="POST", extra=[("content-length", "5")]), c.send(frame(DATA, 1, 1, b"abc"))), BAD),
    ("8.1.1", "a length below the DATA", lambda c: (c.request(end=False, method="POST", extra=[("content-length", "2")]), c.send(frame(DATA, 1, 1, b"abc"))), BAD),
    ("8.1.1", "a length without DATA", lambda c: c.request(method="POST", extra=[("content-length", "1")]), BAD),
    ("8.1.1", "lengths over two frames", lambda c: (c.request(end=False, method="POST", extra=[("content-length", "4")]), c.send(frame(DATA, 0, 1, b"ab") + frame(DATA, 1, 1, b"cd"))), ("200",)),
    ("8.1.1", "two lengths", lambda c: c.request(method="POST", extra=[("content-length", "0"), ("content-length", "0")]), BAD),
    ("8.1.1", "a length with a sign", lambda c: c.request(method="POST", extra=[("content-length", "+0")]), BAD),
    ("9110.10.1.1", "an expectation that is not known", lambda c: c.request(method="POST", extra=[("expect", "tea")]), ("417",) + BAD),
    ("10.5.1", "a header list above the limit", lambda c: many(c), ("431",)),
    ("10.5.1", "more fields than the limit", lambda c: c.request(extra=[(f"a{i}", "1") for i in range(150)]), ("431",)),
]


def fields(client, *pairs):
    client.send(frame(HEADERS, 5, 1, client.block(*pairs)))


def split(client):
    block = client.block()
    client.send(frame(HEADERS, 1, 1, block[:1]) + frame(CONTINUATION, 0, 1, block[1:3]) + frame(CONTINUATION, 4, 1, block[3:]))


def many(client):
    """A block of 70 KB, in as many frames as it takes."""
    block = client.block(extra=[(f"a{i}", "x" * 7000) for i in range(10)])
    client.send(frame(HEADERS, 1, 1, block[:16000]))
    rest = [block[i:i + 16000] for i in range(16000, len(block), 16000)]
    for i, piece in enumerate(rest):
        client.send(frame(CONTINUATION, 4 if i == len(rest) - 1 else 0, 1, piece))


def serve(origin, connection):
    """Answers each request once its body is there; /slow never."""
    rest = b""
    while True:
        head, rest = origin.head(connection, rest)
        if head is None:
            return
        if " /slow " in head:
            while connection.recv(65536):
                pass
            return
        reader = Reader(connection, rest)
        # The proxy may end the connection in the middle of a request that its client took back.
        if reader.body(head.encode("latin-1")) is None:
            return
        rest = reader.buffer
        connection.sendall(OK)


class Conformance(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(serve)
        cls.proxy = Proxy(config(cls.origin.port))

    @classmethod
    def tearDownClass(cls):
        cls.proxy.stop()
        cls.origin.close()

    def test_every_case(self):
        self.assertGreater(len(CASES), 100)
        for section, title, act, expected in CASES:
            with self.subTest(section=section, title=title):
                client = Client(self.proxy.port, act is not None)
                client.stream = 1
                if act is None:
                    client.send(PREFACE)
                    client.request()
                else:
                    act(client)
                self.assertIn(client.outcome(client.stream), expected)
                client.close()
        honest = Client(self.proxy.port)
        honest.request()
        self.assertEqual(honest.outcome(), "200")
        honest.close()

    def test_what_reached_the_origin_was_whole_and_clean(self):
        before = len(self.origin.heads)
        client = Client(self.proxy.port)
        client.request(method="POST", extra=[("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("te", "trailers")], path="/x?y=1")
        self.assertEqual(client.outcome(), "200")
        # Streams that another test left behind may still come in.
        head = next(h for h in self.origin.heads[before:] if h.startswith("POST /x"))
        self.assertTrue(head.startswith("POST /x?y=1 HTTP/1.1\r\nhost: a.test\r\nx-a: 1\r\ncookie: a=1; b=2\r\n"), head)
        self.assertNotIn("te:", head.lower().replace("date:", ""))
        client.close()

    def test_every_cut_of_the_bytes_means_the_same(self):
        """Split invariance at the wire: the bytes of two requests, cut everywhere."""
        encoder = hpack.Encoder()
        post = [(":method", "POST"), (":scheme", "http"), (":path", "/p"), (":authority", "a.test")]
        whole = (PREFACE + settings() + frame(HEADERS, 4, 1, encoder.encode(post)) + frame(DATA, 9, 1, b"\x02abc\0\0")
                 + frame(HEADERS, 5, 3, encoder.encode(post)))
        for at in range(1, len(whole), 3):
            client = Client(self.proxy.port, False)
            client.send(whole[:at])
            client.send(whole[at:])
            found = {client.outcome(1) if i == 0 else None for i in range(1)}
            self.assertEqual(found, {"200"}, at)
            client.close()


if __name__ == "__main__":
    unittest.main()
