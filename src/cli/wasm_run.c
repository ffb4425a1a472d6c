/* ledge wasm run: a guest with what the options give it, on a thread with the stack asked for. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/model_io.h"
#include "cli/wasm.h"
#include "wasm/runner/isolate.h"

enum { RESERVE_KB = 320 }; /* of stack, for the host's own functions */

typedef struct Job {
    const WasmOptions *o;
    const CliArgs *args;
    LedgeGuestModule *module;
    LedgeGuestOptions how;
    LedgeGuestDir *dirs;
    LedgeNnNames *names;
    char *text; /* that dirs point into */
    int code;
    uint64_t opened_ns, made_ns; /* how long it took */
    LedgeGuestResult result;
    LedgeGuestCounts counts;
    uint64_t value; /* of --invoke */
    bool has_value;
    bool ended; /* the guest did, by itself: there is a result and no error */
} Job;

/* ---- what the guest gets ---- */

/* "HOST:GUEST[:ro]"; "HOST" alone is known by its own name. */
static int read_dir(const CliCommand *c, char *word, LedgeGuestDir *to)
{
    char *guest = strchr(word, ':'), *mode = guest ? strchr(guest + 1, ':') : NULL;
    if (guest)
        *guest++ = '\0';
    if (mode)
        *mode++ = '\0';
    if (!*word || (guest && !*guest) ||
        (mode && strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0))
        return cli_usage(c, "--dir takes HOST:GUEST, and :ro behind it");
    *to = (LedgeGuestDir){word, guest ? guest : word, mode && strcmp(mode, "ro") == 0};
    return CLI_GO;
}

static int read_dirs(const CliCommand *c, Job *j)
{
    size_t bytes = 1;
    for (size_t i = 0; i < j->o->dirs.n; i++)
        bytes += strlen(j->o->dirs.items[i]) + 1;
    j->dirs = calloc(j->o->dirs.n + 1, sizeof *j->dirs);
    j->text = malloc(bytes);
    if (!j->dirs || !j->text)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    char *at = j->text;
    for (size_t i = 0; i < j->o->dirs.n; i++) {
        strcpy(at, j->o->dirs.items[i]);
        const size_t n = strlen(at) + 1;
        const int code = read_dir(c, at, &j->dirs[i]);
        if (code != CLI_GO)
            return code;
        at += n;
    }
    j->how.dirs = j->dirs;
    j->how.n_dirs = j->o->dirs.n;
    return CLI_GO;
}

static int read_names(const CliCommand *c, Job *j)
{
    LedgeError err = {0};
    const LedgeModelOptions how = {.cpu = j->o->cpu};
    if (!j->o->preload.n)
        return CLI_GO;
    if (ledge__nn_names_new(&how, &j->names))
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < j->o->preload.n; i++)
        if (ledge__nn_names_add(j->names, j->o->preload.items[i], &err))
            return cli_usage(c, "--nn-preload %s: %s", cli_clean(j->o->preload.items[i]),
                             err.message);
    for (size_t i = 0; i < ledge__nn_names_count(j->names); i++)
        if (ledge__nn_names_load(j->names, i, &err))
            return cli_fail(ledge__nn_name(j->names, i), &err);
    return CLI_GO;
}

static int prepare(const CliCommand *c, Job *j)
{
    const WasmOptions *o = j->o;
    for (size_t i = 0; i < o->env.n; i++)
        if (!strchr(o->env.items[i], '=') || o->env.items[i][0] == '=')
            return cli_usage(c, "--env takes NAME=VALUE");
    int code = read_dirs(c, j);
    if (code == CLI_GO)
        code = read_names(c, j);
    j->how.args = j->args->items + 1;
    j->how.n_args = o->invoke ? 1 : j->args->n - 1;
    j->how.env = o->env.items;
    j->how.n_env = o->env.n;
    j->how.most_pages = (uint32_t)o->pages;
    j->how.time_ns = (uint64_t)o->time * 1000000u;
    j->how.cpu_ns = (uint64_t)o->cpu_time * 1000000u;
    j->how.stack_bytes = (size_t)o->stack << 10;
    j->how.nn = (LedgeNnOptions){.names = j->names,
                                 .threads = (int)o->threads,
                                 .cpu = o->cpu,
                                 .limits = {.graphs = (uint32_t)o->nn_models,
                                            .host_bytes = (uint64_t)o->nn_memory << 20,
                                            .compute_ns = (uint64_t)o->nn_time * 1000000u}};
    return code;
}

