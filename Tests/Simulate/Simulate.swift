import Base
import Glibc
import Platform
import Simulation

/// The world that is running: a trap in it must name it.
nonisolated(unsafe) private var current: UInt64 = 0

/// `simulate --seed N`: one world, told; `simulate --minutes M [--from N]`: as many as there is time
/// for; `simulate --seeds N [--from N]`: so many. `simulate --steps N`, of a debug build: whether the
/// worlds of so many seeds take every step of the machines' tables, and no other.
@main enum Simulate {
    static func main() {
        var arguments = CommandLine.arguments.dropFirst()
        var numbers: [String: UInt64] = [:]
        while let key = arguments.popFirst() {
            guard ["--seed", "--minutes", "--seeds", "--from", "--steps"].contains(key),
                let text = arguments.popFirst(), let number = UInt64(text)
            else {
                fail("usage: simulate --seed N | --minutes M [--from N] | --seeds N [--from N]")
            }
            numbers[key] = number
        }
        if let count = numbers["--steps"] {
            compareSteps(count)
        } else if let seed = numbers["--seed"] {
            tell(seed)
        } else {
            many(
                from: numbers["--from"] ?? 0, seeds: numbers["--seeds"] ?? .max,
                minutes: numbers["--minutes"] ?? (numbers["--seeds"] == nil ? 1 : .max))
        }
    }

    static func fail(_ message: String) -> Never {
        print(message)
        exit(2)
    }

    /// Compares the steps that worlds take with the machines' tables.
    static func compareSteps(_ count: UInt64) {
        guard MachineSteps.areNoted else { fail("simulate: only debug builds note steps") }
        let faults = MachineSteps.faults(seeds: 0..<count)
        for fault in faults { print(fault) }
        if !faults.isEmpty { exit(1) }
        print("\(count) worlds took every step of the machines' tables, and no other")
    }

    /// Runs one seed and says all of it.
    static func tell(_ seed: UInt64) {
        current = seed
        let swarm = Swarm(seed: seed)
        print(swarm.options.yaml())
        swarm.run()
        for line in swarm.story + swarm.fates { print(line) }
        for finding in swarm.findings { print("FOUND: \(finding)") }
        if !swarm.findings.isEmpty { exit(1) }
        print("seed \(seed): all that must hold does")
    }

    static func many(from: UInt64, seeds: UInt64, minutes: UInt64) {
        let start = SystemClock.now()
        // One world alone is left to the crash handler, which says where.
        for trap in [SIGILL, SIGTRAP, SIGSEGV, SIGABRT] {
            signal(trap) { _ in
                print("seed \(current): TRAPPED; scripts/simulate --seed \(current)")
                fflush(nil)
                _exit(1)
            }
        }
        var seed = from, worlds: UInt64 = 0, requests = 0, bad: [UInt64] = []
        while worlds < seeds {
            if minutes != .max, (SystemClock.now() - start) > .seconds(Int64(minutes) * 60) {
                break
            }
            current = seed
            let swarm = Swarm(seed: seed)
            swarm.run()
            requests += swarm.requestCount
            if !swarm.findings.isEmpty {
                bad.append(seed)
                print("seed \(seed): \(swarm.findings[0]); scripts/simulate --seed \(seed)")
            }
            seed += 1
            worlds += 1
        }
        print(
            "\(worlds) worlds from seed \(from), \(requests) requests in "
                + "\((SystemClock.now() - start).nanoseconds / 1_000_000_000) s: "
                + (bad.isEmpty ? "nothing found" : "\(bad.count) seeds found something"))
        if !bad.isEmpty { exit(1) }
    }
}
