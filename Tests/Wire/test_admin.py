"""The admin and metrics endpoints, and the logs, against clients and readers that do nothing, and with a token."""
import fcntl, http.client, os, re, select, signal, socket, subprocess, tempfile, unittest
from harness import BINARY, Case, Proxy, until

PLAIN = """listeners: [{ name: http, address: "127.0.0.1:0" }]
routes: [{ name: a, respond: { status: 200, body: ok } }]
drain: { delay: 0s, grace: 1s }
"""


def memory(proxy):
    with open(f"/proc/{proxy.process.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) * 1024


def ask(port, method, path, token=None, scheme="Bearer"):
    """Status and body of an answer of the admin address."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"Authorization": f"{scheme} {token}"} if token else {})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


class Endpoints(Case):
    def flood(self, port, count, data=b""):
        """Connections that send some bytes and read nothing."""
        connections = []
        for _ in range(count):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            self.addCleanup(connection.close)
            connection.sendall(data)
            connections.append(connection)
        return connections

    def test_connections_that_do_nothing_shut_nobody_out(self):
        proxy = self.start(PLAIN)
        live = b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n"
        for data in (b"", b"GET /metr", live):
            self.flood(proxy.metrics_port, 130, data)
            self.flood(proxy.admin, 70, data)
            for port in (proxy.metrics_port, proxy.admin):
                for _ in range(3):
                    self.assertEqual(ask(port, "GET", "/live"), (200, "live\n"), data)
            self.assertIn("sluice_requests", proxy.page("/metrics"))
            self.assertEqual(ask(proxy.admin, "GET", "/log")[0], 200)

    def test_readers_that_take_nothing_of_the_metrics_shut_nobody_out_of_the_admin_address(self):
        proxy = self.start(PLAIN)
        for connection in self.flood(proxy.metrics_port, 64):
            connection.setblocking(False)
            fill(connection, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", most=200)
        self.assertEqual(ask(proxy.admin, "GET", "/live"), (200, "live\n"))
        self.assertEqual(ask(proxy.admin, "GET", "/connections")[0], 200)
        # Whoever has paused for a second makes room for a probe.
        def probed():
            try:
                return ask(proxy.metrics_port, "GET", "/live") == (200, "live\n")
            except (OSError, http.client.HTTPException):
                return False
        until(probed)

    def test_connections_that_never_send_a_request_are_closed(self):
        proxy = self.start(PLAIN)
        connections = self.flood(proxy.metrics_port, 3) + self.flood(proxy.metrics_port, 3, b"GET /live HT")
        connections += self.flood(proxy.admin, 2, b"G")
        for connection in connections:
            connection.settimeout(60)
            self.assertEqual(connection.recv(1000), b"")

    def test_requests_without_end_whose_answers_nobody_reads_cost_no_memory(self):
        proxy = self.start(PLAIN)
        for path in (b"/metrics", b"/live", b"/nothing"):
            proxy.page("/metrics")
            before = memory(proxy)
            connection, = self.flood(proxy.metrics_port, 1)
            connection.setblocking(False)
            sent = fill(connection, b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path * 20, most=500)
            self.assertEqual(ask(proxy.metrics_port, "GET", "/live"), (200, "live\n"))
            self.assertLess(memory(proxy) - before, 16 << 20, (path, sent))

    def test_pipelined_requests_are_answered_in_order(self):
        proxy = self.start(PLAIN)
        connection = socket.create_connection(("127.0.0.1", proxy.admin), timeout=20)
        self.addCleanup(connection.close)
        paths = [b"/live", b"/metrics", b"/nothing", b"/clusters", b"/ready"] * 40
        connection.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in paths[:-1])
                           + b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        out = b""
        while piece := connection.recv(65536):
            out += piece
        kinds = re.findall(rb"HTTP/1.1 (\d+) [^\r]*\r\ncontent-type: ([^\r]*)", out)
        self.assertEqual(len(kinds), 200)
        self.assertEqual([status for status, _ in kinds], [b"200", b"200", b"403", b"403", b"200"] * 40)

    def test_a_client_that_ends_its_side_gets_its_answer(self):
        proxy = self.start(PLAIN)
        for path in (b"/live", b"/metrics", b"/clusters"):
            connection = socket.create_connection(("127.0.0.1", proxy.admin), timeout=20)
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            connection.shutdown(socket.SHUT_WR)
            out = b""
            while piece := connection.recv(65536):
                out += piece
            connection.close()
            self.assertTrue(out.startswith(b"HTTP/1.1 200 "), out[:100])
            self.assertEqual(len(out.split(b"\r\n\r\n", 1)[1]), int(re.search(rb"content-length: (\d+)", out).group(1)))


def fill(connection, data, most):
    """Sends for as long as the other side takes bytes, at most so often; returns how many it took."""
    sent = 0
    for _ in range(most):
        if not select.select([], [connection], [], 0.3)[1]:
            break
        try:
            sent += connection.send(data)
        except BlockingIOError:
            continue
        except OSError:
            break
    return sent


class Tokens(Case):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.token = os.path.join(self.folder.name, "token")
        self.say("s3cret")

    def say(self, token):
        with open(self.token + ".new", "w") as file:
            file.write(token + "\n")
        os.rename(self.token + ".new", self.token)

    def started(self, text, *options):
        proxy = Proxy(text, *options, admin='{ address: "127.0.0.1:0", token: "%s" }' % self.token)
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        return proxy

    def sluice(self, proxy, command, *arguments):
        return subprocess.run([BINARY, command, *arguments], capture_output=True, text=True, timeout=60)

    def test_every_page_of_the_admin_address_but_those_for_probes_asks_for_it(self):
        proxy = self.started(PLAIN)
        for path in ("/", "/config", "/clusters", "/connections", "/explain?url=/", "/metrics", "/evidence", "/weights", "/log", "/drain", "/reload", "/x"):
            status, body = ask(proxy.admin, "GET", path)
            self.assertEqual(status, 401, path)
            self.assertIn("admin.token", body)
            self.assertEqual(ask(proxy.admin, "GET", path, "S3CRET")[0], 401)
            self.assertEqual(ask(proxy.admin, "GET", path, "s3cret")[0], 404 if path == "/x" else 200, path)
        for path in ("/live", "/ready"):
            self.assertEqual(ask(proxy.admin, "GET", path)[0], 200)
        for path in ("/metrics", "/evidence"):
            self.assertEqual(ask(proxy.metrics_port, "GET", path)[0], 200)
        connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=20)
        connection.request("GET", "/config")
        self.assertEqual(connection.getresponse().headers["www-authenticate"], 'Bearer realm="sluice"')
        connection.close()

    def test_a_reload_adopts_another_token_and_refuses_a_bad_one(self):
        proxy = self.started(PLAIN)
        self.say("second")
        self.assertEqual(ask(proxy.admin, "POST", "/reload", "second")[0], 401)
        self.assertEqual(ask(proxy.admin, "POST", "/reload", "s3cret")[0], 200)
        self.assertEqual(ask(proxy.admin, "GET", "/log", "s3cret")[0], 401)
        self.assertEqual(ask(proxy.admin, "GET", "/log", "second")[0], 200)
        self.say("")
        status, body = ask(proxy.admin, "POST", "/reload", "second")
        self.assertEqual(status, 409)
        self.assertIn("has no token", body)
        self.assertEqual(ask(proxy.admin, "GET", "/log", "second")[0], 200)
        proxy.admin_text = '"127.0.0.1:0"'
        proxy.write(PLAIN)
        self.assertEqual(ask(proxy.admin, "POST", "/reload", "second")[0], 200)
        self.assertEqual(ask(proxy.admin, "GET", "/log")[0], 200)

    def test_a_watched_token_is_adopted_by_itself(self):
        proxy = self.started(PLAIN, "--watch")
        self.say("second")
        until(lambda: ask(proxy.admin, "GET", "/log", "second")[0] == 200)
        self.assertEqual(ask(proxy.admin, "GET", "/log", "s3cret")[0], 401)

    def test_commands_send_the_token_of_the_file_and_say_how_to_give_another(self):
        proxy = self.started(PLAIN)
        at = ("--admin", f"127.0.0.1:{proxy.admin}")
        self.assertEqual(self.sluice(proxy, "reload", *at, "-c", proxy.path).returncode, 0)
        self.assertEqual(self.sluice(proxy, "reload", *at, "--token", "s3cret").returncode, 0)
        for arguments in ((), ("--token", "wrong")):
            run = self.sluice(proxy, "reload", *at, *arguments)
            self.assertEqual(run.returncode, 1)
            self.assertIn("--token", run.stderr)
        self.say("second")
        run = self.sluice(proxy, "reload", *at, "-c", proxy.path)
        self.assertEqual(run.returncode, 1)
        self.assertIn("SIGHUP", run.stderr)
        proxy.reload()
        self.assertEqual(self.sluice(proxy, "reload", *at, "-c", proxy.path).returncode, 0)
        self.assertEqual(self.sluice(proxy, "drain", *at, "-c", proxy.path).returncode, 0)

    def test_edits_of_credentials_are_not_shown(self):
        text = PLAIN.replace("body: ok }", 'body: ok }, headers: { response: { set: { set-cookie: "a=TOPSECRET", x-a: plain } } }')
        proxy = self.start(text)
        for path in ("/config", "/explain?url=/"):
            body = ask(proxy.admin, "GET", path)[1]
            self.assertNotIn("TOPSECRET", body)
            self.assertIn("plain", body)

    def test_a_hint_for_an_open_address_says_what_a_token_does(self):
        path = os.path.join(self.folder.name, "open.yaml")
        for admin, is_warned in (('"0.0.0.0:15000"', True), ('{ address: "0.0.0.0:15000", token: token }', False)):
            with open(path, "w") as file:
                file.write(f"admin: {admin}\n" + PLAIN)
            out = subprocess.run([BINARY, "validate", "-c", path], capture_output=True, text=True, timeout=60).stdout
            self.assertEqual("give a token, which all of its pages but /live and /ready then ask for" in out, is_warned, out)


class Logs(Case):
    """A log that nobody reads, or that no disk takes."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def run_with(self, text, stderr, stdout=subprocess.DEVNULL):
        """`sluice run` whose output is a test's own, with the path of its admin socket: its log may say nothing."""
        admin = os.path.join(self.folder.name, "admin.sock")
        path = os.path.join(self.folder.name, "sluice.yaml")
        with open(path, "w") as file:
            file.write(f'admin: "unix:{admin}"\nmetrics: "127.0.0.1:0"\n' + text)
        process = subprocess.Popen([BINARY, "run", "-c", path], stderr=stderr, stdout=stdout)
        self.addCleanup(process.kill)
        until(lambda: os.path.exists(admin))
        return process, admin

    def ask(self, admin, path, method="GET"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(admin)
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        out = b""
        while piece := connection.recv(65536):
            out += piece
        connection.close()
        return out

    def stuck_pipe(self):
        """A pipe of one page that nobody reads."""
        reading, writing = os.pipe()
        fcntl.fcntl(writing, 1031, 4096)  # F_SETPIPE_SZ
        self.addCleanup(os.close, reading)
        return reading, writing

    def refused(self, admin, count):
        """Asks for reloads of a file with so many mistakes that each logs some kilobytes."""
        with open(os.path.join(self.folder.name, "sluice.yaml"), "w") as file:
            file.write("".join(f"unknown{i}: 1\n" for i in range(60)))
        for _ in range(count):
            self.assertIn(b" 409 ", self.ask(admin, "/reload", "POST").split(b"\r\n")[0])

    def test_a_standard_error_that_nobody_reads_holds_nothing_up(self):
        reading, writing = self.stuck_pipe()
        process, admin = self.run_with(PLAIN, writing)
        os.close(writing)
        self.refused(admin, 80)
        self.assertIn(b"live", self.ask(admin, "/live"))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)

    def test_lines_that_were_dropped_are_counted_once_the_log_is_read_again(self):
        reading, writing = self.stuck_pipe()
        process, admin = self.run_with(PLAIN, writing)
        os.close(writing)
        self.refused(admin, 80)
        out = b""
        while b"were dropped" not in out:
            out += os.read(reading, 65536)
        process.send_signal(signal.SIGTERM)
        while piece := os.read(reading, 65536):
            out += piece
        self.assertEqual(process.wait(60), 0)
        lines = out.decode().splitlines()
        count, = [int(re.search(r"count=(\d+)", line).group(1)) for line in lines if "were dropped" in line]
        self.assertGreater(count, 0)
        self.assertEqual(sum("configuration rejected" in line for line in lines) + count, 80)
        self.assertIn("stopped", lines[-1])

    def test_an_access_log_that_nobody_reads_is_given_up_at_the_end(self):
        reading, writing = self.stuck_pipe()
        error = os.path.join(self.folder.name, "error.log")
        with open(error, "w") as file:
            process, admin = self.run_with(PLAIN + "accessLog: { path: /dev/stdout }\n", file, writing)
        os.close(writing)
        with open(error) as file:
            port = int(re.search(r"http=127\.0\.0\.1:(\d+)", until(lambda: (file.seek(0), file.read())[1])).group(1))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for _ in range(200):
            connection.request("GET", "/")
            self.assertEqual(connection.getresponse().read(), b"ok")
        connection.close()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
        with open(error) as file:
            self.assertIn("the access log was given up", file.read())

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs /dev/full")
    def test_a_full_disk_is_told_of_once_with_a_count_at_the_end(self):
        proxy = self.start(PLAIN + "accessLog: { path: /dev/full }\n")
        for _ in range(3):
            self.load(proxy, 320)
            until(lambda: any("cannot be written; lines are lost" in line for line in proxy.log))
        until(lambda: proxy.metric("sluice_access_log_dropped_total") == 960)
        proxy.process.send_signal(signal.SIGTERM)
        until(lambda: any('"stopped"' in line or "msg=stopped" in line for line in proxy.log))
        told = [line for line in proxy.log if "lines are lost" in line]
        self.assertEqual(len(told), 1, told)
        self.assertIn("No space left", told[0])
        end, = [line for line in proxy.log if "linesLost=" in line]
        self.assertIn("linesLost=960", end)


class Signals(Case):
    def test_a_signal_that_comes_before_the_process_serves_waits_until_it_does(self):
        with tempfile.TemporaryDirectory() as folder:
            # The file is a pipe that has nothing yet, so that the process stands still in its start.
            path = os.path.join(folder, "sluice.yaml")
            os.mkfifo(path)
            process = subprocess.Popen([BINARY, "run", "-c", path], stderr=subprocess.PIPE, text=True)
            self.addCleanup(process.stderr.close)
            self.addCleanup(process.kill)
            def holds_back():
                with open(f"/proc/{process.pid}/status") as file:
                    blocked = int(re.search(r"SigBlk:\s+([0-9a-f]+)", file.read()).group(1), 16)
                return blocked & 1 << signal.SIGHUP - 1 and blocked & 1 << signal.SIGUSR1 - 1
            until(holds_back)
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGUSR1)
            with open(path, "w") as file:
                file.write('admin: "127.0.0.1:0"\nmetrics: "127.0.0.1:0"\n' + PLAIN)
            out = ""
            while "access log reopened" not in out:
                line = process.stderr.readline()
                self.assertTrue(line, out)
                out += line
            self.assertIn("sluice started", out)
            process.terminate()
            # The reload that SIGHUP asked for reads the pipe, which nobody writes any more.
            self.assertEqual(process.wait(60), 0)

    def test_an_end_that_is_asked_for_during_the_start_comes_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "sluice.yaml")
            os.mkfifo(path)
            process = subprocess.Popen([BINARY, "run", "-c", path], stderr=subprocess.DEVNULL)
            self.addCleanup(process.kill)
            process.terminate()
            self.assertEqual(process.wait(60), -signal.SIGTERM)


