/* Packed weights of ledge's convolutions, see fused_weights.h. */
#include "engine/ops/fused/fused_weights.h"

#include <stdio.h>

typedef struct PackArg {
    const LedgeConvPlan *plan;
    const LedgeTensor *w;
    const float *scale; /* NULL: all are 1 */
    LedgeError *err;
} PackArg;

/* The weights times their factors; NULL: no memory. Freed after packing, so it does not come
 * from the operator's host, which keeps what it gives. */
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

static LedgeStatus pack(void *arg, void *to)
{
    const PackArg *p = arg;
    if (!p->scale || ledge__conv_f32_packs_scaled(p->plan)) {
        ledge__conv_f32_pack(p->plan, p->w->data, p->scale, to);
        return LEDGE_OK;
    }
    float *scaled = scaled_weights(p->w, p->scale);
    if (!scaled)
        return ledge__no_memory(p->err);
    ledge__conv_f32_pack(p->plan, scaled, NULL, to);
    ledge__free(NULL, scaled);
    return LEDGE_OK;
}

uint64_t ledge__fused_scale_key(const float *scale, size_t m)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; scale && i < m * sizeof(float); i++)
        h = (h ^ ((const unsigned char *)scale)[i]) * 0x100000001b3u;
    return scale ? h : 0;
}

LedgeStatus ledge__fused_weights(LedgeOpCtx *c, uint32_t i, const char *scale_name,
                                 const LedgeConvPlan *p, const float **out)
{
    char key[96], key_name[48];
    size_t count;
    PackArg arg = {p, c->in[i], ledge__node_floats(c->node, scale_name, &count), c->err};
    if (arg.scale && count != p->s.m)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "%s has %zu factors, must have %zu",
                              scale_name, count, p->s.m);
    snprintf(key_name, sizeof(key_name), "%s_key", scale_name);
    const uint64_t scale_key = (uint64_t)ledge__node_int(
        c->node, key_name, (int64_t)ledge__fused_scale_key(arg.scale, p->s.m));
    snprintf(key, sizeof(key), "conv_f32 %s%s lanes=%u nv=%u group=%zu scale=%016llx",
             ledge__conv_f32_path_name(p->path), p->p.strassen ? " strassen" : "", p->k->lanes,
             p->p.nv, p->s.group,
             (unsigned long long)scale_key);
    const void *packed;
    LEDGE_TRY(c->host->packed(c, i, key, p->packed_floats * sizeof(float), pack, &arg, &packed));
    *out = packed;
    return LEDGE_OK;
}
