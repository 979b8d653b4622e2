"""Stacks that strangers run, with the proxy between a client and a server and without it: gRPC-Go, grpcio, Node and nginx.

Each kind of traffic is made twice, straight to the server and through the proxy. Whatever ends otherwise than the kind
should end is an error; the proxy may add none. Minutes; part of scripts/test --all, which installs what this needs."""
import collections, concurrent.futures, json, os, shutil, socket, subprocess, tempfile, threading, unittest
import grpc
import calls
from harness import ROOT, Proxy, config, until

HERE = os.path.dirname(os.path.abspath(__file__))
STACKS = os.path.join(ROOT, ".build", "stacks")
COUNT = 10_000
HTTP2 = "    protocol: http2\n    connectionPool: { maxRequests: 4000, maxPendingRequests: 4000 }"
HTTP1 = "    connectionPool: { maxConnections: 4000, maxRequests: 4000, maxPendingRequests: 4000 }"
# Calls are ended by their clients and servers here, never by a retry that would hide an error.
EXTRA = "defaults: { retries: off }"


def grpcgo():
    """The gRPC-Go peer, built from Debian's packages."""
    binary = os.path.join(STACKS, "grpcgo")
    if not os.path.exists(binary):
        os.makedirs(STACKS, exist_ok=True)
        environment = dict(
            os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", GOCACHE=os.path.join(STACKS, "cache"))
        subprocess.run(["go", "build", "-o", binary, os.path.join(HERE, "stacks", "grpcgo.go")], check=True, env=environment)
    return [binary]


def node():
    return [shutil.which("node") or "node", os.path.join(HERE, "stacks", "node_http2.js")]


class Peer:
    """A server that prints its port and serves until its standard input ends."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def nginx_configuration(folder, port):
    files = {name: os.path.join(folder, name) for name in ("pid", "error.log")}
    return f"""
daemon off; master_process off; pid {files['pid']}; error_log {files['error.log']} crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port} http2;
        root {folder}/www;
        client_max_body_size 4k;
    }}
}}
"""


class Nginx:
    """nginx as it comes, as an endpoint of HTTP/2: it ends each connection after 1,000 requests, and refuses POSTs of files early."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        os.mkdir(os.path.join(self.folder.name, "www"))
        with open(os.path.join(self.folder.name, "www", "index.html"), "w") as file:
            file.write("hello")
        os.chmod(self.folder.name, 0o755)
        self.port = free_port()
        path = os.path.join(self.folder.name, "nginx.conf")
        with open(path, "w") as file:
            file.write(nginx_configuration(self.folder.name, self.port))
        self.process = subprocess.Popen(["nginx", "-c", path, "-p", self.folder.name], stderr=subprocess.DEVNULL)
        until(self.answers)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.folder.cleanup()


