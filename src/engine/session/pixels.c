/* Inputs of floats that take the bytes of pictures instead: a ledge.Pixels is put before their
 * readers, which the optimiser then merges with what they do first. */
#include "engine/session/pixels.h"

#include <math.h>

enum { MOST_CHANNELS = 4 };

static LedgeStatus check_input(const LedgeValue *v, const LedgePixels *p, int64_t *channels,
                               LedgeError *err)
{
    if (v->t.type != LEDGE_FLOAT || v->t.rank != 4)
        return ledge__fail(err, LEDGE_ERROR_TYPE, v->name,
                           "is not float32 of four dimensions, so it takes no pixels");
    if (v->n_outputs)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, v->name,
                           "is an output as well, so it takes no pixels");
    *channels = v->t.dims[p->channels_last ? 3 : 1];
    if (*channels < 1 || *channels > MOST_CHANNELS)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, v->name,
                           "has %lld channels; pixels have 1 to 4, named in the model",
                           (long long)*channels);
    return LEDGE_OK;
}

/* What each byte becomes, channel by channel of the model. */
static LedgeStatus fill_table(const LedgePixels *p, int64_t channels, const char *name, float *to,
                              LedgeError *err)
{
    for (int64_t c = 0; c < channels; c++)
        for (int b = 0; b < 256; b++) {
            to[256 * c + b] = (float)((b * p->scale - p->mean[c]) / p->std[c]);
            if (!isfinite(to[256 * c + b]))
                return ledge__fail(err, LEDGE_ERROR_ARGUMENT, name,
                                   "scale, mean or std of channel %lld give no finite number",
                                   (long long)c);
        }
    return LEDGE_OK;
}

/* Dimensions (and their names) of the picture whose floats the input takes now. */
static void to_picture(LedgeValue *v, bool channels_last)
{
    static const int from_planes[4] = {0, 2, 3, 1};
    LedgeTensor t = v->t;
    const char *names[4] = {NULL, NULL, NULL, NULL};
    for (int d = 0; d < 4; d++) {
        const int from = channels_last ? d : from_planes[d];
        t.dims[d] = v->t.dims[from];
        names[d] = v->dim_names ? v->dim_names[from] : NULL;
    }
    t.type = LEDGE_UINT8;
    v->t = t;
    for (int d = 0; d < 4 && v->dim_names; d++)
        v->dim_names[d] = names[d];
}

static LedgeStatus take_pixels(LedgeGraph *g, LedgeValue *v, const LedgePixels *p, LedgeError *err)
{
    int64_t channels = 0;
    float entries[MOST_CHANNELS * 256];
    LEDGE_TRY(check_input(v, p, &channels, err));
    LEDGE_TRY(fill_table(p, channels, v->name, entries, err));
    const LedgeTensor t = {.type = LEDGE_FLOAT,
                           .rank = 2,
                           .dims = {channels, 256},
                           .data = entries,
                           .bytes = (size_t)channels * 256 * sizeof *entries};
    LedgeValue *floats = ledge__value_new(g, v->name);
    LedgeValue *table = ledge__value_constant(g, "pixel_table", &t, true);
    LedgeNode *n = ledge__node_new(g, "ledge", "Pixels", NULL, 2, 1, g->first);
    if (!floats || !table || !n ||
        !ledge__node_set_string(g, n, "layout", p->channels_last ? "" : "nchw") ||
        !ledge__node_set_int(g, n, "reversed", p->reversed))
        return ledge__no_memory(err);
    floats->t = v->t;
    ledge__value_replace(g, v, floats);
    to_picture(v, p->channels_last);
    ledge__node_set_input(n, 0, v);
    ledge__node_set_input(n, 1, table);
    ledge__node_set_output(n, 0, floats);
    n->opset = 1;
    n->op = ledge__op_find("ledge", "Pixels", 1);
    return LEDGE_OK;
}

LedgeStatus ledge__model_pixels(LedgeModel *m, const LedgeModelOptions *o, LedgeError *err)
{
    for (uint32_t i = 0; i < m->graph->n_inputs; i++) {
        LedgePixels p = {.scale = 1, .std = {1, 1, 1, 1}};
        if (o->pixels(o->pixels_arg, m, i, &p))
            LEDGE_TRY(take_pixels(m->graph, m->graph->inputs[i], &p, err));
    }
    return LEDGE_OK;
}