/* ---- running ---- */

static int read_values(const Job *j, const char *signature, uint64_t *values, size_t room)
{
    const size_t n = strcspn(signature, ":"), given = j->args->n - 2;
    if (given != n || n > room)
        return cli_fail_with(j->o->invoke, LEDGE_ERROR_ARGUMENT,
                             "takes %zu numbers (%s), %zu were given", n, signature, given);
    for (size_t i = 0; i < n; i++) {
        char *end;
        const char *text = j->args->items[2 + i];
        errno = 0;
        values[i] = (uint64_t)strtoll(text, &end, 0);
        if (errno || end == text || *end || !strchr("iI", signature[i]))
            return cli_fail_with(j->o->invoke, LEDGE_ERROR_ARGUMENT,
                                 "its argument %zu is to be a whole number", i + 1);
    }
    return CLI_GO;
}

/* What the result means for the exit status: a guest that failed for want of memory or of a model
 * was run the wrong way, which is no fault of its own. */
static int judge(Job *j)
{
    const LedgeGuestCounts *c = &j->counts;
    const bool trapped = j->result.end == LEDGE_GUEST_TRAPPED;
    const bool failed = trapped || (j->result.end == LEDGE_GUEST_EXITED && j->result.code != 0);
    if (trapped)
        return cli_fail_with(NULL, c->grow_refused ? LEDGE_ERROR_LIMIT : LEDGE_ERROR_RUNTIME, "%s",
                             j->result.sentence);
    if (failed && c->grow_refused)
        return cli_fail_with(
            NULL, LEDGE_ERROR_LIMIT,
            "the guest failed (exit %u) and uses %u of at most %u pages of memory; it "
            "was refused more: --memory-page-limit raises that",
            j->result.code, c->pages, c->most_pages);
    if (failed && c->missing_model)
        return cli_fail_with(
            NULL, LEDGE_ERROR_NOT_FOUND,
            "the guest failed (exit %u) and asked for a model called '%s', which is not "
            "there: --nn-preload %s=PATH gives it",
            j->result.code, cli_clean(c->missing_model), cli_clean(c->missing_model));
    j->ended = true;
    return j->result.end == LEDGE_GUEST_EXITED ? (int)(j->result.code & 255) : CLI_OK;
}

static int call(Job *j, LedgeGuest *g)
{
    LedgeError err = {0};
    uint64_t values[64] = {0};
    const char *name = j->o->invoke ? j->o->invoke : "_start";
    const char *signature = ledge__guest_signature(j->module, name);
    int code = CLI_GO;
    /* A reactor is set up before anything else of it is called. */
    if (ledge__guest_signature(j->module, "_initialize") &&
        ledge__guest_call(g, "_initialize", values, 64, &err, &j->result))
        return cli_fail(NULL, &err);
    j->counts = ledge__guest_counts(g);
    if (j->result.end != LEDGE_GUEST_RETURNED)
        return judge(j);
    if (!signature)
        return cli_fail_with(j->args->items[1], LEDGE_ERROR_NOT_FOUND,
                             "exports no function '%s'; 'ledge wasm info' lists what it does",
                             name);
    if (j->o->invoke)
        code = read_values(j, signature, values, 64);
    if (code != CLI_GO)
        return code;
    if (ledge__guest_call(g, name, values, 64, &err, &j->result))
        return cli_fail(NULL, &err);
    const char kind = strchr(signature, ':')[1];
    j->has_value =
        j->o->invoke && j->result.end == LEDGE_GUEST_RETURNED && (kind == 'i' || kind == 'I');
    j->value = kind == 'i' ? (uint64_t)(int64_t)(int32_t)values[0] : values[0];
    j->counts = ledge__guest_counts(g);
    return judge(j);
}

static void *run_thread(void *arg)
{
    Job *j = arg;
    LedgeError err = {0};
    LedgeGuest *g = NULL;
    const uint64_t begin = cli_now_ns();
    if (ledge__guest_new(j->module, &j->how, &err, &g)) {
        j->code = cli_fail(j->args->items[1], &err);
        return NULL;
    }
    j->made_ns = cli_now_ns() - begin;
    j->code = call(j, g);
    ledge__guest_free(g);
    return NULL;
}

