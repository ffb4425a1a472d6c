/* A model that is being served: one version of it, loaded, with a session for each worker, its
 * preprocessing, labels, statistics and drift.
 *
 * Counted references: whoever answers a request holds one, so that a model may be replaced or
 * unloaded while it answers. */
#ifndef LEDGE_SERVE_SERVED_MODEL_H
#define LEDGE_SERVE_SERVED_MODEL_H

#include <pthread.h>
#include <stdatomic.h>

#include "image/labels.h"
#include "image/preprocess.h"
#include "ledge/ledge.h"
#include "monitor/drift.h"
#include "monitor/input_features.h"
#include "monitor/sketch.h"
#include "serve/cache.h"
#include "serve/served_guest.h"

enum { LEDGE_SERVE_NAME = 64, LEDGE_SERVE_WORKERS = 256 };
#define LEDGE_QUICK 0.005 /* seconds in a model that the network may wait */

/* One request that a model answered or failed at. */
typedef struct LedgeServedSeen {
    const struct LedgeServed *model;
    double latency;            /* seconds in the model; NAN: the answer was at hand */
    int64_t class_id;          /* of the first row; -1: the model gives no scores */
    double confidence;         /* NAN: none */
    const LedgeTensor *inputs; /* all of the model's; NULL: not at hand */
    LedgeStr picture;          /* as it came; .p NULL: the request had none */
    const char *drift;         /* "off", "learning", "fine", "warning", "high" */
    bool failed;
} LedgeServedSeen;

typedef struct LedgeServedOptions {
    char cpu[32]; /* as LedgeModelOptions.cpu; "": this CPU's */
    int threads;  /* of each session; worker i uses session i */
    bool pixels;  /* the input is to be uint8 [N,H,W,C], which the model normalises itself */
    size_t arena_limit;
    uint32_t batch;     /* most requests of one run, 0 and 1: no batching */
    double delay;       /* seconds that a batch may wait to fill */
    double deadline;    /* seconds that a request may wait, 0: the server's */
    size_t cache_bytes; /* of answers kept, 0: none are */
    double cache_ttl;   /* seconds that one is kept, 0: while there is room */
    bool drift;         /* watch it */
    LedgeDriftOptions drift_options;
    LedgeGuestSettings guest;
    const char *state; /* folder of drift states (drift_keep.h), NULL: none */
    /* Told of every request by the worker that had it, who waits; NULL: nobody is. */
    void (*seen)(void *arg, const LedgeServedSeen *s);
    void *seen_arg;
} LedgeServedOptions;

typedef struct LedgeServed {
    atomic_int refs;
    char name[LEDGE_SERVE_NAME], version[16], hash[65]; /* hash: SHA-256 of the file, hex */
    char release[65]; /* V of a file that really lies in …/versions/NAME/V/; else version */
    LedgeModel *model;
    size_t n_inputs, n_outputs;
    const char **output_names;
    bool takes_pictures;
    LedgePreprocess pre;
    LedgeInputPixels *pixels; /* what bytes stand for; NULL: the input is the model's own */
    LedgeLabels labels;
    LedgeServedOptions options;
    LedgeSession *session[LEDGE_SERVE_WORKERS + 1]; /* made when its worker first needs it; the
                                                     * last is the network thread's */
    atomic_size_t quick_bytes; /* of inputs that took LEDGE_QUICK or less; 0: none lately */
    LedgeCache *cache;         /* NULL: off */
    LedgeServedGuest *guest;   /* NULL: none */
    bool batches;              /* all inputs and outputs have a free first dimension */
    pthread_mutex_t lock;      /* of what follows */
    uint64_t answered, failed;
    uint64_t shown; /* of those that are answered */
    pthread_cond_t all_shown;
    LedgeSketch latency;
    LedgeDrift *drift; /* NULL: not watched */
    LedgeDriftReport drift_report;
    uint64_t drift_records; /* shown to it */
    uint64_t kept_records;  /* of them in the file; the watchman's alone */
} LedgeServed;

/* name: what it is called in URLs. Loads the file at `path`, which may be .onnx or .ledge.
 * Statuses: ARGUMENT (a name that is no name), those of ledge_model_load. */
LedgeStatus ledge__served_load(const char *name, const char *version, const char *path,
                               const LedgeServedOptions *options, LedgeError *err,
                               LedgeServed **out);
LedgeServed *ledge__served_ref(LedgeServed *m);
void ledge__served_unref(LedgeServed *m); /* NULL is legal */
/* Whether a name can stand in a URL and a folder: letters, digits, '_', '-' and inner dots. */
bool ledge__served_name_ok(const char *name);

/* The worker's own session. */
LedgeStatus ledge__served_session(LedgeServed *m, int worker, LedgeError *err, LedgeSession **out);
/* Counts one answer, which is to be shown next. latency NAN: it was at hand. */
void ledge__served_count(LedgeServed *m, double latency);
/* One request's answer, as statistics see it. */
typedef struct LedgeServedAnswer {
    double latency;
    const LedgeTensor *inputs; /* NULL: the answer was at hand */
    LedgeStr picture;
    const LedgeTensor *outputs;
    bool watch;                         /* for drift */
    const LedgeInputFeatures *features; /* of the first input's rows; NULL: not looked at yet */
    int64_t n_features;
} LedgeServedAnswer;
/* Shows the answer that was counted to the drift monitor, if it is to be watched, and to whoever is
 * told of answers. */
void ledge__served_show(LedgeServed *m, const LedgeServedAnswer *a);
/* Looks at the rows of a first input before it is shown. false: there is nothing to see. */
bool ledge__served_look(const LedgeServed *m, const LedgeTensor *input, int64_t rows,
                        LedgeInputFeatures *out);
void ledge__served_failed(LedgeServed *m);
/* Takes the lock when as many answers have been shown as are counted now: who asks for statistics
 * after an answer finds it in them. */
void ledge__served_lock_shown(LedgeServed *m);
/* "off", "learning", "fine", "warning", "high". */
const char *ledge__served_drift(LedgeServed *m);
double ledge__now(void); /* monotonic seconds */

#endif
