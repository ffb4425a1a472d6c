/* From a histogram to the range that 8 bits are spread over.
 *
 * minmax takes all that was seen. percentile cuts equal shares off both ends. mse takes the range
 * whose quantization, clipping included, has the least squared error. entropy takes the one whose
 * quantized distribution has the least Kullback-Leibler divergence from the true one (Szymon
 * Migacz, "8-bit Inference with TensorRT", GTC 2017), on both sides of zero at once. */
#include "compress/quantize/observer.h"

#include <math.h>
#include <string.h>

enum { LEVELS = 255, STEPS = 96, ROUNDS = 3, BINS = LEDGE_OBSERVER_BINS };

/* Histogram as the searches want it: centres and weights without exact zeros. */
typedef struct Spread {
    double centre[BINS], weight[BINS];
    double width, total;
    size_t n; /* bins up to the last that holds anything */
    double lo, hi; /* the bounds, widened to hold 0 */
} Spread;

const char *ledge__calibrator_name(LedgeCalibrator c)
{
    static const char *const names[] = {
#define LEDGE_CALIBRATOR_NAME(NAME, name) name,
        LEDGE_CALIBRATOR_LIST(LEDGE_CALIBRATOR_NAME)
#undef LEDGE_CALIBRATOR_NAME
    };
    return (size_t)c < sizeof names / sizeof *names ? names[c] : "?";
}

static void spread_of(const LedgeObserver *o, Spread *s)
{
    s->width = ldexp(1, o->exponent);
    s->total = 0;
    s->n = 0;
    for (size_t i = 0; i < BINS; i++) {
        s->centre[i] = ledge__observer_centre(o, i);
        s->weight[i] = (double)ledge__observer_bin(o, i);
        s->total += s->weight[i];
        if (s->weight[i] > 0)
            s->n = i + 1;
    }
    s->lo = fmin(o->min, 0);
    s->hi = fmax(o->max, 0);
}

/* ---- percentile ---- */

/* Where `share` of all values (zeros too) lie below, linear within a bin. */
static double quantile(const LedgeObserver *o, double share)
{
    const double wanted = share * (double)o->count;
    double below = 0;
    for (size_t i = 0; i < BINS; i++) {
        const double here = (double)o->bins[i];
        if (here > 0 && below + here >= wanted) {
            const double part = (wanted - below) / here;
            return ldexp((double)(o->first + (int64_t)i) + part, o->exponent);
        }
        below += here;
    }
    return (double)o->max;
}

static void by_percentile(const LedgeObserver *o, double percentile, double *lo, double *hi)
{
    const double cut = (100 - percentile) / 200;
    *lo = fmax(fmin(quantile(o, cut), 0), *lo);
    *hi = fmin(fmax(quantile(o, 1 - cut), 0), *hi);
}

/* ---- mean squared error ---- */

static double squared_error(const Spread *s, double lo, double hi)
{
    const double step = (hi - lo) / LEVELS, inverse = step > 0 ? 1 / step : 0;
    /* Within a bin values are spread evenly: finer than bins the grid has its own mean error. */
    const double fine = step * step / 12;
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        const double x = s->centre[i];
        double error;
        if (s->weight[i] <= 0)
            continue;
        if (x < lo || x > hi) {
            const double past = x < lo ? lo - x : x - hi;
            error = past * past + s->width * s->width / 12;
        } else if (step < 2 * s->width) {
            error = fine;
        } else {
            const double off = (x - nearbyint(x * inverse) * step);
            error = off * off;
        }
        sum += s->weight[i] * error;
    }
    return sum;
}

/* Tries parts of one end while the other stays. */
static void search_end(const Spread *s, bool symmetric, bool low, double *lo, double *hi)
{
    const double whole = low ? s->lo : s->hi;
    double best = squared_error(s, *lo, *hi);
    for (int k = STEPS; k > 0; k--) {
        const double end = whole * k / STEPS;
        const double a = symmetric ? -fabs(end) : low ? end : *lo;
        const double b = symmetric ? fabs(end) : low ? *hi : end;
        const double error = squared_error(s, a, b);
        if (error < best) {
            best = error;
            *lo = a;
            *hi = b;
        }
    }
}

