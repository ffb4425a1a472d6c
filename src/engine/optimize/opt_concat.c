/* Concat over the channels of ledge.Conv or ledge.QConv outputs goes: each of them writes its
 * channels into the one tensor, handed from the first to the last as their `dest` input. */
#include "engine/optimize/pass.h"

enum { MOST_PARTS = 64 };

/* Where the memory to write to stands among the inputs. */
static uint32_t slot(const LedgeNode *n)
{
    return n->op_type[0] == 'Q' ? 5 : 4;
}

static LedgeNode *part(const LedgeValue *v)
{
    LedgeNode *n = ledge__opt_made_only_by_ledge(v, "Conv");
    n = n ? n : ledge__opt_made_only_by_ledge(v, "QConv");
    return n && !ledge__node_in(n, slot(n)) && !ledge__node_attr(n, "out_channels") &&
                   v->t.rank == 4 && v->t.dims[3] > 0
               ? n
               : NULL;
}

static bool fits(const LedgeNode *n)
{
    if (!ledge__node_is(n, "Concat") || n->n_in < 2 || n->n_in > MOST_PARTS || !n->out[0] ||
        n->out[0]->t.rank != 4 || ledge__opt_axis(ledge__node_int(n, "axis", 0), 4) != 3)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!part(n->in[i].value) || n->in[i].value->t.type != n->out[0]->t.type ||
            (i && !(ledge__opt_same_dim(n->in[0].value, 0, n->in[i].value, 0) &&
                    ledge__opt_same_dim(n->in[0].value, 1, n->in[i].value, 1) &&
                    ledge__opt_same_dim(n->in[0].value, 2, n->in[i].value, 2))))
            return false;
    return true;
}

/* The parts in the order in which the graph runs them. */
static void in_graph_order(const LedgeNode *concat, LedgeNode **out)
{
    uint32_t found = 0;
    for (LedgeNode *n = concat->prev; n && found < concat->n_in; n = n->prev)
        for (uint32_t i = 0; i < concat->n_in; i++)
            if (concat->in[i].value->producer == n)
                out[concat->n_in - 1 - found++] = n;
}

static int64_t all_channels(const LedgeNode *concat)
{
    int64_t all = 0;
    for (uint32_t i = 0; i < concat->n_in; i++)
        all += concat->in[i].value->t.dims[3];
    return all;
}

static bool prepare(LedgeGraph *g, LedgeNode *concat)
{
    int64_t offset = 0, all = all_channels(concat);
    for (uint32_t i = 0; i < concat->n_in; i++) {
        LedgeNode *n = concat->in[i].value->producer;
        int64_t channels = n->out[0]->t.dims[3];
        if (!ledge__node_set_int(g, n, "out_channels", all) ||
            !ledge__node_set_int(g, n, "out_offset", offset))
            return false;
        while (n->n_in <= slot(n)) {
            if (!ledge__node_add_input(g, n, NULL))
                return false;
            n->n_explicit = n->n_in;
        }
        offset += channels;
    }
    return true;
}

static LedgeStatus chain(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *concat)
{
    LedgeNode *order[MOST_PARTS];
    uint32_t parts = concat->n_in;
    int64_t all = all_channels(concat);
    in_graph_order(concat, order);
    if (!prepare(g, concat))
        return ledge__no_memory(c->err);
    for (uint32_t i = 0; i < parts; i++) {
        ledge__node_set_input(concat, i, NULL);
        order[i]->out[0]->t.dims[3] = all;
        if (i)
            ledge__node_set_input(order[i], slot(order[i]), order[i - 1]->out[0]);
    }
    ledge__opt_take_over(g, order[parts - 1], concat);
    return LEDGE_OK;
}

LedgeStatus ledge__opt_concat(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!fits(n))
            continue;
        LEDGE_TRY(chain(g, c, n));
        *changed = true;
    }
    return LEDGE_OK;
}
