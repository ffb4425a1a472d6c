/* Choice of the 8-bit convolution algorithm, and those that are a plain walk over GEMM tiles:
 * pointwise, indirect and runs. See conv_q8.h. */
#include "engine/kernels/conv_q8.h"

#include <string.h>

#include "base/alloc.h"
#include "engine/kernels/conv_pixel.h"

enum {
    RUN_MAX = 64,  /* longest filter row in bytes that is worth copying at borders */
    SHORT_SUM = 48 /* bytes of k so few that low tiles win: their ends hide behind the next */
};

static bool path_serves(const LedgeConvShape *s, LedgeConvPath path, const LedgeQ8Kernels *k)
{
    switch (path) {
    case LEDGE_CONV_POINTWISE:
        return s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && s->pt == 0 && s->pl == 0 &&
               s->oh == s->h && s->ow == s->w;
    case LEDGE_CONV_RUNS:
        return s->group == 1 && s->dw == 1 && s->kw > 1;
    case LEDGE_CONV_DEPTHWISE:
        return s->group == s->c && s->m == s->c;
    case LEDGE_CONV_WINOGRAD:
        return ledge__conv_q8_wino_serves(s, k);
    default:
        return path == LEDGE_CONV_INDIRECT;
    }
}

static LedgeConvPath choose(const LedgeConvShape *s, bool b_zero, const LedgeQ8Kernels *k)
{
    if (path_serves(s, LEDGE_CONV_DEPTHWISE, k) && s->c > 1 && !b_zero)
        return LEDGE_CONV_DEPTHWISE;
    if (path_serves(s, LEDGE_CONV_POINTWISE, k))
        return LEDGE_CONV_POINTWISE;
    if (path_serves(s, LEDGE_CONV_RUNS, k) && s->c <= RUN_MAX / s->kw)
        return LEDGE_CONV_RUNS;
    return LEDGE_CONV_INDIRECT;
}

const LedgeQ8Kernels *ledge__q8_narrower(const LedgeQ8Kernels *best)
{
    for (size_t i = 0; ledge__q8_kernels_at(i); i++) {
        const LedgeQ8Kernels *k = ledge__q8_kernels_at(i);
        if (k->cpu == best->cpu && k->lanes < best->lanes)
            return k;
    }
    return best;
}

/* Narrower vectors where they fit few columns by a fifth better. */
static const LedgeQ8Kernels *fitting(const LedgeQ8Kernels *best, size_t columns)
{
    const LedgeQ8Kernels *k = ledge__q8_narrower(best);
    return columns <= (size_t)k->lanes * k->nv && ledge__round_up(columns, k->lanes) * 5 <=
                                                      ledge__round_up(columns, best->lanes) * 4
               ? k
               : best;
}

static bool is_padded(const LedgeConvShape *s)
{
    return s->pt > 0 || s->pl > 0 || (s->oh - 1) * s->sh + (s->kh - 1) * s->dh >= s->h ||
           (s->ow - 1) * s->sw + (s->kw - 1) * s->dw >= s->w;
}

/* Padding of zeros need not be multiplied, which tiles can leave out that keep to one row of the
 * output: the most vectors of a panel with which such tiles are seven eighths full. 0: none. */
static uint32_t line_vectors(const LedgeConvShape *s, const LedgeQ8Kernels *k)
{
    for (uint32_t nv = s->oh && s->ow && is_padded(s) ? k->nv : 0; nv > 0; nv--) {
        const size_t mr = k->mr[nv - 1], tiles = (s->ow + mr - 1) / mr;
        if (s->ow * 8 >= tiles * mr * 7)
            return nv;
    }
    return 0;
}

