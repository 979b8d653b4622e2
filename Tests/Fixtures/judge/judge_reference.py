#!/usr/bin/env python3
"""The judge of a rollout in plain Python: a model to test the Swift one against, number for number. Standard library only.

    python3 judge_reference.py values    numbers for unit tests (every line is `name = value`, 12 significant digits)
    python3 judge_reference.py check     properties and small simulations; prints each, exits 1 when one does not hold
    python3 judge_reference.py run FILE  reads increments (JSON lines, see Judge.add) and prints log E after each

See docs/judge.md for what it means. Natural logarithms throughout; an e-value E is evidence against "the canary is no worse".
"""
import json, math, random, sys

ALPHA = 0.01                                                      # budget of false rollbacks for a whole rollout
WEIGHTS = {"errors": 0.4, "first": 0.15, "late": 0.1, "forward": 0.2, "reverse": 0.15}
BUCKET = 2 ** 0.25                                                # bucket k of a histogram ends at 250 us * BUCKET ** k; the last is open
ODDS = [math.exp(math.log(1.15) + (math.log(40) - math.log(1.15)) * j / 13) for j in range(14)]
HAZARD = [math.exp(math.log(1.05) + (math.log(4) - math.log(1.05)) * j / 7) for j in range(8)]
TOLERATE = {"points": 0.001, "ratio": 1.1, "latency": 1.1}         # what is not worth a rollback


def lse(values):
    top = max(values)
    return top if top == -math.inf else top + math.log(sum(math.exp(v - top) for v in values))


def log_m_bound(n, x, nc, r):
    """An upper bound on log E[r^X] when x of n units had the event and nc of the n are the canary's."""
    if n == 0: return 0.0
    w, f = nc / n, x / n
    return min(x * math.log1p(w * (r - 1)), nc * math.log1p(f * (r - 1)))


def log_choose(n, k): return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def log_m_exact(n, x, nc, r):
    """log E[r^X] for X ~ Hypergeometric(n, x, nc). For tests and for intervals that are only shown."""
    lo, hi = max(0, x - (n - nc)), min(x, nc)
    return lse([log_choose(nc, k) + log_choose(n - nc, x - k) - log_choose(n, x) + k * math.log(r) for k in range(lo, hi + 1)])


class Mixture:
    """log E over a grid of tilts, with restarts, so that a version that turns bad late is found nearly as soon as one that began bad.
    Restart k takes the share eps_k of the waiting mass: any eps in (0, 1) keeps the mean at most 1."""
    def __init__(self, tilts):
        self.tilts, self.prior = tilts, -math.log(len(tilts))
        self.l, self.waiting, self.next, self.k = [-math.inf] * len(tilts), 0.0, 0.0, 0

    def restart(self, canary_units):
        """Called before an increment is added, with the canary's units so far. True if it restarted."""
        if canary_units < self.next: return False
        eps = 0.15 if self.k < 6 else 1.5 / (self.k + 4)
        self.l = [lse([v, self.waiting + math.log(eps) + self.prior]) for v in self.l]
        self.waiting += math.log1p(-eps); self.k += 1
        base = max(canary_units, 8); self.next = min(base * 1.25, base + 500)
        return True

    def add(self, increments): self.l = [v + d for v, d in zip(self.l, increments)]

    def log_e(self): return lse(self.l + [self.waiting])


