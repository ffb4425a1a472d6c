/* Packed and aligned forms of constants, made once per model and shared by every plan,
 * session and thread. Keyed by the constant's data and a text that names the form. */
#ifndef LEDGE_ENGINE_WEIGHTS_H
#define LEDGE_ENGINE_WEIGHTS_H

#include "engine/graph/graph.h"

typedef struct LedgeWeights LedgeWeights;

#define LEDGE_WEIGHTS_ALIGNED "aligned" /* the form that is only an aligned copy */

typedef struct LedgeWeightEntry {
    const void *source;     /* the constant's data */
    const char *value_name; /* for writing .ledge files */
    const char *key;
    const void *data;
    size_t bytes;
    bool borrowed;          /* lies in a mapped .ledge file */
} LedgeWeightEntry;

LedgeWeights *ledge__weights_new(const LedgeAllocator *a); /* NULL: no memory */
void ledge__weights_free(LedgeWeights *w);

/* Finds the form, or makes it by `pack`. `onnx` may be NULL; else the source's pages are
 * released after packing. Safe from several threads. */
LedgeStatus ledge__weights_get(LedgeWeights *w, const LedgeValue *v, const char *key, size_t bytes,
                               LedgeStatus (*pack)(void *arg, void *to), void *arg,
                               const OnnxModel *onnx, LedgeError *err, const void **out);
/* The constant's data aligned to LEDGE_ALIGN: itself, or a copy. */
LedgeStatus ledge__weights_aligned(LedgeWeights *w, const LedgeValue *v, LedgeError *err,
                                   const void **out);
/* Enters a form that lies elsewhere for as long as the model lives. */
LedgeStatus ledge__weights_adopt(LedgeWeights *w, const LedgeWeightEntry *entry);
/* Entry i, or NULL past the end. Not while others add. */
const LedgeWeightEntry *ledge__weights_at(const LedgeWeights *w, size_t i);
/* From now on only adopted forms and aligned copies are given: a compiled file need not have the
 * raw weights that packing would start from. */
void ledge__weights_seal(LedgeWeights *w);

#endif
