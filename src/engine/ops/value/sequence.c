/* Sequences and optionals. A container's value is an array of LedgeTensor; results are put
 * together from views of the inputs and stored as a deep copy. */
#include "engine/ops/shape/move.h"
#include "engine/ops/value/body.h"

static LedgeType element_type(const LedgeTensor *container)
{
    return container->rank == 1 && container->dims[1] > 0 ? (LedgeType)container->dims[1]
                                                          : LEDGE_TYPE_NONE;
}

static const LedgeTensor *elements(const LedgeTensor *container)
{
    return container->data;
}

static LedgeStatus need_sequence(LedgeOpCtx *c, uint32_t i)
{
    return ledge__op_need(c, i, LEDGE_SEQUENCE);
}

/* Room for a sequence of n elements of `type`. */
static LedgeStatus new_sequence(LedgeOpCtx *c, LedgeType type, int64_t n, LedgeTensor *out)
{
    size_t bytes;
    *out = (LedgeTensor){.type = LEDGE_SEQUENCE, .rank = 1, .dims = {n, type}};
    if (!ledge__mul((size_t)n + 1, sizeof(LedgeTensor), &bytes) ||
        !(out->data = ledge__op_alloc(c, bytes)))
        return ledge__no_memory(c->err);
    out->bytes = bytes;
    return LEDGE_OK;
}

/* One int64 or int32 as a position in 0 … n-1; `absent` without input i. */
static LedgeStatus get_position(LedgeOpCtx *c, uint32_t i, int64_t n, int64_t absent, int64_t *out)
{
    const LedgeTensor *t = ledge__op_in(c, i);
    *out = absent;
    if (!t)
        return LEDGE_OK;
    LEDGE_TRY(ledge__need_index(c, i));
    if (ledge_tensor_count(t) != 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the position must be one number");
    int64_t v = ledge__index_at(t, 0);
    if (v < -n || v >= n)
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "position %lld in a sequence of %lld",
                              (long long)v, (long long)n);
    *out = v < 0 ? v + n : v;
    return LEDGE_OK;
}

static LedgeStatus infer_empty(LedgeOpCtx *c)
{
    int64_t type = ledge__node_int(c->node, "dtype", LEDGE_FLOAT);
    if (type < 1 || type >= LEDGE_SEQUENCE || ledge_type_bits((LedgeType)type) == 0)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "dtype is %lld", (long long)type);
    ledge__out_sequence(c, 0, (LedgeType)type);
    return LEDGE_OK;
}

static LedgeStatus run_empty(LedgeOpCtx *c)
{
    LedgeTensor made;
    LEDGE_TRY(new_sequence(c, (LedgeType)ledge__node_int(c->node, "dtype", LEDGE_FLOAT), 0, &made));
    return ledge__op_store(c, 0, &made);
}

static LedgeStatus infer_construct(LedgeOpCtx *c)
{
    for (uint32_t i = 0; i < c->n_in; i++)
        LEDGE_TRY(ledge__op_need(c, i, c->in[0] ? c->in[0]->type : LEDGE_TYPE_NONE));
    ledge__out_sequence(c, 0, c->n_in ? c->in[0]->type : LEDGE_TYPE_NONE);
    return LEDGE_OK;
}

static LedgeStatus run_construct(LedgeOpCtx *c)
{
    LedgeTensor made;
    LEDGE_TRY(new_sequence(c, c->n_in ? c->in[0]->type : LEDGE_FLOAT, c->n_in, &made));
    for (uint32_t i = 0; i < c->n_in; i++)
        ((LedgeTensor *)made.data)[i] = *c->in[i];
    return ledge__op_store(c, 0, &made);
}

static LedgeStatus infer_at(LedgeOpCtx *c)
{
    LEDGE_TRY(need_sequence(c, 0));
    LEDGE_TRY(ledge__need_index(c, 1));
    ledge__op_set_out(c, 0, element_type(c->in[0]), -1, NULL);
    return LEDGE_OK;
}

static LedgeStatus run_at(LedgeOpCtx *c)
{
    int64_t at;
    LEDGE_TRY(get_position(c, 1, c->in[0]->dims[0], -1, &at));
    return ledge__op_store(c, 0, &elements(c->in[0])[at]);
}

static LedgeStatus infer_insert(LedgeOpCtx *c)
{
    LEDGE_TRY(need_sequence(c, 0));
    LEDGE_TRY(ledge__op_need(c, 1, element_type(c->in[0])));
    ledge__out_sequence(c, 0, c->in[1]->type);
    return LEDGE_OK;
}

