// One connection's handshake, records and farewell over memory, and who its peer is.

#include "Internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
int ctls_session_index = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_method(void) {
    pipe_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pipe");
    BIO_meth_set_read(pipe_method, pipe_read);
    BIO_meth_set_write(pipe_method, pipe_write);
    BIO_meth_set_ctrl(pipe_method, pipe_control);
    BIO_meth_set_create(pipe_method, pipe_create);
    ctls_session_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

void ctls_prepare(void) { pthread_once(&once, make_method); }

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
    SSL_set_ex_data(session->ssl, ctls_session_index, session);
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
    // RFC 6066 §3: a literal address is not asked for by name.
    ASN1_OCTET_STRING *literal = a2i_IPADDRESS(name);
    if (literal == NULL) SSL_set_tlsext_host_name(session->ssl, name);
    ASN1_OCTET_STRING_free(literal);
    ERR_clear_error();
    SSL_set_hostflags(session->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set1_host(session->ssl, name);
    if (resumption != NULL) SSL_set_session(session->ssl, resumption);
    return session;
}

void ctls_offer(ctls_session *session, const uint8_t *protocols, size_t count) {
    SSL_set_alpn_protos(session->ssl, protocols, (unsigned int)count);
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

// ---- message authentication

int ctls_hmac_sha256(const uint8_t *key, size_t key_count, const uint8_t *data, size_t count, uint8_t *out) {
    size_t written = 0;
    int done = EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_count, data, count, out, 32, &written) != NULL;
    ERR_clear_error();
    return done && written == 32;
}

size_t ctls_server_name(const ctls_session *session, char *out, size_t room) {
    const char *name = SSL_get_servername(session->ssl, TLSEXT_NAMETYPE_host_name);
    size_t length = name == NULL ? 0 : strlen(name);
    if (length > room) return 0;
    memcpy(out, name == NULL ? "" : name, length);
    return length;
}