class Effect:
    """What is estimated beside the evidence: Mantel-Haenszel over increments for a rate, interpolated quantiles for times. Never sums of strata."""
    def __init__(self): self.rd = self.rr_c = self.rr_s = self.weight = 0.0; self.xc = 0; self.hs, self.hc = [], []

    def add(self, n, nc, x, xc):
        if n == 0: return
        ns, xs = n - nc, x - xc
        self.rd += (xc * ns - xs * nc) / n; self.weight += nc * ns / n
        self.rr_c += xc * ns / n; self.rr_s += xs * nc / n; self.xc += xc

    def difference(self): return self.rd / self.weight if self.weight else 0.0
    def ratio(self): return self.rr_c / self.rr_s if self.rr_s else (math.inf if self.rr_c else 1.0)

    def is_worse(self):
        """A tenth more, and (0.1 points more, or at least doubled with ten canary events)."""
        r = self.ratio()
        return r >= TOLERATE["ratio"] and (self.difference() >= TOLERATE["points"] or (r >= 2 and self.xc >= 10))

    def add_times(self, hs, hc):
        if not self.hs: self.hs, self.hc = [0] * len(hs), [0] * len(hs)
        self.hs = [a + b for a, b in zip(self.hs, hs)]; self.hc = [a + b for a, b in zip(self.hc, hc)]

    def is_slower(self): return any(quantile(self.hc, q) >= TOLERATE["latency"] * quantile(self.hs, q) for q in (0.5, 0.95)) if sum(self.hc) and sum(self.hs) else False


def quantile(h, q):
    """In seconds, interpolated geometrically within its bucket (a bucket is 19 % wide). Times are standardised by the caller where shares differ."""
    want, seen = q * sum(h), 0.0
    for k, c in enumerate(h):
        if c and seen + c >= want: return 250e-6 * BUCKET ** (k - 1 + (want - seen) / c)
        seen += c
    return 0.0


class Judge:
    """One rollout. An increment is one stratum (process, route, epoch of weights) since the last look; strata of a look come in a fixed order. Requests are
    counted when they end, n and outcome together. Increments of an epoch begin when it is as old as the route's longest time limit: until then slow failures
    of the stable version are still missing. An increment that a trip or a person cut short is dropped."""
    def __init__(self):
        self.binary = {"errors": Mixture(ODDS), "first": Mixture(ODDS), "late": Mixture(ODDS)}
        self.times = {"forward": Mixture(HAZARD), "reverse": Mixture(HAZARD)}
        self.canary_units, self.answers, self.pooled = 0, 0, []
        self.windows = {"rollout": self.fresh(), "epoch": self.fresh()}; self.recent = []      # recent: since each of the last three restarts

    @staticmethod
    def fresh(): return {k: Effect() for k in ("errors", "first", "late", "times")}

    def epoch(self): self.windows["epoch"] = self.fresh()

    def edge(self):
        """The first bucket that is late: past the pooled p99.9 of earlier increments (p99 until 5,000 answers). None before there are any."""
        if not self.answers: return None
        q, seen = (0.999 if self.answers >= 5000 else 0.99) * self.answers, 0
        for k, c in enumerate(self.pooled):
            seen += c
            if seen >= q: return k + 1
        return len(self.pooled)

    def add(self, inc):
        """inc: {"stable": V, "canary": V}; V: n (requests, or sessions' places), errors, firstErrors, latency (by bucket: answers that are NOT errors),
        censored (by bucket reached: errors, time-outs, clients that left), left (how many of those timed out or left: no answer was seen)."""
        s, c = inc["stable"], inc["canary"]
        restarted = [m.restart(self.canary_units) for m in (*self.binary.values(), *self.times.values())]
        if restarted[0]: self.recent = (self.recent + [self.fresh()])[-3:]
        self.canary_units += c["n"]
        n, nc, edge = s["n"] + c["n"], c["n"], self.edge()
        events = {"errors": (s["errors"], c["errors"]), "first": (s.get("firstErrors", 0), c.get("firstErrors", 0))}
        if edge is not None and "latency" in s: events["late"] = tuple(sum(v["latency"][edge:]) + v.get("left", 0) for v in (s, c))
        for key, (xs, xc) in events.items():
            self.binary[key].add([xc * math.log(r) - log_m_bound(n, xs + xc, nc, r) for r in self.binary[key].tilts])
            for w in (*self.windows.values(), *self.recent): w[key].add(n, nc, xs + xc, xc)
        if "latency" in s:
            self.add_latency(s, c)
            for w in (*self.windows.values(), *self.recent): w["times"].add_times(s["latency"], c["latency"])
            self.pooled = [a + b + d for a, b, d in zip(self.pooled or [0] * len(s["latency"]), s["latency"], c["latency"])]
            self.answers += sum(s["latency"]) + sum(c["latency"])

    def add_latency(self, s, c):
        """Binned log-rank, both ways. Forward: those still waiting at bucket k are at risk of being answered in it; a slower canary is
        answered later: tilt 1/h. Reverse: those answered by bucket k; a slower canary is over-represented in the late ones: tilt h."""
        K = len(s["latency"]); zero = [0] * K
        hs, hc = s["latency"], c["latency"]; zs, zc = s.get("censored", zero), c.get("censored", zero)
        fwd, rev = [0.0] * len(HAZARD), [0.0] * len(HAZARD)
        y = yc = 0
        for k in reversed(range(K)):
            y += hs[k] + hc[k] + zs[k] + zc[k]; yc += hc[k] + zc[k]       # censored in k: at risk in k and before
            h = hs[k] + hc[k]
            if h:
                for j, t in enumerate(HAZARD): fwd[j] += -hc[k] * math.log(t) - log_m_bound(y, h, yc, 1 / t)
        y = yc = 0
        for k in range(K):
            y += hs[k] + hc[k]; yc += hc[k]
            h = hs[k] + hc[k]
            if h:
                for j, t in enumerate(HAZARD): rev[j] += hc[k] * math.log(t) - log_m_bound(y, h, yc, t)
        self.times["forward"].add(fwd); self.times["reverse"].add(rev)

    def components(self): return {**self.binary, **self.times}

    def log_e(self):
        """A convex combination of e-processes is one."""
        return lse([math.log(WEIGHTS[k]) + m.log_e() for k, m in self.components().items()])

    def worse(self):
        """Components whose own estimated increase, in any window (rollout, epoch, since the last restarts), is above what is tolerated."""
        every = (*self.windows.values(), *self.recent); found = {k for k in self.binary if any(w[k].is_worse() for w in every)}
        if any(w["times"].is_slower() for w in every) or "late" in found: found |= {"forward", "reverse"}
        return found

    def regression(self):
        """The sum over components above their own tolerance: at most E, so the budget holds."""
        parts = [math.log(WEIGHTS[k]) + m.log_e() for k, m in self.components().items() if k in self.worse()]
        return bool(parts) and lse(parts) >= math.log(1 / ALPHA)


