"""A process that is killed at any moment of a rollout: the next one goes on where the rollout was.

Users with sessions ask all the time. A kill raises no weight, moves no user back and loses no record. Minutes; part of
scripts/test --all. SLUICE_KILLS and SLUICE_SEED choose another number and other moments."""
import http.client, json, os, random, subprocess, tempfile, threading, unittest
from harness import BINARY, OK, Case, Proxy
from rollouts import QUICK

KILLS = int(os.environ.get("SLUICE_KILLS", "200"))
SEED = int(os.environ.get("SLUICE_SEED", "1"))
STEP = 5
USERS = 80
TOKEN = "secret-of-the-test"


def text(one, two, extra):
    # Behind each kill every connection is new, of which a small share has more a request: times are left out.
    stages = "".join(
        f"        - {{ name: at{share}, weight: {share}%, warmup: 1h }}\n" for share in range(STEP, 100, STEP))
    return f"""listeners:
  - {{ name: http, address: "127.0.0.1:0" }}
services:
  s:
    stable: v1
    versions:
      v1: {{ weight: 100%, endpoints: ["127.0.0.1:{one}"] }}
      v2: {{ weight: 0%, endpoints: ["127.0.0.1:{two}"] }}
    sticky: {{ cookie: user, issue: off, salt: test }}
routes:
  - {{ name: all, to: s }}
defaults:
  timeouts: {{ request: 200ms }}
  forwarding: {{ version: x-served-by }}
rollouts:
  directory: state
  plans:
    - service: s
      canary: v2
      guard: off
      {QUICK.replace("minRequests: 20", "minRequests: 2").replace("maxIncrease: 5%", "maxIncrease: 100%")}
      stages:
{stages}"""


class Kills(Case):
    def setUp(self):
        self.one, self.two = self.backend(OK), self.backend(OK)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        token = os.path.join(folder.name, "token")
        with open(token, "w") as file:
            file.write(TOKEN + "\n")
        self.proxy = Proxy(text(self.one.port, self.two.port, ""), admin=f'{{ address: "127.0.0.1:0", token: {token} }}')
        self.addCleanup(lambda: self.proxy.stop())
        self.random = random.Random(SEED)
        # Users are asked for one rollout: what they saw belongs to its number.
        self.lock, self.run, self.seen, self.flips, self.answers = threading.Lock(), 0, {}, [], 0
        self.stop = threading.Event()
        threads = [threading.Thread(target=self.users, args=(i,), daemon=True) for i in range(4)]
        for thread in threads:
            thread.start()
        self.addCleanup(lambda: (self.stop.set(), [thread.join() for thread in threads]))

    def users(self, part):
        connection, user, count = None, part, 0
        while not self.stop.is_set():
            # Three in four are new: a judge of sessions wants users that it has not seen.
            count += 1
            isKnown = count % 4 == 0
            user = (user + 4) % USERS if isKnown else user
            session = f"u{user}" if isKnown else f"n{part}.{os.getpid()}.{count}"
            with self.lock:
                run = self.run
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=5)
                connection.request("GET", "/", headers={"cookie": f"user={session}"})
                answer = connection.getresponse()
                answer.read()
                version = answer.getheader("x-served-by")
            except (OSError, http.client.HTTPException):
                connection = None
                self.stop.wait(0.005)
                continue
            with self.lock:
                if run != self.run or version is None:
                    continue
                self.answers += 1
                # Between two rollouts users go back, as they should.
                if not isKnown or run is None:
                    continue
                if self.seen.get(user) == "v2" and version == "v1":
                    self.flips.append((run, user))
                self.seen[user] = version

    def command(self, *arguments):
        return subprocess.run(
            [BINARY, "rollout", *arguments, "--admin", f"127.0.0.1:{self.proxy.admin}", "--token", TOKEN],
            capture_output=True, text=True)

    def state(self):
        done = self.command("status", "s", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["rollouts"][0]

    def begin(self):
        """A rollout under way, with users who begin anew."""
        state = self.state()
        # Far enough from the end that no wait for a kill outlasts the rollout.
        if state["state"] in ("watching", "applying", "entering") and state["stageIndex"] < 8:
            return state
        with self.lock:
            self.run, self.seen = None, {}
        if state["id"] is not None and state["state"] not in ("aborted", "succeeded", "not started"):
            self.assertEqual(self.command("abort", "s").returncode, 0)
            self.assertEqual(self.command("wait", "s", "--timeout", "60s").returncode, 6)
            self.assertEqual(self.state()["weightPercent"], 0)
        done = self.command("start", "s")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.command("wait", "s", "--for", "at5", "--timeout", "60s").returncode, 0)
        with self.lock:
            self.run, self.seen = self.state()["id"], {}
        return self.state()

    def test_a_kill_at_any_moment_raises_no_weight_moves_no_user_back_and_loses_no_record(self):
        stages = set()
        for kill in range(KILLS):
            self.begin()
            self.stop.wait(self.random.random() ** 2 * 8)
            before = self.state()
            self.assertIsNotNone(before["stage"], before)
            self.proxy.process.kill()
            self.proxy.process.wait()
            self.proxy.process.stderr.close()
            self.proxy.run(())
            done = self.command("wait", "s", "--for", before["stage"], "--timeout", "60s")
            after = self.state()
            told = f"kill {kill}: {before['state']} {before['stage']} → {after['state']} {after['stage']}: {after['reason']}"
            self.assertEqual(done.returncode, 0, told + done.stderr)
            self.assertEqual(after["id"], before["id"], told)
            # It may have gone one step on before the kill, and one behind the start; never further, never back.
            self.assertIn(after["stageIndex"] - before["stageIndex"], (0, 1, 2), told)
            self.assertLessEqual(after["weightPercent"], (after["stageIndex"] + 1) * STEP, told)
            with self.lock:
                self.assertEqual(self.flips, [], told)
            stages.add(before["stage"])
        self.assertGreater(len(stages), min(KILLS // 20, 5))
        self.assertGreater(self.answers, KILLS * 10)
        for line in open(os.path.join(self.proxy.folder.name, "state", "s", "journal")):
            json.loads(line)


if __name__ == "__main__":
    unittest.main()
