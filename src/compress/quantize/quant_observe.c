/* Running the float model on samples while histograms watch its tensors; ranges from them. */
#include "compress/quantize/quant_internal.h"

#include <math.h>
#include <string.h>

#define NO_OUTPUT UINT32_MAX

typedef struct Watch {
    LedgeQuantTensor *tensor;
    bool histogram, means;
    uint32_t output; /* of the run, or NO_OUTPUT: */
    uint32_t input;
} Watch;

struct LedgeQuantRun {
    void *bytes; /* of the float model */
    LedgeModel *model;
    LedgeSession *session;
    LedgePool *pool;
    LedgeTensor *outputs;
    uint32_t n_outputs; /* the model's own, then what is watched */
    Watch *watches;
    uint32_t n_watches;
    const LedgeTensor *inputs; /* of the sample at hand */
};

/* ---- the float model ---- */

static bool is_output(const LedgeGraph *g, const LedgeValue *v, uint32_t *index)
{
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == v) {
            *index = i;
            return true;
        }
    return false;
}

static LedgeStatus add_outputs(OnnxModel *m, LedgeValue *const *extra, size_t n, LedgeError *err)
{
    OnnxGraph *g = &m->graph;
    OnnxValueInfo *all = ledge__arena_alloc(m->arena, g->n_outputs + n, sizeof *all);
    if (!all)
        return ledge__no_memory(err);
    if (g->n_outputs)
        memcpy(all, g->outputs, g->n_outputs * sizeof *all);
    for (size_t i = 0; i < n; i++) {
        OnnxValueInfo *v = &all[g->n_outputs + i];
        v->name = (LedgeStr){extra[i]->name, strlen(extra[i]->name)};
        v->type.kind = ONNX_TYPE_TENSOR;
        v->type.elem_type = (int32_t)extra[i]->t.type;
    }
    g->outputs = all;
    g->n_outputs += n;
    return LEDGE_OK;
}

static LedgeStatus export_float(LedgeQuantizer *q, LedgeArena *arena, LedgeValue *const *extra,
                                size_t n_extra, LedgeError *err, void **bytes, size_t *size)
{
    OnnxModel m = *q->onnx;
    m.arena = arena;
    m.ir_version = q->ir_version;
    m.opsets = ledge__arena_alloc(arena, m.n_opsets + 1, sizeof *m.opsets);
    if (!m.opsets)
        return ledge__no_memory(err);
    memcpy(m.opsets, q->onnx->opsets, m.n_opsets * sizeof *m.opsets);
    for (size_t i = 0; i < m.n_opsets; i++)
        if (m.opsets[i].domain.n == 0 || ledge__str_eq(m.opsets[i].domain, "ai.onnx"))
            m.opsets[i].version = q->opset;
    LEDGE_TRY(ledge__graph_export(q->graph, &m, err));
    LEDGE_TRY(add_outputs(&m, extra, n_extra, err));
    return ledge__onnx_write_memory(&m, q->allocator, bytes, size, err);
}

LedgeStatus ledge__quantizer_float_model(LedgeQuantizer *q, LedgeValue *const *extra,
                                         size_t n_extra, LedgeError *err, void **bytes,
                                         size_t *size)
{
    LedgeArena *arena = ledge__arena_new(q->allocator);
    if (!arena)
        return ledge__no_memory(err);
    const LedgeStatus s = export_float(q, arena, extra, n_extra, err, bytes, size);
    ledge__arena_free(arena);
    return s;
}

/* ---- starting ---- */

/* Some Conv or Gemm on integers reads it: their biases are corrected by its means. */
static bool feeds_layer(const LedgeQuantizer *q, const LedgeValue *v)
{
    for (const LedgeUse *u = v->uses; u; u = u->next) {
        const LedgeQuantNode *n = ledge__quantizer_node(q, u->node);
        if (n && n->role == LEDGE_QUANT_WEIGHTED && n->integer && u == &u->node->in[0] &&
            !ledge__node_is(u->node, "MatMul"))
            return true;
    }
    return false;
}

