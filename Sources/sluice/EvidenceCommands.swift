import ArgumentParser
import Server

struct EvidenceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evidence",
        abstract: "Show what each version of a running process did, side by side.",
        discussion: """
            EXAMPLES
              sluice evidence -c sluice.yaml
              sluice evidence --admin 127.0.0.1:15000 --json

            Only requests count whose version was drawn or is their session's; the stable version
            has a star. Times are of answers that are no errors, to their first byte.
            """)

    @OptionGroup var target: AdminTarget
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        let path = json ? "/evidence" : "/evidence?format=text"
        let reply = try AdminClient.request(
            try target.address(), "GET", path, token: target.token)
        try target.refuse(reply)
        try say(reply.body, terminator: "")
        if reply.status != 200 { throw ExitCode(1) }
    }
}

struct GuardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "guard", abstract: "Let versions in again that the guard has taken out.",
        discussion: """
            EXAMPLES
              sluice guard reset shop -c sluice.yaml
              sluice guard reset shop --admin 127.0.0.1:15000
            """,
        subcommands: [Reset.self])

    struct Reset: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "reset",
            abstract: "Let the versions of a service in again, with sums that begin anew.",
            discussion: "EXAMPLES\n  sluice guard reset shop -c sluice.yaml")

        @Argument(help: "The service.", completion: .list([])) var service: String
        @OptionGroup var target: AdminTarget

        func run() throws {
            let allowed = service.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
                    UInt8(ascii: "."):
                    return true
                default: return false
                }
            }
            guard allowed, !service.isEmpty else {
                throw ValidationError("\"\(service)\" is no name of a service")
            }
            let reply = try AdminClient.request(
                try target.address(), "POST", "/guard/reset?service=\(service)",
                token: target.token)
            try target.refuse(reply)
            try say(reply.body, terminator: "")
            if reply.status != 200 { throw ExitCode(1) }
        }
    }
}
