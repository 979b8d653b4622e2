import Base

/// Lays out blocks of a weighted split: M slots for versions with weights that sum to M.
///
/// Version v has a_v strata, the j-th being the real interval [j M/a_v, (j+1) M/a_v). Slot t and
/// stratum (v, j) share the fraction a_v/M x (length of [t, t+1) inside the stratum); every slot
/// and every stratum sums to 1, so the fractions are a fractional perfect matching. Dependent
/// rounding (Gandhi, Khuller, Parthasarathy, Srinivasan 2006; for prefixes Goelz, Peters, Procaccia
/// 2022) makes it a whole one and keeps every marginal: slot t goes to v with probability exactly
/// a_v/M, and since each stratum holds exactly one slot that overlaps it, |count_v(N) - N a_v/M| <
/// 1 for all N.
///
/// Any cycle of fractional edges may be rounded next, so slots are taken in order and each edge is
/// rounded as soon as it closes a cycle: what is fractional is always a forest. A node that will
/// get no more edges and has two left sums to 1 by them alone: they are one decision, and become
/// one edge. So the forest has a few nodes for each version whatever M is, and a block's work is
/// linear in M.
///
///                    add
///     edge ─▶ closes no cycle ─▶ joins two trees, fractional
///        └──▶ closes a cycle ──▶ shares shift around it until one is 0 or 1, which
///                                settles all slots that hang on that decision
///
/// Confined to one thread.
public struct SplitLayout: ~Copyable {
    /// A list of `gifts`.
    struct Gifts: BitwiseCopyable {
        var first: Int32 = -1
        var last: Int32 = -1
    }

    /// The version that a slot gets once its edge is taken.
    struct Gift: BitwiseCopyable {
        var slot: Int32
        var version: UInt8
        var next: Int32 = -1
    }

    /// An edge, kept with the lower one of its nodes.
    struct Edge: BitwiseCopyable {
        /// -1: there is none, and the node is a root.
        var parent: Int32
        /// The fraction at the lower node, times M: `0 < share < M` where there is an edge.
        var share: Int32
        /// Whether the upper node's fraction is the rest to 1, as it is where an odd number of
        /// nodes was merged into the edge.
        var isFlipped = false
        /// The slots that are settled when the lower node takes the edge.
        var whenTaken: Gifts
        /// The slots that are settled when the lower node does not take the edge.
        var whenLeft = Gifts()

        /// The fraction at the upper node, times M.
        func upperShare(_ sum: Int32) -> Int32 { isFlipped ? sum - share : share }
    }

    /// A slot or a stratum.
    struct Node: BitwiseCopyable {
        var up: Edge
        /// The number of fractional edges, up and down.
        var degree: Int32 = 0
        /// Whether no further edge will be added.
        var isClosed = false

        var isRoot: Bool { up.parent < 0 }
    }

    /// The stratum of a version that the next slot falls in.
    struct Open: BitwiseCopyable {
        var stratum: Int32
        /// The part of the stratum that no slot has covered yet, times M.
        var left: Int32
    }

    private static let alone = Node(up: Edge(parent: -1, share: 0, whenTaken: Gifts()))

    private let addressOnly = AddressOnly()
    private let sum: Int32
    private let weights: FixedArray<Int32>
    private let open: FixedArray<Open>
    /// The nodes of the forest: slots first, strata behind them.
    private let nodes: FixedArray<Node>
    private var gifts: PlainArray<Gift>
    private let versions: FixedArray<UInt8>
    private var random = PRNG(seed: 0)
    /// Edges walked along so far: what the work is proportional to.
    public private(set) var stepCount = 0

    /// - Parameter weights: at most 256, none negative, not all zero, their sum M at most 10,000.
    public init(weights: [Int]) {
        let total = weights.reduce(0, +)
        precondition(
            total > 0 && total <= SplitWeights.sumMax && weights.count <= 256, "weights of a block")
        sum = Int32(total)
        self.weights = FixedArray(weights.map { Int32($0) })
        open = FixedArray(repeating: Open(stratum: 0, left: 0), count: weights.count)
        nodes = FixedArray(repeating: SplitLayout.alone, count: total * 2)
        gifts = PlainArray(capacity: total * 4)
        versions = FixedArray(repeating: 0, count: total)
    }

    /// Appends the version of each slot of a block.
    ///
    /// - Parameter block: which block; each has a layout of its own, a function of the weights,
    ///   seed and block alone.
    public mutating func append(block: UInt64, seed: UInt64, to bytes: inout [UInt8]) {
        random = PRNG(seed: seed ^ (block &* 0xd134_2543_de82_ef95 &+ 0x2545_f491_4f6c_dd1d))
        gifts.removeAll()
        for node in 0..<nodes.count { nodes[node] = SplitLayout.alone }
        var stratum = sum
        for version in 0..<weights.count {
            open[version] = Open(stratum: stratum, left: sum)
            stratum += weights[version]
        }
        for slot in 0..<sum {
            for version in 0..<weights.count where weights[version] > 0 { cover(slot, version) }
            nodes[Int(slot)].isClosed = true
        }
        for slot in 0..<versions.count { bytes.append(versions[slot]) }
    }

