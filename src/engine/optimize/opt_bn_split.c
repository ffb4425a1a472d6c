/* BatchNormalization that nothing could take in becomes Mul and Add by constants, which move
 * through layouts and fuse as any others (in the end into ledge.Affine). */
#include "engine/optimize/pass.h"

#include "engine/optimize/opt_bn.h"

static LedgeNode *by_constant(LedgeGraph *g, const char *op_type, LedgeValue *x, LedgeValue *v,
                              const LedgeTensor *like, LedgeNode *before)
{
    LedgeNode *n = v ? ledge__opt_onnx(g, op_type, 7, 2, like, before) : NULL;
    if (!n)
        return NULL;
    ledge__node_set_input(n, 0, x);
    ledge__node_set_input(n, 1, v);
    return n;
}

LedgeStatus ledge__opt_bn_split(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        int64_t channels, dims[LEDGE_MAX_RANK];
        if (!ledge__opt_bn_constants(n, &channels) || n->in[0].value->t.rank < 2)
            continue;
        int32_t rank = n->in[0].value->t.rank - 1; /* [C,1,1,…] broadcasts over the batch */
        for (int32_t d = 0; d < rank; d++)
            dims[d] = d ? 1 : channels;
        double *affine = ledge__arena_alloc(g->arena, (size_t)channels, 2 * sizeof *affine);
        float *scale, *shift;
        LedgeValue *vs = ledge__opt_floats(g, NULL, rank, dims, &scale);
        LedgeValue *vt = ledge__opt_floats(g, NULL, rank, dims, &shift);
        if (!affine || !vs || !vt)
            return ledge__no_memory(c->err);
        ledge__opt_bn_affine(n, channels, affine, affine + channels);
        for (int64_t i = 0; i < channels; i++) {
            scale[i] = (float)affine[i];
            shift[i] = (float)affine[channels + i];
        }
        LedgeNode *mul = by_constant(g, "Mul", n->in[0].value, vs, &n->in[0].value->t, n);
        LedgeNode *add = mul ? by_constant(g, "Add", mul->out[0], vt, &n->in[0].value->t, n) : NULL;
        if (!add)
            return ledge__no_memory(c->err);
        ledge__opt_take_over(g, add, n);
        *changed = true;
    }
    return LEDGE_OK;
}
