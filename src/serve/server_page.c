/* Sends the page, whose bytes the build takes from page.html. */
#include "serve/server_page.h"

static const unsigned char page[] = {
#include "page_bytes.h"
};

enum MHD_Result ledge__send_page(LedgeExchange *x)
{
    /* Nothing but itself: what a model's name or label holds can load and run nothing. */
    return ledge__send_static(
        x, "text/html; charset=utf-8", page, sizeof page, "Content-Security-Policy",
        "default-src 'self'; img-src blob: 'self'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'");
}
