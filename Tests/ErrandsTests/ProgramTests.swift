import Base
import Errands
import Foundation
import Platform
import Rollout
import Testing

/// A directory of programs that is gone after the test.
final class Programs {
    let folder: URL
    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        chmod(folder.path, 0o755)
    }
    deinit { try? FileManager.default.removeItem(at: folder) }

    @discardableResult func add(
        _ name: String, _ script: String, mode: mode_t = 0o755
    ) throws -> String {
        let path = folder.appendingPathComponent(name).path
        try ("#!/bin/sh\n" + script + "\n").write(toFile: path, atomically: false, encoding: .utf8)
        chmod(path, mode)
        return path
    }

    func desk() throws -> Desk {
        let directory = try ProgramDirectory(folder.path)
        return try Desk { $0.programs = directory }
    }
}

/// One behind the other: a test changes what the whole process does with SIGCHLD.
@Suite(.serialized) struct ProgramTests {
    private func call(
        _ name: String, _ arguments: [String] = [], limit: Duration = .seconds(30)
    ) -> OutgoingCall {
        var program = CallProgram(name: name)
        program.arguments = arguments
        program.environment = [.init(name: "SLUICE_ROLLOUT_CANARY", value: "v2")]
        return OutgoingCall(.program(program), limit: limit)
    }

    @Test(
        "a program's exit code is its word: 0 passes, 75 asks to be asked again, all else fails",
        arguments: [
            ("exit 0", ProgramEnd.Word.passes), ("exit 75", .askAgain), ("exit 1", .fails),
            ("exit 255", .fails), ("kill -9 $$", .fails),
        ])
    func words(_ script: String, _ word: ProgramEnd.Word) async throws {
        let programs = try Programs()
        try programs.add("check.sh", script)
        let end = try await programs.desk().outcome(call("check.sh")).end
        #expect(end?.word == word)
    }

    @Test("arguments arrive as they are, and no shell reads them")
    func arguments() async throws {
        let programs = try Programs()
        try programs.add("say", "for a in \"$@\"; do echo \"[$a]\"; done")
        let outcome = try await programs.desk().outcome(
            call("say", ["v2; rm -rf /", "$(id)", "a b", ""]))
        #expect(outcome.text == "[v2; rm -rf /]\n[$(id)]\n[a b]\n[]\n")
    }

    @Test("the environment is PATH and what the rollout gives; input is empty; the directory is /")
    func surroundings() async throws {
        let programs = try Programs()
        setenv("SLUICE_TEST_SECRET", "1", 1)
        try FileManager.default.copyItem(
            atPath: "/usr/bin/env", toPath: programs.folder.appendingPathComponent("env").path)
        let desk = try programs.desk()
        let lines = await desk.outcome(call("env")).text.split(separator: "\n").sorted()
        #expect(lines.count == 2 && lines[0].hasPrefix("PATH=/"))
        #expect(lines[1] == "SLUICE_ROLLOUT_CANARY=v2")
        // One that is not closed by itself when a program begins.
        let leak = dup(0)
        defer { close(leak) }
        try programs.add("input", "wc -c; pwd; ls /proc/self/fd")
        // The fourth descriptor is the directory that ls reads.
        let said = await desk.outcome(call("input")).text.split(separator: "\n")
        #expect(said == ["0", "/", "0", "1", "2", "3"])
    }

    @Test("megabytes of output are read and dropped, but for the last 64 KiB")
    func output() async throws {
        let programs = try Programs()
        try programs.add(
            "loud", "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end >&2; exit 3")
        let end = try await programs.desk().outcome(call("loud")).end
        #expect(end?.outputCount == 3_000_009 && end?.output.count == ProgramEnd.outputBytesMax)
        #expect(end?.text == "exit code 3: the end")
    }

