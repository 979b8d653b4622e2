// Byte scans of the HTTP/1.1 grammar. In a C target of their own, because vector intrinsics and the
// system headers that CPlatform needs do not build in one module.
#ifndef CSCAN_H
#define CSCAN_H

#include <stddef.h>
#include <stdint.h>

/// Bytes from the start that may stand in a field value (RFC 9110 §5.5): HTAB, SP, VCHAR, obs-text.
size_t cscan_value(const uint8_t *bytes, size_t count);
/// Bytes from the start that may stand in a path: pchar and "/" (RFC 3986 §3.3). `plain` becomes 0
/// when a "%", "//" or "/." among them means that the path must be normalised before it is matched.
size_t cscan_path(const uint8_t *bytes, size_t count, int *plain);
/// Bytes from the start that may stand in a query: RFC 3986 §3.4, and what browsers leave
/// unescaped.
size_t cscan_query(const uint8_t *bytes, size_t count);
/// Bytes from the start that are token characters (RFC 9110 §5.6.2).
size_t cscan_token(const uint8_t *bytes, size_t count);

/// The scalar form, for machines without SSE2 and for the test that compares the two.
size_t cscan_value_scalar(const uint8_t *bytes, size_t count);

/// Equality of a token with a name of lower-case letters, digits and "-", without case: eight bytes
/// at a time, since no other token character becomes one of these when bit 5 is set.
int cscan_equal_name(const uint8_t *token, const uint8_t *name, size_t count);

/// Eight lower-case hex digits of a 32-bit value, the first in the lowest byte.
uint64_t cscan_hex8(uint32_t value);

/// The 36 characters of a UUID of two words.
void cscan_uuid(uint64_t high, uint64_t low, uint8_t *out);

/// Case-insensitive equality of two runs of ASCII; bytes above 127 compare as they are.
int cscan_equal_fold(const uint8_t *a, const uint8_t *b, size_t count);

#endif
