/* Weights as symmetric int8: scales by the largest value or by least squared error. */
#include "compress/quantize/quant_internal.h"

#include <math.h>
#include <string.h>

enum { SHRINKS = 40 };

/* The constant may lie misaligned in a file. */
static float weight_at(const LedgeQuantLayer *l, int64_t i)
{
    float v;
    memcpy(&v, (const char *)l->weight->t.data + (size_t)i * sizeof v, sizeof v);
    return v;
}

static int64_t channel_of(const LedgeQuantLayer *l, int64_t i)
{
    return i / l->inner % l->channels;
}

static void by_largest(const LedgeQuantLayer *l, float *scales)
{
    for (int64_t c = 0; c < l->channels; c++)
        scales[c] = 0;
    for (int64_t i = 0; i < l->count; i++) {
        const float v = fabsf(weight_at(l, i));
        float *largest = &scales[channel_of(l, i)];
        *largest = v > *largest ? v : *largest;
    }
}

/* For every channel the part of its largest value, 1 … 1 / 2, with the least squared error. One
 * walk over the weights for each part. */
static bool by_error(const LedgeAllocator *a, const LedgeQuantLayer *l, float *scales)
{
    const size_t n = (size_t)l->channels;
    double *best = ledge__alloc(a, 2 * n, sizeof *best), *error = best ? best + n : NULL;
    float *tried = ledge__alloc(a, 2 * n, sizeof *tried), *chosen = tried ? tried + n : NULL;
    for (int k = 0; best && tried && k < SHRINKS; k++) {
        memset(error, 0, n * sizeof *error);
        for (size_t c = 0; c < n; c++)
            tried[c] = scales[c] * (1 - 0.5f * (float)k / SHRINKS) / 127;
        for (int64_t i = 0; i < l->count; i++) {
            const int64_t c = channel_of(l, i);
            const float x = weight_at(l, i), s = tried[c];
            float r = s > 0 ? nearbyintf(x / s) : 0;
            r = r > 127 ? 127 : r < -127 ? -127 : r;
            error[c] += (double)(x - r * s) * (double)(x - r * s);
        }
        for (size_t c = 0; c < n; c++)
            if (k == 0 || error[c] < best[c]) {
                best[c] = error[c];
                chosen[c] = tried[c];
            }
    }
    if (best && tried)
        memcpy(scales, chosen, n * sizeof *scales);
    ledge__free(a, best);
    ledge__free(a, tried);
    return best && tried;
}

/* A channel of zeros gets the scale 1, and none falls below 2^-100: products of scales must
 * stay above 0. */
static void bound_scales(float *scales, int64_t n)
{
    for (int64_t c = 0; c < n; c++)
        scales[c] = scales[c] == 0 ? 1 : scales[c] < 0x1p-100f ? 0x1p-100f : scales[c];
}

void ledge__quantizer_weight_scales(const LedgeQuantizer *q, const LedgeQuantLayer *l,
                                    float *scales)
{
    by_largest(l, scales);
    if (!q->o.weights_mse || !by_error(q->allocator, l, scales))
        for (int64_t c = 0; c < l->channels; c++)
            scales[c] /= 127;
    bound_scales(scales, l->channels);
}

void ledge__quantizer_round(const LedgeQuantLayer *l, const float *scales, int8_t *out)
{
    for (int64_t i = 0; i < l->count; i++) {
        float r = nearbyintf(weight_at(l, i) / scales[channel_of(l, i)]);
        r = r > 127 ? 127 : r < -127 ? -127 : r;
        out[i] = (int8_t)r;
    }
}
