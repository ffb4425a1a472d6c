/* Choice of the convolution algorithm, and the two that are a plain walk over GEMM tiles:
 * pointwise and indirect. See conv_f32.h. */
#include "engine/kernels/conv_f32.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "engine/kernels/conv_pixel.h"
#include "engine/kernels/strips_f32.h"

enum {
    RUN_MAX = 96,          /* longest filter row in floats that is worth copying at borders */
    PADDED_FLOATS = 16384, /* largest image that is copied with its padding */
    STRASSEN_MIN_ROWS = 12
};

const char *ledge__conv_f32_path_name(LedgeConvPath path)
{
    static const char *const names[] = {"pointwise", "indirect", "runs",
                                        "depthwise", "winograd", "planes"};
    return path < LEDGE_CONV_PATHS ? names[path] : "?";
}

static bool is_pointwise(const LedgeConvShape *s)
{
    return s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && s->pt == 0 && s->pl == 0 &&
           s->oh == s->h && s->ow == s->w;
}

/* Whether `path` can serve this shape at all. */
static bool path_serves(const LedgeConvShape *s, LedgeConvPath path)
{
    if (s->planes)
        return path == LEDGE_CONV_PLANES;
    switch (path) {
    case LEDGE_CONV_POINTWISE:
        return is_pointwise(s);
    case LEDGE_CONV_RUNS:
        return s->group == 1 && s->dw == 1 && s->kw > 1;
    case LEDGE_CONV_DEPTHWISE:
        return s->group == s->c && s->m == s->c;
    case LEDGE_CONV_WINOGRAD:
        return s->group == 1 && s->kh == 3 && s->kw == 3 && s->sh == 1 && s->sw == 1 &&
               s->dh == 1 && s->dw == 1;
    default:
        return path == LEDGE_CONV_INDIRECT;
    }
}

/* Winograd does 36 products where the direct way does 144, but adds the transforms, rounds
 * the image up to whole tiles and reads four times the weights. */
static bool winograd_pays(const LedgeConvShape *s)
{
    const double outputs = (double)s->oh * (double)s->ow;
    const double tiles = (double)((s->oh + 3) / 4) * (double)((s->ow + 3) / 4);
    const double direct = outputs * 9 * (double)s->c * (double)s->m;
    const double products = tiles * 36 * (double)s->c * (double)s->m;
    const double transforms = tiles * 36 * 10 * ((double)s->c + (double)s->m);
    const double weights = 36.0 * (double)s->c * (double)s->m * sizeof(float);
    return s->c >= 8 && s->m >= 8 && tiles * (double)s->n >= 4 && weights < 16e6 &&
           products + transforms < 0.9 * direct;
}

static LedgeConvPath choose(const LedgeConvShape *s)
{
    if (s->planes)
        return LEDGE_CONV_PLANES;
    if (path_serves(s, LEDGE_CONV_DEPTHWISE) && (s->c > 1 || s->kh * s->kw == 1))
        return LEDGE_CONV_DEPTHWISE;
    if (is_pointwise(s))
        return LEDGE_CONV_POINTWISE;
    if (path_serves(s, LEDGE_CONV_WINOGRAD) && winograd_pays(s))
        return LEDGE_CONV_WINOGRAD;
    if (path_serves(s, LEDGE_CONV_RUNS) && s->kw * s->c <= RUN_MAX)
        return LEDGE_CONV_RUNS;
    return LEDGE_CONV_INDIRECT;
}

/* The best set, unless narrower vectors fit the columns so much better that they win: by a
 * fifth at least, since some CPUs do more with wide ones. */
const LedgeF32Kernels *ledge__conv_f32_kernels(uint32_t cpu, size_t columns)
{
    const LedgeF32Kernels *best = ledge__f32_kernels(cpu);
    for (size_t i = 0; ledge__f32_kernels_at(i); i++) {
        const LedgeF32Kernels *k = ledge__f32_kernels_at(i);
        const size_t width = ledge__round_up(columns, k->lanes);
        if ((k->cpu & cpu) == k->cpu && k->lanes >= 4 && k->lanes < best->lanes &&
            width * 5 <= ledge__round_up(columns, best->lanes) * 4 &&
            columns <= (size_t)k->lanes * k->nv)
            best = k;
    }
    return best;
}

