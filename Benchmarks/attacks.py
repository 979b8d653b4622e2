"""What an honest client feels while somebody else misbehaves: scripts/bench --attacks [NAME ...] [--rounds N].

Each attack runs in turn against the process that the honest client uses and against a second one like it, so that
what the attack costs the machine is in both figures. See Benchmarks/README.md.
"""
import argparse, json, os, re, resource, select, signal, socket, statistics, subprocess, tempfile, threading, time
import urllib.request
import peers

TOOLS = os.path.join(peers.ROOT, ".build", "bench")
SLOW = {
    "header": ["-H"],
    "body": ["-B", "-s", "100000"],
    "read": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
}


def pause(seconds):
    select.select([], [], [], seconds)


class Proxy(peers.Sluice):
    """Sluice with a configuration of its own, and its figures."""

    def __init__(self, folder, name, services, routes, defaults="", descriptors=None, workers=1):
        self.name, self.services, self.text, self.defaults = name, services, routes, defaults
        self.descriptors, self.metrics = descriptors, peers.free_port()
        super().__init__(folder, (0, 0), workers)

    def command(self):
        path = self.write(f"{self.name}.yaml", f"""
listeners: [{{ name: h1, address: "127.0.0.1:{self.h1}" }}]
admin: "127.0.0.1:0"
metrics: "127.0.0.1:{self.metrics}"
services:
{self.services}
routes:
{self.text}
{self.defaults}
drain: {{ delay: 0s, grace: 1s }}
""")
        limit = [] if not self.descriptors else ["prlimit", f"--nofile={self.descriptors}"]
        return [*limit, peers.Sluice.found(), "run", "-c", path, "--workers", str(self.workers)]

    def metric(self, pattern):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=20) as page:
            lines = page.read().decode().splitlines()
        return sum(float(l.rsplit(" ", 1)[1]) for l in lines if re.match(pattern, l))


