/* ledge agent: keeps a device's models as the fleet's registry wants them. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>

#include "cli/agent_options.h"
#include "fleet/agent/resident.h"
#include "fleet/agent/telemetry_queue.h"

enum { STATUS_MAX = 16384, METRICS_MAX = 32768, SERVE_ARGS = 64 };

/* ---- status ---- */

static json_t *version_json(const LedgeSlotVersion *v)
{
    return v->version[0]
               ? json_pack("{s:s, s:s}", "version", v->version, "release_sha256", v->sha256)
               : json_null();
}

static json_t *slot_json(const LedgeSlot *s)
{
    json_t *kept = json_array(), *failed = json_array();
    for (size_t i = 0; i < s->n_kept; i++)
        json_array_append_new(kept, version_json(&s->kept[i]));
    for (size_t i = 0; i < s->n_tried; i++)
        if (s->tried[i].has_failed)
            json_array_append_new(failed,
                                  json_pack("{s:s, s:o}", "version", s->tried[i].what.version,
                                            "reason", cli_json_text(s->tried[i].reason)));
    return json_pack(
        "{s:s, s:o, s:b, s:o, s:I, s:o, s:o, s:o}", "name", s->name, "running",
        version_json(&s->running), "fallback", s->is_fallback, "reason", cli_json_text(s->reason),
        "since", (json_int_t)s->since, "kept", kept, "failed", failed, "candidate",
        s->candidate[0] ? json_pack("{s:s, s:s, s:o}", "version", s->candidate, "state",
                                    ledge__fleet_state_name(s->candidate_state), "reason",
                                    cli_json_text(s->candidate_reason))
                        : json_null());
}

static json_t *result_json(const LedgeSyncResult *r)
{
    return json_pack(
        "{s:I, s:o, s:b, s:I, s:I, s:o, s:I, s:b, s:I, s:I, s:I, s:o}", "time", (json_int_t)r->time,
        "problem", cli_json_text(r->problem), "polled", r->polled, "interval_s",
        (json_int_t)r->interval_s, "received_bytes", (json_int_t)r->received, "skew_ms",
        r->has_skew ? json_integer(r->skew_ms) : json_null(), "trusted_time",
        (json_int_t)r->trusted_time, "signed_time", r->signed_time, "records_waiting",
        (json_int_t)r->waiting, "batches_sent", (json_int_t)r->sent, "samples_waiting",
        (json_int_t)r->samples_waiting, "samples_problem", cli_json_text(r->samples_problem));
}

static json_t *metrics_json(const char *name, const LedgeProducerMetrics *m, int64_t waiting)
{
    json_t *models = json_array();
    for (size_t i = 0; i < m->n_models; i++) {
        const LedgeModelMetrics *one = &m->models[i];
        json_array_append_new(
            models, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "model",
                              one->model, "version", one->version, "count", (json_int_t)one->count,
                              "errors", (json_int_t)one->errors, "avg_us", (json_int_t)one->avg_us,
                              "p50_us", (json_int_t)one->p50_us, "p90_us", (json_int_t)one->p90_us,
                              "p95_us", (json_int_t)one->p95_us, "p99_us", (json_int_t)one->p99_us,
                              "max_us", (json_int_t)one->max_us, "drift",
                              ledge__fleet_drift_name(one->drift)));
    }
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "producer", name, "waiting",
                     (json_int_t)waiting, "bytes", (json_int_t)m->bytes, "dropped_oldest",
                     (json_int_t)m->dropped.oldest, "dropped_rejected",
                     (json_int_t)m->dropped.rejected, "dropped_sampled",
                     (json_int_t)m->dropped.sampled, "models", models);
}

typedef struct Status {
    LedgeAgentDir dir;
    LedgeSlot slots[LEDGE_FLEET_MODELS];
    size_t n_slots;
    LedgeSyncResult result;
    bool has_result;
    json_t *queues;
} Status;

static void read_queue(Status *s, const char *name)
{
    char file[300], path[LEDGE_AGENT_PATH], *text;
    size_t n;
    LedgeProducerMetrics m;
    snprintf(file, sizeof file, "queue/%.64s/metrics.json", name);
    if (ledge__agent_read(&s->dir, file, METRICS_MAX, NULL, &text, &n))
        return;
    ledge__agent_path(&s->dir, path, "queue/%.64s", name);
    if (ledge__metrics_read(text, n, NULL, &m) == LEDGE_OK)
        json_array_append_new(s->queues,
                              metrics_json(name, &m, ledge__metrics_waiting(path, m.next)));
    free(text);
}

