// Byte scans of the HTTP/1.1 grammar. In a C target of their own, because vector intrinsics and the
// system headers that CPlatform needs do not build in one module.
#ifndef CSCAN_H
#define CSCAN_H

#include <stddef.h>
#include <stdint.h>

/// Bytes from the start that may stand in a field value (RFC 9110 §5.5): HTAB, SP, VCHAR, obs-text.
size_t cscan_value(const uint8_t *bytes, size_t count);
/// A "%", "//" or "/." is in the path: it is not in normal form, or may not be.
#define CSCAN_PATH_ABNORMAL 1
/// Bytes are in the path that RFC 3986 §3.3 wants escaped, and that clients leave as they are.
#define CSCAN_PATH_RAW 2

/// Bytes from the start that may stand in a path: all but controls, the space, "?" and "#". `form`
/// gets the bits above; 0 means that the path is in normal form.
size_t cscan_path(const uint8_t *bytes, size_t count, int *form);
/// Bytes from the start that may stand in a query: those of a path, and "?".
size_t cscan_query(const uint8_t *bytes, size_t count);
/// Bytes from the start that are token characters (RFC 9110 §5.6.2).
size_t cscan_token(const uint8_t *bytes, size_t count);

/// A field line by positions in the head's bytes.
struct cscan_field {
    uint32_t name_start, name_count, value_start, value_count;
    /// The name's number in the table of names, 0 for others.
    uint8_t known;
    uint8_t is_nominated;
    /// Sent as `name: value CRLF`, one space and no blanks behind the value.
    uint8_t is_canonical;
};

/// One place of a hash table of names that have numbers: the name with bit 5 set in each byte, its
/// first 8 bytes, its last 8, and 8 from the ninth on if it is longer than 16. What a shorter name
/// lacks is 0. 2 to 24 lower-case letters, digits and "-".
struct cscan_name {
    uint64_t first, last, middle;
    uint32_t length;
    /// 1...63; 0 for a place without a name.
    uint32_t number;
};
/// Places of the table; the multiplier puts each name in a place of its own.
#define CSCAN_NAME_PLACES 128

/// The field lines of one head. Memory belongs to whoever made the table.
struct cscan_table {
    struct cscan_field *fields;
    /// For each number that was seen the position of its first line.
    uint32_t *places;
    uint32_t count, max;
    /// A bit for each number that was seen, and seen again; bit 0 for other names.
    uint64_t seen, repeated;
    uint32_t is_canonical;
};

/// Appends a line. 0: the table is full.
static inline int cscan_append(struct cscan_table *table, struct cscan_field field) {
    if (table->count >= table->max) return 0;
    uint64_t bit = 1ull << (field.known & 63);
    if (table->seen & bit)
        table->repeated |= bit;
    else
        table->places[field.known & 63] = table->count;
    table->seen |= bit;
    table->is_canonical &= field.is_canonical;
    table->fields[table->count++] = field;
    return 1;
}

/// The number of a name, or 0.
uint8_t cscan_known(
    const uint8_t *name, size_t count, const struct cscan_name *names, uint64_t multiplier);
/// Fills the place that a name has in a table of names. 0: the place is taken by another.
int cscan_put_name(
    const uint8_t *name, size_t count, uint32_t number, struct cscan_name *names,
    uint64_t multiplier);

/// Reads lines from `bytes + from` on that need no second look: canonical ones, a name of at most
/// 28 letters, digits and "-". Stops at another kind of line, at one that is not all there, at one
/// with fewer than 16 bytes from its start to the end of the bytes, and when the table is full;
/// whoever asked looks closer. Returns where it stopped.
size_t cscan_lines(
    const uint8_t *bytes, size_t count, size_t from, const struct cscan_name *names,
    uint64_t multiplier, struct cscan_table *table);

/// A request line that needs no second look: a method of capitals, a plain path, perhaps a query,
/// and HTTP/1.1. Positions from its start.
struct cscan_request_line {
    uint32_t method_end;
    /// The path's end, and the target's: further only when there is a query, one past its "?".
    uint32_t path_end, target_end;
};
/// Reads the line at `bytes`; with its CRLF it is `target_end + 11` bytes. 0: it is another kind of
/// line, or not all there.
int cscan_request(const uint8_t *bytes, size_t count, struct cscan_request_line *line);

/// Bytes from the start that are in the target of an ordinary request: letters, digits and "-_/",
/// without "//". What stops it needs a closer look, or is the end.
size_t cscan_plain_path(const uint8_t *bytes, size_t count);

/// Bytes from the start that are letters, digits, "-", "." or "_". `readable >= count` bytes may be
/// looked at.
size_t cscan_host(const uint8_t *bytes, size_t count, size_t readable);

/// An IPv4 address of network order in a word, as text; returns its length, at most 15.
size_t cscan_ipv4(uint32_t address, uint8_t *out);

/// Copies bytes to memory that does not overlap with them. Inlined, so that short literals become
/// stores.
static inline void cscan_copy(uint8_t *to, const uint8_t *from, size_t count) {
    __builtin_memcpy(to, from, count);
}

/// Bytes from the start that stand in a JSON string as they are: 0x20...0x7e but the quote and the
/// backslash.
size_t cscan_plain_text(const uint8_t *bytes, size_t count);

/// A number in decimal digits without leading zeros; returns how many, at most 20.
size_t cscan_decimal(uint64_t value, uint8_t *out);

/// Where a byte first stands, or `count`.
size_t cscan_find(const uint8_t *bytes, size_t count, uint8_t byte);

/// Copies ASCII with its letters in lower case.
void cscan_lower(const uint8_t *bytes, size_t count, uint8_t *out);

/// The scalar form, for machines without SSE2 and for the test that compares the two.
size_t cscan_value_scalar(const uint8_t *bytes, size_t count);

/// Equality of a token with a name of lower-case letters, digits and "-", without case: eight bytes
/// at a time, since no other token character becomes one of these when bit 5 is set.
int cscan_equal_name(const uint8_t *token, const uint8_t *name, size_t count);

/// The 36 characters of a UUID of two words.
void cscan_uuid(uint64_t high, uint64_t low, uint8_t *out);

/// Equality of two runs of bytes.
int cscan_equal(const uint8_t *a, const uint8_t *b, size_t count);

/// Case-insensitive equality of two runs of ASCII; bytes above 127 compare as they are.
int cscan_equal_fold(const uint8_t *a, const uint8_t *b, size_t count);

#endif
