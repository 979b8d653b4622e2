"""Counts what noise does not touch: user instructions, system calls and allocations per request.

Runs the release binary with one worker, routing, sticky sessions, counters and timeouts on, between
h2load and the demo's origins, with about 450 bytes of request headers. See Benchmarks/README.md.
"""
import os, re, shutil, signal, subprocess, sys, tempfile, time, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BASELINE = os.path.join(ROOT, "Benchmarks", "baselines", "gate.txt")
HEADERS = [
    "Cookie: session=abcdef0123456789; theme=dark",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate",
    "Referer: http://127.0.0.1:8080/where/the/user/came/from",
    "X-Trace: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
]
REQUESTS = 4000
TOLERANCE = 1.03


def wait_ready(port):
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1).read()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("gate: the proxy did not become ready")


def load(count):
    command = ["h2load", "--h1", "-n", str(count), "-c", "64"]
    for header in HEADERS:
        command += ["-H", header]
    out = subprocess.run(command + ["http://127.0.0.1:8080/hello/world?x=1"], capture_output=True, text=True)
    found = re.search(r"(\d+) succeeded", out.stdout)
    if not found or int(found.group(1)) != count:
        sys.exit("gate: not every request succeeded\n" + out.stdout)


class Proxy:
    """The proxy under a tool, and its two origins."""

    def __init__(self, binary, prefix):
        demo = lambda name, port: subprocess.Popen(
            [binary, "demo", "--name", name, "--address", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
        self.origins = [demo("v1", 9081), demo("v2", 9082)]
        config = os.path.join(ROOT, "config", "sluice.yaml")
        self.process = subprocess.Popen(
            prefix + [binary, "run", "-c", config, "--workers", "1"], stderr=subprocess.DEVNULL)
        try:
            wait_ready(15020)
            load(1000)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        for origin in self.origins:
            origin.kill()
            origin.wait()


def instructions(binary, folder):
    out = os.path.join(folder, "callgrind.out")
    proxy = Proxy(binary, ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}", "-q"])
    control = lambda state: subprocess.run(
        ["callgrind_control", "-i", state, str(proxy.process.pid)], stdout=subprocess.DEVNULL, check=True)
    control("on")
    load(REQUESTS)
    control("off")
    proxy.stop()
    text = subprocess.run(["callgrind_annotate", "--threshold=100", out], capture_output=True, text=True).stdout
    total = int(re.search(r"([\d,]+)[^\n]*PROGRAM TOTALS", text).group(1).replace(",", ""))
    # Without the threshold the list ends at 99 % and a small share of the work would read as none.
    listed = re.findall(r"^\s*([\d,]+) +\([^\n]*:_?(?:int_malloc|malloc|calloc|realloc|swift_\w*(?:[Rr]etain|[Rr]elease|[Aa]lloc)\w*) \[", text, re.M)
    heap = sum(int(n.replace(",", "")) for n in listed)
    return total / REQUESTS, heap / REQUESTS


def system_calls(binary, folder):
    proxy = Proxy(binary, [])
    out = os.path.join(folder, "strace.out")
    strace = subprocess.Popen(["strace", "-f", "-c", "-o", out, "-p", str(proxy.process.pid)], stderr=subprocess.DEVNULL)
    time.sleep(1)
    load(REQUESTS)
    strace.send_signal(signal.SIGINT)
    strace.wait()
    proxy.stop()
    calls = 0
    for line in open(out):
        parts = line.split()
        if len(parts) >= 5 and parts[-1] in ("sendto", "recvfrom", "epoll_wait", "epoll_ctl", "write", "read", "futex", "writev"):
            calls += int(parts[3])
    return calls / REQUESTS


def main():
    folder = tempfile.mkdtemp()
    binary = os.path.join(folder, "sluice")
    shutil.copy(os.path.join(ROOT, ".build", "release", "sluice"), binary)
    subprocess.run(["strip", "--strip-debug", binary], check=True)
    per_request, heap = instructions(binary, folder)
    figures = {
        "instructions": round(per_request), "heap_and_counting_instructions": round(heap),
        "system_calls": round(system_calls(binary, folder), 2),
    }
    shutil.rmtree(folder)
    for name, value in figures.items():
        print(f"{name} {value}")
    if "--rebase" in sys.argv:
        with open(BASELINE, "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in figures.items())
        return
    worse = []
    for line in open(BASELINE):
        name, value = line.split()
        if figures[name] > float(value) * TOLERANCE + 0.05:
            worse.append(f"{name}: {figures[name]}, baseline {value}")
    if worse:
        sys.exit("gate: more than 3 % worse\n" + "\n".join(worse))
    print("gate: within 3 % of the baseline")


main()
