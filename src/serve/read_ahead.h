/* Reads the numbers of a JSON body while it comes in, beside the thread that receives it; whoever
 * then waits for them reads too.
 *
 * One thread and one body at a time: with many requests the workers read, who are many. */
#ifndef LEDGE_SERVE_READ_AHEAD_H
#define LEDGE_SERVE_READ_AHEAD_H

#include "serve/oip.h"

typedef struct LedgeReadAhead LedgeReadAhead;

/* limit: as of ledge__oip_read. Statuses: MEMORY, RUNTIME (no thread). */
LedgeStatus ledge__read_ahead_new(size_t limit, LedgeError *err, LedgeReadAhead **out);
/* All bodies have been ended by then. NULL is legal. */
void ledge__read_ahead_free(LedgeReadAhead *r);

/* From now on a body of `whole` bytes comes in at `body`, where it stays until the end, and *to
 * gets what is read of it. false: another's is being read. */
bool ledge__read_ahead_begin(LedgeReadAhead *r, LedgeOipAhead *to, char *body, size_t whole);
/* `have` bytes are there now. Does nothing for a body that is not read, or no more. */
void ledge__read_ahead_more(LedgeReadAhead *r, const LedgeOipAhead *to, size_t have);
/* Reads some of what is there; for a thread that would otherwise wait, and not for long. */
void ledge__read_ahead_help(LedgeReadAhead *r, const LedgeOipAhead *to);
/* Reads all that is there, with the caller's help; *to is the caller's again. Nothing for
 * another's. drop: the same, but nothing more is read. */
void ledge__read_ahead_end(LedgeReadAhead *r, const LedgeOipAhead *to);
void ledge__read_ahead_drop(LedgeReadAhead *r, const LedgeOipAhead *to);

#endif
