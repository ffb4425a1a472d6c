/* Features of inputs, on pictures whose features can be computed by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#include "monitor/input_features.h"

static void near(float got, double want)
{
    if (!(fabs((double)got - want) < 1e-5))
        fail_msg("%g, must be %g", (double)got, want);
}

static void a_checkerboard_has_known_features(void **state)
{
    (void)state;
    static float x[2][3][32][48];
    for (int n = 0; n < 2; n++)
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < 32 * 48; i++)
                x[n][c][i / 48][i % 48] =
                    (float)((i / 48 + i % 48) % 2 ? 1 : -1) + (n == 1 ? 0.5f * (float)c : 0);
    const LedgeTensor t = {.type = LEDGE_FLOAT, .rank = 4, .dims = {2, 3, 32, 48}, .data = x};
    float f[LEDGE_INPUT_FEATURE_COUNT];
    assert_true(ledge__input_features(&t, 0, NULL, f));
    near(f[LEDGE_INPUT_MEAN], 0);
    near(f[LEDGE_INPUT_SPREAD], 1);
    near(f[LEDGE_INPUT_SHARPNESS], 8);
    near(f[LEDGE_INPUT_RED_BLUE], 0);
    assert_true(ledge__input_features(&t, 1, NULL, f));
    near(f[LEDGE_INPUT_MEAN], 0.5);
    near(f[LEDGE_INPUT_RED_BLUE], -1);
    /* The same with the channels last. */
    static float y[32][48][3];
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 32 * 48; i++)
            y[i / 48][i % 48][c] = x[1][c][i / 48][i % 48];
    const LedgeTensor last = {.type = LEDGE_FLOAT, .rank = 4, .dims = {1, 32, 48, 3}, .data = y};
    float g[LEDGE_INPUT_FEATURE_COUNT];
    assert_true(ledge__input_features(&last, 0, NULL, g));
    for (int i = 0; i < LEDGE_INPUT_FEATURE_COUNT; i++)
        near(g[i], (double)f[i]);
    assert_false(ledge__input_features(&t, 2, NULL, f));
    assert_false(ledge__input_features(&t, -1, NULL, f));
}

static void large_pictures_are_sampled_inside_their_bounds(void **state)
{
    (void)state;
    const int64_t sides[] = {1, 2, 31, 32, 33, 63, 65, 1000};
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 8; j++) {
            const size_t h = (size_t)sides[i], w = (size_t)sides[j];
            uint8_t *x = malloc(h * w); /* its end is watched */
            for (size_t k = 0; k < h * w; k++)
                x[k] = 7;
            const LedgeTensor t = {
                .type = LEDGE_UINT8, .rank = 4, .dims = {1, 1, sides[i], sides[j]}, .data = x};
            float f[LEDGE_INPUT_FEATURE_COUNT];
            assert_true(ledge__input_features(&t, 0, NULL, f));
            near(f[LEDGE_INPUT_MEAN], 7);
            near(f[LEDGE_INPUT_SPREAD], 0);
            assert_true(isnan(f[LEDGE_INPUT_RED_BLUE]));
            free(x);
        }
}

static void other_tensors_have_mean_and_spread(void **state)
{
    (void)state;
    float x[10];
    for (int i = 0; i < 10; i++)
        x[i] = (float)i;
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = 2, .dims = {2, 5}, .data = x};
    float f[LEDGE_INPUT_FEATURE_COUNT];
    assert_true(ledge__input_features(&t, 1, NULL, f));
    near(f[LEDGE_INPUT_MEAN], 7);
    near(f[LEDGE_INPUT_SPREAD], sqrt(2));
    assert_true(isnan(f[LEDGE_INPUT_SHARPNESS]));
    t.type = LEDGE_STRING;
    assert_false(ledge__input_features(&t, 0, NULL, f));
    t = (LedgeTensor){.type = LEDGE_FLOAT, .rank = 2, .dims = {0, 5}, .data = x};
    assert_false(ledge__input_features(&t, 0, NULL, f));
}

/* To the bit: baselines are made of floats. */
static void pixels_have_the_features_of_what_they_stand_for(void **state)
{
    (void)state;
    enum { H = 129, W = 70 };
    static uint8_t bytes[2][H][W][3];
    static float floats[2][3][H][W];
    static LedgeInputPixels pixels = {.reversed = true};
    uint32_t r = 1;
    for (int c = 0; c < 3; c++)
        for (int b = 0; b < 256; b++)
            pixels.value[c][b] = ((float)b - 100 * (float)c) / 57;
    for (int n = 0; n < 2; n++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                for (int c = 0; c < 3; c++) {
                    bytes[n][y][x][2 - c] = (uint8_t)((r = r * 1664525 + 1013904223) >> 24);
                    floats[n][c][y][x] = pixels.value[c][bytes[n][y][x][2 - c]];
                }
    LedgeTensor b = {.type = LEDGE_UINT8, .rank = 4, .dims = {2, H, W, 3}, .data = bytes};
    const LedgeTensor f = {.type = LEDGE_FLOAT, .rank = 4, .dims = {2, 3, H, W}, .data = floats};
    for (int n = 0; n < 2; n++) {
        float got[LEDGE_INPUT_FEATURE_COUNT], want[LEDGE_INPUT_FEATURE_COUNT];
        assert_true(ledge__input_features(&b, n, &pixels, got));
        assert_true(ledge__input_features(&f, n, NULL, want));
        assert_memory_equal(got, want, sizeof got);
        assert_true(fabsf(want[LEDGE_INPUT_RED_BLUE]) > 1);
    }
    float out[LEDGE_INPUT_FEATURE_COUNT];
    assert_false(ledge__input_features(&f, 0, &pixels, out));
    b.dims[2] = 42, b.dims[3] = 5;
    assert_false(ledge__input_features(&b, 0, &pixels, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkerboard_has_known_features),
        cmocka_unit_test(large_pictures_are_sampled_inside_their_bounds),
        cmocka_unit_test(other_tensors_have_mean_and_spread),
        cmocka_unit_test(pixels_have_the_features_of_what_they_stand_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