/* A small image is cheaper copied with its padding than looked at pixel by pixel. */
static void plan_padded(LedgeConvPlan *plan)
{
    const LedgeConvShape *s = &plan->s;
    size_t ph, pw, floats;
    if (s->oh == 0 || s->ow == 0)
        return;
    ph = (s->oh - 1) * s->sh + (s->kh - 1) * s->dh + 1;
    pw = (s->ow - 1) * s->sw + s->kw;
    ph = ph > s->pt + s->h ? ph : s->pt + s->h;
    pw = pw > s->pl + s->w ? pw : s->pl + s->w;
    if (!ledge__mul(ph, pw, &floats) || !ledge__mul(floats, s->c, &floats) ||
        !ledge__mul(floats, s->n, &floats) || floats > PADDED_FLOATS)
        return;
    plan->ph = ph;
    plan->pw = pw;
}

static size_t padded_bytes(const LedgeConvPlan *plan)
{
    const size_t floats = plan->s.n * plan->ph * plan->pw * plan->s.c;
    return floats ? ledge__round_up(floats * sizeof(float), LEDGE_ALIGN) : 0;
}

/* For a few rows the sums of A would be made for too little use. */
static bool strassen_pays(const LedgeConvShape *s, LedgeConvPath path)
{
    return path == LEDGE_CONV_POINTWISE && s->group == 1 && !s->serial &&
           (double)s->n * (double)s->oh * (double)s->ow >= STRASSEN_MIN_ROWS;
}

/* Panels of m columns, and how many rows a tile has. */
static void plan_panels(LedgeConvPlan *plan, uint32_t cpu, size_t m, size_t depth)
{
    const LedgeConvShape *s = &plan->s;
    LedgePanels *p = &plan->p;
    const bool strips = s->strips && s->group == 1 && plan->path == LEDGE_CONV_POINTWISE &&
                        ledge__strips_init(p, ledge__f32_kernels(cpu), m, depth, s->kept);
    plan->k = strips ? p->k : ledge__conv_f32_kernels(cpu, m);
    if (!strips && (!strassen_pays(s, plan->path) ||
                    !ledge__panels_init_strassen(p, plan->k, m, depth)))
        ledge__panels_init(p, plan->k, m, depth);
    plan->mr = ledge__panels_mr(p);
    const uint32_t nv = p->base + (p->wide > 0);
    if (!strips && depth <= 40 && nv >= 3)
        plan->mr = nv == 3 ? 6 : 4; /* short sums: one tile's end hides behind the next's start */
}

static bool gemm_plan(LedgeConvPlan *plan, uint32_t cpu)
{
    const LedgeConvShape *s = &plan->s;
    const size_t cg = s->c / s->group, mg = s->m / s->group;
    plan->taps = plan->path == LEDGE_CONV_RUNS ? s->kh : s->kh * s->kw;
    plan->kc = plan->path == LEDGE_CONV_RUNS ? s->kw * cg : cg;
    size_t depth, border;
    if (!ledge__mul(plan->taps, plan->kc, &depth) || !ledge__mul(depth, LEDGE_GEMM_MR_MAX, &border))
        return false;
    if (plan->path == LEDGE_CONV_RUNS)
        plan_padded(plan);
    plan_panels(plan, cpu, mg, depth);
    border = plan->path == LEDGE_CONV_RUNS ? border : ledge__strassen_floats(&plan->p);
    const size_t floats = ledge__panels_floats(&plan->p);
    plan->bias_floats = ledge__panels_columns(&plan->p) * s->group;
    plan->zeros_floats = plan->kc;
    plan->thread_bytes = ledge__gemm_thread_bytes(plan->taps, border, plan->threads);
    return (floats > 0 || depth == 0 || mg == 0) && plan->thread_bytes > 0 &&
           ledge__mul(floats, s->group, &plan->packed_floats);
}

bool ledge__conv_f32_plan(const LedgeConvShape *s, uint32_t cpu, int threads, LedgeConvPath force,
                          LedgeConvPlan *plan)
{
    size_t bytes;
    memset(plan, 0, sizeof(*plan));
    plan->s = *s;
    plan->threads = threads < 1 ? 1 : threads;
    plan->path = force < LEDGE_CONV_PATHS && path_serves(s, force) ? force : choose(s);
    plan->k = ledge__f32_kernels(cpu);
    const bool ok = plan->path == LEDGE_CONV_DEPTHWISE  ? ledge__conv_f32_dw_plan(plan)
                    : plan->path == LEDGE_CONV_WINOGRAD ? ledge__conv_f32_wino_plan(plan, cpu)
                    : plan->path == LEDGE_CONV_PLANES   ? ledge__conv_f32_planes_plan(plan)
                                                        : gemm_plan(plan, cpu);
    return ok && ledge__mul(plan->thread_bytes, (size_t)plan->threads, &plan->scratch_bytes) &&
           ledge__add(plan->scratch_bytes, padded_bytes(plan), &plan->scratch_bytes) &&
           ledge__mul(plan->packed_floats, sizeof(float), &bytes);
}