static int read_status(Status *s, const char *folder)
{
    char names[LEDGE_FLEET_MODELS][LEDGE_FLEET_NAME], path[LEDGE_AGENT_PATH], *text;
    LedgeError err = {0};
    size_t n;
    if (access(folder, R_OK | X_OK) != 0)
        return cli_fail_with(folder, LEDGE_ERROR_NOT_FOUND,
                             "is no folder of an agent that this user can read; see --state");
    if (ledge__agent_open(&s->dir, folder, false, &err) ||
        ledge__agent_slots(&s->dir, &err, names, LEDGE_FLEET_MODELS, &n))
        return cli_fail(NULL, &err);
    for (size_t i = 0; i < n; i++) {
        if (ledge__agent_slot(&s->dir, names[i], &err, &s->slots[s->n_slots]))
            return cli_fail(NULL, &err);
        s->n_slots++;
    }
    if (ledge__agent_read(&s->dir, "status.json", STATUS_MAX, &err, &text, &n) == LEDGE_OK) {
        s->has_result = ledge__sync_result_read(text, n, &err, &s->result) == LEDGE_OK;
        free(text);
    }
    s->queues = json_array();
    ledge__agent_path(&s->dir, path, "queue");
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (ledge__fleet_is_name(e->d_name))
            read_queue(s, e->d_name);
    if (d)
        closedir(d);
    return CLI_GO;
}

static int print_json(const Status *s)
{
    json_t *models = json_array();
    for (size_t i = 0; i < s->n_slots; i++)
        json_array_append_new(models, slot_json(&s->slots[i]));
    return cli_print_json(json_pack("{s:o, s:o, s:O}", "models", models, "last",
                                    s->has_result ? result_json(&s->result) : json_null(), "queues",
                                    s->queues));
}

static void print_slot(const LedgeSlot *s)
{
    printf("%-20s %s%s%s%s\n", s->name, s->running.version[0] ? s->running.version : "none",
           s->is_fallback ? "  stands in: " : "", s->is_fallback ? cli_clean(s->reason) : "",
           s->n_kept ? "" : "  (nothing kept)");
    if (s->candidate[0])
        printf("%-20s %s is %s%s%s\n", "", s->candidate,
               ledge__fleet_state_name(s->candidate_state), s->candidate_reason[0] ? ": " : "",
               cli_clean(s->candidate_reason));
    for (size_t i = 0; i < s->n_kept; i++)
        printf("%-20s %s is kept\n", "", s->kept[i].version);
}

static int print_text(const Status *s)
{
    const LedgeSyncResult *r = &s->result;
    for (size_t i = 0; i < s->n_slots; i++)
        print_slot(&s->slots[i]);
    if (!s->n_slots)
        printf("no model yet\n");
    if (s->has_result) {
        printf("last turn            %lld s ago, %s\n", (long long)(time(NULL) - r->time),
               r->problem[0] ? cli_clean(r->problem) : "all is well");
        if (r->has_skew)
            printf("clock                %+.1f s beside the registry's\n",
                   -(double)r->skew_ms / 1000);
        printf("telemetry            %lld records wait\n", (long long)r->waiting);
        if (r->samples_waiting || r->samples_problem[0])
            printf("samples              %lld wait%s%s\n", (long long)r->samples_waiting,
                   r->samples_problem[0] ? ": " : "", cli_clean(r->samples_problem));
    }
    for (size_t i = 0; i < json_array_size(s->queues); i++) {
        const json_t *q = json_array_get(s->queues, i), *models = json_object_get(q, "models");
        for (size_t k = 0; k < json_array_size(models); k++) {
            const json_t *m = json_array_get(models, k);
            printf("%-20s %s %s: %lld answers, p50 %lld, p99 %lld, max %lld us\n",
                   json_string_value(json_object_get(q, "producer")),
                   json_string_value(json_object_get(m, "model")),
                   json_string_value(json_object_get(m, "version")),
                   (long long)json_integer_value(json_object_get(m, "count")),
                   (long long)json_integer_value(json_object_get(m, "p50_us")),
                   (long long)json_integer_value(json_object_get(m, "p99_us")),
                   (long long)json_integer_value(json_object_get(m, "max_us")));
        }
    }
    return cli_finish();
}

static int status(const AgentOptions *o)
{
    Status *s = calloc(1, sizeof *s);
    if (!s)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    int code = read_status(s, o->state);
    if (code == CLI_GO)
        code = o->json ? print_json(s) : print_text(s);
    json_decref(s->queues);
    free(s);
    return code;
}

/* ---- run and sync ---- */

static int find_program(const char *name, char path[PATH_MAX])
{
    return cli_program_beside(name, path, PATH_MAX)
               ? CLI_GO
               : cli_fail_with(NULL, LEDGE_ERROR_NOT_FOUND,
                               "%s is not beside this program; install ledge again", name);
}

