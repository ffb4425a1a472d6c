/* ledge bench: how long one run takes, how long the first answer takes, how much memory.
 *
 * The first answer is timed from outside: a fresh child process is started that loads the
 * model, runs once and reports its peak memory, the way a device starts a program. */
#include <math.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "cli/bench.h"
#include "cli/pictures.h"
#include "ledge/report.h"

static const CliOption options[] = {
    {"runs", 'n', CLI_INT, "N", "timed runs; 0 takes as many as fit in 3 seconds",
     offsetof(BenchOptions, runs), 0, 10000000},
    {"warmup", 'w', CLI_INT, "N", "runs before timing begins (5)", offsetof(BenchOptions, warmup),
     0, 1000000},
    {"cold", 0, CLI_INT, "N", "cold starts to time in fresh processes (5); 0: none",
     offsetof(BenchOptions, cold), 0, 1000},
    CLI_OPTION_THREADS(BenchOptions),
    {"input", 'i', CLI_LIST, "NAME=F.npy", "input from a file instead of random numbers",
     offsetof(BenchOptions, inputs), 0, 0},
    CLI_OPTION_SHAPE(BenchOptions),
    {"seed", 0, CLI_INT, "N", "seed of the random inputs (1)", offsetof(BenchOptions, seed), 0,
     INT64_MAX},
    {"pixels", 0, CLI_FLAG, NULL, "bytes of a picture as input, normalised by the model",
     offsetof(BenchOptions, pixels), 0, 0},
    {"profile", 'p', CLI_FLAG, NULL, "show where the time goes, step by step",
     offsetof(BenchOptions, profile), 0, 0},
    CLI_OPTIONS_PROVIDER(BenchOptions, "who runs it (cpu); A,B are timed side by side"),
    CLI_OPTION_CPU(BenchOptions),
    {"no-optimize", 0, CLI_FLAG, NULL, "run the graph as it stands in the file",
     offsetof(BenchOptions, no_optimize), 0, 0},
    {"first-answer", 0, CLI_FLAG, NULL, NULL, offsetof(BenchOptions, first_answer), 0, 0},
    CLI_OPTION_JSON(BenchOptions),
};

static void bench_free(Bench *b)
{
    ledge_session_free(b->session);
    ledge_model_free(b->model);
    cli_inputs_free(&b->inputs);
    free(b->outputs);
    free(b->ms);
    free(b->cold_ms);
}

static int no_memory(void)
{
    return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
}

CliOpen cli_bench_open(const Bench *b)
{
    return (CliOpen){.path = b->path,
                     .cpu = b->o->cpu,
                     .no_optimize = b->o->no_optimize,
                     .threads = b->o->threads,
                     .provider = b->o->provider,
                     .provider_options = b->o->provider_options,
                     .strict = b->o->strict};
}

int cli_bench_inputs(Bench *b)
{
    CliPictures pictures = {.preprocess = NULL};
    CliOpen open = cli_bench_open(b);
    open.pixels = b->o->pixels ? cli_pictures_ask : NULL;
    open.pixels_arg = &pictures;
    int code = cli_open_model(&open, &b->model);
    if (code != CLI_GO)
        return code;
    if (b->o->pixels && !pictures.bytes)
        return cli_fail_with(b->path, LEDGE_ERROR_TYPE,
                             "takes no pictures: one input, float32 [N,C,H,W] or [N,H,W,C] with 1 "
                             "or 3 channels");
    b->n_outputs = ledge_model_output_count(b->model);
    b->outputs = calloc(b->n_outputs + 1, sizeof *b->outputs);
    if (!b->outputs || !cli_inputs_new(b->model, &b->inputs))
        return no_memory();
    code = cli_inputs_files(b->model, &b->o->inputs, &b->inputs);
    return code == CLI_GO
               ? cli_inputs_random(b->model, &b->o->shapes, (uint64_t)b->o->seed, &b->inputs)
               : code;
}

static int prepare(Bench *b)
{
    const CliOpen open = cli_bench_open(b);
    const uint64_t start = cli_now_ns();
    int code = cli_bench_inputs(b);
    if (code == CLI_GO)
        code = cli_open_session(&open, b->o->provider, b->model, &b->session);
    b->load_ms = (double)(cli_now_ns() - start) / 1e6;
    return code;
}

int cli_bench_run(Bench *b, LedgeSession *session)
{
    LedgeError err = {0};
    for (size_t i = 0; i < b->n_outputs; i++)
        b->outputs[i].data = NULL;
    if (ledge_session_run(session, b->inputs.tensors, b->inputs.n, b->outputs, b->n_outputs, &err))
        return cli_fail(b->path, &err);
    return CLI_GO;
}

static int run_once(Bench *b)
{
    return cli_bench_run(b, b->session);
}