bool ledge__conv_f32_packs_scaled(const LedgeConvPlan *plan)
{
    return plan->path != LEDGE_CONV_DEPTHWISE && plan->path != LEDGE_CONV_WINOGRAD;
}

void ledge__conv_f32_pack(const LedgeConvPlan *plan, const void *w, const float *scale,
                          float *packed)
{
    const LedgeConvShape *s = &plan->s;
    const size_t cg = s->c / s->group, mg = s->m / s->group, spatial = s->kh * s->kw;
    if (plan->path == LEDGE_CONV_DEPTHWISE) {
        ledge__conv_f32_dw_pack(plan, w, packed);
        return;
    }
    if (plan->path == LEDGE_CONV_WINOGRAD) {
        ledge__conv_f32_wino_pack(plan, w, packed);
        return;
    }
    if (plan->path == LEDGE_CONV_PLANES) {
        ledge__conv_f32_planes_pack(plan, w, scale, packed);
        return;
    }
    for (size_t g = 0; g < s->group; g++)
        ledge__panels_pack(&plan->p, (const char *)w + g * mg * cg * spatial * sizeof(float),
                           spatial, cg, cg * spatial, 1, spatial, scale ? scale + g * mg : NULL,
                           packed + g * ledge__panels_floats(&plan->p));
}

void ledge__conv_f32_pack_bias(const LedgeConvPlan *plan, const void *bias, float *packed)
{
    const size_t mg = plan->s.m / plan->s.group;
    if (plan->path == LEDGE_CONV_DEPTHWISE) {
        ledge__panels_pack_bias(&plan->p, bias, packed);
        return;
    }
    for (size_t g = 0; g < plan->s.group; g++)
        ledge__panels_pack_bias(&plan->p, bias ? (const char *)bias + g * mg * sizeof(float) : NULL,
                                packed + g * ledge__panels_columns(&plan->p));
}

typedef struct RowsArg {
    const LedgeConvPlan *plan;
    const float *x, *zeros;
} RowsArg;

/* A 1×1 filter on a padded image: the border of the output is the bias alone. */
static bool is_framed(const LedgeConvShape *s)
{
    return s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && s->group == 1 && s->h > 0 &&
           s->w > 0 && s->oh >= s->pt + s->h && s->ow >= s->pl + s->w;
}

/* Every output pixel outside rows pt … pt + h and columns pl … pl + w. */
static void fill_frame(const LedgeConvPlan *plan, const LedgeConvArgs *a, float *y)
{
    const LedgeConvShape *s = &plan->s;
    const float *first = NULL;
    for (size_t i = 0; i < s->oh * s->ow; i++) {
        float *to = y + i * s->ldc;
        if (i / s->ow - s->pt < s->h && i % s->ow - s->pl < s->w)
            continue;
        if (first) {
            memcpy(to, first, s->m * sizeof(float));
            continue;
        }
        for (size_t j = 0; j < s->m; j++)
            to[j] = fminf(a->act.hi, fmaxf(a->act.lo, a->bias[j]));
        if (a->act.kind != LEDGE_ACT_CLAMP)
            ledge__act_f32(plan->k, to, 1, s->m, s->m, &a->act);
        first = to;
    }
}

/* A group is a row of the image here. */
static void framed_rows(const void *arg, size_t group, size_t m0, uint32_t mr, const float **out,
                        float *border)
{
    const RowsArg *a = arg;
    const size_t ld = a->plan->s.c;
    const float *x = a->x + (group * a->plan->s.w + m0) * ld;
    (void)border;
    for (uint32_t i = 0; i < mr; i++)
        out[i] = x + i * ld;
}

static void pointwise_rows(const void *arg, size_t group, size_t m0, uint32_t mr, const float **out,
                           float *border)
{
    const RowsArg *a = arg;
    const size_t ld = a->plan->s.c;
    const float *x = a->x + m0 * ld + group * a->plan->kc;
    (void)border;
    for (uint32_t i = 0; i < mr; i++)
        out[i] = x + i * ld;
}

/* Taps that see nothing but padding are marked for the kernel to skip. */
static void skip_padding(const float *zeros, size_t taps, uint32_t mr, const float **out)
{
    for (size_t t = 0; t < taps; t++, out += mr) {
        uint32_t i = 0;
        while (i < mr && out[i] == zeros)
            i++;
        if (i == mr)
            out[0] = NULL;
    }
}