def interval(x, n, alpha):
    """A confidence sequence for one rate (Jeffreys' beta-binomial mixture): holds at all times at once with probability 1 - alpha."""
    if n == 0: return 0.0, 1.0
    beta = math.lgamma(x + 0.5) + math.lgamma(n - x + 0.5) - math.lgamma(n + 1) - 2 * math.lgamma(0.5)
    def outside(p): return beta - (x * math.log(p) if x else 0.0) - ((n - x) * math.log1p(-p) if n > x else 0.0) >= math.log(1 / alpha)
    def edge(lo, hi, rising):
        for _ in range(60):
            mid = (lo + hi) / 2
            if outside(mid) == rising: hi = mid
            else: lo = mid
        return (lo + hi) / 2
    p = x / n
    low = 0.0 if x == 0 or not outside(1e-12) else edge(1e-12, p, False)
    high = 1.0 if x == n or not outside(1 - 1e-12) else edge(p, 1 - 1e-12, True)
    return low, high


class Guard:
    """The data plane's own: a CUSUM over errors alone, up to a canary share of 90 %. The limit grows with the errors seen, so that the chance of ever tripping on a
    healthy canary is about 1 % (beside the judge's budget). Errors of the stable version count whatever their epoch, with the present share. Of a sticky service an
    error counts only if it newly marked its place as failed."""
    def __init__(self, w, ratio=10.0):
        self.up, self.down, self.s, self.seen = math.log(ratio / (1 + w * (ratio - 1))), math.log(1 + w * (ratio - 1)), 0.0, 0
    def limit(self): return math.log(1e5) + 2 * math.log(1 + self.seen / 1000)
    def error(self, of_canary):
        self.seen += 1
        self.s = max(0.0, self.s + (self.up if of_canary else -self.down))
        return self.s >= self.limit()


