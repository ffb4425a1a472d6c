/* Operators that make tensors from few numbers: Constant, ConstantOfShape, Range, EyeLike, the
 * signal windows, MelWeightMatrix; and Identity. */
#include <math.h>

#include "engine/kernels/ref/broadcast.h"
#include "engine/kernels/ref/convert.h"
#include "engine/ops/math/math_types.h"

#define CHUNK 256
#define PI 3.14159265358979323846

/* ---- Identity ---- */

static LedgeStatus infer_identity(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    if (c->out[0])
        *c->out[0] = (LedgeTensor){.type = c->in[0]->type, .rank = c->in[0]->rank};
    ledge__op_set_out(c, 0, c->in[0]->type, c->in[0]->rank, c->in[0]->dims);
    if (c->out[0] && c->in[0]->type >= LEDGE_SEQUENCE)
        c->out[0]->dims[1] = c->in[0]->dims[1];
    return LEDGE_OK;
}

/* Only where the planner could not let both be the same memory. */
static LedgeStatus run_identity(LedgeOpCtx *c)
{
    return ledge__op_store(c, 0, c->in[0]);
}

/* ---- Constant ---- */

/* Output 0 becomes a constant of `type` and `n` elements (rank 0 when n < 0). */
static LedgeStatus give_constant(LedgeOpCtx *c, LedgeType type, int64_t n, const void *from)
{
    int32_t rank = n < 0 ? 0 : 1;
    ledge__op_set_out(c, 0, type, rank, &n);
    LedgeTensor *y = c->out[0];
    y->bytes = ledge_tensor_bytes(y);
    y->data = ledge__op_alloc(c, y->bytes);
    if (!y->data)
        return ledge__no_memory(c->err);
    if (y->bytes)
        memcpy(y->data, from, y->bytes);
    return LEDGE_OK;
}

static LedgeStatus give_tensor(LedgeOpCtx *c, const LedgeTensor *t)
{
    LedgeTensor *y = c->out[0];
    if (((uintptr_t)t->data & 15) == 0 && t->data) {
        *y = *t;
        return LEDGE_OK;
    }
    ledge__op_set_out(c, 0, t->type, t->rank, t->dims); /* from the file at an odd address */
    y->bytes = ledge_tensor_bytes(t);
    y->data = y->bytes == SIZE_MAX ? NULL : ledge__op_alloc(c, y->bytes);
    if (!y->data)
        return ledge__no_memory(c->err);
    if (t->data && y->bytes)
        memcpy(y->data, t->data, y->bytes);
    return LEDGE_OK;
}

static LedgeStatus infer_constant(LedgeOpCtx *c)
{
    if (!c->out[0])
        return LEDGE_OK;
    for (size_t i = 0; i < c->node->n_attrs; i++) {
        const LedgeAttr *a = &c->node->attrs[i];
        if ((strcmp(a->name, "value") == 0 || strcmp(a->name, "sparse_value") == 0) && a->tensors &&
            a->count == 1)
            return give_tensor(c, &a->tensors[0]);
        if (strcmp(a->name, "value_float") == 0)
            return give_constant(c, LEDGE_FLOAT, -1, &a->f);
        if (strcmp(a->name, "value_floats") == 0)
            return give_constant(c, LEDGE_FLOAT, (int64_t)a->count, a->floats);
        if (strcmp(a->name, "value_int") == 0)
            return give_constant(c, LEDGE_INT64, -1, &a->i);
        if (strcmp(a->name, "value_ints") == 0)
            return give_constant(c, LEDGE_INT64, (int64_t)a->count, a->ints);
        if (strcmp(a->name, "value_string") == 0)
            return give_constant(c, LEDGE_STRING, -1, &a->s);
        if (strcmp(a->name, "value_strings") == 0)
            return give_constant(c, LEDGE_STRING, (int64_t)a->count, a->strings);
    }
    return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "it has no attribute that holds its value");
}

/* Its outputs always come from infer. */
static LedgeStatus run_constant(LedgeOpCtx *c)
{
    return infer_constant(c);
}

/* ---- ConstantOfShape ---- */

