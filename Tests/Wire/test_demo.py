"""The demo's origin: made bad and good again while it runs, by whoever reaches its own address; and programs that rollouts may run."""
import collections, http.client, json, os, subprocess, tempfile, time, unittest
from harness import BINARY, Case, Demo, config


class Demos(Case):
    def demo(self, *options):
        demo = Demo("v2", 0, "--seed", "7", *options)
        self.addCleanup(demo.stop)
        return demo

    def ask(self, port, method, target, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, json.loads(text)

    def statuses(self, port, path="/", count=200):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        found = collections.Counter()
        for _ in range(count):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            found[response.status] += 1
        connection.close()
        return found

    def test_a_version_is_made_bad_and_good_again_while_it_runs(self):
        demo = self.demo()
        self.assertEqual(self.statuses(demo.port), {200: 200})
        # As people type it, and as it should be written.
        for share in ("100%", "100%25"):
            status, state = self.ask(demo.port, "POST", f"/demo/errors?share={share}&status=503")
            self.assertEqual((status, state["errors"]), (200, {"share": "100%", "status": 503, "path": "/"}))
            self.assertEqual(self.statuses(demo.port), {503: 200})
        self.ask(demo.port, "POST", "/demo/errors?share=20%")
        self.assertLess(abs(self.statuses(demo.port, count=2000)[500] - 400), 100)
        self.assertEqual(self.ask(demo.port, "POST", "/demo/reset")[0], 200)
        self.assertEqual(self.statuses(demo.port), {200: 200})

    def test_errors_and_delays_may_be_of_one_path(self):
        demo = self.demo()
        self.ask(demo.port, "POST", "/demo/errors?share=100%&path=/cart")
        self.assertEqual(self.statuses(demo.port, "/cart/1", 20), {500: 20})
        self.assertEqual(self.statuses(demo.port, "/other", 20), {200: 20})
        self.ask(demo.port, "POST", "/demo/latency?add=300ms&path=/slow")
        begun = time.monotonic()
        self.statuses(demo.port, "/slow", 1)
        self.assertGreaterEqual(time.monotonic() - begun, 0.3)
        state = self.ask(demo.port, "GET", "/demo")[1]
        self.assertEqual(state["latency"], {"add": "300ms", "share": "100%", "path": "/slow"})
        self.assertEqual(state["errors"]["path"], "/cart")

    def test_what_the_command_line_says_is_where_it_begins(self):
        demo = self.demo("--error-rate", "100%", "--latency", "5ms")
        self.assertEqual(self.statuses(demo.port, count=5), {500: 5})
        state = self.ask(demo.port, "GET", "/demo")[1]
        self.assertEqual((state["errors"]["share"], state["latency"]["add"]), ("100%", "5ms"))

    def test_a_mistake_changes_nothing_and_says_what_to_write(self):
        demo = self.demo()
        before = self.ask(demo.port, "GET", "/demo")[1]
        for method, target, status, words in (
                ("POST", "/demo/errors", 400, "share=20%"), ("POST", "/demo/errors?share=2", 400, "expected 20%"),
                ("POST", "/demo/errors?share=20%&status=200", 400, "400 to 599"),
                ("POST", "/demo/latency?add=fast", 400, "200ms"), ("POST", "/demo/latency?share=5%", 400, "add is missing"),
                ("POST", "/demo/errors?share=20%&add=1s", 400, "no parameter add"),
                ("POST", "/demo/errors?share=20%&path=cart", 400, "beginning of a path"),
                ("GET", "/demo/errors?share=20%", 405, "curl -X POST"), ("POST", "/demo/nothing", 404, "/demo/nothing")):
            found, answer = self.ask(demo.port, method, target)
            self.assertEqual(found, status, target)
            self.assertIn(words, answer["error"])
            self.assertIn("/demo/latency?add=200ms", answer["usage"])
        self.assertEqual(self.ask(demo.port, "GET", "/demo")[1], before)

    def test_whoever_comes_through_the_proxy_changes_nothing(self):
        v1, _ = self.pair()
        proxy = self.start(config(v1.port))
        response = proxy.get("/demo/errors?share=100%25", method="POST")
        self.assertEqual(response.status, 403)
        self.assertEqual(proxy.get().status, 200)

    def test_the_help_says_how(self):
        run = subprocess.run([BINARY, "demo", "--help"], capture_output=True, text=True, timeout=60)
        self.assertIn("/demo/errors?share=20%", run.stdout)


class AllowedCommands(unittest.TestCase):
    def run_with(self, folder):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("nonsense")
            file.flush()
            return subprocess.run([BINARY, "run", "-c", file.name, "--allow-commands", folder], capture_output=True, text=True, timeout=60)

    def test_a_directory_that_others_may_write_is_refused_at_the_start(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            run = self.run_with(folder)
            self.assertEqual(run.returncode, 64, run.stderr)
            self.assertIn("chmod go-w", run.stderr)
            os.chmod(folder, 0o755)
            # From here on the configuration speaks.
            self.assertEqual(self.run_with(folder).returncode, 2)

    def test_a_directory_that_is_not_there_is_named(self):
        run = self.run_with("/nowhere/commands")
        self.assertEqual(run.returncode, 64)
        self.assertIn("/nowhere/commands", run.stderr)


if __name__ == "__main__":
    unittest.main()
