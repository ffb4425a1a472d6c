/* Einsum: the equation is parsed into labels; every input gets a stride for every label, and the
 * result is summed over the labels that it lacks. An ellipsis becomes labels of its own,
 * aligned at the right, which broadcast. Diagonals (a label twice in a term) add their strides. */
#include "engine/kernels/ref/nn_ref.h"
#include "engine/ops/shape/move.h"

#define MAX_LABELS (52 + LEDGE_MAX_RANK)
#define ELLIPSIS 52 /* label of the first ellipsis dimension */
#define MAX_TERMS 16

typedef struct Term {
    int n, ellipsis; /* labels; position of the ellipsis in `label`, or -1 */
    int8_t label[64];
} Term;

typedef struct Equation {
    uint32_t terms;
    Term in[MAX_TERMS], out;
    bool has_out;
} Equation;

static LedgeStatus bad_equation(LedgeOpCtx *c, const char *why)
{
    return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "equation '%s': %s",
                          ledge__node_string(c->node, "equation", ""), why);
}

static int label_of(char ch)
{
    if (ch >= 'A' && ch <= 'Z')
        return ch - 'A';
    return ch >= 'a' && ch <= 'z' ? 26 + ch - 'a' : -1;
}

/* Reads one term up to ',', '->' or the end; *text is left there. */
static LedgeStatus parse_term(LedgeOpCtx *c, const char **text, Term *t)
{
    t->n = 0;
    t->ellipsis = -1;
    for (;; (*text)++) {
        char ch = **text;
        if (ch == ' ')
            continue;
        if (ch == '\0' || ch == ',' || ch == '-')
            return LEDGE_OK;
        if (ch == '.') {
            if (t->ellipsis >= 0 || (*text)[1] != '.' || (*text)[2] != '.')
                return bad_equation(c, "a lone dot");
            t->ellipsis = t->n;
            *text += 2;
            continue;
        }
        if (label_of(ch) < 0 || t->n == 52)
            return bad_equation(c, "expected letters, commas, an ellipsis and one arrow");
        t->label[t->n++] = (int8_t)label_of(ch);
    }
}

/* Without an arrow: the ellipsis, then in order the labels that occur once. */
static void implicit_output(Equation *e)
{
    int count[52] = {0};
    e->out = (Term){.ellipsis = -1};
    for (uint32_t i = 0; i < e->terms; i++) {
        for (int k = 0; k < e->in[i].n; k++)
            count[e->in[i].label[k]]++;
        if (e->in[i].ellipsis >= 0)
            e->out.ellipsis = 0;
    }
    for (int label = 0; label < 52; label++)
        if (count[label] == 1)
            e->out.label[e->out.n++] = (int8_t)label;
}

static LedgeStatus parse(LedgeOpCtx *c, Equation *e)
{
    const char *text = ledge__node_string(c->node, "equation", NULL);
    if (!text)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "equation is missing");
    memset(e, 0, sizeof *e);
    for (;;) {
        if (e->terms == MAX_TERMS)
            return bad_equation(c, "too many terms");
        LEDGE_TRY(parse_term(c, &text, &e->in[e->terms++]));
        if (*text != ',')
            break;
        text++;
    }
    if (*text == '-') {
        if (text[1] != '>')
            return bad_equation(c, "expected ->");
        text += 2;
        LEDGE_TRY(parse_term(c, &text, &e->out));
        if (*text)
            return bad_equation(c, "more than one output");
    } else {
        implicit_output(e);
    }
    if (e->terms != c->n_in)
        return bad_equation(c, "its terms are not as many as the inputs");
    return LEDGE_OK;
}

typedef struct Einsum {
    int64_t size[MAX_LABELS]; /* 0 … : known, -1: not known, -2: no such label */
    int ellipsis;             /* dimensions that the ellipsis stands for */
    int64_t stride[MAX_TERMS][MAX_LABELS];
    bool has[MAX_TERMS][MAX_LABELS]; /* the label is in the term */
    int8_t order[MAX_LABELS]; /* labels of the output, then those summed over */
    int n_out, n_all;
    LedgeType type;
    const LedgeTensor **in;
    uint32_t terms;
    void *out;
} Einsum;

