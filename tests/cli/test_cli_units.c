/* The command line's own arithmetic: percentiles, nearest words. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/model_io.h"

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

static void numbers_are_whole_texts_within_their_bounds(void **state)
{
    (void)state;
    double v = 7;
    const char *const wrong[] = {"", "x", "1x", "1 ", "nan", "-0.1", "10.1", "inf", "1e999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(cli_number(wrong[i], 0, 10, &v));
    assert_true(v == 7);
    assert_true(cli_number("10", 0, 10, &v) && v == 10);
    assert_true(cli_number("2.5e-1", 0, 10, &v) && v == 0.25);
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
    LedgeLabels l;
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    assert_int_equal(cli_labels_load(NULL, path, &l), CLI_GO);
    assert_int_equal(l.n, 4);
    assert_string_equal(ledge__label(&l, 0), "tench");
    assert_string_equal(ledge__label(&l, 1), "n0144076x no id");
    assert_string_equal(ledge__label(&l, 2), "");
    assert_string_equal(ledge__label(&l, 3), "last");
    assert_null(ledge__label(&l, 4));
    assert_null(ledge__label(&l, -1));
    ledge__labels_free(&l);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_linear_between_neighbours),
        cmocka_unit_test(nearest_word_is_near),
        cmocka_unit_test(numbers_are_whole_texts_within_their_bounds),
        cmocka_unit_test(terminal_controls_are_cleaned),
        cmocka_unit_test(labels_lose_wordnet_ids_and_line_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