static LedgeStatus run_insert(LedgeOpCtx *c)
{
    const LedgeTensor *from = c->in[0];
    int64_t n = from->dims[0], at = n;
    LedgeTensor made;
    const LedgeTensor *position = ledge__op_in(c, 2);
    if (position) { /* -n … n */
        LEDGE_TRY(ledge__need_index(c, 2));
        at = ledge_tensor_count(position) == 1 ? ledge__index_at(position, 0) : INT64_MAX;
        if (at < -n || at > n)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "position %lld in a sequence of %lld",
                                  (long long)at, (long long)n);
        at += at < 0 ? n : 0;
    }
    LEDGE_TRY(new_sequence(c, c->in[1]->type, n + 1, &made));
    LedgeTensor *to = made.data;
    for (int64_t i = 0; i <= n; i++)
        to[i] = i == at ? *c->in[1] : elements(from)[i - (i > at)];
    return ledge__op_store(c, 0, &made);
}

static LedgeStatus infer_erase(LedgeOpCtx *c)
{
    LEDGE_TRY(need_sequence(c, 0));
    ledge__out_sequence(c, 0, element_type(c->in[0]));
    return LEDGE_OK;
}

static LedgeStatus run_erase(LedgeOpCtx *c)
{
    const LedgeTensor *from = c->in[0];
    int64_t n = from->dims[0], at;
    LedgeTensor made;
    if (n == 0)
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "the sequence is empty");
    LEDGE_TRY(get_position(c, 1, n, n - 1, &at));
    LEDGE_TRY(new_sequence(c, element_type(from), n - 1, &made));
    LedgeTensor *to = made.data;
    for (int64_t i = 0; i + 1 < n; i++)
        to[i] = elements(from)[i + (i >= at)];
    return ledge__op_store(c, 0, &made);
}

static LedgeStatus infer_length(LedgeOpCtx *c)
{
    LEDGE_TRY(need_sequence(c, 0));
    ledge__op_set_out(c, 0, LEDGE_INT64, 0, NULL);
    return LEDGE_OK;
}

static LedgeStatus run_length(LedgeOpCtx *c)
{
    memcpy(c->out[0]->data, &c->in[0]->dims[0], 8);
    return LEDGE_OK;
}

/* ---- SplitToSequence, ConcatFromSequence ---- */

static LedgeStatus infer_split(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    if (ledge__op_in(c, 1))
        LEDGE_TRY(ledge__need_index(c, 1));
    ledge__out_sequence(c, 0, c->in[0]->type);
    return LEDGE_OK;
}

/* Part `i` as a tensor of its own; `keep`: the axis stays. */
static LedgeStatus cut_part(LedgeOpCtx *c, int32_t axis, int64_t at, int64_t n, bool keep,
                            LedgeTensor *part)
{
    const LedgeTensor *in = c->in[0];
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    int64_t outer = ledge__dims_product(in->dims, 0, axis);
    int64_t inner = ledge__dims_product(in->dims, axis + 1, in->rank);
    *part = *in;
    part->dims[axis] = n;
    part->bytes = (size_t)(outer * n * inner) * size;
    part->data = ledge__op_alloc(c, part->bytes + 1);
    if (!part->data)
        return ledge__no_memory(c->err);
    LedgeMove m = {.bits = (unsigned)size * 8, .from_offset = at * inner};
    ledge__move_dim(&m, outer, in->dims[axis] * inner, n * inner);
    ledge__move_dim(&m, n * inner, 1, 1);
    ledge__move(&m, in->data, part->data, c->pool);
    if (!keep) {
        part->rank--;
        for (int32_t d = axis; d < part->rank; d++)
            part->dims[d] = in->dims[d + 1];
    }
    return LEDGE_OK;
}

static LedgeStatus run_split(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0], *split = ledge__op_in(c, 1);
    LedgeTensor made;
    int32_t axis;
    bool list = split && split->rank == 1;
    bool keep = split || ledge__node_int(c->node, "keepdims", 1) != 0;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
    int64_t n = in->dims[axis], at = 0, each = split && !list ? ledge__index_at(split, 0) : 1;
    if (each < 1 || (split && split->rank > 1))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "split must be a size or a list of sizes");
    int64_t parts = list ? split->dims[0] : n / each + (n % each != 0);
    LEDGE_TRY(new_sequence(c, in->type, parts, &made));
    for (int64_t i = 0; i < parts; i++) {
        int64_t size = list ? ledge__index_at(split, i) : n - at < each ? n - at : each;
        if (size < 0 || size > n - at)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "the parts do not fit %lld elements",
                                  (long long)n);
        LEDGE_TRY(cut_part(c, axis, at, size, keep, &((LedgeTensor *)made.data)[i]));
        at += size;
    }
    if (at != n)
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "the parts add up to %lld of %lld elements",
                              (long long)at, (long long)n);
    return ledge__op_store(c, 0, &made);
}

