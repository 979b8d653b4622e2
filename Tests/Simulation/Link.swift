import Base

/// The end to which the world delivers a client's bytes.
protocol ClientEnd: AnyObject {
    func received(_ bytes: [UInt8])
    func ended()
    func closed(wasReset: Bool)
}

/// One connection as the network sees it.
struct Link {
    enum Peer {
        case client(ClientEnd)
        case origin(OriginEnd)
        case none
    }
    var peer: Peer
    var inbound: [UInt8] = []
    var hasEnded = false
    var endSeen = false
    var wasReset = false
    var isBroken = false
    var showKept = false
    var lastDelivery = Instant(nanoseconds: 0)
    var lastArrival = Instant(nanoseconds: 0)
    // What the network does to it: see Faults.
    var bytes = 0
    var clogAfter = Int.max
    var clogFor = Duration.zero
    var cloggedUntil = Instant(nanoseconds: 0)
    var silentAfter = Int.max
    var takesPerSecond: Int?
    var pausedUntil: Instant?
}
