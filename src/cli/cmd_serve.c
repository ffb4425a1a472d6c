/* ledge serve: models over HTTP. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "image/file_bytes.h"
#include "serve/server.h"

#define SECRET_MAX ((size_t)1 << 20)

typedef struct Options {
    bool json, no_drift, alert_log;
    int64_t port, workers, threads, queue, batch, connections, drain;
    const char *host, *repository, *delay, *deadline, *body, *token, *certificate, *key, *cpu,
        *state, *watch, *webhook, *alertmanager, *exec, *alert_token, *cache, *cache_ttl;
} Options;

static const CliOption options[] = {
    {"host", 0, CLI_TEXT, "ADDRESS", "address to listen on (127.0.0.1)", offsetof(Options, host), 0,
     0},
    {"port", 'p', CLI_INT, "N", "port to listen on (8000); 0 takes one that is free",
     offsetof(Options, port), 0, 65535},
    {"repository", 'r', CLI_TEXT, "DIR", "also serve NAME.onnx and NAME/VERSION/model.onnx of it",
     offsetof(Options, repository), 0, 0},
    {"workers", 'w', CLI_INT, "N", "requests answered side by side; 0 takes every fast core",
     offsetof(Options, workers), 0, LEDGE_SERVE_WORKERS},
    {"threads", 't', CLI_INT, "N", "threads of one request (1)", offsetof(Options, threads), 1,
     1024},
    {"batch", 0, CLI_INT, "N", "most requests answered in one run (1)", offsetof(Options, batch), 1,
     64},
    {"delay", 0, CLI_TEXT, "MS", "milliseconds a batch may wait to fill (0)",
     offsetof(Options, delay), 0, 0},
    {"cache", 0, CLI_TEXT, "MB", "megabytes of answers that each model keeps (0: none)",
     offsetof(Options, cache), 0, 0},
    {"cache-ttl", 0, CLI_TEXT, "S", "seconds that an answer is kept (0: while there is room)",
     offsetof(Options, cache_ttl), 0, 0},
    {"queue", 0, CLI_INT, "N", "requests that may wait before others are refused (256)",
     offsetof(Options, queue), 1, 1000000},
    {"deadline", 0, CLI_TEXT, "S", "seconds that a request may wait (30)",
     offsetof(Options, deadline), 0, 0},
    {"body", 0, CLI_TEXT, "MB", "largest request in megabytes (64)", offsetof(Options, body), 0, 0},
    {"connections", 0, CLI_INT, "N", "most connections at a time (1000)",
     offsetof(Options, connections), 1, 1000000},
    {"token-file", 0, CLI_TEXT, "FILE", "bearer token that every POST must carry",
     offsetof(Options, token), 0, 0},
    {"tls-cert", 0, CLI_TEXT, "FILE", "certificate chain in PEM, for HTTPS",
     offsetof(Options, certificate), 0, 0},
    {"tls-key", 0, CLI_TEXT, "FILE", "its private key in PEM", offsetof(Options, key), 0, 0},
    {"no-drift", 0, CLI_FLAG, NULL, "do not watch for drift", offsetof(Options, no_drift), 0, 0},
    {"state", 0, CLI_TEXT, "DIR", "keep what drift monitoring has seen over restarts",
     offsetof(Options, state), 0, 0},
    {"watch", 0, CLI_TEXT, "S", "seconds between two looks at models and machine (5)",
     offsetof(Options, watch), 0, 0},
    {"alert-log", 0, CLI_FLAG, NULL, "a line on stderr for every alert",
     offsetof(Options, alert_log), 0, 0},
    {"alert-webhook", 0, CLI_TEXT, "URL", "POST every alert there as JSON",
     offsetof(Options, webhook), 0, 0},
    {"alertmanager", 0, CLI_TEXT, "URL", "keep this Alertmanager informed (its API v2)",
     offsetof(Options, alertmanager), 0, 0},
    {"alert-exec", 0, CLI_TEXT, "FILE", "run this program with every alert on its standard input",
     offsetof(Options, exec), 0, 0},
    {"alert-token-file", 0, CLI_TEXT, "FILE", "bearer token for webhook and Alertmanager",
     offsetof(Options, alert_token), 0, 0},
    {"drain", 0, CLI_INT, "S", "seconds to finish requests after SIGTERM (30)",
     offsetof(Options, drain), 0, 86400},
    CLI_OPTION_CPU(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Serve {
    const Options *o;
    LedgeServedOptions model;
    LedgeModelTable *table;
    LedgeLadders *ladders;
    LedgeServer *server;
    char *token, *certificate, *key;
    char post[PATH_MAX]; /* ledge-post */
} Serve;

