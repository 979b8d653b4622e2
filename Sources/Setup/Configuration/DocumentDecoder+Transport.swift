import Base
import HTTP2
import Upstream
import YAML

extension DocumentDecoder {
    // MARK: TLS

    mutating func listenerTLS(_ node: YAMLNode) -> Document.ListenerTLS {
        var certificates: [Document.CertificatePaths] = []
        if let first = certificate(node, of: "tls") { certificates.append(first) }
        for element in node["certificates"]?.elements ?? [] {
            if let next = certificate(element, of: "certificates") { certificates.append(next) }
        }
        // A half of a pair has been said already.
        let isSilent =
            node["certificate"] == nil && node["key"] == nil
            && (node["certificates"]?.elements ?? []).isEmpty
        if certificates.isEmpty, isSilent {
            fail(
                "the listener's tls has no certificate", node.start,
                hint: "add certificate: tls.crt and key: tls.key, with the names of your files")
        }
        if node["clientCertificate"] != nil, node["clientCA"] == nil {
            fail(
                "clientCertificate without clientCA", node.start,
                hint: "add clientCA: FILE, who may have signed it, or take clientCertificate out")
        }
        return Document.ListenerTLS(
            certificates: certificates, clientCA: node["clientCA"]?.text,
            requiresClientCertificate: node["clientCertificate"]?.text != "optional",
            isModern: node["minVersion"]?.text == "1.3")
    }

    mutating func upstreamTLS(_ node: YAMLNode) -> Document.UpstreamTLS {
        let verifies = node["verify"]?.text != "off"
        if !verifies {
            warn(
                "verify: off believes any certificate: whoever can answer at an endpoint's address "
                    + "is taken for it", (node["verify"] ?? node).start,
                hint: "name the authority instead, ca: FILE")
        }
        return Document.UpstreamTLS(
            ca: node["ca"]?.text, sni: node["sni"]?.text, verifies: verifies,
            certificate: certificate(node, of: "tls"))
    }

    private mutating func certificate(
        _ node: YAMLNode, of path: String
    ) -> Document.CertificatePaths? {
        switch (node["certificate"]?.text, node["key"]?.text) {
        case (let certificate?, let key?):
            return Document.CertificatePaths(certificate: certificate, key: key)
        case (nil, nil): return nil
        case (_?, nil):
            fail("\(path) has a certificate without a key", node.start, hint: "add key: FILE")
        case (nil, _?):
            fail(
                "\(path) has a key without a certificate", node.start, hint: "add certificate: FILE"
            )
        }
        return nil
    }

    // MARK: HTTP/2

    mutating func http2(_ node: YAMLNode) {
        func number(_ key: String, _ otherwise: Int) -> Int {
            node[key]?.text.flatMap { Int($0) } ?? otherwise
        }
        var limits = document.limits.http2
        limits.streamsMax = number("maxConcurrentStreams", limits.streamsMax)
        limits.continuationsMax = number("continuationFrames", limits.continuationsMax)
        limits.resetsPerSecond = number("resetsPerSecond", limits.resetsPerSecond)
        limits.controlFramesPerSecond = number(
            "controlFramesPerSecond", limits.controlFramesPerSecond)
        limits.emptyFramesPerSecond = number("emptyFramesPerSecond", limits.emptyFramesPerSecond)
        limits.priorityFramesPerStream = number(
            "priorityFramesPerStream", limits.priorityFramesPerStream)
        limits.windowUpdatesPerDataFrame = number(
            "windowUpdatesPerDataFrame", limits.windowUpdatesPerDataFrame)
        limits.queuedControlFramesMax = number(
            "queuedControlFrames", limits.queuedControlFramesMax)
        limits.streamWindowBytes = window(
            node, "initialWindow", limits.streamWindowBytes, max: 16 << 20)
        limits.streamWindowBytesMax = max(
            limits.streamWindowBytes,
            window(node, "maxWindow", limits.streamWindowBytesMax, max: 256 << 20))
        document.limits.http2 = limits
    }

    private mutating func window(
        _ node: YAMLNode, _ key: String, _ otherwise: Int, max: Int
    ) -> Int {
        guard let value = node[key], let bytes = value.text.flatMap(Units.size) else {
            return otherwise
        }
        if !(16_384...max).contains(bytes) {
            fail(
                "limits.http2.\(key) is \"\(value.text ?? "")\", expected 16KiB to "
                    + "\(max >> 20)MiB", value.start,
                hint: "write \(bytes < 16_384 ? "16KiB" : "\(max >> 20)MiB")")
            return otherwise
        }
        return bytes
    }
}
