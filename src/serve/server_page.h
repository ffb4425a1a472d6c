/* The page at "/". */
#ifndef LEDGE_SERVE_SERVER_PAGE_H
#define LEDGE_SERVE_SERVER_PAGE_H

#include "serve/server_state.h"

enum MHD_Result ledge__send_page(LedgeExchange *x);
#endif
