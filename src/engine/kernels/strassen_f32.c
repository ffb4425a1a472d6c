/* Strassen-Winograd over the tiled GEMM; see strassen_f32.h. With the quadrants of A, B and C
 * numbered 11, 12, 21, 22:
 *
 *   S1 = A21 + A22   S2 = S1 - A11    S3 = A11 - A21   S4 = A12 - S2
 *   T1 = B12 - B11   T2 = B22 - T1    T3 = B22 - B12   T4 = B21 - T2
 *   P = A11 B11      Q = S1 T1        U2 = S2 T2 + P   U3 = S3 T3 + U2
 *   C11 = A12 B21 + P                 C12 = S4 B22 + (U2 + Q)
 *   C21 = A22 T4 + U3                 C22 = U3 + Q
 *
 * What is added to a product goes in as the GEMM's residual, which costs no pass of its own. */
#include "engine/kernels/strassen_f32.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum {
    COMBINATIONS = 7, /* B11, B21, B22, T1, T2, T3, T4 in packed order */
    LEAST_ROWS = 96,
    LEAST_DEPTH = 192,
    LEAST_COLUMNS = 192,
    PIECE_ROWS = 8
};

bool ledge__strassen_f32_plan(size_t m, size_t k, size_t n, uint32_t cpu, int threads,
                              LedgeStrassenPlan *out)
{
    const LedgeF32Kernels *kernels = ledge__f32_kernels(cpu);
    LedgeStrassenPlan p = {.m = m, .k = k, .n = n, .threads = threads};
    size_t a, c, sum;
    if (m < LEAST_ROWS || k < LEAST_DEPTH || n < LEAST_COLUMNS || m % 2 || k % 2 ||
        n % (2 * kernels->lanes) || n > SIZE_MAX / 1024)
        return false;
    ledge__panels_init(&p.p, kernels, n / 2, k / 2);
    p.mr = ledge__panels_mr(&p.p);
    p.thread_bytes = ledge__gemm_thread_bytes(1, 0);
    if (!ledge__mul(ledge__panels_floats(&p.p), COMBINATIONS, &p.packed_floats) ||
        p.packed_floats == 0 || !ledge__mul(m * 2, k / 2, &a) || !ledge__mul(m * 2, n / 2, &c) ||
        !ledge__add(a, c, &sum) || sum > SIZE_MAX / 8)
        return false;
    p.scratch_bytes = ledge__round_up((sum + n / 2) * sizeof(float), LEDGE_ALIGN) +
                      (size_t)threads * p.thread_bytes;
    *out = p;
    return true;
}

/* ---- packing ---- */

typedef struct Matrix {
    const char *b;
    size_t sk, sn;
} Matrix;

static float at(const Matrix *b, size_t k, size_t n)
{
    float x;
    memcpy(&x, b->b + (k * b->sk + n * b->sn) * sizeof x, sizeof x);
    return x;
}

/* Combination `which` at (k, n) of a quadrant of K × N. */
static float combine(const Matrix *b, size_t K, size_t N, int which, size_t k, size_t n)
{
    const float b11 = at(b, k, n), b12 = at(b, k, N + n);
    const float b21 = at(b, K + k, n), b22 = at(b, K + k, N + n);
    switch (which) {
    case 0:
        return b11;
    case 1:
        return b21;
    case 2:
        return b22;
    case 3:
        return b12 - b11;
    case 4:
        return b22 - (b12 - b11);
    case 5:
        return b22 - b12;
    default:
        return b21 - (b22 - (b12 - b11));
    }
}

LedgeStatus ledge__strassen_f32_pack(const LedgeStrassenPlan *p, const void *b, size_t sk,
                                     size_t sn, float *packed)
{
    const Matrix from = {b, sk, sn};
    const size_t K = p->k / 2, N = p->n / 2;
    float *part = ledge__alloc(ledge__allocator_or_default(NULL), K * N, sizeof *part);
    if (!part)
        return LEDGE_ERROR_MEMORY;
    for (int which = 0; which < COMBINATIONS; which++) {
        for (size_t k = 0; k < K; k++)
            for (size_t n = 0; n < N; n++)
                part[k * N + n] = combine(&from, K, N, which, k, n);
        ledge__panels_pack(&p->p, part, 1, K, 1, 0, N,
                           packed + (size_t)which * ledge__panels_floats(&p->p));
    }
    ledge__free(ledge__allocator_or_default(NULL), part);
    return LEDGE_OK;
}

/* ---- running ---- */

typedef struct Run {
    const LedgeStrassenPlan *p;
    const float *a, *packed, *bias;
    float *c;
    const LedgeAct *act;
    float *s[4];          /* S1 … S4, each m/2 × k/2 */
    float *P, *Q, *U2, *U3; /* each m/2 × n/2 */
    float *zeros;         /* n/2 */
    void *threads;
    LedgePool *pool;
} Run;

typedef struct Rows {
    const float *a;
    size_t ld;
} Rows;

static void dense_rows(const void *arg, size_t group, size_t m0, uint32_t mr, const float **out,
                       float *border)
{
    const Rows *r = arg;
    (void)group;
    (void)border;
    for (uint32_t i = 0; i < mr; i++)
        out[i] = r->a + (m0 + i) * r->ld;
}

