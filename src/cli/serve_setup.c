/* Flags over a configuration file. */
#include "cli/serve_setup.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "image/file_bytes.h"

#define SECRET_MAX ((size_t)1 << 20)

void serve_setup_free(ServeSetup *s)
{
    ledge__serve_config_free(&s->config);
    ledge__free(NULL, s->token);
    ledge__free(NULL, s->certificate);
    ledge__free(NULL, s->key);
    s->token = s->certificate = s->key = NULL;
}

static int read_file(const char *path, size_t most, char **out, size_t *size)
{
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    if (!path[0])
        return CLI_GO;
    if (ledge__file_bytes(NULL, path, most, &err, &bytes, size))
        return cli_fail(path, &err);
    *out = (char *)bytes; /* ends with a NUL beyond its size */
    return CLI_GO;
}

static int read_secrets(ServeSetup *s)
{
    size_t size;
    int code = read_file(s->config.token_file, SECRET_MAX, &s->token, &size);
    if (code == CLI_GO)
        code = read_file(s->config.certificate, SECRET_MAX, &s->certificate, &size);
    if (code == CLI_GO)
        code = read_file(s->config.key, SECRET_MAX, &s->key, &size);
    if (s->token)
        s->token[strcspn(s->token, "\r\n")] = '\0';
    if (code == CLI_GO && s->token && !s->token[0])
        return cli_fail_with(s->config.token_file, LEDGE_ERROR_FORMAT, "the file holds no token");
    return code;
}

static int read_config(const char *path, LedgeServeConfig *c)
{
    LedgeError err = {0};
    char *text = NULL;
    size_t size;
    int code = read_file(path, LEDGE_CONFIG_MAX, &text, &size);
    if (code != CLI_GO)
        return code;
    if (ledge__serve_config_parse(path, text, size, &err, c))
        code = cli_fail(NULL, &err);
    ledge__free(NULL, text);
    return code;
}

/* ---- flags ---- */

static int put_number(const CliCommand *c, const char *name, const char *text, double scale,
                      double *out)
{
    double v;
    if (!text)
        return CLI_GO;
    if (!cli_number(text, 0, 1e6, &v))
        return cli_usage(c, "--%s takes a number from 0 to 1,000,000", name);
    *out = v * scale;
    return CLI_GO;
}

static int put_text(const CliCommand *c, const char *name, const char *text, char *out, size_t size)
{
    if (text && (!text[0] || strlen(text) >= size))
        return cli_usage(c, "--%s takes a text of 1 to %zu bytes", name, size - 1);
    if (text)
        strcpy(out, text);
    return CLI_GO;
}

static void put_whole(int64_t given, int64_t *out)
{
    if (given >= 0)
        *out = given;
}

static int put_texts(const CliCommand *c, const ServeFlags *f, LedgeServeConfig *g)
{
    const struct {
        const char *name, *text;
        char *out;
        size_t size;
    } all[] = {
        {"host", f->host, g->host, sizeof g->host},
        {"shared-memory", f->shared_memory, g->shared_memory, sizeof g->shared_memory},
        {"repository", f->repository, g->repository, sizeof g->repository},
        {"token-file", f->token, g->token_file, sizeof g->token_file},
        {"tls-cert", f->certificate, g->certificate, sizeof g->certificate},
        {"tls-key", f->key, g->key, sizeof g->key},
        {"state", f->state, g->state, sizeof g->state},
        {"alert-webhook", f->webhook, g->alerts.webhook, sizeof g->alerts.webhook},
        {"alertmanager", f->alertmanager, g->alerts.alertmanager, sizeof g->alerts.alertmanager},
        {"alert-exec", f->exec, g->alerts.exec, sizeof g->alerts.exec},
        {"samples", f->samples, g->samples.folder, sizeof g->samples.folder},
        {"sample-key", f->sample_key, g->samples.key, sizeof g->samples.key},
        {"alert-token-file", f->alert_token, g->alerts.token_file, sizeof g->alerts.token_file},
        {"cpu", f->cpu, g->defaults.cpu, sizeof g->defaults.cpu}};
    int code = CLI_GO;
    for (size_t i = 0; i < sizeof all / sizeof *all && code == CLI_GO; i++)
        code = put_text(c, all[i].name, all[i].text, all[i].out, all[i].size);
    return code;
}

