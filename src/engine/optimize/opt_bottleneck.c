/* Pointwise, depthwise and pointwise convolution in a row become ledge.InvertedBottleneck, or in
 * 8 bits ledge.QInvertedBottleneck, where the wide tensor between them would not stay in the
 * cache; also without the first. */
#include "engine/optimize/pass.h"

#include <stdio.h>

/* Elements of the depthwise convolution's input, of one image. In float half an L2 cache of 1 MiB:
 * from there on the wide tensor costs time. In 8 bits it does so where it leaves L3, too (a block
 * takes 15 to 34 % less from 7 MB on); from a quarter of L2 on the block takes no more time and
 * saves memory. */
enum { WIDE_FLOATS = 128 * 1024, WIDE_BYTES = 256 * 1024 };

/* Attributes that the pass looks at itself, then those that a block keeps of each of the three. */
static const char *const shape_attrs[] = {"kernel_shape", "strides", "dilations", "pads", "group"};
static const char *const own_attrs[] = {
    "w_scale", "act",    "act_min", "act_max", "act_alpha", "act_beta",
    "x_zero",  "w_zero", "y_zero",  "y_lo",    "y_hi",      "y_scale",
    "r_scale", "r_zero", "z_zero",  "z_lo",    "z_hi",      "to_float"};

static bool is_among(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}
#define IS_AMONG(name, list) is_among(name, list, sizeof(list) / sizeof(list[0]))

/* Another one would be lost in silence. */
static bool has_known_attrs(const LedgeNode *n)
{
    for (size_t a = 0; a < n->n_attrs; a++)
        if (!IS_AMONG(n->attrs[a].name, shape_attrs) && !IS_AMONG(n->attrs[a].name, own_attrs))
            return false;
    return true;
}

/* The convolutions in float and in 8 bits. */
typedef struct Form {
    const char *conv, *block;
    uint32_t each; /* inputs that are constants: weights, bias and, in 8 bits, scale */
    LedgeType w;
    double wide; /* fewest elements between the convolutions that are worth it */
} Form;

static const Form forms[] = {
    {"Conv", "InvertedBottleneck", 2, LEDGE_FLOAT, WIDE_FLOATS},
    {"QConv", "QInvertedBottleneck", 3, LEDGE_INT8, WIDE_BYTES},
};

static const LedgeValue *residual(const Form *f, const LedgeNode *n)
{
    return ledge__node_in(n, 1 + f->each);
}

/* Constant weights; reads and writes whole tensors in NHWC. */
static bool is_plain(const Form *f, const LedgeNode *n)
{
    const LedgeValue *w = ledge__node_in(n, 1);
    for (uint32_t i = 1; i <= f->each; i++) {
        const LedgeValue *v = ledge__node_in(n, i);
        if (v && (!ledge__value_is_constant(v) || v->t.rank < 0))
            return false;
    }
    return ledge__node_is_ledge(n, f->conv) && n->in[0].value && w && w->t.type == f->w &&
           w->t.rank == 4 && !ledge__node_in(n, 2 + f->each) && has_known_attrs(n) &&
           ledge__opt_all_are(n, "dilations", 1);
}

static bool is_pointwise(const Form *f, const LedgeNode *n)
{
    if (!n || !is_plain(f, n))
        return false;
    const int64_t *d = n->in[1].value->t.dims;
    return d[2] == 1 && d[3] == 1 && ledge__node_int(n, "group", 1) == 1 &&
           ledge__opt_all_are(n, "strides", 1) && ledge__opt_all_are(n, "pads", 0);
}

static bool is_depthwise(const Form *f, const LedgeNode *n)
{
    if (!n || !is_plain(f, n) || residual(f, n))
        return false;
    const int64_t *d = n->in[1].value->t.dims;
    return d[0] > 1 && d[1] == 1 && ledge__node_int(n, "group", 1) == d[0];
}

static bool copy_attrs(LedgeGraph *g, LedgeNode *to, const char *prefix, const LedgeNode *from)
{
    char name[32];
    for (size_t a = 0; a < from->n_attrs; a++) {
        snprintf(name, sizeof(name), "%s%s", prefix, from->attrs[a].name);
        if (IS_AMONG(from->attrs[a].name, own_attrs) &&
            !ledge__node_copy_attr(g, to, name, &from->attrs[a]))
            return false;
    }
    return true;
}

static bool copy_ints(LedgeGraph *g, LedgeNode *to, const char *name, const LedgeNode *from)
{
    const LedgeAttr *a = ledge__node_attr(from, name);
    return !a || ledge__node_copy_attr(g, to, name, a);
}

static bool fuse(const Form *f, LedgeGraph *g, LedgeNode *expand, LedgeNode *dw, LedgeNode *project)
{
    const LedgeNode *const convs[] = {expand, dw, project};
    static const char *const prefix[] = {"expand_", "dw_", ""};
    LedgeNode *made =
        ledge__opt_internal(g, f->block, 2 + 3 * f->each, &project->out[0]->t, project);
    if (!made)
        return false;
    ledge__node_set_input(made, 0, (expand ? expand : dw)->in[0].value);
    for (uint32_t k = 0; k < 3; k++) {
        if (!convs[k])
            continue;
        if (!copy_attrs(g, made, prefix[k], convs[k]))
            return false;
        for (uint32_t i = 1; i <= f->each; i++)
            ledge__node_set_input(made, k * f->each + i, ledge__node_in(convs[k], i));
    }
    ledge__node_set_input(made, 1 + 3 * f->each, ledge__node_in(project, 1 + f->each));
    if (!copy_ints(g, made, "strides", dw) || !copy_ints(g, made, "pads", dw))
        return false;
    ledge__opt_take_over(g, made, project);
    return true;
}

static LedgeStatus fuse_all(const Form *f, LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, f->block))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeNode *dw = is_pointwise(f, n)
                            ? ledge__opt_made_only_by_ledge(n->in[0].value, f->conv)
                            : NULL;
        if (!is_depthwise(f, dw))
            continue;
        const LedgeTensor *wide = &dw->in[0].value->t;
        if (wide->rank != 4 || wide->dims[1] < 1 || wide->dims[2] < 1 || wide->dims[3] < 1 ||
            (double)wide->dims[1] * (double)wide->dims[2] * (double)wide->dims[3] < f->wide)
            continue;
        LedgeNode *expand = ledge__opt_made_only_by_ledge(dw->in[0].value, f->conv);
        if (!is_pointwise(f, expand) || residual(f, expand))
            expand = NULL;
        if (!fuse(f, g, expand, dw, n))
            return ledge__no_memory(c->err);
        *changed = true;
    }
    return LEDGE_OK;
}

LedgeStatus ledge__opt_bottleneck(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        LEDGE_TRY(fuse_all(&forms[i], g, c, changed));
    return LEDGE_OK;
}
