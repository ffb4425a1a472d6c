/* Pointwise, depthwise and pointwise convolution in a row become ledge.InvertedBottleneck where
 * the wide tensor between them would not stay in the cache; also without the first. */
#include "engine/optimize/pass.h"

#include <stdio.h>

enum { WIDE_FLOATS = 128 * 1024 }; /* half an L2 cache of 1 MiB */

static bool all_are(const LedgeNode *n, const char *name, int64_t value)
{
    size_t count;
    const int64_t *v = ledge__node_ints(n, name, &count);
    for (size_t i = 0; v && i < count; i++)
        if (v[i] != value)
            return false;
    return true;
}

/* Only attributes that fuse() knows how to carry over: another one would be lost in silence. */
static bool has_known_attrs(const LedgeNode *n)
{
    static const char *const known[] = {"kernel_shape", "strides",   "dilations", "pads",
                                        "group",        "w_scale",   "act",       "act_min",
                                        "act_max",      "act_alpha", "act_beta"};
    for (size_t a = 0; a < n->n_attrs; a++) {
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            found |= strcmp(n->attrs[a].name, known[i]) == 0;
        if (!found)
            return false;
    }
    return true;
}

/* ledge.Conv with constant weights that reads and writes whole tensors in NHWC. */
static bool is_plain(const LedgeNode *n)
{
    const LedgeValue *b = ledge__node_in(n, 2);
    return n && ledge__node_is_ledge(n, "Conv") && n->in[0].value &&
           ledge__opt_float_constant(ledge__node_in(n, 1)) && ledge__node_in(n, 1)->t.rank == 4 &&
           (!b || ledge__opt_float_constant(b)) && !ledge__node_in(n, 4) && has_known_attrs(n) &&
           all_are(n, "dilations", 1);
}

static bool is_pointwise(const LedgeNode *n)
{
    if (!is_plain(n))
        return false;
    const int64_t *d = n->in[1].value->t.dims;
    return d[2] == 1 && d[3] == 1 && ledge__node_int(n, "group", 1) == 1 &&
           all_are(n, "strides", 1) && all_are(n, "pads", 0);
}

static bool is_depthwise(const LedgeNode *n)
{
    if (!is_plain(n) || ledge__node_in(n, 3))
        return false;
    const int64_t *d = n->in[1].value->t.dims;
    return d[0] > 1 && d[1] == 1 && ledge__node_int(n, "group", 1) == d[0];
}

/* The convolution that makes `v` for this reader alone. */
static LedgeNode *maker(const LedgeValue *v)
{
    return ledge__opt_made_only_by_ledge(v, "Conv");
}

static bool copy_scale(LedgeGraph *g, LedgeNode *to, const char *prefix, const LedgeNode *from)
{
    char name[32];
    size_t count;
    const float *v = ledge__node_floats(from, "w_scale", &count);
    snprintf(name, sizeof(name), "%sw_scale", prefix);
    return !v || ledge__node_set_floats(g, to, name, v, count);
}

/* Activation and scale of one of the three. */
static bool copy_act(LedgeGraph *g, LedgeNode *to, const char *prefix, const LedgeNode *from)
{
    static const char *const floats[] = {"act_min", "act_max", "act_alpha", "act_beta"};
    char name[32];
    snprintf(name, sizeof(name), "%sact", prefix);
    if (!ledge__node_set_string(g, to, name, ledge__node_string(from, "act", "none")))
        return false;
    for (size_t i = 0; i < sizeof(floats) / sizeof(floats[0]); i++) {
        snprintf(name, sizeof(name), "%s%s", prefix, floats[i]);
        if (ledge__node_attr(from, floats[i]) &&
            !ledge__node_set_float(g, to, name, ledge__node_float(from, floats[i], 0)))
            return false;
    }
    return copy_scale(g, to, prefix, from);
}

static bool copy_ints(LedgeGraph *g, LedgeNode *to, const char *name, const LedgeNode *from)
{
    size_t count;
    const int64_t *v = ledge__node_ints(from, name, &count);
    return !v || ledge__node_set_ints(g, to, name, v, count);
}

static bool fuse(LedgeGraph *g, LedgeNode *expand, LedgeNode *dw, LedgeNode *project)
{
    LedgeNode *made =
        ledge__opt_internal(g, "InvertedBottleneck", 8, &project->out[0]->t, project);
    if (!made || (expand && !copy_act(g, made, "expand_", expand)) ||
        !copy_act(g, made, "dw_", dw) || !copy_act(g, made, "", project) ||
        !copy_ints(g, made, "strides", dw) || !copy_ints(g, made, "pads", dw))
        return false;
    ledge__node_set_input(made, 0, (expand ? expand : dw)->in[0].value);
    for (uint32_t i = 1; i <= 2; i++) {
        if (expand)
            ledge__node_set_input(made, i, ledge__node_in(expand, i));
        ledge__node_set_input(made, 2 + i, ledge__node_in(dw, i));
        ledge__node_set_input(made, 4 + i, ledge__node_in(project, i));
    }
    ledge__node_set_input(made, 7, ledge__node_in(project, 3));
    ledge__opt_take_over(g, made, project);
    return true;
}

LedgeStatus ledge__opt_bottleneck(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "InvertedBottleneck"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeNode *dw = is_pointwise(n) ? maker(n->in[0].value) : NULL;
        if (!dw || !is_depthwise(dw))
            continue;
        const LedgeTensor *wide = &dw->in[0].value->t;
        if (wide->rank != 4 || wide->dims[1] < 1 || wide->dims[2] < 1 || wide->dims[3] < 1 ||
            (double)wide->dims[1] * (double)wide->dims[2] * (double)wide->dims[3] < WIDE_FLOATS)
            continue;
        LedgeNode *expand = maker(dw->in[0].value);
        if (expand && (!is_pointwise(expand) || ledge__node_in(expand, 3)))
            expand = NULL;
        if (!fuse(g, expand, dw, n))
            return ledge__no_memory(c->err);
        *changed = true;
    }
    return LEDGE_OK;
}
