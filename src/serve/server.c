/* The server's life, and the way of a request through libmicrohttpd: headers, body, and out to the
 * workers while the connection is suspended. */
#include "serve/server_state.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/cpu.h"
#include "http/http_listen.h"
#include "serve/idle_memory.h"

/* Bytes of a tensor for each byte of JSON that holds it, at most. */
enum { TENSOR_PER_BODY = 4 };
enum { LONG = 65536 }; /* bytes of a body that is worth a thread to read it as it comes in */

static void take_options(LedgeServer *s, const LedgeServerOptions *options)
{
    LedgeServerOptions *o = &s->options;
    int fast;
    const int cores = ledge__cpu_cores(&fast);
    s->has_cores = cores > 1;
    *o = *options;
    o->host = o->host ? o->host : "127.0.0.1";
    o->workers = o->workers > 0 ? o->workers : fast > 0 ? fast : cores;
    o->workers = o->workers < LEDGE_SERVE_WORKERS ? o->workers : LEDGE_SERVE_WORKERS;
    o->queue = o->queue ? o->queue : 256;
    o->deadline = o->deadline > 0 ? o->deadline : 30;
    o->body_limit = o->body_limit ? o->body_limit : (size_t)64 << 20;
    o->connections = o->connections ? o->connections : 1000;
    o->idle = o->idle ? o->idle : 30;
}

/* ---- answers ---- */

static void free_body(void *p)
{
    ledge__free(NULL, p);
}

/* Counts and sends the response, which is given up here. */
static enum MHD_Result respond(LedgeExchange *x, unsigned code, struct MHD_Response *r, size_t size,
                               const char *type, const char *extra, const char *value)
{
    if (type)
        MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (extra)
        MHD_add_response_header(r, extra, value);
    atomic_fetch_add(&x->server->codes[code], 1);
    ledge__guard_answer(x->server->guard, x->guarded, size);
    return ledge__http_send(&x->server->drain, x->connection, code, r);
}

enum MHD_Result ledge__send_static(LedgeExchange *x, const char *type, const void *bytes,
                                   size_t size, const char *extra, const char *value)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(size, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT);
    return r ? respond(x, 200, r, size, type, extra, value) : MHD_NO;
}

enum MHD_Result ledge__send(LedgeExchange *x, unsigned code, const char *type, LedgeText *body,
                            const char *extra, const char *value)
{
    if (body && body->failed) {
        ledge__text_free(body);
        return code == 500 ? MHD_NO : ledge__send_error(x, 500, "out of memory");
    }
    const size_t size = body ? body->n : 0;
    struct MHD_Response *r =
        body && body->p
            ? MHD_create_response_from_buffer_with_free_callback(body->n, body->p, free_body)
            : MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (r && body)
        *body = (LedgeText){.allocator = body->allocator};
    return r ? respond(x, code, r, size, type, extra, value) : MHD_NO;
}

enum MHD_Result ledge__send_error(LedgeExchange *x, unsigned code, const char *message)
{
    LedgeText body = {0};
    ledge__oip_write_error(message, &body);
    const enum MHD_Result done = ledge__send(x, code, "application/json", &body,
                                             code == 503   ? "Retry-After"
                                             : code == 401 ? "WWW-Authenticate"
                                                           : NULL,
                                             code == 503 ? "1" : "Bearer");
    ledge__text_free(&body);
    return done;
}

/* Sends what a worker left in x->work. */
static enum MHD_Result send_answer(LedgeExchange *x)
{
    LedgeWork *w = &x->work;
    static const unsigned codes[] = {200, 400, 503, 500, 404};
    const unsigned code = codes[w->end];
    char length[24];
    if (w->out_json == 0)
        return ledge__send(x, code, "application/json", &w->out, code == 503 ? "Retry-After" : NULL,
                           "1");
    snprintf(length, sizeof length, "%zu", w->out_json);
    return ledge__send(x, code, "application/octet-stream", &w->out,
                       "Inference-Header-Content-Length", length);
}

