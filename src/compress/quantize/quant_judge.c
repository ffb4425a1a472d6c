/* Judging quantized models, see quant_judge.h. */
#include "compress/quantize/quant_judge.h"

#include <math.h>
#include <string.h>

LedgeStatus ledge__quant_tick(const LedgeQuantTick *t, const char *what, size_t done, size_t total,
                              LedgeError *err)
{
    if (!t || !t->fn || t->fn(t->arg, what, done, total))
        return LEDGE_OK;
    return ledge__fail(err, LEDGE_ERROR_CANCELLED, NULL, "interrupted; nothing was written");
}

int64_t ledge__judge_class(const LedgeTensor *t)
{
    int64_t most = 0, best = 0;
    const float *x = t->data;
    for (int32_t i = 0; i < t->rank; i++)
        most = t->dims[i] > most ? t->dims[i] : most;
    if (t->type != LEDGE_FLOAT || most < 2 || ledge_tensor_count(t) != most)
        return -1;
    for (int64_t i = 1; i < most; i++)
        if (x[i] > x[best] || (isnan(x[best]) && !isnan(x[i])))
            best = i;
    return best;
}

/* ---- keeping samples ---- */

LedgeStatus ledge__judge_new(const LedgeAllocator *a, size_t expected, size_t budget, int threads,
                             LedgeError *err, LedgeJudge **out)
{
    LedgeArena *arena = ledge__arena_new(ledge__allocator_or_default(a));
    LedgeJudge *j = arena ? ledge__arena_alloc(arena, 1, sizeof *j) : NULL;
    if (!j) {
        ledge__arena_free(arena);
        return ledge__no_memory(err);
    }
    *j = (LedgeJudge){.allocator = ledge__allocator_or_default(a),
                      .arena = arena,
                      .budget = budget,
                      .expected = expected,
                      .threads = threads};
    *out = j;
    return LEDGE_OK;
}

void ledge__judge_free(LedgeJudge *j)
{
    if (j)
        ledge__arena_free(j->arena);
}

static size_t bytes_of(const LedgeTensor *t, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t b = ledge_tensor_bytes(&t[i]);
        if (b == SIZE_MAX || !ledge__add(sum, b + LEDGE_ALIGN, &sum))
            return SIZE_MAX;
    }
    return sum;
}

/* NULL: no memory, or a type that is not copied by its bytes. */
static LedgeTensor *copy_tensors(LedgeArena *arena, const LedgeTensor *from, size_t n)
{
    LedgeTensor *to = ledge__arena_alloc(arena, n + 1, sizeof *to);
    for (size_t i = 0; to && i < n; i++) {
        to[i] = from[i];
        to[i].bytes = ledge_tensor_bytes(&from[i]);
        void *data = ledge__arena_aligned(arena, to[i].bytes + 1);
        if (!data)
            return NULL;
        if (to[i].bytes)
            memcpy(data, from[i].data, to[i].bytes);
        to[i].data = data;
    }
    return to;
}

/* Sizes are known with the first sample: so many fit, so every k-th is kept. */
static void plan(LedgeJudge *j, size_t bytes)
{
    const size_t fit = bytes && bytes != SIZE_MAX ? j->budget / bytes : 0;
    j->every = !fit ? SIZE_MAX : (j->expected + fit - 1) / fit;
    j->every = j->every ? j->every : 1;
}

LedgeStatus ledge__judge_add(LedgeJudge *j, const LedgeTensor *inputs, size_t n_inputs,
                             const LedgeTensor *outputs, size_t n_outputs, int32_t label,
                             LedgeError *err)
{
    const size_t in = bytes_of(inputs, n_inputs), out = bytes_of(outputs, n_outputs);
    const size_t bytes = in == SIZE_MAX || out == SIZE_MAX ? SIZE_MAX : in + out;
    if (!j->seen)
        plan(j, bytes);
    /* The first is always kept: a search needs one. Later samples may be larger. */
    const bool keep =
        !j->seen || (j->seen % j->every == 0 && bytes <= j->budget && j->used <= j->budget - bytes);
    j->seen++;
    if (!keep || bytes == SIZE_MAX)
        return LEDGE_OK;
    LedgeJudgeSample *all = ledge__arena_append(j->arena, j->samples, j->n, sizeof *all);
    if (!all)
        return ledge__no_memory(err);
    j->samples = all;
    LedgeJudgeSample *s = &all[j->n];
    *s = (LedgeJudgeSample){.label = label, .best = -1};
    s->inputs = copy_tensors(j->arena, inputs, n_inputs);
    s->outputs = copy_tensors(j->arena, outputs, n_outputs);
    if (!s->inputs || !s->outputs)
        return ledge__no_memory(err);
    s->best = n_outputs ? ledge__judge_class(&s->outputs[0]) : -1;
    j->classifies = s->best >= 0 && (j->classifies || !j->n);
    j->n_labelled += label >= 0;
    j->float_top1 += label >= 0 && s->best == label;
    j->n_inputs = n_inputs;
    j->n_outputs = n_outputs;
    j->used += bytes;
    j->n++;
    return LEDGE_OK;
}

