/* The way of a request through libmicrohttpd: headers, body, out to a task while the connection is
 * suspended, and back. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/hash.h"
#include "fleet/registry/registry_http.h"

double ledge__monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

const char *ledge__call_header(LedgeCall *c, const char *name)
{
    return MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, name);
}

const char *ledge__call_query(void *call, const char *name)
{
    return MHD_lookup_connection_value(((LedgeCall *)call)->connection, MHD_GET_ARGUMENT_KIND,
                                       name);
}

/* ---- answers ---- */

enum MHD_Result ledge__reply_with(LedgeCall *c, unsigned code, struct MHD_Response *r)
{
    if (!r)
        return MHD_NO;
    if (code < LEDGE_REGISTRY_CODES)
        atomic_fetch_add(&c->registry->codes[code], 1);
    if (code == 401)
        (void)MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
    if (code == 503 || code == 429)
        (void)MHD_add_response_header(r, "Retry-After", code == 429 ? "10" : "2");
    (void)MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    return ledge__http_send(&c->registry->drain, c->connection, code, r);
}

enum MHD_Result ledge__reply(LedgeCall *c, unsigned code, const char *type, char *body, size_t size)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(
        size, body, body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!r)
        free(body);
    else if (type)
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    return ledge__reply_with(c, code, r);
}

enum MHD_Result ledge__reply_json(LedgeCall *c, unsigned code, json_t *o)
{
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!text)
        return ledge__reply(c, 503, NULL, NULL, 0);
    return ledge__reply(c, code, "application/json", text, strlen(text));
}

enum MHD_Result ledge__reply_error(LedgeCall *c, unsigned code, const char *fmt, ...)
{
    char text[900];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    json_t *o = json_pack("{s:s}", "error", text);
    /* What came from outside need not be UTF-8. */
    return ledge__reply_json(c, code, o ? o : json_pack("{s:s}", "error", "bad request"));
}

static unsigned code_of(LedgeStatus status)
{
    switch (status) {
    case LEDGE_OK:
        return 200;
    case LEDGE_ERROR_NOT_FOUND:
        return 404;
    case LEDGE_ERROR_MISMATCH:
        return 409;
    case LEDGE_ERROR_LIMIT:
        return 413;
    case LEDGE_ERROR_PROVIDER:
        return 403;
    case LEDGE_ERROR_IO:
    case LEDGE_ERROR_MEMORY:
        return 503;
    case LEDGE_ERROR_RUNTIME:
        return 500;
    default:
        return 400;
    }
}

enum MHD_Result ledge__reply_failure(LedgeCall *c)
{
    const LedgeError *e = &c->task.err;
    return ledge__reply_error(c, code_of(c->task.status), "%s%s%s", e->where,
                              e->where[0] ? ": " : "",
                              e->message[0] ? e->message : ledge_status_text(c->task.status));
}

/* ---- tasks ---- */

void ledge__call_done(LedgeTask *t)
{
    LedgeCall *c = (LedgeCall *)(void *)t;
    c->ready = true; /* the resumption orders this before the next call for it */
    MHD_resume_connection(c->connection);
}

enum MHD_Result ledge__call_later(LedgeCall *c, LedgeTasks *tasks)
{
    if (!c->task.done)
        c->task.done = ledge__call_done;
    c->queued = true;
    MHD_suspend_connection(c->connection);
    if (!ledge__tasks_put(tasks, &c->task)) {
        c->task.status = ledge__fail(&c->task.err, LEDGE_ERROR_IO, "registry",
                                     "too many requests wait; try again");
        ledge__call_done(&c->task);
    }
    return MHD_YES;
}

/* ---- who asks ---- */

static uint64_t address_of(LedgeCall *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!info || !info->client_addr)
        return 1;
    if (info->client_addr->sa_family == AF_INET6) /* a host has a whole /64 */
        return ledge__hash64(
            ((const struct sockaddr_in6 *)(const void *)info->client_addr)->sin6_addr.s6_addr, 8,
            0);
    return ledge__hash64(&((const struct sockaddr_in *)(const void *)info->client_addr)->sin_addr,
                         4, 0);
}

