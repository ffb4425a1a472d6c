/* Kernels over arrays against plain loops in double: binary maps in all forms, affine maps,
 * reductions, softmax, norms, transpositions, conversions; every size up to two vectors and
 * one more, at guard pages, in every instruction set, and equal for any thread count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/vec.h"

#include "guard_pages.h"

#define EACH_TABLE(v)                                                                              \
    for (size_t v##_i = 0; ledge__vec_at(v##_i); v##_i++)                                          \
        for (const LedgeVec *v = ledge__vec_at(v##_i);                                             \
             v && (v->needs & ledge__cpu_flags_uncapped()) == v->needs; v = NULL)

static uint32_t seed = 2463534242u;

static void fill(float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = scale * test_uniform(&seed);
}

static void assert_close(double got, double want, double bound, const char *what, const char *isa)
{
    if (!(fabs(got - want) <= bound) && !(isnan(got) && isnan(want)) && got != want)
        fail_msg("%s %s: got %.9g, want %.9g, off by %g > %g", isa, what, got, want,
                 fabs(got - want), bound);
}

static float binary_ref(LedgePairMap op, float a, float b)
{
    switch (op) {
    case LEDGE_B_ADD:
        return a + b;
    case LEDGE_B_SUB:
        return a - b;
    case LEDGE_B_MUL:
        return a * b;
    case LEDGE_B_DIV:
        return a / b;
    case LEDGE_B_MIN:
        return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
    case LEDGE_B_MAX:
        return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
    case LEDGE_B_COUNT:
        break;
    }
    return NAN;
}

static bool same(float a, float b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void check_binary(const LedgeVec *v, LedgePairMap op, LedgeForm form, size_t n, float lo,
                         float hi)
{
    float a[40], b[40];
    fill(a, 40, 4.0f);
    fill(b, 40, 4.0f);
    a[1] = NAN;
    b[2] = NAN;
    a[3] = INFINITY;
    b[4] = -INFINITY;
    b[5] = 0.0f;
    Guarded ga = guarded_copy(a, (form == LEDGE_SV ? 1 : n) * sizeof *a);
    Guarded gb = guarded_copy(b, (form == LEDGE_VS ? 1 : n) * sizeof *b);
    Guarded gy = guarded_new(n * sizeof *a);
    v->binary(op, form, ga.p, gb.p, gy.p, n, lo, hi);
    for (size_t i = 0; i < n; i++) {
        float want = binary_ref(op, a[form == LEDGE_SV ? 0 : i], b[form == LEDGE_VS ? 0 : i]);
        want = isnan(want) ? want : want < lo ? lo : want > hi ? hi : want;
        if (!same(((float *)gy.p)[i], want))
            fail_msg("%s op %d form %d n %zu [%zu]: %g, want %g", v->isa, (int)op, (int)form, n, i,
                     (double)((float *)gy.p)[i], (double)want);
    }
    guarded_free(&ga);
    guarded_free(&gb);
    guarded_free(&gy);
}

static void binary_maps_are_exact_in_every_form(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (int op = 0; op < LEDGE_B_COUNT; op++)
        for (int form = 0; form < 3; form++)
            for (size_t n = 1; n <= 2 * v->lanes + 1; n++) {
                check_binary(v, (LedgePairMap)op, (LedgeForm)form, n, -INFINITY, INFINITY);
                check_binary(v, (LedgePairMap)op, (LedgeForm)form, n, 0.0f, 1.0f);
            }
}

static void broadcast_2d_reads_by_strides(void **state)
{
    float a[60], b[60], y[60];
    const LedgeAct none = {LEDGE_ACT_CLAMP, -INFINITY, INFINITY, 0, 0};
    const LedgeAct relu = {LEDGE_ACT_CLAMP, 0, INFINITY, 0, 0};
    const LedgeAct silu = {LEDGE_ACT_SILU, -INFINITY, INFINITY, 0, 0};
    const LedgeAct acts[3] = {none, relu, silu};
    (void)state;
    fill(a, 60, 3.0f);
    fill(b, 60, 3.0f);
    EACH_TABLE(v)
    for (int k = 0; k < 3; k++)
        for (int shape = 0; shape < 16; shape++) {
            const size_t outer = 5, inner = 12, ao = shape & 1 ? 12 : 0, ai = shape >> 1 & 1;
            const size_t bo = shape & 4 ? 12 : 0, bi = shape >> 3 & 1;
            const LedgeRunner r = {NULL, v->needs};
            ledge__vec_binary_2d(r, LEDGE_B_SUB, a, ao, ai, b, bo, bi, y, outer, inner, acts[k]);
            for (size_t i = 0; i < 60; i++) {
                const size_t o = i / 12, j = i % 12;
                double want = (double)(a[o * ao + j * ai] - b[o * bo + j * bi]);
                want = k == 1 ? fmax(want, 0) : k == 2 ? want / (1 + exp(-want)) : want;
                assert_close((double)y[i], want, 1e-6, "broadcast", v->isa);
            }
        }
}

static void affine_scales_each_channel(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (size_t c = 1; c <= 2 * v->lanes + 1; c++) {
        float x[200], a[40], b[40];
        const size_t rows = 4;
        fill(x, rows * c, 2.0f);
        fill(a, c, 2.0f);
        fill(b, c, 2.0f);
        Guarded gx = guarded_copy(x, rows * c * sizeof *x);
        Guarded gy = guarded_new(rows * c * sizeof *x);
        v->affine(gx.p, a, b, gy.p, rows, c, -1.0f, INFINITY);
        for (size_t i = 0; i < rows * c; i++)
            assert_close((double)((float *)gy.p)[i],
                         fmax(-1, (double)x[i] * (double)a[i % c] + (double)b[i % c]), 1e-6,
                         "affine", v->isa);
        guarded_free(&gx);
        guarded_free(&gy);
    }
}

static double reduce_ref(LedgeFold kind, const float *x, size_t n, size_t stride)
{
    double s = kind == LEDGE_R_MAX ? -INFINITY : kind == LEDGE_R_MIN ? INFINITY : 0;
    for (size_t i = 0; i < n; i++) {
        const double v = (double)x[i * stride];
        switch (kind) {
        case LEDGE_R_MAX:
            s = isnan(v) || isnan(s) ? NAN : fmax(s, v);
            break;
        case LEDGE_R_MIN:
            s = isnan(v) || isnan(s) ? NAN : fmin(s, v);
            break;
        case LEDGE_R_SUM_SQUARE:
            s += v * v;
            break;
        case LEDGE_R_L1:
            s += fabs(v);
            break;
        default:
            s += v;
        }
    }
    return kind == LEDGE_R_MEAN ? s / (double)n : s;
}

/* Error of a sum: a few ulp of the sum of magnitudes, however long the row is. */
static double reduce_bound(LedgeFold kind, const float *x, size_t n, size_t stride)
{
    if (kind == LEDGE_R_MAX || kind == LEDGE_R_MIN)
        return 0;
    const double m = reduce_ref(kind == LEDGE_R_SUM_SQUARE ? kind : LEDGE_R_L1, x, n, stride);
    return (kind == LEDGE_R_MEAN ? m / (double)n : m) * 4e-6 + 1e-30;
}

