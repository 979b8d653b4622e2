// Certificates, authorities and tickets: what a listener or a service holds for all its connections.

#include "Internal.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    // Not before the first server context: drawing them starts the library, which takes megabytes.
    int are_drawn;
    struct ticket_key keys[2];
};

static void explain(char *why, size_t room) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    snprintf(why, room, "%s", reason == NULL ? "unknown error" : reason);
    ERR_clear_error();
}

// ---- tickets

static int new_key(struct ticket_key *key) {
    return RAND_bytes((unsigned char *)key, sizeof *key) == 1;
}

ctls_tickets *ctls_tickets_new(void) {
    ctls_tickets *tickets = calloc(1, sizeof *tickets);
    if (tickets == NULL) return NULL;
    pthread_mutex_init(&tickets->lock, NULL);
    return tickets;
}

static int draw_keys(ctls_tickets *tickets) {
    pthread_mutex_lock(&tickets->lock);
    if (!tickets->are_drawn) tickets->are_drawn = new_key(&tickets->keys[0]) && new_key(&tickets->keys[1]);
    int are_drawn = tickets->are_drawn;
    pthread_mutex_unlock(&tickets->lock);
    return are_drawn;
}

void ctls_tickets_rotate(ctls_tickets *tickets) {
    struct ticket_key key;
    pthread_mutex_lock(&tickets->lock);
    if (tickets->are_drawn && new_key(&key)) {
        tickets->keys[1] = tickets->keys[0];
        tickets->keys[0] = key;
        OPENSSL_cleanse(&key, sizeof key);
    }
    pthread_mutex_unlock(&tickets->lock);
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
    ctls_session *session = SSL_get_ex_data(ssl, ctls_session_index);
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
    ctls_prepare();
    ctls_context *context = calloc(1, sizeof *context);
    if (context == NULL) return NULL;
    context->references = 1;
    context->is_server = is_server;
    context->alpn_count = (unsigned int)(count < sizeof context->alpn ? count : sizeof context->alpn);
    if (count > 0) memcpy(context->alpn, alpn, context->alpn_count);
    return context;
}

ctls_context *ctls_server_new(ctls_tickets *tickets, int modern, const uint8_t *alpn, size_t count) {
    if (!draw_keys(tickets)) return NULL;
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

// ---- what files say of themselves

static int64_t seconds(const ASN1_TIME *time) {
    struct tm parts;
    return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

int ctls_certificate_facts(const char *pem, size_t count, int n, int64_t *not_before, int64_t *not_after,
                           char *subject, size_t room) {
    BIO *in = BIO_new_mem_buf(pem, (int)count);
    X509 *certificate = NULL;
    for (int i = 0; in != NULL && i <= n; i++) {
        X509_free(certificate);
        certificate = PEM_read_bio_X509_AUX(in, NULL, no_passphrase, NULL);
        if (certificate == NULL) break;
    }
    int found = certificate != NULL;
    if (found) {
        *not_before = seconds(X509_get0_notBefore(certificate));
        *not_after = seconds(X509_get0_notAfter(certificate));
        if (X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, subject, (int)room) < 0)
            snprintf(subject, room, "%s", "");
    }
    X509_free(certificate);
    BIO_free(in);
    ERR_clear_error();
    return found;
}

int ctls_certificate_of_key(const char *pem, size_t count, const char *key, size_t key_count) {
    BIO *in = BIO_new_mem_buf(pem, (int)count), *key_in = BIO_new_mem_buf(key, (int)key_count);
    EVP_PKEY *private = key_in == NULL ? NULL : PEM_read_bio_PrivateKey(key_in, NULL, no_passphrase, NULL);
    int found = private == NULL ? -2 : -1;
    X509 *certificate;
    for (int i = 0; found == -1 && in != NULL; i++) {
        certificate = PEM_read_bio_X509_AUX(in, NULL, no_passphrase, NULL);
        if (certificate == NULL) break;
        if (X509_check_private_key(certificate, private) == 1) found = i;
        X509_free(certificate);
    }
    EVP_PKEY_free(private);
    BIO_free(in);
    BIO_free(key_in);
    ERR_clear_error();
    return found;
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