def free_port():
    """A port for a program that cannot choose one and say which."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@unittest.skipUnless(os.environ.get("SLUICE_LONG"), "long")
class Stacks(unittest.TestCase):
    def between(self, port, service=HTTP2):
        proxy = Proxy(config(port, service=service, extra=EXTRA))
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        return proxy

    def server(self, command):
        peer = Peer(command)
        self.addCleanup(peer.stop)
        return peer

    def outcomes(self, command, address, kind, count):
        done = subprocess.run([*command, "client", address, kind, str(count)], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        return collections.Counter(json.loads(done.stdout))

    def compare(self, kind, count, right, direct, through):
        """Every call ends, and no more of them end wrongly than without the proxy."""
        with self.subTest(kind):
            self.assertEqual(sum(direct.values()), count, direct)
            self.assertEqual(sum(through.values()), count, through)
            wrong = [sum(n for outcome, n in each.items() if outcome != right) for each in (direct, through)]
            self.assertLessEqual(wrong[1], wrong[0], f"straight {dict(direct)}, through the proxy {dict(through)}")

    # What each kind of gRPC-Go's calls should end as, and how many are made.
    GRPC_GO = [
        ("unary", COUNT, "OK"), ("server", COUNT, "OK"), ("both", COUNT, "OK"), ("cancel", COUNT, "Canceled"),
        ("early", COUNT, "ResourceExhausted: too large"), ("fail", COUNT, "FailedPrecondition: not now"),
        ("deadline", COUNT, "DeadlineExceeded"),
    ]

    def test_grpc_go_before_and_behind_the_proxy(self):
        server = self.server([*grpcgo(), "server"])
        for name, service in (("h2", HTTP2), ("h2 twice", None)):
            proxy = self.between(server.port) if service else self.between(self.between(server.port).port)
            for kind, count, right in self.GRPC_GO:
                # A kind that streams makes one call of so many messages.
                ended = 1 if kind in ("server", "both") else count
                direct = self.outcomes(grpcgo(), f"127.0.0.1:{server.port}", kind, count)
                through = self.outcomes(grpcgo(), f"127.0.0.1:{proxy.port}", kind, count)
                self.compare(f"{name} {kind}", ended, right, direct, through)

    def test_grpc_go_calls_grpcio(self):
        server = calls.Server("v1")
        self.addCleanup(server.stop)
        proxy = self.between(server.port)
        for kind, count, right in (("unary", COUNT, "OK"), ("both", COUNT, "OK"), ("server", COUNT, "OK"),
                                   ("fail", 1000, "FailedPrecondition: not now")):
            ended = 1 if kind in ("server", "both") else count
            direct = self.outcomes(grpcgo(), f"127.0.0.1:{server.port}", kind, count)
            through = self.outcomes(grpcgo(), f"127.0.0.1:{proxy.port}", kind, count)
            self.compare(kind, ended, right, direct, through)

    def test_grpcio_calls_grpc_go(self):
        server = self.server([*grpcgo(), "server"])
        proxy = self.between(server.port)
        for kind, count, right in (("unary", COUNT, "OK"), ("cancel", COUNT, "CANCELLED"), ("deadline", 2000, "DEADLINE_EXCEEDED"),
                                   ("early", 2000, "RESOURCE_EXHAUSTED")):
            direct, through = grpcio_calls(server.port, kind, count), grpcio_calls(proxy.port, kind, count)
            self.compare(kind, count, right, direct, through)

    def test_node_before_and_behind_the_proxy(self):
        # Node's server itself ends a session after 1,000 resets in short order, and bears fewer unread uploads. So each kind
        # has a proxy of its own, whose session to the server is as fresh as the direct one.
        server = self.server([*node(), "server"])
        for kind, count, right in (("get", COUNT, "200"), ("post", COUNT, "200"), ("cancel", 900, "200 reset 8"),
                                   ("deadline", 900, "0 reset 8"), ("early", 200, "413")):
            proxy = self.between(server.port)
            direct = self.outcomes(node(), str(server.port), kind, count)
            through = self.outcomes(node(), str(proxy.port), kind, count)
            self.compare(kind, count, right, direct, through)

    def test_node_clients_before_a_server_of_http1(self):
        server = self.server([*node(), "server", "http1"])
        proxy = self.between(server.port, HTTP1)
        for kind, count, right in (("get", COUNT, "200"), ("post", COUNT, "200"), ("cancel", COUNT, "200 reset 8"),
                                   ("deadline", COUNT, "0 reset 8"), ("early", 2000, "413")):
            with self.subTest(kind):
                self.assertEqual(self.outcomes(node(), str(proxy.port), kind, count), {right: count})

    def test_node_clients_before_nginx(self):
        server = Nginx()
        self.addCleanup(server.stop)
        proxy = self.between(server.port)
        for kind, count, right in (("plain", COUNT, "200"), ("refused", COUNT, "405"), ("early", COUNT, "404")):
            direct = self.outcomes(node(), str(server.port), kind, count)
            through = self.outcomes(node(), str(proxy.port), kind, count)
            self.compare(kind, count, right, direct, through)


def grpcio_calls(port, kind, count):
    """How many calls ended how; 16 are under way at a time."""
    outcomes, lock = collections.Counter(), threading.Lock()

    def one(channel):
        try:
            if kind == "unary":
                answer = channel.unary_unary("/demo.Echo/Unary")(b"hello", timeout=60)
                return "OK" if answer == b"hello" else "another answer"
            if kind == "deadline":
                channel.unary_unary("/demo.Echo/Wait")(b"hello", timeout=0.02)
            elif kind == "early":
                channel.stream_unary("/demo.Echo/Early")(iter([b"x" * 8192] * 8), timeout=60)
            elif kind == "cancel":
                return cancelled(channel)
            return "no end"
        except grpc.RpcError as error:
            return error.code().name

    def run(channel, n):
        for _ in range(n):
            outcome = one(channel)
            with lock:
                outcomes[outcome] += 1
    def cancelled(channel):
        ended = threading.Event()

        def requests():
            yield b"0"
            ended.wait(60)
        try:
            call = channel.stream_stream("/demo.Echo/Both")(requests(), timeout=60)
            next(call)
            call.cancel()
            next(call)
            return "no end"
        finally:
            ended.set()

    with calls.channel(port) as channel, concurrent.futures.ThreadPoolExecutor(16) as pool:
        shares = [count // 16 + (i < count % 16) for i in range(16)]
        for done in [pool.submit(run, channel, n) for n in shares]:
            done.result()
    return outcomes


if __name__ == "__main__":
    unittest.main()
