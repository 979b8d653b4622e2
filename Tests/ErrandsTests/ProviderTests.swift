import Base
import Errands
import Foundation
import Platform
import Rollout
import Testing

/// Metrics and hooks through real connections: providers that lie, and receivers that verify.
@Suite struct ProviderTests {
    private func reading(
        _ answer: String, desk: Desk? = nil
    ) async throws -> MetricReading {
        let server = try ScriptedServer.answering(answer)
        let metric = RolloutPlan.Metric(
            name: "m", source: .prometheus(url: server.url, query: "up{v=\"{{canary}}\"}"))
        var values = CallValues()
        try values.set("canary", "v2")
        let calls = MetricCalls(metric)
        let desk = try desk ?? Desk { $0.answerBytesMax = 10_000 }
        let call = try calls.call(for: .canary, values, limit: .seconds(20))
        return calls.reading(await desk.outcome(call), values)
    }

    private func json(_ body: String, status: String = "200 OK") -> String {
        "HTTP/1.1 \(status)\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private func vector(_ samples: String) -> String {
        json(#"{"status":"success","data":{"resultType":"vector","result":[\#(samples)]}}"#)
    }

    @Test("an honest Prometheus gives a value")
    func honest() async throws {
        let reading = try await reading(vector(#"{"metric":{},"value":[1,"0.5"]}"#))
        #expect(reading == .value(0.5))
    }

    @Test("whatever else a provider does is no value, and the reason names it")
    func lies() async throws {
        let one = #"{"metric":{},"value":[1,"1"]}"#
        for (answer, words) in [
            (vector(""), "empty"), (vector("\(one),\(one)"), "2 series"),
            (vector(#"{"metric":{},"value":[1,"NaN"]}"#), "NaN"),
            (json("<html>hello</html>"), "no JSON"),
            (json(String(repeating: "[", count: 9_000)), "32 levels"),
            (json(String(repeating: " ", count: 10_001)), "more than 10000 bytes"),
            (
                "HTTP/1.1 301 Moved\r\nlocation: http://x/\r\ncontent-length: 0\r\n\r\n",
                "not followed"
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\"", "91 more were announced"),
            (json("{}", status: "503 Busy"), "503"), ("garbage\r\n\r\n", "no proper HTTP"),
        ] {
            guard case .noValue(let why) = try await reading(answer) else {
                Issue.record("a value from \(answer.prefix(60))")
                continue
            }
            #expect(why.contains(words), "\(why)")
        }
    }

    /// A receiver in Python that is ended with the test.
    private final class Receiver {
        private let child: ChildProcess
        let port: UInt16

        init(_ script: String, key: String) throws {
            child = try ChildProcess.start(
                "/usr/bin/env", arguments: ["python3", script, key, "0"],
                environment: ["PATH=/usr/local/bin:/usr/bin:/bin"])
            var entry = pollfd(fd: child.output, events: Int16(POLLIN), revents: 0)
            #expect(poll(&entry, 1, 60_000) == 1)
            let line = String(
                decoding: ChildProcess.read(child.output, bytesMax: 100) ?? [], as: UTF8.self)
            port = try #require(UInt16(line.trimmingCharacters(in: .whitespacesAndNewlines)))
        }

        deinit {
            child.killAll()
            var entry = pollfd(fd: child.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&entry, 1, 60_000)
            _ = child.takeEnd()
            close(child.descriptor)
            close(child.output)
        }
    }

    @Test("the receiver of docs/rollouts-outside.md takes what is signed, and nothing else")
    func receiver() async throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let page = try String(
            contentsOf: root.appendingPathComponent("docs/rollouts-outside.md"), encoding: .utf8)
        let code = page.components(separatedBy: "```python\n")[1].components(separatedBy: "```")[0]
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        func file(_ name: String, _ text: String) throws -> String {
            let path = folder.appendingPathComponent(name).path
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            return path
        }
        let key = try file("key", "8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a\n")
        let other = try file("other", "00000000000000000000000000000000\n")
        let receiver = try Receiver(try file("receiver.py", code), key: key)
        let desk = try Desk()
        func status(_ secret: String?) async throws -> UInt16? {
            let hook = RolloutPlan.Hook(
                call: .webhook(
                    url: "http://127.0.0.1:\(receiver.port)/", secretFile: secret, format: .sluice))
            let message = HookMessage(
                rollout: "reviews-1", sequence: 1, event: .started,
                time: WallTime(microseconds: 0))
            var call = try HookCalls(hook).call(message, CallValues())
            call.limit = .seconds(30)
            return await desk.outcome(call).answer?.status
        }
        #expect(try await status(key) == 204)
        #expect(try await status(other) == 401)
        #expect(try await status(nil) == 401)
    }
}
