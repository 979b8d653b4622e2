extension MatchRule {
    /// The rule that holds for exactly the requests for which this one and another hold; `nil`
    /// where no request can match both.
    public func and(_ other: MatchRule) -> MatchRule? {
        var both = MatchRule()
        guard let listeners = MatchRule.common(listeners, other.listeners),
            let methods = MatchRule.common(methods, other.methods),
            let hosts = MatchRule.commonHosts(hosts, other.hosts)
        else { return nil }
        if let scheme, let theirs = other.scheme, scheme != theirs { return nil }
        both.listeners = listeners
        both.methods = methods
        both.hosts = hosts
        both.scheme = scheme ?? other.scheme
        both.values = values + other.values
        both.path = path ?? other.path
        both.furtherPaths = furtherPaths + other.furtherPaths
        if path != nil, let theirs = other.path, path != theirs {
            both.furtherPaths.append(theirs)
        }
        return both
    }

    /// Members of both lists, where an empty list stands for everything; `nil` for none.
    private static func common(_ mine: [String], _ theirs: [String]) -> [String]? {
        if mine.isEmpty { return theirs }
        if theirs.isEmpty { return mine }
        let both = mine.filter(theirs.contains)
        return both.isEmpty ? nil : both
    }

    /// Patterns for the hosts that both lists match; `nil` for none.
    private static func commonHosts(_ mine: [String], _ theirs: [String]) -> [String]? {
        func isAny(_ hosts: [String]) -> Bool { hosts.isEmpty || hosts.contains("*") }
        if isAny(mine) { return isAny(theirs) ? [] : theirs }
        if isAny(theirs) { return mine }
        var both: [String] = []
        for a in mine {
            for b in theirs {
                if let host = commonHost(a, b), !both.contains(host) { both.append(host) }
            }
        }
        return both.isEmpty ? nil : both
    }

    /// The narrower of two patterns, for two that have hosts in common contain each other; `nil`
    /// for none.
    private static func commonHost(_ a: String, _ b: String) -> String? {
        if a == b || isPart(a, of: b) { return a }
        return isPart(b, of: a) ? b : nil
    }

    /// Whether a wildcard matches everything that another pattern does.
    private static func isPart(_ pattern: String, of wildcard: String) -> Bool {
        guard wildcard.hasPrefix("*.") else { return false }
        let suffix = Array(wildcard.utf8.dropFirst())
        let text = Array(pattern.utf8)
        // At least one label stands before the suffix; the star of a wildcard is one.
        return text.count > suffix.count && text.suffix(suffix.count).elementsEqual(suffix)
    }
}
