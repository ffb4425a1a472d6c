/* A child process for a guest that is trusted even less: no new privileges, resource limits, and a
 * filter of system calls (seccomp) that leaves what a running guest and the engine need. */
#ifndef LEDGE_WASM_ISOLATE_H
#define LEDGE_WASM_ISOLATE_H

#include <stdint.h>

#include "base/error.h"

typedef struct LedgeIsolation {
    uint64_t cpu_seconds;  /* RLIMIT_CPU; 0: none */
    uint64_t wall_seconds; /* the parent kills the child after so many; 0: never */
    uint64_t files;        /* RLIMIT_NOFILE; 0: 256 */
} LedgeIsolation;

/* Forks. In the child: confines itself and gives 0 in *child. In the parent: waits for the child's
 * end and gives its exit status in *code; a child that died is a sentence. What needs other system
 * calls (opening models, programs to run) must be done before. Statuses: RUNTIME, UNSUPPORTED (no
 * seccomp in this kernel or for this machine). */
LedgeStatus ledge__isolate(const LedgeIsolation *how, LedgeError *err, int *child, int *code);

#endif
