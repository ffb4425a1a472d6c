/* Pooling, resizing and recurrent gates against plain loops, in every instruction set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/vec.h"

#include "guard_pages.h"

#define EACH_TABLE(v)                                                                              \
    for (size_t v##_i = 0; ledge__vec_at(v##_i); v##_i++)                                          \
        for (const LedgeVec *v = ledge__vec_at(v##_i);                                             \
             v && (v->needs & ledge__cpu_flags_uncapped()) == v->needs; v = NULL)

static uint32_t seed = 88172645u;

static void fill(float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = scale * test_uniform(&seed);
}

/* One output of a window by its definition. */
static double window_ref(const LedgePoolWindow *w, const float *image, size_t oy, size_t ox,
                         size_t c, bool average)
{
    double best = -INFINITY, sum = 0;
    size_t on_image = 0, in_padded = 0;
    for (size_t i = 0; i < w->kernel_h; i++)
        for (size_t k = 0; k < w->kernel_w; k++) {
            const long y = (long)(oy * w->stride_h + i * w->dilation_h) - (long)w->pad_top;
            const long x = (long)(ox * w->stride_w + k * w->dilation_w) - (long)w->pad_left;
            in_padded += y < (long)(w->h + w->pad_bottom) && x < (long)(w->w + w->pad_right);
            if (y < 0 || x < 0 || y >= (long)w->h || x >= (long)w->w)
                continue;
            const double v = (double)image[((size_t)y * w->w + (size_t)x) * w->channels + c];
            best = fmax(best, v);
            sum += v;
            on_image++;
        }
    if (!average)
        return best;
    return on_image == 0 ? 0 : sum / (double)(w->count_pad ? in_padded : on_image);
}

static void check_window(const LedgeVec *v, const LedgePoolWindow *w, bool average)
{
    const size_t n_in = w->batch * w->h * w->w * w->channels;
    const size_t n_out = w->batch * w->out_h * w->out_w * w->channels;
    const LedgeRunner r = {NULL, v->needs};
    Guarded x = guarded_new(n_in * sizeof(float)), y = guarded_new(n_out * sizeof(float));
    void *scratch = malloc(ledge__vec_pool_scratch(w, 1));
    fill(x.p, n_in, 5.0f);
    if (average)
        ledge__vec_average_pool(r, w, x.p, y.p, scratch);
    else
        ledge__vec_max_pool(r, w, x.p, y.p, scratch);
    for (size_t i = 0; i < n_out; i++) {
        const size_t c = i % w->channels, ox = i / w->channels % w->out_w;
        const size_t oy = i / w->channels / w->out_w % w->out_h;
        const float *image =
            (float *)x.p + i / (w->channels * w->out_w * w->out_h) * w->h * w->w * w->channels;
        const double want = window_ref(w, image, oy, ox, c, average),
                     got = (double)((float *)y.p)[i];
        if (!(fabs(got - want) <= (average ? 2e-6 : 0)) && got != want)
            fail_msg("%s %s at %zu: got %g, want %g", v->isa, average ? "average" : "max", i, got,
                     want);
    }
    free(scratch);
    guarded_free(&x);
    guarded_free(&y);
}

static void pooling_matches_its_definition(void **state)
{
    static const LedgePoolWindow windows[] = {
        {1, 8, 8, 1, 4, 4, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, false},
        {2, 7, 9, 1, 4, 5, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, false},
        {1, 7, 7, 1, 3, 3, 3, 3, 2, 2, 1, 1, 0, 0, 0, 0, true},
        {1, 9, 7, 1, 9, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, true},
        {1, 10, 10, 1, 4, 3, 3, 2, 2, 3, 2, 2, 1, 0, 2, 1, true},
        {1, 5, 5, 1, 3, 3, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, true}, /* ceil mode: past the end */
        {1, 5, 5, 1, 3, 3, 2, 2, 2, 2, 1, 1, 0, 0, 1, 1, true},
        {1, 4, 4, 1, 3, 3, 2, 2, 3, 3, 1, 1, 3, 3, 0, 0, false}, /* windows all in the padding */
    };
    (void)state;
    EACH_TABLE(v)
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++)
        for (size_t c = 1; c <= 2 * v->lanes + 1; c++) {
            LedgePoolWindow w = windows[i];
            w.channels = c;
            check_window(v, &w, false);
            check_window(v, &w, true);
        }
}

static void max_pooling_passes_nan_on(void **state)
{
    float x[4] = {1, NAN, 3, 4}, y = 0;
    const float inf[4] = {1, INFINITY, 3, -INFINITY};
    const LedgePoolWindow w = {1, 2, 2, 1, 1, 1, 2, 2, 2, 2, 1, 1, 0, 0, 0, 0, false};
    const float *taps[4];
    (void)state;
    EACH_TABLE(v)
    {
        const LedgeRunner r = {NULL, v->needs};
        ledge__vec_max_pool(r, &w, x, &y, taps);
        assert_true(isnan(y));
        ledge__vec_max_pool(r, &w, inf, &y, taps);
        assert_true(y == INFINITY);
    }
}

