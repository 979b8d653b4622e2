import Base
import Configuration
import Files
import TLS
import Telemetry

/// The contexts in force, by the numbers that workers know: of listeners and of clusters.
final class TLSDirectory: Sendable {
    struct Client: Sendable {
        let context: TLSContext
        /// The name that is asked for and verified.
        let name: String
    }

    let servers: [TLSContext?]
    let clients: [Client?]
    /// The listeners' numbers, by their sockets. In force together with the contexts: a socket that
    /// gets another name, or TLS, gets both at once.
    let listeners: [Int32: Int]

    /// - Parameters:
    ///   - listeners: the listeners' numbers, by their sockets.
    ///   - previous: has the contexts of listeners that go: clients that wait in their queues are
    ///     still served.
    init(
        _ document: Document, _ files: TLSFiles, _ registry: SharedRegistry,
        listeners: [Int32: Int], previous: TLSDirectory = .none
    ) {
        self.listeners = listeners
        var servers: [TLSContext?] = []
        for listener in document.listeners {
            guard let context = files.listeners[listener.name] else { continue }
            let number = registry.metrics.listener(listener.name)
            while servers.count <= number { servers.append(nil) }
            servers[number] = context
        }
        let own = Set(document.listeners.map { registry.metrics.listener($0.name) })
        for number in Set(listeners.values).subtracting(own) {
            guard let context = previous.server(number) else { continue }
            while servers.count <= number { servers.append(nil) }
            servers[number] = context
        }
        var clients: [Client?] = []
        for service in document.services {
            guard let upstream = files.services[service.name] else { continue }
            for version in service.versions {
                let name = upstream.sni ?? version.dns?.name ?? service.name
                // Copies of requests have connections of their own.
                for isMirror in [false, true] {
                    let number = registry.metrics.cluster(
                        service: service.name, version: version.name, isMirror: isMirror)
                    while clients.count <= number { clients.append(nil) }
                    clients[number] = Client(context: upstream.context, name: name)
                }
            }
        }
        self.servers = servers
        self.clients = clients
    }

    static let none = TLSDirectory()

    private init() {
        servers = []
        clients = []
        listeners = [:]
    }

    func server(_ listener: Int) -> TLSContext? {
        listener < servers.count ? servers[listener] : nil
    }

    func client(_ cluster: Int) -> Client? { cluster < clients.count ? clients[cluster] : nil }
}