static void reductions_of_rows_hold_their_bound(void **state)
{
    static float big[100003];
    (void)state;
    EACH_TABLE(v)
    for (int k = 0; k < LEDGE_R_COUNT; k++) {
        for (size_t n = 1; n <= 9 * v->lanes + 1; n++) {
            float x[160];
            fill(x, n, 5.0f);
            Guarded g = guarded_copy(x, n * sizeof *x);
            assert_close((double)v->reduce((LedgeFold)k, g.p, n), reduce_ref((LedgeFold)k, x, n, 1),
                         reduce_bound((LedgeFold)k, x, n, 1), "reduce", v->isa);
            guarded_free(&g);
        }
        for (size_t i = 0; i < 100003; i++)
            big[i] = 1.0f + 0.001f * test_uniform(&seed);
        assert_close((double)v->reduce((LedgeFold)k, big, 100003),
                     reduce_ref((LedgeFold)k, big, 100003, 1),
                     reduce_bound((LedgeFold)k, big, 100003, 1), "long reduce", v->isa);
    }
}

static void extremes_see_nan_and_only_what_is_there(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (size_t n = 1; n <= 2 * v->lanes + 1; n++)
        for (size_t at = 0; at < n; at++) {
            float x[40];
            for (size_t i = 0; i < n; i++)
                x[i] = -3.0f; /* a stray 0 past the tail would win */
            assert_true(v->reduce(LEDGE_R_MAX, x, n) == -3.0f);
            x[at] = -1.0f;
            assert_true(v->reduce(LEDGE_R_MAX, x, n) == -1.0f);
            x[at] = -7.0f;
            assert_true(v->reduce(LEDGE_R_MIN, x, n) == -7.0f);
            x[at] = NAN;
            assert_true(isnan(v->reduce(LEDGE_R_MAX, x, n)));
            assert_true(isnan(v->reduce(LEDGE_R_MIN, x, n)));
        }
}

