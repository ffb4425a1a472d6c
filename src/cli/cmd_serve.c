/* ledge serve: models over HTTP. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/serve_setup.h"
#include "cli/serve_telemetry.h"

static const CliOption options[] = {
    {"config", 'c', CLI_TEXT, "FILE", "what to serve and how, as JSON; flags go before it",
     offsetof(ServeFlags, config), 0, 0},
    CLI_OPTION_HOST(ServeFlags),
    CLI_OPTION_PORT(ServeFlags, "8000"),
    {"repository", 'r', CLI_TEXT, "DIR", "also serve NAME.onnx and NAME/VERSION/model.onnx of it",
     offsetof(ServeFlags, repository), 0, 0},
    {"workers", 'w', CLI_INT, "N", "requests answered side by side; 0 takes every fast core",
     offsetof(ServeFlags, workers), 0, LEDGE_SERVE_WORKERS},
    {"threads", 't', CLI_INT, "N", "threads of one request (1)", offsetof(ServeFlags, threads), 1,
     1024},
    {"pixels", 0, CLI_FLAG, NULL, "inputs are bytes of pictures, which the models normalise",
     offsetof(ServeFlags, pixels), 0, 0},
    {"batch", 0, CLI_INT, "N", "most requests answered in one run (1)", offsetof(ServeFlags, batch),
     1, 64},
    {"delay", 0, CLI_TEXT, "MS", "milliseconds a batch may wait to fill (0)",
     offsetof(ServeFlags, delay), 0, 0},
    {"cache", 0, CLI_TEXT, "MB", "megabytes of answers that each model keeps (0: none)",
     offsetof(ServeFlags, cache), 0, 0},
    {"cache-ttl", 0, CLI_TEXT, "S", "seconds that an answer is kept (0: while there is room)",
     offsetof(ServeFlags, cache_ttl), 0, 0},
    {"guest", 0, CLI_TEXT, "FILE.lwm", "a guest that works before or after every model",
     offsetof(ServeFlags, guest), 0, 0},
    {"guest-beside", 0, CLI_FLAG, NULL, "a guest.lwm in the folder of a model's file works for it",
     offsetof(ServeFlags, guest_beside), 0, 0},
    {"guest-key", 0, CLI_TEXT, "FILE", "public key that must have signed the guests",
     offsetof(ServeFlags, guest_key), 0, 0},
    {"guest-pages", 0, CLI_INT, "N", "most pages of 64 KiB of a guest's memory (1024)",
     offsetof(ServeFlags, guest_pages), 1, 65536},
    {"guest-time", 0, CLI_TEXT, "MS", "milliseconds that a call of a guest may take (1000)",
     offsetof(ServeFlags, guest_time), 0, 0},
    {"queue", 0, CLI_INT, "N", "requests that may wait before others are refused (256)",
     offsetof(ServeFlags, queue), 1, 1000000},
    {"deadline", 0, CLI_TEXT, "S", "seconds that a request may wait (30)",
     offsetof(ServeFlags, deadline), 0, 0},
    {"body", 0, CLI_TEXT, "MB", "largest request in megabytes (64)", offsetof(ServeFlags, body), 0,
     0},
    CLI_OPTION_CONNECTIONS(ServeFlags, "1000"),
    {"shared-memory", 0, CLI_TEXT, "PREFIX",
     "take tensors in shared memory whose key begins with PREFIX ('/': any)",
     offsetof(ServeFlags, shared_memory), 0, 0},
    {"token-file", 0, CLI_TEXT, "FILE", "bearer token that every POST must carry",
     offsetof(ServeFlags, token), 0, 0},
    CLI_OPTION_TLS_CERT(ServeFlags),
    CLI_OPTION_TLS_KEY(ServeFlags),
    {"no-drift", 0, CLI_FLAG, NULL, "do not watch for drift", offsetof(ServeFlags, no_drift), 0, 0},
    {"state", 0, CLI_TEXT, "DIR", "keep what drift monitoring has seen over restarts",
     offsetof(ServeFlags, state), 0, 0},
    {"telemetry", 0, CLI_TEXT, "DIR", "write a record of every answer there, for ledge agent",
     offsetof(ServeFlags, telemetry), 0, 0},
    {"telemetry-mb", 0, CLI_INT, "MB", "megabytes of the disk for records that wait (64)",
     offsetof(ServeFlags, telemetry_mb), 1, 1000000},
    {"telemetry-overflow", 0, CLI_TEXT, "HOW",
     "when they are full: 'oldest' go, 'reject' new ones, 'sample' one of ten (oldest)",
     offsetof(ServeFlags, overflow), 0, 0},
    {"shadow", 0, CLI_TEXT, "DIR", "with --telemetry: models that run beside and answer nobody",
     offsetof(ServeFlags, shadow), 0, 0},
    {"samples", 0, CLI_TEXT, "DIR",
     "keep some inputs there, sealed, for retraining (none are kept)",
     offsetof(ServeFlags, samples), 0, 0},
    {"sample-key", 0, CLI_TEXT, "FILE", "public key that they are sealed to",
     offsetof(ServeFlags, sample_key), 0, 0},
    {"sample-below", 0, CLI_TEXT, "P",
     "keep those answered with less confidence (0.5), or drifting",
     offsetof(ServeFlags, sample_below), 0, 0},
    {"samples-per-hour", 0, CLI_INT, "N", "most that are kept in an hour (20)",
     offsetof(ServeFlags, samples_per_hour), 1, 3600},
    {"samples-mb", 0, CLI_TEXT, "MB", "megabytes of the disk for them (64)",
     offsetof(ServeFlags, samples_mb), 0, 0},
    {"watch", 0, CLI_TEXT, "S", "seconds between two looks at models and machine (5)",
     offsetof(ServeFlags, watch), 0, 0},
    {"alert-log", 0, CLI_FLAG, NULL, "a line on stderr for every alert",
     offsetof(ServeFlags, alert_log), 0, 0},
    {"alert-webhook", 0, CLI_TEXT, "URL", "POST every alert there as JSON",
     offsetof(ServeFlags, webhook), 0, 0},
    {"alertmanager", 0, CLI_TEXT, "URL", "keep this Alertmanager informed (its API v2)",
     offsetof(ServeFlags, alertmanager), 0, 0},
    {"alert-exec", 0, CLI_TEXT, "FILE", "run this program with every alert on its standard input",
     offsetof(ServeFlags, exec), 0, 0},
    {"alert-token-file", 0, CLI_TEXT, "FILE", "bearer token for webhook and Alertmanager",
     offsetof(ServeFlags, alert_token), 0, 0},
    {"drain", 0, CLI_INT, "S", "seconds to finish requests after SIGTERM (30)",
     offsetof(ServeFlags, drain), 0, 86400},
    CLI_OPTION_CPU(ServeFlags),
    CLI_OPTION_JSON(ServeFlags),
};

typedef struct Serve {
    const CliCommand *command;
    const ServeFlags *flags;
    const CliArgs *args;
    ServeSetup setup;
    LedgeModelTable *table;
    LedgeLadders *ladders;
    LedgeServer *server;
    CliServeTelemetry telemetry;
    LedgeServedOptions lasting; /* what a reload does not change */
} Serve;

