"""Rate limits: exact over both workers, by key, with fields that say what is left."""
import unittest
import grpc
import calls
from harness import Case, config


def route(text):
    return f"routes: [{{ name: rest, to: s, rateLimit: {{ {text} }} }}]"


class RateLimits(Case):
    def start_with(self, text, origin=None):
        v1 = origin or self.backend()
        return self.start(config(v1.port, routes=route(text), extra="defaults: { forwarding: { flags: x-flags } }"))

    def test_a_burst_is_exact_over_workers(self):
        proxy = self.start_with("requests: 250, per: 10h")
        results = self.load(proxy, 1_600)
        self.assertEqual(results, {("200", ""): 250, ("429", ""): 1_350})
        self.assertEqual(proxy.metric("sluice_rate_limited_total"), 1_350)
        # A reload gives nothing back; another limit begins anew.
        proxy.reload()
        self.assertEqual(proxy.get().status, 429)
        response = proxy.get()
        self.assertEqual(response.getheader("x-flags"), "RL")
        # 250 in ten hours: one in 144 seconds.
        self.assertLessEqual(int(response.getheader("retry-after")), 144)
        self.assertGreater(int(response.getheader("retry-after")), 100)
        self.assertEqual(response.getheader("ratelimit-policy"), '"rest";q=250;w=36000')
        self.assertRegex(response.getheader("ratelimit"), r'^"rest";r=0;t=\d+$')

    def test_each_value_of_a_header_has_a_bucket_and_the_rest_share_one(self):
        proxy = self.start_with("requests: 3, per: 10h, by: { header: x-user }, maxKeys: 10")
        for user in ("a", "b"):
            codes = [proxy.get(headers={"x-user": user}).status for _ in range(5)]
            self.assertEqual(codes, [200, 200, 200, 429, 429])
        self.assertEqual([proxy.get().status for _ in range(4)], [200, 200, 200, 429])
        # Ten are sixteen; those beyond have one limit together.
        codes = [proxy.get(headers={"x-user": f"n{n}"}).status for n in range(60)]
        self.assertLessEqual(codes.count(200), 16 - 3 + 3)
        self.assertGreaterEqual(codes.count(200), 10 - 3)

    def test_by_address_and_by_cookie(self):
        proxy = self.start_with("requests: 2, per: 10h, by: address")
        self.assertEqual([proxy.get().status for _ in range(3)], [200, 200, 429])
        proxy = self.start_with("requests: 2, per: 10h, by: { cookie: id }")
        codes = [proxy.get(headers={"cookie": f"x=1; id={c}"}).status for c in "aabba"]
        self.assertEqual(codes, [200, 200, 200, 200, 429])

    def test_calls_get_resource_exhausted(self):
        server = calls.Server("v1")
        self.addCleanup(server.stop)
        proxy = self.start(config(server.port, service="    protocol: http2", routes=route("requests: 2, per: 10h")))
        with calls.channel(proxy.port) as channel:
            call = channel.unary_unary("/demo.Echo/Unary")
            self.assertEqual([call(b"x", timeout=20) for _ in range(2)], [b"x", b"x"])
            with self.assertRaises(grpc.RpcError) as failed:
                call(b"x", timeout=20)
            self.assertEqual(failed.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertGreater(int(dict(failed.exception.trailing_metadata() or ())["grpc-retry-pushback-ms"]), 0)
        self.assertEqual(len(server.echo.metadata), 2)


if __name__ == "__main__":
    unittest.main()
