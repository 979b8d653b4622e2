import Base

/// The end of a call, whatever it was.
public enum CallOutcome: Sendable, Equatable {
    case answered(CallAnswer)
    case ended(ProgramEnd)
    case failed(CallFailure)
}

/// A whole answer of HTTP. Every byte is the server's word: hostile until it was read.
public struct CallAnswer: Sendable, Equatable {
    /// 200...999.
    public var status: UInt16
    /// At most the limit of the call, 1 MiB by default.
    public var body: [UInt8] = []
    /// The values of three fields, empty where they are missing; at most 256 bytes each.
    public var contentType = ""
    public var contentEncoding = ""
    public var location = ""

    public init(status: UInt16) { self.status = status }

    public var isSuccess: Bool { (200...299).contains(status) }

    /// Whether the server wants another URL to be asked. Nobody does: a redirect may lead to where
    /// the operator never meant a call to go.
    public var isRedirect: Bool { (300...399).contains(status) && status != 304 }

    /// Why the answer is no success, in words; `nil` when it is one.
    public var complaint: String? {
        if isSuccess { return nil }
        guard isRedirect, !location.isEmpty else { return "the answer's status is \(status)" }
        return "the answer is a redirect (\(status)) to \(CallText.shown(location)), and redirects "
            + "are not followed; give the URL that it leads to"
    }
}

/// The end of a program.
public struct ProgramEnd: Sendable, Equatable {
    public enum Cause: Sendable, Equatable {
        /// 0...255.
        case exit(Int32)
        case signal(Int32)
    }

    /// The program's word on what it was asked.
    public enum Word: Sendable, Equatable { case passes, askAgain, fails }

    public var cause: Cause
    /// The last bytes of what it printed, standard output and error together; at most 64 KiB.
    public var output: [UInt8] = []
    /// How many bytes it printed in all.
    public var outputCount = 0

    public static let outputBytesMax = 65_536
    /// EX_TEMPFAIL of sysexits.h.
    public static let askAgainCode: Int32 = 75

    public init(cause: Cause) { self.cause = cause }

    public var word: Word {
        switch cause {
        case .exit(0): return .passes
        case .exit(ProgramEnd.askAgainCode): return .askAgain
        case .exit, .signal: return .fails
        }
    }

    /// The end in words, with the last line that was printed.
    public var text: String {
        let last = output.split(separator: 0x0a).last { line in line.contains { $0 > 0x20 } }
        let said = last.map { ": " + CallText.shown(String(decoding: $0, as: UTF8.self)) } ?? ""
        switch cause {
        case .exit(let code): return "exit code \(code)\(said)"
        case .signal(let number): return "ended by signal \(number)\(said)"
        }
    }
}

/// A call that brought nothing, in which part of it, and why.
public struct CallFailure: Error, Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        /// The time was over.
        case timedOut
        /// The name has no address.
        case noAddress
        /// Every address of the name is one that must not be called.
        case forbidden
        /// Nobody took the connection.
        case notConnected
        /// TLS: not trusted, another name, nothing in common.
        case notSecure
        /// The connection broke before the answer was whole.
        case cut
        /// The answer is no HTTP/1.1.
        case notHTTP
        /// The answer has more bytes than the limit.
        case tooLarge
        /// A file of the call cannot be read: a header's value, a key, an authority.
        case file
        /// The program may not be run, or could not be started.
        case program
        /// Too many calls wait already.
        case busy
        /// Somebody took the call back, or the process ends.
        case cancelled
    }

    public var kind: Kind
    /// A sentence without a full stop that says what was done and why it failed.
    public var message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }
}

/// Texts of others in messages of ours.
public enum CallText {
    /// A text as a message shows it: one line, at most 200 characters, nothing that moves a
    /// terminal's cursor.
    public static func shown(_ text: String, most: Int = 200) -> String {
        var out = "", count = 0
        for scalar in text.unicodeScalars {
            if count == most { return out + "…" }
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate,
                .privateUse, .unassigned:
                out += " "
            default: out.unicodeScalars.append(scalar)
            }
            count += 1
        }
        return out
    }
}
