"""What goes wrong around the proxy, and what stands around it: other proxies, names, descriptors, signals."""
import collections, http.client, json, os, resource, shutil, signal, socket, subprocess, tempfile, threading, unittest
import frames
from harness import HALF_CLOSE, OK, Demo, Origin, Proxy, answering, config, until


def can_mount():
    """Whether this user may have a mount namespace with files of its own."""
    try:
        return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def read(path):
    with open(path) as file:
        return file.read()


class Edges(unittest.TestCase):
    def start(self, text, *options, **more):
        proxy = Proxy(text, *options, **more)
        self.addCleanup(proxy.stop)
        return proxy

    def origin(self, serve=None):
        origin = Origin(serve or answering(OK))
        self.addCleanup(origin.close)
        return origin

    def logging(self):
        """A proxy that writes each request to a log, and the log's path."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "access.log")
        return self.start(config(self.origin().port, extra=f"accessLog: {{ path: {path} }}")), path

    def test_connect_where_a_route_allows_it(self):
        def serve(origin, connection):
            head, rest = origin.head(connection)
            assert head.startswith("CONNECT far.test:443 HTTP/1.1"), head
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            while piece := connection.recv(1000):
                connection.sendall(piece[::-1])
        origin = self.origin(serve)
        proxy = self.start(config(origin.port, routes="routes: [{ name: rest, to: s, connect: allow }]"))
        connection = proxy.connect()
        connection.sendall(b"CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n\r\n")
        out = b""
        while not out.endswith(b"\r\n\r\n"):
            out += connection.recv(1000)
        self.assertTrue(out.startswith(b"HTTP/1.1 200 "), out)
        connection.sendall(b"\x16\x03\x01")
        self.assertEqual(connection.recv(1000), b"\x01\x03\x16")
        connection.close()

    def test_admin_token(self):
        origin = self.origin()
        with tempfile.NamedTemporaryFile("w", suffix=".token") as file:
            file.write("s3cret\n")
            file.flush()
            text = config(origin.port)
            proxy = self.start(text, admin='{ address: "127.0.0.1:0", token: "%s" }' % file.name)
            def post(headers):
                connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=20)
                connection.request("POST", "/reload", headers=headers)
                response = connection.getresponse()
                response.read()
                connection.close()
                return response.status
            self.assertEqual(post({}), 401)
            self.assertEqual(post({"Authorization": "Bearer wrong"}), 401)
            self.assertEqual(post({"Authorization": "Bearer s3cret"}), 200)

    def test_bytes_that_nobody_asked_for_become_nobodys_answer(self):
        stray, sent = threading.Event(), threading.Event()
        def serve(origin, connection):
            head, rest = origin.head(connection)
            connection.sendall(OK)
            if origin.connections == 1:
                stray.wait(20)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
                sent.set()
                connection.recv(1)
            else:
                answering(OK)(origin, connection)
        origin = self.origin(serve)
        proxy = self.start(config(origin.port))
        self.assertEqual(proxy.get().text, "ok")
        stray.set()
        sent.wait(20)
        until(lambda: proxy.metric("sluice_upstream_connections ") == 0)
        for _ in range(3):
            self.assertEqual(proxy.get().text, "ok")

    @unittest.skipUnless(can_mount(), "needs a mount namespace (root)")
    def test_names_whose_answers_change(self):
        first, second = self.origin(), Origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"),
                                              address=("127.0.0.2", 0))
        self.addCleanup(second.close)
        second_port = second.port
        first.close()
        first = Origin(answering(OK), address=("127.0.0.1", second_port))
        self.addCleanup(first.close)
        with tempfile.NamedTemporaryFile("w") as hosts:
            def says(address):
                # In place: the file is bound over /etc/hosts by its inode.
                hosts.seek(0)
                hosts.truncate()
                hosts.write(f"{address} canary.test\n")
                hosts.flush()
            says("127.0.0.1")
            text = f"""
listeners: [{{ name: http, address: "127.0.0.1:0" }}]
services:
  s: {{ dnsRefresh: 1s, versions: {{ v1: {{ dns: "canary.test:{second_port}" }} }} }}
