"""The command line: what it says will happen, what it says of files that are wrong, and what shells complete."""
import json, os, re, socket, ssl, subprocess, tempfile, unittest
from certificates import Authority
from harness import BINARY, OK, ROOT, Backend, Demo, Origin, Proxy, answering, config, until

BASE = """listeners:
  - { name: http, address: "127.0.0.1:8080" }
services:
  s:
    stable: v1
    sticky: { cookie: c, issue: sid }
    versions:
      v1: { weight: 90%, endpoints: ["127.0.0.1:1"] }
      v2: { weight: 10%, endpoints: ["127.0.0.1:2"] }
routes:
  - { name: rest, to: s }
"""


class Commands(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, text, name="sluice.yaml"):
        path = os.path.join(self.folder.name, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def sluice(self, *arguments):
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60)


class Diff(Commands):
    def test_exit_codes_are_those_of_git_diff(self):
        old, same = self.file(BASE, "old.yaml"), self.file("# a comment\n" + BASE, "same.yaml")
        new, bad = self.file(BASE.replace("90%", "80%").replace("10%", "20%"), "new.yaml"), self.file("nonsense: 1\n", "bad.yaml")
        for arguments, code in (((old, same), 0), ((old, new), 0), (("--exit-code", old, same), 0), (("--exit-code", old, new), 1),
                                ((old, bad), 2), (("--exit-code", bad, new), 2), ((old, "/nonexistent"), 2), ((old,), 64)):
            self.assertEqual(self.sluice("diff", *arguments).returncode, code, arguments)
        self.assertEqual(self.sluice("diff", old, same).stdout, "no differences\n")

    def test_text_and_json_name_the_field_both_places_and_who_moves(self):
        old = self.file(BASE, "old.yaml")
        new = self.file("\n" + BASE.replace("90%", "80%").replace("10%", "20%").replace("to: s }", "to: s, rewrite: { path: /x } }"), "new.yaml")
        text = self.sluice("diff", old, new).stdout
        self.assertIn(f"services.s.versions.v1.weight: 90% → 80%\n    {old}:8:13 → {new}:9:13\n", text)
        self.assertIn(f"routes.rest.rewrite: added, {{ path: /x }}\n    {new}:12:26\n", text)
        self.assertIn("route rest: new requests: s: v1 90 %, v2 10 % → s: v1 80 %, v2 20 %; sessions that move: 10.00 %\n", text)
        found = json.loads(self.sluice("diff", "--format", "json", old, new).stdout)
        self.assertFalse(found["same"])
        self.assertEqual([c["field"] for c in found["changes"]],
                         ["services.s.versions.v1.weight", "services.s.versions.v2.weight", "routes.rest.rewrite"])
        self.assertEqual(found["changes"][0]["oldPlace"], {"file": old, "line": 8, "column": 13})
        self.assertAlmostEqual(found["routes"][0]["sessionsMoved"], 0.1)

    def test_files_may_be_pipes_and_need_no_certificates_beside_them(self):
        text = BASE.replace('"127.0.0.1:8080"', '"127.0.0.1:8080", tls: { certificate: gone.crt, key: gone.key }')
        old, new = self.file(text, "old.yaml"), self.file(text.replace("gone.key", "other.key"), "new.yaml")
        run = subprocess.run(["bash", "-c", f"{BINARY} diff --exit-code <(cat {old}) {new}"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn("listeners.http.tls.key: gone.key → other.key", run.stdout)


class Explain(Commands):
    def explain(self, text, *arguments):
        return self.sluice("explain", "-c", self.file(text), *arguments)

    def test_hosts_are_compared_in_the_form_in_which_the_proxy_compares_them(self):
        demo = Demo("v1")
        self.addCleanup(demo.stop)
        text = config(demo.port, routes='routes: [{ name: named, match: { hosts: [example.com] }, to: s },'
                                        ' { name: dotted, match: { hosts: [dotted.test.] }, to: s }]')
        proxy = Proxy(text)
        self.addCleanup(proxy.stop)
        for host, route in (("example.com", "named"), ("example.com.", "named"), ("EXAMPLE.com:8080", "named"), ("example.com.:80", "named"),
                            ("dotted.test", "dotted"), ("dotted.test.", "dotted"), ("example.org", None), ("example.com..", None)):
            answer = proxy.get("/x", headers={"Host": host})
            self.assertEqual(answer.status, 200 if route else 404, host)
            run = self.explain(text, "GET", f"http://{host}/x")
            self.assertIn(f"\nroute     {route} (" if route else "\nresult    404", run.stdout, host)
            page = json.loads(proxy.page(f"/explain?method=GET&url=http://{host}/x", proxy.admin))
            self.assertEqual(page.get("route"), route, host)

    def test_connect_is_explained_as_it_is_answered(self):
        demo = Demo("v1")
        self.addCleanup(demo.stop)
        for allowed in (False, True):
            text = config(demo.port, routes="routes: [{ name: all, to: s%s }]" % (", connect: allow" if allowed else ""))
            proxy = Proxy(text)
            self.addCleanup(proxy.stop)
            with proxy.connect() as connection:
                connection.sendall(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")
                refused = b" 405 " in connection.makefile("rb").readline()
            run = self.explain(text, "CONNECT", "a:80")
            self.assertEqual((refused, "\nresult    405" in run.stdout), (not allowed, not allowed), run.stdout + run.stderr)

    def test_the_listener_and_the_scheme_are_those_that_are_asked_for(self):
        authority = Authority()
        self.addCleanup(authority.close)
        pair = authority.issue("server", "DNS:localhost")
        text = (f'listeners: [{{ name: http, address: "127.0.0.1:1" }}, {{ name: https, address: "127.0.0.1:2", '
                f'tls: {{ certificate: {pair[0]}, key: {pair[1]} }} }}, {{ name: inner, address: "127.0.0.1:3" }}]\n'
                'routes: [{ name: a, match: { listeners: [inner] }, respond: {} }, '
                '{ name: b, match: { scheme: http }, redirect: { scheme: https } }, { name: c, respond: {} }]\n')
        for arguments, route in ((["http://h/"], "b"), (["https://h/"], "c"), (["/"], "b"), (["/", "--listener", "inner"], "a"),
                                 (["/", "--listener", "https"], "c")):
            self.assertIn(f"\nroute     {route} (", self.explain(text, "GET", *arguments).stdout, arguments)
        run = self.explain(text, "GET", "/", "--listener", "outer")
        self.assertEqual(run.returncode, 1)
        self.assertIn("there are http, https, inner", run.stdout)


    def test_what_it_says_of_a_request_is_what_the_proxy_does(self):
        demo = Demo("v1")
        self.addCleanup(demo.stop)
        text = config(demo.port, service="    sticky: { cookie: app, issue: sid }", versions=(
            ", headers: { request: { set: { x-a: version } }, response: { add: { x-b: two } } }", ""), routes="""routes:
  - name: api
    match: { path: { prefix: /api } }
    to: s
    rewrite: { prefix: /v2/, host: inner.test }
    headers: { request: { set: { x-a: route, x-c: c }, remove: [x-d] }, response: { set: { x-b: one } } }
    rateLimit: { requests: 100, per: 1s, by: { header: x-user } }
  - { name: old, match: { path: { prefix: /old } }, redirect: { prefix: /new, status: 301 } }
  - { name: away, match: { path: { exact: /away } }, redirect: { scheme: https, host: other.test, port: 8443, path: /there } }
  - { name: up, match: { path: { prefix: /up } }, redirect: { scheme: https } }
  - { name: ok, match: { path: { exact: /ok } }, respond: { status: 203, body: okay }, headers: { response: { set: { x-e: e } } } }
  - { name: rest, to: s/v1 }
""")
        proxy = Proxy(text)
        self.addCleanup(proxy.stop)

        def explain(target, headers={}):
            query = "".join(f"&header={name}:%20{value}" for name, value in headers.items())
            page = json.loads(proxy.page(f"/explain?method=GET&url={target.replace('?', '%3F').replace('&', '%26')}{query}", proxy.admin))
            options = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
            run = self.explain('admin: "127.0.0.1:0"\n' + text, "GET", target, *options)
            self.assertEqual(run.returncode, 0, run.stdout)
            return page, run.stdout
        for target, origin in (("/api/x", "/v2/x"), ("/api", "/v2/"), ("/api//x/../y?q=1", "/v2/y?q=1"), ("/other/%7Ex", None)):
            headers = {"x-d": "gone", "x-user": "alice"}
            answer = proxy.get(target, headers={"Host": "localhost", **headers})
            echo = json.loads(answer.text)
            page, shown = explain(target, headers)
            self.assertEqual(page.get("rewrite"), f"the origin sees target {origin}, host inner.test" if origin else None)
            self.assertEqual(echo["path"], origin or target)
            if origin:
                self.assertEqual(echo["headers"]["host"], "inner.test")
                self.assertEqual((echo["headers"]["x-a"], echo["headers"]["x-c"], "x-d" in echo["headers"]), ("version", "c", False))
                self.assertEqual(page["requestEdits"], "request: remove x-d; set x-c: c; set x-a: version")
                self.assertEqual(page["responseEdits"], "response: set x-b: one; set x-b: two")
                self.assertEqual([v for k, v in answer.getheaders() if k.lower() == "x-b"], ["one", "two"])
                self.assertIn('for each value of the header x-user; here "alice"', page["rateLimit"])
                self.assertIn("sid is issued", page["cookie"])
                self.assertTrue(answer.getheader("set-cookie").startswith("sid="))
                self.assertIn("\ncookie    sid is issued with the answer, for 24h", shown)
                again, _ = explain(target, {"cookie": answer.getheader("set-cookie").split(";")[0]})
                self.assertEqual((again["assign"], again["cookie"][:14]), ("sticky", "none is issued"))
            else:
                self.assertNotIn("cookie", page)
        for target in ("/old/a?b=c", "/old", "/away", "/away?b", "/up/x?y"):
            answer = proxy.get(target, headers={"Host": "localhost"})
            page, shown = explain(target)
            self.assertEqual(page["location"], answer.getheader("location"), target)
            self.assertEqual(page["result"], str(answer.status))
            self.assertIn(f"\nlocation  {answer.getheader('location')}\n", shown)
        page, _ = explain("/ok")
        self.assertEqual((page["result"], page["body"], page["responseEdits"]), ("203", "4 bytes", "response: set x-e: e"))

    def test_a_trusted_hop_says_the_scheme(self):
        text = BASE.replace("routes:", "routes:\n  - { name: up, match: { scheme: http }, redirect: { scheme: https } }") + "defaults: { forwarding: { trustedHops: 1 } }\n"
        for scheme, route in (("http", "up"), ("https", "rest")):
            run = self.explain(text, "GET", "/", "-H", f"x-forwarded-proto: {scheme}")
            self.assertIn(f"\nroute     {route} (", run.stdout)


class Arrival(Commands):
    def setUp(self):
        super().setUp()
        self.authority = Authority()
        self.addCleanup(self.authority.close)
        self.pair = self.authority.issue("server", "DNS:localhost,IP:127.0.0.1")

    def test_http_is_sent_to_https_without_a_circle_over_both_versions(self):
        demo = Demo("v1")
        self.addCleanup(demo.stop)
        text = config(demo.port, routes='routes: [{ name: up, match: { scheme: http }, redirect: { scheme: https, port: 1 } }, { name: rest, to: s }]')
        text = text.replace('{ name: http, address: "127.0.0.1:0" }',
                            '{ name: http, address: "127.0.0.1:0" }, { name: https, address: "127.0.0.1:0", '
                            f'tls: {{ certificate: {self.pair[0]}, key: {self.pair[1]} }} }}')
        proxy = Proxy(text)
        self.addCleanup(proxy.stop)
        secure = int(re.search(r"https=127\.0\.0\.1:(\d+)", proxy.log[-1]).group(1))
        for options in (["--http1.1"], ["--http2-prior-knowledge"]):
            out = self.curl(*options, "-w", "%{http_code} %{redirect_url}", "-o", "/dev/null", f"http://localhost:{proxy.port}/a?b")
            self.assertEqual(out, "302 https://localhost:1/a?b")
        for options in (["--http1.1"], ["--http2"]):
            out = self.curl(*options, "-w", "%{http_code}", "-o", "/dev/null", f"https://localhost:{secure}/a?b")
            self.assertEqual(out, "200", options)
        self.assertEqual(proxy.metric(r'sluice_requests_total\{listener="http",route="up".*code="302"'), 2)

    def test_a_listener_has_routes_of_its_own_also_after_a_reload(self):
        first, second = Demo("v1"), Demo("v2")
        self.addCleanup(first.stop)
        self.addCleanup(second.stop)
        listeners = 'listeners: [{ name: http, address: "127.0.0.1:0" }, { name: inner, address: "127.0.0.1:0" }]'
        text = config(first.port, second.port).replace('listeners: [{ name: http, address: "127.0.0.1:0" }]', listeners)
        route = 'routes: [{ name: inner, match: { listeners: [inner] }, to: s/v2 }, { name: rest, to: s/v1 }]'
        proxy = Proxy(text.replace("routes: [{ name: rest, to: s }]", route))
        self.addCleanup(proxy.stop)
        inner = int(re.search(r"inner=127\.0\.0\.1:(\d+)", proxy.log[-1]).group(1))

        def version(port):
            return json.loads(self.curl(f"http://127.0.0.1:{port}/"))["version"]
        self.assertEqual([version(proxy.port), version(inner)], ["v1", "v2"])
        proxy.write(text.replace("routes: [{ name: rest, to: s }]", route.replace("listeners: [inner]", "listeners: [http]")))
        proxy.reload()
        self.assertEqual([version(proxy.port), version(inner)], ["v2", "v1"])

    def curl(self, *arguments):
        run = subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", self.authority.ca, *arguments], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout


class Certificates(Commands):
    def setUp(self):
        super().setUp()
        self.authority = Authority()
        self.addCleanup(self.authority.close)

    def listener(self, certificate, key, more=""):
        return (f'listeners:\n  - name: https\n    address: "127.0.0.1:0"\n    tls:\n      certificate: {certificate}\n      key: {key}\n{more}'
                'routes: [{ name: r, respond: {} }]\n')

    def validate(self, certificate, key, more=""):
        return self.sluice("validate", "-c", self.file(self.listener(certificate, key, more)))

    def test_what_is_wrong_with_files_is_said_at_their_line_with_what_to_do(self):
        certificate, key = self.authority.issue("server", "DNS:localhost")
        other = self.authority.issue("other", "DNS:localhost")
        request = self.authority.file("server.csr")
        empty, text = self.file("", "empty.pem"), self.file("hello\n", "text.pem")
        binary = os.path.join(self.folder.name, "server.der")
        self.authority.run("x509", "-in", certificate, "-outform", "der", "-out", binary)
        chain = os.path.join(self.folder.name, "chain.pem")
        with open(chain, "w") as file:
            file.write(open(self.authority.ca).read() + open(certificate).read())
        for certificate_file, key_file, line, message, hint in (
                (key, certificate, 5, "swapped", f"certificate: {certificate}"),
                (certificate, other[1], 6, "does not belong to the certificate", "must print one key"),
                (chain, key, 6, "belongs to certificate 2 of", "stands first"),
                (certificate, self.authority.encrypt(key, "locked.key"), 6, "is encrypted", "openssl pkey -in"),
                (request, key, 5, "is a request for a certificate", "gave back"),
                (key, key, 5, "has no certificate but", "belongs under key:"),
                (certificate, certificate, 6, "has no private key but", "belongs under certificate:"),
                (empty, key, 5, "is empty", ""), (certificate, empty, 6, "is empty", ""),
                (text, key, 5, "is not PEM", "-----BEGIN"), (binary, key, 5, "is binary", "openssl x509 -inform der"),
                (self.folder.name, key, 5, "Is a directory", "name the file in it"),
                ("/nonexistent.crt", key, 5, "No such file", "relative to the configuration file's own directory")):
            with self.subTest(message=message):
                run = self.validate(certificate_file, key_file)
                self.assertEqual(run.returncode, 2, run.stdout)
                found = re.match(r"(.*):(\d+):(\d+): error: (.*)\n +\d+ \| .*\n +\| +\^(?:\n   hint: (.*))?", run.stdout)
                self.assertTrue(found, run.stdout)
                self.assertEqual(int(found[2]), line, run.stdout)
                self.assertIn(message, found[4])
                self.assertIn(hint, found[5] or "")

    def test_authorities_are_looked_at_as_certificates_are(self):
        certificate, key = self.authority.issue("server", "DNS:localhost")
        run = self.validate(certificate, key, f"      clientCA: {key}\n")
        self.assertEqual(run.returncode, 2)
        self.assertRegex(run.stdout, r":7:17: error: .*has no certificate but")
        text = BASE.replace("stable: v1", f"stable: v1\n    tls: {{ ca: {self.file('', 'ca.pem')} }}")
        run = self.sluice("validate", "-c", self.file(text))
        self.assertEqual(run.returncode, 2)
        self.assertRegex(run.stdout, r":6:\d+: error: .* is empty, expected a certificate")

    def test_every_bad_file_is_reported_at_once(self):
        run = self.validate("/no.crt", "/no.key", "      clientCA: /no.ca\n")
        self.assertEqual(re.findall(r":(\d+):\d+: error", run.stdout), ["5", "6", "7"])

    def test_time_is_a_warning_and_stands_in_json_too(self):
        for days, begins, words in ((-1, None, r"expired on \d{4}-\d\d-\d\d, 1 day ago"), (20, None, r"expires on \d{4}-\d\d-\d\d, in (19|20) days"),
                                    (0, "20450101000000Z", "is not valid before 2045-01-01"), (90, None, None)):
            certificate, key = self.authority.issue("timed", "DNS:localhost", days=days, begins=begins)
            run = self.validate(certificate, key)
            self.assertEqual(run.returncode, 0, run.stdout)
            if words:
                self.assertRegex(run.stdout, r":5:20: warning: the certificate in .*timed.crt \(timed\) " + words)
                self.assertRegex(run.stdout, r"hint: \w+")
            else:
                self.assertNotIn("warning", run.stdout)
            found = json.loads(self.sluice("validate", "--format", "json", "-c", os.path.join(self.folder.name, "sluice.yaml")).stdout)
            self.assertTrue(found["valid"])
            self.assertEqual([(w["line"], w["severity"]) for w in found["warnings"]], [(5, "warning")] if words else [])

    def test_the_metrics_page_says_when_certificates_end(self):
        certificate, key = self.authority.issue("server", "DNS:localhost", days=20)
        proxy = Proxy(self.listener(certificate, key, f"      clientCA: {self.authority.ca}\n").replace("name: https", "name: http"))
        self.addCleanup(proxy.stop)

        def ends(path):
            text = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-enddate"], capture_output=True, text=True).stdout
            return ssl.cert_time_to_seconds(text.strip().removeprefix("notAfter="))

        def metric(use):
            return proxy.metric(rf'sluice_tls_certificate_expiry_timestamp_seconds\{{listener="http",service="",use="{use}",file=')
        self.assertEqual(metric("certificate"), ends(certificate))
        self.assertEqual(metric("clientCA"), ends(self.authority.ca))
        self.assertTrue(any("expires on" in line for line in proxy.log), proxy.log)
        before = metric("certificate")
        self.authority.issue("server", "DNS:localhost", days=60)
        proxy.reload()
        until(lambda: metric("certificate") > before)
        self.assertEqual(metric("certificate"), ends(certificate))


class Usage(Commands):
    def test_an_unknown_command_says_which_one_may_be_meant(self):
        for word, meant in (("start", "run"), ("serve", "run"), ("check", "validate"), ("validat", "validate"), ("stop", "drain"),
                            ("relaod", "reload"), ("compare", "diff")):
            run = self.sluice(word, "-c", "x.yaml")
            self.assertEqual(run.returncode, 64, word)
            self.assertIn(f'there is no command "{word}"; did you mean "{meant}"?', run.stderr)
        self.assertIn("sluice run -c x.yaml", self.sluice("x.yaml").stderr)
        run = self.sluice("run", "x.yaml")
        self.assertEqual(run.returncode, 64)
        self.assertIn("sluice run -c x.yaml", run.stderr)

    def test_a_file_that_cannot_be_read_says_why(self):
        for path, words in (("/nonexistent", "No such file"), (self.folder.name, "Is a directory")):
            run = self.sluice("validate", "-c", path)
            self.assertEqual(run.returncode, 2)
            self.assertRegex(run.stdout, rf"^{path}:1:1: error: the file cannot be read: .*{words}.*\n   hint: ")

    def test_an_address_that_cannot_be_had_says_what_to_do(self):
        holder = socket.socket()
        self.addCleanup(holder.close)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        inner = 'admin: "127.0.0.1:0"\nmetrics: "127.0.0.1:0"\n'
        for address, words in ((f"127.0.0.1:{holder.getsockname()[1]}", "ss -ltnp shows which"), ("192.0.2.1:0", "no such address"),
                               ("unix:/nonexistent/sluice.sock", "directory is not there")):
            run = self.sluice("run", "-c", self.file(inner + BASE.replace("127.0.0.1:8080", address)))
            self.assertEqual(run.returncode, 1)
            self.assertRegex(run.stderr, rf'the listener "http" cannot listen on .*{words}')

    @unittest.skipIf(os.geteuid() != 0, "needs root, to become nobody")
    def test_a_privileged_port_says_what_to_do(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
            if int(file.read()) <= 81:
                self.skipTest("every port is free to everybody here")
        os.chmod(self.folder.name, 0o755)
        path = self.file('admin: "127.0.0.1:0"\nmetrics: "127.0.0.1:0"\n' + BASE.replace("127.0.0.1:8080", "127.0.0.1:81"))
        run = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", BINARY, "run", "-c", path],
                             capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, 1)
        self.assertIn("ports below 1024 need a privilege", run.stderr)

    def test_a_pipe_where_a_key_file_is_wanted_is_an_error_and_no_wait(self):
        pipe = os.path.join(self.folder.name, "pipe")
        os.mkfifo(pipe)
        keys = BASE.replace("issue: sid", "issue: sid, keys: pipe")
        token = BASE + 'admin: { address: "127.0.0.1:0", token: pipe }\n'
        tls = BASE.replace('127.0.0.1:8080"', '127.0.0.1:8080", tls: { certificate: pipe, key: pipe }')
        for text in (keys, token, tls):
            run = self.sluice("validate", "-c", self.file(text))
            self.assertEqual(run.returncode, 2)
            self.assertIn("it is no plain file", run.stdout)

    def test_what_is_wrong_is_json_where_json_is_asked_for(self):
        good, bad = self.file(BASE), self.file("nonsense: 1\n", "bad.yaml")
        for arguments in (("validate", "-c", bad), ("explain", "-c", bad, "GET", "/"), ("diff", good, bad), ("diff", bad, good),
                          ("explain", "-c", "/nonexistent", "GET", "/")):
            run = self.sluice(*arguments, "--json")
            self.assertEqual(run.returncode, 2, arguments)
            found = json.loads(run.stdout)
            self.assertFalse(found["valid"])
            self.assertTrue(found["errors"][0]["message"])

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs /dev/full")
    def test_output_that_cannot_be_written_is_a_failure(self):
        good = self.file(BASE)
        for arguments in (("schema",), ("version",), ("validate", "-c", good), ("diff", good, good), ("explain", "-c", good, "GET", "/")):
            with open("/dev/full", "w") as full:
                run = subprocess.run([BINARY, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(run.returncode, 1, arguments)
            self.assertIn("No space left", run.stderr)

    def test_a_file_that_is_no_socket_at_a_unix_path_is_named_as_such(self):
        path = os.path.join(self.folder.name, "sock")
        text = 'metrics: "127.0.0.1:0"\nadmin: "127.0.0.1:0"\n' + BASE.replace("127.0.0.1:8080", "unix:" + path)
        self.file("hi", "sock")
        run = self.sluice("run", "-c", self.file(text))
        self.assertEqual(run.returncode, 1)
        self.assertIn("what stands there is no socket", run.stderr)
        with open(path) as file:
            self.assertEqual(file.read(), "hi")

    def test_a_token_file_that_is_missing_or_empty_is_an_error_at_its_line(self):
        for path, words in (("/nonexistent", "No such file"), (self.file("\n", "token"), "has no token")):
            text = BASE + f'admin: {{ address: "127.0.0.1:0", token: {path} }}\n'
            run = self.sluice("validate", "-c", self.file(text))
            self.assertEqual(run.returncode, 2)
            self.assertRegex(run.stdout, rf":12:\d+: error: .*{words}")

    def complete(self, line):
        """What bash offers at the end of a line; files are those of the folder."""
        script = self.sluice("--generate-completion-script", "bash").stdout
        words = line.split(" ")
        program = script + f'''
            sluice() {{ {BINARY} "$@"; }}
            COMP_WORDS=({" ".join(f"'{w}'" for w in words)}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}
            COMP_TYPE=9 COMP_KEY=9 COMPREPLY=()
            _sluice sluice "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}" 2>/dev/null
            printf '%s\\n' "${{COMPREPLY[@]}}"
        '''
        run = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, cwd=self.folder.name, timeout=60)
        return {word.strip() for word in run.stdout.splitlines() if word.strip()}

    def test_bash_completes_commands_options_files_and_values(self):
        for name in ("one.yaml", "two.yml", "three.txt"):
            self.file("", name)
        self.assertLessEqual({"run", "validate", "explain", "diff", "reload"}, self.complete("sluice "))
        self.assertLessEqual({"--config", "--watch", "--workers"}, self.complete("sluice run --"))
        for line in ("sluice run -c ", "sluice validate --config ", "sluice diff ", "sluice diff one.yaml "):
            offered = self.complete(line)
            self.assertLessEqual({"one.yaml", "two.yml"}, offered, line)
            self.assertNotIn("three.txt", offered, line)
        self.assertEqual(self.complete("sluice diff --format "), {"text", "json"})
        self.assertLessEqual({"GET", "POST"}, self.complete("sluice explain "))

    def test_every_command_and_every_script_has_a_help_that_starts_nothing(self):
        for command in ("run", "validate", "explain", "diff", "schema", "demo", "reload", "drain", "evidence", "guard", "rollout", "version"):
            for words in ((command, "--help"), (command, "-h"), ("help", command)):
                run = self.sluice(*words)
                self.assertEqual(run.returncode, 0, words)
                self.assertIn("EXAMPLES", run.stdout)
        # Without a path there is no compiler, and no package manager, that could be started.
        tools = {tool: subprocess.run(["which", tool], capture_output=True, text=True).stdout.strip() for tool in ("bash", "sed", "dirname")}
        for tool, path in tools.items():
            os.symlink(path, os.path.join(self.folder.name, tool))
        for name in sorted(os.listdir(os.path.join(ROOT, "scripts"))):
            script = os.path.join(ROOT, "scripts", name)
            for words, code in ((("--help",), 0), (("-h",), 0), (("--minutes", "1", "--help"), 0), (("--nonsense",), 2)):
                run = subprocess.run(["bash", script, *words], capture_output=True, text=True, timeout=20, env={"PATH": self.folder.name})
                self.assertEqual(run.returncode, code, (name, words, run.stderr))
                with open(script) as file:
                    usage = file.read().split("\n")[1].removeprefix("# ")
                self.assertIn(usage, run.stderr if code else run.stdout, (name, words))

    def test_the_demo_says_when_an_origin_cannot_start(self):
        holder = socket.socket()
        self.addCleanup(holder.close)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", 9081))
            holder.listen()
        except OSError:
            pass  # Somebody else has it, which serves as well.
        run = subprocess.run([os.path.join(ROOT, "scripts/run")], capture_output=True, text=True, timeout=60, env={**os.environ, "SLUICE_BINARY": BINARY})
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, r"run: something answers on 127\.0\.0\.1:\d+, perhaps another scripts/run; end it")
        self.assertNotIn("In another terminal", run.stdout)
        # A demo that runs keeps its socket and its journal.
        self.assertLess(run.stderr.count("\n"), 2)

    def test_the_demo_says_that_a_binary_is_none(self):
        run = subprocess.run([os.path.join(ROOT, "scripts/run")], capture_output=True, text=True, timeout=60, env={**os.environ, "SLUICE_BINARY": "/nonexistent"})
        self.assertEqual(run.returncode, 2)
        self.assertIn("/nonexistent", run.stderr)
        self.assertEqual(run.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
