import Base
import Testing

import HTTP2

@Suite struct StreamTableTests {
    @Test("a table finds what a dictionary finds, whatever comes and goes", arguments: 1..<20)
    func model(_ seed: UInt64) {
        var random = PRNG(seed: seed)
        var table = StreamTable()
        var model: [Int32: StreamSlot] = [:]
        for step in 0..<5_000 {
            let id = Int32(random.below(400)) * 2 + 1
            if model[id] == nil, random.below(2) == 0 {
                let slot = StreamSlot(index: UInt32(step), generation: 1)
                table.insert(id, slot)
                model[id] = slot
            } else {
                table.remove(id)
                model[id] = nil
            }
            #expect(table.count == model.count)
            let probe = Int32(random.below(400)) * 2 + 1
            #expect(table.slot(probe) == model[probe] ?? .none)
        }
        for (id, slot) in model { #expect(table.slot(id) == slot) }
    }
}
