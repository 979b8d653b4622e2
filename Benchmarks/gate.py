"""Counts what noise does not touch: user instructions, system calls and heap work per request.

The release binary with one worker, routing, sticky sessions, counters and timeouts on, between the
benchmark's load generator and its origin. See Benchmarks/README.md.
"""
import dataclasses, json, os, re, shutil, signal, subprocess, sys, tempfile, time
import peers

ROOT = peers.ROOT
TOOLS = os.path.join(ROOT, ".build", "bench")
BASELINE = os.path.join(ROOT, "Benchmarks", "baselines", "gate.txt")
TOLERANCE = 1.03


@dataclasses.dataclass
class Scenario:
    """A kind of load: options of the load generator, or, where `listener` is not h1, of h2load."""
    name: str
    options: list
    requests: int
    routes: int = 1
    listener: str = "h1"
    upstream: str = "h1"
    workers: int = 1
    guarded: bool = False
    evidence: bool = False


GRPC = ["-c10", "-m32", "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", "{folder}/message"]
SCENARIOS = [
    Scenario("keep-alive", ["-c", "64"], 4000),
    Scenario("keep-alive-guarded", ["-c", "64"], 4000, guarded=True),
    # Against keep-alive: a split whose versions are counted apart, and the guard.
    Scenario("keep-alive-evidence", ["-c", "64"], 4000, evidence=True),
    Scenario("16-KiB", ["-c", "64", "-p", "/bytes/16384"], 2000),
    Scenario("1-MiB-down", ["-c", "8", "-p", "/bytes/1048576"], 100),
    Scenario("1-MiB-up", ["-c", "8", "-u", "1048576"], 100),
    Scenario("upload-64-KiB", ["-c", "16", "-u", "65536"], 500),
    Scenario("1-connection", ["-c", "1"], 2000),
    Scenario("1000-connections", ["-c", "1000"], 4000),
    # At a rate, so that most are idle; 20,000 descriptors are enough for them.
    Scenario("9000-connections", ["-c", "9000", "-r", "1000"], 9000),
    Scenario("connection-per-request", ["-c", "16", "-1"], 1000),
    Scenario("100-routes", ["-c", "64", "-p", "/r99/bytes/12"], 2000, routes=100),
    Scenario("1000-routes", ["-c", "64", "-p", "/r999/bytes/12"], 2000, routes=1_000),
    Scenario("10000-routes", ["-c", "64", "-p", "/r9999/bytes/12"], 2000, routes=10_000),
    Scenario("2-workers", ["-c", "64"], 4000, workers=2),
    Scenario("h2-to-h1", ["-c10", "-m32"], 4000, listener="h2"),
    Scenario("h2-to-h2", ["-c10", "-m32"], 4000, listener="h2", upstream="h2"),
    Scenario("grpc-unary", GRPC, 4000, listener="h2", upstream="h2"),
    Scenario("tls-keep-alive", ["--h1", "-c64"], 4000, listener="tls"),
    # Each connection one request: a full handshake, the request with it.
    Scenario("tls-handshake", ["--h1", "-c200"], 200, listener="tls"),
]
CALLS = ("sendto", "recvfrom", "epoll_wait", "epoll_ctl", "write", "read", "futex", "writev", "accept4", "close", "connect",
         "socket", "shutdown", "setsockopt", "getsockopt")
HEAP = re.compile(
    r"^\s*([\d,]+) +\([^\n]*:_?(?:int_malloc|malloc|calloc|realloc|swift_\w*(?:[Rr]etain|[Rr]elease|[Aa]lloc)\w*) \[", re.M)


class Proxy(peers.Sluice):
    """Sluice, stripped, behind a tool."""
    binary, prefix = "", []

    @classmethod
    def found(cls):
        return Proxy.binary

    def command(self):
        return Proxy.prefix + super().command()


def load(proxy, scenario, count):
    """Sends so many requests; returns how many were answered."""
    if scenario.listener == "h1":
        out = subprocess.run(
            [os.path.join(TOOLS, "load"), str(proxy.h1), *scenario.options, "-n", str(count)], capture_output=True, text=True)
        result = json.loads(out.stdout.splitlines()[-1])
        done, errors = result["requests"], result["errors"] or out.returncode
    else:
        options = [o.format(folder=proxy.folder) for o in scenario.options]
        # h2load wants at least one request for each connection.
        clients = int(next(o[2:] for o in options if re.match(r"-c\d", o)))
        url = f"https://127.0.0.1:{proxy.tls}" if scenario.listener == "tls" else f"http://127.0.0.1:{proxy.h2}"
        out = subprocess.run(
            ["h2load", *options, f"-n{max(count, clients)}", url + "/bytes/12"], capture_output=True, text=True)
        found = re.search(r"(\d+) succeeded, (\d+) failed", out.stdout)
        done, errors = (int(found[1]), int(found[2])) if found else (0, 1)
    if errors:
        sys.exit(f"gate: not every request succeeded\n{out.stdout}{out.stderr}")
    return done


