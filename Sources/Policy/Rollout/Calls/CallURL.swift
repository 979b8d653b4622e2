import Base

/// Why a text cannot be used as a part of a call to the outside, in a sentence for the person who
/// wrote it.
public struct CallProblem: Error, Sendable, Equatable {
    public let message: String
    public init(_ message: String) { self.message = message }
}

/// An absolute URL of http or https (RFC 3986, RFC 9110 §4.2), taken apart for a call. User
/// information and fragments are refused: secrets belong into header files, and a server never sees
/// a fragment.
public struct CallURL: Sendable, Hashable {
    public var isSecure: Bool
    /// A name in lower case or an IP address; an IPv6 address without its brackets.
    public var host: String
    public var port: UInt16
    /// The path with its query; begins with a slash.
    public var target: String

    /// The longest URL that is taken.
    public static let bytesMax = 8_192

    public init(_ text: String) throws(CallProblem) {
        guard text.utf8.count <= CallURL.bytesMax else {
            throw CallProblem("the URL is longer than \(CallURL.bytesMax) bytes")
        }
        let rest: Substring
        if text.lowercased().hasPrefix("https://") {
            isSecure = true
            rest = text.dropFirst(8)
        } else if text.lowercased().hasPrefix("http://") {
            isSecure = false
            rest = text.dropFirst(7)
        } else {
            throw CallProblem(
                "\"\(text.prefix(80))\" is no URL, expected one that begins with http:// or "
                    + "https://")
        }
        let end = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
        let authority = rest[..<end]
        if authority.contains("@") {
            throw CallProblem(
                "a URL has no user and password here; give them by a header, from a file")
        }
        if rest.contains("#") {
            throw CallProblem("a URL has no fragment (#) here; write a # of a value as %23")
        }
        let parts = try CallURL.parts(authority)
        host = parts.host
        guard let number = parts.port.isEmpty ? (isSecure ? 443 : 80) : UInt16(parts.port),
            number > 0
        else {
            throw CallProblem("the port \"\(parts.port)\" is no number from 1 to 65535")
        }
        port = number
        let tail = String(rest[end...])
        target = tail.isEmpty ? "/" : tail.hasPrefix("?") ? "/" + tail : tail
        if let bad = target.utf8.first(where: { $0 <= 0x20 || $0 >= 0x7f }) {
            let hex = String(bad, radix: 16)
            throw CallProblem(
                "the URL has a byte 0x\(hex), which has to be written as %\(hex.uppercased())")
        }
    }

    private static func parts(
        _ authority: Substring
    ) throws(CallProblem) -> (host: String, port: Substring) {
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]"),
                Address("\(authority[...close]):1") != nil
            else { throw CallProblem("\"\(authority)\" is no IPv6 address in brackets") }
            let port = authority[authority.index(after: close)...]
            guard port.isEmpty || port.hasPrefix(":") && port.count > 1 else {
                throw CallProblem("\"\(authority)\" is no host with a port")
            }
            let host = authority[authority.index(after: authority.startIndex)..<close]
            return (host.lowercased(), port.dropFirst())
        }
        let host = authority.prefix { $0 != ":" }
        let isName = host.utf8.allSatisfy {
            ASCII.isAlpha($0) || ASCII.isDigit($0) || $0 == 0x2d || $0 == 0x2e || $0 == 0x5f
        }
        guard !host.isEmpty, host.utf8.count <= 253, isName else {
            throw CallProblem(
                "the URL's host is \"\(host.prefix(80))\", expected a name such as "
                    + "prometheus.example.com or an address; an IPv6 address stands in brackets")
        }
        let port = authority.dropFirst(host.count)
        guard port.isEmpty || port.count > 1 else {
            throw CallProblem("a port is missing behind \"\(host):\"")
        }
        return (host.lowercased(), port.dropFirst())
    }

    /// The host as a URL writes it, an IPv6 address in brackets.
    public var hostText: String { host.contains(":") ? "[\(host)]" : host }

    /// The value of the Host field (RFC 9110 §7.2): the port is left out where it is the scheme's.
    public var authority: String {
        port == (isSecure ? 443 : 80) ? hostText : "\(hostText):\(port)"
    }

    /// Scheme, host and port, without path and query, which may hold what logs should not.
    public var origin: String { "\(isSecure ? "https" : "http")://\(authority)" }

    /// The whole URL.
    public var text: String { origin + target }
}
