"""RFC 9113 as origins break it: frames of an origin, and what an HTTP/1.1 client is told of them. An honest exchange follows each."""
import struct, unittest
import hpack
from frames import *
from harness import Case, Origin, Reader, config


class Peer:
    """One connection at the origin, from the preface on; `stream` is the first request's."""

    def __init__(self, connection):
        self.connection, self.buffer, self.stream = connection, b"", 0
        self.encoder = hpack.Encoder()

    def send(self, data):
        self.connection.sendall(data)

    def exactly(self, count):
        while len(self.buffer) < count:
            piece = self.connection.recv(65536)
            if not piece:
                raise OSError("the proxy is gone")
            self.buffer += piece
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def next(self):
        head = self.exactly(9)
        return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7fffffff, self.exactly(int.from_bytes(head[:3], "big"))

    def request(self):
        """Waits for a request's end; its stream."""
        while True:
            kind, flags, stream, payload = self.next()
            if kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK))
            if kind == PING and not flags & ACK:
                self.send(frame(PING, ACK, 0, payload))
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                return stream

    def headers(self, *fields, flags=4, status="200", stream=None):
        pairs = ([(":status", status)] if status else []) + list(fields)
        self.send(frame(HEADERS, flags, stream or self.stream, self.encoder.encode(pairs, huffman=False)))

    def data(self, data=b"ok", flags=1):
        self.send(frame(DATA, flags, self.stream, data))


def ok(peer):
    peer.headers(("content-length", "2"))
    peer.data()


def field(name, value="v"):
    return lambda p: (p.headers((name, value)), p.data())


