/* Reading and setting node attributes, and elements of constants. */
#include "engine/graph/graph.h"

#include <math.h>

const LedgeAttr *ledge__node_attr(const LedgeNode *n, const char *name)
{
    for (size_t i = 0; i < n->n_attrs; i++)
        if (strcmp(n->attrs[i].name, name) == 0)
            return &n->attrs[i];
    return NULL;
}

int64_t ledge__node_int(const LedgeNode *n, const char *name, int64_t absent)
{
    const LedgeAttr *a = ledge__node_attr(n, name);
    return a && a->type == ONNX_ATTR_INT ? a->i : absent;
}

float ledge__node_float(const LedgeNode *n, const char *name, float absent)
{
    const LedgeAttr *a = ledge__node_attr(n, name);
    return a && a->type == ONNX_ATTR_FLOAT ? a->f : absent;
}

const char *ledge__node_string(const LedgeNode *n, const char *name, const char *absent)
{
    const LedgeAttr *a = ledge__node_attr(n, name);
    return a && a->type == ONNX_ATTR_STRING ? a->s.data : absent;
}

const int64_t *ledge__node_ints(const LedgeNode *n, const char *name, size_t *count)
{
    const LedgeAttr *a = ledge__node_attr(n, name);
    bool there = a && a->type == ONNX_ATTR_INTS;
    *count = there ? a->count : 0;
    return there ? a->ints : NULL;
}

const float *ledge__node_floats(const LedgeNode *n, const char *name, size_t *count)
{
    const LedgeAttr *a = ledge__node_attr(n, name);
    bool there = a && a->type == ONNX_ATTR_FLOATS;
    *count = there ? a->count : 0;
    return there ? a->floats : NULL;
}

bool ledge__node_has_bodies(const LedgeNode *n)
{
    for (size_t a = 0; a < n->n_attrs; a++)
        if (n->attrs[a].graphs)
            return true;
    return false;
}

bool ledge__node_is(const LedgeNode *n, const char *op_type)
{
    return n && n->domain[0] == 0 && strcmp(n->op_type, op_type) == 0;
}

bool ledge__node_is_ledge(const LedgeNode *n, const char *op_type)
{
    return n && strcmp(n->domain, "ledge") == 0 && strcmp(n->op_type, op_type) == 0;
}

/* The attribute `name`, made if absent, emptied if present. */
static LedgeAttr *attr_slot(LedgeGraph *g, LedgeNode *n, const char *name)
{
    for (size_t i = 0; i < n->n_attrs; i++)
        if (strcmp(n->attrs[i].name, name) == 0) {
            const char *kept = n->attrs[i].name;
            memset(&n->attrs[i], 0, sizeof n->attrs[i]);
            n->attrs[i].name = kept;
            n->attrs[i].count = 1;
            return &n->attrs[i];
        }
    LedgeAttr *attrs = ledge__arena_alloc(g->arena, n->n_attrs + 1, sizeof *attrs);
    char *copy = ledge__arena_str(g->arena, name);
    if (!attrs || !copy)
        return NULL;
    if (n->n_attrs)
        memcpy(attrs, n->attrs, n->n_attrs * sizeof *attrs);
    n->attrs = attrs;
    LedgeAttr *a = &attrs[n->n_attrs++];
    a->name = copy;
    a->count = 1;
    return a;
}

bool ledge__node_set_int(LedgeGraph *g, LedgeNode *n, const char *name, int64_t v)
{
    LedgeAttr *a = attr_slot(g, n, name);
    if (!a)
        return false;
    a->type = ONNX_ATTR_INT;
    a->i = v;
    return true;
}

bool ledge__node_set_float(LedgeGraph *g, LedgeNode *n, const char *name, float v)
{
    LedgeAttr *a = attr_slot(g, n, name);
    if (!a)
        return false;
    a->type = ONNX_ATTR_FLOAT;
    a->f = v;
    return true;
}

bool ledge__node_set_ints(LedgeGraph *g, LedgeNode *n, const char *name, const int64_t *v,
                          size_t count)
{
    int64_t *copy = ledge__arena_alloc(g->arena, count, sizeof *copy);
    if (copy && count)
        memcpy(copy, v, count * sizeof *copy); /* before the slot is emptied: v may be its own */
    LedgeAttr *a = copy ? attr_slot(g, n, name) : NULL;
    if (!a)
        return false;
    a->type = ONNX_ATTR_INTS;
    a->ints = copy;
    a->count = count;
    return true;
}

