/* How a server ends: nothing new comes in, and what was asked is answered. Not part of libledge.
 *
 * libmicrohttpd's own way, MHD_quiesce_daemon, is not used: up to 1.0.1 it may end the process when
 * the network's threads wait for events at that moment (it and they take the socket out of the same
 * set), and it lets connections go on asking. */
#ifndef LEDGE_HTTP_HTTP_DRAIN_H
#define LEDGE_HTTP_HTTP_DRAIN_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>

/* What one says holds for those behind it too. */
typedef enum LedgeHttpStage {
    LEDGE_HTTP_SERVES,
    LEDGE_HTTP_ENDS,   /* each answer is the last one of its connection */
    LEDGE_HTTP_CLOSED, /* no new connections */
    LEDGE_HTTP_SHUT    /* no new requests */
} LedgeHttpStage;

/* Zero before the server starts. */
typedef struct LedgeHttpDrain {
    atomic_int active; /* requests that are not answered yet */
    atomic_int open;   /* connections */
    atomic_int stage;  /* LedgeHttpStage */
} LedgeHttpDrain;

/* From the callback of connections. */
void ledge__http_connection(LedgeHttpDrain *d, enum MHD_ConnectionNotificationCode what);
/* A request begins; false: its connection is to be dropped. */
bool ledge__http_enter(LedgeHttpDrain *d);
void ledge__http_leave(LedgeHttpDrain *d); /* it was answered, or given up */
/* Sends the response, which is given up here. */
enum MHD_Result ledge__http_send(const LedgeHttpDrain *d, struct MHD_Connection *c, unsigned code,
                                 struct MHD_Response *r);
/* Returns once no request will begin any more and all are answered, or after `patience` seconds.
 * Connections that are silent are waited for a moment only. */
void ledge__http_drain(LedgeHttpDrain *d, double patience);

#endif
