/* Requests that wait for a model, and the threads that answer them.
 *
 * The queue is bounded: past it a request is refused at once, so that waiting stays short. Workers
 * take requests in order; where a model takes batches, those for the same model and shape that are
 * there already, or come within the model's delay, are answered in one run. The transport hands a
 * request in and is told when its answer is ready; this file knows no HTTP. */
#ifndef LEDGE_SERVE_WORK_H
#define LEDGE_SERVE_WORK_H

#include "serve/ladder.h"
#include "serve/read_ahead.h"

typedef enum LedgeWorkKind {
    LEDGE_WORK_INFER,    /* an Open Inference Protocol request */
    LEDGE_WORK_RAW,      /* the bytes of the model's only input */
    LEDGE_WORK_CLASSIFY, /* a JPEG or PNG */
    LEDGE_WORK_LOAD      /* a model, by name; for workers of their own */
} LedgeWorkKind;

/* How it ended; the transport makes status codes of it. */
typedef enum LedgeWorkEnd {
    LEDGE_WORK_DONE,
    LEDGE_WORK_BAD,    /* the request is at fault */
    LEDGE_WORK_LATE,   /* its deadline passed while it waited */
    LEDGE_WORK_FAILED, /* the model or the machine is */
    LEDGE_WORK_MISSING /* what it names is not there */
} LedgeWorkEnd;

typedef struct LedgeWork {
    struct LedgeWork *next;
    LedgeWorkKind kind;
    LedgeServed *model;  /* a reference of its own; NULL to load one */
    LedgeLadder *ladder; /* whose rung `model` is; NULL: none; a reference of its own */
    uint32_t rung;
    LedgeServed *next_model; /* while it climbs */
    LedgeModelTable *table;  /* load: where to */
    char name[LEDGE_SERVE_NAME];
    char *body;
    void *block;              /* memory of `body`, which may begin behind its start */
    LedgeOipAhead ahead;      /* what was read of it while it came in, */
    LedgeReadAhead *reader;   /* by this one, which may be at it still; NULL: nobody */
    size_t size, json_bytes;  /* json_bytes as in ledge__oip_read */
    LedgeRegions *regions;    /* of shared memory that it may use; NULL: none, */
    const char *no_regions;   /* for that reason */
    size_t top;               /* classify: how many classes are wanted */
    double arrived, deadline; /* monotonic seconds; deadline INFINITY: none */
    struct LedgeAsked *begun; /* it has been read already; NULL: not yet */
    void *owner;              /* the transport's */
    /* The answer */
    LedgeWorkEnd end;
    LedgeText out;   /* the body: an answer, or an error in JSON */
    size_t out_json; /* bytes of its JSON before binary tensors; 0: no tensors follow */
    double ran;      /* seconds in the model */
    uint32_t batch;  /* requests answered in the same run */
} LedgeWork;

typedef struct LedgeWorkOptions {
    int workers;
    size_t queue;        /* requests that may wait */
    size_t tensor_limit; /* bytes of one input */
    /* Answers all of `works`, which are of one model and kind, now or later. */
    void (*answer)(const struct LedgeWorkOptions *o, int worker, LedgeWork **works, uint32_t n);
    void (*ready)(
        LedgeWork *w); /* called for each by a worker; the work is the transport's again */
} LedgeWorkOptions;

typedef struct LedgeWorkers LedgeWorkers;

/* Statuses: MEMORY, RUNTIME (no threads). */
LedgeStatus ledge__workers_new(const LedgeWorkOptions *options, LedgeError *err,
                               LedgeWorkers **out);
/* false: the queue is full, or the workers have been told to stop; the work stays the caller's. */
bool ledge__workers_push(LedgeWorkers *w, LedgeWork *work);
size_t ledge__workers_waiting(LedgeWorkers *w);
/* Takes no more, answers what waits, and ends the threads. NULL is legal in both. */
void ledge__workers_stop(LedgeWorkers *w);
void ledge__workers_free(LedgeWorkers *w);

/* answer_work.c and answer_load.c: what `answer` may be. */
void ledge__infer(const LedgeWorkOptions *o, int worker, LedgeWork **works, uint32_t n);
/* Answers it in the caller's own thread, if its model was quick the last time: for a client that is
 * alone, whose request need not go to a worker and back. true: it is answered, `ready` was called,
 * and *rest (NULL: nothing) is to be done once the answer is on its way. false: it is for the
 * workers. The caller is one thread, with a session of its own. */
typedef struct LedgeRest LedgeRest;
bool ledge__infer_here(const LedgeWorkOptions *o, LedgeWork *work, LedgeRest **rest);
/* What was read of a work that no worker took. */
void ledge__infer_forget(LedgeWork *work);
/* Statistics and drift; before the work is freed. NULL is legal. */
void ledge__infer_rest(LedgeRest *rest);
void ledge__load(const LedgeWorkOptions *o, int worker, LedgeWork **works, uint32_t n);

#endif
