import ArgumentParser
import Base
import Configuration
import Origin
import Platform

struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo", abstract: "Run an origin that echoes what it receives as JSON.",
        discussion: """
            EXAMPLES
              sluice demo --name v1 --address 127.0.0.1:9081
              sluice demo --name v2 --address 127.0.0.1:9082 --error-rate 20% --latency 50ms

            WHILE IT RUNS
              It is made bad, and good again, at its own address (not through a proxy):
              curl -X POST '127.0.0.1:9082/demo/errors?share=20%'       a fifth of all answers
              curl -X POST '127.0.0.1:9082/demo/errors?share=20%&status=503&path=/cart'
              curl -X POST '127.0.0.1:9082/demo/latency?add=200ms'      all answers later
              curl -X POST '127.0.0.1:9082/demo/latency?add=2s&share=1%&path=/cart'
              curl -X POST 127.0.0.1:9082/demo/reset                    good again
              curl 127.0.0.1:9082/demo                                  how it is now
            """)

    @Option(help: "The version it says it is.", completion: .list(["v1", "v2"])) var name = "v1"
    @Option(help: "Where it listens.", completion: .list(["127.0.0.1:9081", "127.0.0.1:9082"]))
    var address = "127.0.0.1:9081"
    @Option(
        help: "Share of requests answered with 500, such as 20%.",
        completion: .list(["0%", "20%", "100%"]))
    var errorRate = "0%"
    @Option(help: "Added to every answer, such as 50ms.", completion: .list(["0s", "50ms", "1s"]))
    var latency = "0s"
    @Option(
        help: "Seed of the errors' draws, for tests and replays; random otherwise.",
        completion: .list([]))
    var seed: UInt64?

    func run() throws {
        guard let where_ = Units.address(address) else {
            throw ValidationError(
                "--address is \"\(address)\", expected 127.0.0.1:9081 or unix:/path"
                    + Advice.address(address))
        }
        guard let share = Units.share(errorRate) else {
            throw ValidationError(
                "--error-rate is \"\(errorRate)\", expected a percentage such as 20%"
                    + Advice.share(errorRate))
        }
        guard let wait = Units.duration(latency) else {
            throw ValidationError(
                "--latency is \"\(latency)\", expected a duration such as 50ms"
                    + Advice.duration(latency))
        }
        let notations = OriginNotations(
            share: { Units.share($0).map { Double($0) / 10_000 } }, duration: { Units.duration($0) }
        )
        var options = Origin.Options(
            version: name, address: where_, seed: seed ?? Files.randomSeed(), notations: notations)
        options.misbehaviour.errors.share = Double(share) / 10_000
        options.misbehaviour.delay.add = wait
        let failure: SystemError
        do throws(SystemError) {
            var origin = try Origin(options)
            let text = where_.family == .unix ? address : origin.address.description
            Files.write(2, all: "sluice demo: \(name) listens on \(text)\n")
            origin.run()
            return
        } catch {
            failure = error
        }
        Files.write(2, all: "sluice demo: \(address): \(failure.message)\n")
        throw ExitCode(1)
    }
}