static void resize_weighs_its_taps(void **state)
{
    static const int64_t row_at[] = {0, 0, 0, 1, 1, 1};
    static const float row_weight[] = {1, 0, 0.5f, 0.5f, 1, 0};
    static const int64_t col_at[] = {0, 1, 1, 2};
    static const float col_weight[] = {0.25f, 0.75f, 0.6f, 0.4f};
    const LedgeResample rows = {3, 2, row_at, row_weight}, cols = {2, 2, col_at, col_weight};
    (void)state;
    EACH_TABLE(v)
    for (size_t c = 1; c <= 2 * v->lanes + 1; c++) {
        const size_t n_in = 2 * 2 * 3 * c, n_out = 2 * 3 * 2 * c;
        const LedgeRunner r = {NULL, v->needs};
        Guarded x = guarded_new(n_in * sizeof(float)), y = guarded_new(n_out * sizeof(float));
        fill(x.p, n_in, 5.0f);
        ledge__vec_resize(r, x.p, y.p, 2, 2, 3, c, &rows, &cols);
        for (size_t i = 0; i < n_out; i++) {
            const size_t ch = i % c, ox = i / c % 2, oy = i / c / 2 % 3, b = i / c / 6;
            double want = 0;
            for (size_t p = 0; p < 2; p++)
                for (size_t q = 0; q < 2; q++)
                    want += (double)row_weight[oy * 2 + p] * (double)col_weight[ox * 2 + q] *
                            (double)((float *)x.p)[((b * 2 + row_at[oy * 2 + p]) * 3 +
                                                    (size_t)col_at[ox * 2 + q]) *
                                                       c +
                                                   ch];
            assert_true(fabs((double)((float *)y.p)[i] - want) < 2e-6);
        }
        guarded_free(&x);
        guarded_free(&y);
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double clip_to(double x, double c)
{
    return c > 0 ? fmin(c, fmax(-c, x)) : x;
}

static void lstm_gates_follow_the_equations(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (int form = 0; form < 8; form++)
        for (size_t n = 1; n <= 2 * v->lanes + 1; n++) {
            float g[160], w[120], cell[40], old[40], h[40];
            const double clip = form & 2 ? 1.5 : 0;
            fill(g, 4 * n, 4.0f);
            fill(w, 3 * n, 2.0f);
            fill(cell, n, 2.0f);
            memcpy(old, cell, sizeof old);
            const LedgeLstmGates p = {g, form & 1 ? w : NULL, cell, h, n, (float)clip, form & 4};
            v->lstm_gates(&p);
            for (size_t j = 0; j < n; j++) {
                const double c0 = (double)old[j];
                const double pi = form & 1 ? (double)w[j] : 0, po = form & 1 ? (double)w[n + j] : 0;
                const double pf = form & 1 ? (double)w[2 * n + j] : 0;
                const double i = sigmoid(clip_to((double)g[j] + pi * c0, clip));
                const double f =
                    form & 4 ? 1 - i : sigmoid(clip_to((double)g[2 * n + j] + pf * c0, clip));
                const double c = f * c0 + i * tanh(clip_to((double)g[3 * n + j], clip));
                const double o = sigmoid(clip_to((double)g[n + j] + po * c, clip));
                assert_true(fabs((double)cell[j] - c) < 2e-6);
                assert_true(fabs((double)h[j] - o * tanh(c)) < 2e-6);
            }
        }
}

static void gru_gates_follow_the_equations(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (size_t n = 1; n <= 2 * v->lanes + 1; n++) {
        float x[120], r[120], h[40], old[40];
        fill(x, 3 * n, 4.0f);
        fill(r, 3 * n, 4.0f);
        fill(h, n, 1.0f);
        memcpy(old, h, sizeof old);
        const LedgeGruGates p = {x, r, h, n, 0};
        v->gru_gates(&p);
        for (size_t j = 0; j < n; j++) {
            const double z = sigmoid((double)x[j] + (double)r[j]);
            const double reset = sigmoid((double)x[n + j] + (double)r[n + j]);
            const double t = tanh((double)x[2 * n + j] + reset * (double)r[2 * n + j]);
            assert_true(fabs((double)h[j] - ((1 - z) * t + z * (double)old[j])) < 2e-6);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_matches_its_definition),
        cmocka_unit_test(max_pooling_passes_nan_on),
        cmocka_unit_test(resize_weighs_its_taps),
        cmocka_unit_test(lstm_gates_follow_the_equations),
        cmocka_unit_test(gru_gates_follow_the_equations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
