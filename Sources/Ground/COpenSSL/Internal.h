#ifndef CTLS_INTERNAL_H
#define CTLS_INTERNAL_H

// What Context.c and Session.c share.

#include "COpenSSL.h"

#include <openssl/ssl.h>

#define CERTIFICATES_MAX 64

struct ctls_context {
    // Connections keep the context that they began with.
    int references;
    int is_server;
    int verifies;
    int count;
    SSL_CTX *contexts[CERTIFICATES_MAX];
    X509 *certificates[CERTIFICATES_MAX];
    ctls_tickets *tickets;
    unsigned char alpn[32];
    unsigned int alpn_count;
    int modern;
};

struct ctls_session {
    SSL *ssl;
    ctls_context *context;
    // What is read now: the caller's bytes for the call, or those in `rest`.
    const uint8_t *in;
    size_t in_count;
    // What a call left over.
    ctls_buffer rest;
    ctls_buffer *out;
    SSL_SESSION *resumption;
    int cause;
    char text[160];
};

// A session by its SSL: the index of OpenSSL's extra data.
extern int ctls_session_index;

// Registers that index and the bytes' way in and out, once in a process.
void ctls_prepare(void);

#endif
