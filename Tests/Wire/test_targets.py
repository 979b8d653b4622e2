"""Paths as clients send them, and how far a request may go: over either version on both sides."""
import json, subprocess, tempfile, unittest
from frames import DATA, Client
from harness import BINARY, OK, Case, answering, config, Origin, until

# What browsers and scripts leave as it is, and what it is matched as.
RAW = [(b"|", "%7C"), (b"[", "%5B"), (b"]", "%5D"), (b"^", "%5E"), (b'"', "%22"), (b"{", "%7B"), (b"}", "%7D"), (b"\\", "%5C"),
       (b"<", "%3C"), (b">", "%3E"), (b"`", "%60"), (b"%", "%25"), (b"%z", "%25z"), ("é".encode(), "%C3%A9"), (b"\xff", "%FF")]
ROUTES = """routes:
  - { name: bar, match: { path: { prefix: /bar%7Cs } }, to: s, rewrite: { prefix: /to } }
  - { name: accent, match: { path: { exact: /caf%C3%A9 } }, to: s, headers: { request: { set: { x-route: accent } } } }
  - { name: percent, match: { path: { exact: /100%25 } }, to: s, headers: { request: { set: { x-route: percent } } } }
  - { name: word, match: { path: { regex: "/w%5B[0-9]+%5D" } }, to: s, headers: { request: { set: { x-route: word } } } }
  - { name: away, match: { path: { prefix: /away } }, redirect: { host: b.test } }
  - { name: moved, match: { path: { prefix: /moved } }, redirect: { prefix: /new } }
  - { name: admin, match: { path: { prefix: /admin } }, respond: { status: 403 } }
  - { name: rest, to: s }"""


