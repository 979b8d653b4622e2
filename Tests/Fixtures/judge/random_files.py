#!/usr/bin/env python3
"""What the model says of 1,000 random rollouts, for ReferenceTests. Standard library only.

    python3 random_files.py > random_files.expected.txt

A line for each: log E at the end, the sum of log E over all looks (12 significant digits), and the number of looks at which it was a regression.
The rollouts themselves are drawn here and in ReferenceTests by the same generator (PRNG of Base), so that they need not be kept.
"""
from judge_reference import Judge

MASK = (1 << 64) - 1
BUCKETS = 8


class PRNG:
    """xoshiro256**, seeded by SplitMix64."""
    def __init__(self, seed):
        self.s = []
        for _ in range(4):
            seed = (seed + 0x9e3779b97f4a7c15) & MASK
            x = seed
            x = ((x ^ (x >> 30)) * 0xbf58476d1ce4e5b9) & MASK
            x = ((x ^ (x >> 27)) * 0x94d049bb133111eb) & MASK
            self.s.append(x ^ (x >> 31))

    def next(self):
        s = self.s
        def rotl(x, k): return ((x << k) | (x >> (64 - k))) & MASK
        result = (rotl((s[1] * 5) & MASK, 7) * 9) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t; s[3] = rotl(s[3], 45)
        return result

    def below(self, bound):
        product = self.next() * bound
        if product & MASK < bound:
            threshold = (1 << 64) % bound
            while product & MASK < threshold: product = self.next() * bound
        return product >> 64


def version(random, most, worse, divisor, has_times, slower):
    n = random.below(most + 1)
    errors = min(n, random.below(n * worse // divisor + 2))
    v = {"n": n, "errors": errors, "firstErrors": min(n, errors + random.below(3))}
    if has_times:
        v["latency"], v["censored"] = [], []
        for k in range(BUCKETS):
            weight = 8 - abs(k - 2 - slower)
            v["latency"].append(random.below(1 + n * max(weight, 1) // 32))
            v["censored"].append(random.below(1 + errors // 4))
        v["left"] = random.below(1 + sum(v["censored"]))
    return v


def run(seed):
    random = PRNG(seed)
    looks, divisor, worse = 1 + random.below(9), 5 + random.below(100), 1 + random.below(5)
    slower, has_times, share = random.below(3), random.below(6) != 0, 2 + random.below(20)
    judge, last, total, regressions = Judge(), 0.0, 0.0, 0
    for look in range(looks):
        if look and random.below(7) == 0: judge.epoch()
        increment = {"stable": version(random, 800, 1, divisor, has_times, 0), "canary": version(random, 1600 // share, worse, divisor, has_times, slower)}
        judge.add(increment)
        last = judge.log_e(); total += last; regressions += judge.regression()
    return last, total, regressions


if __name__ == "__main__":
    for seed in range(1000): print("%.12g %.12g %d" % run(seed))
