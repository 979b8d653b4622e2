#include "COpenSSL.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CERTIFICATES_MAX 64

// Mozilla's intermediate configuration, version 5.7, for TLS 1.2; TLS 1.3's own are all sane.
static const char *const ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char *const groups = "X25519:P-256:P-384";

struct ticket_key {
    unsigned char name[16];
    unsigned char aes[32];
    unsigned char mac[32];
};

struct ctls_tickets {
    pthread_mutex_t lock;
    struct ticket_key keys[2];
};

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

// ---- errors

static void explain(char *why, size_t room) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    snprintf(why, room, "%s", reason == NULL ? "unknown error" : reason);
    ERR_clear_error();
}

// ---- bytes in and out

void ctls_output_free(ctls_buffer buffer) { free(buffer.base); }

static int pipe_read(BIO *bio, char *data, int room) {
    ctls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (session->in_count == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = session->in_count < (size_t)room ? session->in_count : (size_t)room;
    memcpy(data, session->in, n);
    session->in += n;
    session->in_count -= n;
    return (int)n;
}

static int append(ctls_buffer *out, const void *data, size_t count) {
    size_t needed = out->count + count;
    if (needed > out->capacity) {
        size_t capacity = out->capacity < 16384 ? 16384 : out->capacity;
        while (capacity < needed) capacity *= 2;
        uint8_t *base = realloc(out->base, capacity);
        if (base == NULL) return 0;
        out->base = base;
        out->capacity = capacity;
    }
    memcpy(out->base + out->count, data, count);
    out->count += count;
    return 1;
}

// The caller's bytes, behind those that a call before left over.
static int take_in(ctls_session *session, const uint8_t *in, size_t count) {
    if (session->rest.count == 0) {
        session->in = in;
        session->in_count = count;
        return 1;
    }
    if (count > 0 && !append(&session->rest, in, count)) return 0;
    session->in = session->rest.base;
    session->in_count = session->rest.count;
    return 1;
}

// Keeps what was not read: the caller's bytes are not touched after the call.
static int keep_rest(ctls_session *session) {
    if (session->in_count == 0) {
        free(session->rest.base);
        session->rest = (ctls_buffer){0};
        return 1;
    }
    if (session->rest.count > 0) {
        memmove(session->rest.base, session->in, session->in_count);
        session->rest.count = session->in_count;
    } else if (!append(&session->rest, session->in, session->in_count)) {
        return 0;
    }
    session->in = NULL;
    session->in_count = 0;
    return 1;
}

static int pipe_write(BIO *bio, const char *data, int count) {
    ctls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ctls_buffer *out = session->out;
    if (out == NULL || count <= 0) return -1;
    return append(out, data, (size_t)count) ? count : -1;
}

static long pipe_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio; (void)number; (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int pipe_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *pipe_method;
static int session_index = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_method(void) {
    pipe_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pipe");
    BIO_meth_set_read(pipe_method, pipe_read);
    BIO_meth_set_write(pipe_method, pipe_write);
    BIO_meth_set_ctrl(pipe_method, pipe_control);
    BIO_meth_set_create(pipe_method, pipe_create);
    session_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

// ---- tickets

static int new_key(struct ticket_key *key) {
    return RAND_bytes((unsigned char *)key, sizeof *key) == 1;
}

ctls_tickets *ctls_tickets_new(void) {
    ctls_tickets *tickets = calloc(1, sizeof *tickets);
    if (tickets == NULL) return NULL;
    pthread_mutex_init(&tickets->lock, NULL);
    if (!new_key(&tickets->keys[0]) || !new_key(&tickets->keys[1])) {
        ctls_tickets_free(tickets);
        return NULL;
    }
    return tickets;
}

void ctls_tickets_rotate(ctls_tickets *tickets) {
    struct ticket_key key;
    if (!new_key(&key)) return;
    pthread_mutex_lock(&tickets->lock);
    tickets->keys[1] = tickets->keys[0];
    tickets->keys[0] = key;
    pthread_mutex_unlock(&tickets->lock);
    OPENSSL_cleanse(&key, sizeof key);
}

void ctls_tickets_free(ctls_tickets *tickets) {
    pthread_mutex_destroy(&tickets->lock);
    OPENSSL_cleanse(tickets, sizeof *tickets);
    free(tickets);
}

// Seals a new ticket with the newest key, opens one that either key sealed; 2: open, and renew it.
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seals) {
    ctls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key keys[2];
    pthread_mutex_lock(&context->tickets->lock);
    memcpy(keys, context->tickets->keys, sizeof keys);
    pthread_mutex_unlock(&context->tickets->lock);
    int which = -1;
    if (seals) {
        which = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 ? 0 : -1;
        if (which == 0) memcpy(name, keys[0].name, 16);
    } else {
        for (int i = 0; i < 2 && which < 0; i++)
            if (memcmp(name, keys[i].name, 16) == 0) which = i;
    }
    int result = 0;
    if (which >= 0) {
        char digest[] = "sha256";
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, keys[which].mac, 32),
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
            OSSL_PARAM_construct_end(),
        };
        int done = EVP_MAC_CTX_set_params(mac, params) == 1 &&
                   (seals ? EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, keys[which].aes, iv)
                          : EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, keys[which].aes, iv)) == 1;
        // TLS 1.3 issues a new ticket with every handshake; 2 makes TLS 1.2 do so.
        result = !done ? -1 : (seals || which == 0) ? 1 : 2;
    } else if (seals) {
        result = -1;
    }
    OPENSSL_cleanse(keys, sizeof keys);
    return result;
}