static int measure(Bench *b)
{
    const size_t most = b->o->runs ? (size_t)b->o->runs : BENCH_AUTO_MAX;
    int code = CLI_GO;
    b->ms = malloc(most * sizeof *b->ms);
    if (!b->ms)
        return no_memory();
    for (int64_t i = 0; i < b->o->warmup && code == CLI_GO; i++)
        code = run_once(b);
    const uint64_t start = cli_now_ns();
    while (code == CLI_GO && b->n < most) {
        const uint64_t t = cli_now_ns();
        code = run_once(b);
        const uint64_t end = cli_now_ns();
        b->ms[b->n++] = (double)(end - t) / 1e6;
        if (!b->o->runs && end - start > BENCH_AUTO_NS && b->n >= BENCH_AUTO_MIN)
            break;
        if (b->n % 16 == 0)
            cli_progress("timing", b->n, most);
    }
    cli_progress_end();
    qsort(b->ms, b->n, sizeof *b->ms, cli_compare_doubles);
    return code;
}

/* ---- the first answer ---- */

/* This process's peak memory, from the kernel's own count for its address space. */
static uint64_t peak_memory(void)
{
    char line[200];
    unsigned long long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return (uint64_t)kb * 1024;
}

/* In the child: what stdout carries is the peak memory, once the answer is there. */
static int first_answer(Bench *b)
{
    int code = prepare(b);
    if (code == CLI_GO)
        code = run_once(b);
    if (code != CLI_GO)
        return code;
    const uint64_t peak = peak_memory();
    return write(STDOUT_FILENO, &peak, sizeof peak) == (ssize_t)sizeof peak ? CLI_OK : CLI_FAILED;
}

/* The words of this command line again, for a fresh process; of options given twice the last one
 * counts. NULL: no memory. */
static char **words_again(const Bench *b, const char *provider)
{
    static char choose[] = "--provider";
    char **words = calloc((size_t)b->argc + 3, sizeof *words);
    size_t n = 0;
    for (int i = 1; words && i < b->argc; i++) {
        if (provider && strcmp(b->argv[i], "--") == 0)
            break;
        words[n++] = b->argv[i];
    }
    if (words && provider) {
        words[n++] = choose;
        words[n++] = (char *)(uintptr_t)provider;
    }
    return words;
}

int cli_bench_cold(Bench *b, const char *provider, double **ms, size_t *n, uint64_t *peak)
{
    char **words = words_again(b, provider);
    *ms = malloc(((size_t)b->o->cold + 1) * sizeof **ms);
    if (!*ms || !words) {
        free(words);
        return no_memory();
    }
    for (int64_t i = 0; i < b->o->cold; i++) {
        uint64_t bytes = 0;
        const double t = cli_cold_start(words, &bytes);
        if (t >= 0)
            (*ms)[(*n)++] = t;
        *peak = bytes > *peak ? bytes : *peak;
    }
    free(words);
    qsort(*ms, *n, sizeof **ms, cli_compare_doubles);
    if (b->o->cold && !*n)
        cli_warn("the cold start%s%s could not be timed", provider ? " of " : "",
                 provider ? provider : "");
    return CLI_GO;
}

/* ---- the profile ---- */

typedef struct Step {
    LedgeReportStep step;
    uint64_t ns;
} Step;

#define PROFILE_RUNS 10

static int slower_first(const void *a, const void *b)
{
    const Step *x = a, *y = b;
    return (x->ns < y->ns) - (x->ns > y->ns);
}

/* Mean nanoseconds of each step over a few runs; slowest first. */
static int profile(Bench *b, Step **out, size_t *n_out)
{
    int code = CLI_GO;
    ledge_session_set_timing(b->session, true);
    const size_t n = ledge_session_step_count(b->session);
    if (!n)
        cli_warn("%s runs the model in one go and tells no steps",
                 ledge_session_placement(b->session)->got);
    Step *steps = calloc(n + 1, sizeof *steps);
    if (!steps)
        return no_memory();
    for (int k = 0; k < PROFILE_RUNS && code == CLI_GO; k++) {
        code = run_once(b);
        for (size_t i = 0; i < n; i++)
            steps[i].ns += ledge_session_step(b->session, i, &steps[i].step);
    }
    ledge_session_set_timing(b->session, false);
    for (size_t i = 0; i < n; i++)
        steps[i].ns /= PROFILE_RUNS;
    qsort(steps, n, sizeof *steps, slower_first);
    *out = steps;
    *n_out = n;
    return code;
}

static void print_profile(const Step *steps, size_t n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += steps[i].ns;
    printf("\n%10s %6s %9s  %-24s %s\n", "ms", "share", "GMAC/s", "operator", "node");
    for (size_t i = 0; i < n && total; i++) {
        const double s = (double)steps[i].ns / 1e9;
        printf("%10.4f %5.1f%% %9.2f  %-24s %s\n", s * 1e3,
               100.0 * (double)steps[i].ns / (double)total,
               s > 0 ? (double)steps[i].step.macs / s / 1e9 : 0, cli_clean(steps[i].step.op_type),
               cli_clean(steps[i].step.name));
    }
}

static json_t *profile_json(const Step *steps, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            a, json_pack("{s:o, s:o, s:f, s:I}", "op_type", cli_json_text(steps[i].step.op_type),
                         "name", cli_json_text(steps[i].step.name), "milliseconds",
                         (double)steps[i].ns / 1e6, "macs", (json_int_t)steps[i].step.macs));
    return a;
}