static LedgeStatus prepare_tensor(LedgeQuantizer *q, LedgeQuantTensor *t, LedgeError *err)
{
    if (!t->observer)
        t->observer = ledge__arena_alloc(q->arena, 1, sizeof *t->observer);
    if (!t->observer)
        return ledge__no_memory(err);
    ledge__observer_start(t->observer, true);
    t->mean_sum = NULL;
    t->mean_count = 0;
    return LEDGE_OK;
}

static LedgeStatus make_watches(LedgeQuantizer *q, LedgeError *err, LedgeValue **extra,
                                size_t *n_extra)
{
    struct LedgeQuantRun *r = q->run;
    *n_extra = 0;
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        LedgeQuantTensor *t = &q->tensors[i];
        Watch w = {.tensor = t, .output = NO_OUTPUT, .histogram = t->quantized};
        if (ledge__value_is_constant(t->value))
            continue;
        w.means = feeds_layer(q, t->value);
        if (!w.histogram && !w.means)
            continue;
        if (t->value->is_input) {
            while (q->graph->inputs[w.input] != t->value)
                w.input++;
        } else if (!is_output(q->graph, t->value, &w.output)) {
            w.output = q->graph->n_outputs + (uint32_t)*n_extra;
            extra[(*n_extra)++] = t->value;
        }
        LEDGE_TRY(prepare_tensor(q, t, err));
        r->watches[r->n_watches++] = w;
    }
    return LEDGE_OK;
}

static LedgeStatus load(LedgeQuantizer *q, size_t size, LedgeError *err)
{
    struct LedgeQuantRun *r = q->run;
    const LedgeModelOptions mo = {.allocator = q->allocator};
    const LedgeSessionOptions so = {.threads = q->o.threads, .allocator = q->allocator};
    LEDGE_TRY(ledge_model_load_memory(r->bytes, size, &mo, err, &r->model));
    LEDGE_TRY(ledge_session_create(r->model, &so, err, &r->session));
    LEDGE_TRY(ledge__pool_new(q->allocator, q->o.threads, &r->pool));
    r->n_outputs = (uint32_t)ledge_model_output_count(r->model);
    r->outputs = ledge__calloc(q->allocator, r->n_outputs, sizeof *r->outputs);
    return r->outputs ? LEDGE_OK : ledge__no_memory(err);
}

static LedgeStatus start(LedgeQuantizer *q, LedgeValue **extra, LedgeError *err)
{
    size_t n_extra, size;
    struct LedgeQuantRun *r = q->run;
    r->watches = ledge__calloc(q->allocator, (size_t)q->n_tensors + 1, sizeof *r->watches);
    if (!r->watches)
        return ledge__no_memory(err);
    LEDGE_TRY(make_watches(q, err, extra, &n_extra));
    LEDGE_TRY(ledge__quantizer_float_model(q, extra, n_extra, err, &r->bytes, &size));
    return load(q, size, err);
}

LedgeStatus ledge__quantizer_observe_start(LedgeQuantizer *q, LedgeError *err)
{
    ledge__quantizer_observe_end(q);
    q->samples = 0;
    q->has_ranges = false;
    q->run = ledge__calloc(q->allocator, 1, sizeof *q->run);
    LedgeValue **extra = ledge__calloc(q->allocator, (size_t)q->n_tensors + 1, sizeof *extra);
    LedgeStatus s = q->run && extra ? start(q, extra, err) : ledge__no_memory(err);
    ledge__free(q->allocator, extra);
    if (s)
        ledge__quantizer_observe_end(q);
    return s;
}

void ledge__quantizer_observe_end(LedgeQuantizer *q)
{
    struct LedgeQuantRun *r = q->run;
    if (!r)
        return;
    ledge_session_free(r->session);
    ledge_model_free(r->model);
    ledge__pool_free(r->pool);
    ledge__free(q->allocator, r->outputs);
    ledge__free(q->allocator, r->watches);
    ledge__free(q->allocator, r->bytes);
    ledge__free(q->allocator, r);
    q->run = NULL;
}

const LedgeModel *ledge__quantizer_model(const LedgeQuantizer *q)
{
    return q->run ? q->run->model : NULL;
}

