/* Whatever stands between a DequantizeLinear and a QuantizeLinear and maps one number to one
 * becomes ledge.QMap, a table of 256 bytes. The table is made by running those very nodes on all
 * 256 values, so it holds the answers that they would have given. */
#include "engine/optimize/opt_q8.h"

enum { MOST_NODES = 24, TABLE_FOLD = 1 << 16 };

/* A net of elementwise nodes over one byte tensor and single numbers. Tables that were made before
 * belong to it: x times a table of x is a table of x. */
typedef struct Net {
    LedgeNode *nodes[MOST_NODES];
    int n;
    LedgeValue *leaf; /* the bytes */
} Net;

static bool is_elementwise(const LedgeNode *n)
{
    static const char *const list[] = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu"};
    LedgeQ8 q;
    if (n->n_explicit != n->n_in || !n->op || (n->op->flags & LEDGE_OP_IMPURE))
        return false;
    if (ledge__node_is_ledge(n, "QMap"))
        return ledge__q8_table(n) && n->out[0]->t.type == LEDGE_UINT8 &&
               n->in[0].value->t.type == LEDGE_UINT8;
    if (n->out[0]->t.type != LEDGE_FLOAT)
        return false;
    if (ledge__q8_read(n->out[0], &q))
        return !ledge__value_is_constant(q.v);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (ledge__node_is(n, list[i]))
            return n->n_in == 2;
    return ledge__opt_is_unary(n);
}

static bool has(const Net *net, const LedgeNode *n)
{
    for (int i = 0; i < net->n; i++)
        if (net->nodes[i] == n)
            return true;
    return false;
}

static bool is_on_bytes(const LedgeNode *n)
{
    return ledge__node_is_ledge(n, "QMap") || ledge__node_is(n, "DequantizeLinear");
}

static bool collect(Net *net, LedgeValue *v);

/* Nodes are listed inputs first. */
static bool collect_node(Net *net, LedgeNode *n)
{
    if (has(net, n))
        return true;
    if (!is_elementwise(n))
        return false;
    uint32_t data = is_on_bytes(n) ? 1 : n->n_in; /* the rest is scale and zero point, or table */
    for (uint32_t i = 0; i < data; i++)
        if (n->in[i].value && !collect(net, n->in[i].value))
            return false;
    if (net->n == MOST_NODES)
        return false;
    net->nodes[net->n++] = n;
    return true;
}

static bool collect(Net *net, LedgeValue *v)
{
    if (v == net->leaf)
        return true;
    if (ledge__value_is_constant(v))
        return ledge_tensor_count(&v->t) == 1 && ledge_type_bits(v->t.type) >= 8;
    LedgeNode *n = v->producer;
    bool inner = n && n->n_out == 1 && n->out[0] && net->n < MOST_NODES && is_elementwise(n);
    if (v->t.type != LEDGE_UINT8 || inner)
        return inner && collect_node(net, n);
    if (net->leaf)
        return false;
    net->leaf = v;
    return true;
}

/* ---- the table ---- */

static LedgeValue *all_values(LedgeGraph *g, const Net *net)
{
    LedgeTensor t = {.type = LEDGE_UINT8, .rank = net->leaf->t.rank > 0 ? net->leaf->t.rank : 1};
    for (int32_t d = 0; d < t.rank; d++)
        t.dims[d] = d == t.rank - 1 ? 256 : 1;
    LedgeValue *v = ledge__value_constant(g, NULL, &t, false);
    for (int i = 0; v && i < 256; i++)
        ((uint8_t *)v->t.data)[i] = (uint8_t)i;
    return v;
}

/* The value in the little graph that stands for `v`; NULL: no memory, or `v` is NULL. */
static LedgeValue *twin(LedgeGraph *little, const Net *net, LedgeNode *const *copies,
                        LedgeValue *leaf, LedgeValue *v)
{
    if (!v || v == net->leaf)
        return v ? leaf : NULL;
    for (int i = 0; i < net->n; i++)
        if (v->producer == net->nodes[i])
            return copies[i]->out[0];
    return ledge__value_constant(little, NULL, &v->t, true);
}

static bool copy_node(LedgeGraph *little, const Net *net, LedgeNode **copies, LedgeValue *leaf,
                      const LedgeNode *n, LedgeNode **out)
{
    LedgeNode *copy = ledge__node_new(little, n->domain, n->op_type, NULL, n->n_in, 1, NULL);
    LedgeValue *y = copy ? ledge__value_new(little, NULL) : NULL;
    if (!y || !ledge__node_copy_attrs(little, copy, n))
        return false;
    copy->opset = n->opset;
    copy->op = n->op;
    ledge__node_set_output(copy, 0, y);
    for (uint32_t i = 0; i < n->n_in; i++) {
        LedgeValue *v = n->in[i].value;
        LedgeValue *in = twin(little, net, copies, leaf, v);
        if (v && !in)
            return false;
        ledge__node_set_input(copy, i, in);
    }
    *out = copy;
    return true;
}

