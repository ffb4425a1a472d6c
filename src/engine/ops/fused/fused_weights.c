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

/* ---- strips ---- */

LedgeStatus ledge__fused_strips(LedgeOpCtx *c, uint32_t i, LedgeConvShape *s)
{
    const int64_t kept = ledge__node_int(c->node, "kept_rows", -1);
    if (kept < 0 || !c->in_constant[i])
        return LEDGE_OK;
    if ((uint64_t)kept > UINT32_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "kept_rows is %lld, more rows than there are",
                              (long long)kept);
    s->strips = true;
    s->kept = (size_t)kept;
    return LEDGE_OK;
}

typedef struct StripsArg {
    const LedgePanels *p;
    const LedgeStripsView *v;
    const float *scale;
    LedgeOpCtx *c;
} StripsArg;

static LedgeStatus pack_strips(void *arg, void *to)
{
    const StripsArg *a = arg;
    if (ledge__strips_pack(a->p, a->v, a->scale, to))
        return LEDGE_OK;
    return ledge__op_fail(a->c, LEDGE_ERROR_FORMAT, "kept_rows is %zu, and the weights have others",
                          a->p->kept);
}

LedgeStatus ledge__fused_strip_weights(LedgeOpCtx *c, uint32_t i, const LedgeStripsView *v,
                                       const float *scale, uint64_t scale_key,
                                       const LedgeConvPlan *p, const float **out)
{
    char key[96];
    const void *packed;
    StripsArg arg = {&p->p, v, scale, c};
    snprintf(key, sizeof(key), "strips n=%zu k=%zu rows=%zu step=%zu scale=%016llx", v->n, v->depth,
             p->p.kept, v->sk, (unsigned long long)scale_key);
    LEDGE_TRY(c->host->packed(c, i, key, p->packed_floats * sizeof(float), pack_strips, &arg,
                              &packed));
    if (!ledge__strips_check(&p->p, packed))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT,
                              "the packed weights name rows that are not there; the model is "
                              "damaged");
    *out = packed;
    return LEDGE_OK;
}

/* ---- all ---- */

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
    const LedgeStripsView view = {c->in[i]->data, p->s.m, p->s.c, p->s.c, 1};
    if (p->p.strips)
        return ledge__fused_strip_weights(c, i, &view, arg.scale, scale_key, p, out);
    LEDGE_TRY(c->host->packed(c, i, key, p->packed_floats * sizeof(float), pack, &arg, &packed));
    *out = packed;
    return LEDGE_OK;
}
