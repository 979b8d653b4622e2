"""What the tests of weights share: a service of two versions, and the commands about its weights."""
import collections, json, os, signal, subprocess
from harness import BINARY, Case, Proxy, config, status

ROLLOUTS = "rollouts: { directory: state }"


class WeightsCase(Case):
    def file(self, weights=("95%", "5%"), routes=None, service="", v2=None, extra=""):
        return config(
            self.one.port, v2 or self.two.port, weights, extra=f"{ROLLOUTS}\n{extra}", routes=routes, service=service)

    def setUp(self):
        self.one = self.backend(status(200, "x-served-by: v1"))
        self.two = self.backend(status(200, "x-served-by: v2"))

    def command(self, proxy, *arguments, code=0):
        """`sluice weights …` against the process; what it prints."""
        done = subprocess.run(
            [BINARY, "weights", *arguments, "--admin", f"127.0.0.1:{proxy.admin}"], capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def set(self, proxy, *weights, code=0, service="s"):
        return json.loads(self.command(proxy, "set", service, *weights, code=code))

    def served(self, proxy, count=100, **options):
        """How many of so many requests each version served."""
        counts = collections.Counter()
        for _ in range(count):
            answer = proxy.get(**options)
            version = answer.getheader("x-served-by")
            # Whoever is not served says why: a count that is short does not.
            self.assertIsNotNone(version, f"{answer.status} {answer.text} {answer.headers}")
            counts[version] += 1
        return counts["v1"], counts["v2"]

    def overlay(self, proxy):
        return os.path.join(proxy.folder.name, "state", "overlay.json")

    def entries(self, proxy):
        with open(self.overlay(proxy)) as file:
            return json.load(file)["services"]

    def page(self, proxy):
        return json.loads(proxy.page("/weights", proxy.admin))["services"][0]

    def again(self, proxy, how=signal.SIGTERM):
        """The same configuration in another process; the first one has ended."""
        proxy.process.send_signal(how)
        proxy.process.wait()
        proxy.process.stderr.close()
        return Again(self, proxy)


class Again(Proxy):
    """Another process for the file of a first one."""

    def __init__(self, case, first):
        self.folder, self.path = first.folder, first.path
        self.admin_text, self.metrics_text = first.admin_text, first.metrics_text
        self.run(())
        first.stop = lambda: 0
        case.addCleanup(lambda: case.assertEqual(self.stop(), 0))
