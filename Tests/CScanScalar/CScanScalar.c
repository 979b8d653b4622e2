// The production source once more, without vectors and under other names.
#define cscan_append scalar_append
#define cscan_copy scalar_copy
#define cscan_decimal scalar_decimal
#define cscan_equal scalar_equal
#define cscan_equal_fold scalar_equal_fold
#define cscan_equal_name scalar_equal_name
#define cscan_find scalar_find
#define cscan_host scalar_host
#define cscan_ipv4 scalar_ipv4
#define cscan_known scalar_known
#define cscan_lines scalar_lines
#define cscan_lower scalar_lower
#define cscan_path scalar_path
#define cscan_plain_text scalar_plain_text
#define cscan_plain_path scalar_plain_path
#define cscan_put_name scalar_put_name
#define cscan_query scalar_query
#define cscan_request scalar_request
#define cscan_token scalar_token
#define cscan_uuid scalar_uuid
#define cscan_value scalar_value
#define cscan_value_scalar scalar_value_scalar
#undef __SSE2__
#include "../../Sources/Ground/CScan/CScan.c"
#include "../../Sources/Ground/CScan/Text.c"
#undef cscan_host
#undef cscan_find
#undef cscan_lines
#undef cscan_plain_path
#undef cscan_plain_text
#undef cscan_put_name
#undef cscan_request
#undef cscan_uuid
#undef cscan_value

size_t cscan_host(const uint8_t *bytes, size_t count, size_t readable);
size_t cscan_find(const uint8_t *bytes, size_t count, uint8_t byte);
size_t cscan_lines(
    const uint8_t *bytes, size_t count, size_t from, const struct cscan_name *names,
    uint64_t multiplier, struct cscan_table *table);
size_t cscan_plain_path(const uint8_t *bytes, size_t count);
size_t cscan_plain_text(const uint8_t *bytes, size_t count);
int cscan_request(const uint8_t *bytes, size_t count, struct cscan_request_line *line);
void cscan_uuid(uint64_t high, uint64_t low, uint8_t *out);
size_t cscan_value(const uint8_t *bytes, size_t count);

#include "CScanScalar.h"
#include <string.h>

static const uint64_t multiplier = 0x9e3779b97f4a7c15ull;

int cscan_compare_lines(const uint8_t *bytes, size_t count) {
    static struct cscan_name names[CSCAN_NAME_PLACES];
    if (names[0].number == 0) {
        const char *some[] = {"host", "cookie", "content-length", "transfer-encoding"};
        for (uint32_t i = 0; i < 4; i++)
            scalar_put_name((const uint8_t *)some[i], strlen(some[i]), i + 1, names, multiplier);
    }
    struct cscan_field a[32], b[32];
    uint32_t places_a[64] = {0}, places_b[64] = {0};
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    struct cscan_table one = {.fields = a, .places = places_a, .max = 32, .is_canonical = 1};
    struct cscan_table two = {.fields = b, .places = places_b, .max = 32, .is_canonical = 1};
    size_t end_one = cscan_lines(bytes, count, 0, names, multiplier, &one);
    size_t end_two = scalar_lines(bytes, count, 0, names, multiplier, &two);
    return end_one != end_two || one.count != two.count || one.seen != two.seen ||
           one.repeated != two.repeated || memcmp(a, b, sizeof a) != 0 ||
           memcmp(places_a, places_b, sizeof places_a) != 0;
}

int cscan_compare_rest(const uint8_t *bytes, size_t count, size_t host) {
    struct cscan_request_line one = {0}, two = {0};
    uint8_t text_one[36], text_two[36];
    if (cscan_request(bytes, count, &one) != scalar_request(bytes, count, &two)) return 1;
    if (memcmp(&one, &two, sizeof one) != 0) return 2;
    if (cscan_plain_path(bytes, count) != scalar_plain_path(bytes, count)) return 3;
    if (cscan_host(bytes, host, count) != scalar_host(bytes, host, count)) return 4;
    if (cscan_value(bytes, count) != scalar_value(bytes, count)) return 5;
    if (cscan_plain_text(bytes, count) != scalar_plain_text(bytes, count)) return 8;
    if (cscan_find(bytes, count, ';') != scalar_find(bytes, count, ';')) return 6;
    if (count >= 16) {
        cscan_uuid(load8(bytes), load8(bytes + 8), text_one);
        scalar_uuid(load8(bytes), load8(bytes + 8), text_two);
        if (memcmp(text_one, text_two, 36) != 0) return 7;
    }
    return 0;
}
