/* The server's life, and what it does every second. */
#include "fleet/registry/registry_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "http/http_listen.h"
#include "fleet/registry/registry_http.h"

enum { WAITING_TASKS = 20000, WAITING_UPLOADS = 200, PATIENCE = 10 /* seconds */ };

/* ---- every second ---- */

static void in_transaction(LedgeStore *s, const char *what,
                           LedgeStatus (*run)(LedgeStore *s, LedgeError *err))
{
    LedgeError err = {0};
    LedgeStatus status = ledge__store_begin(s, (int64_t)time(NULL), &err);
    if (!status) {
        status = run(s, &err);
        if (status)
            ledge__store_undo(s);
        else
            status = ledge__store_commit(s, &err);
    }
    if (status)
        fprintf(stderr, "ledge: registry: %s: %s\n", what, err.message);
}

static LedgeStatus move_raw(LedgeStore *s, LedgeError *err)
{
    return ledge__store_move_raw(s, false, err);
}

static void tick(void *arg, LedgeStore *s)
{
    LedgeRegistry *r = arg;
    LedgeError err = {0};
    in_transaction(s, "rollouts", ledge__store_turn_rollouts);
    in_transaction(s, "metadata", ledge__store_refresh);
    in_transaction(s, "old telemetry", ledge__store_clean);
    in_transaction(s, "raw batches", move_raw);
    if (ledge__tokens_load(r->tokens, s, &err)) /* changed by another registry */
        fprintf(stderr, "ledge: registry: tokens: %s\n", err.message);
}

/* ---- life ---- */

static LedgeStatus start_daemon(LedgeRegistry *r, LedgeError *err)
{
    const LedgeRegistryOptions *o = &r->options;
    const LedgeHttpListen how = {.host = o->host,
                                 .port = o->port,
                                 .threads = o->threads,
                                 .connections = o->connections,
                                 .idle = o->idle,
                                 .certificate = o->certificate,
                                 .key = o->key,
                                 .client_ca = o->client_ca,
                                 .on_request = ledge__on_request,
                                 .on_done = ledge__on_done,
                                 .on_connection = ledge__on_connection,
                                 .arg = r,
                                 .drain = &r->drain};
    return ledge__http_listen(&how, err, &r->daemon);
}

static void set_defaults(LedgeRegistryOptions *o)
{
    o->host = o->host ? o->host : "127.0.0.1";
    o->threads = o->threads > 0 ? o->threads : 2;
    o->connections = o->connections ? o->connections : 10000;
    o->idle = o->idle ? o->idle : 60;
    o->polls_per_s = o->polls_per_s ? o->polls_per_s : 5;
    o->blob_limit = o->blob_limit ? o->blob_limit : (uint64_t)16 << 30;
}

static LedgeStatus make_limits(LedgeRegistry *r, LedgeError *err)
{
    const double rate = (double)r->options.polls_per_s;
    r->tokens = ledge__tokens_new();
    r->strangers = ledge__rate_limit_new(10, 50);
    r->readers = ledge__rate_limit_new(100, 1000);
    if (rate > 0) {
        r->polls = ledge__rate_limit_new(rate, 4 * rate);
        r->batches = ledge__rate_limit_new(10 * rate, 40 * rate);
    }
    return r->tokens && r->strangers && r->readers && (rate < 0 || (r->polls && r->batches))
               ? LEDGE_OK
               : ledge__no_memory(err);
}

static LedgeStatus start(LedgeRegistry *r, LedgeError *err)
{
    LEDGE_TRY(make_limits(r, err));
    LEDGE_TRY(ledge__store_open(&r->options.store, err, &r->store));
    LEDGE_TRY(ledge__tokens_load(r->tokens, r->store, err));
    LEDGE_TRY(ledge__tasks_new(r->store, WAITING_TASKS, tick, r, err, &r->tasks));
    LEDGE_TRY(ledge__tasks_new(NULL, WAITING_UPLOADS, NULL, NULL, err, &r->slow));
    return start_daemon(r, err);
}

LedgeStatus ledge__registry_start(const LedgeRegistryOptions *options, LedgeError *err,
                                  LedgeRegistry **out)
{
    LedgeRegistry *r = calloc(1, sizeof *r);
    if (!r)
        return ledge__no_memory(err);
    r->options = *options;
    set_defaults(&r->options);
    LedgeStatus status = start(r, err);
    if (status)
        ledge__registry_stop(r);
    else
        *out = r;
    return status;
}

uint16_t ledge__registry_port(const LedgeRegistry *r)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(r->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void ledge__registry_stop(LedgeRegistry *r)
{
    if (!r)
        return;
    if (r->daemon) {
        ledge__http_drain(&r->drain, PATIENCE);
        ledge__tasks_stop(r->slow); /* answers what waits; nobody may be suspended below */
        ledge__tasks_stop(r->tasks);
        MHD_stop_daemon(r->daemon);
    }
    ledge__tasks_free(r->slow);
    ledge__tasks_free(r->tasks);
    ledge__store_close(r->store);
    ledge__tokens_free(r->tokens);
    ledge__rate_limit_free(r->polls);
    ledge__rate_limit_free(r->batches);
    ledge__rate_limit_free(r->strangers);
    ledge__rate_limit_free(r->readers);
    free(r);
}
