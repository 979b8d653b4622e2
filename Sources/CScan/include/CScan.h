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

/// A field line that needs no second look: `name: value CRLF`, the name of letters, digits and "-",
/// at most 28 of them, one space, no blank at either end of the value.
struct cscan_line {
    /// Of the name; the value starts `name_length + 2` bytes later.
    uint32_t start, name_length, value_length;
    /// The name with bit 5 set in each byte: its first 8 bytes, and its last 8. Missing bytes of a
    /// shorter name are 0 in the first, which is the whole name then, and the second is 0.
    uint64_t first, last;
};
/// Reads such lines from `bytes + from` on, until another kind of line, or one that is not all
/// there, or one with fewer than 16 bytes from its start to the end of the bytes; whoever asked
/// looks closer at that. Returns how many there are.
size_t cscan_lines(
    const uint8_t *bytes, size_t count, size_t from, struct cscan_line *lines, size_t lines_max);

/// Bytes from the start that are in the target of an ordinary request: letters, digits and "-_/",
/// without "//". What stops it needs a closer look, or is the end.
size_t cscan_plain_path(const uint8_t *bytes, size_t count);

/// Bytes from the start that are letters, digits, "-", "." or "_".
size_t cscan_host(const uint8_t *bytes, size_t count);

/// An IPv4 address of network order in a word, as text; returns its length, at most 15.
size_t cscan_ipv4(uint32_t address, uint8_t *out);

/// Copies bytes to memory that does not overlap with them. Inlined, so that short literals become
/// stores.
static inline void cscan_copy(uint8_t *to, const uint8_t *from, size_t count) {
    __builtin_memcpy(to, from, count);
}

/// Where a byte first stands, or `count`.
size_t cscan_find(const uint8_t *bytes, size_t count, uint8_t byte);

/// Copies ASCII with its letters in lower case.
void cscan_lower(const uint8_t *bytes, size_t count, uint8_t *out);

/// The scalar form, for machines without SSE2 and for the test that compares the two.
size_t cscan_value_scalar(const uint8_t *bytes, size_t count);

/// Equality of a token with a name of lower-case letters, digits and "-", without case: eight bytes
/// at a time, since no other token character becomes one of these when bit 5 is set.
int cscan_equal_name(const uint8_t *token, const uint8_t *name, size_t count);

/// Eight lower-case hex digits of a 32-bit value, the first in the lowest byte.
uint64_t cscan_hex8(uint32_t value);

/// The 36 characters of a UUID of two words.
void cscan_uuid(uint64_t high, uint64_t low, uint8_t *out);

/// Equality of two runs of bytes.
int cscan_equal(const uint8_t *a, const uint8_t *b, size_t count);

/// Case-insensitive equality of two runs of ASCII; bytes above 127 compare as they are.
int cscan_equal_fold(const uint8_t *a, const uint8_t *b, size_t count);

#endif
