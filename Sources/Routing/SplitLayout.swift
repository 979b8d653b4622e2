import Base

/// Lays out one block of a weighted split: M slots for versions with weights that sum to M.
///
/// Version v has a_v strata, the j-th being the real interval [j M/a_v, (j+1) M/a_v). Slot t and
/// stratum (v, j) share the fraction a_v/M x (length of [t, t+1) inside the stratum); every slot
/// and every stratum sums to 1, so the fractions are a fractional perfect matching. Dependent
/// rounding (Gandhi, Khuller, Parthasarathy, Srinivasan 2006; for prefixes Goelz, Peters, Procaccia
/// 2022) makes it a whole one and keeps every marginal: slot t goes to v with probability exactly
/// a_v/M, and since each stratum holds exactly one slot that overlaps it, |count_v(N) - N a_v/M| <
/// 1 for all N.
///
/// Any cycle of fractional edges may be rounded next. Walking from the lowest slot, always along
/// the lowest edge, keeps cycles short (they close within a few slots), so the work is linear in M.
public struct SplitLayout: ~Copyable {
    // Not private: see RouteIndex.Bucket.
    struct Edge: BitwiseCopyable {
        var slot: Int32
        var stratum: Int32
        /// The fraction, times M.
        var share: Int32
        var nextOfSlot: Int32 = -1, previousOfSlot: Int32 = -1
        var nextOfStratum: Int32 = -1, previousOfStratum: Int32 = -1
    }

    private let addressOnly = AddressOnly()
    private let sum: Int32
    private var edges: PlainArray<Edge>
    /// First fractional edge of each node: slots first, strata behind them.
    private let heads: FixedArray<Int32>
    private var stratumVersions: PlainArray<UInt8>
    private var slots: [UInt8]

    /// - Parameters:
    ///   - weights: at most 256, not all zero, their sum M at most 10,000.
    ///   - block: which block; each has a layout of its own, a function of seed and block alone.
    /// - Returns: the version of each slot.
    public static func block(weights: [Int], seed: UInt64, block: UInt64) -> [UInt8] {
        var layout = SplitLayout(weights: weights)
        var random = PRNG(seed: seed ^ (block &* 0xd134_2543_de82_ef95 &+ 0x2545_f491_4f6c_dd1d))
        layout.round(&random)
        return layout.slots
    }

    private init(weights: [Int]) {
        let total = weights.reduce(0, +)
        precondition(total > 0 && total <= 10_000 && weights.count <= 256, "weights of a block")
        sum = Int32(total)
        slots = [UInt8](repeating: 0, count: total)
        heads = FixedArray(repeating: -1, count: total * 2)
        edges = PlainArray(capacity: total * (weights.count + 1))
        stratumVersions = PlainArray(capacity: total)
        let slotTails = FixedArray<Int32>(repeating: -1, count: total)
        var stratum = Int32(0)
        for (version, weight) in weights.enumerated() where weight > 0 {
            var last = Int32(-1)
            var tail = Int32(-1)
            for slot in 0..<total {
                // In stratum coordinates slot t is [t w, (t+1) w), and strata are M long.
                var low = slot * weight
                let high = low + weight
                while low < high {
                    let number = low / total
                    let cut = min(high, (number + 1) * total)
                    let id = stratum + Int32(number)
                    if id != last {
                        last = id
                        tail = -1
                        stratumVersions.append(UInt8(version))
                    }
                    add(slot, id, Int32(cut - low), slotTails, &tail)
                    low = cut
                }
            }
            stratum += Int32(weight)
        }
    }

    private mutating func add(
        _ slot: Int, _ stratum: Int32, _ share: Int32, _ slotTails: borrowing FixedArray<Int32>,
        _ tail: inout Int32
    ) {
        if share == sum {
            slots[slot] = stratumVersions[Int(stratum)]
            return
        }
        let id = Int32(edges.count)
        var edge = Edge(slot: Int32(slot), stratum: stratum, share: share)
        edge.previousOfSlot = slotTails[slot]
        edge.previousOfStratum = tail
        edges.append(edge)
        if edge.previousOfSlot >= 0 {
            edges[Int(edge.previousOfSlot)].nextOfSlot = id
        } else {
            heads[slot] = id
        }
        if tail >= 0 {
            edges[Int(tail)].nextOfStratum = id
        } else {
            heads[slots.count + Int(stratum)] = id
        }
        slotTails[slot] = id
        tail = id
    }