/* ---- one sample ---- */

static const LedgeTensor *tensor_of(const struct LedgeQuantRun *r, const Watch *w)
{
    return w->output == NO_OUTPUT ? &r->inputs[w->input] : &r->outputs[w->output];
}

static double sum_of(const float *x, int64_t n)
{
    float lanes[16] = {0};
    double sum = 0;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 16; j++)
            lanes[j] += x[i + j];
        if ((i & 0xfff0) == 0xfff0) /* before float sums lose small values */
            for (int j = 0; j < 16; j++) {
                sum += (double)lanes[j];
                lanes[j] = 0;
            }
    }
    for (int j = 0; j < 16; j++)
        sum += (double)lanes[j];
    for (; i < n; i++)
        sum += (double)x[i];
    return sum;
}

static void add_means(LedgeQuantTensor *to, const LedgeTensor *t)
{
    int64_t inner = 1;
    for (int32_t d = 2; d < t->rank; d++)
        inner *= t->dims[d];
    const float *x = t->data;
    for (int64_t b = 0; b < t->dims[0]; b++)
        for (int64_t c = 0; c < to->n_means; c++, x += inner)
            to->mean_sum[c] += sum_of(x, inner);
    to->mean_count += (uint64_t)(t->dims[0] * inner);
}

static void watch_some(void *arg, size_t begin, size_t end, int thread)
{
    struct LedgeQuantRun *r = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const Watch *w = &r->watches[i];
        const LedgeTensor *t = tensor_of(r, w);
        const int64_t n = ledge_tensor_count(t);
        if (n > 0 && w->histogram)
            ledge__observer_add(w->tensor->observer, t->data, (size_t)n);
        if (n > 0 && w->means && w->tensor->mean_sum)
            add_means(w->tensor, t);
    }
}

/* Memory for sums, at the first sample: only then are the channels known for sure. */
static LedgeStatus make_sums(LedgeQuantizer *q, LedgeError *err)
{
    struct LedgeQuantRun *r = q->run;
    for (uint32_t i = 0; i < r->n_watches; i++) {
        const Watch *w = &r->watches[i];
        const LedgeTensor *t = tensor_of(r, w);
        LedgeQuantTensor *to = w->tensor;
        memcpy(to->dims, t->dims, sizeof to->dims);
        if (!w->means || t->rank < 2 || (to->mean_sum && to->n_means == t->dims[1]))
            continue;
        to->n_means = t->dims[1];
        to->mean_count = 0;
        to->mean_sum = ledge__arena_alloc(q->arena, (size_t)to->n_means, sizeof *to->mean_sum);
        if (!to->mean_sum)
            return ledge__no_memory(err);
    }
    return LEDGE_OK;
}

static LedgeStatus check_finite(const LedgeQuantizer *q, LedgeError *err)
{
    for (uint32_t i = 0; i < q->run->n_watches; i++) {
        const LedgeQuantTensor *t = q->run->watches[i].tensor;
        const LedgeNode *by = t->value->producer;
        bool lost = t->observer->nan || t->observer->infinite;
        for (int64_t c = 0; t->mean_sum && c < t->n_means; c++)
            lost |= !isfinite(t->mean_sum[c]);
        if (lost)
            return ledge__fail(err, LEDGE_ERROR_RUNTIME, t->value->name,
                               "%s in this tensor%s%s%s: the float model itself fails here, look at "
                               "its input and at the layer",
                               t->observer->infinite ? "an infinity" : "NaN", by ? " (made by " : "",
                               by ? by->op_type : "", by ? ")" : "");
    }
    return LEDGE_OK;
}

/* x * 0 is 0 for finite values and NaN for all others. */
static LedgeStatus check_inputs(const LedgeQuantizer *q, const LedgeTensor *inputs, size_t n,
                                LedgeError *err)
{
    for (size_t i = 0; i < n; i++) {
        const float *x = inputs[i].data;
        const int64_t count = inputs[i].type == LEDGE_FLOAT ? ledge_tensor_count(&inputs[i]) : 0;
        float odd = 0;
        for (int64_t k = 0; k < count; k++)
            odd += x[k] * 0.0f;
        if (odd != 0 || isnan(odd))
            return ledge__fail(err, LEDGE_ERROR_FORMAT, ledge_model_input(q->run->model, i)->name,
                               "this input holds NaN or an infinity");
    }
    return LEDGE_OK;
}