def with_proxy(folder, ports, scenario, prefix, body):
    Proxy.prefix = prefix
    Proxy.guarded, Proxy.evidence = scenario.guarded, scenario.evidence
    proxy = Proxy(
        folder, [ports[scenario.upstream]] * 2, workers=scenario.workers, routes=scenario.routes, upstream=scenario.upstream)
    try:
        load(proxy, scenario, 500)
        return body(proxy)
    finally:
        proxy.stop()


def instructions(folder, ports, scenario):
    out = os.path.join(folder, "callgrind.out")
    prefix = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}", "-q"]
    def run(proxy):
        control = lambda state: subprocess.run(
            ["callgrind_control", "-i", state, str(proxy.process.pid)], stdout=subprocess.DEVNULL, check=True)
        control("on")
        count = load(proxy, scenario, scenario.requests)
        control("off")
        return count
    count = with_proxy(folder, ports, scenario, prefix, run)
    # Without the threshold the list ends at 99 % and a small share of the work would read as none.
    text = subprocess.run(["callgrind_annotate", "--threshold=100", out], capture_output=True, text=True).stdout
    total = int(re.search(r"([\d,]+)[^\n]*PROGRAM TOTALS", text).group(1).replace(",", ""))
    heap = sum(int(n.replace(",", "")) for n in HEAP.findall(text))
    return total / count, heap / count


def system_calls(folder, ports, scenario):
    out = os.path.join(folder, "strace.out")
    def run(proxy):
        strace = subprocess.Popen(
            ["strace", "-f", "-c", "-o", out, "-p", str(proxy.process.pid)], stderr=subprocess.PIPE, text=True)
        strace.stderr.readline()  # "attached"
        time.sleep(0.5)
        count = load(proxy, scenario, scenario.requests)
        strace.send_signal(signal.SIGINT)
        strace.wait()
        return count
    count = with_proxy(folder, ports, scenario, [], run)
    calls = 0
    with open(out) as file:
        for line in file:
            parts = line.split()
            if len(parts) >= 5 and parts[-1] in CALLS:
                calls += int(parts[3])
    return calls / count


def measure(only=None):
    folder = tempfile.mkdtemp()
    Proxy.binary = os.path.join(folder, "sluice")
    shutil.copy(os.path.join(ROOT, ".build", "release", "sluice"), Proxy.binary)
    subprocess.run(["strip", "--strip-debug", Proxy.binary], check=True)
    peers.certificate(folder)
    ports, origins = peers.origins(folder)
    figures = {}
    try:
        for scenario in SCENARIOS:
            if only and scenario.name != only:
                continue
            ir, heap = instructions(folder, ports, scenario)
            figures[scenario.name + " instructions"] = round(ir)
            figures[scenario.name + " heap_and_counting_instructions"] = round(heap)
            figures[scenario.name + " system_calls"] = round(system_calls(folder, ports, scenario), 2)
            for name, value in figures.items():
                if name.startswith(scenario.name + " "):
                    print(name, value, flush=True)
    finally:
        for origin in origins:
            origin.kill()
            origin.wait()
        shutil.rmtree(folder)
    return figures


def main():
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else None
    figures = measure(only)
    if only:
        return
    if "--rebase" in sys.argv:
        with open(BASELINE, "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in figures.items())
        return
    worse = []
    with open(BASELINE) as file:
        for line in file:
            name, value = line.rsplit(" ", 1)
            # Instructions vary by a few, calls by how many events one wait brings: the more, the more calls there are.
            slack = max(0.1, float(value) * 0.05) if name.endswith("calls") else 10
            if figures[name] > float(value) * TOLERANCE + slack:
                worse.append(f"{name}: {figures[name]}, baseline {value.strip()}")
    if worse:
        sys.exit("gate: more than 3 % worse\n" + "\n".join(worse))
    print("gate: within 3 % of the baseline")


main()
