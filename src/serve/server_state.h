/* What the parts of the server share. */
#ifndef LEDGE_SERVE_SERVER_STATE_H
#define LEDGE_SERVE_SERVER_STATE_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "http/http_drain.h"
#include "monitor/resources.h"
#include "serve/slow_clients.h"
#include "serve/server.h"
#include "serve/work.h"

enum { LEDGE_CODES = 600 };

struct LedgeServer {
    LedgeServerOptions options;
    LedgeModelTable *table;
    LedgeLadders *ladders;
    struct MHD_Daemon *daemon;
    LedgeWorkers *workers;
    LedgeWorkers *loaders; /* one thread, which loads models for clients */
    LedgeWorkOptions work; /* the workers' */
    LedgeReadAhead *reader;
    LedgeRegions *regions; /* of shared memory; NULL: off */
    LedgeGuard *guard;
    double started;
    LedgeHttpDrain drain;
    bool yields;     /* the network's thread waits for a core until workers are done with theirs */
    bool loops;      /* a client that is alone asks again as soon as it is answered */
    bool has_cores;  /* more than one */
    double answered; /* when the last answer was sent */
    atomic_uint_fast64_t codes[LEDGE_CODES]; /* answers by status code */
    pthread_mutex_t token_lock;
    char *token; /* "Bearer …" */
    LedgeWatch *watch;
    pthread_mutex_t resources_lock;
    LedgeResources *resources;
};

static inline bool ledge__server_has_one(const LedgeServer *s) /* connection */
{
    return atomic_load(&s->drain.open) == 1;
}

/* One request, from its first header to its last byte. */
typedef struct LedgeExchange {
    LedgeServer *server;
    struct MHD_Connection *connection;
    LedgeGuarded *guarded;
    LedgeWork work;   /* body, answer */
    size_t room;      /* of work.body */
    size_t lead;      /* bytes of JSON before binary tensors: these are to lie aligned */
    bool comes_whole; /* JSON of known length, which stays where it is: may be read ahead */
    bool refused;     /* too large, or without the token: the body is not kept */
    unsigned refusal;
    bool ready;      /* a worker has answered it, */
    LedgeRest *rest; /* or the network's thread itself, with this left to do */
} LedgeExchange;

/* routes.c: answers the request, or hands it to the workers. */
enum MHD_Result ledge__route(LedgeExchange *x, const char *method, const char *url);
/* Sends an answer. The body's memory goes with it and `body` is empty afterwards; NULL: no body.
 * extra: a header, or NULL. */
enum MHD_Result ledge__send(LedgeExchange *x, unsigned code, const char *type, LedgeText *body,
                            const char *extra, const char *value);
/* Bytes that stay valid for ever. */
enum MHD_Result ledge__send_static(LedgeExchange *x, const char *type, const void *bytes,
                                   size_t size, const char *extra, const char *value);
enum MHD_Result ledge__send_error(LedgeExchange *x, unsigned code, const char *message);
/* server_shared.c: the server's regions, if this client may use them; NULL: no, and why. */
LedgeRegions *ledge__server_regions(const LedgeExchange *x, const char **why);
typedef enum LedgeSharedAsk {
    LEDGE_SHARED_STATUS,
    LEDGE_SHARED_REGISTER,
    LEDGE_SHARED_UNREGISTER
} LedgeSharedAsk;
/* name: of a region; NULL: all of them. */
enum MHD_Result ledge__server_shared(LedgeExchange *x, LedgeSharedAsk ask, const char *name);
bool ledge__is_loopback(const struct sockaddr *a); /* NULL: no */
/* server_metrics.c: the text for Prometheus; server_status.c: the same and drift as JSON. */
void ledge__server_metrics(LedgeServer *s, LedgeText *out);
void ledge__server_status(LedgeServer *s, LedgeText *out);

#endif