/* One dimension of one input: fixes the label's size and adds the stride. */
static LedgeStatus add_dim(LedgeOpCtx *c, Einsum *e, uint32_t term, int label, int64_t n,
                           int64_t stride)
{
    int64_t *size = &e->size[label];
    if (*size == -2 || *size == 1 || (*size < 0 && n != 1))
        *size = n;
    else if (n >= 0 && *size >= 0 && n != 1 && n != *size)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "one label is %lld here and %lld there",
                              (long long)n, (long long)*size);
    e->stride[term][label] += n == 1 ? 0 : stride;
    e->has[term][label] = true;
    return LEDGE_OK;
}

static LedgeStatus add_input(LedgeOpCtx *c, const Equation *q, Einsum *e, uint32_t term)
{
    const Term *t = &q->in[term];
    const LedgeTensor *in = c->in[term];
    int64_t strides[LEDGE_MAX_RANK];
    int more = in->rank - t->n;
    if (more < 0 || (more > 0 && t->ellipsis < 0))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %d dimensions, its term %d labels",
                              term, in->rank, t->n);
    ledge__strides(in->rank, in->dims, strides);
    for (int d = 0; d < in->rank; d++) {
        int label;
        if (t->ellipsis >= 0 && d >= t->ellipsis && d < t->ellipsis + more)
            label = ELLIPSIS + e->ellipsis - more + (d - t->ellipsis);
        else
            label = t->label[t->ellipsis >= 0 && d >= t->ellipsis ? d - more : d];
        LEDGE_TRY(add_dim(c, e, term, label, in->dims[d], strides[d]));
    }
    return LEDGE_OK;
}

static LedgeStatus order_labels(LedgeOpCtx *c, const Equation *q, Einsum *e)
{
    bool used[MAX_LABELS] = {false};
    for (int k = 0; k <= q->out.n; k++) {
        if (k == q->out.ellipsis)
            for (int i = 0; i < e->ellipsis; i++) {
                used[ELLIPSIS + i] = true;
                e->order[e->n_out++] = (int8_t)(ELLIPSIS + i);
            }
        if (k == q->out.n)
            break;
        int label = q->out.label[k];
        if (used[label] || e->size[label] == -2)
            return bad_equation(c, "an output label is repeated or in no input");
        used[label] = true;
        e->order[e->n_out++] = (int8_t)label;
    }
    e->n_all = e->n_out;
    for (int label = 0; label < MAX_LABELS; label++)
        if (e->size[label] != -2 && !used[label])
            e->order[e->n_all++] = (int8_t)label;
    return LEDGE_OK;
}

static LedgeStatus set_up(LedgeOpCtx *c, const Equation *q, Einsum *e)
{
    memset(e, 0, sizeof *e);
    for (int i = 0; i < MAX_LABELS; i++)
        e->size[i] = -2;
    for (uint32_t i = 0; i < q->terms; i++) {
        int more = c->in[i]->rank - q->in[i].n;
        if (q->in[i].ellipsis >= 0 && more > e->ellipsis)
            e->ellipsis = more;
    }
    for (uint32_t i = 0; i < q->terms; i++)
        LEDGE_TRY(add_input(c, q, e, i));
    return order_labels(c, q, e);
}

static LedgeStatus infer_einsum(LedgeOpCtx *c)
{
    Equation q;
    Einsum e;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(parse(c, &q));
    for (uint32_t i = 0; i < c->n_in; i++) {
        LEDGE_TRY(ledge__op_need(c, i, c->in[0] ? c->in[0]->type : LEDGE_TYPE_NONE));
        if (c->in[i]->rank < 0)
            return ledge__out_rank(c, 0, c->in[0]->type, q.out.ellipsis < 0 ? q.out.n : -1);
    }
    LEDGE_TRY(set_up(c, &q, &e));
    LEDGE_TRY(ledge__out_rank(c, 0, c->in[0]->type, e.n_out));
    for (int i = 0; i < e.n_out; i++)
        dims[i] = e.size[e.order[i]];
    LEDGE_TRY(ledge__check_dims(c, e.n_out, dims));
    ledge__op_set_out(c, 0, c->in[0]->type, e.n_out, dims);
    return LEDGE_OK;
}

