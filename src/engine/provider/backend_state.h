/* A backend's insides, for the files of this folder. */
#ifndef LEDGE_PROVIDER_BACKEND_STATE_H
#define LEDGE_PROVIDER_BACKEND_STATE_H

#include "engine/provider/ort_session.h"
#include "engine/provider/partition.h"
#include "engine/session/backend.h"

#define MAX_ASKED 16
#define NOBODY    (-1)

/* One provider of the list. */
typedef struct Asked {
    char name[64];              /* "cuda"; a loaded one's own name once it is known */
    char version[160];
    const char *path;           /* of a provider of one's own, else NULL */
    const KnownProvider *known; /* else NULL */
    const LedgeProvider *api;   /* of one's own */
    void *instance;
    LedgeProviderSetting *settings;
    size_t n_settings;
    LedgeStatus status;
    char reason[600];
    bool for_now;  /* the refusal holds for this choice only */
    bool left_out; /* its memory gave out */
} Asked;

/* What a node costs, by name, free dimensions taken as 1. */
typedef struct NodeCost {
    const char *name, *op_type;
    int64_t macs;
} NodeCost;

struct LedgeBackend {
    const LedgeAllocator *allocator;
    LedgeModel *model; /* the session holds it */
    LedgeArena *arena; /* list and settings */
    const char *list;  /* as given */
    Asked asked[MAX_ASKED];
    size_t n_asked;
    int threads;
    bool strict;
    char note[600];

    /* Who runs now; made anew by each choice. */
    int whole;            /* index of who runs the whole model, or NOBODY */
    OrtProgram *ort;      /* where that is one of ONNX Runtime's */
    ProviderView *view;   /* where it is one of one's own */
    void *program;
    LedgeStatus failed;   /* of its last run */
    LedgeGraph *graph;    /* with ledge.External nodes; NULL: whole, or the CPU's own */
    LedgeWeights *weights;
    PartList parts;
    LedgeArena *choice;   /* of what follows */
    NodeCost *costs;      /* the nodes of the file's graph, in order */
    uint8_t *owners;      /* who runs each; OWNER_CPU */
    const char **reasons; /* why the first asked for does not; NULL: nothing was said */
    size_t n_nodes;

    LedgeArena *place_arena;
    LedgePlacement placement;
};

/* ---- asked.c: the list and the options ---- */
LedgeStatus ledge__asked_parse(LedgeBackend *b, const LedgeSessionOptions *o, LedgeError *err);
/* Splits the settings among the providers and checks their names and values. */
LedgeStatus ledge__asked_settings(LedgeBackend *b, const LedgeSessionOptions *o, LedgeError *err);
/* Probes and opens one; what is wrong with it goes to its status and reason. */
LedgeStatus ledge__asked_open(LedgeBackend *b, Asked *a, LedgeError *err);
void ledge__asked_refuse(Asked *a, LedgeStatus status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- choose.c: who runs what ---- */
LedgeStatus ledge__choose(LedgeBackend *b, LedgeError *err);
void ledge__choice_free(LedgeBackend *b);

/* ---- placed.c: what is said of it ---- */
LedgeStatus ledge__place(LedgeBackend *b, LedgeError *err);

/* ---- auto.c ---- */
/* Replaces a list of "auto" by providers that are here, fastest first. */
LedgeStatus ledge__auto_expand(LedgeModel *m, const LedgeSessionOptions *o, int threads,
                               char *list, size_t size, LedgeError *err);

#endif
