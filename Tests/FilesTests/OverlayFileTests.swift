import Base
import Configuration
import Files
import Foundation
import Platform
import Support
import Testing

/// The overlay's file: old or new after whatever happens, and nothing believed that is not this
/// user's.
@Suite struct OverlayFileTests {
    static let fixed = OverlayFile(
        Document.Rollouts(directory: "state"), beside: "/etc/sluice/sluice.yaml")

    @discardableResult static func write(
        _ overlay: Overlay, in disk: SimulatedDisk
    ) throws(DirectoryProblem) -> Bool {
        var hasReplaced = false
        try fixed.write(overlay, in: disk, hasReplaced: &hasReplaced)
        return hasReplaced
    }

    /// Overlays of several lengths.
    static func overlay(_ number: Int) -> Overlay {
        var overlay = Overlay()
        for i in 0..<(number % 4 + 1) {
            overlay.services["s\(i)"] = Overlay.Entry(
                shares: [.init("v1", 100 - number % 50), .init("v2", number % 50)],
                rollout: number % 2 == 0 ? .init(name: "r", epoch: number + 1) : nil,
                fingerprint: "00000000000000\(10 + number % 10)")
        }
        if number % 3 == 1 {
            overlay.trips = [
                Overlay.Trip(
                    service: "s0", version: "v2", number: number, .init(), atMicros: 77)
            ]
        }
        return overlay
    }

    @Test("names without a slash in front are beside the configuration, and in the directory")
    func places() {
        func path(_ directory: String, _ overlay: String = "overlay.json") -> String {
            OverlayFile(
                Document.Rollouts(directory: directory, overlay: overlay), beside: "/e/s.yaml"
            ).path
        }
        #expect(path("state") == "/e/state/overlay.json")
        #expect(path("/var/lib/sluice/") == "/var/lib/sluice/overlay.json")
        #expect(path("/var", "o.json") == "/var/o.json")
        #expect(path("/var", "/run/o.json") == "/run/o.json")
        #expect(path("/") == "/overlay.json")
    }

    @Test(
        "kill -9 between any two steps leaves the old overlay or the new one, and the next write is good"
    )
    func killed() throws {
        let old = OverlayFileTests.overlay(3), new = OverlayFileTests.overlay(10)
        var step = 0
        var seen: Set<Bool> = []
        while true {
            let disk = SimulatedDisk()
            disk.writeMax = 50
            try OverlayFileTests.write(old, in: disk)
            disk.killedBefore = disk.steps.count + step
            let isDone = (try? OverlayFileTests.write(new, in: disk)) != nil
            disk.restartProcess()
            let found = OverlayFileTests.fixed.read(in: disk)
            #expect(found == .overlay(old) || found == .overlay(new), "step \(step)")
            seen.insert(found == .overlay(new))
            if isDone { #expect(found == .overlay(new)) }
            // Whatever a killed process left behind is no obstacle.
            let next = OverlayFileTests.overlay(7)
            try OverlayFileTests.write(next, in: disk)
            #expect(OverlayFileTests.fixed.read(in: disk) == .overlay(next))
            #expect(disk.contents.map(\.name) == ["overlay.json"])
            if isDone { break }
            step += 1
        }
        #expect(step > 10 && seen.count == 2)
    }

    @Test(
        "a power cut at any step leaves the old overlay or the new one; one that was confirmed stays"
    )
    func powerCut() throws {
        let old = OverlayFileTests.overlay(3), new = OverlayFileTests.overlay(10)
        var hadNew = false
        for seed in 1...600 as ClosedRange<UInt64> {
            var random = PRNG(seed: seed)
            let disk = SimulatedDisk()
            disk.writeMax = 50
            try OverlayFileTests.write(old, in: disk)
            disk.killedBefore = disk.steps.count + Int(random.below(32))
            let isDone = (try? OverlayFileTests.write(new, in: disk)) != nil
            disk.crash(&random)
            let found = OverlayFileTests.fixed.read(in: disk)
            #expect(found == .overlay(new) || found == .overlay(old) && !isDone, "seed \(seed)")
            hadNew = hadNew || found == .overlay(new) && !isDone
        }
        #expect(hadNew, "the draws reach an unconfirmed rename too")
    }

    @Test("a disk that fails at any step leaves the old overlay or the new one and says so")
    func failing() throws {
        let old = OverlayFileTests.overlay(3), new = OverlayFileTests.overlay(10)
        for step in 0..<16 {
            for code in [5, 28, 30] as [Int32] {
                let disk = SimulatedDisk()
                disk.writeMax = 200
                try OverlayFileTests.write(old, in: disk)
                let count = disk.steps.count
                disk.failures = [count + step: code]
                var failure: DirectoryProblem?
                var hasReplaced = false
                do throws(DirectoryProblem) {
                    try OverlayFileTests.fixed.write(new, in: disk, hasReplaced: &hasReplaced)
                } catch {
                    failure = error
                }
                let hasFailed = disk.steps.count > count + step
                disk.restartProcess()
                let found = OverlayFileTests.fixed.read(in: disk)
                if failure == nil {
                    #expect(found == .overlay(new))
                } else {
                    #expect(hasFailed)
                    #expect(failure == .system(SystemError("simulated", code: code)))
                    #expect(
                        found == .overlay(old) || hasReplaced && found == .overlay(new),
                        "step \(step)")
                }
            }
        }
    }

