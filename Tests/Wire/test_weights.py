"""Weights over those of the file: set by hand, followed, drifted, over restarts, with disks that fail."""
import collections, http.client, json, os, resource, signal, subprocess, threading, unittest, urllib.error, urllib.request
from harness import BINARY, Proxy, config, status, until
from weights import ROLLOUTS, WeightsCase


class Weights(WeightsCase):
    # By hand.

    def test_weights_that_are_set_hold_at_once_over_reloads_and_restarts_until_the_file_is_followed(self):
        proxy = self.start(self.file())
        self.assertEqual(self.served(proxy), (95, 5))
        answer = self.set(proxy, "v1=80%", "v2=20%")
        self.assertEqual(
            (answer["result"], answer["weights"], answer["from"], answer["generation"], answer["epoch"]),
            ("accepted", {"v1": "80%", "v2": "20%"}, "overlay by hand", 2, 2))
        self.assertEqual(self.served(proxy), (80, 20))
        entry = self.entries(proxy)["s"]
        self.assertEqual(entry["weights"], {"v1": 4, "v2": 1})
        self.assertEqual(os.stat(self.overlay(proxy)).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(os.path.dirname(self.overlay(proxy))).st_mode & 0o777, 0o700)
        proxy.reload()
        self.assertEqual(self.page(proxy)["epoch"], 2)
        self.assertEqual(self.served(proxy), (80, 20))
        self.assertEqual(proxy.metric("sluice_weights_overlaid"), 1)
        other = self.again(proxy)
        self.assertEqual(self.served(other), (80, 20))
        self.assertEqual(self.page(other)["from"], "overlay by hand")
        answer = json.loads(self.command(other, "follow", "s"))
        self.assertEqual((answer["weights"], answer["from"]), ({"v1": "95%", "v2": "5%"}, "file"))
        self.assertEqual(self.served(other), (95, 5))
        # Going back is in force before it is written.
        until(lambda: self.entries(other) == {})
        self.assertIn("file's already", self.command(other, "follow", "s", code=2))

    def test_the_table_and_the_lines_to_commit_say_what_holds_and_committing_them_moves_nobody(self):
        routes = """routes:
  - { name: own, match: { path: { exact: /own } }, to: s, split: { v1: 1, v2: 1 } }
  - { name: rest, to: s }"""
        proxy = self.start(self.file(routes=routes))
        table = self.command(proxy)
        self.assertIn("SERVICE  VERSION      WEIGHT  FROM\ns        v1 (stable)  95%     file\n", table)
        self.assertIn("route own has weights of its own: v1 50 %, v2 50 %", table)
        self.set(proxy, "v1=80%", "v2=20%")
        # A split of a route's own gets the same shares.
        self.assertEqual(self.served(proxy, path="/own"), (80, 20))
        self.assertIn(
            "s        v1 (stable)  80%     overlay by hand, file: 95%\n"
            "         v2           20%     overlay by hand, file: 5%\n", self.command(proxy))
        self.assertEqual(self.command(proxy, "export", "s"), """services:
  s:
    stable: v1
    versions:
      v1: { weight: 80% }
      v2: { weight: 20% }
routes:
  - { name: own, split: { v1: 80%, v2: 20% } }
""")
        self.assertEqual(self.page(proxy)["epoch"], 2)
        proxy.write(self.file(("80%", "20%"), routes=routes.replace("v1: 1, v2: 1", "v1: 80%, v2: 20%")))
        proxy.reload()
        page = self.page(proxy)
        self.assertEqual((page["from"], page["weights"], page["epoch"]), ("file", {"v1": "80%", "v2": "20%"}, 2))
        until(lambda: self.entries(proxy) == {})
        until(lambda: any("the file says the same by now" in line for line in proxy.log))

    def test_sessions_move_only_as_far_as_the_weights_demand(self):
        proxy = self.start(self.file(service="    sticky: { header: x-user, issue: off }"))
        users = [{"x-user": f"user-{n}"} for n in range(400)]
        def places():
            return [proxy.get(headers=user).getheader("x-served-by") for user in users]
        before = places()
        self.set(proxy, "v1=80%", "v2=20%")
        after = places()
        moved = [(a, b) for a, b in zip(before, after) if a != b]
        self.assertEqual(set(moved), {("v1", "v2")})
        self.assertLess(abs(len(moved) - 60), 40)
        self.set(proxy, "v1=95%", "v2=5%")
        self.assertEqual(places(), before)
        self.assertEqual(self.page(proxy)["from"], "file", "weights that are the file's need no overlay")

    def test_no_request_fails_while_weights_are_set_under_load_and_nothing_is_compiled_anew(self):
        routes = "routes:\n" + "\n".join(
            f"  - {{ name: r{i}, match: {{ path: {{ prefix: /api/{i} }} }}, to: s }}" for i in range(2_000))
        proxy = self.start(self.file(routes=routes + "\n  - { name: rest, to: s }"))
        stop = threading.Event()
        results = collections.Counter()
        def run():
            while not stop.is_set():
                results[proxy.get().status] += 1
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for n in range(1, 21):
            answer = self.set(proxy, f"v1={100 - n}%", f"v2={n}%")
            self.assertEqual(answer["weights"]["v2"], f"{n}%")
        until(lambda: results[200] > 50)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(set(results), {200})
        self.assertEqual(proxy.metric("sluice_config_reloads_total"), 0, "no file was read")
        # The load has taken some draws of the last split.
        self.assertIn(self.served(proxy)[1], {19, 20, 21})

    def test_an_export_that_is_written_changes_the_numbers_of_the_file_alone_and_ends_the_overlay(self):
        proxy = self.start(self.file(extra="# the end: größer"))
        self.set(proxy, "v1=80%", "v2=20%")
        with open(proxy.path) as file:
            old = file.read()
        os.chmod(proxy.path, 0o640)
        def export(path, code=0):
            done = subprocess.run(
                [BINARY, "weights", "export", "s", "--write", "-c", path, "--admin", f"127.0.0.1:{proxy.admin}"],
                capture_output=True, text=True)
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            return done.stdout + done.stderr
        self.assertIn("says the weights in force now", export(proxy.path))
        with open(proxy.path) as file:
            self.assertEqual(file.read(), old.replace("weight: 95%", "weight: 80%").replace("weight: 5%", "weight: 20%"))
        self.assertEqual(os.stat(proxy.path).st_mode & 0o777, 0o640)
        self.assertEqual(sorted(os.listdir(proxy.folder.name)), ["sluice.yaml", "state"])
        self.assertIn("already", export(proxy.path))
        proxy.reload()
        page = self.page(proxy)
        self.assertEqual((page["from"], page["weights"], page["epoch"]), ("file", {"v1": "80%", "v2": "20%"}, 2))
        # Files that cannot be changed stay as they are, and the lines to write are printed.
        link = os.path.join(proxy.folder.name, "link.yaml")
        os.symlink(proxy.path, link)
        other = os.path.join(proxy.folder.name, "other.yaml")
        with open(other, "w") as file:
            file.write(old.replace("weight: 95%, ", ""))
        self.set(proxy, "v1=70%", "v2=30%")
        for path, words in [(link, "symbolic link"), (other, "gives s/v1 no weight"), (other + ".none", "No such file")]:
            said = export(path, code=2)
            self.assertIn(words, said)
            self.assertIn("is not changed", said)
            self.assertIn("v2: { weight: 30% }" if path != other + ".none" else "", said)
        with open(other) as file:
            self.assertEqual(file.read(), old.replace("weight: 95%, ", ""))

    def test_words_that_are_not_understood_change_nothing_and_say_what_to_write(self):
        proxy = self.start(self.file())
        for arguments, words in [
            (("s", "v1=80%", "v2=10%"), "the percents total 90%, expected 100%"),
            (("s", "v1=80%", "v3=20%"), 'has no version "v3"; it has v1, v2'),
            (("t", "v1=100%"), 'there is no service "t" in force; did you mean "s"?'),
            (("s", "v1=0"), "all weights are 0"),
        ]:
            self.assertIn(words, self.set(proxy, *arguments[1:], service=arguments[0], code=2)["error"])
        self.assertEqual(self.served(proxy), (95, 5))
        self.assertEqual(self.page(proxy)["epoch"], 1)
        self.assertFalse(os.path.exists(self.overlay(proxy)))
        plain = self.start(config(self.one.port, self.two.port))
        self.assertIn("write rollouts: { directory: /var/lib/sluice }", self.set(plain, "v1=1", code=2)["error"])

    def test_nobody_is_moved_onto_a_version_without_endpoints_unless_that_is_forced(self):
        text = self.file(("100%", "0%"))
        proxy = self.start(text.replace(f'["127.0.0.1:{self.two.port}"]', "[]"))
        self.assertIn("s/v2 has no endpoint", self.set(proxy, "v1=90%", "v2=10%", code=2)["error"])
        self.assertEqual(self.served(proxy), (100, 0))
        self.command(proxy, "set", "s", "v1=90%", "v2=10%", "--force")
        self.assertEqual(self.page(proxy)["weights"]["v2"], "10%")
        self.set(proxy, "v1=100%")

    def test_a_change_of_weights_needs_the_token_and_a_post(self):
        with open("/dev/urandom", "rb") as file:
            token = file.read(8).hex()
        plain = self.start(self.file())
        path = os.path.join(plain.folder.name, "token")
        with open(path, "w") as file:
            file.write(token)
        proxy = Proxy(self.file(), admin=f'{{ address: "127.0.0.1:0", token: "{path}" }}')
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        for method, target in [("POST", "/weights?service=s&weight=v1=1"), ("POST", "/weights/follow?service=s")]:
            with self.assertRaises(urllib.error.HTTPError) as caught:
                proxy.page(target, proxy.admin, method)
            self.assertEqual(caught.exception.code, 401)
            caught.exception.close()
        def origin():
            request = urllib.request.Request(f"http://127.0.0.1:{proxy.admin}/weights", headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)["services"][0]["from"]
        self.assertEqual(origin(), "file")
        self.command(proxy, "set", "s", "v1=1", "--token", token)
        self.assertEqual(origin(), "overlay by hand")

    # The person and the file.

    def test_a_file_that_would_move_many_is_not_applied_until_it_is_followed(self):
        proxy = self.start(self.file())
        self.set(proxy, "v1=80%", "v2=20%")
        proxy.write(self.file(("50%", "50%")))
        proxy.reload()
        self.assertEqual(self.served(proxy), (80, 20))
        page = self.page(proxy)
        self.assertEqual(page["drift"], {
            "file": "v1 50 %, v2 50 %", "why": "they would move 30.00 % of the users"})
        self.assertEqual(page["epoch"], 2)
        self.assertEqual(proxy.metric("sluice_weights_drift"), 1)
        until(lambda: any("sluice weights follow s takes them" in line for line in proxy.log))
        self.assertIn("which is not applied", self.command(proxy))
        shown = json.loads(proxy.page("/config", proxy.admin))["weights"][0]
        self.assertEqual(shown["drift"], page["drift"])
        explained = subprocess.run(
            [BINARY, "explain", "-c", proxy.path, "GET", "/"], capture_output=True, text=True).stdout
        self.assertIn("weights   overlay by hand: v1 80 %, v2 20 %; the file has changed to v1 50 %", explained)
        # A restart decides the same.
        other = self.again(proxy)
        self.assertEqual(self.served(other), (80, 20))
        self.assertEqual(self.page(other)["drift"], page["drift"])
        self.command(other, "follow", "s")
        self.assertEqual(self.served(other), (50, 50))
        self.assertEqual(other.metric("sluice_weights_drift"), 0)

    def test_other_changes_of_the_file_are_applied_under_the_overlay_and_small_ones_end_it(self):
        proxy = self.start(self.file())
        self.set(proxy, "v1=80%", "v2=20%")
        # Everything but the weights is the file's, and the overlay stays.
        proxy.write(self.file(extra='log: { level: debug }').replace("stable: v1", "stable: v1\n    connectTimeout: 1s"))
        proxy.reload()
        shown = json.loads(proxy.page("/config", proxy.admin))
        self.assertEqual(shown["configuration"]["services"][0]["connectTimeout"], "1s")
        self.assertEqual(shown["weights"][0]["from"], "overlay by hand")
        self.assertEqual(self.served(proxy), (80, 20))
        # A change that moves at most one user in a hundred is the person's.
        proxy.write(self.file(("79%", "21%")))
        proxy.reload()
        self.assertEqual(self.page(proxy)["from"], "file")
        self.assertEqual(self.served(proxy), (79, 21))
        until(lambda: self.entries(proxy) == {})

    def test_a_canary_that_is_taken_out_of_the_file_takes_its_overlay_with_it(self):
        proxy = self.start(self.file())
        self.set(proxy, "v1=80%", "v2=20%")
        proxy.write(config(self.one.port, extra=ROLLOUTS))
        proxy.reload()
        self.assertEqual(self.served(proxy), (100, 0))
        until(lambda: self.entries(proxy) == {})
        until(lambda: any("does not have its version v2 any more" in line for line in proxy.log))

    def test_diff_says_what_the_overlay_makes_of_a_new_file(self):
        proxy = self.start(self.file())
        self.set(proxy, "v1=80%", "v2=20%")
        new = os.path.join(proxy.folder.name, "new.yaml")
        with open(proxy.path) as file:
            text = file.read()
        with open(new, "w") as file:
            file.write(text.replace("95%", "50%").replace(" 5%", " 50%"))
        out = subprocess.run([BINARY, "diff", proxy.path, new], capture_output=True, text=True).stdout
        self.assertIn("weights over the file's\n  s: v1 80 %, v2 20 %, overlay by hand; the file's, v1 50 %", out)
        self.assertNotIn("new requests:", out)

    # Disks.

    def test_an_overlay_that_is_not_believed_stops_nobody_and_the_last_good_one_holds(self):
        proxy = self.start(self.file())
        self.set(proxy, "v1=80%", "v2=20%")
        with open(self.overlay(proxy)) as file:
            good = file.read()
        for text, words in [(good[:40], "the text ends early"), ("", "the text ends early"), ("{}", "format is missing")]:
            with open(self.overlay(proxy), "w") as file:
                file.write(text)
            proxy.reload()
            self.assertEqual(self.served(proxy), (80, 20))
            problem = json.loads(proxy.page("/weights", proxy.admin))["overlay"]["problem"]
            self.assertIn(words, problem)
            self.assertEqual(proxy.metric("sluice_overlay_believed"), 0)
        until(lambda: any("the last good one holds" in line for line in proxy.log))
        os.chmod(self.overlay(proxy), 0o644)
        proxy.reload()
        self.assertIn("run chmod 600", json.loads(proxy.page("/weights", proxy.admin))["overlay"]["problem"])
        # A start has no last good one: the file's own weights hold, and a change mends it.
        other = self.again(proxy)
        self.assertEqual(self.served(other), (95, 5))
        self.assertTrue(any("the file's own weights hold" in line for line in other.log))
        self.set(other, "v1=70%", "v2=30%")
        self.assertEqual(other.metric("sluice_overlay_believed"), 1)
        self.assertEqual(self.entries(other)["s"]["weights"], {"v1": 7, "v2": 3})
        self.assertTrue(os.path.exists(self.overlay(other) + ".bad"))

    def test_a_file_size_limit_refuses_forward_changes_and_never_going_back(self):
        proxy = Proxy(self.file())
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        self.set(proxy, "v1=80%", "v2=20%")
        with open(self.overlay(proxy)) as file:
            old = file.read()
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        answer = self.set(proxy, "v1=70%", "v2=30%", code=1)
        self.assertIn("File too large", answer["error"])
        self.assertIn("ulimit -f", answer["error"])
        self.assertEqual(self.served(proxy), (80, 20))
        with open(self.overlay(proxy)) as file:
            self.assertEqual(file.read(), old)
        # Going back is in force at once, and said to be unwritten.
        self.assertEqual(self.set(proxy, "v1=100%")["weights"]["v2"], "0%")
        self.assertEqual(self.served(proxy), (100, 0))
        until(lambda: proxy.metric("sluice_overlay_written") == 0)
        self.assertIn("not written yet", self.command(proxy))
        resource.prlimit(
            proxy.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(lambda: proxy.metric("sluice_overlay_written") == 1, limit=30)
        self.assertEqual(self.entries(proxy)["s"]["weights"], {"v1": 1, "v2": 0})
        self.assertIn("overlay.json", os.listdir(os.path.dirname(self.overlay(proxy))))
        self.assertNotIn(".overlay.json.new", os.listdir(os.path.dirname(self.overlay(proxy))))

    def test_a_directory_that_cannot_be_made_is_said_with_what_to_do(self):
        proxy = self.start(self.file().replace("directory: state", "directory: missing/state"))
        answer = self.set(proxy, "v1=70%", "v2=30%", code=1)
        self.assertIn(f"mkdir -p {proxy.folder.name}/missing", answer["error"])
        self.assertEqual(self.served(proxy), (95, 5))

    @unittest.skipIf(os.geteuid() != 0, "needs a mount of its own")
    def test_full_and_read_only_disks_keep_the_old_overlay_and_say_so(self):
        proxy = self.start(self.file())
        self.set(proxy, "v1=80%", "v2=20%")
        state = os.path.dirname(self.overlay(proxy))
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128k,mode=700", "none", state], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("mounts are not permitted here")
        def mount(*words):
            # What the process has just written may be open for another moment.
            until(lambda: subprocess.run(words, capture_output=True).returncode == 0)
        self.addCleanup(lambda: mount("umount", state))
        self.set(proxy, "v1=75%", "v2=25%")
        with open(self.overlay(proxy)) as file:
            old = file.read()
        try:
            with open(os.path.join(state, "filler"), "wb") as file:
                file.write(b"x" * (1 << 20))
        except OSError:
            pass
        self.assertIn("make room on the disk", self.set(proxy, "v1=70%", "v2=30%", code=1)["error"])
        with open(self.overlay(proxy)) as file:
            self.assertEqual(file.read(), old)
        # Going back uses the room that was kept for it.
        self.set(proxy, "v1=76%", "v2=24%")
        until(lambda: self.entries(proxy)["s"]["weights"]["v2"] == 6)
        self.assertEqual(proxy.metric("sluice_overlay_written"), 1)
        mount("mount", "-o", "remount,ro", state)
        self.assertIn("mounted read-only", self.set(proxy, "v1=70%", "v2=30%", code=1)["error"])
        self.assertEqual(self.served(proxy), (76, 24))
        mount("mount", "-o", "remount,rw", state)
        os.unlink(os.path.join(state, "filler"))
        self.assertEqual(self.set(proxy, "v1=70%", "v2=30%")["weights"]["v2"], "30%")

    def test_kill_9_during_changes_leaves_the_last_confirmed_overlay_or_the_one_behind_it(self):
        proxy = self.start(self.file())
        last = 500
        for round in range(3):
            confirmed = None
            connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=20)
            timer = threading.Timer(0.02 * (round + 1), proxy.process.kill)
            timer.start()
            try:
                while True:
                    # Each raises the canary, and so waits for the disk.
                    last += 1
                    connection.request(
                        "POST", f"/weights?service=s&weight=v1={9_001 - last}&weight=v2={last}",
                        headers={"content-length": "0"})
                    self.assertEqual(json.loads(connection.getresponse().read())["result"], "accepted")
                    confirmed = last
            except (OSError, http.client.HTTPException):
                pass
            connection.close()
            timer.join()
            proxy = self.again(proxy, signal.SIGKILL)
            self.assertIsNone(json.loads(proxy.page("/weights", proxy.admin))["overlay"]["problem"])
            if confirmed is not None:
                self.assertIn(self.entries(proxy)["s"]["weights"]["v2"], {confirmed, confirmed + 1})

    def test_a_watching_process_takes_an_overlay_of_somebody_else_and_not_its_own_writing(self):
        proxy = self.start(self.file(), "--watch")
        self.set(proxy, "v1=80%", "v2=20%")
        self.set(proxy, "v1=70%", "v2=30%")
        overlay = self.entries(proxy)
        overlay["s"]["weights"] = {"v1": 60, "v2": 40}
        new = self.overlay(proxy) + ".other"
        with open(new, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump({"format": 1, "services": overlay}, file)
        os.rename(new, self.overlay(proxy))
        until(lambda: self.page(proxy)["weights"]["v2"] == "40%")
        self.assertEqual(self.served(proxy), (60, 40))
        self.assertEqual(proxy.metric('sluice_config_reloads_total{result="accepted"}'), 1)


if __name__ == "__main__":
    unittest.main()