static int run_on_thread(Job *j)
{
    pthread_attr_t attr;
    pthread_t thread;
#ifdef __GLIBC__
    /* An arena for the guest's thread would grow by a system call for every 16 KiB. */
    (void)mallopt(M_ARENA_MAX, 1);
#endif
    pthread_attr_init(&attr);
    pthread_attr_setguardsize(&attr, 1 << 16);
    int failed = pthread_attr_setstacksize(&attr, (size_t)(j->o->stack + RESERVE_KB) << 10);
    if (!failed)
        failed = pthread_create(&thread, &attr, run_thread, j);
    pthread_attr_destroy(&attr);
    if (failed)
        return cli_fail_with(NULL, LEDGE_ERROR_RUNTIME, "no thread for the guest: %s",
                             strerror(failed));
    pthread_join(thread, NULL);
    return j->code;
}

static json_t *result_json(const Job *j)
{
    static const char *const ends[] = {"returned", "exited"};
    const LedgeGuestCounts *c = &j->counts;
    return json_pack(
        "{s:o, s:s, s:s, s:I, s:o, s:f, s:f, s:I, s:I, s:b, s:I, s:I, s:I, s:f, s:I}", "file",
        cli_json_text(j->args->items[1]), "target", ledge__guest_target(j->module), "end",
        ends[j->result.end], "exit_code", (json_int_t)j->result.code, "value",
        j->has_value ? json_integer((json_int_t)j->value) : json_null(), "open_ms",
        (double)j->opened_ns / 1e6, "instantiate_ms", (double)j->made_ns / 1e6, "pages",
        (json_int_t)c->pages, "most_pages", (json_int_t)c->most_pages, "grow_refused",
        (int)c->grow_refused, "host_calls", (json_int_t)c->host_calls, "nn_calls",
        (json_int_t)c->nn.calls, "nn_refused", (json_int_t)c->nn.refused, "nn_compute_ms",
        (double)c->nn.compute_ns / 1e6, "nn_peak_bytes", (json_int_t)c->nn.peak_bytes);
}

static int run_and_tell(Job *j)
{
    const int code = run_on_thread(j);
    fflush(stdout);
    if (j->o->json && j->ended) {
        const int told = cli_print_json(result_json(j));
        return told == CLI_OK ? code : told;
    }
    if (j->has_value && !j->o->json && code == CLI_OK)
        printf("%lld\n", (long long)j->value);
    const int told = cli_finish();
    return told == CLI_OK ? code : told;
}

/* In the child this never returns to the caller. */
static int run_isolated(Job *j)
{
    LedgeError err = {0};
    int child = 0, code = CLI_FAILED;
    const uint64_t wall = (uint64_t)(j->o->time + 999) / 1000;
    const LedgeIsolation how = {.wall_seconds = wall,
                                .cpu_seconds = (uint64_t)(j->o->cpu_time + 999) / 1000};
    fflush(NULL);
    const LedgeStatus status = ledge__isolate(&how, &err, &child, &code);
    if (status)
        code = cli_fail(NULL, &err);
    else if (child == 0)
        code = run_and_tell(j);
    if (child == 0) {
        fflush(NULL);
        _exit(code);
    }
    return code;
}

int wasm_run(const CliCommand *c, const WasmOptions *o, const CliArgs *args, LedgeKey **keys)
{
    LedgeError err = {0};
    char cached[4096];
    const char *path = args->items[1];
    Job j = {.o = o, .args = args};
    int code = CLI_GO;
    if (wasm_is_plain(path)) { /* first: another program may be who builds it */
        code = o->keys.n ? cli_fail_with(path, LEDGE_ERROR_MISMATCH,
                                         "is a .wasm, which nobody signed; give a signed .lwm")
                         : wasm_cached(o, path, cached, sizeof cached);
        path = cached;
    }
    if (code == CLI_GO)
        code = prepare(c, &j);
    const uint64_t begin = cli_now_ns();
    if (code == CLI_GO &&
        ledge__guest_open(path, (const LedgeKey *const *)keys, o->keys.n, &err, &j.module))
        code = cli_fail(err.where[0] && strcmp(err.where, path) == 0 ? NULL : path, &err);
    j.opened_ns = cli_now_ns() - begin;
    if (code == CLI_GO)
        code =
            o->isolate && strcmp(o->isolate, "process") == 0 ? run_isolated(&j) : run_and_tell(&j);
    ledge__guest_close(j.module);
    ledge__nn_names_free(j.names);
    free(j.dirs);
    free(j.text);
    return code;
}
