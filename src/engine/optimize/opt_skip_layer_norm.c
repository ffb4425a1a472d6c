/* Add followed by LayerNormalization over the last axis is ledge.SkipLayerNorm; its second output
 * is the sum, where something else reads that too. */
#include "engine/optimize/pass.h"

static bool is_over_last(const LedgeNode *n)
{
    const LedgeValue *x = n->in[0].value;
    return x && x->t.rank >= 1 && x->t.type == LEDGE_FLOAT &&
           ledge__opt_axis(ledge__node_int(n, "axis", -1), x->t.rank) == x->t.rank - 1 &&
           x->t.dims[x->t.rank - 1] > 0 && ledge__node_int(n, "stash_type", 1) == 1;
}

static bool is_vector(const LedgeValue *v, int64_t size)
{
    return ledge__opt_float_constant(v) && v->t.rank == 1 && v->t.dims[0] == size;
}

static bool fits(const LedgeNode *n)
{
    if (!ledge__node_is(n, "LayerNormalization") || n->n_in < 2 || n->n_out != 1 ||
        !is_over_last(n))
        return false;
    const LedgeTensor *x = &n->in[0].value->t;
    int64_t size = x->dims[x->rank - 1];
    const LedgeValue *beta = ledge__node_in(n, 2);
    return is_vector(n->in[1].value, size) && (!beta || is_vector(beta, size));
}

static LedgeNode *build(LedgeGraph *g, LedgeNode *n, LedgeNode *add)
{
    LedgeNode *made = ledge__node_new(g, "ledge", "SkipLayerNorm", NULL, 4, 2, add);
    LedgeValue *beta = ledge__node_in(n, 2), *sum = add->out[0], *out = n->out[0];
    if (!beta) {
        float *zeros;
        beta = ledge__opt_floats(g, NULL, 1, &n->in[1].value->t.dims[0], &zeros);
    }
    if (!made || !beta ||
        !ledge__node_set_float(g, made, "epsilon", ledge__node_float(n, "epsilon", 1e-5f)))
        return NULL;
    made->op = ledge__op_find("ledge", "SkipLayerNorm", 1);
    ledge__node_set_input(made, 0, add->in[0].value);
    ledge__node_set_input(made, 1, add->in[1].value);
    ledge__node_set_input(made, 2, n->in[1].value);
    ledge__node_set_input(made, 3, beta);
    ledge__node_set_output(n, 0, NULL);
    ledge__node_remove(g, n);
    ledge__node_set_output(add, 0, NULL);
    ledge__node_remove(g, add);
    ledge__node_set_output(made, 0, out);
    if (sum->n_uses || sum->n_outputs)
        ledge__node_set_output(made, 1, sum);
    else
        made->n_out = 1;
    return made;
}

LedgeStatus ledge__opt_skip_layer_norm(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "SkipLayerNorm"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeNode *add = fits(n) ? ledge__opt_made_by(n->in[0].value, "Add") : NULL;
        if (!add || add->n_in != 2 || !add->in[0].value || !add->in[1].value ||
            !ledge__opt_same_shape(add->in[0].value, add->in[1].value))
            continue;
        if (!build(g, n, add))
            return ledge__no_memory(c->err);
        *changed = true;
    }
    return LEDGE_OK;
}
