import Base
import Files
import Foundation
import Platform
import Rollout
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
        try JournalFile.discard(directory: place.path, plan: "shop")
        var found = try JournalDirectoryTests.open(place)
        #expect(found.fold.sequence == 0)
        #expect(found.file.append(JournalFileTests.records, goesBack: false) == nil)
        #expect(FileManager.default.fileExists(atPath: journal + ".bad"))
    }
}
