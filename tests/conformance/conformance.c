/* Walks the ONNX backend tests and says of each case: pass, unsupported (naming the operator),
 * wrong or crash.
 *
 *   conformance [--dir FOLDER | --archive FILE.tar.zst] [--filter TEXT] [--verbose] [--json]
 *               [--list OUTCOME] [--min-pass N] [--no-fork] [--no-optimize] [--threads N]
 *
 * FOLDER holds the cases or has them under node/ and simple/. Without one the archive (by default
 * that of LEDGE_BACKEND_TESTS or the shared assets) is unpacked into a temporary folder. Each case
 * runs in a process of its own, so that a crash is counted and not the end; --no-fork is for
 * debuggers and leak checkers. Exit code: 0 ok, 1 something wrong, crashed or too few passes,
 * 2 usage, 77 no test data. */
#include "conformance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CASE_SECONDS 60

static const char *const outcome_names[CASE_OUTCOMES] = {"pass",  "pass-shapes", "unsupported",
                                                         "wrong", "crash",       "out-of-range"};

typedef struct Case {
    char *dir;  /* folder */
    char *name; /* its last component, inside dir */
    CaseResult result;
} Case;

typedef struct Suite {
    Case *cases;
    size_t count, cap;
} Suite;

typedef struct Options {
    const char *dir, *archive, *filter, *list;
    bool verbose, json, no_fork;
    long min_pass;
    CaseOptions run;
} Options;

/* ---- finding cases ---- */

static bool suite_add(Suite *s, const char *folder, const char *name)
{
    if (s->count == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        Case *grown = realloc(s->cases, cap * sizeof *grown);
        if (!grown)
            return false;
        s->cases = grown;
        s->cap = cap;
    }
    char *dir;
    if (asprintf(&dir, "%s/%s", folder, name) < 0)
        return false;
    s->cases[s->count++] = (Case){.dir = dir, .name = strrchr(dir, '/') + 1};
    return true;
}

/* Adds the sub-folders of `folder` that hold a model.onnx; false: no memory. */
static bool suite_scan(Suite *s, const char *folder, const char *filter)
{
    DIR *d = opendir(folder);
    if (!d)
        return true;
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(d));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s/model.onnx", folder, e->d_name);
        if (e->d_name[0] != '.' && (!filter || strstr(e->d_name, filter)) &&
            access(path, R_OK) == 0)
            ok = suite_add(s, folder, e->d_name);
    }
    closedir(d);
    return ok;
}

static int by_dir(const void *a, const void *b)
{
    return strcmp(((const Case *)a)->dir, ((const Case *)b)->dir);
}

static bool suite_load(Suite *s, const char *dir, const char *filter)
{
    char node[4096], simple[4096];
    snprintf(node, sizeof node, "%s/node", dir);
    snprintf(simple, sizeof simple, "%s/simple", dir);
    if (!suite_scan(s, dir, filter) || !suite_scan(s, node, filter) ||
        !suite_scan(s, simple, filter))
        return false;
    if (s->count)
        qsort(s->cases, s->count, sizeof *s->cases, by_dir);
    return true;
}

static void suite_free(Suite *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->cases[i].dir);
    free(s->cases);
}

