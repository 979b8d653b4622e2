"""The journal of rollouts through the real process: history, verify, replay, discard, standby, successors."""
import os, re, signal, subprocess, unittest
from harness import BINARY, Proxy, config, until
from rollouts import RolloutsCase, plan

LONG = ['{ name: small, weight: 10%, minTime: 1h }', '{ name: half, weight: 50% }']


class History(RolloutsCase):
    def journal(self, proxy):
        return os.path.join(proxy.folder.name, "state", "s", "journal")

    def watch(self, proxy):
        until(lambda: self.state(proxy)["state"] == "watching")

    def restart(self, proxy, options=()):
        proxy.process.kill()
        proxy.process.wait()
        proxy.process.stderr.close()
        proxy.run(options)

    def replay(self, path, code=0):
        done = subprocess.run([BINARY, "rollout", "replay", path], capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_history_is_the_journal_s_over_restarts_and_ends_of_earlier_rollouts_stay(self):
        # A stage without a share is not judged: what a busy machine does to times is no matter here.
        proxy = self.begin(['{ name: small, weight: 0%, minTime: 1s, approve: {} }', '{ name: half, weight: 50%, minTime: 1h }'])
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--exit-on-approval", "--timeout", "120s", code=5)
        self.rollout(proxy, "approve", "s", "small", "--by", "anna")
        self.rollout(proxy, "abort", "s", "--by", "ben")
        until(lambda: "s-1  aborted" in self.rollout(proxy, "history", "s"))
        self.rollout(proxy, "start", "s")
        until(lambda: "s-2: stage small: 0 % for v2 are in force" in self.rollout(proxy, "history", "s"))
        self.restart(proxy)
        history = self.rollout(proxy, "history", "s")
        for words in ("anna approved stage small", "asks for 0 % for v2 (epoch 1)", "0 % for v2 in force (epoch 1)",
                      "s-1  aborted  v2", "ben aborted it", "s-2: started by", "#1  "):
            self.assertIn(words, history)
        page = self.page(proxy, "/rollouts/history?name=s")
        self.assertEqual([end["number"] for end in page["rollouts"]], [1])
        numbers = [event["sequence"] for event in page["events"]]
        self.assertEqual(numbers, sorted(numbers))

    def test_verify_says_ok_or_names_the_record_that_somebody_changed(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        def count():
            return int(re.search(r"ok: (\d+) records", self.rollout(proxy, "history", "s", "--verify")).group(1))
        # A last record that is not whole would be a torn one, and no fault.
        until(lambda: count() >= 3)
        with open(self.journal(proxy), "rb") as file:
            lines = file.read().splitlines(keepends=True)
        self.assertGreaterEqual(len(lines), 3)
        with open(self.journal(proxy), "r+b") as file:
            file.seek(len(lines[0]) + lines[1].index(b'"time":') + 7)
            file.write(b"2")
        out = self.rollout(proxy, "history", "s", "--verify", code=2)
        self.assertIn("journal:2: behind record 1: the checksum is wrong", out)
        self.assertIn("--discard-journal", out)
        self.assertIn("NOT BELIEVED", self.rollout(proxy, "history", "s"))

    def test_replay_computes_the_verdicts_of_a_journal_anew_and_survives_a_changed_one(self):
        proxy = self.begin()
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--timeout", "120s")
        until(lambda: "succeeded" in self.rollout(proxy, "history", "s"))
        path = self.journal(proxy)
        out = self.replay(path)
        looks = re.search(r"(\d+) looks of the judge, (\d+) computed anew, 0 would differ", out)
        self.assertIsNotNone(looks, out)
        self.assertGreater(int(looks.group(2)), 0, out)
        with open(path, "rb") as file:
            whole = file.read()
        other = os.path.join(proxy.folder.name, "other")
        middle = whole.index(b'"time":', len(whole) // 4)
        for bad in (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:], b"\xff\n{}\n", b"[" * 100_000 + b"\n\n"):
            with open(other, "wb") as file:
                file.write(bad)
            self.replay(other, code=2)
        self.assertIn("No such file", self.replay(other + ".none", code=2))

    def test_a_journal_that_cannot_be_read_holds_the_weights_until_it_is_discarded_and_is_kept(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.assertIn("can be read", self.rollout(proxy, "abort", "s", "--discard-journal", code=2))
        proxy.process.kill()
        proxy.process.wait()
        proxy.process.stderr.close()
        path = self.journal(proxy)
        with open(path, "rb") as file:
            bad = b"{}\n" + file.read()
        with open(path, "wb") as file:
            file.write(bad)
        proxy.run(())
        until(lambda: self.state(proxy)["state"] == "paused")
        self.assertIn("--discard-journal", self.state(proxy)["unwritten"])
        self.assertEqual(self.service(proxy)["weights"]["v2"], "10%")
        self.assertIn("--discard-journal", self.rollout(proxy, "start", "s", code=2))
        self.assertIn("journal.bad", self.rollout(proxy, "abort", "s", "--discard-journal"))
        until(lambda: self.service(proxy)["weights"]["v1"] == "100%")
        with open(path + ".bad", "rb") as file:
            self.assertEqual(file.read(), bad)
        until(lambda: self.state(proxy)["state"] == "not started")
        self.rollout(proxy, "start", "s")
        self.watch(proxy)

    def test_supersede_ends_the_rollout_that_runs_and_begins_the_next(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.assertIn("s-2", self.rollout(proxy, "start", "s", "--supersede"))
        self.watch(proxy)
        self.assertEqual(self.state(proxy)["id"], "s-2")
        self.assertIn("s-1  superseded", self.rollout(proxy, "history", "s"))

    def test_a_wait_ends_with_the_rollout_that_it_saw_first(self):
        proxy = self.begin(LONG)
        for number, (ending, code) in enumerate(((("abort", "s"), 6), (("start", "s", "--supersede"), 3)), 1):
            if number == 1:
                self.rollout(proxy, "start", "s")
            self.watch(proxy)
            waiter = subprocess.Popen([BINARY, "rollout", "wait", "s", *self.target(proxy)],
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertIn("watching", waiter.stdout.readline())
            # Stopped, so that the next rollout is there before the waiter looks again.
            waiter.send_signal(signal.SIGSTOP)
            self.rollout(proxy, *ending)
            if number == 1:
                self.rollout(proxy, "start", "s")
            waiter.send_signal(signal.SIGCONT)
            said = waiter.communicate(timeout=60)[0]
            self.assertEqual(waiter.returncode, code, said)
            self.assertIn(f"s-{number} is over, and s-{number + 1} has begun", said)

    def text(self, revision, more=""):
        text = config(self.one.port, self.two.port, ("100%", "0%"), extra=plan(LONG, more),
                      versions=("", f", revision: {revision}"))
        return text + "defaults: { timeouts: { request: 1s } }\n"

    def test_on_revision_begins_at_load_and_at_reload_and_never_twice_for_one_revision(self):
        proxy = Proxy(self.text("1.0", "start: onRevision"), admin=f'{{ address: "127.0.0.1:0", token: {self.token} }}')
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        until(lambda: self.state(proxy)["id"] == "s-1")
        self.assertEqual(self.state(proxy)["revision"], "1.0")
        until(lambda: self.state(proxy)["state"] == "watching")
        proxy.write(self.text("1.1", "start: onRevision"))
        proxy.process.send_signal(signal.SIGHUP)
        until(lambda: self.state(proxy)["id"] == "s-2")
        self.assertEqual(self.state(proxy)["revision"], "1.1")
        self.assertIn("s-1  superseded", self.rollout(proxy, "history", "s"))
        self.rollout(proxy, "abort", "s")
        # Going back waits for no disk: the end is in force before the journal has it.
        until(lambda: "s-2  aborted" in self.rollout(proxy, "history", "s"))
        self.restart(proxy)
        until(lambda: self.state(proxy)["state"] == "aborted")
        subprocess.run([BINARY, "reload", *self.target(proxy)], check=True, capture_output=True)
        self.assertEqual(self.state(proxy)["id"], "s-2")

    def second(self, proxy):
        """Another process of the same file, on the same directory."""
        other = Proxy.__new__(Proxy)
        other.folder, other.path, other.admin_text = proxy.folder, proxy.path, proxy.admin_text
        other.run(())
        return other

    def test_a_second_process_stands_by_and_takes_over_when_the_first_is_killed_or_drains(self):
        for end in (signal.SIGKILL, signal.SIGTERM):
            proxy = self.begin(LONG)
            self.rollout(proxy, "start", "s")
            self.watch(proxy)
            other = self.second(proxy)
            self.addCleanup(lambda other=other: self.assertEqual(other.stop(), 0))
            until(lambda: self.state(other)["state"] == "standby")
            self.assertIn(str(proxy.process.pid), self.state(other)["reason"])
            self.assertIn("stands by", self.rollout(other, "pause", "s", code=2))
            self.assertEqual(self.service(other)["weights"]["v2"], "10%")
            proxy.process.send_signal(end)
            self.watch(other)
            self.assertEqual(proxy.process.wait(timeout=60), 0 if end == signal.SIGTERM else -end)
            proxy.process.stderr.close()
            proxy.port, proxy.stop = other.port, lambda: 0
            self.assertEqual((self.state(other)["id"], self.state(other)["weightPercent"]), ("s-1", 10.0))
            self.rollout(other, "abort", "s")
            until(lambda: self.service(other)["weights"]["v1"] == "100%")

    def test_metrics_tell_state_weight_evidence_and_verdicts_with_the_plan_s_labels(self):
        proxy = self.begin(LONG, more="labels: { team: shop, cost-centre: \"7\" }")
        labels = 'rollout="s",service="s",version="v2",label_team="shop",label_cost_centre="7"'
        self.assertEqual(proxy.metric('sluice_rollout_state{%s,state="not started"}' % labels), 1)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        until(lambda: proxy.metric('sluice_rollout_verdicts_total{%s,' % labels) >= 2)
        self.assertEqual(proxy.metric('sluice_rollout_state{%s,state="watching"}' % labels), 1)
        self.assertEqual(proxy.metric("sluice_rollout_state{"), 1)
        self.assertEqual(proxy.metric("sluice_rollout_weight{%s}" % labels), 0.1)
        until(lambda: round(proxy.metric("sluice_rollout_evidence_limit{"), 3) == 4.605)
        self.assertGreaterEqual(proxy.metric("sluice_rollout_evidence{"), 0)

    def test_after_success_status_says_what_to_commit_and_what_to_keep(self):
        proxy = self.begin()
        self.rollout(proxy, "start", "s")
        self.rollout(proxy, "wait", "s", "--timeout", "120s")
        status = self.rollout(proxy, "status", "s")
        self.assertIn("promoted, file not yet updated: sluice weights export s", status)
        self.assertIn("leave v1 running for another", status)

    def test_a_value_that_the_plan_does_not_know_is_refused_with_advice(self):
        proxy = self.begin(LONG, more="inputs: [ticket]")
        out = self.rollout(proxy, "start", "s", "--set", "tiket=1", code=2)
        self.assertIn('did you mean "ticket"', out)
        self.assertIn("branch, ticket", out)
        self.assertIn("cannot stand", self.rollout(proxy, "start", "s", "--set", "ticket=a b", code=2))
        self.rollout(proxy, "start", "s", "--set", "ticket=A-1")


if __name__ == "__main__":
    unittest.main()
