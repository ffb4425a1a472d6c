/* Providers side by side: one process, the same inputs, the same threads, bursts in turn, so that
 * a change of the machine's speed meets all of them. Then cold starts, each in fresh processes, and
 * whether the outputs agree. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "cli/bench.h"

#define MAX_SIDES 8
#define BURST     10
/* Workers of the other side may still spin for work on the cores that this one needs: each burst
 * starts after a pause, and with a run that is not counted. */
#define PAUSE_US 20000

typedef struct Side {
    char name[256]; /* as given */
    const char *label;
    LedgeSession *session;
    double open_ms;
    double *ms, *cold_ms; /* sorted at the end */
    size_t n, n_cold;
    uint64_t peak_bytes;
    LedgeTensor *outputs; /* copies of the first answer */
} Side;

typedef struct Sides {
    Bench *b;
    Side items[MAX_SIDES];
    size_t n;
} Sides;

static int no_memory(void)
{
    return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
}

static void sides_free(Sides *s)
{
    for (size_t k = 0; k < s->n; k++) {
        Side *side = &s->items[k];
        for (size_t i = 0; side->outputs && i < s->b->n_outputs; i++)
            free(side->outputs[i].data);
        free(side->outputs);
        free(side->ms);
        free(side->cold_ms);
        ledge_session_free(side->session);
    }
}

static int split(Sides *s, const char *list)
{
    for (const char *p = list; *p;) {
        const size_t n = strcspn(p, ",");
        if (n && s->n == MAX_SIDES)
            return cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT, "at most %d providers side by side",
                                 MAX_SIDES);
        if (n) {
            Side *side = &s->items[s->n++];
            snprintf(side->name, sizeof side->name, "%.*s", (int)n, p);
            const char *slash = strrchr(side->name, '/');
            side->label = slash ? slash + 1 : side->name;
        }
        p += n + (p[n] == ',');
    }
    return CLI_GO;
}

/* Each side gets the options that are its own. */
static int open_side(Sides *s, Side *side, const char **items)
{
    const BenchOptions *o = s->b->o;
    CliOpen open = cli_bench_open(s->b);
    size_t n = 0;
    for (size_t i = 0; i < o->provider_options.n; i++) {
        const char *word = o->provider_options.items[i];
        const size_t length = strcspn(word, ".");
        const bool path = strchr(side->name, '/') || strstr(side->name, ".so");
        if (path || (strlen(side->name) == length && strncmp(word, side->name, length) == 0))
            items[n++] = word;
    }
    open.provider_options = (CliList){items, n};
    const uint64_t start = cli_now_ns();
    const int code = cli_open_session(&open, side->name, s->b->model, &side->session);
    side->open_ms = (double)(cli_now_ns() - start) / 1e6;
    return code;
}

static int open_sides(Sides *s)
{
    const char **items = calloc(s->b->o->provider_options.n + 1, sizeof *items);
    int code = items ? CLI_GO : no_memory();
    for (size_t k = 0; k < s->n && code == CLI_GO; k++)
        code = open_side(s, &s->items[k], items);
    free(items);
    return code;
}

/* ---- answers ---- */

static int keep_outputs(Sides *s, Side *side)
{
    const Bench *b = s->b;
    side->outputs = calloc(b->n_outputs + 1, sizeof *side->outputs);
    if (!side->outputs)
        return no_memory();
    for (size_t i = 0; i < b->n_outputs; i++) {
        const LedgeTensor *t = &b->outputs[i];
        const size_t bytes = cli_is_number(t->type) ? ledge_tensor_bytes(t) : 0;
        void *copy = malloc(bytes + 1);
        if (!copy)
            return no_memory();
        if (bytes)
            memcpy(copy, t->data, bytes);
        side->outputs[i] = *t;
        side->outputs[i].data = copy;
    }
    return CLI_GO;
}

typedef struct Agreement {
    double nmse; /* over all number outputs, against the other side's energy */
    double top1; /* share of rows with the same best class; NaN: no scores */
    bool same_shapes;
} Agreement;

static size_t best_of(const LedgeTensor *t, int64_t at, int64_t n)
{
    size_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (ledge__tensor_number(t, at + i) > ledge__tensor_number(t, at + (int64_t)best))
            best = (size_t)i;
    return best;
}

