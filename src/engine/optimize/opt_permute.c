/* Axes: permuting constants, and moving a Transpose from before a node to behind it. */
#include "engine/optimize/pass.h"

void ledge__opt_invert(const int32_t *perm, int32_t rank, int32_t *inverse)
{
    for (int32_t d = 0; d < rank; d++)
        inverse[perm[d]] = d;
}

static bool is_in(const char *op_type, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(op_type, *list) == 0)
            return true;
    return false;
}

bool ledge__opt_is_unary(const LedgeNode *n)
{
    static const char *const list[] = {"Relu",       "Sigmoid",
                                       "Tanh",       "LeakyRelu",
                                       "HardSwish",  "HardSigmoid",
                                       "Gelu",       "Elu",
                                       "Selu",       "Celu",
                                       "Erf",        "Exp",
                                       "Log",        "Sqrt",
                                       "Neg",        "Abs",
                                       "Floor",      "Ceil",
                                       "Round",      "Sign",
                                       "Reciprocal", "Softplus",
                                       "Softsign",   "Mish",
                                       "Swish",      "ThresholdedRelu",
                                       "Sin",        "Cos",
                                       "Tan",        "Asin",
                                       "Acos",       "Atan",
                                       "Sinh",       "Cosh",
                                       "Asinh",      "Acosh",
                                       "Atanh",      "Not",
                                       "IsNaN",      "IsInf",
                                       "Identity",   "Cast",
                                       "Shrink",     "BitwiseNot",
                                       NULL};
    if (n->domain[0] || n->n_out != 1 || !n->out[0])
        return false;
    if (strcmp(n->op_type, "Clip") == 0) /* bounds are scalars */
        return n->n_in >= 1;
    return n->n_in == 1 && is_in(n->op_type, list);
}

bool ledge__opt_is_broadcasting(const LedgeNode *n)
{
    static const char *const list[] = {
        "Add", "Sub",  "Mul",   "Div",      "Pow",  "Mod",     "Min",         "Max",
        "Sum", "Mean", "Where", "Equal",    "Less", "Greater", "LessOrEqual", "GreaterOrEqual",
        "And", "Or",   "Xor",   "BitShift", NULL};
    return !n->domain[0] && n->n_out == 1 && n->out[0] && n->n_in >= 1 && is_in(n->op_type, list);
}

bool ledge__opt_is_view(const LedgeNode *n)
{
    static const char *const list[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", NULL};
    return n && !n->domain[0] && n->n_in >= 1 && n->n_out == 1 && n->out[0] &&
           is_in(n->op_type, list);
}

static void copy_permuted(const char *from, char *to, size_t size, int32_t rank,
                          const int64_t *dims, const int64_t *steps)
{
    int64_t at[LEDGE_MAX_RANK] = {0}, offset = 0, count = 1;
    for (int32_t d = 0; d < rank; d++)
        count *= dims[d];
    for (int64_t i = 0; i < count; i++) {
        memcpy(to + (size_t)i * size, from + (size_t)offset * size, size);
        for (int32_t d = rank - 1; d >= 0; d--) {
            offset += steps[d];
            if (++at[d] < dims[d])
                break;
            offset -= steps[d] * dims[d];
            at[d] = 0;
        }
    }
}

/* Dims and element steps of `t` under `perm`, with leading ones up to `rank`. False if its shape
 * stays as it is; *reorders tells whether the elements' order changes too. */
static bool permuted_shape(const LedgeTensor *t, int32_t rank, const int32_t *perm, int64_t *dims,
                           int64_t *steps, bool *reorders)
{
    int64_t full[LEDGE_MAX_RANK], step[LEDGE_MAX_RANK], s = 1;
    bool moves = false;
    int32_t last = -1;
    *reorders = false;
    for (int32_t d = rank - 1; d >= 0; d--) {
        int32_t own = d - (rank - t->rank);
        full[d] = own >= 0 ? t->dims[own] : 1;
        step[d] = s;
        s *= full[d];
    }
    for (int32_t d = 0; d < rank; d++) {
        dims[d] = full[perm[d]];
        steps[d] = step[perm[d]];
        if (dims[d] == 1)
            continue;
        moves |= perm[d] != d;
        *reorders |= perm[d] < last;
        last = perm[d];
    }
    return moves;
}

LedgeValue *ledge__opt_permuted_constant(LedgeGraph *g, LedgeValue *v, int32_t rank,
                                         const int32_t *perm, bool keep_rank)
{
    int64_t dims[LEDGE_MAX_RANK], steps[LEDGE_MAX_RANK];
    unsigned bits = ledge_type_bits(v->t.type);
    if (bits < 8 || v->t.rank > rank)
        return NULL;
    bool reorders;
    if (!permuted_shape(&v->t, rank, perm, dims, steps, &reorders))
        return v;
    int32_t skip = 0;
    while (!keep_rank && skip < rank - 1 && dims[skip] == 1)
        skip++;
    LedgeTensor t = {.type = v->t.type, .rank = rank - skip};
    for (int32_t d = skip; d < rank; d++)
        t.dims[d - skip] = dims[d];
    t.data = reorders ? NULL : v->t.data; /* the same bytes under another shape are shared */
    LedgeValue *out = ledge__value_constant(g, NULL, &t, false);
    if (out && reorders)
        copy_permuted(v->t.data, out->t.data, bits / 8, rank, dims, steps);
    return out;
}

LedgeNode *ledge__opt_transpose_after(LedgeGraph *g, LedgeNode *n, const int32_t *perm)
{
    LedgeValue *old = n->out[0], *inner = ledge__value_new(g, NULL);
    int32_t rank = old->t.rank;
    if (!inner || rank < 0)
        return NULL;
    inner->t = old->t;
    for (int32_t d = 0; d < rank; d++)
        inner->t.dims[perm[d]] = old->t.dims[d];
    ledge__node_set_output(n, 0, inner);
    LedgeNode *t = ledge__opt_transpose(g, inner, perm, n->next);
    if (t)
        ledge__node_set_output(t, 0, old);
    return t;
}