def values():
    out = []
    for a in ((1000, 10, 50, 10), (1000, 10, 50, 2), (200, 40, 50, 1.5), (40, 3, 10, 40), (5000, 50, 1250, 2), (100, 100, 25, 3), (2000, 500, 100, 0.8)):
        out += [("exact%s" % (a,), log_m_exact(*a)), ("bound%s" % (a,), log_m_bound(*a))]
    for j in (0, 6, 13): out.append(("odds[%d]" % j, ODDS[j]))
    for j in (0, 7): out.append(("hazard[%d]" % j, HAZARD[j]))
    for x, n in ((0, 100), (1, 100), (10, 1000), (500, 100000)):
        lo, hi = interval(x, n, 0.025); out += [("low(%d, %d)" % (x, n), lo), ("high(%d, %d)" % (x, n), hi)]
    j = Judge()
    for i in range(40):
        j.add({"stable": {"n": 950, "errors": 9 + i % 2, "firstErrors": 12, "latency": [300, 400, 200, 30], "censored": [9, 0, 0, 11], "left": 10},
               "canary": {"n": 50, "errors": i % 3, "firstErrors": 1, "latency": [15, 20, 11, 2], "censored": [1, 0, 0, 1], "left": 1}})
        if i in (0, 9, 39): out += [("judge.slightly[%d].%s" % (i, k), m.log_e()) for k, m in j.components().items()] + [("judge.slightly[%d]" % i, j.log_e()), ("judge.slightly[%d].regression" % i, j.regression())]
    out += [("effect.errors.difference", j.windows["rollout"]["errors"].difference()), ("effect.errors.ratio", j.windows["rollout"]["errors"].ratio()), ("quantile([3,4,2,1], 0.5)", quantile([3, 4, 2, 1], 0.5))]
    j = Judge()
    for i in range(12):
        j.add({"stable": {"n": 950, "errors": 10, "firstErrors": 10, "latency": [300, 400, 200, 40]}, "canary": {"n": 50, "errors": 4, "firstErrors": 5, "latency": [8, 15, 18, 5]}})
        if i in (0, 5, 11): out += [("judge.worse[%d].errors" % i, j.binary["errors"].log_e()), ("judge.worse[%d]" % i, j.log_e()), ("judge.worse[%d].regression" % i, j.regression())]
    g = Guard(0.05); k = 0
    while not g.error(True): k += 1
    out.append(("guard(0.05): canary errors in a row until it trips", k + 1))
    for name, value in out: print("%s = %.12g" % (name, value))