class Watched(Case):
    def witness(self, folder):
        """Another process that watches a file of the folder: when it has seen a change, so has everybody else."""
        path = os.path.join(folder, "witness.yaml")
        def save(count):
            with open(path + ".new", "w") as file:
                file.write('admin: "127.0.0.1:0"\nmetrics: "127.0.0.1:0"\n' + PLAIN + "#" * count)
            os.rename(path + ".new", path)
        save(0)
        process = subprocess.Popen([BINARY, "run", "-c", path, "--watch"], stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        def see(words):
            while words not in (line := process.stderr.readline()):
                self.assertTrue(line)
        see("sluice started")
        def pass_by(count):
            save(count)
            see("configuration reloaded")
        return pass_by

    def test_a_half_of_a_file_is_not_loaded_because_others_beside_it_are_saved(self):
        proxy = self.start(PLAIN, "--watch")
        folder = os.path.dirname(proxy.path)
        pass_by = self.witness(folder)
        with open(proxy.path) as file:
            text = file.read()
        with open(proxy.path, "r+") as half:
            half.truncate(0)
            # Good as it is: it would be taken.
            half.write(text.replace("body: ok", "body: half"))
            half.flush()
            for i in range(1, 4):
                with open(os.path.join(folder, "unrelated.txt"), "w") as other:
                    other.write("x" * i)
                pass_by(i)
                self.assertEqual(proxy.get().text, "ok")
            half.seek(0)
            half.truncate(0)
            half.write(text.replace("body: ok", "body: whole"))
        until(lambda: proxy.get().text == "whole")
        # The line comes on a way of its own, perhaps behind the first answer.
        until(lambda: any("configuration reloaded" in line for line in proxy.log))
        self.assertEqual(sum("configuration reloaded" in line for line in proxy.log), 1)


if __name__ == "__main__":
    unittest.main()