class Targets(Case):
    def setUp(self):
        self.origin = Origin(answering(OK))
        self.addCleanup(self.origin.close)

    def chain(self, text=None, **more):
        """A proxy before an origin of HTTP/1.1, and one that speaks HTTP/2 to it."""
        near = self.start(config(self.origin.port, **more))
        far = self.start(config(near.port, service="    protocol: http2"))
        return near, far

    def target(self):
        return self.origin.heads[-1].split(" ")[1]

    def status(self, proxy, path, *fields):
        head = b"GET " + path + b" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" + b"".join(f + b"\r\n" for f in fields)
        return proxy.raw(head + b"\r\n")

    def test_a_path_goes_on_as_it_came_over_either_version(self):
        for proxy in self.chain():
            for raw, _ in RAW:
                with self.subTest(raw=raw):
                    path = b"/a" + raw + b"b" + raw + b"?q" + raw
                    self.assertEqual(self.status(proxy, path)[:12], b"HTTP/1.1 200")
                    self.assertEqual(self.target(), path.decode("latin-1"))
                    if raw[0] < 0x80:  # The client's library takes text.
                        client = Client(proxy.port)
                        client.request(path=path.decode())
                        self.assertEqual(client.outcome(), "200")
                        self.assertEqual(self.target(), path.decode())
                        client.close()
            client = Client(proxy.port)
            client.request(path="/café?é")
            self.assertEqual(client.outcome(), "200")
            self.assertEqual(self.target().encode("latin-1").decode(), "/café?é")
            client.close()

    def test_controls_a_space_and_a_fragment_stay_refused(self):
        near, _ = self.chain()
        for bad in (b"/a b", b"/a\tb", b"/a\x01", b"/a\x7f", b"/a#b", b"/a?b#c", b"/a%00", b"/|%00", b"/|/../..", b"\\a"):
            with self.subTest(bad=bad):
                self.assertEqual(self.status(near, bad)[:12], b"HTTP/1.1 400")
                client = Client(near.port)
                client.request(path=bad.decode())
                self.assertIn(client.outcome(), ("400", "rst PROTOCOL_ERROR"))
                client.close()
        self.assertEqual(self.origin.heads, [])

    def test_raw_and_escaped_characters_match_alike(self):
        proxy = self.start(config(self.origin.port, routes=ROUTES))
        for route, spellings in (
                ("accent", ("/café".encode(), b"/caf%C3%A9", b"/caf%c3%a9", b"/x/../caf\xc3%a9")),
                ("percent", (b"/100%", b"/100%25", b"//100%")),
                ("word", (b"/w[12]", b"/w%5b12%5D", b"/w[12%5D"))):
            for path in spellings:
                self.status(proxy, path)
                self.assertIn(f"x-route: {route}", self.origin.heads[-1], path)
                self.assertEqual(self.target(), path.decode("latin-1"))
                explained = subprocess.run([BINARY, "explain", "-c", proxy.path, "GET", path], capture_output=True)
                if path != b"/x/../caf\xc3%a9":  # An argument is text.
                    self.assertIn(f"route     {route} ".encode(), explained.stdout, explained.stderr)
        # A rewrite writes the normal form.
        self.status(proxy, b"/bar|s/a|\xc3\xa9/%7e?q|")
        self.assertEqual(self.target(), "/to/a%7C%C3%A9/~?q|")

    def test_no_spelling_leads_around_a_route(self):
        proxy = self.start(config(self.origin.port, routes=ROUTES))
        for path in (b"/admin", b"/%61dmin", b"//admin", b"/./admin", b"/x|/../admin", b"/\xc3\xa9/../admin", b"/%/../admin", b"/\\/../admin",
                     b"/admin/|", b"/admin/%", b"/[/%2e%2e/admin"):
            self.assertEqual(self.status(proxy, path)[:12], b"HTTP/1.1 403", path)
        # A backslash is no slash, raw or escaped: these name other things.
        for path in (b"/\\admin", b"/x\\..\\admin", b"/%5Cadmin", b"/x/..\\admin"):
            self.assertEqual(self.status(proxy, path)[:12], b"HTTP/1.1 200", path)
            self.assertEqual(self.target(), path.decode())

    def test_a_location_is_a_uri_whatever_the_client_sent(self):
        proxy = self.start(config(self.origin.port, routes=ROUTES))
        for sent, location in (
                (b"/away/a|b\xc3\xa9%7c%?q=\"<\xe9>%", "http://b.test/away/a%7Cb%C3%A9%7c%25?q=%22%3C%E9%3E%25"),
                (b"/away/%41?a=%20&b=[1]", "http://b.test/away/%41?a=%20&b=%5B1%5D"),
                (b"/moved/\xc3\xa9|", "/new/%C3%A9%7C")):
            answer = self.status(proxy, sent).decode("ascii")
            self.assertIn(f"\r\nlocation: {location}\r\n", answer)

    def test_without_normalization_paths_match_as_they_came(self):
        proxy = self.start(config(self.origin.port, extra="defaults: { pathNormalization: off }", routes="""routes:
  - { name: raw, match: { path: { prefix: "/a|" } }, to: s, headers: { request: { set: { x-route: raw } } } }
  - { name: moved, match: { path: { prefix: /moved } }, redirect: { prefix: /new } }
  - { name: rest, to: s }"""))
        for path, found in ((b"/a|/b", True), (b"/a%7C/b", False)):
            self.status(proxy, path)
            self.assertEqual("x-route: raw" in self.origin.heads[-1], found)
        self.assertIn(b"\r\nlocation: /new/%C3%A9%7C\r\n", self.status(proxy, b"/moved/\xc3\xa9|"))

    def test_log_lines_stay_ascii_and_whole(self):
        for form in ("json", "envoy", "combined"):
            with tempfile.NamedTemporaryFile("rb") as log:
                proxy = self.start(config(self.origin.port, extra=f"accessLog: {{ path: {log.name}, format: {form} }}"))
                self.status(proxy, b'/a"|\\\xc3\xa9\x80?"\xff')
                line = until(lambda: log.seek(0) == 0 and log.read())
                self.assertTrue(line.isascii() and line.count(b"\n") == 1, line)
                if form == "json":
                    self.assertEqual(json.loads(line)["path"], '/a"|\\\xc3\xa9\x80?"\xff')
                else:
                    self.assertIn(rb'/a\x22|\x5c\xc3\xa9\x80?\x22\xff', line)

    def test_a_file_says_what_to_write(self):
        for key, bad, good in (("exact", "/a|b", "/a%7Cb"), ("prefix", "/café", "/caf%C3%A9"), ("template", "/é/{id}", "/%C3%A9/x"), ("exact", "/100%", "/100%25")):
            self.refused(f'match: {{ path: {{ {key}: "{bad}" }} }}, to: s', f"write {good}")
        for action in ('to: s, rewrite: { path: "/a|b" }', 'redirect: { path: "/a|b" }'):
            self.refused(action, "write /a%7Cb")

    def refused(self, route, hint):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(config(1, routes=f"routes: [{{ name: r, {route} }}]"))
            file.flush()
            said = subprocess.run([BINARY, "validate", "-c", file.name], capture_output=True, text=True)
            self.assertNotEqual(said.returncode, 0)
            self.assertIn(hint, said.stdout + said.stderr)


