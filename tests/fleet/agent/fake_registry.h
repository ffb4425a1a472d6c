/* A registry in this process, small and as bad as a test wants: TUF metadata, files, polls and
 * telemetry over HTTP on the loopback, with a network in front that cuts, delays, lies and
 * trickles. */
#ifndef LEDGE_TESTS_FAKE_REGISTRY_H
#define LEDGE_TESTS_FAKE_REGISTRY_H

#include <pthread.h>

#include "tuf_repo.h"
#include "fleet/protocol/wire_batch.h"
#include "fleet/protocol/wire_poll.h"

typedef struct Faults {
    int cut;        /* per cent of answers that end by a reset at a random byte */
    int truncated;  /* … that end early without one */
    int wrong;      /* … of ranges that begin with the right length and hold other bytes */
    int busy;       /* … that are 503 */
    int shifted;    /* … of ranges that say and hold another place */
    int lying_etag; /* … whose ETag is of another file */
    int deaf;       /* … of ranges that are answered by the whole file */
    int silent;     /* … that never come; the connection stays open for `silent_ms` */
    int silent_ms;
    int delay_ms;
    int batch_ms; /* before a batch is looked at */
    int64_t rate; /* bytes a second; 0: as fast as it goes */
    bool gone;    /* files are 404 */
    bool endless; /* files never end */
    bool forged;  /* files are always other bytes */
} Faults;

typedef struct Registry {
    Repo repo;
    RepoFiles blobs; /* by SHA-256 */
    char answer[16384], etag[40];
    int poll_status;  /* 0: as things are */
    int batch_status; /* 0: as things are; else that, after storing where batch_stores */
    int sample_status;
    bool batch_stores; /* and samples */
    Faults faults;
    const char *guest; /* the kind of device whose guest goes with what is published; NULL: none */
    /* what was seen */
    LedgePollRequest last_poll;
    int64_t told;      /* sum of all windows' counts */
    RepoFiles samples; /* by the names they were sent under */
    size_t proxied; /* requests that came as to a proxy */
    size_t polls, asked, batches, duplicates, n_ids, samples_asked;
    int64_t sent; /* bytes of files, as the network took them */
    char (*ids)[LEDGE_FLEET_BATCH];
    uint32_t *seen; /* how often a record's class_id was counted; 65536 of them */
    LedgeFleetNote events[1024];
    size_t n_events;
    /* its own */
    int socket;
    uint16_t port;
    unsigned seed;
    bool stops;
    pthread_t thread;
    pthread_mutex_t lock; /* held while a request is answered, but not while bytes go */
    int open;
} Registry;

void registry_start(Registry *r);
void registry_stop(Registry *r);
/* "http://127.0.0.1:PORT" */
const char *registry_url(const Registry *r, char out[64]);

/* Publishes NAME VERSION with a model file (its bytes differ by `salt` behind the model, which is
 * ignored by readers), `more` bytes of another file, and golden cases whose first value is off by
 * `off`. Timestamp and targets are signed anew. */
void registry_publish(Registry *r, const char *name, const char *version, int64_t created,
                      size_t more, double off);
/* Assigns it from the next poll on; fallback may be "". */
void registry_assign(Registry *r, const char *name, const char *version, const char *fallback,
                     bool strict);
/* The same, for a moment: "idle", or hours. */
void registry_assign_when(Registry *r, const char *name, const char *version, const char *when);
/* Adds a version that runs in the shadow to what is assigned. */
void registry_shadow(Registry *r, const char *name, const char *version, const char *shadow);

#endif
