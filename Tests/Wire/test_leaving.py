"""Clients that leave, endpoints that answer before they have the whole request, connections that carry an identity."""
import json, os, re, select, signal, socket, ssl, struct, threading, unittest
from certificates import Authority
from frames import *
from harness import Case, Origin, config, until
from test_h2_origins import Peer

REFUSAL = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge"


class Leaving(Case):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.server = cls.authority.issue("server", "DNS:localhost,IP:127.0.0.1")

    @classmethod
    def tearDownClass(cls):
        cls.authority.close()

    def origin(self, serve, tls=False):
        """`serve(connection, rest)` runs when the head of a connection's first request is there."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if context:
            context.load_cert_chain(*self.server)
        def run(origin, connection):
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            try:
                serve(origin, connection)
            finally:
                connection.close()
        origin = Origin(run)
        self.addCleanup(origin.close)
        return origin

    def to_tls(self):
        return f"    tls: {{ ca: {self.authority.ca}, sni: localhost }}"

    def listener_tls(self):
        return f", tls: {{ certificate: {self.server[0]}, key: {self.server[1]} }}"

    def logged(self, text, *options):
        """A proxy with an access log, and a function that gives its lines."""
        path = os.path.join(self.authority.path, f"{self.id()}.log")
        proxy = self.start(text + f"\naccessLog: {{ path: {path} }}\n", *options)
        def lines(count):
            def read():
                if not os.path.exists(path):
                    return False
                with open(path) as file:
                    found = file.read().splitlines()
                return len(found) >= count and [json.loads(line) for line in found]
            return until(read)
        return proxy, lines

    def connect(self, proxy, tls=False):
        connection = proxy.connect()
        if tls:
            context = ssl.create_default_context(cafile=self.authority.ca)
            connection = context.wrap_socket(connection, server_hostname="localhost")
        return connection

    # Endpoints that answer early

    def upload(self, proxy):
        """A client whose body nobody takes any more, so that all buffers are full."""
        client = proxy.connect()
        client.sendall(b"POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n")
        client.setblocking(False)
        idle = 0
        while idle < 5:
            try:
                client.send(b"u" * 65536)
                idle = 0
            except BlockingIOError:
                # Five times nothing was taken within its wait: the way is full.
                idle += 1
                select.select([], [client], [], 0.01)
        client.settimeout(20)
        return client

    def refused(self, proxy, client, answer):
        """Has the origin answer and break off while the proxy stands still: the failed send comes before the answer."""
        os.kill(proxy.process.pid, signal.SIGSTOP)
        try:
            answer()
        finally:
            os.kill(proxy.process.pid, signal.SIGCONT)
        out = b""
        while b"\r\n\r\n" not in out and (piece := client.recv(65536)):
            out += piece
        client.close()
        return out[9:12]

    def early(self, tls):
        go, gone = threading.Event(), threading.Event()
        def serve(origin, connection):
            origin.head(connection)
            go.wait(20)
            connection.sendall(REFUSAL)
            connection.close()
            gone.set()
        origin = self.origin(serve, tls)
        proxy = self.start(config(
            origin.port, service=self.to_tls() if tls else "",
            routes="routes: [{ name: rest, to: s, retries: { attempts: 2, on: [reset], methods: all } }]"))
        for _ in range(5):
            go.clear()
            gone.clear()
            client = self.upload(proxy)
            self.assertEqual(self.refused(proxy, client, lambda: (go.set(), gone.wait(20))), b"413")
        self.assertEqual(proxy.metric('sluice_requests_total.*code="413"'), 5)
        self.assertEqual(proxy.metric("sluice_upstream_retries_total"), 0)

    def test_an_early_answer_in_front_of_a_failed_send_is_read(self):
        self.early(tls=False)

    def test_an_early_answer_in_front_of_a_failed_send_is_read_over_tls(self):
        self.early(tls=True)

    def test_an_early_answer_and_a_goaway_in_front_of_a_failed_send_are_read(self):
        go, gone = threading.Event(), threading.Event()
        def serve(origin, connection):
            peer = Peer(connection)
            peer.exactly(24)
            peer.send(settings())
            while True:
                kind, flags, stream, payload = peer.next()
                if kind == SETTINGS and not flags & ACK:
                    peer.send(frame(SETTINGS, ACK))
                if kind == HEADERS:
                    break
            peer.stream = stream
            go.wait(20)
            peer.headers(("content-length", "5"), status="413")
            peer.data(b"large")
            peer.send(frame(GOAWAY, 0, 0, struct.pack(">II", stream, 0)))
            connection.close()
            gone.set()
        origin = self.origin(serve)
        proxy = self.start(config(origin.port, service="    protocol: http2"))
        client = self.upload(proxy)
        self.assertEqual(self.refused(proxy, client, lambda: (go.set(), gone.wait(20))), b"413")

    def test_an_answer_that_a_reset_follows_reaches_a_slow_reader_whole(self):
        size = 3_000_000
        sent = threading.Event()
        def serve(origin, connection):
            origin.head(connection)
            # Room for all of it in the kernel: it is there when the reset comes.
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            sent.set()
        origin = self.origin(serve)
        proxy = self.start(config(origin.port))
        client = proxy.connect()
        # One byte that the origin never reads makes its close a reset.
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"b" * 100)
        got = 0
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1000)
        got = len(head.split(b"\r\n\r\n", 1)[1])
        while got < size and (piece := client.recv(65536)):
            got += len(piece)
        self.assertEqual(got, size)
        client.close()

    # Clients that leave

    def waiting(self, first=b"", tls=False):
        """An origin that says something, or nothing, and then waits for the end of its connection."""
        ended = threading.Event()
        def serve(origin, connection):
            origin.head(connection)
            if first:
                connection.sendall(first)
            while connection.recv(65536):
                pass
            ended.set()
        origin = self.origin(serve, tls)
        origin.ended = ended
        return origin

    def left(self, proxy, origin, lines, count=1):
        self.assertTrue(origin.ended.wait(10))
        until(lambda: proxy.metric("sluice_requests_in_flight") == 0)
        self.assertEqual(proxy.metric('sluice_requests_total.*code="0"'), count)
        line = lines(count)[-1]
        self.assertEqual((line["status"], line["flags"]), (0, "DC"))

    def test_a_client_that_leaves_is_noticed_at_once(self):
        stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n"
        for tls in (False, True):
            for first in (b"", stream):
                for way in ("close", "half"):
                    with self.subTest(tls=tls, answering=bool(first), way=way):
                        origin = self.waiting(first)
                        proxy, lines = self.logged(config(origin.port, listener=self.listener_tls() if tls else ""))
                        client = self.connect(proxy, tls)
                        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                        until(lambda: origin.heads)
                        if first:
                            self.assertIn(b"200", client.recv(1000))
                        if way == "close":
                            client.close()
                        elif tls:
                            # Its alert alone: the socket stays open.
                            client.settimeout(20)
                            try:
                                client.unwrap()
                            except OSError:
                                pass
                        else:
                            client.shutdown(socket.SHUT_WR)
                        self.left(proxy, origin, lines)
                        client.close()

    def test_a_client_that_leaves_behind_bytes_that_are_not_read_is_noticed(self):
        for tls in (False, True):
            with self.subTest(tls=tls):
                origin = self.waiting()
                proxy, lines = self.logged(config(origin.port, listener=self.listener_tls() if tls else ""))
                client = self.connect(proxy, tls)
                client.sendall(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
                until(lambda: origin.heads)
                # Little enough for the kernel to take: an end that waits behind a closed window is seen by nobody.
                client.sendall(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n" * 1_500)
                client.close()
                self.left(proxy, origin, lines)
                self.assertEqual(len(origin.heads), 1)

    def test_a_client_that_breaks_off_an_upload_that_is_held_up_is_noticed(self):
        taking = threading.Event()
        def serve(origin, connection):
            origin.head(connection)
            taking.wait(20)
            while connection.recv(65536):
                pass
            origin.ended.set()
        origin = self.origin(serve)
        origin.ended = threading.Event()
        proxy, lines = self.logged(config(origin.port))
        client = self.upload(proxy)
        # An end would wait behind what the proxy does not read; a reset does not.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        until(lambda: proxy.metric("sluice_requests_in_flight") == 0)
        taking.set()
        self.left(proxy, origin, lines)

    def test_a_client_that_leaves_frees_its_place_in_the_queue(self):
        origin = self.waiting()
        proxy = self.start(config(origin.port, service="    connectionPool: { maxConnections: 1 }"))
        holder, waiter = proxy.connect(), proxy.connect()
        holder.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: origin.heads)
        waiter.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: self.clusters(proxy)["pending"]["now"] == 1)
        waiter.close()
        until(lambda: self.clusters(proxy)["pending"]["now"] == 0)
        self.assertEqual(proxy.metric("sluice_requests_in_flight"), 1)
        holder.close()

    def test_a_client_of_http2_that_leaves_is_noticed(self):
        origin = self.waiting()
        proxy, lines = self.logged(config(origin.port))
        client = Client(proxy.port)
        client.request()
        until(lambda: origin.heads)
        client.socket.shutdown(socket.SHUT_WR)
        self.left(proxy, origin, lines)
        client.close()

    def test_an_endpoint_of_http2_is_told_by_a_reset_of_the_stream(self):
        told = []
        def serve(origin, connection):
            peer = Peer(connection)
            peer.exactly(24)
            peer.send(settings())
            peer.stream = peer.request()
            told.append("request")
            while True:
                kind, flags, stream, payload = peer.next()
                if kind == RST:
                    told.append((stream, struct.unpack(">I", payload)[0]))
                    break
            # The connection goes on.
            peer.stream = peer.request()
            peer.headers(("content-length", "2"))
            peer.data()
            peer.request()
        origin = self.origin(serve)
        # One worker, so that the next client comes by the same session.
        proxy = self.start(config(origin.port, service="    protocol: http2"), "--workers", "1")
        client = proxy.connect()
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: told)
        client.close()
        until(lambda: len(told) == 2)
        self.assertEqual(told[1], (1, CODES.index("CANCEL")))
        self.assertEqual(proxy.get().status, 200)
        self.assertEqual(origin.connections, 1)

    # Identity

    def authenticating(self, scheme=b"NTLM", answer_status=b"401 Unauthorized", field=b"WWW-Authenticate"):
        def serve(origin, connection):
            user, rest = b"", b""
            while True:
                head, rest = origin.head(connection, rest)
                if head is None:
                    return
                found = re.search(rb"(?i)\r\nauthorization: (?:NTLM|Negotiate) (\S+)", head.encode("latin-1"))
                user = found.group(1) if found else user
                if user:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(user) + user)
                else:
                    connection.sendall(b"HTTP/1.1 %s\r\n%s: %s\r\nContent-Length: 0\r\n\r\n" % (answer_status, field, scheme))
        return self.origin(serve)

    def ask(self, connection, *fields):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(f + b"\r\n" for f in fields) + b"\r\n")
        out = b""
        while b"\r\n\r\n" not in out:
            out += connection.recv(65536)
        head, body = out.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
        while len(body) < length:
            body += connection.recv(65536)
        return int(head[9:12]), body

    def test_a_connection_that_authenticated_a_client_serves_nobody_else(self):
        cases = [(b"NTLM", b"401 X", b"WWW-Authenticate"), (b'Basic realm="a, NTLM", negotiate', b"401 X", b"www-authenticate"),
                 (b"NTLM TlRMTVNTUAAC", b"407 X", b"Proxy-Authenticate")]
        for scheme, code, field in cases:
            for tls in (False, True):
                with self.subTest(scheme=scheme, tls=tls):
                    origin = self.authenticating(scheme, code, field)
                    # One worker, which would lend the connection.
                    proxy = self.start(
                        config(origin.port, listener=self.listener_tls() if tls else ""), "--workers", "1")
                    alice, mallory = self.connect(proxy, tls), self.connect(proxy, tls)
                    self.assertEqual(self.ask(alice)[0], int(code[:3]))
                    self.assertEqual(self.ask(alice, b"Authorization: NTLM alice"), (200, b"alice"))
                    self.assertEqual(self.ask(mallory)[0], int(code[:3]))
                    self.assertEqual(self.ask(alice), (200, b"alice"))
                    self.assertEqual(self.ask(mallory, b"authorization: negotiate mallory"), (200, b"mallory"))
                    self.assertEqual(self.ask(alice), (200, b"alice"))
                    alice.close()
                    # Her connection ends with her.
                    until(lambda: proxy.metric("sluice_upstream_connections ") == 1)
                    self.assertEqual(self.ask(mallory), (200, b"mallory"))
                    mallory.close()
                    until(lambda: proxy.metric("sluice_upstream_connections ") == 0)

    def test_other_schemes_share_connections(self):
        origin = self.authenticating(b'Basic realm="a"')
        proxy = self.start(config(origin.port), "--workers", "1")
        for _ in range(5):
            client = self.connect(proxy)
            self.assertEqual(self.ask(client, b"Authorization: Basic YTpi")[0], 401)
            client.close()
        self.assertEqual(origin.connections, 1)

    # Expect

    def test_a_refused_expect_ends_the_connection(self):
        def serve(origin, connection):
            origin.head(connection)
            connection.sendall(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
            while connection.recv(1000):
                pass
        origin = self.origin(serve)
        proxy = self.start(config(origin.port))
        client = proxy.connect()
        client.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 36\r\n\r\n")
        head = client.recv(1000)
        self.assertTrue(head.startswith(b"HTTP/1.1 417 "), head)
        self.assertIn(b"connection: close", head)
        # What it sends now is no request, nor a body for the origin.
        client.sendall(b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
        self.assertEqual(client.recv(1000), b"")
        self.assertEqual(len(origin.heads), 1)

    # Readers that pause

    ROUTES = """routes:
  - { name: patient, match: { path: { prefix: /long } }, to: s, timeouts: { write: 60s } }
  - { name: off, match: { path: { prefix: /off } }, to: s, timeouts: { write: off } }
  - { name: rest, to: s }