static void check_caller(LedgeCall *c)
{
    LedgeRegistry *r = c->registry;
    const LedgeRoute *route = c->route;
    const char *header = ledge__call_header(c, "Authorization");
    const bool free_for_all =
        route->role == LEDGE_ROLE_NONE || (route->if_open && r->options.open_api);
    if (header ? ledge__tokens_find(r->tokens, header, &c->caller) : ledge__call_certificate(c)) {
        const bool may = ledge__role_allows(c->caller.role, route->role) ||
                         (route->role == LEDGE_ROLE_DEVICE && route->handle == ledge__call_blob);
        if (!may && !free_for_all)
            c->refusal = 403;
    } else if (header || !free_for_all) {
        c->refusal =
            ledge__rate_limit_ask(r->strangers, address_of(c), ledge__monotonic()) ? 401 : 429;
    } else if (!ledge__rate_limit_ask(r->readers, address_of(c), ledge__monotonic())) {
        c->refusal = 429;
    }
}

static enum MHD_Result send_refusal(LedgeCall *c)
{
    switch (c->refusal) {
    case 401:
        return ledge__reply_error(c, 401, "the request carries no token that this registry knows");
    case 403:
        return ledge__reply_error(
            c, 403, "a token of the role %s may not do this; it takes the role %s",
            ledge__role_name(c->caller.role), ledge__role_name(c->route->role));
    case 413:
        return ledge__reply_error(c, 413, "the request is larger than this registry takes");
    case 429:
        return ledge__reply_error(c, 429, "too many requests; wait a while");
    case 404:
        return ledge__reply_error(c, 404, "there is nothing at this address");
    case 405:
        return ledge__reply_error(c, 405, "this address does not take %s", c->method);
    default:
        return ledge__reply_error(c, 503, "the request could not be taken in; try again");
    }
}

/* ---- bodies ---- */

static void take_piece(LedgeCall *c, const char *bytes, size_t size)
{
    if (c->refusal)
        return;
    if (c->route->body == SIZE_MAX) {
        (void)ledge__upload_piece(c, bytes, size);
        return;
    }
    if (size > c->route->body - c->size) {
        c->refusal = 413;
        return;
    }
    if (c->size + size + 1 > c->room) {
        const size_t room = 2 * (c->size + size) + 1024;
        char *body = realloc(c->body, room);
        if (!body) {
            c->refusal = 503;
            return;
        }
        c->body = body;
        c->room = room;
    }
    memcpy(c->body + c->size, bytes, size);
    c->size += size;
    c->body[c->size] = '\0';
}

static LedgeCall *begin(LedgeRegistry *r, struct MHD_Connection *connection, const char *url,
                        const char *method)
{
    LedgeCall *c = calloc(1, sizeof *c);
    bool known = false;
    if (!c || !ledge__http_enter(&r->drain)) {
        free(c);
        return NULL;
    }
    c->registry = r;
    c->connection = connection;
    c->method = method;
    c->url = strdup(url);
    c->route = c->url ? ledge__route_find(method, url, &known) : NULL;
    if (!c->route) {
        c->refusal = !c->url ? 503 : known ? 405 : 404;
        return c;
    }
    check_caller(c);
    const char *length = ledge__call_header(c, "Content-Length");
    if (!c->refusal && length && c->route->body != SIZE_MAX &&
        strtoull(length, NULL, 10) > c->route->body)
        c->refusal = 413;
    return c;
}

enum MHD_Result ledge__on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    LedgeCall *c = *state;
    (void)version;
    if (!c) {
        *state = c = begin(arg, connection, url, method);
        /* What is refused by its headers gets its answer before the body is read. */
        return !c ? MHD_NO : c->refusal ? send_refusal(c) : MHD_YES;
    }
    if (*size) {
        take_piece(c, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (c->ready)
        return c->task.status ? ledge__reply_failure(c) : c->answer(c);
    if (c->refusal)
        return send_refusal(c);
    return c->queued ? MHD_YES : c->route->handle(c);
}

void ledge__on_done(void *arg, struct MHD_Connection *connection, void **state,
                    enum MHD_RequestTerminationCode code)
{
    LedgeCall *c = *state;
    (void)arg, (void)connection, (void)code;
    if (!c)
        return;
    if (c->work_free)
        c->work_free(c->work);
    ledge__http_leave(&c->registry->drain);
    free(c->body);
    free(c->url);
    free(c);
    *state = NULL;
}

void ledge__on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    LedgeRegistry *r = arg;
    (void)connection, (void)context;
    ledge__http_connection(&r->drain, what);
}
