/// Something that a fuzzer or a test found to be untrue.
public struct Finding: Error, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// States what must hold whatever the bytes are.
func demand(_ condition: Bool, _ message: @autoclosure () -> String) throws(Finding) {
    if !condition { throw Finding(message()) }
}

/// One way to show hostile bytes to the house, and what must hold whatever they are: no trap, no
/// reading that depends on how the bytes were cut, nothing written that reads differently.
///
/// Tests/Fixtures/fuzz has a folder for each: inputs to begin with, and those that found something.
public struct FuzzTarget: Sendable {
    public let name: String
    let body: @Sendable ([UInt8]) throws -> Void

    /// - Throws: what did not hold.
    public func run(_ bytes: [UInt8]) throws { try body(bytes) }

    public static let all: [FuzzTarget] = [
        FuzzTarget(name: "request-head", body: HeadTargets.request),
        FuzzTarget(name: "response-head", body: HeadTargets.response),
        FuzzTarget(name: "chunked", body: BodyTargets.chunked),
        FuzzTarget(name: "path", body: ValueTargets.path),
        FuzzTarget(name: "cookie", body: ValueTargets.cookie),
        FuzzTarget(name: "values", body: ValueTargets.values),
        FuzzTarget(name: "configuration", body: ConfigurationTargets.read),
        FuzzTarget(name: "overlay", body: ConfigurationTargets.overlay),
        FuzzTarget(name: "http2-client", body: HTTP2Targets.client),
        FuzzTarget(name: "http2-origin", body: HTTP2Targets.origin),
        FuzzTarget(name: "exchange", body: ExchangeTargets.plain),
        FuzzTarget(name: "exchange-http2", body: ExchangeTargets.http2Origin),
        FuzzTarget(name: "fields", body: ExchangeTargets.fields),
    ]

    public static func named(_ name: String) -> FuzzTarget? { all.first { $0.name == name } }
}
