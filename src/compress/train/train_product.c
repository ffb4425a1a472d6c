/* Conv, Gemm and MatMul. */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"

/* ---- Conv ---- */

static void conv_forward(Trainer *t, TrainStep *s)
{
    ledge__train_linear_forward(t, s->state, s->in[0]->data, s->in[1]->data,
                                s->n_in > 2 ? s->in[2]->data : NULL, s->out->data);
}

static void conv_backward(Trainer *t, TrainStep *s)
{
    const TrainLinear *l = s->state;
    bool accumulate;
    if (s->in[1]->grad)
        ledge__train_linear_dw(t, l, s->in[0]->data, s->out->grad, s->in[1]->grad);
    if (s->n_in > 2 && s->in[2]->grad)
        ledge__train_column_sums(t, s->out->grad, s->out->count / l->s.m, l->s.m, s->in[2]->grad);
    float *dx = ledge__train_grad(s, 0, &accumulate);
    if (dx)
        ledge__train_linear_dx(t, l, s->out->grad, s->in[1]->data, dx, accumulate);
}

static const TrainOp conv_op = {"Conv", TRAIN_BACK_X0, conv_forward, conv_backward};

LedgeStatus ledge__train_window(TrainBuild *b, const int64_t in[2], TrainWindow *w)
{
    size_t n;
    const int64_t *k = ledge__node_ints(b->node, "strides", &n);
    for (int i = 0; i < 2; i++)
        w->stride[i] = n == 2 ? k[i] : 1;
    k = ledge__node_ints(b->node, "dilations", &n);
    for (int i = 0; i < 2; i++)
        w->dilation[i] = n == 2 ? k[i] : 1;
    k = ledge__node_ints(b->node, "pads", &n);
    for (int i = 0; i < 4; i++)
        w->pad[i] = n == 4 ? k[i] : 0;
    const char *how = ledge__node_string(b->node, "auto_pad", "NOTSET");
    const bool ceil = ledge__node_int(b->node, "ceil_mode", 0) != 0;
    for (int i = 0; i < 2; i++) {
        const int64_t span = (w->kernel[i] - 1) * w->dilation[i] + 1, step = w->stride[i];
        if (w->kernel[i] < 1 || w->kernel[i] > 1 << 16 || w->dilation[i] < 1 ||
            w->dilation[i] > 1 << 16 || step < 1 || step > 1 << 16 || w->pad[i] < 0 ||
            w->pad[i + 2] < 0 || w->pad[i] > 1 << 16 || w->pad[i + 2] > 1 << 16)
            return ledge__train_refuse(b, "its window is out of bounds");
        if (strncmp(how, "SAME", 4) == 0) {
            const int64_t total = ((in[i] + step - 1) / step - 1) * step + span - in[i];
            const int64_t all = total > 0 ? total : 0, less = all / 2;
            w->pad[i] = strcmp(how, "SAME_LOWER") == 0 ? all - less : less;
            w->pad[i + 2] = all - w->pad[i];
        }
        const int64_t room = in[i] + w->pad[i] + w->pad[i + 2] - span;
        if (room < 0)
            return ledge__train_refuse(b, "its window is larger than what it reads");
        w->out[i] = (room + (ceil ? step - 1 : 0)) / step + 1;
        if (ceil && (w->out[i] - 1) * step >= in[i] + w->pad[i])
            w->out[i]--; /* no window begins behind the image */
    }
    return LEDGE_OK;
}

static LedgeStatus conv_weights(TrainBuild *b, TrainValue *in[3])
{
    LEDGE_TRY(ledge__train_in_layout(b, 0, true, &in[0]));
    LEDGE_TRY(ledge__train_in(b, 1, &in[1]));
    LEDGE_TRY(ledge__train_in(b, 2, &in[2]));
    const int64_t group = ledge__node_int(b->node, "group", 1);
    if (!in[0] || in[0]->rank != 4 || !in[0]->nhwc)
        return ledge__train_refuse(b, "only convolutions over [N,C,H,W] have a gradient here");
    if (!in[1] || !in[1]->fixed || in[1]->rank != 4 || (in[2] && !in[2]->fixed))
        return ledge__train_refuse(b, "its weights and bias must be constants");
    if (group < 1 || in[0]->dims[1] % group || in[1]->dims[0] % group ||
        in[1]->dims[1] != in[0]->dims[1] / group ||
        (in[2] && (int64_t)in[2]->count != in[1]->dims[0]))
        return ledge__train_refuse(b, "its weights do not fit its input");
    LEDGE_TRY(ledge__train_param(b, in[1], true));
    return ledge__train_param(b, in[2], false);
}

