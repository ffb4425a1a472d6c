/* com.microsoft FusedConv, FusedGemm and FusedMatMul, which ONNX Runtime's optimiser leaves behind, are
 * taken apart into plain operators again, so that the other passes see them. */
#include "engine/optimize/pass.h"

typedef struct Activation {
    const char *op_type;
    float alpha, beta;
} Activation;

static bool is_ms(const LedgeNode *n, const char *op_type)
{
    return strcmp(n->domain, "com.microsoft") == 0 && strcmp(n->op_type, op_type) == 0;
}

/* The operator behind the attribute `activation`; op_type NULL: none. False: not one of these. */
static bool read_activation(const LedgeNode *n, Activation *a)
{
    static const Activation known[] = {
        {"Relu", 0, 0},          {"Tanh", 0, 0},         {"Sigmoid", 0, 0},
        {"LeakyRelu", 0.01f, 0}, {"Elu", 1, 0},          {"HardSigmoid", 0.2f, 0.5f},
        {"Softsign", 0, 0},      {"Softplus", 0, 0},     {"Clip", -3.402823466e38f, 3.402823466e38f}};
    const char *name = ledge__node_string(n, "activation", "");
    size_t count;
    const float *p = ledge__node_floats(n, "activation_params", &count);
    *a = (Activation){NULL, 0, 0};
    if (!name[0])
        return true;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i].op_type) == 0)
            *a = known[i];
    if (p && count > 0)
        a->alpha = p[0];
    if (p && count > 1)
        a->beta = p[1];
    a->alpha = ledge__node_float(n, "activation_alpha", a->alpha);
    a->beta = ledge__node_float(n, "activation_beta", a->beta);
    return a->op_type != NULL;
}

static LedgeValue *number(LedgeGraph *g, float x)
{
    float *data;
    LedgeValue *v = ledge__opt_floats(g, NULL, 0, NULL, &data);
    if (v)
        data[0] = x;
    return v;
}

/* NULL: no memory. */
static LedgeNode *activate(LedgeGraph *g, const Activation *a, LedgeValue *x, LedgeNode *before)
{
    bool clip = strcmp(a->op_type, "Clip") == 0, hard = strcmp(a->op_type, "HardSigmoid") == 0;
    bool alpha = hard || strcmp(a->op_type, "LeakyRelu") == 0 || strcmp(a->op_type, "Elu") == 0;
    LedgeNode *n = ledge__opt_onnx(g, a->op_type, clip ? 11 : 7, clip ? 3 : 1, &x->t, before);
    if (!n || (alpha && !ledge__node_set_float(g, n, "alpha", a->alpha)) ||
        (hard && !ledge__node_set_float(g, n, "beta", a->beta)))
        return NULL;
    ledge__node_set_input(n, 0, x);
    for (uint32_t i = 1; clip && i < 3; i++) {
        LedgeValue *v = number(g, i == 1 ? a->alpha : a->beta);
        if (!v)
            return NULL;
        ledge__node_set_input(n, i, v);
    }
    return n;
}

/* What says of the activation goes: operators that take it would apply it once more. */
static void forget_activation(LedgeNode *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->n_attrs; i++)
        if (strncmp(n->attrs[i].name, "activation", 10) != 0)
            n->attrs[kept++] = n->attrs[i];
    n->n_attrs = kept;
}

/* The plain operator with the first `n_in` inputs. */
static LedgeNode *plain(LedgeGraph *g, LedgeNode *n, const char *op_type, int since, uint32_t n_in)
{
    LedgeNode *made = ledge__opt_onnx(g, op_type, since, n_in, &n->out[0]->t, n);
    if (!made || !ledge__node_copy_attrs(g, made, n))
        return NULL;
    made->name = n->name;
    forget_activation(made);
    for (uint32_t i = 0; i < n_in; i++)
        ledge__node_set_input(made, i, n->in[i].value);
    return made;
}

/* FusedConv (x, w, bias, sum) and FusedGemm. */
static LedgeStatus split(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool conv, bool *changed)
{
    Activation a;
    LedgeValue *z = conv ? ledge__node_in(n, 3) : NULL;
    if (!read_activation(n, &a))
        return LEDGE_OK;
    LedgeNode *last = plain(g, n, conv ? "Conv" : "Gemm", conv ? 11 : 13, n->n_in < 3 ? n->n_in : 3);
    if (last && z) {
        LedgeNode *sum = ledge__opt_onnx(g, "Add", 7, 2, &n->out[0]->t, n);
        if (!sum)
            return ledge__no_memory(c->err);
        ledge__node_set_input(sum, 0, last->out[0]);
        ledge__node_set_input(sum, 1, z);
        last = sum;
    }
    if (last && a.op_type)
        last = activate(g, &a, last->out[0], n);
    if (!last)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, last, n);
    *changed = true;
    return LEDGE_OK;
}

static LedgeValue *transposed(LedgeGraph *g, LedgeValue *v, LedgeNode *before)
{
    int32_t perm[LEDGE_MAX_RANK], rank = v->t.rank;
    for (int32_t d = 0; d < rank; d++)
        perm[d] = d < rank - 2 ? d : 2 * rank - 3 - d;
    LedgeNode *t = ledge__opt_transpose(g, v, perm, before);
    return t ? t->out[0] : NULL;
}

static LedgeStatus split_matmul(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    float alpha = ledge__node_float(n, "alpha", 1);
    if (ledge__node_int(n, "transBatchA", 0) || ledge__node_int(n, "transBatchB", 0) ||
        n->in[0].value->t.rank < 2 || n->in[1].value->t.rank < 2)
        return LEDGE_OK;
    LedgeNode *last = ledge__opt_onnx(g, "MatMul", 13, 2, &n->out[0]->t, n);
    for (uint32_t i = 0; last && i < 2; i++) {
        LedgeValue *v = n->in[i].value;
        if (ledge__node_int(n, i ? "transB" : "transA", 0) && !(v = transposed(g, v, last)))
            return ledge__no_memory(c->err);
        ledge__node_set_input(last, i, v);
    }
    if (last && alpha != 1) {
        LedgeNode *mul = ledge__opt_onnx(g, "Mul", 7, 2, &n->out[0]->t, n);
        LedgeValue *k = number(g, alpha);
        if (!mul || !k)
            return ledge__no_memory(c->err);
        ledge__node_set_input(mul, 0, last->out[0]);
        ledge__node_set_input(mul, 1, k);
        last = mul;
    }
    if (!last)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, last, n);
    *changed = true;
    return LEDGE_OK;
}

LedgeStatus ledge__opt_ms_fused(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->n_in < 2 || n->n_out != 1 || !n->out[0] || !n->in[0].value || !n->in[1].value ||
            n->in[0].value->t.type != LEDGE_FLOAT)
            continue;
        if (is_ms(n, "FusedConv") || is_ms(n, "FusedGemm"))
            LEDGE_TRY(split(g, c, n, n->op_type[5] == 'C', changed));
        else if (is_ms(n, "FusedMatMul"))
            LEDGE_TRY(split_matmul(g, c, n, changed));
    }
    return LEDGE_OK;
}