/* c = act(a × combination `which` + bias + residual) for one quadrant. */
static void product(const Run *r, const float *a, size_t lda, int which, const float *bias,
                    const float *residual, float *c, size_t ldc, const LedgeAct *act)
{
    const LedgeStrassenPlan *p = r->p;
    const Rows rows = {a, lda};
    const LedgeAct none = {LEDGE_ACT_CLAMP, -INFINITY, INFINITY, 0.0f, 0.0f};
    const LedgeGemmRun g = {.p = p->p,
                            .m = p->m / 2,
                            .groups = 1,
                            .taps = 1,
                            .kc = p->k / 2,
                            .mr = p->mr,
                            .rows = dense_rows,
                            .rows_arg = &rows,
                            .b = r->packed + (size_t)which * ledge__panels_floats(&p->p),
                            .bias = bias ? bias : r->zeros,
                            .c = c,
                            .ldc = ldc,
                            .r = residual,
                            .ldr = p->n / 2,
                            .act = act ? *act : none,
                            .scratch = r->threads,
                            .thread_bytes = p->thread_bytes};
    ledge__gemm_run(&g, r->pool);
}

static void make_s(void *arg, size_t begin, size_t end, int thread)
{
    const Run *r = arg;
    const size_t k = r->p->k / 2;
    (void)thread;
    for (size_t row = begin; row < end; row++) {
        const float *a11 = r->a + row * r->p->k, *a12 = a11 + k;
        const float *a21 = a11 + r->p->m / 2 * r->p->k, *a22 = a21 + k;
        float *restrict s1 = r->s[0] + row * k, *restrict s2 = r->s[1] + row * k;
        float *restrict s3 = r->s[2] + row * k, *restrict s4 = r->s[3] + row * k;
        for (size_t i = 0; i < k; i++) {
            const float t1 = a21[i] + a22[i], t2 = t1 - a11[i];
            s1[i] = t1;
            s2[i] = t2;
            s3[i] = a11[i] - a21[i];
            s4[i] = a12[i] - t2;
        }
    }
}

/* C22 = act(U3 + Q + bias), and U2 += Q. */
static void make_c22(void *arg, size_t begin, size_t end, int thread)
{
    const Run *r = arg;
    const size_t n = r->p->n / 2;
    const float *restrict bias = r->bias + n;
    (void)thread;
    for (size_t row = begin; row < end; row++) {
        float *restrict c = r->c + (r->p->m / 2 + row) * r->p->n + n;
        float *restrict u2 = r->U2 + row * n;
        const float *restrict u3 = r->U3 + row * n, *restrict q = r->Q + row * n;
        for (size_t i = 0; i < n; i++) {
            const float x = bias[i] + (u3[i] + q[i]);
            const float low = x < r->act->lo ? r->act->lo : x;
            c[i] = low > r->act->hi ? r->act->hi : low;
            u2[i] += q[i];
        }
    }
    if (r->act->kind != LEDGE_ACT_CLAMP)
        r->p->p.k->act(r->c + (r->p->m / 2 + begin) * r->p->n + n, end - begin, r->p->n, n, r->act);
}

static float *take(float **at, size_t floats)
{
    float *p = *at;
    *at += floats;
    return p;
}

void ledge__strassen_f32_run(const LedgeStrassenPlan *p, const float *a, const float *packed,
                             const float *bias, float *c, const LedgeAct *act, void *scratch,
                             LedgePool *pool)
{
    const size_t m = p->m / 2, k = p->k / 2, n = p->n / 2, ld = p->n, lda = p->k;
    const float *a21 = a + m * lda;
    float *at_scratch = scratch;
    Run r = {.p = p, .a = a, .packed = packed, .bias = bias, .c = c, .act = act, .pool = pool};
    if (ledge__pool_threads(pool) > p->threads)
        r.pool = NULL; /* scratch was sized for fewer */
    r.threads = take(&at_scratch, (size_t)p->threads * p->thread_bytes / sizeof(float));
    for (int i = 0; i < 4; i++)
        r.s[i] = take(&at_scratch, m * k);
    r.P = take(&at_scratch, m * n);
    r.Q = take(&at_scratch, m * n);
    r.U2 = take(&at_scratch, m * n);
    r.U3 = take(&at_scratch, m * n);
    r.zeros = take(&at_scratch, n);
    memset(r.zeros, 0, n * sizeof(float));
    ledge__pool_run(r.pool, m, PIECE_ROWS, make_s, &r);
    product(&r, a, lda, 0, NULL, NULL, r.P, n, NULL);
    product(&r, r.s[1], k, 4, NULL, r.P, r.U2, n, NULL);
    product(&r, r.s[2], k, 5, NULL, r.U2, r.U3, n, NULL);
    product(&r, r.s[0], k, 3, NULL, NULL, r.Q, n, NULL);
    product(&r, a + k, lda, 1, bias, r.P, c, ld, act);
    ledge__pool_run(r.pool, m, PIECE_ROWS, make_c22, &r);
    product(&r, r.s[3], k, 2, bias + n, r.U2, c + n, ld, act);
    product(&r, a21 + k, lda, 6, bias, r.U3, c + m * ld, ld, act);
}