/* ---- unpacking ---- */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void remove_tree(const char *dir)
{
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A new temporary folder with the archive in it; false and a message when that fails. */
static bool unpack(const char *archive, char *dir, size_t size)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, size, "%s/ledge-conformance-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        fprintf(stderr, "conformance: cannot make %s: %s\n", dir, strerror(errno));
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        execlp("tar", "tar", "--zstd", "-xf", archive, "-C", dir, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
        return true;
    fprintf(stderr, "conformance: cannot unpack %s (is tar with zstd installed?)\n", archive);
    remove_tree(dir);
    return false;
}

/* ---- running a case in a child ---- */

static void child_run(const Case *c, const Options *o, int to)
{
    CaseResult r;
    if (!o->verbose) {
        int nowhere = open("/dev/null", O_WRONLY);
        if (nowhere >= 0)
            dup2(nowhere, 2);
    }
    alarm(CASE_SECONDS);
    conformance_case(c->dir, &o->run, &r);
    const char *p = (const char *)&r;
    for (size_t left = sizeof r; left;) {
        ssize_t n = write(to, p, left);
        if (n <= 0)
            _exit(1);
        p += n;
        left -= (size_t)n;
    }
    _exit(0);
}

static bool read_result(int from, CaseResult *r)
{
    char *p = (char *)r;
    size_t left = sizeof *r;
    while (left) {
        ssize_t n = read(from, p, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        left -= (size_t)n;
    }
    return true;
}

static void run_forked(Case *c, const Options *o)
{
    int fds[2], status = 0;
    pid_t pid = -1;
    if (pipe(fds) == 0) {
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
            close(fds[0]);
            child_run(c, o, fds[1]);
        }
        close(fds[1]);
    }
    if (pid < 0) {
        c->result.outcome = CASE_CRASH;
        snprintf(c->result.detail, sizeof c->result.detail, "cannot start a process: %s",
                 strerror(errno));
        return;
    }
    bool answered = read_result(fds[0], &c->result);
    close(fds[0]);
    waitpid(pid, &status, 0);
    if (answered)
        return;
    c->result.outcome = CASE_CRASH;
    if (WIFSIGNALED(status))
        snprintf(c->result.detail, sizeof c->result.detail, "%s", strsignal(WTERMSIG(status)));
    else
        snprintf(c->result.detail, sizeof c->result.detail, "ended with code %d",
                 WEXITSTATUS(status));
}

/* ---- reporting ---- */

static void json_string(const char *s)
{
    putchar('"');
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        if (ch == '"' || ch == '\\')
            printf("\\%c", ch);
        else if (ch < 0x20 || ch >= 0x7f)
            printf("\\u%04x", ch);
        else
            putchar(ch);
    }
    putchar('"');
}

static void report_json(const Suite *s, const size_t *counts)
{
    printf("{\"cases\": %zu", s->count);
    for (int k = 0; k < CASE_OUTCOMES; k++)
        printf(", \"%s\": %zu", outcome_names[k], counts[k]);
    printf(", \"results\": [");
    for (size_t i = 0; i < s->count; i++) {
        printf("%s\n  {\"name\": ", i ? "," : "");
        json_string(s->cases[i].name);
        printf(", \"outcome\": \"%s\", \"detail\": ", outcome_names[s->cases[i].result.outcome]);
        json_string(s->cases[i].result.detail);
        printf("}");
    }
    printf("\n]}\n");
}

/* The operator that a refusal names, or "" where it names none. */
static void refused_operator(const char *detail, char *name, size_t size)
{
    const char *p = strstr(detail, "operator ");
    p = p ? p + strlen("operator ") : "";
    size_t n = strcspn(p, " ,:;");
    snprintf(name, size, "%.*s", (int)n, p);
}

static int by_operator(const void *a, const void *b)
{
    char x[64], y[64];
    refused_operator((*(const Case *const *)a)->result.detail, x, sizeof x);
    refused_operator((*(const Case *const *)b)->result.detail, y, sizeof y);
    return strcmp(x, y);
}

/* One line an operator: how many cases it stops. */
static void report_operators(const Suite *s)
{
    const Case **refused = calloc(s->count + 1, sizeof *refused);
    size_t n = 0;
    for (size_t i = 0; refused && i < s->count; i++)
        if (s->cases[i].result.outcome == CASE_UNSUPPORTED)
            refused[n++] = &s->cases[i];
    if (n)
        qsort(refused, n, sizeof *refused, by_operator);
    for (size_t i = 0; i < n;) {
        char name[64], other[64];
        size_t first = i;
        refused_operator(refused[i]->result.detail, name, sizeof name);
        do {
            if (++i < n)
                refused_operator(refused[i]->result.detail, other, sizeof other);
        } while (i < n && strcmp(name, other) == 0);
        printf("  %5zu  %-28s %s%s\n", i - first, name[0] ? name : "(no operator named)",
               refused[first]->name, i - first > 1 ? " ..." : "");
    }
    free(refused);
}

