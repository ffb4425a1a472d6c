/* LabelEncoder (opsets 1, 2 and 4 of ai.onnx.ml) and CategoryMapper: a table from keys to values.
 * Keys are sorted once. From opset 4 on a NaN key is found by NaN. Of equal keys the first counts.
 */
#include "engine/ops/value/ml.h"

/* One column of the table: strings, or numbers as they come. */
typedef struct Column {
    LedgeType type; /* of the tensors that it is looked up in or written to */
    LedgeType stored;
    const void *data;
    int64_t count;
} Column;

typedef struct Encoder {
    Column keys, values;
    LedgeString default_string;
    char default_value[16]; /* one element of the value type */
    int64_t *order;         /* keys by value */
} Encoder;

/* The column that attributes `prefix`_strings, _int64s, _floats or _tensor give. */
static bool get_column(const LedgeNode *n, const char *const *names, Column *out)
{
    static const LedgeType types[] = {LEDGE_STRING, LEDGE_INT64, LEDGE_FLOAT};
    for (int i = 0; i < 4; i++) {
        const LedgeAttr *a = ledge__node_attr(n, names[i]);
        if (!a || a->count == 0)
            continue;
        if (i == 3 && a->tensors) {
            const LedgeTensor *t = &a->tensors[0];
            *out = (Column){t->type, t->type, t->data, ledge_tensor_count(t)};
            return t->type != LEDGE_TYPE_NONE;
        }
        const void *data = i == 0   ? (const void *)a->strings
                           : i == 1 ? (const void *)a->ints
                                    : (const void *)a->floats;
        *out = (Column){types[i], types[i], data, (int64_t)a->count};
        return data != NULL;
    }
    return false;
}

/* Opset 1: classes_strings maps strings to positions and back. `text`: the input is strings. */
static LedgeStatus get_classes(LedgeOpCtx *c, const char *strings, const char *ints, Encoder *e)
{
    const LedgeAttr *s = ledge__node_attr(c->node, strings);
    size_t n = 0;
    const int64_t *v = ints ? ledge__node_ints(c->node, ints, &n) : NULL;
    if (!s || s->count == 0 || (ints && n != s->count))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the classes are missing or do not pair up");
    Column text = {LEDGE_STRING, LEDGE_STRING, s->strings, (int64_t)s->count};
    Column numbers = {LEDGE_INT64, LEDGE_INT64, v, (int64_t)s->count}; /* NULL: 0, 1, … */
    bool from_text = c->in[0]->type == LEDGE_STRING;
    e->keys = from_text ? text : numbers;
    e->values = from_text ? numbers : text;
    return LEDGE_OK;
}

static LedgeStatus get_table(LedgeOpCtx *c, Encoder *e)
{
    static const char *const keys[] = {"keys_strings", "keys_int64s", "keys_floats", "keys_tensor"};
    static const char *const values[] = {"values_strings", "values_int64s", "values_floats",
                                         "values_tensor"};
    memset(e, 0, sizeof *e);
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    if (strcmp(c->node->op_type, "CategoryMapper") == 0)
        return get_classes(c, "cats_strings", "cats_int64s", e);
    if (c->node->opset < 2)
        return get_classes(c, "classes_strings", NULL, e);
    if (!get_column(c->node, keys, &e->keys) || !get_column(c->node, values, &e->values) ||
        e->keys.count != e->values.count)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT,
                              "keys and values are missing or do not pair up");
    return LEDGE_OK;
}

static LedgeStatus get_default(LedgeOpCtx *c, Encoder *e)
{
    const LedgeAttr *text = ledge__node_attr(c->node, "default_string");
    const LedgeAttr *tensor = ledge__node_attr(c->node, "default_tensor");
    const LedgeTensor *t = tensor && tensor->tensors ? &tensor->tensors[0] : NULL;
    e->default_string = text ? text->s : (LedgeString){"_Unused", 7};
    if (t && (t->type != e->values.type || ledge_tensor_count(t) != 1))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "default_tensor is not one %s",
                              ledge_type_name(e->values.type));
    if (t && t->type == LEDGE_STRING) {
        e->default_string = *(const LedgeString *)t->data;
    } else if (t) {
        memcpy(e->default_value, t->data, ledge_type_bits(t->type) / 8);
    } else if (e->values.type == LEDGE_INT64) {
        int64_t v = ledge__node_int(c->node, "default_int64", -1);
        memcpy(e->default_value, &v, 8);
    } else if (e->values.type != LEDGE_STRING) {
        ledge__number_set(e->values.type, e->default_value, 0,
                          ledge__node_float(c->node, "default_float", -0.0f));
    }
    return LEDGE_OK;
}

static int compare_numbers(double a, double b)
{
    if (a != a || b != b) /* NaN comes last, equal to itself */
        return (a != a) - (b != b);
    return (a > b) - (a < b);
}