static void reductions_of_columns_hold_their_bound(void **state)
{
    static float x[600 * 40];
    float y[40];
    (void)state;
    EACH_TABLE(v)
    for (int k = 0; k < LEDGE_R_COUNT; k++)
        for (size_t cols = 1; cols <= 2 * v->lanes + 1; cols++)
            for (size_t rows = 1; rows < 600; rows = rows * 3 + 1) {
                fill(x, rows * cols, 5.0f);
                Guarded g = guarded_copy(x, rows * cols * sizeof *x);
                v->reduce_cols((LedgeFold)k, g.p, rows, cols, y, cols);
                for (size_t c = 0; c < cols; c++)
                    assert_close((double)y[c], reduce_ref((LedgeFold)k, x + c, rows, cols),
                                 reduce_bound((LedgeFold)k, x + c, rows, cols), "columns", v->isa);
                guarded_free(&g);
            }
}

static void softmax_ref(const float *x, const float *mask, double scale, double *y, size_t n,
                        size_t stride, bool log_form)
{
    double top = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) {
        y[i] = (double)x[i * stride] * scale + (mask ? (double)mask[i] : 0);
        top = fmax(top, y[i]);
    }
    for (size_t i = 0; i < n; i++)
        sum += exp(y[i] - top);
    for (size_t i = 0; i < n; i++)
        y[i] = log_form ? y[i] - top - log(sum) : exp(y[i] - top) / sum;
}

static void softmax_matches_double(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (int form = 0; form < 4; form++)
        for (size_t n = 1; n <= 4 * v->lanes + 1; n++) {
            float x[80], mask[80];
            double want[80];
            fill(x, n, 20.0f);
            fill(mask, n, 10.0f);
            if (n > 2)
                mask[1] = -INFINITY;
            const float *m = form & 2 ? mask : NULL;
            const float scale = form & 2 ? 0.125f : 1.0f;
            softmax_ref(x, m, (double)scale, want, n, 1, form & 1);
            Guarded g = guarded_copy(x, n * sizeof *x);
            Guarded gm = guarded_copy(mask, n * sizeof *x);
            v->softmax(g.p, m ? gm.p : NULL, scale, g.p, n, form & 1);
            for (size_t i = 0; i < n; i++)
                assert_close((double)((float *)g.p)[i], want[i], form & 1 ? 1e-5 : 1e-6, "softmax",
                             v->isa);
            guarded_free(&g);
            guarded_free(&gm);
        }
}

static void softmax_over_a_middle_axis_matches_double(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (int log_form = 0; log_form < 2; log_form++)
        for (size_t inner = 1; inner <= 2 * v->lanes + 1; inner++) {
            enum { N = 7 };
            float x[2 * N * 40], y[2 * N * 40];
            const LedgeRunner r = {NULL, v->needs};
            fill(x, 2 * N * inner, 9.0f);
            ledge__vec_softmax(r, x, y, 2, N, inner, log_form);
            for (size_t o = 0; o < 2; o++)
                for (size_t c = 0; c < inner; c++) {
                    double want[N];
                    const size_t at = o * N * inner + c;
                    softmax_ref(x + at, NULL, 1, want, N, inner, log_form);
                    for (size_t i = 0; i < N; i++)
                        assert_close((double)y[at + i * inner], want[i], 3e-6, "softmax axis",
                                     v->isa);
                }
        }
}

