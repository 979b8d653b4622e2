import Base
import Upstream

/// Endpoints that speak another version of HTTP than their service is configured for. Their first
/// bytes tell, and whoever runs the process is told once, until the endpoint is right or the
/// configuration changes.
enum WrongProtocol {
    /// How an answer of HTTP/1.1, or of HTTP/1.0, begins.
    private static let version: StaticString = "HTTP/1."

    /// Looks at bytes of an HTTP/2 connection before the peer's settings.
    @inline(never)
    static func look(
        _ tables: borrowing Tables, _ turn: inout Turn, _ h2: HTTP2LinkID, _ range: Range<Int>
    ) {
        let bytes = turn.scratch.span(ByteRange(range.lowerBound, end: range.upperBound))
        guard tables.links[h2].socket.side == .upstream, bytes.count > version.utf8CodeUnitCount,
            ASCII.equalPrefix(bytes.extracting(0..<version.utf8CodeUnitCount), version)
        else { return }
        tell(.speaksHTTP1, tables, &turn, tables.links[h2].socket.upstream)
    }

    /// Looks at bytes that are no answer of HTTP/1.1: HTTP/2 begins with a SETTINGS frame (RFC 9113
    /// §3.4), of stream 0 and short.
    @inline(never)
    static func look(
        _ tables: borrowing Tables, _ turn: inout Turn, _ id: UpstreamID, _ range: ByteRange
    ) {
        let bytes = turn.scratch.span(range)
        guard bytes.count >= 9, bytes[0] == 0, bytes[1] == 0, bytes[3] == 4, bytes[4] == 0,
            bytes[5] == 0, bytes[6] == 0, bytes[7] == 0, bytes[8] == 0
        else { return }
        tell(.speaksHTTP2, tables, &turn, id)
    }

    private static func tell(
        _ kind: EndpointNews.Kind, _ tables: borrowing Tables, _ turn: inout Turn, _ id: UpstreamID
    ) {
        let endpoint = tables.upstream[id].endpoint
        guard !turn.endpointPools[endpoint].hasToldOfProtocol else { return }
        turn.endpointPools[endpoint].hasToldOfProtocol = true
        turn.tell(kind, cluster: tables.upstream[id].cluster, tables.upstream[id].address)
    }
}
