// The grammar of HTTP/1.1 heads.
#include "CScan.h"
#include "Vectors.h"

// RFC 9110 §5.6.2: "!#$%&'*+-.^_`|~", digits and letters.
static const uint8_t token_table[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
    ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

size_t cscan_token(const uint8_t *bytes, size_t count) {
    size_t i = 0;
    while (i + 4 <= count) {
        const uint8_t *p = bytes + i;
        if (!(token_table[p[0]] & token_table[p[1]] & token_table[p[2]] & token_table[p[3]])) break;
        i += 4;
    }
    while (i < count && token_table[bytes[i]]) i++;
    return i;
}

size_t cscan_value_scalar(const uint8_t *bytes, size_t count) {
    size_t i = 0;
    for (; i < count; i++) {
        uint8_t b = bytes[i];
        if ((b < 0x20 && b != 0x09) || b == 0x7f) break;
    }
    return i;
}

// 1: pchar and "/" (RFC 3986 §3.3). 2: "?". 4: in a path asks for a closer look. 8: bytes that the
// URL standard of browsers, or a client that knows no escapes, leaves as they are although RFC 3986
// does not allow them: all that remain but controls, the space and "#", which ends a target.
static const uint8_t target_table[256] = {
    ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['0' ... '9'] = 1,
    ['-'] = 1, ['_'] = 1, ['~'] = 1, ['!'] = 1, ['$'] = 1, ['&'] = 1, ['\''] = 1, ['('] = 1,
    [')'] = 1, ['*'] = 1, ['+'] = 1, [','] = 1, [';'] = 1, ['='] = 1, [':'] = 1, ['@'] = 1,
    ['%'] = 5, ['.'] = 5, ['/'] = 5, ['?'] = 2,
    ['['] = 12, [']'] = 12, ['{'] = 12, ['}'] = 12, ['|'] = 12, ['^'] = 12, ['`'] = 12,
    ['"'] = 12, ['<'] = 12, ['>'] = 12, ['\\'] = 12, [0x80 ... 0xff] = 12,
};

size_t cscan_path(const uint8_t *bytes, size_t count, int *form) {
    uint8_t last = 0;
    size_t i = 0;
    *form = 0;
    for (; i < count; i++) {
        uint8_t class = target_table[bytes[i]];
        if (!(class & 9)) break;
        if (class & 4) {
            if (class & 8)
                *form |= CSCAN_PATH_RAW;
            else if (bytes[i] == '%' || last == '/')
                *form |= CSCAN_PATH_ABNORMAL;
        }
        last = bytes[i];
    }
    return i;
}

size_t cscan_query(const uint8_t *bytes, size_t count) {
    size_t i = 0;
    while (i < count && (target_table[bytes[i]] & 11)) i++;
    return i;
}

size_t cscan_value(const uint8_t *bytes, size_t count) {
    size_t i = 0;
#if defined(__SSE2__)
    for (; i + 16 <= count; i += 16) {
        unsigned bad = ends_value(_mm_loadu_si128((const __m128i *)(bytes + i)));
        if (bad) return i + (size_t)__builtin_ctz(bad);
    }
#endif
    return i + cscan_value_scalar(bytes + i, count - i);
}

size_t cscan_plain_path(const uint8_t *bytes, size_t count) {
    size_t i = 0;
#if defined(__SSE2__)
    unsigned slash_before = 0;
    for (; i < count; i += 16) {
        __m128i v = load16(bytes + i, count - i);
        __m128i slash = is(v, '/');
        __m128i others = _mm_or_si128(is(v, '-'), is(v, '_'));
        unsigned stops = ~mask(_mm_or_si128(alphanumeric(v), _mm_or_si128(slash, others)));
        unsigned slashes = mask(slash);
        stops = (stops & 0xffff) | (slashes & (slashes << 1 | slash_before));
        if (stops) return i + (size_t)__builtin_ctz(stops);
        slash_before = slashes >> 15;
    }
    return count;
#else
    uint8_t last = 0;
    for (; i < count; i++) {
        uint8_t b = bytes[i];
        if (!is_alphanumeric(b) && b != '-' && b != '_' && (b != '/' || last == '/')) break;
        last = b;
    }
    return i;
#endif
}

int cscan_request(const uint8_t *bytes, size_t count, struct cscan_request_line *line) {
    if (count < 16) return 0;
    size_t method = 0;
    while (method < 14 && (uint8_t)(bytes[method] - 'A') < 26) method++;
    if (method == 0 || bytes[method] != ' ' || bytes[method + 1] != '/') return 0;
    size_t path = method + 1;
    path += cscan_plain_path(bytes + path, count - path);
    size_t end = path;
    if (end < count && bytes[end] == '?') {
        end++;
        end += cscan_query(bytes + end, count - end);
    }
    if (count - end < 11 || load8(bytes + end) != load8((const uint8_t *)" HTTP/1.") ||
        bytes[end + 8] != '1' || bytes[end + 9] != '\r' || bytes[end + 10] != '\n')
        return 0;
    line->method_end = (uint32_t)method;
    line->path_end = (uint32_t)path;
    line->target_end = (uint32_t)end;
    return 1;
}

size_t cscan_host(const uint8_t *bytes, size_t count, size_t readable) {
    size_t i = 0;
#if defined(__SSE2__)
    for (; i < count; i += 16) {
        __m128i v = load16(bytes + i, readable - i);
        __m128i others = _mm_or_si128(is(v, '-'), _mm_or_si128(is(v, '.'), is(v, '_')));
        unsigned stops = ~mask(_mm_or_si128(alphanumeric(v), others)) & 0xffff;
        if (stops) {
            i += (size_t)__builtin_ctz(stops);
            return i < count ? i : count;
        }
    }
    return count;
#else
    (void)readable;
    while (i < count && (is_alphanumeric(bytes[i]) || bytes[i] == '-' || bytes[i] == '.' ||
                         bytes[i] == '_'))
        i++;
    return i;
#endif
}

// Where a name of letters, digits and "-" ends, or 32 when it is longer or the bytes end first.
// At least 16 bytes lie in front of `end`.
static inline size_t name_length(const uint8_t *bytes, const uint8_t *end) {
#if defined(__SSE2__)
    unsigned stops = mask(_mm_or_si128(
        alphanumeric(_mm_loadu_si128((const __m128i *)bytes)),
        is(_mm_loadu_si128((const __m128i *)bytes), '-'))) ^ 0xffff;
    if (__builtin_expect(stops != 0, 1)) return (size_t)__builtin_ctz(stops);
    if (end - bytes < 32) return 32;
    __m128i v = _mm_loadu_si128((const __m128i *)(bytes + 16));
    stops = mask(_mm_or_si128(alphanumeric(v), is(v, '-'))) ^ 0xffff;
    return stops ? 16 + (size_t)__builtin_ctz(stops) : 32;
#else
    size_t i = 0, limit = end - bytes < 32 ? 16 : 32;
    while (i < limit && (is_alphanumeric(bytes[i]) || bytes[i] == '-')) i++;
    return i < limit ? i : 32;
#endif
}

// The first byte from `at` on that may not stand in a value, or `end`. At least 16 bytes lie in
// front of `end`.
static const uint8_t *value_end(const uint8_t *at, const uint8_t *end) {
#if defined(__SSE2__)
    while (end - at >= 16) {
        unsigned stops = ends_value(_mm_loadu_si128((const __m128i *)at));
        if (stops) return at + __builtin_ctz(stops);
        at += 16;
    }
    // The last bytes are looked at once more, together with those in front of them.
    unsigned stops = ends_value(_mm_loadu_si128((const __m128i *)(end - 16))) >> (16 - (end - at));
    return stops ? at + __builtin_ctz(stops) : end;
#else
    return at + cscan_value_scalar(at, (size_t)(end - at));
#endif
}

// The same, faster for values of visible ASCII and spaces.
static inline const uint8_t *plain_value_end(const uint8_t *at, const uint8_t *end) {
#if defined(__SSE2__)
    const uint8_t *last = end - 16;
    while (__builtin_expect(at <= last, 1)) {
        // One more, and as signed numbers 0x20...0x7e are 0x21...0x7f, and all others are less.
        __m128i next = _mm_add_epi8(
            _mm_loadu_si128((const __m128i *)at), _mm_set1_epi8(1));
        unsigned stops = mask(_mm_cmpgt_epi8(_mm_set1_epi8(0x21), next));
        if (stops) {
            at += __builtin_ctz(stops);
            return __builtin_expect(*at == '\r', 1) ? at : value_end(at, end);
        }
        at += 16;
    }
#endif
    return value_end(at, end);
}

// A name's words as `cscan_name` has them; at least 8 bytes can be read at `name`.
static inline void fold_name(
    const uint8_t *name, size_t count, uint64_t *first, uint64_t *last) {
    const uint64_t bits = 0x2020202020202020ull;
    uint64_t word = load8(name) | bits;
    if (__builtin_expect(count >= 8, 1)) {
        *first = word;
        *last = load8(name + count - 8) | bits;
    } else {
        *first = word & (~0ull >> (64 - 8 * count));
        *last = 0;
    }
}

static inline size_t name_place(uint64_t first, uint64_t last, uint64_t multiplier) {
    return (size_t)(((first ^ (last << 1)) * multiplier) >> 57);
}

static inline uint8_t find_name(
    const uint8_t *name, size_t count, const struct cscan_name *names, uint64_t multiplier) {
    uint64_t first, last;
    fold_name(name, count, &first, &last);
    const struct cscan_name *found = names + name_place(first, last, multiplier);
    if (found->first != first || found->last != last || found->length != count) return 0;
    if (count > 16 && (load8(name + 8) | 0x2020202020202020ull) != found->middle) return 0;
    return (uint8_t)found->number;
}

uint8_t cscan_known(
    const uint8_t *name, size_t count, const struct cscan_name *names, uint64_t multiplier) {
    uint8_t copy[32] = {0};
    if (count == 0 || count > 24) return 0;
    __builtin_memcpy(copy, name, count);
    // Only these bytes keep their meaning when bit 5 is set in them.
    for (size_t i = 0; i < count; i++)
        if (!is_alphanumeric(copy[i]) && copy[i] != '-') return 0;
    return find_name(copy, count, names, multiplier);
}

int cscan_put_name(
    const uint8_t *name, size_t count, uint32_t number, struct cscan_name *names,
    uint64_t multiplier) {
    uint8_t copy[32] = {0};
    if (count == 0 || count > 24) return 0;
    __builtin_memcpy(copy, name, count);
    struct cscan_name entry = {.length = (uint32_t)count, .number = number};
    fold_name(copy, count, &entry.first, &entry.last);
    entry.middle = count > 16 ? load8(copy + 8) | 0x2020202020202020ull : 0;
    struct cscan_name *place = names + name_place(entry.first, entry.last, multiplier);
    if (place->number != 0) return 0;
    *place = entry;
    return 1;
}

size_t cscan_lines(
    const uint8_t *bytes, size_t count, size_t from, const struct cscan_name *names,
    uint64_t multiplier, struct cscan_table *table) {
    const uint8_t *end = bytes + count, *at = bytes + from;
    // In variables: the compiler cannot know that the stores below do not change the table.
    struct cscan_field *field = table->fields + table->count;
    struct cscan_field *fields_end = table->fields + table->max;
    uint32_t *places = table->places;
    uint64_t seen = table->seen, repeated = table->repeated;
    while (end - at >= 16 && field < fields_end) {
        size_t name = name_length(at, end);
        if (name - 1 >= 28 || (size_t)(end - at) < name + 4) break;
        const uint8_t *value = at + name + 2;
        uint16_t colon;
        __builtin_memcpy(&colon, at + name, 2);
        if (colon != (':' | ' ' << 8) || *value == ' ' || *value == '\t') break;
        const uint8_t *past = plain_value_end(value, end);
        uint16_t crlf;
        if (end - past < 2) break;
        __builtin_memcpy(&crlf, past, 2);
        // In front of an empty value stands the one space that belongs there.
        if (crlf != ('\r' | '\n' << 8) || past[-1] == '\t' || (past[-1] == ' ' && past != value))
            break;
        uint32_t known = find_name(at, name, names, multiplier);
        uint64_t bit = 1ull << (known & 63);
        field->name_start = (uint32_t)(at - bytes);
        field->name_count = (uint32_t)name;
        field->value_start = (uint32_t)(value - bytes);
        field->value_count = (uint32_t)(past - value);
        field->known = (uint8_t)known;
        field->is_nominated = 0;
        field->is_canonical = 1;
        if (seen & bit)
            repeated |= bit;
        else
            places[known] = (uint32_t)(field - table->fields);
        seen |= bit;
        field++;
        at = past + 2;
    }
    table->count = (uint32_t)(field - table->fields);
    table->seen = seen;
    table->repeated = repeated;
    return (size_t)(at - bytes);
}