def load(port, *options):
    out = subprocess.run([os.path.join(TOOLS, "load"), str(port), *options], capture_output=True, text=True, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def wrk(port, seconds):
    """p99 in µs of a closed loop, and what went wrong."""
    out = subprocess.run(
        ["wrk", "-t1", "-c8", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/bytes/12"],
        capture_output=True, text=True, check=True).stdout
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    wrong = re.search(r"Socket errors.*|Non-2xx.*", out)
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit], wrong.group(0) if wrong else "none"


def one(origin, pool=""):
    return f'  s: {{ versions: {{ v1: {{ endpoints: ["127.0.0.1:{origin}"] }} }}{pool} }}'


REST = "  - { name: rest, to: s }"


def slow(folder, origin, mode, rounds):
    """5,000 slow connections; the honest client's p99 with a rate of its own, and as fast as it can (wrk)."""
    pool = ", connectionPool: { maxConnections: 6000, maxRequests: 6000, maxPendingRequests: 6000 }"
    pair = [Proxy(folder, name, one(origin, pool), REST) for name in ("honest", "other")]
    figures = {"elsewhere": [], "here": []}
    try:
        for _ in range(rounds):
            for where, target in (("elsewhere", pair[1]), ("here", pair[0])):
                attack = subprocess.Popen(
                    ["slowhttptest", "-c", "5000", "-r", "2000", "-i", "10", "-p", "5", "-l", "25", *SLOW[mode], "-u",
                     f"http://127.0.0.1:{target.h1}/bytes/262144"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                pause(5)
                held = target.metric("sluice_worker_connections")
                open_loop = load(pair[0].h1, "-c", "16", "-d", "6", "-w", "1", "-r", "3000")
                closed_loop, wrong = wrk(pair[0].h1, 6)
                figures[where].append((open_loop["p99"], closed_loop, held, target.rss(), open_loop["errors"], wrong))
                attack.send_signal(signal.SIGINT)
                attack.wait()
    finally:
        for proxy in pair:
            proxy.stop()
    middle = {k: [statistics.median(r[i] for r in v) for i in range(4)] for k, v in figures.items()}
    wrong = [r[4:] for rows in figures.values() for r in rows if r[4] or r[5] != "none"]
    print(f"slow {mode}: {middle['here'][2]:.0f} slow connections, {middle['here'][3]:.0f} MB")
    for i, what in enumerate(("at 3,000 requests/s", "of wrk -c8")):
        here, elsewhere = middle["here"][i], middle["elsewhere"][i]
        print(f"  p99 {what}: {here:.0f} µs, {elsewhere:.0f} µs with the attack elsewhere ({here / elsewhere:.2f})")
    print(f"  failed requests of the honest client: {wrong or 'none'}")


def descriptors(folder, origin, rounds):
    """500 clients, a connection for each request, with 64 descriptors and with enough."""
    figures = {64: [], 20_000: []}
    # Clients that wait longer than a second are in the kernel's queue; the load does not give up.
    for _ in range(rounds):
        for count in figures:
            proxy = Proxy(folder, f"fds{count}", one(origin), REST, descriptors=count)
            load(proxy.h1, "-c", "16", "-n", "2000", "-1")
            before = proxy.cpu()
            result = load(proxy.h1, "-c", "500", "-n", "20000", "-1")
            figures[count].append(((proxy.cpu() - before) / result["requests"] * 1e6, result["errors"],
                                   proxy.metric("sluice_accept_pauses_total")))
            begun = load(proxy.h1, "-c", "8", "-n", "2000")
            assert begun["errors"] == 0
            proxy.stop()
    few, many = (statistics.median(f[0] for f in figures[c]) for c in figures)
    print(f"descriptors: {few:.1f} µs of CPU a request with 64, {many:.1f} with enough ({few / many:.2f})")
    print(f"  refused or broken: {sum(f[1] for f in figures[64])} of {20_000 * rounds}; pauses of accepting: "
          f"{statistics.median(f[2] for f in figures[64]):.0f}; keep-alive clients behind it are served")


def hole():
    """An origin that takes everything and never answers."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    held = []
    def take():
        while True:
            try:
                held.append(listener.accept())
            except OSError:
                return
    threading.Thread(target=take, daemon=True).start()
    return listener


def mirror(folder, origin, rounds):
    """Every request copied to an origin that hangs."""
    listener = hole()
    dead = listener.getsockname()[1]
    services = f"""  s:
    stable: v1
    versions:
      v1: {{ weight: 1, endpoints: ["127.0.0.1:{origin}"] }}
      v2: {{ weight: 0, endpoints: ["127.0.0.1:{dead}"] }}"""
    pair = {
        "with": Proxy(folder, "with", services, "  - { name: rest, to: s/v1, mirror: { to: s/v2 } }"),
        "without": Proxy(folder, "without", services, "  - { name: rest, to: s/v1 }"),
    }
    figures = {name: [] for name in pair}
    for _ in range(rounds):
        for name, proxy in pair.items():
            result = load(proxy.h1, "-c", "16", "-d", "5", "-w", "1", "-r", "3000")
            figures[name].append((result["p99"], result["errors"], proxy.rss(), result["p50"]))
    dropped = pair["with"].metric("sluice_mirrors_dropped_total")
    for proxy in pair.values():
        proxy.stop()
    listener.close()
    a, b = ([statistics.median(f[i] for f in figures[n]) for i in range(4)] for n in pair)
    print(f"mirror to an origin that hangs: p99 {a[0]:.0f} µs, {b[0]:.0f} without ({a[0] / b[0]:.2f}); p50 {a[3]:.0f}, "
          f"{b[3]:.0f} ({a[3] / b[3]:.2f})")
    print(f"  errors {sum(f[1] for f in figures['with'])}; memory {a[2]:.1f} MB, {b[2]:.1f} without; "
          f"copies given up {dropped:.0f}")


class Switch:
    """Origins that fail until they are told otherwise; they count what reaches them. Threads of C, not of Python."""

    def __init__(self, folder, count):
        self.processes, self.ports = [], []
        self.start(count, "100%")

    def start(self, count, share):
        ports = list(self.ports) or [0] * count
        self.ports = []
        for port in ports:
            process = subprocess.Popen(
                [peers.Sluice.found(), "demo", "--address", f"127.0.0.1:{port}", "--error-rate", share],
                stderr=subprocess.PIPE, text=True)
            self.ports.append(int(re.search(r":(\d+)$", process.stderr.readline().strip()).group(1)))
            self.processes.append(process)

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []


def storm(folder, origin, rounds):
    """All endpoints fail at 5,000 requests a second, then they are well again."""
    origins = Switch(folder, 3)
    addresses = ", ".join(f'"127.0.0.1:{p}"' for p in origins.ports)
    proxy = Proxy(
        folder, "storm", f"  s: {{ versions: {{ v1: {{ endpoints: [{addresses}] }} }} }}",
        "  - { name: rest, to: s, retries: { attempts: 3, on: [5xx], backoff: 5ms } }", workers=2)
    attempts = lambda: proxy.metric("sluice_upstream_attempts_total")
    requests = lambda: proxy.metric("sluice_requests_started_total")
    sent, asked = attempts(), requests()
    load(proxy.h1, "-c", "64", "-d", "10", "-w", "1", "-r", "5000")
    asked = requests() - asked
    ratio, retries = (attempts() - sent) / asked, attempts() - sent - asked
    origins.stop()
    # The ports are the same: the proxy knows them, and sees that they are well by their answers.
    origins.start(3, "0%")
    begun = time.monotonic()
    while True:
        with socket.create_connection(("127.0.0.1", proxy.h1)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            if client.recv(4096).startswith(b"HTTP/1.1 200"):
                break
    recovered = time.monotonic() - begun
    after = load(proxy.h1, "-c", "64", "-d", "3", "-w", "1", "-r", "5000")
    failed = proxy.metric('sluice_requests_total.*code="5')
    result = load(proxy.h1, "-c", "64", "-d", "3", "-w", "0", "-r", "5000")
    assert proxy.metric('sluice_requests_total.*code="5') == failed and result["errors"] == 0
    proxy.stop()
    origins.stop()
    print(f"retry storm: {asked:.0f} requests, all failing, reached the endpoints {ratio:.3f} times each "
          f"({retries:.0f} retries; a fifth and 10 a second are allowed)")
    print(f"  first good answer {recovered * 1e3:.0f} ms after the endpoints were back; p99 then {after['p99']:.0f} µs, no failure")


def main():
    attacks = {f"slow-{mode}": mode for mode in SLOW}
    names = [*attacks, "descriptors", "mirror", "storm"]
    parser = argparse.ArgumentParser(prog="scripts/bench --attacks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    unknown = [n for n in chosen.names if n not in names]
    if unknown:
        raise SystemExit(f"bench: no attack {unknown[0]}; there are {', '.join(names)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 12_000:
        raise SystemExit(f"bench: 5,000 slow connections need 12,000 descriptors for each process; ulimit -Hn says {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        ports, processes = peers.origins(folder)
        try:
            for name in chosen.names or names:
                if name in attacks:
                    slow(folder, ports["h1"], attacks[name], chosen.rounds)
                else:
                    globals()[name](folder, ports["h1"], chosen.rounds)
        finally:
            for process in processes:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