static void report_text(const Suite *s, const size_t *counts, const Options *o)
{
    for (size_t i = 0; i < s->count; i++) {
        const CaseResult *r = &s->cases[i].result;
        bool bad = r->outcome == CASE_WRONG || r->outcome == CASE_CRASH;
        bool listed = o->list && strcmp(o->list, outcome_names[r->outcome]) == 0;
        if (listed || (!o->list && (bad || o->verbose)))
            printf("%-12s %s%s%s\n", outcome_names[r->outcome], s->cases[i].name,
                   r->detail[0] ? ": " : "", r->detail);
    }
    if (counts[CASE_UNSUPPORTED]) {
        printf("unsupported, by operator:\n");
        report_operators(s);
    }
    printf("%zu cases:", s->count);
    for (int k = 0; k < CASE_OUTCOMES; k++)
        printf(" %s %zu%s", outcome_names[k], counts[k], k + 1 < CASE_OUTCOMES ? "," : "\n");
}

static int run_suite(Suite *s, const Options *o)
{
    size_t counts[CASE_OUTCOMES] = {0};
    for (size_t i = 0; i < s->count; i++) {
        if (o->no_fork)
            conformance_case(s->cases[i].dir, &o->run, &s->cases[i].result);
        else
            run_forked(&s->cases[i], o);
        counts[s->cases[i].result.outcome]++;
    }
    if (o->json)
        report_json(s, counts);
    else
        report_text(s, counts, o);
    size_t passed = counts[CASE_PASS] + counts[CASE_PASS_SHAPES];
    if (passed < (size_t)o->min_pass)
        fprintf(stderr, "conformance: %zu cases pass, %ld must\n", passed, o->min_pass);
    return counts[CASE_WRONG] || counts[CASE_CRASH] || passed < (size_t)o->min_pass;
}

/* ---- command line ---- */

static const char *option_value(int argc, char **argv, int *i, const char *name)
{
    if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc)
        return NULL;
    return argv[++*i];
}

static bool parse(int argc, char **argv, Options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = option_value(argc, argv, &i, "--dir")))
            o->dir = v;
        else if ((v = option_value(argc, argv, &i, "--archive")))
            o->archive = v;
        else if ((v = option_value(argc, argv, &i, "--filter")))
            o->filter = v;
        else if ((v = option_value(argc, argv, &i, "--list")))
            o->list = v;
        else if ((v = option_value(argc, argv, &i, "--min-pass")))
            o->min_pass = strtol(v, NULL, 10);
        else if ((v = option_value(argc, argv, &i, "--threads")))
            o->run.threads = (int)strtol(v, NULL, 10);
        else if (strcmp(argv[i], "--verbose") == 0)
            o->verbose = true;
        else if (strcmp(argv[i], "--json") == 0)
            o->json = true;
        else if (strcmp(argv[i], "--no-fork") == 0)
            o->no_fork = true;
        else if (strcmp(argv[i], "--no-optimize") == 0)
            o->run.no_optimize = true;
        else
            return false;
    }
    return o->min_pass >= 0;
}

static int run_in(const char *dir, const Options *o)
{
    Suite s = {0};
    int code = 1;
    if (!suite_load(&s, dir, o->filter))
        fprintf(stderr, "conformance: out of memory\n");
    else if (s.count == 0)
        fprintf(stderr, "conformance: no cases under %s\n", dir);
    else
        code = run_suite(&s, o);
    suite_free(&s);
    return code;
}

int main(int argc, char **argv)
{
    Options o = {.run = {.threads = 1}};
    if (!parse(argc, argv, &o)) {
        fprintf(stderr,
                "usage: conformance [--dir FOLDER | --archive FILE.tar.zst] [--filter TEXT]\n"
                "       [--verbose] [--json] [--list OUTCOME] [--min-pass N] [--no-fork]\n"
                "       [--no-optimize] [--threads N]\n");
        return 2;
    }
    if (o.dir)
        return run_in(o.dir, &o);
    if (!o.archive)
        o.archive = getenv("LEDGE_BACKEND_TESTS");
    if (!o.archive)
        o.archive = LEDGE_TEST_ASSETS "/onnx-backend-tests-node.tar.zst";
    if (access(o.archive, R_OK) != 0) {
        fprintf(stderr, "conformance: %s is not there, so nothing was tested\n", o.archive);
        return 77; /* meson counts it as skipped */
    }
    char dir[4096];
    if (!unpack(o.archive, dir, sizeof dir))
        return 1;
    int code = run_in(dir, &o);
    remove_tree(dir);
    return code;
}
