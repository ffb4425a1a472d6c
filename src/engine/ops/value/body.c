/* Shared parts of the operators that run subgraphs. */
#include "engine/ops/value/body.h"

#include "engine/ops/shape/move.h"

LedgeStatus ledge__body(LedgeOpCtx *c, const char *name, LedgeGraph **out)
{
    const LedgeAttr *a = ledge__node_attr(c->node, name);
    if (!a || a->type != ONNX_ATTR_GRAPH || !a->graphs || a->count != 1)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the subgraph %s is missing", name);
    *out = a->graphs[0];
    return LEDGE_OK;
}

LedgeStatus ledge__body_store(LedgeOpCtx *c, uint32_t i, const LedgeTensor *value)
{
    const LedgeTensor *out = ledge__op_out(c, i);
    if (!out)
        return LEDGE_OK;
    bool fits = out->type == LEDGE_TYPE_NONE || out->type == value->type ||
                (out->type >= LEDGE_SEQUENCE && value->type >= LEDGE_SEQUENCE);
    if (fits && value->type < LEDGE_SEQUENCE && out->rank >= 0) {
        fits = out->rank == value->rank;
        for (int32_t d = 0; fits && d < out->rank; d++)
            fits = out->dims[d] < 0 || out->dims[d] == value->dims[d];
    }
    if (!fits)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "output %u is not of the type and shape that the subgraph declares",
                              i);
    return ledge__op_store(c, i, value);
}

void ledge__body_meet(LedgeOpCtx *c, uint32_t i, const LedgeTensor *a, const LedgeTensor *b)
{
    LedgeTensor t = *a;
    if (b) {
        if (t.type != b->type)
            t.type = LEDGE_TYPE_NONE;
        if (t.rank != b->rank)
            t.rank = -1;
        for (int32_t d = 0; d < t.rank; d++)
            if (t.dims[d] != b->dims[d])
                t.dims[d] = -1;
    }
    if (t.type >= LEDGE_SEQUENCE) {
        LedgeType element = t.rank == 1 && t.dims[1] > 0 ? (LedgeType)t.dims[1] : LEDGE_TYPE_NONE;
        bool optional = t.type == LEDGE_OPTIONAL;
        ledge__out_sequence(c, i, element);
        if (optional && ledge__op_out(c, i))
            c->out[i]->type = LEDGE_OPTIONAL;
        return;
    }
    ledge__op_set_out(c, i, t.type, t.rank, t.dims);
}

void ledge__out_sequence(LedgeOpCtx *c, uint32_t i, LedgeType element)
{
    LedgeTensor *t = ledge__op_out(c, i);
    if (!t)
        return;
    t->type = LEDGE_SEQUENCE;
    t->rank = 1;
    t->dims[0] = -1;
    t->dims[1] = element;
}

static bool same_shape(const LedgeTensor *a, const LedgeTensor *b)
{
    return a->type == b->type && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0;
}

LedgeStatus ledge__rows_add(LedgeOpCtx *c, LedgeRows *rows, const LedgeTensor *row)
{
    if (row->type >= LEDGE_SEQUENCE || ledge_type_bits(row->type) < 8)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "stacking values of %s",
                              ledge_type_name(row->type));
    if (rows->count == 0) {
        rows->row = *row;
        rows->row.data = NULL;
        rows->row_bytes = ledge_tensor_bytes(row);
    }
    if (!same_shape(&rows->row, row))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "the subgraph gave rows of different type or shape to stack");
    if (rows->count == rows->cap) {
        int64_t cap = rows->cap ? 2 * rows->cap : 8;
        size_t bytes;
        char *grown = NULL;
        if (ledge__mul((size_t)cap, rows->row_bytes, &bytes))
            grown = ledge__op_alloc(c, bytes + 1);
        if (!grown)
            return ledge__no_memory(c->err);
        ledge__move_bytes(grown, rows->data, (size_t)rows->count * rows->row_bytes);
        rows->data = grown;
        rows->cap = cap;
    }
    char *to = rows->data + (size_t)rows->count++ * rows->row_bytes;
    return ledge__op_copy_elements(c, row, to);
}

LedgeStatus ledge__rows_store(LedgeOpCtx *c, uint32_t i, const LedgeRows *rows, int64_t axis,
                              bool backwards, const LedgeTensor *declared)
{
    const LedgeTensor *row = rows->count ? &rows->row : declared;
    LedgeTensor *out = ledge__op_out(c, i);
    LedgeTensor made = {.type = row->type, .rank = (row->rank < 0 ? 0 : row->rank) + 1};
    int32_t at;
    if (!out)
        return LEDGE_OK;
    if (made.rank > LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result has %d dimensions", made.rank);
    LEDGE_TRY(ledge__op_axis(c, axis, made.rank, &at));
    for (int32_t d = 0; d < made.rank; d++) {
        int64_t n = d == at ? rows->count : row->dims[d - (d > at)];
        made.dims[d] = n < 0 ? 0 : n;
    }
    LEDGE_TRY(ledge__check_dims(c, made.rank, made.dims));
    ledge__op_set_out(c, i, made.type, made.rank, made.dims);
    LEDGE_TRY(ledge__op_output(c, i));
    if (ledge_tensor_count(&made) == 0)
        return LEDGE_OK;
    int64_t outer = ledge__dims_product(made.dims, 0, at);
    int64_t inner = ledge__dims_product(made.dims, at + 1, made.rank), n = rows->count;
    LedgeMove m = {.bits = ledge_type_bits(made.type)};
    m.to_offset = backwards ? (n - 1) * inner : 0;
    ledge__move_dim(&m, n, outer * inner, backwards ? -inner : inner);
    ledge__move_dim(&m, outer, inner, n * inner);
    ledge__move_dim(&m, inner, 1, 1);
    ledge__move(&m, rows->data, out->data, c->pool);
    return LEDGE_OK;
}
