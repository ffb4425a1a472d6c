/* If and Loop. A body runs through the host; what it gives stays valid during its next run, so
 * loop-carried values go from one iteration to the next without a copy. */
#include "engine/ops/shape/move.h"
#include "engine/ops/value/body.h"

static LedgeStatus truth(LedgeOpCtx *c, const LedgeTensor *t, bool *out)
{
    if (t->type != LEDGE_BOOL || ledge_tensor_count(t) != 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the condition must be one bool");
    *out = *(const uint8_t *)t->data != 0;
    return LEDGE_OK;
}

static LedgeStatus infer_if(LedgeOpCtx *c)
{
    LedgeGraph *yes, *no;
    bool chosen = false;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_BOOL));
    LEDGE_TRY(ledge__body(c, "then_branch", &yes));
    LEDGE_TRY(ledge__body(c, "else_branch", &no));
    if (yes->n_outputs < c->n_out || no->n_outputs < c->n_out)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "a branch has fewer outputs than the node");
    for (uint32_t i = 0; i < c->n_out; i++) {
        const LedgeTensor *a = &yes->outputs[i]->t, *b = &no->outputs[i]->t;
        if (c->in[0]->data && ledge_tensor_count(c->in[0]) == 1) {
            LEDGE_TRY(truth(c, c->in[0], &chosen));
            a = chosen ? a : b;
            b = NULL;
        }
        ledge__body_meet(c, i, a, b);
    }
    return LEDGE_OK;
}

static LedgeStatus run_if(LedgeOpCtx *c)
{
    LedgeGraph *g;
    bool chosen = false;
    LEDGE_TRY(truth(c, c->in[0], &chosen));
    LEDGE_TRY(ledge__body(c, chosen ? "then_branch" : "else_branch", &g));
    LedgeTensor *out = ledge__op_alloc(c, (c->n_out + (size_t)1) * sizeof *out);
    if (!out)
        return ledge__no_memory(c->err);
    LEDGE_TRY(c->host->subgraph(c, g, NULL, 0, out, c->n_out));
    for (uint32_t i = 0; i < c->n_out; i++)
        LEDGE_TRY(ledge__body_store(c, i, &out[i]));
    return LEDGE_OK;
}

/* Loop: inputs are the trip count, the condition, then carried values; the body gives the next
 * condition, carried values, then rows to stack. */
static LedgeStatus loop_body(LedgeOpCtx *c, LedgeGraph **g, uint32_t *carried)
{
    LEDGE_TRY(ledge__body(c, "body", g));
    uint32_t explicit_in = c->node->n_explicit;
    *carried = explicit_in > 2 ? explicit_in - 2 : 0;
    if (ledge__body_formal(*g) != *carried + 2 || (*g)->n_outputs < c->n_out + 1 ||
        (*g)->n_outputs < *carried + 1)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT,
                              "the body has %u inputs and %u outputs for %u carried values",
                              ledge__body_formal(*g), (*g)->n_outputs, *carried);
    for (uint32_t i = 0; i < *carried; i++)
        LEDGE_TRY(ledge__op_need(c, 2 + i, LEDGE_TYPE_NONE));
    return LEDGE_OK;
}

static LedgeStatus infer_loop(LedgeOpCtx *c)
{
    LedgeGraph *g;
    uint32_t carried;
    LEDGE_TRY(loop_body(c, &g, &carried));
    for (uint32_t i = 0; i < c->n_out; i++) {
        const LedgeTensor *made = &g->outputs[i + 1]->t;
        LedgeTensor *out = ledge__op_out(c, i);
        if (!out)
            continue;
        if (i < carried) {
            ledge__body_meet(c, i, made, c->in[2 + i]);
            if (out->type < LEDGE_SEQUENCE) /* shapes may grow from iteration to iteration */
                for (int32_t d = 0; d < out->rank; d++)
                    out->dims[d] = -1;
        } else {
            LEDGE_TRY(ledge__out_rank(c, i, made->type, made->rank < 0 ? -1 : made->rank + 1));
        }
    }
    return LEDGE_OK;
}

