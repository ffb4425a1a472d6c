/* The small operators of ai.onnx.ml: picking, scaling, encoding, and linear models. Numbers are
 * computed in double and rounded once. */
#include "engine/ops/value/ml.h"

#include <math.h>

/* ---- shared ---- */

LedgeStatus ledge__post_transform(LedgeOpCtx *c, LedgePost *out)
{
    static const char *const names[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
    const char *name = ledge__node_string(c->node, "post_transform", "NONE");
    for (int i = 0; i < 5; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (LedgePost)i;
            return LEDGE_OK;
        }
    return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "post_transform %s", name);
}

double ledge__logistic(double x)
{
    double v = 1 / (1 + exp(-fabs(x)));
    return x < 0 ? 1 - v : v;
}

/* Winitzki's approximation of the inverse error function, which the operators are defined by. */
static double probit(double x)
{
    double v = 2 * x - 1, sign = v < 0 ? -1 : 1, rest = (1 - v) * (1 + v);
    if (rest == 0)
        return 0;
    double l = log(rest), a = 2 / (3.14159265358979 * 0.147) + 0.5 * l;
    return 1.41421356 * sign * sqrt(-a + sqrt(a * a - l / 0.147));
}

/* With `keep_zero`, scores of 0 stay (nearly) 0. */
static void softmax(double *s, int64_t n, bool keep_zero)
{
    double most = s[0], sum = 0;
    for (int64_t i = 1; i < n; i++)
        most = s[i] > most ? s[i] : most;
    for (int64_t i = 0; i < n; i++) {
        if (keep_zero && fabs(s[i]) <= 1e-7)
            s[i] *= exp(-most);
        else
            s[i] = exp(s[i] - most);
        sum += s[i];
    }
    for (int64_t i = 0; i < n; i++)
        s[i] = sum == 0 ? 0.5 : s[i] / sum;
}

void ledge__post_apply(LedgePost how, double *scores, int64_t n)
{
    if (n > 0 && (how == LEDGE_POST_SOFTMAX || how == LEDGE_POST_SOFTMAX_ZERO))
        softmax(scores, n, how == LEDGE_POST_SOFTMAX_ZERO);
    for (int64_t i = 0; i < n; i++) {
        if (how == LEDGE_POST_LOGISTIC)
            scores[i] = ledge__logistic(scores[i]);
        else if (how == LEDGE_POST_PROBIT)
            scores[i] = probit(scores[i]);
    }
}

LedgeStatus ledge__labels(LedgeOpCtx *c, const char *ints, const char *strings, LedgeLabels *out)
{
    const LedgeAttr *s = ledge__node_attr(c->node, strings);
    *out = (LedgeLabels){.type = LEDGE_INT64};
    out->ints = ledge__node_ints(c->node, ints, &out->count);
    if (s && s->count) {
        out->type = LEDGE_STRING;
        out->strings = s->strings;
        out->count = s->count;
        out->ints = NULL;
    }
    if (out->count == 0)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the class labels are missing");
    return LEDGE_OK;
}

void ledge__label_set(const LedgeLabels *labels, LedgeTensor *out, int64_t i, int64_t k)
{
    if (!out)
        return;
    if (labels->type == LEDGE_STRING)
        ((LedgeString *)out->data)[i] = labels->strings[k];
    else
        ((int64_t *)out->data)[i] = labels->ints[k];
}

LedgeStatus ledge__ml_matrix(LedgeOpCtx *c, int64_t *rows, int64_t *columns)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    *rows = *columns = -1;
    if (in->rank < 0)
        return LEDGE_OK;
    if (in->rank != 1 && in->rank != 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 has %d dimensions, must have 1 or 2",
                              in->rank);
    *rows = in->rank == 2 ? in->dims[0] : 1;
    *columns = in->dims[in->rank - 1];
    return LEDGE_OK;
}

/* ---- ArrayFeatureExtractor, Binarizer ---- */

