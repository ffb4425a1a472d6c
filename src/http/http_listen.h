/* The start of libmicrohttpd, the same for all servers of the project: address, TLS, bounds. Not
 * part of libledge. */
#ifndef LEDGE_HTTP_HTTP_LISTEN_H
#define LEDGE_HTTP_HTTP_LISTEN_H

#include <microhttpd.h>
#include <stdint.h>

#include "base/error.h"
#include "http/http_drain.h"

typedef struct LedgeHttpListen {
    const char *host; /* in figures, v4 or v6 */
    uint16_t port;    /* 0: one that is free */
    int threads;      /* for the network */
    uint32_t connections;
    unsigned idle; /* seconds of silence before a connection is closed */
    const char *certificate, *key, *client_ca; /* PEM; certificate NULL: without TLS */
    MHD_AccessHandlerCallback on_request;
    MHD_RequestCompletedCallback on_done;
    MHD_NotifyConnectionCallback on_connection;
    void *arg;             /* of the three */
    LedgeHttpDrain *drain; /* which they tell, and which new connections depend on */
} LedgeHttpListen;

/* Statuses: ARGUMENT (host is no address), UNSUPPORTED (TLS), RUNTIME. */
LedgeStatus ledge__http_listen(const LedgeHttpListen *o, LedgeError *err, struct MHD_Daemon **out);

#endif