LedgeStatus ledge__train_conv(TrainBuild *b)
{
    TrainValue *in[3], *y;
    LEDGE_TRY(conv_weights(b, in));
    const TrainValue *x = in[0], *w = in[1];
    TrainWindow win = {.kernel = {w->dims[2], w->dims[3]}};
    LEDGE_TRY(ledge__train_window(b, &x->dims[2], &win));
    const int64_t dims[] = {x->dims[0], w->dims[0], win.out[0], win.out[1]};
    LEDGE_TRY(ledge__train_output(b, 4, dims, true, &y));
    TrainStep *s = ledge__train_step(b, &conv_op, in, in[2] ? 3 : 2, y, sizeof(TrainLinear));
    if (!s)
        return ledge__no_memory(b->err);
    const LedgeConvShape shape = {.n = (size_t)x->dims[0],
                                  .h = (size_t)x->dims[2],
                                  .w = (size_t)x->dims[3],
                                  .c = (size_t)x->dims[1],
                                  .oh = (size_t)win.out[0],
                                  .ow = (size_t)win.out[1],
                                  .m = (size_t)w->dims[0],
                                  .kh = (size_t)win.kernel[0],
                                  .kw = (size_t)win.kernel[1],
                                  .sh = (size_t)win.stride[0],
                                  .sw = (size_t)win.stride[1],
                                  .dh = (size_t)win.dilation[0],
                                  .dw = (size_t)win.dilation[1],
                                  .pt = (size_t)win.pad[0],
                                  .pl = (size_t)win.pad[1],
                                  .group = (size_t)ledge__node_int(b->node, "group", 1)};
    if (!ledge__train_linear_plan(b->t, &shape, x->needs_grad, s->state))
        return ledge__train_refuse(b, "a batch of it is larger than memory");
    s->scratch = ((TrainLinear *)s->state)->scratch;
    return LEDGE_OK;
}

/* ---- Gemm, and MatMul by constant weights ---- */

typedef struct Dense {
    TrainLinear l;
    bool turned; /* the weights lie as [inputs][outputs]; these hold them the other way: */
    float *w, *dw;
} Dense;

/* to[j][i] += from[i][j], by blocks that stay in cache. */
static void add_turned(const float *from, size_t rows, size_t cols, float *to)
{
    enum { BLOCK = 16 };
    for (size_t i0 = 0; i0 < rows; i0 += BLOCK)
        for (size_t j0 = 0; j0 < cols; j0 += BLOCK)
            for (size_t i = i0; i < rows && i < i0 + BLOCK; i++)
                for (size_t j = j0; j < cols && j < j0 + BLOCK; j++)
                    to[j * rows + i] += from[i * cols + j];
}

static void dense_forward(Trainer *t, TrainStep *s)
{
    const Dense *d = s->state;
    if (d->turned)
        ledge__vec_transpose(t->runner, s->in[1]->data, d->w, 1, d->l.s.c, d->l.s.m, sizeof(float));
    ledge__train_linear_forward(t, &d->l, s->in[0]->data, d->turned ? d->w : s->in[1]->data,
                                s->n_in > 2 ? s->in[2]->data : NULL, s->out->data);
}

static void dense_backward(Trainer *t, TrainStep *s)
{
    const Dense *d = s->state;
    const size_t m = d->l.s.m, c = d->l.s.c;
    bool accumulate;
    if (s->in[1]->grad) {
        if (d->turned)
            memset(d->dw, 0, m * c * sizeof(float));
        ledge__train_linear_dw(t, &d->l, s->in[0]->data, s->out->grad,
                               d->turned ? d->dw : s->in[1]->grad);
        if (d->turned)
            add_turned(d->dw, m, c, s->in[1]->grad);
    }
    if (s->n_in > 2 && s->in[2]->grad)
        ledge__train_column_sums(t, s->out->grad, s->out->count / m, m, s->in[2]->grad);
    float *dx = ledge__train_grad(s, 0, &accumulate);
    if (dx)
        ledge__train_linear_dx(t, &d->l, s->out->grad, d->turned ? d->w : s->in[1]->data, dx,
                               accumulate);
}

static const TrainOp dense_op = {"dense", TRAIN_BACK_X0, dense_forward, dense_backward};

