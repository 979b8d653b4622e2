#include "COpenSSL.h"

#include <openssl/err.h>
#include <openssl/evp.h>

int ctls_sha256(const uint8_t *data, size_t count, uint8_t *out) {
    unsigned int written = 0;
    int done = EVP_Digest(data, count, out, &written, EVP_sha256(), NULL);
    ERR_clear_error();
    return done == 1 && written == 32;
}
