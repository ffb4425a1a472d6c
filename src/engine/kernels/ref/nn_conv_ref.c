/* Plain convolutions: any number of spatial dimensions, groups, dilations and strides; their
 * transposed and deformable forms; and the integer form with exact 32-bit sums. */
#include "engine/kernels/ref/nn_ref.h"

#include <math.h>

#define NN_OUT_BLOCK 128 /* output channels of one item */

static size_t product(const int64_t *v, int n)
{
    size_t r = 1;
    for (int i = 0; i < n; i++)
        r *= (size_t)v[i];
    return r;
}

/* Output positions of a tile: columns of about a quarter MiB. */
static size_t tile_size(size_t k)
{
    size_t t = 65536 / (k ? k : 1);
    return t < 32 ? 32 : t > 512 ? 512 : t;
}

size_t ledge__conv_ref_tile(const LedgeConvRef *p)
{
    return tile_size((size_t)p->in_c * product(p->w.kernel, p->w.nd));
}

size_t ledge__conv_ref_scratch(const LedgeConvRef *p, int threads)
{
    size_t k = (size_t)p->in_c * product(p->w.kernel, p->w.nd);
    return k * tile_size(k) * (size_t)threads;
}

size_t ledge__conv_transpose_ref_scratch(const LedgeConvRef *p, int threads)
{
    size_t k = product(p->w.kernel, p->w.nd);
    return k * tile_size(k) * (size_t)threads;
}

static bool is_pointwise(const LedgeWindow *w)
{
    for (int d = 0; d < w->nd; d++)
        if (w->kernel[d] != 1 || w->stride[d] != 1 || w->pad[d] || w->pad_end[d])
            return false;
    return true;
}

/* Steps an index through `dims`; false after the last. */
static bool next_index(int64_t *index, const int64_t *dims, int n)
{
    for (int d = n - 1; d >= 0; d--) {
        if (++index[d] < dims[d])
            return true;
        index[d] = 0;
    }
    return false;
}

/* Row of x (all spatial dimensions but the last) under output row `row` and kernel element k;
 * false in the padding. */
static bool outer_offset(const LedgeWindow *w, size_t row, const int64_t *k, size_t *from)
{
    size_t scale = 1;
    for (int d = w->nd - 2; d >= 0; d--) {
        int64_t o = (int64_t)(row % (size_t)w->out[d]);
        int64_t at = o * w->stride[d] - w->pad[d] + k[d] * w->dilation[d];
        if (at < 0 || at >= w->in[d])
            return false;
        *from += scale * (size_t)at;
        scale *= (size_t)w->in[d];
        row /= (size_t)w->out[d];
    }
    return true;
}

#define IN_PLACE_OK true
#define T float
#define OUT float
#define FN(x) x##_f32_ref
#define FLOOR floorf
#define LOAD(p, x, i) ((const float *)(x))[i]
#include "engine/kernels/ref/nn_conv_body.h"
#include "engine/kernels/ref/nn_conv_more_body.h"
#undef T
#undef OUT
#undef FN
#undef FLOOR
#undef LOAD

#define T double
#define OUT double
#define FN(x) x##_f64_ref
#define FLOOR floor
#define LOAD(p, x, i) ((const double *)(x))[i]
#include "engine/kernels/ref/nn_conv_body.h"
#include "engine/kernels/ref/nn_conv_more_body.h"
#undef T
#undef OUT
#undef FN
#undef FLOOR
#undef LOAD
#undef IN_PLACE_OK

/* x is bytes, so pointwise convolution too goes through columns. */
#define IN_PLACE_OK false
#define T int16_t
#define OUT int32_t
#define FN(x) x##_s16_ref
#define LOAD(p, x, i)                                                                     \
    (int16_t)(((p)->x_signed ? ((const int8_t *)(x))[i] : ((const uint8_t *)(x))[i]) -    \
              (p)->x_zero)
#include "engine/kernels/ref/nn_conv_body.h"
