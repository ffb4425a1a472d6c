/* Convolution over NHWC as training needs it: the engine's forward kernels with weights packed
 * anew each time, the gradient of the input as another convolution, that of the weights as GEMM.
 *
 * The weights' gradient sums over pixels. Each image's channels are turned into planes of rows
 * padded alike (one plane per phase of the strides), so that a filter tap is a shifted pointer into
 * them; the output's gradient, with rows of the same pitch, is the packed B of the GEMM kernels.
 * The batch is summed in TRAIN_CHUNKS pieces whatever the number of threads. */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"

enum { FLAT_ROWS = 1024, NEAR_FLOATS = 6144, BLOCK = 16 };

/* Appends `bytes` to a layout; false on overflow. */
static bool take(size_t *total, size_t bytes, size_t *at)
{
    *at = *total;
    return bytes <= SIZE_MAX / 2 && ledge__add(*total, ledge__round_up(bytes, LEDGE_ALIGN), total);
}

static bool take_floats(size_t *total, size_t floats, size_t *at)
{
    size_t bytes;
    return ledge__mul(floats, sizeof(float), &bytes) && take(total, bytes, at);
}

/* Room for a convolution's packed weights, bias, zeros and scratch, from `total` on. */
static bool lay_out_conv(const LedgeConvPlan *p, TrainLinear *l, size_t *total)
{
    return take_floats(total, p->packed_floats, &l->at_packed) &&
           take_floats(total, p->bias_floats, &l->at_bias) &&
           take_floats(total, p->zeros_floats, &l->at_zeros) &&
           take(total, p->scratch_bytes, &l->at_run);
}

/* ---- the gradient of the input ---- */

/* How the gradient is spread (zeros between for strides) and cut for the backward convolution. */
static bool plan_back(const Trainer *t, TrainLinear *l)
{
    const LedgeConvShape *s = &l->s;
    const int64_t pt = (int64_t)((s->kh - 1) * s->dh) - (int64_t)s->pt;
    const int64_t pl = (int64_t)((s->kw - 1) * s->dw) - (int64_t)s->pl;
    LedgeConvShape b = *s;
    b.h = s->oh;
    b.w = s->ow;
    if (s->sh > 1 || s->sw > 1 || pt < 0 || pl < 0) {
        l->bt = pt < 0 ? (size_t)-pt : 0;
        l->bl = pl < 0 ? (size_t)-pl : 0;
        const size_t h = (s->oh - 1) * s->sh + 1, w = (s->ow - 1) * s->sw + 1;
        b.h = l->bh = h > l->bt ? h - l->bt : 1;
        b.w = l->bw = w > l->bl ? w - l->bl : 1;
    }
    b.pt = pt > 0 ? (size_t)pt : 0;
    b.pl = pl > 0 ? (size_t)pl : 0;
    b.c = s->m;
    b.m = b.ldc = s->c;
    b.oh = s->h;
    b.ow = s->w;
    b.sh = b.sw = 1;
    return ledge__conv_f32_plan(&b, t->cpu, ledge__pool_threads(t->pool), LEDGE_CONV_PATHS,
                                &l->back);
}

static size_t weight_count(const LedgeConvShape *s)
{
    return s->m * (s->c / s->group) * s->kh * s->kw;
}

static bool is_flat(const LedgeConvShape *s)
{
    return s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && s->pt == 0 && s->pl == 0 &&
           s->oh == s->h && s->ow == s->w;
}

static bool is_depthwise(const LedgeConvShape *s)
{
    return s->group == s->c && s->m == s->c;
}

/* Pieces that the batch is summed in: few where a piece would be next to nothing. */
static size_t chunk_count(const LedgeConvShape *s)
{
    const size_t n = is_flat(s) ? s->n * s->h * s->w / 64 + 1 : s->n;
    return n < TRAIN_CHUNKS ? n : TRAIN_CHUNKS;
}

/* Floats of planes and of packed gradient that one thread needs for the weights' gradient. */
static size_t plane_floats(const TrainLinear *l)
{
    const LedgeConvShape *s = &l->s;
    if (is_depthwise(s))
        return 0;
    if (is_flat(s))
        return s->c / s->group * FLAT_ROWS;
    return s->sh * s->sw * (s->c / s->group) * l->hq * l->wq;
}

