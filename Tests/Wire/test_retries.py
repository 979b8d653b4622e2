"""Retries: what is sent again, where to, how often, and what never is."""
import json, socket, tempfile, threading, time, unittest
import grpc
import calls
from harness import OK, Case, config, status, until


def dead_port():
    """A port that refuses: bound and not listening, so that nobody else gets it."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder, holder.getsockname()[1]


def route(text, to="s"):
    return f"routes: [{{ name: rest, to: {to}, {text} }}]"


class Retries(Case):
    def retried(self, proxy, reason):
        return proxy.metric(f'sluice_upstream_retries_by_reason_total.*reason="{reason}"')

    def test_a_refused_connect_goes_to_another_endpoint_without_being_asked_for(self):
        holder, port = dead_port()
        self.addCleanup(holder.close)
        alive = self.backend()
        proxy = self.start(config([port, alive.port]))
        results = self.load(proxy, 400)
        self.assertEqual(results, {("200", ""): 400})
        self.assertGreaterEqual(self.retried(proxy, "connect-failure"), 1)
        # Out of the rotation after the first: it is not tried with each request.
        self.assertLess(proxy.metric("sluice_upstream_connect_failures_total"), 50)
        self.assertIn("refused", self.clusters(proxy)["endpoints"][0]["why"])

    def test_a_503_is_asked_of_another_endpoint_but_only_where_it_is_safe(self):
        bad, good = self.backend(status(503, body=b"no")), self.backend()
        text = route("retries: { on: [gateway-error], backoff: 1ms }")
        proxy = self.start(config([bad.port, good.port], routes=text))
        for _ in range(20):
            self.assertEqual(proxy.get().status, 200)
        self.assertGreaterEqual(self.retried(proxy, "response"), 5)
        self.assertEqual(proxy.metric("sluice_upstream_retries_succeeded_total"), self.retried(proxy, "response"))
        before = len(bad.requests) + len(good.requests)
        codes = [proxy.get(method="POST", body="x").status for _ in range(10)]
        self.assertEqual(len(bad.requests) + len(good.requests), before + 10)
        self.assertEqual(sorted(set(codes)), [200, 503])

    def test_a_body_is_sent_again_byte_for_byte_up_to_its_limit(self):
        bad, good = self.backend(status(500)), self.backend()
        text = route("retries: { on: [5xx], methods: all, backoff: 1ms, bodyBytes: 20000B }")
        proxy = self.start(config([bad.port, good.port], routes=text))
        body = bytes(i % 251 for i in range(20_000))
        answers = {proxy.get(method="POST", body=body).status for _ in range(20)}
        self.assertEqual(answers, {200})
        self.assertTrue(all(sent == body for _, sent in bad.requests + good.requests))
        self.assertEqual(len(good.requests), 20)
        self.assertGreaterEqual(len(bad.requests), 1)
        before = len(good.requests) + len(bad.requests)
        answers = {proxy.get(method="POST", body=body + b"!").status for _ in range(20)}
        self.assertEqual(answers, {200, 500})
        self.assertEqual(len(good.requests) + len(bad.requests), before + 20)

    def test_another_version_is_never_asked(self):
        bad, other = self.backend(status(503)), self.backend()
        text = route("retries: { attempts: 5, on: [5xx], backoff: 1ms }", to="s/v1")
        proxy = self.start(config(bad.port, other.port, routes=text))
        self.assertEqual(proxy.get().status, 503)
        self.assertEqual((len(bad.requests), len(other.requests)), (6, 0))

    def test_retry_after_is_waited_for_up_to_the_limit(self):
        first = threading.Event()
        def answer(head, body):
            if first.is_set():
                return OK
            first.set()
            return status(503, f"Retry-After: {self.after}")
        backend = self.backend(answer)
        text = route("retries: { on: [503], backoff: 1ms }")
        proxy = self.start(config(backend.port, routes=text))
        self.after = 1
        begun = time.monotonic()
        self.assertEqual(proxy.get().status, 200)
        self.assertGreaterEqual(time.monotonic() - begun, 1)
        # One that is longer than maxRetryAfter is the client's to keep.
        first.clear()
        self.after = 60
        response = proxy.get()
        self.assertEqual((response.status, response.getheader("retry-after")), (503, "60"))

    def test_a_broken_connection_and_a_late_answer_are_tried_again(self):
        broken, late, good = self.backend(None), self.backend(), self.backend()
        broken.answer = lambda head, body: None
        late.answer = late.hang
        text = route("retries: { on: [reset], backoff: 1ms }, timeouts: { perTry: 150ms }")
        proxy = self.start(config([broken.port, late.port, good.port], routes=text))
        for _ in range(9):
            self.assertEqual(proxy.get().status, 200)
        self.assertGreaterEqual(self.retried(proxy, "reset"), 1)
        self.assertGreaterEqual(self.retried(proxy, "per-try-timeout"), 1)
        self.assertEqual(proxy.metric("sluice_upstream_per_try_timeouts_total"), self.retried(proxy, "per-try-timeout"))
        # Nothing of what was given up is left.
        self.assertEqual(self.clusters(proxy)["requests"]["now"], 0)
        self.assertEqual(self.clusters(proxy)["retries"]["now"], 0)

    def test_the_budget_holds_over_workers(self):
        bad = self.backend(status(503))
        extra = "defaults: { retries: { budget: 20%, minPerSecond: 1 } }"
        text = route("retries: { attempts: 3, on: [503], backoff: 1ms }")
        proxy = self.start(config(bad.port, routes=text, extra=extra))
        begun = time.monotonic()
        results = self.load(proxy, 4_000)
        seconds = time.monotonic() - begun
        self.assertEqual(sum(results.values()), 4_000)
        retries = len(bad.requests) - 4_000
        # A fifth of the requests, one a second, and what ten quiet seconds have saved.
        self.assertLessEqual(retries, 800 + seconds + 1 + 10)
        self.assertGreaterEqual(retries, 800)
        self.assertEqual(proxy.metric("sluice_upstream_retries_total"), retries)
        self.assertGreater(proxy.metric('sluice_upstream_retries_refused_total.*cause="budget"'), 0)

    def test_retries_at_one_time_are_bounded_and_flagged(self):
        bad = self.backend(status(503))
        with tempfile.NamedTemporaryFile("r") as log:
            text = route("retries: { attempts: 2, on: [503], backoff: 1ms }")
            proxy = self.start(config(
                bad.port, routes=text, service="    connectionPool: { maxRetries: 0 }",
                extra=f"accessLog: {{ path: {log.name} }}"))
            self.assertEqual(proxy.get().status, 503)
            self.assertEqual(len(bad.requests), 1)
            self.assertEqual(proxy.metric('sluice_upstream_retries_refused_total.*cause="limit"'), 1)
            proxy.write(config(bad.port, routes=text, extra=f"accessLog: {{ path: {log.name} }}"))
            proxy.reload()
            self.assertEqual(proxy.get().status, 503)
            self.assertEqual(len(bad.requests), 4)
            lines = until(lambda: (l := log.readlines()) and l + log.readlines())
            flags = [json.loads(line)["flags"] for line in lines]
            self.assertEqual(flags[-1], "URX")

    def test_a_clients_own_time_shortens_and_never_lengthens(self):
        late = self.backend()
        late.answer = late.hang
        proxy = self.start(config(late.port, routes=route("timeouts: { firstByte: 300ms }")))
        begun = time.monotonic()
        self.assertEqual(proxy.get(headers={"x-request-timeout-ms": "50"}).status, 504)
        self.assertEqual(proxy.get(headers={"x-request-timeout-ms": "60000"}).status, 504)
        self.assertEqual(proxy.get(headers={"x-request-timeout-ms": "soon"}).status, 504)
        self.assertGreaterEqual(time.monotonic() - begun, 0.65)
        # The origin knows how long is left, and whoever is behind it.
        self.assertIn("x-request-timeout-ms: 50", late.requests[0][0].lower())
        self.assertEqual(self.clusters(proxy)["requests"]["now"], 0)


class CallRetries(Case):
    def test_a_call_that_fails_at_once_is_made_again(self):
        one, two = calls.Server("one"), calls.Server("two")
        self.addCleanup(one.stop)
        self.addCleanup(two.stop)
        def unavailable(request, context):
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        one.echo.unary = unavailable
        text = "routes: [{ name: rest, to: s, retries: { on: [unavailable], methods: all, backoff: 1ms } }]"
        proxy = self.start(config([one.port, two.port], service="    protocol: http2", routes=text))
        with calls.channel(proxy.port) as channel:
            for i in range(10):
                answer, call = channel.unary_unary("/demo.Echo/Unary").with_call(b"%d" % i, timeout=20)
                self.assertEqual(answer, b"%d" % i)
                self.assertEqual(dict(call.trailing_metadata())["served-by"], "two")
            # What is not among the conditions goes to the client as it is.
            with self.assertRaises(grpc.RpcError) as failed:
                channel.unary_unary("/demo.Echo/Fail")(b"", timeout=20)
            self.assertEqual(failed.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
            self.assertEqual(failed.exception.details(), "not now")
        self.assertGreaterEqual(proxy.metric('sluice_upstream_retries_by_reason_total.*reason="response"'), 1)


if __name__ == "__main__":
    unittest.main()
