"""Endpoints that are taken out, by their answers or by checks, and come back."""
import json, re, socket, threading, time, unittest
import grpc
import calls
from certificates import Authority
from harness import OK, Case, Demo, Proxy, config, status, until


class Ejection(Case):
    def three(self, **detection):
        """Two endpoints that answer, one that fails."""
        bad = self.backend(status(500))
        good = [Demo("v1"), Demo("v1")]
        for demo in good:
            self.addCleanup(demo.stop)
        text = json.dumps(detection).replace('"', "")
        proxy = self.start(config([good[0].port, bad.port, good[1].port], service=f"    outlierDetection: {text}"))
        return proxy, bad

    def state(self, proxy, which=1):
        return self.clusters(proxy)["endpoints"][which]

    def test_after_one_of_three_is_ejected_the_clients_see_no_error(self):
        proxy, bad = self.three(consecutive5xx=3, baseEjectionTime="10m")
        results = self.load(proxy, 3_200)
        errors = results[("500", "")]
        self.assertEqual(errors, len(bad.requests))
        # Three in a row, and what was under way with it by then.
        self.assertGreaterEqual(errors, 3)
        self.assertLessEqual(errors, 3 + 16)
        self.assertEqual(self.load(proxy, 3_200)[("500", "")], 0)
        self.assertEqual(self.state(proxy)["state"], "out")
        self.assertIn("ejected", self.state(proxy)["why"])
        self.assertEqual(proxy.metric('sluice_upstream_ejections_total.*cause="consecutive-5xx"'), 1)
        self.assertEqual(proxy.metric('sluice_endpoint_condition.*ejected'), 1)
        line = until(lambda: next((l for l in proxy.log if "endpoint ejected" in l), None))
        self.assertIn(f"127.0.0.1:{bad.port}", line)
        self.assertIn("consecutive-5xx", line)
        # A reload holds it against the endpoint; taking the policy away does not.
        proxy.reload()
        self.assertEqual(self.load(proxy, 320)[("500", "")], 0)
        ports = [e["address"].split(":")[1] for e in self.clusters(proxy)["endpoints"]]
        proxy.write(config([int(p) for p in ports]))
        proxy.reload()
        self.assertEqual(self.state(proxy)["state"], "in")

    def test_it_returns_by_itself_and_stays_longer_away_each_time(self):
        proxy, bad = self.three(consecutive5xx=2, baseEjectionTime="200ms", interval="1m")
        until(lambda: proxy.get() and self.state(proxy)["ejections"] >= 2)
        bad.answer = OK
        seen = len(bad.requests)
        until(lambda: proxy.get().status == 200 and len(bad.requests) > seen + 5)
        self.assertEqual(self.state(proxy)["state"], "in")
        self.assertEqual(self.load(proxy, 320)[("500", "")], 0)

    def test_never_more_than_half_are_out_at_fifty_percent(self):
        bad = [self.backend(status(503)) for _ in range(4)]
        proxy = self.start(config(
            [b.port for b in bad],
            service="    outlierDetection: { consecutiveGatewayErrors: 1, maxEjectionPercent: 50, baseEjectionTime: 100ms }"))
        most = 0
        ended = threading.Event()
        thread = threading.Thread(target=lambda: (self.load(proxy, 4_000), ended.set()))
        thread.start()
        while not ended.is_set():
            view = self.clusters(proxy)
            most = max(most, sum(e["state"] == "out" for e in view["endpoints"]))
            self.assertLessEqual(view["ejected"]["now"], 2)
        thread.join()
        self.assertEqual(most, 2)
        self.assertGreater(proxy.metric('sluice_upstream_ejections_total.*cause="consecutive-gateway-errors"'), 2)

    def test_without_enough_healthy_endpoints_all_are_used(self):
        proxy, bad = self.three(consecutive5xx=1, baseEjectionTime="10m", maxEjectionPercent=100, minHealthPercent=80)
        until(lambda: proxy.get() and self.state(proxy)["state"] == "out")
        before = len(bad.requests)
        self.assertTrue(self.clusters(proxy)["panic"])
        self.load(proxy, 320)
        self.assertGreater(len(bad.requests), before)

    def test_a_version_without_endpoints_falls_back_or_fails_its_share(self):
        bad, good = self.backend(status(500)), Demo("v1")
        self.addCleanup(good.stop)
        def text(when):
            return config(
                good.port, bad.port, weights=("50%", "50%"), extra="defaults: { forwarding: { flags: x-flags } }",
                service="    outlierDetection: { consecutive5xx: 1, baseEjectionTime: 10m, maxEjectionPercent: 100 }\n"
                        f"    whenUnavailable: {when}")
        proxy = self.start(text("fail"))
        until(lambda: proxy.get().status == 500)
        results = self.load(proxy, 320)
        # Exactly its share, and the rest untouched.
        self.assertLessEqual(abs(results[("503", "")] - 160), 1)
        self.assertEqual(sum(results.values()) - results[("503", "")], 320 - results[("503", "")])
        proxy.write(text("fallback"))
        proxy.reload()
        self.assertEqual(self.load(proxy, 320)[("503", "")], 0)


