#include "CScan.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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

// 1: pchar and "/" (RFC 3986 §3.3). 2: "?" and the bytes that the URL standard of browsers leaves
// unescaped in a query although RFC 3986 does not allow them. 4: pchar that asks for a closer look.
static const uint8_t target_table[256] = {
    ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['0' ... '9'] = 1,
    ['-'] = 1, ['_'] = 1, ['~'] = 1, ['!'] = 1, ['$'] = 1, ['&'] = 1, ['\''] = 1, ['('] = 1,
    [')'] = 1, ['*'] = 1, ['+'] = 1, [','] = 1, [';'] = 1, ['='] = 1, [':'] = 1, ['@'] = 1,
    ['%'] = 5, ['.'] = 5, ['/'] = 5,
    ['?'] = 2, ['['] = 2, [']'] = 2, ['{'] = 2, ['}'] = 2, ['|'] = 2, ['^'] = 2, ['`'] = 2,
    ['"'] = 2, ['<'] = 2, ['>'] = 2, ['\\'] = 2,
};

size_t cscan_path(const uint8_t *bytes, size_t count, int *plain) {
    uint8_t last = 0;
    size_t i = 0;
    *plain = 1;
    for (; i < count; i++) {
        uint8_t class = target_table[bytes[i]];
        if (!(class & 1)) break;
        if (class & 4) {
            if (bytes[i] == '%' || last == '/') *plain = 0;
        }
        last = bytes[i];
    }
    return i;
}

size_t cscan_query(const uint8_t *bytes, size_t count) {
    size_t i = 0;
    while (i < count && (target_table[bytes[i]] & 3)) i++;
    return i;
}

size_t cscan_value(const uint8_t *bytes, size_t count) {
    size_t i = 0;
#if defined(__SSE2__)
    const __m128i low = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8(0x09), del = _mm_set1_epi8(0x7f);
    for (; i + 16 <= count; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(bytes + i));
        // Unsigned v <= 0x1f, as min(v, 0x1f) == v.
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, low), v);
        __m128i bad = _mm_or_si128(
            _mm_andnot_si128(_mm_cmpeq_epi8(v, tab), control), _mm_cmpeq_epi8(v, del));
        int mask = _mm_movemask_epi8(bad);
        if (mask) return i + (size_t)__builtin_ctz((unsigned)mask);
    }
#endif
    return i + cscan_value_scalar(bytes + i, count - i);
}

static inline uint8_t lower(uint8_t b) { return (uint8_t)(b - 'A') < 26 ? b | 0x20 : b; }

static inline uint64_t hex8(uint32_t value) {
    // Spread the nibbles to bytes, most significant first in memory, then add '0', or 'a' - 10.
    uint64_t x = __builtin_bswap32(value);
    x = (x | x << 16) & 0x0000ffff0000ffffull;
    x = (x | x << 8) & 0x00ff00ff00ff00ffull;
    x = (x >> 4 & 0x000f000f000f000full) | (x & 0x000f000f000f000full) << 8;
    uint64_t letters = (x + 0x0606060606060606ull) >> 4 & 0x0101010101010101ull;
    return x + 0x3030303030303030ull + letters * 0x27;
}

uint64_t cscan_hex8(uint32_t value) { return hex8(value); }

void cscan_uuid(uint64_t high, uint64_t low, uint8_t *out) {
    uint64_t text[4] = {
        hex8((uint32_t)(high >> 32)), hex8((uint32_t)high), hex8((uint32_t)(low >> 32)),
        hex8((uint32_t)low),
    };
    const uint8_t *digits = (const uint8_t *)text;
    __builtin_memcpy(out, digits, 8);
    out[8] = '-';
    __builtin_memcpy(out + 9, digits + 8, 4);
    out[13] = '-';
    __builtin_memcpy(out + 14, digits + 12, 4);
    out[18] = '-';
    __builtin_memcpy(out + 19, digits + 16, 4);
    out[23] = '-';
    __builtin_memcpy(out + 24, digits + 20, 12);
}

static inline uint64_t load8(const uint8_t *p) {
    uint64_t word;
    __builtin_memcpy(&word, p, 8);
    return word;
}

int cscan_equal_name(const uint8_t *token, const uint8_t *name, size_t count) {
    const uint64_t bits = 0x2020202020202020ull;
    if (count >= 8) {
        for (size_t i = 0; i + 8 < count; i += 8)
            if ((load8(token + i) | bits) != load8(name + i)) return 0;
        return (load8(token + count - 8) | bits) == load8(name + count - 8);
    }
    for (size_t i = 0; i < count; i++)
        if ((token[i] | 0x20) != name[i]) return 0;
    return 1;
}

int cscan_equal_fold(const uint8_t *a, const uint8_t *b, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (lower(a[i]) != lower(b[i])) return 0;
    return 1;
}