static void serve_free(Serve *s)
{
    ledge__server_stop(s->server, (double)s->o->drain);
    ledge__ladders_free(s->ladders);
    ledge__model_table_free(s->table);
    ledge__free(NULL, s->token);
    ledge__free(NULL, s->certificate);
    ledge__free(NULL, s->key);
}

static int read_secret(const char *path, char **out)
{
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    size_t size;
    if (!path)
        return CLI_GO;
    if (ledge__file_bytes(NULL, path, SECRET_MAX, &err, &bytes, &size))
        return cli_fail(path, &err);
    *out = (char *)bytes; /* ends with a NUL beyond its size */
    return CLI_GO;
}

static int read_secrets(Serve *s)
{
    int code = read_secret(s->o->token, &s->token);
    if (code == CLI_GO)
        code = read_secret(s->o->certificate, &s->certificate);
    if (code == CLI_GO)
        code = read_secret(s->o->key, &s->key);
    if (s->token)
        s->token[strcspn(s->token, "\r\n")] = '\0';
    if (code == CLI_GO && s->token && !s->token[0])
        return cli_fail_with(s->o->token, LEDGE_ERROR_FORMAT, "the file holds no token");
    return code;
}

static int positive(const CliCommand *c, const char *name, const char *text, double fallback,
                    double *out)
{
    char *end = NULL;
    *out = text ? strtod(text, &end) : fallback;
    if (text && (end == text || *end || !(*out >= 0 && *out <= 1e6)))
        return cli_usage(c, "--%s takes a number from 0 to 1,000,000", name);
    return CLI_GO;
}

static int load_models(Serve *s, const CliArgs *args)
{
    LedgeError err = {0};
    size_t failed;
    if (ledge__model_table_new(s->o->repository, &s->model, &err, &s->table) ||
        ledge__ladders_new(&err, &s->ladders))
        return cli_fail(NULL, &err);
    for (size_t i = 0; i < args->n; i++)
        if (ledge__model_table_add(s->table, args->items[i], &err))
            return cli_fail(args->items[i], &err);
    if (ledge__model_table_scan(s->table, &err, &failed))
        return cli_fail(s->o->repository, &err);
    if (failed)
        cli_warn("%zu model%s of %s cannot be served; POST /v2/repository/index says why", failed,
                 failed == 1 ? "" : "s", s->o->repository);
    return CLI_GO;
}

static int announce(const Serve *s)
{
    const char *host = s->o->host ? s->o->host : "127.0.0.1";
    char url[160];
    snprintf(url, sizeof url, strchr(host, ':') ? "%s://[%s]:%u/" : "%s://%s:%u/",
             s->certificate ? "https" : "http", host, ledge__server_port(s->server));
    if (s->o->json)
        return cli_print_json(
            json_pack("{s:s, s:i}", "url", url, "port", (int)ledge__server_port(s->server)));
    printf("serving on %s  (Ctrl-C ends it)\n", url);
    return cli_finish();
}

/* SIGHUP loads every model anew; SIGTERM and SIGINT end the wait. */
static void wait_for_signals(Serve *s, const sigset_t *set, const CliArgs *args)
{
    int got;
    while (sigwait(set, &got) == 0 && got == SIGHUP) {
        LedgeError err = {0};
        size_t failed;
        for (size_t i = 0; i < args->n; i++)
            if (ledge__model_table_add(s->table, args->items[i], &err))
                cli_warn("%s: %s", args->items[i], err.message);
        if (ledge__model_table_scan(s->table, &err, &failed))
            cli_warn("%s: %s", s->o->repository, err.message);
        fprintf(stderr, "ledge: models are loaded anew\n");
    }
}

