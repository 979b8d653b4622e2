"""Soak and chaos: scripts/soak [--minutes M]. Honest clients of every kind keep exact books while origins die, the network
loses packets, configurations change and bad clients do their worst; at the end the books must agree with the proxy's."""
import argparse, collections, hashlib, os, random, re, signal, socket, ssl, struct, subprocess, sys, tempfile, threading, time
import grpc
import calls
from certificates import Authority
from frames import *
from harness import BINARY, Demo, Origin, Proxy, Reader, until

NAMESPACE = f"sluice-soak-{os.getpid()}"


class Books:
    """What honest clients saw: (kind, outcome) and how often, and when something was not as it should be."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.troubles = []

    def note(self, kind, outcome, detail=""):
        with self.lock:
            self.counts[kind, outcome] += 1
            if outcome != "ok":
                self.troubles.append((time.monotonic(), kind, outcome, detail))

    def total(self, *kinds):
        with self.lock:
            return sum(n for (kind, _), n in self.counts.items() if kind in kinds)


class Far:
    """An origin in a network namespace of its own, behind a link that can be made bad. Where that is not allowed: a near one."""

    def __init__(self):
        self.isFar = self.make()
        self.port = 0

    def make(self):
        inside, outside = f"si{os.getpid() % 10000}", f"so{os.getpid() % 10000}"
        self.outside = outside
        commands = [
            f"ip netns add {NAMESPACE}", f"ip link add {outside} type veth peer name {inside}", f"ip link set {inside} netns {NAMESPACE}",
            f"ip addr add 10.213.7.1/30 dev {outside}", f"ip link set {outside} up",
            f"ip netns exec {NAMESPACE} ip addr add 10.213.7.2/30 dev {inside}", f"ip netns exec {NAMESPACE} ip link set {inside} up",
            f"ip netns exec {NAMESPACE} ip link set lo up"]
        for command in commands:
            if subprocess.run(command.split(), capture_output=True).returncode:
                self.remove()
                return False
        self.hasNetem = not subprocess.run(f"tc qdisc add dev {outside} root netem delay 0ms".split(), capture_output=True).returncode
        return True

    def bad(self, stop):
        """Packets are lost, late or doubled; where the kernel has no netem the link is down for a moment: all are lost."""
        if not self.isFar:
            return
        if self.hasNetem:
            how = random.choice(["loss 2%", "delay 30ms 20ms", "reorder 5% delay 10ms", "duplicate 2%"])
            subprocess.run(f"tc qdisc change dev {self.outside} root netem {how}".split(), capture_output=True)
            stop.wait(2)
            return self.good()
        subprocess.run(f"ip link set {self.outside} down".split(), capture_output=True)
        stop.wait(random.uniform(0.1, 0.5))
        subprocess.run(f"ip link set {self.outside} up".split(), capture_output=True)

    def good(self):
        if self.isFar and self.hasNetem:
            subprocess.run(f"tc qdisc change dev {self.outside} root netem delay 0ms".split(), capture_output=True)

    def story(self):
        if not self.isFar:
            return "no namespace may be made here: left alone"
        return "loses, delays, reorders, doubles packets" if self.hasNetem else "goes down and up (the kernel has no netem)"

    def remove(self):
        subprocess.run(f"ip netns del {NAMESPACE}".split(), capture_output=True)
        subprocess.run(f"ip link del {self.outside}".split(), capture_output=True)

    def start(self):
        if not self.isFar:
            demo = Demo("far")
            self.process, self.address = demo.process, f"127.0.0.1:{demo.port}"
            return
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", NAMESPACE, BINARY, "demo", "--name", "far", "--address", "10.213.7.2:0"], stderr=subprocess.PIPE, text=True)
        self.address = "10.213.7.2:" + re.search(r":(\d+)$", self.process.stderr.readline().strip()).group(1)

    def stop(self):
        self.process.kill()
        self.process.wait()
        if self.isFar:
            self.remove()


def echo(origin, connection):
    """Answers with the digest of the body; a handshake begins an echo."""
    reader = Reader(connection)
    while True:
        head = reader.upto(b"\r\n\r\n")
        if head is None:
            return
        if b"websocket" in head.lower():
            connection.sendall(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + reader.buffer)
            while piece := connection.recv(65536):
                connection.sendall(piece)
            return
        body = reader.body(head)
        if body is None:
            return
        digest = hashlib.sha256(body).hexdigest().encode()
        size = int((re.search(rb"size=(\d+)", head) or [0, b"0"])[1])
        answer = digest + b"z" * size
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


class Soak:
    def __init__(self, minutes):
        self.minutes, self.stop, self.books = minutes, threading.Event(), Books()
        self.authority = Authority()
        self.certificate, self.key = self.authority.issue("server", "DNS:localhost,IP:127.0.0.1")
        self.near = [Demo("v1"), Demo("v1"), Demo("v2")]
        # Bad clients have an origin of their own: what they do to its queue is not the proxy's doing.
        self.echo, self.victim = Origin(echo), Origin(echo)
        self.grpc = calls.Server("grpc")
        self.far = Far()
        self.far.start()
        self.kills = []
        self.reloads = self.badReloads = self.badClients = 0
        self.samples = []
        self.proxy = Proxy(self.text(0))
        self.tls = int(re.search(r"https=127\.0\.0\.1:(\d+)", self.proxy.log[-1]).group(1))

    def text(self, n):
        v1 = ", ".join(f'"127.0.0.1:{demo.port}"' for demo in self.near[:2])
        weights = [(90, 10), (50, 50), (99, 1), (0, 100)][n % 4]
        return f"""
