"""Ends of rollouts and what comes right behind them, through the real process."""
import json, os, ssl, subprocess, tempfile, unittest, urllib.error, urllib.request
from certificates import Authority
from harness import BINARY, OK, Backend, Proxy, config, until
from rollouts import RolloutsCase, plan

LONG = ['{ name: small, weight: 10%, minTime: 1h }', '{ name: half, weight: 50%, minTime: 1h }']


class TLSBackend(Backend):
    """A backend that speaks TLS."""

    def __init__(self, certificate, answer=OK):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        super().__init__(answer)

    def _run(self, connection):
        try:
            connection = self.context.wrap_socket(connection, server_side=True)
        except OSError:
            return connection.close()
        super()._run(connection)


class Ends(RolloutsCase):
    def post(self, proxy, path):
        request = urllib.request.Request(
            f"http://127.0.0.1:{proxy.admin}{path}", method="POST",
            headers={"authorization": "Bearer secret-of-the-test"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def watch(self, proxy):
        until(lambda: self.state(proxy)["state"] == "watching")

    # Right behind an end

    def test_a_start_right_behind_an_abort_waits_for_the_end_of_the_rollout_before(self):
        proxy = self.begin(LONG, users=0)
        for number in range(1, 31):
            status, answer = self.post(proxy, "/rollouts/start?name=s")
            self.assertEqual((status, answer.get("id")), (200, f"s-{number}"), answer)
            status, answer = self.post(proxy, "/rollouts/abort?name=s")
            self.assertEqual(status, 200, answer)

    def test_a_start_right_behind_a_trip_of_the_guard_waits_too(self):
        self.two.answer = None
        proxy = self.begin(['{ name: half, weight: 50%, minTime: 1h }'], more="guard: on")
        for _ in range(5):
            self.assertEqual(self.post(proxy, "/rollouts/start?name=s")[0], 200)
            until(lambda: "rolled back" in self.state(proxy)["state"] or "rolling" in self.state(proxy)["state"], 20)

    # Waiting

    def test_a_wait_for_a_stage_that_was_passed_over_ends_well_and_says_so(self):
        proxy = self.begin(LONG + ['{ name: all, weight: 100%, holdBack: 10%, watch: 1h }'])
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.rollout(proxy, "skip", "s", "half")
        self.rollout(proxy, "skip", "s", "small")
        until(lambda: self.state(proxy)["stage"] == "all" and self.state(proxy)["state"] == "watching")
        out = self.rollout(proxy, "wait", "s", "--for", "half", "--timeout", "20s")
        self.assertIn("the rollout is behind stage half, which was passed over", out)
        self.assertNotIn("passed over", self.rollout(proxy, "wait", "s", "--for", "all", "--timeout", "20s"))

    # Going back

    def test_a_hook_is_told_that_a_rollback_is_blocked_and_of_its_end(self):
        told = []

        def receive(head, body):
            told.append(json.loads(body))
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        receiver = self.backend(receive)
        proxy = self.begin(
            LONG, users=0, more='hooks: [{ events: [rollbackBlocked, rolledBack], webhook: { url: "http://127.0.0.1:%d/" } }]'
            % receiver.port)
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        with open(proxy.path) as file:
            text = file.read()
        proxy_text = text.replace(f'endpoints: ["127.0.0.1:{self.one.port}"]', "endpoints: []")
        with open(proxy.path, "w") as file:
            file.write(proxy_text)
        proxy.reload()
        self.rollout(proxy, "abort", "s")
        until(lambda: told)
        self.assertEqual((told[0]["event"], told[0]["state"]), ("rollbackBlocked", "rollback blocked"))
        self.assertIn("v1 has 0 of the 1 endpoints", told[0]["text"])
        self.assertIn("sluice rollout abort s --force", told[0]["text"])
        # By itself, when the endpoints are back.
        with open(proxy.path, "w") as file:
            file.write(text)
        proxy.reload()
        until(lambda: self.state(proxy)["state"] == "aborted")
        until(lambda: len(told) == 2)
        self.assertEqual(told[1]["event"], "rolledBack")

    def test_the_way_back_behind_a_success_names_every_version_that_has_a_share(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        three = self.backend(OK)
        text = config(self.one.port, self.two.port, ("90%", "0%"), extra=plan(LONG))
        line = next(line for line in text.split("\n") if line.startswith("      v2:"))
        text = text.replace(line, line + f'\n      v3: {{ weight: 10%, endpoints: ["127.0.0.1:{three.port}"] }}')
        proxy = Proxy(text, admin=f'{{ address: "127.0.0.1:0", token: {self.token} }}')
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        self.rollout(proxy, "start", "s")
        self.watch(proxy)
        self.rollout(proxy, "finish", "s", "--force")
        until(lambda: self.state(proxy)["state"] == "succeeded")
        self.assertEqual(self.service(proxy)["weights"], {"v1": "0%", "v2": "90%", "v3": "10%"})
        back = ["set", "s", "v1=90%", "v2=0%", "v3=10%"]
        for verb in ("abort", "start", "retry"):
            self.assertIn("sluice weights " + " ".join(back), self.rollout(proxy, verb, "s", code=2))
        done = subprocess.run([BINARY, "weights", *back, *self.target(proxy)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.service(proxy)["weights"], {"v1": "90%", "v2": "0%", "v3": "10%"})

    # Who may

    def test_weights_of_a_service_with_a_plan_are_set_over_tcp_with_a_token_alone(self):
        text = config(self.one.port, self.two.port, ("100%", "0%"), extra=plan(LONG))
        proxy = self.start(text)
        address = ["--admin", f"127.0.0.1:{proxy.admin}"]
        for words in (["weights", "set", "s", "v1=50%", "v2=50%"], ["weights", "follow", "s"], ["guard", "reset", "s"],
                      ["rollout", "start", "s"]):
            done = subprocess.run([BINARY, *words, *address], capture_output=True, text=True)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn("over TCP wants a token", done.stdout + done.stderr)
            self.assertIn("admin: unix:", done.stdout + done.stderr)
        self.assertEqual(json.loads(proxy.page("/weights", proxy.admin))["services"][0]["weights"], {"v1": "100%", "v2": "0%"})
        # With the token, and without a plan, everything is as it was.
        with_token = self.begin(LONG, users=0)
        done = subprocess.run(
            [BINARY, "weights", "set", "s", "v1=50%", "v2=50%", *self.target(with_token)], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        plain = self.start(config(self.one.port, self.two.port, extra="rollouts: { directory: state }"))
        done = subprocess.run(
            [BINARY, "weights", "set", "s", "v1=50%", "v2=50%", "--admin", f"127.0.0.1:{plain.admin}"],
            capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class SyntheticOverTLS(RolloutsCase):
    """Requests of Sluice's own to origins that speak TLS."""

    STAGES = ['{ name: half, weight: 50%, minTime: 1s, maxTime: 10s, '
              'judge: { onInconclusive: synthetic, minRequests: 10, maxIncrease: 40%, tolerate: { points: 1%, time: 5s } } }']

    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.server = cls.authority.issue("server", "DNS:shop.test,IP:127.0.0.1")
        cls.other = Authority("Another CA")
        cls.stranger = cls.other.issue("stranger", "DNS:shop.test,IP:127.0.0.1")

    @classmethod
    def tearDownClass(cls):
        cls.authority.close()
        cls.other.close()

    def run_with(self, one, two, code):
        backends = [TLSBackend(one), TLSBackend(two)]
        for backend in backends:
            self.addCleanup(backend.close)
        text = config(
            backends[0].port, backends[1].port, ("100%", "0%"),
            service=f"    hosts: [shop.test]\n    tls: {{ ca: {self.authority.ca}, sni: shop.test }}",
            extra=plan(self.STAGES, more='synthetic: { path: /cart, rate: 40 }'))
        text += "defaults: { timeouts: { request: 1s } }\n"
        proxy = Proxy(text, admin=f'{{ address: "127.0.0.1:0", token: {self.token} }}')
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        self.rollout(proxy, "start", "s")
        return backends, proxy, self.rollout(proxy, "wait", "s", "--timeout", "120s", code=code)

    def test_synthetic_requests_reach_origins_that_speak_tls(self):
        backends, proxy, out = self.run_with(self.server, self.server, 0)
        self.assertIn("succeeded", out)
        for backend in backends:
            self.assertGreaterEqual(len(backend.requests), 10)
            for head, _ in backend.requests:
                self.assertIn("get /cart http/1.1", head.lower())
                self.assertIn("host: shop.test\r\n", head.lower())

    def test_a_canary_with_a_certificate_that_nobody_trusts_fails_synthetic_requests(self):
        backends, proxy, out = self.run_with(self.server, self.stranger, 3)
        self.assertIn("synthetic requests", out)
        self.assertEqual(backends[1].requests, [], "nothing is said to whoever is not the version")


if __name__ == "__main__":
    unittest.main()
