#include "CRE2.h"

#include <cstdio>
#include <re2/re2.h>

void *cre2_compile(
    const char *pattern, size_t count, int64_t memory, char *reason, size_t reason_capacity) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(memory);
    options.set_encoding(re2::RE2::Options::EncodingLatin1);  // Paths and fields are bytes.
    auto *compiled = new re2::RE2(re2::StringPiece(pattern, count), options);
    if (compiled->ok()) return compiled;
    snprintf(reason, reason_capacity, "%s", compiled->error().c_str());
    delete compiled;
    return nullptr;
}

int cre2_full_match(const void *pattern, const uint8_t *text, size_t count) {
    auto *compiled = static_cast<const re2::RE2 *>(pattern);
    return re2::RE2::FullMatch(
        re2::StringPiece(reinterpret_cast<const char *>(text), count), *compiled);
}

void cre2_free(void *pattern) { delete static_cast<re2::RE2 *>(pattern); }
