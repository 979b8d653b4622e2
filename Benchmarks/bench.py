"""Compares Sluice with its peers at equal work. See Benchmarks/README.md; scripts/bench prepares what this needs."""
import argparse, json, os, platform, re, shutil, socket, statistics, subprocess, sys, tempfile, time
import peers
from plot import plot

ROOT = peers.ROOT
TOOLS = os.path.join(ROOT, ".build", "bench")
LOAD = os.path.join(TOOLS, "load")


class Scenario:
    """One kind of load. `quick`: part of a quick run. `needs`: what a peer must speak besides HTTP/1.1."""

    def __init__(self, name, *options, quick=False, needs=None, workers=1, routes=1, h2load=None, only=None,
                 upstream="h1"):
        self.name, self.options, self.quick, self.needs, self.upstream = name, list(options), quick, needs, upstream
        self.workers, self.routes, self.h2load, self.only = workers, routes, h2load, only

    def takes(self, peer):
        if self.needs and self.needs not in peer.speaks:
            return False
        if peer.name == "sluice logging":
            return self.name == "access log"
        return self.only is None or peer.name in self.only


# As many as the descriptor limit lets HAProxy hold.
MANY = min(10_000, peers.CONNECTIONS_MAX - 100)
KEEPERS = ("sluice", "haproxy", "nginx", "envoy")
ROUTERS = ("sluice", "haproxy", "nginx", "envoy")
SCENARIOS = [
    Scenario("h1 12 B", quick=True),
    Scenario("h1 16 KiB", "-p", "/bytes/16384", quick=True),
    Scenario("h1 1 MiB down", "-p", "/bytes/1048576", "-c", "16"),
    Scenario("h1 1 MiB up", "-u", "1048576", "-c", "16"),
    Scenario("connection per request", "-1", "-c", "32"),
    Scenario("1 connection", "-c", "1"),
    Scenario("access log", only=("sluice", "sluice logging")),
    # The same rate over few and many connections: what does a connection cost that is mostly idle?
    Scenario("64 connections, 8,000/s", "-c", "64", "-r", "8000", only=KEEPERS),
    Scenario("1,000 connections, 8,000/s", "-c", "1000", "-r", "8000", "-w", "1", only=KEEPERS),
    Scenario(f"{MANY:,} connections, 8,000/s", "-c", str(MANY), "-r", "8000", "-w", "3", only=KEEPERS),
    Scenario("100 routes", "-p", "/r99/bytes/12", routes=100, only=ROUTERS),
    Scenario("1,000 routes", "-p", "/r999/bytes/12", routes=1_000, only=ROUTERS),
    Scenario("10,000 routes", "-p", "/r9999/bytes/12", routes=10_000, only=ROUTERS),
    Scenario("2 workers", workers=2, only=ROUTERS),
    Scenario("h2 to h1", needs="h2", h2load=["-c10", "-m32"]),
    Scenario("h2 to h2", needs="h2 upstream", upstream="h2", h2load=["-c10", "-m32"]),
    Scenario("gRPC unary", needs="grpc", upstream="h2",
             h2load=["-c10", "-m32", "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", "{folder}/message"]),
    Scenario("TLS 1.3 keep-alive", needs="tls", h2load=["--h1", "-c64"]),
    # Each connection one request: CPU a full handshake, the request with it.
    Scenario("TLS 1.3 handshakes", needs="tls", h2load=["--h1", "-c1000", "-n1000"]),
]


def steal():
    with open("/proc/stat") as file:
        times = [int(n) for n in file.readline().split()[1:]]
    return times[7], sum(times)