static int check_url(const char *name, const char *url)
{
    if (!url || strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0)
        return CLI_GO;
    cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT, "--%s takes an http:// or https:// address", name);
    return CLI_USAGE;
}

static int watch_options(const CliCommand *c, Serve *s, LedgeWatchOptions *w)
{
    const Options *o = s->o;
    *w = (LedgeWatchOptions){.log = o->alert_log,
                             .state = o->state,
                             .outbox = {.to = {[LEDGE_CHANNEL_WEBHOOK] = o->webhook,
                                               [LEDGE_CHANNEL_ALERTMANAGER] = o->alertmanager,
                                               [LEDGE_CHANNEL_EXEC] = o->exec},
                                        .token_file = o->alert_token,
                                        .post = s->post}};
    int code = positive(c, "watch", o->watch, 5, &w->interval);
    if (code == CLI_GO)
        code = check_url("alert-webhook", o->webhook);
    if (code == CLI_GO)
        code = check_url("alertmanager", o->alertmanager);
    if (code == CLI_GO && o->exec && access(o->exec, X_OK) != 0)
        return cli_fail_with(o->exec, LEDGE_ERROR_NOT_FOUND, "is no program that can be run");
    if (code == CLI_GO && (o->webhook || o->alertmanager) &&
        !cli_program_beside("ledge-post", s->post, sizeof s->post))
        return cli_fail_with(NULL, LEDGE_ERROR_NOT_FOUND,
                             "ledge-post, which sends alerts, is not there; install ledge again");
    return code;
}

static int serve(Serve *s, LedgeServerOptions *how, const CliArgs *args)
{
    LedgeError err = {0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before there are threads, which inherit it */
    int code = read_secrets(s);
    if (code == CLI_GO)
        code = load_models(s, args);
    if (code != CLI_GO)
        return code;
    how->token = s->token;
    how->certificate = s->certificate;
    how->key = s->key;
    if (ledge__server_start(how, s->table, s->ladders, &err, &s->server))
        return cli_fail_with(err.where, LEDGE_ERROR_RUNTIME, "%s", err.message);
    code = announce(s);
    if (code == CLI_OK)
        wait_for_signals(s, &set, args);
    return code;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {.port = 8000, .drain = 30};
    CliArgs args;
    Serve s = {.o = &o};
    double delay = 0, body = 0, cache = 0;
    LedgeServerOptions how = {0};
    int code = cli_parse(c, argc, argv, 0, 1024, &o, &args);
    if (code != CLI_GO)
        return code;
    code = positive(c, "delay", o.delay, 0, &delay);
    if (code == CLI_GO)
        code = positive(c, "deadline", o.deadline, 30, &how.deadline);
    if (code == CLI_GO)
        code = positive(c, "body", o.body, 64, &body);
    if (code == CLI_GO)
        code = positive(c, "cache", o.cache, 0, &cache);
    if (code == CLI_GO)
        code = positive(c, "cache-ttl", o.cache_ttl, 0, &s.model.cache_ttl);
    if (code == CLI_GO && args.n == 0 && !o.repository)
        code = cli_usage(c, "name models to serve, or a --repository of them");
    if (code == CLI_GO && !o.certificate != !o.key)
        code = cli_usage(c, "--tls-cert and --tls-key go together");
    if (code == CLI_GO)
        code = watch_options(c, &s, &how.watch);
    how.host = o.host;
    how.port = (uint16_t)o.port;
    how.workers = (int)o.workers;
    how.queue = (size_t)o.queue;
    how.connections = (uint32_t)o.connections;
    s.model.cpu = o.cpu;
    s.model.threads = o.threads ? (int)o.threads : 1;
    s.model.drift = !o.no_drift;
    s.model.state = o.state;
    s.model.batch = (uint32_t)o.batch;
    s.model.delay = delay / 1e3;
    s.model.cache_bytes = (size_t)(cache * 1e6);
    how.body_limit = (size_t)(body * 1e6);
    if (code == CLI_GO)
        code = serve(&s, &how, &args);
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
        "/v1/classify/NAME, metrics at /metrics and a page at /. SIGHUP loads the models anew,\n"
        "SIGTERM answers what was asked and ends.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
