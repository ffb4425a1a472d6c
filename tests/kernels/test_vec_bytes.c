/* Kernels over 8-bit numbers against their definition in plain C, byte for byte in every
 * instruction set: every size up to two vectors and one more, at guard pages, with saturating
 * extremes; and equal for any thread count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/bytes.h"

#include "guard_pages.h"

#define EACH_TABLE(v)                                                                              \
    for (size_t v##_i = 0; ledge__vec_at(v##_i); v##_i++)                                          \
        for (const LedgeVec *v = ledge__vec_at(v##_i);                                             \
             v && (v->needs & ledge__cpu_flags_uncapped()) == v->needs; v = NULL)

enum { MOST = 2 * 64 + 1 }; /* two of the widest vectors and one more */

static uint32_t seed = 2463534242u;

static void fill(uint8_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (uint8_t)(test_random(&seed) >> 13);
}

/* The definition of every rounding here. */
static uint8_t to_byte(float v, int zero, int lo, int hi)
{
    const double t = rint((double)v) + zero;
    return (uint8_t)(t < lo ? lo : t > hi ? hi : t);
}

static uint8_t quantized(float x, const LedgeByteScale *s)
{
    const float v = x / s->scale;
    return to_byte(isnan(v) ? 0 : v, s->zero, 0, 255) ^ s->flip;
}

static void check_quantize(const LedgeVec *v, const float *x, size_t n, LedgeByteScale s)
{
    Guarded gx = guarded_copy(x, n * sizeof *x), gy = guarded_new(n);
    v->quantize(gx.p, gy.p, n, &s);
    for (size_t i = 0; i < n; i++)
        if (((uint8_t *)gy.p)[i] != quantized(x[i], &s))
            fail_msg("%s: %.9g / %.9g + %d gave %d, want %d", v->isa, (double)x[i],
                     (double)s.scale, s.zero, ((uint8_t *)gy.p)[i], quantized(x[i], &s));
    guarded_free(&gx);
    guarded_free(&gy);
}

static const float odd_floats[] = {0.0f,  -0.0f, NAN,   INFINITY, -INFINITY, 3e38f,  -3e38f, 1e-45f,
                                   0.5f,  1.5f,  2.5f,  -0.5f,    -1.5f,     254.5f, 255.5f, -254.5f,
                                   1e10f, -1e10f, 2.1e9f, -2.2e9f};
enum { N_ODD = sizeof odd_floats / sizeof odd_floats[0] };

static void quantize_is_exact_at_every_size(void **state)
{
    float x[MOST];
    (void)state;
    EACH_TABLE(v)
    for (size_t n = 0; n <= MOST; n++) {
        for (size_t i = 0; i < n; i++)
            x[i] = i % 3 ? 200.0f * test_uniform(&seed) : odd_floats[test_random(&seed) % N_ODD];
        check_quantize(v, x, n, (LedgeByteScale){1.0f, (int32_t)n, 0});
        check_quantize(v, x, n, (LedgeByteScale){0.7853f, 128, 0x80});
    }
}

/* Quotients next to a half: where a product with the reciprocal goes wrong. */
static void quantize_divides_where_it_matters(void **state)
{
    enum { K = 4096 };
    static float x[K];
    (void)state;
    EACH_TABLE(v)
    for (int t = 0; t < 300; t++) {
        LedgeByteScale s = {ldexpf(1.0f + 0.5f * (test_uniform(&seed) + 1.0f), t % 40 - 20), t % 256,
                            t % 2 ? 0x80 : 0};
        for (int i = 0; i < K; i++) {
            x[i] = ((float)(i % 512 - 256) + 0.5f) * s.scale;
            for (int k = i % 5; k > 2; k--)
                x[i] = nextafterf(x[i], k % 2 ? INFINITY : -INFINITY);
        }
        check_quantize(v, x, K, s);
    }
}