/* ---- requests ---- */

static void answer_is_ready(LedgeWork *w)
{
    LedgeExchange *x = w->owner;
    x->ready = true; /* the resumption orders this before the next call for it */
    MHD_resume_connection(x->connection);
}

/* Whether a client is alone and asks again at once, as far as the last request tells. */
static bool is_looping(const LedgeServer *s)
{
    return s->has_cores && ledge__server_has_one(s) && ledge__now() - s->answered < 2e-4;
}

/* For such a client the thread stays awake a little: going to sleep and being woken may take longer
 * than all else that is done for its next request. */
static void stay_awake(LedgeServer *s, struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd p = {.fd = info ? info->connect_fd : -1, .events = POLLIN};
    s->answered = ledge__now();
    while (s->loops && p.fd >= 0 && poll(&p, 1, 0) == 0 && ledge__now() - s->answered < 1e-4) {
    }
}

static LedgeExchange *begin(LedgeServer *s, struct MHD_Connection *c)
{
    LedgeExchange *x = calloc(1, sizeof *x);
    if (!x || !ledge__http_enter(&s->drain)) {
        free(x);
        return NULL;
    }
    x->server = s;
    x->connection = c;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->guarded = info ? info->socket_context : NULL;
    s->loops = is_looping(s);
    return x;
}

static void refuse(LedgeExchange *x, unsigned code)
{
    x->refused = true;
    x->refusal = code;
}

/* Compares in a time that does not tell how much of it was right. */
static bool same_text(const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    unsigned differ = n != m;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned)(unsigned char)a[i] ^ (unsigned)(unsigned char)b[m ? i % m : 0];
    return differ == 0;
}

static bool token_fits(LedgeServer *s, const char *token)
{
    pthread_mutex_lock(&s->token_lock);
    const bool fits = !s->token || (token && same_text(token, s->token));
    pthread_mutex_unlock(&s->token_lock);
    return fits;
}

/* A body of `room` bytes with what there is of it. Tensors behind JSON need no second copy when the
 * first of them begins aligned. false: no memory. */
static bool make_room(LedgeExchange *x, size_t room)
{
    LedgeWork *w = &x->work;
    const size_t before = (LEDGE_ALIGN - x->lead) % LEDGE_ALIGN;
    char *block = aligned_alloc(LEDGE_ALIGN, ledge__round_up(before + room + 1, LEDGE_ALIGN));
    if (!block)
        return false;
    if (w->size)
        memcpy(block + before, w->body, w->size);
    free(w->block);
    w->block = block;
    w->body = block + before;
    x->room = room;
    return true;
}

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void check_headers(LedgeExchange *x, const char *method, const char *url)
{
    const LedgeServer *s = x->server;
    const char *length =
        MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Content-Length");
    const char *json = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND,
                                                   "Inference-Header-Content-Length");
    const char *token =
        MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Authorization");
    if (length && strtoull(length, NULL, 10) > s->options.body_limit)
        refuse(x, 413);
    if (strcmp(method, "POST") == 0 && !token_fits(x->server, token))
        refuse(x, 401);
    if (json)
        x->lead = (size_t)strtoull(json, NULL, 10) % LEDGE_ALIGN;
    if (!x->refused && length && !make_room(x, (size_t)strtoull(length, NULL, 10)))
        refuse(x, 503); /* known before, so that it is there at once */
    x->comes_whole = !x->refused && x->room >= LONG && !json && ends_in(url, "/infer");
}

/* With nobody else to serve, numbers are read by a thread of their own while further ones are on
 * their way; else that is left to the workers, who are many. */
static void look_ahead(LedgeExchange *x)
{
    LedgeWork *w = &x->work;
    LedgeReadAhead *r = x->server->reader;
    if (x->comes_whole && !w->reader && atomic_load(&x->server->drain.active) == 1 &&
        ledge__read_ahead_begin(r, &w->ahead, w->body, x->room))
        w->reader = r;
    if (w->reader)
        ledge__read_ahead_more(r, &w->ahead, w->size);
}

