// Text of any kind: searched, compared, and written.
#include "CScan.h"
#include "Vectors.h"

static const uint8_t plain_table[256] = {
    [0x20 ... 0x21] = 1, [0x23 ... 0x5b] = 1, [0x5d ... 0x7e] = 1,
};

size_t cscan_plain_text(const uint8_t *bytes, size_t count) {
    size_t i = 0;
#if defined(__SSE2__)
    for (; i + 16 <= count; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(bytes + i));
        // One more, and as signed numbers 0x20...0x7e are 0x21...0x7f, and all others are less.
        __m128i others = _mm_cmpgt_epi8(
            _mm_set1_epi8(0x21), _mm_add_epi8(v, _mm_set1_epi8(1)));
        unsigned stops = mask(_mm_or_si128(others, _mm_or_si128(is(v, '"'), is(v, '\\'))));
        if (stops) return i + (size_t)__builtin_ctz(stops);
    }
#endif
    while (i < count && plain_table[bytes[i]]) i++;
    return i;
}

size_t cscan_decimal(uint64_t value, uint8_t *out) {
    uint8_t digits[20];
    size_t at = sizeof digits;
    while (value >= 100) {
        unsigned pair = (unsigned)(value % 100);
        value /= 100;
        digits[--at] = (uint8_t)('0' + pair % 10);
        digits[--at] = (uint8_t)('0' + pair / 10);
    }
    if (value >= 10) {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
    digits[--at] = (uint8_t)('0' + value);
    size_t count = sizeof digits - at;
    for (size_t i = 0; i < count; i++) out[i] = digits[at + i];
    return count;
}

size_t cscan_find(const uint8_t *bytes, size_t count, uint8_t byte) {
    size_t i = 0;
#if defined(__SSE2__)
    for (; i + 16 <= count; i += 16) {
        unsigned found = mask(is(_mm_loadu_si128((const __m128i *)(bytes + i)), (char)byte));
        if (found) return i + (size_t)__builtin_ctz(found);
    }
#endif
    while (i < count && bytes[i] != byte) i++;
    return i;
}

void cscan_lower(const uint8_t *bytes, size_t count, uint8_t *out) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        // A byte is a capital when adding moves it past 0x80 for "A" and not for "Z" + 1.
        uint64_t word = load8(bytes + i), low = word & 0x7f7f7f7f7f7f7f7full;
        uint64_t from_a = low + 0x3f3f3f3f3f3f3f3full, past_z = low + 0x2525252525252525ull;
        word |= (from_a & ~past_z & ~word & 0x8080808080808080ull) >> 2;
        __builtin_memcpy(out + i, &word, 8);
    }
    for (; i < count; i++) out[i] = (uint8_t)(bytes[i] - 'A') < 26 ? bytes[i] | 0x20 : bytes[i];
}

size_t cscan_ipv4(uint32_t address, uint8_t *out) {
    uint8_t *at = out;
    for (int shift = 24; shift >= 0; shift -= 8) {
        unsigned octet = address >> shift & 255;
        if (octet >= 100) {
            unsigned hundreds = octet * 41 >> 12;
            *at++ = (uint8_t)('0' + hundreds);
            octet -= hundreds * 100;
            unsigned tens = octet * 205 >> 11;
            *at++ = (uint8_t)('0' + tens);
            octet -= tens * 10;
        } else if (octet >= 10) {
            unsigned tens = octet * 205 >> 11;
            *at++ = (uint8_t)('0' + tens);
            octet -= tens * 10;
        }
        *at++ = (uint8_t)('0' + octet);
        *at++ = '.';
    }
    return (size_t)(at - out) - 1;
}

static inline uint8_t lower(uint8_t b) { return (uint8_t)(b - 'A') < 26 ? b | 0x20 : b; }

#if !defined(__SSE2__)
static inline uint64_t hex8(uint32_t value) {
    // Spread the nibbles to bytes, most significant first in memory, then add '0', or 'a' - 10.
    uint64_t x = __builtin_bswap32(value);
    x = (x | x << 16) & 0x0000ffff0000ffffull;
    x = (x | x << 8) & 0x00ff00ff00ff00ffull;
    x = (x >> 4 & 0x000f000f000f000full) | (x & 0x000f000f000f000full) << 8;
    uint64_t letters = (x + 0x0606060606060606ull) >> 4 & 0x0101010101010101ull;
    return x + 0x3030303030303030ull + letters * 0x27;
}
#endif

void cscan_uuid(uint64_t high, uint64_t low, uint8_t *out) {
    uint8_t digits[32];
#if defined(__SSE2__)
    // Both nibbles of every byte, the upper first, then '0' added, or 'a' - 10.
    __m128i bytes = _mm_set_epi64x(
        (long long)__builtin_bswap64(low), (long long)__builtin_bswap64(high));
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i upper = _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble);
    __m128i lower = _mm_and_si128(bytes, nibble);
    __m128i pairs[2] = {_mm_unpacklo_epi8(upper, lower), _mm_unpackhi_epi8(upper, lower)};
    for (int i = 0; i < 2; i++) {
        __m128i letters = _mm_and_si128(
            _mm_cmpgt_epi8(pairs[i], _mm_set1_epi8(9)), _mm_set1_epi8('a' - '0' - 10));
        _mm_storeu_si128(
            (__m128i *)(digits + 16 * i),
            _mm_add_epi8(_mm_add_epi8(pairs[i], letters), _mm_set1_epi8('0')));
    }
#else
    uint64_t text[4] = {
        hex8((uint32_t)(high >> 32)), hex8((uint32_t)high), hex8((uint32_t)(low >> 32)),
        hex8((uint32_t)low),
    };
    __builtin_memcpy(digits, text, 32);
#endif
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

int cscan_equal(const uint8_t *a, const uint8_t *b, size_t count) {
    if (count >= 8) {
        for (size_t i = 0; i + 8 < count; i += 8)
            if (load8(a + i) != load8(b + i)) return 0;
        return load8(a + count - 8) == load8(b + count - 8);
    }
    for (size_t i = 0; i < count; i++)
        if (a[i] != b[i]) return 0;
    return 1;
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