def run_load(scenario, peer, seconds, rate=0):
    """One round against one peer: requests a second, CPU µs a request, percentiles in µs."""
    before = peer.cpu()
    if scenario.h2load:
        url = f"https://127.0.0.1:{peer.tls}" if scenario.needs == "tls" else f"http://127.0.0.1:{peer.h2}"
        options = [o.format(folder=peer.folder) for o in scenario.h2load]
        if not any(o.startswith("-n") for o in options):
            options += ["-D", str(max(1, int(seconds)))]
        out = subprocess.run(["h2load", *options, url + "/bytes/12"], capture_output=True, text=True).stdout
        found = re.search(r"(\d+) succeeded, (\d+) failed", out)
        took = re.search(r"finished in ([\d.]+)(m?s)", out)
        if not found or not took:
            raise SystemExit(f"bench: h2load said of {peer.name}:\n{out}")
        result = {"requests": int(found[1]), "errors": int(found[2]), "p50": None, "p99": None,
                  "seconds": float(took[1]) / (1000 if took[2] == "ms" else 1)}
    else:
        command = [LOAD, str(peer.h1), *scenario.options, "-d", str(seconds)]
        if "-w" not in scenario.options:
            command += ["-w", "0.2"]
        if rate:
            command += ["-r", str(rate)]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # Connects and the first requests are not counted, unless they are what is measured.
        load.stdout.readline()
        before = peer.cpu()
        out = load.communicate()[0]
        if load.returncode:
            raise SystemExit(f"bench: load against {peer.name} failed")
        result = json.loads(out)
    used = peer.cpu() - before
    return {
        "cpu": used / max(1, result["requests"]) * 1e6, "rps": result["requests"] / result["seconds"],
        "p50": result["p50"], "p99": result["p99"], "errors": result["errors"], "unanswered": result.get("unanswered", 0),
        "bytes": result.get("bytes", 0), "requests": result["requests"],
    }


def median(rounds):
    keys = ("cpu", "rps", "p50", "p99")
    result = {k: statistics.median(r[k] for r in rounds) if rounds[0][k] is not None else None for k in keys}
    result["errors"] = sum(r["errors"] for r in rounds)
    return result


