// The scan as machines without SSE2 have it, under other names, for the test that compares the two.
#ifndef CSCAN_SCALAR_H
#define CSCAN_SCALAR_H

#include <stddef.h>
#include <stdint.h>

/// Reads canonical lines with both scans. 0: they agree on every field and on where they stopped.
int cscan_compare_lines(const uint8_t *bytes, size_t count);
/// The same for a request line, a path, a host of `host` bytes, a value, a search and a UUID.
int cscan_compare_rest(const uint8_t *bytes, size_t count, size_t host);

#endif
