"""Listeners that change their names, addresses of both families, the admin client, and series of what is gone."""
import json, os, re, shutil, signal, socket, subprocess, tempfile, threading, time, unittest, urllib.error, urllib.request
from certificates import Authority
from harness import BINARY, OK, Backend, Case, Proxy, config, endpoints, until


def free_port():
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    return port


def ask(connection, path="/"):
    """One request on an open connection; the status."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    out = b""
    while b"\r\n\r\nok" not in out:
        piece = connection.recv(65536)
        if not piece:
            break
        out += piece
    return out[9:12].decode()


class Renames(Case):
    def text(self, *listeners):
        """A listener is (name, port) or (name, port, more of its mapping)."""
        lines = "".join(f'  - {{ name: {l[0]}, address: "127.0.0.1:{l[1]}"{l[2] if len(l) > 2 else ""} }}\n' for l in listeners)
        if not hasattr(self, "origin"):
            self.origin = self.backend()
        return config(self.origin.port).replace('listeners: [{ name: http, address: "127.0.0.1:0" }]', "listeners:\n" + lines)

    def counted(self, proxy, listener):
        return proxy.metric(r'sluice_requests_total\{listener="%s".*code="200"' % listener)

    def test_another_name_keeps_connections_and_the_queue(self):
        port = free_port()
        proxy = self.start(self.text(("one", port)))
        proxy.port = port
        open_one = proxy.connect()
        self.assertEqual(ask(open_one), "200")
        stop, failures = threading.Event(), []
        def load():
            while not stop.is_set():
                try:
                    if proxy.get().status != 200:
                        failures.append("status")
                except OSError as error:
                    failures.append(repr(error))
        thread = threading.Thread(target=load)
        thread.start()
        for n in range(20):
            proxy.write(self.text((f"name-{n}", port)))
            proxy.reload()
            # The connection is the new name's now, at its next request.
            self.assertEqual(ask(open_one), "200")
            self.assertGreater(self.counted(proxy, f"name-{n}"), 0)
        stop.set()
        thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(proxy.metric('sluice_config_reloads_total{result="rejected"}'), 0)

    def test_two_names_change_places(self):
        ports = free_port(), free_port()
        proxy = self.start(self.text(("a", ports[0]), ("b", ports[1])))
        proxy.port = ports[0]
        kept = proxy.connect()
        self.assertEqual(ask(kept), "200")
        before = self.counted(proxy, "b")
        proxy.write(self.text(("b", ports[0]), ("a", ports[1])))
        proxy.reload()
        self.assertEqual(ask(kept), "200")
        self.assertEqual(proxy.get().status, 200)
        self.assertEqual((self.counted(proxy, "a"), self.counted(proxy, "b")), (1, before + 2))
        page = json.loads(proxy.page("/connections", proxy.admin))
        self.assertEqual({l["name"]: l["address"] for l in page["listeners"]},
                         {"b": f"127.0.0.1:{ports[0]}", "a": f"127.0.0.1:{ports[1]}"})

    def test_a_name_moves_to_another_address_and_its_place_is_taken(self):
        ports = free_port(), free_port()
        proxy = self.start(self.text(("a", ports[0])))
        proxy.write(self.text(("a", ports[1]), ("b", ports[0])))
        proxy.reload()
        for port in ports:
            proxy.port = port
            self.assertEqual(proxy.get().status, 200)
        self.assertEqual((self.counted(proxy, "a"), self.counted(proxy, "b")), (1, 1))

    def test_tls_goes_with_the_name(self):
        authority = Authority()
        authority.issue("one", "DNS:localhost")
        tls = f', tls: {{ certificate: {authority.file("one.crt")}, key: {authority.file("one.key")} }}'
        port = free_port()
        proxy = self.start(self.text(("one", port, tls)))
        def handshake():
            return subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", authority.ca, "-servername", "localhost"],
                input="", capture_output=True, text=True, timeout=20).stdout
        failures, stop = [], threading.Event()
        def load():
            while not stop.is_set():
                if "Verify return code: 0" not in handshake():
                    failures.append("no TLS")
        thread = threading.Thread(target=load)
        thread.start()
        for n in range(10):
            proxy.write(self.text((f"name-{n}", port, tls)))
            proxy.reload()
        stop.set()
        thread.join()
        self.assertEqual(failures, [])


class Addresses(Case):
    def start(self, text, *options, **settings):
        proxy = Proxy(text, *options, **settings)
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        return proxy

    def ready(self, host, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        connection = socket.socket(family)
        self.addCleanup(connection.close)
        connection.settimeout(20)
        connection.connect((host, port))
        connection.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return connection.recv(1000)[9:12].decode()

    def test_all_addresses_are_those_of_both_families(self):
        backend, port, metrics = self.backend(), free_port(), free_port()
        text = config(backend.port).replace("127.0.0.1:0", f"[::]:{port}", 1)
        # Metrics twice: the harness's own, and one on all addresses.
        proxy = self.start(text, admin=f'["127.0.0.1:0", "[::1]:0"]\nx-unused: 1')
        for host in ("127.0.0.1", "::1"):
            connection = socket.create_connection((host, port))
            connection.settimeout(20)
            self.assertEqual(ask(connection), "200")
            connection.close()
            # What the origin is told is the client's own address, not an IPv6 form of it.
            self.assertIn(f"x-forwarded-for: {host}\r\n", backend.heads[-1].lower() + "\r\n")
        started = next(l for l in proxy.log if "sluice started" in l)
        six = int(re.search(r"admin=127\.0\.0\.1:\d+,\[::1\]:(\d+)", started).group(1))
        self.assertEqual(self.ready("::1", six), "200")

    def test_an_ipv4_address_beside_has_its_own_part(self):
        backend, port = self.backend(), free_port()
        text = config(backend.port).replace(
            '[{ name: http, address: "127.0.0.1:0" }]',
            f'[{{ name: six, address: "[::]:{port}" }}, {{ name: four, address: "0.0.0.0:{port}" }}]')
        proxy = self.start(text)
        for host in ("127.0.0.1", "::1"):
            connection = socket.create_connection((host, port))
            connection.settimeout(20)
            self.assertEqual(ask(connection), "200")
            connection.close()
        for listener in ("six", "four"):
            self.assertEqual(proxy.metric(r'sluice_requests_total\{listener="%s".*code="200"' % listener), 1)

    def test_metrics_and_admin_have_lists_of_addresses(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path, port = os.path.join(folder, "s.yaml"), free_port()
        ports = [free_port() for _ in range(4)]
        with open(path, "w") as file:
            file.write(f"""listeners: [{{ name: http, address: "127.0.0.1:{port}" }}]