static LedgeStatus new_dense(TrainBuild *b, TrainValue *in[3], bool turned)
{
    TrainValue *y;
    const TrainValue *x = in[0], *w = in[1];
    const int64_t c = w->dims[turned ? 0 : 1], m = w->dims[turned ? 1 : 0];
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__train_param(b, in[1], true));
    LEDGE_TRY(ledge__train_param(b, in[2], false));
    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank - 1] = m;
    LEDGE_TRY(ledge__train_output(b, x->rank, dims, false, &y));
    TrainStep *s = ledge__train_step(b, &dense_op, in, in[2] ? 3 : 2, y, sizeof(Dense));
    if (!s)
        return ledge__no_memory(b->err);
    Dense *d = s->state;
    d->turned = turned;
    if (turned) {
        d->w = ledge__arena_aligned(b->t->arena, w->count * sizeof(float));
        d->dw = ledge__arena_aligned(b->t->arena, w->count * sizeof(float));
        if (!d->w || !d->dw)
            return ledge__no_memory(b->err);
    }
    const size_t rows = x->count / (size_t)c;
    const LedgeConvShape shape = {.n = 1,
                                  .h = 1,
                                  .w = rows,
                                  .c = (size_t)c,
                                  .oh = 1,
                                  .ow = rows,
                                  .m = (size_t)m,
                                  .kh = 1,
                                  .kw = 1,
                                  .sh = 1,
                                  .sw = 1,
                                  .dh = 1,
                                  .dw = 1,
                                  .group = 1};
    if (!ledge__train_linear_plan(b->t, &shape, x->needs_grad, &d->l))
        return ledge__train_refuse(b, "a batch of it is larger than memory");
    s->scratch = d->l.scratch;
    return LEDGE_OK;
}

LedgeStatus ledge__train_gemm(TrainBuild *b)
{
    TrainValue *in[3];
    for (uint32_t i = 0; i < 3; i++)
        LEDGE_TRY(ledge__train_in(b, i, &in[i]));
    const bool turned = !ledge__node_int(b->node, "transB", 0);
    if (!in[0] || in[0]->rank != 2 || ledge__node_int(b->node, "transA", 0))
        return ledge__train_refuse(b, "its first input must be [batch, inputs]");
    if (!in[1] || !in[1]->fixed || in[1]->rank != 2 ||
        in[1]->dims[turned ? 0 : 1] != in[0]->dims[1])
        return ledge__train_refuse(b, "its weights must be constant and fit its input");
    if (in[2] && (!in[2]->fixed || (int64_t)in[2]->count != in[1]->dims[turned ? 1 : 0]))
        return ledge__train_refuse(b, "its bias must be constant, one number for each output");
    if (ledge__node_float(b->node, "alpha", 1) != 1 ||
        (in[2] && ledge__node_float(b->node, "beta", 1) != 1))
        return ledge__train_refuse(b, "alpha and beta must be 1");
    return new_dense(b, in, turned);
}

/* ---- MatMul of two activations ---- */

typedef struct Product {
    size_t batch, m, k, n;
    size_t turned_at, thread_bytes; /* in a thread's scratch: packed B, then A turned */
} Product;

/* C[m][n] (+)= A × B of one batch item; elements of A and B lie by the steps given. */
typedef struct ProductArg {
    const Trainer *t;
    const float *a, *b;
    float *c;
    size_t m, k, n;
    size_t a_row, a_col, b_row, b_col; /* steps */
    size_t a_step, b_step, c_step;     /* from item to item */
    bool accumulate;
    char *scratch;
    size_t thread_bytes, turned_at;
} ProductArg;

static void product_items(void *arg, size_t begin, size_t end, int thread)
{
    const ProductArg *p = arg;
    char *room = p->scratch + (size_t)thread * p->thread_bytes;
    float *packed = (float *)(void *)room, *turned = (float *)(void *)(room + p->turned_at);
    const LedgeAct none = {LEDGE_ACT_CLAMP, -INFINITY, INFINITY, 0, 0};
    LedgePanels panels;
    ledge__panels_init(&panels, p->t->k, p->n, p->k);
    float *zeros = turned + p->m * p->k;
    memset(zeros, 0, ledge__panels_columns(&panels) * sizeof(float));
    for (size_t i = begin; i < end; i++) {
        const float *a = p->a + i * p->a_step;
        float *c = p->c + i * p->c_step;
        ledge__panels_pack(&panels, p->b + i * p->b_step, 1, p->k, p->b_col, 0, p->b_row, NULL,
                           packed);
        for (size_t r = 0; p->a_col != 1 && r < p->m; r++)
            for (size_t j = 0; j < p->k; j++)
                turned[r * p->k + j] = a[r * p->a_row + j * p->a_col];
        ledge__gemm_serial(&panels, ledge__panels_mr(&panels), p->a_col == 1 ? a : turned,
                           p->a_col == 1 ? p->a_row : p->k, p->m, packed, zeros, c, p->n,
                           p->accumulate ? c : NULL, p->n, &none);
    }
}