"""
    TIMES = "defaults: { timeouts: { write: 300ms, idle: 200ms, keepAlive: 300ms } }"

    def pouring(self, size):
        def serve(origin, connection):
            while (head := origin.head(connection)[0]) is not None:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        return self.origin(serve)

    def test_a_reader_may_pause_as_long_as_its_route_says(self):
        size = 20_000_000
        origin = self.pouring(size)
        for tls in (False, True):
            with self.subTest(tls=tls):
                proxy = self.start(config(
                    origin.port, routes=self.ROUTES, extra=self.TIMES, listener=self.listener_tls() if tls else ""))
                readers = {}
                for path in ("/long", "/off", "/short"):
                    for close in (b"", b"Connection: close\r\n"):
                        reader = self.connect(proxy, tls)
                        reader.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (path.encode(), close))
                        readers[path, close] = reader
                # Those with the default time are ended; by then the others have paused as long.
                until(lambda: proxy.metric('sluice_slow_clients_total.*kind="reader"') == 2)
                for (path, _), reader in readers.items():
                    if path == "/short":
                        continue
                    got = b""
                    while b"\r\n\r\n" not in got:
                        got += reader.recv(1000)
                    count = len(got.split(b"\r\n\r\n", 1)[1])
                    while count < size:
                        piece = reader.recv(1 << 20)
                        self.assertTrue(piece, (path, count))
                        count += len(piece)
                    reader.close()

    def test_a_stream_may_pause_as_long_as_its_route_says(self):
        for size in (40_000, 1_000_000):
            with self.subTest(size=size):
                origin = self.pouring(size)
                proxy = self.start(config(origin.port, routes=self.ROUTES, extra=self.TIMES))
                # A client that opens no window until it has seen the end of the impatient stream.
                client = Client(proxy.port, True, (4, 0))
                client.request(1, path="/long")
                client.request(3, path="/off")
                client.request(5, path="/short")
                self.assertIn(client.outcome(5), ("rst CANCEL", "rst INTERNAL_ERROR"))
                client.send(window(0, 4_000_000) + window(1, 2_000_000) + window(3, 2_000_000))
                lengths, ends = {1: 0, 3: 0}, set()
                while len(ends) < 2:
                    kind, flags, stream, payload = client.next()
                    self.assertNotIn(kind, (RST, GOAWAY))
                    if kind == DATA:
                        lengths[stream] += len(payload)
                    if kind == DATA and flags & END_STREAM:
                        ends.add(stream)
                self.assertEqual(lengths, {1: size, 3: size})
                client.close()

    # Ends of our own

    def test_what_the_end_of_draining_cuts_was_not_left_by_its_client(self):
        for version in (1, 2):
            with self.subTest(version=version):
                origin = self.waiting()
                proxy, lines = self.logged(config(origin.port).replace("grace: 5s", "grace: 200ms"))
                if version == 1:
                    client = proxy.connect()
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                else:
                    client = Client(proxy.port)
                    client.request()
                until(lambda: origin.heads)
                proxy.process.send_signal(signal.SIGTERM)
                proxy.process.wait(20)
                self.assertEqual(lines(1)[0]["flags"], "DR")
                client.close()

    def test_what_the_proxy_ends_because_its_client_broke_the_protocol_is_flagged_so(self):
        origin = self.waiting()
        proxy, lines = self.logged(config(origin.port))
        client = Client(proxy.port)
        client.request()
        until(lambda: origin.heads)
        client.send(frame(DATA, 0, 0, b"on no stream"))
        self.assertEqual(client.outcome(), "goaway PROTOCOL_ERROR")
        self.assertEqual(lines(1)[0]["flags"], "DPE")
        client.close()


if __name__ == "__main__":
    unittest.main()
