"""One HTTP/2 stream's trouble is its own: windows, header blocks, trailers, and sessions that do not take what is asked of them."""
import os, re, socket, ssl, struct, threading, unittest
import hpack
import certificates
from frames import *
from harness import OK, Case, Origin, Reader, answering, config, until
from test_h2_origins import Peer
from test_http2 import Nghttpd

ALL = "routes: [{ name: r, to: s, retries: off }]"


def literal(name, value):
    """A field without indexing or Huffman's code, of any length."""
    def text(t):
        if len(t) < 127:
            return bytes([len(t)]) + t
        n, out = len(t) - 127, bytes([127])
        while n >= 128:
            out, n = out + bytes([n & 127 | 128]), n >> 7
        return out + bytes([n]) + t
    return b"\0" + text(name) + text(value)


def in_frames(stream, block, end=True):
    """A header block in as many frames as it needs."""
    parts = [block[i:i + 16384] for i in range(0, len(block), 16384)]
    return b"".join(
        frame(CONTINUATION if i else HEADERS, (END_STREAM if end and not i else 0) | (END_HEADERS if i == len(parts) - 1 else 0), stream, part)
        for i, part in enumerate(parts))


class Uploader(Client):
    """A client that keeps to the windows it is given."""

    def __init__(self, port):
        super().__init__(port)
        self.windows = {0: 65535}
        self.initial = 65535

    def next(self):
        found = super().next()
        if found and found[0] == WINDOW:
            more = struct.unpack(">I", found[3])[0]
            self.windows[found[2]] = self.windows.get(found[2], self.initial) + more
        if found and found[0] == SETTINGS and not found[1] & ACK:
            for at in range(0, len(found[3]), 6):
                key, value = struct.unpack(">HI", found[3][at:at + 6])
                if key == 4:
                    self.initial = value
            self.send(frame(SETTINGS, ACK))
        return found

    def upload(self, stream, count, end=False):
        """So many bytes, or as many as go before the socket's time is over."""
        self.windows.setdefault(stream, self.initial)
        while count > 0:
            piece = min(count, 16384, self.windows[0], self.windows[stream])
            if piece <= 0:
                try:
                    if self.next() is None:
                        return False
                except socket.timeout:
                    return False
                continue
            count -= piece
            self.windows[0] -= piece
            self.windows[stream] -= piece
            self.send(frame(DATA, END_STREAM if end and not count else 0, stream, b"x" * piece))
        return True


