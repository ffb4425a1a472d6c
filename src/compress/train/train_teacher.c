/* The teacher: a session of any model, run on the batch that the student is about to see. */
#include <math.h>
#include <string.h>

#include "compress/train/train_internal.h"

struct TrainTeacher {
    LedgeSession *session;
    LedgePixels px;
    size_t h, w, c;
    size_t at_once; /* samples in a run: the batch, or 1 where the model fixes that */
    float *input;   /* of at_once samples */
    LedgeTensor *outputs;
    size_t n_outputs;
    float *scores; /* [batch][classes] */
    size_t *feature_output;
    float **features; /* as the student's lie */
};

void ledge__train_teacher_free(Trainer *t)
{
    if (t->teacher)
        ledge_session_free(t->teacher->session);
    t->teacher = NULL;
    t->taught = NULL;
}

const float *ledge__train_taught_feature(const Trainer *t, size_t i)
{
    return t->teacher ? t->teacher->features[i] : NULL;
}

/* ---- making ---- */

static LedgeStatus find_features(Trainer *t, TrainTeacher *c, const LedgeModel *m, LedgeError *err)
{
    for (size_t i = 0; i < t->o.n_features; i++) {
        size_t k = 0;
        while (k < c->n_outputs &&
               strcmp(ledge_model_output(m, k)->name, t->o.features[i].teacher) != 0)
            k++;
        if (k == c->n_outputs)
            return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, t->o.features[i].teacher,
                               "the teacher gives no tensor of this name");
        c->feature_output[i] = k;
        c->features[i] = ledge__arena_aligned(t->arena, t->features[i]->count * sizeof(float));
        if (!c->features[i])
            return ledge__no_memory(err);
    }
    return LEDGE_OK;
}

static LedgeStatus check_input(TrainTeacher *c, const LedgeTrainer *t, const LedgeModel *m,
                               const char *preprocess, const LedgeTrainData *data, LedgeError *err)
{
    LedgePreprocess pre;
    const LedgeTensorInfo *in = ledge_model_input(m, 0);
    if (ledge_model_input_count(m) != 1)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, in ? in->name : "",
                           "a teacher takes one picture; this one has %zu inputs",
                           ledge_model_input_count(m));
    LEDGE_TRY(ledge__preprocess_for_model(m, 0, preprocess, err, &pre, NULL));
    ledge__preprocess_pixels(&pre, &c->px);
    ledge__train_data_size(data, &c->h, &c->w, &c->c);
    const int first = c->px.channels_last ? 1 : 2;
    const int64_t h = in->dims[first], w = in->dims[first + 1];
    const int64_t depth = in->dims[c->px.channels_last ? 3 : 1];
    if (in->rank != 4 || (h > 0 && h != (int64_t)c->h) || (w > 0 && w != (int64_t)c->w) ||
        (depth > 0 && depth != (int64_t)c->c))
        return ledge__fail(err, LEDGE_ERROR_SHAPE, in->name,
                           "the teacher takes other pictures than the student's %zux%zu of %zu "
                           "channels",
                           c->w, c->h, c->c);
    c->at_once = in->dims[0] == 1 ? 1 : t->o.batch;
    if (in->dims[0] > 1 && in->dims[0] != (int64_t)t->o.batch)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, in->name,
                           "the teacher takes batches of %lld; train with that batch",
                           (long long)in->dims[0]);
    return LEDGE_OK;
}

static LedgeStatus make_room(Trainer *t, TrainTeacher *c, const LedgeModel *m, LedgeError *err)
{
    c->n_outputs = ledge_model_output_count(m);
    c->input = ledge__arena_aligned(t->arena, c->at_once * c->h * c->w * c->c * sizeof(float));
    c->outputs = ledge__arena_alloc(t->arena, c->n_outputs + 1, sizeof *c->outputs);
    c->scores = ledge__arena_aligned(t->arena, t->scores->count * sizeof(float));
    c->feature_output = ledge__arena_alloc(t->arena, t->o.n_features + 1, sizeof(size_t));
    c->features = ledge__arena_alloc(t->arena, t->o.n_features + 1, sizeof(float *));
    if (!c->input || !c->outputs || !c->scores || !c->feature_output || !c->features)
        return ledge__no_memory(err);
    return find_features(t, c, m, err);
}

LedgeStatus ledge__trainer_set_teacher(LedgeTrainer *t, LedgeModel *teacher, const char *preprocess,
                                       const LedgeTrainData *data, LedgeError *err)
{
    TrainTeacher *c = ledge__arena_alloc(t->arena, 1, sizeof *c);
    const LedgeSessionOptions so = {.threads = t->o.threads};
    if (!c)
        return ledge__no_memory(err);
    LEDGE_TRY(check_input(c, t, teacher, preprocess, data, err));
    LEDGE_TRY(make_room(t, c, teacher, err));
    LEDGE_TRY(ledge_session_create(teacher, &so, err, &c->session));
    ledge__train_teacher_free(t);
    t->teacher = c;
    t->taught = c->scores;
    memset(t->pixels, 0, t->pixel_floats * sizeof(float));
    t->used = t->o.batch;
    const LedgeStatus s = ledge__train_teach(t, err); /* whether shapes fit shows here */
    if (s)
        ledge__train_teacher_free(t);
    return s;
}

