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
public struct SplitLayout {
    private struct Edge: BitwiseCopyable {
        var slot: Int32
        var stratum: Int32
        /// The fraction, times M.
        var share: Int32
        var nextOfSlot: Int32 = -1, previousOfSlot: Int32 = -1
        var nextOfStratum: Int32 = -1, previousOfStratum: Int32 = -1
    }

    private let sum: Int32
    private var edges: [Edge] = []
    private var slotHeads: [Int32]
    private var stratumHeads: [Int32]
    private var stratumVersions: [UInt8] = []
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
        slotHeads = [Int32](repeating: -1, count: total)
        stratumHeads = [Int32](repeating: -1, count: total)
        edges.reserveCapacity(total * 2 * weights.count)
        var slotTails = slotHeads
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
                    add(slot, id, Int32(cut - low), &slotTails, &tail)
                    low = cut
                }
            }
            stratum += Int32(weight)
        }
    }

    private mutating func add(
        _ slot: Int, _ stratum: Int32, _ share: Int32, _ slotTails: inout [Int32],
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
            slotHeads[slot] = id
        }
        if tail >= 0 {
            edges[Int(tail)].nextOfStratum = id
        } else {
            stratumHeads[Int(stratum)] = id
        }
        slotTails[slot] = id
        tail = id
    }

    // MARK: Rounding

    private mutating func round(_ random: inout PRNG) {
        var path: [Int32] = []
        // Where a node stands on the current path: slots first, strata behind them.
        var place = [Int32](repeating: -1, count: slotHeads.count + stratumHeads.count)
        for start in 0..<slotHeads.count {
            while slotHeads[start] >= 0 { cycle(from: start, &path, &place, &random) }
        }
    }

    /// Walks along fractional edges until a node comes again, and rounds the cycle found.
    private mutating func cycle(
        from start: Int, _ path: inout [Int32], _ place: inout [Int32], _ random: inout PRNG
    ) {
        path.removeAll(keepingCapacity: true)
        let slotCount = slotHeads.count
        var node = start
        var last = Int32(-1)
        place[node] = 0
        var visited = [node]
        while true {
            // Every node with a fractional edge has two: its shares sum to a whole.
            var edge = node < slotCount ? slotHeads[node] : stratumHeads[node - slotCount]
            if edge == last {
                edge =
                    node < slotCount
                    ? edges[Int(edge)].nextOfSlot : edges[Int(edge)].nextOfStratum
            }
            path.append(edge)
            last = edge
            node =
                node < slotCount
                ? Int(edges[Int(edge)].stratum) + slotCount : Int(edges[Int(edge)].slot)
            if place[node] >= 0 { break }
            place[node] = Int32(path.count)
            visited.append(node)
        }
        let first = Int(place[node])
        for seen in visited { place[seen] = -1 }
        shift(path[first...], &random)
    }

    /// Moves shares around a cycle, up on every other edge and down on the rest, until one is
    /// whole; the direction is drawn so that every edge keeps its expectation.
    private mutating func shift(_ cycle: ArraySlice<Int32>, _ random: inout PRNG) {
        var up = sum, down = sum
        var isEven = true
        for id in cycle {
            let share = edges[Int(id)].share
            up = min(up, isEven ? sum - share : share)
            down = min(down, isEven ? share : sum - share)
            isEven.toggle()
        }
        let goesUp = random.below(UInt64(up + down)) < UInt64(down)
        let amount = goesUp ? up : -down
        isEven = true
        for id in cycle {
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
            slotHeads[Int(edge.slot)] = edge.nextOfSlot
        }
        if edge.nextOfSlot >= 0 {
            edges[Int(edge.nextOfSlot)].previousOfSlot = edge.previousOfSlot
        }
        if edge.previousOfStratum >= 0 {
            edges[Int(edge.previousOfStratum)].nextOfStratum = edge.nextOfStratum
        } else {
            stratumHeads[Int(edge.stratum)] = edge.nextOfStratum
        }
        if edge.nextOfStratum >= 0 {
            edges[Int(edge.nextOfStratum)].previousOfStratum = edge.previousOfStratum
        }
    }
}