static LedgeStatus infer_concat(LedgeOpCtx *c)
{
    LEDGE_TRY(need_sequence(c, 0));
    ledge__op_set_out(c, 0, element_type(c->in[0]), -1, NULL);
    return LEDGE_OK;
}

/* Dims of the result; with a new axis every element counts 1 on it. */
static LedgeStatus joined_dims(LedgeOpCtx *c, const LedgeTensor *list, int64_t n, bool new_axis,
                               int32_t *axis, int32_t *rank, int64_t *dims)
{
    *rank = list[0].rank + new_axis;
    if (*rank > LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result has %d dimensions", *rank);
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), *rank, axis));
    for (int32_t d = 0; d < *rank; d++)
        dims[d] = d == *axis ? 0 : list[0].dims[d - (new_axis && d > *axis)];
    for (int64_t i = 0; i < n; i++) {
        bool fits = list[i].rank == list[0].rank && list[i].type == list[0].type;
        for (int32_t d = 0; fits && d < *rank; d++)
            if (d != *axis)
                fits = list[i].dims[d - (new_axis && d > *axis)] == dims[d];
        if (!fits ||
            __builtin_add_overflow(dims[*axis], new_axis ? 1 : list[i].dims[*axis], &dims[*axis]))
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "element %lld does not fit the others",
                                  (long long)i);
    }
    return ledge__check_dims(c, *rank, dims);
}

static LedgeStatus run_concat(LedgeOpCtx *c)
{
    const LedgeTensor *list = elements(c->in[0]);
    int64_t n = c->in[0]->dims[0], dims[LEDGE_MAX_RANK], at = 0;
    bool new_axis = ledge__node_int(c->node, "new_axis", 0) != 0;
    int32_t axis, rank;
    size_t size;
    if (n == 0)
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "the sequence is empty");
    LEDGE_TRY(ledge__element_size(c, &list[0], &size));
    LEDGE_TRY(joined_dims(c, list, n, new_axis, &axis, &rank, dims));
    ledge__op_set_out(c, 0, list[0].type, rank, dims);
    LEDGE_TRY(ledge__op_output(c, 0));
    int64_t outer = ledge__dims_product(dims, 0, axis), row = ledge__dims_product(dims, axis, rank);
    for (int64_t i = 0; i < n; i++) {
        int64_t part = outer ? ledge_tensor_count(&list[i]) / outer : 0;
        LedgeMove m = {.bits = (unsigned)size * 8, .to_offset = at};
        ledge__move_dim(&m, outer, part, row);
        ledge__move_dim(&m, part, 1, 1);
        ledge__move(&m, list[i].data, c->out[0]->data, c->pool);
        at += part;
    }
    return LEDGE_OK;
}

/* ---- SequenceMap: the body once for each element ---- */

static LedgeStatus infer_map(LedgeOpCtx *c)
{
    LedgeGraph *g;
    LEDGE_TRY(need_sequence(c, 0));
    LEDGE_TRY(ledge__body(c, "body", &g));
    if (ledge__body_formal(g) != c->node->n_explicit || g->n_outputs < c->n_out)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the body has %u inputs and %u outputs",
                              ledge__body_formal(g), g->n_outputs);
    for (uint32_t i = 0; i < c->n_out; i++)
        ledge__out_sequence(c, i, g->outputs[i]->t.type);
    return LEDGE_OK;
}

static LedgeStatus map_one(LedgeOpCtx *c, LedgeGraph *g, int64_t k, LedgeTensor *in,
                           LedgeTensor *out, LedgeTensor *made)
{
    uint32_t n = c->node->n_explicit;
    for (uint32_t i = 0; i < n; i++) {
        LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
        in[i] = *c->in[i];
        if (in[i].type != LEDGE_SEQUENCE)
            continue;
        if (k >= in[i].dims[0])
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "the sequences differ in length");
        in[i] = elements(c->in[i])[k];
    }
    LEDGE_TRY(c->host->subgraph(c, g, in, n, out, c->n_out));
    for (uint32_t i = 0; i < c->n_out; i++)
        LEDGE_TRY(ledge__op_copy_value(c, &out[i], &((LedgeTensor *)made[i].data)[k]));
    return LEDGE_OK;
}