static size_t panel_floats(const Trainer *t, const TrainLinear *l)
{
    const LedgeConvShape *s = &l->s;
    if (is_depthwise(s))
        return 0;
    return (is_flat(s) ? FLAT_ROWS : s->oh * l->wq) * ledge__round_up(s->m / s->group, t->k->lanes);
}

static bool plan_scratch(const Trainer *t, TrainLinear *l)
{
    const LedgeConvShape *s = &l->s;
    TrainLinear unused;
    size_t forward = 0, back = 0, weights = 0, at;
    const size_t threads = (size_t)ledge__pool_threads(t->pool);
    if (!lay_out_conv(&l->forward, &unused, &forward))
        return false;
    if (l->wants_dx && (!lay_out_conv(&l->back, &unused, &back) ||
                        !take_floats(&back, weight_count(s), &l->at_turned) ||
                        !take_floats(&back, s->n * l->bh * l->bw * s->m, &l->at_dilated)))
        return false;
    l->chunk_bytes = ledge__round_up(weight_count(s) * sizeof(float), LEDGE_ALIGN);
    const size_t piece = plane_floats(l) + panel_floats(t, l) + 2 * LEDGE_ALIGN;
    if (!take(&weights, TRAIN_CHUNKS * l->chunk_bytes, &at) ||
        !take_floats(&weights, threads * ledge__round_up(piece, LEDGE_ALIGN), &at) ||
        !take(&weights, TRAIN_CHUNKS * s->m * sizeof(double), &at))
        return false;
    l->scratch = forward > back ? forward : back;
    l->scratch = l->scratch > weights ? l->scratch : weights;
    return true;
}

/* Products of sizes below stay far from overflow once the largest does. */
static bool sizes_fit(const LedgeConvShape *s)
{
    const double x = (double)s->n * (double)(s->h + 2 * s->pt + s->kh * s->dh) *
                     (double)(s->w + 2 * s->pl + s->kw * s->dw) * (double)s->c;
    const double y =
        (double)s->n * (double)s->oh * (double)s->ow * (double)s->sh * (double)s->sw * (double)s->m;
    const double w = (double)s->m * (double)s->c * (double)s->kh * (double)s->kw;
    return x < 1e11 && y < 1e11 && w < 1e11;
}

bool ledge__train_linear_plan(const Trainer *t, const LedgeConvShape *s, bool wants_dx,
                              TrainLinear *l)
{
    *l = (TrainLinear){.s = *s, .wants_dx = wants_dx};
    l->s.ldc = s->m;
    l->s.serial = true; /* Strassen's sums would join rows: a NaN must stay in its own */
    if (!sizes_fit(s) || s->oh == 0 || s->ow == 0)
        return false;
    l->hq = s->oh + (s->kh - 1) * s->dh / s->sh;
    l->wq = s->ow + (s->kw - 1) * s->dw / s->sw;
    return ledge__conv_f32_plan(&l->s, t->cpu, ledge__pool_threads(t->pool), LEDGE_CONV_PATHS,
                                &l->forward) &&
           (!wants_dx || plan_back(t, l)) && plan_scratch(t, l);
}

static void run_conv(Trainer *t, const LedgeConvPlan *p, const float *x, const float *w,
                     const float *bias, float *y, bool accumulate)
{
    TrainLinear at;
    size_t total = 0;
    if (!lay_out_conv(p, &at, &total))
        return; /* planning made sure that it can */
    float *packed = (float *)(void *)(t->scratch + at.at_packed);
    float *packed_bias = (float *)(void *)(t->scratch + at.at_bias);
    float *zeros = (float *)(void *)(t->scratch + at.at_zeros);
    ledge__conv_f32_pack(p, w, NULL, packed);
    ledge__conv_f32_pack_bias(p, bias, packed_bias);
    memset(zeros, 0, p->zeros_floats * sizeof(float));
    const LedgeConvArgs a = {.x = x,
                             .packed = packed,
                             .bias = packed_bias,
                             .zeros = zeros,
                             .r = accumulate ? y : NULL,
                             .ldr = p->s.ldc,
                             .y = y,
                             .act = {LEDGE_ACT_CLAMP, -INFINITY, INFINITY, 0, 0},
                             .scratch = t->scratch + at.at_run};
    ledge__conv_f32_run(p, &a, t->pool);
}