/* Nothing was read ahead then. */
static void forget_ahead(LedgeExchange *x)
{
    LedgeWork *w = &x->work;
    if (w->reader)
        ledge__read_ahead_drop(w->reader, &w->ahead);
    ledge__oip_ahead_free(&w->ahead);
    w->ahead = (LedgeOipAhead){.tried = 0};
    w->reader = NULL;
    x->comes_whole = false;
}

static void take_body(LedgeExchange *x, const char *data, size_t size)
{
    LedgeWork *w = &x->work;
    if (x->refused)
        return;
    if (size > x->server->options.body_limit - w->size) {
        refuse(x, 413);
        return;
    }
    if (w->size + size > x->room) { /* chunked: its length is not known before */
        forget_ahead(x);
        if (!make_room(x, 2 * (w->size + size) + 4096)) {
            refuse(x, 503);
            return;
        }
    }
    memcpy(w->body + w->size, data, size);
    w->size += size;
    look_ahead(x);
}

static enum MHD_Result send_refusal(LedgeExchange *x)
{
    switch (x->refusal) {
    case 401:
        return ledge__send_error(x, 401, "the request lacks the right bearer token");
    case 413:
        return ledge__send_error(x, 413, "the request is larger than this server takes");
    default:
        return ledge__send_error(x, 503, "out of memory for the request");
    }
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    LedgeExchange *x = *state;
    (void)version;
    if (!x) {
        *state = x = begin(arg, c);
        if (x)
            check_headers(x, method, url);
        /* What is refused by its headers gets its answer before the body is read. */
        return !x ? MHD_NO : x->refused ? send_refusal(x) : MHD_YES;
    }
    if (*size) {
        take_body(x, data, *size);
        ledge__guard_received(x->server->guard, x->guarded, *size);
        *size = 0;
        return MHD_YES;
    }
    if (x->ready)
        return send_answer(x);
    if (x->refused)
        return send_refusal(x);
    /* The body is whole. A worker that is woken now may get the reader's core, and wait for it. */
    if (x->work.reader)
        ledge__read_ahead_help(x->work.reader, &x->work.ahead);
    return ledge__route(x, method, url);
}

static void on_done(void *arg, struct MHD_Connection *c, void **state,
                    enum MHD_RequestTerminationCode code)
{
    LedgeExchange *x = *state;
    LedgeServer *s = arg;
    if (!x)
        return;
    ledge__infer_rest(x->rest);
    ledge__infer_forget(&x->work);
    ledge__served_unref(x->work.model);
    ledge__ladder_unref(x->work.ladder);
    ledge__text_free(&x->work.out);
    forget_ahead(x);
    free(x->work.block);
    ledge__guard_request(x->server->guard, x->guarded); /* the next one */
    ledge__http_leave(&s->drain);
    free(x);
    *state = NULL;
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK && ledge__server_has_one(s))
        stay_awake(s, c);
}

static void on_connection(void *arg, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    LedgeServer *s = arg;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    ledge__http_connection(&s->drain, what);
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = info ? ledge__guard_add(s->guard, info->connect_fd) : NULL;
    } else if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        ledge__guard_remove(s->guard, *context);
        *context = NULL;
    }
}

/* ---- life ---- */

/* As many files as connections and a few more, if the system lets us. */
static void allow_files(uint32_t connections)
{
    struct rlimit r;
    const rlim_t want = (rlim_t)connections + 256;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= want)
        return;
    r.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
    (void)setrlimit(RLIMIT_NOFILE, &r);
}

