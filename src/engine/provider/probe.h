/* Looking at somebody else's library without trusting it: in a child process, with a time limit. */
#ifndef LEDGE_PROVIDER_PROBE_H
#define LEDGE_PROVIDER_PROBE_H

#include "ledge/provider.h"

/* What a look gives; sent through a pipe, so it points to nothing. */
typedef struct ProbeAnswer {
    LedgeStatus status;
    char name[64];    /* what the library calls itself */
    char version[64];
    char library[256];
    char reason[512];
} ProbeAnswer;

typedef void (*ProbeLook)(const void *arg, ProbeAnswer *out);

/* Runs `look` in a child process and takes its answer. A child that crashes, ends or hangs gives
 * PROVIDER and a sentence that begins with `what`. */
void ledge__probe_in_child(const char *what, ProbeLook look, const void *arg, ProbeAnswer *out);

/* Sets status PROVIDER and the reason. */
void ledge__probe_refuse(ProbeAnswer *out, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
