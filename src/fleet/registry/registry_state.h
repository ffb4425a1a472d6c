/* What the parts of the registry's server share. */
#ifndef LEDGE_FLEET_REGISTRY_STATE_H
#define LEDGE_FLEET_REGISTRY_STATE_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "fleet/registry/admin.h"
#include "fleet/registry/rate_limit.h"
#include "fleet/registry/registry_server.h"
#include "fleet/registry/registry_tasks.h"
#include "fleet/registry/token_table.h"
#include "http/http_drain.h"

enum { LEDGE_REGISTRY_CODES = 600 };

struct LedgeRegistry {
    LedgeRegistryOptions options;
    struct MHD_Daemon *daemon;
    LedgeStore *store; /* the database thread's */
    LedgeTasks *tasks, *slow;
    LedgeTokens *tokens;
    LedgeRateLimit *polls, *batches; /* by device */
    LedgeRateLimit *strangers,
        *readers; /* by address: with no token that is known; where none is asked */
    LedgeHttpDrain drain;
    atomic_uint_fast64_t codes[LEDGE_REGISTRY_CODES], n_polls, n_batches, n_records, n_duplicates;
    atomic_uint_fast64_t n_upload;
};

typedef struct LedgeCall LedgeCall;

typedef struct LedgeRoute {
    const char *method, *path; /* a path that ends with / stands for all below it */
    LedgeRole role;            /* that is asked for; NONE: everybody */
    bool if_open;              /* everybody, where the API is open */
    size_t body;               /* most bytes; SIZE_MAX: a file, taken piece by piece */
    /* When the body is there. It sends an answer, or puts the call's task and sends later. */
    enum MHD_Result (*handle)(LedgeCall *c);
} LedgeRoute;

/* One request, from its first header to its last byte. */
struct LedgeCall {
    LedgeTask task; /* first: a task is its call */
    LedgeRegistry *registry;
    struct MHD_Connection *connection;
    const LedgeRoute *route;
    const char *method;
    char *url;
    LedgeCaller caller;
    char *body;
    size_t size, room;
    unsigned refusal; /* a status code, before there is a body */
    bool queued, ready;
    enum MHD_Result (*answer)(LedgeCall *c); /* after the task */
    void *work;                              /* the handler's own */
    void (*work_free)(void *work);
};

/* registry_http.c */
enum MHD_Result ledge__reply(LedgeCall *c, unsigned code, const char *type, char *body,
                             size_t size);
enum MHD_Result ledge__reply_with(LedgeCall *c, unsigned code, struct MHD_Response *r);
enum MHD_Result ledge__reply_json(LedgeCall *c, unsigned code, json_t *o); /* takes o */
enum MHD_Result ledge__reply_error(LedgeCall *c, unsigned code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* By the task's failure. */
enum MHD_Result ledge__reply_failure(LedgeCall *c);
/* Suspends the connection and queues c->task; c->answer goes on when it is done. */
enum MHD_Result ledge__call_later(LedgeCall *c, LedgeTasks *tasks);
void ledge__call_done(LedgeTask *t); /* a task's done */
const char *ledge__call_header(LedgeCall *c, const char *name);
const char *ledge__call_query(void *call, const char *name);
double ledge__monotonic(void);

/* registry_routes.c */
const LedgeRoute *ledge__route_find(const char *method, const char *url, bool *known);
/* registry_blobs.c: a piece of an upload's body; false: it is refused (c->refusal). */
bool ledge__upload_piece(LedgeCall *c, const char *bytes, size_t size);
/* When all of it is there: hash and size, and its first bytes, up to `most`. false: it was refused
 * and *done is what to give back. */
bool ledge__upload_whole(LedgeCall *c, void *first, size_t *most, enum MHD_Result *done);
/* Brings it to its place and then runs `run` on the database's thread. What the caller needs for
 * it goes along, freed with free() in the end. */
enum MHD_Result ledge__upload_store(LedgeCall *c, void *more,
                                    LedgeStatus (*run)(LedgeTask *, LedgeStore *, LedgeError *),
                                    enum MHD_Result (*answer)(LedgeCall *));
/* Nothing came to know of it: its file goes with the call. */
void ledge__upload_orphan(LedgeCall *c);
const char *ledge__upload_hash(const LedgeCall *c);
int64_t ledge__upload_size(const LedgeCall *c);
void *ledge__upload_more(const LedgeCall *c);
/* registry_devices.c: whether the caller may speak for this device now; else *done answers it. */
bool ledge__call_device(LedgeCall *c, const char *device, bool *may_enroll, enum MHD_Result *done);

enum MHD_Result ledge__call_poll(LedgeCall *c);
enum MHD_Result ledge__call_batch(LedgeCall *c);
enum MHD_Result ledge__call_sample(LedgeCall *c);
enum MHD_Result ledge__call_old_ingest(LedgeCall *c);
enum MHD_Result ledge__call_old_latest(LedgeCall *c);
enum MHD_Result ledge__call_tuf(LedgeCall *c);
enum MHD_Result ledge__call_blob(LedgeCall *c);
enum MHD_Result ledge__call_upload(LedgeCall *c);
enum MHD_Result ledge__call_admin(LedgeCall *c);
enum MHD_Result ledge__call_page(LedgeCall *c);
enum MHD_Result ledge__call_health(LedgeCall *c);
enum MHD_Result ledge__call_metrics(LedgeCall *c);

#endif
