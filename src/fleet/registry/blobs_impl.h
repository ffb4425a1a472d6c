/* What a folder and a bucket each have their own way of. */
#ifndef LEDGE_FLEET_REGISTRY_BLOBS_IMPL_H
#define LEDGE_FLEET_REGISTRY_BLOBS_IMPL_H

#include "fleet/registry/blobs.h"

struct LedgeBlobs {
    void (*free)(LedgeBlobs *b);
    LedgeStatus (*put)(LedgeBlobs *b, const char *sha256, const char *file, LedgeError *err);
    LedgeStatus (*read)(LedgeBlobs *b, const char *sha256, size_t max, LedgeError *err, char **out,
                        size_t *size);
    LedgeStatus (*file)(LedgeBlobs *b, const char *sha256, LedgeError *err, int *fd,
                        uint64_t *size);
    LedgeStatus (*address)(LedgeBlobs *b, const char *sha256, int64_t now, LedgeError *err,
                           char **out);
    LedgeStatus (*remove)(LedgeBlobs *b, const char *sha256, LedgeError *err);
    LedgeStatus (*list)(LedgeBlobs *b, int64_t before, LedgeBlobFound found, void *arg,
                        LedgeError *err);
    /* Beside the folder; NULL: nothing is to be done. */
    void (*tidy)(LedgeBlobs *b, int64_t before);
    char folder[400];
};

LedgeStatus ledge__blobs_disk_open(const char *folder, LedgeError *err, LedgeBlobs **out);
LedgeStatus ledge__blobs_s3_open(const char *where, LedgeError *err, LedgeBlobs **out);

#endif
