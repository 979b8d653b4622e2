"""What is counted of each version, and the guard, against the real binary."""
import base64, collections, http.client, json, os, subprocess, tempfile, threading, urllib.request
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
    if isinstance(value, (int, float)) and value > schema.get("maximum", value):
        yield f"{path}: {value} is above {schema['maximum']}"


def places(coded):
    """The set of places that /evidence tells, as docs/evidence.md says that it is to be read."""
    bits = "".join(f"{byte:08b}" for byte in base64.b64decode(coded["gaps"], validate=True))
    at, place, low, found = 0, -1, coded["remainderBits"], set()
    for _ in range(coded["count"]):
        one = bits.index("1", at)
        place += ((one - at) << low) + int(bits[one + 1:one + 1 + low] or "0", 2) + 1
        at = one + 1 + low
        found.add(place)
    assert len(bits) - at < 8 and "1" not in bits[at:], "nothing but padding is left"
    return found


def xxh64(data, seed):
    """XXH64 of fewer than 32 bytes, by its specification."""
    p1, p2, p3, p4, p5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
    full = (1 << 64) - 1
    def turn(x, r):
        return (x << r | x >> 64 - r) & full
    h = (seed + p5 + len(data)) & full
    while len(data) >= 8:
        word, data = int.from_bytes(data[:8], "little"), data[8:]
        h = (turn(h ^ turn(word * p2 & full, 31) * p1 & full, 27) * p1 + p4) & full
    if len(data) >= 4:
        h = (turn(h ^ int.from_bytes(data[:4], "little") * p1 & full, 23) * p2 + p3) & full
        data = data[4:]
    for byte in data:
        h = turn(h ^ byte * p5 & full, 11) * p1 & full
    h = (h ^ h >> 33) * p2 & full
    h = (h ^ h >> 29) * p3 & full
    return h ^ h >> 32


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
            found = response.status, response.getheader("etag"), response.read()
            connection.close()
            return found
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


