"""Sessions: where they begin in a fleet, whose cookie counts, and what a configuration is warned about."""
import os, re, subprocess, tempfile, unittest
from harness import BINARY, Case, config, endpoints, until

VERSION = "defaults: { forwarding: { version: x-v } }"


def cookie(response, name="sid"):
    """The cookie that an answer sets, as a client sends it back."""
    for line in response.headers.get_all("set-cookie") or []:
        if line.startswith(name + "="):
            return line.split(";")[0]
    return None


class Sessions(Case):
    def keys(self, *keys):
        file = tempfile.NamedTemporaryFile("w", suffix=".keys")
        self.addCleanup(file.close)
        file.write("".join(key * 32 + "\n" for key in keys))
        file.flush()
        return file.name

    def sticky(self, weights=("50%", "50%"), keys=None, issue="sid"):
        keys = f", keys: {keys}" if keys else ""
        return config(self.backend().port, self.backend().port, weights, service=f"    sticky: {{ issue: {issue}{keys} }}",
                      extra=VERSION)

    def positions(self, *options, count=4):
        proxy = self.start(self.sticky(("100%", "0%")), *options)
        # Eleven characters of the value are the format, the position and a little more: not the time.
        return [cookie(proxy.get())[:len("sid=") + 11] for _ in range(count)]

    def test_processes_begin_at_positions_of_their_own(self):
        all = [position for _ in range(4) for position in self.positions()]
        self.assertEqual(len(set(all)), 16)

    def test_a_seed_makes_them_begin_alike(self):
        self.assertEqual(self.positions("--seed", "7"), self.positions("--seed", "7"))
        self.assertNotEqual(self.positions("--seed", "7"), self.positions("--seed", "8"))

    def test_changed_weights_place_no_session_where_another_is(self):
        proxy = self.start(self.sticky(("100%", "0%")))
        seen = []
        for n in range(5):
            seen += [cookie(proxy.get())[:len("sid=") + 11] for _ in range(4)]
            proxy.write(self.sticky((f"{99 - n}%", f"{1 + n}%")))
            proxy.reload()
        self.assertEqual(len(set(seen)), 20)

    def test_a_reload_that_moves_users_whom_the_weights_do_not_move_is_warned_of(self):
        port = self.backend().port
        def text(*versions):
            lines = "".join(f"\n      {name}: {{ weight: {weight}%, endpoints: {endpoints(port)} }}" for name, weight in versions)
            return ('\nlisteners: [{ name: http, address: "127.0.0.1:0" }]\nservices:\n  s:\n    stable: v1\n'
                    f"    sticky: {{ issue: sid }}\n    versions:{lines}\nroutes: [{{ name: all, to: s }}]\n")
        proxy = self.start(text(("v1", 90), ("v2", 10), ("v3", 0)))
        for versions, users in (((("v1", 80), ("v2", 10), ("v3", 10)), None), ((("v1", 90), ("v2", 0), ("v3", 10)), None),
                                ((("v1", 90), ("v3", 10)), "20.00 %")):
            seen = len(proxy.log)
            proxy.write(text(*versions))
            proxy.reload()
            until(lambda: any("configuration reloaded" in line for line in proxy.log[seen:]))
            warnings = [line for line in proxy.log[seen:] if "users move" in line]
            self.assertEqual(len(warnings), 1 if users else 0, warnings)
            if users:
                self.assertIn(f'route=all users="{users}" cause="v3 is number 1 of the versions beside the stable one', warnings[0])

    def test_a_genuine_cookie_is_found_wherever_it_stands(self):
        ours, theirs = self.keys("a"), self.keys("b")
        proxy, other = self.start(self.sticky(keys=ours)), self.start(self.sticky(keys=theirs))
        for _ in range(4):
            first = proxy.get()
            own, forged = cookie(first), cookie(other.get())
            for cookies in ([own], [forged, own], [f"{forged}; {own}"], [f"a=b; sid=; {own}"], [f"{own}; {forged}"],
                            ["x=y", f"sid=\"; {forged}", f"c=d; {own}"]):
                lines = "".join(f"Cookie: {line}\r\n" for line in cookies)
                answer = proxy.raw(f"GET / HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n".encode()).decode()
                self.assertIn(f"x-v: {first.headers['x-v']}\r\n", answer.lower(), cookies)
                self.assertNotIn("set-cookie", answer.lower(), cookies)
            self.assertIsNotNone(cookie(proxy.get(headers={"Cookie": forged})))
        self.assertGreater(proxy.metric("sluice_sticky_cookies_rejected_total"), 0)

    def two(self, first_keys, second_keys):
        """Two services behind one host that issue the cookie `sid`."""
        def service(name, keys):
            keys = f", keys: {keys}" if keys else ""
            one, two = endpoints(self.backend().port), endpoints(self.backend().port)
            return (f"  {name}: {{ stable: v1, versions: {{ v1: {{ weight: 50%, endpoints: {one} }}, "
                    f"v2: {{ weight: 50%, endpoints: {two} }} }}, sticky: {{ issue: sid{keys} }} }}\n")
        return ('listeners: [{ name: http, address: "127.0.0.1:0" }]\nservices:\n' + service("a", first_keys)
                + service("b", second_keys) + "routes: [{ name: b, match: { path: { prefix: /b } }, to: b }, "
                "{ name: a, to: a }]\ndrain: { delay: 0s, grace: 5s }\n" + VERSION + "\n")

    def test_two_services_with_one_cookie_take_no_session_from_each_other(self):
        one, two = self.keys("1"), self.keys("2")
        for pair in ((one, two), (one, None), (None, two)):
            proxy = self.start(self.two(*pair))
            for _ in range(4):
                jar, seen, sets = "", {"a": set(), "b": set()}, 0
                for n in range(12):
                    answer = proxy.get("/" + "ab"[n % 2], {"Cookie": jar} if jar else {})
                    sets += cookie(answer) is not None
                    jar = cookie(answer) or jar
                    seen["ab"[n % 2]].add(answer.headers["x-v"])
                self.assertEqual((len(seen["a"]), len(seen["b"]), sets), (1, 1, 1), pair)
            # A key that neither has is as good as none.
            forged = cookie(self.start(self.sticky(keys=self.keys("3"))).get())
            self.assertIsNotNone(cookie(proxy.get("/a", {"Cookie": forged})))
            self.assertIsNotNone(cookie(proxy.get("/b", {"Cookie": forged})))


