/* Requests to an S3 bucket: path-style addresses, AWS signature version 4 by libcurl, and addresses
 * that are signed beforehand for others to fetch. */
#ifndef LEDGE_FLEET_REGISTRY_S3_CLIENT_H
#define LEDGE_FLEET_REGISTRY_S3_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"
#include "ledge/status.h"

typedef struct LedgeS3 {
    char endpoint[256]; /* "https://host:port", no slash behind */
    char bucket[64], prefix[128], region[64];
    char access_key[160], secret_key[160];
} LedgeS3;

/* "s3://BUCKET[/PREFIX]?endpoint=URL[&region=R]" and the keys from the environment. ARGUMENT. */
LEDGE_MUST_CHECK LedgeStatus ledge__s3_read(const char *where, LedgeError *err, LedgeS3 *out);

typedef struct LedgeS3Ask {
    const char *method, *key; /* key NULL: the bucket itself */
    const char *query;   /* sorted and percent-encoded, "a=&b=1"; NULL: none */
    const char *payload; /* SHA-256 of what is sent; NULL: not said */
    FILE *from;          /* what is sent, from where it stands; or */
    const char *text;    /* a short text; NULL: nothing */
    uint64_t size;
    size_t max; /* of the answer */
} LedgeS3Ask;

/* One request; failures of the network and 5xx are tried again twice. Statuses: NOT_FOUND (404), IO
 * (what it was, and what to do), LIMIT, MEMORY. etag (of 72 bytes) may be NULL. */
LEDGE_MUST_CHECK LedgeStatus ledge__s3_do(const LedgeS3 *s3, const LedgeS3Ask *ask, LedgeError *err,
                                          LedgeText *answer, char *etag);
/* What stands between the first <name> and what follows in S3's XML; false: nothing does, or it is
 * too long, and then `out` is cut. NULL holds nothing. */
bool ledge__s3_element(const char *xml, const char *name, char *out, size_t size);
/* Percent-encodes all but letters, digits and "-._~", and slashes where they are kept; cut where
 * `to` is full. */
void ledge__s3_encode(const char *from, bool keep_slash, char *to, size_t size);
/* The address of a GET that anyone may send until `seconds` from `now`; freed with free(). */
LEDGE_MUST_CHECK LedgeStatus ledge__s3_sign(const LedgeS3 *s3, const char *key, int64_t now,
                                            int seconds, LedgeError *err, char **out);

#endif