/* Steps the labels order[begin … end-1]; false when they are through. */
static bool advance(const Einsum *e, int begin, int end, int64_t *index, int64_t *at)
{
    for (int k = end - 1; k >= begin; k--) {
        int label = e->order[k];
        for (uint32_t i = 0; i < e->terms; i++)
            at[i] += e->stride[i][label];
        if (++index[k] < e->size[label])
            return true;
        for (uint32_t i = 0; i < e->terms; i++)
            at[i] -= e->stride[i][label] * e->size[label];
        index[k] = 0;
    }
    return false;
}

/* Sum over one line: the last label, of n positions. ACC is wide enough, or wraps. */
#define LINE(NAME, T, ACC)                                                                \
    static ACC line_##NAME(const Einsum *e, const int64_t *at, int64_t n, int label)      \
    {                                                                                     \
        ACC sum = 0;                                                                      \
        const T *a = (const T *)e->in[0]->data + at[0];                                   \
        int64_t sa = e->stride[0][label];                                                 \
        if (e->terms == 2) {                                                              \
            const T *b = (const T *)e->in[1]->data + at[1];                               \
            int64_t sb = e->stride[1][label];                                             \
            for (int64_t k = 0; k < n; k++)                                               \
                sum += (ACC)a[k * sa] * (ACC)b[k * sb];                                   \
            return sum;                                                                   \
        }                                                                                 \
        for (int64_t k = 0; k < n; k++) {                                                 \
            ACC product = (ACC)a[k * sa];                                                 \
            for (uint32_t i = 1; i < e->terms; i++)                                       \
                product *= (ACC)((const T *)e->in[i]->data)[at[i] + k * e->stride[i][label]]; \
            sum += product;                                                               \
        }                                                                                 \
        return sum;                                                                       \
    }
LINE(f32, float, double)
LINE(f64, double, double)
LINE(i32, int32_t, uint32_t)
LINE(i64, int64_t, uint64_t)

static double line_any(const Einsum *e, const int64_t *at, int64_t n, int label)
{
    double sum = 0;
    for (int64_t k = 0; k < n; k++) {
        double product = 1;
        for (uint32_t i = 0; i < e->terms; i++)
            product *= ledge__number_at(e->type, e->in[i]->data, at[i] + k * e->stride[i][label]);
        sum += product;
    }
    return sum;
}

/* Adds one line to output element `to`'s sum; integers wrap. */
static void add_line(const Einsum *e, const int64_t *at, int64_t n, int label, double *real,
                     uint64_t *whole)
{
    switch (e->type) {
    case LEDGE_FLOAT:
        *real += line_f32(e, at, n, label);
        break;
    case LEDGE_DOUBLE:
        *real += line_f64(e, at, n, label);
        break;
    case LEDGE_INT32:
    case LEDGE_UINT32:
        *whole += line_i32(e, at, n, label);
        break;
    case LEDGE_INT64:
    case LEDGE_UINT64:
        *whole += line_i64(e, at, n, label);
        break;
    default:
        *real += line_any(e, at, n, label);
    }
}

static void store_sum(const Einsum *e, int64_t to, double real, uint64_t whole)
{
    if (e->type == LEDGE_INT64 || e->type == LEDGE_UINT64) {
        ((uint64_t *)e->out)[to] = whole;
    } else if (e->type == LEDGE_INT32 || e->type == LEDGE_UINT32) {
        ((uint32_t *)e->out)[to] = (uint32_t)whole;
    } else {
        ledge__number_set(e->type, e->out, to, real);
    }
}

/* An item is one element of the output. */
static void einsum_elements(void *arg, size_t begin, size_t end, int thread)
{
    const Einsum *e = arg;
    int64_t index[MAX_LABELS] = {0}, at[MAX_TERMS] = {0}, rest = (int64_t)begin;
    bool summed = e->n_all > e->n_out;
    int last = summed ? e->order[e->n_all - 1] : MAX_LABELS - 1;
    int64_t n = summed ? e->size[last] : 1;
    (void)thread;
    for (int k = e->n_out - 1; k >= 0; k--) {
        int label = e->order[k];
        index[k] = rest % e->size[label];
        rest /= e->size[label];
        for (uint32_t i = 0; i < e->terms; i++)
            at[i] += index[k] * e->stride[i][label];
    }
    for (size_t item = begin; item < end; item++) {
        double real = 0;
        uint64_t whole = 0;
        do
            add_line(e, at, n, last, &real, &whole);
        while (advance(e, e->n_out, e->n_all - 1, index, at));
        store_sum(e, (int64_t)item, real, whole);
        advance(e, 0, e->n_out, index, at);
    }
}