static void by_error(const Spread *s, bool symmetric, double *lo, double *hi)
{
    if (symmetric) {
        const double t = fmax(-*lo, *hi);
        *lo = -t;
        *hi = t;
        search_end(s, true, -s->lo > s->hi, lo, hi);
        return;
    }
    for (int round = 0; round < ROUNDS; round++) {
        const double was_lo = *lo, was_hi = *hi;
        if (s->hi > 0)
            search_end(s, false, false, lo, hi);
        if (s->lo < 0)
            search_end(s, false, true, lo, hi);
        if (*lo == was_lo && *hi == was_hi)
            break;
    }
}

/* ---- entropy ---- */

/* KL(P || Q): P the histogram with all outside gathered in its edge bins, Q what is left of it
 * when the inside is quantized, each level's mass shared by its bins that are not empty. */
static double divergence(const Spread *s, double lo, double hi)
{
    double mass[LEVELS + 1] = {0}, filled[LEVELS + 1] = {0};
    const double step = (hi - lo) / LEVELS;
    size_t first = s->n, last = 0;
    double below = 0, above = 0, inside = 0, sum = 0;
    if (step <= 0)
        return INFINITY;
    for (size_t i = 0; i < s->n; i++) {
        const double x = s->centre[i], w = s->weight[i];
        if (x < lo) {
            below += w;
        } else if (x > hi) {
            above += w;
        } else {
            first = i < first ? i : first;
            last = i;
            inside += w;
            if (w > 0) {
                const int level = (int)((x - lo) / step + 0.5);
                mass[level] += w;
                filled[level] += 1;
            }
        }
    }
    if (inside <= 0)
        return INFINITY;
    for (size_t i = first; i <= last; i++) {
        const int level = (int)((s->centre[i] - lo) / step + 0.5);
        double p = s->weight[i];
        p += (i == first ? below : 0) + (i == last ? above : 0);
        if (p <= 0)
            continue;
        /* A gathered edge may stand where nothing was inside: a thousandth of one value. */
        const double q = s->weight[i] > 0 ? mass[level] / filled[level] : 0.001;
        sum += p / s->total * log(p / s->total / (q / inside));
    }
    return sum;
}

static void by_entropy(const Spread *s, bool symmetric, double *lo, double *hi)
{
    const double whole = fmax(-s->lo, s->hi);
    double best = INFINITY;
    /* Fewer bins than levels inside would show no loss at all. */
    const double least = fmax(whole / 8, s->width * LEVELS / 2);
    for (int k = 0; k <= 2 * STEPS; k++) {
        const double t = whole - (whole - least) * k / (2 * STEPS);
        const double a = symmetric ? -t : fmax(s->lo, -t), b = symmetric ? t : fmin(s->hi, t);
        const double d = t > 0 ? divergence(s, a, b) : INFINITY;
        if (d < best) {
            best = d;
            *lo = a;
            *hi = b;
        }
    }
}

void ledge__observer_range(const LedgeObserver *o, LedgeCalibrator how, double percentile,
                           bool symmetric, float *lo, float *hi)
{
    Spread s;
    double a = o->count ? fmin(o->min, 0) : 0, b = o->count ? fmax(o->max, 0) : 0;
    if (how != LEDGE_CALIBRATE_MINMAX && !o->no_bins && o->count > o->zeros) {
        spread_of(o, &s);
        if (how == LEDGE_CALIBRATE_PERCENTILE)
            by_percentile(o, percentile, &a, &b);
        else if (how == LEDGE_CALIBRATE_MSE)
            by_error(&s, symmetric, &a, &b);
        else
            by_entropy(&s, symmetric, &a, &b);
    }
    *lo = (float)a;
    *hi = (float)b;
}
