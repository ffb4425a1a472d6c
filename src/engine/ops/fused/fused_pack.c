/* Packed weights of the fused convolutions; see fused_pack.h. */
#include "engine/ops/fused/fused_pack.h"

#include <stdio.h>

LedgeStatus ledge__fused_scale(LedgeOpCtx *c, const char *name, uint32_t i, int64_t m,
                               const float **scale)
{
    size_t count;
    *scale = ledge__node_floats(c->node, name, &count);
    if (*scale && (count != (size_t)m || !c->in_constant[i]))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT,
                              "%s must have a factor for each of %lld constant filters", name,
                              (long long)m);
    return LEDGE_OK;
}

typedef struct PackArg {
    LedgeOpCtx *c;
    const LedgeConvPlan *plan;
    const LedgeTensor *w;
    const float *scale;
} PackArg;

/* The weights times `scale`, each output channel by its own; NULL: no memory. */
static float *scaled_weights(const LedgeTensor *w, const float *scale)
{
    const size_t m = (size_t)w->dims[0], row = m ? (size_t)ledge_tensor_count(w) / m : 0;
    float *scaled = ledge__alloc(NULL, m * row, sizeof(float));
    for (size_t i = 0; scaled && i < m; i++) {
        memcpy(scaled + i * row, (const char *)w->data + i * row * sizeof(float),
               row * sizeof(float));
        for (size_t k = 0; k < row; k++)
            scaled[i * row + k] *= scale[i];
    }
    return scaled;
}

static LedgeStatus pack_weights(void *arg, void *to)
{
    const PackArg *p = arg;
    float *scaled = NULL;
    if (p->scale) {
        scaled = scaled_weights(p->w, p->scale);
        if (!scaled)
            return ledge__no_memory(p->c->err);
    }
    ledge__conv_f32_pack(p->plan, scaled ? scaled : p->w->data, to);
    ledge__free(NULL, scaled);
    return LEDGE_OK;
}

/* Tells packed forms of one constant under several scales apart. */
static uint64_t scale_hash(const float *scale, size_t m)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; scale && i < m * sizeof(float); i++)
        h = (h ^ ((const unsigned char *)scale)[i]) * 0x100000001b3u;
    return scale ? h : 0;
}

LedgeStatus ledge__fused_pack(LedgeOpCtx *c, uint32_t i, const LedgeConvPlan *plan,
                              const float *scale, const float **packed)
{
    char key[96];
    const void *p;
    PackArg arg = {c, plan, c->in[i], scale};
    snprintf(key, sizeof(key), "conv_f32 %s lanes=%u nv=%u group=%zu scale=%016llx",
             ledge__conv_f32_path_name(plan->path), plan->k->lanes, plan->k->nv, plan->s.group,
             (unsigned long long)scale_hash(scale, plan->s.m));
    LEDGE_TRY(c->host->packed(c, i, key, plan->packed_floats * sizeof(float), pack_weights, &arg,
                              &p));
    *packed = p;
    return LEDGE_OK;
}