void ledge__train_linear_forward(Trainer *t, const TrainLinear *l, const float *x, const float *w,
                                 const float *bias, float *y)
{
    run_conv(t, &l->forward, x, w, bias, y, false);
}

typedef struct TurnArg {
    const Trainer *t;
    const LedgeConvShape *s;
    const float *w;
    float *to;
} TurnArg;

/* Filters turned by half a circle, inputs and outputs exchanged; items are input channels. */
static void turn_channels(void *arg, size_t begin, size_t end, int thread)
{
    const TurnArg *a = arg;
    const LedgeConvShape *s = a->s;
    const size_t cg = s->c / s->group, mg = s->m / s->group, taps = s->kh * s->kw;
    (void)thread;
    for (size_t m0 = 0; m0 < mg; m0 += BLOCK)
        for (size_t i = begin; i < end; i++)
            for (size_t m = m0; m < mg && m < m0 + BLOCK; m++) {
                const float *from = a->w + ((i / cg * mg + m) * cg + i % cg) * taps;
                float *to = a->to + (i * mg + m) * taps;
                for (size_t k = 0; k < taps; k++)
                    to[k] = from[taps - 1 - k];
            }
}

static void turn_weights(Trainer *t, const LedgeConvShape *s, const float *w, float *to)
{
    TurnArg a = {t, s, w, to};
    if (s->kh * s->kw == 1 && s->group == 1)
        ledge__vec_transpose(t->runner, w, to, 1, s->m, s->c, sizeof(float));
    else
        ledge__pool_run(t->pool, s->c, BLOCK, turn_channels, &a);
}

typedef struct DilateArg {
    const TrainLinear *l;
    const float *dy;
    float *to;
} DilateArg;

static void dilate(void *arg, size_t begin, size_t end, int thread)
{
    const DilateArg *a = arg;
    const TrainLinear *l = a->l;
    const LedgeConvShape *s = &l->s;
    const size_t pixel = s->m * sizeof(float);
    (void)thread;
    for (size_t row = begin; row < end; row++) {
        float *to = a->to + row * l->bw * s->m;
        const size_t n = row / l->bh, y = row % l->bh + l->bt;
        memset(to, 0, l->bw * pixel);
        if (y % s->sh || y / s->sh >= s->oh)
            continue;
        const float *from = a->dy + (n * s->oh + y / s->sh) * s->ow * s->m;
        for (size_t x = 0; x < s->ow; x++)
            if (x * s->sw >= l->bl && x * s->sw - l->bl < l->bw)
                memcpy(to + (x * s->sw - l->bl) * s->m, from + x * s->m, pixel);
    }
}

void ledge__train_linear_dx(Trainer *t, const TrainLinear *l, const float *dy, const float *w,
                            float *dx, bool accumulate)
{
    float *turned = (float *)(void *)(t->scratch + l->at_turned);
    turn_weights(t, &l->s, w, turned);
    if (l->bh) {
        DilateArg a = {l, dy, (float *)(void *)(t->scratch + l->at_dilated)};
        ledge__pool_run(t->pool, l->s.n * l->bh, 64, dilate, &a);
        dy = a.to;
    }
    run_conv(t, &l->back, dy, turned, NULL, dx, accumulate);
}

/* ---- the gradient of the weights ---- */

typedef struct WeightArg {
    const Trainer *t;
    const TrainLinear *l;
    const float *x, *dy;
    float *chunks; /* sums of each chunk */
    float *room;   /* of each thread */
    size_t room_floats;
} WeightArg;

static size_t part(size_t n, size_t i, size_t parts)
{
    return n / parts * i + n % parts * i / parts;
}

/* Columns of `rows` rows of the gradient into panels of whole vectors; `pitch` rows from one to
 * the next in the panels, `depth` rows a panel. */
