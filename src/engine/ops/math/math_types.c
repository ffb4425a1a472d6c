/* Checks and small services that the operators of this folder share: see math_types.h. */
#include "engine/ops/math/math_types.h"

#include <stdio.h>

#include "engine/kernels/ref/convert.h"

LedgeStatus ledge__math_need(LedgeOpCtx *c, uint32_t i, LedgeTypeSet set)
{
    LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
    LedgeType type = ledge__op_in(c, i)->type;
    if (type != LEDGE_TYPE_NONE && !ledge__type_in(type, set))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE,
                              "input %u is %s, which this operator does not take", i,
                              ledge_type_name(type));
    return LEDGE_OK;
}

LedgeStatus ledge__math_need_like(LedgeOpCtx *c, uint32_t i, uint32_t like)
{
    LEDGE_TRY(ledge__op_need(c, like, LEDGE_TYPE_NONE));
    return ledge__op_need(c, i, ledge__op_in(c, like)->type);
}

LedgeStatus ledge__math_infer_like_input(LedgeOpCtx *c, LedgeTypeSet set, LedgeType type)
{
    LEDGE_TRY(ledge__math_need(c, 0, set));
    const LedgeTensor *x = ledge__op_in(c, 0);
    ledge__op_set_out(c, 0, type == LEDGE_TYPE_NONE ? x->type : type, x->rank, x->dims);
    return LEDGE_OK;
}

LedgeStatus ledge__math_type_attr(LedgeOpCtx *c, const char *name, LedgeType absent,
                                  LedgeTypeSet set, LedgeType *out)
{
    int64_t code = ledge__node_int(c->node, name, 0);
    if (code == 0) { /* UNDEFINED stands for "not given" */
        *out = absent;
        return LEDGE_OK;
    }
    if (code < 0 || code > 31 || !ledge__type_in((LedgeType)code, set))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "%s = %lld is no type that it can give", name,
                              (long long)code);
    *out = (LedgeType)code;
    return LEDGE_OK;
}

/* Checks that input i has one element and copies it to `element`: before planning, constants may
 * lie in the file at any address. */
static LedgeStatus need_one(LedgeOpCtx *c, uint32_t i, uint64_t element[2], bool *known)
{
    LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
    const LedgeTensor *t = ledge__op_in(c, i);
    int64_t n = ledge_tensor_count(t);
    if (n >= 0 && n != 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %lld elements, must have 1", i,
                              (long long)n);
    if (t->data && ledge__num_class(t->type) == LEDGE_NUM_NONE)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input %u is %s, must be a number", i,
                              ledge_type_name(t->type));
    *known = t->data != NULL;
    if (*known)
        memcpy(element, t->data, (ledge_type_bits(t->type) + 7) / 8);
    return LEDGE_OK;
}

LedgeStatus ledge__math_scalar(LedgeOpCtx *c, uint32_t i, double *value, bool *known)
{
    uint64_t element[2];
    LEDGE_TRY(need_one(c, i, element, known));
    if (*known)
        ledge__load_f64(ledge__op_in(c, i)->type, element, 0, 1, value);
    return LEDGE_OK;
}

LedgeStatus ledge__math_scalar_int(LedgeOpCtx *c, uint32_t i, int64_t *value, bool *known)
{
    uint64_t element[2];
    LEDGE_TRY(need_one(c, i, element, known));
    if (*known)
        ledge__load_i64(ledge__op_in(c, i)->type, element, 0, 1, value);
    return LEDGE_OK;
}

void ledge__math_copy(const LedgeTensor *to, const LedgeTensor *from)
{
    size_t bytes = ledge_tensor_bytes(from);
    if (to->data != from->data && bytes != SIZE_MAX && bytes > 0)
        memmove(to->data, from->data, bytes);
}

void ledge__math_clear(const LedgeTensor *t)
{
    size_t bytes = ledge_tensor_bytes(t);
    if (bytes != SIZE_MAX && bytes > 0)
        memset(t->data, 0, bytes);
}

void ledge__math_clear_tail(const LedgeTensor *t)
{
    size_t bytes = ledge_tensor_bytes(t);
    if (ledge_type_bits(t->type) < 8 && bytes > 0 && bytes != SIZE_MAX)
        ((uint8_t *)t->data)[bytes - 1] = 0;
}

void ledge__math_split(const LedgeTensor *t, int32_t axis, size_t *outer, size_t *n, size_t *inner)
{
    *outer = *inner = 1;
    for (int32_t d = 0; d < axis; d++)
        *outer *= (size_t)t->dims[d];
    *n = (size_t)t->dims[axis];
    for (int32_t d = axis + 1; d < t->rank; d++)
        *inner *= (size_t)t->dims[d];
}
