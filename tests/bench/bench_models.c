/* ledge and ONNX Runtime side by side: the same model, the same inputs, in turn.
 *
 *   bench_models [--threads N] [--rounds N] [--runs N] [--ort LIB.so] [--provider LIST] [--steps]
 *                [--cold] MODEL...
 *
 * Each round runs both once a burst of --runs, so that a change of the machine's speed meets
 * both. Prints minima and medians in ms, their ratios ledge / ONNX Runtime, and the outputs'
 * normalised mean squared difference. Without a library only ledge is timed. Free dimensions
 * count as 1, but for a second one (sequence), which counts as 128. --steps lists the time of each
 * step of ledge's plan. --cold starts a fresh process for each answer instead, and gives the time
 * from exec to the first answer and the peak of resident memory. With --provider ort ledge runs the
 * model through ONNX Runtime too: what is left is the provider's own cost. */
#include <dlfcn.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/provider/ort_api.h"
#include "engine/session/session.h"
#include "timing.h"

#define MAX_IO 16

typedef struct Options {
    int threads, rounds, runs;
    const char *library, *provider, *first; /* first: in a child of --cold, the side to run */
    bool steps, cold;
} Options;

typedef struct Side {
    double *ms;
    size_t n;
} Side;

typedef struct Bench {
    Options o;
    OrtCalls ort;
    OrtEnv *env;
    bool have_ort;
    LedgeTensor in[MAX_IO], out[MAX_IO];
    size_t n_in, n_out;
} Bench;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_models: %s: %s\n", what, why);
    exit(1);
}

static void ort_check(Bench *b, OrtStatus *s, const char *what)
{
    if (s)
        die(what, b->ort.GetErrorMessage(s));
}

