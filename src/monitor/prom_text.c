/* Writing the Prometheus text format. */
#include "monitor/prom_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_text(LedgePromText *t, const char *s)
{
    ledge__text_add(&t->text, s);
}

static void put_number(LedgePromText *t, double v)
{
    char s[32];
    if (isnan(v))
        strcpy(s, "NaN");
    else if (isinf(v))
        strcpy(s, v > 0 ? "+Inf" : "-Inf");
    else
        snprintf(s, sizeof s, v == floor(v) && fabs(v) < 1e15 ? "%.0f" : "%.9g", v);
    put_text(t, s);
}

/* Backslash and newline are escaped everywhere, quotes only where a text stands in quotes. */
static void put_escaped(LedgePromText *t, const char *s, bool quoted)
{
    for (; *s; s++) {
        if (*s == '\\')
            put_text(t, "\\\\");
        else if (*s == '\n')
            put_text(t, "\\n");
        else if (*s == '"' && quoted)
            put_text(t, "\\\"");
        else
            ledge__text_put(&t->text, s, 1);
    }
}

void ledge__prom_family(LedgePromText *t, const char *name, const char *type, const char *help)
{
    t->family = name;
    put_text(t, "# HELP ");
    put_text(t, name);
    put_text(t, " ");
    put_escaped(t, help, false);
    put_text(t, "\n# TYPE ");
    put_text(t, name);
    put_text(t, " ");
    put_text(t, type);
    put_text(t, "\n");
}

static void put_sample(LedgePromText *t, const char *suffix, const LedgePromLabel *labels,
                       const LedgePromLabel *last, double value)
{
    const LedgePromLabel *all[2] = {labels, last};
    const char *between = "{";
    put_text(t, t->family);
    put_text(t, suffix);
    for (int i = 0; i < 2; i++)
        for (const LedgePromLabel *l = all[i]; l && l->name; l++) {
            put_text(t, between);
            put_text(t, l->name);
            put_text(t, "=\"");
            put_escaped(t, l->value, true);
            put_text(t, "\"");
            between = ",";
        }
    put_text(t, *between == ',' ? "} " : " ");
    put_number(t, value);
    put_text(t, "\n");
}

void ledge__prom_sample(LedgePromText *t, const LedgePromLabel *labels, double value)
{
    put_sample(t, "", labels, NULL, value);
}

void ledge__prom_histogram(LedgePromText *t, const LedgePromLabel *labels, const LedgeSketch *s)
{
    static const char *const bounds[] = {"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
                                         "0.01",   "0.025",   "0.05",   "0.1",   "0.25",   "0.5",
                                         "1",      "2.5",     "5",      "10"};
    static const double seconds[] = {1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2,
                                     5e-2, 0.1,    0.25, 0.5,  1,      2.5,  5,    10};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        const LedgePromLabel le[] = {{"le", bounds[i]}, {NULL, NULL}};
        put_sample(t, "_bucket", labels, le, (double)ledge__sketch_below(s, seconds[i]));
    }
    const LedgePromLabel inf[] = {{"le", "+Inf"}, {NULL, NULL}};
    put_sample(t, "_bucket", labels, inf, (double)s->count);
    put_sample(t, "_sum", labels, NULL, s->sum);
    put_sample(t, "_count", labels, NULL, (double)s->count);
}
