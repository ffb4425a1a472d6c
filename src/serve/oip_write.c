/* Writing inference answers. */
#include "serve/oip.h"

#include <string.h>

static void put_key(LedgeText *b, const char *key)
{
    ledge__text_put(b, "\"", 1);
    ledge__text_add(b, key);
    ledge__text_put(b, "\":", 2);
}

static void put_element(LedgeText *b, const LedgeTensor *t, size_t i)
{
    switch (t->type) {
    case LEDGE_BOOL:
        ledge__text_add(b, ((const uint8_t *)t->data)[i] ? "true" : "false");
        break;
    case LEDGE_UINT8:
        ledge__json_put_integer(b, ((const uint8_t *)t->data)[i]);
        break;
    case LEDGE_UINT16:
        ledge__json_put_integer(b, ((const uint16_t *)t->data)[i]);
        break;
    case LEDGE_UINT32:
        ledge__json_put_integer(b, ((const uint32_t *)t->data)[i]);
        break;
    case LEDGE_UINT64:
        ledge__json_put_unsigned(b, ((const uint64_t *)t->data)[i]);
        break;
    case LEDGE_INT8:
        ledge__json_put_integer(b, ((const int8_t *)t->data)[i]);
        break;
    case LEDGE_INT16:
        ledge__json_put_integer(b, ((const int16_t *)t->data)[i]);
        break;
    case LEDGE_INT32:
        ledge__json_put_integer(b, ((const int32_t *)t->data)[i]);
        break;
    case LEDGE_INT64:
        ledge__json_put_integer(b, ((const int64_t *)t->data)[i]);
        break;
    case LEDGE_DOUBLE:
        ledge__json_put_double(b, ((const double *)t->data)[i]);
        break;
    case LEDGE_STRING: {
        const LedgeString *s = (const LedgeString *)t->data + i;
        ledge__json_put_string(b, s->data, s->size);
        break;
    }
    default:
        ledge__json_put_floats(b, (const float *)t->data + i, 1);
        break;
    }
}

static void put_data(LedgeText *b, const LedgeTensor *t)
{
    const size_t n = (size_t)ledge_tensor_count(t);
    put_key(b, "data");
    ledge__text_put(b, "[", 1);
    if (t->type == LEDGE_FLOAT)
        ledge__json_put_floats(b, t->data, n);
    else
        for (size_t i = 0; i < n; i++) {
            if (i)
                ledge__text_put(b, ",", 1);
            put_element(b, t, i);
        }
    ledge__text_put(b, "]", 1);
}

/* Bytes of the tensor as a blob. */
static uint64_t blob_bytes(const LedgeTensor *t)
{
    const size_t n = (size_t)ledge_tensor_count(t);
    if (t->type != LEDGE_STRING)
        return (uint64_t)n * ledge_type_bits(t->type) / 8;
    uint64_t sum = 4 * (uint64_t)n;
    for (size_t i = 0; i < n; i++)
        sum += ((const LedgeString *)t->data)[i].size;
    return sum;
}

static void put_blob(LedgeText *b, const LedgeTensor *t)
{
    if (t->type != LEDGE_STRING) {
        ledge__text_put(b, t->data, (size_t)blob_bytes(t));
        return;
    }
    for (size_t i = 0; i < (size_t)ledge_tensor_count(t); i++) {
        const LedgeString *s = (const LedgeString *)t->data + i;
        const unsigned char n[4] = {s->size & 255, s->size >> 8 & 255, s->size >> 16 & 255,
                                    s->size >> 24 & 255};
        ledge__text_put(b, n, 4);
        ledge__text_put(b, s->data, s->size);
    }
}

typedef struct Wanted {
    size_t output; /* of the model */
    bool binary;
    const LedgeOipShared *shared; /* where it goes instead of into the answer; NULL: nowhere */
} Wanted;

static void put_place(LedgeText *b, const LedgeOipShared *s, const LedgeTensor *t)
{
    put_key(b, "shared_memory_region");
    ledge__json_put_text(b, s->region);
    ledge__text_add(b, ",\"shared_memory_byte_size\":");
    ledge__json_put_unsigned(b, blob_bytes(t));
    if (s->offset) {
        ledge__text_add(b, ",\"shared_memory_offset\":");
        ledge__json_put_unsigned(b, s->offset);
    }
}

static void put_output(LedgeText *b, const char *name, const LedgeTensor *t, const Wanted *w)
{
    ledge__text_put(b, "{", 1);
    put_key(b, "name");
    ledge__json_put_text(b, name);
    ledge__text_put(b, ",", 1);
    put_key(b, "datatype");
    ledge__json_put_text(b, ledge__oip_datatype(t->type));
    ledge__text_put(b, ",", 1);
    put_key(b, "shape");
    ledge__text_put(b, "[", 1);
    for (int32_t i = 0; i < t->rank; i++) {
        if (i)
            ledge__text_put(b, ",", 1);
        ledge__json_put_integer(b, t->dims[i]);
    }
    ledge__text_put(b, "],", 2);
    if (w->shared || w->binary) {
        ledge__text_add(b, "\"parameters\":{");
        if (w->shared) {
            put_place(b, w->shared, t);
        } else {
            put_key(b, "binary_data_size");
            ledge__json_put_unsigned(b, blob_bytes(t));
        }
        ledge__text_put(b, "}", 1);
    } else {
        put_data(b, t);
    }
    ledge__text_put(b, "}", 1);
}

