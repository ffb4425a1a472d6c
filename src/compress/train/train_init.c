/* Fresh weights: He et al., "Delving Deep into Rectifiers", 2015, by what each output adds up. */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"

static void fill(TrainValue *v, float x)
{
    for (size_t i = 0; v && i < v->count; i++)
        v->data[i] = x;
}

static void noise(TrainValue *v, double deviation, uint64_t *state)
{
    for (size_t i = 0; i < v->count; i++) {
        const double u = ledge__train_uniform(state) + 0x1p-60, w = ledge__train_uniform(state);
        v->data[i] = (float)(deviation * sqrt(-2 * log(u)) * cos(6.283185307179586 * w));
    }
}

void ledge__trainer_init(LedgeTrainer *t)
{
    uint64_t state = t->o.seed ^ 0x696e6974ull;
    for (size_t i = 0; i < t->n_steps; i++) {
        TrainStep *s = t->steps[i];
        const bool conv = strcmp(s->op->name, "Conv") == 0;
        const bool dense = strcmp(s->op->name, "dense") == 0;
        if (conv || dense) {
            const TrainLinear *l = s->state; /* the first member of both states */
            const double in = (double)(l->s.c / l->s.group * l->s.kh * l->s.kw);
            noise(s->in[1], sqrt((conv ? 2 : 1) / in), &state);
            fill(s->n_in > 2 ? s->in[2] : NULL, 0);
        } else if (strcmp(s->op->name, "BatchNormalization") == 0) {
            for (int k = 1; k < 5; k++)
                fill(s->in[k], k == 1 || k == 4 ? 1.0f : 0.0f);
        } else if (strcmp(s->op->name, "LayerNormalization") == 0) {
            fill(s->in[1], 1);
            fill(s->n_in > 2 ? s->in[2] : NULL, 0);
        }
    }
    for (size_t i = 0; i < t->n_params; i++)
        for (size_t k = 0; t->params[i]->mask && k < t->params[i]->count; k++)
            t->params[i]->data[k] *= t->params[i]->mask[k] ? 1 : 0;
    ledge__train_state(t, t->good, false);
}