static void serve_free(Serve *s)
{
    ledge__server_stop(s->server, s->setup.config.drain >= 0 ? s->setup.config.drain : 30);
    ledge__ladders_free(s->ladders);
    ledge__model_table_free(s->table);
    cli_serve_telemetry_end(&s->telemetry);
    serve_setup_free(&s->setup);
}

static int open_telemetry(Serve *s)
{
    const ServeFlags *f = s->flags;
    const LedgeSamplesConfig *c = &s->setup.config.samples;
    CliServeTold o = {.queue = {.folder = f->telemetry, .disk = f->telemetry_mb * 1000000},
                      .shadow = f->shadow,
                      .sampling = {.folder = c->folder[0] ? c->folder : NULL,
                                   .key = c->key,
                                   .below = c->below,
                                   .per_hour = c->per_hour,
                                   .disk = (int64_t)(c->mb * 1e6)}};
    if (f->overflow && !ledge__overflow_of(f->overflow, &o.queue.overflow))
        return cli_usage(s->command, "--telemetry-overflow is 'oldest', 'reject' or 'sample'");
    return cli_serve_telemetry(&o, &s->lasting, &s->telemetry);
}

static int load(Serve *s)
{
    LedgeError err = {0};
    const LedgeServeConfig *c = &s->setup.config;
    bool some = s->args->n > 0 || c->repository[0];
    for (size_t i = 0; i < c->n_models; i++)
        some = some || c->models[i].path[0];
    if (!some)
        return cli_usage(s->command, "name models to serve, or a --repository of them");
    if (ledge__model_table_new(c->repository[0] ? c->repository : NULL, &c->defaults, &err,
                               &s->table) ||
        ledge__ladders_new(&err, &s->ladders))
        return cli_fail(NULL, &err);
    s->lasting.state = c->state[0] ? c->state : NULL;
    int code = open_telemetry(s);
    if (code == CLI_GO)
        code = serve_setup_models(&s->setup, s->args, true, &s->lasting, s->table);
    if (code == CLI_GO && ledge__ladders_set(s->ladders, s->table, c->ladders, c->n_ladders, &err))
        return cli_fail(s->flags->config, &err);
    return code;
}

