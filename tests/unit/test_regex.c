/* The regular expressions of RegexFullMatch: RE2's syntax, refusals with a reason, and patterns
 * that make backtracking engines run for ages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/ops/value/regex.h"

static void *arena_alloc(void *arena, size_t bytes)
{
    return ledge__arena_alloc(arena, bytes, 1);
}

/* 1, 0, or -1 when the pattern is refused. */
static int match_n(const char *pattern, const char *text, size_t n)
{
    LedgeArena *arena = ledge__arena_new(NULL);
    const char *why = NULL;
    LedgeRegex *r =
        ledge__regex_new((LedgeString){pattern, strlen(pattern)}, arena_alloc, arena, &why);
    int result = -1;
    if (r) {
        void *work = ledge__alloc(NULL, ledge__regex_work_bytes(r), 1);
        result = ledge__regex_full_match(r, (LedgeString){text, n}, work);
        ledge__free(NULL, work);
    } else {
        assert_non_null(why);
    }
    ledge__arena_free(arena);
    return result;
}

static int match(const char *pattern, const char *text)
{
    return match_n(pattern, text, strlen(text));
}

static void the_whole_text_must_match(void **state)
{
    (void)state;
    assert_int_equal(match("abc", "abc"), 1);
    assert_int_equal(match("abc", "abcd"), 0);
    assert_int_equal(match("bc", "abc"), 0);
    assert_int_equal(match("", ""), 1);
    assert_int_equal(match("", "a"), 0);
    assert_int_equal(match("a|ab", "ab"), 1);
    assert_int_equal(match("(a|ab)(c|bcd)", "abcd"), 1);
    assert_int_equal(match("a||b", ""), 1);
}

static void repetitions_count(void **state)
{
    (void)state;
    assert_int_equal(match("a{2,3}", "a"), 0);
    assert_int_equal(match("a{2,3}", "aa"), 1);
    assert_int_equal(match("a{2,3}", "aaa"), 1);
    assert_int_equal(match("a{2,3}", "aaaa"), 0);
    assert_int_equal(match("(ab){2,}", "ababab"), 1);
    assert_int_equal(match("a{0}b", "b"), 1);
    assert_int_equal(match("a{0}b", "ab"), 0);
    assert_int_equal(match("x*?y+?z??", "xxyy"), 1);
    assert_int_equal(match("a{,2}", "a{,2}"), 1); /* no quantifier: literal */
    assert_int_equal(match("(a*)*", "aaaa"), 1);
    assert_int_equal(match("(|a)+", "aaa"), 1);
}

static void classes_and_escapes_mean_what_re2_says(void **state)
{
    (void)state;
    assert_int_equal(match("[^a-c]", "d"), 1);
    assert_int_equal(match("[^a-c]", "b"), 0);
    assert_int_equal(match("[]x]+", "]x"), 1);
    assert_int_equal(match("[a\\-z]+", "a-z"), 1);
    assert_int_equal(match("[a\\-z]+", "b"), 0);
    assert_int_equal(match("[\\d\\s_]+", "1 _"), 1);
    assert_int_equal(match("[[:alpha:][:digit:]]+", "a1"), 1);
    assert_int_equal(match("\\x41\\x{e9}", "A\xc3\xa9"), 1);
    assert_int_equal(match("\\w\\W\\d\\D\\s\\S", "a!1b c"), 1);
    assert_int_equal(match(".", "\n"), 0);
    assert_int_equal(match("(?s).", "\n"), 1);
    assert_int_equal(match("(?i)straße[a-c]", "STRAßEB"), 1);
    assert_int_equal(match("(?i:a)b", "AB"), 0);
    assert_int_equal(match("(?P<n>a)(?:b)", "ab"), 1);
    assert_int_equal(match("..", "\xe2\x82\xac\xc3\xa9"), 1); /* two characters, five bytes */
    assert_int_equal(match(".", "\xff"), 1);                  /* no UTF-8: a byte is a character */
}

static void assertions_look_at_the_neighbours(void **state)
{
    (void)state;
    assert_int_equal(match("^a$", "a"), 1);
    assert_int_equal(match("a^b", "ab"), 0);
    assert_int_equal(match("a\\bb", "ab"), 0);
    assert_int_equal(match("a\\b b", "a b"), 1);
    assert_int_equal(match("\\Ba", "a"), 0);
    assert_int_equal(match("(?m)a$\n^b", "a\nb"), 1);
    assert_int_equal(match("a$\nb", "a\nb"), 0);
    assert_int_equal(match("\\Aa\\z", "a"), 1);
}

static void broken_patterns_are_refused(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "(",      ")",       "a)",     "(a",          "[",   "[a",    "[z-a]",  "*a",
        "a**",    "a{1001}", "a{3,2}", "\\",          "\\1", "\\q",   "(?=a)",  "(?<=a)",
        "(?<!a)", "(?z)a",   "\\x",    "\\x{110000}", "[\\", "(?P<a", "((((a)", "a|*"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        if (match(broken[i], "a") != -1)
            fail_msg("'%s' was not refused", broken[i]);
}

static void huge_patterns_are_refused_not_endured(void **state)
{
    (void)state;
    char deep[5001];
    memset(deep, '(', 2500);
    memset(deep + 2500, ')', 2500);
    deep[5000] = '\0';
    assert_int_equal(match(deep, ""), -1);
    assert_int_equal(match("((((a{100}){100}){100}){100}){100}", "a"), -1);
    char bars[5001];
    memset(bars, '|', 5000);
    bars[5000] = '\0';
    assert_int_equal(match(bars, ""), 1);
}

static void hostile_patterns_take_linear_time(void **state)
{
    (void)state;
    static const char *const hostile[] = {"(a+)+$",       "(a|a)*b",       "(a*)*b",
                                          "(.*.*.*.*)*x", "(a?){30}a{30}", "([a-z]+)+[0-9]"};
    char *text = malloc(20001);
    assert_non_null(text);
    memset(text, 'a', 20000);
    text[20000] = '!';
    clock_t start = clock();
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++)
        assert_int_equal(match_n(hostile[i], text, 20001), 0);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 20);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_text_must_match),
        cmocka_unit_test(repetitions_count),
        cmocka_unit_test(classes_and_escapes_mean_what_re2_says),
        cmocka_unit_test(assertions_look_at_the_neighbours),
        cmocka_unit_test(broken_patterns_are_refused),
        cmocka_unit_test(huge_patterns_are_refused_not_endured),
        cmocka_unit_test(hostile_patterns_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
