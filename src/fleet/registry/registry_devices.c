/* What devices ask: polls, batches, metadata, and the two calls of older clients. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/hash.h"
#include "fleet/protocol/deflate.h"
#include "fleet/registry/publish.h"
#include "fleet/registry/registry_state.h"
#include "fleet/registry/store_state.h"

/* A token for one device speaks for no other. */
static bool speaks_for(const LedgeCall *c, const char *device)
{
    return !c->caller.device[0] || strcmp(c->caller.device, device) == 0;
}

/* Any device may come with a token (or certificate) that was given out for devices. */
static bool may_enroll(const LedgeCall *c)
{
    return c->caller.role == LEDGE_ROLE_DEVICE || c->registry->options.open_api;
}

static enum MHD_Result other_device(LedgeCall *c, const char *device)
{
    return ledge__reply_error(c, 403, "this token is for %s, not for %s", c->caller.device, device);
}

static enum MHD_Result unreadable(LedgeCall *c, LedgeStatus status, const LedgeError *err)
{
    c->task.status = status;
    c->task.err = *err;
    return ledge__reply_failure(c);
}

static bool within(LedgeRateLimit *limit, const char *device)
{
    return !limit || ledge__rate_limit_ask(limit, ledge__hash64(device, strlen(device), 0),
                                           ledge__monotonic());
}

bool ledge__call_device(LedgeCall *c, const char *device, bool *may, enum MHD_Result *done)
{
    if (!speaks_for(c, device))
        *done = other_device(c, device);
    else if (!within(c->registry->batches, device))
        *done = ledge__reply_error(c, 429, "%s sends too much", device);
    else {
        *may = may_enroll(c);
        return true;
    }
    return false;
}

/* ---- polls ---- */

typedef struct Poll {
    LedgePollRequest request;
    LedgePollAnswer answer;
    bool may_enroll;
} Poll;

static LedgeStatus run_poll(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    Poll *p = ((LedgeCall *)(void *)t)->work;
    return ledge__store_poll(s, &p->request, p->may_enroll, err, &p->answer);
}

