"""Versions that the guard has taken out: what raises them, what ends a trip, what a restart remembers."""
import json, os, signal, subprocess, threading, unittest
from harness import BINARY, config, status, until
from weights import WeightsCase


class Trips(WeightsCase):
    # What the guard has taken out.

    def tripped(self, weights=("80%", "20%")):
        """A process whose v2 the guard has taken out; v2 is well again."""
        proxy = self.start(self.file(weights, service="    guard: on"))
        self.two.answer = status(500, "x-served-by: v2")
        until(lambda: self.served(proxy, 50) and proxy.metric("sluice_guard_tripped") == 1)
        until(lambda: self.trips(proxy))
        self.two.answer = status(200, "x-served-by: v2")
        return proxy

    def trips(self, proxy):
        try:
            with open(self.overlay(proxy)) as file:
                return json.load(file).get("trips", {})
        except FileNotFoundError:
            return {}

    def test_weights_raise_a_version_that_is_out_only_with_a_reset_and_lower_ones_leave_it_out(self):
        proxy = self.tripped()
        refusal = self.set(proxy, "v1=70%", "v2=30%", code=2)["error"]
        self.assertIn("the guard has taken s/v2 out", refusal)
        self.assertIn("--reset-guard", refusal)
        self.assertEqual(self.page(proxy)["weights"]["v2"], "20%")
        answer = self.set(proxy, "v1=90%", "v2=10%")
        self.assertEqual((answer["weights"]["v2"], answer["tripped"]), ("10%", ["v2"]))
        self.assertEqual(self.served(proxy), (100, 0))
        self.assertIn("the guard has taken v2 out", self.command(proxy))
        # The file's 20 % are more.
        self.assertIn("the guard has taken s/v2 out", self.command(proxy, "follow", "s", code=2))
        answer = self.set(proxy, "v1=70%", "v2=30%", "--reset-guard")
        self.assertEqual(answer["tripped"], [])
        self.assertEqual(proxy.metric("sluice_guard_tripped"), 0)
        self.assertEqual(self.served(proxy), (70, 30))
        until(lambda: self.trips(proxy) == {})

    def test_weights_of_0_that_are_set_end_a_trip(self):
        proxy = self.tripped()
        self.assertEqual(self.set(proxy, "v1=100%")["tripped"], [])
        until(lambda: self.trips(proxy) == {})
        self.set(proxy, "v1=50%", "v2=50%")
        self.assertEqual(self.served(proxy), (50, 50))

    def test_a_trip_outlives_kill_9_and_ends_by_a_reset_for_good(self):
        proxy = self.tripped()
        trip = self.trips(proxy)["s"]["v2"]
        self.assertEqual((trip["number"], trip["cause"]), (1, "errors"))
        told = json.loads(proxy.page("/evidence"))["trips"][0]
        other = self.again(proxy, signal.SIGKILL)
        self.assertEqual(self.served(other), (100, 0))
        after = json.loads(other.page("/evidence"))["trips"][0]
        self.assertEqual(after, told)
        self.assertEqual(after["atMicros"], trip["atMicros"])
        self.assertTrue(any("a version stays out that the guard has taken out" in line for line in other.log))
        self.assertFalse(any("guard took a version out" in line for line in other.log))
        # A reload that raises it does not let it in, and says so.
        other.write(self.file(("50%", "50%"), service="    guard: on"))
        other.reload()
        self.assertEqual(self.served(other), (100, 0))
        until(lambda: sum("a version stays out" in line for line in other.log) == 2)
        done = subprocess.run(
            [BINARY, "guard", "reset", "s", "--admin", f"127.0.0.1:{other.admin}"], capture_output=True, text=True, check=True)
        self.assertEqual(json.loads(done.stdout)["reset"], ["v2"])
        until(lambda: self.trips(other) == {})
        self.assertEqual(self.served(other), (50, 50))
        last = self.again(other, signal.SIGKILL)
        self.assertEqual(self.served(last), (50, 50))

    def test_a_trip_stands_whatever_reloads_and_weights_are_set_in_the_same_moment(self):
        proxy = self.start(self.file(("80%", "20%"), service="    guard: on"))
        self.set(proxy, "v1=80%", "v2=20%")
        self.two.answer = status(500, "x-served-by: v2")
        refusals = []
        def change():
            last = 2_000
            while not refusals:
                last += 1
                done = subprocess.run(
                    [BINARY, "weights", "set", "s", f"v1={10_000 - last}", f"v2={last}", "--admin", f"127.0.0.1:{proxy.admin}"],
                    capture_output=True, text=True)
                if done.returncode != 0:
                    refusals.append((done.returncode, done.stdout))
        def reload():
            while not refusals:
                proxy.process.send_signal(signal.SIGHUP)
                self.page(proxy)
        threads = [threading.Thread(target=work) for work in (change, reload)]
        for thread in threads:
            thread.start()
        until(lambda: self.served(proxy, 50) and refusals)
        for thread in threads:
            thread.join()
        self.assertEqual(refusals[0][0], 2, refusals)
        self.assertIn("s/v2 out", json.loads(refusals[0][1])["error"])
        self.two.answer = status(200, "x-served-by: v2")
        self.assertEqual(proxy.metric("sluice_guard_tripped"), 1)
        self.assertEqual(self.served(proxy), (100, 0))
        until(lambda: self.trips(proxy))
        other = self.again(proxy, signal.SIGKILL)
        self.assertEqual(self.served(other), (100, 0))

    def test_without_a_directory_a_trip_says_that_a_restart_forgets_it(self):
        proxy = self.start(config(self.one.port, self.two.port, ("80%", "20%"), service="    guard: on"))
        self.two.answer = status(500, "x-served-by: v2")
        until(lambda: self.served(proxy, 50) and proxy.metric("sluice_guard_tripped") == 1)
        line = until(lambda: next((l for l in proxy.log if "guard took a version out" in l), None))
        self.assertIn("for want of a rollouts: directory", line)

    def test_a_trip_is_written_once_the_disk_takes_it(self):
        proxy = self.start(self.file(("80%", "20%"), service="    guard: on").replace("directory: state", "directory: missing/state"))
        self.two.answer = status(500, "x-served-by: v2")
        until(lambda: self.served(proxy, 50) and proxy.metric("sluice_overlay_written") == 0)
        self.assertIn("mkdir -p", self.command(proxy))
        os.mkdir(os.path.join(proxy.folder.name, "missing"))
        until(lambda: proxy.metric("sluice_overlay_written") == 1, limit=30)
        self.assertTrue(os.path.exists(os.path.join(proxy.folder.name, "missing", "state", "overlay.json")))


if __name__ == "__main__":
    unittest.main()
