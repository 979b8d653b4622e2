import Base
import Configuration
import Resolver

/// The words of the process log about names: a line for each change of state, not for each attempt.
enum Names {
    /// The names of a document, each with the shortest refresh that is asked for.
    static func wanted(_ document: Document) -> [Resolver.Name: Duration] {
        var names: [Resolver.Name: Duration] = [:]
        for (key, refresh) in document.names {
            let name = Resolver.Name(host: key.name, port: key.port)
            names[name] = min(names[name] ?? .unlimited, refresh)
        }
        return names
    }

    /// - Parameter documents: the one that comes into force, if one does, before the one in force.
    static func report(
        _ changes: Resolver.Changes, _ documents: [Document],
        _ answers: [Resolver.Name: Resolver.Answer], _ log: ProcessLog
    ) {
        for (name, why) in changes.failed.sorted(by: { $0.key.text < $1.key.text }) {
            let held = answers[name]?.addresses.count ?? 0
            log.warning(
                "a name does not resolve",
                [
                    ("name", name.text), ("why", why),
                    ("versions", versions(name, documents).joined(separator: ",")),
                    (
                        "use",
                        held > 0
                            ? "the last good answer" : "none: these versions have no endpoints"
                    ),
                ])
        }
        for name in changes.recovered.sorted(by: { $0.text < $1.text }) {
            log.info(
                "a name resolves again",
                [
                    ("name", name.text),
                    ("versions", versions(name, documents).joined(separator: ",")),
                ])
        }
    }

    /// Whose endpoints a name's addresses are, as `service/version`, by the first document that
    /// has the name.
    private static func versions(_ name: Resolver.Name, _ documents: [Document]) -> [String] {
        for document in documents {
            let found = document.services.flatMap { service in
                service.versions.compactMap { version in
                    version.dns?.name == name.host && version.dns?.port == name.port
                        ? "\(service.name)/\(version.name)" : nil
                }
            }
            if !found.isEmpty { return found }
        }
        return []
    }
}