static int put_guest_flags(const CliCommand *c, const ServeFlags *f, LedgeGuestSettings *g)
{
    int code = put_text(c, "guest", f->guest, g->path, sizeof g->path);
    if (code == CLI_GO)
        code = put_text(c, "guest-key", f->guest_key, g->key, sizeof g->key);
    if (code == CLI_GO)
        code = put_number(c, "guest-time", f->guest_time, 1e-3, &g->time);
    g->beside = g->beside || f->guest_beside;
    g->pages = f->guest_pages >= 0 ? (uint32_t)f->guest_pages : g->pages;
    return code;
}

/* What models begin with: flags say it for those that the file says nothing of. */
static int put_model_flags(const CliCommand *c, const ServeFlags *f, LedgeServedOptions *o)
{
    double cache = (double)o->cache_bytes;
    int code = put_number(c, "delay", f->delay, 1e-3, &o->delay);
    if (code == CLI_GO)
        code = put_number(c, "cache", f->cache, 1e6, &cache);
    if (code == CLI_GO)
        code = put_number(c, "cache-ttl", f->cache_ttl, 1, &o->cache_ttl);
    o->cache_bytes = (size_t)cache;
    if (code == CLI_GO)
        code = put_guest_flags(c, f, &o->guest);
    o->batch = f->batch >= 0 ? (uint32_t)f->batch : o->batch;
    o->threads = f->threads >= 0 ? (int)f->threads : o->threads;
    o->pixels = o->pixels || f->pixels;
    o->drift = o->drift && !f->no_drift;
    return code;
}

static int put_flags(const CliCommand *c, const ServeFlags *f, LedgeServeConfig *g)
{
    int code = put_texts(c, f, g);
    if (code == CLI_GO)
        code = put_number(c, "deadline", f->deadline, 1, &g->deadline);
    if (code == CLI_GO)
        code = put_number(c, "body", f->body, 1, &g->body_mb);
    if (code == CLI_GO)
        code = put_number(c, "watch", f->watch, 1, &g->watch);
    if (code == CLI_GO)
        code = put_model_flags(c, f, &g->defaults);
    if (code == CLI_GO)
        code = put_number(c, "sample-below", f->sample_below, 1, &g->samples.below);
    if (code == CLI_GO)
        code = put_number(c, "samples-mb", f->samples_mb, 1, &g->samples.mb);
    put_whole(f->samples_per_hour, &g->samples.per_hour);
    if (code == CLI_GO && !g->samples.folder[0] != !g->samples.key[0])
        code = cli_usage(c, "--samples and --sample-key go together: where, and sealed to whom");
    g->alerts.log = g->alerts.log || f->alert_log;
    for (size_t i = 0; i < g->n_models && code == CLI_GO; i++)
        code = put_model_flags(c, f, &g->models[i].options);
    put_whole(f->port, &g->port);
    put_whole(f->workers, &g->workers);
    put_whole(f->queue, &g->queue);
    put_whole(f->connections, &g->connections);
    g->drain = f->drain >= 0 ? (double)f->drain : g->drain;
    if (code == CLI_GO && !g->certificate[0] != !g->key[0])
        code = cli_usage(c, "--tls-cert and --tls-key go together");
    return code;
}

int serve_setup_read(const CliCommand *c, const ServeFlags *f, ServeSetup *out)
{
    ServeSetup s = {0};
    ledge__serve_config_init(&s.config);
    int code = f->config ? read_config(f->config, &s.config) : CLI_GO;
    if (code == CLI_GO)
        code = put_flags(c, f, &s.config);
    if (code == CLI_GO)
        code = read_secrets(&s);
    if (code == CLI_GO)
        *out = s;
    else
        serve_setup_free(&s);
    return code;
}

static int check_url(const char *name, const char *url)
{
    if (!url[0] || strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0)
        return CLI_GO;
    cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT, "%s takes an http:// or https:// address", name);
    return CLI_USAGE;
}

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static int watch_options(ServeSetup *s, LedgeWatchOptions *w)
{
    const LedgeServeConfig *c = &s->config;
    const LedgeAlertsConfig *a = &c->alerts;
    *w = (LedgeWatchOptions){
        .log = a->log,
        .alerts = {.repeat = a->repeat, .cooldown = a->cooldown},
        .interval = c->watch,
        .state = or_null(c->state),
        .outbox = {.to = {[LEDGE_CHANNEL_WEBHOOK] = or_null(a->webhook),
                          [LEDGE_CHANNEL_ALERTMANAGER] = or_null(a->alertmanager),
                          [LEDGE_CHANNEL_EXEC] = or_null(a->exec)},
                   .token_file = or_null(a->token_file),
                   .post = s->post}};
    int code = check_url("--alert-webhook", a->webhook);
    if (code == CLI_GO)
        code = check_url("--alertmanager", a->alertmanager);
    if (code == CLI_GO && a->exec[0] && access(a->exec, X_OK) != 0)
        return cli_fail_with(a->exec, LEDGE_ERROR_NOT_FOUND, "is no program that can be run");
    if (code == CLI_GO && (a->webhook[0] || a->alertmanager[0]) &&
        !cli_program_beside("ledge-post", s->post, sizeof s->post))
        return cli_fail_with(NULL, LEDGE_ERROR_NOT_FOUND,
                             "ledge-post, which sends alerts, is not there; install ledge again");
    return code;
}

