// RE2 behind three C functions.
#ifndef CRE2_H
#define CRE2_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Compiles a pattern. Returns NULL and writes a NUL-terminated reason when it is not RE2's syntax
/// or needs more than `memory` bytes.
void *cre2_compile(
    const char *pattern, size_t count, int64_t memory, char *reason, size_t reason_capacity);
/// Whether the whole of the text matches.
int cre2_full_match(const void *pattern, const uint8_t *text, size_t count);
void cre2_free(void *pattern);

#ifdef __cplusplus
}
#endif
#endif