listeners:
  - {{ name: http, address: "127.0.0.1:0" }}
  - {{ name: https, address: "127.0.0.1:0", tls: {{ certificate: {self.certificate}, key: {self.key} }} }}
services:
  web:
    stable: v1
    versions:
      v1: {{ weight: {weights[0]}%, endpoints: [{v1}] }}
      v2: {{ weight: {weights[1]}%, endpoints: ["127.0.0.1:{self.near[2].port}"] }}
    sticky: {{ cookie: user }}
    outlierDetection: {{ consecutiveLocalOriginFailures: 3, baseEjectionTime: 1s }}
  echo: {{ connectTimeout: 10s, versions: {{ v1: {{ endpoints: ["127.0.0.1:{self.echo.port}"] }} }} }}
  bad: {{ versions: {{ v1: {{ endpoints: ["127.0.0.1:{self.victim.port}"] }} }} }}
  grpc: {{ protocol: http2, connectTimeout: 10s, versions: {{ v1: {{ endpoints: ["127.0.0.1:{self.grpc.port}"] }} }} }}
  far: {{ versions: {{ v1: {{ endpoints: ["{self.far.address}"] }} }}, connectTimeout: 2s }}
routes:
  - {{ name: bad, match: {{ path: {{ prefix: /bad }} }}, to: bad }}
  - {{ name: grpc, match: {{ path: {{ prefix: /demo.Echo }} }}, to: grpc }}
  - {{ name: echo, match: {{ path: {{ prefix: /echo }} }}, to: echo }}
  - {{ name: far, match: {{ path: {{ prefix: /far }} }}, to: far }}
  - {{ name: web, to: web, retries: {{ attempts: 3, on: [connect-failure, reset, gateway-error], backoff: 20ms }} }}
