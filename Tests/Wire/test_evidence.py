"""What is counted of each version, and the guard, against the real binary."""
import http.client, json, os, subprocess
from harness import BINARY, OK, ROOT, Case, Demo, config, status, until


def violations(schema, value, root, path="$"):
    """Where a value is not what a JSON Schema says; of the schema language what config/evidence.schema.json uses."""
    if "$ref" in schema:
        yield from violations(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], value, root, path)
    if "oneOf" in schema:
        fits = sum(not list(violations(s, value, root, path)) for s in schema["oneOf"])
        if fits != 1:
            yield f"{path}: fits {fits} of oneOf"
    if "const" in schema and value != schema["const"]:
        yield f"{path}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    kind = schema.get("type")
    if kind and (not isinstance(value, kinds[kind]) or kind in ("integer", "number") and isinstance(value, bool)):
        yield f"{path}: {value!r} is no {kind}"
        return
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in schema.get("required", []):
            if name not in value:
                yield f"{path}: {name} is missing"
        for name, member in value.items():
            if name in known:
                yield from violations(known[name], member, root, f"{path}.{name}")
            elif schema.get("additionalProperties") is False:
                yield f"{path}: {name} is not in the schema"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{path}: {len(value)} items"
        for i, item in enumerate(value):
            yield from violations(schema.get("items", {}), item, root, f"{path}[{i}]")
    if isinstance(value, (int, float)) and value < schema.get("minimum", value):
        yield f"{path}: {value} is below {schema['minimum']}"


class Evidence(Case):
    def evidence(self, proxy):
        return json.loads(proxy.page("/evidence"))

    def versions(self, proxy, epoch=-1):
        return {v["version"]: v for v in self.evidence(proxy)["splits"][0]["epochs"][epoch]["versions"]}

    def two(self, one=OK, two=OK, **options):
        backends = [self.backend(one), self.backend(two)]
        return backends, self.start(config(backends[0].port, backends[1].port, **options))

    def test_requests_are_counted_by_version_and_epoch_over_two_workers_and_reloads(self):
        def half(head, body):
            return status(500) if len(backends[1].requests) % 2 else OK
        backends, proxy = self.two(two=half)
        self.load(proxy, 3_200)
        first = self.versions(proxy)
        self.assertEqual({n: v["requests"] for n, v in first.items()}, {"v1": 2_880, "v2": 320})
        self.assertEqual((first["v1"]["errors"], first["v2"]["errors"]), (0, 160))
        for version in first.values():
            self.assertEqual(sum(version["latency"]) + sum(version["censored"]), version["requests"])
        # A reload that leaves the weights alone goes on in the same epoch.
        proxy.reload()
        self.load(proxy, 320)
        self.assertEqual(self.versions(proxy)["v1"]["requests"], 2_880 + 288)
        proxy.write(config(backends[0].port, backends[1].port, weights=("50%", "50%")))
        proxy.reload()
        self.load(proxy, 320)
        self.assertEqual({n: v["requests"] for n, v in self.versions(proxy).items()}, {"v1": 160, "v2": 160})
        self.assertEqual(self.versions(proxy, 0)["v1"]["requests"], 2_880 + 288)
        page = self.evidence(proxy)
        self.assertEqual([e["epoch"] for e in page["splits"][0]["epochs"]], [1, 2])
        self.assertEqual(page["splits"][0]["lost"], 0)
        self.assertEqual(sum(len(b.requests) for b in backends), 3_840)

    def test_a_real_answer_is_what_its_schema_says(self):
        with open(os.path.join(ROOT, "config", "evidence.schema.json")) as file:
            schema = json.load(file)
        _, proxy = self.two(two=status(500), service="    guard: on\n    sticky: { cookie: id, issue: off }")
        self.load(proxy, 640)
        page = until(lambda: (p := self.evidence(proxy)) and p["trips"] and p)
        self.assertEqual(list(violations(schema, page, schema)), [])
        # The validator itself finds what is wrong.
        page["splits"][0]["epochs"][0]["versions"][0]["requests"] = -1
        del page["trips"][0]["cause"]
        page["more"] = 1
        self.assertEqual(len(list(violations(schema, page, schema))), 3)

    def test_the_same_evidence_has_the_same_tag(self):
        _, proxy = self.two()
        self.load(proxy, 32)
        def ask(**headers):
            connection = http.client.HTTPConnection("127.0.0.1", proxy.metrics_port, timeout=20)
            connection.request("GET", "/evidence", headers=headers)
            response = connection.getresponse()
            return response.status, response.getheader("etag"), response.read()
        code, tag, body = ask()
        self.assertEqual(code, 200)
        self.assertEqual(ask(**{"If-None-Match": tag}), (304, tag, b""))
        self.assertEqual(ask(**{"If-None-Match": f'"x", {tag}'})[0], 304)
        self.load(proxy, 16)
        code, other, body = ask(**{"If-None-Match": tag})
        self.assertEqual(code, 200)
        self.assertNotEqual(other, tag)

    def test_the_command_shows_versions_side_by_side(self):
        _, proxy = self.two(two=status(500))
        self.load(proxy, 320)
        admin = ["--admin", f"127.0.0.1:{proxy.admin}"]
        text = subprocess.run([BINARY, "evidence", *admin], capture_output=True, text=True, check=True).stdout
        lines = [line.split() for line in text.splitlines()]
        self.assertEqual(lines[0], ["route", "rest", "service", "s", "epoch", "1"])
        self.assertEqual(lines[2][:6], ["v1", "*", "90.00", "%", "288", "0"])
        self.assertEqual(lines[3][:7], ["v2", "10.00", "%", "32", "32", "100.00", "%"])
        page = subprocess.run([BINARY, "evidence", "--json", *admin], capture_output=True, text=True, check=True).stdout
        self.assertEqual(json.loads(page), self.evidence(proxy))