class Checks(Case):
    """Active checks: once for the process, whatever the number of workers."""

    def watched(self, check="path: /healthz", service="", answer=OK):
        """Endpoints whose health is a switch; the first check of each decides."""
        well = [True, True]
        def serve(n):
            def reply(head, body):
                if head.startswith("GET /healthz"):
                    return status(200) if well[n] else status(503)
                return status(200, f"x-served-by: {n}")
            return reply
        backends = [self.backend(serve(0)), self.backend(serve(1))]
        proxy = self.start(config(
            [b.port for b in backends],
            service=f"    healthCheck: {{ {check}, interval: 100ms, timeout: 90ms }}\n{service}"))
        return proxy, backends, well

    def out(self, proxy):
        return [e["state"] == "out" for e in self.clusters(proxy)["endpoints"]]

    def test_an_endpoint_that_fails_its_checks_gets_no_requests_until_it_is_well(self):
        proxy, backends, well = self.watched()
        until(lambda: proxy.metric('sluice_upstream_health_checks_total.*result="passed"') >= 2)
        well[1] = False
        until(lambda: self.out(proxy) == [False, True])
        self.assertRegex(self.clusters(proxy)["endpoints"][1]["why"], r"its health checks fail: status 5\d\d")
        self.assertEqual(set(self.load(proxy, 320)), {("200", "0")})
        self.assertGreaterEqual(proxy.metric('sluice_upstream_health_checks_total.*result="failed"'), 3)
        until(lambda: any("endpoint unhealthy" in line and re.search(r'cause="status 5\d\d"', line) for line in proxy.log))
        well[1] = True
        until(lambda: self.out(proxy) == [False, False])
        self.assertEqual(set(self.load(proxy, 320)), {("200", "0"), ("200", "1")})
        until(lambda: any("endpoint healthy" in line for line in proxy.log))
        # Checks are nobody's requests.
        self.assertEqual(proxy.metric("sluice_requests_total"), 640)

    def test_an_endpoint_is_asked_once_in_an_interval_by_the_whole_process(self):
        begun = time.monotonic()
        proxy, backends, _ = self.watched()
        until(lambda: len(backends[0].requests) >= 10)
        asked, seconds = len(backends[0].requests), time.monotonic() - begun
        self.assertLessEqual(asked, seconds / 0.09 + 1)
        head = backends[0].requests[0][0].lower()
        self.assertTrue(head.startswith("get /healthz http/1.1\r\nhost: s\r\n"), head)
        # Each on a connection of its own: it also says whether the endpoint accepts any.
        self.assertGreaterEqual(backends[0].connections, asked)

    def test_readiness_waits_for_the_first_checks(self):
        backend = self.backend()
        backend.answer = lambda head, body: (backend.released.wait(20), OK)[1]
        proxy = self.start(config(backend.port, service="    healthCheck: { path: /, interval: 30s, timeout: 20s }"))
        def ready():
            try:
                return proxy.page("/ready")
            except OSError:
                return ""
        self.assertEqual(ready(), "")
        backend.released.set()
        until(ready)

    def test_a_version_whose_endpoints_are_all_unwell_has_none(self):
        proxy, backends, well = self.watched()
        well[:] = [False, False]
        until(lambda: self.out(proxy) == [True, True])
        self.assertEqual(proxy.get().status, 503)

    def test_a_connect_is_enough_for_a_tcp_check_and_tls_must_be_spoken(self):
        authority = Authority()
        self.addCleanup(authority.close)
        certificate, key = authority.issue("origin", "DNS:origin.test")
        credentials = grpc.ssl_server_credentials([(open(key, "rb").read(), open(certificate, "rb").read())])
        plain, secure = self.backend(), calls.Server("tls", credentials)
        self.addCleanup(secure.stop)
        check = "    healthCheck: { tcp: true, interval: 100ms, timeout: 90ms, unhealthyThreshold: 1 }\n"
        proxy = self.start(config(plain.port, service=check))
        until(lambda: proxy.metric('sluice_upstream_health_checks_total.*result="passed"') >= 2)
        self.assertEqual(self.out(proxy), [False])
        tls = f"    protocol: http2\n    tls: {{ ca: {authority.ca}, sni: origin.test }}"
        proxy = self.start(config([plain.port, secure.port], service=check + tls))
        until(lambda: self.out(proxy) == [True, False])
        until(lambda: proxy.metric('sluice_upstream_health_checks_total.*result="passed"') >= 2)

    def test_grpc_health(self):
        servers = [calls.Server("one"), calls.Server("two")]
        for server in servers:
            self.addCleanup(server.stop)
        proxy = self.start(config(
            [s.port for s in servers],
            service='    protocol: http2\n    healthCheck: { grpc: "demo.Echo", interval: 100ms, timeout: 90ms }'))
        until(lambda: len(servers[0].echo.checked) >= 3)
        self.assertEqual(set(servers[0].echo.checked), {b"\n\x09demo.Echo"})
        self.assertEqual(self.out(proxy), [False, False])
        # Not serving; then serving again; then it does not know the service.
        for health, out in ((b"\x08\x02", True), (b"\x08\x01", False), (None, True)):
            servers[1].echo.health = health
            until(lambda: self.out(proxy) == [False, out])
        with calls.channel(proxy.port) as channel:
            for _ in range(10):
                _, call = channel.unary_unary("/demo.Echo/Unary").with_call(b"", timeout=20)
                self.assertEqual(dict(call.trailing_metadata())["served-by"], "one")


if __name__ == "__main__":
    unittest.main()