defaults: {{ timeouts: {{ headers: 2s, idle: 20s }} }}
drain: {{ delay: 0s, grace: 10s }}
"""

    # Honest clients

    def worker(self, kind, connect, make):
        """Requests one after the other on a connection that is kept; `make` gives (bytes, check of (status, body))."""
        connection = reader = None
        while not self.stop.is_set():
            data, check = make()
            try:
                if connection is None:
                    connection = connect()
                    connection.settimeout(60)
                    reader = Reader(connection)
                connection.sendall(data)
                status, head, body = reader.response("GET")
                if status is None or body is None:
                    raise OSError("cut off")
                self.books.note(kind, "ok" if check(status, body) else str(status), body[:60])
                if b"connection: close" in head.lower():
                    raise EOFError
            except (OSError, ValueError) as error:
                self.books.note(kind, "broken", repr(error))
                connection = self.drop(connection)
            except EOFError:
                connection = self.drop(connection)
            self.stop.wait(0.002)
        self.drop(connection)

    @staticmethod
    def drop(connection):
        if connection is not None:
            connection.close()
        return None

    def plain(self):
        return socket.create_connection(("127.0.0.1", self.proxy.port))

    def secure(self):
        context = ssl.create_default_context(cafile=self.authority.ca)
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.tls)), server_hostname="localhost")

    def get(self, path):
        def make():
            data = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: user={random.randrange(10**6)}\r\n\r\n".encode()
            return data, lambda status, body: status == 200
        return make

    def post(self, path, most):
        def make():
            body = random.randbytes(random.randrange(most))
            digest = hashlib.sha256(body).hexdigest().encode()
            size = random.randrange(most)
            if random.random() < 0.5:
                head, content = f"Content-Length: {len(body)}", body
            else:
                cut = random.randrange(len(body) + 1)
                pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
                head = "Transfer-Encoding: chunked"
                content = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            data = f"POST {path}?size={size} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode() + content
            return data, lambda status, answer: status == 200 and answer[:64] == digest and len(answer) == 64 + size
        return make

    def calls(self):
        with calls.channel(self.proxy.port) as channel:
            unary, both = channel.unary_unary("/demo.Echo/Unary"), channel.stream_stream("/demo.Echo/Both")
            while not self.stop.is_set():
                body = random.randbytes(random.randrange(20_000))
                for kind in ("unary", "stream"):
                    try:
                        if kind == "unary":
                            right = unary(body, timeout=30) == body
                        else:
                            pieces = [body[i:i + 3_000] for i in range(0, len(body), 3_000)] or [b""]
                            right = list(both(iter(pieces), timeout=30)) == pieces
                        self.books.note("grpc", "ok" if right else "wrong")
                    except grpc.RpcError as error:
                        self.books.note("grpc", error.code().name, error.details())
                self.stop.wait(0.01)

    def streams(self):
        """HTTP/2 over TLS, many streams at once: h2load in rounds, whose own books count."""
        with tempfile.NamedTemporaryFile() as body:
            body.write(random.randbytes(20_000))
            body.flush()
            while not self.stop.is_set():
                out = subprocess.run(
                    ["h2load", "-n", "400", "-c", "2", "-m", "8", "-d", body.name, f"https://127.0.0.1:{self.tls}/echo?size=5000"],
                    capture_output=True, text=True).stdout
                codes = re.search(r"status codes: .*", out)
                done, good = re.search(r"(\d+) done", out), re.search(r"status codes: (\d+) 2xx", out)
                for _ in range(int(good[1]) if good else 0):
                    self.books.note("echo", "ok")
                for _ in range(int(done[1]) - int(good[1]) if done and good else 1):
                    self.books.note("echo", "h2load", codes[0] if codes else out[-300:])
                self.stop.wait(0.2)

    def tunnel(self):
        while not self.stop.is_set():
            try:
                with self.plain() as connection:
                    connection.settimeout(30)
                    connection.sendall(b"GET /echo/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                    seen = b""
                    while b"\r\n\r\n" not in seen:
                        piece = connection.recv(4096)
                        if not piece:
                            raise OSError("no handshake")
                        seen += piece
                    for _ in range(50):
                        data = random.randbytes(2_000)
                        connection.sendall(data)
                        got = b""
                        while len(got) < len(data):
                            piece = connection.recv(65536)
                            if not piece:
                                raise OSError("the tunnel ended")
                            got += piece
                        if got != data:
                            raise OSError("other bytes")
                        if self.stop.wait(0.05):
                            break
                self.books.note("echo", "ok")
            except OSError as error:
                self.books.note("echo", "broken", repr(error))

    # Those who do harm

    def bad(self):
        """Bad clients, each another way, a few at a time."""
        held = []
        ways = [self.garbage, self.cut, self.slow, self.flood, self.refuse, self.pipeline]
        while not self.stop.is_set():
            try:
                keep = random.choice(ways)()
                if keep:
                    held.append(keep)
            except OSError:
                pass
            self.badClients += 1
            while len(held) > 60:
                held.pop(0).close()
            self.stop.wait(0.02)
        for connection in held:
            connection.close()

    def garbage(self):
        with self.plain() as connection:
            connection.sendall(random.randbytes(random.randrange(1, 2_000)))

    def cut(self):
        """Leaves in the middle, with a reset."""
        with self.plain() as connection:
            connection.sendall(b"POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * random.randrange(100_000))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def slow(self):
        connection = self.plain()
        connection.sendall(random.choice([b"GET /bad HT", b"POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nx",
                                          b"GET /bad?size=20000000 HTTP/1.1\r\nHost: a\r\n\r\n"]))
        return connection

    def flood(self):
        client = Client(self.proxy.port)
        for i in range(300):
            client.request(1 + 2 * i, path="/bad")
            client.send(reset(1 + 2 * i))
        client.close()

    def refuse(self):
        with self.plain() as connection:
            connection.sendall(b"GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\nTransfer-Encoding: gzip\r\n\r\n")
            connection.settimeout(5)
            connection.recv(1_000)

    def pipeline(self):
        with self.plain() as connection:
            connection.settimeout(5)
            threading.Thread(target=self.quietly, args=(connection.sendall, b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n" * 3_000), daemon=True).start()
            connection.recv(100_000)

    @staticmethod
    def quietly(action, *arguments):
        try:
            action(*arguments)
        except OSError:
            pass

    def operator(self):
        """Reloads, good and bad; an origin that is killed and comes back; a link that turns bad and good again."""
        turn = 0
        while not self.stop.wait(2):
            turn += 1
            if turn % 10 == 9:
                self.proxy.write("listeners: [\n")
                self.badReloads += 1
            else:
                self.proxy.write(self.text(turn))
            self.proxy.process.send_signal(signal.SIGHUP)
            self.reloads += 1
            if turn % 7 == 3:
                demo = self.near[0]
                self.kills.append(time.monotonic())
                demo.stop()
                self.stop.wait(1.5)
                self.near[0] = Demo("v1", demo.port)
                self.kills.append(time.monotonic())
            if turn % 5 == 2:
                self.far.bad(self.stop)

    def sample(self):
        rss = self.proxy.metric("process_resident_memory_bytes") / 1e6
        fds = self.proxy.metric("process_open_fds")
        self.samples.append((time.monotonic() - self.begun, rss, fds))
        return rss, fds

    # The end

    def run(self):
        self.begun = time.monotonic()
        self.idle = self.sample()[1]
        workers = [(self.worker, "web", self.plain, self.get("/"))] * 4 + [
            (self.worker, "web", self.secure, self.get("/")), (self.worker, "web", self.secure, self.get("/")),
            (self.worker, "echo", self.plain, self.post("/echo", 100_000)), (self.worker, "echo", self.plain, self.post("/echo", 2_000)),
            (self.worker, "echo", self.secure, self.post("/echo", 50_000)), (self.worker, "far", self.plain, self.get("/far")),
            (self.calls,), (self.calls,), (self.streams,), (self.tunnel,), (self.tunnel,), (self.bad,), (self.operator,)]
        threads = [threading.Thread(target=task[0], args=task[1:]) for task in workers]
        for thread in threads:
            thread.start()
        while time.monotonic() - self.begun < self.minutes * 60 and self.proxy.process.poll() is None:
            self.stop.wait(10)
            rss, fds = self.sample()
            print(f"{self.samples[-1][0]:6.0f} s  {rss:6.1f} MB  {fds:4.0f} descriptors  {sum(self.books.counts.values()):9d} requests  "
                  f"{len(self.books.troubles)} troubles", flush=True)
        self.stop.set()
        for thread in threads:
            thread.join(90)
        return self.report()

    def explained(self, trouble):
        """A request that was under way at an origin when it was killed, or as it came back, may fail."""
        at, kind, outcome, _ = trouble
        return kind == "web" and any(-0.5 < at - kill < 3 for kill in self.kills)

    def report(self):
        rows, bad = [], 0

        def row(name, value, holds):
            nonlocal bad
            bad += not holds
            rows.append((name, value, "holds" if holds else "DOES NOT HOLD"))
        alive = self.proxy.process.poll() is None
        row("the process", "lives" if alive else f"ended with {self.proxy.process.returncode}", alive)
        unexplained = [t for t in self.books.troubles if not self.explained(t)]
        row("honest requests", f"{sum(self.books.counts.values())}", self.books.total("web", "echo", "grpc", "far") > 0)
        row("their errors", f"{len(self.books.troubles)}, of them unexplained {len(unexplained)}", not unexplained)
        for trouble in unexplained[:5]:
            rows.append(("", f"{trouble[0] - self.begun:.0f} s: {trouble[1:]}", ""))
        if alive:
            settled = lambda: self.proxy.metric("sluice_requests_in_flight") == 0
            until(settled, 60)
            for route in ("web", "echo", "grpc", "far"):
                counted = self.proxy.metric(rf'sluice_requests_total\{{.*route="{route}"')
                sent = self.books.total(route)
                row(f"requests of {route}: sent, counted", f"{sent}, {counted:.0f}", counted == sent)
            until(lambda: self.sample()[1] <= self.idle + 8, 90)
            row("descriptors: idle before, after", f"{self.idle:.0f}, {self.samples[-1][2]:.0f}", True)
            quarter = [rss for at, rss, _ in self.samples if self.samples[-1][0] * 0.2 < at < self.samples[-1][0] * 0.4] or [self.samples[0][1]]
            last = [rss for at, rss, _ in self.samples[:-1]][-max(1, len(quarter)):]
            growth = max(last) / max(quarter)
            row("memory: largest in the second fifth, in the last", f"{max(quarter):.1f} MB, {max(last):.1f} MB", growth < 1.1)
            row("reloads, bad ones among them; kills; bad clients", f"{self.reloads}, {self.badReloads}; {len(self.kills) // 2}; {self.badClients}", True)
            row("the link to the far origin", self.far.story(), True)
            self.proxy.process.send_signal(signal.SIGTERM)
            code = self.proxy.process.wait(60)
            row("exit code after SIGTERM", str(code), code == 0)
        for demo in self.near:
            demo.stop()
        self.echo.close()
        self.victim.close()
        self.grpc.stop()
        self.far.stop()
        for name, value, verdict in rows:
            print(f"| {name} | {value} | {verdict} |")
        return 1 if bad else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    sys.exit(Soak(parser.parse_args().minutes).run())