static void indirect_rows(const void *arg, size_t group, size_t m0, uint32_t mr, const float **out,
                          float *border)
{
    const RowsArg *a = arg;
    const LedgeConvShape *s = &a->plan->s;
    (void)border;
    LedgePixel p = ledge__pixel_at(s, m0);
    bool padding = false;
    for (uint32_t i = 0; i < mr; i++, ledge__pixel_next(s, &p)) {
        const float **to = out + i;
        const float *image = a->x + p.n * s->h * s->w * s->c + group * a->plan->kc;
        for (size_t ky = 0; ky < s->kh; ky++) {
            /* unsigned: above the image wraps round and fails the comparison too */
            const size_t y = p.y * s->sh + ky * s->dh - s->pt;
            for (size_t kx = 0; kx < s->kw; kx++, to += mr) {
                const size_t x = p.x * s->sw + kx * s->dw - s->pl;
                const bool inside = y < s->h && x < s->w;
                *to = inside ? image + (y * s->w + x) * s->c : a->zeros;
                padding |= !inside;
            }
        }
    }
    if (padding && a->plan->taps > 1)
        skip_padding(a->zeros, a->plan->taps, mr, out);
}

static void pad_image(const LedgeConvPlan *plan, const float *x, float *to)
{
    const LedgeConvShape *s = &plan->s;
    const size_t row = s->w * s->c, padded = plan->pw * s->c;
    memset(to, 0, padded_bytes(plan));
    for (size_t n = 0; n < s->n; n++, to += plan->ph * padded)
        for (size_t y = 0; y < s->h; y++, x += row)
            memcpy(to + (s->pt + y) * padded + s->pl * s->c, x, row * sizeof(float));
}

/* Rows on the padded copy; a->x is the copy. */
static void padded_rows(const void *arg, size_t group, size_t m0, uint32_t mr, const float **out,
                        float *border)
{
    const RowsArg *a = arg;
    const LedgeConvShape *s = &a->plan->s;
    const size_t line = a->plan->pw * s->c;
    (void)group;
    (void)border;
    LedgePixel p = ledge__pixel_at(s, m0);
    const size_t step = s->sw * s->c, tap = s->dh * line;
    for (uint32_t i = 0; i < mr;) {
        const float *from = a->x + (p.n * a->plan->ph + p.y * s->sh) * line + p.x * step;
        const size_t left = s->ow - p.x;
        const uint32_t end = mr - i < left ? mr : i + (uint32_t)left; /* of this output row */
        for (size_t ky = 0; ky < s->kh; ky++, from += tap) {
            const float *pixel = from, **to = out + ky * mr;
            for (uint32_t j = i; j < end; j++, pixel += step)
                to[j] = pixel;
        }
        i = end;
        p.x = s->ow - 1; /* on to the next row */
        ledge__pixel_next(s, &p);
    }
}

/* All `mr` pixels in one output row with their filter rows inside the image: the usual case. */
static bool run_rows_inside(const RowsArg *a, const LedgePixel *p, uint32_t mr, const float **out)
{
    const LedgeConvShape *s = &a->plan->s;
    const size_t x = p->x * s->sw - s->pl, step = s->sw * s->c;
    if (p->x + mr > s->ow || x >= s->w || x + (mr - 1) * s->sw + s->kw > s->w)
        return false;
    const float *image = a->x + p->n * s->h * s->w * s->c;
    for (size_t ky = 0; ky < s->kh; ky++, out += mr) {
        const size_t y = p->y * s->sh + ky * s->dh - s->pt;
        const float *row = y < s->h ? image + (y * s->w + x) * s->c : a->zeros;
        const size_t by = y < s->h ? step : 0;
        for (uint32_t i = 0; i < mr; i++, row += by)
            out[i] = row;
    }
    return true;
}

static void run_rows(const void *arg, size_t group, size_t m0, uint32_t mr, const float **out,
                     float *border)
{
    const RowsArg *a = arg;
    const LedgeConvShape *s = &a->plan->s;
    const size_t kc = a->plan->kc;
    (void)group;
    LedgePixel p = ledge__pixel_at(s, m0);
    if (run_rows_inside(a, &p, mr, out))
        return;
    for (uint32_t i = 0; i < mr; i++, ledge__pixel_next(s, &p)) {
        const float *image = a->x + p.n * s->h * s->w * s->c;
        const size_t x = p.x * s->sw - s->pl;
        const bool inside = x < s->w && x + s->kw <= s->w;
        for (size_t ky = 0; ky < s->kh; ky++) {
            const size_t y = p.y * s->sh + ky * s->dh - s->pt;
            const float **to = out + ky * mr + i;
            if (y >= s->h) {
                *to = a->zeros;
            } else if (inside) {
                *to = image + (y * s->w + x) * s->c;
            } else {
                *to = ledge__border_run(s, image + y * s->w * s->c, x, s->c * sizeof(float), 0,
                                        border);
                border += kc;
            }
        }
    }
}