    @Test("a program that is given up is killed with all that it started")
    func hangs() async throws {
        let programs = try Programs()
        let pipe = programs.folder.appendingPathComponent("alive").path
        mkfifo(pipe, 0o600)
        // The children hold the pipe open for as long as they live.
        try programs.add(
            "hang", "exec 3>\(pipe); (sleep 1000 & sleep 1000) & echo x >&3; sleep 1000")
        let reader = open(pipe, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        let desk = try programs.desk()
        let ticket = desk.give(call("hang"))
        #expect(wait(reader) == "x")
        desk.errands.cancel(ticket)
        #expect(await desk.report(ticket).outcome.failure?.kind == .cancelled)
        // Nobody writes any more: the end of the pipe comes.
        #expect(wait(reader) == "")
    }

    @Test("a program ends when its time is over, and the failure says so")
    func timesOut() async throws {
        let programs = try Programs()
        try programs.add("hang", "sleep 1000")
        let failure = try await programs.desk().outcome(call("hang", limit: .milliseconds(300)))
            .failure
        #expect(failure?.kind == .timedOut && failure?.message.hasSuffix("within 300 ms") == true)
    }

    /// Waits for a byte of a pipe and reads what is there, or the end.
    private func wait(_ reader: Int32) -> String? {
        var entry = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 60_000) == 1 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 64)
        let n = read(reader, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, n)).filter { $0 > 0x20 }, as: UTF8.self)
    }

    @Test("a child that a program leaves behind neither delays its end nor lives on")
    func leftovers() async throws {
        let programs = try Programs()
        let pipe = programs.folder.appendingPathComponent("alive").path
        mkfifo(pipe, 0o600)
        try programs.add("leave", "exec 3>\(pipe); sleep 1000 & echo x >&3; echo done")
        let reader = open(pipe, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        let outcome = try await programs.desk().outcome(call("leave"))
        #expect(outcome.end?.word == .passes && outcome.text == "done\n")
        #expect(wait(reader) == "x")
        #expect(wait(reader) == "")
    }

    @Test("the end of the process takes programs along")
    func stop() async throws {
        let programs = try Programs()
        try programs.add("hang", "sleep 1000")
        let desk = try programs.desk()
        let ticket = desk.give(call("hang"))
        await desk.until { $0.first?.stage == .running }
        desk.errands.stop()
        #expect(await desk.report(ticket).outcome.failure?.kind == .cancelled)
    }

    @Test("ends are read where the parent process has ignored SIGCHLD")
    func ignoredSignal() async throws {
        let programs = try Programs()
        try programs.add("check", "exit 75")
        signal(SIGCHLD, SIG_IGN)
        defer { signal(SIGCHLD, SIG_DFL) }
        #expect(try await programs.desk().outcome(call("check")).end?.word == .askAgain)
    }

    @Test("without --allow-commands no program is run, and the message names the option")
    func notAllowed() async throws {
        let failure = try await Desk().outcome(call("check.sh")).failure
        #expect(failure?.kind == .program)
        #expect(failure?.message.contains("--allow-commands DIR") == true)
    }

    @Test("a program that others could have changed is not run, and the message says what to do")
    func refused() async throws {
        let programs = try Programs()
        let desk = try programs.desk()
        try programs.add("writable", "exit 0", mode: 0o775)
        try programs.add("plain", "exit 0", mode: 0o644)
        try FileManager.default.createSymbolicLink(
            atPath: programs.folder.appendingPathComponent("link").path,
            withDestinationPath: "/bin/true")
        let path = programs.folder.appendingPathComponent("none").path
        _ = FileManager.default.createFile(
            atPath: path, contents: Data("\u{7f}nonsense".utf8),
            attributes: [.posixPermissions: 0o755])
        for (name, words) in [
            ("writable", "chmod go-w"), ("plain", "chmod +x"), ("link", "outside of the directory"),
            ("missing", "there is no program missing"), ("../true", "without a slash"),
            ("-x", "no name of a program"), ("none", "Exec format error"),
        ] {
            let failure = await desk.outcome(call(name)).failure
            #expect(failure?.kind == .program, "\(name)")
            #expect(failure?.message.contains(words) == true, "\(failure?.message ?? name)")
        }
    }

    @Test("links within the directory are followed, as those of a mounted ConfigMap")
    func links() async throws {
        let programs = try Programs()
        let data = programs.folder.appendingPathComponent("..data")
        try FileManager.default.createDirectory(at: data, withIntermediateDirectories: false)
        chmod(data.path, 0o755)
        try programs.add("..data/check", "exit 0")
        try FileManager.default.createSymbolicLink(
            atPath: programs.folder.appendingPathComponent("check").path,
            withDestinationPath: "..data/check")
        let desk = try programs.desk()
        #expect(await desk.outcome(call("check")).end?.word == .passes)
        chmod(data.path, 0o777)
        #expect(await desk.outcome(call("check")).failure?.message.contains("..data") == true)
    }

    @Test("a directory that others may write is refused")
    func directories() throws {
        let programs = try Programs()
        chmod(programs.folder.path, 0o777)
        #expect(throws: ProgramProblem.self) { try ProgramDirectory(programs.folder.path) }
        chmod(programs.folder.path, 0o755)
        let inner = programs.folder.appendingPathComponent("open/inner")
        try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
        chmod(inner.deletingLastPathComponent().path, 0o777)
        #expect(throws: ProgramProblem.self) { try ProgramDirectory(inner.path) }
        chmod(inner.deletingLastPathComponent().path, 0o1777)
        #expect(try ProgramDirectory(inner.path).path.hasSuffix("open/inner"))
        #expect(throws: ProgramProblem.self) { try ProgramDirectory("/nowhere") }
        #expect(throws: ProgramProblem.self) { try ProgramDirectory("/etc/hostname") }
    }
}