static int announce(const Serve *s)
{
    const char *host = s->setup.config.host[0] ? s->setup.config.host : "127.0.0.1";
    char url[160];
    snprintf(url, sizeof url, strchr(host, ':') ? "%s://[%s]:%u/" : "%s://%s:%u/",
             s->setup.certificate ? "https" : "http", host, ledge__server_port(s->server));
    if (s->flags->json)
        return cli_print_json(
            json_pack("{s:s, s:i}", "url", url, "port", (int)ledge__server_port(s->server)));
    printf("serving on %s  (Ctrl-C ends it)\n", url);
    return cli_finish();
}

/* Whether what only a start can change has changed. */
static bool needs_start(const LedgeServeConfig *a, const LedgeServeConfig *b)
{
    return strcmp(a->host, b->host) != 0 || a->port != b->port || a->workers != b->workers ||
           a->queue != b->queue || a->connections != b->connections || a->deadline != b->deadline ||
           a->body_mb != b->body_mb || a->idle != b->idle ||
           strcmp(a->repository, b->repository) != 0 ||
           strcmp(a->certificate, b->certificate) != 0 || strcmp(a->key, b->key) != 0 ||
           strcmp(a->state, b->state) != 0 || strcmp(a->shared_memory, b->shared_memory) != 0 ||
           a->watch != b->watch || memcmp(&a->alerts, &b->alerts, sizeof a->alerts) != 0 ||
           memcmp(&a->samples, &b->samples, sizeof a->samples) != 0;
}

/* Reads the file again and loads every model anew. A file that is refused changes nothing. */
static void reload(Serve *s)
{
    LedgeError err = {0};
    ServeSetup fresh = {0};
    if (serve_setup_read(s->command, s->flags, &fresh) != CLI_GO) {
        cli_warn("the old configuration stays");
        return;
    }
    const LedgeServeConfig *c = &fresh.config;
    if (needs_start(&s->setup.config, c))
        cli_warn("only models, ladders and the token are taken from the changed "
                 "configuration; for the rest start again");
    (void)serve_setup_models(&fresh, s->args, false, &s->lasting, s->table);
    if (ledge__ladders_set(s->ladders, s->table, c->ladders, c->n_ladders, &err) ||
        ledge__server_set_token(s->server, fresh.token, &err))
        cli_warn("%s: %s", err.where, err.message);
    /* What the server points to stays that of the start. */
    serve_setup_free(&fresh);
    fprintf(stderr, "ledge: models are loaded anew\n");
}

/* SIGTERM and SIGINT end the wait. */
static void wait_for_signals(Serve *s, const sigset_t *set)
{
    int got;
    while (sigwait(set, &got) == 0 && got == SIGHUP)
        reload(s);
}

static int serve(Serve *s)
{
    LedgeError err = {0};
    LedgeServerOptions how;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before there are threads, which inherit it */
    int code = serve_setup_read(s->command, s->flags, &s->setup);
    if (code == CLI_GO)
        code = load(s);
    if (code != CLI_GO)
        return code;
    code = serve_setup_options(&s->setup, &how);
    if (code != CLI_GO)
        return code;
    if (s->telemetry.queue) {
        how.watch.event = cli_serve_alert;
        how.watch.event_arg = &s->telemetry;
    }
    if (ledge__server_start(&how, s->table, s->ladders, &err, &s->server))
        return cli_fail_with(err.where, LEDGE_ERROR_RUNTIME, "%s", err.message);
    code = announce(s);
    if (code == CLI_OK)
        wait_for_signals(s, &set);
    return code;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    ServeFlags f = {.port = -1,
                    .workers = -1,
                    .threads = -1,
                    .queue = -1,
                    .batch = -1,
                    .connections = -1,
                    .drain = -1,
                    .samples_per_hour = -1,
                    .guest_pages = -1};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 0, 1024, &f, &args);
    if (code != CLI_GO)
        return code;
    Serve s = {.command = c, .flags = &f, .args = &args};
    code = serve(&s);
    serve_free(&s);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_serve = {
    .name = "serve",
    .arguments = "[NAME=]MODEL...",
    .summary = "answer inference requests over HTTP (Open Inference Protocol v2)",
    .description =
        "Serves models to any Open Inference Protocol v2 client, pictures by POST\n"
        "/v1/classify/NAME, metrics at /metrics and a page at /. SIGHUP reads the\n"
        "configuration and loads the models anew, SIGTERM answers what was asked and ends.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
