/* Requests against models: inputs by name, raw bodies. */
#include "serve/oip.h"

#include <stdio.h>
#include <string.h>

static bool fits(const LedgeTensor *t, const LedgeTensorInfo *info)
{
    if (info->rank < 0)
        return true;
    if (t->rank != info->rank)
        return false;
    for (int32_t i = 0; i < t->rank; i++)
        if (info->dims[i] >= 0 && info->dims[i] != t->dims[i])
            return false;
    return true;
}

/* "[1,3,-1]" */
static const char *shape_text(int32_t rank, const int64_t *dims, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "[");
    for (int32_t i = 0; i < rank && n < size - 24; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? "," : "", (long long)dims[i]);
    snprintf(out + n, size - n, "]");
    return out;
}

static LedgeStatus bind_one(const LedgeOipRequest *r, const LedgeTensorInfo *info,
                            const char *model_name, LedgeError *err, LedgeTensor *out)
{
    const LedgeOipInput *in = NULL;
    char got[256], want[256];
    for (size_t i = 0; i < r->n_inputs && !in; i++)
        if (strcmp(r->input[i].name, info->name) == 0)
            in = &r->input[i];
    if (!in)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, model_name, "the request lacks input \"%s\"",
                           info->name);
    if (info->type != LEDGE_TYPE_NONE && in->tensor.type != info->type)
        return ledge__fail(err, LEDGE_ERROR_TYPE, info->name, "the datatype is %s, must be %s",
                           ledge__oip_datatype(in->tensor.type),
                           ledge__oip_datatype(info->type) ? ledge__oip_datatype(info->type)
                                                           : ledge_type_name(info->type));
    if (!fits(&in->tensor, info))
        return ledge__fail(err, LEDGE_ERROR_SHAPE, info->name, "the shape is %s, must be %s",
                           shape_text(in->tensor.rank, in->tensor.dims, got, sizeof got),
                           shape_text(info->rank, info->dims, want, sizeof want));
    *out = in->tensor;
    return LEDGE_OK;
}

static bool known(const LedgeModel *m, const char *name)
{
    for (size_t i = 0; i < ledge_model_input_count(m); i++)
        if (strcmp(ledge_model_input(m, i)->name, name) == 0)
            return true;
    return false;
}

/* Before anything is run. */
static LedgeStatus check_outputs(const LedgeOipRequest *r, const LedgeModel *m,
                                 const char *model_name, LedgeError *err)
{
    const size_t n = ledge_model_output_count(m);
    for (size_t i = 0; i < r->n_outputs; i++) {
        size_t k = 0;
        while (k < n && strcmp(ledge_model_output(m, k)->name, r->output[i].name) != 0)
            k++;
        if (k == n)
            return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, model_name,
                               "the model has no output \"%s\"", r->output[i].name);
    }
    return LEDGE_OK;
}

LedgeStatus ledge__oip_bind(const LedgeOipRequest *r, const LedgeModel *model,
                            const char *model_name, LedgeError *err, LedgeTensor *inputs)
{
    for (size_t i = 0; i < r->n_inputs; i++) {
        if (!known(model, r->input[i].name))
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, model_name,
                               "the model has no input \"%s\"", r->input[i].name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(r->input[i].name, r->input[k].name) == 0)
                return ledge__fail(err, LEDGE_ERROR_ARGUMENT, model_name,
                                   "input \"%s\" is given twice", r->input[i].name);
    }
    LEDGE_TRY(check_outputs(r, model, model_name, err));
    for (size_t i = 0; i < ledge_model_input_count(model); i++)
        LEDGE_TRY(bind_one(r, ledge_model_input(model, i), model_name, err, &inputs[i]));
    return LEDGE_OK;
}

LedgeStatus ledge__oip_read_raw(char *body, size_t size, const LedgeTensorInfo *input,
                                LedgeError *err, LedgeOipRequest *out)
{
    const size_t item = ledge_type_bits(input->type) / 8;
    size_t known_bytes = item;
    int32_t free_dim = -1;
    memset(out, 0, offsetof(LedgeOipRequest, input));
    if (item == 0 || input->type == LEDGE_STRING || input->rank < 0)
        return ledge__fail(err, LEDGE_ERROR_TYPE, input->name,
                           "a raw body needs an input of numbers whose rank is known");
    LedgeTensor *t = &out->input[0].tensor;
    *t = (LedgeTensor){.type = input->type, .rank = input->rank, .data = body, .bytes = size};
    for (int32_t i = 0; i < input->rank; i++) {
        t->dims[i] = input->dims[i];
        if (input->dims[i] < 0 && free_dim >= 0)
            return ledge__fail(err, LEDGE_ERROR_SHAPE, input->name,
                               "a raw body leaves more than one dimension open; send JSON too");
        if (input->dims[i] < 0)
            free_dim = i;
        else if (!ledge__mul(known_bytes, (size_t)input->dims[i], &known_bytes))
            known_bytes = 0;
    }
    if (known_bytes == 0 || size % known_bytes != 0 || (free_dim < 0 && size != known_bytes))
        return ledge__fail(err, LEDGE_ERROR_SHAPE, input->name,
                           "a raw body of %zu bytes does not fill the input's shape", size);
    if (free_dim >= 0)
        t->dims[free_dim] = (int64_t)(size / known_bytes);
    snprintf(out->input[0].name, sizeof out->input[0].name, "%s", input->name);
    out->n_inputs = 1;
    out->binary_default = true;
    return LEDGE_OK;
}
