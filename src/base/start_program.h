/* Starting a program, by posix_spawn: which is all that those who run one have in common. Waiting,
 * and what is said over pipes, is theirs. */
#ifndef LEDGE_BASE_START_PROGRAM_H
#define LEDGE_BASE_START_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

/* What a standard stream of the child becomes. */
enum {
    LEDGE_SPAWN_SAME = -1,
    LEDGE_SPAWN_NULL = -2
}; /* the parent's; /dev/null; else a descriptor */

typedef struct LedgeSpawn {
    const char *program;     /* a path, or with in_path a name */
    const char *const *args; /* args[0] too; NULL at the end */
    bool in_path;
    int in, out, err;
    /* A process group of its own, so that all that it starts can be ended with it, and the usual
     * meanings of signals that the parent passes over or blocks. */
    bool apart;
} LedgeSpawn;

/* 0, or an errno. */
int ledge__spawn(const LedgeSpawn *how, pid_t *pid);

#endif