static void pack_gradient(const LedgePanels *p, const float *dy, size_t ld, size_t rows,
                          size_t first, size_t depth, float *to)
{
    const size_t lanes = p->k->lanes;
    for (size_t i = 0; i < p->count; i++) {
        const size_t c0 = ledge__panel_start(p, i) * lanes, width = ledge__panel_nv(p, i) * lanes;
        const size_t cols = p->n - c0 < width ? p->n - c0 : width;
        float *at = to + c0 * depth + first * width;
        for (size_t r = 0; r < rows; r++, at += width) {
            memcpy(at, dy + r * ld + c0, cols * sizeof(float));
            if (cols < width)
                memset(at + cols, 0, (width - cols) * sizeof(float));
        }
    }
}

/* sums[row][n] += A × B over `depth` of K; row r of A begins at rows(r). */
static void multiply(const WeightArg *a, const LedgePanels *p, const float *planes, size_t plane,
                     const float *b, size_t depth, size_t kc, float *sums)
{
    const LedgeConvShape *s = &a->l->s;
    const size_t cg = s->c / s->group, n_rows = s->kh * s->kw * cg, lanes = p->k->lanes;
    const size_t wq = is_flat(s) ? 1 : a->l->wq;
    for (size_t i = 0; i < p->count; i++) {
        const size_t c0 = ledge__panel_start(p, i) * lanes, width = ledge__panel_nv(p, i) * lanes;
        const uint32_t nv = ledge__panel_nv(p, i), mr = p->k->mr[nv - 1];
        const size_t step = NEAR_FLOATS / width;
        for (size_t k0 = 0; k0 < kc; k0 += step) {
            LedgeGemmTile tile = {.taps = 1,
                                  .kc = kc - k0 < step ? kc - k0 : step,
                                  .b = b + c0 * depth + k0 * width,
                                  .ldc = p->n,
                                  .lo = -INFINITY,
                                  .hi = INFINITY,
                                  .nv = nv,
                                  .n = (uint32_t)(p->n - c0 < width ? p->n - c0 : width)};
            const float *at[LEDGE_GEMM_MR_MAX];
            tile.a = at;
            for (size_t r = 0; r < n_rows; r += mr) {
                tile.mr = (uint32_t)(n_rows - r < mr ? n_rows - r : mr);
                for (uint32_t j = 0; j < tile.mr; j++) {
                    const size_t tap = (r + j) / cg, c = (r + j) % cg;
                    const size_t ty = tap / s->kw * s->dh, tx = tap % s->kw * s->dw;
                    const size_t phase = ty % s->sh * s->sw + tx % s->sw;
                    at[j] = planes + (phase * cg + c) * plane + ty / s->sh * wq + tx / s->sw + k0;
                }
                tile.c = sums + r * p->n + c0;
                p->k->gemm(&tile);
            }
        }
    }
}

/* Rows i of phase (py, px) of an image's group as planes; what lies outside stays zero. */
static void make_planes(const WeightArg *a, const float *image, float *planes)
{
    const LedgeConvShape *s = &a->l->s;
    const size_t cg = s->c / s->group, hq = a->l->hq, wq = a->l->wq;
    for (size_t py = 0; py < s->sh; py++)
        for (size_t px = 0; px < s->sw; px++) {
            float *plane = planes + (py * s->sw + px) * cg * hq * wq;
            const size_t j0 = px >= s->pl ? 0 : (s->pl - px + s->sw - 1) / s->sw;
            const size_t x0 = j0 * s->sw + px - s->pl; /* of the first column inside */
            if (x0 >= s->w)
                continue;
            size_t cols = (s->w - x0 + s->sw - 1) / s->sw;
            cols = j0 < wq ? cols < wq - j0 ? cols : wq - j0 : 0;
            for (size_t i = 0; i < hq; i++) {
                const size_t y = i * s->sh + py - s->pt; /* wraps above the image */
                if (y < s->h && cols)
                    a->t->vec->transpose_32(
                        (const uint32_t *)(const void *)(image + (y * s->w + x0) * s->c),
                        s->sw * s->c, (uint32_t *)(void *)(plane + i * wq + j0), hq * wq, cols, cg);
            }
        }
}

