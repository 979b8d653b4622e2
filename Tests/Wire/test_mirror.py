"""Mirroring: copies that are marked, counted apart, bounded, and never felt by the client."""
import threading, unittest
import calls
from harness import SANITIZED, Case, Demo, Origin, config, status, until


def route(text=""):
    return f"routes: [{{ name: rest, to: s/v1, mirror: {{ to: s/v2{text} }} }}]"


class Mirrors(Case):
    def mirrored(self, proxy, code=""):
        return proxy.metric(f'sluice_requests_total.*assign="mirror".*code="{code}')

    def test_a_copy_is_the_request_marked_and_its_answer_is_dropped(self):
        origin, shadow = self.backend(), self.backend(status(500, body=b"never seen"))
        proxy = self.start(config(origin.port, shadow.port, routes=route()))
        body = bytes(i % 251 for i in range(50_000))
        response = proxy.get("/a?b=c", method="POST", body=body, headers={"x-mine": "1", "x-sluice-mirror": "forged"})
        self.assertEqual((response.status, response.text), (200, "ok"))
        until(lambda: self.mirrored(proxy, "500") == 1)
        head, copied = shadow.requests[0]
        self.assertEqual(copied, body)
        self.assertTrue(head.startswith("POST /a?b=c HTTP/1.1"))
        self.assertIn("x-sluice-mirror: 1", head)
        self.assertNotIn("forged", head)
        self.assertIn("x-mine: 1", head)
        # The original is not marked, whoever says so.
        self.assertNotIn("x-sluice-mirror", origin.requests[0][0])
        self.assertEqual(origin.requests[0][1], body)
        # Apart: the version's own requests, errors and times know nothing of it.
        self.assertEqual(proxy.metric('sluice_requests_total.*version="v2".*assign="(weighted|route)"'), 0)
        self.assertEqual(proxy.metric("sluice_requests_started_total"), 1)

    def test_a_share_of_the_requests_is_copied_exactly(self):
        v1, v2 = Demo("v1"), self.backend()
        self.addCleanup(v1.stop)
        proxy = self.start(config(v1.port, v2.port, routes=route(", share: 12.5%")))
        self.assertEqual(self.load(proxy, 1_600, connections=8), {("200", ""): 1_600})
        until(lambda: len(v2.requests) == 200)
        until(lambda: self.mirrored(proxy) == 200)

    def test_one_that_hangs_costs_the_client_nothing_and_little_memory(self):
        v1, shadow = Demo("v1"), self.backend()
        self.addCleanup(v1.stop)
        shadow.answer = shadow.hang
        proxy = self.start(config(
            v1.port, shadow.port,
            routes=route(", connectionPool: { maxConnections: 20, maxPendingRequests: 20, maxRequests: 40 }")))
        self.load(proxy, 1_600)
        before = proxy.metric("process_resident_memory_bytes")
        self.assertEqual(self.load(proxy, 16_000), {("200", ""): 16_000})
        self.assertLess(proxy.metric("process_resident_memory_bytes") - before, (1 << 20) * (16 if SANITIZED else 1))
        self.assertEqual(
            proxy.metric("sluice_mirrors_dropped_total") + proxy.metric('sluice_upstream_pool_requests.*pool="mirror"')
            + self.mirrored(proxy), 17_600)
        self.assertLessEqual(proxy.metric('sluice_upstream_pool_requests.*pool="mirror"'), 40)
        # The version itself has all its places.
        self.assertEqual(proxy.metric('sluice_upstream_pool_requests{service="s",version="v2"}'), 0)
        shadow.released.set()
        until(lambda: proxy.metric('sluice_upstream_pool_requests.*pool="mirror"') == 0)

    def test_a_body_that_a_slow_copy_does_not_take_goes_on_to_the_origin(self):
        gate = threading.Event()
        self.addCleanup(gate.set)
        def deaf(origin, connection):
            origin.head(connection)
            gate.wait(30)
        shadow = Origin(deaf)
        self.addCleanup(shadow.close)
        origin = self.backend()
        proxy = self.start(config(origin.port, shadow.port, routes=route(", bodyBytes: 100KiB")))
        body = b"m" * 40_000_000
        self.assertEqual(proxy.get(method="POST", body=body).status, 200)
        self.assertEqual(len(origin.requests[0][1]), len(body))
        until(lambda: proxy.metric("sluice_mirrors_dropped_total") == 1)

    def test_calls_are_copied_too(self):
        one, two = calls.Server("one"), calls.Server("two")
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        got = []
        two.echo.both = lambda requests, context: (got.extend(requests), iter(()))[1]
        proxy = self.start(config(one.port, two.port, service="    protocol: http2", routes=route()))
        with calls.channel(proxy.port) as channel:
            sent = [b"%d" % i * 100 for i in range(50)]
            self.assertEqual(list(channel.stream_stream("/demo.Echo/Both")(iter(sent), timeout=20)), sent)
        until(lambda: got == sent)
        self.assertEqual(two.echo.metadata[0]["x-sluice-mirror"], "1")
        until(lambda: self.mirrored(proxy, "200") == 1)


if __name__ == "__main__":
    unittest.main()
