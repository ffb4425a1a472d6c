/* Sends the page, whose bytes the build takes from page.html. */
#include "serve/server_page.h"

#include <stdlib.h>
#include <string.h>

static const unsigned char page[] = {
#include "page_bytes.h"
};

enum MHD_Result ledge__send_page(LedgeExchange *x)
{
    char *body = malloc(sizeof page);
    if (!body)
        return ledge__send_error(x, 500, "out of memory");
    memcpy(body, page, sizeof page);
    /* Nothing but itself: what a model's name or label holds can load and run nothing. */
    return ledge__send(x, 200, "text/html; charset=utf-8", body, sizeof page,
                       "Content-Security-Policy",
                       "default-src 'self'; img-src blob: 'self'; style-src 'unsafe-inline'; "
                       "script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'");
}