def idle_memory(peer, count):
    """Bytes of memory for each idle keep-alive connection that has served one request."""
    before = peer.rss()
    held = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", peer.h1))
        connection.sendall(b"GET /bytes/12 HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.recv(4096)
        held.append(connection)
    used = (peer.rss() - before) * 1048576 / count
    for connection in held:
        connection.close()
    return used


def measure(scenario, folder, origins, chosen, rounds, seconds):
    """All peers of a scenario at once, loaded in turn, round by round."""
    running, memory = [], {}
    try:
        for peer in chosen:
            if scenario.takes(peer):
                running.append(peer(folder, origins[scenario.upstream], scenario.workers, scenario.routes, scenario.upstream))
        results = {p.name: [] for p in running}
        open_loop = {p.name: [] for p in running}
        for peer in running:
            run_load(scenario, peer, min(1, seconds))
        for _ in range(rounds):
            for peer in running:
                results[peer.name].append(run_load(scenario, peer, seconds))
        if scenario.name.startswith("h1 1") and "MiB" not in scenario.name and "haproxy" in results:
            # The same offered rate for everybody: half of what HAProxy can do.
            rate = int(median(results["haproxy"])["rps"] / 2)
            for _ in range(rounds):
                for peer in running:
                    open_loop[peer.name].append(run_load(scenario, peer, seconds, rate=rate))
        if scenario.name == "h1 12 B":
            for peer in running:
                memory[peer.name] = {"rss": peer.rss(), "idle": idle_memory(peer, 500)}
    finally:
        for peer in running:
            peer.stop()
    table = {}
    for name, rows in results.items():
        table[name] = median(rows)
        if open_loop[name]:
            steady = median(open_loop[name])
            table[name].update(offered=rate, open_p50=steady["p50"], open_p99=steady["p99"], open_cpu=steady["cpu"])
        table[name].update(memory.get(name, {}))
    return table


def show(scenario, table):
    mine = table.get("sluice")
    print(f"\n### {scenario.name}\n")
    print("| | CPU µs/request | Sluice / it | requests/s | p50 µs | p99 µs | p99 µs at the same rate | RSS MB | bytes/idle connection |")
    print("|---|---|---|---|---|---|---|---|---|")
    number = lambda v, digits=0: "" if v is None else f"{v:,.{digits}f}"
    for name, row in table.items():
        ratio = f"{mine['cpu'] / row['cpu']:.2f}" if mine and name != "sluice" else ""
        error = f" ({row['errors']} errors)" if row["errors"] else ""
        print(f"| {name} | {number(row['cpu'], 1)} | {ratio} | {number(row['rps'])}{error} | {number(row['p50'])} | {number(row['p99'])} | "
              f"{number(row.get('open_p99'))} | {number(row.get('rss'), 1)} | {number(row.get('idle'))} |")
    sys.stdout.flush()


def versions(chosen):
    found = {}
    for peer in chosen:
        if peer.name in ("sluice", "sluice logging", "relay", "haproxy tcp"):
            continue
        flag = "-v" if peer.name in ("haproxy", "nginx") else "--version"
        out = subprocess.run([peer.found(), flag], capture_output=True, text=True)
        found[peer.name] = (out.stdout + out.stderr).strip().splitlines()[0]
    return found


def main():
    options = argparse.ArgumentParser(prog="scripts/bench")
    options.add_argument("--quick", action="store_true", help="two scenarios, short rounds; under three minutes")
    options.add_argument("--scenario", action="append", help="only scenarios whose name contains this")
    options.add_argument("--peer", action="append", help="only these peers, and Sluice")
    options.add_argument("--rounds", type=int, default=None)
    options.add_argument("--seconds", type=float, default=None)
    options.add_argument("--out", default=TOOLS, help="folder for result.json and result.svg")
    given = options.parse_args()
    rounds, seconds = given.rounds or 3, given.seconds or (1 if given.quick else 3)
    chosen = [p for p in peers.ALL if p.found() and (not given.peer or p.name in given.peer or p.name.startswith("sluice"))]
    missing = [p.name for p in peers.ALL if not p.found()]
    if missing:
        print(f"bench: not found, so not compared: {', '.join(missing)}", file=sys.stderr)
    wanted = [s for s in SCENARIOS if (s.quick or not given.quick)
              and (not given.scenario or any(w in s.name for w in given.scenario))]
    folder = tempfile.mkdtemp()
    peers.certificate(folder)
    (first, ones), (second, twos) = peers.origins(folder), peers.origins(folder)
    ports = {kind: [first[kind], second[kind]] for kind in first}
    origins = ones + twos
    stolen = steal()
    result = {"date": time.strftime("%Y-%m-%d"), "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
              "rounds": rounds, "seconds": seconds, "versions": versions(chosen), "scenarios": {}}
    try:
        for scenario in wanted:
            table = measure(scenario, folder, ports, chosen, rounds, seconds)
            result["scenarios"][scenario.name] = table
            show(scenario, table)
    finally:
        for origin in origins:
            origin.kill()
            origin.wait()
        shutil.rmtree(folder, ignore_errors=True)
    now = steal()
    result["steal_percent"] = round(100 * (now[0] - stolen[0]) / max(1, now[1] - stolen[1]), 2)
    print(f"\n{result['date']}, {result['machine']}; medians of {rounds} interleaved rounds of {seconds:g} s; "
          f"steal {result['steal_percent']} % (above 2 % a run is not to be believed)")
    for line in result["versions"].values():
        print(line)
    os.makedirs(given.out, exist_ok=True)
    with open(os.path.join(given.out, "result.json"), "w") as file:
        json.dump(result, file, indent=1)
    with open(os.path.join(given.out, "result.svg"), "w") as file:
        file.write(plot(result))
    print(f"written: {os.path.join(given.out, 'result.json')}, result.svg")


main()