static void run_product(Trainer *t, const TrainStep *s, ProductArg *p)
{
    const Product *q = s->state;
    p->t = t;
    p->scratch = t->scratch;
    p->thread_bytes = q->thread_bytes;
    p->turned_at = q->turned_at;
    p->a_step = p->m * p->k;
    p->b_step = p->k * p->n;
    p->c_step = p->m * p->n;
    ledge__pool_run(t->pool, q->batch, 1, product_items, p);
}

static void product_forward(Trainer *t, TrainStep *s)
{
    const Product *q = s->state;
    ProductArg p = {.a = s->in[0]->data,
                    .b = s->in[1]->data,
                    .c = s->out->data,
                    .m = q->m,
                    .k = q->k,
                    .n = q->n,
                    .a_row = q->k,
                    .a_col = 1,
                    .b_row = q->n,
                    .b_col = 1};
    run_product(t, s, &p);
}

static void product_backward(Trainer *t, TrainStep *s)
{
    const Product *q = s->state;
    ProductArg p = {.a = s->out->grad,
                    .b = s->in[1]->data,
                    .m = q->m,
                    .k = q->n,
                    .n = q->k,
                    .a_row = q->n,
                    .a_col = 1,
                    .b_row = 1,
                    .b_col = q->n};
    p.c = ledge__train_grad(s, 0, &p.accumulate);
    if (p.c)
        run_product(t, s, &p);
    p = (ProductArg){.a = s->in[0]->data,
                     .b = s->out->grad,
                     .m = q->k,
                     .k = q->m,
                     .n = q->n,
                     .a_row = 1,
                     .a_col = q->k,
                     .b_row = q->n,
                     .b_col = 1};
    p.c = ledge__train_grad(s, 1, &p.accumulate);
    if (p.c)
        run_product(t, s, &p);
}

static const TrainOp product_op = {"MatMul", TRAIN_BACK_X0 | TRAIN_BACK_X1, product_forward,
                                   product_backward};

static LedgeStatus new_product(TrainBuild *b, TrainValue *in[2])
{
    TrainValue *y;
    const TrainValue *x = in[0], *z = in[1];
    int64_t dims[LEDGE_MAX_RANK];
    const int32_t r = x->rank;
    memcpy(dims, x->dims, sizeof dims);
    if (r != z->rank || r < 2 || x->dims[r - 1] != z->dims[r - 2] ||
        memcmp(x->dims, z->dims, (size_t)(r - 2) * sizeof *dims) != 0)
        return ledge__train_refuse(b, "only products of equal batches have a gradient here");
    dims[r - 1] = z->dims[r - 1];
    LEDGE_TRY(ledge__train_output(b, r, dims, false, &y));
    TrainStep *s = ledge__train_step(b, &product_op, in, 2, y, sizeof(Product));
    if (!s)
        return ledge__no_memory(b->err);
    Product *q = s->state;
    q->m = (size_t)dims[r - 2];
    q->n = (size_t)dims[r - 1];
    q->k = (size_t)x->dims[r - 1];
    q->batch = y->count / (q->m * q->n);
    /* Room for the largest of the three products. */
    const size_t wide = 64 + (q->m > q->n ? q->m : q->n) + q->k;
    if (wide > 1 << 20)
        return ledge__train_refuse(b, "its matrices are larger than memory");
    q->turned_at = ledge__round_up(wide * wide * sizeof(float), LEDGE_ALIGN);
    q->thread_bytes = 2 * q->turned_at;
    s->scratch = q->thread_bytes * (size_t)ledge__pool_threads(b->t->pool);
    return LEDGE_OK;
}

LedgeStatus ledge__train_matmul(TrainBuild *b)
{
    TrainValue *in[3] = {NULL, NULL, NULL};
    LEDGE_TRY(ledge__train_in_layout(b, 0, false, &in[0]));
    LEDGE_TRY(ledge__train_in_layout(b, 1, false, &in[1]));
    if (!in[0] || !in[1] || in[0]->fixed)
        return ledge__train_refuse(b, "its first input must not be constant");
    if (!in[1]->fixed)
        return new_product(b, in);
    if (in[1]->rank != 2 || in[0]->rank < 2 || in[0]->dims[in[0]->rank - 1] != in[1]->dims[0])
        return ledge__train_refuse(b, "its weights must be [inputs, outputs]");
    return new_dense(b, in, true);
}
