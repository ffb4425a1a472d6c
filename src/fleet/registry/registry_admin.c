/* The admin API over HTTP: finds the operation, checks the role, runs it as a task. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fleet/registry/registry_state.h"
#include "trust/canonical_json.h"

typedef struct Admin {
    const LedgeAdminRoute *route;
    char words[3][LEDGE_ADMIN_WORD], who[80];
    json_t *body, *out;
} Admin;

static void free_admin(void *work)
{
    Admin *a = work;
    json_decref(a->body);
    json_decref(a->out);
    free(a);
}

static LedgeStatus run_admin(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    LedgeCall *c = (LedgeCall *)(void *)t;
    Admin *a = c->work;
    const LedgeAsk ask = {.who = a->who,
                          .role = c->caller.role,
                          .words = {a->words[0], a->words[1], a->words[2]},
                          .body = a->body,
                          .query = ledge__call_query,
                          .query_arg = c};
    return a->route->op(s, &ask, err, &a->out);
}

/* What gc took from the database; but not what an upload put back in the same transaction. */
static void remove_blobs(LedgeRegistry *r, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *sha256 = json_string_value(json_object_get(json_array_get(list, i), "sha256"));
        LedgeError ignored;
        int64_t length = -1;
        if (!ledge__sql_number(ledge__store_sql(r->store), &ignored, -1, &length, LEDGE_Q_BLOB_GET,
                               "t", sha256) &&
            length < 0)
            (void)!ledge__blobs_remove(r->options.store.blobs, sha256, &ignored);
    }
}

/* Still on the database's thread, after the commit. */
static void done_admin(LedgeTask *t)
{
    LedgeCall *c = (LedgeCall *)(void *)t;
    const Admin *a = c->work;
    LedgeError ignored;
    if (!t->status && strcmp(c->method, "GET") != 0) {
        (void)!ledge__tokens_load(c->registry->tokens, c->registry->store, &ignored);
        if (a->route->op == ledge__admin_gc && !json_is_true(json_object_get(a->out, "dry_run")))
            remove_blobs(c->registry, json_object_get(a->out, "removed"));
    }
    ledge__call_done(t);
}

static enum MHD_Result answer_admin(LedgeCall *c)
{
    Admin *a = c->work;
    json_t *out = a->out;
    a->out = NULL;
    return ledge__reply_json(c, 200, out);
}

static LedgeStatus read_body(LedgeCall *c, Admin *a, LedgeError *err)
{
    if (!c->size)
        return LEDGE_OK;
    return ledge__json_parse("body", c->body, c->size, err, &a->body);
}

enum MHD_Result ledge__call_admin(LedgeCall *c)
{
    bool known;
    Admin *a = calloc(1, sizeof *a);
    if (!a)
        return ledge__reply(c, 503, NULL, NULL, 0);
    c->work = a;
    c->work_free = free_admin;
    a->route = ledge__admin_find(c->method, c->url + strlen("/v1/admin/"), a->words, &known);
    if (!a->route)
        return known ? ledge__reply_error(c, 405, "this address does not take %s", c->method)
                     : ledge__reply_error(c, 404, "there is nothing at this address");
    if (!ledge__role_allows(c->caller.role, a->route->role))
        return ledge__reply_error(
            c, 403, "a token of the role %s may not do this; it takes the role %s",
            ledge__role_name(c->caller.role), ledge__role_name(a->route->role));
    c->task.status = read_body(c, a, &c->task.err);
    if (c->task.status)
        return ledge__reply_failure(c);
    snprintf(a->who, sizeof a->who, "token %lld (%s)", (long long)c->caller.token,
             ledge__role_name(c->caller.role));
    c->task.run = run_admin;
    c->task.done = done_admin;
    c->answer = answer_admin;
    return ledge__call_later(c, c->registry->tasks);
}
