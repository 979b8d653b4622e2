import Base
import Foundation
import Judge
import Testing

@Suite struct AbsoluteGuardTests {
    @Test("the absolute sum follows the real one, within its fixed point and from below")
    func model() {
        var random = PRNG(seed: 6)
        for rate in [0.01, 0.1, 0.3, 0.9] {
            var sum = AbsoluteSum(), real = 0.0, goods = 0
            for i in 1...3_000 {
                if Double(random.next() >> 11) / 0x1p53 < rate {
                    sum = sum.afterError(goods: goods)
                    real += log(0.5 / 0.05)
                    #expect(sum.value <= real && real - sum.value < 2e-7 * Double(i))
                } else {
                    goods += 1
                    real = max(0, real + log(0.5 / 0.95))
                }
                if real > 100 { break }
            }
        }
    }

    @Test("the stable version is well when it has far fewer errors than the canary's rate means")
    func stable() {
        func isWell(_ canary: (Int, Int), _ stable: (Int, Int)) -> Bool {
            AbsoluteSum.isStableWell(canary: canary, stable: stable)
        }
        #expect(isWell((400, 400), (20, 5)))
        #expect(!isWell((400, 400), (20, 6)), "a quarter at most")
        #expect(!isWell((400, 400), (19, 0)), "too few to tell")
        #expect(!isWell((400, 200), (39, 0)))
        #expect(isWell((400, 200), (40, 0)))
        #expect(!isWell((0, 0), (40, 0)))
    }

    @Test("seven errors in a row are a trip, and good answers between put it off")
    func row() {
        var sum = AbsoluteSum()
        for i in 1...7 {
            sum = sum.afterError(goods: 0)
            #expect(sum.isReached == (i == 7))
        }
        sum = sum.now(goods: 4)
        #expect(!sum.isReached)
        #expect(sum.now(goods: 100).value == 0)
        // What another worker has seen already is not taken twice.
        #expect(sum.now(goods: 0) == sum)
    }
}
