import ArgumentParser
import Base
import Configuration
import Files
import Platform
import Server

struct WeightsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "weights",
        abstract: "Show a running process's weights, or put others over the file's.",
        discussion: """
            EXAMPLES
              sluice weights -c sluice.yaml
              sluice weights set shop v1=80% v2=20% -c sluice.yaml
              sluice weights follow shop -c sluice.yaml
              sluice weights export shop -c sluice.yaml

            Weights that are set stay over reloads and restarts; they are kept in the
            directory that rollouts: names in the file, which itself stays as it is.
            """,
        subcommands: [
            WeightsShow.self, WeightsSet.self, WeightsFollow.self, WeightsExport.self,
        ], defaultSubcommand: WeightsShow.self)
}

struct WeightsShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Print the weights, and where each comes from.",
        discussion: """
            EXAMPLES
              sluice weights -c sluice.yaml
              sluice weights --admin 127.0.0.1:15000 --json
            """)

    @OptionGroup var target: AdminTarget
    @Flag(help: "Print JSON.") var json = false

    func run() throws { try target.ask("GET", json ? "/weights" : "/weights?format=text") }
}

struct WeightsSet: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Put weights over the file's, and wait until they hold.",
        discussion: """
            EXAMPLES
              sluice weights set shop v1=80% v2=20% -c sluice.yaml
              sluice weights set shop v1=100% --admin 127.0.0.1:15000

            The service and every split: of its routes get these shares; versions that
            are not named get none. Exit code 0 when every worker uses them, 2 when they
            are refused, 1 when they could not be written. A version that the guard has
            taken out is not raised, unless --reset-guard lets it in again.
            """)

    @OptionGroup var target: AdminTarget
    @Flag(help: "Also where a version that gains has no endpoints.") var force = false
    @Flag(help: "Let versions in again that the guard has taken out.") var resetGuard = false
    @Argument(help: "The service.", completion: .list([])) var service: String
    @Argument(
        help: "Weights, VERSION=SHARE each: percents that total 100%, or whole numbers.",
        completion: .list([]))
    var weights: [String]

    func validate() throws {
        if service.contains("=") {
            throw ValidationError(
                "the service is missing; it stands in front of the weights: sluice weights set "
                    + "SERVICE \(service)")
        }
        if let word = weights.first(where: { !$0.contains("=") }) {
            throw ValidationError(
                "\"\(word)\" is no weight, expected VERSION=SHARE such as \(word)=20%")
        }
    }

    func run() throws {
        let query = weights.map { "&weight=" + AdminTarget.encoded($0) }.joined()
        try target.ask(
            "POST",
            "/weights?service=\(AdminTarget.encoded(service))\(query)\(force ? "&force=1" : "")"
                + (resetGuard ? "&resetGuard=1" : ""))
    }
}

struct WeightsFollow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "follow", abstract: "Take the file's weights again.",
        discussion: "EXAMPLES\n  sluice weights follow shop -c sluice.yaml")

    @OptionGroup var target: AdminTarget
    @Flag(help: "Also where a version that gains has no endpoints.") var force = false
    @Flag(help: "Let versions in again that the guard has taken out.") var resetGuard = false
    @Argument(help: "The service.", completion: .list([])) var service: String

    func run() throws {
        try target.ask(
            "POST",
            "/weights/follow?service=\(AdminTarget.encoded(service))\(force ? "&force=1" : "")"
                + (resetGuard ? "&resetGuard=1" : ""))
    }
}

struct WeightsExport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Print the lines of the file that say what is in force.",
        discussion: """
            EXAMPLES
              sluice weights export shop -c sluice.yaml
              sluice weights export shop -c sluice.yaml --write

            Once the file says the same, the overlay of the service ends by itself at
            the next reload, and nobody moves. --write changes the numbers in the file
            that -c names, and no other byte; exit code 2 when that cannot be done.
            """)

    @OptionGroup var target: AdminTarget
    @Flag(help: "Put the numbers into the file that -c names.") var write = false
    @Argument(help: "The service.", completion: .list([])) var service: String

    func validate() throws {
        if write, target.config == nil {
            throw ValidationError("--write changes a file: name it with -c")
        }
    }

    func run() throws {
        let path = "/weights/export?service=\(AdminTarget.encoded(service))"
        guard write, let config = target.config else { return try target.ask("GET", path) }
        let reply = try AdminClient.request(
            try target.address(), "GET", path, token: target.token)
        try target.refuse(reply)
        guard reply.status == 200 else {
            try say(reply.body, terminator: "")
            throw ExitCode(2)
        }
        let old = try read(config)
        let new: [UInt8]
        switch WeightEdit.apply(reply.body, to: old) {
        case .success(let text): new = text
        case .failure(let problem): throw refusal(config, problem.text, reply.body)
        }
        if new == old { return try say("\(config) says these weights already") }
        do throws(Files.ReplacementProblem) {
            try Files.replace(config, old, with: new)
        } catch {
            throw refusal(config, text(error), reply.body)
        }
        try say("\(config) says the weights in force now; reload, and the overlay of it ends")
    }

    private func read(_ config: String) throws -> [UInt8] {
        do throws(SystemError) {
            return try Files.readPlain(config, bytesMax: ConfigurationFile.bytesMax)
        } catch {
            throw refusal(config, error.message, nil)
        }
    }

    private func text(_ problem: Files.ReplacementProblem) -> String {
        switch problem {
        case .system(let error): error.message
        case .isLink: "it is a symbolic link; name the file that it leads to"
        case .hasChanged: "somebody has changed it just now; ask again"
        }
    }

    /// The file is as it was; says why, and what to write by hand.
    private func refusal(_ config: String, _ why: String, _ lines: String?) -> ExitCode {
        let rest = lines.map { "; write these lines by hand:\n\($0)" } ?? "\n"
        Files.write(2, all: "sluice: \(config) is not changed: \(why)\(rest)")
        return ExitCode(2)
    }
}