static enum MHD_Result answer_poll(LedgeCall *c)
{
    const Poll *p = c->work;
    const char *has = ledge__call_header(c, "If-None-Match");
    char tag[LEDGE_FLEET_ETAG + 2], *text = NULL;
    size_t n = 0;
    snprintf(tag, sizeof tag, "\"%s\"", p->answer.etag);
    atomic_fetch_add(&c->registry->n_polls, 1);
    const bool same = has && strcmp(has, tag) == 0;
    if (!same) {
        FILE *to = open_memstream(&text, &n);
        if (to)
            ledge__poll_answer_write(&p->answer, to);
        if (!to || fclose(to))
            return ledge__reply(c, 503, NULL, text, 0);
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(
        n, text, text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (r) {
        (void)MHD_add_response_header(r, "ETag", tag);
        if (!same)
            (void)MHD_add_response_header(r, "Content-Type", "application/json");
    }
    return ledge__reply_with(c, same ? 304 : 200, r);
}

enum MHD_Result ledge__call_poll(LedgeCall *c)
{
    LedgeError err = {0};
    Poll *p = malloc(sizeof *p);
    if (!p)
        return ledge__reply(c, 503, NULL, NULL, 0);
    c->work = p;
    c->work_free = free;
    LedgeStatus status =
        ledge__poll_request_read(c->body ? c->body : "", c->size, &err, &p->request);
    if (status)
        return unreadable(c, status, &err);
    if (!speaks_for(c, p->request.device_id))
        return other_device(c, p->request.device_id);
    if (!within(c->registry->polls, p->request.device_id))
        return ledge__reply_error(c, 429, "%s polls too often", p->request.device_id);
    p->may_enroll = may_enroll(c);
    c->task.run = run_poll;
    c->answer = answer_poll;
    return ledge__call_later(c, c->registry->tasks);
}

/* ---- batches ---- */

typedef struct Batch {
    LedgeIngest ingest;
    LedgeBatchAnswer answer;
    bool may_enroll, is_old;
    char *inflated;
} Batch;

static void free_batch(void *work)
{
    Batch *b = work;
    ledge__ingest_free(&b->ingest);
    free(b->inflated);
    free(b);
}

static LedgeStatus run_batch(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    Batch *b = ((LedgeCall *)(void *)t)->work;
    return ledge__store_ingest(s, &b->ingest, b->may_enroll, err, &b->answer);
}

static enum MHD_Result answer_batch(LedgeCall *c)
{
    const Batch *b = c->work;
    LedgeRegistry *r = c->registry;
    char *text = NULL;
    size_t n = 0;
    atomic_fetch_add(b->answer.duplicate ? &r->n_duplicates : &r->n_batches, 1);
    atomic_fetch_add(&r->n_records, (uint64_t)b->answer.stored);
    FILE *to = open_memstream(&text, &n);
    if (to)
        ledge__batch_answer_write(&b->answer, to);
    if (!to || fclose(to))
        return ledge__reply(c, 503, NULL, text, 0);
    return ledge__reply(c, 200, "application/json", text, n);
}

static LedgeStatus read_batch(LedgeCall *c, Batch *b, LedgeError *err)
{
    const char *coding = ledge__call_header(c, "Content-Encoding"), *text = c->body ? c->body : "";
    size_t size = c->size;
    if (coding && strcmp(coding, "deflate") == 0) {
        LEDGE_TRY(ledge__inflate(c->body ? c->body : "", c->size, LEDGE_FLEET_BATCH_MAX, err,
                                 &b->inflated, &size));
        text = b->inflated;
    } else if (coding && strcmp(coding, "identity") != 0) {
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, "Content-Encoding",
                           "deflate or none is taken");
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    LEDGE_TRY(b->is_old ? ledge__ingest_read_old(text, size, err, &b->ingest)
                        : ledge__ingest_read(text, size,
                                             (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000,
                                             err, &b->ingest));
    b->ingest.raw = text;
    b->ingest.raw_size = size;
    return LEDGE_OK;
}

static enum MHD_Result start_batch(LedgeCall *c, bool is_old)
{
    LedgeError err = {0};
    Batch *b = calloc(1, sizeof *b);
    if (!b)
        return ledge__reply(c, 503, NULL, NULL, 0);
    c->work = b;
    c->work_free = free_batch;
    b->is_old = is_old;
    LedgeStatus status = read_batch(c, b, &err);
    if (status)
        return unreadable(c, status, &err);
    const char *device = b->ingest.head.device_id;
    enum MHD_Result done;
    if (!ledge__call_device(c, device, &b->may_enroll, &done))
        return done;
    c->task.run = run_batch;
    c->answer = answer_batch;
    return ledge__call_later(c, c->registry->tasks);
}

enum MHD_Result ledge__call_batch(LedgeCall *c)
{
    return start_batch(c, false);
}

enum MHD_Result ledge__call_old_ingest(LedgeCall *c)
{
    return start_batch(c, true);
}

/* ---- the older clients' other call ---- */

typedef struct Latest {
    char device[LEDGE_FLEET_DEVICE], model[LEDGE_FLEET_NAME], base[300];
    bool has_model, may_enroll;
    json_t *out;
} Latest;

static void free_latest(void *work)
{
    json_decref(((Latest *)work)->out);
    free(work);
}

static LedgeStatus run_latest(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    Latest *l = ((LedgeCall *)(void *)t)->work;
    return ledge__store_latest(s, l->device, l->has_model ? l->model : NULL, l->may_enroll, l->base,
                               err, &l->out);
}

static enum MHD_Result answer_latest(LedgeCall *c)
{
    return ledge__reply_json(c, 200, json_incref(((Latest *)c->work)->out));
}

/* The address that the client reached the registry by, unless the options name one. */
static void base_of(LedgeCall *c, char *out, size_t size)
{
    const char *host = ledge__call_header(c, "Host");
    const LedgeRegistryOptions *o = &c->registry->options;
    const bool plain =
        host &&
        strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]_") ==
            strlen(host);
    if (o->public_url)
        snprintf(out, size, "%.*s", (int)strcspn(o->public_url, " "), o->public_url);
    else
        snprintf(out, size, "%s://%.200s", o->certificate ? "https" : "http",
                 plain ? host : "localhost");
}

enum MHD_Result ledge__call_old_latest(LedgeCall *c)
{
    const char *device = ledge__call_query(c, "device_id"), *model = ledge__call_query(c, "model");
    if (!device || !ledge__fleet_is_device(device))
        return ledge__reply_error(
            c, 400, "?device_id= is missing or of other letters than a device id has");
    if (model && !ledge__fleet_is_name(model))
        return ledge__reply_error(c, 400, "?model= is no model's name");
    if (!speaks_for(c, device))
        return other_device(c, device);
    if (!within(c->registry->polls, device))
        return ledge__reply_error(c, 429, "%s asks too often", device);
    Latest *l = calloc(1, sizeof *l);
    if (!l)
        return ledge__reply(c, 503, NULL, NULL, 0);
    c->work = l;
    c->work_free = free_latest;
    snprintf(l->device, sizeof l->device, "%s", device);
    snprintf(l->model, sizeof l->model, "%s", model ? model : "");
    l->has_model = model != NULL;
    l->may_enroll = may_enroll(c);
    base_of(c, l->base, sizeof l->base);
    c->task.run = run_latest;
    c->answer = answer_latest;
    return ledge__call_later(c, c->registry->tasks);
}

/* ---- metadata ---- */

typedef struct Metadata {
    LedgeTufRole role;
    int64_t version;
    char *text;
    size_t size;
} Metadata;

static void free_metadata(void *work)
{
    free(((Metadata *)work)->text);
    free(work);
}

static LedgeStatus run_metadata(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    Metadata *m = ((LedgeCall *)(void *)t)->work;
    return ledge__publish_text(s, m->role, m->version, err, &m->text, &m->size);
}

static enum MHD_Result answer_metadata(LedgeCall *c)
{
    Metadata *m = c->work;
    char *text = m->text;
    m->text = NULL;
    return ledge__reply(c, 200, "application/json", text, m->size);
}

/* "timestamp.json" or "{N}.{role}.json"; root.json and targets.json alone are the newest, for
 * publishers. */
static bool parse_name(const char *name, Metadata *m)
{
    char *end;
    const char *rest = name;
    m->version = 0;
    if (name[0] >= '1' && name[0] <= '9') {
        m->version = strtoll(name, &end, 10);
        if (*end != '.' || m->version <= 0 || m->version == INT64_MAX)
            return false;
        rest = end + 1;
    }
    for (int role = 0; role < LEDGE_TUF_ROLE_COUNT; role++) {
        const char *role_name = ledge__tuf_role_name((LedgeTufRole)role);
        const size_t n = strlen(role_name);
        if (strncmp(rest, role_name, n) == 0 && strcmp(rest + n, ".json") == 0) {
            m->role = (LedgeTufRole)role;
            return true;
        }
    }
    return false;
}

/* The time, signed over the device's nonce. */
static enum MHD_Result send_time(LedgeCall *c, const char *name)
{
    char nonce[65];
    LedgeError err = {0};
    json_t *envelope = NULL;
    const size_t n = strcspn(name, ".");
    const LedgeKey *key = c->registry->options.store.timestamp_key;
    if (n < 16 || n > 64 || strspn(name, "0123456789abcdef") != n || strcmp(name + n, ".json") != 0)
        return ledge__reply_error(c, 400, "a nonce has 16 to 64 hexadecimal digits");
    if (!key)
        return ledge__reply_error(c, 404, "this registry has no key to sign the time with");
    memcpy(nonce, name, n);
    nonce[n] = '\0';
    json_t *content = ledge__tuf_make_time((int64_t)time(NULL), nonce);
    LedgeStatus status =
        content ? ledge__envelope_make(content, &key, 1, &err, &envelope) : ledge__no_memory(&err);
    json_decref(content);
    return status ? unreadable(c, status, &err) : ledge__reply_json(c, 200, envelope);
}

enum MHD_Result ledge__call_tuf(LedgeCall *c)
{
    const char *name = c->url + strlen("/v1/tuf/");
    Metadata *m = calloc(1, sizeof *m);
    if (!m)
        return ledge__reply(c, 503, NULL, NULL, 0);
    c->work = m;
    c->work_free = free_metadata;
    if (strncmp(name, "time/", 5) == 0)
        return send_time(c, name + 5);
    if (!parse_name(name, m))
        return ledge__reply_error(c, 404, "there is no such metadata");
    c->task.run = run_metadata;
    c->answer = answer_metadata;
    return ledge__call_later(c, c->registry->tasks);
}