static void quantize_takes_any_scale(void **state)
{
    static const float scales[] = {1e-45f, 1e-38f, 1e-31f, 1e31f, 3e38f, INFINITY, 0.0f, -0.5f, NAN};
    float x[MOST];
    (void)state;
    for (size_t i = 0; i < MOST; i++)
        x[i] = i % 2 ? odd_floats[i % N_ODD] : 3.0f * test_uniform(&seed);
    EACH_TABLE(v)
    for (size_t k = 0; k < sizeof scales / sizeof scales[0]; k++)
        check_quantize(v, x, MOST, (LedgeByteScale){scales[k], 100, 0});
}

static void dequantize_is_exact(void **state)
{
    uint8_t x[256 + MOST];
    (void)state;
    for (int i = 0; i < 256 + MOST; i++)
        x[i] = (uint8_t)i;
    EACH_TABLE(v)
    for (size_t n = 0; n <= 256 + MOST; n++) {
        const LedgeByteScale s = {0.3f, (int32_t)(n % 256), n % 2 ? 0x80 : 0};
        Guarded gx = guarded_copy(x, n), gy = guarded_new(n * sizeof(float));
        v->dequantize(gx.p, gy.p, n, &s);
        for (size_t i = 0; i < n; i++)
            assert_true(((float *)gy.p)[i] == (float)((x[i] ^ s.flip) - s.zero) * s.scale);
        guarded_free(&gx);
        guarded_free(&gy);
    }
}

static void each_element_has_its_scale(void **state)
{
    float x[MOST], scale[MOST];
    uint8_t zero[MOST], b[MOST];
    (void)state;
    EACH_TABLE(v)
    for (size_t n = 0; n <= MOST; n++) {
        const uint8_t flip = n % 2 ? 0x80 : 0, half = n % 4 < 2 ? 0 : 8;
        fill(zero, MOST);
        fill(b, MOST);
        for (size_t i = 0; i < n; i++) {
            x[i] = i % 3 ? 20.0f * test_uniform(&seed) : odd_floats[test_random(&seed) % N_ODD];
            scale[i] = 0.1f + 0.05f * test_uniform(&seed);
        }
        Guarded gx = guarded_copy(x, n * 4), gs = guarded_copy(scale, n * 4);
        Guarded gz = guarded_copy(zero, n), gb = guarded_copy(b, n);
        Guarded gy = guarded_new(n), gf = guarded_new(n * 4);
        for (int none = 0; none < 2; none++) {
            v->quantize_each(gx.p, gy.p, n, gs.p, none ? NULL : gz.p, flip);
            v->dequantize_each(gb.p, gf.p, n, gs.p, none ? NULL : gz.p, half);
            for (size_t i = 0; i < n; i++) {
                const uint8_t z = none ? 0 : zero[i];
                const LedgeByteScale s = {scale[i], z ^ flip, flip};
                assert_int_equal(((uint8_t *)gy.p)[i], quantized(x[i], &s));
                assert_true(((float *)gf.p)[i] ==
                            (float)((b[i] ^ half) - (z ^ half)) * scale[i]);
            }
        }
        guarded_free(&gx);
        guarded_free(&gs);
        guarded_free(&gz);
        guarded_free(&gb);
        guarded_free(&gy);
        guarded_free(&gf);
    }
}

static void words_are_exact(void **state)
{
    float x[MOST];
    uint16_t w[MOST];
    (void)state;
    for (size_t i = 0; i < MOST; i++) {
        x[i] = i % 3 ? 40000.0f * test_uniform(&seed) : odd_floats[i / 3 % N_ODD];
        w[i] = (uint16_t)test_random(&seed);
    }
    EACH_TABLE(v)
    for (size_t n = 0; n <= MOST; n++) {
        const uint16_t flip = n % 2 ? 0x8000 : 0;
        const int zero = (int)(n * 508);
        const float scale = 0.77f;
        Guarded gx = guarded_copy(x, n * 4), gy = guarded_new(n * 2);
        Guarded gw = guarded_copy(w, n * 2), gf = guarded_new(n * 4);
        v->quantize_16(gx.p, gy.p, n, scale, zero, flip);
        v->dequantize_16(gw.p, gf.p, n, scale, zero, flip);
        for (size_t i = 0; i < n; i++) {
            const float q = x[i] / scale;
            double t = rint(isnan(q) ? 0 : (double)q) + zero;
            t = t < 0 ? 0 : t > 65535 ? 65535 : t;
            assert_int_equal(((uint16_t *)gy.p)[i], (uint16_t)t ^ flip);
            assert_true(((float *)gf.p)[i] == (float)((w[i] ^ flip) - zero) * scale);
        }
        guarded_free(&gx);
        guarded_free(&gy);
        guarded_free(&gw);
        guarded_free(&gf);
    }
}

