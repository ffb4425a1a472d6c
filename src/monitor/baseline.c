/* Histograms of a baseline. */
#include "monitor/baseline.h"

#include <stdlib.h>
#include <string.h>

uint32_t ledge__bins_find(const LedgeBins *b, double value)
{
    uint32_t low = 0, high = b->n ? b->n - 1 : 0; /* bins that it may lie in */
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (value < b->edge[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void ledge__bins_merge(const LedgeBins *from, uint32_t most, LedgeBins *to)
{
    uint64_t total = 0, passed = 0;
    memset(to, 0, sizeof *to);
    for (uint32_t i = 0; i < from->n; i++)
        total += from->count[i];
    if (from->n == 0 || most == 0)
        return;
    to->n = 1;
    for (uint32_t i = 0; i < from->n; i++) {
        to->count[to->n - 1] += from->count[i];
        passed += from->count[i];
        /* A bin ends where its share of all has passed and what follows makes one more. */
        const bool full = (double)passed * most >= (double)total * to->n;
        if (full && i + 1 < from->n && to->n < most && total > passed)
            to->edge[to->n++ - 1] = from->edge[i];
    }
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

void ledge__bins_from_values(float *values, size_t count, uint32_t n, LedgeBins *to)
{
    memset(to, 0, sizeof *to);
    if (count == 0 || n == 0)
        return;
    n = n < LEDGE_BASELINE_BINS ? n : LEDGE_BASELINE_BINS;
    qsort(values, count, sizeof *values, by_value);
    to->n = 1;
    for (uint32_t i = 1; i < n; i++) {
        const float edge = values[count * i / n];
        if (edge > values[0] && (to->n == 1 || edge > (float)to->edge[to->n - 2]))
            to->edge[to->n++ - 1] = edge;
    }
    for (size_t i = 0; i < count; i++)
        to->count[ledge__bins_find(to, values[i])]++;
}

void ledge__baseline_free(LedgeBaseline *b)
{
    if (!b)
        return;
    ledge__free(b->allocator, b->classes);
    ledge__free(b->allocator, b);
}
