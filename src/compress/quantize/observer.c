/* The streaming histogram, see observer.h. Two walks over the values: one for the bounds, which
 * the compiler makes vectors of, and one that counts. */
#include "compress/quantize/observer.h"

#include <math.h>
#include <string.h>

enum { LANES = 16, CHUNK = 2048 };

void ledge__observer_start(LedgeObserver *o, bool bins)
{
    memset(o, 0, sizeof *o);
    o->no_bins = !bins;
    o->min = INFINITY;
    o->max = -INFINITY;
}

double ledge__observer_centre(const LedgeObserver *o, size_t i)
{
    return ldexp((double)(o->first + (int64_t)i) + 0.5, o->exponent);
}

uint64_t ledge__observer_bin(const LedgeObserver *o, size_t i)
{
    return o->bins[i] - (o->first + (int64_t)i == 0 ? o->zeros : 0);
}

/* x * 0 is 0 for finite values and NaN for all others. */
static bool bounds(const float *x, size_t n, float *min, float *max)
{
    float lo[LANES], hi[LANES], odd[LANES];
    size_t i = 0;
    for (int j = 0; j < LANES; j++) {
        lo[j] = INFINITY;
        hi[j] = -INFINITY;
        odd[j] = 0;
    }
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            const float v = x[i + (size_t)j];
            lo[j] = v < lo[j] ? v : lo[j];
            hi[j] = v > hi[j] ? v : hi[j];
            odd[j] += v * 0.0f;
        }
    for (; i < n; i++) {
        lo[0] = x[i] < lo[0] ? x[i] : lo[0];
        hi[0] = x[i] > hi[0] ? x[i] : hi[0];
        odd[0] += x[i] * 0.0f;
    }
    for (int j = 1; j < LANES; j++) {
        lo[0] = lo[j] < lo[0] ? lo[j] : lo[0];
        hi[0] = hi[j] > hi[0] ? hi[j] : hi[0];
        odd[0] += odd[j];
    }
    *min = lo[0];
    *max = hi[0];
    return odd[0] == 0;
}

static bool fits(float min, float max, int exponent)
{
    const double first = floor(ldexp((double)min, -exponent));
    const double last = floor(ldexp((double)max, -exponent));
    /* Beyond 2^22 widths from zero a float no longer tells bins apart. */
    return last - first < LEDGE_OBSERVER_BINS && fabs(first) < 4194304 && fabs(last) < 4194304;
}

/* Moves counts to wider bins, or to a first bin further down. */
static void regrid(LedgeObserver *o, int exponent, int64_t first)
{
    uint64_t old[LEDGE_OBSERVER_BINS];
    const int shift = exponent - o->exponent;
    memcpy(old, o->bins, sizeof old);
    memset(o->bins, 0, sizeof o->bins);
    for (size_t i = 0; i < LEDGE_OBSERVER_BINS; i++) {
        if (!old[i])
            continue;
        const int64_t at = o->first + (int64_t)i;
        const int64_t wide = shift > 62 ? (at < 0 ? -1 : 0) : at >> shift;
        o->bins[wide - first] += old[i];
    }
    o->exponent = exponent;
    o->first = first;
}

static void make_room(LedgeObserver *o, bool empty)
{
    int exponent = o->exponent;
    if (empty) {
        const double span = fmax((double)o->max - (double)o->min, ldexp(1, -100));
        exponent = ilogb(span) - 14;
    }
    while (!fits(o->min, o->max, exponent))
        exponent++;
    const int64_t first = (int64_t)floor(ldexp((double)o->min, -exponent));
    if (empty) {
        o->exponent = exponent;
        o->first = first;
    } else if (exponent != o->exponent || first != o->first) {
        regrid(o, exponent, first);
    }
}

static int32_t clamp_bin(int32_t k) /* a difference that rounds up may leave the last bin */
{
    return k < 0 ? 0 : k >= LEDGE_OBSERVER_BINS ? LEDGE_OBSERVER_BINS - 1 : k;
}

static void count_few(LedgeObserver *o, const float *x, size_t n)
{
    const float inverse = (float)ldexp(1, -o->exponent), first = (float)o->first;
    for (size_t i = 0; i < n; i++) {
        o->bins[clamp_bin((int32_t)(x[i] * inverse - first))]++;
        o->zeros += x[i] == 0;
    }
}

/* Runs of equal values would wait for their own counter: four sets of counters take turns. */
static void count(LedgeObserver *o, const float *x, size_t n)
{
    if (n < LEDGE_OBSERVER_BINS) {
        count_few(o, x, n);
        return;
    }
    static const size_t MOST = 1u << 30; /* so that no 32-bit counter wraps */
    uint32_t sets[4][LEDGE_OBSERVER_BINS];
    const float inverse = (float)ldexp(1, -o->exponent), first = (float)o->first;
    for (size_t done = 0; done < n;) {
        const size_t part = n - done < MOST ? n - done : MOST;
        uint64_t zeros = 0;
        memset(sets, 0, sizeof sets);
        for (size_t at = 0; at < part; at += CHUNK) {
            const size_t m = part - at < CHUNK ? part - at : CHUNK;
            const float *v = x + done + at;
            int32_t index[CHUNK];
            uint32_t zero = 0;
            for (size_t i = 0; i < m; i++) {
                index[i] = (int32_t)(v[i] * inverse - first);
                zero += v[i] == 0;
            }
            for (size_t i = 0; i < m; i++)
                sets[i & 3][clamp_bin(index[i])]++;
            zeros += zero;
        }
        for (size_t k = 0; k < LEDGE_OBSERVER_BINS; k++)
            o->bins[k] += (uint64_t)sets[0][k] + sets[1][k] + sets[2][k] + sets[3][k];
        o->zeros += zeros;
        done += part;
    }
}

static void count_odd(LedgeObserver *o, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        o->nan += isnan(x[i]) != 0;
        o->infinite += isinf(x[i]) != 0;
    }
}

void ledge__observer_add(LedgeObserver *o, const float *x, size_t n)
{
    float min, max;
    if (n == 0)
        return;
    if (!bounds(x, n, &min, &max)) {
        count_odd(o, x, n);
        return;
    }
    const bool empty = o->count == 0, wider = min < o->min || max > o->max;
    o->min = min < o->min ? min : o->min;
    o->max = max > o->max ? max : o->max;
    o->count += n;
    if (o->no_bins)
        return;
    if (wider)
        make_room(o, empty);
    count(o, x, n);
}
