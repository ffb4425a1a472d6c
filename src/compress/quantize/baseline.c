/* The drift baseline, see baseline.h. */
#include "compress/quantize/baseline.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void ledge__baseline_start(LedgeBaselineMaker *m, const LedgeAllocator *a)
{
    *m = (LedgeBaselineMaker){.allocator = a};
}

void ledge__baseline_end(LedgeBaselineMaker *m)
{
    ledge__free(m->allocator, m->classes);
    m->classes = NULL;
}

static void take(LedgeRunning *r, double v)
{
    const double d = v - r->mean;
    r->n += 1;
    r->mean += d / r->n;
    r->m2 += d * (v - r->mean);
}

static double deviation(const LedgeRunning *r)
{
    return r->n > 1 ? sqrt(r->m2 / (r->n - 1)) : 0;
}

/* ---- features ---- */

typedef struct Plane {
    const float *data;
    int64_t h, w, channels, step_x, step_y, step_c;
} Plane;

static bool plane_of(const LedgeTensor *t, Plane *p)
{
    if (t->type != LEDGE_FLOAT || t->rank != 4 || t->dims[0] != 1)
        return false;
    const bool nchw = t->dims[1] == 1 || t->dims[1] == 3;
    const int64_t h = t->dims[nchw ? 2 : 1], w = t->dims[nchw ? 3 : 2];
    const int64_t c = t->dims[nchw ? 1 : 3];
    if ((c != 1 && c != 3) || h < 3 || w < 3)
        return false;
    *p = (Plane){t->data, h, w, c, nchw ? 1 : c, nchw ? w : w * c, nchw ? h * w : 1};
    return true;
}

static double pixel(const Plane *p, int64_t y, int64_t x)
{
    double sum = 0;
    for (int64_t c = 0; c < p->channels; c++)
        sum += (double)p->data[y * p->step_y + x * p->step_x + c * p->step_c];
    return sum / (double)p->channels;
}

bool ledge__picture_features(const LedgeTensor *t, double *brightness, double *contrast,
                             double *sharpness)
{
    Plane p;
    double sum = 0, squares = 0, edges = 0;
    if (!plane_of(t, &p))
        return false;
    const double n = (double)p.h * (double)p.w;
    for (int64_t y = 0; y < p.h; y++)
        for (int64_t x = 0; x < p.w; x++) {
            const double v = pixel(&p, y, x);
            sum += v;
            squares += v * v;
            if (y > 0 && x > 0 && y + 1 < p.h && x + 1 < p.w)
                edges += fabs(v - (pixel(&p, y - 1, x) + pixel(&p, y + 1, x) +
                                   pixel(&p, y, x - 1) + pixel(&p, y, x + 1)) /
                                      4);
        }
    *brightness = sum / n;
    *contrast = sqrt(fmax(squares / n - *brightness * *brightness, 0));
    *sharpness = edges / ((double)(p.h - 2) * (double)(p.w - 2));
    return true;
}

/* ---- answers ---- */

static bool is_scores(const LedgeTensor *t, size_t *classes)
{
    int64_t most = 0;
    for (int32_t i = 0; i < t->rank; i++)
        most = t->dims[i] > most ? t->dims[i] : most;
    *classes = (size_t)most;
    return t->type == LEDGE_FLOAT && most > 1 && most <= LEDGE_BASELINE_MAX_CLASSES &&
           ledge_tensor_count(t) == most;
}

/* The best class's probability: the scores as they are if they sum to 1, else by softmax. */
static double confidence_of(const float *scores, size_t n, size_t best)
{
    double sum = 0, least = INFINITY, exps = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)scores[i];
        least = fmin(least, (double)scores[i]);
        exps += exp((double)scores[i] - (double)scores[best]);
    }
    return least >= 0 && fabs(sum - 1) < 1e-3 ? (double)scores[best] : 1 / exps;
}

static bool add_answer(LedgeBaselineMaker *m, const LedgeTensor *t)
{
    size_t n, best = 0;
    const float *scores = t->data;
    if (!is_scores(t, &n) || (m->classes && n != m->n_classes))
        return true;
    if (!m->classes) {
        m->classes = ledge__calloc(m->allocator, n, sizeof *m->classes);
        m->n_classes = n;
        if (!m->classes)
            return false;
    }
    for (size_t i = 1; i < n; i++)
        best = scores[i] > scores[best] ? i : best;
    const double c = confidence_of(scores, n, best);
    const int bin = (int)(c * LEDGE_BASELINE_CONFIDENCE_BINS);
    if (!isfinite(c))
        return true;
    m->classes[best]++;
    m->confidence[bin < LEDGE_BASELINE_CONFIDENCE_BINS ? bin : LEDGE_BASELINE_CONFIDENCE_BINS - 1]++;
    take(&m->confidence_spread, c);
    return true;
}

bool ledge__baseline_add(LedgeBaselineMaker *m, const LedgeTensor *input,
                         const LedgeTensor *output)
{
    double brightness, contrast, sharpness;
    m->samples++;
    if (ledge__picture_features(input, &brightness, &contrast, &sharpness)) {
        take(&m->brightness, brightness);
        take(&m->contrast, contrast);
        take(&m->sharpness, sharpness);
    }
    return add_answer(m, output);
}

/* ---- JSON ---- */

static json_t *counts_of(const uint64_t *counts, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer((json_int_t)counts[i]));
    return list;
}

static json_t *confidence_json(const LedgeBaselineMaker *m)
{
    json_t *edges = json_array();
    for (int i = 1; i < LEDGE_BASELINE_CONFIDENCE_BINS; i++)
        json_array_append_new(edges, json_real((double)i / LEDGE_BASELINE_CONFIDENCE_BINS));
    return json_pack("{s:f, s:f, s:o, s:o}", "mean", m->confidence_spread.mean, "std",
                     deviation(&m->confidence_spread), "edges", edges, "counts",
                     counts_of(m->confidence, LEDGE_BASELINE_CONFIDENCE_BINS));
}

static json_t *feature_json(const char *name, const LedgeRunning *r)
{
    return json_pack("{s:s, s:f, s:f}", "name", name, "mean", r->mean, "std", deviation(r));
}

char *ledge__baseline_json(const LedgeBaselineMaker *m)
{
    json_t *features = json_array();
    json_t *o = json_pack("{s:i, s:I}", "format", 1, "samples", (json_int_t)m->samples);
    if (m->classes) {
        json_object_set_new(o, "classes", counts_of(m->classes, m->n_classes));
        json_object_set_new(o, "confidence", confidence_json(m));
    }
    if (m->brightness.n > 0) {
        json_array_append_new(features, feature_json("brightness", &m->brightness));
        json_array_append_new(features, feature_json("contrast", &m->contrast));
        json_array_append_new(features, feature_json("sharpness", &m->sharpness));
    }
    json_object_set_new(o, "features", features);
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    json_decref(o);
    return text;
}
