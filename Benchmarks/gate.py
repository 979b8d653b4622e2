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
# Name, options of the load, routes, requests.
SCENARIOS = [
    ("keep-alive", ["-c", "64"], 1, 4000),
    ("16-KiB", ["-c", "64", "-p", "/bytes/16384"], 1, 2000),
    ("upload-64-KiB", ["-c", "16", "-u", "65536"], 1, 500),
    ("connection-per-request", ["-c", "16", "-1"], 1, 1000),
    ("10000-routes", ["-c", "64", "-p", "/r9999/bytes/12"], 10_000, 2000),
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


def load(port, options, count):
    out = subprocess.run([os.path.join(TOOLS, "load"), str(port), *options, "-n", str(count)], capture_output=True, text=True)
    result = json.loads(out.stdout.splitlines()[-1])
    if out.returncode or result["errors"]:
        sys.exit(f"gate: not every request succeeded\n{out.stdout}{out.stderr}")
    return result["requests"]


def with_proxy(folder, port, scenario, prefix, body):
    Proxy.prefix = prefix
    proxy = Proxy(folder, [port, port], routes=scenario[2])
    try:
        load(proxy.h1, scenario[1], 500)
        return body(proxy)
    finally:
        proxy.stop()


def instructions(folder, port, scenario):
    out = os.path.join(folder, "callgrind.out")
    prefix = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}", "-q"]
    def run(proxy):
        control = lambda state: subprocess.run(
            ["callgrind_control", "-i", state, str(proxy.process.pid)], stdout=subprocess.DEVNULL, check=True)
        control("on")
        count = load(proxy.h1, scenario[1], scenario[3])
        control("off")
        return count
    count = with_proxy(folder, port, scenario, prefix, run)
    # Without the threshold the list ends at 99 % and a small share of the work would read as none.
    text = subprocess.run(["callgrind_annotate", "--threshold=100", out], capture_output=True, text=True).stdout
    total = int(re.search(r"([\d,]+)[^\n]*PROGRAM TOTALS", text).group(1).replace(",", ""))
    heap = sum(int(n.replace(",", "")) for n in HEAP.findall(text))
    return total / count, heap / count


def system_calls(folder, port, scenario):
    out = os.path.join(folder, "strace.out")
    def run(proxy):
        strace = subprocess.Popen(
            ["strace", "-f", "-c", "-o", out, "-p", str(proxy.process.pid)], stderr=subprocess.PIPE, text=True)
        strace.stderr.readline()  # "attached"
        time.sleep(0.5)
        count = load(proxy.h1, scenario[1], scenario[3])
        strace.send_signal(signal.SIGINT)
        strace.wait()
        return count
    count = with_proxy(folder, port, scenario, [], run)
    calls = 0
    with open(out) as file:
        for line in file:
            parts = line.split()
            if len(parts) >= 5 and parts[-1] in CALLS:
                calls += int(parts[3])
    return calls / count


def measure():
    folder = tempfile.mkdtemp()
    Proxy.binary = os.path.join(folder, "sluice")
    shutil.copy(os.path.join(ROOT, ".build", "release", "sluice"), Proxy.binary)
    subprocess.run(["strip", "--strip-debug", Proxy.binary], check=True)
    port = peers.free_port()
    origin = subprocess.Popen([os.path.join(TOOLS, "origin"), str(port)])
    figures = {}
    try:
        for scenario in SCENARIOS:
            ir, heap = instructions(folder, port, scenario)
            figures[scenario[0] + " instructions"] = round(ir)
            figures[scenario[0] + " heap_and_counting_instructions"] = round(heap)
            figures[scenario[0] + " system_calls"] = round(system_calls(folder, port, scenario), 2)
            for name, value in figures.items():
                if name.startswith(scenario[0] + " "):
                    print(name, value, flush=True)
    finally:
        origin.kill()
        origin.wait()
        shutil.rmtree(folder)
    return figures


def main():
    figures = measure()
    if "--rebase" in sys.argv:
        with open(BASELINE, "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in figures.items())
        return
    worse = []
    with open(BASELINE) as file:
        for line in file:
            name, value = line.rsplit(" ", 1)
            # Instructions vary by a few, calls by how many events one wait brings.
            slack = 0.1 if name.endswith("calls") else 10
            if figures[name] > float(value) * TOLERANCE + slack:
                worse.append(f"{name}: {figures[name]}, baseline {value.strip()}")
    if worse:
        sys.exit("gate: more than 3 % worse\n" + "\n".join(worse))
    print("gate: within 3 % of the baseline")


main()
