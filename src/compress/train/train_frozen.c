/* What is frozen: the part of the model before some tensor, run by the engine as inference runs it;
 * the tensor is then the trainer's input. */
#include <string.h>

#include "compress/train/train_internal.h"

struct TrainFrozen {
    LedgeSession *session;
    LedgeTensor in; /* of the batch, or of one sample where the model fixes that */
    LedgeTensor *outputs;
    size_t n_outputs, which;
};

void ledge__train_frozen_free(Trainer *t)
{
    if (t->frozen)
        ledge_session_free(t->frozen->session);
    t->frozen = NULL;
}

static LedgeStatus fix_input(const Trainer *t, TrainFrozen *f, LedgeError *err)
{
    const LedgeTensorInfo *info = ledge_model_input(t->o.frozen, 0);
    f->in = (LedgeTensor){.type = LEDGE_FLOAT, .rank = info->rank};
    if (ledge_model_input_count(t->o.frozen) != 1 || info->rank != 4)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, info->name,
                           "a model to freeze the beginning of needs one input of pictures");
    for (int32_t d = 0; d < 4; d++)
        f->in.dims[d] = info->dims[d] > 0 ? info->dims[d] : t->o.input_dims[d];
    f->in.dims[0] = info->dims[0] == 1 ? 1 : (int64_t)t->o.batch;
    if (ledge_tensor_count(&f->in) <= 0 || f->in.dims[1] <= 0)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, info->name,
                           "a dimension of the input is free; training needs it fixed");
    return LEDGE_OK;
}

LedgeStatus ledge__train_freeze(Trainer *t, LedgeError *err)
{
    TrainFrozen *f = ledge__arena_alloc(t->arena, 1, sizeof *f);
    const LedgeSessionOptions so = {.threads = t->o.threads};
    if (!f)
        return ledge__no_memory(err);
    LEDGE_TRY(fix_input(t, f, err));
    f->in.bytes = ledge_tensor_bytes(&f->in);
    f->in.data = ledge__arena_aligned(t->arena, f->in.bytes);
    f->n_outputs = ledge_model_output_count(t->o.frozen);
    f->outputs = ledge__arena_alloc(t->arena, f->n_outputs + 1, sizeof *f->outputs);
    if (!f->in.data || !f->outputs)
        return ledge__no_memory(err);
    while (f->which < f->n_outputs &&
           strcmp(ledge_model_output(t->o.frozen, f->which)->name, t->o.freeze) != 0)
        f->which++;
    if (f->which == f->n_outputs)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, t->o.freeze,
                           "the model gives no tensor of this name");
    LEDGE_TRY(ledge_session_create(t->o.frozen, &so, err, &f->session));
    t->frozen = f;
    return LEDGE_OK;
}

size_t ledge__train_frozen_floats(const Trainer *t)
{
    const TrainFrozen *f = t->frozen;
    return (size_t)(f->in.dims[1] * f->in.dims[2] * f->in.dims[3]) * t->o.batch;
}

/* One run's tensor into the trainer's input, as that lies. */
static LedgeStatus take(Trainer *t, size_t first, LedgeError *err)
{
    const TrainFrozen *f = t->frozen;
    const LedgeTensor *from = &f->outputs[f->which];
    const TrainValue *v = t->input;
    const size_t n = (size_t)f->in.dims[0], each = v->count / t->o.batch;
    if (from->type != LEDGE_FLOAT || ledge_tensor_count(from) != (int64_t)(n * each))
        return ledge__fail(err, LEDGE_ERROR_SHAPE, v->name,
                           "the frozen part gives another shape than the model says");
    const float *x = from->data;
    float *to = v->data + first * each;
    const size_t channels = v->nhwc ? (size_t)v->dims[1] : each, area = each / channels;
    for (size_t i = 0; i < n; i++)
        t->vec->transpose_32((const uint32_t *)(const void *)(x + i * each), area,
                             (uint32_t *)(void *)(to + i * each), channels, channels, area);
    return LEDGE_OK;
}

LedgeStatus ledge__train_run_frozen(Trainer *t, const LedgePixels *px, size_t h, size_t w, size_t c,
                                    LedgeError *err)
{
    TrainFrozen *f = t->frozen;
    const int64_t *d = f->in.dims;
    const bool last = px->channels_last;
    if (d[last ? 3 : 1] != (int64_t)c || d[last ? 1 : 2] != (int64_t)h ||
        d[last ? 2 : 3] != (int64_t)w || c > 4)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, "",
                           "the pictures are %zux%zu of %zu channels and the model takes others", w,
                           h, c);
    for (size_t i = 0; i < t->o.batch; i += (size_t)d[0]) {
        ledge__train_prepare(px, h, w, c, t->pixels + i * h * w * c, (size_t)d[0], f->in.data);
        memset(f->outputs, 0, f->n_outputs * sizeof *f->outputs);
        LEDGE_TRY(ledge_session_run(f->session, &f->in, 1, f->outputs, f->n_outputs, err));
        LEDGE_TRY(take(t, i, err));
    }
    return LEDGE_OK;
}