static void softmax_of_many_short_rows_matches_double(void **state)
{
    enum { ROWS = 200 };
    static float x[ROWS * 20], y[ROWS * 20];
    (void)state;
    EACH_TABLE(v)
    for (int log_form = 0; log_form < 2; log_form++)
        for (size_t n = 1; n <= 20; n++) {
            const LedgeRunner r = {NULL, v->needs};
            fill(x, ROWS * n, 9.0f);
            ledge__vec_softmax(r, x, y, ROWS, n, 1, log_form);
            for (size_t o = 0; o < ROWS; o++) {
                double want[20];
                softmax_ref(x + o * n, NULL, 1, want, n, 1, log_form);
                for (size_t i = 0; i < n; i++)
                    assert_close((double)y[o * n + i], want[i], 3e-6, "short softmax", v->isa);
            }
        }
}

static void softmax_takes_infinities_as_limits(void **state)
{
    const float x[4] = {-INFINITY, 1000.0f, -1000.0f, 1000.0f};
    (void)state;
    EACH_TABLE(v)
    {
        float y[4];
        v->softmax(x, NULL, 1.0f, y, 4, false);
        assert_true(y[0] == 0.0f && y[1] == 0.5f && y[2] == 0.0f && y[3] == 0.5f);
    }
}

static void norms_match_double(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (int form = 0; form < 8; form++)
        for (size_t n = 1; n <= 4 * v->lanes + 1; n++) {
            float x[80], skip[80], bias[80], gamma[80], beta[80], sum[80], y[80], mean, inv;
            double t[80], m = 0, s = 0;
            fill(x, n, 3.0f);
            fill(skip, n, 3.0f);
            fill(bias, n, 3.0f);
            fill(gamma, n, 2.0f);
            fill(beta, n, 2.0f);
            const LedgeNorm p = {x,
                                 form & 1 ? skip : NULL,
                                 form & 1 ? bias : NULL,
                                 gamma,
                                 form & 2 ? beta : NULL,
                                 form & 1 ? sum : NULL,
                                 y,
                                 n,
                                 1e-3f,
                                 form & 4,
                                 &mean,
                                 &inv};
            v->norm(&p, 1);
            for (size_t i = 0; i < n; i++) {
                t[i] = (double)x[i] + (form & 1 ? (double)skip[i] + (double)bias[i] : 0);
                m += form & 4 ? 0 : t[i] / (double)n;
            }
            for (size_t i = 0; i < n; i++)
                s += (t[i] - m) * (t[i] - m) / (double)n;
            for (size_t i = 0; i < n; i++) {
                const double want = (t[i] - m) / sqrt(s + (double)p.eps) * (double)gamma[i] +
                                    (form & 2 ? (double)beta[i] : 0);
                assert_close((double)y[i], want, n == 1 ? 1e-4 : 4e-5, "norm", v->isa);
                if (form & 1)
                    assert_close((double)sum[i], t[i], 1e-6, "norm sum", v->isa);
            }
            assert_close((double)mean, m, 1e-6, "mean", v->isa);
            assert_close((double)inv * sqrt(s + (double)p.eps), 1, 1e-4, "inv std", v->isa);
        }
}

static void check_transpose(LedgeRunner r, size_t batch, size_t rows, size_t cols, size_t bytes)
{
    const size_t n = batch * rows * cols;
    Guarded x = guarded_new(n * bytes), y = guarded_new(n * bytes);
    for (size_t i = 0; i < n * bytes; i++)
        ((uint8_t *)x.p)[i] = (uint8_t)test_random(&seed);
    ledge__vec_transpose(r, x.p, y.p, batch, rows, cols, bytes);
    for (size_t i = 0; i < n; i++) {
        const size_t b = i / (rows * cols), row = i / cols % rows, c = i % cols;
        const size_t to = (b * cols + c) * rows + row;
        assert_memory_equal((uint8_t *)y.p + to * bytes, (uint8_t *)x.p + i * bytes, bytes);
    }
    guarded_free(&x);
    guarded_free(&y);
}

