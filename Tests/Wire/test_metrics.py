"""The metrics page under a known load: the queries of Flagger, Argo Rollouts, Kiali, Istio's dashboards and istioctl,
run by a real Prometheus; its formats, read by those who define them; its parts and its compression."""
import gzip, importlib.util, json, os, re, shutil, socket, subprocess, tempfile, threading, time, unittest, urllib.parse, urllib.request
from harness import ROOT, Case, Reader, config, status, until

FIXTURES = os.path.join(ROOT, "Tests", "Fixtures", "observability")
ON = '{ address: "127.0.0.1:0", istio: on }'
# The load of ten seconds at the rates of the known load; time itself is made up (`History`).
SECONDS = 10


def samples(page):
    """Values by name and labels, each of which is there once."""
    found = {}
    for line in page.splitlines():
        if line.startswith("#") or not line:
            continue
        series, value = line.rsplit(" ", 1)
        assert series not in found, series
        found[series] = float(value)
    return found


def labels(series):
    return dict(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', series))


def parts(series):
    """Name and labels of a series, to be compared; programs have versions of their own."""
    named = {name: "" if name == "tag" else value for name, value in labels(series).items()}
    return series.split("{")[0], tuple(sorted(named.items()))


def every(n, bad, good):
    """An origin that gives another answer to each nth request."""
    count, lock = [0], threading.Lock()
    def answer(head, body):
        with lock:
            count[0] += 1
            return bad if count[0] % n == 0 else good
    return answer


class KnownLoad(Case):
    """A proxy for services as `queries.json` describes them, before and after ten seconds of its load."""

    def begin(self, metrics=ON, sidecar=False):
        self.v1 = self.backend(status(200, body=b"a" * 350))
        self.v2 = self.backend(every(5, status(503, body=b"b" * 350), status(200, body=b"b" * 350)))
        self.cart = self.backend(every(
            5, status(200, "content-type: application/grpc", "grpc-status: 14", body=b"c" * 64),
            status(200, "content-type: application/grpc", "grpc-status: 0", body=b"c" * 64)))
        port = self.v2.port
        if sidecar:
            self.pod = self.start(
                config(port), metrics='{ address: "127.0.0.1:0", istio: off, http: on }')
            port = self.pod.port
        return self.start(f"""
identity: {{ workload: frontend, namespace: shop, app: frontend, version: v3 }}
listeners: [{{ name: http, address: "127.0.0.1:0" }}]
services:
  reviews:
    hosts: [reviews]
    versions:
      v1: {{ weight: 90%, endpoints: ["127.0.0.1:{self.v1.port}"], workload: reviews-primary }}
      v2: {{ weight: 10%, endpoints: ["127.0.0.1:{port}"], workload: reviews }}
  cart: {{ hosts: [cart], versions: {{ v1: {{ endpoints: ["127.0.0.1:{self.cart.port}"] }} }} }}
drain: {{ delay: 0s, grace: 5s }}
""", metrics=metrics)

    def run_load(self, proxy, times=1):
        """Requests in the order in which the split's draws come: 90 % and 10 % of a thousand are exact."""
        for host, count, size, fields in (("reviews", 1_000, 100, ""), ("cart", 50, 64, "content-type: application/grpc\r\nte: trailers\r\n")):
            connection = proxy.connect()
            reader = Reader(connection)
            for _ in range(count * times):
                connection.sendall(
                    f"POST / HTTP/1.1\r\nhost: {host}\r\n{fields}content-length: {size}\r\n\r\n".encode() + b"x" * size)
                self.assertIn(reader.response("POST")[0], (200, 503))
            connection.close()


class Page(KnownLoad):
    def test_the_families_of_istio_have_the_names_labels_and_values_of_the_known_load(self):
        proxy = self.begin()
        self.run_load(proxy)
        spec = importlib.util.spec_from_file_location("synth_page", os.path.join(FIXTURES, "synth_page.py"))
        synth = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(synth)
        wanted = {parts(s) for s in samples(synth.page(False)) if s.startswith("istio_")}
        page = samples(proxy.page("/metrics"))
        found = {parts(s): value for s, value in page.items() if s.startswith("istio_")}
        self.assertEqual(wanted - set(found), set())
        # Beyond them there are the series that exist before their first event.
        self.assertEqual({s for s in set(found) - wanted if found[s] != 0}, set())
        def count(**wanted):
            return sum(v for s, v in page.items() if s.startswith("istio_requests_total{")
                       and all(labels(s).get(name) == value for name, value in wanted.items()))
        for reporter in ("source", "destination"):
            self.assertEqual(count(reporter=reporter, destination_workload="reviews-primary"), 900)
            self.assertEqual(count(reporter=reporter, destination_workload="reviews", response_code="200"), 80)
            self.assertEqual(count(reporter=reporter, destination_workload="reviews", response_code="503"), 20)
            self.assertEqual(count(reporter=reporter, destination_app="cart", grpc_response_status="0"), 40)
            self.assertEqual(count(reporter=reporter, destination_app="cart", grpc_response_status="14"), 10)
        for series, value in page.items():
            if series.startswith("istio_request_bytes_sum") and 'destination_workload="reviews"' in series:
                self.assertEqual(value, 10_000)
            if series.startswith("istio_response_bytes_sum") and 'destination_workload="reviews"' in series:
                self.assertEqual(value, 35_000)
        # Sluice's own words agree, and have no more series for the others.
        own = {s: v for s, v in page.items() if s.startswith("sluice_requests_total{") and v}
        self.assertEqual(sorted(own.values()), [20, 50, 80, 900])

    def test_every_label_of_the_list_is_on_every_series(self):
        proxy = self.begin()
        with open(os.path.join(FIXTURES, "istio_labels.json")) as file:
            names = [entry["label"] for entry in json.load(file)["labels"]]
        page = samples(proxy.page("/metrics?use=istio"))
        requests = [s for s in page if s.startswith("istio_requests_total{")]
        self.assertEqual(len(requests), 3 * 2 * 3)
        for series in requests:
            self.assertEqual(sorted(labels(series)), sorted(names))
        without = {"istio_request_duration_milliseconds": {"grpc_response_status", "response_flags"},
                   "istio_response_bytes": {"request_protocol", "response_code", "grpc_response_status", "response_flags"}}
        for family, less in without.items():
            for series in page:
                if series.startswith(family + "_"):
                    self.assertEqual(set(labels(series)) - {"le"}, set(names) - less)

    def test_settings_turn_families_on_and_off_with_a_reload_and_no_counter_falls(self):
        proxy = self.begin()
        self.run_load(proxy)
        with open(proxy.path) as file:
            text = "".join(file.readlines()[2:])
        def families(setting):
            proxy.write(text, metrics=f'{{ address: "127.0.0.1:0", {setting} }}')
            proxy.reload()
            return proxy.page("/metrics")
        before = samples(families("istio: on"))
        self.assertNotIn("\nistio_", families("istio: off"))
        self.assertEqual({labels(s)["reporter"] for s in samples(families("istio: { reporter: source }"))
                          if s.startswith("istio_requests_total")}, {"source"})
        sizes = families("istio: { sizes: on }, http: on")
        self.assertIn("\nhttp_request_duration_seconds_bucket{status=\"5xx\",le=\"+Inf\"} 20\n", sizes)
        self.run_load(proxy)
        page = samples(proxy.page("/metrics"))
        for series, value in before.items():
            if "_total" in series or "_bucket" in series or "_count" in series:
                self.assertGreaterEqual(page[series], value, series)
        for reporter in ("source", "destination"):
            found = {labels(s)["le"]: v for s, v in page.items() if s.startswith("istio_request_bytes_bucket")
                     and labels(s)["reporter"] == reporter and labels(s)["destination_workload"] == "reviews-primary"}
            self.assertEqual((found["50"], found["100"], found["+Inf"]), (0, 900, 1_800))

    def test_versions_come_and_go_and_no_counter_falls_while_its_version_is_named(self):
        proxy = self.begin()
        with open(proxy.path) as file:
            text = "".join(file.readlines()[2:])
        def counters():
            return {s: v for s, v in samples(proxy.page("/metrics")).items()
                    if re.match(r"\w+(_total|_bucket|_count|_sum)\b", s)}
        last = counters()
        for n in range(5):
            self.run_load(proxy)
            extra = f'      extra{n}: {{ weight: 0%, endpoints: ["127.0.0.1:{self.v1.port}"] }}\n  cart:'
            route = f'routes: [{{ name: only{n}, match: {{ path: {{ exact: "/" }} }}, to: reviews/v1 }}]\n' if n % 2 else ""
            proxy.write(text.replace("  cart:", extra) + route, metrics='{ address: "127.0.0.1:0", retention: 0s }')
            proxy.reload()
            page = counters()
            for series, value in last.items():
                if 'version="extra' in series or 'route="only' in series:
                    continue
                self.assertGreaterEqual(page.get(series, -1), value, series)
            last = page

    def test_parts_of_the_page_by_use_are_the_page(self):
        proxy = self.begin()
        index = "requests istio http upstream clients rollouts process".split()
        kinds = lambda page: re.findall(r"^# TYPE (\S+)", page, re.M)
        all_kinds = kinds(proxy.page("/metrics"))
        self.assertEqual(sum((kinds(proxy.page(f"/metrics?use={use}")) for use in index), []), all_kinds)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            proxy.page("/metrics?use=everything")
        self.assertEqual(refused.exception.code, 400)
        self.assertIn("requests, istio, http", refused.exception.read().decode())
        refused.exception.close()

    def test_gzip_is_given_to_those_who_ask_and_is_the_same_page(self):
        proxy = self.begin()
        self.run_load(proxy)
        def ask(accept):
            request = urllib.request.Request(
                f"http://127.0.0.1:{proxy.metrics_port}/metrics?use=istio", headers={"Accept-Encoding": accept})
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.headers, response.read()
        head, plain = ask("identity")
        self.assertIsNone(head["content-encoding"])
        for accept in ("gzip", "deflate, gzip;q=0.9", "*"):
            head, small = ask(accept)
            self.assertEqual(head["content-encoding"], "gzip")
            self.assertIn("accept-encoding", head["vary"])
            self.assertEqual(gzip.decompress(small), plain)
            self.assertLess(len(small) * 10, len(plain))
        self.assertIsNone(ask("gzip;q=0")[0]["content-encoding"])


class Formats(KnownLoad):
    OPEN = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool_has_one_thing_to_say_and_that_is_istios(self):
        for metrics, complaint in (
                (ON, r"istio_request_duration_milliseconds use base unit \"seconds\"[^\n]*\n"),
                ('{ address: "127.0.0.1:0", istio: off, http: on }', "")):
            proxy = self.begin(metrics)
            self.run_load(proxy)
            run = subprocess.run(["promtool", "check", "metrics"], input=proxy.page("/metrics"), capture_output=True, text=True)
            self.assertRegex(run.stdout + run.stderr, rf"\A(?:{complaint})\Z")
            self.assertEqual(run.returncode, 3 if complaint else 0)

    @unittest.skipUnless(importlib.util.find_spec("prometheus_client"), "prometheus_client is not installed")
    def test_prometheus_client_reads_openmetrics_and_finds_what_the_text_has(self):
        from prometheus_client.openmetrics import parser
        from prometheus_client.parser import text_string_to_metric_families
        proxy = self.begin('{ address: "127.0.0.1:0", istio: { sizes: on }, http: on }')
        self.run_load(proxy)
        def values(families):
            return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}
        page = proxy.page("/metrics", headers=self.OPEN)
        self.assertTrue(page.endswith("# EOF\n"))
        for line in page.splitlines()[:-1]:
            self.assertRegex(line, r"\A(# (TYPE|UNIT|HELP) )?[a-z]")
        found = values(parser.text_string_to_metric_families(page))
        text = values(text_string_to_metric_families(proxy.page("/metrics")))
        former = {"sluice_downstream_connections_total", "sluice_tunnels_total"}
        self.assertEqual({s for s in text if s[0] not in former}, set(found))
        for series, value in text.items():
            if series[0].startswith(("istio_", "sluice_requests_total", "sluice_request_duration", "http_")):
                self.assertEqual(found[series], value, series)


