import CPlatform

/// The facts that the process finds about its machine and its limits.
public enum Machine {
    /// Worker threads that fit: the cgroup's CPU limit rounded up, else the CPUs of the affinity
    /// mask.
    public static func workerCount() -> Int {
        let cpus = max(1, Int(cplatform_cpu_count()))
        guard let limit = cgroupLimit() else { return cpus }
        return max(1, min(cpus, limit))
    }

    /// The value of an environment variable; `nil` where there is none. To be asked before threads
    /// begin that might change the environment; none of Sluice's does.
    public static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// The machine's name, in a pod the pod's; empty where the kernel tells none.
    public static func hostName() -> String { text("/proc/sys/kernel/hostname") ?? "" }

    /// cgroup v2's `cpu.max` ("quota period"), or v1's pair of files.
    static func cgroupLimit() -> Int? {
        if let text = text("/sys/fs/cgroup/cpu.max") { return limit(fromCPUMax: text) }
        guard let quota = text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").flatMap(Int.init), quota > 0,
            let period = text("/sys/fs/cgroup/cpu/cpu.cfs_period_us").flatMap(Int.init), period > 0
        else { return nil }
        return (quota + period - 1) / period
    }

    /// Lets go of the pages of code and constants that only starting needed. Those that serving
    /// needs come back from the page cache, one small fault each.
    public static func releaseCode() { cplatform_release_code() }

    /// Bytes of memory that the process may use: the cgroup's limit, else the machine's.
    public static func memory() -> (bytes: Int, isContainer: Bool) {
        let total = memoryTotal()
        for path in [
            "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ] {
            if let limit = text(path).flatMap(Int.init), limit > 0, limit < total {
                return (limit, true)
            }
        }
        return (total, false)
    }

    private static func memoryTotal() -> Int {
        let pages = sysconf(Int32(_SC_PHYS_PAGES)), page = sysconf(Int32(_SC_PAGESIZE))
        return pages > 0 && page > 0 ? pages * page : 1 << 30
    }

    public static func limit(fromCPUMax text: String) -> Int? {
        let parts = text.split(separator: " ")
        guard parts.count == 2, let quota = Int(parts[0]), let period = Int(parts[1]), period > 0,
            quota > 0
        else { return nil }
        return (quota + period - 1) / period
    }

    private static func text(_ path: String) -> String? {
        guard let bytes = try? Files.read(path, bytesMax: 4_096) else { return nil }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").first.map(String.init)
    }

    /// Variables of this process's environment by their names; those that are not set are left out.
    public static func variables(_ names: Set<String>) -> [String: String] {
        var found: [String: String] = [:]
        for name in names {
            if let value = unsafe getenv(name) { found[name] = unsafe String(cString: value) }
        }
        return found
    }

    /// The lowest port that needs no privilege.
    public static func lowestFreePort() -> Int {
        text("/proc/sys/net/ipv4/ip_unprivileged_port_start").flatMap(Int.init) ?? 1_024
    }

    /// Whether this process may listen on a port: those below the lowest free one need
    /// CAP_NET_BIND_SERVICE.
    public static func mayListen(onPort port: UInt16) -> Bool {
        if Int(port) >= lowestFreePort() || port == 0 { return true }
        guard let bytes = try? Files.read("/proc/self/status", bytesMax: 65_536) else {
            return geteuid() == 0
        }
        return hasBindCapability(inStatus: String(decoding: bytes, as: UTF8.self))
    }

    /// Reads the effective capabilities of `/proc/self/status` (capabilities(7)).
    static func hasBindCapability(inStatus text: String) -> Bool {
        let line = text.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        let digits = line?.split(whereSeparator: { $0 == "\t" || $0 == " " }).last
        guard let digits, let set = UInt64(digits, radix: 16) else { return geteuid() == 0 }
        return set & 1 << 10 != 0
    }

    /// Raises the descriptor limit to the hard limit and returns it.
    public static func raiseDescriptorLimit() -> Int {
        var limits = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits) == 0 else {
            return 1_024
        }
        if limits.rlim_cur < limits.rlim_max {
            limits.rlim_cur = limits.rlim_max
            _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
            _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
        }
        return Int(clamping: limits.rlim_cur)
    }

    /// Figures of this process from /proc, for the process metrics.
    public struct ProcessFigures: Sendable {
        public var residentBytes: UInt64 = 0
        public var virtualBytes: UInt64 = 0
        public var openDescriptors = 0
        public var cpuMicroseconds: UInt64 = 0
        public var threads = 0
    }

    public static func processFigures() -> ProcessFigures {
        var figures = ProcessFigures()
        if let text = text("/proc/self/statm") {
            let parts = text.split(separator: " ").compactMap { UInt64($0) }
            if parts.count > 1 {
                figures.virtualBytes = parts[0] * UInt64(sysconf(Int32(_SC_PAGESIZE)))
                figures.residentBytes = parts[1] * UInt64(sysconf(Int32(_SC_PAGESIZE)))
            }
        }
        var usage = rusage()
        if unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            let user = UInt64(usage.ru_utime.tv_sec) * 1_000_000 + UInt64(usage.ru_utime.tv_usec)
            let system = UInt64(usage.ru_stime.tv_sec) * 1_000_000 + UInt64(usage.ru_stime.tv_usec)
            figures.cpuMicroseconds = user + system
        }
        figures.openDescriptors = Directory.count("/proc/self/fd")
        figures.threads = Directory.count("/proc/self/task")
        return figures
    }
}