def check():
    bad = 0
    def say(name, ok, figure):
        nonlocal bad; bad += not ok; print("%-4s %s: %s" % ("ok" if ok else "FAIL", name, figure))
    rng = random.Random(7)
    worst = 0.0
    for _ in range(3000):
        n = rng.randint(1, 300); x = rng.randint(0, n); nc = rng.randint(0, n); r = math.exp(rng.uniform(-2, 4))
        worst = max(worst, log_m_exact(n, x, nc, r) - log_m_bound(n, x, nc, r))
    say("the bound is never below the exact value", worst < 1e-9, "%.2e" % worst)
    # every arrangement of labels in one increment, exactly: the mean of E is at most 1
    mean = 0.0
    n, x, nc, r = 30, 7, 9, 3.0
    for k in range(0, 8): mean += math.exp(log_choose(nc, k) + log_choose(n - nc, x - k) - log_choose(n, x)) * math.exp(k * math.log(r) - log_m_bound(n, x, nc, r))
    say("mean of an increment's E over all arrangements <= 1", mean <= 1 + 1e-12, "%.6f" % mean)
    def bucket(seconds): return min(72, max(0, math.ceil(math.log(max(seconds, 250e-6) / 250e-6) / math.log(BUCKET))))
    def one(n, p, shift, hang, sd, fast):
        v = {"n": n, "errors": 0, "firstErrors": 0, "left": 0, "latency": [0] * 73, "censored": [0] * 73}
        for _ in range(n):
            if rng.random() < p: v["errors"] += 1; v["firstErrors"] += 1; v["censored"][bucket(0.001 if fast else 0.05)] += 1
            elif rng.random() < hang: v["left"] += 1; v["censored"][bucket(3.0)] += 1
            else: v["latency"][bucket(0.05 * shift * math.exp(sd * rng.gauss(0, 1)))] += 1
        return v
    def simulate(pb, pc, w, n, blocks, runs, shift=1.0, hang=0.0, fast=False, late=0):
        hits, when = 0, []
        for _ in range(runs):
            j = Judge(); seen = 0
            for b in range(blocks + late):
                nc = sum(rng.random() < w for _ in range(n)); seen += nc if b >= late else 0; bad = b >= late
                j.add({"stable": one(n - nc, pb, 1.0, 0.0, 0.6, fast), "canary": one(nc, pc if bad else pb, shift if bad else 1.0, hang if bad else 0.0, 0.6, fast)})
                if j.regression(): hits += 1; when.append(seen); break
        return hits / runs, sorted(when)[len(when) // 2] if when else None
    f, _ = simulate(0.01, 0.01, 0.05, 200, 100, 200); say("no worse: rolled back <= 1 % of runs, looked at 100 times (budget + 3 se = 0.031)", f <= 0.031, f)
    f, _ = simulate(0.10, 0.0, 0.05, 200, 100, 60, fast=True); say("a hotfix (stable fails 10 % in 1 ms, canary never): rolled back in <= 1 % (+3 se)", f <= 0.05, f)
    f, m = simulate(0.01, 0.05, 0.05, 400, 120, 60); say("1 -> 5 %: found in >= 95 % of runs, median canary requests <= 450", f >= 0.95 and m <= 450, (f, m))
    f, m = simulate(0.001, 0.01, 0.05, 400, 200, 30); say("0.1 -> 1 %: found in >= 90 %, median <= 1,200", f >= 0.9 and m <= 1200, (f, m))
    f, m = simulate(0.001, 0.001, 0.25, 200, 60, 30, shift=1.2); say("20 % slower at 25 %: found in >= 95 %, median <= 800", f >= 0.95 and m <= 800, (f, m))
    f, m = simulate(0.001, 0.001, 0.05, 400, 150, 20, hang=0.02); say("2 % hang until the client leaves: found in >= 90 %, median <= 1,200", f >= 0.9 and m <= 1200, (f, m))
    f, m = simulate(0.01, 0.05, 0.25, 200, 40, 15, late=100); say("1 -> 5 % after 5,000 healthy canary requests: found in >= 90 %, median <= 900", f >= 0.9 and m <= 900, (f, m))
    miss = 0
    for _ in range(200):
        x = n = 0; out = False
        for _ in range(60):
            n += 50; x += sum(rng.random() < 0.02 for _ in range(50)); lo, hi = interval(x, n, 0.05); out |= not lo <= 0.02 <= hi
        miss += out
    say("a 95 % confidence sequence looked at 60 times misses <= 5 % (+3 se)", miss / 200 <= 0.097, miss / 200)
    trips = 0
    for _ in range(20):
        g = Guard(0.05)
        for _ in range(20000):
            if g.error(rng.random() < 0.05): trips += 1; g.s = 0.0
    say("guard: errors shared as the traffic is: <= 1 false trip in 100,000 errors", trips <= 12, "%d in 400,000" % trips)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "values"
    if what == "values": values()
    elif what == "check": check()
    elif what == "run":
        j = Judge()
        for line in open(sys.argv[2]):
            j.add(json.loads(line)); print("%.12g %d" % (j.log_e(), j.regression()))
    else: sys.exit(__doc__)
