"""Faults made on purpose: for exactly their share, by header, in HTTP and gRPC, and visible as what they are."""
import json, tempfile, time, unittest
import grpc
import calls
from harness import Case, config, until

FLAGS = "defaults: { forwarding: { version: x-served-by, flags: x-flags } }"


def route(text):
    return f"routes: [{{ name: rest, to: s, {text} }}]"


class Faults(Case):
    def test_a_tenth_is_exactly_a_tenth(self):
        v1, v2 = self.pair()
        proxy = self.start(config(v1.port, v2.port, routes=route("fault: { abort: { status: 418, share: 10% } }")))
        results = self.load(proxy, 10_000)
        self.assertLessEqual(abs(results[("418", "")] - 1_000), 1, results)
        self.assertEqual(sum(results.values()), 10_000)
        self.assertEqual(proxy.metric('sluice_faults_injected_total.*kind="abort"'), results[("418", "")])
        # They have no version; of the others each has its share, exactly too.
        self.assertLessEqual(abs(proxy.metric('sluice_requests_total.*version="v2"') - 900), 1)

    def test_of_a_versions_requests_a_tenth_too(self):
        v1, v2 = self.pair()
        fault = ", fault: { abort: { status: 503, share: 10% } }"
        proxy = self.start(config(v1.port, v2.port, ("80%", "20%"), versions=("", fault), extra=FLAGS))
        results = self.load(proxy, 10_000)
        self.assertLessEqual(abs(proxy.metric('sluice_requests_total.*version="v2".*code="503"') - 200), 1)
        self.assertLessEqual(abs(results[("200", "v2")] - 1_800), 2, results)
        self.assertEqual(proxy.metric('sluice_requests_total.*version="v1".*code="503"'), 0)
        self.assertEqual(sum(results.values()), 10_000)

    def test_delays_hold_back_exactly_their_share_and_log_their_flag(self):
        v1, v2 = self.pair()
        with tempfile.NamedTemporaryFile("r") as log:
            proxy = self.start(config(
                v1.port, v2.port, routes=route("fault: { delay: { time: 30ms, share: 25% } }"),
                extra=f"accessLog: {{ path: {log.name} }}"))
            self.assertEqual(set(s for s, _ in self.load(proxy, 400)), {"200"})
            until(lambda: sum(1 for _ in open(log.name)) == 400)
            lines = [json.loads(line) for line in open(log.name)]
            delayed = [line for line in lines if line["flags"] == "DI"]
            self.assertEqual(len(delayed), 100)
            self.assertGreaterEqual(min(line["durationMicros"] for line in delayed), 30_000)
            self.assertEqual(proxy.metric('sluice_faults_injected_total.*kind="delay"'), 100)

    def test_a_request_may_ask_for_its_own_only_where_that_is_allowed(self):
        v1, v2 = self.pair()
        ask = {"x-sluice-fault-abort": "504", "x-sluice-fault-delay": "200ms"}
        proxy = self.start(config(v1.port, v2.port, routes=route("fault: { byHeader: allow }"), extra=FLAGS))
        begun = time.monotonic()
        response = proxy.get(headers=ask)
        self.assertEqual((response.status, response.getheader("x-flags")), (504, "DI,FI"))
        self.assertGreaterEqual(time.monotonic() - begun, 0.2)
        self.assertEqual(proxy.get().status, 200)
        for bad in ({"x-sluice-fault-abort": "99"}, {"x-sluice-fault-abort": "x"}, {"x-sluice-fault-delay": "1"}):
            self.assertEqual(proxy.get(headers=bad).status, 200)
        proxy.write(config(v1.port, v2.port, extra=FLAGS))
        proxy.reload()
        self.assertEqual(proxy.get(headers=ask).status, 200)

    def test_calls_get_a_status_of_theirs(self):
        server = calls.Server("v1")
        self.addCleanup(server.stop)
        for text, code in (("status: 503", grpc.StatusCode.UNAVAILABLE),
                           ("status: 503, grpcStatus: 8", grpc.StatusCode.RESOURCE_EXHAUSTED),
                           ("grpcStatus: 13", grpc.StatusCode.INTERNAL)):
            proxy = self.start(config(
                server.port, service="    protocol: http2", routes=route(f"fault: {{ abort: {{ {text} }} }}")))
            with self.subTest(text), calls.channel(proxy.port) as channel:
                with self.assertRaises(grpc.RpcError) as failed:
                    channel.unary_unary("/demo.Echo/Unary")(b"x", timeout=20)
                self.assertEqual(failed.exception.code(), code)
        self.assertEqual(server.echo.metadata, [])


if __name__ == "__main__":
    unittest.main()
