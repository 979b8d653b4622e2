"""Admin pages of a large configuration: they take long to make and to send, and hold up nobody."""
import json, os, re, select, signal, socket, subprocess, tempfile, unittest
from harness import BINARY, Case, config, until

ROUTES = 10_000


def text(port, name="r"):
    routes = "\n".join(
        f"  - {{ name: {name}{i}, match: {{ path: {{ prefix: /{i} }} }}, to: s }}" for i in range(ROUTES))
    return config(port, routes="routes:\n" + routes)


class Scrape:
    """A request whose answer is read when somebody wants it."""

    def __init__(self, port, path="/metrics", buffer=None):
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def has_begun(self):
        return bool(select.select([self.socket], [], [], 0)[0])

    def read(self):
        """Status, head and content, which must be as long as it says."""
        out = b""
        while b"\r\n\r\n" not in out:
            piece = self.socket.recv(65536)
            assert piece, out
            out += piece
        head, body = out.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"content-length: (\d+)", head).group(1))
        pieces, left = [body], length - len(body)
        while left > 0:
            piece = self.socket.recv(1 << 20)
            assert piece, f"{left} bytes are missing"
            pieces.append(piece)
            left -= len(piece)
        self.socket.close()
        return int(head[9:12]), head.decode(), b"".join(pieces).decode()


class Pages(Case):
    def large(self):
        self.port = self.backend().port
        return self.start(text(self.port))

    def live(self, proxy):
        self.assertEqual(proxy.page("/live"), "live\n")
        self.assertEqual(proxy.page("/live", proxy.admin), "live\n")

    def test_probes_overtake_pages_that_are_being_made(self):
        proxy = self.large()
        for path in ("/metrics", "/config", "/explain?url=http://a/9999"):
            overtaken = 0
            for _ in range(20):
                scrape = Scrape(proxy.admin, path)
                self.live(proxy)
                overtaken += not scrape.has_begun()
                status, _, body = scrape.read()
                self.assertEqual(status, 200)
                if overtaken:
                    break
            self.assertGreater(overtaken, 0, path)
            if path == "/metrics":
                self.assertIn('route="r9999"', body)

    def test_slow_readers_get_their_pages_whole_and_hold_up_nobody(self):
        proxy = self.large()
        slow = [Scrape(proxy.metrics_port, buffer=4096) for _ in range(5)]
        until(lambda: all(scrape.has_begun() for scrape in slow))
        self.live(proxy)
        status, _, quick = Scrape(proxy.metrics_port).read()
        self.assertEqual(status, 200)
        self.assertEqual(proxy.get("/1").status, 200)
        for scrape in slow:
            status, _, body = scrape.read()
            self.assertEqual(status, 200)
            self.assertEqual(len(re.findall(r"^sluice_requests_in_flight\{", body, re.M)),
                             len(re.findall(r"^sluice_requests_in_flight\{", quick, re.M)))

    def test_more_scrapes_than_there_may_be_are_told_to_come_back(self):
        proxy = self.large()
        # Nobody reads: a page is larger than what sockets hold.
        scrapes = [Scrape(proxy.metrics_port, buffer=4096) for _ in range(40)]
        until(lambda: all(scrape.has_begun() for scrape in scrapes))
        self.live(proxy)
        answers = [scrape.read() for scrape in scrapes]
        statuses = [status for status, _, _ in answers]
        self.assertEqual((statuses.count(200), statuses.count(503)), (32, 8))
        for status, head, body in answers:
            if status == 503:
                self.assertIn("retry-after: 5", head)
                self.assertIn("ask again soon", body)
        self.assertEqual(Scrape(proxy.metrics_port).read()[0], 200)

    def test_a_page_that_is_made_during_a_reload_is_of_one_configuration(self):
        proxy = self.large()
        for name in ("a", "b", "c"):
            scrapes = [Scrape(proxy.metrics_port, buffer=4096) for _ in range(4)]
            proxy.write(text(self.port, name))
            proxy.reload()
            for scrape in scrapes:
                status, _, body = scrape.read()
                self.assertEqual(status, 200)
                named = set(re.findall(r'route="([abcr])\d+",service="s",version="v1",assign="weighted",code="200"', body))
                self.assertEqual(len(named), 1, named)
        self.assertEqual(proxy.get("/1").status, 200)

    def test_clients_that_leave_take_their_pages_with_them(self):
        proxy = self.large()
        descriptors = proxy.metric("process_open_fds")
        for n in range(60):
            scrape = Scrape(proxy.metrics_port, buffer=4096)
            if n % 3 == 0:
                until(scrape.has_begun)
            if n % 2:
                # A reset in place of an end.
                scrape.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            scrape.socket.close()
        self.live(proxy)
        until(lambda: proxy.metric("process_open_fds") <= descriptors)

    def test_idle_connections_keep_no_probe_out(self):
        proxy = self.start(config(self.backend().port))
        idle = [socket.create_connection(("127.0.0.1", proxy.metrics_port)) for _ in range(150)]
        idle[-1].sendall(b"GET /li")
        for _ in range(3):
            self.live(proxy)
        idle[-1].sendall(b"ve HTTP/1.1\r\nHost: a\r\n\r\n")
        idle[-1].settimeout(20)
        self.assertIn(b"live", idle[-1].recv(4096))
        for connection in idle:
            connection.close()


class Sockets(Case):
    def run_with(self, folder):
        path = os.path.join(folder, "sluice.yaml")
        with open(path, "w") as file:
            file.write(f"admin: unix:{folder}/admin\nmetrics: unix:{folder}/metrics\n"
                       + config(self.backend().port))
        process = subprocess.Popen([BINARY, "run", "-c", path], stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        line = process.stderr.readline()
        while line and "sluice started" not in line:
            line = process.stderr.readline()
        self.assertIn("sluice started", line)
        return process

    def test_files_of_admin_and_metrics_sockets_go_with_the_process(self):
        with tempfile.TemporaryDirectory() as folder:
            process = self.run_with(folder)
            self.assertLessEqual({"admin", "metrics"}, set(os.listdir(folder)))
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0)
            self.assertEqual(os.listdir(folder), ["sluice.yaml"])

    def test_a_file_that_another_has_bound_since_stays(self):
        with tempfile.TemporaryDirectory() as folder:
            process = self.run_with(folder)
            os.unlink(f"{folder}/admin")
            other = socket.socket(socket.AF_UNIX)
            other.bind(f"{folder}/admin")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0)
            self.assertEqual(sorted(os.listdir(folder)), ["admin", "sluice.yaml"])
            other.close()


if __name__ == "__main__":
    unittest.main()
