/* Plain max, average and Lp pooling over any number of spatial dimensions. Padding is never
 * read: each window is first cut to what lies inside. */
#include "engine/kernels/ref/nn_ref.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { OP_MAX, OP_AVERAGE, OP_LP };

/* Kernel elements of one window that lie inside the input, per dimension. */
typedef struct Span {
    int64_t start[NN_MAX_SPATIAL], lo[NN_MAX_SPATIAL], hi[NN_MAX_SPATIAL];
    int64_t count, padded_count;
} Span;

static size_t product(const int64_t *v, int n)
{
    size_t r = 1;
    for (int i = 0; i < n; i++)
        r *= (size_t)v[i];
    return r;
}

static bool next_index(int64_t *index, const int64_t *dims, int n)
{
    for (int d = n - 1; d >= 0; d--) {
        if (++index[d] < dims[d])
            return true;
        index[d] = 0;
    }
    return false;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return a <= 0 ? 0 : (a + b - 1) / b;
}

/* false: nothing of the window is inside. */
static bool window_span(const LedgeWindow *w, const int64_t *o, Span *s)
{
    s->count = s->padded_count = 1;
    for (int d = 0; d < w->nd; d++) {
        s->start[d] = o[d] * w->stride[d] - w->pad[d];
        s->lo[d] = ceil_div(-s->start[d], w->dilation[d]);
        s->hi[d] = ceil_div(w->in[d] - s->start[d], w->dilation[d]);
        int64_t padded = ceil_div(w->in[d] + w->pad_end[d] - s->start[d], w->dilation[d]);
        s->hi[d] = s->hi[d] < w->kernel[d] ? s->hi[d] : w->kernel[d];
        s->padded_count *= padded < w->kernel[d] ? padded : w->kernel[d];
        s->count *= s->hi[d] > s->lo[d] ? s->hi[d] - s->lo[d] : 0;
    }
    return s->count > 0;
}

/* Where kernel row k begins: offset in the plane of the row's kernel element 0. */
static int64_t row_offset(const LedgeWindow *w, const Span *s, const int64_t *k)
{
    int64_t at = 0;
    for (int d = 0; d < w->nd - 1; d++)
        at = (at + s->start[d] + k[d] * w->dilation[d]) * w->in[d + 1];
    return at + s->start[w->nd - 1];
}

/* Steps all dimensions but the last. */
static bool next_row(int64_t *k, const Span *s, int nd)
{
    for (int d = nd - 2; d >= 0; d--) {
        if (++k[d] < s->hi[d])
            return true;
        k[d] = s->lo[d];
    }
    return false;
}

static int64_t column_major(const LedgeWindow *w, int64_t at)
{
    int64_t coord[NN_MAX_SPATIAL], r = 0;
    if (at < 0)
        return 0;
    for (int d = w->nd - 1; d >= 0; d--) {
        coord[d] = at % w->in[d];
        at /= w->in[d];
    }
    for (int d = w->nd - 1; d >= 0; d--)
        r = r * w->in[d] + coord[d];
    return r;
}

static double lp_power(double v, int64_t p)
{
    v = fabs(v);
    return p == 1 ? v : p == 2 ? v * v : pow(v, (double)p);
}

static double lp_root(double v, int64_t p)
{
    return p == 1 ? v : p == 2 ? sqrt(v) : pow(v, 1.0 / (double)p);
}

#define POWER lp_power
#define ROOT lp_root

#define IS_NAN(v) isnan(v)
#define T float
#define LOWEST (-INFINITY)
#define FN(x) x##_f32_ref
#include "engine/kernels/ref/nn_pool_body.h"
#undef T
#undef FN
#define T double
#define FN(x) x##_f64_ref
#include "engine/kernels/ref/nn_pool_body.h"
#undef T
#undef FN
#undef LOWEST
#undef IS_NAN
#define IS_NAN(v) false
#define T uint8_t
#define LOWEST 0
#define FN(x) x##_u8_ref
#include "engine/kernels/ref/nn_pool_body.h"
#undef T
#undef FN
#undef LOWEST
#define T int8_t
#define LOWEST (-128)
#define FN(x) x##_s8_ref
#include "engine/kernels/ref/nn_pool_body.h"
#undef T
#undef FN

#define POOL_LOOP(name, op, suffix)                                                       \
    static void name##_items_##suffix(void *arg, size_t begin, size_t end, int thread)    \
    {                                                                                     \
        (void)thread;                                                                     \
        for (size_t i = begin; i < end; i++)                                              \
            pool_plane_##suffix##_ref(arg, i, op);                                        \
    }                                                                                     \
    void ledge__##name##_pool_##suffix##_ref(const LedgePoolRef *p, LedgePool *pool)      \
    {                                                                                     \
        ledge__pool_run(pool, (size_t)p->planes, 1, name##_items_##suffix, (void *)p);    \
    }
POOL_LOOP(average, OP_AVERAGE, f32)
POOL_LOOP(average, OP_AVERAGE, f64)
POOL_LOOP(lp, OP_LP, f32)
POOL_LOOP(lp, OP_LP, f64)