class History:
    """A Prometheus server over a past that is made up: two pages of a proxy, and a straight line through them."""

    def __init__(self, pages, end):
        """pages: (samples before, samples after, labels of the target)."""
        self.folder, self.end = tempfile.TemporaryDirectory(), end
        lines = []
        for before, after, target in pages:
            for series, value in after.items():
                first = before.get(series, 0.0)
                name, rest = series.split("{", 1) if "{" in series else (series, "}")
                own = ",".join(f'{k}="{v}"' for k, v in target.items())
                full = f"{name}{{{own}{',' if rest != '}' else ''}{rest}"
                for second in range(121):
                    lines.append(f"{full} {first + (value - first) * second / SECONDS:.6f} {end - 120 + second}")
        path = os.path.join(self.folder.name, "past.txt")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n# EOF\n")
        data = os.path.join(self.folder.name, "data")
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", path, data], check=True, capture_output=True)
        probe = socket.socket()
        probe.bind(("127.0.0.1", 0))
        self.port = probe.getsockname()[1]
        probe.close()
        with open(os.path.join(self.folder.name, "p.yml"), "w") as file:
            file.write("scrape_configs: []\n")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={self.folder.name}/p.yml", f"--storage.tsdb.path={data}",
             f"--web.listen-address=127.0.0.1:{self.port}"], stderr=subprocess.DEVNULL)

    def ask(self, query):
        arguments = urllib.parse.urlencode({"query": query, "time": self.end})
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{arguments}", timeout=20) as response:
            return json.load(response)["data"]["result"]

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    def close(self):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