static void chunk_of_images(const WeightArg *a, size_t chunk, float *sums, float *planes,
                            float *panels)
{
    const LedgeConvShape *s = &a->l->s;
    const size_t cg = s->c / s->group, mg = s->m / s->group, wq = a->l->wq;
    const size_t depth = s->oh * wq, kc = (s->oh - 1) * wq + s->ow;
    LedgePanels p;
    ledge__panels_init(&p, a->t->k, mg, depth);
    memset(planes, 0, plane_floats(a->l) * sizeof(float));
    memset(panels, 0, panel_floats(a->t, a->l) * sizeof(float));
    const size_t end = part(s->n, chunk + 1, chunk_count(s));
    for (size_t n = part(s->n, chunk, chunk_count(s)); n < end; n++)
        for (size_t g = 0; g < s->group; g++) {
            const float *dy = a->dy + n * s->oh * s->ow * s->m + g * mg;
            make_planes(a, a->x + n * s->h * s->w * s->c + g * cg, planes);
            for (size_t y = 0; y < s->oh; y++)
                pack_gradient(&p, dy + y * s->ow * s->m, s->m, s->ow, y * wq, depth, panels);
            multiply(a, &p, planes, a->l->hq * wq, panels, depth, kc,
                     sums + g * s->kh * s->kw * cg * mg);
        }
}

/* A 1×1 filter: pixels are rows, whichever image they are of. */
static void chunk_of_rows(const WeightArg *a, size_t chunk, float *sums, float *planes,
                          float *panels)
{
    const LedgeConvShape *s = &a->l->s;
    const size_t cg = s->c / s->group, mg = s->m / s->group, total = s->n * s->h * s->w;
    LedgePanels p;
    ledge__panels_init(&p, a->t->k, mg, FLAT_ROWS);
    const size_t end = part(total, chunk + 1, chunk_count(s));
    for (size_t r = part(total, chunk, chunk_count(s)); r < end; r += FLAT_ROWS) {
        const size_t rows = end - r < FLAT_ROWS ? end - r : FLAT_ROWS;
        for (size_t g = 0; g < s->group; g++) {
            a->t->vec->transpose_32((const uint32_t *)(const void *)(a->x + r * s->c + g * cg),
                                    s->c, (uint32_t *)(void *)planes, FLAT_ROWS, rows, cg);
            pack_gradient(&p, a->dy + r * s->m + g * mg, s->m, rows, 0, FLAT_ROWS, panels);
            multiply(a, &p, planes, FLAT_ROWS, panels, FLAT_ROWS, rows, sums + g * cg * mg);
        }
    }
}

static void chunk_of_depthwise(const WeightArg *a, size_t chunk, float *sums)
{
    const LedgeConvShape *s = &a->l->s;
    const size_t end = part(s->n, chunk + 1, chunk_count(s));
    for (size_t n = part(s->n, chunk, chunk_count(s)); n < end; n++)
        for (size_t oy = 0; oy < s->oh; oy++)
            for (size_t tap = 0; tap < s->kh * s->kw; tap++) {
                const size_t y = oy * s->sh + tap / s->kw * s->dh - s->pt;
                const size_t tx = tap % s->kw * s->dw;
                const size_t x0 = tx >= s->pl ? 0 : (s->pl - tx + s->sw - 1) / s->sw;
                if (y >= s->h || x0 >= s->ow || x0 * s->sw + tx - s->pl >= s->w)
                    continue;
                const size_t x = x0 * s->sw + tx - s->pl;
                const size_t most = (s->w - x + s->sw - 1) / s->sw;
                const TrainDw d = {.g = a->dy + ((n * s->oh + oy) * s->ow + x0) * s->c,
                                   .x = a->x + ((n * s->h + y) * s->w + x) * s->c,
                                   .n = most < s->ow - x0 ? most : s->ow - x0,
                                   .c = s->c,
                                   .step_g = s->c,
                                   .step_x = s->sw * s->c,
                                   .w = sums + tap * s->c};
                a->t->tv->dw(&d);
            }
}

