/* Moving elements: the strided copy that most shape operators come down to, and what else
 * they share (element sizes, row-major strides, indices, numbers of any type).
 *
 * A LedgeMove says which elements go where; ledge__move merges its dimensions, then copies
 * runs, transposes in tiles or walks element by element, on the pool when there is much. */
#ifndef LEDGE_ENGINE_OPS_MOVE_H
#define LEDGE_ENGINE_OPS_MOVE_H

#include <string.h>

#include "engine/graph/op.h"

#define LEDGE_MOVE_RANK (2 * LEDGE_MAX_RANK)

/* Element (i0, i1, …) goes from from_offset + Σ i·from_stride to to_offset + Σ i·to_stride;
 * offsets and strides count elements. Dimensions stand in the order of `to`. */
typedef struct LedgeMove {
    unsigned bits; /* per element; below 8: packed */
    int32_t rank;
    int64_t dims[LEDGE_MOVE_RANK];
    int64_t from_stride[LEDGE_MOVE_RANK], to_stride[LEDGE_MOVE_RANK];
    int64_t from_offset, to_offset;
} LedgeMove;

void ledge__move(const LedgeMove *m, const void *from, void *to, LedgePool *pool);

/* Adds a dimension at the end. */
static inline void ledge__move_dim(LedgeMove *m, int64_t n, int64_t from, int64_t to)
{
    m->dims[m->rank] = n;
    m->from_stride[m->rank] = from;
    m->to_stride[m->rank] = to;
    m->rank++;
}

/* memcpy for memory that may be NULL when there is nothing, or the same when in place. */
static inline void ledge__move_bytes(void *to, const void *from, size_t bytes)
{
    if (bytes && to != from)
        memcpy(to, from, bytes);
}

/* Row-major strides, in elements. */
void ledge__strides(int32_t rank, const int64_t *dims, int64_t *strides);
/* Product of dims[begin … end-1]; they are known and were checked by ledge_tensor_count. */
int64_t ledge__dims_product(const int64_t *dims, int32_t begin, int32_t end);
/* Bytes of one element; TYPE where the type is packed or a container. */
LedgeStatus ledge__element_size(LedgeOpCtx *c, const LedgeTensor *t, size_t *out);

/* Writes `count` copies of the element at `value`. */
void ledge__fill(void *to, const void *value, size_t size, int64_t count);

/* Packed elements, low bits first. */
static inline unsigned ledge__packed_get(const void *p, int64_t i, unsigned bits)
{
    uint64_t at = (uint64_t)i * bits;
    return (((const uint8_t *)p)[at / 8] >> (at % 8)) & ((1u << bits) - 1);
}
static inline void ledge__packed_set(void *p, int64_t i, unsigned bits, unsigned v)
{
    uint64_t at = (uint64_t)i * bits;
    uint8_t *byte = (uint8_t *)p + at / 8, mask = (uint8_t)(((1u << bits) - 1) << (at % 8));
    *byte = (uint8_t)((*byte & ~mask) | ((v << (at % 8)) & mask));
}

/* Element i of an int32 or int64 tensor. */
static inline int64_t ledge__index_at(const LedgeTensor *t, int64_t i)
{
    int64_t v;
    int32_t w;
    if (t->type == LEDGE_INT64) {
        memcpy(&v, (const char *)t->data + 8 * i, 8);
        return v;
    }
    memcpy(&w, (const char *)t->data + 4 * i, 4);
    return w;
}
/* Input i is a tensor of int32 or int64, or the type is not known yet. */
LedgeStatus ledge__need_index(LedgeOpCtx *c, uint32_t i);
/* Every element of input i lies in -n … n-1, else a sentence. */
LedgeStatus ledge__check_indices(LedgeOpCtx *c, uint32_t i, int64_t n);

/* Element i of a tensor of a number type, and back (rounded to nearest, saturated). Of other types
 * it is 0, and nothing is written. */
double ledge__number_at(LedgeType type, const void *data, int64_t i);
void ledge__number_set(LedgeType type, void *data, int64_t i, double v);
bool ledge__is_float(LedgeType type); /* float, double, float16, bfloat16 */

/* `bytes` of work memory: the scratch that prepare asked for, else from the host. */
void *ledge__work(LedgeOpCtx *c, size_t bytes);

/* c->out[i] becomes a tensor of unknown rank. */
static inline LedgeStatus ledge__out_unknown(LedgeOpCtx *c, uint32_t i, LedgeType type)
{
    ledge__op_set_out(c, i, type, -1, NULL);
    return LEDGE_OK;
}
/* A tensor of `rank` dimensions, none of them known. */
LedgeStatus ledge__out_rank(LedgeOpCtx *c, uint32_t i, LedgeType type, int32_t rank);
/* SHAPE unless the elements of these dims can be counted (or some are unknown). */
LedgeStatus ledge__check_dims(LedgeOpCtx *c, int32_t rank, const int64_t *dims);

#endif