class MaxForwards(Case):
    def setUp(self):
        self.origin = Origin(answering(OK))
        self.addCleanup(self.origin.close)
        self.near = self.start(config(self.origin.port))
        self.far = self.start(config(self.near.port, service="    protocol: http2"))

    def ask(self, proxy, method, value, *fields, target="/t"):
        head = f"{method} {target} HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: {value}\r\nConnection: close\r\n" + "".join(f + "\r\n" for f in fields)
        return proxy.raw(head.encode() + b"\r\n").decode("latin-1")

    def test_each_hop_takes_one(self):
        for method in ("OPTIONS", "TRACE"):
            for value, seen in ((5, 3), (2, 0)):
                self.assertIn(" 200 OK", self.ask(self.far, method, value))
                head = self.origin.heads[-1].lower()
                self.assertEqual([l for l in head.split("\r\n") if l.startswith("max-f")], [f"max-forwards: {seen}"])
            count = len(self.origin.heads)
            # The second proxy is the last.
            self.assertIn(" 200 OK", self.ask(self.far, method, 1))
            self.assertIn(" 200 OK", self.ask(self.far, method, 0))
            self.assertEqual(len(self.origin.heads), count)
            client = Client(self.far.port)
            client.request(method=method, extra=[("max-forwards", "7")])
            self.assertEqual(client.outcome(), "200")
            self.assertIn("max-forwards: 5", self.origin.heads[-1].lower())
            client.request(3, method=method, extra=[("max-forwards", "0")])
            self.assertEqual(client.outcome(3), "200")
            client.close()

    def test_options_are_told_and_a_trace_is_reflected_without_secrets(self):
        answer = self.ask(self.near, "OPTIONS", 0, "Content-Type: application/grpc", target="*")
        self.assertIn("\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n", answer)
        secrets = ("Authorization: Bearer s3cret", "Cookie: a=s3cret", "Proxy-Authorization: s3cret", "X-Api-Key: s3cret", "X-Auth-Token: s3cret",
                   "X-Forwarded-Client-Cert: s3cret", "Set-Cookie: s3cret", "Session-Id: s3cret")
        answer = self.ask(self.near, "TRACE", 0, *secrets, "X-A: b", "x-b:c ", target="/t?q=<script>")
        head, body = answer.split("\r\n\r\n", 1)
        self.assertIn("\r\ncontent-type: message/http\r\n", head)
        self.assertEqual(body, "TRACE /t?q=<script> HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\nConnection: close\r\nX-A: b\r\nx-b: c\r\n\r\n")
        client = Client(self.near.port)
        client.request(method="TRACE", extra=[("max-forwards", "0"), ("cookie", "a=s3cret"), ("x-a", "b")])
        self.assertEqual(client.outcome(), "200")
        body = b"".join(f[3] for f in client.seen if f[0] == DATA)
        self.assertEqual(body, b"TRACE / HTTP/1.1\r\nhost: a.test\r\nmax-forwards: 0\r\nx-a: b\r\n\r\n")
        client.close()
        self.assertEqual(self.origin.heads, [])

    def test_a_number_that_is_none_is_refused_and_counted(self):
        client = Client(self.near.port)
        client.request(method="OPTIONS", extra=[("max-forwards", "-1")])
        self.assertEqual(client.outcome(), "400")
        client.close()
        self.assertTrue(self.ask(self.near, "TRACE", "x").startswith("HTTP/1.1 400 "))
        self.assertEqual(self.near.metric('sluice_downstream_refused_total.*cause="bad-max-forwards"'), 2)

    def test_a_route_that_answers_itself_answers_as_ever(self):
        proxy = self.start(config(self.origin.port, routes="routes: [{ name: r, redirect: { host: b.test } }]"))
        self.assertTrue(self.ask(proxy, "OPTIONS", 0).startswith("HTTP/1.1 30"))


if __name__ == "__main__":
    unittest.main()
