import Base

/// Which matches can hold for a host and a path: a hash from (host key, path key) to positions.
///
/// A match stands under each of its hosts (exact, suffix, or any) and under its path's key: the
/// exact path, the elements of a prefix or of a template's beginning, or nothing. A request looks
/// under every key that its host and path can have, so what it finds is a superset of what matches;
/// equal hashes of different keys only widen it. The cost grows with the labels of the host and the
/// elements of the path, not with the number of routes.
struct RouteIndex: ~Copyable, Sendable {
    struct Key: Hashable {
        var host: UInt64
        var path: UInt64
        /// Path elements of a prefix key; -1 for an exact path.
        var depth: Int
    }

    // Not private: the compiler (6.3.1) emits a broken module for private types in ~Copyable
    // generics.
    struct Bucket: BitwiseCopyable {
        var hash: UInt64
        var start: UInt32
        var count: UInt32
    }

    let candidates: FixedArray<UInt32>
    private let buckets: FixedArray<Bucket>
    private let hasExactPaths: Bool
    private let hasHosts: Bool
    /// Bit n: some prefix has n elements; the last bit stands for more.
    private let depths: UInt64
    /// Few matches are walked faster than hashed.
    let isUseful: Bool

    private static let anyHost: UInt64 = 0x51_7cc1_b727_220a
    private static let exactSalt: UInt64 = 0x9e37_79b9_7f4a_7c15

    /// - Parameter keys: for each match, in order, the keys it stands under.
    init(_ keys: [[Key]]) {
        var lists: [(hash: UInt64, list: [UInt32])] = []
        var places: [UInt64: Int] = [:]
        var exact = false, hosts = false
        var depths: UInt64 = 0
        for (position, matchKeys) in keys.enumerated() {
            for key in matchKeys {
                let hash = RouteIndex.hash(host: key.host, path: key.path)
                if let place = places[hash] {
                    if lists[place].list.last != UInt32(position) {
                        lists[place].list.append(UInt32(position))
                    }
                } else {
                    places[hash] = lists.count
                    lists.append((hash, [UInt32(position)]))
                }
                if key.depth < 0 { exact = true } else { depths |= 1 << UInt64(min(key.depth, 63)) }
                if key.host != RouteIndex.anyHost { hosts = true }
            }
        }
        hasExactPaths = exact
        hasHosts = hosts
        self.depths = depths
        isUseful = keys.count > 4
        var size = 8
        while size < lists.count * 2 { size *= 2 }
        buckets = FixedArray(repeating: Bucket(hash: 0, start: 0, count: 0), count: size)
        var flat: [UInt32] = []
        for (hash, list) in lists {
            var place = Int(truncatingIfNeeded: hash) & (size - 1)
            while buckets[place].count != 0 { place = (place + 1) & (size - 1) }
            buckets[place] = Bucket(
                hash: hash, start: UInt32(flat.count), count: UInt32(list.count))
            flat += list
        }
        candidates = FixedArray(flat)
    }

    static func keys(for match: MatchRule) -> [Key] {
        let hosts: [UInt64] =
            match.hosts.isEmpty || match.hosts.contains("*")
            ? [anyHost]
            : match.hosts.map { hash($0.hasPrefix("*.") ? String($0.dropFirst()) : $0) }
        let path: (hash: UInt64, depth: Int)
        switch match.path {
        case .exact(let text): path = (hash(text) ^ exactSalt, -1)
        case .prefix(let text): path = prefixKey(trimmed(text))
        case .template(let text): path = prefixKey(PathTemplate.literalPrefix(text))
        case .regex, nil: path = prefixKey("")
        }
        return hosts.map { Key(host: $0, path: path.hash, depth: path.depth) }
    }

    private static func prefixKey(_ text: String) -> (UInt64, Int) {
        (hash(text), text.utf8.reduce(0) { $0 + ($1 == 0x2f ? 1 : 0) })
    }

    /// A prefix without the slash at its end: `/a/` and `/a` are one, `/` is everything.
    static func trimmed(_ prefix: String) -> String {
        var text = prefix
        while text.last == "/" { text.removeLast() }
        return text
    }

    // MARK: Looking up

    /// Runs of `candidates`, as many as a request normally finds.
    struct Lists {
        private var runs = InlineArray<24, UInt64>(repeating: 0)
        private(set) var count = 0
        /// More were found than are kept: the caller must walk all matches.
        private(set) var isOverfull = false

        mutating func append(start: UInt32, count length: UInt32) {
            guard count < 24 else {
                isOverfull = true
                return
            }
            runs[count] = UInt64(start) << 32 | UInt64(length)
            count += 1
        }

        func start(_ i: Int) -> Int { Int(runs[i] >> 32) }
        func end(_ i: Int) -> Int { Int(runs[i] >> 32) + Int(runs[i] & 0xffff_ffff) }
    }

    /// Finds every list that may hold a match.
    func find(host: Span<UInt8>, path: Span<UInt8>, into lists: inout Lists) {
        findPaths(host: RouteIndex.anyHost, path, &lists)
        guard hasHosts else { return }
        findPaths(host: RouteIndex.hash(host), path, &lists)
        for i in 0..<host.count where host[i] == 0x2e {
            findPaths(host: RouteIndex.hash(host.extracting(i..<host.count)), path, &lists)
        }
    }

    private func findPaths(host: UInt64, _ path: Span<UInt8>, _ lists: inout Lists) {
        var hash = RouteIndex.fnvStart
        var depth = 0
        for i in 0...path.count {
            let isEnd = i == path.count
            if isEnd || path[i] == 0x2f {
                if depths & (1 << UInt64(min(depth, 63))) != 0 {
                    find(RouteIndex.hash(host: host, path: hash), &lists)
                }
                depth += 1
            }
            if isEnd { break }
            hash = (hash ^ UInt64(path[i])) &* RouteIndex.fnvPrime
        }
        if hasExactPaths {
            find(RouteIndex.hash(host: host, path: hash ^ RouteIndex.exactSalt), &lists)
        }
    }

    private func find(_ hash: UInt64, _ lists: inout Lists) {
        let mask = buckets.count - 1
        var place = Int(truncatingIfNeeded: hash) & mask
        while buckets[place].count != 0 {
            let bucket = buckets[place]
            if bucket.hash == hash {
                return lists.append(start: bucket.start, count: bucket.count)
            }
            place = (place + 1) & mask
        }
    }

    // FNV-1a: a prefix's hash is a step of its path's.
    private static let fnvStart: UInt64 = 0xcbf2_9ce4_8422_2325
    private static let fnvPrime: UInt64 = 0x100_0000_01b3

    private static func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var hash = fnvStart
        for i in 0..<bytes.count { hash = (hash ^ UInt64(bytes[i])) &* fnvPrime }
        return hash
    }

    private static func hash(_ text: String) -> UInt64 { hash(Array(text.utf8).span) }

    private static func hash(host: UInt64, path: UInt64) -> UInt64 {
        var z = host &* 0xff51_afd7_ed55_8ccd ^ path
        z = (z ^ (z >> 33)) &* 0xc4ce_b9fe_1a85_ec53
        return z ^ (z >> 29)
    }
}
