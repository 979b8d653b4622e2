import ArgumentParser
import Base
import Server

/// Questions to a running process over its admin address, as commands ask them.
extension AdminTarget {
    /// Asks, prints the answer, and ends with the exit code that the answer means.
    func ask(_ method: String, _ path: String) throws {
        let reply = try send(method, path)
        try say(reply.body, terminator: "")
        try AdminTarget.end(reply)
    }

    /// Asks; refuses an answer to whoever has not the right token, with advice.
    func send(_ method: String, _ path: String) throws -> AdminClient.Reply {
        let reply = try AdminClient.request(try address(), method, path, token: token)
        try refuse(reply)
        return reply
    }

    /// Ends the command where the process refused: 2 for what a person can mend, 1 for the rest.
    static func end(_ reply: AdminClient.Reply) throws {
        switch reply.status {
        case 200: return
        case 400..<500: throw ExitCode(2)
        default: throw ExitCode(1)
        }
    }

    /// A text as it must stand in a query (RFC 3986 §3.4).
    static func encoded(_ text: String) -> String {
        text.utf8.map { byte -> String in
            if ASCII.isAlpha(byte) || ASCII.isDigit(byte) || [0x2d, 0x2e, 0x5f].contains(byte) {
                return String(Unicode.Scalar(byte))
            }
            let digits = String(byte, radix: 16)
            return "%" + (digits.count == 1 ? "0" : "") + digits
        }.joined()
    }
}
