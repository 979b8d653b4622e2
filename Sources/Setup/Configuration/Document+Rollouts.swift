import Rollout
import YAML

extension Document {
    /// Where weights are kept that were put over this file's, and the plans of rollouts.
    public struct Rollouts: Sendable, Equatable {
        /// As the file has it; relative names are beside the file.
        public var directory: String
        /// As the file has it; relative names are in the directory.
        public var overlay: String
        /// In the file's order; names are unique.
        public var plans: [RolloutPlan] = []
        /// Time zones that the windows of plans name, UTC left out; each must be known.
        @Aside public var zones: [Place] = []
        /// Files that plans name, as the file has them; each must be readable.
        @Aside public var files: [Place] = []

        public init(directory: String, overlay: String = "overlay.json") {
            self.directory = directory
            self.overlay = overlay
        }
    }

    /// A text of the file, and the place where it stands.
    public struct Place: Sendable {
        public var text: String
        public var mark: YAMLMark
    }

    /// A permission of a token of the admin endpoint.
    public enum AdminRight: String, Sendable, CaseIterable {
        case read, pause, approve, abort
        /// Everything, the other rights included.
        case all
    }

    /// A token that may do some things only.
    public struct AdminToken: Sendable, Equatable {
        public var name: String
        /// The name of the token's file, as the configuration has it.
        public var path: String
        /// At least one, in the order of `AdminRight`.
        public var rights: [AdminRight]

        public func may(_ right: AdminRight) -> Bool {
            rights.contains(.all) || rights.contains(right)
        }
    }

    /// The plans of a service, in the file's order.
    public func plans(ofService name: String) -> [RolloutPlan] {
        (rollouts?.plans ?? []).filter { $0.service == name }
    }
}
