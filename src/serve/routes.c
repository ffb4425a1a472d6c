/* Which path does what. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/prom_text.h"
#include "serve/server_page.h"
#include "serve/server_state.h"

enum { PARTS = 8 };

typedef struct Path {
    char text[512];
    const char *part[PARTS];
    size_t n;
} Path;

/* "/v2/models/a" becomes v2, models, a. libmicrohttpd has taken %xx apart already; names with a
 * slash, or dots only, find no model. false: too long or too deep. */
static bool cut(const char *url, Path *p)
{
    char *save = NULL;
    p->n = 0;
    if (strlen(url) >= sizeof p->text)
        return false;
    strcpy(p->text, url);
    for (char *word = strtok_r(p->text, "/", &save); word; word = strtok_r(NULL, "/", &save)) {
        if (p->n == PARTS)
            return false;
        p->part[p->n++] = word;
    }
    return true;
}

/* Whether the path is `pattern`, where "*" stands for any part. */
static bool is(const Path *p, const char *pattern)
{
    Path q;
    if (!cut(pattern, &q) || q.n != p->n)
        return false;
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(q.part[i], "*") != 0 && strcmp(q.part[i], p->part[i]) != 0)
            return false;
    return true;
}

static enum MHD_Result send_json(LedgeExchange *x, LedgeText *body)
{
    const enum MHD_Result done = ledge__send(x, 200, "application/json", body, NULL, NULL);
    ledge__text_free(body);
    return done;
}

/* The status says it all; KServe's own client wants to read it in JSON too. name: of a model, or
 * NULL. */
static enum MHD_Result send_health(LedgeExchange *x, const char *key, const char *name, bool yes)
{
    LedgeText b = {0};
    ledge__text_add(&b, name ? "{\"name\":" : "{");
    if (name) {
        ledge__json_put_text(&b, name);
        ledge__text_add(&b, ",");
    }
    ledge__text_printf(&b, "\"%s\":%s}", key, yes ? "true" : "false");
    const enum MHD_Result done =
        ledge__send(x, yes ? 200 : 503, "application/json", &b, NULL, NULL);
    ledge__text_free(&b);
    return done;
}

/* A model that cannot be found is 404; one that is known and not loaded 503. */
static enum MHD_Result send_missing(LedgeExchange *x, LedgeStatus s, const LedgeError *err)
{
    char text[sizeof err->where + sizeof err->message + 4];
    snprintf(text, sizeof text, "%s: %s", err->where, err->message);
    return ledge__send_error(x,
                             s == LEDGE_ERROR_NOT_FOUND ? 404
                             : s == LEDGE_ERROR_RUNTIME ? 503
                                                        : 400,
                             text);
}

/* ---- what the server says of itself ---- */

static enum MHD_Result send_server(LedgeExchange *x)
{
    LedgeText b = {0};
    ledge__text_add(&b, "{\"name\":\"ledge\",\"version\":");
    ledge__json_put_text(&b, ledge_version());
    ledge__text_add(&b, ",\"extensions\":[\"binary_tensor_data\",\"model_repository\"");
    ledge__text_add(&b, x->server->regions ? ",\"system_shared_memory\"]}" : "]}");
    return send_json(x, &b);
}

static void put_tensor_info(LedgeText *b, const LedgeTensorInfo *info)
{
    const char *type = ledge__oip_datatype(info->type);
    ledge__text_add(b, "{\"name\":");
    ledge__json_put_text(b, info->name);
    ledge__text_add(b, ",\"datatype\":");
    ledge__json_put_text(b, type ? type : ledge_type_name(info->type));
    ledge__text_add(b, ",\"shape\":[");
    for (int32_t i = 0; i < info->rank; i++) {
        if (i)
            ledge__text_add(b, ",");
        ledge__json_put_integer(b, info->dims[i]);
    }
    ledge__text_add(b, "]}");
}

typedef struct Versions {
    LedgeText *b;
    const char *name;
    size_t n;
} Versions;

static void put_version(void *arg, const LedgeModelEntry *e)
{
    Versions *v = arg;
    if (strcmp(e->name, v->name) != 0 || !e->served)
        return;
    if (v->n++)
        ledge__text_add(v->b, ",");
    ledge__json_put_text(v->b, e->version);
}