LedgeStatus ledge__quantizer_observe(LedgeQuantizer *q, const LedgeTensor *inputs, size_t n_inputs,
                                     LedgeError *err, const LedgeTensor **outputs)
{
    struct LedgeQuantRun *r = q->run;
    if (!r)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL, "observation was not started");
    LEDGE_TRY(check_inputs(q, inputs, n_inputs, err));
    LEDGE_TRY(ledge_session_run(r->session, inputs, n_inputs, r->outputs, r->n_outputs, err));
    r->inputs = inputs;
    LEDGE_TRY(make_sums(q, err));
    ledge__pool_run(r->pool, r->n_watches, 1, watch_some, r);
    q->samples++;
    if (outputs)
        *outputs = r->outputs;
    return check_finite(q, err);
}

/* ---- ranges ---- */

static void constant_range(LedgeQuantTensor *t)
{
    const int64_t n = ledge_tensor_count(&t->value->t);
    t->seen_lo = t->seen_hi = 0;
    for (int64_t i = 0; i < n; i++) {
        const float v = (float)ledge__value_as_double(t->value, i);
        t->seen_lo = v < t->seen_lo ? v : t->seen_lo;
        t->seen_hi = v > t->seen_hi ? v : t->seen_hi;
    }
}

static LedgeStatus seen_range(const LedgeQuantizer *q, LedgeQuantTensor *t, LedgeError *err)
{
    if (ledge__value_is_constant(t->value)) {
        constant_range(t);
        return LEDGE_OK;
    }
    if (t->observer && q->samples && !t->observer->count) { /* it had no elements */
        t->seen_lo = t->seen_hi = 0;
        return LEDGE_OK;
    }
    if (!t->observer || !t->observer->count)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, t->value->name,
                           "no sample was seen for this tensor");
    ledge__observer_range(t->observer, q->o.calibrator, q->o.percentile, q->symmetric, &t->seen_lo,
                          &t->seen_hi);
    return LEDGE_OK;
}

/* Nothing but zeros: any scale will do. Below 2^-100 products of scales would vanish. */
static float scale_of(double span, int levels)
{
    const double scale = span / levels;
    return scale > 0x1p-100 ? (float)scale : span > 0 ? 0x1p-100f : 1.0f;
}

static void set_scale(const LedgeQuantizer *q, LedgeQuantTensor *t)
{
    if (q->symmetric) {
        t->scale = scale_of(fmax(-(double)t->lo, (double)t->hi), q->high);
        t->zero = 0;
        return;
    }
    t->scale = scale_of((double)t->hi - (double)t->lo, q->high);
    const double zero = nearbyint(-(double)t->lo / (double)t->scale);
    t->zero = zero < 0 ? 0 : zero > q->high ? q->high : (int32_t)zero;
}

LedgeStatus ledge__quantizer_ranges(LedgeQuantizer *q, LedgeError *err)
{
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        LedgeQuantTensor *t = &q->tensors[i];
        t->lo = t->hi = 0;
        if (t->quantized)
            LEDGE_TRY(seen_range(q, t, err));
    }
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        const LedgeQuantTensor *t = &q->tensors[i];
        LedgeQuantTensor *root = &q->tensors[t->tied];
        if (!t->quantized)
            continue;
        root->lo = t->seen_lo < root->lo ? t->seen_lo : root->lo;
        root->hi = t->seen_hi > root->hi ? t->seen_hi : root->hi;
    }
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        LedgeQuantTensor *t = &q->tensors[i];
        t->lo = q->tensors[t->tied].lo;
        t->hi = q->tensors[t->tied].hi;
        if (t->quantized)
            set_scale(q, t);
    }
    q->has_ranges = true;
    return LEDGE_OK;
}
