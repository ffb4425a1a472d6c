/* Gemm, and MatMul by a constant matrix, become ledge.Gemm, whose kernel packs the constant
 * once and takes bias, residual and activation along. */
#include "engine/optimize/pass.h"

static bool is_matrix(const LedgeValue *v)
{
    return ledge__opt_float_constant(v) && v->t.rank == 2 && v->t.dims[0] > 0 && v->t.dims[1] > 0;
}

/* C of a Gemm as numbers per column (into `bias`), or as a residual of the output's shape. */
static bool addend(const LedgeNode *n, int64_t columns, double *bias, LedgeValue **residual)
{
    LedgeValue *v = ledge__node_in(n, 2);
    double beta = (double)ledge__node_float(n, "beta", 1);
    *residual = NULL;
    memset(bias, 0, (size_t)columns * sizeof *bias);
    if (!v || beta == 0)
        return true;
    if (ledge__opt_per_channel(v, 2, 1, columns, bias)) {
        for (int64_t i = 0; i < columns; i++)
            bias[i] *= beta;
        return true;
    }
    *residual = v;
    return beta == 1 && v->t.rank == 2 && ledge__opt_same_shape(v, n->out[0]);
}

static LedgeNode *new_gemm(LedgeGraph *g, LedgeNode *n, LedgeValue *a, int64_t trans_b,
                           int64_t columns)
{
    LedgeTensor like = n->out[0]->t;
    if (like.rank != a->t.rank) {
        like = a->t;
        like.dims[like.rank - 1] = columns;
    }
    LedgeNode *made = ledge__opt_internal(g, "Gemm", 4, &like, n);
    if (!made || (trans_b && !ledge__node_set_int(g, made, "transB", 1)))
        return NULL;
    made->name = n->name;
    ledge__node_set_input(made, 0, a);
    ledge__node_set_input(made, 1, n->in[1].value);
    return made;
}

static LedgeStatus from_matmul(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    LedgeValue *a = n->in[0].value;
    if (a->t.rank < 2 || a->t.type != LEDGE_FLOAT || ledge__value_is_constant(a))
        return LEDGE_OK;
    LedgeNode *made = new_gemm(g, n, a, 0, n->in[1].value->t.dims[1]);
    if (!made)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, made, n);
    *changed = true;
    return LEDGE_OK;
}

static LedgeStatus from_gemm(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    static const int32_t swap[] = {1, 0};
    LedgeValue *a = n->in[0].value, *residual;
    int64_t trans_b = ledge__node_int(n, "transB", 0), columns = n->in[1].value->t.dims[!trans_b];
    double alpha = (double)ledge__node_float(n, "alpha", 1);
    double *numbers = ledge__arena_alloc(g->arena, (size_t)columns, 2 * sizeof *numbers);
    if (!numbers)
        return ledge__no_memory(c->err);
    if (a->t.rank != 2 || a->t.type != LEDGE_FLOAT || !addend(n, columns, numbers, &residual))
        return LEDGE_OK;
    for (int64_t i = 0; i < columns; i++)
        numbers[columns + i] = alpha;
    if (ledge__node_int(n, "transA", 0)) {
        LedgeNode *t = ledge__opt_transpose(g, a, swap, n);
        if (!t)
            return ledge__no_memory(c->err);
        a = t->out[0];
    }
    LedgeNode *made = new_gemm(g, n, a, trans_b, columns);
    LedgeOptWeighted w;
    if (!made)
        return ledge__no_memory(c->err);
    bool has_bias = ledge__node_in(n, 2) && !residual;
    if (ledge__opt_weighted(made, &w))
        LEDGE_TRY(ledge__opt_fold_affine(g, c, made, &w, alpha == 1 ? NULL : numbers + columns,
                                         has_bias ? numbers : NULL));
    ledge__node_set_input(made, 3, residual);
    ledge__opt_take_over(g, made, n);
    *changed = true;
    return LEDGE_OK;
}

LedgeStatus ledge__opt_gemm(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "Gemm"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        bool matmul = ledge__node_is(n, "MatMul");
        if ((!matmul && !ledge__node_is(n, "Gemm")) || n->n_in < 2 || !n->in[0].value ||
            !is_matrix(n->in[1].value) || !n->out[0])
            continue;
        LEDGE_TRY(matmul ? from_matmul(g, c, n, changed) : from_gemm(g, c, n, changed));
    }
    return LEDGE_OK;
}