static void map_looks_up_every_byte(void **state)
{
    uint8_t table[256], x[1024];
    (void)state;
    fill(table, 256);
    for (size_t i = 0; i < 1024; i++)
        x[i] = (uint8_t)(i * 5);
    EACH_TABLE(v)
    for (size_t n = 0; n <= 1024; n = n < 300 ? n + 1 : n + 31) {
        Guarded gx = guarded_copy(x, n), gt = guarded_copy(table, 256);
        v->byte_map(gx.p, gx.p, n, gt.p);
        for (size_t i = 0; i < n; i++)
            if (((uint8_t *)gx.p)[i] != table[x[i]])
                fail_msg("%s: table[%d] at %zu of %zu", v->isa, x[i], i, n);
        guarded_free(&gx);
        guarded_free(&gt);
    }
}

static uint8_t mixed(bool add, uint8_t a, uint8_t b, const LedgeByteMix *m)
{
    const int p = (a ^ m->a.flip) - m->a.zero, q = (b ^ m->b.flip) - m->b.zero;
    const float s = (float)p * m->a.scale, t = (float)q * m->b.scale;
    const float r = add ? s + t : (float)(p * q) * m->a.scale;
    return to_byte(r, m->y_zero, m->lo, m->hi) ^ m->y_flip;
}

static void check_mix(const LedgeVec *v, bool add, LedgeForm form, size_t n, const LedgeByteMix *m)
{
    uint8_t a[MOST], b[MOST];
    fill(a, MOST);
    fill(b, MOST);
    Guarded ga = guarded_copy(a, form == LEDGE_SV ? 1 : n);
    Guarded gb = guarded_copy(b, form == LEDGE_VS ? 1 : n);
    Guarded gy = guarded_new(n);
    (add ? v->byte_add : v->byte_mul)(form, ga.p, gb.p, gy.p, n, m);
    for (size_t i = 0; i < n; i++) {
        const uint8_t p = a[form == LEDGE_SV ? 0 : i], q = b[form == LEDGE_VS ? 0 : i];
        if (((uint8_t *)gy.p)[i] != mixed(add, p, q, m))
            fail_msg("%s %s form %d n %zu: %d and %d gave %d, want %d", v->isa, add ? "add" : "mul",
                     (int)form, n, p, q, ((uint8_t *)gy.p)[i], mixed(add, p, q, m));
    }
    guarded_free(&ga);
    guarded_free(&gb);
    guarded_free(&gy);
}

static void sums_and_products_are_exact_in_every_form(void **state)
{
    static const LedgeByteMix mixes[] = {
        {{0.5f, 3, 0}, {0.25f, 250, 0}, 100, 0, 0, 255},
        {{0.013f, 130, 0x80}, {0.7f, 128, 0x80}, 128, 0x80, 40, 200},
        {{1e30f, 100, 0}, {1e30f, 100, 0}, 255, 0, 0, 255},
        {{1e-30f, 0, 0}, {1e-30f, 255, 0x80}, 0, 0, 0, 254},
        {{1.0f, 255, 0}, {1.0f, 255, 0}, 255, 0, 255, 255},
        {{1.0f, 0, 0}, {1.0f, 0, 0}, 0, 0, 0, 0},
    };
    (void)state;
    EACH_TABLE(v)
    for (size_t k = 0; k < sizeof mixes / sizeof mixes[0]; k++)
        for (int form = 0; form < 3; form++)
            for (size_t n = 1; n <= MOST; n++) {
                check_mix(v, true, (LedgeForm)form, n, &mixes[k]);
                check_mix(v, false, (LedgeForm)form, n, &mixes[k]);
            }
}

