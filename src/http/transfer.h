/* One exchange over HTTP by libcurl, as everybody here wants it: nothing but http and https, no
 * signals, bounds in time for connecting and for standing still, a bound on what is kept.
 *
 * What each asks besides (redirects, proxies, signatures) it sets on the same handle in between:
 *
 *   ledge__transfer_set(curl, &t); curl_easy_setopt(curl, ...); ledge__transfer_do(curl, &t, ...);
 *   ledge__transfer_end(&t); */
#ifndef LEDGE_HTTP_TRANSFER_H
#define LEDGE_HTTP_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"

enum { LEDGE_TRANSFER_HEADERS = 5 };

typedef struct LedgeTransfer {
    const char *url;
    const char *method;                          /* NULL: GET, or POST where something is sent */
    const char *headers[LEDGE_TRANSFER_HEADERS]; /* "Name: value"; NULL: none */
    const void *body;                            /* what is sent; or */
    FILE *from;                                  /* `size` bytes from where it stands */
    uint64_t size;
    const char *ca;  /* PEM file of the authorities to trust; NULL: the system's */
    bool https_only; /* else both */
    long connect_s, whole_s;
    long slowest, stall_s; /* bytes a second over stall_s below which it ends */

    long code; /* of HTTP; 0: none came */
    bool over; /* more than the bound came */
    char why[CURL_ERROR_SIZE];

    struct curl_slist *list;
    uint64_t left, room;
    LedgeText *answer;
} LedgeTransfer;

/* Sets all of it on a handle that is new or reset. The structure stays where it is until the end.
 * False: no memory. */
bool ledge__transfer_set(CURL *curl, LedgeTransfer *t);
/* Performs it; at most `max` bytes of the answer are put behind what *answer has; NULL: they are
 * passed over. */
CURLcode ledge__transfer_do(CURL *curl, LedgeTransfer *t, LedgeText *answer, size_t max);
void ledge__transfer_end(LedgeTransfer *t);

#endif
