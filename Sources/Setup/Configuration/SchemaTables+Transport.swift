// The field table of TLS and HTTP/2.

extension ObjectSchema {
    static let listenerTLS = ObjectSchema(
        name: "listener TLS",
        example: "{ certificate: tls.crt, key: tls.key }",
        help: "TLS 1.2 and 1.3 for clients; files are read anew at each reload.",
        fields: [
            .field("certificate", .text(expected: "a file name"), "PEM, the chain behind it."),
            .field("key", .text(expected: "a file name"), "PEM, without a passphrase."),
            .field(
                "certificates", .list(.object(certificate)),
                "More of them; SNI chooses by their names, the first serves the rest."),
            .field(
                "clientCA", .text(expected: "a file name"),
                "PEM; clients must show a certificate that it signed."),
            .field(
                "clientCertificate", .choice(["required", "optional"]), default: "required",
                "With clientCA: whether a client without a certificate is let in."),
            .field(
                "minVersion", .choice(["1.2", "1.3"]), default: "1.2",
                "The oldest version of TLS that is spoken."),
        ])

    static let certificate = ObjectSchema(
        name: "certificate",
        example: "{ certificate: tls.crt, key: tls.key }",
        help: "A certificate and its key.",
        fields: [
            .required(
                "certificate", .text(expected: "a file name"), "PEM, the chain behind it."),
            .required("key", .text(expected: "a file name"), "PEM, without a passphrase."),
        ])

    static let upstreamTLS = ObjectSchema(
        name: "upstream TLS",
        example: "{ ca: ca.crt }",
        help: "TLS towards endpoints; their certificates are verified.",
        fields: [
            .field(
                "ca", .text(expected: "a file name"), default: "the system's",
                "PEM; who may have signed the endpoints' certificates."),
            .field(
                "sni", .text(expected: "a host name"),
                "The name that is asked for and must be in the certificate; default: the name in "
                    + "dns, else the service's name."),
            .field(
                "verify", .choice(["on", "off"]), default: "on",
                "off believes any certificate; for tests only."),
            .field(
                "certificate", .text(expected: "a file name"),
                "PEM; shown to endpoints that ask for one."),
            .field("key", .text(expected: "a file name"), "PEM, of the certificate."),
        ])

    static let http2Limits = ObjectSchema(
        name: "HTTP/2 limits",
        example: "{ maxConcurrentStreams: 100 }",
        help: "What a client's connection may do, and ten times as much an endpoint's; beyond, it "
            + "is ended with ENHANCE_YOUR_CALM.",
        fields: [
            .field(
                "maxConcurrentStreams", .integer(1...10_000, orWord: nil), default: "100",
                "Streams that a client may have open."),
            .field(
                "initialWindow", .size(orWord: nil), default: "64KiB",
                "What a stream may send before any of it has left; 16KiB to 16MiB."),
            .field(
                "maxWindow", .size(orWord: nil), default: "8MiB",
                "What that grows to while bytes leave as they come; 16KiB to 256MiB."),
            .field(
                "continuationFrames", .integer(1...1_000, orWord: nil), default: "16",
                "CONTINUATION frames of a header block."),
            .field(
                "resetsPerSecond", .integer(1...1_000_000, orWord: nil), default: "100",
                "Streams that a client resets before their answer begins, or makes this side "
                    + "reset, beyond one for each answer; twice as many at once."),
            .field(
                "controlFramesPerSecond", .integer(1...1_000_000, orWord: nil), default: "100",
                "PING, SETTINGS, GOAWAY and unknown frames, beyond one for each DATA frame either "
                    + "way and two for each answer; twice as many at once."),
            .field(
                "emptyFramesPerSecond", .integer(1...1_000_000, orWord: nil), default: "100",
                "Empty DATA frames, beyond one for each with content; twice as many at once."),
            .field(
                "priorityFramesPerStream", .integer(1...1_000_000, orWord: nil), default: "100",
                "PRIORITY frames for each stream that was opened."),
            .field(
                "windowUpdatesPerDataFrame", .integer(1...1_000_000, orWord: nil), default: "10",
                "WINDOW_UPDATE frames for each DATA frame that was sent; each 256 bytes of "
                    + "content are good for another."),
            .field(
                "queuedControlFrames", .integer(10...1_000_000, orWord: nil), default: "1000",
                "Answers to the peer's frames that wait to be written."),
        ], isGroup: true)
}
