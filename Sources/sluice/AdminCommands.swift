import ArgumentParser
import Base
import Configuration
import Files
import Platform
import Server

/// Which running process a command talks to.
struct AdminTarget: ParsableArguments {
    @Option(
        name: [.short, .long], help: "The process's configuration file, for its admin address.",
        completion: .file(extensions: yamlExtensions))
    var config: String?
    @Option(
        help: "The admin address itself, such as 127.0.0.1:15000.",
        completion: .list(["127.0.0.1:15000"]))
    var admin: String?
    @Option(
        name: .customLong("token"),
        help: "The admin token; otherwise that of the file that -c names.",
        completion: .list([]))
    var givenToken: String?

    /// The token to show: the one that was given, else that of the configuration's token file.
    var token: String? {
        if let givenToken { return givenToken }
        guard let config else { return nil }
        return try? ConfigurationFile.load(config).get().adminToken
    }

    /// The advice for a process that does not take the token.
    var tokenAdvice: String {
        if let givenToken {
            if (try? Files.readPlain(givenToken, bytesMax: 1 << 20)) != nil {
                return "--token is the secret itself, and \"\(givenToken)\" is the name of a file: "
                    + "write --token \"$(cat \(givenToken))\", or name the configuration with -c"
            }
            return "the process has another token than --token says; it is the first line of the "
                + "file that admin.token names, as the process has read it last"
        }
        if token != nil {
            return "the process has another token than the file now: the file was changed and is "
                + "not loaded yet, or is another process's; give the old one with --token, or send "
                + "the process SIGHUP"
        }
        return "the process asks for a token: give it with --token, or name its file with -c"
    }

    func address() throws -> Address {
        if let admin {
            guard let address = Units.address(admin) else {
                throw ValidationError(
                    "--admin is \"\(admin)\", expected 127.0.0.1:15000" + Advice.address(admin))
            }
            return address
        }
        guard let config else {
            throw ValidationError(
                "which process is meant? Give its file, -c sluice.yaml, or its admin address, "
                    + "--admin 127.0.0.1:15000")
        }
        // Each of several addresses is the same endpoint's.
        guard let address = try loaded(config).document.admin.first else {
            throw ValidationError("\(config) has no admin address")
        }
        if address.family != .unix, address.port == 0 {
            throw ValidationError(
                "the admin address of \(config) has port 0, for which the kernel chose another; "
                    + "the process's line \"sluice started\" has it: give it with --admin")
        }
        return address
    }
}

extension AdminTarget {
    /// Ends the command where the process wants another token than it was shown.
    func refuse(_ reply: AdminClient.Reply) throws {
        guard reply.status == 401 else { return }
        Files.write(2, all: "sluice: \(tokenAdvice)\n")
        throw ExitCode(1)
    }
}

struct ReloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload", abstract: "Make a running process read its file again, and wait.",
        discussion: """
            EXAMPLES
              sluice reload -c sluice.yaml
              sluice reload --admin 127.0.0.1:15000 --timeout 30s

            Exit code 0 when every worker uses the new file, 2 when it was rejected, 1 when the \
            outcome is not known, as after the time that --timeout says: the reload goes on then.
            """)

    @OptionGroup var target: AdminTarget
    @Option(
        help: "How long to wait for the outcome.", completion: .list(["30s", "2m", "6m"]))
    var timeout = "6m"
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        guard let limit = Units.duration(timeout), limit > .zero else {
            throw ValidationError(
                "--timeout is \"\(timeout)\", expected a duration such as 2m"
                    + Advice.duration(timeout))
        }
        let address = try target.address()
        let reply: AdminClient.Reply
        do throws(AdminClient.Failure) {
            reply = try AdminClient.request(
                address, "POST", "/reload", token: target.token, limit: limit)
        } catch {
            guard error.isUnanswered else { throw error }
            throw AdminClient.Failure(
                description: "the outcome of the reload is not known after \(timeout): "
                    + ReloadCommand.progress(address, target.token))
        }
        try target.refuse(reply)
        try say(reply.body, terminator: "")
        if reply.status == 409 { throw ExitCode(2) }
        if reply.status != 200 { throw ExitCode(1) }
    }

    /// How far the reload is, and how its end will be known.
    private static func progress(_ address: Address, _ token: String?) -> String {
        let ending =
            "its outcome will be in the process's log, and in GET /reload of its admin address"
        guard
            let reply = try? AdminClient.request(
                address, "GET", "/reload", token: token, limit: .seconds(5))
        else {
            return "the process does not say how far it is, and the reload may be going on; "
                + ending
        }
        // Our own page: the value is one of the words that the process has for its steps.
        let name = "\"underWay\": \""
        guard let line = reply.body.split(separator: "\n").first(where: { $0.contains(name) }),
            let step = line.split(separator: "\"").dropFirst(3).first.map(String.init)
        else { return "it has just ended; GET /reload of its admin address says how" }
        return "the process is \(step). The reload goes on; \(ending)"
    }
}

struct DrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Make a running process finish and exit, and wait for it.",
        discussion: """
            EXAMPLES
              sluice drain -c sluice.yaml
              sluice drain --admin 127.0.0.1:15000 --timeout 60s
            """)

    @OptionGroup var target: AdminTarget
    @Option(
        help: "How long to wait for the end.", completion: .list(["10s", "30s", "1m", "2m"]))
    var timeout = "2m"

    func run() throws {
        guard let limit = Units.duration(timeout) else {
            throw ValidationError(
                "--timeout is \"\(timeout)\", expected a duration such as 2m"
                    + Advice.duration(timeout))
        }
        let address = try target.address()
        let token = target.token
        let reply = try AdminClient.request(address, "POST", "/drain", token: token)
        try target.refuse(reply)
        guard reply.status == 200 else {
            try say(reply.body, terminator: "")
            throw ExitCode(1)
        }
        let deadline = SystemClock.now() + limit
        while SystemClock.now() < deadline {
            SystemClock.pause(.milliseconds(50))
            if (try? AdminClient.request(address, "GET", "/drain", token: token)) == nil {
                try say("drained")
                return
            }
        }
        try say("sluice: the process still runs after \(timeout)")
        throw ExitCode(1)
    }
}
