"""What a trusted hop says of the client counts in every decision; what anybody else says counts in none."""
import json, re, tempfile, unittest
import httpx
from certificates import Authority
from harness import *

HOPS = "defaults: {{ forwarding: {{ trustedHops: {0} }} }}"
REDIRECTS = """routes:
  - { name: path, match: { path: { prefix: /old } }, redirect: { prefix: /new } }
  - { name: slash, match: { path: { prefix: /slash } }, redirect: { prefix: / } }
  - { name: own, match: { path: { exact: /own } }, redirect: { path: "/to?mine=1" } }
  - { name: host, match: { path: { exact: /host } }, redirect: { host: new.test } }
  - { name: hostport, match: { path: { exact: /hostport } }, redirect: { host: "new.test:8443", port: 9000 } }
  - { name: port, match: { path: { exact: /port } }, redirect: { port: 8443 } }
  - { name: eighty, match: { path: { exact: /eighty } }, redirect: { port: 80 } }
  - { name: same, match: { path: { exact: /same } }, redirect: { scheme: http, path: /x } }
  - { name: secure, match: { path: { prefix: /secure } }, redirect: { scheme: https } }
  - { name: default, match: { path: { exact: /default } }, redirect: { scheme: https, port: 443 } }
  - { name: rest, to: s }
"""


def values(text, name):
    """All values of a field in a head's text."""
    return [l.split(":", 1)[1].strip() for l in text.split("\r\n") if l.lower().startswith(name.lower() + ":")]