/* Rows of scores: the last dimension of a first output of rank 2. */
static double same_top1(const LedgeTensor *a, const LedgeTensor *b)
{
    if (a->rank != 2 || a->dims[1] < 2 || !cli_is_number(a->type))
        return NAN;
    int64_t same = 0;
    for (int64_t r = 0; r < a->dims[0]; r++)
        same += best_of(a, r * a->dims[1], a->dims[1]) == best_of(b, r * b->dims[1], b->dims[1]);
    return a->dims[0] ? (double)same / (double)a->dims[0] : NAN;
}

static Agreement agree(const Sides *s, const Side *a, const Side *b)
{
    Agreement g = {.top1 = NAN, .same_shapes = true};
    double num = 0, den = 0;
    for (size_t i = 0; i < s->b->n_outputs; i++) {
        const LedgeTensor *x = &a->outputs[i], *y = &b->outputs[i];
        g.same_shapes &= x->type == y->type && x->rank == y->rank &&
                         ledge_tensor_count(x) == ledge_tensor_count(y);
        if (!g.same_shapes)
            return g;
        for (int64_t k = 0; cli_is_number(x->type) && k < ledge_tensor_count(x); k++) {
            const double p = ledge__tensor_number(x, k), q = ledge__tensor_number(y, k);
            if (p == q || (isnan(p) && isnan(q)))
                den += isfinite(q) ? q * q : 0;
            else {
                num += (p - q) * (p - q);
                den += q * q;
            }
        }
    }
    g.nmse = den > 0 ? num / den : num;
    if (s->b->n_outputs)
        g.top1 = same_top1(&a->outputs[0], &b->outputs[0]);
    return g;
}

/* ---- timing ---- */

static int burst(Sides *s, Side *side, size_t runs)
{
    usleep(PAUSE_US);
    int code = cli_bench_run(s->b, side->session);
    for (size_t i = 0; i < runs && code == CLI_GO; i++) {
        const uint64_t t = cli_now_ns();
        code = cli_bench_run(s->b, side->session);
        side->ms[side->n++] = (double)(cli_now_ns() - t) / 1e6;
    }
    return code;
}

static int warm_up(Sides *s)
{
    int code = CLI_GO;
    for (size_t k = 0; k < s->n && code == CLI_GO; k++) {
        code = cli_bench_run(s->b, s->items[k].session);
        if (code == CLI_GO)
            code = keep_outputs(s, &s->items[k]);
        for (int64_t i = 1; i < s->b->o->warmup && code == CLI_GO; i++)
            code = cli_bench_run(s->b, s->items[k].session);
    }
    return code;
}

static int measure(Sides *s)
{
    const BenchOptions *o = s->b->o;
    const size_t most = o->runs ? (size_t)o->runs : BENCH_AUTO_MAX;
    int code = warm_up(s);
    for (size_t k = 0; k < s->n && code == CLI_GO; k++)
        if (!(s->items[k].ms = malloc((most + 1) * sizeof(double))))
            code = no_memory();
    const uint64_t start = cli_now_ns();
    for (size_t done = 0, runs; done < most && code == CLI_GO; done += runs) {
        runs = most - done < BURST ? most - done : BURST;
        for (size_t k = 0; k < s->n && code == CLI_GO; k++)
            code = burst(s, &s->items[k], runs);
        cli_progress("timing", done + runs, most);
        if (!o->runs && cli_now_ns() - start > s->n * (uint64_t)BENCH_AUTO_NS &&
            done + runs >= BENCH_AUTO_MIN)
            break;
    }
    cli_progress_end();
    for (size_t k = 0; k < s->n; k++)
        if (s->items[k].ms)
            qsort(s->items[k].ms, s->items[k].n, sizeof(double), cli_compare_doubles);
    for (size_t k = 0; k < s->n && code == CLI_GO && o->cold; k++)
        code = cli_bench_cold(s->b, s->items[k].name, &s->items[k].cold_ms, &s->items[k].n_cold,
                              &s->items[k].peak_bytes);
    return code;
}

/* ---- telling ---- */

static double p50(const Side *side)
{
    return cli_percentile(side->ms, side->n, 50);
}

