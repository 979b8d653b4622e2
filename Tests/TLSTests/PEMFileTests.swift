import Support
import TLS
import Testing

@Suite struct PEMFileTests {
    @Test("a file says what it holds, whatever is in front of it")
    func labels() {
        let certificate = PEMFile(Fixtures.authority), key = PEMFile(Fixtures.server.key)
        #expect(certificate.hasCertificate && !certificate.hasKey && !certificate.isDER)
        #expect(key.hasKey && !key.hasCertificate && !key.isEncrypted)
        let both = PEMFile(
            Array("a comment\n".utf8) + Fixtures.server.chain + [0x0a] + Fixtures.server.key)
        #expect(both.labels == ["CERTIFICATE", "PRIVATE KEY"])
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED",
        ] {
            let locked = PEMFile(Array(text.utf8))
            #expect(locked.hasKey && locked.isEncrypted)
        }
        #expect(PEMFile(Array("-----BEGIN CERTIFICATE REQUEST-----".utf8)).hasRequest)
        #expect(!PEMFile(Array("-----BEGIN CERTIFICATE REQUEST-----".utf8)).hasCertificate)
        #expect(PEMFile([0x30, 0x82, 1]).isDER)
        #expect(PEMFile([]).labels.isEmpty && !PEMFile([]).isDER)
    }

    @Test("certificates say when they are valid, each of a chain")
    func facts() throws {
        let chain = PEMFile(Fixtures.server.chain + [0x0a] + Fixtures.authority).certificates
        #expect(chain.map(\.subject) == ["server", "Sluice test authority"])
        // 2026-11-25 23:42:01 to 2125-06-19 23:42:01.
        #expect(chain[0].notBefore == 1_795_650_121)
        #expect(chain[0].notAfter == 4_906_050_121)
        #expect(PEMFile(Fixtures.server.key).certificates.isEmpty)
        #expect(
            PEMFile(Array("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".utf8))
                .certificates.isEmpty)
    }

    @Test("a key is found to belong to the certificate that it belongs to")
    func fit() {
        let key = PEMFile(Fixtures.server.key)
        let own = PEMFile(Fixtures.server.chain), other = PEMFile(Fixtures.client.chain)
        let behind = PEMFile(Fixtures.authority + [0x0a] + Fixtures.server.chain)
        #expect(PEMFile.fit(key: key, certificates: own) == .certificate(0))
        #expect(PEMFile.fit(key: key, certificates: behind) == .certificate(1))
        #expect(PEMFile.fit(key: key, certificates: other) == .none)
        #expect(PEMFile.fit(key: own, certificates: own) == .unreadable)
        #expect(PEMFile.fit(key: PEMFile([]), certificates: PEMFile([])) == .unreadable)
    }
}