static void open_ort(Bench *b)
{
    void *lib = dlopen(b->o.library, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        die("ONNX Runtime", dlerror());
    void *symbol = dlsym(lib, "OrtGetApiBase");
    const OrtApiBase *(*get_base)(void);
    if (!symbol)
        die(b->o.library, "no ONNX Runtime library");
    memcpy(&get_base, &symbol, sizeof get_base);
    const void *api = get_base()->GetApi(ORT_API_VERSION_MIN);
    if (!api)
        die(b->o.library, "too old: API 18 (ONNX Runtime 1.18) is needed");
    ledge__ort_fill(&b->ort, api, ORT_API_VERSION_MIN);
    ort_check(b, b->ort.CreateEnv(3, "bench", &b->env), "CreateEnv");
    if (!b->o.first)
        printf("ONNX Runtime %s\n", get_base()->GetVersionString());
    fflush(stdout);
    b->have_ort = true;
}

static void fill(LedgeTensor *t, uint64_t seed)
{
    int64_t n = ledge_tensor_count(t);
    t->bytes = ledge_tensor_bytes(t);
    t->data = calloc(t->bytes + 64, 1);
    uint64_t s = seed * 0x9e3779b97f4a7c15u + 1;
    for (int64_t i = 0; i < n; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        if (t->type == LEDGE_FLOAT)
            ((float *)t->data)[i] = (float)(int32_t)(s >> 32) / 2147483648.0f;
        else if (t->type == LEDGE_INT64)
            ((int64_t *)t->data)[i] = (int64_t)(s >> 33) % 1000;
        else
            ((uint8_t *)t->data)[i] = 1;
    }
}

static void make_inputs(Bench *b, const LedgeModel *m)
{
    b->n_in = ledge_model_input_count(m);
    b->n_out = ledge_model_output_count(m);
    if (b->n_in > MAX_IO || b->n_out > MAX_IO)
        die("model", "too many inputs or outputs");
    for (size_t i = 0; i < b->n_in; i++) {
        const LedgeTensorInfo *info = ledge_model_input(m, i);
        LedgeTensor t = {.type = info->type, .rank = info->rank};
        for (int32_t d = 0; d < info->rank; d++)
            t.dims[d] = info->dims[d] >= 0 ? info->dims[d] : d == 1 && info->rank == 2 ? 128 : 1;
        fill(&t, i + 1);
        b->in[i] = t;
    }
}

typedef struct OrtRun {
    OrtSession *session;
    OrtValue *in[MAX_IO], *out[MAX_IO];
    char *in_names[MAX_IO], *out_names[MAX_IO];
} OrtRun;

static void ort_open(Bench *b, const char *path, OrtRun *r)
{
    OrtSessionOptions *so;
    OrtAllocator *alloc;
    OrtMemoryInfo *mem;
    ort_check(b, b->ort.CreateSessionOptions(&so), "options");
    ort_check(b, b->ort.SetIntraOpNumThreads(so, b->o.threads), "threads");
    ort_check(b, b->ort.SetGraphOptimizationLevel(so, 99), "level");
    ort_check(b, b->ort.CreateSession(b->env, path, so, &r->session), path);
    ort_check(b, b->ort.GetAllocator(&alloc), "allocator");
    ort_check(b, b->ort.CreateCpuMemoryInfo(1, 0, &mem), "memory");
    for (size_t i = 0; i < b->n_in; i++) {
        const LedgeTensor *t = &b->in[i];
        ort_check(b, b->ort.SessionGetInputName(r->session, i, alloc, &r->in_names[i]), "name");
        ort_check(b, b->ort.CreateTensorWithData(mem, t->data, t->bytes, t->dims, (size_t)t->rank,
                                                 (int)t->type, &r->in[i]), "tensor");
    }
    for (size_t i = 0; i < b->n_out; i++)
        ort_check(b, b->ort.SessionGetOutputName(r->session, i, alloc, &r->out_names[i]), "name");
    b->ort.ReleaseMemoryInfo(mem);
    b->ort.ReleaseSessionOptions(so);
}

static void ort_run(Bench *b, OrtRun *r)
{
    for (size_t i = 0; i < b->n_out; i++) {
        if (r->out[i])
            b->ort.ReleaseValue(r->out[i]);
        r->out[i] = NULL;
    }
    ort_check(b, b->ort.Run(r->session, NULL, (const char *const *)r->in_names,
                            (const OrtValue *const *)r->in, b->n_in,
                            (const char *const *)r->out_names, b->n_out, r->out), "Run");
}

static void ledge_run(Bench *b, LedgeSession *s)
{
    LedgeError err;
    memset(b->out, 0, sizeof b->out);
    if (ledge_session_run(s, b->in, b->n_in, b->out, b->n_out, &err) != LEDGE_OK)
        die(err.where, err.message);
}

static double difference(Bench *b, OrtRun *r)
{
    double num = 0, den = 0;
    for (size_t k = 0; k < b->n_out; k++) {
        void *p;
        ort_check(b, b->ort.GetTensorMutableData(r->out[k], &p), "data");
        if (b->out[k].type != LEDGE_FLOAT)
            continue;
        const float *x = b->out[k].data, *y = p;
        for (int64_t i = 0; i < ledge_tensor_count(&b->out[k]); i++) {
            num += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
            den += (double)y[i] * (double)y[i];
        }
    }
    return den > 0 ? num / den : num;
}

static void sort(Side *s)
{
    qsort(s->ms, s->n, sizeof *s->ms, by_value);
}

static void print_steps(LedgeSession *s, Bench *b)
{
    LedgePlan *p = ledge__session_plan(s);
    uint64_t best[4096];
    uint32_t n = ledge__plan_step_count(p);
    memset(best, 0xff, sizeof best);
    ledge__plan_set_timing(p, true);
    for (int r = 0; r < 20; r++) {
        ledge_run(b, s);
        for (uint32_t i = 0; i < n && i < 4096; i++) {
            uint64_t ns;
            ledge__plan_step(p, i, &ns, NULL);
            best[i] = ns < best[i] ? ns : best[i];
        }
    }
    ledge__plan_set_timing(p, false);
    for (uint32_t i = 0; i < n && i < 4096; i++) {
        int64_t macs;
        const LedgeNode *node = ledge__plan_step(p, i, NULL, &macs);
        const LedgeTensor *t = &node->out[0]->t;
        printf("  %8.1f us %7.1f GMAC/s  %-22s %-40.40s", (double)best[i] / 1e3,
               best[i] ? (double)macs / (double)best[i] : 0.0, node->op_type, node->name);
        for (int32_t d = 0; d < t->rank; d++)
            printf("%s%lld", d ? "x" : " ", (long long)t->dims[d]);
        printf("\n");
    }
}

/* Workers of the other side may still spin for work on the cores that this one needs: each
 * burst starts after a pause, and with runs that are not counted, until own workers, which sleep
 * by then, have surely woken: that takes longer than a small model's whole burst. */
#define PAUSE_US 50000
#define WAKE_MS  2.0

/* r NULL: ledge's side. */
static void run_once(Bench *b, LedgeSession *s, OrtRun *r)
{
    if (r)
        ort_run(b, r);
    else
        ledge_run(b, s);
}

static void burst(Bench *b, LedgeSession *s, OrtRun *r, Side *to)
{
    usleep(PAUSE_US);
    const double wake = now_ms() + WAKE_MS;
    do
        run_once(b, s, r);
    while (now_ms() < wake);
    for (int i = 0; i < b->o.runs; i++) {
        double t0 = now_ms();
        run_once(b, s, r);
        to->ms[to->n++] = now_ms() - t0;
    }
}

static void bench(Bench *b, const char *path)
{
    LedgeError err;
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    LedgeSessionOptions so = {
        .threads = b->o.threads, .providers = b->o.provider, .strict = b->o.provider != NULL};
    OrtRun r = {0};
    size_t total = (size_t)b->o.rounds * (size_t)b->o.runs;
    Side ledge = {calloc(total, sizeof(double)), 0}, ort = {calloc(total, sizeof(double)), 0};
    if (ledge_model_load(path, NULL, &err, &m) != LEDGE_OK ||
        ledge_session_create(m, &so, &err, &s) != LEDGE_OK)
        die(path, err.message);
    make_inputs(b, m);
    if (b->have_ort)
        ort_open(b, path, &r);
    for (int i = 0; i < 5; i++) {
        ledge_run(b, s);
        if (b->have_ort)
            ort_run(b, &r);
    }
    for (int i = 0; i < b->o.rounds; i++) {
        burst(b, s, NULL, &ledge);
        if (b->have_ort)
            burst(b, s, &r, &ort);
    }
    sort(&ledge);
    sort(&ort);
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    printf("%-28s threads %d  ledge min %.3f med %.3f", name, b->o.threads, ledge.ms[0],
           ledge.ms[ledge.n / 2]);
    if (b->have_ort)
        printf("  ort min %.3f med %.3f  ratio min %.3f med %.3f  nmse %.1e", ort.ms[0],
               ort.ms[ort.n / 2], ledge.ms[0] / ort.ms[0],
               ledge.ms[ledge.n / 2] / ort.ms[ort.n / 2], difference(b, &r));
    printf("\n");
    if (b->o.steps)
        print_steps(s, b);
    if (b->have_ort) {
        for (size_t i = 0; i < b->n_in; i++)
            b->ort.ReleaseValue(r.in[i]);
        for (size_t i = 0; i < b->n_out; i++)
            b->ort.ReleaseValue(r.out[i]);
        b->ort.ReleaseSession(r.session);
    }
    ledge_session_free(s);
    ledge_model_free(m);
    for (size_t i = 0; i < b->n_in; i++)
        free(b->in[i].data);
    free(ledge.ms);
    free(ort.ms);
}

/* ---- cold starts ---- */

static void first_answer(Bench *b, const char *path)
{
    LedgeError err;
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    LedgeSessionOptions so = {.threads = b->o.threads};
    OrtRun r = {0};
    if (strcmp(b->o.first, "ledge") == 0) {
        if (ledge_model_load(path, NULL, &err, &m) != LEDGE_OK ||
            ledge_session_create(m, &so, &err, &s) != LEDGE_OK)
            die(path, err.message);
        make_inputs(b, m);
        ledge_run(b, s);
    } else {
        /* Shapes come from ledge's reader of the source model, which costs little and is the same
         * for both sides. */
        if (ledge_model_load(path, &(LedgeModelOptions){.no_optimize = true}, &err, &m) != LEDGE_OK)
            die(path, err.message);
        make_inputs(b, m);
        ledge_model_free(m);
        ort_open(b, path, &r);
        ort_run(b, &r);
    }
    if (write(STDOUT_FILENO, "x", 1) != 1)
        exit(1);
    _exit(0);
}

/* One fresh process: milliseconds to its answer, and its peak resident kilobytes. */
static double cold_start(const Bench *b, const char *side, const char *path, long *peak)
{
    int pipes[2], status;
    char threads[16], byte;
    struct rusage usage;
    snprintf(threads, sizeof threads, "%d", b->o.threads);
    if (pipe(pipes) != 0)
        die("pipe", "failed");
    double t0 = now_ms();
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        execl("/proc/self/exe", "bench_models", "--first", side, "--threads", threads, "--ort",
              b->o.library ? b->o.library : "", path, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    bool answered = read(pipes[0], &byte, 1) == 1;
    double ms = now_ms() - t0;
    close(pipes[0]);
    if (wait4(child, &status, 0, &usage) != child || !answered || status != 0)
        die(path, "the fresh process failed");
    *peak = usage.ru_maxrss;
    return ms;
}

static void cold(const Bench *b, const char *path)
{
    const char *sides[] = {"ledge", "ort"};
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    printf("%-28s cold", name);
    for (int side = 0; side < (b->have_ort ? 2 : 1); side++) {
        Side s = {calloc((size_t)b->o.rounds, sizeof(double)), 0};
        long peak = 0;
        for (int i = 0; i < b->o.rounds; i++)
            s.ms[s.n++] = cold_start(b, sides[side], path, &peak);
        sort(&s);
        printf("  %s min %.1f med %.1f ms peak %.1f MB", sides[side], s.ms[0], s.ms[s.n / 2],
               (double)peak * 1024 / 1e6);
        free(s.ms);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"threads", 1, 0, 't'}, {"rounds", 1, 0, 'r'}, {"runs", 1, 0, 'n'},
        {"ort", 1, 0, 'o'},     {"provider", 1, 0, 'p'}, {"steps", 0, 0, 's'},
        {"cold", 0, 0, 'c'},    {"first", 1, 0, 'f'},  {0}};
    Bench b = {.o = {.threads = 1, .rounds = 5, .runs = 20, .library = getenv("LEDGE_ORT")}};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (c) {
        case 't':
            b.o.threads = atoi(optarg);
            break;
        case 'r':
            b.o.rounds = atoi(optarg);
            break;
        case 'n':
            b.o.runs = atoi(optarg);
            break;
        case 'o':
            b.o.library = optarg;
            break;
        case 'p':
            b.o.provider = optarg;
            break;
        case 's':
            b.o.steps = true;
            break;
        case 'c':
            b.o.cold = true;
            break;
        case 'f':
            b.o.first = optarg;
            break;
        default:
            return 2;
        }
    }
    if (b.o.threads < 1 || b.o.rounds < 1 || b.o.runs < 1 || optind == argc)
        die("usage", "bench_models [--threads N] [--rounds N] [--runs N] [--ort LIB.so] MODEL...");
    if (b.o.library && b.o.library[0] && !(b.o.first && strcmp(b.o.first, "ledge") == 0))
        open_ort(&b);
    if (b.o.first)
        first_answer(&b, argv[optind]);
    for (int i = optind; i < argc; i++)
        if (b.o.cold)
            cold(&b, argv[i]);
        else
            bench(&b, argv[i]);
    if (b.have_ort)
        b.ort.ReleaseEnv(b.env);
    return 0;
}