static LedgeStatus infer_constant_of_shape(LedgeOpCtx *c)
{
    const LedgeAttr *value = ledge__node_attr(c->node, "value");
    LedgeType type = value && value->tensors ? value->tensors[0].type : LEDGE_FLOAT;
    if (value && (!value->tensors || value->count != 1 ||
                  ledge_tensor_count(&value->tensors[0]) != 1 || !value->tensors[0].data))
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute value must hold one element");
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_INT64));
    int64_t dims[LEDGE_MAX_RANK];
    int n;
    LEDGE_TRY(ledge__op_int_input(c, 0, dims, LEDGE_MAX_RANK, &n));
    for (int d = 0; d < n; d++)
        if (dims[d] < 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "dimension %d would be %lld", d,
                                  (long long)dims[d]);
    const LedgeTensor *shape = c->in[0];
    int32_t rank = n >= 0 ? n : -1;
    if (n < 0 && shape->rank == 1 && shape->dims[0] >= 0 && shape->dims[0] <= LEDGE_MAX_RANK) {
        rank = (int32_t)shape->dims[0];
        for (int32_t d = 0; d < rank; d++)
            dims[d] = -1;
    }
    ledge__op_set_out(c, 0, type, rank, dims);
    return LEDGE_OK;
}

typedef struct FillJob {
    char *y;
    char element[16];
    size_t size;
} FillJob;

static void fill_piece(void *arg, const LedgeSpan *s)
{
    const FillJob *j = arg;
    char *y = j->y + s->out * j->size;
    if (j->size == 1)
        memset(y, j->element[0], s->n);
    else
        for (size_t i = 0; i < s->n; i++)
            memcpy(y + i * j->size, j->element, j->size);
}

/* Every element of t becomes the one at `element`, which is of t's type. */
static void fill(LedgeOpCtx *c, const LedgeTensor *t, const void *element)
{
    unsigned bits = ledge_type_bits(t->type);
    FillJob j = {.y = t->data, .size = bits < 8 ? 1 : bits / 8};
    size_t count = (size_t)ledge_tensor_count(t), in_last = count * bits % 8;
    memcpy(j.element, element, j.size);
    if (bits < 8) { /* packed: repeat it over the byte */
        unsigned v = (unsigned char)j.element[0] & ((1u << bits) - 1);
        j.element[0] = (char)(bits == 4 ? v * 0x11 : v * 0x55);
        count = ledge_tensor_bytes(t);
    }
    ledge__each_piece(c->pool, count, fill_piece, &j);
    if (in_last) /* of the last byte, only what elements fill */
        j.y[count - 1] = (char)(j.element[0] & ((1 << in_last) - 1));
}

static LedgeStatus run_constant_of_shape(LedgeOpCtx *c)
{
    const LedgeAttr *value = ledge__node_attr(c->node, "value");
    static const char zero[16];
    fill(c, c->out[0], value ? value->tensors[0].data : zero);
    return LEDGE_OK;
}

/* ---- Range ---- */

#define RANGES (LEDGE_SET_FLOATS | LEDGE_SET(INT16) | LEDGE_SET_INDICES)

/* Elements from start to before limit, in whole numbers without overflow. */
static int64_t range_count_int(int64_t start, int64_t limit, int64_t delta)
{
    if (delta > 0 ? start >= limit : start <= limit)
        return 0;
    uint64_t way =
        delta > 0 ? (uint64_t)limit - (uint64_t)start : (uint64_t)start - (uint64_t)limit;
    uint64_t step = delta > 0 ? (uint64_t)delta : 0 - (uint64_t)delta;
    uint64_t n = (way - 1) / step + 1;
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

static LedgeStatus range_count(LedgeOpCtx *c, int64_t *count, bool *known)
{
    bool have[3];
    double f[3] = {0};
    int64_t i[3] = {0};
    for (uint32_t k = 0; k < 3; k++) {
        LEDGE_TRY(ledge__math_scalar(c, k, &f[k], &have[k]));
        LEDGE_TRY(ledge__math_scalar_int(c, k, &i[k], &have[k]));
    }
    *known = have[0] && have[1] && have[2];
    if (!*known)
        return LEDGE_OK;
    if (f[2] == 0)
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "delta is 0");
    if (!ledge__num_is_float(c->in[0]->type)) {
        *count = range_count_int(i[0], i[1], i[2]);
        return LEDGE_OK;
    }
    double n = ceil((f[1] - f[0]) / f[2]);
    if (!(n < 9e18)) /* NaN too */
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the range has no end");
    *count = n > 0 ? (int64_t)n : 0;
    return LEDGE_OK;
}