static bool gemm_plan(LedgeConvQ8Plan *plan)
{
    const LedgeConvShape *s = &plan->s;
    const size_t cg = s->c / s->group, mg = s->m / s->group;
    plan->k = fitting(plan->k, mg);
    const bool runs = plan->path == LEDGE_CONV_RUNS;
    const uint32_t by_line =
        plan->path == LEDGE_CONV_INDIRECT ? line_vectors(s, plan->k) : 0;
    size_t taps = s->kh, kc = cg, border;
    if (!ledge__mul(runs ? 1 : s->kw, taps, &taps) || !ledge__mul(runs ? s->kw : 1, kc, &kc) ||
        !ledge__q8_panels_init(&plan->p, plan->k, by_line ? by_line : plan->k->nv, mg, taps, kc) ||
        !ledge__mul(runs ? plan->p.depth : 0, LEDGE_Q8_MR_MAX, &border))
        return false;
    plan->line = by_line ? s->ow : 0;
    plan->mr = ledge__q8_panels_mr(&plan->p);
    const uint32_t nv = plan->p.base + (plan->p.wide > 0), low = nv >= 3 ? 6 : 4;
    if (plan->p.depth <= SHORT_SUM && plan->mr > low)
        plan->mr = low;
    plan->border_bytes = ledge__round_up(kc, plan->k->step);
    plan->thread_bytes = ledge__gemm_q8_thread_bytes(taps, border, plan->threads);
    return plan->thread_bytes > 0 && ledge__mul(plan->p.columns, s->group, &plan->columns) &&
           ledge__mul(ledge__q8_panels_bytes(&plan->p), s->group, &plan->packed_bytes);
}

bool ledge__conv_q8_plan(const LedgeConvShape *s, uint32_t cpu, int threads, LedgeConvPath force,
                         bool b_zero, LedgeConvQ8Plan *plan)
{
    size_t bytes;
    memset(plan, 0, sizeof(*plan));
    plan->s = *s;
    plan->k = ledge__q8_kernels(cpu);
    plan->act_kernels = ledge__f32_kernels(cpu);
    plan->threads = threads < 1 ? 1 : threads;
    const bool forced = force < LEDGE_CONV_PATHS && path_serves(s, force, plan->k) &&
                        !(force == LEDGE_CONV_WINOGRAD && b_zero);
    plan->path = forced ? force : choose(s, b_zero, plan->k);
    plan->parts = b_zero && plan->path == LEDGE_CONV_DEPTHWISE ? 3 : 1;
    const bool ok = plan->path == LEDGE_CONV_DEPTHWISE  ? ledge__conv_q8_dw_plan(plan)
                    : plan->path == LEDGE_CONV_WINOGRAD ? ledge__conv_q8_wino_plan(plan)
                                                        : gemm_plan(plan);
    return ok && ledge__mul(plan->thread_bytes, (size_t)plan->threads, &plan->scratch_bytes) &&
           ledge__mul(plan->columns, sizeof(float), &bytes);
}

void ledge__conv_q8_pack(const LedgeConvQ8Plan *plan, const int8_t *w, int8_t *packed)
{
    const LedgeConvShape *s = &plan->s;
    const size_t cg = s->c / s->group, mg = s->m / s->group, spatial = s->kh * s->kw;
    if (plan->path == LEDGE_CONV_DEPTHWISE) {
        ledge__conv_q8_pack_zeros(plan, w, NULL, 1, packed);
        return;
    }
    if (plan->path == LEDGE_CONV_WINOGRAD) {
        ledge__conv_q8_wino_pack(plan, w, packed);
        return;
    }
    for (size_t g = 0; g < s->group; g++, packed += ledge__q8_panels_bytes(&plan->p)) {
        const int8_t *from = w + g * mg * cg * spatial;
        if (plan->path != LEDGE_CONV_RUNS) {
            ledge__q8_panels_pack(&plan->p, from, cg * spatial, 1, spatial, 0, packed);
            continue;
        }
        /* a tap is a filter row here: kw pixels of c channels, which are not evenly spaced */
        const LedgeQ8Panels *p = &plan->p;
        const size_t step = p->k->step;
        memset(packed, 0, ledge__q8_panels_bytes(p));
        for (size_t i = 0; i < p->count; i++) {
            const size_t first = ledge__q8_panel_start(p, i) * p->k->lanes;
            const size_t width = ledge__q8_panel_nv(p, i) * p->k->lanes;
            int8_t *to = packed + first * p->depth;
            for (size_t m = first; m < first + width && m < mg; m++)
                for (size_t t = 0; t < s->kh; t++)
                    for (size_t k = 0; k < p->kc; k++) {
                        const size_t steps = t * ((p->kc + step - 1) / step) + k / step;
                        to[(steps * width + m - first) * step + k % step] =
                            from[((m * cg + k % cg) * s->kh + t) * s->kw + k / cg];
                    }
        }
    }
}

