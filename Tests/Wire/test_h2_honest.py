"""What honest HTTP/2 peers do that looks like a flood: nothing of it may end a connection. Floods are in test_h2_floods.py."""
import itertools, queue, struct, threading, unittest
from frames import *
from harness import OK, Case, Origin, config, until
from test_h2_origins import Peer

GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def endpoint(on, *pairs):
    """An HTTP/2 origin: `on(peer, kind, flags, stream, payload)` gets each frame that needs more than an acknowledgement."""
    def serve(origin, connection):
        peer = Peer(connection)
        peer.lock = threading.Lock()
        peer.exactly(24)
        peer.send(settings(*pairs))
        while True:
            kind, flags, stream, payload = peer.next()
            if kind in (SETTINGS, PING) and not flags & ACK:
                peer.send(frame(kind, ACK, 0, payload if kind == PING else b""))
            else:
                on(peer, kind, flags, stream, payload)
    return Origin(serve)


def head(peer, stream, status="200", end=False):
    # A literal: nothing depends on what was lost with other streams.
    return frame(HEADERS, 5 if end else 4, stream, b"\0\7:status" + bytes([len(status)]) + status.encode())


class Honest(Case):
    def behind(self, origin, protocol="http2"):
        """One worker, so that all clients share one session."""
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, service=f"    protocol: {protocol}"), "--workers", "1")
        if hasattr(origin, "over"):
            # Nothing is under way when the proxy is told to end.
            self.addCleanup(origin.over.set)
        return proxy

    def test_both_ends_ping_for_each_message_as_grpc_go_does(self):
        """golang/go#70575: the estimate of the round trip, at the pace of the messages."""
        pings = []

        def on(peer, kind, flags, stream, payload):
            if kind == HEADERS:
                peer.send(head(peer, stream))
            elif kind == DATA:
                peer.send(window(0, len(payload)) + window(stream, len(payload)) + frame(PING, 0, 0, b"endpoint")
                          + frame(DATA, flags & END_STREAM, stream, payload))
            elif kind == PING:
                pings.append(stream)
        proxy = self.behind(endpoint(on))
        client = Client(proxy.port)
        client.request(1, end=False, method="POST", extra=GRPC)
        for i in range(1500):
            client.send(frame(DATA, 0, 1, b"\0\0\0\0\x03abc"))
            while (found := client.next()) and found[0] != DATA:
                self.assertNotIn(found[0], (GOAWAY, RST))
            self.assertTrue(found, f"the connection ended after {i} messages")
            client.send(window(0, 8) + window(1, 8) + frame(PING, 0, 0, b"bdp ping"))
        self.assertTrue(client.acknowledged())
        until(lambda: len(pings) == 1500)
        client.close()

    def test_an_endpoint_that_needs_no_body_resets_each_upload(self):
        """RFC 9113 §8.1, as nginx, Node and Go do; and one that refuses: nobody else on the session notices."""
        ticks = queue.Queue()

        def on(peer, kind, flags, stream, payload):
            if kind != HEADERS:
                return
            if not hasattr(peer, "first"):
                peer.first = stream
                peer.send(head(peer, stream))
                threading.Thread(target=tick, args=(peer, stream), daemon=True).start()
            elif stream % 4 == 1:
                peer.send(head(peer, stream, "401", True) + reset(stream, 0))
            else:
                peer.send(reset(stream, 7))

        def tick(peer, stream):
            while ticks.get():
                peer.send(frame(DATA, 0, stream, b"tick"))
            peer.send(frame(DATA, 1, stream, b"end"))
        proxy = self.behind(endpoint(on))
        other = Client(proxy.port)
        other.request(1)
        while other.next()[0] != HEADERS:
            pass
        client = Client(proxy.port)
        for i in range(700):
            client.send(frame(HEADERS, 4, 1 + 2 * i, client.block(method="POST")) + frame(DATA, 0, 1 + 2 * i, b"u" * 100))
            self.assertIn(client.outcome(1 + 2 * i), ("401", "502", "503", "rst NO_ERROR"))
            if i % 100 == 0:
                ticks.put(True)
        ticks.put(False)
        body = b""
        while (found := other.next()) and not found[1] & END_STREAM:
            self.assertNotIn(found[0], (RST, GOAWAY))
            body += found[3] if found[0] == DATA else b""
        self.assertEqual(body + found[3], b"tick" * 7 + b"end")
        self.assertEqual(proxy.metric(r"sluice_upstream_http2_connections_total"), 1)
        client.close()
        other.close()

    def test_downloads_still_on_their_way_when_their_client_leaves(self):
        """RFC 9113 §5.1: frames on streams that were reset here are ignored, however many streams they were."""
        streams, resets = [], []

        def on(peer, kind, flags, stream, payload):
            if kind == HEADERS:
                streams.append(stream)
                peer.send(head(peer, stream))
            elif kind == RST:
                resets.append(stream)
                if len(resets) == 60:
                    # All that the windows let through, as if it had been on its way.
                    for late in resets:
                        peer.send(b"".join(frame(DATA, 0, late, b"d" * 100) for _ in range(600)))
                        peer.send(frame(HEADERS, 5, late, b"\0\5x-sum\1" + b"1"))
                    peer.send(frame(DATA, 1, streams[0], b"whole"))
        proxy = self.behind(endpoint(on, (3, 200)))
        other = Client(proxy.port)
        other.request(1)
        until(lambda: streams)
        client = Client(proxy.port)
        for i in range(60):
            client.request(1 + 2 * i)
        until(lambda: len(streams) == 61)
        client.close()
        self.assertEqual(other.outcome(1), "200")
        self.assertEqual(len(resets), 60)
        other.close()

    def slow(self):
        """An origin that answers what is asked of /slow when the test is over."""
        over = threading.Event()

        def serve(origin, connection):
            rest = b""
            while True:
                request, rest = origin.head(connection, rest)
                if request is None:
                    return
                if request.startswith("GET /slow"):
                    over.wait(30)
                connection.sendall(OK)
        origin = Origin(serve)
        origin.over = over
        return origin

    def test_reset_and_new_request_in_one_write_at_the_limit_of_streams(self):
        """varnish-cache#2923."""
        proxy = self.behind(self.slow(), "http1")
        client, slow, numbers = Client(proxy.port), [], itertools.count(1, 2)

        def ask(path):
            number = next(numbers)
            slow.append(number) if path == "/slow" else None
            return frame(HEADERS, 5, number, client.block(path=path))
        client.send(b"".join(ask("/slow") for _ in range(100)))
        self.assertTrue(client.acknowledged())
        for turn in range(10):
            taken, slow[:10] = slow[:10], []
            client.send(b"".join(reset(number) for number in taken) + b"".join(ask("/") for _ in range(10)))
            for _ in range(10):
                while not ((found := client.next())[1] & END_STREAM and found[0] in (HEADERS, DATA)):
                    self.assertNotIn(found[0], (RST, GOAWAY))
            client.send(b"".join(ask("/slow") for _ in range(10)))
        self.assertTrue(client.acknowledged())
        client.close()

    def test_a_fifth_of_all_calls_is_cancelled(self):
        """golang/go#76296: deadlines that pass; five seconds' worth at once, which is harder than at a pace."""
        proxy = self.behind(self.slow(), "http1")
        client = Client(proxy.port)
        for i in range(4000):
            stream = 1 + 2 * i
            if i % 5 == 0:
                client.send(frame(HEADERS, 5, stream, client.block(path="/slow")) + reset(stream))
            else:
                client.request(stream)
                self.assertEqual(client.outcome(stream), "200", f"call {i}")
        self.assertTrue(client.acknowledged())
        client.close()

    def test_more_requests_than_allowed_before_the_limit_is_known(self):
        proxy = self.behind(self.slow(), "http1")
        client = Client(proxy.port)
        client.send(b"".join(frame(HEADERS, 5, 1 + 2 * i, client.block(path="/slow")) for i in range(700)))
        for i in range(600):
            self.assertEqual(client.outcome(201 + 2 * i), "rst REFUSED_STREAM")
        self.assertTrue(client.acknowledged())
        client.close()

    def test_the_machine_of_a_silent_endpoint_is_probed_by_tcp(self):
        """One that is gone must be noticed, though gRPC servers want few PINGs."""
        def on(peer, kind, flags, stream, payload):
            if kind == HEADERS:
                peer.send(head(peer, stream))
        origin = endpoint(on)
        proxy = self.behind(origin)
        client = Client(proxy.port)
        client.request(1)
        while client.next()[0] != HEADERS:
            pass

        def timers():
            with open("/proc/net/tcp") as file:
                rows = [line.split() for line in file]
            return [row[5][:2] for row in rows if row[2] == f"0100007F:{origin.port:04X}" and row[3] == "01"]
        # 02: the timer of probes runs.
        until(lambda: timers() == ["02"])
        client.close()

    def test_an_endpoint_that_was_asked_too_often_is_asked_less(self):
        """gRPC's proposal A8: GOAWAY with too_many_pings; said in the log, and the interval does not hold for it any more."""
        pings = []

        def serve(origin, connection):
            peer, number = Peer(connection), origin.connections
            peer.exactly(24)
            peer.send(settings())
            while True:
                kind, flags, stream, payload = peer.next()
                if kind == SETTINGS and not flags & ACK:
                    peer.send(frame(SETTINGS, ACK))
                if kind == PING and not flags & ACK:
                    pings.append(number)
                    peer.send(frame(PING, ACK, 0, payload))
                    if number == 1 and len(pings) == 3:
                        peer.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0x7fffffff, 11) + b"too_many_pings"))
                        return
        origin = Origin(serve)
        self.addCleanup(origin.close)
        proxy = self.start(config(origin.port, service="    protocol: http2\n    connectionPool: { pingInterval: 50ms }"))
        client = Client(proxy.port)
        client.request(1)
        self.assertEqual(client.outcome(1), "502")
        client.request(3)
        until(lambda: "too_many_pings" in "".join(proxy.log))
        until(lambda: pings.count(2) == 1)
        client.request(5)
        until(lambda: pings.count(2) == 2)
        # Five minutes must pass before the next.
        client.request(7)
        self.assertTrue(client.acknowledged())
        client.close()


if __name__ == "__main__":
    unittest.main()
