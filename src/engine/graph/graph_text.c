/* Graphs as text, and the check of their invariants. */
#include "engine/graph/graph.h"

#include <inttypes.h>

#include "base/text.h"

static void put_type(LedgeText *t, const LedgeTensor *s)
{
    ledge__text_printf(t, "%s", s->type ? ledge_type_name(s->type) : "?");
    if (s->rank < 0) {
        ledge__text_printf(t, "[*]");
        return;
    }
    ledge__text_printf(t, "[");
    for (int32_t d = 0; d < s->rank; d++)
        if (s->dims[d] < 0)
            ledge__text_printf(t, "%s?", d ? "," : "");
        else
            ledge__text_printf(t, "%s%" PRId64, d ? "," : "", s->dims[d]);
    ledge__text_printf(t, "]");
}

static void put_attr(LedgeText *t, const LedgeAttr *a)
{
    switch (a->type) {
    case ONNX_ATTR_INT:
        ledge__text_printf(t, "%s=%" PRId64, a->name, a->i);
        break;
    case ONNX_ATTR_FLOAT:
        ledge__text_printf(t, "%s=%g", a->name, (double)a->f);
        break;
    case ONNX_ATTR_STRING:
        ledge__text_printf(t, "%s=\"%.80s\"", a->name, a->s.data);
        break;
    case ONNX_ATTR_INTS:
        ledge__text_printf(t, "%s=[", a->name);
        for (size_t i = 0; i < a->count; i++)
            ledge__text_printf(t, "%s%" PRId64, i ? "," : "", a->ints[i]);
        ledge__text_printf(t, "]");
        break;
    default:
        ledge__text_printf(t, "%s=<%zu>", a->name, a->count);
    }
}

static void put_node(LedgeText *t, const LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        ledge__text_printf(t, "%s%s", i ? ", " : "", n->out[i] ? n->out[i]->name : "_");
        if (n->out[i]) {
            ledge__text_printf(t, ":");
            put_type(t, &n->out[i]->t);
        }
    }
    ledge__text_printf(t, " = %s%s%s(", n->domain, n->domain[0] ? "." : "", n->op_type);
    for (uint32_t i = 0; i < n->n_in; i++) {
        const LedgeValue *v = n->in[i].value;
        ledge__text_printf(t, "%s%s%s", i ? ", " : "", i == n->n_explicit && i ? "captured " : "",
                           v ? v->name : "_");
    }
    ledge__text_printf(t, ")");
    for (size_t i = 0; i < n->n_attrs; i++) {
        ledge__text_printf(t, i ? ", " : " {");
        put_attr(t, &n->attrs[i]);
    }
    ledge__text_printf(t, n->n_attrs ? "}\n" : "\n");
}

char *ledge__graph_text(const LedgeGraph *g, const LedgeAllocator *a)
{
    LedgeText t = {.allocator = a};
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        ledge__text_printf(&t, "input %s:", g->inputs[i]->name);
        put_type(&t, &g->inputs[i]->t);
        ledge__text_printf(&t, "\n");
    }
    for (const LedgeNode *n = g->first; n; n = n->next)
        put_node(&t, n);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        ledge__text_printf(&t, "output %s\n", g->outputs[i]->name);
    if (t.failed) {
        ledge__free(a, t.p);
        return NULL;
    }
    return t.p;
}

static const char *check_uses(const LedgeGraph *g)
{
    for (uint32_t i = 0; i < g->n_values; i++) {
        const LedgeValue *v = g->values[i];
        uint32_t n = 0;
        for (const LedgeUse *u = v->uses; u; u = u->next, n++)
            if (u->value != v || u->node->removed || (u->next && u->next->prev != u))
                return "a use list is broken";
        if (n != v->n_uses)
            return "a use count is wrong";
        if (v->id != i)
            return "a value's id is not its index";
        if (v->producer && v->producer->removed)
            return "a value's producer was removed";
    }
    return NULL;
}

/* Ids of values defined so far, as a bit each. */
static const char *check_order(const LedgeGraph *g, uint8_t *defined)
{
    for (uint32_t i = 0; i < g->n_values; i++)
        defined[i] = g->values[i]->is_input || ledge__value_is_constant(g->values[i]);
    for (const LedgeNode *n = g->first; n; n = n->next) {
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i].value && !defined[n->in[i].value->id])
                return "a node reads a value that is not defined before it";
        for (uint32_t i = 0; i < n->n_out; i++) {
            if (n->out[i] && (defined[n->out[i]->id] || n->out[i]->producer != n))
                return "a value is defined twice or has the wrong producer";
            if (n->out[i])
                defined[n->out[i]->id] = 1;
        }
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (!defined[g->outputs[i]->id])
            return "a graph output is not defined";
    return NULL;
}

const char *ledge__graph_check(const LedgeGraph *g)
{
    const char *fault = check_uses(g);
    if (fault)
        return fault;
    uint8_t *defined = ledge__calloc(NULL, (size_t)g->n_values + 1, 1);
    if (!defined)
        return "no memory to check";
    fault = check_order(g, defined);
    ledge__free(NULL, defined);
    return fault;
}
