/* What follows ledge.Pixels goes into it: a Transpose to channels last becomes its layout, and a
 * Quantize becomes its table, so that bytes go in and bytes come out. Other readers of the
 * floats keep a ledge.Pixels of their own. */
#include "engine/kernels/bytes.h"
#include "engine/optimize/pass.h"

#include <string.h>

static bool is_planar(const LedgeNode *n)
{
    return strcmp(ledge__node_string(n, "layout", ""), "nchw") == 0;
}

/* The ledge.Pixels to floats that makes input 0 of n. */
static LedgeNode *pixels_before(const LedgeNode *n)
{
    const LedgeValue *v = ledge__node_in(n, 0);
    LedgeNode *p = v ? v->producer : NULL;
    const LedgeValue *table = p ? ledge__node_in(p, 1) : NULL;
    return p && ledge__node_is_ledge(p, "Pixels") && table->t.data && table->t.type == LEDGE_FLOAT
               ? p
               : NULL;
}

static bool turns_to_pixels(const LedgeNode *n)
{
    int32_t perm[LEDGE_MAX_RANK], rank;
    return ledge__node_is(n, "Transpose") && ledge__opt_perm(n, perm, &rank) && rank == 4 &&
           perm[0] == 0 && perm[1] == 2 && perm[2] == 3 && perm[3] == 1;
}

/* The bytes that the floats of `table` are quantised to. */
static LedgeValue *byte_table(LedgeGraph *g, const LedgeValue *table, const LedgeNode *quantize)
{
    const LedgeByteScale s = {ledge__node_float(quantize, "scale", 1.0f),
                              (int32_t)ledge__node_int(quantize, "zero", 0), 0};
    const size_t n = (size_t)ledge_tensor_count(&table->t);
    LedgeTensor t = table->t;
    t.type = LEDGE_UINT8;
    t.bytes = n;
    t.data = NULL;
    LedgeValue *v = ledge__value_constant(g, "pixel_bytes", &t, false);
    if (v)
        ledge__bytes_quantize((LedgeRunner){NULL, 0}, table->t.data, v->t.data, n, s);
    return v;
}

/* Puts a ledge.Pixels with this table, whose result are pixels, in the place of `n`. */
static LedgeStatus replace(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, const LedgeNode *pixels,
                           LedgeValue *table)
{
    LedgeNode *made = table ? ledge__opt_internal(g, "Pixels", 2, &n->out[0]->t, n) : NULL;
    if (!made ||
        !ledge__node_set_int(g, made, "reversed", ledge__node_int(pixels, "reversed", 0)))
        return ledge__no_memory(c->err);
    ledge__node_set_input(made, 0, ledge__node_in(pixels, 0));
    ledge__node_set_input(made, 1, table);
    ledge__opt_take_over(g, made, n);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_pixels(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        const LedgeNode *p = pixels_before(n);
        next = n->next;
        if (!p)
            continue;
        LedgeValue *table = ledge__node_in(p, 1);
        if (is_planar(p) && turns_to_pixels(n)) {
            LEDGE_TRY(replace(g, c, n, p, table));
        } else if (ledge__node_is_ledge(n, "Quantize") &&
                   is_planar(p) == (strcmp(ledge__node_string(n, "layout", ""), "nhwc") == 0)) {
            LEDGE_TRY(replace(g, c, n, p, byte_table(g, table, n)));
        } else {
            continue;
        }
        *changed = true;
    }
    return LEDGE_OK;
}
