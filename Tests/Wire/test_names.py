"""Names that do not resolve, and what makes a process ready."""
import os, signal, subprocess, time, unittest, urllib.error
from harness import Case, endpoints, until

NEVER = "no-such-name.invalid"


class Names(Case):
    def text(self, *versions, routes="routes: [{ name: rest, to: s }]", extra=""):
        """One service; a version is (name, weight, endpoints or a name with its port)."""
        lines = "".join(
            f"      {name}: {{ weight: {weight}, "
            + (f'dns: "{where}"' if isinstance(where, str) else f"endpoints: {endpoints(where)}") + " }\n"
            for name, weight, where in versions)
        return ('listeners: [{ name: http, address: "127.0.0.1:0" }]\nservices:\n  s:\n    stable: v1\n    dnsRefresh: 200ms\n'
                f"    versions:\n{lines}{routes}\ndrain: {{ delay: 0s, grace: 5s }}\n{extra}\n")

    def ready(self, proxy):
        try:
            return 200, proxy.page("/ready")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def lines(self, proxy, text):
        return [line for line in list(proxy.log) if text in line]

    def test_a_canary_without_a_name_takes_no_pod_out(self):
        port = self.backend().port
        canary = ("v2", "0%", f"{NEVER}:80")
        started = self.start(self.text(("v1", "100%", port), canary))
        self.assertEqual(until(lambda: self.ready(started)[0] == 200 and started.get().status), 200)
        # And at a reload, with weight too: the process was ready.
        proxy = self.start(self.text(("v1", "100%", port)))
        until(lambda: self.ready(proxy)[0] == 200)
        for weights in (("100%", "0%"), ("50%", "50%"), ("0%", "100%")):
            proxy.write(self.text(("v1", weights[0], port), ("v2", weights[1], f"{NEVER}:80")))
            proxy.reload()
            self.assertEqual(self.ready(proxy), (200, "ready\n"))
            self.assertEqual(proxy.metric("sluice_ready"), 1)
        # What is missing is said, once, and counted.
        until(lambda: proxy.metric(f'sluice_dns_failures_total{{name="{NEVER}:80"}}') >= 3)
        self.assertEqual(len(self.lines(proxy, "a name does not resolve")), 1)
        self.assertIn("versions=s/v2", self.lines(proxy, "a name does not resolve")[0])
        self.assertEqual(proxy.metric(f'sluice_dns_resolved{{name="{NEVER}:80"}}'), 0)
        self.assertEqual(proxy.metric('sluice_version_endpoints{service="s",version="v2"}'), 0)
        self.assertEqual(proxy.metric('sluice_version_endpoints{service="s",version="v1"}'), 1)

    def test_a_name_with_weight_holds_the_start_back_for_ten_seconds(self):
        begun = time.monotonic()
        proxy = self.start(self.text(("v1", "100%", f"{NEVER}:80")))
        status, why = self.ready(proxy)
        self.assertEqual(status, 503)
        self.assertIn(f"s/v1: {NEVER} does not resolve", why)
        until(lambda: self.ready(proxy)[0] == 200, limit=30)
        self.assertGreaterEqual(time.monotonic() - begun, 9)
        self.assertEqual(len(until(lambda: self.lines(proxy, "msg=ready"))), 1)

    def test_looking_at_readiness_changes_nothing(self):
        proxy = self.start(self.text(("v1", "100%", f"{NEVER}:80")))
        self.assertEqual(self.ready(proxy)[0], 503)
        port = self.backend().port
        proxy.write(self.text(("v1", "100%", port)))
        proxy.reload()
        # Nobody has looked since; the process knows by itself.
        until(lambda: self.lines(proxy, "msg=ready"))
        self.assertEqual(self.ready(proxy)[0], 200)

    def test_draining_is_not_ready(self):
        proxy = self.start(self.text(("v1", "100%", self.backend().port)).replace("delay: 0s", "delay: 2s"))
        until(lambda: self.ready(proxy)[0] == 200)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: self.ready(proxy) == (503, "not ready: draining\n"))

    @unittest.skipUnless(os.geteuid() == 0, "needs a mount and a network namespace of its own")
    def test_names_that_time_out_starve_no_other(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "starved_names.py")
        run = subprocess.run(["unshare", "-nm", "python3", script], capture_output=True, text=True, timeout=120)
        self.assertEqual((run.returncode, run.stdout.strip()), (0, "ok"), run.stderr)


if __name__ == "__main__":
    unittest.main()
