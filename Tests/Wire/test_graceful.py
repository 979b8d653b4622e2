"""What changes under way: listeners, endpoints, weights and old connections, without a lost request."""
import json, re, threading, time, unittest
from harness import OK, Case, config, status, until


class Graceful(Case):
    def listeners(self, proxy):
        page = json.loads(proxy.page("/connections", proxy.admin))
        return {l["name"]: int(l["address"].rsplit(":", 1)[1]) for l in page["listeners"]}

    def waiting(self, **options):
        """An origin whose answers to /wait come when `gate` is set."""
        backend = self.backend()
        backend.gate = threading.Event()
        self.addCleanup(backend.gate.set)
        backend.answer = lambda head, body: ("/wait" in head and backend.gate.wait(20), OK)[1]
        return backend

    def begin(self, proxy, backend, port=None):
        proxy.port = port or proxy.port
        connection = proxy.connect()
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: any("/wait" in h for h in backend.heads))
        return connection

    def test_a_listener_comes_and_another_goes_while_its_requests_finish(self):
        backend = self.waiting()
        def text(*names):
            lines = "".join(f'  - {{ name: {name}, address: "127.0.0.1:0" }}\n' for name in names)
            return config(backend.port).replace('listeners: [{ name: http, address: "127.0.0.1:0" }]', f"listeners:\n{lines}")
        proxy = self.start(text("one"))
        first = self.listeners(proxy)["one"]
        under_way = self.begin(proxy, backend, first)
        idle = proxy.connect()
        idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b"200", idle.recv(1000))
        proxy.write(text("one", "two"))
        proxy.reload()
        ports = self.listeners(proxy)
        # The old one is the same socket as before.
        self.assertEqual(ports["one"], first)
        proxy.port = ports["two"]
        self.assertEqual(proxy.get().status, 200)
        proxy.write(text("two"))
        proxy.reload()
        self.assertEqual(list(self.listeners(proxy)), ["two"])
        # Its idle connections are told, nobody new gets in, and what was under way ends well.
        self.assertEqual(idle.recv(1000), b"")
        proxy.port = first
        self.assertRaises(ConnectionRefusedError, proxy.connect)
        backend.gate.set()
        answer = under_way.recv(1000)
        self.assertIn(b"200 OK", answer)
        self.assertIn(b"connection: close", answer.lower())
        proxy.port = ports["two"]
        self.assertEqual(proxy.get().status, 200)

    def test_an_endpoint_that_leaves_finishes_what_it_has(self):
        leaving, staying = self.waiting(), self.waiting()
        proxy = self.start(config(leaving.port))
        under_way = self.begin(proxy, leaving)
        self.assertEqual(proxy.get().status, 200)
        proxy.write(config(staying.port))
        proxy.reload()
        had = len(leaving.heads)
        self.assertEqual(self.load(proxy, 160), {("200", ""): 160})
        self.assertEqual(len(leaving.heads), had)
        leaving.gate.set()
        self.assertIn(b"200 OK", under_way.recv(1000))
        # And then nothing is kept of it.
        until(lambda: proxy.metric("sluice_upstream_connections ") == proxy.metric("sluice_upstream_pool_connections"))

    def test_a_version_at_weight_zero_finishes_what_it_has(self):
        v1, v2 = self.waiting(), self.waiting()
        proxy = self.start(config(v1.port, v2.port, ("0%", "100%")))
        under_way = self.begin(proxy, v2)
        proxy.write(config(v1.port, v2.port, ("100%", "0%")))
        proxy.reload()
        had = len(v2.heads)
        self.assertEqual(self.load(proxy, 160), {("200", ""): 160})
        self.assertEqual(len(v2.heads), had)
        v2.gate.set()
        self.assertIn(b"200 OK", under_way.recv(1000))
        self.assertEqual(proxy.metric('sluice_requests_total.*version="v2".*code="200"'), 1)

    def test_connections_of_an_age_take_no_more_and_lose_nothing(self):
        backend = self.backend()
        proxy = self.start(config(
            backend.port, service="    connectionPool: { maxConnectionDuration: 100ms }",
            extra="defaults: { timeouts: { maxConnectionDuration: 100ms } }"))
        results = {}
        while ("200", "!") not in results:
            results = self.load(proxy, 3_200)
            self.assertEqual(sum(n for (code, _), n in results.items() if code == "200"), 3_200, results)
        self.assertGreater(proxy.metric("sluice_aged_connections_total"), 0)
        self.assertGreater(backend.connections, 2)

    def test_a_warming_endpoint_gets_its_share_little_by_little(self):
        old, new = self.backend(), self.backend()
        warm = "    loadBalancer: roundRobin\n    warmup: { duration: 10m, minimumPercent: 10 }"
        proxy = self.start(config([old.port], service=warm))
        proxy.write(config([old.port, new.port], service=warm))
        proxy.reload()
        self.assertEqual(self.load(proxy, 1_600), {("200", ""): 1_600})
        # A tenth of a half at first; it would be 800.
        self.assertLess(len(new.requests), 300)
        self.assertGreater(len(new.requests), 20)
        self.assertEqual(self.clusters(proxy)["endpoints"][1]["state"], "in")
        self.assertIn("warming", self.clusters(proxy)["endpoints"][1]["why"])


if __name__ == "__main__":
    unittest.main()
