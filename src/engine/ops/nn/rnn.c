/* RNN, GRU and LSTM (ONNX 1, 7, 14, 22): all directions, layouts, activations, peepholes,
 * clip, sequence lengths. */
#include "engine/ops/nn/rnn.h"

static size_t gates_of(const LedgeOpCtx *c)
{
    return c->node->op_type[0] == 'L' ? 4 : c->node->op_type[0] == 'G' ? 3 : 1;
}

static LedgeStatus attributes(LedgeOpCtx *c, NnRnnSizes *s)
{
    const char *d = ledge__node_string(c->node, "direction", "forward");
    *s = (NnRnnSizes){
        .gates = gates_of(c), .dirs = 1, .seq = -1, .batch = -1, .in = -1, .hidden = -1};
    if (strcmp(d, "forward") == 0)
        s->direction = NN_RNN_FORWARD;
    else if (strcmp(d, "reverse") == 0)
        s->direction = NN_RNN_REVERSE;
    else if (strcmp(d, "bidirectional") == 0)
        s->direction = NN_RNN_BOTH;
    else
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "direction \"%.40s\" is not known", d);
    s->dirs = s->direction == NN_RNN_BOTH ? 2 : 1;
    s->batch_first = ledge__node_int(c->node, "layout", 0) == 1;
    s->hidden = ledge__node_int(c->node, "hidden_size", -1);
    if (s->hidden < -1 || s->hidden > INT32_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "hidden_size is %lld, out of range",
                              (long long)s->hidden);
    return LEDGE_OK;
}

static LedgeStatus sizes(LedgeOpCtx *c, NnRnnSizes *s)
{
    LEDGE_TRY(attributes(c, s));
    const LedgeTensor *x = c->in[0], *w = c->in[1], *r = c->in[2];
    for (uint32_t i = 0; i < 3; i++)
        LEDGE_TRY(ledge__nn_rank(c, i, 3, 3));
    if (x->rank == 3) {
        s->seq = x->dims[s->batch_first ? 1 : 0];
        s->batch = x->dims[s->batch_first ? 0 : 1];
        s->in = x->dims[2];
    }
    if (r->rank == 3) {
        LEDGE_TRY(ledge__nn_same(c, "hidden_size and recurrence weights", s->hidden, r->dims[2]));
        s->hidden = r->dims[2] >= 0 ? r->dims[2] : s->hidden;
    }
    int64_t rows = s->hidden >= 0 && s->hidden < INT32_MAX ? (int64_t)s->gates * s->hidden : -1;
    for (uint32_t i = 1; i < 3; i++)
        if (c->in[i]->rank == 3) {
            LEDGE_TRY(ledge__nn_same(c, "directions of the weights", c->in[i]->dims[0], s->dirs));
            LEDGE_TRY(ledge__nn_same(c, "rows of the weights", c->in[i]->dims[1], rows));
        }
    if (w->rank == 3)
        LEDGE_TRY(ledge__nn_same(c, "input size of the weights", w->dims[2], s->in));
    return LEDGE_OK;
}

static LedgeStatus check_optional(LedgeOpCtx *c, const NnRnnSizes *s)
{
    int64_t wide = ledge__nn_times(s->dirs, s->hidden);
    int64_t state = ledge__nn_times(s->batch, wide);
    int64_t bias = ledge__nn_times(wide, 2 * (int64_t)s->gates);
    LEDGE_TRY(ledge__nn_count(c, 3, bias));
    if (ledge__op_in(c, 4))
        LEDGE_TRY(ledge__op_need(c, 4, LEDGE_INT32));
    LEDGE_TRY(ledge__nn_count(c, 4, s->batch));
    LEDGE_TRY(ledge__nn_count(c, 5, state));
    if (s->gates == 4) {
        LEDGE_TRY(ledge__nn_count(c, 6, state));
        LEDGE_TRY(ledge__nn_count(c, 7, ledge__nn_times(wide, 3)));
    }
    return LEDGE_OK;
}

LedgeStatus ledge__nn_rnn_activations(LedgeOpCtx *c, const NnRnnSizes *s, NnActivation *act)
{
    static const char *const plain[] = {"Tanh", "Tanh"};
    static const char *const gru[] = {"Sigmoid", "Tanh", "Sigmoid", "Tanh"};
    static const char *const lstm[] = {"Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Tanh"};
    const char *const *usual = s->gates == 1 ? plain : s->gates == 3 ? gru : lstm;
    size_t each = s->gates == 1 ? 1 : s->gates == 3 ? 2 : 3;
    return ledge__nn_activations(c, usual, each * (size_t)s->dirs, act);
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    NnRnnSizes s;
    NnActivation act[6];
    LEDGE_TRY(ledge__nn_need(c, 3, 0xef));
    LEDGE_TRY(sizes(c, &s));
    LEDGE_TRY(check_optional(c, &s));
    LEDGE_TRY(ledge__nn_rnn_activations(c, &s, act));
    int64_t y[4] = {s.seq, s.dirs, s.batch, s.hidden}, state[3] = {s.dirs, s.batch, s.hidden};
    if (s.batch_first) {
        y[0] = state[0] = s.batch;
        y[1] = s.seq;
        y[2] = state[1] = s.dirs;
    }
    ledge__op_set_out(c, 0, c->in[0]->type, 4, y);
    ledge__op_set_out(c, 1, c->in[0]->type, 3, state);
    if (s.gates == 4)
        ledge__op_set_out(c, 2, c->in[0]->type, 3, state);
    return LEDGE_OK;
}

