"""RFC 9112 and RFC 9110 case by case, as raw bytes through the proxy to an origin that records: what reached it, what came
back, and whether the connection is still in step. The cases are in h1_cases.py."""
import re, unittest
from h1_cases import REQUESTS, RESPONSES
from harness import OK, Origin, Proxy, Reader, config

NEXT = b"GET /next HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


class Recorder(Origin):
    """Answers each request once its body is there, and keeps both. `answer`: what all but /next get instead."""

    def __init__(self):
        self.requests, self.answer = [], None
        super().__init__(Recorder._serve)

    def _serve(self, connection):
        reader = Reader(connection)
        while True:
            head = reader.upto(b"\r\n\r\n")
            if head is None:
                return
            if re.search(rb"(?i)\r\nexpect: 100-continue", head):
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = reader.body(head)
            if body is None:
                return
            self.requests.append((head.decode("latin-1") + "\r\n", body))
            if self.answer is None or b" /next " in head:
                # A HEAD's answer has no body.
                connection.sendall(OK[:-2] if head.startswith(b"HEAD") else OK)
            else:
                connection.sendall(self.answer)
                return


class Conformance(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Recorder()
        cls.proxy = Proxy(config(cls.origin.port, extra="defaults: { limits: { bodyBytes: 1MiB } }"))

    @classmethod
    def tearDownClass(cls):
        assert cls.proxy.stop() == 0
        cls.origin.close()

    def check(self, expected, head, body):
        for item in expected:
            if isinstance(item, bytes):
                self.assertEqual(body, item)
            elif item.startswith("-"):
                self.assertNotIn(f"\r\n{item[1:]}:", head.lower())
            elif item.startswith("!"):
                self.assertNotIn(item[1:], head)
            else:
                self.assertIn(item, head)

    def follow(self, reader, step, answer):
        """The next request on the connection is answered, or the connection has ended."""
        if step:
            self.assertNotIn(b"connection: close", answer.lower())
            reader.connection.sendall(NEXT)
            self.assertEqual(reader.response("GET")[0], 200)
        while reader.more():
            pass
        self.assertEqual(reader.buffer, b"")

    def test_requests(self):
        for section, what, raw, status, reached, step in REQUESTS:
            with self.subTest(section=section, what=what):
                self.origin.requests.clear()
                with self.proxy.connect() as connection:
                    reader = Reader(connection)
                    connection.sendall(raw)
                    # A lone HEAD's answer says how long the body would be.
                    found, head, body = reader.response("HEAD" if raw.startswith(b"HEAD") else "GET")
                    self.assertEqual(found, status)
                    self.assertIsNotNone(body)
                    # An attack may begin to reach the origin; it never arrives whole.
                    if reached is None:
                        self.assertEqual(self.origin.requests, [])
                    else:
                        self.assertEqual(len(self.origin.requests), 1)
                        self.check(reached, *self.origin.requests[0])
                    self.follow(reader, step, head)

    def test_responses(self):
        for section, what, raw, status, seen, end, step, method in RESPONSES:
            with self.subTest(section=section, what=what):
                self.origin.answer = raw
                with self.proxy.connect() as connection:
                    reader = Reader(connection)
                    connection.sendall(f"{method} /r HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
                    found, head, body = reader.response(method)
                    # What is cut off at once may break the connection before its head is read.
                    self.assertIn(found, (status, None) if end == "cut" else (status,))
                    self.assertEqual(body is None, end == "cut")
                    self.check(seen, head.decode("latin-1"), body)
                    if status == 502 and not seen:
                        # Sluice's own words, none of the origin's.
                        self.assertIn(b"content-type: text/plain", head)
                    self.follow(reader, step, head)

    def test_there_are_enough(self):
        self.assertGreaterEqual(len(REQUESTS) + len(RESPONSES), 300)
        for cases in (REQUESTS, RESPONSES):
            titles = [(case[0], case[1], case[-1]) for case in cases]
            self.assertEqual(len(titles), len(set(titles)))