bool ledge__node_set_floats(LedgeGraph *g, LedgeNode *n, const char *name, const float *v,
                            size_t count)
{
    float *copy = ledge__arena_alloc(g->arena, count, sizeof *copy);
    if (copy && count)
        memcpy(copy, v, count * sizeof *copy);
    LedgeAttr *a = copy ? attr_slot(g, n, name) : NULL;
    if (!a)
        return false;
    a->type = ONNX_ATTR_FLOATS;
    a->floats = copy;
    a->count = count;
    return true;
}

bool ledge__node_set_string(LedgeGraph *g, LedgeNode *n, const char *name, const char *v)
{
    char *copy = ledge__arena_str(g->arena, v);
    LedgeAttr *a = copy ? attr_slot(g, n, name) : NULL;
    if (!a)
        return false;
    a->type = ONNX_ATTR_STRING;
    a->s.data = copy;
    a->s.size = strlen(copy);
    return true;
}

void ledge__node_drop_attr(LedgeNode *n, const char *name)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->n_attrs; i++)
        if (strcmp(n->attrs[i].name, name) != 0)
            n->attrs[kept++] = n->attrs[i];
    n->n_attrs = kept;
}

bool ledge__node_copy_attr(LedgeGraph *g, LedgeNode *n, const char *name, const LedgeAttr *from)
{
    LedgeAttr *a = attr_slot(g, n, name);
    if (!a)
        return false;
    name = a->name;
    *a = *from; /* arrays are never changed in place, so both may share them */
    a->name = name;
    return true;
}

bool ledge__node_copy_attrs(LedgeGraph *g, LedgeNode *to, const LedgeNode *from)
{
    for (size_t i = 0; i < from->n_attrs; i++)
        if (!ledge__node_copy_attr(g, to, from->attrs[i].name, &from->attrs[i]))
            return false;
    return true;
}

static float half_to_float(uint16_t h)
{
    int exponent = (h >> 10) & 31, mantissa = h & 1023;
    float m = exponent == 0    ? ldexpf((float)mantissa, -24)
              : exponent == 31 ? (mantissa ? NAN : INFINITY)
                               : ldexpf((float)(mantissa | 1024), exponent - 25);
    return h & 0x8000 ? -m : m;
}

#define ELEMENT(T)                                                                        \
    {                                                                                     \
        T x;                                                                              \
        memcpy(&x, p + (size_t)i * sizeof x, sizeof x);                                   \
        return (double)x;                                                                 \
    }

double ledge__value_as_double(const LedgeValue *v, int64_t i)
{
    const char *p = v->t.data;
    if (!p || i < 0 || i >= ledge_tensor_count(&v->t))
        return 0;
    switch (v->t.type) {
    case LEDGE_FLOAT:
        ELEMENT(float)
    case LEDGE_DOUBLE:
        ELEMENT(double)
    case LEDGE_INT64:
        ELEMENT(int64_t)
    case LEDGE_INT32:
        ELEMENT(int32_t)
    case LEDGE_INT16:
        ELEMENT(int16_t)
    case LEDGE_INT8:
        ELEMENT(int8_t)
    case LEDGE_UINT64:
        ELEMENT(uint64_t)
    case LEDGE_UINT32:
        ELEMENT(uint32_t)
    case LEDGE_UINT16:
        ELEMENT(uint16_t)
    case LEDGE_UINT8:
    case LEDGE_BOOL:
        ELEMENT(uint8_t)
    case LEDGE_FLOAT16: {
        uint16_t h;
        memcpy(&h, p + (size_t)i * 2, 2);
        return (double)half_to_float(h);
    }
    case LEDGE_BFLOAT16: {
        uint16_t h;
        float f;
        memcpy(&h, p + (size_t)i * 2, 2);
        uint32_t w = (uint32_t)h << 16;
        memcpy(&f, &w, 4);
        return (double)f;
    }
    default:
        return 0;
    }
}

int64_t ledge__value_as_int(const LedgeValue *v, int64_t i)
{
    if (v->t.type == LEDGE_INT64 && v->t.data && i >= 0 && i < ledge_tensor_count(&v->t)) {
        int64_t x; /* not through double, which holds 53 bits */
        memcpy(&x, (const char *)v->t.data + (size_t)i * 8, 8);
        return x;
    }
    double d = ledge__value_as_double(v, i);
    return d >= -9.2e18 && d <= 9.2e18 ? (int64_t)d : 0;
}
