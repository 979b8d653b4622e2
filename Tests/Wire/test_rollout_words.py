"""What rollouts say and ask through the real process: metrics of one rollout alone, keys of messages, waits, hints."""
import json, subprocess, threading, unittest
from harness import BINARY, until
from rollouts import RolloutsCase

ONE = ['{ name: small, weight: 10%, minTime: 1h }']
TWO = ['{ name: small, weight: 10%, minTime: 1h, maxTime: 2h }', '{ name: half, weight: 50%, minTime: 1h, maxTime: 2h }']


class Words(RolloutsCase):
    def provider(self, content):
        """An origin that answers what `content()` says, as JSON."""
        def answer(head, body):
            text = content().encode()
            return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text)
        return self.backend(answer)

    def lag(self, port, more=""):
        return ('metrics: [{ name: lag, web: { url: "http://127.0.0.1:%d/", json: /lag }, interval: 1s, max: 100, '
                'failures: 2, onFailure: rollback%s }]' % (port, more))

    def wrong(self, proxy, *arguments, code=None):
        done = subprocess.run([BINARY, *arguments], capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_a_retry_is_not_rolled_back_by_a_metric_of_the_rollout_before(self):
        asked = []
        provider = self.provider(lambda: asked.append(1) or '{"lag": 500}')
        proxy = self.begin(ONE, more=self.lag(provider.port) + "\n      guard: off")
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--timeout", "60s", code=3)
        for _ in range(3):
            before = len(asked)
            self.rollout(proxy, "start", "s")
            self.assertIn("2 times in a row", self.rollout(proxy, "wait", "s", "--timeout", "60s", code=3))
            self.assertGreaterEqual(len(asked) - before, 2, "a rollout is taken back by its own readings alone")

    def test_a_metric_without_a_value_is_named_with_its_reason(self):
        provider = self.provider(lambda: '{"lag": "abc"}')
        proxy = self.begin(ONE, more=self.lag(provider.port))
        self.rollout(proxy, "start", "s")
        until(lambda: any(m["noValue"] for m in self.state(proxy)["metrics"]))
        metric = self.state(proxy)["metrics"][0]
        self.assertEqual((metric["name"], metric["state"], metric["value"]), ("lag", "waits", None))
        self.assertIn("expected a number", metric["noValue"])
        self.assertIn("metric lag has no value: at /lag the answer has a text", self.rollout(proxy, "status", "s"))
        self.assertIn("metric lag has no value", self.rollout(proxy, "explain", "s"))

    def test_a_metric_with_a_value_is_shown_with_it(self):
        provider = self.provider(lambda: '{"lag": 7}')
        proxy = self.begin(ONE, more=self.lag(provider.port))
        self.rollout(proxy, "start", "s")
        until(lambda: any(m["value"] == 7 for m in self.state(proxy)["metrics"]))
        self.assertIn("metric lag is 7, at most 100 is wanted", self.rollout(proxy, "status", "s"))

    def test_each_message_to_hooks_has_a_key_and_a_number_of_its_own(self):
        seen, lock = [], threading.Lock()

        def answer(head, body):
            key = [line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("idempotency-key: ")][0]
            with lock:
                seen.append((key, json.loads(body)["sequence"]))
            return b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        receiver = self.backend(answer)
        webhook = f'webhook: {{ url: "http://127.0.0.1:{receiver.port}/" }}'
        proxy = self.begin(ONE, more=f'hooks: [{{ events: [started, stage], {webhook} }}, {{ before: small, {webhook} }}]')
        self.rollout(proxy, "start", "s")
        until(lambda: len(seen) >= 3)
        self.assertEqual(len({key for key, _ in seen}), len(seen), seen)
        self.assertEqual(len({number for _, number in seen}), len(seen), seen)

    def test_a_stage_that_was_entered_already_ends_a_wait_even_where_a_later_one_is_held(self):
        proxy = self.begin(['{ name: small, weight: 10% }',
                            '{ name: half, weight: 50%, minTime: 1s, maxTime: 2s, judge: { minRequests: 100000000 } }'])
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--timeout", "60s", code=4)
        self.rollout(proxy, "wait", "s", "--for", "small", "--timeout", "20s")
        self.rollout(proxy, "wait", "s", "--for", "half", "--timeout", "20s")

    def test_a_wait_goes_on_over_a_restart_of_the_process(self):
        proxy = self.begin(ONE)
        self.rollout(proxy, "start", "s")
        until(lambda: self.state(proxy)["state"] == "watching")
        # The new process has the port of the old one.
        with open(proxy.path) as file:
            text = file.read()
        with open(proxy.path, "w") as file:
            file.write(text.replace('address: "127.0.0.1:0", token', f'address: "127.0.0.1:{proxy.admin}", token'))
        waiting = subprocess.Popen(
            [BINARY, "rollout", "wait", "s", "--timeout", "120s", *self.target(proxy)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertIn("watching", waiting.stdout.readline())
        proxy.process.kill()
        proxy.process.wait()
        proxy.process.stderr.close()
        self.assertIn("it answered before", waiting.stderr.readline())
        proxy.run(())
        until(lambda: self.state(proxy)["state"] == "watching")
        self.rollout(proxy, "abort", "s")
        out, error = waiting.communicate(timeout=60)
        self.assertEqual(waiting.returncode, 6, out + error)

    def test_an_edit_of_the_plan_during_its_rollout_is_told_and_holds_from_the_next_start(self):
        proxy = self.begin(TWO)
        self.rollout(proxy, "start", "s")
        until(lambda: self.state(proxy)["state"] == "watching")
        self.assertNotIn("the plan in the file was edited", self.rollout(proxy, "status", "s"))
        with open(proxy.path) as file:
            text = file.read()
        with open(proxy.path, "w") as file:
            file.write(text.replace("name: half, weight: 50%", "name: half, weight: 40%"))
        proxy.reload()
        self.assertIn("the plan in the file was edited", self.rollout(proxy, "status", "s"))
        until(lambda: any("holds from the next start" in line for line in proxy.log))
        self.assertEqual(self.state(proxy)["stages"][1]["weightPercent"], 50)

    def test_the_forecast_says_what_is_found_until_a_good_version_leaves_a_stage_and_until_max_time(self):
        proxy = self.begin(TWO)
        until(lambda: sum(len(origin.requests) for origin in (self.one, self.two)) > 200)
        out = self.rollout(proxy, "plan", "s")
        for words in ("a canary that is no worse leaves it after about 1h", "requests or sessions get the canary", "by maxTime (2h)"):
            self.assertIn(words, out)

    def test_the_hints_of_the_command_line_name_what_is_wanted(self):
        proxy = self.begin(ONE)
        out = self.wrong(proxy, "rollout", "wait", "s", code=64)
        self.assertIn("See 'sluice rollout wait --help'", out)
        out = self.wrong(proxy, "rollout", "status", "s", "--admin", f"127.0.0.1:{proxy.admin}", "--token", self.token, code=1)
        self.assertIn("is the name of a file", out)

    def test_a_token_without_the_right_is_told_which_right_is_wanted(self):
        proxy = self.begin(ONE)
        proxy.process.kill()
        proxy.process.wait()
        proxy.process.stderr.close()
        with open(self.token + ".ci", "w") as file:
            file.write("secret-of-the-pipeline\n")
        with open(proxy.path) as file:
            text = file.read()
        with open(proxy.path, "w") as file:
            file.write(text.replace(f"token: {self.token} }}", f"token: {self.token}, tokens: [{{ name: ci, file: {self.token}.ci, may: [read] }}] }}"))
        proxy.run(())
        out = self.wrong(
            proxy, "rollout", "start", "s", "--admin", f"127.0.0.1:{proxy.admin}", "--token", "secret-of-the-pipeline", code=2)
        self.assertIn("wants may: [all]", out)


if __name__ == "__main__":
    unittest.main()
