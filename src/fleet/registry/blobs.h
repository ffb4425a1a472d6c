/* Where files lie: a folder, or an S3 bucket, by SHA-256. A blob is there whole or not at all, and
 * never changes; so any number of registries may share one place. */
#ifndef LEDGE_FLEET_REGISTRY_BLOBS_H
#define LEDGE_FLEET_REGISTRY_BLOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"

typedef struct LedgeBlobs LedgeBlobs;

/* A folder (made where missing), or "s3://BUCKET[/PREFIX]?endpoint=URL[&region=R]", whose keys are
 * AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Statuses: IO, ARGUMENT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__blobs_open(const char *where, LedgeError *err,
                                               LedgeBlobs **out);
void ledge__blobs_free(LedgeBlobs *b); /* NULL is legal */

/* Takes in a file whose hash and length the caller has checked; the file is gone afterwards. It
 * must lie in ledge__blobs_folder. On OK the blob survives a power cut. Status: IO (try again). */
LEDGE_MUST_CHECK LedgeStatus ledge__blobs_put(LedgeBlobs *b, const char *sha256, const char *file,
                                              LedgeError *err);
/* A folder for files that are to become blobs. */
const char *ledge__blobs_folder(const LedgeBlobs *b);
/* The whole blob, freed with free(); checked against its hash. Statuses: NOT_FOUND, LIMIT,
 * MISMATCH, IO, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__blobs_read(LedgeBlobs *b, const char *sha256, size_t max,
                                               LedgeError *err, char **out, size_t *size);
/* The blob as an open file; -1: this place has none (see the next). NOT_FOUND, IO. */
LEDGE_MUST_CHECK LedgeStatus ledge__blobs_file(LedgeBlobs *b, const char *sha256, LedgeError *err,
                                               int *fd, uint64_t *size);
/* The address from which a device may fetch it for the next minutes, freed with free(); NULL: this
 * place has none. */
LEDGE_MUST_CHECK LedgeStatus ledge__blobs_address(LedgeBlobs *b, const char *sha256, int64_t now,
                                                  LedgeError *err, char **out);
/* OK also where there was none. */
LEDGE_MUST_CHECK LedgeStatus ledge__blobs_remove(LedgeBlobs *b, const char *sha256,
                                                 LedgeError *err);
/* Removes what uploads began before `before` and never brought to an end, as far as that goes:
 * files in ledge__blobs_folder, parts in a bucket. */
void ledge__blobs_tidy(LedgeBlobs *b, int64_t before);
/* false ends the list, with MEMORY. */
typedef bool (*LedgeBlobFound)(void *arg, const char *sha256, int64_t size);
/* All blobs that were put before `before` (seconds since 1970, by the clock of the place), in any
 * order; what else lies there is passed over. Statuses: IO, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__blobs_list(LedgeBlobs *b, int64_t before, LedgeBlobFound found,
                                               void *arg, LedgeError *err);

#endif