routes: [{{ name: rest, to: s }}]
drain: {{ delay: 0s, grace: 5s }}
"""
            wrap = ["unshare", "-m", "sh", "-c", f'mount --bind {hosts.name} /etc/hosts && exec "$@"', "sh"]
            proxy = self.start(text, wrap=wrap)
            self.assertEqual(proxy.get().text, "ok")
            says("127.0.0.2")
            until(lambda: proxy.get().text == "two")
            # A name that answers no more keeps its last good answer.
            says("# nothing for")
            until(lambda: '"dnsFailure": ""' not in proxy.page("/clusters", proxy.admin))
            self.assertEqual(proxy.get().text, "two")

    def test_access_log_is_reopened(self):
        proxy, path = self.logging()
        proxy.get("/one")
        until(lambda: os.path.exists(path) and "/one" in read(path))
        os.rename(path, path + ".1")
        proxy.process.send_signal(signal.SIGUSR1)
        until(lambda: os.path.exists(path))
        proxy.get("/two")
        until(lambda: "/two" in read(path))
        self.assertNotIn("/two", read(path + ".1"))

    def test_clients_that_wait_for_the_start_are_served(self):
        backend = Origin(answering(OK))
        self.addCleanup(backend.close)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "in.sock")
            text = config(backend.port).replace("127.0.0.1:0", f"unix:{path}", 1)
            answers, stop = collections.Counter(), threading.Event()
            def knock():
                while not stop.is_set():
                    with socket.socket(socket.AF_UNIX) as client:
                        try:
                            client.connect(path)
                        except OSError:
                            continue
                        client.settimeout(20)
                        try:
                            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                            answers[client.recv(1000)[:12]] += 1
                        except OSError:
                            answers["broken"] += 1
            threads = [threading.Thread(target=knock) for _ in range(8)]
            for thread in threads:
                thread.start()
            try:
                # The more workers, the longer are some of them without the others.
                proxy = self.start(text, "--workers", "48")
                until(lambda: sum(answers.values()) > 500)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            self.assertEqual(set(answers), {b"HTTP/1.1 200"}, answers)

    def test_every_request_has_its_line(self):
        proxy, path = self.logging()
        def client(number):
            connection = proxy.connect()
            for start in range(0, 5_000, 100):
                connection.sendall(b"".join(
                    b"GET /%d/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (number, i) for i in range(start, start + 100)))
                out = b""
                while out.count(b"HTTP/1.1 200") < 100 or not out.endswith(b"ok"):
                    out += connection.recv(1 << 20)
            connection.close()
        threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A disk that stands still may cost lines, but they are counted, and they are few.
        dropped = int(proxy.metric("sluice_access_log_dropped_total"))
        self.assertLess(dropped, 5_000)
        until(lambda: read(path).count("\n") == 20_000 - dropped)
        paths = {json.loads(line)["path"] for line in read(path).splitlines()}
        self.assertEqual(len(paths), 20_000 - dropped)

    def test_a_stream_whose_head_is_no_http_has_its_line(self):
        proxy, path = self.logging()
        client = frames.Client(proxy.port)
        self.addCleanup(client.close)
        client.request(1, extra=[("connection", "close")])
        self.assertEqual(client.outcome(1), "rst PROTOCOL_ERROR")
        block = client.block(path="/large", extra=[("x", "a" * 70_000)])
        pieces = [block[i:i + 16_000] for i in range(0, len(block), 16_000)]
        client.send(frames.frame(frames.HEADERS, frames.END_STREAM, 3, pieces[0]))
        for i, piece in enumerate(pieces[1:], 2):
            flags = frames.END_HEADERS if i == len(pieces) else 0
            client.send(frames.frame(frames.CONTINUATION, flags, 3, piece))
        self.assertEqual(client.outcome(3), "431")
        client.request(5, path="/next")
        self.assertEqual(client.outcome(5), "200")
        until(lambda: read(path).count("\n") == 3)
        first, refused, last = (json.loads(line) for line in read(path).splitlines())
        self.assertEqual((first["status"], first["flags"], first["protocol"], first["peer"]), (0, "DPE", "HTTP/2", "127.0.0.1"))
        self.assertEqual((refused["status"], refused["flags"], refused["method"], refused["path"], refused["protocol"]),
                         (431, "DPE", "", "", "HTTP/2"))
        self.assertEqual((last["status"], last["flags"], last["path"]), (200, "-", "/next"))
        self.assertEqual(proxy.metric(r'sluice_requests_total.*route="".*code="0"'), 1)

    def test_descriptors_run_out_and_come_back(self):
        origin = self.origin()
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
        proxy = self.start(config(origin.port), preexec=limit)
        clients = []
        for _ in range(80):
            connection = socket.create_connection(("127.0.0.1", proxy.port))
            clients.append(connection)
        # A proxy that spins on what it cannot accept never has all of its threads asleep.
        def states():
            tasks = f"/proc/{proxy.process.pid}/task"
            return {read(f"{tasks}/{task}/stat").rsplit(")", 1)[1].split()[0] for task in os.listdir(tasks)}
        until(lambda: states() == {"S"})
        for connection in clients:
            connection.close()
        until(lambda: proxy.get().status == 200)

    def test_via_and_trusted_hops(self):
        origin = self.origin()
        text = lambda hops: config(origin.port, extra=f"defaults: {{ forwarding: {{ trustedHops: {hops}, via: on }} }}")
        proxy = self.start(text(2))
        request = {"X-Forwarded-For": "6.6.6.6, 7.7.7.7", "X-Forwarded-Proto": "https", "X-Request-Id": "mine",
                   "X-Forwarded-Host": "outer.test"}
        def sent(more=""):
            proxy.raw(b"GET / HTTP/1.1\r\nHost: a\r\n" + "".join(f"{n}: {v}\r\n" for n, v in request.items()).encode()
                      + more.encode() + b"Connection: close\r\n\r\n")
            return dict(line.split(": ", 1) for line in origin.heads[-1].lower().split("\r\n")[1:])
        fields = sent()
        self.assertEqual(fields["x-forwarded-for"], "6.6.6.6, 7.7.7.7, 127.0.0.1")
        self.assertEqual((fields["x-forwarded-proto"], fields["x-forwarded-host"]), ("https", "outer.test"))
        self.assertEqual((fields["x-request-id"], fields["via"]), ("mine", "1.1 sluice"))
        # The last two addresses of all lines are the proxies' own word, the rest is anybody's.
        self.assertEqual(sent("X-Forwarded-For: 8.8.8.8\r\n")["x-forwarded-for"], "7.7.7.7, 8.8.8.8, 127.0.0.1")
        proxy.write(text(1))
        proxy.reload()
        self.assertEqual(sent()["x-forwarded-for"], "7.7.7.7, 127.0.0.1")
        proxy.write(text(0))
        proxy.reload()
        fields = sent()
        self.assertEqual(fields["x-forwarded-for"], "127.0.0.1")
        self.assertEqual((fields["x-forwarded-proto"], fields["x-forwarded-host"]), ("http", "a"))
        self.assertNotEqual(fields["x-request-id"], "mine")

    def test_a_head_copied_whole_is_the_head_written_line_by_line(self):
        origin = self.origin()
        proxy = self.start(config(origin.port, listener=HALF_CLOSE))
        lines = ["Host: a.test:81", "User-Agent: some agent", "Accept: */*", "Cookie: a=b; c=d", "X-Empty: ",
                 "Referer: http://r/", "A-Name-Longer-Than-Sixteen: v", "X-Utf: \xe9\xa9", "Accept: again"]
        def forwarded(first):
            # A tab in front of one value makes that head one that is written anew.
            proxy.raw(("GET /p?q=1 HTTP/1.1\r\n" + first + "\r\n".join(lines) + "\r\nX-End: 1\r\n\r\n").encode("latin-1"),
                      half_close=True)
            return [l for l in origin.heads[-1].split("\r\n") if not l.startswith(("x-request-id", "X-First"))]
        whole, anew = forwarded("X-First: 1\r\n"), forwarded("X-First:\t1\r\n")
        self.assertEqual(whole, anew)
        self.assertEqual(whole[0], "GET /p?q=1 HTTP/1.1")
        self.assertEqual([l for l in whole if l in lines], lines)

    def test_kill_nine_of_one_origin_under_load(self):
        origins = [Demo("v1") for _ in range(3)]
        for origin in origins:
            self.addCleanup(origin.stop)
        addresses = ", ".join(f'"127.0.0.1:{o.port}"' for o in origins)
        proxy = self.start(f"""
listeners: [{{ name: http, address: "127.0.0.1:0" }}]
services:
  s: {{ versions: {{ v1: {{ endpoints: [{addresses}] }} }} }}
routes: [{{ name: rest, to: s }}]
drain: {{ delay: 0s, grace: 5s }}
""")
        statuses, done = [], threading.Event()
        def client():
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
            while not done.is_set():
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
            connection.close()
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: len(statuses) > 500)
        origins[0].process.send_signal(signal.SIGKILL)
        after = len(statuses)
        until(lambda: len(statuses) > after + 1_500, limit=60)
        done.set()
        for thread in threads:
            thread.join()
        bad = [s for s in statuses if s != 200]
        # Only what was sent and half answered cannot be tried again: at most one for each client.
        self.assertLessEqual(len(bad), 8)
        self.assertEqual(set(bad) - {502}, set())
        self.assertIn('"state": "out"', proxy.page("/clusters", proxy.admin))
        back = Demo("v1", origins[0].port)
        self.addCleanup(back.stop)
        until(lambda: '"state": "out"' not in proxy.page("/clusters", proxy.admin))


if __name__ == "__main__":
    unittest.main()
