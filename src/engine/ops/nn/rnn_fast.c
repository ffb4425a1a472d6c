/* RNN, GRU and LSTM in float on packed weights and vector kernels: the input's part of all
 * steps is one product, a step adds the state's part while that product's rows are added as a
 * residual, and one kernel computes the gates. */
#include "engine/kernels/gemm_f32.h"
#include "engine/kernels/vec.h"
#include "engine/ops/nn/rnn.h"

#include <math.h>
#include <stdio.h>

/* A weight matrix, `dirs` directions one after the other, and a bias for each. */
typedef struct Packed {
    LedgePanels p;
    const float *data, *bias;
    size_t floats, columns; /* of one direction */
} Packed;

typedef struct Fast {
    Packed w, r;
    Packed r_last; /* GRU that resets before its product: r holds z and r only, this h */
    bool split;
    float clip;
    bool input_forget;
} Fast;

/* ---- what qualifies ---- */

static bool usual_activations(LedgeOpCtx *c, const NnRnnSizes *s)
{
    NnActivation act[6];
    size_t each = s->gates == 1 ? 1 : s->gates == 3 ? 2 : 3;
    if (ledge__nn_rnn_activations(c, s, act) != LEDGE_OK)
        return false;
    for (size_t i = 0; i < each * (size_t)s->dirs; i++)
        if (act[i].kind != (i % each == 0 && each > 1 ? NN_ACT_SIGMOID : NN_ACT_TANH))
            return false;
    return true;
}

static bool qualifies(LedgeOpCtx *c, const NnRnnSizes *s)
{
    if (!c->cpu)
        return false; /* the plain form is asked for */
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i] && c->in[i]->type != LEDGE_FLOAT)
            return false; /* sequence lengths too */
    if (!c->in_constant[1] || !c->in_constant[2] || (ledge__op_in(c, 3) && !c->in_constant[3]))
        return false;
    bool linear = ledge__node_int(c->node, "linear_before_reset", 0) != 0;
    bool clips = ledge__node_float(c->node, "clip", 0) != 0;
    if (clips && (s->gates == 1 || (s->gates == 3 && !linear)))
        return false;
    return usual_activations(c, s);
}

/* ---- packing ---- */

typedef struct PackArg {
    const Packed *to;
    const char *from;         /* may be misaligned */
    size_t dirs, rows, first; /* rows of one direction, and the first that is packed */
} PackArg;

static LedgeStatus pack(void *arg, void *to)
{
    const PackArg *a = arg;
    const LedgePanels *p = &a->to->p;
    for (size_t d = 0; d < a->dirs; d++)
        ledge__panels_pack(p, a->from + (d * a->rows + a->first) * p->depth * sizeof(float), 1,
                           p->depth, p->depth, 0, 1, NULL,
                           (float *)to + d * a->to->floats);
    return LEDGE_OK;
}

/* Rows first … first+n-1 of each direction of input i become the columns of a product. */
static LedgeStatus pack_input(LedgeOpCtx *c, const NnRnnSizes *s, uint32_t i, size_t first,
                              size_t n, size_t depth, Packed *to)
{
    const LedgeF32Kernels *k = ledge__f32_kernels(c->cpu);
    PackArg arg = {to, c->in[i]->data, (size_t)s->dirs, s->gates * (size_t)s->hidden, first};
    char key[96];
    const void *data;
    size_t bytes;
    ledge__panels_init(&to->p, k, n, depth);
    to->floats = ledge__panels_floats(&to->p);
    to->columns = ledge__panels_columns(&to->p);
    if (!ledge__mul(to->floats, (size_t)s->dirs * sizeof(float), &bytes))
        return ledge__no_memory(c->err);
    snprintf(key, sizeof key, "rnn_f32 lanes=%u nv=%u rows=%zu+%zu of %zu x%lld", k->lanes, k->nv,
             first, n, arg.rows, (long long)s->dirs);
    LEDGE_TRY(c->host->packed(c, i, key, bytes + sizeof(float), pack, &arg, &data));
    to->data = data;
    return LEDGE_OK;
}

/* Which halves of B (W's, R's) a product's bias is the sum of. */
enum { BIAS_W = 1, BIAS_R = 2 };