    // MARK: Rounding

    private mutating func round(_ random: inout PRNG) {
        let slotCount = slots.count
        // Edges of the walk, and where a node stands on it (-1: nowhere).
        var path = PlainArray<Int32>(capacity: 256)
        let place = FixedArray<Int32>(repeating: -1, count: heads.count)
        for start in 0..<slotCount {
            var node = start
            while heads[node] >= 0 {
                place[node] = Int32(path.count)
                // Every node with a fractional edge has two: its shares sum to a whole.
                var edge = heads[node]
                if !path.isEmpty, edge == path[path.count - 1] {
                    edge =
                        node < slotCount
                        ? edges[Int(edge)].nextOfSlot : edges[Int(edge)].nextOfStratum
                }
                path.append(edge)
                node =
                    node < slotCount
                    ? Int(edges[Int(edge)].stratum) + slotCount : Int(edges[Int(edge)].slot)
                let first = Int(place[node])
                if first < 0 { continue }
                // What the walk had behind it stays: the next cycle begins from there.
                forget(from: first, path, place)
                shift(path, from: first, &random)
                path.truncate(to: first)
                if heads[node] < 0 { node = start }
            }
            forget(from: 0, path, place)
            path.removeAll()
        }
    }

    /// Takes the nodes of a part of the walk off it.
    private func forget(
        from first: Int, _ path: borrowing PlainArray<Int32>, _ place: borrowing FixedArray<Int32>
    ) {
        for i in first..<path.count {
            let edge = edges[Int(path[i])]
            place[Int(edge.slot)] = -1
            place[slots.count + Int(edge.stratum)] = -1
        }
    }

    /// Moves shares around a cycle, up on every other edge and down on the rest, until one is
    /// whole; the direction is drawn so that every edge keeps its expectation.
    private mutating func shift(
        _ path: borrowing PlainArray<Int32>, from first: Int, _ random: inout PRNG
    ) {
        var up = sum, down = sum
        var isEven = true
        for i in first..<path.count {
            let share = edges[Int(path[i])].share
            up = min(up, isEven ? sum - share : share)
            down = min(down, isEven ? share : sum - share)
            isEven.toggle()
        }
        let goesUp = random.below(UInt64(up + down)) < UInt64(down)
        let amount = goesUp ? up : -down
        isEven = true
        for i in first..<path.count {
            let id = path[i]
            let share = edges[Int(id)].share + (isEven ? amount : -amount)
            edges[Int(id)].share = share
            if share == 0 || share == sum { settle(id, taken: share == sum) }
            isEven.toggle()
        }
    }

    private mutating func settle(_ id: Int32, taken: Bool) {
        let edge = edges[Int(id)]
        if taken { slots[Int(edge.slot)] = stratumVersions[Int(edge.stratum)] }
        if edge.previousOfSlot >= 0 {
            edges[Int(edge.previousOfSlot)].nextOfSlot = edge.nextOfSlot
        } else {
            heads[Int(edge.slot)] = edge.nextOfSlot
        }
        if edge.nextOfSlot >= 0 {
            edges[Int(edge.nextOfSlot)].previousOfSlot = edge.previousOfSlot
        }
        if edge.previousOfStratum >= 0 {
            edges[Int(edge.previousOfStratum)].nextOfStratum = edge.nextOfStratum
        } else {
            heads[slots.count + Int(edge.stratum)] = edge.nextOfStratum
        }
        if edge.nextOfStratum >= 0 {
            edges[Int(edge.nextOfStratum)].previousOfStratum = edge.previousOfStratum
        }
    }
}
