/* The HTML report: nothing from outside becomes markup, nothing is fetched, and odd reports
 * (empty, one variant, all NaN) are still pages. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "report/html_text.h"
#include "sample_report.h"

static char *page(const LedgeHtmlReport *r)
{
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(ledge__html_report(r, NULL, &text, &n), LEDGE_OK);
    assert_int_equal(strlen(text), n);
    return text;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

/* Every element that was opened is closed, in order; attributes are quoted. */
static void assert_well_formed(const char *p)
{
    static const char *const empty[] = {"meta", "br", "!doctype"};
    char stack[32][16];
    int depth = 0;
    while ((p = strchr(p, '<'))) {
        const bool closes = p[1] == '/';
        const char *name = p + 1 + closes;
        const size_t n = strcspn(name, " \n/>");
        const char *end = strchr(p, '>');
        assert_non_null(end);
        assert_true(n > 0 && n < 16);
        if (closes) {
            assert_true(depth > 0);
            depth--;
            assert_int_equal(strlen(stack[depth]), n);
            assert_memory_equal(stack[depth], name, n);
        } else {
            bool is_empty = end[-1] == '/';
            for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
                is_empty |= strlen(empty[i]) == n && memcmp(empty[i], name, n) == 0;
            if (!is_empty) {
                assert_true(depth < 32);
                memcpy(stack[depth], name, n);
                stack[depth++][n] = '\0';
            }
            if (!is_empty && n == 5 && memcmp(name, "style", 5) == 0)
                end = strstr(end, "</style>") - 1;
        }
        p = end;
    }
    assert_int_equal(depth, 0);
}

static void names_from_outside_never_become_markup(void **state)
{
    (void)state;
    const LedgeHtmlReport r = sample_report();
    char *text = page(&r);
    assert_well_formed(text);
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "<b>names"));
    assert_null(strstr(text, "<i>only"));
    assert_non_null(strstr(text, "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\xef\xbf\xbd"
                                 "\xef\xbf\xbd/Conv"));
    free(text);
}

static void the_page_fetches_nothing(void **state)
{
    (void)state;
    const LedgeHtmlReport r = sample_report();
    char *text = page(&r);
    static const char *const outside[] = {"http:", "https:", "url(",  "@import",
                                          "src=",  "href=",  "<link", "<img"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_null(strstr(text, outside[i]));
    assert_non_null(strstr(text, "default-src 'none'"));
    free(text);
}

static void every_layer_variant_and_warning_is_there(void **state)
{
    (void)state;
    const LedgeHtmlReport r = sample_report();
    char *text = page(&r);
    /* one layer has no SQNR; each chart is drawn for two widths */
    assert_int_equal(count(text, "<rect class=\"bar\"") + count(text, "<rect class=\"kept\""),
                     2 * (r.n_layers - 1));
    assert_int_equal(count(text, "<rect class=\"kept\""), 2 * 2);
    assert_int_equal(count(text, "<circle"), 2 * r.n_variants);
    assert_int_equal(count(text, "<li>"), r.n_warnings);
    assert_int_equal(count(text, "class=\"chosen\"><td"), 1);
    assert_non_null(strstr(text, "14.16 MB, &times;0.29"));
    assert_non_null(strstr(text, "before 85.20%, -0.20 points"));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf dB"));
    free(text);
}

static void odd_reports_are_still_pages(void **state)
{
    (void)state;
    LedgeHtmlReport r = {.title = "", .version = "", .date = ""};
    char *text = page(&r);
    assert_well_formed(text);
    assert_null(strstr(text, "<svg"));
    free(text);
    LedgeHtmlVariant v[2] = {{"a", 0, NAN, NAN, NAN, NAN, NAN, NAN, true, false},
                             {"b", 0, NAN, NAN, NAN, NAN, NAN, NAN, false, true}};
    LedgeHtmlLayer l = {NULL, NULL, NAN, NAN, true, NULL};
    r.variants = v;
    r.layers = &l;
    for (r.n_variants = 1; r.n_variants <= 2; r.n_variants++) {
        r.n_layers = 1;
        text = page(&r);
        assert_well_formed(text);
        assert_null(strstr(text, "nan"));
        free(text);
    }
    r.n_variants = 2;
    /* Two models of the same latency and accuracy: axes of no range. */
    v[0].top1 = v[1].top1 = 1, v[0].p50_ms = v[1].p50_ms = 0;
    l.sqnr_db = -3;
    text = page(&r);
    assert_well_formed(text);
    assert_null(strstr(text, "nan"));
    assert_int_equal(count(text, "<svg"), 4);
    free(text);
}

static void escaping_keeps_utf8_and_replaces_what_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {{"\xc3\xa9", "\xc3\xa9"},
                 {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
                 {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
                 {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
                 {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
                 {"\xc2\x85", "\xef\xbf\xbd"},
                 {"a\tb", "a\xef\xbf\xbd"
                          "b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        LedgeText h = {0};
        ledge__html_text(&h, cases[i].in);
        assert_string_equal(h.p, cases[i].out);
        free(h.p);
    }
    LedgeText h = {0};
    ledge__html_text_cut(&h, "\xc3\xa9\xc3\xa9\xc3\xa9", 2);
    assert_string_equal(h.p, "\xc3\xa9\xc3\xa9\xe2\x80\xa6");
    free(h.p);
}

static void writing_where_nothing_can_be_written_is_an_error(void **state)
{
    (void)state;
    LedgeError err = {0};
    const LedgeHtmlReport r = sample_report();
    assert_int_equal(ledge__html_report_write(&r, "/nonexistent/r.html", &err), LEDGE_ERROR_IO);
    assert_true(err.message[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_from_outside_never_become_markup),
        cmocka_unit_test(the_page_fetches_nothing),
        cmocka_unit_test(every_layer_variant_and_warning_is_there),
        cmocka_unit_test(odd_reports_are_still_pages),
        cmocka_unit_test(escaping_keeps_utf8_and_replaces_what_is_none),
        cmocka_unit_test(writing_where_nothing_can_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
