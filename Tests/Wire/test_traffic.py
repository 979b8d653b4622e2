"""The promises at the wire: exact shares, sticky users, reloads and kills that lose nothing."""
import collections, json, os, re, shutil, signal, socket, subprocess, tempfile, threading, unittest, urllib.request
from harness import BINARY, OK, Case, Demo, Origin, Proxy, answering, config, until


class Traffic(Case):
    served_by = "defaults: { forwarding: { version: x-served-by, flags: x-sluice-flags } }"

    def test_exact_share_through_reloads(self):
        v1, v2 = self.pair()
        proxy = self.start(config(v1.port, v2.port, weights=("99", "1"), extra=self.served_by))
        stop = threading.Event()
        def reload():
            for _ in range(20):
                proxy.reload()
        thread = threading.Thread(target=reload)
        thread.start()
        results = self.load(proxy, 8000)
        thread.join()
        more = self.load(proxy, 2000)
        total = results + more
        self.assertEqual(sum(total.values()), 10000)
        self.assertLessEqual(abs(total[("200", "v2")] - 100), 1, total)
        self.assertEqual(total[("200", "v1")] + total[("200", "v2")], 10000, total)
        self.assertEqual(proxy.metric('sluice_config_reloads_total{result="accepted"}'), 20)

    def test_every_prefix_of_the_log(self):
        v1, v2 = self.pair()
        log = tempfile.NamedTemporaryFile(suffix=".log")
        proxy = self.start(config(
            v1.port, v2.port, weights=("90", "10"), extra=f"accessLog: {{ path: {log.name} }}"))
        self.load(proxy, 3200)
        until(lambda: sum(1 for _ in open(log.name)) == 3200)
        lines = sorted((json.loads(l) for l in open(log.name)), key=lambda l: l["draw"])
        self.assertEqual([l["draw"] for l in lines], list(range(3200)))
        canary = 0
        for n, line in enumerate(lines, 1):
            canary += line["version"] == "v2"
            self.assertLess(abs(canary - n * 0.1), 1)

    def test_header_route_and_errors_by_version(self):
        v1, v2 = self.pair("--error-rate", "20%")
        routes = """routes:
  - { name: beta, match: { headers: { x-user-group: beta } }, to: s/v2 }
  - { name: rest, to: s/v1 }"""
        proxy = self.start(config(v1.port, v2.port, routes=routes, extra=self.served_by))
        beta = self.load(proxy, 1600, headers=[b"x-user-group: beta\r\n"])
        rest = self.load(proxy, 1600)
        self.assertEqual({served for (_, served) in beta}, {"v2"})
        self.assertEqual(rest, {("200", "v1"): 1600})
        errors = beta[("500", "v2")]
        self.assertGreater(errors, 200)
        self.assertEqual(proxy.metric('sluice_errors_total.*version="v2".*cause="response"'), errors)
        self.assertEqual(proxy.metric('sluice_errors_total.*version="v1"'), 0)
        self.assertEqual(proxy.metric("sluice_requests_total"), proxy.metric("sluice_requests_started_total"))
        self.assertEqual(proxy.metric("sluice_requests_in_flight"), 0)

    def test_sticky_over_a_rollout(self):
        v1, v2 = Origin(answering(OK)), Origin(answering(OK))
        self.addCleanup(v1.close)
        self.addCleanup(v2.close)
        sticky = "    sticky: { cookie: session }"
        text = lambda share: config(
            v1.port, v2.port, weights=(f"{100 - share}%", f"{share}%"), service=sticky, extra=self.served_by)
        proxy, twin = self.start(text(0)), self.start(text(0))
        sessions = [f"user-{i}" for i in range(10_000)]
        def versions(which):
            """Two requests of every session, pipelined, 100 sessions at a time."""
            canary = set()
            connection = which.connect()
            for start in range(0, len(sessions), 100):
                batch = [s for s in sessions[start:start + 100] for _ in range(2)]
                connection.sendall(b"".join(
                    f"GET / HTTP/1.1\r\nHost: a\r\nCookie: session={s}\r\n\r\n".encode() for s in batch))
                out = b""
                while out.count(b"x-served-by") < 200 or not out.endswith(b"ok"):
                    out += connection.recv(1 << 20)
                served = re.findall(rb"x-served-by: (v\d)\r\n", out)
                self.assertEqual(served[0::2], served[1::2])
                canary |= {s for s, version in zip(batch[0::2], served[0::2]) if version == b"v2"}
            connection.close()
            return canary
        before = set()
        for share in (1, 5, 25, 50, 100):
            for which in (proxy, twin):
                which.write(text(share))
                which.reload()
            canary = versions(proxy)
            self.assertLessEqual(before, canary)
            self.assertEqual(canary, versions(twin))
            before = canary
        self.assertEqual(len(before), 10_000)
        proxy.write(text(0))
        proxy.reload()
        self.assertEqual(versions(proxy), set())

    def test_bad_reload_changes_nothing(self):
        v1, v2 = self.pair()
        proxy = self.start(config(v1.port, v2.port))
        proxy.write("listeners: [\n")
        proxy.reload()
        self.assertEqual(proxy.get().status, 200)
        self.assertEqual(proxy.metric('sluice_config_reloads_total{result="rejected"}'), 1)
        self.assertEqual(proxy.metric("sluice_config_last_reload_successful"), 0)
        self.assertIn("sluice.yaml:", proxy.page("/config", proxy.admin))
        os.remove(proxy.path)
        proxy.reload()
        self.assertEqual(proxy.get().status, 200)

    def test_watch_follows_renames_and_symlink_swaps(self):
        v1, v2 = self.pair()
        proxy = self.start(config(v1.port, v2.port), "--watch")
        proxy.write(config(v2.port, v1.port))
        until(lambda: proxy.metric('sluice_config_reloads_total{result="accepted"}') == 1)
        folder = os.path.dirname(proxy.path)
        text = open(proxy.path).read()
        os.symlink("..data/sluice.yaml", os.path.join(folder, "link"))
        for n in range(2):
            data = os.path.join(folder, f"..data-{n}")
            os.mkdir(data)
            with open(os.path.join(data, "sluice.yaml"), "w") as file:
                file.write(text)
            if n == 0:
                os.symlink(data, os.path.join(folder, "..data"))
                os.rename(os.path.join(folder, "link"), proxy.path)
            os.symlink(data, os.path.join(folder, "..tmp"))
            os.rename(os.path.join(folder, "..tmp"), os.path.join(folder, "..data"))
            until(lambda: proxy.metric('sluice_config_reloads_total{result="accepted"}') >= 2 + n)

    def test_killed_origin_comes_back(self):
        v1, v2 = self.pair()
        routes = "routes: [{ name: one, to: s/v1 }]"
        proxy = self.start(config(v1.port, v2.port, routes=routes, extra=self.served_by))
        self.assertEqual(proxy.get().status, 200)
        v1.stop()
        statuses = [proxy.get() for _ in range(5)]
        self.assertTrue(all(r.status in (502, 503) for r in statuses), [r.status for r in statuses])
        self.assertEqual(statuses[-1].headers["x-sluice-flags"], "UH")
        back = Demo("v1", v1.port)
        self.addCleanup(back.stop)
        until(lambda: proxy.get().status == 200, limit=5)

    def test_waits_for_a_connection_across_workers(self):
        origin = Origin(answering(OK))
        self.addCleanup(origin.close)
        proxy = self.start(config(
            origin.port, service="    connectionPool: { maxConnections: 1, idleTimeout: off }", extra=self.served_by))
        results = self.load(proxy, 400, connections=8)
        self.assertEqual(results, {("200", "v1"): 400})

    def test_drain_finishes_what_is_under_way(self):
        gate = threading.Event()
        def serve(origin, connection):
            origin.head(connection)
            gate.wait(20)
            connection.sendall(OK)
        origin = Origin(serve)
        self.addCleanup(origin.close)
        proxy = Proxy(config(origin.port))
        connection = proxy.connect()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: origin.heads)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: any("draining" in line for line in proxy.log))
        gate.set()
        out = connection.recv(1000)
        self.assertIn(b"connection: close", out)
        connection.close()
        self.assertEqual(proxy.stop(), 0)