static LedgeStatus make_bias(LedgeOpCtx *c, const NnRnnSizes *s, int halves, Packed *to)
{
    const LedgeTensor *b = ledge__op_in(c, 3);
    size_t n = s->gates * (size_t)s->hidden;
    float *bias = ledge__op_alloc(c, ((size_t)s->dirs * to->columns + 1) * sizeof *bias);
    if (!bias)
        return ledge__no_memory(c->err);
    memset(bias, 0, (size_t)s->dirs * to->columns * sizeof *bias);
    for (size_t d = 0; b && d < (size_t)s->dirs; d++)
        for (size_t j = 0; j < to->p.n; j++) {
            const float *from = (const float *)b->data + d * 2 * n;
            bias[d * to->columns + j] =
                (halves & BIAS_W ? from[j] : 0) + (halves & BIAS_R ? from[n + j] : 0);
        }
    to->bias = bias;
    return LEDGE_OK;
}

/* ---- memory of a run ---- */

typedef struct Memory {
    float *xw, *gates, *part, *h, *c;
    void *threads;
    size_t thread_bytes;
} Memory;

/* Both directions side by side, each on one thread: a step is too short to be shared out well. */
static bool in_parallel(const LedgeOpCtx *c, const NnRnnSizes *s)
{
    return s->dirs == 2 && ledge__pool_threads(c->pool) > 1;
}

/* Of one direction. */
static void layout_one(LedgeOpCtx *c, const NnRnnSizes *s, NnScratch *m, Memory *out)
{
    size_t rows, batch = (size_t)s->batch, h = (size_t)s->hidden;
    if (!ledge__mul((size_t)s->seq, batch, &rows) || !ledge__mul(rows, s->gates, &rows)) {
        m->overflow = true;
        return;
    }
    out->xw = ledge__nn_take(m, rows, h * sizeof(float));
    out->gates = ledge__nn_take(m, batch * s->gates, h * sizeof(float));
    out->part = ledge__nn_take(m, batch, h * sizeof(float));
    out->h = ledge__nn_take(m, batch, h * sizeof(float));
    out->c = ledge__nn_take(m, batch, h * sizeof(float));
    const int threads = ledge__pool_threads(c->pool);
    out->thread_bytes = ledge__gemm_thread_bytes(1, 0, threads);
    out->threads = ledge__nn_take(m, (size_t)threads, out->thread_bytes);
}

static void layout(LedgeOpCtx *c, const NnRnnSizes *s, NnScratch *m, Memory out[2])
{
    layout_one(c, s, m, &out[0]);
    out[1] = out[0];
    if (in_parallel(c, s))
        layout_one(c, s, m, &out[1]);
}

LedgeStatus ledge__nn_rnn_fast_prepare(LedgeOpCtx *c, const NnRnnSizes *s)
{
    NnScratch m = {0};
    Memory memory[2];
    if (!qualifies(c, s))
        return LEDGE_OK;
    Fast *f = ledge__op_alloc(c, sizeof *f);
    if (!f)
        return ledge__no_memory(c->err);
    *f = (Fast){.clip = ledge__node_float(c->node, "clip", 0),
                .input_forget = ledge__node_int(c->node, "input_forget", 0) != 0};
    bool linear = s->gates == 3 && ledge__node_int(c->node, "linear_before_reset", 0) != 0;
    size_t h = (size_t)s->hidden, n = s->gates * h;
    f->split = s->gates == 3 && !linear;
    LEDGE_TRY(pack_input(c, s, 1, 0, n, (size_t)s->in, &f->w));
    LEDGE_TRY(pack_input(c, s, 2, 0, f->split ? 2 * h : n, h, &f->r));
    LEDGE_TRY(make_bias(c, s, linear ? BIAS_W : BIAS_W | BIAS_R, &f->w));
    LEDGE_TRY(make_bias(c, s, linear ? BIAS_R : 0, &f->r));
    if (f->split) {
        LEDGE_TRY(pack_input(c, s, 2, 2 * h, h, h, &f->r_last));
        LEDGE_TRY(make_bias(c, s, 0, &f->r_last));
    }
    layout(c, s, &m, memory);
    if (m.overflow)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT,
                              "needs more working memory than can be counted");
    c->scratch_bytes = m.used;
    c->state = f;
    return LEDGE_OK;
}