static LedgeStatus infer_range(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_need(c, 0, RANGES));
    LEDGE_TRY(ledge__math_need_like(c, 1, 0));
    LEDGE_TRY(ledge__math_need_like(c, 2, 0));
    int64_t count = -1;
    bool known;
    LEDGE_TRY(range_count(c, &count, &known));
    ledge__op_set_out(c, 0, c->in[0]->type, 1, &count);
    return LEDGE_OK;
}

typedef struct RangeJob {
    LedgeType type;
    void *y;
    double start, delta;
    int64_t first, step;
} RangeJob;

static void range_piece(void *arg, const LedgeSpan *s)
{
    const RangeJob *j = arg;
    bool floats = ledge__num_is_float(j->type);
    for (size_t done = 0; done < s->n; done += CHUNK) {
        double f[CHUNK];
        int64_t w[CHUNK];
        size_t n = s->n - done < CHUNK ? s->n - done : CHUNK, at = s->out + done;
        for (size_t i = 0; i < n; i++) {
            f[i] = j->start + (double)(at + i) * j->delta;
            w[i] = (int64_t)((uint64_t)j->first + (uint64_t)(at + i) * (uint64_t)j->step);
        }
        if (floats)
            ledge__store_f64(j->type, j->y, at, n, f);
        else
            ledge__store_i64(j->type, j->y, at, n, w);
    }
}

static LedgeStatus run_range(LedgeOpCtx *c)
{
    RangeJob j = {.type = c->out[0]->type, .y = c->out[0]->data};
    bool known;
    LEDGE_TRY(ledge__math_scalar(c, 0, &j.start, &known));
    LEDGE_TRY(ledge__math_scalar(c, 2, &j.delta, &known));
    LEDGE_TRY(ledge__math_scalar_int(c, 0, &j.first, &known));
    LEDGE_TRY(ledge__math_scalar_int(c, 2, &j.step, &known));
    ledge__each_piece(c->pool, (size_t)c->out[0]->dims[0], range_piece, &j);
    return LEDGE_OK;
}

/* ---- EyeLike ---- */

#define EYES (LEDGE_SET_NUMBERS | LEDGE_SET(BOOL))

static LedgeStatus infer_eye_like(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__math_need(c, 0, EYES));
    const LedgeTensor *x = c->in[0];
    LedgeType type;
    LEDGE_TRY(ledge__math_type_attr(c, "dtype", x->type, EYES, &type));
    if (x->rank >= 0 && x->rank != 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 has rank %d, must be a matrix",
                              x->rank);
    return ledge__math_infer_like_input(c, EYES, type);
}

static LedgeStatus run_eye_like(LedgeOpCtx *c)
{
    LedgeTensor *y = c->out[0];
    int64_t k = ledge__node_int(c->node, "k", 0), one = 1;
    ledge__math_clear(y);
    for (int64_t i = 0; i < y->dims[0]; i++) {
        int64_t column;
        if (!__builtin_add_overflow(i, k, &column) && column >= 0 && column < y->dims[1])
            ledge__store_i64(y->type, y->data, (size_t)(i * y->dims[1] + column), 1, &one);
    }
    return LEDGE_OK;
}

/* ---- windows ---- */

static LedgeStatus infer_window(LedgeOpCtx *c)
{
    LedgeType type;
    LEDGE_TRY(ledge__math_need(c, 0, LEDGE_SET_INDICES));
    LEDGE_TRY(ledge__math_type_attr(c, "output_datatype", LEDGE_FLOAT, LEDGE_SET_NUMBERS, &type));
    int64_t size = -1;
    bool known;
    LEDGE_TRY(ledge__math_scalar_int(c, 0, &size, &known));
    if (known && size < 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "a window of %lld samples", (long long)size);
    ledge__op_set_out(c, 0, type, 1, &size);
    return LEDGE_OK;
}

/* a - b cos(2 pi i / n) + d cos(4 pi i / n); n is one less when the window is symmetric. */
static LedgeStatus run_window(LedgeOpCtx *c, double a, double b, double d)
{
    const LedgeTensor *y = c->out[0];
    int64_t size = y->dims[0];
    double n = (double)(ledge__node_int(c->node, "periodic", 1) ? size : size - 1);
    for (int64_t i = 0; i < size; i++) {
        double t = n > 0 ? 2 * PI * (double)i / n : PI; /* one symmetric sample is the peak */
        double v = a - b * cos(t) + d * cos(2 * t);
        ledge__store_f64(y->type, y->data, (size_t)i, 1, &v);
    }
    return LEDGE_OK;
}

