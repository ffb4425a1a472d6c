/* Closes connections that take their time on purpose: clients that send a request, or read an
 * answer, a few bytes now and then, and so hold a connection for ever; and those whose client went
 * away in the midst of a request, which libmicrohttpd does not see where the end came with bytes.
 *
 * Silence is libmicrohttpd's business; this bounds the whole: a request must have come, and an
 * answer been read, within the idle time and a second more for every 10 kB. While a worker has it
 * a request is not judged. One thread looks around while there are connections; when there are none
 * for a while it gives unused memory back to the system. */
#ifndef LEDGE_SERVE_SLOW_CLIENTS_H
#define LEDGE_SERVE_SLOW_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef struct LedgeGuard LedgeGuard;
typedef struct LedgeGuarded LedgeGuarded; /* a connection */

/* idle: seconds. Statuses: MEMORY, RUNTIME (no thread). */
LedgeStatus ledge__guard_new(double idle, LedgeError *err, LedgeGuard **out);
/* NULL is legal. All connections are gone by then. */
void ledge__guard_free(LedgeGuard *g);

/* A connection on this socket, from its beginning to before the socket is closed. NULL: no memory;
 * all functions take that. */
LedgeGuarded *ledge__guard_add(LedgeGuard *g, int socket);
void ledge__guard_remove(LedgeGuard *g, LedgeGuarded *c);
/* From now on the client owes us a request (as it does from the beginning); more of it came; it is
 * our turn; the client has an answer of `bytes` to read. */
void ledge__guard_request(LedgeGuard *g, LedgeGuarded *c);
void ledge__guard_received(LedgeGuard *g, LedgeGuarded *c, size_t bytes);
void ledge__guard_pause(LedgeGuard *g, LedgeGuarded *c);
void ledge__guard_answer(LedgeGuard *g, LedgeGuarded *c, size_t bytes);

#endif