/* false: no memory. */
static bool copy_all(LedgeGraph *little, const Net *net, const LedgeNode *quantize,
                     LedgeValue **result)
{
    LedgeNode *copies[MOST_NODES], *last;
    LedgeValue *leaf = all_values(little, net);
    if (!leaf)
        return false;
    for (int i = 0; i < net->n; i++)
        if (!copy_node(little, net, copies, leaf, net->nodes[i], &copies[i]))
            return false;
    if (!copy_node(little, net, copies, leaf, quantize, &last))
        return false;
    *result = last->out[0];
    return ledge__graph_add_output(little, *result);
}

/* *ok false: the nodes would not run on these values. */
static LedgeStatus make_table(LedgeGraph *g, LedgeOptCtx *c, const Net *net,
                              const LedgeNode *quantize, uint8_t *table, bool *ok)
{
    LedgeGraph *little;
    LedgeValue *y;
    LedgeError ignored;
    *ok = false;
    if (ledge__graph_new(ledge__arena_allocator(g->arena), &little) != LEDGE_OK)
        return ledge__no_memory(c->err);
    little->opset = g->opset;
    LedgeStatus s = copy_all(little, net, quantize, &y) ? LEDGE_OK : LEDGE_ERROR_MEMORY;
    if (s == LEDGE_OK)
        s = ledge__graph_infer(little, TABLE_FOLD, &ignored);
    if (s == LEDGE_OK && ledge__value_is_constant(y) && ledge_tensor_bytes(&y->t) == 256) {
        memcpy(table, y->t.data, 256);
        *ok = true;
    }
    ledge__graph_free(little);
    return s == LEDGE_ERROR_MEMORY ? ledge__no_memory(c->err) : LEDGE_OK;
}

/* ---- rewriting ---- */

static bool is_identity(const uint8_t *table)
{
    for (int i = 0; i < 256; i++)
        if (table[i] != i)
            return false;
    return true;
}

/* QuantizeLinear `n` of a net over bytes. */
static LedgeStatus map_net(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    Net net = {.n = 0};
    LedgeQ8 y;
    uint8_t table[256];
    bool ok;
    if (!ledge__q8_write(n, &y) || !collect(&net, n->in[0].value) || !net.leaf ||
        net.leaf->t.rank < 0 || n->out[0]->t.rank != net.leaf->t.rank)
        return LEDGE_OK;
    LEDGE_TRY(make_table(g, c, &net, n, table, &ok));
    if (!ok)
        return LEDGE_OK;
    if (is_identity(table) && ledge__opt_bypass(g, n, net.leaf)) {
        *changed = true;
        return LEDGE_OK;
    }
    LedgeNode *map = ledge__q8_map(g, net.leaf, table, LEDGE_UINT8, n);
    if (!map)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, map, n);
    *changed = true;
    return LEDGE_OK;
}

/* A QMap of a QMap reads what the first one reads. */
static LedgeStatus join_maps(LedgeGraph *g, LedgeOptCtx *c, LedgeNode *n, bool *changed)
{
    LedgeValue *x = n->in[0].value;
    LedgeNode *first = x && x->producer && ledge__node_is_ledge(x->producer, "QMap")
                           ? x->producer
                           : NULL;
    const uint8_t *a = first ? ledge__q8_table(first) : NULL, *b = ledge__q8_table(n);
    uint8_t table[256];
    if (!a || !b)
        return LEDGE_OK;
    for (int i = 0; i < 256; i++)
        table[i] = b[a[i]];
    LedgeNode *map = ledge__q8_map(g, first->in[0].value, table, n->out[0]->t.type, n);
    if (!map)
        return ledge__no_memory(c->err);
    ledge__opt_take_over(g, map, n);
    *changed = true;
    return LEDGE_OK;
}

static bool keeps_all(const LedgeNode *n)
{
    const uint8_t *table = ledge__q8_table(n);
    return table && n->in[0].value && n->in[0].value->t.type == n->out[0]->t.type &&
           is_identity(table);
}

LedgeStatus ledge__opt_q8_map(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    if (!ledge__opt_has(c, "QMap"))
        return LEDGE_OK;
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->n_in == 0 || n->n_out == 0 || !n->out[0] || !n->in[0].value)
            continue;
        if (ledge__node_is(n, "QuantizeLinear"))
            LEDGE_TRY(map_net(g, c, n, changed));
        else if (ledge__node_is_ledge(n, "QMap") && keeps_all(n))
            *changed |= ledge__opt_bypass(g, n, n->in[0].value);
        else if (ledge__node_is_ledge(n, "QMap"))
            LEDGE_TRY(join_maps(g, c, n, changed));
    }
    return LEDGE_OK;
}
