/* The registry's HTTP server: devices on one side, people and their tools on the other.
 *
 * A few threads talk to the network (libmicrohttpd, epoll), one to the database (registry_tasks.h).
 * Everything from outside is bounded: headers, bodies, connections, waiting, requests a second. */
#ifndef LEDGE_FLEET_REGISTRY_SERVER_H
#define LEDGE_FLEET_REGISTRY_SERVER_H

#include "fleet/registry/store.h"

typedef struct LedgeRegistryOptions {
    const char *host;              /* NULL: 127.0.0.1 */
    uint16_t port;                 /* 0: any that is free */
    int threads;                   /* for the network, 0: 2 */
    uint32_t connections;          /* most at a time, 0: 10,000 */
    uint32_t idle;                 /* seconds until a silent connection is closed, 0: 60 */
    const char *certificate, *key; /* PEM texts for TLS, or NULL */
    const char *client_ca;         /* PEM: devices may show a certificate signed by it; or NULL */
    const char *public_url;        /* by which devices reach this registry; NULL: as they asked */
    bool open_api;                 /* the two old calls, and files, without a token */
    int64_t polls_per_s;           /* of one device, 0: 5; < 0: no bound; batches: ten times that */
    uint64_t blob_limit;           /* bytes of one file, 0: 16 GiB */
    LedgeStoreOptions store;
} LedgeRegistryOptions;

typedef struct LedgeRegistry LedgeRegistry;

/* The store that the options describe is opened and closed by it; blobs and keys stay the caller's.
 * Statuses: ARGUMENT, RUNTIME (the address is taken), UNSUPPORTED, IO, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__registry_start(const LedgeRegistryOptions *options,
                                                   LedgeError *err, LedgeRegistry **out);
uint16_t ledge__registry_port(const LedgeRegistry *r);
/* Takes no new connections, answers what was asked, and ends. NULL is legal. */
void ledge__registry_stop(LedgeRegistry *r);

#endif
