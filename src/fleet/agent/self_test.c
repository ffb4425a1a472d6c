/* The self-test, see self_test.h. */
#include "fleet/agent/self_test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/scores.h"
#include "image/npy.h"
#include "ledge/ledge.h"

enum { TIMEOUT_S = 300, RUNS = 5, MOST_RUNS = RUNS * LEDGE_RELEASE_CASES, PATH = 1024 };

typedef struct Test {
    const char *folder;
    const LedgeRelease *r;
    LedgeModel *model;
    LedgeSession *session;
    int64_t times[MOST_RUNS];
    LedgeSelfTest *out;
} Test;

static bool no(Test *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool no(Test *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->out->reason, sizeof t->out->reason, fmt, ap);
    va_end(ap);
    return false;
}

/* A line "Name:  N kB" of /proc/self/status in bytes; 0: not there. */
static int64_t status_bytes(const char *name)
{
    char line[128];
    long long kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0 &&
            sscanf(line + strlen(name), ": %lld", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb * 1024;
}

static bool load(Test *t, size_t file)
{
    char path[PATH];
    LedgeError err = {0};
    snprintf(path, sizeof path, "%s/%s", t->folder, t->r->files[file].path);
    if (ledge_model_load(path, NULL, &err, &t->model))
        return no(t, "it cannot be loaded: %s", err.message);
    const LedgeSessionOptions options = {.threads = 1};
    if (ledge_session_create(t->model, &options, &err, &t->session))
        return no(t, "it cannot be run: %s", err.message);
    return true;
}

static bool read_npy(Test *t, uint32_t file, LedgeTensor *out)
{
    char path[PATH];
    LedgeError err = {0};
    snprintf(path, sizeof path, "%s/%s", t->folder, t->r->files[file].path);
    return ledge__npy_load(NULL, path, &err, out) == LEDGE_OK ||
           no(t, "golden file %.100s: %s", t->r->files[file].path, err.message);
}

/* ---- outputs ---- */

static bool same_shape(const LedgeTensor *a, const LedgeTensor *b)
{
    bool same = a->type == b->type && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = a->dims[i] == b->dims[i];
    return same;
}

static bool compare(Test *t, const LedgeGoldenOutput *o, const LedgeTensor *got,
                    const LedgeTensor *want)
{
    const char *name = t->r->files[o->file].path;
    if (!same_shape(got, want))
        return no(t, "the output for %.100s has another type or shape", name);
    const size_t bytes = ledge_tensor_bytes(want);
    if (bytes == 0 || (bytes != SIZE_MAX && memcmp(got->data, want->data, bytes) == 0))
        return true;
    if (want->type == LEDGE_STRING || ledge_type_bits(want->type) == 0)
        return no(t, "%.100s: strings and containers cannot be compared", name);
    const int64_t n = ledge_tensor_count(want);
    const double tolerance = (double)o->tolerance_ppm * 1e-6;
    for (int64_t i = 0; i < n; i++) {
        const double a = ledge__tensor_number(got, i), b = ledge__tensor_number(want, i);
        const bool equal = a == b || (isnan(a) && isnan(b));
        /* Not "greater than", so that a NaN is a difference. */
        if (!equal && (tolerance == 0 || !(fabs(a - b) <= tolerance * fmax(1, fabs(b)))))
            return no(t, "%.100s: element %" PRId64 " is %.9g where %.9g was published", name, i, a,
                      b);
    }
    return true;
}

/* ---- a case ---- */

static bool run_case(Test *t, const LedgeGoldenCase *c, LedgeTensor *in, LedgeTensor *out)
{
    LedgeError err = {0};
    for (int run = 0; run < RUNS; run++) {
        for (size_t i = 0; i < c->n_outputs; i++)
            out[i] = (LedgeTensor){0};
        const int64_t start = ledge__clock_us(CLOCK_MONOTONIC);
        if (ledge_session_run(t->session, in, c->n_inputs, out, c->n_outputs, &err))
            return no(t, "it does not run: %s", err.message);
        t->times[t->out->runs++] = ledge__clock_us(CLOCK_MONOTONIC) - start;
    }
    for (size_t i = 0; i < c->n_outputs; i++) {
        LedgeTensor want = {0};
        if (!read_npy(t, c->outputs[i].file, &want))
            return false;
        const bool ok = compare(t, &c->outputs[i], &out[i], &want);
        ledge__npy_free(NULL, &want);
        if (!ok)
            return false;
    }
    return true;
}

static bool try_case(Test *t, const LedgeGoldenCase *c)
{
    LedgeTensor in[LEDGE_RELEASE_TENSORS] = {{0}}, out[LEDGE_RELEASE_TENSORS] = {{0}};
    bool ok = c->n_inputs == ledge_model_input_count(t->model) &&
              c->n_outputs == ledge_model_output_count(t->model);
    if (!ok)
        return no(t, "the golden case has %zu inputs and %zu outputs, the model %zu and %zu",
                  c->n_inputs, c->n_outputs, ledge_model_input_count(t->model),
                  ledge_model_output_count(t->model));
    for (size_t i = 0; ok && i < c->n_inputs; i++)
        ok = read_npy(t, c->inputs[i], &in[i]);
    ok = ok && run_case(t, c, in, out);
    for (size_t i = 0; i < c->n_inputs; i++)
        ledge__npy_free(NULL, &in[i]);
    t->out->cases += ok;
    return ok;
}

static int by_time(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void test_all(Test *t, size_t model, const LedgeSelfTestLimits *limits)
{
    LedgeSelfTest *o = t->out;
    const int64_t before = status_bytes("VmRSS");
    bool ok = load(t, model);
    for (size_t i = 0; ok && i < t->r->n_cases; i++)
        ok = try_case(t, &t->r->cases[i]);
    o->memory = status_bytes("VmHWM") - before;
    if (o->runs) {
        qsort(t->times, o->runs, sizeof *t->times, by_time);
        o->latency_us = t->times[o->runs / 2];
    }
    if (ok && limits->latency_us && o->latency_us > limits->latency_us)
        ok = no(t, "it takes %" PRId64 " us where %" PRId64 " are allowed", o->latency_us,
                limits->latency_us);
    if (ok && limits->memory && o->memory > limits->memory)
        ok = no(t, "it takes %" PRId64 " bytes of memory where %" PRId64 " are allowed", o->memory,
                limits->memory);
    o->passed = ok;
    ledge_session_free(t->session);
    ledge_model_free(t->model);
}

/* ---- the process ---- */

/* VmHWM begins with what the parent had: clear_refs sets it back, where the kernel lets us. */
static void forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (f) {
        fputs("5\n", f);
        fclose(f);
    }
}

static void child(int fd, const char *folder, const LedgeRelease *r, size_t model,
                  const LedgeSelfTestLimits *limits)
{
    LedgeSelfTest result = {0};
    const struct rlimit no_core = {0, 0};
    Test *t = calloc(1, sizeof *t);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* an agent that dies takes its test along */
    (void)setrlimit(RLIMIT_CORE, &no_core);
    forget_peak();
    if (t) {
        *t = (Test){.folder = folder, .r = r, .out = &result};
        test_all(t, model, limits);
    }
    const char *p = (const char *)&result;
    for (size_t n = sizeof result; n;) {
        const ssize_t done = write(fd, p, n);
        if (done <= 0)
            _exit(1);
        p += done;
        n -= (size_t)done;
    }
    _exit(0);
}

/* The child's result, or why there is none. */
static bool read_result(int fd, int timeout_s, LedgeSelfTest *out)
{
    const int64_t end = ledge__clock_us(CLOCK_MONOTONIC) + (int64_t)timeout_s * 1000000;
    char *p = (char *)out;
    size_t n = sizeof *out;
    while (n) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        const int64_t left = (end - ledge__clock_us(CLOCK_MONOTONIC)) / 1000;
        if (left <= 0)
            return false;
        if (poll(&wait, 1, left < 1000 ? (int)left + 1 : 1000) <= 0)
            continue;
        const ssize_t got = read(fd, p, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

LedgeStatus ledge__self_test(const char *folder, const LedgeRelease *r, size_t model,
                             const LedgeSelfTestLimits *limits, LedgeError *err, LedgeSelfTest *out)
{
    int fds[2], how = 0;
    LedgeSelfTest result = {0};
    const int timeout_s = limits->timeout_s ? limits->timeout_s : TIMEOUT_S;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return ledge__fail(err, LEDGE_ERROR_IO, folder, "no pipe: %s", strerror(errno));
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        child(fds[1], folder, r, model, limits);
    }
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return ledge__fail(err, LEDGE_ERROR_IO, folder, "no process: %s", strerror(errno));
    }
    const int64_t start = ledge__clock_us(CLOCK_MONOTONIC);
    const bool answered = read_result(fds[0], timeout_s, &result);
    const bool is_late = ledge__clock_us(CLOCK_MONOTONIC) - start >= (int64_t)timeout_s * 1000000;
    close(fds[0]);
    kill(pid, SIGKILL);
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
        ;
    if (!answered) {
        result = (LedgeSelfTest){0};
        if (is_late)
            snprintf(result.reason, sizeof result.reason, "it did not end within %d s", timeout_s);
        else
            snprintf(result.reason, sizeof result.reason, "it crashed (%s)",
                     WIFSIGNALED(how) ? strsignal(WTERMSIG(how)) : "no result");
    }
    result.reason[sizeof result.reason - 1] = '\0';
    *out = result;
    return LEDGE_OK;
}
