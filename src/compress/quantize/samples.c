/* Calibration data, see samples.h. */
#include "compress/quantize/samples.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/npy.h"

struct LedgeSamples {
    const LedgeAllocator *allocator;
    const LedgeModel *model;
    size_t available, count;
    LedgeDataset *pictures; /* NULL: arrays */
    LedgePreprocess pre;
    const char *from;
    LedgeTensor *arrays; /* per input: all samples */
    LedgeTensor *inputs; /* per input: the sample at hand */
    size_t n_inputs;
};

/* ---- pictures ---- */

static LedgeStatus open_pictures(LedgeSamples *s, const LedgeSamplesOptions *o, LedgeError *err)
{
    if (s->n_inputs != 1)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, o->folder ? o->folder : o->dataset,
                           "pictures feed models of one input and this one has %zu; give an "
                           "array for each: --input NAME=FILE.npy",
                           s->n_inputs);
    LEDGE_TRY(o->dataset ? ledge__dataset_open(s->allocator, o->dataset, err, &s->pictures)
                         : ledge__dataset_open_folder(s->allocator, o->folder, o->labels, err,
                                                      &s->pictures));
    s->available = ledge__dataset_count(s->pictures);
    return ledge__preprocess_for_model(s->model, 0, o->preprocess, err, &s->pre, &s->from);
}

static LedgeStatus read_picture(LedgeSamples *s, size_t index, LedgeError *err,
                                LedgeSampleInputs *out)
{
    LedgeSample sample;
    LEDGE_TRY(ledge__dataset_read(s->pictures, index, err, &sample));
    ledge__free(s->allocator, s->inputs[0].data);
    s->inputs[0].data = NULL;
    LedgeStatus status =
        ledge__preprocess_tensor(&s->pre, s->allocator, &sample.image, err, &s->inputs[0]);
    if (status)
        s->inputs[0].data = NULL;
    ledge__image_free(&sample.image);
    snprintf(out->name, sizeof out->name, "%s", sample.name);
    out->label = sample.label;
    return status;
}

/* ---- arrays ---- */

/* Samples take as many of the first axis as the model's own batch is fixed to, else one. */
static int64_t batch_of(const LedgeTensorInfo *info)
{
    return info->rank > 0 && info->dims[0] > 0 ? info->dims[0] : 1;
}

static LedgeStatus check_array(const LedgeSamples *s, size_t index, const char *file,
                               LedgeError *err)
{
    const LedgeTensorInfo *info = ledge_model_input(s->model, index);
    const LedgeTensor *t = &s->arrays[index];
    bool fits = t->rank >= 1 && (info->rank < 0 || info->rank == t->rank);
    if (t->type != info->type)
        return ledge__fail(err, LEDGE_ERROR_TYPE, file, "holds %s and input '%s' takes %s",
                           ledge_type_name(t->type), info->name, ledge_type_name(info->type));
    for (int32_t d = 1; fits && d < info->rank; d++)
        fits = info->dims[d] < 0 || info->dims[d] == t->dims[d];
    if (!fits)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, file,
                           "its dimensions are not those of input '%s' with samples along the "
                           "first axis",
                           info->name);
    if (t->dims[0] < batch_of(info))
        return ledge__fail(err, LEDGE_ERROR_SHAPE, file,
                           "holds %lld along the first axis and the model takes %lld at once",
                           (long long)t->dims[0], (long long)batch_of(info));
    return LEDGE_OK;
}

static LedgeStatus find_input(const LedgeSamples *s, const char *word, LedgeError *err,
                              size_t *index, const char **file)
{
    const char *eq = strchr(word, '=');
    *index = 0;
    *file = eq ? eq + 1 : word;
    if (!eq) {
        while (*index + 1 < s->n_inputs && s->arrays[*index].data)
            ++*index;
        return LEDGE_OK;
    }
    for (; *index < s->n_inputs; ++*index) {
        const LedgeStr name = {word, (size_t)(eq - word)};
        if (ledge__str_eq(name, ledge_model_input(s->model, *index)->name))
            return LEDGE_OK;
    }
    return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, word, "the model has no input of this name");
}

static LedgeStatus open_array(LedgeSamples *s, const char *word, LedgeError *err)
{
    size_t index;
    const char *file;
    LEDGE_TRY(find_input(s, word, err, &index, &file));
    if (s->arrays[index].data)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, word, "the input is given twice");
    LEDGE_TRY(ledge__npy_load(s->allocator, file, err, &s->arrays[index]));
    LEDGE_TRY(check_array(s, index, file, err));
    const size_t samples = (size_t)(s->arrays[index].dims[0] /
                                    batch_of(ledge_model_input(s->model, index)));
    if (s->available && samples != s->available)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, file,
                           "holds %zu samples where another input has %zu", samples,
                           s->available);
    s->available = samples;
    return LEDGE_OK;
}