/* ---- the answer ---- */

double cli_bench_average(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return n ? sum / (double)n : NAN;
}

json_t *cli_bench_latency_json(const double *ms, size_t n)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "avg", cli_json_real(cli_bench_average(ms, n)),
        "p50", cli_json_real(cli_percentile(ms, n, 50)), "p90",
        cli_json_real(cli_percentile(ms, n, 90)), "p95", cli_json_real(cli_percentile(ms, n, 95)),
        "p99", cli_json_real(cli_percentile(ms, n, 99)), "min", cli_json_real(ms[0]), "max",
        cli_json_real(ms[n - 1]));
}

static json_t *bench_json(const Bench *b)
{
    json_t *latency = cli_bench_latency_json(b->ms, b->n);
    const LedgePlacement *placement = ledge_session_placement(b->session);
    json_t *cold = b->n_cold
                       ? json_pack("{s:f, s:f}", "p50", cli_percentile(b->cold_ms, b->n_cold, 50),
                                   "min", b->cold_ms[0])
                       : json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:i, s:I, s:I, s:o, s:f, s:o, s:o, s:I}", "model",
                     cli_json_text(b->path), "provider", cli_json_text(placement->got), "placement",
                     cli_placement_json(placement), "cpu", cli_json_text(ledge__cpu_model_name()),
                     "threads", cli_threads(b->o->threads), "runs", (json_int_t)b->n, "warmup",
                     (json_int_t)b->o->warmup, "milliseconds", latency, "load_ms", b->load_ms,
                     "cold_start_ms", cold, "peak_memory_bytes",
                     b->peak_bytes ? json_integer((json_int_t)b->peak_bytes) : json_null(),
                     "arena_bytes", (json_int_t)ledge_session_arena_bytes(b->session));
}

static void print_bench(const Bench *b)
{
    const double *ms = b->ms;
    const int threads = cli_threads(b->o->threads);
    printf("%s on %s, %d thread%s, %zu runs\n", cli_clean(b->path), ledge__cpu_model_name(),
           threads, threads == 1 ? "" : "s", b->n);
    printf("  avg %.3f  p50 %.3f  p90 %.3f  p95 %.3f  p99 %.3f  min %.3f ms\n",
           cli_bench_average(ms, b->n), cli_percentile(ms, b->n, 50), cli_percentile(ms, b->n, 90),
           cli_percentile(ms, b->n, 95), cli_percentile(ms, b->n, 99), ms[0]);
    if (b->n_cold)
        printf("  cold start, exec to first answer: p50 %.1f  min %.1f ms (%zu starts)\n",
               cli_percentile(b->cold_ms, b->n_cold, 50), b->cold_ms[0], b->n_cold);
    if (b->peak_bytes)
        printf("  peak memory %s, of which activations %s\n", cli_bytes(b->peak_bytes),
               cli_bytes(ledge_session_arena_bytes(b->session)));
    printf("  %s\n", cli_placement_line(ledge_session_placement(b->session)));
}

static int report(Bench *b)
{
    Step *steps = NULL;
    size_t n = 0;
    int code = b->o->profile ? profile(b, &steps, &n) : CLI_GO;
    if (code == CLI_GO && b->o->json) {
        json_t *o = bench_json(b);
        if (o && steps)
            json_object_set_new(o, "steps", profile_json(steps, n));
        code = cli_print_json(o);
    } else if (code == CLI_GO) {
        print_bench(b);
        if (steps)
            print_profile(steps, n);
        code = cli_finish();
    }
    free(steps);
    return code;
}

static int bench_one(Bench *b)
{
    int code = prepare(b);
    if (code == CLI_GO)
        code = measure(b);
    if (code == CLI_GO)
        cli_placement_warn(ledge_session_placement(b->session));
    if (code == CLI_GO)
        code = cli_bench_cold(b, NULL, &b->cold_ms, &b->n_cold, &b->peak_bytes);
    return code == CLI_GO ? report(b) : code;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    BenchOptions o = {.warmup = 5, .seed = 1, .cold = 5};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    Bench b = {.o = &o, .path = args.items[0], .argc = argc, .argv = argv};
    if (o.first_answer)
        code = first_answer(&b);
    else if (o.provider && strchr(o.provider, ','))
        code = o.profile ? cli_usage(c, "--profile is of one provider, not of several side by side")
                         : cli_bench_sides(&b);
    else
        code = bench_one(&b);
    bench_free(&b);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_bench = {
    .name = "bench",
    .arguments = "MODEL",
    .summary = "time a model: latency percentiles, cold start, peak memory",
    .description =
        "Times runs of a model on random inputs (or given ones) and prints average and\n"
        "percentiles; then starts fresh processes to time exec to first answer and to see\n"
        "their peak memory. Several providers, --provider A,B, are timed in turn in one process\n"
        "and compared: ratio of the times, agreement of the outputs.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