static void transpose_moves_every_element(void **state)
{
    static const size_t bytes[] = {1, 2, 4, 8};
    static const size_t shapes[][3] = {{1, 3, 1000}, {2, 1000, 3},  {1, 300, 301}, {3, 64, 49},
                                       {2, 17, 400}, {1, 1, 50000}, {1, 40000, 1}};
    (void)state;
    EACH_TABLE(v)
    {
        const LedgeRunner r = {NULL, v->needs};
        for (size_t rows = 0; rows <= 19; rows++)
            for (size_t cols = 0; cols <= 19; cols++)
                check_transpose(r, 2, rows, cols, 4);
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            for (int k = 0; k < 4; k++)
                check_transpose(r, shapes[i][0], shapes[i][1], shapes[i][2], bytes[k]);
    }
}

static void bytes_become_scaled_floats(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (size_t c = 1; c <= 4; c++)
        for (size_t pixels = 0; pixels < 600; pixels += 37) {
            const float a[4] = {0.5f, 0.25f, 2.0f, 1.0f}, b[4] = {1.0f, -1.0f, 0.5f, 3.0f};
            const LedgeRunner r = {NULL, v->needs};
            Guarded x = guarded_new(pixels * c), y = guarded_new(pixels * c * sizeof(float));
            for (size_t i = 0; i < pixels * c; i++)
                ((uint8_t *)x.p)[i] = (uint8_t)test_random(&seed);
            ledge__vec_u8_affine(r, x.p, a, b, y.p, pixels, c);
            for (size_t i = 0; i < pixels * c; i++)
                assert_true(((float *)y.p)[i] == ((uint8_t *)x.p)[i] * a[i % c] + b[i % c]);
            guarded_free(&x);
            guarded_free(&y);
        }
}

/* Everything that is shared among threads, once with one and once with three. */
static void thread_count_changes_no_bit(void **state)
{
    enum { N = 50000 };
    static float x[N], z[N], one[N], three[N];
    LedgePool *pool = NULL;
    const LedgeAct gelu = {LEDGE_ACT_GELU, -INFINITY, INFINITY, 0, 0};
    (void)state;
    fill(x, N, 3.0f);
    fill(z, N, 3.0f);
    assert_int_equal(ledge__pool_new(NULL, 3, &pool), LEDGE_OK);
    for (int k = 0; k < 7; k++)
        for (int t = 0; t < 2; t++) {
            const LedgeRunner r = {t ? pool : NULL, ledge__cpu_flags_uncapped()};
            float *y = t ? three : one;
            const LedgeNorm norm = {.x = x, .skip = z, .gamma = z, .y = y, .n = 500, .eps = 1e-5f};
            memset(y, 0, sizeof one);
            switch (k) {
            case 0:
                ledge__vec_unary(r, LEDGE_U_EXP, x, y, N, 0, 0);
                break;
            case 1:
                ledge__vec_binary(r, LEDGE_B_DIV, LEDGE_VV, x, z, y, N, gelu);
                break;
            case 2:
                ledge__vec_softmax(r, x, y, 50, 1000, 1, false);
                break;
            case 3:
                ledge__vec_norm(r, &norm, 100);
                break;
            case 4:
                ledge__vec_reduce(r, LEDGE_R_MEAN, x, y, 100, 500, 1);
                break;
            case 5:
                ledge__vec_reduce(r, LEDGE_R_SUM, x, y, 2, 50, 500);
                break;
            default:
                ledge__vec_affine(r, x, z, z + 50, y, 1000, 50, gelu);
            }
            if (t)
                assert_memory_equal(one, three, sizeof one);
        }
    ledge__pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binary_maps_are_exact_in_every_form),
        cmocka_unit_test(broadcast_2d_reads_by_strides),
        cmocka_unit_test(affine_scales_each_channel),
        cmocka_unit_test(reductions_of_rows_hold_their_bound),
        cmocka_unit_test(extremes_see_nan_and_only_what_is_there),
        cmocka_unit_test(reductions_of_columns_hold_their_bound),
        cmocka_unit_test(softmax_matches_double),
        cmocka_unit_test(softmax_over_a_middle_axis_matches_double),
        cmocka_unit_test(softmax_of_many_short_rows_matches_double),
        cmocka_unit_test(softmax_takes_infinities_as_limits),
        cmocka_unit_test(norms_match_double),
        cmocka_unit_test(transpose_moves_every_element),
        cmocka_unit_test(bytes_become_scaled_floats),
        cmocka_unit_test(thread_count_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