/* ---- running ---- */

typedef struct Run {
    LedgeOpCtx *c;
    const Fast *f;
    LedgeRnnRef p; /* strides */
    Memory m;
    LedgePool *pool;
    size_t dir;
} Run;

typedef struct Rows {
    const float *a;
    size_t ld;
} Rows;

static void dense_rows(const void *arg, size_t group, size_t m0, uint32_t mr, const float **out,
                       float *border)
{
    const Rows *r = arg;
    (void)group;
    (void)border;
    for (uint32_t i = 0; i < mr; i++)
        out[i] = r->a + (m0 + i) * r->ld;
}

/* y[m][n] = act(a[m][k] B + bias + add) */
static void product(const Run *q, const Packed *b, const float *a, size_t m, float *y, size_t ldy,
                    const float *add, size_t ld_add, LedgeActKind act)
{
    const Rows rows = {a, b->p.depth};
    LedgeGemmRun g = {.p = b->p,
                      .m = m,
                      .groups = 1,
                      .taps = 1,
                      .kc = b->p.depth,
                      .mr = ledge__panels_mr(&b->p),
                      .rows = dense_rows,
                      .rows_arg = &rows,
                      .b = b->data + q->dir * b->floats,
                      .bias = b->bias + q->dir * b->columns,
                      .c = y,
                      .ldc = ldy,
                      .r = add,
                      .ldr = ld_add,
                      .act = {.kind = act, .lo = -INFINITY, .hi = INFINITY},
                      .scratch = q->m.threads,
                      .thread_bytes = q->m.thread_bytes};
    ledge__gemm_run(&g, q->pool);
}

static void lstm_step(const Run *q, const float *xw, size_t ld, const float *peephole)
{
    const LedgeRnnRef *p = &q->p;
    const LedgeVec *v = ledge__vec(q->c->cpu);
    size_t n = p->hidden;
    product(q, &q->f->r, q->m.h, p->batch, q->m.gates, 4 * n, xw, ld, LEDGE_ACT_CLAMP);
    for (size_t b = 0; b < p->batch; b++) {
        LedgeLstmGates g = {.gates = q->m.gates + b * 4 * n,
                            .peephole = peephole,
                            .cell = q->m.c + b * n,
                            .hidden = q->m.h + b * n,
                            .n = n,
                            .clip = q->f->clip,
                            .input_forget = q->f->input_forget};
        v->lstm_gates(&g);
    }
}

static void gru_step(const Run *q, const float *xw, size_t ld)
{
    const LedgeRnnRef *p = &q->p;
    const LedgeVec *v = ledge__vec(q->c->cpu);
    size_t n = p->hidden;
    float *gates = q->m.gates, *part = q->m.part;
    if (!q->f->split) {
        product(q, &q->f->r, q->m.h, p->batch, gates, 3 * n, NULL, 0, LEDGE_ACT_CLAMP);
        for (size_t b = 0; b < p->batch; b++) {
            LedgeGruGates g = {.x = xw + b * ld,
                               .h = gates + b * 3 * n,
                               .hidden = q->m.h + b * n,
                               .n = n,
                               .clip = q->f->clip};
            v->gru_gates(&g);
        }
        return;
    }
    product(q, &q->f->r, q->m.h, p->batch, gates, 3 * n, xw, ld, LEDGE_ACT_SIGMOID);
    for (size_t b = 0; b < p->batch; b++)
        for (size_t i = 0; i < n; i++)
            part[b * n + i] = gates[b * 3 * n + n + i] * q->m.h[b * n + i];
    product(q, &q->f->r_last, part, p->batch, gates + 2 * n, 3 * n, xw + 2 * n, ld, LEDGE_ACT_TANH);
    for (size_t b = 0; b < p->batch; b++)
        for (size_t i = 0; i < n; i++) {
            const float *g = gates + b * 3 * n, z = g[i];
            q->m.h[b * n + i] = (1 - z) * g[2 * n + i] + z * q->m.h[b * n + i];
        }
}