static LedgeStatus choose(const LedgeOipRequest *r, const LedgeOipAnswer *a, LedgeError *err,
                          Wanted *wanted, size_t *n)
{
    *n = r->n_outputs ? r->n_outputs : a->n_outputs;
    if (*n > LEDGE_OIP_TENSORS)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, a->model,
                           "the model has more than 64 outputs; name those that are wanted");
    for (size_t i = 0; i < *n; i++) {
        size_t k = i;
        if (r->n_outputs)
            for (k = 0; k < a->n_outputs && strcmp(a->names[k], r->output[i].name) != 0; k++) {
            }
        if (k == a->n_outputs)
            return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, a->model,
                               "the model has no output \"%s\"", r->output[i].name);
        Wanted *w = &wanted[i];
        *w = (Wanted){k, r->n_outputs ? r->output[i].binary : r->binary_default, NULL};
        if (r->n_outputs && r->output[i].shared)
            *w = (Wanted){k, false, r->output[i].shared};
        const LedgeType type = a->outputs[k].type;
        if (!ledge__oip_datatype(type))
            return ledge__fail(err, LEDGE_ERROR_TYPE, a->names[k],
                               "the protocol has no datatype for %s", ledge_type_name(type));
        if ((type == LEDGE_FLOAT16 || type == LEDGE_BFLOAT16) && !w->binary && !w->shared)
            return ledge__fail(err, LEDGE_ERROR_TYPE, a->names[k],
                               "%s comes as binary data only; ask for it with binary_data",
                               ledge__oip_datatype(type));
        if (w->shared && blob_bytes(&a->outputs[k]) > w->shared->bytes)
            return ledge__fail(err, LEDGE_ERROR_SHAPE, a->names[k],
                               "the output has %llu bytes, more than its shared_memory_byte_size",
                               (unsigned long long)blob_bytes(&a->outputs[k]));
    }
    return LEDGE_OK;
}

static LedgeStatus share(const LedgeOipShared *s, const LedgeTensor *t, LedgeError *err)
{
    LedgeText bytes = {0};
    if (t->type != LEDGE_STRING)
        return ledge__region_write(s->held, s->offset, t->data, (size_t)blob_bytes(t), err);
    put_blob(&bytes, t);
    const LedgeStatus status = bytes.failed
                                   ? ledge__no_memory(err)
                                   : ledge__region_write(s->held, s->offset, bytes.p, bytes.n, err);
    ledge__text_free(&bytes);
    return status;
}

LedgeStatus ledge__oip_write(const LedgeOipRequest *r, const LedgeOipAnswer *a, LedgeError *err,
                             LedgeText *out, size_t *json_bytes)
{
    Wanted wanted[LEDGE_OIP_TENSORS];
    size_t n;
    bool binary = false;
    LEDGE_TRY(choose(r, a, err, wanted, &n));
    for (size_t i = 0; i < n; i++)
        if (wanted[i].shared)
            LEDGE_TRY(share(wanted[i].shared, &a->outputs[wanted[i].output], err));
    ledge__text_put(out, "{", 1);
    put_key(out, "model_name");
    ledge__json_put_text(out, a->model);
    ledge__text_put(out, ",", 1);
    put_key(out, "model_version");
    ledge__json_put_text(out, a->version);
    if (a->id[0]) {
        ledge__text_put(out, ",", 1);
        put_key(out, "id");
        ledge__json_put_text(out, a->id);
    }
    if (a->parameters) {
        ledge__text_add(out, ",\"parameters\":{");
        ledge__text_add(out, a->parameters);
        ledge__text_put(out, "}", 1);
    }
    ledge__text_add(out, ",\"outputs\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            ledge__text_put(out, ",", 1);
        put_output(out, a->names[wanted[i].output], &a->outputs[wanted[i].output], &wanted[i]);
        binary |= wanted[i].binary;
    }
    ledge__text_add(out, "]}");
    *json_bytes = binary ? out->n : 0;
    for (size_t i = 0; i < n; i++)
        if (wanted[i].binary)
            put_blob(out, &a->outputs[wanted[i].output]);
    return out->failed ? ledge__no_memory(err) : LEDGE_OK;
}

void ledge__oip_write_error(const char *message, LedgeText *out)
{
    ledge__text_add(out, "{\"error\":");
    ledge__json_put_text(out, message);
    ledge__text_put(out, "}", 1);
}