static void check_taps(const LedgeVec *v, size_t rows, size_t cols, size_t channels, bool full)
{
    const size_t wide = cols + 2, image = (rows - 1) * wide * channels + cols * channels;
    const LedgeByteMean m = {77, 140, 1.7f, 10, 240};
    const float scale = 1.7f / (float)(rows * cols);
    Guarded gx = guarded_new(image), gy = guarded_new(channels);
    uint8_t *x = gx.p, *y = gy.p;
    fill(x, image);
    if (full)
        memset(x, 255, image);
    const LedgeByteTaps t = {x, rows, wide * channels, cols, channels};
    for (int max = 0; max < 2; max++) {
        if (max)
            v->byte_max(&t, y, channels);
        else
            v->byte_mean(&t, &m, scale, y, channels);
        for (size_t c = 0; c < channels; c++) {
            int sum = 0, top = 0;
            for (size_t i = 0; i < rows * cols; i++) {
                const int b = x[(i / cols * wide + i % cols) * channels + c];
                sum += b - m.x_zero;
                top = b > top ? b : top;
            }
            if (y[c] != (max ? (uint8_t)top : to_byte((float)sum * scale, 140, 10, 240)))
                fail_msg("%s %s of %zux%zu, channel %zu of %zu", v->isa, max ? "max" : "mean", rows,
                         cols, c, channels);
        }
    }
    guarded_free(&gx);
    guarded_free(&gy);
}

static void pools_are_exact_for_any_channels(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (size_t c = 1; c <= MOST; c++) {
        check_taps(v, 3, 2, c, false);
        check_taps(v, 1, 1, c, c % 2);
        if (c % 16 < 2) {
            check_taps(v, 40, 13, c, false); /* sums of more than 256 taps */
            check_taps(v, 16, 32, c, true);
        }
    }
}

static void sums_are_exact_for_any_length(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (size_t n = 0; n <= 40000; n = n < 300 ? n + 1 : n * 2 + 7)
        for (int flip = 0; flip < 256; flip += 0x80) {
            Guarded g = guarded_new(n);
            int32_t want = 0;
            fill(g.p, n);
            if (n % 5 == 0 && n > 0)
                memset(g.p, 255, n);
            for (size_t i = 0; i < n; i++)
                want += ((uint8_t *)g.p)[i] ^ flip;
            assert_int_equal(v->byte_sum(g.p, n, (uint8_t)flip), want);
            guarded_free(&g);
        }
}

static void transpose_moves_every_byte(void **state)
{
    (void)state;
    EACH_TABLE(v)
    for (size_t rows = 1; rows <= 35; rows++)
        for (size_t cols = 1; cols <= 70; cols++)
            for (size_t pad = 0; pad < 2; pad++) {
                const size_t ldx = cols + pad, ldy = rows + 3 * pad;
                Guarded gx = guarded_new((rows - 1) * ldx + cols);
                Guarded gy = guarded_new((cols - 1) * ldy + rows);
                uint8_t *x = gx.p, *y = gy.p;
                fill(x, (rows - 1) * ldx + cols);
                v->transpose_8(x, ldx, y, ldy, rows, cols);
                for (size_t r = 0; r < rows; r++)
                    for (size_t c = 0; c < cols; c++)
                        if (y[c * ldy + r] != x[r * ldx + c])
                            fail_msg("%s %zux%zu", v->isa, rows, cols);
                guarded_free(&gx);
                guarded_free(&gy);
            }
}

static void range_ignores_nan_and_takes_in_zero(void **state)
{
    float x[MOST], low, high;
    (void)state;
    EACH_TABLE(v)
    for (size_t n = 0; n <= MOST; n++) {
        float lo = 0, hi = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = (float)(n % 3) - 1.5f + test_uniform(&seed);
            x[i] = i % 7 == 3 ? NAN : i % 11 == 2 ? -0.0f : x[i];
            lo = x[i] < lo ? x[i] : lo;
            hi = x[i] > hi ? x[i] : hi;
        }
        Guarded g = guarded_copy(x, n * sizeof *x);
        v->range(g.p, n, &low, &high);
        assert_true(low == lo && !(low == 0 && signbit(low)));
        assert_true(high == hi && !signbit(high));
        guarded_free(&g);
    }
}