class Operations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(answering(OK))
        cls.socket = tempfile.mkdtemp()
        cls.unix = Origin(answering(OK), socket.AF_UNIX, os.path.join(cls.socket, "origin"))
        cls.proxy = Proxy(f"""
listeners:
  - {{ name: http, address: "127.0.0.1:0" }}
  - {{ name: six, address: "[::1]:0" }}
  - {{ name: local, address: "unix:{cls.socket}/listen" }}
services:
  s: {{ hosts: [svc], versions: {{ v1: {{ endpoints: ["127.0.0.1:{cls.origin.port}"] }} }} }}
  u: {{ hosts: ["*.unix"], versions: {{ v1: {{ endpoints: ["unix:{cls.socket}/origin"] }} }} }}
  gone: {{ hosts: [gone], versions: {{ v1: {{ dns: "no-such-name.invalid:80" }} }} }}
routes:
  - {{ name: old, match: {{ path: {{ prefix: /old }} }}, redirect: {{ prefix: /new, status: 308 }} }}
  - {{ name: ok, match: {{ path: {{ exact: /_ok }} }}, respond: {{ status: 200, body: "fine" }} }}
  - name: edit
    match: {{ path: {{ prefix: /edit }} }}
    to: s
    rewrite: {{ prefix: /to, host: inner.test }}
    headers:
      request: {{ set: {{ x-env: canary }}, add: {{ x-more: "1" }}, remove: [user-agent] }}
      response: {{ set: {{ x-served: sluice }} }}
drain: {{ delay: 0s, grace: 5s }}
""")

    @classmethod
    def tearDownClass(cls):
        assert cls.proxy.stop() == 0

    def test_routes(self):
        response = self.proxy.get("/old/x?y=1", {"Host": "h.test"})
        self.assertEqual((response.status, response.headers["location"]), (308, "/new/x?y=1"))
        self.assertEqual(self.proxy.get("/_ok").text, "fine")
        self.assertEqual(self.proxy.get("/x", {"Host": "nobody"}).status, 404)
        self.assertEqual(self.proxy.get("/x", {"Host": "SVC:99"}).status, 200)
        self.assertEqual(self.proxy.get("/x", {"Host": "gone"}).status, 503)
        response = self.proxy.get("/edit/a?b", {"User-Agent": "me", "X-Env": "theirs"})
        self.assertEqual(response.headers["x-served"], "sluice")
        head = self.origin.heads[-1]
        self.assertTrue(head.startswith("GET /to/a?b HTTP/1.1\r\nHost: inner.test"), head)
        self.assertIn("x-env: canary", head)
        self.assertNotIn("theirs", head)
        self.assertNotIn("me\r\n", head)

    def test_address_families(self):
        self.assertEqual(self.proxy.get("/x", {"Host": "a.unix"}).status, 200)
        started = next(l for l in self.proxy.log if "sluice started" in l)
        port = int(re.search(r"six=\[::1\]:(\d+)", started).group(1))
        for connection in (socket.create_connection(("::1", port)), socket.socket(socket.AF_UNIX)):
            if connection.family == socket.AF_UNIX:
                connection.connect(os.path.join(self.socket, "listen"))
            connection.sendall(b"GET /_ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 200"))
            connection.close()

    def test_what_does_not_resolve_is_named(self):
        self.assertEqual(self.proxy.page("/live"), "live\n")
        clusters = json.loads(self.proxy.page("/clusters", self.proxy.admin))["services"]
        gone = next(v for s in clusters for v in s["versions"] if v.get("dns", "").startswith("no-such-name.invalid"))
        self.assertNotEqual(gone["dnsFailure"], "")
        self.assertTrue(any("a name does not resolve" in l and "no-such-name.invalid" in l for l in self.proxy.log))

    def test_admin(self):
        for page in ("/config", "/clusters", "/connections", "/explain?method=GET&url=http://svc/x"):
            json.loads(self.proxy.page(page, self.proxy.admin))
        for path, method in (("/reload", "PUT"), ("/config", "POST"), ("/nothing", "GET")):
            with self.assertRaises(Exception):
                self.proxy.page(path, self.proxy.admin, method)
        connection = socket.create_connection(("127.0.0.1", self.proxy.admin))
        for field in (b"Host: evil.test", b"Host: localhost\r\nOrigin: http://evil.test"):
            connection.sendall(b"GET /config HTTP/1.1\r\n" + field + b"\r\n\r\n")
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 403"))
        connection.close()
        self.assertIn("accepted", self.proxy.page("/reload", self.proxy.admin, "POST"))

    def test_second_instance_is_refused(self):
        started = next(l for l in self.proxy.log if "sluice started" in l)
        folder = tempfile.mkdtemp()
        path = os.path.join(folder, "c.yaml")
        with open(path, "w") as file:
            file.write(f'admin: "127.0.0.1:0"\nmetrics: "127.0.0.1:0"\nlisteners: [{{ name: h, address: "127.0.0.1:{self.proxy.port}" }}]\n'
                       'routes: [{ name: a, respond: { status: 200 } }]\n')
        run = subprocess.run([BINARY, "run", "-c", path], capture_output=True, text=True, timeout=20)
        self.assertEqual(run.returncode, 1)
        self.assertIn("Address already in use", run.stderr)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_prometheus_reads_the_page(self):
        self.proxy.get("/_ok")
        page = self.proxy.page("/metrics")
        run = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
        # Istio's own name; any other complaint is ours.
        self.assertEqual(re.sub(r"istio_request_duration_milliseconds use base unit .*\n", "", run.stdout + run.stderr), "")

    def test_openmetrics_by_accept(self):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.proxy.metrics_port}/metrics", headers={"Accept": "application/openmetrics-text"})
        with urllib.request.urlopen(request, timeout=20) as response:
            self.assertTrue(response.headers["content-type"].startswith("application/openmetrics-text"))
            page = response.read().decode()
        self.assertTrue(page.endswith("# EOF\n"))
        self.assertIn("# TYPE sluice_requests counter", page)

    @unittest.skipUnless(shutil.which("prometheus"), "prometheus is not installed")
    def test_prometheus_scrapes(self):
        self.proxy.get("/_ok")
        folder = tempfile.mkdtemp()
        with open(os.path.join(folder, "p.yml"), "w") as file:
            file.write("global: { scrape_interval: 1s }\nscrape_configs:\n  - job_name: sluice\n    static_configs:\n"
                       f"      - targets: ['127.0.0.1:{self.proxy.metrics_port}']\n")
        probe = socket.socket()
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/p.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        def scraped():
            try:
                page = self.proxy.page("/api/v1/query?query=sluice_requests_total%7Broute%3D%22ok%22%7D", port)
                return json.loads(page)["data"]["result"]
            except OSError:
                return None
        self.assertTrue(until(scraped, limit=30))