/* One input channel, few filters: whole rows of neighbouring outputs on the padded copy. */
static bool is_line(const LedgeConvPlan *plan)
{
    const LedgeConvShape *s = &plan->s;
    return plan->ph && s->c == 1 && s->sw == 1 && s->ow >= LEDGE_LINE_PX && s->m <= plan->k->lanes;
}

static void run_lines(const LedgeConvPlan *plan, const LedgeConvArgs *a, const float *copy)
{
    const LedgeConvShape *s = &plan->s;
    LedgeLineTile t = {.ldx = s->dh * plan->pw,
                       .kh = (uint32_t)s->kh,
                       .kw = (uint32_t)s->kw,
                       .n = (uint32_t)s->m,
                       .b = a->packed,
                       .bias = a->bias,
                       .ldc = s->ldc,
                       .lo = a->act.lo,
                       .hi = a->act.hi};
    for (size_t row = 0; row < s->n * s->oh; row++) {
        const size_t n = row / s->oh, y = row % s->oh;
        const float *line = copy + (n * plan->ph + y * s->sh) * plan->pw;
        float *out = a->y + row * s->ow * s->ldc;
        for (size_t x = 0; x < s->ow; x += LEDGE_LINE_PX) {
            /* the last ones overlap what is there already */
            const size_t at = x + LEDGE_LINE_PX <= s->ow ? x : s->ow - LEDGE_LINE_PX;
            t.x = line + at;
            t.c = out + at * s->ldc;
            plan->k->line(&t);
        }
        if (a->act.kind != LEDGE_ACT_CLAMP)
            ledge__act_f32(plan->k, out, s->ow, s->ldc, s->m, &a->act);
    }
}

void ledge__conv_f32_run(const LedgeConvPlan *plan, const LedgeConvArgs *a, LedgePool *pool)
{
    const LedgeConvShape *s = &plan->s;
    if (ledge__pool_threads(pool) > plan->threads)
        pool = NULL; /* scratch was sized for fewer */
    if (plan->path == LEDGE_CONV_DEPTHWISE) {
        ledge__conv_f32_dw_run(plan, a, pool);
        return;
    }
    if (plan->path == LEDGE_CONV_WINOGRAD) {
        ledge__conv_f32_wino_run(plan, a, pool);
        return;
    }
    if (plan->path == LEDGE_CONV_PLANES) {
        ledge__conv_f32_planes_run(plan, a, pool);
        return;
    }
    RowsArg rows = {plan, a->x, a->zeros};
    LedgeGemmRun g = {.p = plan->p,
                      .m = s->n * s->oh * s->ow,
                      .groups = s->group,
                      .taps = plan->taps,
                      .kc = plan->kc,
                      .mr = plan->mr,
                      .rows = plan->path == LEDGE_CONV_POINTWISE ? pointwise_rows
                              : plan->path == LEDGE_CONV_RUNS    ? run_rows
                                                                 : indirect_rows,
                      .rows_arg = &rows,
                      .b = a->packed,
                      .bias = a->bias,
                      .c = a->y,
                      .ldc = s->ldc,
                      .r = a->r,
                      .ldr = a->ldr,
                      .act = a->act,
                      .scratch = a->scratch,
                      .thread_bytes = plan->thread_bytes};
    if (plan->ph) {
        float *copy =
            (float *)(void *)((char *)a->scratch + plan->thread_bytes * (size_t)plan->threads);
        pad_image(plan, a->x, copy);
        if (is_line(plan) && !a->r) {
            run_lines(plan, a, copy);
            return;
        }
        rows.x = copy;
        g.rows = padded_rows;
    }
    if (plan->path != LEDGE_CONV_INDIRECT || a->r || !is_framed(s)) {
        ledge__gemm_run(&g, pool);
        return;
    }
    g.rows = framed_rows;
    g.shared_b = g.shared_bias = true;
    g.groups = s->h;
    g.m = s->w;
    g.c_step = s->ow * s->ldc;
    for (size_t n = 0; n < s->n; n++) {
        float *y = a->y + n * s->oh * s->ow * s->ldc;
        fill_frame(plan, a, y);
        rows.x = a->x + n * s->h * s->w * s->c;
        g.c = y + (s->pt * s->ow + s->pl) * s->ldc;
        ledge__gemm_run(&g, pool);
    }
}
