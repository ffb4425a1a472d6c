/* Decimal numbers as most of them are written, read quickly and rounded right. What json_scan.c
 * reads arrays by; not for others. */
#ifndef LEDGE_BASE_JSON_QUICK_H
#define LEDGE_BASE_JSON_QUICK_H

#include "base/json_scan.h"

/* Reads numbers from j->p, where one is, as long as they are written plainly and a comma and a
 * further number follow, with one space at most; where `nested`, an array may end and the next
 * begin between two of them. type: FLOAT or DOUBLE. Leaves j->p behind the last number that was
 * read, or where it was; what stands there the slow way must judge. cpu: flags of base/cpu.h, on
 * which no result depends. */
size_t ledge__quick_numbers(LedgeJson *j, bool nested, LedgeType type, void *out, size_t room,
                            uint32_t cpu);

/* Numbers from *p on, where one is, as long as some more are without exponents, in one array, and
 * followed by a comma each, and short, or to be singles. Leaves *p behind the last one's comma. */
typedef size_t LedgeQuickLanes(const char **p, const char *end, LedgeType type, void *out,
                               size_t room);
LedgeQuickLanes ledge__quick_numbers_avx512, ledge__quick_numbers_avx2;

/* Whole numbers from *p on, where one is, as long as they are 0 to 255, with a comma behind each
 * and one space behind that at most. Leaves *p behind the last one's comma. Looks at the four bytes
 * before *p. */
size_t ledge__quick_bytes(const char **p, const char *end, uint8_t *out, size_t room, uint32_t cpu);
size_t ledge__quick_bytes_avx2(const char **p, const char *end, uint8_t *out, size_t room);

/* The double nearest to digits * 10^exponent, ties to even. false: not for such numbers. */
bool ledge__quick_nearest(uint64_t digits, int64_t exponent, double *out);

#endif