static LedgeStatus infer_extract(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
    const LedgeTensor *in = c->in[0], *at = c->in[1];
    if (in->rank < 0)
        return ledge__out_unknown(c, 0, in->type);
    if (in->rank < 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 needs a dimension");
    memcpy(dims, in->dims, sizeof dims);
    dims[0] = in->rank == 1 ? 1 : dims[0];
    int32_t rank = in->rank == 1 ? 2 : in->rank;
    dims[rank - 1] = at->rank < 0 ? -1 : ledge_tensor_count(at);
    ledge__op_set_out(c, 0, in->type, rank, dims);
    return LEDGE_OK;
}

static LedgeStatus run_extract(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    int64_t n = in->dims[in->rank - 1], count = ledge_tensor_count(c->in[1]);
    int64_t rows = ledge__dims_product(in->dims, 0, in->rank - 1);
    size_t size;
    LEDGE_TRY(ledge__element_size(c, in, &size));
    for (int64_t k = 0; k < count; k++) {
        int64_t v = ledge__index_at(c->in[1], k);
        if (v < 0 || v >= n)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME,
                                  "index %lld is outside a dimension of %lld elements",
                                  (long long)v, (long long)n);
        for (int64_t r = 0; r < rows; r++)
            memcpy((char *)c->out[0]->data + (size_t)(r * count + k) * size,
                   (const char *)in->data + (size_t)(r * n + v) * size, size);
    }
    return LEDGE_OK;
}

static LedgeStatus infer_same(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    ledge__op_set_out(c, 0, c->in[0]->type, c->in[0]->rank, c->in[0]->dims);
    return LEDGE_OK;
}

static LedgeStatus infer_same_float(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    ledge__op_set_out(c, 0, LEDGE_FLOAT, c->in[0]->rank, c->in[0]->dims);
    return LEDGE_OK;
}

static LedgeStatus need_number(LedgeOpCtx *c, uint32_t i)
{
    LedgeType t = c->in[i]->type;
    if (t != LEDGE_FLOAT && t != LEDGE_DOUBLE && t != LEDGE_INT64 && t != LEDGE_INT32 &&
        t != LEDGE_FLOAT16)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "input %u is %s", i, ledge_type_name(t));
    return LEDGE_OK;
}

static LedgeStatus run_binarizer(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    double threshold = ledge__node_float(c->node, "threshold", 0);
    int64_t n = ledge_tensor_count(in);
    LEDGE_TRY(need_number(c, 0));
    for (int64_t i = 0; i < n; i++)
        ledge__number_set(in->type, c->out[0]->data, i,
                          ledge__number_at(in->type, in->data, i) > threshold);
    return LEDGE_OK;
}

/* ---- Scaler, Normalizer, Imputer ---- */

static LedgeStatus run_scaler(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    size_t n_scale = 0, n_offset = 0;
    const float *scale = ledge__node_floats(c->node, "scale", &n_scale);
    const float *offset = ledge__node_floats(c->node, "offset", &n_offset);
    int64_t total = ledge_tensor_count(in), n = in->rank ? in->dims[in->rank - 1] : 1;
    LEDGE_TRY(need_number(c, 0));
    if ((n_scale > 1 && n_scale != (size_t)n) || (n_offset > 1 && n_offset != (size_t)n))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "scale and offset do not fit %lld features",
                              (long long)n);
    for (int64_t i = 0; i < total; i++) {
        double v = ledge__number_at(in->type, in->data, i);
        v -= n_offset ? offset[n_offset == 1 ? 0 : i % n] : 0;
        v *= n_scale ? scale[n_scale == 1 ? 0 : i % n] : 1;
        ledge__number_set(LEDGE_FLOAT, c->out[0]->data, i, v);
    }
    return LEDGE_OK;
}

static LedgeStatus run_normalizer(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    const char *norm = ledge__node_string(c->node, "norm", "MAX");
    bool max = strcmp(norm, "MAX") == 0, l1 = strcmp(norm, "L1") == 0;
    int64_t total = ledge_tensor_count(in), n = in->rank ? in->dims[in->rank - 1] : 1;
    LEDGE_TRY(need_number(c, 0));
    if (!max && !l1 && strcmp(norm, "L2") != 0)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "norm %s", norm);
    for (int64_t row = 0; row < total; row += n) {
        double size = 0;
        for (int64_t i = row; i < row + n; i++) {
            double v = fabs(ledge__number_at(in->type, in->data, i));
            size = max ? (v > size ? v : size) : size + (l1 ? v : v * v);
        }
        size = !max && !l1 ? sqrt(size) : size;
        for (int64_t i = row; i < row + n; i++)
            ledge__number_set(LEDGE_FLOAT, c->out[0]->data, i,
                              ledge__number_at(in->type, in->data, i) / (size > 0 ? size : 1));
    }
    return LEDGE_OK;
}