int serve_setup_options(ServeSetup *s, LedgeServerOptions *out)
{
    const LedgeServeConfig *c = &s->config;
    *out = (LedgeServerOptions){.host = c->host[0] ? c->host : NULL,
                                .port = (uint16_t)(c->port >= 0 ? c->port : 8000),
                                .workers = (int)c->workers,
                                .queue = (size_t)c->queue,
                                .deadline = c->deadline,
                                .body_limit = (size_t)(c->body_mb * 1e6),
                                .connections = (uint32_t)c->connections,
                                .idle = (uint32_t)c->idle,
                                .token = s->token,
                                .certificate = s->certificate,
                                .key = s->key,
                                .shared_memory = or_null(c->shared_memory)};
    return watch_options(s, &out->watch);
}

/* ---- models ---- */

static void put_lasting(const LedgeServedOptions *lasting, LedgeServedOptions *to)
{
    to->state = lasting->state;
    to->seen = lasting->seen;
    to->seen_arg = lasting->seen_arg;
}

static LedgeStatus set_table(const ServeSetup *s, const LedgeServedOptions *lasting,
                             LedgeModelTable *t, LedgeError *err)
{
    const LedgeServeConfig *c = &s->config;
    LedgeServedOptions defaults = c->defaults;
    LedgeModelSettings *settings = calloc(c->n_models + 1, sizeof *settings);
    if (!settings)
        return ledge__no_memory(err);
    put_lasting(lasting, &defaults);
    for (size_t i = 0; i < c->n_models; i++) {
        const LedgeModelConfig *m = &c->models[i];
        strcpy(settings[i].name, m->name);
        strcpy(settings[i].version, m->path[0] ? m->version : "");
        settings[i].options = m->options;
        strcpy(settings[i].options.cpu, c->defaults.cpu);
        put_lasting(lasting, &settings[i].options);
    }
    const LedgeStatus status = ledge__model_table_set(t, &defaults, settings, c->n_models, err);
    free(settings);
    return status;
}

/* One failure: the exit code at a start, else a warning. */
static int report(const char *what, bool start, const LedgeError *err)
{
    if (start)
        return cli_fail(what, err);
    cli_warn("%s: %s", what, err->message);
    return CLI_GO;
}

int serve_setup_models(const ServeSetup *s, const CliArgs *args, bool start,
                       const LedgeServedOptions *lasting, LedgeModelTable *t)
{
    LedgeError err = {0};
    const LedgeServeConfig *c = &s->config;
    size_t failed = 0;
    int code = CLI_GO;
    if (set_table(s, lasting, t, &err))
        return cli_fail(NULL, &err);
    ledge__model_table_begin(t);
    for (size_t i = 0; i < c->n_models && code == CLI_GO; i++) {
        const LedgeModelConfig *m = &c->models[i];
        if (m->path[0] && ledge__model_table_put(t, m->name, m->version, m->path, &err))
            code = report(m->path, start, &err);
    }
    for (size_t i = 0; i < args->n && code == CLI_GO; i++)
        if (ledge__model_table_add(t, args->items[i], &err))
            code = report(args->items[i], start, &err);
    if (code == CLI_GO && ledge__model_table_scan(t, &err, &failed))
        code = report(c->repository, start, &err);
    ledge__model_table_end(t);
    for (size_t i = 0; i < c->n_models && code == CLI_GO; i++)
        if (!ledge__model_table_knows(t, c->models[i].name))
            cli_warn("the configuration has an entry for %s, but no such model is there",
                     c->models[i].name);
    if (failed)
        cli_warn("%zu model%s of %s cannot be served; POST /v2/repository/index says why", failed,
                 failed == 1 ? "" : "s", c->repository);
    return code;
}