// ---- contexts

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_count,
                   const unsigned char *in, unsigned int count, void *argument) {
    (void)ssl;
    const ctls_context *context = argument;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_count, context->alpn, context->alpn_count, in, count) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

// RFC 6066 §3: a certificate with that very name, then one with a wildcard for it, then the first.
static int on_name(SSL *ssl, int *alert, void *argument) {
    (void)alert;
    ctls_context *context = argument;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name == NULL) return SSL_TLSEXT_ERR_OK;
    for (int pass = 0; pass < 2; pass++) {
        unsigned int flags = pass == 0 ? X509_CHECK_FLAG_NO_WILDCARDS : X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
        for (int i = 0; i < context->count; i++) {
            if (X509_check_host(context->certificates[i], name, 0, flags, NULL) == 1) {
                if (i > 0) SSL_set_SSL_CTX(ssl, context->contexts[i]);
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

static int on_new_session(SSL *ssl, SSL_SESSION *made) {
    ctls_session *session = SSL_get_ex_data(ssl, session_index);
    if (session == NULL || !SSL_SESSION_is_resumable(made)) return 0;
    if (session->resumption != NULL) SSL_SESSION_free(session->resumption);
    session->resumption = made;
    return 1;
}

static SSL_CTX *make_context(ctls_context *context) {
    SSL_CTX *made = SSL_CTX_new(context->is_server ? TLS_server_method() : TLS_client_method());
    if (made == NULL) return NULL;
    SSL_CTX_set_app_data(made, context);
    SSL_CTX_set_min_proto_version(made, context->modern ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(made, ciphers);
    SSL_CTX_set1_groups_list(made, groups);
    SSL_CTX_set_options(made, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (context->is_server) {
        static const unsigned char id[] = "sluice";
        SSL_CTX_set_session_id_context(made, id, sizeof id - 1);
        SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_tlsext_ticket_key_evp_cb(made, on_ticket);
        SSL_CTX_set_num_tickets(made, 1);
        SSL_CTX_set_alpn_select_cb(made, on_alpn, context);
        SSL_CTX_set_tlsext_servername_callback(made, on_name);
        SSL_CTX_set_tlsext_servername_arg(made, context);
    } else {
        SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(made, on_new_session);
        if (context->alpn_count > 0) SSL_CTX_set_alpn_protos(made, context->alpn, context->alpn_count);
        SSL_CTX_set_verify(made, context->verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    }
    return made;
}

static ctls_context *context_new(int is_server, const uint8_t *alpn, size_t count) {
    pthread_once(&once, make_method);
    ctls_context *context = calloc(1, sizeof *context);
    if (context == NULL) return NULL;
    context->references = 1;
    context->is_server = is_server;
    context->alpn_count = (unsigned int)(count < sizeof context->alpn ? count : sizeof context->alpn);
    if (count > 0) memcpy(context->alpn, alpn, context->alpn_count);
    return context;
}

ctls_context *ctls_server_new(ctls_tickets *tickets, int modern, const uint8_t *alpn, size_t count) {
    ctls_context *context = context_new(1, alpn, count);
    if (context == NULL) return NULL;
    context->tickets = tickets;
    context->modern = modern;
    return context;
}

ctls_context *ctls_client_new(int verifies, const uint8_t *alpn, size_t count) {
    ctls_context *context = context_new(0, alpn, count);
    if (context == NULL) return NULL;
    context->verifies = verifies;
    context->contexts[0] = make_context(context);
    if (context->contexts[0] == NULL) {
        free(context);
        return NULL;
    }
    context->count = 1;
    return context;
}

void ctls_context_free(ctls_context *context) {
    if (__atomic_sub_fetch(&context->references, 1, __ATOMIC_ACQ_REL) > 0) return;
    for (int i = 0; i < context->count; i++) {
        SSL_CTX_free(context->contexts[i]);
        X509_free(context->certificates[i]);
    }
    free(context);
}

static int no_passphrase(char *buffer, int size, int writes, void *argument) {
    (void)buffer; (void)size; (void)writes; (void)argument;
    return 0;
}

static int use_certificate(SSL_CTX *target, BIO *pem, BIO *key, X509 **leaf) {
    X509 *certificate = PEM_read_bio_X509_AUX(pem, NULL, no_passphrase, NULL);
    if (certificate == NULL) return 0;
    int done = SSL_CTX_use_certificate(target, certificate) == 1;
    *leaf = certificate;
    X509 *next;
    while (done && (next = PEM_read_bio_X509(pem, NULL, no_passphrase, NULL)) != NULL)
        if (SSL_CTX_add0_chain_cert(target, next) != 1) {
            X509_free(next);
            done = 0;
        }
    if (!done) return 0;
    // The end of the file is how a chain ends.
    unsigned long code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) ERR_clear_error();
    else if (code != 0) return 0;
    EVP_PKEY *private = PEM_read_bio_PrivateKey(key, NULL, no_passphrase, NULL);
    if (private == NULL) return 0;
    done = SSL_CTX_use_PrivateKey(target, private) == 1 && SSL_CTX_check_private_key(target) == 1;
    EVP_PKEY_free(private);
    return done;
}

int ctls_add_certificate(ctls_context *context, const char *pem, size_t count, const char *key,
                         size_t key_count, char *why, size_t room) {
    ERR_clear_error();
    if (context->is_server && context->count == CERTIFICATES_MAX) {
        snprintf(why, room, "more than %d certificates", CERTIFICATES_MAX);
        return 0;
    }
    SSL_CTX *target = context->is_server ? make_context(context) : context->contexts[0];
    BIO *in = BIO_new_mem_buf(pem, (int)count), *key_in = BIO_new_mem_buf(key, (int)key_count);
    X509 *leaf = NULL;
    int done = target != NULL && in != NULL && key_in != NULL && use_certificate(target, in, key_in, &leaf);
    if (!done) explain(why, room);
    BIO_free(in);
    BIO_free(key_in);
    if (!context->is_server) {
        X509_free(leaf);
        return done;
    }
    if (!done) {
        X509_free(leaf);
        SSL_CTX_free(target);
        return 0;
    }
    context->contexts[context->count] = target;
    context->certificates[context->count] = leaf;
    context->count++;
    return 1;
}

int ctls_trust(ctls_context *context, const char *pem, size_t count, char *why, size_t room) {
    ERR_clear_error();
    BIO *in = BIO_new_mem_buf(pem, (int)count);
    int found = 0, done = in != NULL;
    X509 *authority;
    while (done && (authority = PEM_read_bio_X509_AUX(in, NULL, no_passphrase, NULL)) != NULL) {
        found++;
        for (int i = 0; i < context->count && done; i++) {
            done = X509_STORE_add_cert(SSL_CTX_get_cert_store(context->contexts[i]), authority) == 1;
            if (done && context->is_server)
                done = SSL_CTX_add_client_CA(context->contexts[i], authority) == 1;
        }
        X509_free(authority);
    }
    BIO_free(in);
    if (done && found > 0) {
        ERR_clear_error();
        return 1;
    }
    explain(why, room);
    return 0;
}

int ctls_trust_system(ctls_context *context, char *why, size_t room) {
    ERR_clear_error();
    if (SSL_CTX_set_default_verify_paths(context->contexts[0]) == 1) return 1;
    explain(why, room);
    return 0;
}

void ctls_ask_clients(ctls_context *context, int required) {
    int mode = SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    for (int i = 0; i < context->count; i++) SSL_CTX_set_verify(context->contexts[i], mode, NULL);
}

// ---- sessions

static ctls_session *open_session(ctls_context *context) {
    ctls_session *session = calloc(1, sizeof *session);
    if (session == NULL) return NULL;
    session->ssl = SSL_new(context->contexts[0]);
    BIO *bio = session->ssl == NULL ? NULL : BIO_new(pipe_method);
    if (bio == NULL) {
        SSL_free(session->ssl);
        free(session);
        return NULL;
    }
    __atomic_add_fetch(&context->references, 1, __ATOMIC_RELAXED);
    session->context = context;
    BIO_set_data(bio, session);
    SSL_set_bio(session->ssl, bio, bio);
    SSL_set_ex_data(session->ssl, session_index, session);
    return session;
}

ctls_session *ctls_open_server(ctls_context *context) {
    ctls_session *session = open_session(context);
    if (session != NULL) SSL_set_accept_state(session->ssl);
    return session;
}

ctls_session *ctls_open_client(ctls_context *context, const char *name, ctls_resumption *resumption) {
    ctls_session *session = open_session(context);
    if (session == NULL) return NULL;
    SSL_set_connect_state(session->ssl);
    SSL_set_tlsext_host_name(session->ssl, name);
    SSL_set_hostflags(session->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set1_host(session->ssl, name);
    if (resumption != NULL) SSL_set_session(session->ssl, resumption);
    return session;
}

void ctls_close(ctls_session *session) {
    if (session->resumption != NULL) SSL_SESSION_free(session->resumption);
    free(session->rest.base);
    // A connection that ends without a farewell is still worth taking up again.
    SSL_set_shutdown(session->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(session->ssl);
    ctls_context_free(session->context);
    free(session);
}

static int cause_of_verification(long result) {
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID: return CTLS_EXPIRED;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return CTLS_WRONG_NAME;
    default: return CTLS_UNKNOWN_AUTHORITY;
    }
}

static void fail(ctls_session *session) {
    unsigned long code = ERR_peek_last_error();
    int reason = ERR_GET_REASON(code);
    long verified = SSL_get_verify_result(session->ssl);
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);
    session->cause = CTLS_OTHER;
    if (code == 0) {
        session->cause = CTLS_CLOSED;
        text = "the connection ended";
    } else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        session->cause = cause_of_verification(verified);
        text = X509_verify_cert_error_string(verified);
    } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        session->cause = CTLS_NO_CERTIFICATE;
    } else if (reason > SSL_AD_REASON_OFFSET) {
        session->cause = CTLS_REFUSED_BY_PEER;
    } else if (reason == SSL_R_NO_SHARED_CIPHER || reason == SSL_R_UNSUPPORTED_PROTOCOL ||
               reason == SSL_R_NO_SHARED_GROUPS || reason == SSL_R_NO_SUITABLE_KEY_SHARE ||
               reason == SSL_R_VERSION_TOO_LOW || reason == SSL_R_NO_APPLICATION_PROTOCOL) {
        session->cause = CTLS_NONE_IN_COMMON;
    } else if (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_WRONG_VERSION_NUMBER ||
               reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_UNEXPECTED_MESSAGE ||
               reason == SSL_R_PACKET_LENGTH_TOO_LONG || reason == SSL_R_BAD_RECORD_TYPE) {
        session->cause = CTLS_NOT_TLS;
    }
    snprintf(session->text, sizeof session->text, "%s", text == NULL ? "unknown error" : text);
    ERR_clear_error();
}

int ctls_handshake(ctls_session *session, const uint8_t *in, size_t count, ctls_buffer *out) {
    session->out = out;
    ERR_clear_error();
    if (!take_in(session, in, count)) return -1;
    int result = SSL_do_handshake(session->ssl);
    int done = result == 1;
    if (!done) {
        int error = SSL_get_error(session->ssl, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            fail(session);
            done = -1;
        }
    }
    if (!keep_rest(session)) done = -1;
    session->out = NULL;
    return done;
}

long ctls_read(ctls_session *session, const uint8_t *in, size_t count, uint8_t *plain, size_t room,
               ctls_buffer *out) {
    session->out = out;
    ERR_clear_error();
    if (!take_in(session, in, count)) return CTLS_FAILED;
    size_t got = 0;
    int result = SSL_read_ex(session->ssl, plain, room, &got);
    long outcome = (long)got;
    if (result != 1) {
        switch (SSL_get_error(session->ssl, result)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE: outcome = CTLS_WANTS_MORE; break;
        case SSL_ERROR_ZERO_RETURN: outcome = CTLS_ENDED; break;
        default:
            fail(session);
            outcome = CTLS_FAILED;
        }
    }
    if (!keep_rest(session)) outcome = CTLS_FAILED;
    session->out = NULL;
    return outcome;
}

int ctls_write(ctls_session *session, const uint8_t *plain, size_t count, ctls_buffer *out) {
    session->out = out;
    ERR_clear_error();
    size_t at = 0;
    while (at < count) {
        size_t written = 0;
        if (SSL_write_ex(session->ssl, plain + at, count - at, &written) != 1) break;
        at += written;
    }
    if (at < count) fail(session);
    session->out = NULL;
    return at == count;
}

void ctls_end(ctls_session *session, ctls_buffer *out) {
    session->out = out;
    ERR_clear_error();
    if (SSL_is_init_finished(session->ssl)) SSL_shutdown(session->ssl);
    ERR_clear_error();
    session->out = NULL;
}

int ctls_version(const ctls_session *session) {
    return SSL_version(session->ssl) == TLS1_3_VERSION ? 3 : 2;
}

int ctls_is_http2(const ctls_session *session) {
    const unsigned char *name;
    unsigned int count;
    SSL_get0_alpn_selected(session->ssl, &name, &count);
    return count == 2 && memcmp(name, "h2", 2) == 0;
}

int ctls_was_resumed(const ctls_session *session) { return SSL_session_reused(session->ssl); }

int ctls_failure_cause(const ctls_session *session) { return session->cause; }

const char *ctls_failure_text(const ctls_session *session) { return session->text; }

// ---- identity

static void put_quoted(BIO *out, const char *text, int count) {
    for (int i = 0; i < count; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') BIO_write(out, "\\", 1);
        // A field value has no control bytes.
        if (c < 0x20 || c == 0x7f) c = '?';
        BIO_write(out, &c, 1);
    }
}

static void put_name(BIO *out, const char *key, const ASN1_IA5STRING *value) {
    BIO_printf(out, ";%s=\"", key);
    put_quoted(out, (const char *)ASN1_STRING_get0_data(value), ASN1_STRING_length(value));
    BIO_puts(out, "\"");
}

static void put_alternatives(BIO *out, X509 *certificate) {
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_URI) put_name(out, "URI", name->d.uniformResourceIdentifier);
        if (name->type == GEN_DNS) put_name(out, "DNS", name->d.dNSName);
    }
    GENERAL_NAMES_free(names);
}

size_t ctls_identity(const ctls_session *session, char *out, size_t room) {
    X509 *certificate = SSL_get1_peer_certificate(session->ssl);
    if (certificate == NULL) return 0;
    BIO *text = BIO_new(BIO_s_mem()), *subject = BIO_new(BIO_s_mem());
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int count = 0;
    size_t written = 0;
    if (text != NULL && subject != NULL && X509_digest(certificate, EVP_sha256(), digest, &count) == 1) {
        BIO_puts(text, "Hash=");
        for (unsigned int i = 0; i < count; i++) BIO_printf(text, "%02x", digest[i]);
        X509_NAME_print_ex(subject, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
        char *bytes;
        long length = BIO_get_mem_data(subject, &bytes);
        BIO_puts(text, ";Subject=\"");
        put_quoted(text, bytes, (int)length);
        BIO_puts(text, "\"");
        put_alternatives(text, certificate);
        length = BIO_get_mem_data(text, &bytes);
        if ((size_t)length <= room) {
            memcpy(out, bytes, (size_t)length);
            written = (size_t)length;
        }
    }
    BIO_free(text);
    BIO_free(subject);
    X509_free(certificate);
    ERR_clear_error();
    return written;
}

ctls_resumption *ctls_take_resumption(ctls_session *session) {
    SSL_SESSION *taken = session->resumption;
    session->resumption = NULL;
    return taken;
}

void ctls_resumption_free(ctls_resumption *resumption) { SSL_SESSION_free(resumption); }