static LedgeStatus run_imputer(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    size_t n_floats = 0, n_ints = 0;
    const float *floats = ledge__node_floats(c->node, "imputed_value_floats", &n_floats);
    const int64_t *ints = ledge__node_ints(c->node, "imputed_value_int64s", &n_ints);
    size_t count = n_floats ? n_floats : n_ints;
    int64_t total = ledge_tensor_count(in), n = in->rank ? in->dims[in->rank - 1] : 1;
    double what = n_floats ? (double)ledge__node_float(c->node, "replaced_value_float", 0)
                           : (double)ledge__node_int(c->node, "replaced_value_int64", 0);
    LEDGE_TRY(need_number(c, 0));
    if (count != 1 && count != (size_t)n)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%zu imputed values for %lld features", count,
                              (long long)n);
    ledge__move_bytes(c->out[0]->data, in->data, ledge_tensor_bytes(in));
    for (int64_t i = 0; i < total; i++) {
        double v = ledge__number_at(in->type, in->data, i);
        size_t k = count == 1 ? 0 : (size_t)(i % n);
        if (v == what || (v != v && what != what))
            ledge__number_set(in->type, c->out[0]->data, i,
                              n_floats ? (double)floats[k] : (double)ints[k]);
    }
    return LEDGE_OK;
}

/* ---- OneHotEncoder, FeatureVectorizer ---- */

static LedgeStatus get_categories(LedgeOpCtx *c, LedgeLabels *cats)
{
    return ledge__labels(c, "cats_int64s", "cats_strings", cats);
}

static LedgeStatus infer_one_hot_encoder(LedgeOpCtx *c)
{
    LedgeLabels cats;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    LEDGE_TRY(get_categories(c, &cats));
    const LedgeTensor *in = c->in[0];
    LEDGE_TRY(ledge__out_rank(c, 0, LEDGE_FLOAT, in->rank < 0 ? -1 : in->rank + 1));
    if (in->rank < 0)
        return LEDGE_OK;
    memcpy(dims, in->dims, (size_t)in->rank * sizeof *dims);
    dims[in->rank] = (int64_t)cats.count;
    LEDGE_TRY(ledge__check_dims(c, in->rank + 1, dims));
    ledge__op_set_out(c, 0, LEDGE_FLOAT, in->rank + 1, dims);
    return LEDGE_OK;
}

static bool is_category(const LedgeLabels *cats, const LedgeTensor *in, int64_t i, size_t k)
{
    if (in->type == LEDGE_STRING) {
        LedgeString s = ((const LedgeString *)in->data)[i], t = cats->strings[k];
        return s.size == t.size && (s.size == 0 || memcmp(s.data, t.data, s.size) == 0);
    }
    double v = ledge__number_at(in->type, in->data, i);
    return trunc(v) == (double)cats->ints[k];
}

static LedgeStatus run_one_hot_encoder(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    LedgeLabels cats;
    float *out = c->out[0]->data;
    int64_t n = ledge_tensor_count(in);
    LEDGE_TRY(get_categories(c, &cats));
    if ((in->type == LEDGE_STRING) != (cats.type == LEDGE_STRING))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "the categories are not of type %s",
                              ledge_type_name(in->type));
    for (int64_t i = 0; i < n; i++) {
        bool found = false;
        for (size_t k = 0; k < cats.count; k++) {
            bool hit = !found && is_category(&cats, in, i, k);
            *out++ = hit ? 1.0f : 0.0f;
            found = found || hit;
        }
        if (!found && ledge__node_int(c->node, "zeros", 1) == 0)
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "element %lld is in no category",
                                  (long long)i);
    }
    return LEDGE_OK;
}