/* ---- teaching ---- */

void ledge__train_prepare(const LedgePixels *px, size_t h, size_t w, size_t c, const float *pixels,
                          size_t n, float *to)
{
    const size_t area = h * w;
    for (size_t k = 0; k < c; k++) {
        const size_t from = px->reversed ? c - 1 - k : k;
        const float scale = (float)(px->scale / px->std[k]);
        const float shift = (float)(-px->mean[k] / px->std[k]);
        for (size_t i = 0; i < n; i++)
            for (size_t p = 0; p < area; p++)
                to[px->channels_last ? (i * area + p) * c + k : (i * c + k) * area + p] =
                    pixels[(i * area + p) * c + from] * scale + shift;
    }
}

/* A model that ends in Softmax gives probabilities; their logarithms serve as scores. */
static void probabilities_to_scores(float *z, size_t rows, size_t n)
{
    for (size_t i = 0; i < rows; i++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++)
            sum = z[i * n + j] >= 0 ? sum + (double)z[i * n + j] : INFINITY;
        if (!(fabs(sum - 1) < 1e-3))
            return;
    }
    for (size_t i = 0; i < rows * n; i++)
        z[i] = logf(fmaxf(z[i], 1e-9f));
}

static LedgeStatus take_feature(Trainer *t, size_t i, size_t first, LedgeError *err)
{
    const TrainTeacher *c = t->teacher;
    const LedgeTensor *from = &c->outputs[c->feature_output[i]];
    const TrainValue *v = t->features[i];
    const size_t each = v->count / (size_t)v->dims[0];
    bool same = from->type == LEDGE_FLOAT && from->rank == v->rank;
    for (int32_t d = 1; same && d < v->rank; d++)
        same = from->dims[d] == v->dims[d];
    if (!same)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, t->o.features[i].teacher,
                           "the teacher's tensor is of another shape than the student's '%s'",
                           v->name);
    const float *x = from->data;
    float *to = c->features[i] + first * each;
    if (!v->nhwc) {
        memcpy(to, x, c->at_once * each * sizeof(float));
        return LEDGE_OK;
    }
    const size_t channels = (size_t)v->dims[1], area = each / channels;
    for (size_t n = 0; n < c->at_once; n++)
        for (size_t k = 0; k < channels; k++)
            for (size_t p = 0; p < area; p++)
                to[(n * area + p) * channels + k] = x[(n * channels + k) * area + p];
    return LEDGE_OK;
}

static LedgeStatus teach_some(Trainer *t, size_t first, LedgeError *err)
{
    TrainTeacher *c = t->teacher;
    const size_t classes = (size_t)t->scores->dims[1], size = c->h * c->w * c->c;
    LedgeTensor in = {.type = LEDGE_FLOAT, .rank = 4, .data = c->input};
    in.dims[0] = (int64_t)c->at_once;
    in.dims[1] = (int64_t)(c->px.channels_last ? c->h : c->c);
    in.dims[2] = (int64_t)(c->px.channels_last ? c->w : c->h);
    in.dims[3] = (int64_t)(c->px.channels_last ? c->c : c->w);
    in.bytes = c->at_once * size * sizeof(float);
    ledge__train_prepare(&c->px, c->h, c->w, c->c, t->pixels + first * size, c->at_once, c->input);
    memset(c->outputs, 0, c->n_outputs * sizeof *c->outputs);
    LEDGE_TRY(ledge_session_run(c->session, &in, 1, c->outputs, c->n_outputs, err));
    if (c->outputs[0].type != LEDGE_FLOAT ||
        ledge_tensor_count(&c->outputs[0]) != (int64_t)(c->at_once * classes))
        return ledge__fail(err, LEDGE_ERROR_SHAPE, "",
                           "the teacher's first output is no row of %zu scores for each picture, "
                           "as the student's is",
                           classes);
    float *to = c->scores + first * classes;
    memcpy(to, c->outputs[0].data, c->at_once * classes * sizeof(float));
    probabilities_to_scores(to, c->at_once, classes);
    for (size_t i = 0; i < t->o.n_features; i++)
        LEDGE_TRY(take_feature(t, i, first, err));
    return LEDGE_OK;
}

LedgeStatus ledge__train_teach(Trainer *t, LedgeError *err)
{
    for (size_t i = 0; i < t->o.batch; i += t->teacher->at_once)
        LEDGE_TRY(teach_some(t, i, err));
    return LEDGE_OK;
}
