"""Rollouts through the real process: a good version reaches all users, a bad one comes back."""
import http.client, json, os, subprocess, unittest
from harness import BINARY, OK, status, until
from rollouts import RolloutsCase


class Rollouts(RolloutsCase):
    def test_a_good_version_gets_all_users_and_becomes_the_stable_one(self):
        proxy = self.begin()
        self.assertIn("started", self.rollout(proxy, "start", "s"))
        out = self.rollout(proxy, "wait", "s", "--timeout", "120s")
        self.assertIn("succeeded", out)
        page = self.service(proxy)
        self.assertEqual(page["weights"]["v2"], "100%")
        self.assertEqual(page["stable"], "v2")
        self.assertIn("v2 is the stable version of s already", self.rollout(proxy, "start", "s", code=2))
        history = self.rollout(proxy, "history", "s")
        for word in ("small", "half", "all"):
            self.assertIn(word, history)
        # The end of a success: the file says it too, is valid, and nobody moves.
        done = subprocess.run(
            [BINARY, "weights", "export", "s", "--write", "-c", proxy.path, *self.target(proxy)],
            capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        proxy.reload()
        until(lambda: self.service(proxy)["from"] == "file")
        self.assertEqual(self.service(proxy)["weights"]["v2"], "100%")
        self.assertNotIn("file not yet updated", self.rollout(proxy, "status", "s"))
        self.assertIn("name the next version", self.rollout(proxy, "plan", "s"))

    def test_who_says_who_they_are_writes_no_line_and_no_colour(self):
        proxy = self.begin()
        for by in ("anna\nbob", "\x1b[31manna", "anna\u202ebob"):
            self.assertIn("control a terminal", self.rollout(proxy, "start", "s", "--by", by, code=2))
        self.rollout(proxy, "start", "s", "--by", "Ännä O'Brian")
        self.assertIn("Ännä O'Brian", self.rollout(proxy, "history", "s"))

    def test_a_version_that_errs_comes_back_and_the_reason_says_so(self):
        def sometimes(head, body):
            sometimes.count += 1
            return status(500) if sometimes.count % 4 == 0 else OK
        sometimes.count = 0
        self.two.answer = sometimes
        proxy = self.begin(more="guard: off")
        self.rollout(proxy, "start", "s")
        out = self.rollout(proxy, "wait", "s", "--timeout", "120s", code=3)
        self.assertIn("rolled back", out)
        self.assertEqual(self.service(proxy)["weights"]["v1"], "100%")
        state = self.state(proxy)
        self.assertEqual(state["verdict"]["kind"], "regression")
        self.assertIn("v2", state["reason"])

    def test_the_guard_takes_a_dead_version_out_and_ends_the_rollout(self):
        self.two.answer = status(500)
        proxy = self.begin()
        self.rollout(proxy, "start", "s")
        self.assertIn("guard", self.rollout(proxy, "wait", "s", "--timeout", "120s", code=3))

    def test_a_trip_ends_with_the_rollback_that_it_brings_and_a_retry_has_the_version_in_again(self):
        self.two.answer = status(500)
        proxy = self.begin()
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--timeout", "120s", code=3)
        until(lambda: self.service(proxy)["weights"]["v2"] == "0%")
        until(lambda: proxy.metric("sluice_guard_tripped") == 0)
        self.assertEqual(proxy.metric('sluice_guard_trips_total.*version="v2"'), 1)
        def written():
            with open(os.path.join(proxy.folder.name, "state", "overlay.json")) as file:
                return json.load(file)
        until(lambda: written().get("trips", {}) == {})
        count = len(self.two.requests)
        self.two.answer = OK
        self.rollout(proxy, "retry", "s")
        until(lambda: len(self.two.requests) > count, limit=60)
        self.assertEqual(proxy.metric("sluice_guard_tripped"), 0)

    def test_an_approval_is_waited_for_and_taken_for_its_stage_alone(self):
        proxy = self.begin(['{ name: small, weight: 10%, approve: {} }', '{ name: half, weight: 50% , minTime: 1h }'])
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--exit-on-approval", "--timeout", "120s", code=5)
        refusal = self.rollout(proxy, "approve", "s", "half", code=2)
        self.assertIn("small", refusal)
        self.rollout(proxy, "approve", "s", "small", "--by", "anna")
        self.rollout(proxy, "wait", "s", "--for", "half", "--timeout", "120s")
        self.assertIn("anna", self.rollout(proxy, "history", "s"))

    def test_pause_resume_and_abort_do_what_they_say(self):
        proxy = self.begin(['{ name: small, weight: 10%, minTime: 1h }', '{ name: half, weight: 50% }'])
        self.rollout(proxy, "start", "s")
        until(lambda: self.state(proxy)["state"] == "watching")
        self.rollout(proxy, "pause", "s")
        self.assertEqual(self.state(proxy)["state"], "paused")
        self.rollout(proxy, "resume", "s")
        until(lambda: self.state(proxy)["state"] == "watching")
        self.rollout(proxy, "abort", "s")
        until(lambda: self.state(proxy)["state"] == "aborted")
        self.assertEqual(self.service(proxy)["weights"]["v1"], "100%")

    def test_a_process_that_is_killed_goes_on_where_the_rollout_was(self):
        proxy = self.begin(['{ name: small, weight: 10%, minTime: 1h }', '{ name: half, weight: 50% }'])
        self.rollout(proxy, "start", "s")
        until(lambda: self.state(proxy)["state"] == "watching")
        before = self.state(proxy)
        proxy.process.kill()
        proxy.process.wait()
        proxy.process.stderr.close()
        proxy.run(())
        until(lambda: self.state(proxy)["state"] == "watching")
        after = self.state(proxy)
        self.assertEqual((after["id"], after["stage"], after["weightPercent"]),
                         (before["id"], before["stage"], before["weightPercent"]))

    def ask(self, proxy, *fields):
        """The version that answers a request with these header fields."""
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        connection.request("GET", "/", headers=dict(field.split(": ") for field in fields))
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.getheader("x-version")

    def test_who_matches_the_rule_of_a_stage_gets_the_new_version_until_the_end_and_nobody_else(self):
        self.one.answer = status(200, "x-version: v1")
        self.two.answer = status(200, "x-version: v2")
        proxy = self.begin([
            '{ name: testers, weight: 0%, match: { headers: { x-user-group: beta } }, approve: {}, minTime: 1s }',
            '{ name: small, weight: 10%, minTime: 1h }'])
        group = "x-user-group: beta"

        def everybody(others=("v1",)):
            self.assertEqual({self.ask(proxy, group) for _ in range(10)}, {"v2"})
            self.assertLessEqual({self.ask(proxy) for _ in range(10)}, set(others))
            self.assertLessEqual({self.ask(proxy, "x-user-group: alpha") for _ in range(10)}, set(others))

        self.assertEqual(self.ask(proxy, group), "v1")
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--exit-on-approval", "--timeout", "120s", code=5)
        everybody()
        self.assertEqual({"{ headers: { x-user-group: beta } }"}, set(self.service(proxy)["rules"]["matches"]))
        # Counted apart: the requests of the rule are shown, and are no evidence.
        until(lambda: self.state(proxy)["matched"]["units"] >= 10)
        self.assertEqual(self.state(proxy)["matched"]["errors"], 0)
        self.assertEqual(self.state(proxy)["versions"][1]["units"], 0)
        self.assertIn("v2 by rule", self.rollout(proxy, "status", "s"))
        explained = self.page(proxy, "/explain?method=GET&url=/&header=x-user-group:%20beta")
        self.assertEqual((explained["route"], explained["rule"], explained["version"], explained["assign"]),
                         ("rest", "rollout s", "s/v2", "header"))
        self.rollout(proxy, "pause", "s")
        everybody()
        self.rollout(proxy, "resume", "s")
        self.rollout(proxy, "wait", "s", "--exit-on-approval", "--timeout", "120s", code=5)
        self.rollout(proxy, "approve", "s", "testers")
        self.rollout(proxy, "wait", "s", "--for", "small", "--timeout", "120s")
        until(lambda: self.state(proxy)["state"] == "watching")
        everybody(("v1", "v2"))
        proxy.process.kill()
        proxy.process.wait()
        proxy.process.stderr.close()
        proxy.run(())
        everybody(("v1", "v2"))
        until(lambda: self.state(proxy)["state"] == "watching")
        self.rollout(proxy, "abort", "s")
        until(lambda: self.state(proxy)["state"] == "aborted")
        self.assertEqual({self.ask(proxy, group) for _ in range(20)}, {"v1"})
        self.assertNotIn("rules", self.service(proxy))

    def test_a_rule_whose_requests_fail_too_often_takes_the_canary_back(self):
        self.two.answer = status(500)
        proxy = self.begin(
            ['{ name: testers, weight: 0%, match: { headers: { x-user-group: beta } }, minTime: 1h }'],
            more="absolute: { errorRate: 5% }")
        self.rollout(proxy, "start", "s")
        until(lambda: self.state(proxy)["state"] == "watching")
        for _ in range(100):
            self.ask(proxy, "x-user-group: beta")
        out = self.rollout(proxy, "wait", "s", "--timeout", "120s", code=3)
        self.assertIn("by the stage's rule", out)

    SYNTHETIC = 'synthetic: { path: "/healthz?full=1", headers: { x-probe: "1" }, rate: 200 }'
    # Nothing is concluded before maxTime, because nobody comes; then Sluice asks by itself.
    ALONE = ['{ name: half, weight: 50%, minTime: 1s, maxTime: 5s, judge: { onInconclusive: synthetic } }']

    def test_without_any_user_a_stage_concludes_on_synthetic_requests_where_the_plan_wants_them(self):
        proxy = self.begin(self.ALONE, more=self.SYNTHETIC, users=0)
        self.rollout(proxy, "start", "s")
        out = self.rollout(proxy, "wait", "s", "--timeout", "60s")
        self.assertIn("succeeded", out)
        history = self.rollout(proxy, "history", "s")
        self.assertIn("requests of Sluice's own are sent", history)
        self.assertIn("synthetic requests", history)
        heads = [head.lower() for head, _ in self.one.requests + self.two.requests]
        self.assertTrue(heads)
        for head in heads:
            self.assertIn("get /healthz?full=1 http/1.1", head)
            self.assertIn("x-probe: 1", head)
            self.assertIn("x-sluice-synthetic: s", head)
            self.assertIn("host: s\r\n", head)
        # In turn: neither version has more than the other one, but for those under way at the end.
        self.assertLess(abs(len(self.one.requests) - len(self.two.requests)), 110)

    def test_without_any_user_a_version_whose_synthetic_requests_fail_is_taken_back(self):
        self.two.answer = status(500)
        proxy = self.begin(self.ALONE, more=self.SYNTHETIC, users=0)
        self.rollout(proxy, "start", "s")
        out = self.rollout(proxy, "wait", "s", "--timeout", "60s", code=3)
        self.assertIn("synthetic requests", out)
        self.assertEqual(self.state(proxy)["verdict"]["kind"], "regression")

    def test_without_any_user_and_unasked_no_synthetic_request_is_sent(self):
        proxy = self.begin(
            ['{ name: half, weight: 50%, minTime: 1s, maxTime: 2s }'], more=self.SYNTHETIC, users=0)
        self.rollout(proxy, "start", "s")
        out = self.rollout(proxy, "wait", "s", "--timeout", "60s", code=4)
        self.assertIn("held", out)
        self.assertEqual(self.one.requests + self.two.requests, [])

    def test_weights_by_hand_are_refused_while_a_rollout_runs_unless_forced_which_pauses_it(self):
        proxy = self.begin(['{ name: small, weight: 10%, minTime: 1h }'])
        self.rollout(proxy, "start", "s")
        until(lambda: self.state(proxy)["state"] == "watching")
        command = [BINARY, "weights", "set", "s", "v1=50%", "v2=50%", *self.target(proxy)]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("sluice rollout abort s", done.stdout)
        self.assertEqual(subprocess.run(command + ["--force"], capture_output=True).returncode, 0)
        until(lambda: self.state(proxy)["state"] == "paused")

    def test_no_edit_of_the_file_changes_weights_while_a_rollout_runs(self):
        proxy = self.begin(['{ name: small, weight: 10%, minTime: 1h }'])
        self.rollout(proxy, "start", "s")
        until(lambda: self.state(proxy)["state"] == "watching")
        with open(proxy.path) as file:
            text = file.read()
        self.assertIn("weight: 100%", text)
        # What the rollout has by now, and a hair beside it: either would end an overlay by hand.
        for stable, canary in (("90%", "10%"), ("89.5%", "10.5%")):
            edited = text.replace("weight: 100%", f"weight: {stable}", 1).replace("weight: 0%", f"weight: {canary}", 1)
            with open(proxy.path, "w") as file:
                file.write(edited)
            proxy.reload()
            until(lambda: self.state(proxy)["state"] == "paused")
            self.assertIn("sluice weights follow s", self.state(proxy)["reason"])
            page = self.service(proxy)
            self.assertEqual((page["from"], page["weights"]["v2"]), ("rollout s", "10%"))
            self.assertIn("the rollout s runs", json.dumps(page["drift"]))
        self.rollout(proxy, "abort", "s")
        until(lambda: self.state(proxy)["state"] == "aborted")
        self.assertEqual(self.service(proxy)["weights"]["v1"], "100%")

    def test_an_abort_that_was_answered_outlives_a_kill(self):
        proxy = self.begin(['{ name: small, weight: 10%, minTime: 1h }'])
        for _ in range(5):
            self.rollout(proxy, "start", "s")
            until(lambda: self.state(proxy)["state"] == "watching")
            self.rollout(proxy, "abort", "s")
            proxy.process.kill()
            proxy.process.wait()
            proxy.process.stderr.close()
            proxy.run(())
            until(lambda: self.state(proxy)["state"] == "aborted")
            self.assertEqual(self.service(proxy)["weights"]["v1"], "100%")

    def test_what_stands_against_a_start_is_said_at_once(self):
        proxy = self.begin()
        self.assertIn("did you mean", self.rollout(proxy, "start", "t", code=2))
        self.rollout(proxy, "start", "s")
        self.assertIn("--supersede", self.rollout(proxy, "start", "s", code=2))
        self.assertIn("sluice rollout start", self.rollout(proxy, "retry", "s", code=2) + "sluice rollout start")


if __name__ == "__main__":
    unittest.main()