/* ---- two terms of float as a batched matrix product ---- */

typedef struct LabelList {
    int n;
    int8_t label[MAX_LABELS];
} LabelList;

/* Labels of the output in both terms, in the first or second only, and those summed over. */
typedef struct Roles {
    LabelList batch, m, n, k;
} Roles;

static bool find_roles(const Einsum *e, const bool (*has)[MAX_LABELS], Roles *r)
{
    memset(r, 0, sizeof *r);
    for (int i = 0; i < e->n_all; i++) {
        int8_t label = e->order[i];
        bool a = has[0][label], b = has[1][label];
        LabelList *list = i >= e->n_out ? &r->k : a && b ? &r->batch : a ? &r->m : &r->n;
        if (i >= e->n_out && !(a && b))
            return false;
        list->label[list->n++] = label;
    }
    return r->batch.n <= LEDGE_MAX_RANK;
}

/* Labels that term t walks as one dimension: its length and stride. */
static bool as_one(const Einsum *e, const LabelList *list, int t, int64_t *n, size_t *stride)
{
    int64_t step = 0;
    *n = 1;
    for (int i = list->n - 1; i >= 0; i--) {
        int label = list->label[i];
        if (e->size[label] == 1)
            continue;
        if (*n == 1)
            step = e->stride[t][label];
        else if (e->stride[t][label] != step * *n)
            return false;
        *n *= e->size[label];
    }
    *stride = (size_t)step;
    return true;
}

/* The product lies [batch, m, n]; the output may want its labels in another order. */
static void reorder(const Einsum *e, const Roles *r, const float *from, LedgePool *pool)
{
    const LabelList *lists[3] = {&r->batch, &r->m, &r->n};
    int64_t stride_of[MAX_LABELS], step = 1, to[LEDGE_MAX_RANK], dims[LEDGE_MAX_RANK];
    LedgeMove m = {.bits = 32};
    for (int l = 2; l >= 0; l--)
        for (int i = lists[l]->n - 1; i >= 0; i--) {
            stride_of[lists[l]->label[i]] = step;
            step *= e->size[lists[l]->label[i]];
        }
    for (int i = 0; i < e->n_out; i++)
        dims[i] = e->size[e->order[i]];
    ledge__strides(e->n_out, dims, to);
    for (int i = 0; i < e->n_out; i++)
        ledge__move_dim(&m, dims[i], stride_of[e->order[i]], to[i]);
    ledge__move(&m, from, e->out, pool);
}

static bool in_order(const Einsum *e, const Roles *r)
{
    const LabelList *lists[3] = {&r->batch, &r->m, &r->n};
    int at = 0;
    for (int l = 0; l < 3; l++)
        for (int i = 0; i < lists[l]->n; i++)
            if (e->order[at++] != lists[l]->label[i])
                return false;
    return true;
}

/* The kernel wants rows of b side by side: lays each batch's b out as [k, n]. Batch dimensions
 * that b lacks stay without a copy. */
static void lay_out_b(LedgeOpCtx *c, LedgeMatmulBatch *g, float *copy)
{
    LedgeMove m = {.bits = 32};
    int64_t step = (int64_t)(g->one.k * g->one.n);
    size_t from[LEDGE_MAX_RANK];
    for (int i = g->rank - 1; i >= 0; i--) {
        from[i] = g->b_stride[i];
        g->b_stride[i] = from[i] ? (size_t)step : 0;
        step *= from[i] ? g->dims[i] : 1;
    }
    for (int i = 0; i < g->rank; i++)
        if (from[i])
            ledge__move_dim(&m, g->dims[i], (int64_t)from[i], (int64_t)g->b_stride[i]);
    ledge__move_dim(&m, (int64_t)g->one.k, (int64_t)g->one.b_row, (int64_t)g->one.n);
    ledge__move_dim(&m, (int64_t)g->one.n, (int64_t)g->one.b_col, 1);
    ledge__move(&m, g->one.b, copy, c->pool);
    g->one.b = copy;
    g->one.b_row = g->one.n;
    g->one.b_col = 1;
}