class CommandLine(unittest.TestCase):
    def run_sluice(self, *arguments):
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=30)

    def test_exit_codes_and_help(self):
        self.assertEqual(self.run_sluice("version").returncode, 0)
        self.assertEqual(self.run_sluice("run").returncode, 64)
        self.assertEqual(self.run_sluice("validate", "-c", "/nonexistent").returncode, 2)
        self.assertEqual(self.run_sluice("reload", "--admin", "127.0.0.1:1").returncode, 1)
        for command in ("run", "validate", "explain", "diff", "schema", "demo", "reload", "drain", "evidence", "guard", "rollout", "version"):
            self.assertIn("EXAMPLES", self.run_sluice(command, "--help").stdout)
        for shell in ("bash", "zsh", "fish"):
            self.assertEqual(self.run_sluice("--generate-completion-script", shell).returncode, 0)

    def test_reload_and_drain_wait_for_the_outcome(self):
        origin = Origin(answering(OK))
        self.addCleanup(origin.close)
        proxy = Proxy(config(origin.port))
        address = f"127.0.0.1:{proxy.admin}"
        self.assertEqual(self.run_sluice("reload", "--admin", address).returncode, 0)
        proxy.write("nonsense: 1\n")
        self.assertEqual(self.run_sluice("reload", "--admin", address).returncode, 2)
        run = self.run_sluice("drain", "--admin", address)
        self.assertEqual((run.returncode, run.stdout), (0, "drained\n"))
        self.assertEqual(proxy.stop(), 0)


if __name__ == "__main__":
    unittest.main()