void ledge__conv_q8_pack_matrix(const LedgeConvQ8Plan *plan, const void *w, size_t sn, size_t sk,
                                uint8_t flip, int8_t *packed)
{
    ledge__q8_panels_pack(&plan->p, w, sn, 0, sk, flip, packed);
}

void ledge__conv_q8_sums(const LedgeConvQ8Plan *plan, const int8_t *w, int32_t *sums)
{
    const LedgeConvShape *s = &plan->s;
    const size_t each = s->c / s->group * s->kh * s->kw;
    for (size_t m = 0; m < s->m; m++) {
        uint32_t sum = 0;
        for (size_t i = 0; i < each; i++)
            sum += (uint32_t)(int32_t)w[m * each + i];
        sums[m] = (int32_t)sum;
    }
}

void ledge__conv_q8_sums_matrix(const LedgeConvQ8Plan *plan, const void *w, size_t sn, size_t sk,
                                uint8_t flip, int32_t *sums)
{
    const uint8_t *from = w;
    const size_t n = plan->s.m, k = plan->s.c;
    memset(sums, 0, n * sizeof(*sums));
    if (sk == 1) { /* columns are contiguous */
        for (size_t j = 0; j < n; j++, from += sn) {
            uint32_t sum = 0;
            for (size_t i = 0; i < k; i++)
                sum += (uint32_t)(int32_t)(int8_t)(from[i] ^ flip);
            sums[j] = (int32_t)sum;
        }
        return;
    }
    for (size_t i = 0; i < k; i++, from += sk)
        for (size_t j = 0; j < n; j++)
            sums[j] =
                (int32_t)((uint32_t)sums[j] + (uint32_t)(int32_t)(int8_t)(from[j * sn] ^ flip));
}

/* The output channel at `place` of packed init and scale; s.m or more: none. */
static size_t channel_at(const LedgeConvQ8Plan *plan, size_t place)
{
    if (plan->path == LEDGE_CONV_DEPTHWISE)
        return ledge__conv_q8_dw_channel(plan, place);
    const size_t mg = plan->s.m / plan->s.group, in = place % plan->p.columns;
    return in < mg ? place / plan->p.columns * mg + in : SIZE_MAX;
}

/* Whether channels keep their order: done at each run, loops without a place to find are fast. */
static bool is_plain(const LedgeConvQ8Plan *plan)
{
    return plan->path != LEDGE_CONV_DEPTHWISE && plan->s.group == 1;
}

void ledge__conv_q8_pack_init(const LedgeConvQ8Plan *plan, const int32_t *bias, const int32_t *sums,
                              int32_t x_zero, const int32_t *b_zero, size_t b_zero_count,
                              int32_t *packed)
{
    const LedgeConvShape *s = &plan->s;
    const uint32_t each = (uint32_t)(s->c / s->group * s->kh * s->kw);
    const uint32_t flip = plan->path == LEDGE_CONV_WINOGRAD ? 0 : plan->k->flip;
    const uint32_t x = (uint32_t)x_zero, less = x - flip;
    /* Row sums are of x as it is; where the packed weights are less their zeros already, what is
     * summed is x less the flip. */
    const uint32_t from = plan->parts > 1 ? less : x;
    if (is_plain(plan) && !bias && !b_zero) {
        memset(packed + s->m, 0, (plan->columns - s->m) * sizeof(*packed));
        for (size_t m = 0; m < s->m; m++)
            packed[m] = (int32_t)(0 - less * (uint32_t)sums[m]);
        return;
    }
    for (size_t i = 0; i < plan->columns; i++) {
        const size_t m = channel_at(plan, i);
        const uint32_t z = b_zero && m < s->m ? (uint32_t)b_zero[b_zero_count == 1 ? 0 : m] : 0;
        packed[i] = m < s->m ? (int32_t)((bias ? (uint32_t)bias[m] : 0) - less * (uint32_t)sums[m] +
                                         from * each * z)
                             : 0;
    }
}