@unittest.skipUnless(shutil.which("prometheus") and shutil.which("promtool"), "prometheus is not installed")
class Queries(KnownLoad):
    def test_the_queries_of_flagger_argo_kiali_istio_and_kayenta_answer_as_they_are(self):
        proxy = self.begin(sidecar=True)
        pages = lambda: (samples(proxy.page("/metrics?use=istio")), samples(self.pod.page("/metrics?use=http")))
        # The first load makes every series, so that both pages have them.
        self.run_load(proxy)
        before = pages()
        self.run_load(proxy)
        after = pages()
        targets = ({"job": "sluice", "instance": "frontend"},
                   {"job": "pods", "kubernetes_namespace": "shop", "kubernetes_pod_name": "reviews-7d4b9c6f5-x2x9k"})
        history = History(list(zip(before, after, targets)), int(time.time()) // 7200 * 7200 - 1800)
        self.addCleanup(history.close)
        until(history.is_ready, limit=60)
        with open(os.path.join(FIXTURES, "queries.json")) as file:
            queries = json.load(file)["queries"]
        wrong, asked = [], 0
        for query in queries:
            expected, text = query["expect"], query.get("rendered")
            # Recorded ratios are rules of their own (config/monitoring), and a past has none.
            if expected["kind"] in ("invalid", "empty") or not text or "sluice:" in text:
                continue
            asked += 1
            result = history.ask(text)
            names = {name for series in result for name in series["metric"]}
            if not result or not set(expected.get("labels", [])) <= names:
                wrong.append((query["id"], "no answer" if not result else "labels", text))
                continue
            # How long the requests took here is another matter, and so is what was counted before.
            if "value" not in expected or "duration" in text or expected["value"] > 1e6:
                continue
            value = float(result[0]["value"][1])
            if abs(value - expected["value"]) > 0.05 * abs(expected["value"]) + 0.005:
                wrong.append((query["id"], value, expected["value"], text))
        self.assertEqual(wrong, [])
        self.assertGreater(asked, 140)


if __name__ == "__main__":
    unittest.main()