static LedgeStatus run_hann(LedgeOpCtx *c)
{
    return run_window(c, 0.5, 0.5, 0);
}

static LedgeStatus run_hamming(LedgeOpCtx *c)
{
    return run_window(c, 25.0 / 46, 21.0 / 46, 0);
}

static LedgeStatus run_blackman(LedgeOpCtx *c)
{
    return run_window(c, 0.42, 0.5, 0.08);
}

/* ---- MelWeightMatrix ---- */

static LedgeStatus infer_mel(LedgeOpCtx *c)
{
    LedgeType type;
    LEDGE_TRY(ledge__math_type_attr(c, "output_datatype", LEDGE_FLOAT, LEDGE_SET_NUMBERS, &type));
    int64_t bins = -1, length = -1;
    bool known_bins, known_length;
    for (uint32_t i = 0; i < 5; i++)
        LEDGE_TRY(ledge__math_need(c, i, i < 3 ? LEDGE_SET_INDICES : LEDGE_SET_FLOATS));
    LEDGE_TRY(ledge__math_scalar_int(c, 0, &bins, &known_bins));
    LEDGE_TRY(ledge__math_scalar_int(c, 1, &length, &known_length));
    if ((known_bins && bins < 0) || (known_length && length < 0))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%lld bins over a DFT of %lld", (long long)bins,
                              (long long)length);
    int64_t dims[2] = {known_length ? length / 2 + 1 : -1, bins};
    ledge__op_set_out(c, 0, type, 2, dims);
    return LEDGE_OK;
}

/* Column of the triangle over spectrogram rows left … right with its peak at `centre`. */
static void mel_triangle(const LedgeTensor *y, int64_t column, int64_t left, int64_t centre,
                         int64_t right)
{
    int64_t end = right < y->dims[0] ? right : y->dims[0];
    for (int64_t row = left < 0 ? 0 : left; row < end || (row == centre && row < y->dims[0]);
         row++) {
        double v;
        if (row <= centre)
            v = centre == left ? 1 : (double)(row - left) / (double)(centre - left);
        else
            v = (double)(right - row) / (double)(right - centre);
        ledge__store_f64(y->type, y->data, (size_t)(row * y->dims[1] + column), 1, &v);
    }
}

static int64_t mel_row(double mel, double length, double rate)
{
    double hertz = 700 * (pow(10, mel / 2595) - 1), row = floor((length + 1) * hertz / rate);
    return ledge__f64_to_i64(row > 1e9 ? 1e9 : row < -1 ? -1 : row);
}

static LedgeStatus run_mel(LedgeOpCtx *c)
{
    const LedgeTensor *y = c->out[0];
    double in[5];
    bool known;
    for (uint32_t i = 0; i < 5; i++)
        LEDGE_TRY(ledge__math_scalar(c, i, &in[i], &known));
    if (!(in[2] > 0))
        return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "sample_rate must be above 0");
    double low = 2595 * log10(1 + in[3] / 700), high = 2595 * log10(1 + in[4] / 700);
    double step = (high - low) / (in[0] + 2);
    ledge__math_clear(y);
    for (int64_t i = 0; i < y->dims[1]; i++) {
        int64_t left = mel_row(low + step * (double)i, in[1], in[2]);
        int64_t centre = mel_row(low + step * (double)(i + 1), in[1], in[2]);
        int64_t right = mel_row(low + step * (double)(i + 2), in[1], in[2]);
        mel_triangle(y, i, left, centre, right);
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_math_generate[] = {
    {"", "Identity", 1, 0, LEDGE_OP_VIEW, infer_identity, NULL, run_identity, NULL},
    {"", "Constant", 1, 0, 0, infer_constant, NULL, run_constant, NULL},
    {"", "ConstantOfShape", 9, 0, 0, infer_constant_of_shape, NULL, run_constant_of_shape, NULL},
    {"", "Range", 11, 0, 0, infer_range, NULL, run_range, NULL},
    {"", "EyeLike", 9, 0, 0, infer_eye_like, NULL, run_eye_like, NULL},
    {"", "HannWindow", 17, 0, 0, infer_window, NULL, run_hann, NULL},
    {"", "HammingWindow", 17, 0, 0, infer_window, NULL, run_hamming, NULL},
    {"", "BlackmanWindow", 17, 0, 0, infer_window, NULL, run_blackman, NULL},
    {"", "MelWeightMatrix", 17, 0, 0, infer_mel, NULL, run_mel, NULL},
    {0}};
