import Base
import Configuration
import Platform
import TLS
import Upstream

/// Everything that a configuration needs for TLS, read from its PEM files: who we are, whom we
/// trust. Made anew at each reload; connections keep the context that they began with.
package struct TLSFiles: Sendable {
    package struct Upstream: Sendable {
        package let context: TLSContext
        /// `sni:` of the configuration.
        package let sni: String?
    }

    /// A file of certificates, for the metrics.
    package struct Expiry: Sendable {
        /// One of them is empty.
        package var listener = ""
        package var service = ""
        package var file: String
        /// `certificate`, `clientCA` or `ca`.
        package var use: String
        /// Seconds since 1970.
        package var notAfter: Int64
    }

    package private(set) var listeners: [String: TLSContext] = [:]
    package private(set) var services: [String: Upstream] = [:]
    /// Changes with anything about a service's TLS.
    package private(set) var transports: [String: UInt64] = [:]
    package private(set) var expiries: [Expiry] = []

    static let bytesMax = 1 << 20

    private let base: String
    private var problems: TLSProblems

    /// The problems that keep the configuration from being used.
    var errors: [ConfigurationError] { problems.errors }
    var warnings: [ConfigurationError] { problems.warnings }

    private init(base: String, _ problems: TLSProblems) {
        self.base = base
        self.problems = problems
    }

    /// Reads every file; what is wrong is in `errors`, and then the contexts are of no use.
    ///
    /// - Parameters:
    ///   - reading: of the document, for places.
    ///   - base: the configuration file's path, which relative names are beside of.
    static func load(
        _ document: Document, _ reading: ConfigurationReading, base: String, tickets: TLSTickets?
    ) -> TLSFiles {
        var files = TLSFiles(base: base, TLSProblems(reading, now: SystemClock.wall()))
        for listener in document.listeners {
            guard let tls = listener.tls else { continue }
            files.listeners[listener.name] = files.server(tls, listener, tickets)
        }
        for service in document.services {
            guard let tls = service.tls else { continue }
            files.client(tls, service)
        }
        files.problems.close()
        return files
    }

    // MARK: Contexts

    private mutating func server(
        _ tls: Document.ListenerTLS, _ listener: Document.Listener, _ tickets: TLSTickets?
    ) -> TLSContext? {
        let path = ["listeners", listener.name, "tls"]
        let spoken = listener.protocol
        let protocols: TLSProtocols =
            spoken == .http1 ? .http1 : spoken == .http2 ? .http2 : .both
        let isModern = tls.isModern
        let made = make(path) { () throws(TLSFailure) in
            let keys: TLSTickets
            if let tickets { keys = tickets } else { keys = try TLSTickets() }
            return try TLSContext.server(protocols, isModern: isModern, tickets: keys)
        }
        guard let context = made else { return nil }
        var places = tls.certificates.indices.map { path + ["certificates", "\($0)"] }
        if problems.has(path + ["certificate"]) {
            places = [path] + places.dropLast()
        }
        for (pair, place) in zip(tls.certificates, places) {
            add(
                pair, to: context, place,
                Expiry(listener: listener.name, file: "", use: "", notAfter: 0))
        }
        if let name = tls.clientCA {
            var expiry = Expiry(file: name, use: "clientCA", notAfter: 0)
            expiry.listener = listener.name
            _ = trust(name, context, path + ["clientCA"], expiry)
            context.askClients(required: tls.requiresClientCertificate)
        }
        return context
    }

    private mutating func client(_ tls: Document.UpstreamTLS, _ service: Document.Service) {
        let path = ["services", service.name, "tls"]
        var hash = XXH64.hash(
            Array("\(tls)\(service.protocol)".utf8), seed: 0)
        let protocols: TLSProtocols =
            service.protocol == .http1 ? .http1 : service.protocol == .http2 ? .http2 : .both
        let verifies = tls.verifies
        let made = make(path) { () throws(TLSFailure) in
            try TLSContext.client(protocols, verifies: verifies)
        }
        guard let context = made else { return }
        if let name = tls.ca {
            var expiry = Expiry(file: name, use: "ca", notAfter: 0)
            expiry.service = service.name
            hash = XXH64.hash(trust(name, context, path + ["ca"], expiry), seed: hash)
        } else if verifies {
            _ = make(path) { () throws(TLSFailure) in try context.trustSystem() }
        }
        if let pair = tls.certificate {
            var expiry = Expiry(file: "", use: "", notAfter: 0)
            expiry.service = service.name
            hash = XXH64.hash(add(pair, to: context, path, expiry), seed: hash)
        }
        services[service.name] = Upstream(context: context, sni: tls.sni)
        transports[service.name] = hash
    }

    /// - Returns: the certificate's bytes.
    @discardableResult
    private mutating func add(
        _ pair: Document.CertificatePaths, to context: TLSContext, _ path: [String],
        _ owner: Expiry
    ) -> [UInt8] {
        let place = path + ["certificate"], keyPlace = path + ["key"]
        let chain = read(pair.certificate, place), key = read(pair.key, keyPlace)
        guard let chain, let key else { return [] }
        if !chain.hasCertificate, chain.hasKey, key.hasCertificate, !key.hasKey {
            problems.swapped(pair.certificate, pair.key, place)
            return []
        }
        let isChain = problems.expectsCertificates(chain, pair.certificate, place)
        let isKey = problems.expectsKey(key, pair.key, keyPlace)
        guard isChain, isKey else { return [] }
        do throws(TLSFailure) {
            try context.add(TLSCertificate(chain: chain.bytes, key: key.bytes))
        } catch {
            problems.refused(
                chain, key, (pair.certificate, pair.key), error.reason, keyPlace)
            return []
        }
        // A chain ends with its first certificate that does.
        let first = chain.certificates.min { $0.notAfter < $1.notAfter }
        if let first {
            problems.judge(first, pair.certificate, place)
            var expiry = owner
            expiry.file = pair.certificate
            expiry.use = "certificate"
            expiry.notAfter = first.notAfter
            expiries.append(expiry)
        }
        return chain.bytes
    }

    /// - Returns: the authorities' bytes.
    private mutating func trust(
        _ name: String, _ context: TLSContext, _ path: [String], _ owner: Expiry
    ) -> [UInt8] {
        guard let authorities = read(name, path),
            problems.expectsCertificates(authorities, name, path)
        else { return [] }
        do throws(TLSFailure) {
            try context.trust(authorities.bytes)
        } catch {
            problems.fail(
                "\(name) is not taken: OpenSSL says \"\(error.reason)\"", path,
                "openssl x509 -in \(name) -noout must be silent")
            return []
        }
        // Of several authorities the last to end keeps the file of use.
        if let last = authorities.certificates.max(by: { $0.notAfter < $1.notAfter }) {
            problems.judge(last, name, path)
            var expiry = owner
            expiry.notAfter = last.notAfter
            expiries.append(expiry)
        }
        return authorities.bytes
    }

    // MARK: Files

    private mutating func read(_ name: String, _ path: [String]) -> PEMFile? {
        let full = ConfigurationFile.resolve(name, beside: base)
        do throws(SystemError) {
            return PEMFile(try Files.readPlain(full, bytesMax: TLSFiles.bytesMax))
        } catch {
            problems.unreadable(full, error, path)
            return nil
        }
    }

    private mutating func make<Value>(
        _ path: [String], _ body: () throws(TLSFailure) -> Value
    ) -> Value? {
        do throws(TLSFailure) {
            return try body()
        } catch {
            problems.fail("TLS cannot be set up: \(error.reason)", path, "")
            return nil
        }
    }
}
