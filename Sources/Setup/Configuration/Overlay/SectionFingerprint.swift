import Base
import Routing

extension Document {
    /// The fingerprint of a service's section, 16 hex digits: of the names of its versions in
    /// order, their weights, the stable version and the `split:` of its routes, in a normal form.
    ///
    /// Nothing else has a part in it: endpoints, health checks and matches may change under an
    /// overlay. Versions without weight have none either, so that a version which is added with
    /// weight 0 leaves the fingerprint as it is; nor has the notation of weights, 95 % and 5 %
    /// being 19 to 1, nor the order of routes.
    public func fingerprint(ofService index: Int) -> String {
        let service = services[index]
        var text = Document.normalForm(service.versions.map(\.weight), service)
        text += "\n" + service.versions[service.stable].name
        for (name, split) in ownSplits(ofService: index).sorted(by: { $0.route < $1.route }) {
            text += "\n\(name)\n" + Document.normalForm(split, service)
        }
        return ConfigurationReading.hash(Array(text.utf8))
    }

    /// Names cannot contain the characters between them.
    private static func normalForm(_ weights: [Int], _ service: Service) -> String {
        guard let reduced = SplitWeights(weights) else { return "" }
        return zip(service.versions, reduced.weights).compactMap { version, weight in
            weight == 0 ? nil : "\(version.name)=\(weight)"
        }.joined(separator: " ")
    }

    /// The weights of routes that have some of their own, in the order of the routes.
    public func ownSplits(ofService index: Int) -> [(route: String, weights: [Int])] {
        routes.compactMap { route in
            guard case .forward(index, nil, let split?) = route.action else { return nil }
            return (route.name, split)
        }
    }
}
