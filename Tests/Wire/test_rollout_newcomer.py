"""Keys of a plan that a newcomer tries one after the other, each through the real process: approvals with a time, ramps, limits, stages that decide
nothing, commands, a Prometheus, HTTP/2 and TLS, two releases at once, a full disk when a version goes back."""
import json, os, resource, ssl, stat, subprocess, tempfile, threading, unittest
import httpx
from certificates import Authority
from harness import BINARY, OK, Proxy, config, status, until
from rollouts import RolloutsCase, plan

LONG = ['{ name: small, weight: 10%, minTime: 1h }', '{ name: half, weight: 50%, minTime: 1h }']
# Nothing is decided, because the canary never has so many requests.
NEVER = "judge: { minRequests: 100000000, tolerate: { time: 2s, points: 1%% }%s }"


class Newcomer(RolloutsCase):
    def at(self, proxy, state, limit=30):
        until(lambda: self.state(proxy)["state"] == state, limit)
        return self.state(proxy)

    def events(self, proxy):
        return "\n".join(event["text"] for event in self.state(proxy)["events"])

    # Approvals with a time

    def test_an_approval_that_nobody_gives_in_time_holds_or_takes_the_version_back(self):
        for end, code, words in (("hold", 4, "nobody approved"), ("rollback", 3, "nobody approved")):
            proxy = self.begin(
                ['{ name: gate, weight: 10%%, approve: { timeout: 1s, onTimeout: %s } }' % end,
                 '{ name: half, weight: 50%, minTime: 1h }'])
            self.rollout(proxy, "start", "s")
            out = self.rollout(proxy, "wait", "s", "--timeout", "60s", code=code)
            self.assertIn(words, out)
            self.assertIn("gate", out)
            if end == "hold":
                # A person may still say yes.
                self.rollout(proxy, "approve", "s", "--by", "anna")
                until(lambda: self.state(proxy)["stage"] == "half")
                self.rollout(proxy, "abort", "s")
            else:
                self.assertEqual(self.service(proxy)["weights"]["v2"], "0%")

    # Ramps

    def test_a_ramp_goes_through_all_its_steps_and_is_shown_as_stages(self):
        proxy = self.begin(['ramp: { from: 10%, to: 30%, step: 10%, minTime: 1s }', '{ name: last, weight: 50%, minTime: 1h }'])
        self.assertEqual([stage["name"] for stage in self.state(proxy)["stages"]], ["10", "20", "30", "last"])
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--for", "last", "--timeout", "60s")
        history = self.rollout(proxy, "history", "s")
        for share in (10, 20, 30, 50):
            self.assertIn(f"{share} % for v2 are in force", history)
        self.rollout(proxy, "abort", "s")

    # Limits

    def test_a_canary_above_a_limit_goes_back_and_not_where_both_are_above(self):
        def sometimes(head, body):
            sometimes.count += 1
            return status(500) if sometimes.count % 5 == 0 else OK

        def seldom(head, body):
            seldom.count += 1
            return status(500) if seldom.count % 50 == 0 else OK
        sometimes.count = seldom.count = 0
        self.one.answer, self.two.answer = seldom, sometimes
        # As tolerant as a judge can be: the limit alone decides.
        judge = "judge: { minRequests: 20, tolerate: { points: 90%, ratio: 100, p95: 100 } }"
        proxy = self.begin(['{ name: half, weight: 50%%, minTime: 1h, %s }' % judge],
                           more="guard: off\n      absolute: { errorRate: 5% }")
        self.rollout(proxy, "start", "s")
        out = self.rollout(proxy, "wait", "s", "--timeout", "60s", code=3)
        self.assertIn("errors of v2 are certainly above the limit of 5 %", out)
        self.one.answer = sometimes
        self.rollout(proxy, "start", "s")
        until(lambda: (self.state(proxy)["verdict"] or {}).get("kind") == "commonCause", 30)
        self.assertEqual(self.state(proxy)["state"], "watching")
        self.rollout(proxy, "abort", "s")

    def test_a_canary_that_is_slower_than_a_limit_goes_back(self):
        def slow(head, body):
            self.two.released.wait(0.05)
            return OK
        self.two.answer = slow
        judge = "judge: { minRequests: 20, tolerate: { points: 90%, ratio: 100, p95: 100, time: 1s } }"
        proxy = self.begin(['{ name: half, weight: 50%%, minTime: 1h, %s }' % judge],
                           more="guard: off\n      absolute: { p95: 20ms }")
        self.rollout(proxy, "start", "s")
        self.assertIn("p95", self.rollout(proxy, "wait", "s", "--timeout", "60s", code=3))

    # Stages that decide nothing

    def test_a_stage_that_decides_nothing_asks_advances_or_goes_back_as_the_plan_says(self):
        stages = ['{ name: small, weight: 10%%, minTime: 1s, maxTime: 2s, %s }', '{ name: half, weight: 50%, minTime: 1h, maxTime: 2h }']
        for policy, code, words in (("rollback", 3, "inconclusive"), ("advance", 0, ""), ("ask", 5, "approval"), ("hold", 4, "held")):
            proxy = self.begin([stages[0] % (NEVER % f", onInconclusive: {policy}"), stages[1]])
            self.rollout(proxy, "start", "s")
            wait = ["wait", "s", "--timeout", "60s", "--exit-on-approval"] + (["--for", "half"] if policy == "advance" else [])
            self.assertIn(words, self.rollout(proxy, *wait, code=code))
            if policy in ("ask", "hold"):
                self.rollout(proxy, "approve", "s", "--by", "anna")
                until(lambda: self.state(proxy)["stage"] == "half")
            if policy != "rollback":
                self.rollout(proxy, "abort", "s")

    # Commands

    def programs(self, **scripts):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in scripts.items():
            path = os.path.join(folder.name, name + ".sh")
            with open(path, "w") as file:
                file.write("#!/bin/sh\n" + text)
            os.chmod(path, 0o755)
        return folder.name

    def test_a_command_in_front_of_a_stage_is_asked_until_it_passes_and_holds_where_it_fails(self):
        marks = tempfile.TemporaryDirectory()
        self.addCleanup(marks.cleanup)
        folder = self.programs(
            good='[ "$1" = v2 ] && [ "$SLUICE_ROLLOUT_STAGE" = small ] && echo fine\n',
            bad='echo the migration is missing >&2\nexit 3\n')
        for program, state in (("good", "watching"), ("bad", "held")):
            proxy = self.begin(LONG, more='hooks: [{ before: small, command: [%s.sh, "{{canary}}"] }]' % program,
                               options=("--allow-commands", folder))
            self.rollout(proxy, "start", "s")
            found = self.at(proxy, state)
            if state == "held":
                self.assertIn("the migration is missing", found["reason"])
                self.assertEqual(self.service(proxy)["weights"]["v2"], "0%")
                self.assertIn("approve", self.rollout(proxy, "status", "s") + self.rollout(proxy, "approve", "s", "--by", "anna"))
                self.at(proxy, "watching")
            self.rollout(proxy, "abort", "s")

    def test_a_command_as_a_metric_passes_by_its_exit_code_and_takes_the_version_back_where_it_fails(self):
        folder = self.programs(good="exit 0\n", later="exit 75\n", bad="echo 3 orders lost\nexit 1\n")
        for program, words in (("good", "metric smoke passes"), ("later", "no value"), ("bad", "")):
            proxy = self.begin(LONG, more='metrics: [{ name: smoke, command: [%s.sh, "{{canary}}"], interval: 1s }]' % program,
                               options=("--allow-commands", folder))
            self.rollout(proxy, "start", "s")
            if program == "bad":
                out = self.rollout(proxy, "wait", "s", "--timeout", "60s", code=3)
                self.assertIn("smoke", out)
                self.assertIn("3 orders lost", out)
            else:
                until(lambda: words in self.rollout(proxy, "status", "s"), 20)
                self.rollout(proxy, "abort", "s")

    def test_a_plan_with_commands_without_the_directory_of_commands_is_told_what_to_do(self):
        text = config(self.one.port, self.two.port, ("100%", "0%"),
                      extra=plan(LONG, 'metrics: [{ name: smoke, command: [smoke.sh], interval: 1s }]'))
        proxy = Proxy(text, admin=f'{{ address: "127.0.0.1:0", token: {self.token} }}')
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        self.rollout(proxy, "start", "s")
        until(lambda: "--allow-commands" in self.rollout(proxy, "status", "s"), 20)
        self.rollout(proxy, "abort", "s")

    # A Prometheus

    def prometheus(self, values):
        """Answers queries as Prometheus does; `values` maps a version to its value, a list of values, or an error."""
        asked = []

        def answer(head, body):
            import urllib.parse
            target = head.split(" ", 2)[1]
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(target).query or body.decode()).get("query", [""])[0]
            asked.append((target.split("?")[0], query))
            version = next((name for name in values if name in query), None)
            value = values.get(version)
            if isinstance(value, str):
                text = json.dumps({"status": "error", "errorType": "bad_data", "error": value})
                return b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text.encode())
            series = value if isinstance(value, list) else [value]
            result = [{"metric": {"n": str(i)}, "value": [1.5, str(v)]} for i, v in enumerate(series)]
            text = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
            return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text)
        backend = self.backend(answer)
        backend.asked = asked
        return backend

    def test_a_prometheus_is_asked_for_both_versions_and_its_ratio_decides(self):
        values = {"v1": 200, "v2": 190}
        server = self.prometheus(values)
        metric = ('metrics: [{ name: orders, prometheus: { url: "http://127.0.0.1:%d", '
                  'query: \'sum(rate(orders_total{version="{{canary}}"}[5m]))\' }, compare: stable, min: 0.9, interval: 1s, failures: 2 }]'
                  % server.port)
        proxy = self.begin(LONG, more=metric)
        self.rollout(proxy, "start", "s")
        until(lambda: any(m["value"] for m in self.state(proxy)["metrics"]))
        self.assertAlmostEqual(self.state(proxy)["metrics"][0]["value"], 0.95)
        self.assertIn(("/api/v1/query", 'sum(rate(orders_total{version="v1"}[5m]))'), server.asked)
        # Several series, none, no number, and an error are no value, and nobody goes back for that.
        for value, words in (([1, 2], "series"), ([], "empty"), ("NaN", "bad_data"), (float("nan"), "NaN")):
            values["v2"] = value
            until(lambda: words.lower() in (self.state(proxy)["metrics"][0]["noValue"] or "").lower(), 20)
            self.assertEqual(self.state(proxy)["state"], "watching")
        values["v2"] = 100
        out = self.rollout(proxy, "wait", "s", "--timeout", "60s", code=3)
        self.assertIn("orders", out)
        self.assertIn("0.5", out)

    def test_a_prometheus_that_does_not_answer_is_named_and_holds_nothing_up(self):
        import socket
        dead = socket.socket()
        dead.bind(("127.0.0.1", 0))
        self.addCleanup(dead.close)
        hanging = self.backend()
        hanging.answer = hanging.hang
        for port in (dead.getsockname()[1], hanging.port):
            metric = ('metrics: [{ name: orders, prometheus: { url: "http://127.0.0.1:%d", query: up }, min: 1, interval: 1s, timeout: 1s }]' % port)
            proxy = self.begin(LONG, more=metric)
            self.rollout(proxy, "start", "s")
            until(lambda: self.state(proxy)["metrics"] and self.state(proxy)["metrics"][0]["noValue"], 20)
            self.assertIn("metric orders has no value", self.rollout(proxy, "status", "s"))
            self.rollout(proxy, "abort", "s")

    # HTTP/2 and TLS

    def test_a_rollout_of_a_service_behind_tls_and_http2_goes_up_and_comes_back(self):
        authority = Authority()
        self.addCleanup(authority.close)
        certificate, key = authority.issue("server", "DNS:localhost,IP:127.0.0.1")
        # Of a busy machine the times say nothing.
        patient = "judge: { tolerate: { points: 1%, time: 5s } }"
        stages = [f'{{ name: small, weight: 10%, {patient} }}', f'{{ name: half, weight: 50%, minTime: 1h, {patient} }}']
        text = config(self.one.port, self.two.port, ("100%", "0%"), extra=plan(stages),
                      listener=f", tls: {{ certificate: {certificate}, key: {key} }}")
        text += "defaults: { timeouts: { request: 1s } }\n"
        proxy = Proxy(text, admin=f'{{ address: "127.0.0.1:0", token: {self.token} }}')
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        stop, versions = threading.Event(), set()

        def drive():
            context = ssl.create_default_context(cafile=authority.ca)
            with httpx.Client(http2=True, verify=context, timeout=20) as client:
                while not stop.is_set():
                    versions.add(client.get(f"https://localhost:{proxy.port}/").http_version)
        threads = [threading.Thread(target=drive, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        self.addCleanup(lambda: (stop.set(), [thread.join() for thread in threads]))
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--for", "half", "--timeout", "60s")
        self.assertEqual(versions, {"HTTP/2"})
        self.two.answer = status(500)
        out = self.rollout(proxy, "wait", "s", "--timeout", "60s", code=3)
        self.assertIn("v2", out)
        self.assertEqual(self.service(proxy)["weights"]["v2"], "0%")

    # Two releases at once

    def test_two_plans_of_one_service_run_one_at_a_time_and_the_second_is_told_so(self):
        text = config(self.one.port, self.two.port, ("100%", "0%"), extra=plan(LONG))
        line = next(line for line in text.split("\n") if line.startswith("      v2:"))
        text = text.replace(line, line + f'\n      v3: {{ weight: 0%, endpoints: ["127.0.0.1:{self.two.port}"] }}')
        text = text.replace("    - service: s\n", "    - name: other\n      service: s\n      canary: v3\n    - service: s\n      name: s\n", 1)
        proxy = Proxy(text, admin=f'{{ address: "127.0.0.1:0", token: {self.token} }}')
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        self.rollout(proxy, "start", "s")
        self.at(proxy, "watching")
        refusal = self.rollout(proxy, "start", "other", code=2)
        self.assertIn("sluice rollout abort s", refusal)
        # Both at once: one is taken, the other is told.
        self.rollout(proxy, "abort", "s")
        self.at(proxy, "aborted")
        starts = [subprocess.Popen([BINARY, "rollout", "start", name, *self.target(proxy)], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True) for name in ("s", "other")]
        outs = [start.communicate(timeout=30)[0] for start in starts]
        self.assertEqual(sorted(start.returncode for start in starts), [0, 2], outs)
        self.assertIn("one at a time", outs[0] + outs[1])

    # A full disk

    def test_a_disk_that_is_full_when_a_version_goes_back_keeps_nobody_there_and_is_told(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.at(proxy, "watching")
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        self.two.answer = status(500)
        until(lambda: self.service(proxy)["weights"]["v2"] == "0%", 30)
        self.at(proxy, "rolled back")
        until(lambda: "File too large" in (self.state(proxy)["unwritten"] or ""))
        self.assertIn("STATE NOT WRITTEN", self.rollout(proxy, "status", "s"))
        # A restart would not know it: nobody begins anew before the disk takes the end.
        refusal = self.rollout(proxy, "start", "s", code=2)
        self.assertIn("not in the journal yet", refusal)
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(lambda: not self.state(proxy)["unwritten"], 30)
        self.assertIn("OK", self.rollout(proxy, "history", "s", "--verify").upper())
        self.two.answer = OK
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "abort", "s")


if __name__ == "__main__":
    unittest.main()
