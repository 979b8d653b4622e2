import JSON

/// A place in a JSON text (RFC 6901).
public struct JSONPointer: Sendable, Equatable {
    private let names: [String]
    public let text: String

    public init(_ text: String) throws(CallProblem) {
        self.text = text
        if text.isEmpty {
            names = []
            return
        }
        guard text.hasPrefix("/") else {
            throw CallProblem(
                "\"\(CallText.shown(text, most: 80))\" is no JSON pointer, expected one that "
                    + "begins with /, as /consumers/0/lag")
        }
        var names: [String] = []
        for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            var name = "", isEscape = false
            for character in part {
                if isEscape {
                    guard character == "0" || character == "1" else { break }
                    name.append(character == "0" ? "~" : "/")
                    isEscape = false
                } else if character == "~" {
                    isEscape = true
                } else {
                    name.append(character)
                }
            }
            guard !isEscape else {
                throw CallProblem(
                    "\"\(CallText.shown(text, most: 80))\": in a JSON pointer ~ is written ~0, "
                        + "and / is written ~1")
            }
            names.append(name)
        }
        self.names = names
    }

    /// The value at the place; `nil` where the text has no such place.
    public func find(in root: JSONNode) -> JSONNode? {
        var node = root
        for name in names {
            if let elements = node.elements {
                // RFC 6901 §4: digits without leading zeros.
                guard let index = Int(name), "\(index)" == name, elements.indices.contains(index)
                else { return nil }
                node = elements[index]
            } else if let member = node[name] {
                node = member
            } else {
                return nil
            }
        }
        return node
    }
}
