// TLS by libssl over memory, behind functions that Swift can call: OpenSSL's own interface is macros,
// callbacks and reference counts. No file, no socket, no clock of our own.
#ifndef COPENSSL_H
#define COPENSSL_H

#include <stddef.h>
#include <stdint.h>

// Bytes that grow at the end. Zeroed is empty.
typedef struct ctls_buffer {
    uint8_t *base;
    size_t count;
    size_t capacity;
} ctls_buffer;

void ctls_output_free(ctls_buffer buffer);

typedef struct ctls_tickets ctls_tickets;
typedef struct ctls_context ctls_context;
typedef struct ctls_session ctls_session;
// What a client keeps of a session to take it up again.
typedef struct ssl_session_st ctls_resumption;

// Causes of a failed handshake, in Telemetry's numbering.
enum ctls_failure {
    CTLS_OTHER,
    CTLS_NO_CERTIFICATE,
    CTLS_UNKNOWN_AUTHORITY,
    CTLS_EXPIRED,
    CTLS_WRONG_NAME,
    CTLS_REFUSED_BY_PEER,
    CTLS_NONE_IN_COMMON,
    CTLS_NOT_TLS,
    CTLS_CLOSED
};

// Results of reading, besides a count of bytes.
enum { CTLS_WANTS_MORE = 0, CTLS_ENDED = -1, CTLS_FAILED = -2 };

// Keys of session tickets (RFC 5077), shared by all threads: the newest issues, the one before it is
// still taken. They are drawn with the first server's context. NULL: no memory.
ctls_tickets *ctls_tickets_new(void);
void ctls_tickets_rotate(ctls_tickets *tickets);
void ctls_tickets_free(ctls_tickets *tickets);

// A context for clients of ours (servers) or endpoints (clients). `alpn`: the protocols in order of
// preference, each with its length in front (RFC 7301 §3.1). The tickets must outlive all contexts and
// connections; a context lives until it is freed and its last connection is closed.
ctls_context *ctls_server_new(ctls_tickets *tickets, int modern, const uint8_t *alpn, size_t count);
ctls_context *ctls_client_new(int verifies, const uint8_t *alpn, size_t count);
void ctls_context_free(ctls_context *context);

// Each returns 1, or 0 with OpenSSL's reason in `why`.
// A certificate with its chain, and its key, in PEM. A server may have several; the first serves names
// that no other has.
int ctls_add_certificate(ctls_context *context, const char *pem, size_t count, const char *key,
                         size_t key_count, char *why, size_t room);
// Authorities that peers' certificates must be signed by, in PEM.
int ctls_trust(ctls_context *context, const char *pem, size_t count, char *why, size_t room);
int ctls_trust_system(ctls_context *context, char *why, size_t room);
// Servers: ask clients for a certificate.
void ctls_ask_clients(ctls_context *context, int required);

// What the n-th certificate of a PEM file says of itself: seconds since 1970, and its subject's common
// name, cut at `room`. Returns 0 when there is no n-th, or it cannot be read.
int ctls_certificate_facts(const char *pem, size_t count, int n, int64_t *not_before, int64_t *not_after,
                           char *subject, size_t room);
// Which certificate of a PEM file a key belongs to, from 0; -1: to none, -2: the key cannot be read.
int ctls_certificate_of_key(const char *pem, size_t count, const char *key, size_t key_count);

// A connection. `name`: what a client asks for and verifies. NULL: no memory.
ctls_session *ctls_open_server(ctls_context *context);
ctls_session *ctls_open_client(ctls_context *context, const char *name, ctls_resumption *resumption);
// Before the handshake: what is offered by ALPN in place of the context's protocols.
void ctls_offer(ctls_session *session, const uint8_t *protocols, size_t count);
void ctls_close(ctls_session *session);

// Takes bytes from the peer and goes on with the handshake. What is to be sent is appended to `out`.
// Returns 1 when it is done, 0 when it needs more, -1 when it failed.
int ctls_handshake(ctls_session *session, const uint8_t *in, size_t count, ctls_buffer *out);
// Takes bytes from the peer and decrypts at most `room` bytes: a count, or one of the results above. What
// does not fit is kept; call again, with or without more.
long ctls_read(ctls_session *session, const uint8_t *in, size_t count, uint8_t *plain, size_t room,
               ctls_buffer *out);
// Encrypts all of the bytes. 0: the connection is broken.
int ctls_write(ctls_session *session, const uint8_t *plain, size_t count, ctls_buffer *out);
// Says that no more bytes will come.
void ctls_end(ctls_session *session, ctls_buffer *out);

// After the handshake: TLS 1.x's last digit; whether ALPN chose "h2"; whether a session was taken up.
int ctls_version(const ctls_session *session);
int ctls_is_http2(const ctls_session *session);
int ctls_was_resumed(const ctls_session *session);
// Why it failed, and OpenSSL's words for it.
int ctls_failure_cause(const ctls_session *session);
const char *ctls_failure_text(const ctls_session *session);
// The client's certificate as an x-forwarded-client-cert element: how many bytes were written, 0 when
// it showed none.
size_t ctls_identity(const ctls_session *session, char *out, size_t room);
// The name that the client has asked for (SNI): how many bytes were written, 0 when it asked for none.
size_t ctls_server_name(const ctls_session *session, char *out, size_t room);
// What the server gave to take the session up again, the caller's to give on or free; NULL: nothing.
ctls_resumption *ctls_take_resumption(ctls_session *session);
void ctls_resumption_free(ctls_resumption *resumption);

// SHA-256 (FIPS 180-4) into 32 bytes. 0: no memory.
int ctls_sha256(const uint8_t *data, size_t count, uint8_t *out);
// HMAC-SHA-256 (RFC 2104) into 32 bytes. 0: no memory.
int ctls_hmac_sha256(const uint8_t *key, size_t key_count, const uint8_t *data, size_t count, uint8_t *out);

#endif
