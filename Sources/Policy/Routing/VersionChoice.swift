/// The version that a request gets, and why: the one rule of splitting.md §1, steps 7 and 8, for
/// whoever decides (the data plane) and whoever explains.
///
///     named by the route ▸ at the session's position ▸ bound by the client's connection ▸ drawn
///     then, where the service falls back: its stable version, in place of one that is not usable
///
/// The rule asks for what it needs and not for more: a request whose version is named takes no
/// draw. The questions are closures that are called at most once each, before `choose` returns;
/// what they do besides answering, such as taking a draw, is the caller's.
public struct VersionChoice: Equatable, BitwiseCopyable, Sendable {
    /// The reason for a version.
    public enum Way: UInt8, BitwiseCopyable, Sendable {
        /// The route names the version outright.
        case named
        /// The session's position lies in the version's interval.
        case session
        /// A connection to the version carries this client's identity.
        case bound
        /// A draw of the split.
        case drawn
        /// The stable version stands in for one that is not usable.
        case fallback
    }

    /// The version's place in its service.
    public var version: Int
    public var way: Way

    @inlinable public init(_ version: Int, _ way: Way) {
        self.version = version
        self.way = way
    }

    /// - Parameters:
    ///   - named: the version that the route names; -1 for none.
    ///   - session: the version at the request's session; -1 when no session is known.
    ///   - bound: the version that a connection with this client's identity leads to; -1 for none.
    ///   - drawn: the version of one draw.
    ///   - stable: the service's stable version.
    ///   - fallsBack: whether the stable version stands in for those that are not usable.
    ///   - isUsable: whether a version has an endpoint that may be chosen now; asked of the version
    ///     that was found, where that matters.
    @inlinable @inline(__always)
    public static func choose(
        named: Int, session: () -> Int, bound: () -> Int, drawn: () -> Int, stable: Int,
        fallsBack: Bool, isUsable: (Int) -> Bool
    ) -> VersionChoice {
        let choice = find(named: named, session: session, bound: bound, drawn: drawn)
        if fallsBack, choice.version != stable, !isUsable(choice.version) {
            return VersionChoice(stable, .fallback)
        }
        return choice
    }

    @inlinable @inline(__always)
    static func find(
        named: Int, session: () -> Int, bound: () -> Int, drawn: () -> Int
    ) -> VersionChoice {
        if named >= 0 { return VersionChoice(named, .named) }
        let placed = session()
        if placed >= 0 { return VersionChoice(placed, .session) }
        let kept = bound()
        if kept >= 0 { return VersionChoice(kept, .bound) }
        return VersionChoice(drawn(), .drawn)
    }
}
