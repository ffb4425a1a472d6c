/* Small services that every operator's inference uses: checks, axes, broadcasting. */
#include "engine/graph/op.h"

#include <stdarg.h>
#include <stdio.h>

LedgeStatus ledge__op_fail(LedgeOpCtx *c, LedgeStatus status, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return ledge__fail(c->err, status, c->node->name, "%s: %s", c->node->op_type, text);
}

LedgeStatus ledge__op_need(LedgeOpCtx *c, uint32_t i, LedgeType type)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    if (!t)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "input %u is missing", i);
    if (type != LEDGE_TYPE_NONE && t->type != LEDGE_TYPE_NONE && t->type != type)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input %u is %s, must be %s", i,
                              ledge_type_name(t->type), ledge_type_name(type));
    return LEDGE_OK;
}

void ledge__op_set_out(LedgeOpCtx *c, uint32_t i, LedgeType type, int32_t rank, const int64_t *dims)
{
    LedgeTensor *t = ledge__op_out(c, i);
    if (!t)
        return;
    t->type = type;
    t->rank = rank;
    for (int32_t d = 0; d < rank && d < LEDGE_MAX_RANK; d++)
        t->dims[d] = dims[d];
}

LedgeStatus ledge__op_axis(LedgeOpCtx *c, int64_t axis, int32_t rank, int32_t *out)
{
    if (axis < -(int64_t)rank || axis >= (int64_t)rank)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "axis %lld is outside a tensor of rank %d",
                              (long long)axis, rank);
    *out = (int32_t)(axis < 0 ? axis + rank : axis);
    return LEDGE_OK;
}

LedgeStatus ledge__op_broadcast(LedgeOpCtx *c, const LedgeTensor *a, const LedgeTensor *b,
                                int32_t *rank, int64_t *dims)
{
    if (a->rank < 0 || b->rank < 0) {
        *rank = -1;
        return LEDGE_OK;
    }
    int32_t r = a->rank > b->rank ? a->rank : b->rank;
    for (int32_t d = 0; d < r; d++) {
        int32_t ia = d - (r - a->rank), ib = d - (r - b->rank);
        int64_t da = ia < 0 ? 1 : a->dims[ia], db = ib < 0 ? 1 : b->dims[ib];
        if (da == db || db == 1)
            dims[d] = da;
        else if (da == 1)
            dims[d] = db;
        else if (da < 0 || db < 0)
            dims[d] = da < 0 ? db : da;
        else
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "dimension %d is %lld on one side and %lld on the other", d,
                                  (long long)da, (long long)db);
    }
    *rank = r;
    return LEDGE_OK;
}

LedgeStatus ledge__op_int_input(LedgeOpCtx *c, uint32_t i, int64_t *values, int max, int *n)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    *n = -1;
    int64_t count = t ? ledge_tensor_count(t) : -1;
    if (!t || (!t->data && count != 0)) /* no elements need no data */
        return LEDGE_OK;
    if (t->type != LEDGE_INT64 && t->type != LEDGE_INT32)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input %u is %s, must be int64 or int32", i,
                              ledge_type_name(t->type));
    if (count < 0 || count > max)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "input %u has %lld elements, at most %d fit", i,
                              (long long)count, max);
    for (int64_t k = 0; k < count; k++) {
        if (t->type == LEDGE_INT64) {
            memcpy(&values[k], (const char *)t->data + 8 * k, 8);
        } else {
            int32_t v;
            memcpy(&v, (const char *)t->data + 4 * k, 4);
            values[k] = v;
        }
    }
    *n = (int)count;
    return LEDGE_OK;
}

static LedgeStatus copy_strings(LedgeOpCtx *c, const LedgeTensor *from, LedgeString *to)
{
    const LedgeString *s = from->data;
    int64_t count = ledge_tensor_count(from);
    size_t total = 0;
    for (int64_t i = 0; i < count; i++)
        if (!ledge__add(total, s[i].size, &total))
            return ledge__no_memory(c->err);
    char *bytes = ledge__op_alloc(c, total);
    if (!bytes)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < count; i++) {
        if (s[i].size)
            memcpy(bytes, s[i].data, s[i].size);
        to[i] = (LedgeString){bytes, s[i].size};
        bytes += s[i].size;
    }
    return LEDGE_OK;
}

LedgeStatus ledge__op_copy_elements(LedgeOpCtx *c, const LedgeTensor *from, void *to)
{
    if (from->type == LEDGE_STRING)
        return copy_strings(c, from, to);
    size_t bytes = ledge_tensor_bytes(from);
    if (bytes && bytes != SIZE_MAX)
        memcpy(to, from->data, bytes);
    return LEDGE_OK;
}

LedgeStatus ledge__op_copy_value(LedgeOpCtx *c, const LedgeTensor *from, LedgeTensor *to)
{
    LedgeTensor made = *from;
    bool container = from->type >= LEDGE_SEQUENCE;
    size_t bytes = container ? 0 : ledge_tensor_bytes(from);
    if (container && (from->dims[0] < 0 || !ledge__mul((size_t)from->dims[0], sizeof made, &bytes)))
        return ledge__no_memory(c->err);
    made.data = bytes == SIZE_MAX ? NULL : ledge__op_alloc(c, bytes);
    if (!made.data)
        return ledge__no_memory(c->err);
    made.bytes = bytes;
    if (!container) {
        LEDGE_TRY(ledge__op_copy_elements(c, from, made.data));
    } else {
        const LedgeTensor *elements = from->data;
        for (int64_t i = 0; i < from->dims[0]; i++)
            LEDGE_TRY(ledge__op_copy_value(c, &elements[i], &((LedgeTensor *)made.data)[i]));
    }
    *to = made;
    return LEDGE_OK;
}