/* ---- scoring ---- */

typedef struct Noise {
    double signal, noise;
    bool broken; /* NaN or infinite answers, or other shapes */
} Noise;

static void add_noise(const LedgeTensor *want, const LedgeTensor *got, Noise *sum)
{
    const int64_t n = ledge_tensor_count(want);
    const float *a = want->data, *b = got->data;
    if (want->type != LEDGE_FLOAT)
        return;
    if (got->type != LEDGE_FLOAT || ledge_tensor_count(got) != n) {
        sum->broken = true;
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        sum->signal += (double)a[i] * (double)a[i];
        sum->noise += d * d;
    }
}

static double decibels(const Noise *n)
{
    if (n->broken || !isfinite(n->noise))
        return -INFINITY;
    if (n->noise == 0)
        return INFINITY;
    return n->signal > 0 ? 10 * log10(n->signal / n->noise) : -INFINITY;
}

static LedgeStatus score_session(const LedgeJudge *j, LedgeSession *session, size_t n,
                                 LedgeError *err, LedgeScore *out)
{
    Noise noise = {0};
    LedgeScore score = {.n = n};
    LedgeTensor *outputs = ledge__calloc(j->allocator, j->n_outputs + 1, sizeof *outputs);
    LedgeStatus status = outputs ? LEDGE_OK : ledge__no_memory(err);
    for (size_t i = 0; i < n && !status; i++) {
        const LedgeJudgeSample *s = &j->samples[i];
        status = ledge_session_run(session, s->inputs, j->n_inputs, outputs, j->n_outputs, err);
        for (size_t k = 0; k < j->n_outputs && !status; k++)
            add_noise(&s->outputs[k], &outputs[k], &noise);
        if (status)
            break;
        const int64_t best = j->classifies ? ledge__judge_class(&outputs[0]) : -1;
        score.agreement += j->classifies && best == s->best;
        score.labelled += s->label >= 0;
        score.top1 += s->label >= 0 && best == s->label;
    }
    ledge__free(j->allocator, outputs);
    score.sqnr_db = decibels(&noise);
    if (!status)
        *out = score;
    return status;
}

LedgeStatus ledge__judge_score_bytes(const LedgeJudge *j, const void *bytes, size_t size,
                                     size_t most, LedgeError *err, LedgeScore *out)
{
    LedgeModel *model = NULL;
    LedgeSession *session = NULL;
    const size_t n = most && most < j->n ? most : j->n;
    const LedgeModelOptions mo = {.allocator = j->allocator};
    const LedgeSessionOptions so = {.threads = j->threads, .allocator = j->allocator};
    LedgeStatus status = ledge_model_load_memory(bytes, size, &mo, err, &model);
    if (!status)
        status = ledge_session_create(model, &so, err, &session);
    if (!status)
        status = score_session(j, session, n, err, out);
    ledge_session_free(session);
    ledge_model_free(model);
    return status;
}

static LedgeStatus build_bytes(const LedgeQuantizer *q, LedgeError *err, void **bytes, size_t *size)
{
    OnnxModel *model = NULL;
    LedgeArena *arena = ledge__arena_new(q->allocator);
    if (!arena)
        return ledge__no_memory(err);
    LedgeStatus status = ledge__quantizer_build(q, arena, err, &model);
    if (!status)
        status = ledge__onnx_write_memory(model, q->allocator, bytes, size, err);
    ledge__arena_free(arena);
    return status;
}

LedgeStatus ledge__judge_score(const LedgeJudge *j, const LedgeQuantizer *q, size_t most,
                               LedgeError *err, LedgeScore *out)
{
    void *bytes = NULL;
    size_t size = 0;
    LEDGE_TRY(build_bytes(q, err, &bytes, &size));
    LedgeStatus status = ledge__judge_score_bytes(j, bytes, size, most, err, out);
    ledge__free(q->allocator, bytes);
    return status;
}

