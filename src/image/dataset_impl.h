/* What each kind of dataset fills in, and the dispatch uses. */
#ifndef LEDGE_IMAGE_DATASET_IMPL_H
#define LEDGE_IMAGE_DATASET_IMPL_H

#include "base/alloc.h"
#include "image/dataset.h"

struct LedgeDataset {
    LedgeArena *arena; /* holds this struct too */
    size_t count;
    int32_t *labels;    /* count, or NULL: none known */
    const char **paths; /* folders: count full paths */
    const char **names; /* folders: count names as listed */
    /* Binary formats: `count` pictures of width x height x channels, planes one after the
     * other, each picture `record` bytes after the one before. */
    const uint8_t *pixels;
    size_t record;
    uint32_t width, height;
    int channels;
};

/* An empty set in its own arena; NULL: no memory. */
LedgeDataset *ledge__dataset_new(const LedgeAllocator *a);

#endif