static enum MHD_Result send_model(LedgeExchange *x, const LedgeServed *m, const char *name)
{
    LedgeText b = {0};
    ledge__text_add(&b, "{\"name\":");
    ledge__json_put_text(&b, name);
    ledge__text_add(&b, ",\"versions\":[");
    Versions v = {&b, m->name, 0};
    ledge__model_table_visit(x->server->table, put_version, &v);
    ledge__text_add(&b, "],\"platform\":\"onnx_onnxv1\",\"inputs\":[");
    for (size_t i = 0; i < m->n_inputs; i++) {
        ledge__text_add(&b, i ? "," : "");
        put_tensor_info(&b, ledge_model_input(m->model, i));
    }
    ledge__text_add(&b, "],\"outputs\":[");
    for (size_t i = 0; i < m->n_outputs; i++) {
        ledge__text_add(&b, i ? "," : "");
        put_tensor_info(&b, ledge_model_output(m->model, i));
    }
    ledge__text_add(&b, "]}");
    return send_json(x, &b);
}

/* A ladder is what its lowest model is; it is ready when that is. */
static enum MHD_Result get_model(LedgeExchange *x, const char *name, const char *version,
                                 bool ready)
{
    LedgeError err = {0};
    LedgeServed *m = NULL;
    LedgeLadder *ladder = version ? NULL : ledge__ladders_find(x->server->ladders, name);
    const LedgeStatus s = ladder
                              ? ledge__ladder_model(ladder, 0, &err, &m)
                              : ledge__model_table_find(x->server->table, name, version, &err, &m);
    ledge__ladder_unref(ladder);
    if (s != LEDGE_OK)
        return send_missing(x, s, &err);
    const enum MHD_Result r = ready ? send_health(x, "ready", name, true) : send_model(x, m, name);
    ledge__served_unref(m);
    return r;
}

/* ---- the repository extension ---- */

typedef struct Index {
    LedgeText b;
    size_t n;
} Index;

static void put_entry(void *arg, const LedgeModelEntry *e)
{
    Index *index = arg;
    ledge__text_add(&index->b, index->n++ ? ",{\"name\":" : "{\"name\":");
    ledge__json_put_text(&index->b, e->name);
    ledge__text_add(&index->b, ",\"version\":");
    ledge__json_put_text(&index->b, e->version);
    ledge__text_add(&index->b, ",\"state\":");
    ledge__json_put_text(&index->b, e->served ? "READY" : "UNAVAILABLE");
    ledge__text_add(&index->b, ",\"reason\":");
    ledge__json_put_text(&index->b, e->reason);
    ledge__text_add(&index->b, "}");
}

static enum MHD_Result send_index(LedgeExchange *x)
{
    Index index = {.n = 0};
    ledge__text_add(&index.b, "[");
    ledge__model_table_visit(x->server->table, put_entry, &index);
    ledge__text_add(&index.b, "]");
    return send_json(x, &index.b);
}

/* One client and one request: nobody waits while the network's thread answers it, at most
 * LEDGE_QUICK as far as is known, and two threads need not be woken. */
static bool answer_here(LedgeExchange *x)
{
    LedgeServer *s = x->server;
    return ledge__server_has_one(s) && atomic_load(&s->drain.active) == 1 &&
           ledge__infer_here(&s->work, &x->work, &x->rest);
}

/* While more requests wait than are worked on, the network's thread interrupts no worker to take
 * yet another: it waits for a core as batch jobs do, and then takes and sends several in one go. */
static void wait_your_turn(LedgeServer *s)
{
#ifdef SCHED_BATCH
    const size_t waiting = ledge__workers_waiting(s->workers);
    const bool yields = waiting > (s->yields ? 0 : 2 * (size_t)s->options.workers);
    const struct sched_param none = {0};
    if (yields != s->yields && sched_getscheduler(0) == (s->yields ? SCHED_BATCH : SCHED_OTHER) &&
        sched_setscheduler(0, yields ? SCHED_BATCH : SCHED_OTHER, &none) == 0)
        s->yields = yields;
#else
    (void)s;
#endif
}

/* Hands the work over; past the bound of the queue it is refused by the same way as a worker's
 * answer. */
