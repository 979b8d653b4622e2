import Base

/// Consistent hashing on a ring (Karger et al. 1997): 128 points an endpoint, placed by the address
/// alone, so that every process builds the same ring.
struct HashRing: ~Copyable, Sendable {
    struct Point: BitwiseCopyable {
        var hash: UInt64
        var position: Int
    }

    static let pointsPerEndpoint = 128
    private let points: FixedArray<Point>

    init(_ addresses: [Address]) {
        var list: [Point] = []
        for (position, address) in addresses.enumerated() {
            var random = PRNG(seed: address.stableHash)
            for _ in 0..<HashRing.pointsPerEndpoint {
                list.append(Point(hash: random.next(), position: position))
            }
        }
        list.sort { ($0.hash, $0.position) < ($1.hash, $1.position) }
        points = FixedArray(list)
    }

    /// The first usable endpoint at or after a hash.
    func find(_ hash: UInt64, isUsable: (Int) -> Bool) -> Int? {
        guard points.count > 0 else { return nil }
        var low = 0, high = points.count
        while low < high {
            let middle = (low + high) / 2
            if points[middle].hash < hash { low = middle + 1 } else { high = middle }
        }
        for step in 0..<points.count {
            let point = points[(low + step) % points.count]
            if isUsable(point.position) { return point.position }
        }
        return nil
    }
}

/// Maglev's table (Eisenbud et al. 2016 §3.4): each endpoint fills places by a permutation of its
/// own, in turns, so that shares are equal within 1 % and few keys move when the set changes.
struct MaglevTable: ~Copyable, Sendable {
    static let size = 4_099
    private let places: FixedArray<UInt16>

    init(_ addresses: [Address]) {
        guard !addresses.isEmpty, addresses.count < MaglevTable.size else {
            places = FixedArray(repeating: 0, count: addresses.isEmpty ? 0 : MaglevTable.size)
            return
        }
        // Order by address: the table depends on the set, not on the order it is listed in.
        let order = addresses.indices.sorted {
            (addresses[$0].stableHash, $0) < (addresses[$1].stableHash, $1)
        }
        var table = [UInt16](repeating: .max, count: MaglevTable.size)
        var next = [Int](repeating: 0, count: addresses.count)
        let steps: [(offset: Int, skip: Int)] = addresses.map {
            var random = PRNG(seed: $0.stableHash)
            let offset = Int(random.below(UInt64(MaglevTable.size)))
            return (offset, Int(random.below(UInt64(MaglevTable.size - 1))) + 1)
        }
        var filled = 0
        while filled < MaglevTable.size {
            for i in order where filled < MaglevTable.size {
                var place: Int
                repeat {
                    place = (steps[i].offset + next[i] * steps[i].skip) % MaglevTable.size
                    next[i] += 1
                } while table[place] != .max
                table[place] = UInt16(i)
                filled += 1
            }
        }
        places = FixedArray(table)
    }

    func find(_ hash: UInt64) -> Int {
        places.count == 0 ? 0 : Int(places[Int(hash % UInt64(places.count))])
    }
}
