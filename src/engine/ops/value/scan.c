/* Scan: runs its body over slices of the scan inputs, carrying state. Opset 8 has a batch in
 * front of everything and optional sequence lengths; from opset 9 on axes can be chosen. */
#include "engine/ops/shape/move.h"
#include "engine/ops/value/body.h"

typedef struct Scan {
    LedgeGraph *g;
    bool batched;   /* opset 8 */
    uint32_t first; /* input slot of the first state */
    uint32_t states, inputs, rows;
    int64_t steps; /* of the sequence */
    LedgeTensor *in, *out;
    LedgeRows *stacks;
    char **slices; /* memory for slices that are not contiguous */
} Scan;

static LedgeStatus scan_shape(LedgeOpCtx *c, Scan *s)
{
    memset(s, 0, sizeof *s);
    LEDGE_TRY(ledge__body(c, "body", &s->g));
    int64_t n = ledge__node_int(c->node, "num_scan_inputs", 0);
    s->batched = c->node->opset < 9;
    s->first = s->batched ? 1 : 0;
    int64_t all = (int64_t)c->node->n_explicit - s->first;
    if (n < 1 || n > all)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "num_scan_inputs is %lld", (long long)n);
    s->inputs = (uint32_t)n;
    s->states = (uint32_t)(all - n);
    s->rows = c->n_out > s->states ? c->n_out - s->states : 0;
    if (ledge__body_formal(s->g) != all || s->g->n_outputs < s->states + s->rows)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the body has %u inputs and %u outputs",
                              ledge__body_formal(s->g), s->g->n_outputs);
    for (int64_t i = 0; i < all; i++)
        LEDGE_TRY(ledge__op_need(c, s->first + (uint32_t)i, LEDGE_TYPE_NONE));
    return LEDGE_OK;
}

/* Entry i of an optional list attribute. */
static LedgeStatus list_entry(LedgeOpCtx *c, const char *name, uint32_t i, int64_t *out)
{
    size_t n = 0;
    const int64_t *v = ledge__node_ints(c->node, name, &n);
    if (v && i >= n)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "%s has only %zu entries", name, n);
    *out = v ? v[i] : 0;
    return LEDGE_OK;
}

static LedgeStatus infer_scan(LedgeOpCtx *c)
{
    Scan s;
    LEDGE_TRY(scan_shape(c, &s));
    for (uint32_t i = 0; i < c->n_out; i++) {
        const LedgeTensor *made = &s.g->outputs[i]->t;
        int32_t more = (s.batched ? 1 : 0) + (i >= s.states ? 1 : 0);
        LEDGE_TRY(ledge__out_rank(c, i, made->type, made->rank < 0 ? -1 : made->rank + more));
    }
    return LEDGE_OK;
}

static LedgeStatus scan_memory(LedgeOpCtx *c, Scan *s)
{
    size_t n = (size_t)s->states + s->inputs;
    s->in = ledge__op_alloc(c, n * sizeof *s->in);
    s->out = ledge__op_alloc(c, (s->g->n_outputs + (size_t)1) * sizeof *s->out);
    s->stacks = ledge__op_alloc(c, (s->rows + (size_t)1) * sizeof *s->stacks);
    s->slices = ledge__op_alloc(c, s->inputs * sizeof *s->slices);
    return s->in && s->out && s->stacks && s->slices ? LEDGE_OK : ledge__no_memory(c->err);
}

/* Slice `at` of scan input i along its axis. `whole` is the input, for opset 8 of one batch. */
static LedgeStatus take_slice(LedgeOpCtx *c, Scan *s, uint32_t i, const LedgeTensor *whole,
                              int64_t at, LedgeTensor *slice)
{
    int64_t given = 0;
    int32_t axis;
    size_t size;
    if (!s->batched)
        LEDGE_TRY(list_entry(c, "scan_input_axes", i, &given));
    LEDGE_TRY(ledge__op_axis(c, given, whole->rank, &axis));
    LEDGE_TRY(ledge__element_size(c, whole, &size));
    int64_t outer = ledge__dims_product(whole->dims, 0, axis), n = whole->dims[axis];
    int64_t inner = ledge__dims_product(whole->dims, axis + 1, whole->rank);
    *slice = *whole;
    slice->rank--;
    for (int32_t d = axis; d < slice->rank; d++)
        slice->dims[d] = whole->dims[d + 1];
    slice->bytes = (size_t)(outer * inner) * size;
    if (outer == 1) {
        slice->data = (char *)whole->data + (size_t)(at * inner) * size;
        return LEDGE_OK;
    }
    if (!s->slices[i])
        s->slices[i] = ledge__op_alloc(c, slice->bytes + 1);
    if (!s->slices[i])
        return ledge__no_memory(c->err);
    LedgeMove m = {.bits = (unsigned)size * 8, .from_offset = at * inner};
    ledge__move_dim(&m, outer, n * inner, inner);
    ledge__move_dim(&m, inner, 1, 1);
    ledge__move(&m, whole->data, s->slices[i], c->pool);
    slice->data = s->slices[i];
    return LEDGE_OK;
}