static void weight_chunks(void *arg, size_t begin, size_t end, int thread)
{
    const WeightArg *a = arg;
    const LedgeConvShape *s = &a->l->s;
    float *planes = a->room + (size_t)thread * a->room_floats;
    float *panels = planes + ledge__round_up(plane_floats(a->l), LEDGE_ALIGN / sizeof(float));
    for (size_t i = begin; i < end; i++) {
        float *sums = a->chunks + i * (a->l->chunk_bytes / sizeof(float));
        memset(sums, 0, a->l->chunk_bytes);
        if (is_depthwise(s))
            chunk_of_depthwise(a, i, sums);
        else if (is_flat(s))
            chunk_of_rows(a, i, sums, planes, panels);
        else
            chunk_of_images(a, i, sums, planes, panels);
    }
}

typedef struct GatherArg {
    const Trainer *t;
    const TrainLinear *l;
    float *chunks, *dw;
} GatherArg;

/* All chunks into the first one. */
static void join_chunks(void *arg, size_t begin, size_t end, int thread)
{
    const GatherArg *a = arg;
    const size_t step = a->l->chunk_bytes / sizeof(float);
    (void)thread;
    for (size_t i = 1; i < chunk_count(&a->l->s); i++)
        a->t->tv->add(a->chunks + i * step + begin, a->chunks + begin, end - begin);
}

/* Output channels' sums, laid out [group][tap][c / group][m / group], into the weights' own order,
 * by blocks that stay in cache on both sides. */
static void gather_channels(void *arg, size_t begin, size_t end, int thread)
{
    const GatherArg *a = arg;
    const LedgeConvShape *s = &a->l->s;
    const size_t cg = s->c / s->group, mg = s->m / s->group, taps = s->kh * s->kw;
    (void)thread;
    for (size_t m0 = begin; m0 < end; m0 += BLOCK)
        for (size_t c0 = 0; c0 < cg; c0 += BLOCK)
            for (size_t m = m0; m < end && m < m0 + BLOCK; m++)
                for (size_t c = c0; c < cg && c < c0 + BLOCK; c++)
                    for (size_t k = 0; k < taps; k++) {
                        const size_t at = is_depthwise(s)
                                              ? k * s->c + m
                                              : ((m / mg * taps + k) * cg + c) * mg + m % mg;
                        a->dw[(m * cg + c) * taps + k] += a->chunks[at];
                    }
}

void ledge__train_linear_dw(Trainer *t, const TrainLinear *l, const float *x, const float *dy,
                            float *dw)
{
    WeightArg a = {.t = t, .l = l, .x = x, .dy = dy, .chunks = (float *)(void *)t->scratch};
    const size_t piece = plane_floats(l) + panel_floats(t, l) + 2 * LEDGE_ALIGN;
    a.room_floats = ledge__round_up(piece, LEDGE_ALIGN);
    a.room = a.chunks + TRAIN_CHUNKS * l->chunk_bytes / sizeof(float);
    ledge__pool_run(t->pool, chunk_count(&l->s), 1, weight_chunks, &a);
    GatherArg g = {t, l, a.chunks, dw};
    ledge__pool_run(t->pool, weight_count(&l->s), 16384, join_chunks, &g);
    ledge__pool_run(t->pool, l->s.m, 4 * BLOCK, gather_channels, &g);
}

/* ---- sums of columns ---- */

typedef struct SumsArg {
    const Trainer *t;
    const float *x;
    size_t rows, c;
    double *sums;
} SumsArg;

static void sum_chunks(void *arg, size_t begin, size_t end, int thread)
{
    const SumsArg *a = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t first = part(a->rows, i, TRAIN_CHUNKS);
        const size_t rows = part(a->rows, i + 1, TRAIN_CHUNKS) - first;
        double *to = a->sums + i * a->c;
        memset(to, 0, a->c * sizeof *to);
        a->t->tv->sums(a->x + first * a->c, rows, a->c, NULL, to, NULL);
    }
}

void ledge__train_column_sums(Trainer *t, const float *dy, size_t rows, size_t c, float *db)
{
    SumsArg a = {t, dy, rows, c, (double *)(void *)t->scratch};
    ledge__pool_run(t->pool, TRAIN_CHUNKS, 1, sum_chunks, &a);
    for (size_t j = 0; j < c; j++) {
        double sum = 0;
        for (size_t i = 0; i < TRAIN_CHUNKS; i++)
            sum += a.sums[i * c + j];
        db[j] += (float)sum;
    }
}