static void rnn_step(const Run *q, const float *xw, size_t ld)
{
    const LedgeRnnRef *p = &q->p;
    product(q, &q->f->r, q->m.h, p->batch, q->m.part, p->hidden, xw, ld, LEDGE_ACT_TANH);
    memcpy(q->m.h, q->m.part, p->batch * p->hidden * sizeof(float));
}

static const float *at(const LedgeTensor *t, size_t index)
{
    return t ? (const float *)t->data + index : NULL;
}

static void load_state(const LedgeRnnRef *p, const float *from, float *to)
{
    for (size_t b = 0; b < p->batch; b++)
        if (from)
            memcpy(to + b * p->hidden, from + b * p->state_batch, p->hidden * sizeof *to);
        else
            memset(to + b * p->hidden, 0, p->hidden * sizeof *to);
}

static void save_state(const LedgeRnnRef *p, const float *from, LedgeTensor *out, size_t offset)
{
    for (size_t b = 0; out && b < p->batch; b++)
        memcpy((float *)out->data + offset + b * p->state_batch, from + b * p->hidden,
               p->hidden * sizeof *from);
}

static void run_direction(const Run *q, bool reverse, size_t state)
{
    const LedgeRnnRef *p = &q->p;
    const LedgeOpCtx *c = q->c;
    size_t n = p->gates * p->hidden;
    LedgeTensor *y = ledge__op_out(c, 0);
    load_state(p, at(ledge__op_in(c, 5), state), q->m.h);
    load_state(p, p->gates == 4 ? at(ledge__op_in(c, 6), state) : NULL, q->m.c);
    product(q, &q->f->w, c->in[0]->data, p->seq * p->batch, q->m.xw, n, NULL, 0, LEDGE_ACT_CLAMP);
    for (size_t step = 0; step < p->seq; step++) {
        size_t t = reverse ? p->seq - 1 - step : step;
        const float *xw = q->m.xw + t * p->x_time * n;
        if (p->gates == 4)
            lstm_step(q, xw, p->x_batch * n, at(ledge__op_in(c, 7), q->dir * 3 * p->hidden));
        else if (p->gates == 3)
            gru_step(q, xw, p->x_batch * n);
        else
            rnn_step(q, xw, p->x_batch * n);
        for (size_t b = 0; y && b < p->batch; b++)
            memcpy((float *)y->data + state + t * p->y_time + b * p->y_batch,
                   q->m.h + b * p->hidden, p->hidden * sizeof(float));
    }
    save_state(p, q->m.h, ledge__op_out(c, 1), state);
    if (p->gates == 4)
        save_state(p, q->m.c, ledge__op_out(c, 2), state);
}

typedef struct Both {
    const NnRnnSizes *s;
    Run run[2];
} Both;

static void run_directions(void *arg, size_t begin, size_t end, int thread)
{
    const Both *both = arg;
    const NnRnnSizes *s = both->s;
    (void)thread;
    for (size_t d = begin; d < end; d++) {
        const Run *q = &both->run[d];
        run_direction(q, s->direction == NN_RNN_REVERSE || d == 1,
                      d * (s->batch_first ? q->p.hidden : q->p.batch * q->p.hidden));
    }
}

LedgeStatus ledge__nn_rnn_fast_run(LedgeOpCtx *c, const NnRnnSizes *s)
{
    NnScratch m = {.base = c->scratch};
    Memory memory[2];
    Both both = {.s = s};
    const bool parallel = in_parallel(c, s);
    layout(c, s, &m, memory);
    LEDGE_TRY(ledge__nn_check_scratch(c, &m));
    for (size_t d = 0; d < 2; d++) {
        both.run[d] = (Run){.c = c, .f = c->state, .m = memory[d], .dir = d,
                            .pool = parallel ? NULL : c->pool};
        ledge__nn_rnn_strides(s, &both.run[d].p);
    }
    if (parallel)
        ledge__pool_run(c->pool, 2, 1, run_directions, &both);
    else
        run_directions(&both, 0, (size_t)s->dirs, 0);
    return LEDGE_OK;
}