class Warnings(unittest.TestCase):
    def run_on(self, text, *command):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s.yaml")
            with open(path, "w") as file:
                file.write(text)
            for name in ("k1", "k2"):
                with open(os.path.join(folder, name), "w") as file:
                    file.write(name[1] * 32 + "\n")
            run = subprocess.run([BINARY, command[0], "-c", path, *command[1:]], capture_output=True, text=True, timeout=30)
            return run.returncode, run.stdout + run.stderr

    def sticky(self, text):
        return config(1, 2, service=f"    sticky: {text}")

    def test_sessions_that_nobody_keeps_from_their_first_request_on(self):
        for text, warned in (("{ cookie: session }", True), ("{ header: x-user }", True),
                             ("{ cookie: session, issue: off }", False), ("{ cookie: session, issue: sid, keys: k1 }", False)):
            code, out = self.run_on(self.sticky(text), "validate")
            self.assertEqual(code, 0, out)
            self.assertEqual("its second may go to another version" in out, warned, text)
            if warned:
                self.assertRegex(out, r"s\.yaml:\d+:\d+: warning: ")
                self.assertIn("add issue: NAME", out)

    def test_explain_says_whether_the_next_request_agrees(self):
        _, out = self.run_on(self.sticky("{ cookie: session }"), "explain", "GET", "/")
        self.assertIn("may go to another version", out)
        _, out = self.run_on(self.sticky("{ cookie: session, issue: sid }"), "explain", "GET", "/")
        self.assertIn('then the cookie "sid" keeps it', out)
        _, out = self.run_on(self.sticky("{ cookie: session }"), "explain", "GET", "/", "-H", "cookie: session=a")
        self.assertIn("assign sticky", out)

    def test_one_cookie_of_two_services(self):
        def text(one, two, names=("sid", "sid")):
            return ('listeners: [{ name: http, address: "127.0.0.1:0" }]\nservices:\n' + "".join(
                f"  {s}: {{ stable: v1, versions: {{ v1: {{ endpoints: ['127.0.0.1:1'] }} }}, "
                f"sticky: {{ issue: {name}{', keys: ' + keys if keys else ''} }} }}\n"
                for s, keys, name in (("a", one, names[0]), ("b", two, names[1]))) + "routes: [{ name: a, to: a }]\n")
        for case, warned in ((text("k1", "k2"), True), (text("k1", None), True), (text("k1", "k1"), False),
                             (text("k1", "k2", ("x", "y")), False)):
            code, out = self.run_on(case, "validate")
            self.assertEqual(code, 0, out)
            self.assertEqual('issue the cookie "sid" with different keys' in out, warned, case)


if __name__ == "__main__":
    unittest.main()
