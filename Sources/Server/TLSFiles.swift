import Base
import Configuration
import Platform
import TLS
import Telemetry
import Upstream

/// Everything that a configuration needs for TLS, read from its PEM files: who we are, whom we
/// trust. Made anew at each reload; connections keep the context that they began with.
struct TLSFiles: Sendable {
    struct Upstream: Sendable {
        let context: TLSContext
        /// `sni:` of the configuration.
        let sni: String?
    }

    /// Why a file is not taken; the text names it.
    struct Rejection: Error { let text: String }

    private(set) var listeners: [String: TLSContext] = [:]
    private(set) var services: [String: Upstream] = [:]
    /// Changes with anything about a service's TLS.
    private(set) var transports: [String: UInt64] = [:]
    static let bytesMax = 1 << 20

    private let base: String

    private init(base: String) { self.base = base }

    /// - Parameter base: the configuration file's path, which relative names are beside of.
    static func load(
        _ document: Document, base: String, tickets: TLSTickets?
    ) throws(Rejection) -> TLSFiles {
        var files = TLSFiles(base: base)
        for listener in document.listeners {
            guard let tls = listener.tls else { continue }
            let path = "listeners.\(listener.name).tls"
            let keys: TLSTickets
            if let tickets {
                keys = tickets
            } else {
                keys = try files.make(path) { () throws(TLSFailure) in try TLSTickets() }
            }
            files.listeners[listener.name] = try files.server(
                tls, listener.protocol, path, keys)
        }
        for service in document.services {
            guard let tls = service.tls else { continue }
            try files.client(tls, service)
        }
        return files
    }

    // MARK: Contexts

    private mutating func server(
        _ tls: Document.ListenerTLS, _ spoken: Document.ListenerProtocol, _ path: String,
        _ tickets: TLSTickets
    ) throws(Rejection) -> TLSContext {
        let protocols: TLSProtocols =
            spoken == .http1 ? .http1 : spoken == .http2 ? .http2 : .both
        let isModern = tls.isModern
        let context = try make(path) { () throws(TLSFailure) in
            try TLSContext.server(protocols, isModern: isModern, tickets: tickets)
        }
        for pair in tls.certificates { try add(pair, to: context, path) }
        if let name = tls.clientCA {
            let authorities = try read(name, "\(path).clientCA")
            try take("\(path).clientCA", name) { () throws(TLSFailure) in
                try context.trust(authorities)
            }
            context.askClients(required: tls.requiresClientCertificate)
        }
        return context
    }

    private mutating func client(
        _ tls: Document.UpstreamTLS, _ service: Document.Service
    ) throws(Rejection) {
        let path = "services.\(service.name).tls"
        var hash = XXH64.hash(
            Array("\(tls)\(service.protocol)".utf8), seed: 0)
        let protocols: TLSProtocols =
            service.protocol == .http1 ? .http1 : service.protocol == .http2 ? .http2 : .both
        let verifies = tls.verifies
        let context = try make(path) { () throws(TLSFailure) in
            try TLSContext.client(protocols, verifies: verifies)
        }
        if let name = tls.ca {
            let authorities = try read(name, "\(path).ca")
            hash = XXH64.hash(authorities, seed: hash)
            try take("\(path).ca", name) { () throws(TLSFailure) in
                try context.trust(authorities)
            }
        } else if verifies {
            try take("\(path).ca", "the system's authorities") { () throws(TLSFailure) in
                try context.trustSystem()
            }
        }
        if let pair = tls.certificate {
            hash = XXH64.hash(try add(pair, to: context, path), seed: hash)
        }
        services[service.name] = Upstream(context: context, sni: tls.sni)
        transports[service.name] = hash
    }

    /// - Returns: the certificate's bytes.
    @discardableResult
    private mutating func add(
        _ pair: Document.CertificatePaths, to context: TLSContext, _ path: String
    ) throws(Rejection) -> [UInt8] {
        let chain = try read(pair.certificate, "\(path).certificate")
        let key = try read(pair.key, "\(path).key")
        try take(path, "\(pair.certificate) with \(pair.key)") { () throws(TLSFailure) in
            try context.add(TLSCertificate(chain: chain, key: key))
        }
        return chain
    }

    // MARK: Files

    private mutating func read(_ name: String, _ path: String) throws(Rejection) -> [UInt8] {
        let full = ConfigurationFile.resolve(name, beside: base)
        do throws(SystemError) {
            return try Files.read(full, bytesMax: TLSFiles.bytesMax)
        } catch {
            throw Rejection(text: "\(path): \(full) cannot be read: \(error.message)")
        }
    }

    private func take(
        _ path: String, _ file: String, _ body: () throws(TLSFailure) -> Void
    ) throws(Rejection) {
        do throws(TLSFailure) {
            try body()
        } catch {
            throw Rejection(text: "\(path): \(file) is not taken: OpenSSL says \"\(error.reason)\"")
        }
    }

    private func make<Value>(
        _ path: String, _ body: () throws(TLSFailure) -> Value
    ) throws(Rejection) -> Value {
        do throws(TLSFailure) {
            return try body()
        } catch {
            throw Rejection(text: "\(path): \(error.reason)")
        }
    }
}

/// The contexts in force, by the numbers that workers know: of listeners and of clusters.
final class TLSDirectory: Sendable {
    struct Client: Sendable {
        let context: TLSContext
        /// What is asked for and verified.
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
