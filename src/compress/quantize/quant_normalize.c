/* Small rewrites of the float graph after which more of it can be integers. */
#include "compress/quantize/quant_internal.h"

#include <string.h>

float *ledge__quant_floats(const LedgeAllocator *a, const LedgeValue *v)
{
    const size_t n = (size_t)ledge_tensor_count(&v->t);
    float *copy = ledge__alloc(a, n, sizeof *copy);
    if (copy && n)
        memcpy(copy, v->t.data, n * sizeof *copy);
    return copy;
}

static bool is_float_constant(const LedgeValue *v)
{
    return v && v->t.type == LEDGE_FLOAT && ledge__value_is_constant(v);
}

/* A constant of float zeros, to be filled. */
static LedgeValue *new_floats(LedgeGraph *g, int32_t rank, const int64_t *dims, float **data)
{
    LedgeTensor t = {.type = LEDGE_FLOAT, .rank = rank};
    for (int32_t d = 0; d < rank; d++)
        t.dims[d] = dims[d];
    LedgeValue *v = ledge__value_constant(g, NULL, &t, false);
    if (v)
        *data = v->t.data;
    return v;
}

static LedgeStatus scale_input(LedgeGraph *g, LedgeNode *n, uint32_t slot, float factor,
                               LedgeError *err)
{
    const LedgeValue *from = n->in[slot].value;
    const int64_t count = ledge_tensor_count(&from->t);
    float *data;
    LedgeValue *v = new_floats(g, from->t.rank, from->t.dims, &data);
    if (!v)
        return ledge__no_memory(err);
    for (int64_t i = 0; i < count; i++)
        data[i] = (float)ledge__value_as_double(from, i) * factor;
    ledge__node_set_input(n, slot, v);
    return LEDGE_OK;
}

/* One number for all columns, or a row, as [columns]. */
static LedgeStatus spread_bias(LedgeGraph *g, LedgeNode *n, int64_t columns, LedgeError *err)
{
    const LedgeValue *c = n->in[2].value;
    const int64_t count = ledge_tensor_count(&c->t);
    float *data;
    if ((count != 1 && count != columns) || (c->t.rank == 1 && count == columns) ||
        (count == columns && c->t.rank > 0 && c->t.dims[c->t.rank - 1] != columns))
        return LEDGE_OK;
    LedgeValue *v = new_floats(g, 1, &columns, &data);
    if (!v)
        return ledge__no_memory(err);
    for (int64_t i = 0; i < columns; i++)
        data[i] = (float)ledge__value_as_double(c, count == 1 ? 0 : i);
    ledge__node_set_input(n, 2, v);
    return LEDGE_OK;
}

static LedgeStatus normalize_gemm(LedgeGraph *g, LedgeNode *n, LedgeError *err)
{
    const LedgeValue *b = ledge__node_in(n, 1), *c = ledge__node_in(n, 2);
    const float alpha = ledge__node_float(n, "alpha", 1), beta = ledge__node_float(n, "beta", 1);
    if (!is_float_constant(b) || b->t.rank != 2 || (c && !is_float_constant(c)))
        return LEDGE_OK;
    if (alpha != 1)
        LEDGE_TRY(scale_input(g, n, 1, alpha, err));
    if (c && beta != 1)
        LEDGE_TRY(scale_input(g, n, 2, beta, err));
    ledge__node_drop_attr(n, "alpha");
    ledge__node_drop_attr(n, "beta");
    if (c)
        LEDGE_TRY(spread_bias(g, n, b->t.dims[ledge__node_int(n, "transB", 0) ? 0 : 1], err));
    return LEDGE_OK;
}

/* x / c as x * (1 / c), for which there is an integer form. */
static LedgeStatus normalize_div(LedgeGraph *g, LedgeNode *n, LedgeError *err)
{
    const LedgeValue *c = ledge__node_in(n, 1);
    float *data;
    if (!is_float_constant(c) || ledge_tensor_count(&c->t) != 1 ||
        ledge__value_as_double(c, 0) == 0)
        return LEDGE_OK;
    LedgeValue *v = new_floats(g, c->t.rank, c->t.dims, &data);
    if (!v)
        return ledge__no_memory(err);
    data[0] = (float)(1 / ledge__value_as_double(c, 0));
    ledge__node_set_input(n, 1, v);
    n->op_type = "Mul";
    return LEDGE_OK;
}

LedgeStatus ledge__quant_normalize(LedgeGraph *g, LedgeError *err)
{
    for (LedgeNode *n = g->first; n; n = n->next) {
        if (ledge__node_is(n, "Gemm"))
            LEDGE_TRY(normalize_gemm(g, n, err));
        else if (ledge__node_is(n, "Div"))
            LEDGE_TRY(normalize_div(g, n, err));
    }
    return LEDGE_OK;
}
