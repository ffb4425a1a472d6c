/* The command line's own arithmetic: best scores, probabilities, percentiles, nearest words. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/model_io.h"

static LedgeTensor row(float *values, int64_t n)
{
    return (LedgeTensor){.type = LEDGE_FLOAT, .rank = 2, .dims = {1, n}, .data = values};
}

static void top_gives_the_best_first_and_ties_by_index(void **state)
{
    (void)state;
    float v[] = {1, 5, 3, 5, -2};
    int64_t best[8];
    LedgeTensor t = row(v, 5);
    assert_int_equal(cli_top(&t, 3, best), 3);
    assert_int_equal(best[0], 1);
    assert_int_equal(best[1], 3);
    assert_int_equal(best[2], 2);
    assert_int_equal(cli_top(&t, 8, best), 5);
    assert_int_equal(best[4], 4);
    v[0] = NAN;
    assert_int_equal(cli_top(&t, 5, best), 5);
    assert_int_equal(best[0], 1);
    assert_int_equal(best[4], 0); /* NaN ranks last */
}

static void probabilities_are_softmax_unless_they_sum_to_one(void **state)
{
    (void)state;
    float logits[] = {1000, 1000, 0}, sums[] = {0.75f, 0.25f, 0};
    int64_t index[] = {0, 2};
    double p[2];
    LedgeTensor t = row(logits, 3);
    cli_probabilities(&t, index, 2, p);
    assert_true(fabs(p[0] - 0.5) < 1e-12 && p[1] >= 0 && p[1] < 1e-12);
    t = row(sums, 3);
    cli_probabilities(&t, index, 2, p);
    assert_true(p[0] == 0.75 && p[1] == 0);
}

static void percentiles_are_linear_between_neighbours(void **state)
{
    (void)state;
    const double v[] = {1, 2, 3, 4, 5};
    assert_true(cli_percentile(v, 5, 50) == 3);
    assert_true(cli_percentile(v, 5, 0) == 1);
    assert_true(cli_percentile(v, 5, 100) == 5);
    assert_true(fabs(cli_percentile(v, 5, 90) - 4.6) < 1e-12);
    assert_true(cli_percentile(v, 1, 99) == 1);
    assert_true(isnan(cli_percentile(v, 0, 50)));
}

static void scores_are_one_row_of_floats(void **state)
{
    (void)state;
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = 4, .dims = {1, 10, 1, 1}};
    assert_true(cli_is_scores(&t));
    t.dims[0] = 2;
    assert_false(cli_is_scores(&t));
    t = (LedgeTensor){.type = LEDGE_INT64, .rank = 2, .dims = {1, 10}};
    assert_false(cli_is_scores(&t));
    t = (LedgeTensor){.type = LEDGE_FLOAT, .rank = 1, .dims = {1}};
    assert_false(cli_is_scores(&t));
}

static void small_floats_are_widened(void **state)
{
    (void)state;
    uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x7c00}, brain[] = {0x3f80, 0xc000};
    LedgeTensor t = {.type = LEDGE_FLOAT16, .rank = 1, .dims = {4}, .data = half};
    assert_true(cli_element(&t, 0) == 1 && cli_element(&t, 1) == -2);
    assert_true(cli_element(&t, 2) == ldexp(1, -24) && isinf(cli_element(&t, 3)));
    t = (LedgeTensor){.type = LEDGE_BFLOAT16, .rank = 1, .dims = {2}, .data = brain};
    assert_true(cli_element(&t, 0) == 1 && cli_element(&t, 1) == -2);
}

static void nearest_word_is_near(void **state)
{
    (void)state;
    const char *const names[] = {"inspect", "run", "bench", "eval"};
    assert_string_equal(cli_nearest("inspcet", names, 4), "inspect");
    assert_string_equal(cli_nearest("rnu", names, 4), "run");
    assert_string_equal(cli_nearest("insp", names, 4), "inspect");
    assert_null(cli_nearest("quantize", names, 4));
    assert_null(cli_nearest("a-word-that-is-far-longer-than-any-command-could-ever-be", names, 4));
}

static void terminal_controls_are_cleaned(void **state)
{
    (void)state;
    assert_string_equal(cli_clean("a\x1b[2J\n\x7f"), "a?[2J??");
    assert_string_equal(cli_clean("\xc2\x9b"), "??");
    assert_string_equal(cli_clean("gr\xc3\xbcn"), "gr\xc3\xbcn");
    char *longer = malloc(5000);
    memset(longer, 'x', 4999);
    longer[4999] = '\0';
    assert_true(strlen(cli_clean(longer)) < 5000);
    free(longer);
}

static void labels_lose_wordnet_ids_and_line_ends(void **state)
{
    (void)state;
    char path[] = "/tmp/ledge-test-XXXXXX";
    const char text[] = "n01440764 tench\r\nn0144076x no id\n\nlast";
    CliLabels l;
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    assert_int_equal(cli_labels_load(NULL, path, &l), CLI_GO);
    assert_int_equal(l.n, 4);
    assert_string_equal(cli_label(&l, 0), "tench");
    assert_string_equal(cli_label(&l, 1), "n0144076x no id");
    assert_string_equal(cli_label(&l, 2), "");
    assert_string_equal(cli_label(&l, 3), "last");
    assert_null(cli_label(&l, 4));
    assert_null(cli_label(&l, -1));
    cli_labels_free(&l);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_gives_the_best_first_and_ties_by_index),
        cmocka_unit_test(probabilities_are_softmax_unless_they_sum_to_one),
        cmocka_unit_test(percentiles_are_linear_between_neighbours),
        cmocka_unit_test(scores_are_one_row_of_floats),
        cmocka_unit_test(small_floats_are_widened),
        cmocka_unit_test(nearest_word_is_near),
        cmocka_unit_test(terminal_controls_are_cleaned),
        cmocka_unit_test(labels_lose_wordnet_ids_and_line_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