static LedgeStatus run_map(LedgeOpCtx *c)
{
    LedgeGraph *g;
    int64_t n = c->in[0]->dims[0];
    LEDGE_TRY(ledge__body(c, "body", &g));
    LedgeTensor *in = ledge__op_alloc(c, c->node->n_explicit * sizeof *in);
    LedgeTensor *out = ledge__op_alloc(c, (c->n_out + (size_t)1) * 2 * sizeof *out);
    if (!in || !out)
        return ledge__no_memory(c->err);
    LedgeTensor *made = out + c->n_out + 1;
    for (uint32_t i = 0; i < c->n_out; i++)
        LEDGE_TRY(new_sequence(c, g->outputs[i]->t.type, n, &made[i]));
    for (int64_t k = 0; k < n; k++)
        LEDGE_TRY(map_one(c, g, k, in, out, made));
    for (uint32_t i = 0; i < c->n_out; i++)
        LEDGE_TRY(ledge__op_store(c, i, &made[i]));
    return LEDGE_OK;
}

/* ---- optionals ---- */

static LedgeStatus infer_optional(LedgeOpCtx *c)
{
    const LedgeTensor *in = ledge__op_in(c, 0);
    const LedgeAttr *type = ledge__node_attr(c->node, "type");
    if (!in && !type)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "neither an input nor a type is given");
    ledge__out_sequence(c, 0, in ? in->type : type->type_proto.type);
    if (ledge__op_out(c, 0))
        c->out[0]->type = LEDGE_OPTIONAL;
    return LEDGE_OK;
}

static LedgeStatus run_optional(LedgeOpCtx *c)
{
    const LedgeTensor *in = ledge__op_in(c, 0);
    LedgeTensor made = {.type = LEDGE_OPTIONAL, .rank = 1, .dims = {in ? 1 : 0}};
    const LedgeAttr *type = ledge__node_attr(c->node, "type");
    LedgeTensor element = in ? *in : (LedgeTensor){0};
    made.dims[1] = in ? in->type : type ? type->type_proto.type : LEDGE_TYPE_NONE;
    made.data = &element;
    return ledge__op_store(c, 0, &made);
}

static LedgeStatus infer_get_element(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    if (in->type == LEDGE_SEQUENCE)
        ledge__out_sequence(c, 0, element_type(in));
    else if (in->type != LEDGE_OPTIONAL)
        ledge__op_set_out(c, 0, in->type, in->rank, in->dims);
    else if (element_type(in) == LEDGE_SEQUENCE)
        ledge__out_sequence(c, 0, LEDGE_TYPE_NONE);
    else
        ledge__op_set_out(c, 0, element_type(in), -1, NULL);
    return LEDGE_OK;
}

static LedgeStatus run_get_element(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    if (in->type == LEDGE_OPTIONAL) {
        if (in->dims[0] != 1)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "the optional holds nothing");
        in = elements(in);
    }
    return ledge__op_store(c, 0, in);
}

static LedgeStatus infer_has_element(LedgeOpCtx *c)
{
    ledge__op_set_out(c, 0, LEDGE_BOOL, 0, NULL);
    return LEDGE_OK;
}

static LedgeStatus run_has_element(LedgeOpCtx *c)
{
    const LedgeTensor *in = ledge__op_in(c, 0);
    *(uint8_t *)c->out[0]->data = in && (in->type != LEDGE_OPTIONAL || in->dims[0] == 1);
    return LEDGE_OK;
}

#define OWN(name, first, infer_fn, run_fn)                                                         \
    {                                                                                              \
        .domain = "", .op_type = name, .since = first, .flags = LEDGE_OP_OWN_VALUES,               \
        .infer = infer_fn, .run = run_fn                                                           \
    }

const LedgeOp ledge__ops_sequence[] = {
    OWN("SequenceEmpty", 11, infer_empty, run_empty),
    OWN("SequenceConstruct", 11, infer_construct, run_construct),
    OWN("SequenceAt", 11, infer_at, run_at),
    OWN("SequenceInsert", 11, infer_insert, run_insert),
    OWN("SequenceErase", 11, infer_erase, run_erase),
    {.domain = "",
     .op_type = "SequenceLength",
     .since = 11,
     .infer = infer_length,
     .run = run_length},
    OWN("SplitToSequence", 11, infer_split, run_split),
    OWN("ConcatFromSequence", 11, infer_concat, run_concat),
    OWN("SequenceMap", 17, infer_map, run_map),
    OWN("Optional", 15, infer_optional, run_optional),
    OWN("OptionalGetElement", 15, infer_get_element, run_get_element),
    {.domain = "",
     .op_type = "OptionalHasElement",
     .since = 15,
     .infer = infer_has_element,
     .run = run_has_element},
    {0},
};