typedef struct Loop {
    LedgeGraph *g;
    uint32_t carried, rows;
    int64_t most; /* -1: no trip count */
    bool go_on;
    LedgeTensor *in, *out;
    LedgeRows *stacks;
} Loop;

static LedgeStatus loop_start(LedgeOpCtx *c, Loop *l)
{
    LEDGE_TRY(loop_body(c, &l->g, &l->carried));
    l->rows = c->n_out > l->carried ? c->n_out - l->carried : 0;
    const LedgeTensor *trips = ledge__op_in(c, 0), *condition = ledge__op_in(c, 1);
    if (c->node->n_explicit < 1)
        trips = NULL;
    if (c->node->n_explicit < 2)
        condition = NULL;
    l->most = -1;
    l->go_on = true;
    if (trips) {
        LEDGE_TRY(ledge__need_index(c, 0));
        if (ledge_tensor_count(trips) != 1)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the trip count must be one number");
        l->most = ledge__index_at(trips, 0);
        l->most = l->most < 0 ? 0 : l->most;
    }
    if (condition)
        LEDGE_TRY(truth(c, condition, &l->go_on));
    size_t n = (size_t)l->carried + 2, m = l->g->n_outputs;
    l->in = ledge__op_alloc(c, n * sizeof *l->in);
    l->out = ledge__op_alloc(c, m * sizeof *l->out);
    l->stacks = ledge__op_alloc(c, (l->rows + (size_t)1) * sizeof *l->stacks);
    return l->in && l->out && l->stacks ? LEDGE_OK : ledge__no_memory(c->err);
}

/* A scalar, or a vector of one where the body declares one. */
static LedgeTensor loop_scalar(const LedgeGraph *g, uint32_t i, LedgeType type, void *data)
{
    LedgeTensor t = {.type = type, .data = data, .bytes = type == LEDGE_INT64 ? 8 : 1};
    t.rank = g->inputs[i]->t.rank == 1 ? 1 : 0;
    t.dims[0] = 1;
    return t;
}

static LedgeStatus loop_step(LedgeOpCtx *c, Loop *l, int64_t iteration)
{
    uint8_t condition = 1;
    l->in[0] = loop_scalar(l->g, 0, LEDGE_INT64, &iteration);
    l->in[1] = loop_scalar(l->g, 1, LEDGE_BOOL, &condition);
    LEDGE_TRY(c->host->subgraph(c, l->g, l->in, l->carried + 2, l->out, 1 + l->carried + l->rows));
    LEDGE_TRY(truth(c, &l->out[0], &l->go_on));
    for (uint32_t i = 0; i < l->carried; i++)
        l->in[2 + i] = l->out[1 + i];
    for (uint32_t i = 0; i < l->rows; i++)
        LEDGE_TRY(ledge__rows_add(c, &l->stacks[i], &l->out[1 + l->carried + i]));
    return LEDGE_OK;
}

static LedgeStatus run_loop(LedgeOpCtx *c)
{
    Loop l;
    LEDGE_TRY(loop_start(c, &l));
    for (uint32_t i = 0; i < l.carried; i++)
        l.in[2 + i] = *c->in[2 + i];
    for (int64_t k = 0; l.go_on && (l.most < 0 || k < l.most); k++)
        LEDGE_TRY(loop_step(c, &l, k));
    for (uint32_t i = 0; i < l.carried; i++)
        LEDGE_TRY(ledge__body_store(c, i, &l.in[2 + i]));
    for (uint32_t i = 0; i < l.rows; i++)
        LEDGE_TRY(ledge__rows_store(c, l.carried + i, &l.stacks[i], 0, false,
                                    &l.g->outputs[1 + l.carried + i]->t));
    return LEDGE_OK;
}

const LedgeOp ledge__ops_control[] = {
    {.domain = "",
     .op_type = "If",
     .since = 1,
     .flags = LEDGE_OP_OWN_VALUES,
     .infer = infer_if,
     .run = run_if},
    {.domain = "",
     .op_type = "Loop",
     .since = 1,
     .flags = LEDGE_OP_OWN_VALUES,
     .infer = infer_loop,
     .run = run_loop},
    {0},
};
