import ArgumentParser
import Files
import Platform

/// Computes the verdicts of a journal anew, without a process.
struct RolloutReplay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Compute the verdicts of a journal anew, and say where they would differ.",
        discussion: """
            EXAMPLES
              sluice rollout replay /var/lib/sluice/shop/journal

            Needs no process, and changes nothing. A journal has the judge's whole state with
            each look that had consequences, and every ten seconds at least once: from these
            counters the evidence, its limit and the verdict are computed anew. Trips of the guard
            and metrics from elsewhere are facts of their own and are believed.

            EXIT CODES
              0 every verdict is what its counters lead to · 1 some would differ · 2 the file is
              no journal, or a record of it is broken: the message names it
            """)

    @Argument(help: "The journal, or journal.1 beside it.", completion: .file()) var file: String

    func run() throws {
        let archive = JournalArchive.replay(file: file)
        for line in archive.replayLines { try say(line) }
        if let problem = archive.problem {
            Files.write(
                2,
                all: "sluice: \(problem); what stands in front of it is computed above\n")
            throw ExitCode(2)
        }
        if archive.replayDiffers { throw ExitCode(1) }
    }
}
