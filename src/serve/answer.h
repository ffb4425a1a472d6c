/* One request on its way through a worker: read, run or found in the cache, written. What the
 * files answer_*.c share; the rest knows ledge__infer alone (work.h). */
#ifndef LEDGE_SERVE_ANSWER_H
#define LEDGE_SERVE_ANSWER_H

#include "image/image.h"
#include "monitor/input_features.h"
#include "serve/work.h"

/* Lives in its own arena, since it may outlast the batch that it came with: a request that waits
 * for another's run of the same input is answered by the worker of that run. */
typedef struct LedgeAsked {
    LedgeCacheWaiter waiter; /* first, for the cache */
    struct LedgeAsked *next; /* of those that wait to go on */
    LedgeWork *work;
    LedgeArena *arena;
    LedgeOipRequest *request;
    LedgeTensor *inputs;
    size_t inputs_room;
    LedgeImage image;
    void *pixels; /* of it, for a model that takes them */
    int64_t rows; /* of the first dimension */
    LedgeInputFeatures *features; /* of each row; NULL: not looked at yet */
    bool leads;   /* others may wait for this one's outputs */
    bool climbs;  /* to the next rung of its ladder */
    uint32_t rung;
    double below; /* seconds in the models of lower rungs */
    LedgeAdaptiveStep why;
    const char *cache;   /* "off", "hit", "miss" */
    void *block;         /* memory of the body, once the work has gone back without it */
    LedgeOipAhead ahead; /* as the block */
    char key[LEDGE_CACHE_KEY];
    LedgeCacheValue *value; /* outputs from the cache */
    double guest_seconds;   /* in guests */
    LedgeStr guest_note;    /* from the first half of one to the second */
} LedgeAsked;

/* A model's outputs, kept: the head, the descriptions, the bytes. */
typedef struct LedgeKept {
    LedgeCacheValue head;
    size_t n_outputs;
    LedgeTensor outputs[];
} LedgeKept;

/* answer_read.c. Reads the request for its model; a picture is decoded and prepared later, when it
 * is known that the model must run. */
LedgeStatus ledge__asked_read(LedgeAsked *a, size_t tensor_limit, LedgeError *err);
/* The inputs for a->work->model from what was read. */
LedgeStatus ledge__asked_bind(LedgeAsked *a, LedgeError *err);
LedgeStatus ledge__asked_picture(LedgeAsked *a, LedgeError *err);
/* The key of its inputs. */
LedgeStatus ledge__asked_key(LedgeAsked *a, LedgeError *err);

/* answer_guest.c, for models with a guest. The inputs from what came, if that is the guest's work
 * (*bound): by it, or where its own outputs are asked for. */
LedgeStatus ledge__asked_by_guest(LedgeAsked *a, LedgeError *err, bool *bound);

/* Outputs as they are written: the model's, or what its guest made of them. */
typedef struct LedgeAnswered {
    const LedgeTensor *outputs;
    const char *const *names;
    size_t n;
    LedgeStr json; /* p NULL: none */
} LedgeAnswered;
LedgeStatus ledge__asked_to_guest(LedgeAsked *a, LedgeError *err, LedgeAnswered *io);

/* answer_write.c. The answer from the model's outputs into a->work. */
LedgeStatus ledge__asked_write(LedgeAsked *a, const LedgeTensor *outputs, LedgeError *err);
/* A copy of outputs for the cache; NULL: no memory. */
LedgeCacheValue *ledge__keep_outputs(const LedgeTensor *outputs, size_t n);

#endif
