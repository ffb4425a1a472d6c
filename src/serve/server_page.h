/* The page at "/", and what it asks the server for. */
#ifndef LEDGE_SERVE_SERVER_PAGE_H
#define LEDGE_SERVE_SERVER_PAGE_H

#include "serve/server_state.h"

enum MHD_Result ledge__send_page(LedgeExchange *x);
/* server_metrics.c: models, latencies, drift and machine as JSON, freed with free(); NULL: no
 * memory. */
char *ledge__server_status(LedgeServer *s, size_t *size);

#endif