static LedgeStatus start_daemon(LedgeServer *s, LedgeError *err)
{
    const LedgeServerOptions *o = &s->options;
    const LedgeHttpListen how = {.host = o->host,
                                 .port = o->port,
                                 .connections = o->connections,
                                 .idle = o->idle,
                                 .certificate = o->certificate,
                                 .key = o->key,
                                 .on_request = on_request,
                                 .on_done = on_done,
                                 .on_connection = on_connection,
                                 .arg = s,
                                 .drain = &s->drain};
    allow_files(o->connections);
    return ledge__http_listen(&how, err, &s->daemon);
}

LedgeStatus ledge__server_start(const LedgeServerOptions *options, LedgeModelTable *table,
                                LedgeLadders *ladders, LedgeError *err, LedgeServer **out)
{
    ledge__keep_heap(); /* before there are threads, which would get heaps of their own */
    LedgeServer *s = calloc(1, sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    take_options(s, options);
    s->table = table;
    s->ladders = ladders;
    s->started = ledge__now();
    pthread_mutex_init(&s->resources_lock, NULL);
    pthread_mutex_init(&s->token_lock, NULL);
    const LedgeWorkOptions work = {.workers = s->options.workers,
                                   .queue = s->options.queue,
                                   .tensor_limit = TENSOR_PER_BODY * s->options.body_limit,
                                   .answer = ledge__infer,
                                   .ready = answer_is_ready};
    s->work = work;
    const LedgeWorkOptions load = {
        .workers = 1, .queue = 16, .answer = ledge__load, .ready = answer_is_ready};
    LedgeStatus status =
        ledge__resources_new(NULL, "", ledge__allocator_or_default(NULL), err, &s->resources);
    if (status == LEDGE_OK)
        status = ledge__server_set_token(s, options->token, err);
    if (status == LEDGE_OK)
        status = ledge__workers_new(&work, err, &s->workers);
    if (status == LEDGE_OK)
        status = ledge__workers_new(&load, err, &s->loaders);
    if (status == LEDGE_OK)
        status = ledge__read_ahead_new(work.tensor_limit, err, &s->reader);
    if (status == LEDGE_OK && options->shared_memory)
        status = ledge__regions_new(options->shared_memory, err, &s->regions);
    if (status == LEDGE_OK)
        status = ledge__guard_new(s->options.idle, err, &s->guard);
    if (status == LEDGE_OK)
        status = ledge__watch_new(&s->options.watch, table, err, &s->watch);
    if (status == LEDGE_OK)
        status = start_daemon(s, err);
    if (status != LEDGE_OK) {
        ledge__server_stop(s, 0);
    } else {
        ledge__trim_heap(); /* of what loading models took */
        ledge__let_code_go();
        *out = s;
    }
    return status;
}

LedgeStatus ledge__server_set_token(LedgeServer *s, const char *token, LedgeError *err)
{
    const size_t n = token ? strlen(token) + sizeof "Bearer " : 0;
    char *fresh = token ? malloc(n) : NULL;
    if (token && !fresh)
        return ledge__no_memory(err);
    if (token)
        snprintf(fresh, n, "Bearer %s", token);
    pthread_mutex_lock(&s->token_lock);
    char *old = s->token;
    s->token = fresh;
    pthread_mutex_unlock(&s->token_lock);
    free(old);
    return LEDGE_OK;
}

uint16_t ledge__server_port(const LedgeServer *s)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void ledge__server_stop(LedgeServer *s, double patience)
{
    if (!s)
        return;
    if (s->daemon) {
        ledge__http_drain(&s->drain, patience);
        ledge__workers_stop(s->workers); /* answers what waits; nobody may be suspended below */
        ledge__workers_stop(s->loaders);
        MHD_stop_daemon(s->daemon);
    }
    ledge__workers_free(s->workers);
    ledge__workers_free(s->loaders);
    ledge__read_ahead_free(s->reader);
    ledge__regions_free(s->regions);
    ledge__watch_free(s->watch, 2);
    ledge__resources_free(s->resources);
    pthread_mutex_destroy(&s->resources_lock);
    pthread_mutex_destroy(&s->token_lock);
    ledge__guard_free(s->guard);
    free(s->token);
    free(s);
}