static enum MHD_Result push(LedgeExchange *x, LedgeWorkers *workers)
{
    LedgeWork *w = &x->work;
    w->owner = x;
    w->arrived = ledge__now();
    wait_your_turn(x->server);
    ledge__guard_pause(x->server->guard, x->guarded);
    MHD_suspend_connection(x->connection); /* before a worker can resume it */
    if ((w->kind != LEDGE_WORK_LOAD && answer_here(x)) || ledge__workers_push(workers, w))
        return MHD_YES;
    ledge__oip_write_error(atomic_load(&x->server->drain.stage) == LEDGE_HTTP_SHUT
                               ? "the server is about to end; ask another"
                               : "too many requests wait already; try again",
                           &w->out);
    w->end = LEDGE_WORK_LATE;
    x->ready = true;
    MHD_resume_connection(x->connection);
    return MHD_YES;
}

static enum MHD_Result load(LedgeExchange *x, const char *name)
{
    if (!ledge__served_name_ok(name))
        return ledge__send_error(x, 404, "no such model");
    x->work.kind = LEDGE_WORK_LOAD;
    x->work.table = x->server->table;
    snprintf(x->work.name, sizeof x->work.name, "%s", name);
    return push(x, x->server->loaders);
}

static enum MHD_Result unload(LedgeExchange *x, const char *name)
{
    LedgeError err = {0};
    const LedgeStatus s = ledge__model_table_unload(x->server->table, name, &err);
    if (s != LEDGE_OK)
        return send_missing(x, s, &err);
    return ledge__send_static(x, "application/json", "{}", 2, NULL, NULL);
}

/* ---- inference ---- */

/* The model to begin with: by its own name, or as a ladder's rung. */
static LedgeStatus find_model(LedgeExchange *x, const char *name, const char *version,
                              LedgeError *err)
{
    LedgeWork *w = &x->work;
    w->ladder = version ? NULL : ledge__ladders_find(x->server->ladders, name);
    if (!w->ladder)
        return ledge__model_table_find(x->server->table, name, version, err, &w->model);
    w->rung = ledge_adaptive_first(w->ladder->adaptive);
    return ledge__ladder_model(w->ladder, w->rung, err, &w->model);
}

static enum MHD_Result enqueue(LedgeExchange *x, LedgeWorkKind kind, const char *name,
                               const char *version)
{
    LedgeError err = {0};
    LedgeWork *w = &x->work;
    const LedgeStatus s = find_model(x, name, version, &err);
    if (s != LEDGE_OK)
        return send_missing(x, s, &err);
    const double own = w->model->options.deadline;
    w->kind = kind;
    w->deadline = ledge__now() + (own > 0 ? own : x->server->options.deadline);
    return push(x, x->server->workers);
}

static enum MHD_Result infer(LedgeExchange *x, const char *name, const char *version)
{
    const char *header = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND,
                                                     "Inference-Header-Content-Length");
    const char *type =
        MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Content-Encoding");
    char *end = NULL;
    if (type && strcmp(type, "identity") != 0)
        return ledge__send_error(x, 415, "compressed bodies are not taken");
    x->work.json_bytes = SIZE_MAX;
    x->work.regions = ledge__server_regions(x, &x->work.no_regions);
    if (header) {
        const unsigned long long v = strtoull(header, &end, 10);
        if (end == header || *end || header[0] == '-' || v >= SIZE_MAX)
            return ledge__send_error(x, 400, "Inference-Header-Content-Length is no number");
        x->work.json_bytes = (size_t)v;
    }
    const bool raw = x->work.json_bytes == 0;
    if (!x->work.body)
        return ledge__send_error(x, 400, "the request has no body");
    return enqueue(x, raw ? LEDGE_WORK_RAW : LEDGE_WORK_INFER, name, version);
}

static enum MHD_Result classify(LedgeExchange *x, const char *name, const char *version)
{
    const char *top = MHD_lookup_connection_value(x->connection, MHD_GET_ARGUMENT_KIND, "top");
    x->work.top = top ? strtoul(top, NULL, 10) : 5;
    if (x->work.top < 1 || x->work.top > 100)
        return ledge__send_error(x, 400, "top must be 1 to 100");
    if (!x->work.body || x->work.size == 0)
        return ledge__send_error(x, 400, "send a JPEG or PNG as the body");
    return enqueue(x, LEDGE_WORK_CLASSIFY, name, version);
}