    /// Adds the edges of a slot to the strata of a version that it overlaps: one or two, because a
    /// stratum is no shorter than a slot.
    private mutating func cover(_ slot: Int32, _ version: Int) {
        let weight = weights[version]
        let stratum = open[version].stratum
        let left = open[version].left
        if left > weight {
            add(slot, stratum, UInt8(version), weight)
            open[version].left = left - weight
            return
        }
        add(slot, stratum, UInt8(version), left)
        nodes[Int(stratum)].isClosed = true
        open[version] = Open(stratum: stratum + 1, left: sum - (weight - left))
        if weight > left { add(slot, stratum + 1, UInt8(version), weight - left) }
    }

    // MARK: The forest

    /// Adds an edge of the slot at hand, which is the root of its tree.
    private mutating func add(_ slot: Int32, _ stratum: Int32, _ version: UInt8, _ share: Int32) {
        var share = share
        if share < sum, root(of: stratum) == slot { share = shift(slot, stratum, share) }
        if share == 0 { return }
        if share == sum {
            versions[Int(slot)] = version
            return
        }
        makeRoot(stratum)
        let gift = Int32(gifts.count)
        gifts.append(Gift(slot: slot, version: version))
        nodes[Int(stratum)].up = Edge(
            parent: slot, share: share, whenTaken: Gifts(first: gift, last: gift))
        nodes[Int(stratum)].degree += 1
        nodes[Int(slot)].degree += 1
    }

    /// The root of a node's tree; merges on its way what has become one decision.
    private mutating func root(of node: Int32) -> Int32 {
        var node = node
        while !nodes[Int(node)].isRoot {
            stepCount += 1
            let parent = nodes[Int(node)].up.parent
            let upper = nodes[Int(parent)]
            if upper.isClosed && upper.degree == 2 && !upper.isRoot {
                merge(node, upper.up)
                nodes[Int(parent)] = SplitLayout.alone
            } else {
                node = parent
            }
        }
        return node
    }

    /// Replaces a node's edge and the edge above it by one. The node between them has no other
    /// edge.
    private mutating func merge(_ node: Int32, _ upper: Edge) {
        var edge = nodes[Int(node)].up
        edge.parent = upper.parent
        // The node between takes exactly one of the two.
        if edge.isFlipped {
            join(&edge.whenTaken, upper.whenTaken)
            join(&edge.whenLeft, upper.whenLeft)
        } else {
            join(&edge.whenTaken, upper.whenLeft)
            join(&edge.whenLeft, upper.whenTaken)
        }
        edge.isFlipped = edge.isFlipped == upper.isFlipped
        nodes[Int(node)].up = edge
    }

    private mutating func join(_ list: inout Gifts, _ other: Gifts) {
        guard other.first >= 0 else { return }
        if list.first < 0 {
            list.first = other.first
        } else {
            gifts[Int(list.last)].next = other.first
        }
        list.last = other.last
    }

    /// Turns the edges between a node and its root around.
    private mutating func makeRoot(_ node: Int32) {
        var node = node
        var below = SplitLayout.alone.up
        while true {
            let edge = nodes[Int(node)].up
            nodes[Int(node)].up = below
            if edge.parent < 0 { return }
            stepCount += 1
            below = Edge(
                parent: node, share: edge.upperShare(sum), isFlipped: edge.isFlipped,
                whenTaken: edge.isFlipped ? edge.whenLeft : edge.whenTaken,
                whenLeft: edge.isFlipped ? edge.whenTaken : edge.whenLeft)
            node = edge.parent
        }
    }

    // MARK: Rounding

    /// Moves shares around the cycle that a new edge closes, so that each node keeps its sum, until
    /// one is whole or nothing; the direction is drawn so that every edge keeps its expectation.
    ///
    /// - Returns: the new edge's share.
    private mutating func shift(_ slot: Int32, _ stratum: Int32, _ share: Int32) -> Int32 {
        var up = sum - share
        var down = share
        // Whether an edge's share at its lower node grows when the new edge's does.
        var grows = false
        var node = stratum
        while node != slot {
            let edge = nodes[Int(node)].up
            up = min(up, grows ? sum - edge.share : edge.share)
            down = min(down, grows ? edge.share : sum - edge.share)
            grows = grows == edge.isFlipped
            node = edge.parent
        }
        let goesUp = random.below(UInt64(up + down)) < UInt64(down)
        let amount = goesUp ? up : -down
        grows = false
        node = stratum
        while node != slot {
            let edge = nodes[Int(node)].up
            let moved = edge.share + (grows ? amount : -amount)
            nodes[Int(node)].up.share = moved
            stepCount += 1
            if moved == 0 || moved == sum { settle(node, edge, taken: moved == sum) }
            grows = grows == edge.isFlipped
            node = edge.parent
        }
        return share + amount
    }

    /// Takes a decided edge out of the forest.
    private mutating func settle(_ node: Int32, _ edge: Edge, taken: Bool) {
        var gift = taken ? edge.whenTaken.first : edge.whenLeft.first
        while gift >= 0 {
            let given = gifts[Int(gift)]
            versions[Int(given.slot)] = given.version
            gift = given.next
        }
        nodes[Int(node)].up = SplitLayout.alone.up
        nodes[Int(node)].degree -= 1
        nodes[Int(edge.parent)].degree -= 1
    }
}
