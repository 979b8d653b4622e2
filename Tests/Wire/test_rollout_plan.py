"""Plans of rollouts at the command line and on the admin pages: what init prints, what validate refuses, and what is shown."""
import json, os, subprocess, tempfile, unittest
from harness import BINARY, OK, Origin, Proxy, answering

FILE = """listeners:
  - {{ name: http, address: "127.0.0.1:0" }}
services:
  shop:
    stable: v1
    versions:
      v1: {{ weight: 1, endpoints: ["127.0.0.1:{port}"] }}
      v2: {{ weight: 0, endpoints: ["127.0.0.1:{port}"], revision: 1.4.2 }}
routes:
  - {{ name: all, to: shop }}
"""
PLAN = """rollouts:
  directory: state
  plans:
    - service: shop
      canary: v2
      stages:
        - { weight: 5%, window: "WINDOW" }
        - { name: all, weight: 100%, holdBack: 2%, watch: 10m }
"""


class RolloutPlan(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, text):
        path = os.path.join(self.folder.name, "sluice.yaml")
        with open(path, "w") as file:
            file.write(text)
        return path

    def sluice(self, *arguments):
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60)

    def test_the_lines_of_init_make_a_valid_file(self):
        path = self.file(FILE.format(port=1))
        run = self.sluice("rollout", "init", "shop", "-c", path)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertIn("canary: v2", run.stdout)
        with open(path, "a") as file:
            file.write(run.stdout)
        run = self.sluice("validate", "-c", path)
        self.assertEqual((run.returncode, "warning" in run.stdout), (0, False), run.stdout)

    def test_init_says_what_to_do_where_there_is_no_plan_to_be_written(self):
        path = self.file(FILE.format(port=1))
        for arguments, words in ((("shopp",), 'did you mean "shop"?'), (("shop", "--canary", "v1"), "is the stable version")):
            run = self.sluice("rollout", "init", *arguments, "-c", path)
            self.assertEqual((run.returncode, run.stdout), (2, ""))
            self.assertIn(words, run.stderr)

    def test_an_unknown_zone_and_a_name_without_meaning_are_errors_at_their_places(self):
        text = FILE.format(port=1)
        run = self.sluice("validate", "-c", self.file(text + PLAN.replace("WINDOW", "09:00-10:00 Europe/Berlinn")))
        self.assertEqual(run.returncode, 2)
        self.assertRegex(run.stdout, r':17:33: error: there is no time zone named "Europe/Berlinn"')
        run = self.sluice("validate", "-c", self.file(text + PLAN.replace('window: "WINDOW"', "when: 'brunch == \"main\"'")))
        self.assertEqual(run.returncode, 2)
        self.assertRegex(run.stdout, r':17:32: error: when knows no "brunch"')
        self.assertIn('did you mean "branch"?', run.stdout)

    def test_the_process_shows_plans_revisions_and_windows(self):
        origin = Origin(answering(OK))
        self.addCleanup(origin.close)
        proxy = Proxy(FILE.format(port=origin.port) + PLAN.replace("WINDOW", "00:00-24:00 Europe/Berlin"))
        self.addCleanup(proxy.stop)
        document = json.loads(proxy.page("/config", proxy.admin))["configuration"]
        plan = document["rollouts"]["plans"][0]
        self.assertEqual([stage["weight"] for stage in plan["stages"]], ["5%", "100%"])
        self.assertEqual([version["revision"] for version in document["services"][0]["versions"]], [None, "1.4.2"])
        explanation = json.loads(proxy.page("/explain?method=GET&url=/", proxy.admin))
        self.assertEqual(explanation["plans"], [
            "shop: v2 (revision 1.4.2) by 5 %, 100 % (2 % held back); starts by hand",
            "  stage 5: entered only 00:00-24:00 Europe/Berlin: open now",
            "  stage all: watched for 10m",
        ])


if __name__ == "__main__":
    unittest.main()