/* ---- the table ---- */

static enum MHD_Result send_no_path(LedgeExchange *x)
{
    return ledge__send_error(x, 404, "no such path; docs/protocol.md lists them");
}

/* .../systemsharedmemory and its sibling, whose paths are alike. */
static enum MHD_Result shared_memory(LedgeExchange *x, const Path *p, bool get)
{
    const bool one = p->n == 5 && strcmp(p->part[2], "region") == 0;
    const char *name = one ? p->part[3] : NULL, *what = p->part[p->n - 1];
    LedgeSharedAsk ask;
    if (!one && p->n != 3)
        return send_no_path(x);
    if (get && strcmp(what, "status") == 0)
        ask = LEDGE_SHARED_STATUS;
    else if (!get && one && strcmp(what, "register") == 0)
        ask = LEDGE_SHARED_REGISTER;
    else if (!get && strcmp(what, "unregister") == 0)
        ask = LEDGE_SHARED_UNREGISTER;
    else
        return send_no_path(x);
    if (p->part[1][0] == 'c')
        return ledge__send_error(x, 400,
                                 "this server has no CUDA shared memory; use systemsharedmemory");
    return ledge__server_shared(x, ask, name);
}

static bool is_shared_memory(const Path *p)
{
    return p->n >= 3 && strcmp(p->part[0], "v2") == 0 &&
           (strcmp(p->part[1], "systemsharedmemory") == 0 ||
            strcmp(p->part[1], "cudasharedmemory") == 0);
}

static enum MHD_Result get(LedgeExchange *x, const Path *p)
{
    LedgeServer *s = x->server;
    LedgeText text = {0};
    if (is(p, "/v2/health/live"))
        return send_health(x, "live", NULL, true);
    if (is(p, "/v2/health/ready"))
        return send_health(x, "ready", NULL,
                           ledge__model_table_ready(s->table) &&
                               atomic_load(&s->drain.stage) == LEDGE_HTTP_SERVES);
    if (is(p, "/v2"))
        return send_server(x);
    if (is(p, "/v2/models/*"))
        return get_model(x, p->part[2], NULL, false);
    if (is(p, "/v2/models/*/ready"))
        return get_model(x, p->part[2], NULL, true);
    if (is(p, "/v2/models/*/versions/*"))
        return get_model(x, p->part[2], p->part[4], false);
    if (is(p, "/v2/models/*/versions/*/ready"))
        return get_model(x, p->part[2], p->part[4], true);
    if (is(p, "/metrics")) {
        ledge__server_metrics(s, &text);
        return ledge__send(x, 200, LEDGE_PROM_CONTENT_TYPE, &text, NULL, NULL);
    }
    if (is(p, "/v1/resources")) {
        ledge__watch_history(s->watch, &text);
        return send_json(x, &text);
    }
    if (is(p, "/v1/status")) {
        ledge__server_status(s, &text);
        return send_json(x, &text);
    }
    if (p->n == 0)
        return ledge__send_page(x);
    return is_shared_memory(p) ? shared_memory(x, p, true) : send_no_path(x);
}

static enum MHD_Result post(LedgeExchange *x, const Path *p)
{
    if (is(p, "/v2/models/*/infer"))
        return infer(x, p->part[2], NULL);
    if (is(p, "/v2/models/*/versions/*/infer"))
        return infer(x, p->part[2], p->part[4]);
    if (is(p, "/v1/classify/*"))
        return classify(x, p->part[2], NULL);
    if (is(p, "/v1/classify/*/versions/*"))
        return classify(x, p->part[2], p->part[4]);
    if (is(p, "/v2/repository/index"))
        return send_index(x);
    if (is(p, "/v2/repository/models/*/load"))
        return load(x, p->part[3]);
    if (is(p, "/v2/repository/models/*/unload"))
        return unload(x, p->part[3]);
    return is_shared_memory(p) ? shared_memory(x, p, false) : send_no_path(x);
}

enum MHD_Result ledge__route(LedgeExchange *x, const char *method, const char *url)
{
    Path p;
    if (!cut(url, &p))
        return send_no_path(x);
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        return get(x, &p);
    if (strcmp(method, "POST") == 0)
        return post(x, &p);
    return ledge__send_error(x, 405, "only GET, HEAD and POST are understood");
}
