"""What befalls rollouts in people's hands: shares that others set, journals that are lost, and advice that has to work."""
import http.client, os, subprocess, unittest
from harness import BINARY, OK, status, until
from rollouts import RolloutsCase

LONG = ['{ name: small, weight: 10%, minTime: 1h }', '{ name: half, weight: 50% }']


class Mistakes(RolloutsCase):
    def watch(self, proxy):
        until(lambda: self.state(proxy)["state"] == "watching")

    def weights(self, proxy, *arguments, code=0):
        done = subprocess.run([BINARY, "weights", *arguments, *self.target(proxy)], capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def written(self, proxy, number=1):
        """Waits until a restart would know that the stage's weights are in force."""
        until(lambda: f"10 % for v2 in force (epoch {number})" in self.rollout(proxy, "history", "s"))

    def kill(self, proxy):
        proxy.process.kill()
        proxy.process.wait()
        proxy.process.stderr.close()

    def file(self, proxy, *names):
        return os.path.join(proxy.folder.name, "state", *names)

    def edit(self, proxy, *pairs):
        with open(proxy.path) as file:
            text = file.read()
        for old, new in pairs:
            self.assertIn(old, text)
            text = text.replace(old, new, 1)
        with open(proxy.path + ".new", "w") as file:
            file.write(text)
        os.rename(proxy.path + ".new", proxy.path)
        proxy.reload()

    def check_share(self, proxy, in_force, wanted):
        state = self.state(proxy)
        self.assertEqual((state["weightPercent"], state["wantedPercent"]), (in_force, wanted))
        self.assertEqual(proxy.metric('sluice_rollout_weight{'), in_force / 100)

    # The share in force

    def test_weights_set_by_force_are_the_share_of_status_and_metric(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.check_share(proxy, 10, 10)
        self.weights(proxy, "set", "s", "v1=50%", "v2=50%", "--force")
        until(lambda: self.state(proxy)["state"] == "paused")
        self.check_share(proxy, 50, 10)
        self.assertIn("50.00 % in force, wanted 10.00 %: set by hand", self.rollout(proxy, "status", "s"))
        self.rollout(proxy, "resume", "s")
        self.watch(proxy)
        self.check_share(proxy, 10, 10)

    def test_an_overlay_that_is_lost_or_damaged_is_no_share_in_force(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        for number, damage in enumerate((None, b"[1")):
            self.written(proxy, number + 1)
            self.kill(proxy)
            os.remove(self.file(proxy, "overlay.json"))
            if damage:
                with open(self.file(proxy, "overlay.json"), "wb") as file:
                    file.write(damage)
                os.chmod(self.file(proxy, "overlay.json"), 0o600)
            proxy.run(())
            until(lambda: self.state(proxy)["state"] == "paused")
            self.check_share(proxy, 0, 10)
            self.assertIn("0.00 % in force, wanted 10.00 %: the file's weights hold", self.rollout(proxy, "status", "s"))
            self.rollout(proxy, "resume", "s")
            self.watch(proxy)
            self.check_share(proxy, 10, 10)

    def test_a_dry_run_says_the_share_that_it_would_have_and_none_in_force(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s", "--dry-run")
        self.watch(proxy)
        self.check_share(proxy, 0, 10)
        page = self.rollout(proxy, "status", "s")
        self.assertIn("0.00 % in force; without --dry-run it would be 10.00 %", page)
        self.assertIn("10 % for v2 would be in force", page)
        self.assertNotIn("are in force", page)
        self.assertIn("no weight has changed", self.rollout(proxy, "abort", "s"))
        until(lambda: "would be in force (epoch" in self.rollout(proxy, "history", "s"))

    def test_behind_a_success_the_share_is_the_one_in_force_and_advice_leads_back(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.rollout(proxy, "finish", "s", "--force")
        until(lambda: self.state(proxy)["state"] == "succeeded")
        self.check_share(proxy, 100, 100)
        back = ["set", "s", "v1=100%", "v2=0%"]
        for words in (["retry"], ["start"], ["abort"], ["pause"], ["promote", "--force"], ["approve"], ["skip", "half"]):
            refusal = self.rollout(proxy, words[0], "s", *words[1:], code=2)
            self.assertIn("sluice weights " + " ".join(back), refusal)
            self.assertNotIn("rollout start", refusal)
        self.weights(proxy, *back)
        self.check_share(proxy, 0, 0)
        self.assertIn("ended with 100.00 % for v2, and 0.00 % are in force: set by hand", self.rollout(proxy, "status", "s"))

    # Journals

    def test_a_rollout_that_only_the_overlay_knows_is_said_as_paused_and_ended_by_abort(self):
        proxy = self.begin(LONG)
        for number, damage in enumerate((None, b"", bytes(4096))):
            self.rollout(proxy, "start", "s")
            self.watch(proxy)
            self.kill(proxy)
            journal = self.file(proxy, "s", "journal")
            os.remove(journal)
            if damage is not None:
                with open(journal, "wb") as file:
                    file.write(damage)
                os.chmod(journal, 0o600)
            proxy.run(())
            until(lambda: self.state(proxy)["state"] == "paused")
            self.check_share(proxy, 10, 10)
            self.assertEqual(proxy.metric('sluice_rollout_state{.*state="paused"'), 1)
            until(lambda: any("no journal knows" in line for line in proxy.log))
            self.assertIn("sluice rollout abort s takes them back", self.rollout(proxy, "status", "s"))
            for verb in ("start", "pause", "resume", "retry"):
                self.assertIn("sluice rollout abort s", self.rollout(proxy, verb, "s", code=2))
            done = self.rollout(proxy, "abort", "s", *(["--discard-journal"] if number else []))
            self.assertIn("v2 has weight 0", done)
            self.check_share(proxy, 0, 0)
            self.assertEqual(self.state(proxy)["state"], "not started")

    def test_an_end_that_the_overlay_does_not_have_yet_holds_behind_a_restart(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        with open(self.file(proxy, "overlay.json"), "rb") as file:
            running = file.read()
        self.rollout(proxy, "abort", "s")
        until(lambda: "s-1  aborted" in self.rollout(proxy, "history", "s"))
        self.kill(proxy)
        with open(self.file(proxy, "overlay.json"), "wb") as file:
            file.write(running)
        proxy.run(())
        until(lambda: self.state(proxy)["state"] == "aborted" and self.state(proxy)["weightPercent"] == 0)
        until(lambda: self.service(proxy)["weights"]["v1"] == "100%")
        self.assertIn("the overlay did not have that yet", self.rollout(proxy, "status", "s"))

    def test_a_rollout_goes_on_behind_a_restart_when_its_plan_has_left_the_file(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.kill(proxy)
        with open(proxy.path) as file:
            text = file.read()
        before, after = text.split("  plans:\n")
        rest = after[after.index("defaults:"):]
        with open(proxy.path, "w") as file:
            file.write(before + rest)
        proxy.run(())
        self.watch(proxy)
        self.rollout(proxy, "abort", "s")
        until(lambda: self.service(proxy)["weights"]["v1"] == "100%")

    def test_commands_are_answered_while_the_journal_cannot_be_written_and_the_journal_can_be_discarded(self):
        def shorten(path):
            with open(path, "r+b") as file:
                file.truncate(0)
        for damage in (shorten, os.remove):
            proxy = self.begin(LONG)
            self.rollout(proxy, "start", "s")
            self.watch(proxy)
            damage(self.file(proxy, "s", "journal"))
            for verb in ("pause", "resume", "pause"):
                answer = self.rollout(proxy, verb, "s")
                self.assertIn("not in the journal yet", answer)
                self.assertIn("sluice rollout abort s --discard-journal", answer)
            state = self.state(proxy)
            self.assertEqual(state["state"], "paused")
            self.assertIn("--discard-journal", state["unwritten"])
            self.assertIn("v2 has weight 0", self.rollout(proxy, "abort", "s", "--discard-journal"))
            self.check_share(proxy, 0, 0)
            until(lambda: self.state(proxy)["state"] == "not started")
            self.rollout(proxy, "start", "s")
            self.watch(proxy)
            self.rollout(proxy, "abort", "s")

    def test_a_start_behind_another_is_answered_while_the_journal_cannot_be_written(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        os.remove(self.file(proxy, "s", "journal"))
        self.assertIn("is not in the journal yet", self.rollout(proxy, "start", "s", "--supersede", code=2))
        self.assertEqual(self.service(proxy)["weights"]["v1"], "100%")

    # Files

    def test_drift_ends_with_weights_follow_and_the_rollout_resumes(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        old = ("weight: 100%", "weight: 0%")
        # What the rollout has by now; a hair beside it; and much more.
        for new in (("weight: 90%", "weight: 10%"), ("weight: 89.5%", "weight: 10.5%"), ("weight: 40%", "weight: 60%")):
            self.edit(proxy, *zip(old, new))
            old = new
            until(lambda: self.state(proxy)["state"] == "paused")
            self.check_share(proxy, 10, 10)
            self.assertIn("sluice weights follow s", self.rollout(proxy, "resume", "s", code=2))
            self.weights(proxy, "follow", "s")
            state = self.state(proxy)
            self.assertEqual((state["state"], state["weightPercent"]), ("paused", float(new[1].split()[1][:-1])))
            self.assertIn("sluice rollout resume s", state["reason"])
            self.rollout(proxy, "resume", "s")
            self.watch(proxy)
            self.check_share(proxy, 10, 10)
        self.rollout(proxy, "abort", "s")
        until(lambda: self.service(proxy)["weights"]["v1"] == "100%")

    def test_a_file_that_was_edited_while_the_process_was_down_is_drift_and_stays_so(self):
        proxy = self.begin(LONG)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.written(proxy)
        self.kill(proxy)
        with open(proxy.path) as file:
            text = file.read()
        with open(proxy.path, "w") as file:
            file.write(text.replace("weight: 100%", "weight: 80%", 1).replace("weight: 0%", "weight: 20%", 1))
        for _ in range(2):
            proxy.run(())
            until(lambda: self.state(proxy)["state"] == "paused")
            self.check_share(proxy, 10, 10)
            self.assertIn("sluice weights follow s", self.rollout(proxy, "resume", "s", code=2))
            self.kill(proxy)
        proxy.run(())

    def test_drift_before_the_first_weights_ends_with_weights_follow_too(self):
        proxy = self.begin(['{ name: small, weight: 10%, approve: { before: true } }'])
        self.rollout(proxy, "start", "s")
        until(lambda: self.state(proxy)["state"] == "awaiting approval")
        self.edit(proxy, ("weight: 100%", "weight: 95%"), ("weight: 0%", "weight: 5%"))
        until(lambda: self.state(proxy)["state"] == "paused")
        self.weights(proxy, "follow", "s")
        self.rollout(proxy, "resume", "s")
        until(lambda: self.state(proxy)["state"] == "awaiting approval")

    def versions(self, proxy):
        """The version of each of many users, who are known by a cookie."""
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        found = []
        for number in range(100):
            connection.request("GET", "/", headers={"cookie": f"user=u{number}"})
            answer = connection.getresponse()
            answer.read()
            found.append(answer.getheader("x-version"))
        connection.close()
        return found

    def test_a_version_that_is_added_before_the_canary_gets_nobody_and_pauses(self):
        self.one.answer, self.two.answer = status(200, "x-version: v1"), status(200, "x-version: v2")
        three = self.backend(status(200, "x-version: v3"))
        proxy = self.begin(['{ name: half, weight: 50%, minTime: 1h }'], users=1)
        self.edit(proxy, ("    stable: v1\n", "    stable: v1\n    sticky: { cookie: user, issue: off }\n"))
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.assertEqual(set(self.versions(proxy)), {"v1", "v2"})
        self.edit(proxy, ("weight: 100%", "weight: 80%"), (
            "      v2:", f'      v3: {{ weight: 20%, endpoints: ["127.0.0.1:{three.port}"] }}\n      v2:'))
        until(lambda: self.state(proxy)["state"] == "paused")
        self.assertIn("other versions", self.state(proxy)["reason"])
        self.check_share(proxy, 50, 50)
        self.assertEqual(set(self.versions(proxy)), {"v1", "v2"})
        self.assertEqual(self.service(proxy)["weights"], {"v1": "50%", "v3": "0%", "v2": "50%"})

    def test_an_abort_that_is_blocked_says_so_and_by_force_it_is_done(self):
        proxy = self.begin(LONG, users=0)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.edit(proxy, (f'endpoints: ["127.0.0.1:{self.one.port}"]', "endpoints: []"))
        until(lambda: self.clusters_of(proxy, "v1") == 0)
        answer = self.rollout(proxy, "abort", "s")
        self.assertIn("rollback blocked: v1 has 0 of the 1 endpoints", answer)
        self.assertIn("sluice rollout abort s --force", answer)
        self.check_share(proxy, 10, 10)
        self.assertIn("--force", self.rollout(proxy, "start", "s", "--supersede", code=2))
        self.rollout(proxy, "abort", "s", "--force")
        until(lambda: self.state(proxy)["state"] == "aborted")
        self.check_share(proxy, 0, 0)

    def clusters_of(self, proxy, version):
        versions = self.page(proxy, "/clusters")["services"][0]["versions"]
        return len(next(v for v in versions if v["version"] == version)["endpoints"])

    # Beginning again

    def test_retry_keeps_the_values_of_before_and_takes_new_ones(self):
        self.two.answer = status(500)
        proxy = self.begin(['{ name: small, weight: 10%, minTime: 1s }', '''{ name: half, weight: 50%, minTime: 1h, when: 'branch == "main" and ticket == "7"' }'''], more="inputs: [ticket]")
        self.rollout(proxy, "start", "s", "--revision", "1.0", "--set", "branch=main")
        self.rollout(proxy, "wait", "s", "--timeout", "120s", code=3)
        self.assertIn("sluice rollout retry s", self.rollout(proxy, "pause", "s", code=2))
        self.assertIn("sluice rollout retry s", self.rollout(proxy, "start", "s", "--revision", "1.0", code=2))
        self.two.answer = OK
        self.assertIn("did you mean", self.rollout(proxy, "retry", "s", "--set", "tiket=7", code=2))
        self.rollout(proxy, "retry", "s", "--set", "ticket=7")
        self.rollout(proxy, "wait", "s", "--for", "half", "--timeout", "120s")
        self.watch(proxy)
        self.assertEqual((self.state(proxy)["revision"], self.state(proxy)["stage"]), ("1.0", "half"))


if __name__ == "__main__":
    unittest.main()