static LedgeStatus infer_features(LedgeOpCtx *c)
{
    int64_t dims[2] = {-1, 0};
    for (uint32_t i = 0; i < c->n_in; i++) {
        LEDGE_TRY(ledge__op_need(c, i, LEDGE_TYPE_NONE));
        const LedgeTensor *t = c->in[i];
        if (t->rank > 2 || t->rank == 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %d dimensions", i, t->rank);
        int64_t n = t->rank < 0 ? -1 : t->dims[t->rank - 1], rows = t->rank == 2 ? t->dims[0] : 1;
        if (n < 0 || dims[1] < 0 || __builtin_add_overflow(dims[1], n, &dims[1]))
            dims[1] = -1;
        if (t->rank >= 0 && rows >= 0 && dims[0] >= 0 && rows != dims[0])
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the inputs differ in rows");
        dims[0] = t->rank >= 0 && rows >= 0 ? rows : dims[0];
    }
    ledge__op_set_out(c, 0, LEDGE_FLOAT, 2, dims);
    return LEDGE_OK;
}

static LedgeStatus run_features(LedgeOpCtx *c)
{
    int64_t rows = c->out[0]->dims[0], width = c->out[0]->dims[1], at = 0;
    for (uint32_t i = 0; i < c->n_in; i++) {
        const LedgeTensor *t = c->in[i];
        int64_t n = t->dims[t->rank - 1];
        LEDGE_TRY(need_number(c, i));
        for (int64_t k = 0; k < rows * n; k++)
            ledge__number_set(LEDGE_FLOAT, c->out[0]->data, k / n * width + at + k % n,
                              ledge__number_at(t->type, t->data, k));
        at += n;
    }
    return LEDGE_OK;
}

/* ---- linear models ---- */

typedef struct Linear {
    const float *weights, *bias;
    int64_t targets, features, rows;
    LedgePost post;
} Linear;

static LedgeStatus get_linear(LedgeOpCtx *c, int64_t targets, Linear *l)
{
    size_t n_weights = 0, n_bias = 0;
    l->weights = ledge__node_floats(c->node, "coefficients", &n_weights);
    l->bias = ledge__node_floats(c->node, "intercepts", &n_bias);
    l->targets = targets;
    LEDGE_TRY(ledge__ml_matrix(c, &l->rows, &l->features));
    LEDGE_TRY(ledge__post_transform(c, &l->post));
    if (targets < 1 || n_weights == 0 || n_weights % (size_t)targets ||
        (n_bias && n_bias != (size_t)targets) ||
        (l->features >= 0 && n_weights / (size_t)targets != (size_t)l->features))
        return ledge__op_fail(
            c, LEDGE_ERROR_SHAPE,
            "coefficients or intercepts do not fit %lld features and %lld targets",
            (long long)l->features, (long long)targets);
    if (n_bias == 0)
        l->bias = NULL;
    return LEDGE_OK;
}

static double linear_score(const Linear *l, const LedgeTensor *in, int64_t row, int64_t target)
{
    double sum = l->bias ? l->bias[target] : 0;
    for (int64_t k = 0; k < l->features; k++)
        sum += l->weights[target * l->features + k] *
               ledge__number_at(in->type, in->data, row * l->features + k);
    return sum;
}

static LedgeStatus infer_linear_regressor(LedgeOpCtx *c)
{
    Linear l;
    LEDGE_TRY(get_linear(c, ledge__node_int(c->node, "targets", 1), &l));
    const int64_t dims[2] = {l.rows, l.targets};
    ledge__op_set_out(c, 0, LEDGE_FLOAT, 2, dims);
    return LEDGE_OK;
}

static LedgeStatus run_linear_regressor(LedgeOpCtx *c)
{
    Linear l;
    LEDGE_TRY(get_linear(c, ledge__node_int(c->node, "targets", 1), &l));
    LEDGE_TRY(need_number(c, 0));
    double *scores = ledge__work(c, (size_t)l.targets * sizeof *scores);
    if (!scores)
        return ledge__no_memory(c->err);
    for (int64_t r = 0; r < l.rows; r++) {
        for (int64_t t = 0; t < l.targets; t++)
            scores[t] = linear_score(&l, c->in[0], r, t);
        ledge__post_apply(l.post, scores, l.targets);
        for (int64_t t = 0; t < l.targets; t++)
            ((float *)c->out[0]->data)[r * l.targets + t] = (float)scores[t];
    }
    return LEDGE_OK;
}

/* One score for two classes stands for the second; what it lacks to 1 for the first (as ONNX
 * Runtime does it; the operator leaves it open). */
static LedgeStatus linear_classes(LedgeOpCtx *c, Linear *l, LedgeLabels *labels, bool *paired)
{
    size_t n_bias = 0, n_weights = 0;
    ledge__node_floats(c->node, "intercepts", &n_bias);
    ledge__node_floats(c->node, "coefficients", &n_weights);
    LEDGE_TRY(ledge__labels(c, "classlabels_ints", "classlabels_strings", labels));
    int64_t rows, features, targets = (int64_t)labels->count;
    LEDGE_TRY(ledge__ml_matrix(c, &rows, &features));
    if (labels->count == 2 && (n_bias == 1 || (features > 0 && n_weights == (size_t)features)))
        targets = 1;
    *paired = labels->count == 2 && targets == 1;
    return get_linear(c, targets, l);
}

static LedgeStatus infer_linear_classifier(LedgeOpCtx *c)
{
    Linear l;
    LedgeLabels labels;
    bool paired;
    LEDGE_TRY(linear_classes(c, &l, &labels, &paired));
    const int64_t dims[2] = {l.rows, (int64_t)labels.count};
    ledge__op_set_out(c, 0, labels.type, 1, dims);
    ledge__op_set_out(c, 1, LEDGE_FLOAT, 2, dims);
    return LEDGE_OK;
}

static LedgeStatus run_linear_classifier(LedgeOpCtx *c)
{
    Linear l;
    LedgeLabels labels;
    bool paired = false;
    LEDGE_TRY(linear_classes(c, &l, &labels, &paired));
    LEDGE_TRY(need_number(c, 0));
    int64_t n = (int64_t)labels.count;
    double *scores = ledge__work(c, (size_t)n * sizeof *scores);
    if (!scores)
        return ledge__no_memory(c->err);
    LedgeTensor *out = ledge__op_out(c, 1);
    for (int64_t r = 0; r < l.rows; r++) {
        int64_t best = 0;
        for (int64_t t = 0; t < l.targets; t++)
            scores[t] = linear_score(&l, c->in[0], r, t);
        if (paired) {
            best = scores[0] > 0;
            scores[1] = l.post == LEDGE_POST_LOGISTIC ? ledge__logistic(scores[0]) : scores[0];
            scores[0] = 1 - scores[1];
        } else {
            for (int64_t t = 1; t < n; t++)
                best = scores[t] > scores[best] ? t : best;
            ledge__post_apply(l.post, scores, n);
        }
        for (int64_t t = 0; t < n && out; t++)
            ((float *)out->data)[r * n + t] = (float)scores[t];
        ledge__label_set(&labels, ledge__op_out(c, 0), r, best);
    }
    return LEDGE_OK;
}

#define ML(name, infer_fn, run_fn)                                                                 \
    {                                                                                              \
        .domain = "ai.onnx.ml", .op_type = name, .since = 1, .infer = infer_fn, .run = run_fn      \
    }

const LedgeOp ledge__ops_ml[] = {
    ML("ArrayFeatureExtractor", infer_extract, run_extract),
    ML("Binarizer", infer_same, run_binarizer),
    ML("Scaler", infer_same_float, run_scaler),
    ML("Normalizer", infer_same_float, run_normalizer),
    ML("Imputer", infer_same, run_imputer),
    ML("OneHotEncoder", infer_one_hot_encoder, run_one_hot_encoder),
    ML("FeatureVectorizer", infer_features, run_features),
    ML("LinearRegressor", infer_linear_regressor, run_linear_regressor),
    ML("LinearClassifier", infer_linear_classifier, run_linear_classifier),
    {0},
};
