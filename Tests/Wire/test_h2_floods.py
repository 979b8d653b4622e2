"""Clients that spend little to make the proxy spend much. Each is ended with the cause counted; others do not notice."""
import struct, unittest
from frames import *
from harness import OK, Origin, Proxy, answering, config, until
from test_h2_origins import Peer


def rss(proxy):
    with open(f"/proc/{proxy.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


class Floods(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(answering(OK))
        cls.proxy = Proxy(config(cls.origin.port))

    @classmethod
    def tearDownClass(cls):
        cls.proxy.stop()
        cls.origin.close()

    def refused(self, cause):
        return self.proxy.metric(rf'sluice_downstream_refused_total\{{.*cause="{cause}"')

    def flood(self, cause, act, prepare=None, code="ENHANCE_YOUR_CALM"):
        """`act(client, i)` gives the bytes of round i; 200,000 frames are offered."""
        before, memory = self.refused(cause), rss(self.proxy)
        honest = Client(self.proxy.port)
        client = Client(self.proxy.port)
        if prepare:
            prepare(client)
        for i in range(200):
            client.send(b"".join(act(client, i * 1000 + j) for j in range(1000)))
            honest.request(1 + 2 * i)
            self.assertEqual(honest.outcome(1 + 2 * i), "200")
            if self.refused(cause) > before:
                break
        self.assertEqual(self.refused(cause), before + 1)
        self.assertIn(client.outcome(0x7fffffff), (f"goaway {code}", "closed"))
        self.assertLess(rss(self.proxy) - memory, 32 << 20)
        honest.close()
        client.close()

    def test_ping(self):
        self.flood("h2-control-frames", lambda c, i: frame(PING, 0, 0, b"12345678"))

    def test_settings(self):
        self.flood("h2-control-frames", lambda c, i: settings((4, 65535)))

    def test_unknown_frames(self):
        self.flood("h2-control-frames", lambda c, i: frame(0x77, 0, 0, b"x"))

    def test_rapid_reset(self):
        """CVE-2023-44487: requests that are taken back at once."""
        self.flood("h2-resets", lambda c, i: frame(HEADERS, 5, 1 + 2 * i, c.block()) + reset(1 + 2 * i))

    def test_provoked_resets(self):
        """CVE-2025-8671: requests, and something that makes the proxy reset them."""
        self.flood("h2-resets", lambda c, i: frame(HEADERS, 5, 1 + 2 * i, c.block()) + window(1 + 2 * i, 0))

    def test_refused_streams(self):
        """More streams than allowed, again and again."""
        def hold(client):
            for i in range(100):
                client.request(1 + 2 * i, end=False, method="POST")
        self.flood("h2-resets", lambda c, i: frame(HEADERS, 5, 1001 + 2 * i, c.block()), hold)

    def test_empty_data(self):
        """CVE-2019-9518."""
        self.flood("h2-empty-frames", lambda c, i: frame(DATA, 0, 1), lambda c: c.request(1, end=False, method="POST"))

    def test_priority(self):
        """CVE-2019-9513: reshuffled priorities."""
        self.flood("h2-priorities", lambda c, i: frame(PRIORITY, 0, 1, struct.pack(">IB", 3, i % 256)))

    def test_window_updates(self):
        self.flood("h2-window-updates", lambda c, i: window(0, 1))

    def test_frames_on_closed_streams(self):
        """What may have been on its way is bounded by the window of the stream."""
        def close(client):
            client.request(1, end=False, method="POST")
            client.send(reset(1))
        self.flood("h2-closed-streams", lambda c, i: reset(1), close)

    def test_empty_data_with_padding(self):
        self.flood("h2-empty-frames", lambda c, i: frame(DATA, 8, 1, b"\x01\0"), lambda c: c.request(1, end=False, method="POST"))

    def test_settings_of_thousands(self):
        """One frame of 16 KB that moves every window 2,730 times."""
        many = settings(*[(4, 65535)] * 2730)
        self.flood("h2-control-frames", lambda c, i: many if i % 1000 == 0 else b"")

    def test_goaways(self):
        self.flood("h2-control-frames", lambda c, i: frame(GOAWAY, 0, 0, b"\0" * 8))

    def test_acknowledgements_of_nothing(self):
        self.flood("h2-control-frames", lambda c, i: frame(PING, ACK, 0, b"12345678"))

    def test_a_flood_behind_honest_work(self):
        """Work that nobody paid with is not remembered for ever."""
        def work(client):
            for i in range(1500):
                client.request(1 + 2 * i)
                self.assertEqual(client.outcome(1 + 2 * i), "200")
        self.flood("h2-control-frames", lambda c, i: frame(PING, 0, 0, b"12345678"), work)

    def test_endpoints_are_bounded_too(self):
        """An endpoint that floods loses its session, and nobody else is served worse."""
        floods = {
            "pings": lambda stream: frame(PING, 0, 0, b"12345678"),
            "settings": lambda stream: settings((4, 65535)),
            "resets": lambda stream: reset(stream, 7),
            "data": lambda stream: frame(DATA, 0, stream, b"x"),
            "windows": lambda stream: window(0, 1),
        }
        for name, flood in floods.items():
            with self.subTest(name):
                def serve(origin, connection):
                    peer = Peer(connection)
                    peer.exactly(24)
                    peer.send(settings())
                    stream = peer.request()
                    peer.send(reset(stream, 7) + b"".join(flood(stream) for _ in range(20_000)))
                    # Until the proxy ends it.
                    while True:
                        peer.next()
                origin = Origin(serve)
                proxy = Proxy(config(origin.port, service="    protocol: http2"))
                memory = rss(proxy)
                client = Client(proxy.port)
                client.request()
                self.assertIn(client.outcome(), ("502", "503"))
                until(lambda: proxy.metric(r"sluice_upstream_protocol_errors_total"))
                self.assertLess(rss(proxy) - memory, 32 << 20)
                self.assertTrue(client.acknowledged())
                client.close()
                proxy.stop()
                origin.close()

    def test_continuations(self):
        """CVE-2024-27316: a header block without an end."""
        def begin(client):
            client.send(frame(HEADERS, 1, 1, client.block()))
        self.flood("h2-control-frames", lambda c, i: frame(CONTINUATION, 0, 1, b""), begin)

    def test_header_bomb(self):
        """CVE-2016-6581: one byte of HPACK that stands for 4 KB, thousands of times."""
        memory = rss(self.proxy)
        client = Client(self.proxy.port)
        big = client.block(extra=[("x", "y" * 4000)])
        client.send(frame(HEADERS, 5, 1, big))
        self.assertEqual(client.outcome(1), "200")
        for i in range(1, 40):
            client.send(frame(HEADERS, 5, 1 + 2 * i, client.block() + b"\xbe" * 16000))
            self.assertIn(client.outcome(1 + 2 * i), ("431", "rst PROTOCOL_ERROR"))
        self.assertLess(rss(self.proxy) - memory, 32 << 20)
        client.close()

    def test_stalled_windows(self):
        """CVE-2019-9511, -9517: large answers that the client asks for and never lets through."""
        with_limits = config(self.origin.port, extra="defaults: { timeouts: { write: 300ms } }")
        body = b"HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n" + b"x" * 8388608
        origin = Origin(answering(body))
        self.addCleanup(origin.close)
        proxy = Proxy(with_limits.replace(str(self.origin.port), str(origin.port)))
        self.addCleanup(proxy.stop)
        memory = rss(proxy)
        client = Client(proxy.port, True, (4, 0))
        for i in range(100):
            client.request(1 + 2 * i)
        resets = set()
        while len(resets) < 100:
            kind, _, stream, payload = client.next()
            if kind == RST:
                # INTERNAL_ERROR for what the origin still sends, CANCEL for a short answer of the proxy's own.
                self.assertIn(payload, (struct.pack(">I", 2), struct.pack(">I", 8)))
                resets.add(stream)
        # 64 KiB of each wait here, and what one read brought.
        self.assertLess(rss(proxy) - memory, 64 << 20)
        honest = Client(proxy.port, True)
        honest.send(window(0, 1 << 24) + settings((4, 1 << 24)))
        honest.request()
        self.assertEqual(honest.outcome(), "200")
        client.close()
        honest.close()

    def test_cancels_of_a_patient_client_are_not_punished(self):
        client = Client(self.proxy.port)
        for i in range(150):
            client.request(1 + 2 * i)
            self.assertEqual(client.outcome(1 + 2 * i), "200")
            client.send(reset(1 + 2 * i))
        self.assertTrue(client.acknowledged())
        client.close()


if __name__ == "__main__":
    unittest.main()
