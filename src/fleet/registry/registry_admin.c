/* The admin API over HTTP: finds the operation, checks the role, runs it as a task. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "fleet/registry/registry_state.h"
#include "fleet/registry/store_state.h"
#include "trust/canonical_json.h"

enum { STRAY_S = 86400 }; /* until then a file without a row is an upload's, at any registry */

typedef struct Admin {
    const LedgeAdminRoute *route;
    char words[3][LEDGE_ADMIN_WORD], who[80];
    json_t *body, *out;
    /* gc's: */
    LedgeTask rows; /* on the database's thread, for the one that has the files */
    LedgeCall *call;
    json_t *stored;
    const char *gone; /* the file that is to go now … */
    int64_t length;   /* … and what the database says of it by now; -1: nothing */
} Admin;

static void free_admin(void *work)
{
    Admin *a = work;
    json_decref(a->body);
    json_decref(a->out);
    json_decref(a->stored);
    free(a);
}

static LedgeStatus operate(LedgeCall *c, LedgeStore *s, LedgeError *err)
{
    Admin *a = c->work;
    const LedgeAsk ask = {.who = a->who,
                          .role = c->caller.role,
                          .words = {a->words[0], a->words[1], a->words[2]},
                          .body = a->body,
                          .query = ledge__call_query,
                          .query_arg = c,
                          .stored = a->stored};
    return a->route->op(s, &ask, err, &a->out);
}

static LedgeStatus run_admin(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    return operate((LedgeCall *)(void *)t, s, err);
}

/* Still on the database's thread, after the commit. */
static void done_admin(LedgeTask *t)
{
    LedgeCall *c = (LedgeCall *)(void *)t;
    LedgeError ignored;
    if (!t->status && strcmp(c->method, "GET") != 0)
        (void)!ledge__tokens_load(c->registry->tokens, c->registry->store, &ignored);
    ledge__call_done(t);
}

/* ---- gc ---- */

static bool note_stored(void *arg, const char *sha256, int64_t size)
{
    return json_array_append_new(
               arg, json_pack("{s:s, s:I}", "sha256", sha256, "length", (json_int_t)size)) == 0;
}

static LedgeStatus run_gc_rows(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    Admin *a = (Admin *)(void *)((char *)t - offsetof(Admin, rows));
    return operate(a->call, s, err);
}

static LedgeStatus run_gc_again(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    Admin *a = (Admin *)(void *)((char *)t - offsetof(Admin, rows));
    return ledge__sql_number(ledge__store_sql(s), err, -1, &a->length, LEDGE_Q_BLOB_GET, "t",
                             a->gone);
}

static LedgeStatus do_rows(Admin *a, LedgeStatus (*run)(LedgeTask *, LedgeStore *, LedgeError *),
                           LedgeError *err)
{
    a->rows = (LedgeTask){.run = run};
    LedgeStatus status = ledge__tasks_do(a->call->registry->tasks, &a->rows);
    if (status)
        *err = a->rows.err;
    return status;
}

/* Uploads come to their places on this thread too, and their rows are asked for from here before
 * ours are, so none that is under way is among these. One that another registry took in meanwhile
 * has a row again. What fails is found the next time. */
static void remove_files(Admin *a)
{
    const json_t *removed = json_object_get(a->out, "removed");
    LedgeError ignored;
    for (size_t i = 0; i < json_array_size(removed); i++) {
        a->gone = json_string_value(json_object_get(json_array_get(removed, i), "sha256"));
        if (do_rows(a, run_gc_again, &ignored) == LEDGE_OK && a->length < 0)
            (void)!ledge__blobs_remove(a->call->registry->options.store.blobs, a->gone, &ignored);
    }
}

/* On the thread for slow things. */
static LedgeStatus run_gc(LedgeTask *t, LedgeStore *none, LedgeError *err)
{
    LedgeCall *c = (LedgeCall *)(void *)t;
    Admin *a = c->work;
    (void)none;
    a->call = c;
    a->stored = json_array();
    if (!a->stored)
        return ledge__no_memory(err);
    const int64_t grace = ledge__member_int(a->body, "grace_s"),
                  before = (int64_t)time(NULL) - (grace > STRAY_S ? grace : STRAY_S);
    LEDGE_TRY(
        ledge__blobs_list(c->registry->options.store.blobs, before, note_stored, a->stored, err));
    LEDGE_TRY(do_rows(a, run_gc_rows, err));
    if (!json_is_true(json_object_get(a->out, "dry_run"))) {
        remove_files(a);
        ledge__blobs_tidy(c->registry->options.store.blobs, before);
    }
    return LEDGE_OK;
}

/* ---- calls ---- */

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
    c->answer = answer_admin;
    if (a->route->op == ledge__admin_gc) {
        c->task.run = run_gc;
        return ledge__call_later(c, c->registry->slow);
    }
    c->task.run = run_admin;
    c->task.done = done_admin;
    return ledge__call_later(c, c->registry->tasks);
}
