import Base
import Foundation

extension PRNG {
    /// True with a chance of 0...1.
    public mutating func chance(_ chance: Double) -> Bool {
        Double(next() >> 11) < chance * 9_007_199_254_740_992
    }

    /// A number of the standard normal law (Box and Muller).
    public mutating func normal() -> Double {
        let u = (Double(next() >> 11) + 0.5) / 9_007_199_254_740_992
        let v = Double(next() >> 11) / 9_007_199_254_740_992
        return (-2 * log(u)).squareRoot() * cos(2 * .pi * v)
    }
}