enum { BIG = 3 * 70 * 1000 };

/* Everything that is shared among threads, over enough for several pieces. */
static void run_all(LedgeRunner r, const float *x, const uint8_t *a, uint8_t *y)
{
    const LedgeByteScale s = {0.01f, 120, 0};
    const LedgeByteMix m = {s, s, 99, 0, 0, 255};
    const LedgeByteMean mean = {120, 90, 1.5f, 0, 255};
    const LedgeBytePair shape = {3, {3, 1000, 70}, {70000, 70, 1}, {70, 0, 1}};
    const LedgePoolWindow w = {.batch = 1, .h = 100, .w = 30, .channels = 70, .out_h = 50,
                               .out_w = 15, .kernel_h = 3, .kernel_w = 3, .stride_h = 2,
                               .stride_w = 2, .dilation_h = 1, .dilation_w = 1, .pad_top = 1,
                               .pad_left = 1};
    float range[2];
    ledge__bytes_quantize(r, x, y, BIG, s);
    y += BIG;
    ledge__bytes_quantize_nhwc(r, x, y, 3, 70, 1000, s);
    y += BIG;
    ledge__bytes_map(r, a, y, BIG, a + 1000);
    y += BIG;
    ledge__bytes_add(r, &shape, &m, a, a + 5, y);
    y += BIG;
    ledge__bytes_mul(r, &shape, &m, a, a + 5, y);
    y += BIG;
    ledge__bytes_max_pool(r, &w, a, y);
    y += BIG;
    ledge__bytes_average_pool(r, &w, &mean, a, y);
    y += BIG;
    ledge__bytes_global_average(r, 3, 1000, 70, &mean, a, y);
    ledge__bytes_global_max(r, 3, 1000, 70, a, y + 1000);
    ledge__bytes_range(r, x, BIG, &range[0], &range[1]);
    memcpy(y + 2000, range, sizeof range);
}

/* One thread and one lane against three threads and the rest. */
static void threads_and_instruction_sets_change_no_bit(void **state)
{
    enum { OUT = 8 * BIG };
    static float x[BIG], back[2][BIG];
    static uint8_t a[BIG], want[OUT], got[OUT];
    LedgePool *pool = NULL;
    (void)state;
    fill(a, BIG);
    for (size_t i = 0; i < BIG; i++)
        x[i] = 2.0f * test_uniform(&seed);
    assert_int_equal(ledge__pool_new(NULL, 3, &pool), LEDGE_OK);
    run_all((LedgeRunner){NULL, 0}, x, a, want);
    ledge__bytes_dequantize_nchw((LedgeRunner){NULL, 0}, a, back[0], 3, 70, 1000,
                                 (LedgeByteScale){0.1f, 7, 0});
    EACH_TABLE(v)
    {
        const LedgeRunner r = {pool, v->needs};
        memset(got, 0, sizeof got);
        run_all(r, x, a, got);
        assert_memory_equal(got, want, sizeof got);
        ledge__bytes_dequantize_nchw(r, a, back[1], 3, 70, 1000, (LedgeByteScale){0.1f, 7, 0});
        assert_memory_equal(back[0], back[1], sizeof back[0]);
    }
    ledge__pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_is_exact_at_every_size),
        cmocka_unit_test(quantize_divides_where_it_matters),
        cmocka_unit_test(quantize_takes_any_scale),
        cmocka_unit_test(dequantize_is_exact),
        cmocka_unit_test(each_element_has_its_scale),
        cmocka_unit_test(words_are_exact),
        cmocka_unit_test(map_looks_up_every_byte),
        cmocka_unit_test(sums_and_products_are_exact_in_every_form),
        cmocka_unit_test(pools_are_exact_for_any_channels),
        cmocka_unit_test(sums_are_exact_for_any_length),
        cmocka_unit_test(transpose_moves_every_byte),
        cmocka_unit_test(range_ignores_nan_and_takes_in_zero),
        cmocka_unit_test(threads_and_instruction_sets_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
