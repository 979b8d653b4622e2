import TLS

/// Certificates of the tests, valid until 2124: an authority, a server "localhost", a client whose name
/// has a quote. Made by `openssl req` and `openssl x509`; the keys guard nothing.
package enum Fixtures {
    package static let authority = Array(
        """
        -----BEGIN CERTIFICATE-----
        MIIBlzCCAT2gAwIBAgIULQ/3w27uXQJMHYERWQfuQxiL1L4wCgYIKoZIzj0EAwIw
        IDEeMBwGA1UEAwwVU2x1aWNlIHRlc3QgYXV0aG9yaXR5MCAXDTI2MTEyNTIzNDIw
        MVoYDzIxMjYxMTAxMjM0MjAxWjAgMR4wHAYDVQQDDBVTbHVpY2UgdGVzdCBhdXRo
        b3JpdHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASbuCLHQ2CShO1j0DKZ0qD+
        Me91z78JOnIuUuBRpsA6nJ6xf7VIazKqnI+6PLr5041O3j832i7w4ihDy8luLGVe
        o1MwUTAdBgNVHQ4EFgQUDigMgY/7GVqiyVZCb9ZSnxJINGAwHwYDVR0jBBgwFoAU
        DigMgY/7GVqiyVZCb9ZSnxJINGAwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQD
        AgNIADBFAiEAz5fmLGK8nciSJIngwP+2Ji9f82QaWD8c5A6C7s7JmKwCIGJ5R5xH
        5VjlHL6oGe0DXgIT7p41BJtzKwBgUfNi2E4O
        -----END CERTIFICATE-----
        """.utf8)
    package static let server = TLSCertificate(
        chain: Array(
            """
            -----BEGIN CERTIFICATE-----
            MIIBjTCCATOgAwIBAgIUA4rL2r+P9s0Q5Tb1myLLOkj1vBIwCgYIKoZIzj0EAwIw
            IDEeMBwGA1UEAwwVU2x1aWNlIHRlc3QgYXV0aG9yaXR5MCAXDTI2MTEyNTIzNDIw
            MVoYDzIxMjUwNjE5MjM0MjAxWjARMQ8wDQYDVQQDDAZzZXJ2ZXIwWTATBgcqhkjO
            PQIBBggqhkjOPQMBBwNCAARRH1+riQ4mVEnNUqJZ0tu1tDHawzEGyse0yRCdVtj5
            +638gmS87f4Nx7WnxcAqSqL1CbOBuG77085EytTaQFYWo1gwVjAUBgNVHREEDTAL
            gglsb2NhbGhvc3QwHQYDVR0OBBYEFCrRxzK9Pq/Uz+uByyakB/XP1+NRMB8GA1Ud
            IwQYMBaAFA4oDIGP+xlaoslWQm/WUp8SSDRgMAoGCCqGSM49BAMCA0gAMEUCIGXf
            hOIBELXFJFXh/qXPW3vitHkSrfhRVHrdS1Y5PO4lAiEAn9MSQYs8Gt2Bv3VtuL8b
            g9xljN3kZMzLJt+IxBk0anY=
            -----END CERTIFICATE-----
            """.utf8),
        key: Array(
            """
            -----BEGIN PRIVATE KEY-----
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCpB1WyB17ZfWcpdu
            s0g+EJTXoSPf5dJUdVdSxfLHUwyhRANCAARRH1+riQ4mVEnNUqJZ0tu1tDHawzEG
            yse0yRCdVtj5+638gmS87f4Nx7WnxcAqSqL1CbOBuG77085EytTaQFYW
            -----END PRIVATE KEY-----
            """.utf8))
    package static let client = TLSCertificate(
        chain: Array(
            """
            -----BEGIN CERTIFICATE-----
            MIIBozCCAUmgAwIBAgIUA4rL2r+P9s0Q5Tb1myLLOkj1vBMwCgYIKoZIzj0EAwIw
            IDEeMBwGA1UEAwwVU2x1aWNlIHRlc3QgYXV0aG9yaXR5MCAXDTI2MTEyNTIzNDIw
            MVoYDzIxMjUwNjE5MjM0MjAxWjARMQ8wDQYDVQQDDAZhbCJpY2UwWTATBgcqhkjO
            PQIBBggqhkjOPQMBBwNCAATPsTJ4fM3VMwdeWxywcoZ99R4dFZwi5Aw0eL3r6zFE
            pyadqhj4ucClZrCoLEROTfUGSn+4fBCn9EbZIB0PEh2Co24wbDAqBgNVHREEIzAh
            hhNzcGlmZmU6Ly9zaG9wL2FsaWNlggphbGljZS50ZXN0MB0GA1UdDgQWBBRbXq+t
            B/KFbuIAjPUhc1eDf7o2vjAfBgNVHSMEGDAWgBQOKAyBj/sZWqLJVkJv1lKfEkg0
            YDAKBggqhkjOPQQDAgNIADBFAiEA9iA2JWPNw7/wb+bVmv0KRAoHvJ+g6tHs2c1D
            dYJWHFMCIHWb6MWnnFAEze6Bdo6yjLV5m25L1wtzFQGR+wQcbJBE
            -----END CERTIFICATE-----
            """.utf8),
        key: Array(
            """
            -----BEGIN PRIVATE KEY-----
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgdFW1YYPoFuUKcZbf
            tvRvqjI0pXXZfXTHPDBXmLbS1QOhRANCAATPsTJ4fM3VMwdeWxywcoZ99R4dFZwi
            5Aw0eL3r6zFEpyadqhj4ucClZrCoLEROTfUGSn+4fBCn9EbZIB0PEh2C
            -----END PRIVATE KEY-----
            """.utf8))
}
