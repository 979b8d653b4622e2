// Words and vectors of sixteen bytes, for the scans of this target alone.
#ifndef VECTORS_H
#define VECTORS_H

#include <stddef.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static inline uint64_t load8(const uint8_t *p) {
    uint64_t word;
    __builtin_memcpy(&word, p, 8);
    return word;
}

static inline int is_alphanumeric(uint8_t b) {
    return (uint8_t)((b | 0x20) - 'a') < 26 || (uint8_t)(b - '0') < 10;
}

#if defined(__SSE2__)
// Sixteen bytes, or what is left of them with zeros behind: never a byte past `count`.
static inline __m128i load16(const uint8_t *bytes, size_t count) {
    if (__builtin_expect(count >= 16, 1)) return _mm_loadu_si128((const __m128i *)bytes);
    uint8_t some[16] = {0};
    uint8_t *to = some;
    if (count & 8) { __builtin_memcpy(to, bytes, 8); to += 8; bytes += 8; }
    if (count & 4) { __builtin_memcpy(to, bytes, 4); to += 4; bytes += 4; }
    if (count & 2) { __builtin_memcpy(to, bytes, 2); to += 2; bytes += 2; }
    if (count & 1) *to = *bytes;
    return _mm_loadu_si128((const __m128i *)some);
}

// Unsigned v - from <= span, byte by byte.
static inline __m128i within(__m128i v, char from, char span) {
    __m128i distance = _mm_sub_epi8(v, _mm_set1_epi8(from));
    return _mm_cmpeq_epi8(_mm_min_epu8(distance, _mm_set1_epi8(span)), distance);
}

static inline __m128i is(__m128i v, char byte) { return _mm_cmpeq_epi8(v, _mm_set1_epi8(byte)); }

static inline __m128i alphanumeric(__m128i v) {
    __m128i folded = _mm_or_si128(v, _mm_set1_epi8(0x20));
    return _mm_or_si128(within(folded, 'a', 25), within(v, '0', 9));
}

static inline unsigned mask(__m128i v) { return (unsigned)_mm_movemask_epi8(v); }

// Bytes that a field value may not have: controls but HTAB, and DEL.
static inline unsigned ends_value(__m128i v) {
    const __m128i low = _mm_set1_epi8(0x1f);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, low), v);
    return mask(_mm_or_si128(_mm_andnot_si128(is(v, 0x09), control), is(v, 0x7f)));
}
#endif

#endif