/* Compares key i of the table with element j of `data`. */
static int compare_key(const Column *keys, int64_t i, const void *data, int64_t j)
{
    if (keys->type == LEDGE_STRING) {
        LedgeString a = ((const LedgeString *)keys->data)[i], b = ((const LedgeString *)data)[j];
        size_t n = a.size < b.size ? a.size : b.size;
        int order = n ? memcmp(a.data, b.data, n) : 0;
        return order ? order : (a.size > b.size) - (a.size < b.size);
    }
    if (keys->type == LEDGE_INT64) {
        int64_t a = i, b = j;
        if (keys->data)
            memcpy(&a, (const char *)keys->data + 8 * i, 8);
        if (data)
            memcpy(&b, (const char *)data + 8 * j, 8);
        return (a > b) - (a < b);
    }
    return compare_numbers(ledge__number_at(keys->type, keys->data, i),
                           ledge__number_at(keys->type, data, j));
}

/* Bottom-up merge sort, stable: the first of equal keys stays first. */
static void sort_keys(const Column *keys, int64_t *order, int64_t *spare)
{
    for (int64_t i = 0; i < keys->count; i++)
        order[i] = i;
    for (int64_t width = 1; width < keys->count; width *= 2) {
        for (int64_t low = 0; low < keys->count; low += 2 * width) {
            int64_t mid = low + width < keys->count ? low + width : keys->count;
            int64_t high = mid + width < keys->count ? mid + width : keys->count;
            int64_t a = low, b = mid;
            for (int64_t k = low; k < high; k++) {
                bool left = a < mid &&
                            (b >= high || compare_key(keys, order[a], keys->data, order[b]) <= 0);
                spare[k] = left ? order[a++] : order[b++];
            }
        }
        memcpy(order, spare, (size_t)keys->count * sizeof *order);
    }
}

static LedgeStatus infer_encoder(LedgeOpCtx *c)
{
    Encoder e;
    LEDGE_TRY(get_table(c, &e));
    const LedgeTensor *in = c->in[0];
    if (in->type != LEDGE_TYPE_NONE && in->type != e.keys.type)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input 0 is %s, the keys are %s",
                              ledge_type_name(in->type), ledge_type_name(e.keys.type));
    ledge__op_set_out(c, 0, e.values.type, in->rank, in->dims);
    return LEDGE_OK;
}

static LedgeStatus prepare_encoder(LedgeOpCtx *c)
{
    Encoder *e = ledge__op_alloc(c, sizeof *e);
    if (!e)
        return ledge__no_memory(c->err);
    LEDGE_TRY(get_table(c, e));
    LEDGE_TRY(get_default(c, e));
    e->order = ledge__op_alloc(c, ((size_t)e->keys.count + 1) * 2 * sizeof *e->order);
    if (!e->order)
        return ledge__no_memory(c->err);
    sort_keys(&e->keys, e->order, e->order + e->keys.count + 1);
    c->state = e;
    return LEDGE_OK;
}

static bool is_nan(const LedgeTensor *in, int64_t i)
{
    double v = in->type == LEDGE_FLOAT || in->type == LEDGE_DOUBLE
                   ? ledge__number_at(in->type, in->data, i)
                   : 0;
    return v != v;
}

/* Row of the table whose key is element i of `in`; -1: none. */
static int64_t find(const Encoder *e, const LedgeTensor *in, int64_t i, bool nan_matches)
{
    int64_t low = 0, high = e->keys.count;
    if (!nan_matches && is_nan(in, i))
        return -1;
    while (low < high) { /* the first that is not smaller */
        int64_t mid = low + (high - low) / 2;
        if (compare_key(&e->keys, e->order[mid], in->data, i) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == e->keys.count || compare_key(&e->keys, e->order[low], in->data, i) != 0)
        return -1;
    return e->order[low];
}

static LedgeStatus run_encoder(LedgeOpCtx *c)
{
    const Encoder *e = c->state;
    const LedgeTensor *in = c->in[0];
    LedgeTensor *out = c->out[0];
    int64_t n = ledge_tensor_count(in);
    size_t size;
    LEDGE_TRY(ledge__element_size(c, out, &size));
    for (int64_t i = 0; i < n; i++) {
        int64_t k = find(e, in, i, c->node->opset >= 4);
        char *to = (char *)out->data + (size_t)i * size;
        if (k < 0 && out->type == LEDGE_STRING)
            memcpy(to, &e->default_string, size);
        else if (k < 0)
            memcpy(to, e->default_value, size);
        else if (!e->values.data)
            memcpy(to, &k, size);
        else
            memcpy(to, (const char *)e->values.data + (size_t)k * size, size);
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_label_encoder[] = {
    {.domain = "ai.onnx.ml",
     .op_type = "LabelEncoder",
     .since = 1,
     .infer = infer_encoder,
     .prepare = prepare_encoder,
     .run = run_encoder},
    {.domain = "ai.onnx.ml",
     .op_type = "CategoryMapper",
     .since = 1,
     .infer = infer_encoder,
     .prepare = prepare_encoder,
     .run = run_encoder},
    {0},
};
