"""More than there is room for: descriptors, connections, memory, speed; and clients that hold on to what they have."""
import json, os, re, resource, select, socket, ssl, threading, time, unittest
import frames
from certificates import Authority
from harness import OK, Case, Demo, Origin, Proxy, config, status, until


def rest(text=""):
    return f"routes: [{{ name: rest, to: s{text} }}]"


class Overload(Case):
    def descriptors(self, count):
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    def one_each(self, proxy, clients, requests):
        """Clients at one time, each with a connection for each of its requests; returns the answers."""
        answers, lock = [], threading.Lock()
        gate = threading.Barrier(clients)
        def run():
            gate.wait()
            for _ in range(requests):
                connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=60)
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                file = connection.makefile("rb")
                line = file.readline()
                while file.readline() not in (b"\r\n", b""):
                    pass
                file.close()
                connection.close()
                with lock:
                    answers.append(line)
        threads = [threading.Thread(target=run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def test_sixty_four_descriptors_serve_five_hundred_clients(self):
        v1 = Demo("v1")
        self.addCleanup(v1.stop)
        proxy = Proxy(config(v1.port), preexec=self.descriptors(64))
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        answers = self.one_each(proxy, 500, 4)
        # Nobody who was let in was sent away, and nobody was let in to be sent away.
        self.assertEqual(len(answers), 2_000)
        self.assertEqual(set(answers), {b"HTTP/1.1 200 OK\r\n"})
        self.assertGreater(proxy.metric("sluice_accept_pauses_total"), 0)
        self.assertEqual(proxy.metric("sluice_downstream_connections_shed_total"), 0)
        # It waited for places and did not ask for them all the time.
        self.assertLess(proxy.metric("sluice_accept_pauses_total"), 2_000)
        self.assertEqual(proxy.get().status, 200)
        until(lambda: proxy.metric("process_open_fds") < 48)

    def test_idle_connections_make_room_and_busy_ones_are_waited_for(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        backend = self.backend()
        backend.answer = lambda head, body: ("/wait" in head and gate.wait(20), OK)[1]
        proxy = self.start(config(backend.port, extra="defaults: { limits: { connections: 4 } }"))
        idle = []
        for _ in range(4):
            connection = proxy.connect()
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 200"))
            idle.append(connection)
        self.assertEqual(proxy.get().status, 200)
        until(lambda: proxy.metric("sluice_idle_connections_evicted_total") >= 1)
        for connection in idle:
            connection.close()
        busy = []
        for _ in range(4):
            connection = proxy.connect()
            connection.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            busy.append(connection)
        until(lambda: sum("/wait" in h for h in backend.heads) == 4)
        late = proxy.connect()
        late.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: proxy.metric('sluice_accept_pauses_total.*cause="connections"') >= 1)
        self.assertFalse(any("/late" in h for h in backend.heads))
        gate.set()
        self.assertTrue(late.recv(1000).startswith(b"HTTP/1.1 200"))
        for connection in busy:
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 200"))

    def test_connections_are_let_in_at_their_rate(self):
        backend = self.backend()
        proxy = self.start(config(backend.port, extra="defaults: { limits: { acceptRate: 50 } }"))
        begun = time.monotonic()
        answers = self.one_each(proxy, 50, 2)
        self.assertEqual(set(answers), {b"HTTP/1.1 200 OK\r\n"})
        # A hundred at fifty a second, less the tenth of a second that may come at once.
        self.assertGreaterEqual(time.monotonic() - begun, 1.7)
        self.assertGreater(proxy.metric('sluice_accept_pauses_total.*cause="rate"'), 0)

    def test_memory_in_buffers_is_bounded_and_new_requests_are_told(self):
        def pour(origin, connection):
            while (head := origin.head(connection)[0]) is not None:
                if "/large" not in head:
                    connection.sendall(OK)
                    continue
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                for _ in range(1_000):
                    connection.sendall(b"x" * 100_000)
        origin = Origin(pour)
        self.addCleanup(origin.close)
        proxy = self.start(config(
            origin.port, service="    connectionPool: { maxConnections: 200 }",
            extra="defaults: { limits: { bufferBytes: 1MiB }, forwarding: { flags: x-flags } }"))
        readers = []
        for _ in range(64):
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", proxy.port))
            reader.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            readers.append(reader)
        refused = until(lambda: (r := proxy.get()).status == 503 and r)
        self.assertEqual(refused.getheader("x-flags"), "OM")
        self.assertGreaterEqual(proxy.metric("sluice_requests_shed_total"), 1)
        # One buffer of each may be on its way when the limit is seen.
        self.assertLess(proxy.metric("sluice_buffer_bytes"), 8 << 20)
        for reader in readers:
            reader.close()
        until(lambda: proxy.get().status == 200)


class OwnAnswers(Case):
    """Answers that Sluice makes itself: few of them wait, however many a client asks for and does not take."""
    BODY = "z" * 60_000
    ROUTES = f'routes: [{{ name: fixed, respond: {{ body: "{BODY}" }} }}]'
    REQUEST, COUNT = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1_800

    def idle_origin(self):
        return self.backend().port

    def asks_and_waits(self, proxy, connection):
        """Asks for 108 MB and takes nothing, until some of it waits; then takes all of it."""
        connection.settimeout(60)
        sender = threading.Thread(target=lambda: connection.sendall(self.REQUEST * self.COUNT))
        sender.start()
        sender.join()
        until(lambda: proxy.metric("sluice_buffer_bytes") > 60_000)
        self.assertLess(proxy.metric("sluice_requests_total"), self.COUNT)
        waits = proxy.metric("sluice_buffer_bytes")
        got, body = 0, len(self.BODY)
        whole = self.COUNT * body
        while got < whole:
            piece = connection.recv(1 << 20)
            self.assertTrue(piece)
            got += piece.count(b"z")
        self.assertEqual(got, whole)
        self.assertEqual(proxy.metric("sluice_requests_total"), self.COUNT)
        return waits

    def test_pipelined_answers_do_not_pile_up(self):
        proxy = self.start(config(self.idle_origin(), routes=self.ROUTES))
        before = proxy.metric("sluice_buffer_bytes")
        with proxy.connect() as connection:
            # 64 KiB, one answer, 48 KB of requests, each in a buffer that may be twice as large.
            self.assertLess(self.asks_and_waits(proxy, connection) - before, 1 << 20)

    def test_pipelined_answers_do_not_pile_up_over_tls(self):
        authority = Authority()
        self.addCleanup(authority.close)
        certificate, key = authority.issue("server", "DNS:localhost")
        proxy = self.start(config(
            self.idle_origin(), routes=self.ROUTES,
            listener=f" }}, {{ name: https, address: \"127.0.0.1:0\", tls: {{ certificate: {certificate}, key: {key} }}"))
        port = int(re.search(r"https=127\.0\.0\.1:(\d+)", proxy.log[-1]).group(1))
        before = proxy.metric("sluice_buffer_bytes")
        context = ssl.create_default_context(cafile=authority.ca)
        with socket.create_connection(("127.0.0.1", port)) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                self.assertLess(self.asks_and_waits(proxy, connection) - before, 2 << 20)

    def test_pipelined_requests_in_front_of_an_end_are_all_answered(self):
        proxy = self.start(config(self.idle_origin(), routes=self.ROUTES))
        out = proxy.raw(self.REQUEST * 100, half_close=True)
        self.assertEqual(out.count(b"HTTP/1.1 200"), 100)
        self.assertEqual(out.count(b"z"), 100 * len(self.BODY))

    def test_streams_with_shut_windows_are_as_many_answers_as_streams_and_count(self):
        proxy = self.start(config(
            self.idle_origin(), routes=self.ROUTES,
            extra="defaults: { limits: { bufferBytes: 4MiB }, forwarding: { flags: x-flags } }"))
        client = frames.Client(proxy.port, True, (4, 0))
        self.addCleanup(client.close)
        for i in range(101):
            client.request(2 * i + 1)
        self.assertEqual(client.outcome(201), "rst REFUSED_STREAM")
        held = proxy.metric("sluice_buffer_bytes")
        # Requests that come when the limit is reached already are told 503 themselves.
        self.assertGreater(held, 4 << 20, "what waits for a window is counted")
        self.assertLess(held, 100 * 140_000, "and is a body for each stream")
        refused = until(lambda: (r := proxy.get()).status == 503 and r)
        self.assertEqual(refused.getheader("x-flags"), "OM")
        client.close()
        until(lambda: proxy.get().status == 200)


class Slow(Case):
    """Slow senders and readers, on both sides, are bounded by time."""

    def ends(self, connection):
        """What comes until the other side ends it."""
        out = b""
        try:
            while piece := connection.recv(65536):
                out += piece
        except ConnectionResetError:
            pass
        return out

    def dribble(self, connection, data, pause=0.03):
        """Sends byte by byte until the other side has had enough; returns what it said."""
        out = b""
        connection.settimeout(pause)
        for i in range(len(data)):
            try:
                connection.sendall(data[i:i + 1])
                if not (piece := connection.recv(1000)):
                    return out
                out += piece
            except socket.timeout:
                continue
            except OSError:
                return out
        self.fail("it took all of it")

    def test_a_head_that_comes_too_slowly(self):
        backend = self.backend()
        proxy = self.start(config(backend.port, extra="defaults: { timeouts: { headers: 300ms } }"))
        said = self.dribble(proxy.connect(), b"GET / HTTP/1.1\r\n" + b"x-pad: 0123456789\r\n" * 1_000)
        self.assertTrue(said == b"" or said.startswith(b"HTTP/1.1 408"), said)
        self.assertEqual(backend.requests, [])

    def test_a_body_that_comes_too_slowly(self):
        backend = self.backend()
        proxy = self.start(config(backend.port, extra="""defaults:
  timeouts: { idle: 300ms }
  limits: { minBytesPerSecond: 1000 }"""))
        connection = proxy.connect()
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        # Never silent for long, and never fast enough.
        self.assertIn(b"408", self.dribble(connection, b"x" * 100_000))
        self.assertEqual(proxy.metric('sluice_slow_clients_total.*kind="sender"'), 1)
        self.assertEqual(self.clusters(proxy)["requests"]["now"], 0)
        # One that is fast enough has its time.
        connection = proxy.connect()
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n")
        for _ in range(20):
            self.assertEqual(select.select([connection], [], [], 0.03)[0], [], "nothing is said before its end")
            connection.sendall(b"y" * 1_000)
        self.assertIn(b"200", connection.recv(1000))

    def test_an_answer_that_is_taken_too_slowly(self):
        def pour(origin, connection):
            origin.head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(1_000):
                connection.sendall(b"x" * 100_000)
        origin = Origin(pour)
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, extra="""defaults:
  timeouts: { write: 300ms }
  limits: { minBytesPerSecond: 10000000 }"""))
        for pause in (None, 0.02):
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", proxy.port))
            reader.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            before = proxy.metric('sluice_slow_clients_total.*kind="reader"')
            def gone():
                if pause:
                    reader.recv(1000)
                return proxy.metric('sluice_slow_clients_total.*kind="reader"') > before
            until(gone)
            reader.close()
        until(lambda: proxy.metric("sluice_requests_in_flight") == 0)

    def test_an_origin_that_answers_too_slowly(self):
        def drip(origin, connection):
            while origin.head(connection)[0] is not None:
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-pad: " + b"0" * 1_000:
                    connection.sendall(bytes([byte]))
                    # Until the proxy has had enough.
                    if select.select([connection], [], [], 0.01)[0]:
                        return
        origin = Origin(drip)
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, routes=rest(", timeouts: { firstByte: 300ms }")))
        self.assertEqual(proxy.get().status, 504)


if __name__ == "__main__":
    unittest.main()
