/* Common subexpressions: of two nodes with the same operator, attributes and inputs the later
 * one is dropped. Small constants with equal contents count as the same input. */
#include "engine/optimize/pass.h"

enum { SMALL_CONSTANT = 1024 };

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static uint64_t mix_bytes(uint64_t h, const void *p, size_t n)
{
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++)
        h = mix(h, b[i]);
    return h;
}

static bool is_small_constant(const LedgeValue *v)
{
    return ledge__value_is_constant(v) && v->t.type != LEDGE_STRING &&
           ledge_tensor_bytes(&v->t) <= SMALL_CONSTANT;
}

static bool is_same_value(const LedgeValue *a, const LedgeValue *b)
{
    if (a == b)
        return true;
    if (!a || !b || !is_small_constant(a) || !is_small_constant(b) || a->t.type != b->t.type ||
        a->t.rank != b->t.rank)
        return false;
    for (int32_t d = 0; d < a->t.rank; d++)
        if (a->t.dims[d] != b->t.dims[d])
            return false;
    return memcmp(a->t.data, b->t.data, ledge_tensor_bytes(&a->t)) == 0;
}

static bool is_plain_attr(const LedgeAttr *a)
{
    return a->type == ONNX_ATTR_FLOAT || a->type == ONNX_ATTR_INT || a->type == ONNX_ATTR_STRING ||
           a->type == ONNX_ATTR_FLOATS || a->type == ONNX_ATTR_INTS;
}

static bool is_candidate(const LedgeNode *n)
{
    if (!n->op || (n->op->flags & (LEDGE_OP_IMPURE | LEDGE_OP_OWN_VALUES)) ||
        n->n_explicit != n->n_in || n->n_in == 0)
        return false;
    if ((ledge__node_is_ledge(n, "Conv") && ledge__node_in(n, 4)) ||
        (ledge__node_is_ledge(n, "QConv") && ledge__node_in(n, 5)))
        return false; /* writes into another node's output */
    for (size_t i = 0; i < n->n_attrs; i++)
        if (!is_plain_attr(&n->attrs[i]))
            return false;
    return true;
}

static uint64_t hash_node(const LedgeNode *n)
{
    uint64_t h = mix_bytes(n->n_in * 31u + n->n_out, n->op_type, strlen(n->op_type));
    for (uint32_t i = 0; i < n->n_in; i++) {
        const LedgeValue *v = n->in[i].value;
        if (v && is_small_constant(v))
            h = mix_bytes(h, v->t.data, ledge_tensor_bytes(&v->t));
        else
            h = mix(h, v ? v->id + 1u : 0);
    }
    return h ? h : 1;
}

static bool is_same_attr(const LedgeAttr *a, const LedgeAttr *b)
{
    if (strcmp(a->name, b->name) != 0 || a->type != b->type || a->count != b->count)
        return false;
    switch (a->type) {
    case ONNX_ATTR_FLOAT:
        return memcmp(&a->f, &b->f, sizeof a->f) == 0;
    case ONNX_ATTR_INT:
        return a->i == b->i;
    case ONNX_ATTR_STRING:
        return a->s.size == b->s.size && memcmp(a->s.data, b->s.data, a->s.size) == 0;
    case ONNX_ATTR_FLOATS:
        return a->count == 0 || memcmp(a->floats, b->floats, a->count * sizeof *a->floats) == 0;
    default:
        return a->count == 0 || memcmp(a->ints, b->ints, a->count * sizeof *a->ints) == 0;
    }
}

static bool is_same_node(const LedgeNode *a, const LedgeNode *b)
{
    if (strcmp(a->op_type, b->op_type) != 0 || strcmp(a->domain, b->domain) != 0 ||
        a->opset != b->opset || a->n_in != b->n_in || a->n_out != b->n_out ||
        a->n_attrs != b->n_attrs)
        return false;
    for (uint32_t i = 0; i < a->n_out; i++)
        if (!a->out[i] != !b->out[i])
            return false;
    for (uint32_t i = 0; i < a->n_in; i++)
        if (!is_same_value(a->in[i].value, b->in[i].value))
            return false;
    for (size_t i = 0; i < a->n_attrs; i++) /* exporters write attributes in one order */
        if (!is_same_attr(&a->attrs[i], &b->attrs[i]))
            return false;
    return true;
}

/* Every reader of `n` turns to `kept`; graph outputs must stay apart. */
static bool merge(LedgeGraph *g, LedgeNode *kept, LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && n->out[i]->n_outputs)
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i])
            ledge__value_replace(g, n->out[i], kept->out[i]);
    ledge__node_remove(g, n);
    return true;
}

typedef struct Slot {
    uint64_t hash;
    LedgeNode *node;
} Slot;

LedgeStatus ledge__opt_cse(LedgeGraph *g, LedgeOptCtx *c, bool *changed)
{
    size_t count = 0, room = 16;
    for (LedgeNode *n = g->first; n; n = n->next)
        count++;
    while (room < 2 * count)
        room *= 2;
    const LedgeAllocator *a = ledge__arena_allocator(g->arena);
    Slot *table = ledge__calloc(a, room, sizeof *table);
    if (!table)
        return ledge__no_memory(c->err);
    for (LedgeNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (!is_candidate(n))
            continue;
        uint64_t h = hash_node(n);
        size_t at = h & (room - 1);
        while (table[at].hash && !(table[at].hash == h && is_same_node(table[at].node, n)))
            at = (at + 1) & (room - 1);
        if (!table[at].hash)
            table[at] = (Slot){h, n};
        else
            *changed |= merge(g, table[at].node, n);
    }
    ledge__free(a, table);
    return LEDGE_OK;
}
