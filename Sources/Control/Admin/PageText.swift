import Judge

/// Numbers and tables of the pages that people read in a terminal.
enum PageText {
    /// Rows below each other, each column as wide as its widest cell: the first begins at the left,
    /// the others end at the right.
    ///
    /// - Parameter rows: the first one has the titles; all have as many cells.
    static func table(_ rows: [[String]]) -> String {
        let widths = rows[0].indices.map { column in
            rows.map { $0[column].unicodeScalars.count }.max() ?? 0
        }
        return rows.map { row in
            let cells = row.enumerated().map { i, cell in
                let pad = String(repeating: " ", count: widths[i] - cell.unicodeScalars.count)
                return i == 0 ? cell + pad : pad + cell
            }
            return "  " + cells.joined(separator: "  ") + "\n"
        }.joined()
    }

    /// - Parameter share: 0...1.
    static func percent(_ share: Double) -> String { decimals(share * 100, 2) + " %" }

    /// A quantile of a histogram of `LatencyBuckets` in milliseconds; "-" without entries.
    static func time(_ histogram: [Int], _ share: Double) -> String {
        if histogram.allSatisfy({ $0 == 0 }) { return "-" }
        return decimals(LatencyBuckets.quantile(histogram, share) * 1_000, 1) + " ms"
    }

    /// A number that is not negative with so many decimals.
    static func decimals(_ value: Double, _ places: Int) -> String {
        guard value.isFinite, value < 1e12 else { return "\(value)" }
        var scale = 1
        for _ in 0..<places { scale *= 10 }
        let scaled = Int((value * Double(scale)).rounded())
        let fraction = String(scaled % scale)
        return "\(scaled / scale)."
            + String(repeating: "0", count: places - fraction.utf8.count) + fraction
    }
}
