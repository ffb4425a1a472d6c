/* The border between quantizer and trainer; see quant_finetune.h. */
#include "compress/quantize/quant_finetune.h"

#include "compress/quantize/quant_internal.h"

static LedgeTrainFake *append(LedgeQuantizer *q, LedgeTrainFake **fakes, size_t *n)
{
    LedgeTrainFake *all = ledge__arena_append(q->arena, *fakes, *n, sizeof *all);
    if (!all)
        return NULL;
    *fakes = all;
    return &all[(*n)++];
}

static LedgeStatus add_activations(LedgeQuantizer *q, LedgeError *err, LedgeTrainFake **fakes,
                                   size_t *n)
{
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        const LedgeQuantTensor *t = &q->tensors[i];
        if (!t->quantized || ledge__value_is_constant(t->value))
            continue;
        LedgeTrainFake *f = append(q, fakes, n);
        if (!f)
            return ledge__no_memory(err);
        *f = (LedgeTrainFake){.value = t->value,
                              .scales = &t->scale,
                              .channels = 1,
                              .inner = 1,
                              .zero = t->zero,
                              .low = q->low,
                              .high = q->high,
                              .group = t->tied};
    }
    return LEDGE_OK;
}

static bool is_there(const LedgeTrainFake *fakes, size_t n, const LedgeValue *v)
{
    for (size_t i = 0; i < n; i++)
        if (fakes[i].value == v)
            return true;
    return false;
}

static LedgeStatus add_weights(LedgeQuantizer *q, LedgeError *err, LedgeTrainFake **fakes,
                               size_t *n)
{
    for (uint32_t i = 0; i < q->n_nodes; i++) {
        LedgeQuantLayer l;
        if (!q->nodes[i].integer || !ledge__quantizer_layer(&q->nodes[i], &l) ||
            is_there(*fakes, *n, l.weight))
            continue;
        float *scales = ledge__arena_alloc(q->arena, (size_t)l.channels, sizeof *scales);
        LedgeTrainFake *f = scales ? append(q, fakes, n) : NULL;
        if (!f)
            return ledge__no_memory(err);
        ledge__quantizer_weight_scales(q, &l, scales);
        *f = (LedgeTrainFake){.value = l.weight,
                              .scales = scales,
                              .channels = (size_t)l.channels,
                              .inner = (size_t)l.inner,
                              .low = -127,
                              .high = 127,
                              .group = q->n_tensors + l.weight->id};
    }
    return LEDGE_OK;
}

LedgeStatus ledge__quant_fakes(LedgeQuantizer *q, LedgeError *err, LedgeTrainFake **fakes,
                               size_t *n)
{
    *fakes = NULL;
    *n = 0;
    if (q->o.mode != LEDGE_QUANT_STATIC || !q->has_ranges)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "",
                           "only static quantization is trained, after its ranges are found");
    LEDGE_TRY(add_activations(q, err, fakes, n));
    return add_weights(q, err, fakes, n);
}

/* Tied tensors and constants among them have the scale of their group. */
static void set_group(LedgeQuantizer *q, uint32_t group, float scale)
{
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        LedgeQuantTensor *t = &q->tensors[i];
        if (!t->quantized || t->tied != group)
            continue;
        t->scale = scale;
        t->lo = (float)(q->low - t->zero) * scale;
        t->hi = (float)(q->high - t->zero) * scale;
    }
}

static LedgeStatus set_weights(LedgeQuantizer *q, const LedgeTrainFake *f, const float *scales,
                               LedgeError *err)
{
    for (uint32_t i = 0; i < q->n_nodes; i++) {
        LedgeQuantLayer l;
        if (!ledge__quantizer_layer(&q->nodes[i], &l) || l.weight != f->value)
            continue;
        int8_t *rounded = ledge__arena_alloc(q->arena, (size_t)l.count, 1);
        if (!rounded)
            return ledge__no_memory(err);
        ledge__quantizer_round(&l, scales, rounded);
        q->nodes[i].weight_q = rounded;
        q->nodes[i].weight_scale = scales;
    }
    return LEDGE_OK;
}

LedgeStatus ledge__quant_take_trained(LedgeQuantizer *q, LedgeTrainer *t,
                                      const LedgeTrainFake *fakes, size_t n, LedgeError *err)
{
    LEDGE_TRY(ledge__trainer_write(t, err));
    for (size_t i = 0; i < n; i++) {
        float *scales = ledge__arena_alloc(q->arena, fakes[i].channels, sizeof *scales);
        if (!scales)
            return ledge__no_memory(err);
        if (!ledge__trainer_scales(t, i, scales))
            continue;
        if (ledge__value_is_constant(fakes[i].value))
            LEDGE_TRY(set_weights(q, &fakes[i], scales, err));
        else
            set_group(q, fakes[i].group, scales[0]);
    }
    for (uint32_t i = 0; i < q->n_nodes; i++)
        q->nodes[i].bias_shift = NULL;
    q->finetuned = true;
    return LEDGE_OK;
}
