"""What the tests of rollouts share: a plan of short stages, users who ask all the time, and the commands."""
import http.client, json, os, subprocess, tempfile, threading, urllib.request
from harness import BINARY, OK, Case, Proxy, config

# Stages of a second, and a judge that is content with little: what is tested is the way, not the statistics.
# Times are no matter of these tests: on a busy machine the version with fewer requests really is slower.
QUICK = "judge: { minRequests: 20, minTime: 1s, maxIncrease: 5%, tolerate: { p95: 3, time: 1s, points: 1% } }"


def plan(stages, more=""):
    return f"""rollouts:
  directory: state
  plans:
    - service: s
      canary: v2
      {QUICK}
      {more}
      stages:
""" + "".join(f"        - {stage}\n" for stage in stages)


class RolloutsCase(Case):
    STAGES = ['{ name: small, weight: 10% }', '{ name: half, weight: 50% }',
              '{ name: all, weight: 100%, holdBack: 10%, watch: 1s }']

    def setUp(self):
        self.one, self.two = self.backend(OK), self.backend(OK)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.token = os.path.join(folder.name, "token")
        with open(self.token, "w") as file:
            file.write("secret-of-the-test\n")

    def begin(self, stages=STAGES, more="", weights=("100%", "0%"), options=(), users=4):
        text = config(self.one.port, self.two.port, weights, extra=plan(stages, more))
        text += "defaults: { timeouts: { request: 1s } }\n"
        proxy = Proxy(text, *options, admin=f'{{ address: "127.0.0.1:0", token: {self.token} }}')
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        stop = threading.Event()
        threads = [threading.Thread(target=self.drive, args=(proxy, stop), daemon=True) for _ in range(users)]
        for thread in threads:
            thread.start()
        self.addCleanup(lambda: (stop.set(), [thread.join() for thread in threads]))
        return proxy

    def drive(self, proxy, stop):
        """Requests on one connection, until the test is over; the process may be another by then."""
        connection = None
        while not stop.is_set():
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
                connection.request("GET", "/")
                connection.getresponse().read()
            except OSError:
                connection = None
                stop.wait(0.01)
            except http.client.HTTPException:
                connection = None

    def rollout(self, proxy, *arguments, code=0):
        done = subprocess.run(
            [BINARY, "rollout", *arguments, *self.target(proxy)], capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def target(self, proxy):
        return ["--admin", f"127.0.0.1:{proxy.admin}", "--token", "secret-of-the-test"]

    def page(self, proxy, path):
        request = urllib.request.Request(
            f"http://127.0.0.1:{proxy.admin}{path}", headers={"authorization": "Bearer secret-of-the-test"})
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read())

    def state(self, proxy):
        return self.page(proxy, "/rollouts?name=s")["rollouts"][0]

    def service(self, proxy):
        return self.page(proxy, "/weights")["services"][0]
