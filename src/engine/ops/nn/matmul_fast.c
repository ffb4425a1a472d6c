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

static bool take(LedgeOpCtx *c, size_t n, size_t k, size_t copies, NnScratch *s, NnMatmulMemory *m)
{
    const int threads = ledge__pool_threads(c->pool);
    LedgePanels p;
    ledge__panels_init(&p, ledge__f32_kernels(c->cpu), n, k);
    m->cpu = c->cpu;
    m->copies = copies;
    m->packed_floats = ledge__panels_floats(&p);
    m->thread_bytes = ledge__gemm_thread_bytes(1, 0, threads);
    m->columns = ledge__panels_columns(&p);
    m->bias = ledge__nn_take(s, m->columns, sizeof(float));
    m->packed =
        ledge__nn_take(s, copies, m->packed_floats ? m->packed_floats * sizeof(float) : SIZE_MAX);
    m->threads = ledge__nn_take(s, (size_t)threads, m->thread_bytes);
    return true;
}

/* Without CPU flags the plain kernels are wanted, or as good. */
static bool pays(const LedgeOpCtx *c, LedgeType type, size_t m, size_t n, size_t k)
{
    return c->cpu && type != LEDGE_DOUBLE && ledge__nn_is_float(type) && m >= LEAST_M &&
           n >= LEAST_N && k >= LEAST_K;
}

bool ledge__nn_matmul_layout(LedgeOpCtx *c, LedgeType type, const LedgeMatmulBatch *g, NnScratch *s,
                             NnMatmulMemory *m)
{
    int threads = ledge__pool_threads(c->pool);
    return pays(c, type, g->one.m, g->one.n, g->one.k) && g->one.a_col == 1 && batches(g) != 0 &&
           take(c, g->one.n, g->one.k, apart(g, threads) ? (size_t)threads : 1, s, m);
}

bool ledge__nn_tile_layout(LedgeOpCtx *c, LedgeType type, size_t m, size_t n, size_t k,
                           NnScratch *s, NnMatmulMemory *memory)
{
    return pays(c, type, m, n, k) && take(c, n, k, (size_t)ledge__pool_threads(c->pool), s, memory);
}

typedef struct Work {
    const LedgeMatmulBatch *g;
    const NnMatmulMemory *m;
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

/* With the memory of `copy`. */
static void packed_product(const LedgeMatmul *g, const NnMatmulMemory *m, size_t copy,
                           LedgePool *pool)
{
    LedgeGemmRun run = {.m = g->m,
                        .groups = 1,
                        .taps = 1,
                        .kc = g->k,
                        .rows = strided_rows,
                        .bias = m->bias,
                        .c = g->c,
                        .ldc = g->c_row,
                        .act = {.kind = LEDGE_ACT_CLAMP, .lo = -INFINITY, .hi = INFINITY},
                        .scratch = (char *)m->threads + copy * m->thread_bytes,
                        .thread_bytes = m->thread_bytes};
    float *packed = m->packed + copy * m->packed_floats;
    const Rows rows = {g->a, g->a_row};
    ledge__panels_init(&run.p, ledge__f32_kernels(m->cpu), g->n, g->k);
    ledge__panels_pack(&run.p, g->b, 1, g->k, g->b_col, 0, g->b_row, NULL, packed);
    run.mr = ledge__panels_mr(&run.p);
    run.rows_arg = &rows;
    run.b = packed;
    ledge__gemm_run(&run, pool);
}

void ledge__nn_tile_begin(const NnMatmulMemory *m)
{
    memset(m->bias, 0, m->columns * sizeof *m->bias);
}

void ledge__nn_tile_product(const LedgeMatmul *g, void *arg, int thread)
{
    packed_product(g, arg, (size_t)thread, NULL);
}

static void one_product(const Work *w, size_t batch, size_t copy, LedgePool *pool)
{
    LedgeMatmul g = w->g->one;
    size_t rest = batch, a = 0, b = 0;
    for (int d = w->g->rank - 1; d >= 0; d--) {
        a += rest % (size_t)w->g->dims[d] * w->g->a_stride[d];
        b += rest % (size_t)w->g->dims[d] * w->g->b_stride[d];
        rest /= (size_t)w->g->dims[d];
    }
    g.a = (const float *)g.a + a;
    g.b = (const float *)g.b + b;
    g.c = (float *)g.c + batch * g.m * g.c_row;
    packed_product(&g, w->m, copy, pool);
}

static void items(void *arg, size_t begin, size_t end, int thread)
{
    for (size_t i = begin; i < end; i++)
        one_product(arg, i, (size_t)thread, NULL);
}

void ledge__nn_matmul_fast(LedgeOpCtx *c, const LedgeMatmulBatch *g, const NnMatmulMemory *m)
{
    Work w = {.g = g, .m = m};
    ledge__nn_tile_begin(m);
    if (m->copies > 1) {
        ledge__pool_run(c->pool, batches(g), 1, items, &w);
        return;
    }
    for (size_t i = 0; i < batches(g); i++)
        one_product(&w, i, 0, c->pool);
}