class Sessions(Case):
    """Users as places: what a controller joins over the sidecars of a fleet."""

    def sticky(self, text, *options, two=status(500)):
        return self.start(config(
            self.backend().port, self.backend(two).port, ("75%", "25%"), service=f"    sticky: {text}",
            extra="defaults: { forwarding: { version: x-v } }"), *options)

    def sessions(self, proxy):
        """What the page has of sessions, its one entry or, by their epochs, two."""
        return json.loads(proxy.page("/evidence"))["sessions"]

    def seen(self, proxy, count):
        """The entry of the epoch in force, once so many places are seen: a request counts behind its answer."""
        return until(lambda: (e := self.sessions(proxy)[-1]) and e["seen"]["count"] == count and e)

    def cookie(self, answer):
        return answer.getheader("set-cookie").split(";")[0]

    def test_a_users_place_is_seen_and_failed_where_the_hash_of_the_cookie_puts_it(self):
        proxy = self.sticky("{ cookie: id, issue: off, salt: pepper }")
        users = [f"user{n}" for n in range(200)]
        failed = set()
        for user in users * 2:
            answer = proxy.get(headers={"Cookie": f"id={user}"})
            if answer.getheader("x-v") == "v2":
                self.assertEqual(answer.status, 500)
                failed.add(user)
        seed = xxh64(b"pepper", 0)
        place = {user: xxh64(user.encode(), seed) >> 44 for user in users}
        entry = self.seen(proxy, len(set(place.values())))
        self.assertEqual((entry["service"], entry["epoch"], entry["routes"]), ("s", 1, ["rest"]))
        self.assertEqual(places(entry["seen"]), set(place.values()))
        self.assertEqual(places(entry["failed"]), {place[user] for user in failed})
        ranges = {v["version"]: range(v["firstPlace"], v["firstPlace"] + v["places"]) for v in entry["versions"]}
        self.assertEqual(ranges, {"v1": range(1 << 18, 1 << 20), "v2": range(0, 1 << 18)})
        for user in users:
            self.assertIn(place[user], ranges["v2" if user in failed else "v1"])
        # The numbers beside the versions, and the table, are the same sets counted.
        counts = {v["version"]: v["sessions"] for v in json.loads(proxy.page("/evidence"))["splits"][0]["epochs"][0]["versions"]}
        for version, own in ranges.items():
            self.assertEqual(counts[version], {
                "seen": len(places(entry["seen"]) & set(own)), "failed": len(places(entry["failed"]) & set(own))})
        admin = ["--admin", f"127.0.0.1:{proxy.admin}"]
        text = subprocess.run([BINARY, "evidence", *admin], capture_output=True, text=True, check=True).stdout
        lines = [line.split() for line in text.splitlines()]
        self.assertEqual(lines[1][-2:], ["sessions", "failed"])
        self.assertEqual([line[-2:] for line in lines[2:4]], [
            [str(counts[v]["seen"]), str(counts[v]["failed"])] for v in ("v1", "v2")])

    def test_processes_with_one_key_agree_on_each_users_place_and_those_with_another_do_not(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as ours, tempfile.NamedTemporaryFile("w", suffix=".keys") as theirs:
            for file, digit in ((ours, "a"), (theirs, "b")):
                file.write(digit * 32 + "\n")
                file.flush()
            # Where new users begin is chance, and two might be at one place; seeds take the chance away.
            one, two = (self.sticky(f"{{ issue: sid, keys: {ours.name} }}", "--seed", seed) for seed in "12")
            other = self.sticky(f"{{ issue: sid, keys: {theirs.name} }}", "--seed", "3")
            first = [one.get() for _ in range(60)]
            cookies = [self.cookie(answer) for answer in first]
            for sidecar in (two, other):
                for cookie in cookies:
                    sidecar.get(headers={"Cookie": cookie})
            mine, same, others = (self.seen(proxy, 60) for proxy in (one, two, other))
            self.assertEqual(mine["seen"], same["seen"])
            self.assertEqual(mine["failed"], same["failed"])
            self.assertEqual(mine["failed"]["count"], sum(answer.status == 500 for answer in first))
            self.assertEqual(mine["versions"], same["versions"])
            self.assertFalse(places(mine["seen"]) & places(others["seen"]))

    def test_an_epoch_has_sets_of_its_own_and_the_one_before_keeps_its(self):
        proxy = self.sticky("{ cookie: id, issue: off }")
        for n in range(30):
            proxy.get(headers={"Cookie": f"id=user{n}"})
        before = self.seen(proxy, 30)
        with open(proxy.path) as file:
            text = file.read().split("\n", 2)[2]
        proxy.write(text.replace("weight: 75%", "weight: 50%").replace("weight: 25%", "weight: 50%"))
        proxy.reload()
        old, new = self.sessions(proxy)
        self.assertEqual(old, before)
        self.assertEqual((new["epoch"], new["seen"]["count"], new["failed"]["count"]), (2, 0, 0))
        for n in range(20):
            proxy.get(headers={"Cookie": f"id=user{n}"})
        self.assertLess(places(self.seen(proxy, 20)["seen"]), places(before["seen"]))
        self.assertEqual(self.sessions(proxy)[0], before)

    def test_new_users_change_the_tag_and_users_who_come_again_change_no_set(self):
        proxy = self.sticky("{ cookie: id, issue: off }", two=OK)
        def page():
            with urllib.request.urlopen(f"http://127.0.0.1:{proxy.metrics_port}/evidence", timeout=20) as answer:
                return answer.headers["etag"], json.loads(answer.read())["sessions"]
        tags = set()
        for n in range(5):
            proxy.get(headers={"Cookie": f"id=user{n}"})
            self.seen(proxy, n + 1)
            tags.add(page()[0])
        self.assertEqual(len(tags), 5)
        before = page()[1]
        for n in range(5):
            proxy.get(headers={"Cookie": f"id=user{n}"})
        until(lambda: sum(v["requests"] for v in json.loads(
            proxy.page("/evidence"))["splits"][0]["epochs"][0]["versions"]) == 10)
        self.assertEqual(page()[1], before)


class Truth(Case):
    """Evidence against what origins and clients counted themselves."""

    FATES = {3: "error", 7: "retry", 11: "refuse", 13: "leave", 17: "retry", 19: "hang"}
    CLIENTS, EACH = 8, 600

    def text(self, epoch, weights, idle):
        route = (
            'routes: [{ name: rest, to: s, headers: { request: { set: { x-epoch: "%d" } } }, '
            "timeouts: { firstByte: 300ms, idle: %ds }, retries: { attempts: 1, on: [5xx], backoff: 1ms } }]" % (epoch, idle))
        return config(
            self.one.port, self.two.port, weights, routes=route, extra="defaults: { retries: { budget: unlimited } }")

    def answer(self, version):
        def answer(head, body):
            fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:])
            fate = fields["x-fate"]
            with self.lock:
                story = self.stories.setdefault(fields["x-id"], {"version": version, "epoch": int(fields["x-epoch"]), "fate": fate, "attempts": 0})
                self.assertEqual((story["version"], story["epoch"]), (version, int(fields["x-epoch"])))
                story["attempts"] += 1
                first = story["attempts"] == 1
                self.arrived.notify_all()
            if fate == "error" or fate == "retry" and first:
                return status(503)
            if fate == "refuse":
                return status(404)
            if fate in ("hang", "leave"):
                return (self.one if version == "v1" else self.two).hang(head, body)
            return OK
        return answer

    def client(self, proxy, n):
        connection = proxy.connect()
        file = connection.makefile("rb")
        for i in range(self.EACH):
            fate = self.FATES.get(i % 25, "fine")
            # One in fifty that hangs is enough: each takes its time limit.
            if fate == "hang" and i % 50 != 19:
                fate = "fine"
            connection.sendall(f"GET / HTTP/1.1\r\nHost: a\r\nx-id: {n}-{i}\r\nx-fate: {fate}\r\n\r\n".encode())
            if fate == "leave":
                with self.lock:
                    self.assertTrue(self.arrived.wait_for(lambda: f"{n}-{i}" in self.stories, 20))
                file.close()
                connection.close()
                connection = proxy.connect()
                file = connection.makefile("rb")
                continue
            code = int(file.readline().split()[1])
            length = 0
            while (line := file.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            file.read(length)
            with self.lock:
                self.answers[code] += 1
        file.close()
        connection.close()

    def expected(self, epoch):
        found = {v: {"requests": 0, "errors": 0, "clientErrors": 0, "firstErrors": 0, "left": 0} for v in ("v1", "v2")}
        with self.lock:
            for story in self.stories.values():
                if story["epoch"] == epoch:
                    counts, fate = found[story["version"]], story["fate"]
                    counts["requests"] += 1
                    counts["errors"] += fate in ("error", "hang")
                    counts["firstErrors"] += fate in ("error", "hang", "retry")
                    counts["clientErrors"] += fate == "refuse"
                    counts["left"] += fate in ("hang", "leave")
        return found

    def counted(self, proxy, epoch):
        split = json.loads(proxy.page("/evidence"))["splits"][0]
        for found in split["epochs"]:
            if found["epoch"] == epoch:
                return {v["version"]: {k: v[k] for k in ("requests", "errors", "clientErrors", "firstErrors", "left")} for v in found["versions"]}

    def test_evidence_is_what_origins_and_clients_counted_over_retries_clients_that_leave_timeouts_and_new_weights(self):
        self.lock = threading.Lock()
        self.arrived = threading.Condition(self.lock)
        self.stories, self.answers = {}, collections.Counter()
        self.one, self.two = self.backend(self.answer("v1")), self.backend(self.answer("v2"))
        proxy = self.start(self.text(1, ("95%", "5%"), 60))
        threads = [threading.Thread(target=self.client, args=(proxy, n)) for n in range(self.CLIENTS)]
        for thread in threads:
            thread.start()
        total = self.CLIENTS * self.EACH
        def seen(part):
            return len(self.stories) >= total * part
        until(lambda: seen(0.2), limit=60)
        proxy.write(self.text(1, ("95%", "5%"), 61))
        proxy.reload()
        until(lambda: seen(0.35), limit=60)
        proxy.write(self.text(2, ("80%", "20%"), 61))
        proxy.reload()
        # The first epoch is whole once its last request has ended, with load on the second.
        until(lambda: self.counted(proxy, 1) == self.expected(1), limit=60)
        until(lambda: seen(0.6), limit=60)
        proxy.write(self.text(3, ("90%", "10%"), 61))
        proxy.reload()
        until(lambda: seen(0.8), limit=60)
        proxy.write(self.text(3, ("90%", "10%"), 62))
        proxy.reload()
        for thread in threads:
            thread.join()
        for epoch in (2, 3):
            # A request counts together with its end, so that nothing of it is missing once it is there.
            until(lambda: all(v["requests"] >= self.expected(epoch)[n]["requests"] for n, v in self.counted(proxy, epoch).items()))
            self.assertEqual(self.counted(proxy, epoch), self.expected(epoch))
            for version in self.expected(epoch).values():
                self.assertGreater(version["requests"], 20)
        page = json.loads(proxy.page("/evidence"))
        self.assertEqual(page["splits"][0]["lost"], 0)
        self.assertEqual(len(self.stories), total)
        fates = collections.Counter(story["fate"] for story in self.stories.values())
        self.assertEqual(self.answers, {
            200: fates["fine"] + fates["retry"], 503: fates["error"], 404: fates["refuse"], 504: fates["hang"]})


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
        for weights in [("95%", "5%"), ("80%", "20%")]:
            with self.subTest(weights):
                self.kill(weights)

    def kill(self, weights):
        one, two = Demo("v1"), Demo("v2")
        for demo in (one, two):
            self.addCleanup(demo.stop)
        proxy = self.start(config(one.port, two.port, weights=weights, service="    guard: on"))
        self.load(proxy, 320)
        two.process.kill()
        two.process.wait()
        results = self.load(proxy, 3_200)
        failed = sum(n for (code, _), n in results.items() if code != "200")
        # Those under way at the kill are 16 at most, and are among the first to count.
        self.assertGreater(failed, 0)
        self.assertLessEqual(failed, 20 + 16)
        self.assertTrue(self.tripped(proxy))
        # The endpoint stays away: without the guard a part of these would fail.
        after = self.load(proxy, 640)
        self.assertEqual(sum(n for (code, _), n in after.items() if code == "200"), 640)

    def test_a_weight_of_0_in_force_ends_a_trip(self):
        good, bad = self.backend(), self.backend(status(500))
        proxy = self.start(config(good.port, bad.port, weights=("50%", "50%"), service="    guard: on"))
        self.load(proxy, 320)
        self.assertTrue(self.tripped(proxy))
        proxy.write(config(good.port, bad.port, weights=("100%", "0%"), service="    guard: on"))
        proxy.reload()
        until(lambda: not self.tripped(proxy))
        self.assertTrue(until(lambda: any("guard reset by the configuration" in l for l in proxy.log)))
