"""Counts what noise does not touch: user instructions, system calls and heap work per request.

The release binary with one worker, routing, sticky sessions, counters and timeouts on, between the
benchmark's load generator and its origin. See Benchmarks/README.md.
"""
import json, os, re, shutil, signal, subprocess, sys, tempfile, time
import peers

ROOT = peers.ROOT
TOOLS = os.path.join(ROOT, ".build", "bench")
BASELINE = os.path.join(ROOT, "Benchmarks", "baselines", "gate.txt")
TOLERANCE = 1.03
# Name, options of the load, routes, requests; for h2load the listener and what the origin speaks.
SCENARIOS = [
    ("keep-alive", ["-c", "64"], 1, 4000),
    ("16-KiB", ["-c", "64", "-p", "/bytes/16384"], 1, 2000),
    ("1-MiB-down", ["-c", "8", "-p", "/bytes/1048576"], 1, 100),
    ("upload-64-KiB", ["-c", "16", "-u", "65536"], 1, 500),
    ("1000-connections", ["-c", "1000"], 1, 4000),
    ("connection-per-request", ["-c", "16", "-1"], 1, 1000),
    ("10000-routes", ["-c", "64", "-p", "/r9999/bytes/12"], 10_000, 2000),
    ("h2-to-h1", ["-c10", "-m32"], 1, 4000, "h2", "h1"),
    ("h2-to-h2", ["-c10", "-m32"], 1, 4000, "h2", "h2"),
    ("grpc-unary", ["-c10", "-m32", "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", "{folder}/message"],
     1, 4000, "h2", "h2"),
    ("tls-keep-alive", ["--h1", "-c64"], 1, 4000, "tls", "h1"),
    # Each connection one request: a full handshake, the request with it.
    ("tls-handshake", ["--h1", "-c200"], 1, 200, "tls", "h1"),
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
    if len(scenario) == 4:
        out = subprocess.run(
            [os.path.join(TOOLS, "load"), str(proxy.h1), *scenario[1], "-n", str(count)], capture_output=True, text=True)
        result = json.loads(out.stdout.splitlines()[-1])
        done, errors = result["requests"], result["errors"] or out.returncode
    else:
        options = [o.format(folder=proxy.folder) for o in scenario[1]]
        # h2load wants at least one request for each connection.
        clients = int(next(o[2:] for o in options if re.match(r"-c\d", o)))
        url = f"https://127.0.0.1:{proxy.tls}" if scenario[4] == "tls" else f"http://127.0.0.1:{proxy.h2}"
        out = subprocess.run(
            ["h2load", *options, f"-n{max(count, clients)}", url + "/bytes/12"], capture_output=True, text=True)
        found = re.search(r"(\d+) succeeded, (\d+) failed", out.stdout)
        done, errors = (int(found[1]), int(found[2])) if found else (0, 1)
    if errors:
        sys.exit(f"gate: not every request succeeded\n{out.stdout}{out.stderr}")
    return done


def with_proxy(folder, ports, scenario, prefix, body):
    Proxy.prefix = prefix
    upstream = scenario[5] if len(scenario) > 4 else "h1"
    proxy = Proxy(folder, [ports[upstream]] * 2, routes=scenario[2], upstream=upstream)
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
        count = load(proxy, scenario, scenario[3])
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
        count = load(proxy, scenario, scenario[3])
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
            if only and scenario[0] != only:
                continue
            ir, heap = instructions(folder, ports, scenario)
            figures[scenario[0] + " instructions"] = round(ir)
            figures[scenario[0] + " heap_and_counting_instructions"] = round(heap)
            figures[scenario[0] + " system_calls"] = round(system_calls(folder, ports, scenario), 2)
            for name, value in figures.items():
                if name.startswith(scenario[0] + " "):
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