static LedgeStatus scan_length(LedgeOpCtx *c, Scan *s)
{
    s->steps = -1;
    for (uint32_t i = 0; i < s->inputs; i++) {
        const LedgeTensor *t = c->in[s->first + s->states + i];
        int64_t given = s->batched ? 1 : 0;
        int32_t axis;
        if (!s->batched)
            LEDGE_TRY(list_entry(c, "scan_input_axes", i, &given));
        LEDGE_TRY(ledge__op_axis(c, given, t->rank, &axis));
        if (s->steps >= 0 && t->dims[axis] != s->steps)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "scan inputs of %lld and %lld steps",
                                  (long long)s->steps, (long long)t->dims[axis]);
        s->steps = t->dims[axis];
    }
    return LEDGE_OK;
}

/* Runs `steps` steps; s->in holds the states, wholes[] the scan inputs. */
static LedgeStatus scan_steps(LedgeOpCtx *c, Scan *s, const LedgeTensor *wholes, int64_t steps)
{
    const char *directions = s->batched ? "directions" : "scan_input_directions";
    for (int64_t t = 0; t < steps; t++) {
        for (uint32_t i = 0; i < s->inputs; i++) {
            int64_t backwards = 0;
            LEDGE_TRY(list_entry(c, directions, i, &backwards));
            LEDGE_TRY(take_slice(c, s, i, &wholes[i], backwards ? s->steps - 1 - t : t,
                                 &s->in[s->states + i]));
        }
        LEDGE_TRY(
            c->host->subgraph(c, s->g, s->in, s->states + s->inputs, s->out, s->states + s->rows));
        for (uint32_t i = 0; i < s->states; i++)
            s->in[i] = s->out[i];
        for (uint32_t i = 0; i < s->rows; i++)
            LEDGE_TRY(ledge__rows_add(c, &s->stacks[i], &s->out[s->states + i]));
    }
    return LEDGE_OK;
}

static LedgeStatus run_scan_9(LedgeOpCtx *c, Scan *s)
{
    LedgeTensor *wholes = ledge__op_alloc(c, s->inputs * sizeof *wholes);
    if (!wholes)
        return ledge__no_memory(c->err);
    for (uint32_t i = 0; i < s->inputs; i++)
        wholes[i] = *c->in[s->states + i];
    for (uint32_t i = 0; i < s->states; i++)
        s->in[i] = *c->in[i];
    LEDGE_TRY(scan_steps(c, s, wholes, s->steps));
    for (uint32_t i = 0; i < s->states; i++)
        LEDGE_TRY(ledge__body_store(c, i, &s->in[i]));
    for (uint32_t i = 0; i < s->rows; i++) {
        int64_t axis = 0, backwards = 0;
        LEDGE_TRY(list_entry(c, "scan_output_axes", i, &axis));
        LEDGE_TRY(list_entry(c, "scan_output_directions", i, &backwards));
        LEDGE_TRY(ledge__rows_store(c, s->states + i, &s->stacks[i], axis, backwards != 0,
                                    &s->g->outputs[s->states + i]->t));
    }
    return LEDGE_OK;
}

/* Batch b of a tensor, as a view. */
static LedgeStatus batch_of(LedgeOpCtx *c, const LedgeTensor *t, int64_t b, int64_t batches,
                            LedgeTensor *out)
{
    size_t size;
    LEDGE_TRY(ledge__element_size(c, t, &size));
    if (t->rank < 1 || t->dims[0] != batches)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "an input has another batch");
    *out = *t;
    out->rank--;
    memmove(out->dims, out->dims + 1, (size_t)out->rank * sizeof out->dims[0]);
    out->bytes = ledge_tensor_bytes(out);
    out->data = (char *)t->data + (size_t)b * out->bytes;
    return LEDGE_OK;
}

