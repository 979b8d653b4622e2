"""What a user is told when something cannot be had, and what is left behind when something ends."""
import ctypes, json, os, re, shutil, signal, socket, struct, subprocess, tempfile, unittest
from harness import BINARY, OK, Case, Proxy, config, until
from test_commands import BASE, Commands

INNER = 'admin: "127.0.0.1:0"\nmetrics: "127.0.0.1:0"\n'
UNPRIVILEGED = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all"]


def without_ipv6():
    """From here on the process and its children live on a machine that knows no IPv6: seccomp answers socket(AF_INET6, …)
    with EAFNOSUPPORT."""
    class Program(ctypes.Structure):
        _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]
    number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
    load, equal, answer = 0x20, 0x15, 0x06
    lines = [(load, 0, 0, 0), (equal, 0, 3, number), (load, 0, 0, 16), (equal, 0, 1, socket.AF_INET6),
             (answer, 0, 0, 0x00050000 | 97), (answer, 0, 0, 0x7fff0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = Program(len(lines), ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program), 0, 0):
        os._exit(99)


class Starts(Commands):
    def run_on(self, text, **options):
        return subprocess.run([BINARY, "run", "-c", self.file(text)], capture_output=True, text=True, timeout=60, **options)

    def test_each_failure_of_a_start_is_one_line(self):
        holder = socket.socket()
        self.addCleanup(holder.close)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        taken = os.path.join(self.folder.name, "taken")
        with open(taken, "w"):
            pass
        os.mkfifo(os.path.join(self.folder.name, "pipe"))
        free = BASE.replace("127.0.0.1:8080", "127.0.0.1:0")
        cases = [
            (INNER + BASE.replace("8080", str(port)), 'the listener "http" cannot listen on .*ss -ltnp shows which'),
            (INNER + BASE.replace("127.0.0.1:8080", "unix:/nonexistent/s"), "bind: No such file or directory; the socket's directory"),
            (INNER + BASE.replace("127.0.0.1:8080", f"unix:{taken}"), "what stands there is no socket: remove it"),
            (INNER.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1) + free, "the admin endpoint cannot listen on .*give admin: another"),
            (f'metrics: "127.0.0.1:{port}"\nadmin: "127.0.0.1:0"\n' + free, "the metrics endpoint cannot listen on .*give metrics:"),
            (INNER + free + "accessLog: { path: pipe }\n", "accessLog.path: .* cannot be opened"),
        ]
        for text, words in cases:
            with self.subTest(words=words):
                run = self.run_on(text)
                self.assertEqual(run.returncode, 1, run.stderr)
                said = [line for line in run.stderr.splitlines() if line.startswith("sluice: ")]
                self.assertEqual(len(said), 1, run.stderr)
                self.assertRegex(said[0], words)

    def test_a_machine_without_ipv6_is_told_what_to_write(self):
        for address, instead in (("[::1]:0", "127.0.0.1:0"), ("[2001:db8::1]:0", "0.0.0.0:0")):
            run = self.run_on(INNER + BASE.replace("127.0.0.1:8080", address), preexec_fn=without_ipv6)
            self.assertEqual(run.returncode, 1, run.stderr)
            self.assertIn(f"this machine has no IPv6: write {instead}, which takes IPv4", run.stderr)

    def test_all_addresses_of_a_machine_without_ipv6_are_those_of_ipv4(self):
        # The metrics' default, [::]:15020, is of the same kind.
        proxy = Proxy(config(1, routes="routes: [{ name: a, respond: { body: here } }]").replace("127.0.0.1:0", "[::]:0", 1),
                      preexec=without_ipv6)
        self.addCleanup(lambda: self.assertEqual(proxy.stop(), 0))
        proxy.port = int(re.search(r"http=0\.0\.0\.0:(\d+)", proxy.log[-1]).group(1))
        self.assertEqual(proxy.get().text, "here")

    @unittest.skipIf(os.geteuid() != 0, "needs root, to become nobody")
    def test_validate_warns_of_ports_and_logs_that_this_user_cannot_have(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
            lowest = int(file.read())
        os.chmod(self.folder.name, 0o755)
        path = self.file(BASE.replace("127.0.0.1:8080", "127.0.0.1:81") + "accessLog: { path: access.log }\n")
        def validate(*wrap):
            return subprocess.run([*wrap, BINARY, "validate", "-c", path], capture_output=True, text=True, timeout=60)
        nobody, root = validate(*UNPRIVILEGED), validate()
        self.assertEqual((nobody.returncode, root.returncode), (0, 0), nobody.stdout)
        self.assertRegex(nobody.stdout, r":12:20: warning: accessLog\.path: .*Permission denied")
        self.assertNotIn("accessLog", root.stdout)
        if lowest > 81:
            self.assertRegex(nobody.stdout, r':2:28: warning: the listener "http" needs a privilege')
            self.assertIn("net.ipv4.ip_unprivileged_port_start", nobody.stdout)
        self.assertNotIn("privilege", root.stdout)


class Usage(Commands):
    def test_a_wrong_option_prints_the_usage_of_its_command(self):
        path = self.file(BASE)
        cases = [
            ("demo", "--address", "nowhere"), ("demo", "--error-rate", "20"), ("demo", "--latency", "5"), ("demo", "--port", "80"),
            ("reload",), ("reload", "--admin", "nowhere"), ("drain",), ("drain", "--admin", "x"), ("drain", "-c", path, "--timeout", "5"),
            ("run", "-c", path, "--workers", "100"), ("run",), ("validate",), ("validate", "-c", path, "--format", "xml"),
            ("explain", "-c", path), ("diff", path), ("schema", "--yaml"), ("version", "--long"),
        ]
        for words in cases:
            with self.subTest(words=words):
                run = self.sluice(*words)
                self.assertEqual(run.returncode, 64, run.stderr)
                self.assertIn("Error: ", run.stderr)
                self.assertRegex(run.stderr, rf"Usage: sluice {words[0]}\b")
                self.assertIn(f"See 'sluice {words[0]} --help'", run.stderr.replace("sluice help " + words[0], f"sluice {words[0]} --help"))
                self.assertNotIn("<subcommand>", run.stderr)

    def test_slips_of_the_command_line_say_what_to_write(self):
        path = self.file(INNER + BASE)
        cases = [
            (("demo", "--address", "localhost:9081"), "write 127.0.0.1:9081"), (("demo", "--address", ":9081"), '"127.0.0.1:9081"'),
            (("demo", "--latency", "50"), "50s or 50ms"), (("demo", "--error-rate", "20"), "did you mean 20%?"),
            (("demo", "--error-rate", "0.2"), "0.1 is 10%"), (("demo", "--port", "9081"), "--address 127.0.0.1:PORT"),
            (("reload", "--admin", "http://127.0.0.1:15000/"), "no scheme"), (("reload", "--admin", "15000"), '"127.0.0.1:15000"'),
            (("reload", "-c", path), "the kernel chose another"), (("drain", "--admin", "127.0.0.1:1", "--timeout", "5"), "5s or 5ms"),
            (("run", "-c", path, "--port", "80"), "stands in the file"), (("run", "-c", path, "--log-level=debug"), "log: { level: debug }"),
            (("diff", "-c", path, path), "sluice diff OLD.yaml NEW.yaml"), (("explain", "-c", path, "/x"), "GET /path"),
            (("explain", "-c", path, "/x", "GET"), "GET /path"), (("explain", "-c", path, "get", "/x"), "case-sensitive: GET"),
            (("explain", "-c", path, "GET", "x"), "/x or"), (("explain", "-c", path, "GET", "/x", "-H", "a"), "name: value"),
        ]
        for words, hint in cases:
            with self.subTest(words=words):
                run = self.sluice(*words)
                self.assertEqual(run.returncode, 64, run.stderr)
                self.assertIn(hint, run.stderr)
                self.assertRegex(run.stderr, rf"Usage: sluice {words[0]}\b")

    def shell(self, name, *check):
        """The completion script of a shell, checked by the shell itself."""
        if shutil.which(name) is None:
            self.skipTest(f"{name} is not installed: apt-get install {name} lets this test run")
        script = self.file(self.sluice("--generate-completion-script", name).stdout, "completion")
        run = subprocess.run([name, *check, script], capture_output=True, text=True, timeout=60, cwd=self.folder.name)
        self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_the_completions_of_zsh_are_zsh(self):
        self.shell("zsh", "-f", "-n")

    def test_the_completions_of_fish_are_fish(self):
        self.shell("fish", "--no-config", "--no-execute")


class Demos(Case):
    def test_the_demo_answers_what_it_cannot_read(self):
        demo = self.pair()[0]
        many = b"".join(b"x-%d: y\r\n" % i for i in range(150))
        for request, status in ((b"GET / HTTP/1.1\r\nHost: a\r\n" + many + b"\r\n", 431), (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505),
                                (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n" + many + b"\r\n" + b"x" * 300_000, 431),
                                (b"GET / HTTP/1.1\r\n\r\n", 400)):
            connection = socket.create_connection(("127.0.0.1", demo.port))
            connection.settimeout(20)
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            connection.close()
            self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer)
            head, body = answer.split(b"\r\n\r\n", 1)
            self.assertIn(b"connection: close", head)
            self.assertEqual(len(body), int(re.search(rb"content-length: (\d+)", head).group(1)))
            json.loads(body)


class EndsOfDraining(Case):
    FLAGS = "defaults: { forwarding: { flags: x-sluice-flags } }"

    def test_a_client_without_an_answer_gets_503_and_one_within_an_answer_is_cut(self):
        backend = self.backend()
        def answer(head, body):
            if "/part" not in head:
                return backend.hang(head, body)
            return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"
        backend.answer = answer
        proxy = self.start(config(backend.port, extra=self.FLAGS).replace("grace: 5s", "grace: 300ms"))
        get, part, post, half = (proxy.connect() for _ in range(4))
        get.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        part.sendall(b"GET /part HTTP/1.1\r\nHost: a\r\n\r\n")
        post.sendall(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome")
        half.sendall(b"GET /half HTTP/1.1\r\nHo")
        until(lambda: len(backend.requests) == 2 and any("/post" in head for head in backend.heads))
        begun = b""
        while b"part" not in begun:
            begun += part.recv(1000)
        proxy.process.send_signal(signal.SIGTERM)
        for client in (get, post):
            out = b""
            while piece := client.recv(65536):
                out += piece
            self.assertTrue(out.startswith(b"HTTP/1.1 503 "), out)
            self.assertIn(b"connection: close", out)
            self.assertIn(b"x-sluice-flags: DR", out)
        self.assertEqual(half.recv(1000), b"")
        self.assertRaises(ConnectionResetError, part.recv, 1000)
        for client in (get, part, post, half):
            client.close()
        self.assertEqual(proxy.process.wait(60), 0)


class UnixSockets(Case):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def place(self, name):
        return os.path.join(self.folder, name)

    def text(self, *names):
        lines = "".join(f'  - {{ name: {name}, address: "unix:{self.place(name)}" }}\n' for name in names)
        return config(1, routes="routes: [{ name: a, respond: { body: here } }]").replace(
            'listeners: [{ name: http, address: "127.0.0.1:0" }]', f"listeners:\n{lines}")

    def test_a_socket_file_goes_with_its_listener(self):
        proxy = self.start(self.text("one", "two"))
        self.assertEqual(sorted(os.listdir(self.folder)), ["one", "two"])
        proxy.write(self.text("two"))
        proxy.reload()
        self.assertEqual(os.listdir(self.folder), ["two"])
        # A reload that is rejected leaves nothing, and takes nothing.
        proxy.write(self.text("three", "no/folder"))
        proxy.reload()
        self.assertEqual(os.listdir(self.folder), ["two"])
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.place("two"))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.assertIn(b"here", connection.recv(65536))
        connection.close()
        self.assertEqual(proxy.stop(), 0)
        self.assertEqual(os.listdir(self.folder), [])

    def test_the_file_of_another_owner_stays(self):
        proxy = self.start(self.text("one", "two"))
        # Somebody else has put a socket of his own in the place.
        os.unlink(self.place("one"))
        other = socket.socket(socket.AF_UNIX)
        self.addCleanup(other.close)
        other.bind(self.place("one"))
        proxy.write(self.text("two"))
        proxy.reload()
        self.assertEqual(sorted(os.listdir(self.folder)), ["one", "two"])


if __name__ == "__main__":
    unittest.main()