static LedgeStatus open_arrays(LedgeSamples *s, const LedgeSamplesOptions *o, LedgeError *err)
{
    if (o->folder)
        LEDGE_TRY(open_array(s, o->folder, err));
    for (size_t i = 0; i < o->n_arrays; i++)
        LEDGE_TRY(open_array(s, o->arrays[i], err));
    for (size_t i = 0; i < s->n_inputs; i++)
        if (!s->arrays[i].data)
            return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, ledge_model_input(s->model, i)->name,
                               "no samples for this input; give --input NAME=FILE.npy");
    return LEDGE_OK;
}

static void read_array(LedgeSamples *s, size_t index, LedgeSampleInputs *out)
{
    for (size_t i = 0; i < s->n_inputs; i++) {
        LedgeTensor t = s->arrays[i];
        t.dims[0] = batch_of(ledge_model_input(s->model, i));
        t.bytes = ledge_tensor_bytes(&t);
        t.data = (char *)s->arrays[i].data + index * t.bytes;
        s->inputs[i] = t;
    }
    snprintf(out->name, sizeof out->name, "sample %zu", index);
    out->label = -1;
}

/* ---- both ---- */

static bool is_array_file(const char *path)
{
    const size_t n = path ? strlen(path) : 0;
    return n > 4 && strcmp(path + n - 4, ".npy") == 0;
}

static LedgeStatus open_any(LedgeSamples *s, const LedgeSamplesOptions *o, LedgeError *err)
{
    s->n_inputs = ledge_model_input_count(s->model);
    s->arrays = ledge__calloc(s->allocator, s->n_inputs + 1, sizeof *s->arrays);
    s->inputs = ledge__calloc(s->allocator, s->n_inputs + 1, sizeof *s->inputs);
    if (!s->arrays || !s->inputs)
        return ledge__no_memory(err);
    if (o->n_arrays || is_array_file(o->folder))
        LEDGE_TRY(open_arrays(s, o, err));
    else
        LEDGE_TRY(open_pictures(s, o, err));
    s->count = o->limit && o->limit < s->available ? o->limit : s->available;
    return LEDGE_OK;
}

LedgeStatus ledge__samples_open(const LedgeModel *model, const LedgeSamplesOptions *o,
                                LedgeError *err, LedgeSamples **out)
{
    const LedgeAllocator *a = ledge__allocator_or_default(o->allocator);
    LedgeSamples *s = ledge__calloc(a, 1, sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    s->allocator = a;
    s->model = model;
    const LedgeStatus status = open_any(s, o, err);
    if (status)
        ledge__samples_free(s);
    else
        *out = s;
    return status;
}

void ledge__samples_free(LedgeSamples *s)
{
    if (!s)
        return;
    if (s->pictures && s->inputs)
        ledge__free(s->allocator, s->inputs[0].data);
    for (size_t i = 0; s->arrays && i < s->n_inputs; i++)
        ledge__npy_free(s->allocator, &s->arrays[i]);
    ledge__dataset_free(s->pictures);
    ledge__free(s->allocator, s->arrays);
    ledge__free(s->allocator, s->inputs);
    ledge__free(s->allocator, s);
}

size_t ledge__samples_count(const LedgeSamples *s)
{
    return s->count;
}

size_t ledge__samples_available(const LedgeSamples *s)
{
    return s->available;
}

bool ledge__samples_are_pictures(const LedgeSamples *s)
{
    return s->pictures != NULL;
}

const char *ledge__samples_preprocess_from(const LedgeSamples *s)
{
    return s->pictures ? s->from : NULL;
}

const LedgePreprocess *ledge__samples_preprocess(const LedgeSamples *s)
{
    return s->pictures ? &s->pre : NULL;
}

LedgeStatus ledge__samples_read(LedgeSamples *s, size_t index, LedgeError *err,
                                LedgeSampleInputs *out)
{
    const size_t at = (size_t)((double)index * (double)s->available / (double)s->count);
    out->inputs = s->inputs;
    out->n_inputs = s->n_inputs;
    if (s->pictures)
        return read_picture(s, at, err, out);
    read_array(s, at, out);
    return LEDGE_OK;
}
