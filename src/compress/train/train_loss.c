/* The loss of a batch and its gradient: labels (smoothed, mixed), the teacher's scores (Hinton,
 * Vinyals and Dean, 2015: KL at a temperature T, times T²) and features (mean squared error). */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"

typedef struct LossArg {
    Trainer *t;
    const float *taught;
    bool grad;
    double *losses; /* per sample */
    uint8_t *right;
} LossArg;

/* p = softmax(z / T); gives log Σ exp(z / T). */
static double soften(const float *z, size_t n, double temperature, double *p)
{
    double most = -INFINITY, sum = 0;
    for (size_t j = 0; j < n; j++)
        most = fmax(most, (double)z[j] / temperature);
    for (size_t j = 0; j < n; j++)
        sum += p[j] = exp((double)z[j] / temperature - most);
    for (size_t j = 0; j < n; j++)
        p[j] /= sum;
    return most + log(sum);
}

/* -Σ target log p, with d/dz added to g. */
static double label_loss(const Trainer *t, size_t i, const float *z, size_t n, double weight,
                         double *p, double *g)
{
    const double log_sum = soften(z, n, 1, p), smooth = t->o.label_smoothing / (double)n;
    const double a = (double)t->mix[i] * (1 - t->o.label_smoothing);
    const double b = (1 - (double)t->mix[i]) * (1 - t->o.label_smoothing);
    double loss = 0;
    for (size_t j = 0; j < n; j++) {
        const double target =
            smooth + ((int32_t)j == t->label_a[i] ? a : 0) + ((int32_t)j == t->label_b[i] ? b : 0);
        loss += target > 0 ? target * (log_sum - (double)z[j]) : 0;
        g[j] += weight * (p[j] - target);
    }
    return weight * loss;
}

static double teacher_loss(const Trainer *t, const float *z, const float *taught, size_t n,
                           double weight, double *p, double *g)
{
    const double temperature = t->o.temperature;
    double *q = p + n, loss = 0;
    const double log_p = soften(z, n, temperature, p);
    const double log_q = soften(taught, n, temperature, q);
    for (size_t j = 0; j < n; j++) {
        loss +=
            q[j] * ((double)taught[j] / temperature - log_q - (double)z[j] / temperature + log_p);
        g[j] += weight * temperature * (p[j] - q[j]);
    }
    return weight * temperature * temperature * loss;
}

static bool is_right(const float *z, size_t n, int32_t label)
{
    size_t best = 0;
    for (size_t j = 1; j < n; j++)
        if (z[j] > z[best])
            best = j;
    return (int32_t)best == label;
}

static void sample_losses(void *arg, size_t begin, size_t end, int thread)
{
    LossArg *a = arg;
    Trainer *t = a->t;
    const size_t n = (size_t)t->scores->dims[1];
    double *p = t->loss_room + (size_t)thread * 3 * n, *g = p + 2 * n;
    for (size_t i = begin; i < end; i++) {
        const float *z = t->scores->data + i * n;
        const bool real = i < t->used, labelled = real && t->label_a[i] >= 0;
        memset(g, 0, n * sizeof *g);
        a->losses[i] = 0;
        a->right[i] = labelled && is_right(z, n, t->label_a[i]);
        if (labelled)
            a->losses[i] += label_loss(t, i, z, n, a->taught ? 1 - t->o.alpha : 1, p, g);
        if (real && a->taught)
            a->losses[i] += teacher_loss(t, z, a->taught + i * n, n, t->o.alpha, p, g);
        for (size_t j = 0; a->grad && j < n; j++)
            t->scores->grad[i * n + j] = (float)(g[j] / (double)t->used);
    }
}

typedef struct FeatureArg {
    Trainer *t;
    const TrainValue *v;
    const float *taught;
    double scale, *sums;
    bool grad;
} FeatureArg;

static void feature_samples(void *arg, size_t begin, size_t end, int thread)
{
    const FeatureArg *a = arg;
    const size_t n = a->v->count / (size_t)a->v->dims[0];
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const bool real = i < a->t->used;
        double sum = 0;
        for (size_t j = i * n; j < (i + 1) * n; j++) {
            const double d = real ? (double)a->v->data[j] - (double)a->taught[j] : 0;
            sum += d * d;
            if (a->grad)
                a->v->grad[j] += (float)(2 * a->scale * d);
        }
        a->sums[i] = sum;
    }
}

static double feature_loss(Trainer *t, size_t i, bool grad)
{
    const TrainValue *v = t->features[i];
    FeatureArg a = {.t = t,
                    .v = v,
                    .taught = ledge__train_taught_feature(t, i),
                    .sums = t->sample_losses,
                    .grad = grad};
    const size_t n = v->count / (size_t)v->dims[0];
    double sum = 0;
    if (!a.taught)
        return 0;
    a.scale = (double)t->o.features[i].weight / ((double)n * (double)t->used);
    ledge__pool_run(t->pool, (size_t)v->dims[0], 1, feature_samples, &a);
    for (size_t s = 0; s < (size_t)v->dims[0]; s++)
        sum += a.sums[s];
    return sum * a.scale;
}

double ledge__train_loss(Trainer *t, bool grad, size_t *right, size_t *labelled)
{
    LossArg a = {.t = t,
                 .taught = t->training ? t->taught : NULL,
                 .grad = grad,
                 .losses = t->sample_losses,
                 .right = t->sample_right};
    double loss = 0;
    *right = *labelled = 0;
    for (size_t i = 0; grad && i < t->o.n_features; i++) /* one may be the scores themselves */
        if (t->features[i]->needs_grad)
            memset(t->features[i]->grad, 0, t->features[i]->count * sizeof(float));
    ledge__pool_run(t->pool, t->o.batch, 8, sample_losses, &a);
    for (size_t i = 0; i < t->used; i++) {
        loss += a.losses[i] / (double)t->used;
        *right += a.right[i];
        *labelled += t->label_a[i] >= 0;
    }
    for (size_t i = 0; t->teacher && t->training && i < t->o.n_features; i++)
        loss += feature_loss(t, i, grad && t->features[i]->needs_grad);
    return loss;
}
