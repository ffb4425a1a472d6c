/* Float matrix products on the packed kernels, B packed at each run: for products whose B is
 * no constant (those with a constant one become ledge.Gemm) and that are large enough to pay
 * for the packing. Sums have one order whatever the threads. */
#include "engine/kernels/gemm_f32.h"
#include "engine/ops/nn/matmul.h"

#include <math.h>

/* Under these sizes packing costs more than it gains. */
enum { LEAST_M = 4, LEAST_N = 8, LEAST_K = 8 };

static size_t batches(const LedgeMatmulBatch *g)
{
    size_t n = 1;
    for (int d = 0; d < g->rank; d++)
        n *= (size_t)g->dims[d];
    return n;
}

/* Many small products: each thread does whole ones. */
static bool apart(const LedgeMatmulBatch *g, int threads)
{
    return batches(g) >= 2 * (size_t)threads;
}

bool ledge__nn_matmul_layout(LedgeOpCtx *c, LedgeType type, const LedgeMatmulBatch *g,
                             NnScratch *s, NnMatmulMemory *m)
{
    int threads = ledge__pool_threads(c->pool);
    LedgePanels p;
    if (type == LEDGE_DOUBLE || !ledge__nn_is_float(type) || g->one.a_col != 1 ||
        g->one.m < LEAST_M || g->one.n < LEAST_N || g->one.k < LEAST_K || batches(g) == 0)
        return false;
    ledge__panels_init(&p, ledge__f32_kernels(c->cpu), g->one.n, g->one.k);
    size_t one = ledge__panels_floats(&p);
    m->copies = apart(g, threads) ? (size_t)threads : 1;
    m->packed_floats = one;
    m->thread_bytes = ledge__gemm_thread_bytes(1, 0);
    m->bias = ledge__nn_take(s, ledge__panels_columns(&p), sizeof(float));
    m->packed = ledge__nn_take(s, m->copies, one ? one * sizeof(float) : SIZE_MAX);
    m->threads = ledge__nn_take(s, (size_t)threads, m->thread_bytes);
    return true;
}

typedef struct Work {
    const LedgeMatmulBatch *g;
    const NnMatmulMemory *m;
    LedgePanels p;
} Work;

typedef struct Rows {
    const float *a;
    size_t ld;
} Rows;

static void strided_rows(const void *arg, size_t group, size_t m0, uint32_t mr, const float **out,
                         float *border)
{
    const Rows *r = arg;
    (void)group;
    (void)border;
    for (uint32_t i = 0; i < mr; i++)
        out[i] = r->a + (m0 + i) * r->ld;
}

/* Product `batch`, with the memory of `copy`. */
static void one_product(const Work *w, size_t batch, size_t copy, LedgePool *pool)
{
    const LedgeMatmul *g = &w->g->one;
    size_t rest = batch, a = 0, b = 0;
    float *packed = w->m->packed + copy * w->m->packed_floats;
    for (int d = w->g->rank - 1; d >= 0; d--) {
        a += rest % (size_t)w->g->dims[d] * w->g->a_stride[d];
        b += rest % (size_t)w->g->dims[d] * w->g->b_stride[d];
        rest /= (size_t)w->g->dims[d];
    }
    const Rows rows = {(const float *)g->a + a, g->a_row};
    ledge__panels_pack(&w->p, (const float *)g->b + b, 1, g->k, g->b_col, 0, g->b_row, packed);
    LedgeGemmRun run = {.p = w->p, .m = g->m, .groups = 1, .taps = 1, .kc = g->k,
                        .mr = ledge__panels_mr(&w->p), .rows = strided_rows, .rows_arg = &rows,
                        .b = packed, .bias = w->m->bias,
                        .c = (float *)g->c + batch * g->m * g->c_row, .ldc = g->c_row,
                        .act = {.kind = LEDGE_ACT_CLAMP, .lo = -INFINITY, .hi = INFINITY},
                        .scratch = (char *)w->m->threads + copy * w->m->thread_bytes,
                        .thread_bytes = w->m->thread_bytes};
    ledge__gemm_run(&run, pool);
}

static void items(void *arg, size_t begin, size_t end, int thread)
{
    for (size_t i = begin; i < end; i++)
        one_product(arg, i, (size_t)thread, NULL);
}

void ledge__nn_matmul_fast(LedgeOpCtx *c, const LedgeMatmulBatch *g, const NnMatmulMemory *m)
{
    Work w = {.g = g, .m = m};
    ledge__panels_init(&w.p, ledge__f32_kernels(c->cpu), g->one.n, g->one.k);
    memset(m->bias, 0, ledge__panels_columns(&w.p) * sizeof *m->bias);
    if (m->copies > 1) {
        ledge__pool_run(c->pool, batches(g), 1, items, &w);
        return;
    }
    for (size_t i = 0; i < batches(g); i++)
        one_product(&w, i, 0, c->pool);
}