void ledge__nn_rnn_strides(const NnRnnSizes *s, LedgeRnnRef *p)
{
    *p = (LedgeRnnRef){.gates = s->gates,
                       .seq = (size_t)s->seq,
                       .batch = (size_t)s->batch,
                       .in = (size_t)s->in,
                       .hidden = (size_t)s->hidden};
    size_t dirs = (size_t)s->dirs;
    p->x_time = s->batch_first ? 1 : p->batch;
    p->x_batch = s->batch_first ? p->seq : 1;
    p->y_time = s->batch_first ? dirs * p->hidden : dirs * p->batch * p->hidden;
    p->y_batch = s->batch_first ? p->seq * dirs * p->hidden : p->hidden;
    p->state_batch = s->batch_first ? dirs * p->hidden : p->hidden;
}

static LedgeStatus layout(LedgeOpCtx *c, NnScratch *s, NnRnnSizes *z, LedgeRnnRef *p)
{
    LEDGE_TRY(sizes(c, z));
    ledge__nn_rnn_strides(z, p);
    p->scratch =
        ledge__nn_take(s, ledge__rnn_ref_scratch(p), c->in[0]->type == LEDGE_DOUBLE ? 8 : 4);
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    NnRnnSizes z;
    LedgeRnnRef p;
    LEDGE_TRY(sizes(c, &z));
    c->state = NULL;
    LEDGE_TRY(ledge__nn_rnn_fast_prepare(c, &z));
    if (c->state)
        return LEDGE_OK;
    LEDGE_TRY(layout(c, &s, &z, &p));
    return ledge__nn_ask(c, &s);
}

/* Element `at` of an optional tensor. */
static void *at(const LedgeTensor *t, size_t index)
{
    return t ? (char *)t->data + index * (t->type == LEDGE_DOUBLE ? 8 : 4) : NULL;
}

static void set_direction(LedgeOpCtx *c, const NnRnnSizes *z, size_t d, LedgeRnnRef *p)
{
    size_t n = p->gates * p->hidden;
    size_t state = d * (z->batch_first ? p->hidden : p->batch * p->hidden);
    p->reverse = z->direction == NN_RNN_REVERSE || d == 1;
    p->w = at(c->in[1], d * n * p->in);
    p->r = at(c->in[2], d * n * p->hidden);
    p->b = at(ledge__op_in(c, 3), d * 2 * n);
    p->h0 = at(ledge__op_in(c, 5), state);
    p->y = at(ledge__op_out(c, 0), state);
    p->yh = at(ledge__op_out(c, 1), state);
    if (p->gates == 4) {
        p->c0 = at(ledge__op_in(c, 6), state);
        p->peephole = at(ledge__op_in(c, 7), d * 3 * p->hidden);
        p->yc = at(ledge__op_out(c, 2), state);
    }
}

static LedgeStatus body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    NnRnnSizes z;
    LedgeRnnRef p;
    NnActivation act[6];
    const LedgeTensor *lens = ledge__op_in(c, 4);
    LEDGE_TRY(layout(c, &s, &z, &p));
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    LEDGE_TRY(ledge__nn_rnn_activations(c, &z, act));
    p.x = c->in[0]->data;
    p.lens = lens ? lens->data : NULL;
    for (size_t b = 0; p.lens && b < p.batch; b++)
        if (p.lens[b] < 0 || p.lens[b] > z.seq)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                                  "sequence length %d of row %zu is outside 0 to %lld", p.lens[b],
                                  b, (long long)z.seq);
    p.clip = ledge__node_float(c->node, "clip", 0);
    p.input_forget = ledge__node_int(c->node, "input_forget", 0) != 0;
    p.linear_before_reset = ledge__node_int(c->node, "linear_before_reset", 0) != 0;
    size_t each = p.gates == 1 ? 1 : p.gates == 3 ? 2 : 3;
    for (size_t d = 0; d < (size_t)z.dirs; d++) {
        set_direction(c, &z, d, &p);
        memcpy(p.act, act + d * each, each * sizeof *act);
        NN_CALL(c->in[0]->type, rnn, &p, c->pool);
    }
    return LEDGE_OK;
}

static LedgeStatus run(LedgeOpCtx *c)
{
    NnRnnSizes z;
    if (!c->state)
        return ledge__nn_run_float(c, body);
    LEDGE_TRY(sizes(c, &z));
    return ledge__nn_rnn_fast_run(c, &z);
}

static int64_t macs(const LedgeOpCtx *c)
{
    NnRnnSizes s;
    LedgeOpCtx quiet = *c;
    quiet.err = NULL;
    if (!ledge__nn_known(c->in[0]) || !ledge__nn_known(c->in[2]) || sizes(&quiet, &s))
        return 0;
    return ledge__nn_macs((double)s.dirs * (double)s.seq * (double)s.batch * (double)s.gates *
                          (double)s.hidden * (double)(s.in + s.hidden));
}

const LedgeOp ledge__ops_nn_rnn[] = {
    {"", "RNN", 1, 0, 0, infer, prepare, run, macs},
    {"", "GRU", 1, 0, 0, infer, prepare, run, macs},
    {"", "LSTM", 1, 0, 0, infer, prepare, run, macs},
    {0},
};
