"""Reloads that take long: what is served and answered meanwhile. A file that is a pipe is read for as long as the test
wants, as one on a file system that hangs."""
import http.client, json, os, signal, socket, subprocess, threading, unittest
from harness import BINARY, Case, config, until

NEVER = "no-such-name.invalid"


class Asker:
    """A POST /reload on a thread of its own."""

    def __init__(self, proxy):
        self.status, self.body = None, None
        self.done = threading.Event()
        self.connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=60)
        self.connection.request("POST", "/reload", headers={"content-length": "0"})
        threading.Thread(target=self.wait, daemon=True).start()

    def wait(self):
        try:
            response = self.connection.getresponse()
            self.status, self.body = response.status, json.loads(response.read())
        except OSError:
            pass
        self.connection.close()
        self.done.set()

    def answer(self):
        self.done.wait(60)
        return self.status, self.body


class SlowReloads(Case):
    def start_with(self, text, *options):
        proxy = self.start(text, *options)
        os.rename(proxy.path, proxy.path + ".first")
        os.mkfifo(proxy.path)
        return proxy

    def feed(self, proxy, text):
        """Lets the reading that waits have its file; returns when it has been taken."""
        with open(proxy.path, "w") as pipe:
            pipe.write(f'admin: {proxy.admin_text}\nmetrics: "127.0.0.1:0"\n' + text)

    def live(self, proxy):
        self.assertEqual(proxy.page("/live"), "live\n")
        self.assertEqual(proxy.page("/live", proxy.admin), "live\n")

    def big(self, port):
        """10,000 routes, and a version by a name that does not resolve."""
        routes = "\n".join(
            f"  - {{ name: r{i}, match: {{ path: {{ prefix: /api/{i} }} }}, to: s }}" for i in range(10_000))
        return f"""
listeners: [{{ name: http, address: "127.0.0.1:0" }}]
services:
  s:
    stable: v1
    versions:
      v1: {{ weight: 1, endpoints: ["127.0.0.1:{port}"] }}
      v2: {{ weight: 0, dns: "{NEVER}:80" }}
routes:
{routes}
drain: {{ delay: 0s, grace: 5s }}
"""

    def test_probes_are_answered_during_a_reload_of_10000_routes_with_a_name_that_does_not_resolve(self):
        port = self.backend().port
        proxy = self.start_with(config(port))
        asker = Asker(proxy)
        # The file does not come: probes, pages and requests go on.
        for _ in range(20):
            self.live(proxy)
        self.assertEqual(proxy.metric("sluice_config_reloads_total"), 0)
        # Whether the file has changed is not known now, and the rest of the page is there.
        page = json.loads(proxy.page("/config", proxy.admin))
        self.assertEqual((page["fileHasChanged"], page["generation"]), (None, 1))
        self.assertEqual(proxy.get().status, 200)
        self.assertFalse(asker.done.is_set())
        # The file comes: its checks, its names and its compilation hold up nobody either.
        self.feed(proxy, self.big(port))
        answers = 0
        while not asker.done.is_set():
            self.live(proxy)
            answers += 1
        self.assertGreaterEqual(answers, 3)
        status, body = asker.answer()
        self.assertEqual((status, body["result"], body["generation"]), (200, "accepted", 2))
        self.assertEqual(proxy.get("/api/9999").status, 200)
        self.assertEqual(proxy.get("/").status, 404)
        os.rename(proxy.path + ".first", proxy.path)
        page = json.loads(proxy.page("/config", proxy.admin))
        self.assertEqual((page["fileHasChanged"], page["generation"]), (True, 2))
        self.assertEqual(proxy.metric('sluice_config_reloads_total{result="accepted"}'), 1)

    def test_the_command_says_how_far_a_reload_is_that_takes_longer_than_it_waits(self):
        port = self.backend().port
        proxy = self.start_with(config(port))
        command = [BINARY, "reload", "--admin", f"127.0.0.1:{proxy.admin}"]
        run = subprocess.run(command + ["--timeout", "200ms"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn("is not known after 200ms: the process is reading the file. The reload goes on", run.stderr)
        self.assertEqual(json.loads(proxy.page("/reload", proxy.admin))["underWay"], "reading the file")
        # It does go on, without anybody who waits.
        self.feed(proxy, config(port))
        until(lambda: json.loads(proxy.page("/reload", proxy.admin))["underWay"] is None)
        self.assertEqual(json.loads(proxy.page("/reload", proxy.admin))["accepted"], 1)
        run = subprocess.run(command + ["--timeout", "soon"], capture_output=True, text=True)
        self.assertIn('--timeout is "soon", expected a duration', run.stderr)

    def test_whoever_asks_is_answered_for_the_file_as_it_was_read_after(self):
        first, second = self.backend(), self.backend()
        proxy = self.start_with(config(first.port))
        one = Asker(proxy)
        # The reading is under way: it waits for somebody to write.
        pipe = os.open(proxy.path, os.O_WRONLY)
        others = [Asker(proxy), Asker(proxy)]
        proxy.process.send_signal(signal.SIGHUP)
        self.live(proxy)
        text = f'admin: {proxy.admin_text}\nmetrics: "127.0.0.1:0"\n' + "nonsense: yes\n"
        os.write(pipe, text.encode())
        os.close(pipe)
        status, body = one.answer()
        self.assertEqual(status, 409)
        self.assertIn('has no key "nonsense"', body["error"])
        self.assertFalse(any(other.done.is_set() for other in others))
        self.feed(proxy, config(second.port))
        for other in others:
            status, body = other.answer()
            self.assertEqual((status, body["generation"]), (200, 2))
        self.assertEqual(proxy.metric('sluice_config_reloads_total{result="accepted"}'), 1)
        self.assertEqual(proxy.metric('sluice_config_reloads_total{result="rejected"}'), 1)
        self.assertEqual(proxy.get().status, 200)
        self.assertEqual((len(first.heads), len(second.heads)), (0, 1))

    def test_a_drain_ends_a_process_whose_file_system_hangs_and_answers_who_waits(self):
        proxy = self.start_with(config(self.backend().port))
        asker = Asker(proxy)
        self.live(proxy)
        proxy.process.send_signal(signal.SIGTERM)
        status, body = asker.answer()
        self.assertEqual((status, body["result"]), (409, "rejected"))
        self.assertIn("draining", body["error"])
        self.assertEqual(proxy.process.wait(timeout=60), 0)

    def test_an_asker_that_leaves_and_one_that_ends_its_side_change_nothing_for_others(self):
        port = self.backend().port
        proxy = self.start_with(config(port))
        gone, half, stays = Asker(proxy), Asker(proxy), Asker(proxy)
        self.live(proxy)
        gone.connection.sock.shutdown(2)
        half.connection.sock.shutdown(1)
        self.live(proxy)
        self.feed(proxy, config(port))
        # Those that asked during the first reading need a second one, which begins when the first pipe is closed.
        until(lambda: proxy.metric('sluice_config_reloads_total{result="accepted"}') == 1)
        self.feed(proxy, config(port))
        self.assertEqual(stays.answer()[0], 200)
        self.assertEqual(half.answer()[0], 200)
        self.live(proxy)

    def test_requests_behind_a_reload_on_one_connection_are_answered_in_their_order(self):
        port = self.backend().port
        proxy = self.start_with(config(port))
        connection = socket.create_connection(("127.0.0.1", proxy.admin), timeout=60)
        head = "HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(f"POST /reload {head}GET /live {head}GET /nowhere {head}".encode())
        self.live(proxy)
        self.feed(proxy, config(port))
        statuses = []
        file = connection.makefile("rb")
        for _ in range(3):
            statuses.append(file.readline().split()[1].decode())
            length = 0
            while (line := file.readline()) not in (b"\r\n", b""):
                name, value = line.decode().split(":", 1)
                if name.lower() == "content-length":
                    length = int(value)
            file.read(length)
        self.assertEqual(statuses, ["200", "200", "404"])
        connection.close()


class Weights(Case):
    def test_weights_alone_move_clients_and_nothing_else(self):
        a, b = self.backend(), self.backend()
        proxy = self.start(config(a.port, b.port, weights=("100%", "0%")))
        for _ in range(10):
            self.assertEqual(proxy.get().status, 200)
        proxy.write(config(a.port, b.port, weights=("50%", "50%")))
        proxy.reload()
        counts = (len(a.heads), len(b.heads))
        self.assertEqual(counts, (10, 0))
        for _ in range(10):
            self.assertEqual(proxy.get().status, 200)
        self.assertEqual((len(a.heads), len(b.heads)), (15, 5))
        # Connections to endpoints stay, and counters go on.
        self.assertEqual(proxy.metric("sluice_config_generation"), 2)
        self.assertEqual(proxy.metric(r"sluice_requests_total\{"), 20)


if __name__ == "__main__":
    unittest.main()