    @Test("a full disk keeps the old overlay, whatever fits of the new one")
    func full() throws {
        let old = OverlayFileTests.overlay(3), new = OverlayFileTests.overlay(10)
        for room in 0..<400 {
            let disk = SimulatedDisk()
            try OverlayFileTests.write(old, in: disk)
            disk.room = room
            do throws(DirectoryProblem) {
                try OverlayFileTests.write(new, in: disk)
                #expect(room >= OverlayCodec.text(new).utf8.count)
            } catch {
                #expect(error == .system(SystemError("write", code: 28)))
                #expect(OverlayFileTests.fixed.read(in: disk) == .overlay(old), "\(room)")
                #expect(disk.contents.map(\.name) == ["overlay.json"])
            }
        }
    }

    @Test("on a full disk going back uses the room that is kept, going forward does not")
    func reserve() throws {
        let old = OverlayFileTests.overlay(3), new = OverlayFileTests.overlay(10)
        for goesBack in [false, true] {
            let disk = SimulatedDisk()
            var hasReplaced = false
            try OverlayFileTests.fixed.write(
                old, in: disk, usesReserve: goesBack, hasReplaced: &hasReplaced)
            #expect(disk.contents.map(\.name) == [".overlay.json.reserve", "overlay.json"])
            #expect(disk.contents[0].bytes.count == 65_536)
            disk.room = 0
            do throws(DirectoryProblem) {
                try OverlayFileTests.fixed.write(
                    new, in: disk, usesReserve: goesBack, hasReplaced: &hasReplaced)
                #expect(goesBack)
                // There is no room for another reserve, and a part of one would be no use.
                #expect(disk.contents.map(\.name) == ["overlay.json"])
                #expect(OverlayFileTests.fixed.read(in: disk) == .overlay(new))
            } catch {
                #expect(!goesBack)
                #expect(disk.contents.count == 2)
                #expect(OverlayFileTests.fixed.read(in: disk) == .overlay(old))
            }
            // There is room again: the next write keeps some.
            disk.room = 1 << 20
            try OverlayFileTests.fixed.write(
                old, in: disk, usesReserve: false, hasReplaced: &hasReplaced)
            #expect(disk.contents.map(\.name) == [".overlay.json.reserve", "overlay.json"])
        }
    }

    @Test("a file that is not believed gets another name before it is replaced")
    func aside() throws {
        let disk = SimulatedDisk()
        let file = try disk.create("overlay.json")
        let bytes = Array("{ \"format\": 7 }".utf8)
        _ = try disk.write(file, bytes.span)
        guard case .bad(let text) = OverlayFileTests.fixed.read(in: disk) else {
            Issue.record("it was believed")
            return
        }
        #expect(text.hasPrefix("/etc/sluice/state/overlay.json:1:13: this Sluice reads format 1"))
        try OverlayFileTests.write(OverlayFileTests.overlay(1), in: disk)
        #expect(disk.contents.map(\.name) == ["overlay.json", "overlay.json.bad"])
        #expect(disk.contents[1].bytes == bytes)
    }