admin: {{ address: ["127.0.0.1:{ports[0]}", "[::1]:{ports[1]}"] }}
metrics: ["[::1]:{ports[2]}", "127.0.0.1:{ports[3]}"]
routes: [{{ name: a, respond: {{ status: 200 }} }}]
drain: {{ delay: 0s, grace: 1s }}
""")
        process = subprocess.Popen([BINARY, "run", "-c", path, "--workers", "1"], stderr=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (process.terminate(), self.assertEqual(process.wait(20), 0), process.stderr.close()))
        while "sluice started" not in process.stderr.readline():
            pass
        for host, each in zip(("127.0.0.1", "::1", "::1", "127.0.0.1"), ports):
            self.assertEqual(until(lambda: self.ready(host, each) == "200" and "200"), "200")
        run = subprocess.run([BINARY, "reload", "-c", path], capture_output=True, text=True, timeout=20)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        for text in (f'admin: []', f'admin: ["127.0.0.1:1", "127.0.0.1:1"]', f'metrics: ["127.0.0.1:{port}"]',
                     'admin: "127.0.0.1:9"\nmetrics: ["127.0.0.1:8", "127.0.0.1:9"]'):
            bad = os.path.join(folder, "bad.yaml")
            with open(bad, "w") as file:
                file.write(f'listeners: [{{ name: http, address: "127.0.0.1:{port}" }}]\n{text}\n'
                           "routes: [{ name: a, respond: { status: 200 } }]\n")
            run = subprocess.run([BINARY, "validate", "-c", bad], capture_output=True, text=True, timeout=20)
            self.assertEqual(run.returncode, 2, text)


class Reloads(Case):
    def sluice(self, *arguments):
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=30)

    def test_the_admin_client_believes_nobody_else(self):
        asked = []
        def answer(head, body):
            asked.append(head.split("\r\n")[0])
            return b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\nConnection: close\r\n\r\n{\"result\": \"accepted\"}\n"
        other = self.backend(answer)
        mute = self.backend(b"SSH-2.0-OpenSSH_9.2\r\n")
        mute.answer = lambda head, body: None
        proxy = self.start(config(self.backend().port))
        for command in ("reload", "drain"):
            run = self.sluice(command, "--admin", f"127.0.0.1:{other.port}")
            self.assertEqual(run.returncode, 1)
            self.assertIn("is not Sluice's admin endpoint (it answered 200)", run.stderr)
            self.assertIn("by default 127.0.0.1:15000", run.stderr)
            run = self.sluice(command, "--admin", f"127.0.0.1:{mute.port}")
            self.assertEqual(run.returncode, 1)
            self.assertIn("does not speak HTTP/1.1", run.stderr)
            run = self.sluice(command, "--admin", f"127.0.0.1:{free_port()}")
            self.assertEqual(run.returncode, 1)
            self.assertIn("nobody answers", run.stderr)
        # Nothing was changed at a server that is another's.
        self.assertEqual(set(asked), {"GET / HTTP/1.1"})
        run = self.sluice("reload", "--admin", f"127.0.0.1:{proxy.admin}")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        # The address of clients is a wrong one too.
        self.assertEqual(self.sluice("reload", "--admin", f"127.0.0.1:{proxy.port}").returncode, 1)

    def test_a_directory_that_another_replaces_is_watched_on(self):
        port = self.backend().port
        proxy = self.start(config(port, routes="routes: [{ name: a, respond: { status: 200, body: zero } }]"), "--watch")
        folder = os.path.dirname(proxy.path)
        inner = os.path.join(folder, "inner")
        text = lambda body: (f'admin: {proxy.admin_text}\nmetrics: "127.0.0.1:0"\n'
                             + config(port, routes=f"routes: [{{ name: a, respond: {{ status: 200, body: {body} }} }}]"))
        def make(where, body):
            os.mkdir(where)
            with open(os.path.join(where, "sluice.yaml"), "w") as file:
                file.write(text(body))
        make(inner, "one")
        os.symlink(os.path.join(inner, "sluice.yaml"), proxy.path + ".link")
        os.rename(proxy.path + ".link", proxy.path)
        until(lambda: "one" in proxy.get("/").text)
        # Swapped for one that was made aside, twice; what is written into the new one is seen.
        for body in ("two", "three"):
            make(inner + ".new", body)
            os.rename(inner, inner + "." + body)
            os.rename(inner + ".new", inner)
            until(lambda: body in proxy.get("/").text)
        with open(os.path.join(inner, "sluice.yaml"), "w") as file:
            file.write(text("four"))
        until(lambda: "four" in proxy.get("/").text)
        # Taken away, and made anew after a while.
        shutil.rmtree(inner)
        until(lambda: any("cannot be read" in line for line in proxy.log))
        make(inner, "five")
        until(lambda: "five" in proxy.get("/").text)

    def test_what_only_a_start_changes_is_compared_with_what_runs(self):
        text = config(self.backend().port)
        proxy = self.start(text)
        said = lambda words: sum(words in line for line in proxy.log)
        for times, more in ((1, "workers: 3"), (2, "workers: 3 # again"), (2, "")):
            accepted = said("configuration reloaded")
            proxy.write(text + more + "\n")
            proxy.reload()
            until(lambda: said("configuration reloaded") > accepted)
            self.assertEqual(said("some settings take effect at the next start"), times, more)

    def test_an_address_becomes_wider_and_narrower_by_reloads(self):
        text = config(self.backend().port)
        proxy = self.start(text.replace('"127.0.0.1:0"', f'"127.0.0.1:{free_port()}"'))
        stop, failures = threading.Event(), []
        def load():
            while not stop.is_set():
                try:
                    if proxy.get().status != 200:
                        failures.append("status")
                except ConnectionResetError:
                    pass  # it waited in the queue of a socket that was closed
                except OSError as error:
                    failures.append(repr(error))
        thread = threading.Thread(target=load)
        thread.start()
        for wide in ("0.0.0.0", "127.0.0.1", "[::]", "0.0.0.0", "127.0.0.1"):
            proxy.write(text.replace('"127.0.0.1:0"', f'"{wide}:{proxy.port}"'))
            proxy.reload()
            listeners = json.loads(proxy.page("/connections", proxy.admin))["listeners"]
            self.assertEqual([l["address"] for l in listeners], [f"{wide}:{proxy.port}"])
            self.assertEqual(proxy.get().status, 200)
        stop.set()
        thread.join()
        self.assertEqual(failures, [])
        # It is this process's alone, as before.
        other = subprocess.run([BINARY, "run", "-c", proxy.path], capture_output=True, text=True, timeout=60)
        self.assertEqual(other.returncode, 1)
        self.assertIn("Address already in use", other.stderr)

    def test_the_access_log_is_beside_the_file_and_must_open(self):
        port = self.backend().port
        def text(path):
            return config(port, extra=f"accessLog: {{ path: {path} }}")
        proxy = self.start(text("access.log"))
        log = os.path.join(proxy.folder.name, "access.log")
        proxy.get("/one")
        until(lambda: "/one" in open(log).read())
        # A log that cannot be opened is a rejected reload, and the old one goes on.
        os.mkfifo(os.path.join(proxy.folder.name, "pipe"))
        for bad in ("no/such/folder/access.log", ".", "pipe"):
            proxy.write(text(bad))
            rejected = proxy.metric('sluice_config_reloads_total{result="rejected"}')
            proxy.reload()
            self.assertEqual(proxy.metric('sluice_config_reloads_total{result="rejected"}'), rejected + 1, bad)
            why = json.loads(proxy.page("/config", proxy.admin))["lastRejection"]
            self.assertIn("accessLog.path: ", why)
            self.assertIn("beside the configuration file", why)
        proxy.get("/two")
        until(lambda: "/two" in open(log).read())
        proxy.write(text("other.log"))
        proxy.reload()
        # Lines that the writer has not taken yet belong to the file as it was.
        other = os.path.join(proxy.folder.name, "other.log")
        until(lambda: proxy.get("/three") and "/three" in open(other).read())
        # A file that cannot be opened anew leaves the one that is open.
        os.rename(other, other + ".1")
        os.mkdir(other)
        proxy.process.send_signal(signal.SIGUSR1)
        until(lambda: any("cannot be opened anew" in line for line in list(proxy.log)))
        proxy.get("/four")
        until(lambda: "/four" in open(other + ".1").read())

    def test_a_log_that_cannot_be_opened_at_the_start_is_said(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "s.yaml")
        with open(path, "w") as file:
            file.write('listeners: [{ name: h, address: "127.0.0.1:0" }]\nadmin: "127.0.0.1:0"\nmetrics: "127.0.0.1:0"\n'
                       "routes: [{ name: a, respond: { status: 200 } }]\naccessLog: { path: none/access.log }\n")
        for command, output in (("validate", "stdout"), ("run", "stderr")):
            run = self.sluice(command, "-c", path)
            self.assertEqual(run.returncode, 2)
            said = getattr(run, output)
            self.assertRegex(said, rf"s.yaml:5:20: error: accessLog.path: {folder}/none/access.log cannot be opened")
            self.assertIn("No such file or directory", said)
            self.assertIn(f"mkdir -p {folder}/none", said)

    def accepted(self, proxy):
        return proxy.metric('sluice_config_reloads_total{result="accepted"}')

    def test_watching_follows_links_into_other_directories(self):
        elsewhere = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, elsewhere)
        port = self.backend().port
        proxy = self.start(config(port), "--watch")
        text = open(proxy.path).read()
        def version(n):
            folder = os.path.join(elsewhere, f"..{n}")
            os.mkdir(folder)
            with open(os.path.join(folder, "real.yaml"), "w") as file:
                file.write(text + f"# {n}\n")
            os.symlink(f"..{n}", os.path.join(elsewhere, "..new"))
            os.rename(os.path.join(elsewhere, "..new"), os.path.join(elsewhere, "..data"))
        # sluice.yaml → here.yaml → ELSEWHERE/real.yaml → ..data/real.yaml, and ..data changes.
        version(0)
        os.symlink("..data/real.yaml", os.path.join(elsewhere, "real.yaml"))
        here = os.path.join(proxy.folder.name, "here.yaml")
        os.symlink(os.path.join(elsewhere, "real.yaml"), here)
        os.symlink("here.yaml", proxy.path + ".link")
        os.rename(proxy.path + ".link", proxy.path)
        until(lambda: self.accepted(proxy) == 1)
        for n in range(1, 4):
            version(n)
            until(lambda: self.accepted(proxy) == 1 + n)
        # A bad file there is rejected, and mended there.
        with open(os.path.join(elsewhere, "..3", "real.yaml"), "w") as file:
            file.write("listeners: [\n")
        until(lambda: proxy.metric('sluice_config_reloads_total{result="rejected"}') == 1)
        version(4)
        until(lambda: self.accepted(proxy) == 5)

    def test_watching_follows_the_links_of_certificates_and_keys(self):
        authority, elsewhere = Authority(), tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, elsewhere)
        def issue(n):
            folder = os.path.join(elsewhere, f"..{n}")
            os.mkdir(folder)
            authority.issue(f"c{n}", "DNS:localhost", subject=f"number-{n}")
            shutil.copy(authority.file(f"c{n}.crt"), os.path.join(folder, "tls.crt"))
            shutil.copy(authority.file(f"c{n}.key"), os.path.join(folder, "tls.key"))
            with open(os.path.join(folder, "sticky.keys"), "w") as file:
                file.write(f"{n}" * 32 + "\n")
            os.symlink(f"..{n}", os.path.join(elsewhere, "..new"))
            os.rename(os.path.join(elsewhere, "..new"), os.path.join(elsewhere, "..data"))
        issue(0)
        for name in ("tls.crt", "tls.key", "sticky.keys"):
            os.symlink(f"..data/{name}", os.path.join(elsewhere, name))
        port = free_port()
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        for name in ("tls.crt", "tls.key", "sticky.keys"):
            os.symlink(os.path.join(elsewhere, name), os.path.join(folder, name))
        text = config(self.backend().port, service=f"    sticky: {{ issue: sid, keys: {folder}/sticky.keys }}").replace(
            '{ name: http, address: "127.0.0.1:0" }',
            f'{{ name: https, address: "127.0.0.1:{port}", tls: {{ certificate: {folder}/tls.crt, key: {folder}/tls.key }} }}')
        proxy = self.start(text, "--watch")
        for n in range(1, 3):
            issue(n)
            until(lambda: self.accepted(proxy) >= n)
            out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}"], input="", capture_output=True,
                                 text=True, timeout=20).stdout
            self.assertIn(f"number-{n}", out)

    def test_what_else_happens_in_the_directory_is_no_change(self):
        proxy = self.start(config(self.backend().port, extra="accessLog: { path: access.log }"), "--watch")
        for n in range(3):
            with open(os.path.join(proxy.folder.name, f"other-{n}"), "w") as file:
                file.write("x")
        with open(proxy.path, "a") as file:
            file.write("# changed\n")
        until(lambda: self.accepted(proxy) >= 1)
        proxy.get()
        self.assertEqual(self.accepted(proxy), 1)


class Connections(Case):
    def test_what_is_under_way_is_shown(self):
        backend = self.backend()
        backend.answer = backend.hang
        proxy = self.start(config(backend.port))
        def shown(key):
            return sum(worker[key] for worker in json.loads(proxy.page("/connections", proxy.admin))["workers"])
        self.assertEqual((shown("exchanges"), shown("upstream"), shown("tunnels")), (0, 0, 0))
        with proxy.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: svc\r\n\r\n")
            until(lambda: (shown("downstream"), shown("exchanges"), shown("upstream")) == (1, 1, 1))
        until(lambda: (shown("downstream"), shown("exchanges"), shown("upstream")) == (0, 0, 0))


class Series(Case):
    def test_versions_that_are_gone_leave_the_page(self):
        port = self.backend().port
        def text(version):
            return config(port, port).replace("v2:", version + ":")
        proxy = self.start(text("c0"))
        first = len(proxy.page("/metrics").splitlines())
        def shown():
            return set(re.findall(r'version="(c\d+)"', proxy.page("/metrics")))
        for n in range(1, 8):
            # One of ten goes to the canary.
            for _ in range(20):
                proxy.get()
            proxy.write(text(f"c{n}"))
            proxy.reload()
            self.assertIn(f"c{n}", shown())
        # What has counted is there to be read for some minutes, however often it is.
        self.assertEqual(shown(), {f"c{n}" for n in range(8)})
        # What has counted nothing goes at once.
        for n in range(8, 12):
            proxy.write(text(f"c{n}"))
            proxy.reload()
        self.assertEqual(shown(), {f"c{n}" for n in range(7)} | {"c11"})
        proxy.write(text("c11"), metrics='{ address: "127.0.0.1:0", retention: 0s }')
        proxy.reload()
        self.assertEqual(shown(), {"c11"})
        self.assertLess(len(proxy.page("/metrics").splitlines()), 2 * first)

    def test_a_version_that_comes_back_goes_on_counting(self):
        port = self.backend().port
        def text(version):
            return config(port, routes=f"routes: [{{ name: rest, to: s }}]").replace("v1", version)
        proxy = self.start(text("a"))
        for _ in range(3):
            proxy.get()
        for version in ("b", "c", "d"):
            proxy.write(text(version))
            proxy.reload()
        counted = r'sluice_requests_total\{.*version="a".*code="200"'
        self.assertEqual(proxy.metric(counted), 3)
        proxy.write(text("a"))
        proxy.reload()
        self.assertEqual(proxy.metric(counted), 3)
        proxy.get()
        self.assertEqual(proxy.metric(counted), 4)

    def test_a_version_that_has_left_the_page_counts_from_zero(self):
        port = self.backend().port
        def write(version):
            text = config(port, routes=f"routes: [{{ name: rest, to: s }}]").replace("v1", version)
            proxy.write(text, metrics='{ address: "127.0.0.1:0", retention: 0s }')
            proxy.reload()
        proxy = self.start(config(port))
        def counted(version):
            return proxy.metric(r'sluice_requests_total\{.*version="%s".*code="200"' % version)
        # As many names as it takes until memory is used again; each counts its own requests.
        for n in range(30):
            write(f"a{n % 3}")
            before = counted(f"a{n % 3}")
            for _ in range(n % 3 + 1):
                self.assertEqual(proxy.get().status, 200)
            self.assertEqual(counted(f"a{n % 3}"), before + n % 3 + 1)
            # What came before is its own: nothing, or some of its earlier turns.
            self.assertIn(before, range(0, (n // 3 + 1) * (n % 3 + 1), n % 3 + 1))


if __name__ == "__main__":
    unittest.main()