class Isolation(Case):
    def origin(self, act, *pairs, later=None):
        """An HTTP/2 origin: `act(peer, stream, fields)` for each request's head. Its settings, and those of later connections."""
        def serve(origin, connection):
            peer = Peer(connection)
            peer.exactly(len(PREFACE))
            peer.send(settings(*(pairs if later is None or origin.connections == 1 else later)))
            decoder = hpack.Decoder()
            while True:
                kind, flags, stream, payload = peer.next()
                if kind in (SETTINGS, PING) and not flags & ACK:
                    peer.send(frame(kind, ACK, 0, payload if kind == PING else b""))
                if kind == HEADERS:
                    act(peer, stream, dict(decoder.decode(payload)))
        origin = Origin(serve)
        self.addCleanup(origin.close)
        return origin

    def behind(self, port, service="    protocol: http2"):
        """One worker: the sessions to the origin are those of all clients."""
        return self.start(config(port, service=service, routes=ALL), "--workers", "1")

    def get(self, proxy, path="/", method="GET", more=""):
        with proxy.connect() as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: a.test\r\n{more}\r\n".encode())
            return Reader(connection).response(method)

    # Windows

    def test_readers_that_stall_hold_no_other_reader(self):
        origin = Nghttpd({"big": b"\0" * (64 << 20), "small": b"small"})
        self.addCleanup(origin.close)
        proxy = self.behind(origin.port)
        stalled = []
        def read():
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.connect(("127.0.0.1", proxy.port))
            client.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            count = 0
            while count < 24 << 20:
                count += len(client.recv(1 << 20))
            stalled.append(client)
        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self.assertEqual(len(stalled), 4)
        for _ in range(20):
            status, _, body = self.get(proxy, "/small")
            self.assertEqual((status, body), (200, b"small"))
        for client in stalled:
            client.close()

    def test_uploads_that_stall_hold_no_other_upload(self):
        release = threading.Event()
        self.addCleanup(release.set)
        def serve(origin, connection):
            head, rest = origin.head(connection)
            if "/stalls" in head:
                count = len(rest)
                while count < 24 << 20:
                    count += len(connection.recv(1 << 20))
                release.wait(60)
                return
            length = int(re.search(r"(?i)content-length: (\d+)", head).group(1))
            Reader(connection, rest).exactly(length)
            connection.sendall(OK)
        origin = Origin(serve)
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, routes=ALL))
        client = Uploader(proxy.port)
        client.socket.settimeout(0.5)
        for stream in (1, 3, 5, 7):
            client.request(stream, end=False, method="POST", path="/stalls", extra=[("content-length", str(64 << 20))])
        # Until nothing more goes.
        for stream in (1, 3, 5, 7):
            client.upload(stream, 40 << 20)
        client.socket.settimeout(10)
        client.request(9, end=False, method="POST", path="/", extra=[("content-length", "300000")])
        self.assertTrue(client.upload(9, 300_000, end=True))
        self.assertEqual(client.outcome(9), "200")
        client.close()

    # Header blocks

    def test_an_answer_with_too_large_a_field_is_502_alone(self):
        held = []
        def act(peer, stream, fields):
            if fields[":path"] == "/held":
                peer.headers(stream=stream)
                held.append((peer, stream))
            elif fields[":path"] == "/large":
                peer.send(in_frames(stream, b"\x88" + literal(b"x-large", b"~" * 66_000)))
            else:
                peer.headers(("x-kept", "1"), flags=5, stream=stream)
        proxy = self.behind(self.origin(act).port)
        self.assertEqual(self.get(proxy)[0], 200)
        client = Client(proxy.port)
        client.request(path="/held")
        until(lambda: held)
        self.assertEqual(self.get(proxy, "/large")[0], 502)
        status, head, _ = self.get(proxy)
        self.assertEqual((status, b"x-kept: 1" in head), (200, True))
        peer, stream = held[0]
        peer.send(frame(DATA, 1, stream, b"ok"))
        self.assertEqual(client.outcome(), "200")
        client.close()

    def test_a_request_with_too_large_a_field_is_431_alone(self):
        origin = Origin(answering(OK))
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, routes=ALL))
        client = Client(proxy.port)
        client.request(1, end=False, method="POST", extra=[("content-length", "2")])
        client.send(in_frames(3, client.block() + literal(b"x-large", b"~" * 66_000)))
        self.assertEqual(client.outcome(3), "431")
        client.send(frame(DATA, END_STREAM, 1, b"ok"))
        self.assertEqual(client.outcome(1), "200")
        client.close()

    def test_limits_above_what_the_library_decodes_are_kept(self):
        origin = Origin(answering(OK))
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, routes=ALL, extra="defaults: { limits: { headerBytes: 256KiB } }"))
        client = Client(proxy.port)
        client.send(in_frames(1, client.block() + literal(b"x-large", b"~" * 200_000)))
        self.assertEqual(client.outcome(), "200")
        self.assertIn("x-large: " + "~" * 200_000, origin.heads[0])
        client.close()

    def test_cookie_crumbs_are_one_field(self):
        origin = Origin(answering(OK))
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, routes=ALL))
        client = Client(proxy.port)
        client.request(extra=[("cookie", f"c{i}=v") for i in range(300)])
        self.assertEqual(client.outcome(), "200")
        self.assertIn("; ".join(f"c{i}=v" for i in range(300)), origin.heads[0])
        client.close()

    def test_names_are_lower_case_whatever_their_number(self):
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"".join(
            b"X-" + b"N" * 400 + b"-%d: v\r\n" % i for i in range(80)) + b"\r\nok"
        origin = Origin(answering(answer))
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, routes=ALL))
        client = Client(proxy.port)
        block = b""
        client.decoder.decode = lambda data, raw=False: data
        client.request()
        while True:
            kind, flags, _, payload = client.next()
            if kind in (HEADERS, CONTINUATION):
                block += payload
                if flags & END_HEADERS:
                    break
        names = [name for name, _ in hpack.Decoder(max_header_list_size=1 << 20).decode(block)]
        self.assertEqual(len([n for n in names if n.startswith("x-n")]), 80)
        self.assertEqual([n for n in names if n != n.lower()], [])
        client.close()

    # Trailers

    def test_trailers_that_are_too_many_are_no_end(self):
        for count, status in ((90, "9"), (110, "14")):
            def act(peer, stream, fields):
                peer.headers(("content-type", "application/grpc"), stream=stream)
                peer.send(frame(DATA, 0, stream, b"\0\0\0\0\2ok"))
                peer.send(in_frames(stream, b"".join(literal(b"x-%d" % i, b"v") for i in range(count)) + literal(b"grpc-status", b"9")))
            with self.subTest(count=count):
                proxy = self.behind(self.origin(act).port)
                client = Client(proxy.port)
                client.request(method="POST", extra=[("content-type", "application/grpc"), ("te", "trailers")])
                self.assertEqual(client.outcome(), "200")
                trailers = [dict(payload) for kind, flags, _, payload in client.seen if kind == HEADERS and flags & END_STREAM]
                self.assertEqual([fields["grpc-status"] for fields in trailers], [status])
                client.close()

    def test_trailers_of_http1_follow_the_same_limits(self):
        for size, is_taken in ((60_000, True), (70_000, False)):
            origin = Origin(answering(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: " + b"v" * size + b"\r\n\r\n"))
            self.addCleanup(origin.close)
            proxy = self.start(config(origin.port, routes=ALL))
            with self.subTest(size=size, client="h1"):
                self.assertEqual(self.get(proxy)[2], b"ok" if is_taken else None)
            with self.subTest(size=size, client="h2"):
                client = Client(proxy.port)
                client.decoder.decode = lambda data, raw=False: [(":status", "200")]
                client.request()
                self.assertEqual(client.outcome(), "200" if is_taken else "rst INTERNAL_ERROR")
                client.close()

    def test_trailers_of_a_request_that_are_too_large_are_431(self):
        def serve(origin, connection):
            rest = b""
            while True:
                head, rest = origin.head(connection, rest)
                if head is None:
                    return
                reader = Reader(connection, rest)
                if reader.body(head.encode()) is None:
                    return
                rest = reader.buffer
                connection.sendall(OK)
        origin = Origin(serve)
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, routes=ALL))
        for size, status in ((65_000, "200"), (66_000, "431")):
            with self.subTest(size=size):
                client = Client(proxy.port)
                # In one piece: most of it is there before a connection to the origin is.
                client.send(frame(HEADERS, END_HEADERS, 1, client.block(method="POST")) + frame(DATA, 0, 1, b"ok")
                            + in_frames(1, literal(b"x-t", b"~" * size)))
                self.assertEqual(client.outcome(), status)
                client.request(3)
                self.assertEqual(client.outcome(3), "200")
                client.close()

    def test_dropped_trailers_are_counted(self):
        def act(peer, stream, fields):
            peer.headers(("content-length", "2"), stream=stream)
            peer.send(frame(DATA, 0, stream, b"ok") + in_frames(stream, literal(b"x-t", b"1")))
        proxy = self.behind(self.origin(act).port)
        self.assertEqual(self.get(proxy)[2], b"ok")
        until(lambda: "sluice_trailers_dropped_total 1" in proxy.page("/metrics"))

    # Sessions

    def test_a_request_without_content_says_so(self):
        origin = Origin(answering(OK))
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, routes=ALL))
        client = Client(proxy.port)
        for stream, method in ((1, "POST"), (3, "PUT"), (5, "GET")):
            client.request(stream, method=method)
            self.assertEqual(client.outcome(stream), "200")
        client.close()
        lengths = [re.findall(r"(?im)^content-length: \d+|^transfer-encoding: .*", head) for head in origin.heads]
        self.assertEqual([[x.lower() for x in found] for found in lengths], [["content-length: 0"], ["content-length: 0"], []])

    def test_a_burst_before_the_settings_waits_for_them(self):
        busy, refused = set(), []
        def act(peer, stream, fields):
            if peer in busy:
                refused.append(stream)
                return peer.send(reset(stream, 7))
            busy.add(peer)
            def answer():
                busy.discard(peer)
                peer.headers(flags=5, stream=stream)
            threading.Timer(0.01, answer).start()
        proxy = self.behind(self.origin(act, (3, 1)).port)
        self.assertEqual(self.burst(proxy, 60), ["200"] * 60)
        self.assertEqual(refused, [])

    def burst(self, proxy, count):
        """So many requests in one write; their statuses."""
        client = Client(proxy.port)
        client.send(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, client.block()) for i in range(count)))
        statuses = {}
        while len(statuses) < count:
            found = client.next()
            self.assertIsNotNone(found)
            if found[0] == RST:
                statuses[found[2]] = "reset"
            if found[0] == HEADERS:
                statuses[found[2]] = dict(found[3])[":status"]
        client.close()
        return list(statuses.values())

    def test_streams_that_a_lower_limit_refuses_wait_for_their_place(self):
        busy, lowered, refused = set(), set(), []
        def act(peer, stream, fields):
            if fields[":path"] == "/first":
                return peer.headers(flags=5, stream=stream)
            if not lowered:
                lowered.add(peer)
                peer.send(settings((3, 1)))
            if peer in busy:
                refused.append(stream)
                return peer.send(reset(stream, 7))
            busy.add(peer)
            def answer():
                busy.discard(peer)
                peer.headers(flags=5, stream=stream)
            threading.Timer(0.01, answer).start()
        proxy = self.behind(self.origin(act, later=[(3, 1)]).port)
        self.assertEqual(self.get(proxy, "/first")[0], 200)
        self.assertEqual(self.burst(proxy, 60), ["200"] * 60)
        self.assertGreater(len(refused), 20)

    # WebSockets

    UPGRADE = ("Connection: Upgrade\r\nUpgrade: {}\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")

    def echo(self, proxy, protocol="websocket"):
        """Asks for an upgrade; the status, and what comes back of some bytes."""
        with proxy.connect() as connection:
            connection.settimeout(10)
            connection.sendall(f"GET /ws HTTP/1.1\r\nHost: a.test\r\n{self.UPGRADE.format(protocol)}\r\n".encode())
            reader = Reader(connection)
            head = reader.upto(b"\r\n\r\n")
            status = int(head[9:12])
            if status != 101:
                return status, reader.body(head + b"\r\n", "GET")
            connection.sendall(b"hello")
            return status, reader.exactly(5)

    def both_versions(self, protocols=("h2", "http/1.1"), pairs=(), answer=lambda peer: peer.headers(flags=5)):
        """A TLS origin: HTTP/2 without WebSockets, and HTTP/1.1 with them; what ALPN chose for each connection."""
        authority = certificates.Authority()
        self.addCleanup(authority.close)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("server", "DNS:localhost,IP:127.0.0.1"))
        context.set_alpn_protocols(list(protocols))
        chosen = []
        def serve(origin, connection):
            if chosen and "http/1.1" not in protocols:
                return  # It is asked for what it has not.
            connection = context.wrap_socket(connection, server_side=True)
            chosen.append(connection.selected_alpn_protocol())
            if chosen[-1] == "h2":
                peer = Peer(connection)
                peer.exactly(len(PREFACE))
                peer.send(settings(*pairs))
                while True:
                    peer.stream = peer.request()
                    answer(peer)
            while True:
                head, _ = origin.head(connection)
                if head is None:
                    return
                found = re.search(r"(?i)upgrade: (websocket|tail)", head)
                if not found:
                    connection.sendall(OK)
                    continue
                connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {found.group(1)}\r\n\r\n".encode())
                while piece := connection.recv(1000):
                    connection.sendall(piece)
        origin = Origin(serve)
        self.addCleanup(origin.close)
        return origin, chosen

    AUTO = "    protocol: auto\n    tls: { verify: off }"

    def test_an_endpoint_that_chose_http2_without_websockets_is_asked_for_http1(self):
        origin, chosen = self.both_versions()
        proxy = self.behind(origin.port, self.AUTO)
        # The first of all, one beside a session, one of another protocol, and requests in between.
        for protocol in ("websocket", "websocket", "tail"):
            self.assertEqual(self.echo(proxy, protocol), (101, b"hello"))
            self.assertEqual(self.get(proxy)[0], 200)
        self.assertEqual(chosen, ["h2"] + ["http/1.1"] * 3)

    def test_an_endpoint_that_requires_http1_gets_it(self):
        # HTTP_1_1_REQUIRED (RFC 9113 §7), for each request that comes by HTTP/2.
        origin, chosen = self.both_versions(answer=lambda peer: peer.send(reset(peer.stream, 13)))
        proxy = self.behind(origin.port, self.AUTO)
        for _ in range(3):
            self.assertEqual(self.get(proxy)[::2], (200, b"ok"))
        self.assertEqual(self.echo(proxy), (101, b"hello"))
        self.assertEqual(chosen, ["h2"] + ["http/1.1"] * 4)
        self.assertEqual(proxy.metric(r'sluice_errors_total\{'), 0)

    def test_a_websocket_that_no_way_leads_to_is_refused_with_a_word_of_why(self):
        served = []
        def act(peer, stream, fields):
            served.append(stream)
            peer.headers(flags=5, stream=stream)
        proxy = self.behind(self.origin(act).port)
        for _ in range(2):
            status, body = self.echo(proxy)
            self.assertEqual(status, 502)
            self.assertIn(b"WebSocket", body)
            self.assertEqual(self.get(proxy)[0], 200)
        self.assertEqual(len(served), 2)
        until(lambda: any("protocol: auto or http1" in line for line in proxy.log))
        self.assertEqual(len([line for line in proxy.log if "WebSocket refused" in line]), 1)

    def test_an_endpoint_of_http2_alone_is_not_blamed_for_its_websockets(self):
        origin, chosen = self.both_versions(protocols=("h2",))
        proxy = self.behind(origin.port, self.AUTO)
        for _ in range(8):
            self.assertEqual(self.echo(proxy)[0], 502)
            self.assertEqual(self.get(proxy)[0], 200)

    def test_the_first_websocket_of_a_session_waits_for_its_settings(self):
        def act(peer, stream, fields):
            self.assertEqual((fields[":method"], fields[":protocol"]), ("CONNECT", "websocket"))
            peer.headers(stream=stream)
            peer.send(frame(DATA, 0, stream, b"hello"))
        proxy = self.behind(self.origin(act, (8, 1)).port)
        self.assertEqual(self.echo(proxy), (101, b"hello"))


if __name__ == "__main__":
    unittest.main()
