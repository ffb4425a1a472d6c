/* The quantile sketch of sketch.h. */
#include "monitor/sketch.h"

#include <math.h>
#include <string.h>

/* Bucket i holds LOWEST * GROWTH^i … LOWEST * GROWTH^(i + 1); its middle is within the error. */
#define GROWTH ((1 + LEDGE_SKETCH_ERROR) / (1 - LEDGE_SKETCH_ERROR))

void ledge__sketch_clear(LedgeSketch *s)
{
    memset(s, 0, sizeof *s);
}

static uint32_t index_of(double value)
{
    if (!(value > LEDGE_SKETCH_LOWEST))
        return 0;
    const double i = log(value / LEDGE_SKETCH_LOWEST) * (1 / log(GROWTH));
    return i < LEDGE_SKETCH_BUCKETS - 1 ? (uint32_t)i : LEDGE_SKETCH_BUCKETS - 1;
}

void ledge__sketch_add(LedgeSketch *s, double value)
{
    if (isnan(value))
        return;
    s->min = s->count == 0 || value < s->min ? value : s->min;
    s->max = s->count == 0 || value > s->max ? value : s->max;
    s->count++;
    s->sum += value;
    s->bucket[index_of(value)]++;
}

void ledge__sketch_merge(LedgeSketch *into, const LedgeSketch *from)
{
    if (from->count == 0)
        return;
    into->min = into->count == 0 || from->min < into->min ? from->min : into->min;
    into->max = into->count == 0 || from->max > into->max ? from->max : into->max;
    into->count += from->count;
    into->sum += from->sum;
    for (size_t i = 0; i < LEDGE_SKETCH_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
}

double ledge__sketch_quantile(const LedgeSketch *s, double q)
{
    if (s->count == 0)
        return 0;
    const double rank = fmin(fmax(q, 0), 1) * (double)(s->count - 1);
    uint64_t below = 0;
    size_t i = 0;
    for (; i < LEDGE_SKETCH_BUCKETS - 1; i++) {
        below += s->bucket[i];
        if ((double)below > rank)
            break;
    }
    /* 2 / (1 / low + 1 / high): equally far from both ends, relatively. */
    const double low = LEDGE_SKETCH_LOWEST * pow(GROWTH, (double)i);
    const double value = low * (1 + LEDGE_SKETCH_ERROR);
    return fmin(fmax(value, s->min), s->max);
}

uint64_t ledge__sketch_below(const LedgeSketch *s, double value)
{
    uint64_t below = 0;
    const uint32_t last = index_of(value);
    for (uint32_t i = 0; i <= last; i++)
        below += s->bucket[i];
    return below;
}

double ledge__sketch_mean(const LedgeSketch *s)
{
    return s->count ? s->sum / (double)s->count : 0;
}