static void print_sides(const Sides *s)
{
    const Bench *b = s->b;
    const int threads = cli_threads(b->o->threads);
    printf("%s on %s, %d thread%s, %zu runs each, in turn\n", cli_clean(b->path),
           ledge__cpu_model_name(), threads, threads == 1 ? "" : "s", s->items[0].n);
    printf("  %-14s %9s %9s %9s %9s %10s %10s\n", "ms", "min", "p50", "p90", "p99", "cold start",
           "memory");
    for (size_t k = 0; k < s->n; k++) {
        const Side *side = &s->items[k];
        printf("  %-14.60s %9.3f %9.3f %9.3f %9.3f ", cli_clean(side->label), side->ms[0],
               p50(side), cli_percentile(side->ms, side->n, 90),
               cli_percentile(side->ms, side->n, 99));
        if (side->n_cold)
            printf("%10.1f %10s\n", cli_percentile(side->cold_ms, side->n_cold, 50),
                   cli_bytes(side->peak_bytes));
        else
            printf("%10s %10s\n", "-", "-");
    }
    for (size_t k = 1; k < s->n; k++) {
        const Agreement g = agree(s, &s->items[0], &s->items[k]);
        printf("  %s / %s: time min %.3f, p50 %.3f; outputs ", cli_clean(s->items[0].label),
               cli_clean(s->items[k].label), s->items[0].ms[0] / s->items[k].ms[0],
               p50(&s->items[0]) / p50(&s->items[k]));
        if (!g.same_shapes)
            printf("of different shapes\n");
        else if (isnan(g.top1))
            printf("NMSE %.1e\n", g.nmse);
        else
            printf("NMSE %.1e, top-1 agrees %.1f%%\n", g.nmse, 100 * g.top1);
    }
    for (size_t k = 0; k < s->n; k++)
        printf("  %s: %s\n", cli_clean(s->items[k].label),
               cli_placement_line(ledge_session_placement(s->items[k].session)));
}

static json_t *side_json(const Side *side)
{
    json_t *cold = side->n_cold ? json_pack("{s:f, s:f}", "p50",
                                            cli_percentile(side->cold_ms, side->n_cold, 50), "min",
                                            side->cold_ms[0])
                                : json_null();
    return json_pack("{s:o, s:o, s:I, s:f, s:o, s:o, s:o}", "provider", cli_json_text(side->name),
                     "milliseconds", cli_bench_latency_json(side->ms, side->n), "runs",
                     (json_int_t)side->n, "open_ms", side->open_ms, "cold_start_ms", cold,
                     "peak_memory_bytes",
                     side->peak_bytes ? json_integer((json_int_t)side->peak_bytes) : json_null(),
                     "placement", cli_placement_json(ledge_session_placement(side->session)));
}

static json_t *sides_json(const Sides *s)
{
    json_t *sides = json_array(), *pairs = json_array();
    for (size_t k = 0; k < s->n; k++)
        json_array_append_new(sides, side_json(&s->items[k]));
    for (size_t k = 1; k < s->n; k++) {
        const Side *a = &s->items[0], *b = &s->items[k];
        const Agreement g = agree(s, a, b);
        json_array_append_new(
            pairs, json_pack("{s:o, s:o, s:f, s:f, s:b, s:o, s:o}", "a", cli_json_text(a->name),
                             "b", cli_json_text(b->name), "ratio_min", a->ms[0] / b->ms[0],
                             "ratio_p50", p50(a) / p50(b), "same_shapes", (int)g.same_shapes,
                             "nmse", g.same_shapes ? cli_json_real(g.nmse) : json_null(),
                             "top1_agreement", cli_json_real(g.top1)));
    }
    return json_pack("{s:o, s:o, s:i, s:o, s:o}", "model", cli_json_text(s->b->path), "cpu",
                     cli_json_text(ledge__cpu_model_name()), "threads",
                     cli_threads(s->b->o->threads), "sides", sides, "comparisons", pairs);
}

int cli_bench_sides(Bench *b)
{
    Sides s = {.b = b};
    int code = split(&s, b->o->provider);
    if (code == CLI_GO)
        code = cli_bench_inputs(b);
    if (code == CLI_GO)
        code = open_sides(&s);
    if (code == CLI_GO)
        code = measure(&s);
    for (size_t k = 0; k < s.n && code == CLI_GO; k++)
        cli_placement_warn(ledge_session_placement(s.items[k].session));
    if (code == CLI_GO && b->o->json)
        code = cli_print_json(sides_json(&s));
    else if (code == CLI_GO) {
        print_sides(&s);
        code = cli_finish();
    }
    sides_free(&s);
    return code;
}