    // MARK: A real disk

    /// A directory of its own, removed at the end.
    func withFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "sluice-overlay-" + UUID().uuidString
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    func place(_ folder: String) -> OverlayFile {
        OverlayFile(Document.Rollouts(directory: folder + "/state"), beside: "/x/y.yaml")
    }

    /// The last nine bits of a file's mode.
    func mode(_ path: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        return (attributes[.posixPermissions] as? Int ?? 0) & 0o777
    }

    @Test("a real file is made with its directory, for this user alone, and read back")
    func real() throws {
        try withFolder { folder in
            let place = place(folder)
            #expect(place.read() == .overlay(Overlay()), "no directory is no overlay")
            for number in [1, 6, 3] {
                #expect(place.write(OverlayFileTests.overlay(number), usesReserve: false) == nil)
                #expect(place.read() == .overlay(OverlayFileTests.overlay(number)))
            }
            #expect(try mode(place.path) == 0o600)
            #expect(try mode(folder + "/state") == 0o700)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/state")
            #expect(names.sorted() == [".overlay.json.reserve", "overlay.json"])
            #expect(try mode(folder + "/state/.overlay.json.reserve") == 0o600)
        }
    }

    @Test(
        "files and directories that others could have made are not believed, and the text says what to do"
    )
    func hostile() throws {
        try withFolder { folder in
            let place = place(folder), files = FileManager.default
            func refusal(_ words: String) {
                guard case .bad(let text) = place.read() else {
                    Issue.record("believed: \(words)")
                    return
                }
                #expect(text.contains(words), "\(text)")
            }
            #expect(place.write(OverlayFileTests.overlay(1), usesReserve: false) == nil)
            try files.setAttributes([.posixPermissions: 0o644], ofItemAtPath: place.path)
            refusal("run chmod 600 \(place.path)")
            try files.setAttributes([.posixPermissions: 0o600], ofItemAtPath: place.path)
            try files.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder + "/state")
            refusal("run chmod 700 \(folder)/state")
            try files.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder + "/state")
            try files.moveItem(atPath: place.path, toPath: folder + "/elsewhere")
            try files.createSymbolicLink(
                atPath: place.path, withDestinationPath: folder + "/elsewhere")
            refusal("is a symbolic link")
            try files.removeItem(atPath: place.path)
            #expect(mkfifo(place.path, 0o600) == 0)
            refusal("no plain file")
            try files.removeItem(atPath: place.path)
            try files.createDirectory(
                atPath: place.path, withIntermediateDirectories: false,
                attributes: [.posixPermissions: 0o700])
            refusal("no plain file")
            try files.removeItem(atPath: place.path)
            let large = Data(repeating: 0x20, count: OverlayCodec.bytesMax + 1)
            _ = files.createFile(
                atPath: place.path, contents: large, attributes: [.posixPermissions: 0o600])
            refusal("more than 4 MiB")
            try files.removeItem(atPath: folder + "/state")
            try files.createSymbolicLink(
                atPath: folder + "/state", withDestinationPath: folder + "/other")
            refusal("is a symbolic link")
            try files.removeItem(atPath: folder + "/state")
            _ = files.createFile(atPath: folder + "/state", contents: nil)
            refusal("cannot be read")
        }
    }

    @Test("what hinders a write is said with the place and what to do")
    func obstacles() throws {
        try withFolder { folder in
            let far = OverlayFile(
                Document.Rollouts(directory: folder + "/a/b"), beside: "/x/y.yaml")
            let text = try #require(far.write(Overlay(), usesReserve: false)).text
            #expect(text.contains("mkdir -p \(folder)/a"), "\(text)")
            let place = place(folder)
            let open = try OpenDirectory.make(folder + "/state")
            try open.lock()
            let busy = try #require(place.write(Overlay(), usesReserve: false)).text
            #expect(busy.contains("another process is writing in \(folder)/state"))
        }
    }
}
