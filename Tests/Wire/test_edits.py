"""Edits of fields mean what they say, on every answer of a route, over every version of HTTP."""
import base64, hashlib, re, subprocess, unittest
import grpc, httpx
from certificates import Authority
from frames import HEADERS, Client, frame
from harness import *

CORS = ("headers: { response: { set: { Access-Control-Allow-Origin: \"*\", X-Twice: last }, add: { X-Twice: more }, "
        "remove: [server, x-gone] } }")


def values(text, name):
    """All values of a field in a head's text."""
    return [l.split(":", 1)[1].strip() for l in text.split("\r\n") if l.lower().startswith(name.lower() + ":")]


def routes():
    return f"""routes:
  - {{ name: limit, match: {{ path: {{ prefix: /limit }} }}, to: s, rateLimit: {{ requests: 1, per: 1h }}, {CORS} }}
  - {{ name: fault, match: {{ path: {{ prefix: /fault }} }}, to: s, fault: {{ abort: {{ status: 503 }} }}, {CORS} }}
  - {{ name: delayed, match: {{ path: {{ prefix: /delayed }} }}, to: s, fault: {{ delay: {{ time: 1ms }}, abort: {{ status: 418 }} }}, {CORS} }}
  - {{ name: dead, match: {{ path: {{ prefix: /dead }} }}, to: dead, {CORS} }}
  - {{ name: empty, match: {{ path: {{ prefix: /empty }} }}, to: empty, {CORS} }}
  - {{ name: slow, match: {{ path: {{ prefix: /slow }} }}, to: s, timeouts: {{ request: 200ms }}, {CORS} }}
  - {{ name: old, match: {{ path: {{ prefix: /old }} }}, redirect: {{ prefix: /new }}, {CORS} }}
  - {{ name: own, match: {{ path: {{ prefix: /own }} }}, respond: {{ status: 200, body: x }}, {CORS} }}
  - {{ name: none, match: {{ path: {{ prefix: /none }} }}, respond: {{ status: 204 }}, {CORS} }}
  - {{ name: rest, to: s, {CORS} }}
"""


SERVICES = """  dead: { versions: { v1: { endpoints: ["127.0.0.1:1"] } } }
  empty: { versions: { v1: { endpoints: [] } } }
"""
EXTRA = "defaults: { limits: { bodyBytes: 100 }, forwarding: { version: x-served-by, flags: x-flags } }"


