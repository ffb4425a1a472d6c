/* Graphs as text, and the check of their invariants. */
#include "engine/graph/graph.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct Text {
    const LedgeAllocator *a;
    char *p;
    size_t n, cap;
    bool failed;
} Text;

static void put(Text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(Text *t, const char *fmt, ...)
{
    char piece[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(piece, sizeof piece, fmt, args);
    va_end(args);
    if (n < 0 || t->failed)
        return;
    size_t len = (size_t)n < sizeof piece ? (size_t)n : sizeof piece - 1;
    while (t->cap < t->n + len + 1) {
        size_t cap = t->cap ? t->cap * 2 : 1024;
        char *p = ledge__alloc(t->a, cap, 1);
        if (!p) {
            t->failed = true;
            return;
        }
        if (t->n)
            memcpy(p, t->p, t->n);
        ledge__free(t->a, t->p);
        t->p = p;
        t->cap = cap;
    }
    memcpy(t->p + t->n, piece, len + 1);
    t->n += len;
}

static void put_type(Text *t, const LedgeTensor *s)
{
    put(t, "%s", s->type ? ledge_type_name(s->type) : "?");
    if (s->rank < 0) {
        put(t, "[*]");
        return;
    }
    put(t, "[");
    for (int32_t d = 0; d < s->rank; d++)
        if (s->dims[d] < 0)
            put(t, "%s?", d ? "," : "");
        else
            put(t, "%s%" PRId64, d ? "," : "", s->dims[d]);
    put(t, "]");
}

static void put_attr(Text *t, const LedgeAttr *a)
{
    switch (a->type) {
    case ONNX_ATTR_INT:
        put(t, "%s=%" PRId64, a->name, a->i);
        break;
    case ONNX_ATTR_FLOAT:
        put(t, "%s=%g", a->name, (double)a->f);
        break;
    case ONNX_ATTR_STRING:
        put(t, "%s=\"%.80s\"", a->name, a->s.data);
        break;
    case ONNX_ATTR_INTS:
        put(t, "%s=[", a->name);
        for (size_t i = 0; i < a->count; i++)
            put(t, "%s%" PRId64, i ? "," : "", a->ints[i]);
        put(t, "]");
        break;
    default:
        put(t, "%s=<%zu>", a->name, a->count);
    }
}

static void put_node(Text *t, const LedgeNode *n)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        put(t, "%s%s", i ? ", " : "", n->out[i] ? n->out[i]->name : "_");
        if (n->out[i]) {
            put(t, ":");
            put_type(t, &n->out[i]->t);
        }
    }
    put(t, " = %s%s%s(", n->domain, n->domain[0] ? "." : "", n->op_type);
    for (uint32_t i = 0; i < n->n_in; i++) {
        const LedgeValue *v = n->in[i].value;
        put(t, "%s%s%s", i ? ", " : "", i == n->n_explicit && i ? "captured " : "",
            v ? v->name : "_");
    }
    put(t, ")");
    for (size_t i = 0; i < n->n_attrs; i++) {
        put(t, i ? ", " : " {");
        put_attr(t, &n->attrs[i]);
    }
    put(t, n->n_attrs ? "}\n" : "\n");
}

char *ledge__graph_text(const LedgeGraph *g, const LedgeAllocator *a)
{
    Text t = {.a = a};
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        put(&t, "input %s:", g->inputs[i]->name);
        put_type(&t, &g->inputs[i]->t);
        put(&t, "\n");
    }
    for (const LedgeNode *n = g->first; n; n = n->next)
        put_node(&t, n);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        put(&t, "output %s\n", g->outputs[i]->name);
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