/* ledge-sync with our own options, whose order does not matter: argv[1] is the verb. */
static char **sync_arguments(int argc, char **argv, const char *verb, char *program)
{
    char **out = calloc((size_t)argc + 3, sizeof *out);
    bool skipped = false;
    size_t n = 2;
    if (!out)
        return NULL;
    out[0] = program;
    out[1] = (char *)(uintptr_t)verb;
    for (int i = 1; i < argc; i++) {
        if (!skipped && strcmp(argv[i], verb) == 0)
            skipped = true;
        else
            out[n++] = argv[i];
    }
    if (strcmp(verb, "run") == 0)
        out[n++] = (char *)(uintptr_t) "--quiet"; /* the process that stays says what is to say */
    return out;
}

/* `ledge serve` on the agent's links; its words are parted by blanks. */
static void serve_arguments(const AgentOptions *o, char *program, char *words, char **out)
{
    static char paths[4][PATH_MAX];
    static const char *const folders[][2] = {{"--repository", "serve"},
                                             {"--telemetry", "queue/serve"},
                                             {"--shadow", "shadow"},
                                             {"--samples", "samples"}};
    size_t n = 0;
    out[n++] = program;
    out[n++] = (char *)(uintptr_t) "serve";
    out[n++] = (char *)(uintptr_t) "--guest-beside"; /* a release may bring one, signed with it */
    for (size_t i = 0; i < 4 - !o->sample_key; i++) {
        snprintf(paths[i], PATH_MAX, "%s/%s", o->state, folders[i][1]);
        out[n++] = (char *)(uintptr_t)folders[i][0];
        out[n++] = paths[i];
    }
    if (o->sample_key) {
        out[n++] = (char *)(uintptr_t) "--sample-key";
        out[n++] = (char *)(uintptr_t)o->sample_key;
    }
    for (char *save = NULL, *word = strtok_r(words, " ", &save); word && n < SERVE_ARGS;
         word = strtok_r(NULL, " ", &save))
        out[n++] = word;
    out[n] = NULL;
}

static int stay(const AgentOptions *o, char **sync)
{
    static char program[PATH_MAX];
    static char *serve[SERVE_ARGS + 1];
    LedgeError err = {0};
    LedgeResidentOptions how = {.state = o->state,
                                .sync = sync,
                                .interval_s = o->interval,
                                .quiet = o->quiet,
                                .most_turns = (int)o->turns};
    char *words = strdup(o->serve_args ? o->serve_args : "");
    if (!words)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    int code = o->serve ? find_program("ledge", program) : CLI_GO;
    if (code == CLI_GO && o->serve) {
        serve_arguments(o, program, words, serve);
        how.serve = serve;
    }
    if (code == CLI_GO)
        code = ledge__resident_run(&how, &err) ? cli_fail(NULL, &err) : CLI_OK;
    free(words);
    return code;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    static const char *const verbs[] = {"run", "status", "sync"};
    char program[PATH_MAX], *token = NULL, **sync = NULL;
    AgentOptions o = agent_defaults;
    LedgeAgentConfig config;
    CliArgs args;
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    const char *verb = args.items[0], *near = cli_nearest(verb, verbs, 3);
    if (strcmp(verb, "status") == 0) {
        code = status(&o);
    } else if (strcmp(verb, "run") != 0 && strcmp(verb, "sync") != 0) {
        code = cli_usage(c, "'%s' is none of run, status and sync%s%s%s", cli_clean(verb),
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    } else {
        code = agent_config(c, &o, &config, &token); /* a mistake is told before it runs */
        if (code == CLI_GO)
            code = find_program("ledge-sync", program);
        sync = code == CLI_GO ? sync_arguments(argc, argv, verb, program) : NULL;
        if (sync && strcmp(verb, "sync") == 0) {
            execv(program, sync);
            code = cli_fail_with(program, LEDGE_ERROR_IO, "cannot be started");
        } else if (sync) {
            code = stay(&o, sync);
        }
    }
    free(sync);
    free(token);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_agent = {
    .name = "agent",
    .arguments = "run|status|sync",
    .summary = "keep this device's models as the fleet's registry wants them",
    .description =
        "'run' stays: it polls the registry, fetches and verifies what is assigned, tests it on\n"
        "golden inputs, switches, falls back, and sends telemetry. 'sync' does so once. 'status'\n"
        "says what runs, what was tried and why, and how fast it answers.",
    .options = agent_options,
    .n_options = AGENT_OPTIONS,
    .run = run,
};