class Edits(Case):
    @staticmethod
    def answer(head):
        if " /cut" in head:
            return None
        if " /bad" in head:
            return b"no HTTP\r\n\r\n"
        if "upgrade: websocket" in head.lower():
            return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nServer: o\r\n\r\n"
        return status(200, "Server: o", "X-Twice: first", "x-twice: second", "X-Gone: 1", body=b"ok")

    def origin(self):
        backend = self.backend()
        backend.answer = lambda head, body: (
            backend.hang(head, body) if " /slow" in head else Edits.answer(head))
        return backend

    def checked(self, fields, is_version, where):
        """Fields, by lower-case names with lists of values, are the route's."""
        self.assertEqual(fields("access-control-allow-origin"), ["*"], where)
        self.assertEqual(fields("x-twice"), ["last", "more"], where)
        self.assertEqual(fields("server") + fields("x-gone"), [], where)
        self.assertEqual(fields("x-served-by"), ["v1"] if is_version else [], where)
        self.assertEqual(len(fields("date")), 1, where)

    def test_every_answer_of_a_route_has_its_edits(self):
        backend = self.origin()
        proxy = self.start(config(backend.port, routes=SERVICES + routes(), extra=EXTRA))
        def ask(path, method="GET", more="", body=b""):
            out = proxy.raw(f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{more}\r\n".encode() + body)
            return int(out[9:12]), out.split(b"\r\n\r\n")[0].decode("latin-1")
        self.assertEqual(ask("/limit")[0], 200)
        for path, expected, is_version in [
                ("/", 200, True), ("/limit", 429, False), ("/fault", 503, False), ("/delayed", 418, False), ("/dead", 502, True),
                ("/empty", 503, True), ("/slow", 504, True), ("/old", 302, False), ("/own", 200, False), ("/none", 204, False),
                ("/cut", 502, True), ("/bad", 502, True)]:
            for method in ("GET", "HEAD"):
                found, head = ask(path, method)
                # An endpoint that refused is out of the rotation for a while.
                self.assertIn(found, (expected, 503) if path == "/dead" else (expected,), path)
                self.checked(lambda name: values(head, name), is_version, path)
        # The body is too long: announced, and not.
        found, head = ask("/", "POST", "Content-Length: 101\r\n")
        self.assertEqual(found, 413)
        self.checked(lambda name: values(head, name), False, "413")
        found, head = ask("/", "CONNECT")
        self.assertIn(found, (400, 405))

    def test_a_body_that_stops_is_answered_with_the_edits_of_its_route(self):
        backend = self.origin()
        proxy = self.start(config(
            backend.port, routes=routes().replace("to: dead", "to: s").replace("to: empty", "to: s").replace(
                "rest, to: s,", "rest, to: s, timeouts: { idle: 200ms },"), extra=EXTRA))
        connection = proxy.connect()
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\nabc")
        code, head, _ = Reader(connection).response("POST")
        connection.close()
        self.assertEqual(code, 408)
        self.checked(lambda name: values(head.decode(), name), True, "408")

    def test_a_handshake_has_the_edits_and_the_cookie(self):
        backend = self.origin()
        proxy = self.start(config(
            backend.port, service="    sticky: { issue: sid }\n" + SERVICES, routes=routes(), extra=EXTRA))
        connection = proxy.connect()
        connection.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        head = Reader(connection).upto(b"\r\n\r\n").decode()
        connection.close()
        self.assertTrue(head.startswith("HTTP/1.1 101 "), head)
        self.checked(lambda name: values(head, name), True, "101")
        self.assertRegex("\n".join(values(head, "set-cookie")), "^sid=")
        self.assertEqual((values(head, "connection"), values(head, "upgrade")), (["upgrade"], ["websocket"]))
        # So have failures, so that the next request finds the version again.
        out = proxy.raw(b"GET /cut HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").decode("latin-1")
        self.assertRegex(out, "^HTTP/1.1 502 ")
        self.assertRegex("\n".join(values(out, "set-cookie")), "^sid=")

    def test_a_handshake_over_http2_has_them_too(self):
        """RFC 8441: the endpoint's 101 is the client's 200."""
        backend = self.backend(lambda head, body: (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nServer: o\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(hashlib.sha1((
                values(head, "sec-websocket-key")[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()) + b"\r\n\r\n"))
        proxy = self.start(config(
            backend.port, service="    sticky: { issue: sid }\n" + SERVICES, routes=routes(), extra=EXTRA))
        client = Client(proxy.port)
        client.send(frame(HEADERS, 4, 1, client.block(
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"), (":authority", "a.test"),
            ("sec-websocket-version", "13"))))
        kind = None
        while kind != HEADERS:
            kind, _, _, fields = client.next()
        found = lambda name: [value for field, value in fields if field == name]
        self.assertEqual(found(":status"), ["200"])
        self.checked(found, True, "8441")
        self.assertRegex("\n".join(found("set-cookie")), "^sid=")
        self.assertEqual(found("connection") + found("upgrade"), [])
        client.close()

    def test_edits_reach_an_endpoint_of_http2(self):
        inner = self.backend(status(200, "Server: o", "X-Gone: 1", body=b"ok"))
        # An HTTP/2 endpoint made of another proxy, which passes on what it got.
        endpoint = self.start(config(inner.port, extra="defaults: { forwarding: { trustedHops: 16, requestId: pass } }"))
        edits = ('headers: { request: { set: { X-Forwarded-Proto: https, x-request-id: mine }, remove: [user-agent] },'
                 ' response: { set: { Server: us }, remove: [x-gone] } }')
        proxy = self.start(config(
            endpoint.port, service="    protocol: http2", routes=f"routes: [{{ name: all, to: s, {edits} }}]"))
        answer = proxy.get("/", {"User-Agent": "me", "X-Forwarded-Proto": "ftp"})
        self.assertEqual((answer.headers.get_all("server"), answer.headers.get_all("x-gone")), (["us"], None))
        head = inner.requests[-1][0]
        self.assertEqual((values(head, "x-forwarded-proto"), values(head, "x-request-id")), (["https"], ["mine"]))
        self.assertEqual(values(head, "user-agent"), [])

    def test_over_http2_and_tls_as_well(self):
        authority = Authority()
        self.addCleanup(authority.close)
        certificate, key = authority.issue("server", "DNS:localhost,IP:127.0.0.1")
        backend = self.origin()
        proxy = self.start(config(backend.port, service=SERVICES, routes=routes(), extra=EXTRA).replace(
            'listeners: [', f'listeners: [{{ name: https, address: "127.0.0.1:0", tls: {{ certificate: {certificate}, key: {key} }} }}, '))
        tls = int(re.search(r"https=127\.0\.0\.1:(\d+)", proxy.log[-1]).group(1))
        for base, http2 in ((f"http://127.0.0.1:{proxy.port}", True), (f"https://localhost:{tls}", True),
                            (f"https://localhost:{tls}", False)):
            with httpx.Client(http1=not http2, http2=http2, verify=authority.ca) as client:
                client.get(base + "/limit")
                for path, expected, is_version in [
                        ("/", 200, True), ("/limit", 429, False), ("/fault", 503, False), ("/dead", 502, True), ("/cut", 502, True),
                        ("/slow", 504, True), ("/old", 302, False), ("/own", 200, False)]:
                    answer = client.get(base + path)
                    self.assertEqual(answer.http_version, "HTTP/2" if http2 else "HTTP/1.1")
                    self.assertIn(answer.status_code, (expected, 503) if path == "/dead" else (expected,), path)
                    self.checked(lambda name: answer.headers.get_list(name), is_version, path)

    def test_calls_that_we_end_have_the_edits(self):
        backend = self.origin()
        proxy = self.start(config(backend.port, service=SERVICES, routes=routes(), extra=EXTRA))
        with grpc.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
            for path, code, is_version in [
                    ("/dead/X", grpc.StatusCode.UNAVAILABLE, True), ("/fault/X", grpc.StatusCode.UNAVAILABLE, False)]:
                call = channel.unary_unary(path)
                with self.assertRaises(grpc.RpcError) as caught:
                    call(b"x", timeout=10)
                self.assertEqual(caught.exception.code(), code)
                found = [*(caught.exception.initial_metadata() or ()), *(caught.exception.trailing_metadata() or ())]
                names = lambda name: [v for k, v in found if k == name]
                self.assertEqual(names("access-control-allow-origin"), ["*"], path)
                self.assertEqual(names("x-twice"), ["last", "more"], path)
                self.assertEqual(names("x-served-by"), ["v1"] if is_version else [], path)

    def test_set_leaves_one_line_and_remove_none_whoever_wrote_them(self):
        backend = self.origin()
        edits = ('headers: { request: { set: { X-Forwarded-Proto: https, x-request-id: mine, x-a: route, x-b: route },'
                 ' remove: [x-forwarded-host, User-Agent, via], add: { x-c: "1" } } }')
        version = ', headers: { request: { set: { x-a: version }, remove: [x-c], add: { x-c: "2" } } }'
        proxy = self.start(config(
            backend.port, routes=f"routes: [{{ name: all, to: s, {edits} }}]", versions=(version, ""),
            extra="defaults: { forwarding: { via: on, trustedHops: 1 } }", listener=HALF_CLOSE))
        for more in ("", "Odd:\tvalue\r\n", "Upgrade: other\r\nConnection: upgrade\r\n"):
            out = proxy.raw(
                b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: http\r\nx-forwarded-proto: ftp\r\nX-Request-Id: 1\r\n"
                b"User-Agent: me\r\nX-A: 1\r\nx-a: 2\r\nX-C: 3\r\nX-Forwarded-Host: a, b\r\n" + more.encode()
                + b"\r\n", half_close=True)
            self.assertIn(b" 200 ", out)
            head = backend.requests[-1][0]
            for name, expected in [
                    ("x-forwarded-proto", ["https"]), ("x-request-id", ["mine"]), ("x-a", ["version"]), ("x-b", ["route"]),
                    ("x-c", ["2"]), ("x-forwarded-host", []), ("user-agent", []), ("via", []), ("host", ["a.test"]),
                    ("x-forwarded-for", ["127.0.0.1"])]:
                self.assertEqual(values(head, name), expected, name)
            self.assertEqual(values(head, "upgrade"), ["other"] if "Upgrade" in more else [])

    def test_no_edit_can_take_a_copys_mark(self):
        backend = self.origin()
        proxy = self.start(config(backend.port))
        proxy.write(config(backend.port, routes=(
            "routes: [{ name: all, to: s, headers: { request: { remove: [x-sluice-mirror] } } }]")))
        out = subprocess.run([BINARY, "validate", "-c", proxy.path], capture_output=True, text=True)
        self.assertEqual(out.returncode, 2)
        self.assertIn("cannot be edited", out.stdout + out.stderr)


if __name__ == "__main__":
    unittest.main()
