import Base
import Foundation
import Fuzzing
import Testing

/// Inputs that fuzzing found, and seeds that are mutated a little: the targets of scripts/fuzz in
/// every run of the tests.
@Suite(.serialized) struct FuzzingTests {
    static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures/fuzz")

    /// Inputs of a target: those in its folder, by name.
    static func corpus(_ target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
        let folder = fixtures.appendingPathComponent(target.name)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        return try names.map { name in
            (name, Array(try Data(contentsOf: folder.appendingPathComponent(name))))
        }
    }

    @Test("each input that was found holds what it must", arguments: FuzzTarget.all.map(\.name))
    func corpora(name: String) throws {
        let target = try #require(FuzzTarget.named(name))
        let inputs = try FuzzingTests.corpus(target)
        #expect(!inputs.isEmpty)
        for input in inputs {
            #expect(throws: Never.self, "\(name)/\(input.name)") { try target.run(input.bytes) }
        }
    }

    @Test("seeds hold it however they are broken", arguments: FuzzTarget.all.map(\.name))
    func mutations(name: String) throws {
        let target = try #require(FuzzTarget.named(name))
        let seeds = try FuzzingTests.corpus(target).map(\.bytes)
        var random = PRNG(seed: 1)
        for round in 0..<300 {
            var bytes = seeds[Int(random.below(UInt64(seeds.count)))]
            for _ in 0..<random.below(4) {
                let at = Int(random.below(UInt64(bytes.count) + 1))
                switch random.below(5) {
                case 0 where at < bytes.count: bytes[at] ^= UInt8(1 << random.below(8))
                case 1 where at < bytes.count: bytes.remove(at: at)
                case 2: bytes.insert(UInt8(random.below(256)), at: at)
                case 3:
                    let other = seeds[Int(random.below(UInt64(seeds.count)))]
                    let from = Int(random.below(UInt64(other.count) + 1))
                    bytes.insert(contentsOf: other[from...].prefix(40), at: at)
                default: bytes.removeLast(min(bytes.count - at, 10))
                }
            }
            #expect(throws: Never.self, "\(name), round \(round): \(bytes)") {
                try target.run(bytes)
            }
        }
    }
}