void ledge__conv_q8_pack_ints(const LedgeConvQ8Plan *plan, const int32_t *v, size_t count,
                              int32_t *packed)
{
    for (size_t i = 0; i < plan->columns; i++) {
        const size_t m = channel_at(plan, i);
        packed[i] = m < plan->s.m ? v[count == 1 ? 0 : m] : 0;
    }
}

void ledge__conv_q8_pack_floats(const LedgeConvQ8Plan *plan, const float *v, size_t count,
                                float factor, float *packed)
{
    const size_t all = plan->s.m, step = count == 1 ? 0 : 1;
    if (is_plain(plan)) {
        memset(packed + all, 0, (plan->columns - all) * sizeof(*packed));
        for (size_t m = 0; m < all; m++)
            packed[m] = v[m * step] * factor;
        return;
    }
    for (size_t i = 0; i < plan->columns; i++) {
        const size_t m = channel_at(plan, i);
        packed[i] = m < all ? v[m * step] * factor : 0.0f;
    }
}

typedef struct RowsArg {
    const LedgeConvQ8Plan *plan;
    const uint8_t *x, *border, *end; /* end of x */
    size_t whole;                    /* kc rounded up to steps */
    bool skips;                      /* what padding adds to a sum is 0 */
} RowsArg;

static bool pointwise_rows(const void *arg, LedgeQ8Rows *rows)
{
    const RowsArg *a = arg;
    const size_t ld = a->plan->s.c;
    const uint32_t mr = rows->mr;
    const uint8_t *x = a->x + rows->m0 * ld + rows->group * a->plan->p.kc;
    for (uint32_t i = 0; i < mr; i++)
        rows->at[i] = x + i * ld;
    return a->whole <= (size_t)(a->end - (rows->at[mr - 1] + (rows->repeat - 1) * mr * ld));
}

/* The pixels of filter row ky, that reads `line` of the image (NULL: above or below it), for outputs
 * of one row whose first filter begins at x0. */
static void tap_row(const RowsArg *a, LedgeQ8Rows *rows, const uint8_t *line, size_t ky, size_t x0)
{
    const LedgeConvShape *s = &a->plan->s;
    for (size_t kx = 0; kx < s->kw; kx++) {
        const uint8_t **to = rows->at + rows->taps * rows->mr;
        size_t x = x0 + kx * s->dw, inside = 0;
        for (uint32_t i = 0; i < rows->mr; i++, x += s->sw) {
            const bool in = line && x < s->w;
            to[i] = in ? line + x * s->c : a->border;
            inside += in;
        }
        if (inside == 0 && a->skips)
            continue;
        const bool one = inside + 1 == rows->mr;
        rows->live[rows->taps++] = (LedgeQ8Tap){
            .at = (uint32_t)(ky * s->kw + kx),
            .rows = one && to[0] == a->border              ? LEDGE_Q8_NOT_FIRST
                    : one && to[rows->mr - 1] == a->border ? LEDGE_Q8_NOT_LAST
                                                           : LEDGE_Q8_ALL};
    }
}

/* Tiles of one output row: what reads only padding of zeros is left out, and more tiles to the
 * right follow where the image has all that they read. */