/* Rows up to the longest sequence: what lies past the end of one is zero. */
static LedgeStatus pad_rows(LedgeOpCtx *c, LedgeRows *rows, int64_t steps)
{
    LedgeTensor zero = rows->row;
    if (rows->count == 0 || rows->count == steps)
        return LEDGE_OK;
    zero.data = ledge__op_alloc(c, rows->row_bytes + 1);
    if (!zero.data)
        return ledge__no_memory(c->err);
    memset(zero.data, 0, rows->row_bytes + 1);
    while (rows->count < steps)
        LEDGE_TRY(ledge__rows_add(c, rows, &zero));
    return LEDGE_OK;
}

/* The rows of one batch as one row of the result. */
static LedgeStatus add_batch(LedgeOpCtx *c, LedgeRows *all, const LedgeRows *rows,
                             const LedgeTensor *declared)
{
    LedgeTensor t = rows->count ? rows->row : *declared;
    if (t.rank < 0 || t.rank + 2 > LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "a scan output has %d dimensions", t.rank);
    memmove(t.dims + 1, t.dims, (size_t)t.rank * sizeof t.dims[0]);
    t.rank++;
    t.dims[0] = rows->count;
    for (int32_t d = 0; d < t.rank; d++)
        t.dims[d] = t.dims[d] < 0 ? 0 : t.dims[d];
    t.data = rows->data;
    return ledge__rows_add(c, all, &t);
}

static LedgeStatus run_scan_8(LedgeOpCtx *c, Scan *s)
{
    const LedgeTensor *lens = c->in[0];
    int64_t batches = c->in[1]->rank ? c->in[1]->dims[0] : 0;
    LedgeTensor *wholes = ledge__op_alloc(c, s->inputs * sizeof *wholes);
    LedgeRows *all = ledge__op_alloc(c, (c->n_out + (size_t)1) * sizeof *all);
    if (!wholes || !all)
        return ledge__no_memory(c->err);
    if (lens)
        LEDGE_TRY(ledge__need_index(c, 0));
    if (lens && ledge_tensor_count(lens) != batches)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "sequence_lens must have one entry per batch");
    for (int64_t b = 0; b < batches; b++) {
        int64_t steps = lens ? ledge__index_at(lens, b) : s->steps;
        if (steps < 0 || steps > s->steps)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "a sequence of length %lld in %lld steps",
                                  (long long)steps, (long long)s->steps);
        for (uint32_t i = 0; i < s->states; i++)
            LEDGE_TRY(batch_of(c, c->in[1 + i], b, batches, &s->in[i]));
        for (uint32_t i = 0; i < s->inputs; i++)
            LEDGE_TRY(batch_of(c, c->in[1 + s->states + i], b, batches, &wholes[i]));
        memset(s->stacks, 0, (s->rows + (size_t)1) * sizeof *s->stacks);
        LEDGE_TRY(scan_steps(c, s, wholes, steps));
        for (uint32_t i = 0; i < s->states && i < c->n_out; i++)
            LEDGE_TRY(ledge__rows_add(c, &all[i], &s->in[i]));
        for (uint32_t i = 0; i < s->rows; i++) {
            LEDGE_TRY(pad_rows(c, &s->stacks[i], s->steps));
            LEDGE_TRY(
                add_batch(c, &all[s->states + i], &s->stacks[i], &s->g->outputs[s->states + i]->t));
        }
    }
    for (uint32_t i = 0; i < c->n_out; i++)
        LEDGE_TRY(ledge__rows_store(c, i, &all[i], 0, false, &s->g->outputs[i]->t));
    return LEDGE_OK;
}

static LedgeStatus run_scan(LedgeOpCtx *c)
{
    Scan s;
    LEDGE_TRY(scan_shape(c, &s));
    LEDGE_TRY(scan_length(c, &s));
    LEDGE_TRY(scan_memory(c, &s));
    return s.batched ? run_scan_8(c, &s) : run_scan_9(c, &s);
}

const LedgeOp ledge__ops_scan[] = {
    {.domain = "",
     .op_type = "Scan",
     .since = 8,
     .flags = LEDGE_OP_OWN_VALUES,
     .infer = infer_scan,
     .run = run_scan},
    {0},
};