# Section, what the origin does with the request, the status the client gets, its body (`None`: cut off).
CASES = [
    ("8.1", "headers and data", ok, 200, b"ok"),
    ("8.1", "headers alone", lambda p: p.headers(flags=5), 200, b""),
    ("8.1", "data in pieces", lambda p: (p.headers(), p.data(b"a", 0), p.data(b"", 0), p.data(b"b")), 200, b"ab"),
    ("8.1", "an end of its own", lambda p: (p.headers(), p.data(b"ab", 0), p.data(b"")), 200, b"ab"),
    ("8.1", "trailers", lambda p: (p.headers(), p.data(b"ab", 0), p.headers(("x-t", "1"), flags=5, status=None)), 200, b"ab"),
    ("8.1", "a pseudo-field in trailers", lambda p: (p.headers(), p.data(b"ab", 0), p.headers(("x-t", "1"), flags=5)), 200, None),
    ("8.1", "data before headers", lambda p: p.data(), 502, b""),
    ("8.1", "100 before the answer", lambda p: (p.headers(status="100"), ok(p)), 200, b"ok"),
    ("8.1", "103 before the answer", lambda p: (p.headers(("link", "</a>"), status="103"), ok(p)), 200, b"ok"),
    ("8.1", "an interim answer that ends the stream", lambda p: p.headers(status="103", flags=5), 502, b""),
    ("8.1.1", "a length below the data", lambda p: (p.headers(("content-length", "1")), p.data()), 200, None),
    ("8.1.1", "a length above the data", lambda p: (p.headers(("content-length", "3")), p.data()), 200, None),
    ("8.1.1", "a length and no data", lambda p: p.headers(("content-length", "3"), flags=5), 502, b""),
    ("8.1.1", "two lengths", lambda p: (p.headers(("content-length", "2"), ("content-length", "2")), p.data()), 502, b""),
    ("8.1.1", "a length with a sign", field("content-length", "+2"), 502, b""),
    ("8.2.1", "a name in upper case", field("X-A"), 502, b""),
    ("8.2.1", "a name with a colon", field("a:b"), 502, b""),
    ("8.2.1", "a name with a blank", field("a b"), 502, b""),
    ("8.2.1", "an empty name", field(""), 502, b""),
    ("8.2.1", "CR LF in a value", field("a", "b\r\nset-cookie: x"), 502, b""),
    ("8.2.1", "LF in a value", field("a", "b\nc"), 502, b""),
    ("8.2.1", "NUL in a value", field("a", "b\0"), 502, b""),
    ("8.2.1", "a blank before a value", field("a", " b"), 502, b""),
    ("8.2.1", "a blank behind a value", field("a", "b "), 502, b""),
    ("8.2.2", "connection", field("connection", "close"), 502, b""),
    ("8.2.2", "keep-alive", field("keep-alive", "5"), 502, b""),
    ("8.2.2", "transfer-encoding", field("transfer-encoding", "chunked"), 502, b""),
    ("8.2.2", "upgrade", field("upgrade", "h2c"), 502, b""),
    ("8.3", "an unknown pseudo-field", field(":x"), 502, b""),
    ("8.3", "a request's pseudo-field", field(":path", "/"), 502, b""),
    ("8.3.2", "no status", lambda p: (p.headers(("a", "b"), status=None), p.data()), 502, b""),
    ("8.3.2", "the status twice", field(":status", "200"), 502, b""),
    ("8.3.2", "the status behind a field", lambda p: (p.headers(("a", "b"), (":status", "200"), status=None), p.data()), 502, b""),
    ("8.3.2", "a status of two digits", lambda p: (p.headers(status="20"), p.data()), 502, b""),
    ("8.3.2", "a status of four digits", lambda p: (p.headers(status="2000"), p.data()), 502, b""),
    ("8.3.2", "a status of letters", lambda p: (p.headers(status="2xx"), p.data()), 502, b""),
    ("8.3.2", "a status below 100", lambda p: (p.headers(status="099"), p.data()), 502, b""),
    ("8.3.2", "101, which HTTP/2 has not", lambda p: p.headers(("upgrade", "x"), status="101"), 502, b""),
    ("5.4.2", "a reset before the answer", lambda p: p.send(reset(p.stream, 2)), 502, b""),
    ("5.4.2", "a reset behind the head", lambda p: (p.headers(), p.data(b"ha", 0), p.send(reset(p.stream, 2))), 200, None),
    ("8.1", "a whole answer and then a reset without error", lambda p: (ok(p), p.send(reset(p.stream, 0))), 200, b"ok"),
    ("5.4.1", "the connection ends before the answer", lambda p: p.connection.close(), 502, b""),
    ("5.4.1", "the connection ends behind the head", lambda p: (p.headers(), p.data(b"ha", 0), p.connection.close()), (200, 502), None),
    ("4.1", "an unknown frame", lambda p: (p.send(frame(0x16, 0, 0, b"x" * 9)), ok(p)), 200, b"ok"),
    ("4.2", "a frame above the size", lambda p: (p.headers(), p.data(b"x" * 16385)), (200, 502), None),
    ("4.3", "a block that is not HPACK", lambda p: p.send(frame(HEADERS, 5, p.stream, b"\xff\xff\xff\xff\xff")), 502, b""),
    ("4.3", "another frame within a block", lambda p: (p.headers(flags=0), p.send(frame(PING, 0, 0, b"x" * 8))), 502, b""),
    ("5.1", "headers on a stream that nobody opened", lambda p: (p.headers(flags=5, stream=p.stream + 2), ok(p)), 502, b""),
    ("5.1.1", "headers on an even stream", lambda p: (p.headers(flags=5, stream=2), ok(p)), 502, b""),
    ("6.1", "data on stream 0", lambda p: p.send(frame(DATA, 1, 0, b"x")), 502, b""),
    ("6.1", "padding as long as the frame", lambda p: (p.headers(), p.data(b"\x05abcd", 9)), (200, 502), None),
    ("6.1", "padded data", lambda p: (p.headers(), p.data(b"\x02ok\0\0", 9)), 200, b"ok"),
    ("6.4", "a reset of a wrong length", lambda p: p.send(frame(RST, 0, p.stream, b"\0")), 502, b""),
    ("6.5", "settings of a wrong length", lambda p: p.send(frame(SETTINGS, 0, 0, b"\0")), 502, b""),
    ("6.5.2", "ENABLE_PUSH of a server", lambda p: (p.send(settings((2, 1))), ok(p)), 502, b""),
    ("6.5.2", "a window above 2^31-1", lambda p: p.send(settings((4, 1 << 31))), 502, b""),
    ("6.6", "a push that nobody allowed", lambda p: p.send(frame(PUSH, 4, p.stream, b"\0\0\0\2" + p.encoder.encode([(":method", "GET")]))), 502, b""),
    ("6.7", "a ping on a stream", lambda p: p.send(frame(PING, 0, 1, b"x" * 8)), 502, b""),
    ("6.8", "GOAWAY that lets the request through", lambda p: (p.send(frame(GOAWAY, 0, 0, struct.pack(">II", p.stream, 0))), ok(p)), 200, b"ok"),
    ("6.9", "an increment of 0 on the connection", lambda p: p.send(window(0, 0)), 502, b""),
    ("6.9.1", "a connection window above 2^31-1", lambda p: p.send(window(0, 0x7fffffff) * 2), 502, b""),
    ("6.10", "CONTINUATION without headers", lambda p: p.send(frame(CONTINUATION, 4, p.stream, b"")), 502, b""),
    ("6.10", "CONTINUATION frames without end", lambda p: [p.headers(flags=0)] + [p.send(frame(CONTINUATION, 0, p.stream, b"")) for _ in range(40)], 502, b""),
    ("10.5.1", "a header list above the limit", lambda p: (p.headers(*[(f"a{i}", "x" * 900) for i in range(17)], flags=0), [
        p.send(frame(CONTINUATION, 4 if k == 5 else 0, p.stream, p.encoder.encode([(f"b{k}{i}", "x" * 900) for i in range(17)], huffman=False))) for k in range(6)]), 502, b""),
]


class Origins(Case):
    def setUp(self):
        super().setUp()
        self.act = ok

        def serve(origin, connection):
            peer = Peer(connection)
            peer.exactly(len(PREFACE))
            peer.send(settings())
            while True:
                peer.stream = peer.request()
                self.act(peer)

        self.origin = Origin(serve)
        self.addCleanup(self.origin.close)
        self.proxy = self.start(config(self.origin.port, service="    protocol: http2", routes="routes: [{ name: r, to: s, retries: off }]"))

    def get(self):
        with self.proxy.connect() as connection:
            connection.sendall(b"GET /r HTTP/1.1\r\nHost: a.test\r\n\r\n")
            status, _, body = Reader(connection).response("GET")
            return status, body

    def test_every_case(self):
        for section, what, act, status, body in CASES:
            with self.subTest(section=section, what=what):
                self.act = act
                found, text = self.get()
                self.assertIn(found, status if isinstance(status, tuple) else (status,))
                if found == 502 and found == status:
                    self.assertNotEqual(text, b"ok")
                elif found == 200:
                    self.assertEqual(text, body)
                self.act = ok
                self.assertEqual(self.get(), (200, b"ok"))


if __name__ == "__main__":
    unittest.main()
