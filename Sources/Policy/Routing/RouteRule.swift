import HTTPSemantics
import RE2

/// How a text must look to match. Names follow the configuration file.
public enum ValuePattern: Sendable, Equatable {
    case exact(String)
    case prefix(String)
    case suffix(String)
    case regex(RegularExpression)
    /// The value is there, whatever it is.
    case present
}

/// A condition on a header, a query parameter or a cookie. With `isNegated` it holds when no line
/// or pair of that name matches the pattern.
public struct ValueRule: Sendable, Equatable {
    public enum Source: UInt8, Sendable, BitwiseCopyable { case header, query, cookie }

    public var source: Source
    public var name: String
    public var pattern: ValuePattern
    public var isNegated: Bool

    public init(source: Source, name: String, pattern: ValuePattern, isNegated: Bool = false) {
        self.source = source
        self.name = name
        self.pattern = pattern
        self.isNegated = isNegated
    }
}

public enum PathRule: Sendable, Equatable {
    case exact(String)
    /// The path begins with these elements: `/abc` matches `/abc` and `/abc/x`, never `/abcd`.
    case prefix(String)
    /// `{name}` stands for one element that is not empty.
    case template(String)
    /// The whole path matches the expression.
    case regex(RegularExpression)
}

/// How the client spoke to us, or to the proxy in front that is believed.
public enum RequestScheme: String, Sendable, BitwiseCopyable, CaseIterable { case http, https }

/// Facts about a request's arrival that a match may ask for, besides what the request says.
public struct Arrival: BitwiseCopyable, Sendable {
    /// The listener's number; -1: none.
    public var listener: Int
    public var scheme: RequestScheme

    @inlinable public init(listener: Int, scheme: RequestScheme) {
        self.listener = listener
        self.scheme = scheme
    }

    /// A request of nobody, over HTTP.
    @inlinable public static var none: Arrival { Arrival(listener: -1, scheme: .http) }
}

/// One `match` of a route: all of its keys must hold.
public struct MatchRule: Sendable, Equatable {
    /// Names of listeners that the request may have come in at; empty: any.
    public var listeners: [String] = []
    /// The scheme that the request must have come by; `nil`: any.
    public var scheme: RequestScheme?
    /// Lower case, without port; `*.example.com` is a suffix, `*` or an empty list any host.
    public var hosts: [String] = []
    public var path: PathRule?
    /// Further rules that the path has to match; a file cannot say them, `and` makes them.
    public internal(set) var furtherPaths: [PathRule] = []
    /// The methods that match; empty: any.
    public var methods: [String] = []
    public var values: [ValueRule] = []

    public init() {}
}

/// The condition of a match that did not hold; cases are in the order in which conditions are
/// tried.
public enum MatchFailure: Sendable, Equatable {
    case none
    case listener, scheme, host, path, method
    /// The position among the match's values.
    case value(Int)
}

extension PathRule {
    /// The rule as the file writes it: its key and its text.
    public var words: (key: String, text: String) {
        switch self {
        case .exact(let text): return ("exact", text)
        case .prefix(let text): return ("prefix", text)
        case .template(let text): return ("template", text)
        case .regex(let expression): return ("regex", expression.pattern)
        }
    }
}

extension ValuePattern {
    /// The pattern as the file writes it: its key and its text.
    public var words: (key: String, text: String) {
        switch self {
        case .exact(let text): return ("exact", text)
        case .prefix(let text): return ("prefix", text)
        case .suffix(let text): return ("suffix", text)
        case .regex(let expression): return ("regex", expression.pattern)
        case .present: return ("present", "true")
        }
    }
}