class TrustedHops(Case):
    def sent(self, proxy, backend, *lines, host="Host: a.test\r\n", version="1.1"):
        """The head that the origin got of a request with these lines."""
        out = proxy.raw(f"GET / HTTP/{version}\r\n{host}".encode() + "".join(f"{l}\r\n" for l in lines).encode()
                        + b"Connection: close\r\n\r\n")
        self.assertIn(b" 200 ", out.split(b"\r\n")[0])
        return backend.requests[-1][0]

    def location(self, proxy, path, *lines, host="Host: a.test\r\n", version="1.1"):
        out = proxy.raw(f"GET {path} HTTP/{version}\r\n{host}".encode() + "".join(f"{l}\r\n" for l in lines).encode()
                        + b"Connection: close\r\n\r\n").decode("latin-1")
        found = values(out, "location")
        return found[0] if len(found) == 1 else (int(out[9:12]), found)

    def test_what_untrusted_clients_say_of_themselves_does_not_reach_the_origin(self):
        backend = self.backend()
        proxy = self.start(config(backend.port))
        lines = ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test",
                 "X-Forwarded-Port: 666", "X-Forwarded-Prefix: /evil", "X-Real-IP: 6.6.6.6",
                 "Forwarded: for=6.6.6.6;host=evil.test;proto=https"]
        for more in ([], ["Odd:\tvalue"], ["Connection: x-forwarded-port, forwarded"]):
            head = self.sent(proxy, backend, *lines, *more)
            self.assertNotRegex(head, "(?i)evil|666|6\\.6|x-real-ip|\nforwarded:|x-forwarded-port|x-forwarded-prefix")
            self.assertEqual(values(head, "x-forwarded-for"), ["127.0.0.1"])
            self.assertEqual((values(head, "x-forwarded-proto"), values(head, "x-forwarded-host")), (["http"], ["a.test"]))
        # Nor in trailers, where a server that merges them would find it.
        proxy.raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-real-ip\r\nConnection: close\r\n\r\n"
                  b"0\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Fine: 1\r\n\r\n")
        self.assertNotIn("6.6.6.6", "".join(head for head, _ in backend.requests))

    def test_what_trusted_hops_say_reaches_the_origin_once(self):
        backend = self.backend()
        proxy = self.start(config(backend.port, extra=HOPS.format(1)))
        head = self.sent(proxy, backend, "X-Forwarded-For: 6.6.6.6, [2001:db8::1]:4711", "X-Forwarded-Proto: http, https",
                         "X-Forwarded-Host: shop.test", "X-Forwarded-Port: 8443", "X-Forwarded-Prefix: /shop",
                         "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6;host=evil.test")
        self.assertEqual(values(head, "x-forwarded-for"), ["[2001:db8::1]:4711, 127.0.0.1"])
        self.assertEqual(values(head, "x-forwarded-proto"), ["https"])
        self.assertEqual(values(head, "x-forwarded-host"), ["shop.test"])
        self.assertEqual(values(head, "x-forwarded-port"), ["8443"])
        self.assertEqual(values(head, "x-forwarded-prefix"), ["/shop"])
        self.assertEqual(values(head, "x-real-ip"), ["2001:db8::1"])
        self.assertEqual(values(head, "forwarded"), [])
        # Nonsense is nobody's word.
        head = self.sent(proxy, backend, "X-Forwarded-Proto: gopher", "X-Forwarded-Host: a b", "X-Forwarded-Port: x")
        self.assertEqual((values(head, "x-forwarded-proto"), values(head, "x-forwarded-host")), (["http"], ["a.test"]))
        self.assertEqual(values(head, "x-forwarded-port"), [])

    def test_forwarded_of_a_trusted_hop_goes_on_as_x_forwarded(self):
        backend = self.backend()
        proxy = self.start(config(backend.port, extra=HOPS.format(2)))
        head = self.sent(proxy, backend, "Forwarded: for=6.6.6.6;proto=http, for=\"[2001:db8::1]:47\";proto=https;host=shop.test",
                         "Forwarded: for=_hidden")
        self.assertEqual(values(head, "x-forwarded-for"), ["2001:db8::1, _hidden, 127.0.0.1"])
        self.assertEqual((values(head, "x-forwarded-proto"), values(head, "x-forwarded-host")), (["https"], ["shop.test"]))
        self.assertEqual(values(head, "forwarded"), [])

    def test_each_client_behind_a_trusted_hop_has_its_own_limit(self):
        backend = self.backend()
        text = lambda hops: config(backend.port, extra=HOPS.format(hops), routes=(
            "routes: [{ name: all, to: s, rateLimit: { requests: 2, per: 1h, by: address } }]"))
        def statuses(proxy, clients):
            return [proxy.get("/", {"X-Forwarded-For": f"6.6.6.6, {c}"}).status for c in clients for _ in range(2)]
        proxy = self.start(text(1))
        self.assertEqual(set(statuses(proxy, ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"])), {200})
        # One client in any spelling has one bucket.
        self.assertEqual(set(statuses(proxy, ["10.0.0.1:99", "[2001:db8:0::1]", "::ffff:10.0.0.2"])), {429})
        untrusting = self.start(text(0))
        self.assertEqual(statuses(untrusting, ["10.0.0.1", "10.0.0.2"]), [200, 200, 429, 429])

    def test_redirects_change_what_they_say_and_keep_the_rest(self):
        backend = self.backend()
        proxy = self.start(config(backend.port, routes=REDIRECTS))
        for path, location in [
                ("/old/a?x=1", "/new/a?x=1"), ("/old?", "/new?"), ("/own?theirs=1", "/to?mine=1"),
                ("/host?x", "http://new.test/host?x"), ("/hostport", "http://new.test:9000/hostport"),
                ("/port", "http://a.test:8443/port"), ("/eighty", "http://a.test/eighty"),
                ("/secure/%7Ea%2Fb?c=d", "https://a.test/secure/%7Ea%2Fb?c=d"), ("/default", "https://a.test/default"),
                ("/same", "http://a.test/x"), ("/slash/evil.test", "/evil.test")]:
            self.assertEqual(self.location(proxy, path), location)
        # The client's port belongs to its scheme and host; a default port is never said.
        for host, path, location in [
                ("a.test:80", "/same", "http://a.test/x"), ("a.test:8080", "/same", "http://a.test:8080/x"),
                ("a.test:8080", "/secure", "https://a.test/secure"), ("a.test:8080", "/host", "http://new.test/host"),
                ("[::1]:8080", "/port", "http://[::1]:8443/port"), ("a.test:8080", "/old/b", "/new/b")]:
            self.assertEqual(self.location(proxy, path, host=f"Host: {host}\r\n"), location)

    def test_redirects_without_host(self):
        backend = self.backend()
        proxy = self.start(config(backend.port, routes=REDIRECTS))
        def old(path):
            return self.location(proxy, path, host="", version="1.0")
        self.assertEqual((old("/old/a?b"), old("/host"), old("/own")), ("/new/a?b", "http://new.test/host", "/to?mine=1"))
        # Nobody knows where: a URI without a host would be none.
        self.assertEqual((old("/secure"), old("/port")), ((400, []), (400, [])))

    def test_a_redirect_to_a_path_never_names_a_host(self):
        backend = self.backend()
        proxy = self.start(config(backend.port, routes=REDIRECTS, extra="defaults: { pathNormalization: off }"))
        self.assertEqual(self.location(proxy, "/slash//evil.test/x"), "/.//evil.test/x")
        self.assertEqual(self.location(proxy, "/slash/fine"), "/fine")

    def test_redirects_behind_a_trusted_hop(self):
        backend = self.backend()
        proxy = self.start(config(backend.port, routes=REDIRECTS, extra=HOPS.format(1)))
        https = "X-Forwarded-Proto: https"
        self.assertEqual(self.location(proxy, "/old/a", https), "/new/a")
        self.assertEqual(self.location(proxy, "/host", https), "https://new.test/host")
        self.assertEqual(self.location(proxy, "/port", https, "X-Forwarded-Host: shop.test:444"), "https://shop.test:8443/port")
        self.assertEqual(self.location(proxy, "/same", https), "http://a.test/x")
        self.assertEqual(self.location(proxy, "/same", "X-Forwarded-Port: 8080"), "http://a.test:8080/x")
        self.assertEqual(self.location(proxy, "/secure", https, host="Host: a.test:8443\r\n"), "https://a.test:8443/secure")
        # The hop names the host that HTTP/1.0 leaves out.
        self.assertEqual(self.location(proxy, "/secure", "X-Forwarded-Host: shop.test", host="", version="1.0"),
                         "https://shop.test/secure")

    def test_the_log_and_the_cookie_know_the_client(self):
        backend = self.backend()
        with tempfile.NamedTemporaryFile("r") as log:
            proxy = self.start(config(
                backend.port, service="    sticky: { issue: sid }",
                extra=HOPS.format(1) + f"\naccessLog: {{ path: {log.name} }}"))
            trusted = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7", "X-Forwarded-Proto": "https"}
            self.assertRegex(proxy.get("/", trusted).headers["set-cookie"], "; Secure$")
            self.assertNotIn("Secure", proxy.get("/").headers["set-cookie"])
            lines = until(lambda: (found := log.read()).count("\n") >= 2 and found or log.seek(0) and None)
            # Each connection may be another worker's, and the workers' lines come in any order.
            entries = [json.loads(line) for line in lines.splitlines()]
            self.assertEqual({(entry["client"], entry["peer"]) for entry in entries},
                             {("192.0.2.7", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")})

    def test_over_tls_and_http2_the_word_of_the_hop_counts_as_well(self):
        authority = Authority()
        self.addCleanup(authority.close)
        certificate, key = authority.issue("server", "DNS:localhost,IP:127.0.0.1")
        backend = self.backend()
        text = config(backend.port, routes=REDIRECTS, service="    sticky: { issue: sid }", extra=HOPS.format(1)).replace(
            'listeners: [', f'listeners: [{{ name: https, address: "127.0.0.1:0", tls: {{ certificate: {certificate}, key: {key} }} }}, ')
        proxy = self.start(text)
        port = int(re.search(r"https=127\.0\.0\.1:(\d+)", proxy.log[-1]).group(1))
        for http2 in (False, True):
            with httpx.Client(http1=not http2, http2=http2, verify=authority.ca) as client:
                base = f"https://localhost:{port}"
                self.assertEqual(client.get(base + "/host").headers["location"], "https://new.test/host")
                self.assertEqual(client.get(base + "/same").headers["location"], "http://localhost/x")
                answer = client.get(base + "/")
                self.assertEqual(answer.http_version, "HTTP/2" if http2 else "HTTP/1.1")
                self.assertIn("; Secure", answer.headers["set-cookie"])
                self.assertEqual(values(backend.requests[-1][0], "x-forwarded-proto"), ["https"])
                client.cookies.clear()
                # A hop that speaks TLS with us says that its client did not.
                answer = client.get(base + "/", headers={"X-Forwarded-Proto": "http", "X-Forwarded-For": "192.0.2.7"})
                self.assertNotIn("Secure", answer.headers["set-cookie"])
                head = backend.requests[-1][0]
                self.assertEqual(values(head, "x-forwarded-proto"), ["http"])
                self.assertEqual(values(head, "x-forwarded-for"), ["192.0.2.7, 127.0.0.1"])
                client.cookies.clear()
            with httpx.Client(http1=not http2, http2=http2) as client:
                answer = client.get(f"http://127.0.0.1:{proxy.port}/secure?a=b", headers={"X-Forwarded-Port": "80"}) if not http2 else None
                if answer is not None:
                    self.assertEqual(answer.headers["location"], "https://127.0.0.1/secure?a=b")


if __name__ == "__main__":
    unittest.main()