static bool line_rows(const RowsArg *a, LedgeQ8Rows *rows)
{
    const LedgeConvShape *s = &a->plan->s;
    const LedgePixel p = ledge__pixel_at(s, rows->m0);
    const uint8_t *image = a->x + p.n * s->h * s->w * s->c + rows->group * a->plan->p.kc;
    const size_t x0 = p.x * s->sw - s->pl;
    const size_t last = x0 + (rows->mr - 1) * s->sw + (s->kw - 1) * s->dw; /* of the first tile */
    size_t most = 1;
    if (x0 < s->w && last < s->w)
        most = (s->w - 1 - last) / (rows->mr * s->sw) + 1;
    rows->repeat = rows->repeat < most ? rows->repeat : most;
    rows->some = a->skips;
    rows->taps = 0;
    size_t bottom = 0;
    for (size_t ky = 0; ky < s->kh; ky++) {
        const size_t y = p.y * s->sh + ky * s->dh - s->pt; /* unsigned: wraps round above */
        if (y < s->h) {
            tap_row(a, rows, image + y * s->w * s->c, ky, x0);
            bottom = y;
        } else if (!a->skips) {
            tap_row(a, rows, NULL, ky, x0);
            rows->repeat = 1; /* the border is no wider than a row */
        }
    }
    const size_t furthest = last + (rows->repeat - 1) * rows->mr * s->sw;
    const size_t x = furthest < s->w ? furthest : s->w - 1;
    return a->whole <= (size_t)(a->end - (image + (bottom * s->w + x) * s->c));
}

static bool indirect_rows(const void *arg, LedgeQ8Rows *rows)
{
    const RowsArg *a = arg;
    const LedgeConvShape *s = &a->plan->s;
    if (a->plan->line)
        return line_rows(a, rows);
    const uint32_t mr = rows->mr;
    rows->repeat = 1;
    LedgePixel p = ledge__pixel_at(s, rows->m0);
    size_t room = a->whole; /* behind the row that is nearest to the end */
    for (uint32_t i = 0; i < mr; i++, ledge__pixel_next(s, &p)) {
        const uint8_t **to = rows->at + i;
        const uint8_t *image = a->x + p.n * s->h * s->w * s->c + rows->group * a->plan->p.kc;
        for (size_t ky = 0; ky < s->kh; ky++) {
            /* unsigned: above the image wraps round and fails the comparison too */
            const size_t y = p.y * s->sh + ky * s->dh - s->pt;
            for (size_t kx = 0; kx < s->kw; kx++, to += mr) {
                const size_t x = p.x * s->sw + kx * s->dw - s->pl;
                const bool inside = y < s->h && x < s->w;
                *to = inside ? image + (y * s->w + x) * s->c : a->border;
                if (inside && (size_t)(a->end - *to) < room)
                    room = (size_t)(a->end - *to);
            }
        }
    }
    return room == a->whole;
}

/* All `mr` pixels in one output row with their filter rows inside the image: the usual case. More
 * tiles to the right of them may be so, too. */
static bool run_rows_inside(const RowsArg *a, const LedgePixel *p, LedgeQ8Rows *rows)
{
    const LedgeConvShape *s = &a->plan->s;
    const uint32_t mr = rows->mr;
    const uint8_t **out = rows->at;
    const size_t x = p->x * s->sw - s->pl, step = s->sw * s->c;
    const size_t y0 = p->y * s->sh - s->pt, last = x + (mr - 1) * s->sw + s->kw;
    if (p->x + mr > s->ow || x >= s->w || last > s->w || y0 >= s->h)
        return false;
    const uint8_t *image = a->x + p->n * s->h * s->w * s->c + (y0 * s->w + x) * s->c;
    for (size_t ky = 0; ky < s->kh; ky++, image += s->dh * s->w * s->c)
        for (uint32_t i = 0; i < mr; i++)
            *out++ = image + i * step;
    const size_t by_output = (s->ow - p->x) / mr, by_image = (s->w - last) / (mr * s->sw) + 1;
    const size_t most = by_output < by_image ? by_output : by_image;
    rows->repeat = rows->repeat < most ? rows->repeat : most;
    return true;
}

