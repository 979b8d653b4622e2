import Platform

/// The options of `sluice run`.
public struct ServerOptions: Sendable {
    public var configPath: String
    public var watches = false
    /// 0: as the file says.
    public var workers = 0
    /// The seed of all draws; `nil`: random.
    public var seed: UInt64?
    /// The programs that rollouts may run; `nil`: none.
    public var programs: ProgramDirectory?

    public init(configPath: String) { self.configPath = configPath }
}

/// The version of this program.
public enum SluiceVersion {
    public static let text = "0.1.0"
}
