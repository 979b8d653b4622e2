import Base
import Files
import Foundation
import Platform
import Rollout
import TLS
import Testing

/// Journals in a real directory: whose they are, and who writes.
@Suite struct JournalDirectoryTests {
    /// A directory that is gone behind the test.
    final class Place {
        let path: String
        init() throws {
            let url = FileManager.default.temporaryDirectory
                .appendingPathComponent("sluice-journal-\(UUID().uuidString)")
            path = url.path
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: false,
                attributes: [.posixPermissions: 0o700])
        }
        deinit { try? FileManager.default.removeItem(atPath: path) }

        func mode(_ name: String) throws -> Int? {
            let facts = try FileManager.default.attributesOfItem(atPath: path + "/" + name)
            return (facts[.posixPermissions] as? NSNumber)?.intValue
        }
    }

    static func open(
        _ place: Place, _ plan: String = "shop"
    ) throws(JournalProblem) -> JournalFile<OpenDirectory>.Found {
        try JournalFile.open(
            directory: place.path, plan: plan, digest: JournalFileTests.digest)
    }

    static func problem(_ place: Place, _ plan: String = "shop") -> JournalProblem? {
        do throws(JournalProblem) {
            _ = try open(place, plan)
            return nil
        } catch {
            return error
        }
    }

    @Test("the directory is of mode 0700, its files 0600, and records come back")
    func modes() throws {
        let place = try Place()
        do {
            var found = try JournalDirectoryTests.open(place)
            #expect(found.file.append(JournalFileTests.records, goesBack: false) == nil)
            #expect(found.file.path == place.path + "/shop/journal")
        }
        #expect(try place.mode("shop") == 0o700)
        #expect(try place.mode("shop/journal") == 0o600)
        #expect(try place.mode("shop/pid") == 0o600)
        let found = try JournalDirectoryTests.open(place)
        #expect(found.fold.sequence == JournalFileTests.records.count)
    }

    @Test("a second process stands by and is told who follows the rollouts")
    func second() throws {
        let place = try Place()
        do {
            let first = try JournalDirectoryTests.open(place)
            let problem = try #require(JournalDirectoryTests.problem(place))
            #expect(problem.isBusy)
            #expect(problem.text.contains("process \(OpenDirectory.processNumber) follows"))
            #expect(JournalDirectoryTests.problem(place, "other") == nil)
            _ = first
        }
        #expect(JournalDirectoryTests.problem(place) == nil)
    }

    @Test("links, files of others to read, and names that lead elsewhere are refused with advice")
    func refused() throws {
        let place = try Place()
        for name in ["..", ".hidden", "a/b", "", "-x", "ä", String(repeating: "n", count: 129)] {
            let text = JournalDirectoryTests.problem(place, name)?.text
            #expect(text?.contains("is no name of a plan") == true, "\(name)")
        }
        let files = FileManager.default
        let elsewhere = try Place()
        try files.createSymbolicLink(
            atPath: place.path + "/shop", withDestinationPath: elsewhere.path)
        #expect(JournalDirectoryTests.problem(place)?.text.contains("symbolic link") == true)
        try files.removeItem(atPath: place.path + "/shop")
        do {
            var found = try JournalDirectoryTests.open(place)
            #expect(found.file.append(JournalFileTests.records, goesBack: false) == nil)
        }
        let journal = place.path + "/shop/journal"
        try files.setAttributes([.posixPermissions: 0o644], ofItemAtPath: journal)
        #expect(JournalDirectoryTests.problem(place)?.text.contains("chmod go-rwx") == true)
        try files.moveItem(atPath: journal, toPath: place.path + "/shop/other")
        try files.createSymbolicLink(atPath: journal, withDestinationPath: "other")
        #expect(JournalDirectoryTests.problem(place)?.text.contains("symbolic link") == true)
    }

    @Test("a directory that others may read is named itself, and so is one that is missing")
    func directories() throws {
        let place = try Place()
        let files = FileManager.default
        try files.setAttributes([.posixPermissions: 0o777], ofItemAtPath: place.path)
        let open = try #require(JournalDirectoryTests.problem(place)).text
        #expect(open.hasSuffix("run chmod go-rwx \(place.path)"))
        try files.setAttributes([.posixPermissions: 0o700], ofItemAtPath: place.path)
        do throws(JournalProblem) {
            _ = try JournalFile.open(
                directory: place.path + "/no/state", plan: "shop", digest: JournalFileTests.digest)
            Issue.record("there is no such directory")
        } catch {
            #expect(error.text.hasSuffix("mkdir -p \(place.path)/no"))
            #expect(!error.text.contains("journal of a rollout"))
        }
    }

    @Test("a journal that is gone or shortened is said with the command that ends its rollout")
    func gone() throws {
        let place = try Place()
        let journal = place.path + "/shop/journal"
        var found = try JournalDirectoryTests.open(place)
        let records = JournalFileTests.records
        #expect(found.file.append(Array(records.prefix(2)), goesBack: false) == nil)
        try Data().write(to: URL(fileURLWithPath: journal))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: journal)
        for isThere in [true, false] {
            if !isThere { try FileManager.default.removeItem(atPath: journal) }
            let text = found.file.append(records, goesBack: false)
            #expect(text?.contains("`sluice rollout abort shop --discard-journal`") == true)
        }
    }

    @Test("a journal that somebody removed needs no putting aside")
    func nothingAside() throws {
        let place = try Place()
        #expect(try JournalFile.discard(directory: place.path, plan: "shop") == nil)
    }

    @Test("a journal that cannot be read is put aside, and another begins")
    func discarded() throws {
        let place = try Place()
        do {
            var found = try JournalDirectoryTests.open(place)
            #expect(found.file.append(JournalFileTests.records, goesBack: false) == nil)
        }
        let journal = place.path + "/shop/journal"
        var bytes = Array(try Data(contentsOf: URL(fileURLWithPath: journal)))
        bytes[bytes.count / 2] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: journal))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: journal)
        let text = try #require(JournalDirectoryTests.problem(place)).text
        #expect(text.contains("the checksum is wrong") && text.contains("--discard-journal"))
        #expect(try JournalFile.discard(directory: place.path, plan: "shop") == journal + ".bad")
        do {
            var found = try JournalDirectoryTests.open(place)
            #expect(found.fold.sequence == 0)
            #expect(found.file.append(JournalFileTests.records, goesBack: false) == nil)
        }
        // The first one stays, however often that happens.
        #expect(try JournalFile.discard(directory: place.path, plan: "shop") == journal + ".bad.2")
        #expect(try Array(Data(contentsOf: URL(fileURLWithPath: journal + ".bad"))) == bytes)
    }

    /// Records of a journal that was written with the chain of the real process.
    private func write(_ place: Place, _ records: ArraySlice<JournalRecord>) throws {
        let digest: @Sendable ([UInt8]) -> [UInt8] = { SHA256.hash($0) }
        var found = try JournalFile<OpenDirectory>.open(
            directory: place.path, plan: "shop", digest: digest)
        found.file.renewBytes = 1
        #expect(found.file.append(Array(records), goesBack: false) == nil)
    }

    @Test("an archive reads the file before the renewal and the one in use as one history")
    func archive() throws {
        let place = try Place()
        let records = JournalFileTests.records(turns: 256)
        let last = try #require(
            records.lastIndex { if case .snapshot = $0.body { true } else { false } })
        let snapshot = records[last]
        try write(place, records[...last])
        let journal = place.path + "/shop/journal"
        #expect(FileManager.default.fileExists(atPath: journal + ".1"))
        let archive = JournalArchive.read(directory: place.path, plan: "shop")
        #expect(archive.problem == nil && archive.torn == 0)
        #expect(archive.story.recordCount == snapshot.sequence && archive.story.firstSequence == 1)
        #expect(archive.story.lines.contains { $0.text.contains("started by anna") })

        // Another file in front of the one in use is no part of its history.
        let old = URL(fileURLWithPath: journal + ".1")
        let bytes = Array(try Data(contentsOf: old))
        let cut = try #require(bytes.dropLast().lastIndex(of: 0x0a))
        try Data(bytes[...cut]).write(to: old)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: old.path)
        let other = JournalArchive.read(directory: place.path, plan: "shop")
        #expect(other.problem?.contains("does not go on where") == true)
    }

    @Test("an archive of no journal has no records, and one of a broken file names the record")
    func archiveOfNothing() throws {
        let place = try Place()
        let none = JournalArchive.read(directory: place.path, plan: "shop")
        #expect(none.problem == nil && none.story.recordCount == 0)
        #expect(JournalArchive.read(directory: place.path, plan: "../x").problem != nil)
        try write(place, JournalFileTests.records[...])
        let journal = URL(fileURLWithPath: place.path + "/shop/journal")
        var bytes = Array(try Data(contentsOf: journal))
        let line = try #require(bytes.firstIndex(of: 0x0a))
        bytes[line + 20] ^= 1
        try Data(bytes).write(to: journal)
        let problem = JournalArchive.replay(file: journal.path).problem
        #expect(problem?.contains(":2: behind record 1: the checksum is wrong") == true)
    }
}