static bool run_rows(const void *arg, LedgeQ8Rows *rows)
{
    const RowsArg *a = arg;
    const LedgeConvShape *s = &a->plan->s;
    const uint32_t mr = rows->mr;
    uint8_t *border = rows->border;
    LedgePixel p = ledge__pixel_at(s, rows->m0);
    /* only the last rows of the last image are near the end */
    const size_t line = s->w * s->c, bottom = p.y * s->sh + (s->kh - 1) * s->dh - s->pt;
    const size_t below = p.n + 1 < s->n ? bottom : bottom + s->sh;
    const bool loose = bottom < s->h && below < s->h && a->whole <= line;
    if (loose && run_rows_inside(a, &p, rows))
        return true;
    rows->repeat = 1;
    for (uint32_t i = 0; i < mr; i++, ledge__pixel_next(s, &p)) {
        const uint8_t *image = a->x + p.n * s->h * line;
        const size_t x = p.x * s->sw - s->pl;
        const bool inside = x < s->w && x + s->kw <= s->w;
        for (size_t ky = 0; ky < s->kh; ky++) {
            const size_t y = p.y * s->sh + ky * s->dh - s->pt;
            const uint8_t **to = rows->at + ky * mr + i;
            if (y >= s->h) {
                *to = a->border;
            } else if (inside) {
                *to = image + (y * s->w + x) * s->c;
            } else {
                *to = ledge__border_run(s, image + y * line, x, s->c, a->border[0], border);
                border += a->whole;
            }
        }
    }
    return false;
}

void ledge__conv_q8_run(const LedgeConvQ8Plan *plan, const LedgeConvQ8Args *given, LedgePool *pool)
{
    const LedgeConvShape *s = &plan->s;
    LedgeConvQ8Args tamed = *given;
    const LedgeConvQ8Args *a = &tamed;
    tamed.out.tame =
        a->out.tame || ledge__q8_scales_tame(a->scale, plan->columns, &a->out);
    if (ledge__pool_threads(pool) > plan->threads)
        pool = NULL; /* scratch was sized for fewer */
    if (plan->path == LEDGE_CONV_DEPTHWISE) {
        ledge__conv_q8_dw_run(plan, a, pool);
        return;
    }
    if (plan->path == LEDGE_CONV_WINOGRAD) {
        ledge__conv_q8_wino_run(plan, a, pool);
        return;
    }
    const size_t pixels = s->n * s->oh * s->ow;
    const RowsArg rows = {.plan = plan, .x = a->x, .border = a->border,
                          .end = a->x + s->n * s->h * s->w * s->c,
                          .whole = ledge__round_up(plan->p.kc, plan->k->step),
                          .skips = !a->b_zero && plan->border_bytes > 0 &&
                                   a->border[0] == plan->k->flip};
    const LedgeQ8Run g = {.p = plan->p,
                          .m = pixels,
                          .line = plan->line ? plan->line : pixels,
                          .groups = s->group,
                          .mr = plan->mr,
                          .rows = plan->path == LEDGE_CONV_POINTWISE ? pointwise_rows
                                  : plan->path == LEDGE_CONV_RUNS    ? run_rows
                                                                     : indirect_rows,
                          .rows_arg = &rows,
                          .a_step = plan->path == LEDGE_CONV_POINTWISE ? s->c : s->sw * s->c,
                          .b = a->packed,
                          .init = a->init,
                          .b_zero = a->b_zero,
                          .scale = a->scale,
                          .fbias = a->fbias,
                          .c = a->y,
                          .ldc = s->ldc,
                          .r = a->r,
                          .ldr = a->ldr,
                          .out = &a->out,
                          .act = a->out.kind == LEDGE_Q8_FLOAT ? &a->act : NULL,
                          .act_kernels = plan->act_kernels,
                          .scratch = a->scratch,
                          .thread_bytes = plan->thread_bytes};
    ledge__gemm_q8_run(&g, pool);
}
