"""Starts the real binary and real origins for the wire tests. Ports are the kernel's choice."""
import collections, http.client, json, os, re, select, signal, socket, subprocess, tempfile, threading, time, unittest
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("SLUICE_BINARY", os.path.join(ROOT, ".build", "release", "sluice"))


# A sanitizer's memory is its own: freed blocks stay with it for a while.
SANITIZED = "SLUICE_SANITIZED" in os.environ


def until(condition, limit=10.0):
    """Waits for a condition to hold; the limit only ends a failing test."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("the condition never held")
        select.select([], [], [], 0.01)


class Origin:
    """A scripted origin: `serve(connection, requests_so_far)` runs in a thread for each connection."""

    def __init__(self, serve, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind(address)
        self.listener.listen(1024)
        self.port = self.listener.getsockname()[1] if family != socket.AF_UNIX else 0
        self.serve = serve
        self.heads = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            self.serve(self, connection)
        except OSError:
            pass
        finally:
            connection.close()

    def head(self, connection, buffer=b""):
        """Reads one request head; returns it and what came behind."""
        while b"\r\n\r\n" not in buffer:
            piece = connection.recv(65536)
            if not piece:
                return None, b""
            buffer += piece
        head, rest = buffer.split(b"\r\n\r\n", 1)
        self.heads.append(head.decode("latin-1"))
        return head.decode("latin-1"), rest

    def close(self):
        self.listener.close()


def answering(response):
    """An origin that gives the same bytes to each request, once it has read its body."""
    def serve(origin, connection):
        rest = b""
        while True:
            head, rest = origin.head(connection, rest)
            if head is None:
                return
            reader = Reader(connection, rest)
            if reader.body(head.encode("latin-1")) is None:
                return
            rest = reader.buffer
            connection.sendall(response)
    return serve


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Reader:
    """A plain reading of messages; sees where each ends, and nothing else."""

    def __init__(self, connection, buffer=b""):
        self.connection, self.buffer, self.ended = connection, buffer, False

    def more(self):
        try:
            piece = self.connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        self.ended = self.ended or not piece
        self.buffer += piece
        return bool(piece)

    def upto(self, mark):
        while mark not in self.buffer:
            if not self.more():
                self.buffer = b""
                return None
        out, self.buffer = self.buffer.split(mark, 1)
        return out

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.more():
                self.buffer = b""
                return None
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def body(self, head, request=None):
        """The body behind a head; `None` when it is cut off. `request`: the method that a response answers."""
        if request is not None and (request == "HEAD" or re.match(rb"HTTP/1.1 (1|204|304)", head)):
            return b""
        if re.search(rb"(?i)\r\ntransfer-encoding: chunked", head):
            out = b""
            while True:
                line = self.upto(b"\r\n")
                if line is None:
                    return None
                size = int(line.split(b";")[0], 16)
                if size == 0:
                    while True:
                        trailer = self.upto(b"\r\n")
                        if trailer is None:
                            return None
                        if not trailer:
                            return out
                piece = self.exactly(size + 2)
                if piece is None:
                    return None
                out += piece[:-2]
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if length:
            return self.exactly(int(length.group(1)))
        if request is None:
            return b""
        while self.more():
            pass
        out, self.buffer = self.buffer, b""
        return out

    def response(self, request):
        """Status, head and body of the next final response."""
        while True:
            head = self.upto(b"\r\n\r\n")
            if head is None:
                return None, b"", None
            status = int(head[9:12])
            if status >= 200:
                return status, head + b"\r\n", self.body(head, request)


class Last(bytes):
    """An answer behind which an origin closes the connection, whole or not."""


class Backend(Origin):
    """An origin told what to answer: bytes, `None` to break off, or a function of (head, body) that gives either.
    It may be told anew at any time; `requests` are the (head, body) pairs it has had."""

    def __init__(self, answer=OK, **options):
        self.answer = answer
        self.requests = []
        self.released = threading.Event()
        super().__init__(Backend._serve, **options)

    def _serve(self, connection):
        rest = b""
        while True:
            head, rest = self.head(connection, rest)
            if head is None:
                return
            length = re.search(r"(?i)content-length: (\d+)", head)
            need = int(length.group(1)) if length else 0
            # Pieces are joined once: adding each to the last takes a time that grows with the square of the body.
            pieces, have = [rest], len(rest)
            while have < need:
                piece = connection.recv(65536)
                if not piece:
                    return
                pieces.append(piece)
                have += len(piece)
            rest = b"".join(pieces)
            body, rest = rest[:need], rest[need:]
            self.requests.append((head, body))
            answer = self.answer(head, body) if callable(self.answer) else self.answer
            if answer is None:
                return
            connection.sendall(answer)
            if isinstance(answer, Last):
                return

    def hang(self, head, body):
        """An answer that does not come before the origin is closed."""
        self.released.wait(60)
        return None

    def close(self):
        self.released.set()
        super().close()


def status(code, *fields, body=b""):
    head = "".join(f"{field}\r\n" for field in fields)
    return f"HTTP/1.1 {code} Status\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Demo:
    """The embedded origin as a process."""

    def __init__(self, name, port=0, *options):
        self.process = subprocess.Popen(
            [BINARY, "demo", "--name", name, "--address", f"127.0.0.1:{port}", *options],
            stderr=subprocess.PIPE, text=True)
        self.port = int(re.search(r":(\d+)$", self.process.stderr.readline().strip()).group(1))

    def stop(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait()
        self.process.stderr.close()


class Proxy:
    """`sluice run` on a configuration; listeners, admin and metrics get free ports."""

    def __init__(self, config, *options, admin='"127.0.0.1:0"', metrics='"127.0.0.1:0"', wrap=(), preexec=None):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "sluice.yaml")
        self.admin_text, self.metrics_text = admin, metrics
        self.write(config)
        self.run(options, wrap, preexec)

    def run(self, options, wrap=(), preexec=None):
        """Starts the process for the file that is there."""
        self.process = subprocess.Popen(
            [*wrap, BINARY, "run", "-c", self.path, "--workers", "2", *options], stderr=subprocess.PIPE, text=True,
            preexec_fn=preexec)
        line = self.process.stderr.readline()
        self.log = [line]
        while "sluice started" not in line:
            if not line:
                raise AssertionError("the proxy did not start: " + "".join(self.log))
            line = self.process.stderr.readline()
            self.log.append(line)
        self.port = int(re.search(r'http=127\.0\.0\.1:(\d+)', line).group(1)) if "http=127" in line else 0
        self.admin = int(re.search(r"admin=127\.0\.0\.1:(\d+)", line).group(1))
        self.metrics_port = int(re.search(r"metrics=127\.0\.0\.1:(\d+)", line).group(1))
        threading.Thread(target=self._drain_log, daemon=True).start()

    def _drain_log(self):
        try:
            for line in self.process.stderr:
                self.log.append(line)
        except ValueError:
            pass  # the test has ended, and closed it

    def write(self, config, metrics=None):
        text = f'admin: {self.admin_text}\nmetrics: {metrics or self.metrics_text}\n' + config
        with open(self.path + ".new", "w") as file:
            file.write(text)
        os.rename(self.path + ".new", self.path)

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.settimeout(20)
        return connection

    def raw(self, data, half_close=False):
        """Sends bytes on a connection of its own and returns all that comes back until the end."""
        connection = self.connect()
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        out = b""
        try:
            while True:
                piece = connection.recv(65536)
                if not piece:
                    break
                out += piece
        except ConnectionResetError:
            out += b"<reset>"
        connection.close()
        return out

    def get(self, path="/", headers={}, method="GET", body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        response.text = response.read().decode("latin-1")
        connection.close()
        return response

    def metric(self, pattern):
        """The sum of samples whose line matches the pattern."""
        page = self.page("/metrics")
        return sum(float(l.rsplit(" ", 1)[1]) for l in page.splitlines() if re.match(pattern, l))

    def page(self, path, port=None, method="GET", headers={}):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port or self.metrics_port}{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.read().decode()

    def reload(self):
        """Sends SIGHUP and waits until the reload is counted."""
        pattern = r"sluice_config_reloads_total"
        before = self.metric(pattern)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.metric(pattern) > before)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process.stderr.close()
        self.folder.cleanup()
        return code


def endpoints(ports):
    return json.dumps([f"127.0.0.1:{port}" for port in (ports if isinstance(ports, list) else [ports])])


# For clients that end their side and wait for their answers (`raw` with half_close).
HALF_CLOSE = ", clientHalfClose: allow"


def config(v1, v2=None, weights=("90%", "10%"), extra="", service="", routes=None, versions=("", ""), listener=""):
    """One or two versions behind one listener; each has one endpoint or a list of them."""
    second = f'\n      v2: {{ weight: {weights[1]}, endpoints: {endpoints(v2)}{versions[1]} }}' if v2 else ""
    first = weights[0] if v2 else "1"
    return f"""
