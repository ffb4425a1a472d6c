/* The attributes that ledge's fused operators share; see fused_act.h. */
#include "engine/ops/fused/fused_act.h"

#include <math.h>
#include <stdio.h>

static bool act_kind(const char *name, LedgeActKind *kind)
{
    static const struct {
        const char *name;
        LedgeActKind kind;
    } kinds[] = {
#define ACT_ROW(NAME, name) {name, LEDGE_ACT_##NAME},
        LEDGE_ACT_LIST(ACT_ROW)
#undef ACT_ROW
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0) {
            *kind = kinds[i].kind;
            return true;
        }
    return false;
}

static float number(const LedgeOpCtx *c, const char *prefix, const char *name, float absent)
{
    char full[32];
    snprintf(full, sizeof(full), "%s%s", prefix, name);
    return ledge__node_float(c->node, full, absent);
}

LedgeStatus ledge__fused_act(LedgeOpCtx *c, LedgeAct *act)
{
    return ledge__fused_act_of(c, "", act);
}

LedgeStatus ledge__fused_act_of(LedgeOpCtx *c, const char *prefix, LedgeAct *act)
{
    char full[32];
    snprintf(full, sizeof(full), "%sact", prefix);
    const char *name = ledge__node_string(c->node, full, "none");
    *act = (LedgeAct){LEDGE_ACT_CLAMP, -INFINITY, INFINITY, 0.0f, 0.0f};
    if (strcmp(name, "none") == 0)
        return LEDGE_OK;
    if (strcmp(name, "relu") == 0) {
        act->lo = 0.0f;
        return LEDGE_OK;
    }
    if (strcmp(name, "clip") == 0) {
        act->lo = number(c, prefix, "act_min", -INFINITY);
        act->hi = number(c, prefix, "act_max", INFINITY);
        return LEDGE_OK;
    }
    if (!act_kind(name, &act->kind))
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "there is no activation \"%s\"", name);
    const float alpha = act->kind == LEDGE_ACT_LEAKYRELU ? 0.01f
                        : act->kind == LEDGE_ACT_ELU     ? 1.0f
                                                         : 0.2f;
    act->alpha = number(c, prefix, "act_alpha", alpha);
    act->beta = number(c, prefix, "act_beta", 0.5f);
    return LEDGE_OK;
}

LedgeStatus ledge__fused_ints(LedgeOpCtx *c, const char *name, size_t count, int64_t absent,
                              int64_t least, int64_t *out)
{
    size_t n;
    const int64_t *v = ledge__node_ints(c->node, name, &n);
    if (v && n != count)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute %s has %zu values, must have %zu",
                              name, n, count);
    for (size_t i = 0; i < count; i++) {
        out[i] = v ? v[i] : absent;
        if (out[i] < least || out[i] > INT32_MAX)
            return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute %s holds %lld", name,
                                  (long long)out[i]);
    }
    return LEDGE_OK;
}
