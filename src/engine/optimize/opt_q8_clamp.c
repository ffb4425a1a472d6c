/* A ledge.QMap that only clamps (a Relu or Clip whose parameters stay) becomes the bounds of the
 * node that makes its input. */
#include "engine/optimize/opt_q8.h"

static bool is_clamp(const uint8_t *table, int *lo, int *hi)
{
    *lo = table[0];
    *hi = table[255];
    for (int i = 0; i < 256; i++)
        if (table[i] != (i < *lo ? *lo : i > *hi ? *hi : i))
            return false;
    return *lo <= *hi;
}

/* Names of the bounds of what leaves the node. */
static const char *const *bounds_of(const LedgeNode *n)
{
    static const char *const plain[] = {"lo", "hi"}, *const own[] = {"y_lo", "y_hi"},
                             *const sum[] = {"z_lo", "z_hi"};
    static const char *const pooled[] = {"QAdd", "QMul", "QAveragePool", "QGlobalAveragePool"};
    if ((ledge__node_is_ledge(n, "QConv") || ledge__node_is_ledge(n, "QGemm")) &&
        !ledge__node_int(n, "to_float", 0) && !ledge__node_in(n, 5))
        return ledge__node_in(n, 4) ? sum : own;
    for (size_t i = 0; i < sizeof pooled / sizeof pooled[0]; i++)
        if (ledge__node_is_ledge(n, pooled[i]))
            return plain;
    return NULL;
}

static int64_t between(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

LedgeStatus ledge__opt_q8_clamp(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        LedgeValue *x = ledge__node_in(n, 0);
        if (!ledge__node_is_ledge(n, "QMap") || !ledge__opt_single_use(x) || !x->producer ||
            x->t.type != LEDGE_UINT8 || n->out[0]->t.type != LEDGE_UINT8)
            continue;
        LedgeNode *p = x->producer;
        const uint8_t *table = ledge__q8_table(n);
        const char *const *names = bounds_of(p);
        int lo, hi;
        if (!table || !names || !is_clamp(table, &lo, &hi))
            continue;
        int64_t new_lo = between(ledge__node_int(p, names[0], 0), lo, hi);
        int64_t new_hi = between(ledge__node_int(p, names[1], 255), lo, hi);
        if (!ledge__node_set_int(g, p, names[0], new_lo) ||
            !ledge__node_set_int(g, p, names[1], new_hi))
            return ledge__no_memory(c->err);
        *changed |= ledge__opt_bypass(g, n, x);
    }
    return LEDGE_OK;
}