double ledge__judge_drop(const LedgeJudge *j, const LedgeScore *s)
{
    if (s->labelled && j->n_labelled == s->labelled)
        return 100 * ((double)j->float_top1 - (double)s->top1) / (double)s->labelled;
    return s->n ? 100 * (double)(s->n - s->agreement) / (double)s->n : 0;
}

/* ---- values inside ---- */

typedef struct Tap {
    bool is_input;
    size_t index; /* of the model's inputs, or of the run's outputs */
} Tap;

static size_t place_tap(const LedgeGraph *g, const LedgeValue *v, size_t n_extra, Tap *tap)
{
    for (uint32_t i = 0; i < g->n_inputs; i++)
        if (g->inputs[i] == v) {
            *tap = (Tap){true, i};
            return n_extra;
        }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == v) {
            *tap = (Tap){false, i};
            return n_extra;
        }
    *tap = (Tap){false, g->n_outputs + n_extra};
    return n_extra + 1;
}

typedef struct TapRun {
    const LedgeJudge *j;
    Tap *taps;
    size_t n, n_outputs, n_samples;
    LedgeTensor *outputs, *given;
    LedgeTapFn fn;
    void *arg;
} TapRun;

static LedgeStatus tap_samples(TapRun *r, LedgeSession *session, LedgeError *err)
{
    for (size_t i = 0; i < r->n_samples; i++) {
        const LedgeJudgeSample *s = &r->j->samples[i];
        LEDGE_TRY(
            ledge_session_run(session, s->inputs, r->j->n_inputs, r->outputs, r->n_outputs, err));
        for (size_t k = 0; k < r->n; k++)
            r->given[k] =
                r->taps[k].is_input ? s->inputs[r->taps[k].index] : r->outputs[r->taps[k].index];
        LEDGE_TRY(r->fn(r->arg, i, r->given, err));
    }
    return LEDGE_OK;
}

static LedgeStatus tap_bytes(TapRun *r, const void *bytes, size_t size, LedgeError *err)
{
    LedgeModel *model = NULL;
    LedgeSession *session = NULL;
    const LedgeModelOptions mo = {.allocator = r->j->allocator};
    const LedgeSessionOptions so = {.threads = r->j->threads, .allocator = r->j->allocator};
    LedgeStatus status = ledge_model_load_memory(bytes, size, &mo, err, &model);
    if (!status)
        status = ledge_session_create(model, &so, err, &session);
    if (!status) {
        r->n_outputs = ledge_model_output_count(model);
        r->outputs = ledge__calloc(r->j->allocator, r->n_outputs + r->n + 1, sizeof *r->outputs);
        r->given = r->outputs + r->n_outputs;
        status = r->outputs ? tap_samples(r, session, err) : ledge__no_memory(err);
    }
    ledge__free(r->j->allocator, r->outputs);
    ledge_session_free(session);
    ledge_model_free(model);
    return status;
}

LedgeStatus ledge__judge_tap(const LedgeJudge *j, LedgeQuantizer *q, LedgeValue *const *values,
                             size_t n, size_t most, LedgeTapFn fn, void *arg, LedgeError *err)
{
    void *bytes = NULL;
    size_t size = 0, n_extra = 0;
    TapRun r = {.j = j, .n = n, .fn = fn, .arg = arg};
    r.n_samples = most && most < j->n ? most : j->n;
    r.taps = ledge__calloc(j->allocator, n + 1, sizeof *r.taps);
    LedgeValue **extra = ledge__calloc(j->allocator, n + 1, sizeof *extra);
    LedgeStatus status = r.taps && extra ? LEDGE_OK : ledge__no_memory(err);
    for (size_t i = 0; i < n && !status; i++) {
        extra[n_extra] = values[i];
        n_extra = place_tap(q->graph, values[i], n_extra, &r.taps[i]);
    }
    if (!status)
        status = ledge__quantizer_float_model(q, extra, n_extra, err, &bytes, &size);
    if (!status)
        status = tap_bytes(&r, bytes, size, err);
    ledge__free(q->allocator, bytes);
    ledge__free(j->allocator, extra);
    ledge__free(j->allocator, r.taps);
    return status;
}
