import Base
import Configuration
import HTTP1
import HTTP2
import HTTPSemantics
import Telemetry
import Upstream

/// The slabs of one worker. Slots point to each other by `SlotID`, never by reference.
struct Tables: ~Copyable {
    private let addressOnly = AddressOnly()
    var downstream: Slab<DownstreamConnection>
    var exchanges: Slab<Exchange>
    var attempts: Slab<Attempt>
    var upstream: Slab<UpstreamConnection>
    var links: Slab<HTTP2Link>

    init(connectionsMax: Int) {
        // Streams are connections too; slots cost nothing until they are used.
        let slotsMax = connectionsMax * 2 + 100_000
        downstream = Slab(countMax: slotsMax) { DownstreamConnection() }
        exchanges = Slab(countMax: slotsMax) { Exchange() }
        attempts = Slab(countMax: slotsMax) { Attempt() }
        upstream = Slab(countMax: slotsMax) { UpstreamConnection() }
        links = Slab(countMax: connectionsMax * 2) { HTTP2Link() }
    }
}

extension Tables {
    /// Whether an answer that is about to begin must be its connection's last, because of what is
    /// left of the request: too much to be read away, or a body that the client may never send. One
    /// that waited for 100 (Continue) may send its next request in place of it (RFC 9110 §10.1.1),
    /// and nothing in the bytes would tell which of the two they are.
    func isLast(_ id: ExchangeID) -> Bool {
        let downstream = exchanges[id].downstream
        if self.downstream[downstream].body.isComplete { return false }
        let left = self.downstream[downstream].body.remaining ?? .max
        return left > DownstreamSide.discardBytesMax
            || exchanges[id].awaitsContinue
                && exchanges[id].summary.bytesReceived == 0
    }
}