/* The product before it is put in order, then b laid out anew. */
static size_t product_bytes(const LedgeOpCtx *c)
{
    size_t a = ledge_tensor_bytes(c->out[0]), b = ledge_tensor_bytes(c->in[1]);
    return ledge__round_up(a, LEDGE_ALIGN) + b;
}

/* *done: the output is filled. Otherwise the equation is no matrix product. */
static LedgeStatus run_product(LedgeOpCtx *c, const Einsum *e, const bool (*has)[MAX_LABELS],
                               bool *done)
{
    Roles r;
    LedgeMatmulBatch g = {0};
    int64_t m, n, k, k_too;
    *done = false;
    if (e->type != LEDGE_FLOAT || e->terms != 2 || !find_roles(e, has, &r) ||
        !as_one(e, &r.m, 0, &m, &g.one.a_row) || !as_one(e, &r.n, 1, &n, &g.one.b_col) ||
        !as_one(e, &r.k, 0, &k, &g.one.a_col) || !as_one(e, &r.k, 1, &k_too, &g.one.b_row))
        return LEDGE_OK;
    bool ordered = in_order(e, &r);
    char *work = ledge__work(c, product_bytes(c));
    if (!work)
        return ledge__no_memory(c->err);
    float *to = ordered ? e->out : (float *)work;
    g.one.m = (size_t)m;
    g.one.n = (size_t)n;
    g.one.k = (size_t)k;
    g.one.a = e->in[0]->data;
    g.one.b = e->in[1]->data;
    g.one.c = to;
    g.one.c_row = (size_t)n;
    g.rank = r.batch.n;
    for (int i = 0; i < r.batch.n; i++) {
        g.dims[i] = e->size[r.batch.label[i]];
        g.a_stride[i] = (size_t)e->stride[0][r.batch.label[i]];
        g.b_stride[i] = (size_t)e->stride[1][r.batch.label[i]];
    }
    if (g.one.b_col != 1 && m >= 4 && n > 1)
        lay_out_b(c, &g,
                  (float *)(work + ledge__round_up(ledge_tensor_bytes(c->out[0]), LEDGE_ALIGN)));
    ledge__matmul_batch_f32_ref(&g, c->pool);
    if (!ordered)
        reorder(e, &r, to, c->pool);
    *done = true;
    return LEDGE_OK;
}

static LedgeStatus run_einsum(LedgeOpCtx *c)
{
    Equation q;
    Einsum e;
    LEDGE_TRY(parse(c, &q));
    LEDGE_TRY(set_up(c, &q, &e));
    e.type = c->in[0]->type;
    e.in = c->in;
    e.terms = q.terms;
    e.out = c->out[0]->data;
    if (e.type == LEDGE_STRING || e.type == LEDGE_BOOL || ledge_type_bits(e.type) < 8 ||
        e.type == LEDGE_COMPLEX64 || e.type == LEDGE_COMPLEX128)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "sums of %s", ledge_type_name(e.type));
    int64_t total = ledge_tensor_count(c->out[0]), inner = 1;
    if (total == 0)
        return LEDGE_OK;
    for (int k = e.n_out; k < e.n_all; k++)
        if (e.size[e.order[k]] == 0) {
            memset(e.out, 0, ledge_tensor_bytes(c->out[0]));
            return LEDGE_OK;
        }
    bool done;
    LEDGE_TRY(run_product(c, &e, (const bool(*)[MAX_LABELS])e.has, &done));
    if (done)
        return LEDGE_OK;
    for (int k = e.n_out; k < e.n_all && inner < 16384; k++)
        inner *= e.size[e.order[k]];
    size_t grain = (size_t)(16384 / (inner + 16)) + 1;
    ledge__pool_run(total > (int64_t)grain ? c->pool : NULL, (size_t)total, grain, einsum_elements,
                    &e);
    return LEDGE_OK;
}

static LedgeStatus prepare_einsum(LedgeOpCtx *c)
{
    if (c->n_in == 2 && c->in[0]->type == LEDGE_FLOAT && c->out[0])
        c->scratch_bytes = product_bytes(c);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_einsum[] = {
    {.domain = "", .op_type = "Einsum", .since = 12, .infer = infer_einsum,
     .prepare = prepare_einsum, .run = run_einsum},
    {0},
};
