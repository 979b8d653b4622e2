import Base
import Configuration
import Platform

/// A token of the admin endpoint with what it may do, read from its file. The token itself is never
/// shown anywhere.
public struct NamedToken: Sendable {
    /// `nil`: the one of `admin.token`, which may do everything.
    public let name: String?
    public let token: String
    public let rights: [Document.AdminRight]

    public func may(_ right: Document.AdminRight) -> Bool {
        rights.contains(.all) || rights.contains(right)
    }
}

/// The files of admin tokens: the first line of each is a token.
enum AdminTokens {
    /// Reads all tokens that a configuration names, that of `admin.token` first.
    static func load(
        _ document: Document, _ reading: ConfigurationReading, beside base: String,
        _ errors: inout [ConfigurationError]
    ) -> [NamedToken] {
        var named: [(name: String?, path: String, rights: [Document.AdminRight], key: [String])] =
            []
        if let path = document.adminTokenPath {
            named.append((nil, path, [.all], ["admin", "token"]))
        }
        for token in document.adminTokens {
            named.append(
                (token.name, token.path, token.rights, ["admin", "tokens", token.name, "file"]))
        }
        var tokens: [NamedToken] = []
        for (name, path, rights, key) in named {
            let full = ConfigurationFile.resolve(path, beside: base)
            let hint = "its first line is the token; openssl rand -hex 16 prints one"
            switch read(full) {
            case .failure(let failure):
                errors.append(reading.problem(failure.text, of: key, hint: hint))
            case .success(let token):
                // Which of the two rights would hold is anybody's guess.
                if tokens.contains(where: { $0.token == token }) {
                    errors.append(
                        reading.problem("\(full) has the token of another", of: key, hint: hint))
                }
                tokens.append(NamedToken(name: name, token: token, rights: rights))
            }
        }
        return tokens
    }

    private struct Failure: Error { let text: String }

    private static func read(_ path: String) -> Result<String, Failure> {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Files.readPlain(path, bytesMax: 4_096)
        } catch {
            return .failure(Failure(text: "\(path) cannot be read: \(error.message)"))
        }
        let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first
        let token = line.map { String($0.filter { !$0.isWhitespace }) } ?? ""
        // An empty one would be known to everybody.
        return token.isEmpty ? .failure(Failure(text: "\(path) has no token")) : .success(token)
    }
}