class Guard(Case):
    def tripped(self, proxy):
        return self.clusters(proxy, "v2").get("guard", {}).get("tripped")

    def test_a_version_that_answers_500_is_off_after_20_of_its_requests_and_comes_back_by_a_reset(self):
        good, bad = self.backend(), self.backend(status(500))
        text = config(good.port, bad.port, weights=("95%", "5%"), service="    guard: on")
        proxy = self.start(text)
        results = self.load(proxy, 3_200)
        self.assertLessEqual(len(bad.requests), 20)
        self.assertEqual(results[("500", "")], len(bad.requests))
        self.assertTrue(self.tripped(proxy))
        self.assertEqual(proxy.metric('sluice_guard_trips_total.*version="v2"'), 1)
        self.assertEqual(proxy.metric('sluice_guard_tripped.*version="v2"'), 1)
        self.assertGreater(proxy.metric('sluice_requests_total.*assign="fallback"'), 100)
        line = until(lambda: next((l for l in proxy.log if "guard took a version out" in l), None))
        for word in ("version=v2", "cause=errors", "versionErrors=", "limit="):
            self.assertIn(word, line)
        # A reload, with other weights too, leaves it out.
        count = len(bad.requests)
        proxy.write(config(good.port, bad.port, weights=("50%", "50%"), service="    guard: on"))
        proxy.reload()
        self.assertEqual(self.load(proxy, 320)[("200", "")], 320)
        self.assertEqual(len(bad.requests), count)
        bad.answer = OK
        done = subprocess.run(
            [BINARY, "guard", "reset", "s", "--admin", f"127.0.0.1:{proxy.admin}"], capture_output=True, text=True, check=True)
        self.assertEqual(json.loads(done.stdout), {"service": "s", "reset": ["v2"]})
        self.load(proxy, 320)
        self.assertEqual(len(bad.requests), count + 160)
        unknown = subprocess.run(
            [BINARY, "guard", "reset", "t", "--admin", f"127.0.0.1:{proxy.admin}"], capture_output=True, text=True)
        self.assertEqual(unknown.returncode, 1)
        self.assertIn("no service", unknown.stdout)

    def test_a_killed_version_is_off_after_20_requests(self):
        one, two = Demo("v1"), Demo("v2")
        for demo in (one, two):
            self.addCleanup(demo.stop)
        proxy = self.start(config(one.port, two.port, weights=("80%", "20%"), service="    guard: on"))
        self.load(proxy, 320)
        two.process.kill()
        two.process.wait()
        results = self.load(proxy, 3_200)
        failed = sum(n for (code, _), n in results.items() if code != "200")
        # Those under way at the kill are 16 at most, and are among the first to count.
        self.assertGreater(failed, 0)
        self.assertLessEqual(failed, 20 + 16)
        self.assertTrue(self.tripped(proxy))
        self.assertEqual(self.load(proxy, 320)[("200", "v1")] + self.load(proxy, 320)[("200", "v1")], 640)

    def test_a_weight_of_0_in_force_ends_a_trip(self):
        good, bad = self.backend(), self.backend(status(500))
        proxy = self.start(config(good.port, bad.port, weights=("50%", "50%"), service="    guard: on"))
        self.load(proxy, 320)
        self.assertTrue(self.tripped(proxy))
        proxy.write(config(good.port, bad.port, weights=("100%", "0%"), service="    guard: on"))
        proxy.reload()
        until(lambda: not self.tripped(proxy))
        self.assertTrue(until(lambda: any("guard reset by the configuration" in l for l in proxy.log)))