listeners: [{{ name: http, address: "127.0.0.1:0"{listener} }}]
services:
  s:
    stable: v1
    versions:
      v1: {{ weight: {first}, endpoints: {endpoints(v1)}{versions[0]} }}{second}
{service}
{routes or 'routes: [{ name: rest, to: s }]'}
drain: {{ delay: 0s, grace: 5s }}
{extra}
"""


class Case(unittest.TestCase):
    """A wire test: what it starts ends with it, and the proxy must leave with 0."""

    def backend(self, *arguments, **options):
        backend = Backend(*arguments, **options)
        self.addCleanup(backend.close)
        return backend

    def clusters(self, proxy, version="v1"):
        """What the admin page says of a version of the first service."""
        versions = json.loads(proxy.page("/clusters", proxy.admin))["services"][0]["versions"]
        return next(v for v in versions if v["version"] == version)

    def pair(self, *options):
        demos = [Demo("v1"), Demo("v2", 0, *options)]
        for demo in demos:
            self.addCleanup(demo.stop)
        return demos

    def start(self, text, *options, **keywords):
        proxy = Proxy(text, *options, **keywords)
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        return proxy

    def load(self, proxy, count, headers=(), connections=16):
        """Bounded keep-alive load from threads; returns a count of (status, version). `!` behind the version: the
        answer said that it was its connection's last."""
        results = collections.Counter()
        lock = threading.Lock()
        def run(n):
            connection = proxy.connect()
            file = connection.makefile("rb")
            mine = collections.Counter()
            for _ in range(n):
                try:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(headers) + b"\r\n")
                    status = file.readline().split()[1].decode()
                    length, served = 0, ""
                    while (line := file.readline()) not in (b"\r\n", b""):
                        name, value = line.decode().split(":", 1)
                        if name.lower() == "content-length":
                            length = int(value)
                        if name.lower() == "x-served-by":
                            served = value.strip()
                        if name.lower() == "connection" and "close" in value:
                            served += "!"
                    file.read(length)
                    mine[(status, served)] += 1
                    if served.endswith("!"):
                        connection.close()
                        connection = proxy.connect()
                        file = connection.makefile("rb")
                except (OSError, IndexError):
                    mine[("broken", "")] += 1
                    connection.close()
                    connection = proxy.connect()
                    file = connection.makefile("rb")
            connection.close()
            with lock:
                results.update(mine)
        threads = [threading.Thread(target=run, args=(count // connections,)) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results
