/* DFT (ONNX 17, 20) and STFT (17). Complex numbers are a last dimension of two. */
#include "engine/ops/nn/nn.h"

/* ---- DFT ---- */

typedef struct Dft {
    int32_t axis;
    int64_t in, length, out; /* samples read, transform length, samples written */
    int64_t in_parts, out_parts; /* 1 real, 2 complex */
    bool onesided, inverse;
} Dft;

/* *known false: the length or axis input has no value yet. */
static LedgeStatus dft_axis(LedgeOpCtx *c, int32_t *axis, bool *known)
{
    int64_t v[1];
    int n = 0, rank = c->in[0]->rank;
    *known = true;
    if (c->node->opset < 20) {
        v[0] = ledge__node_int(c->node, "axis", 1);
    } else if (!ledge__op_in(c, 2)) {
        v[0] = -2;
    } else {
        LEDGE_TRY(ledge__op_int_input(c, 2, v, 1, &n));
        *known = n == 1;
        if (n == 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "axis has no value");
        if (!*known)
            return LEDGE_OK;
    }
    LEDGE_TRY(ledge__op_axis(c, v[0], rank, axis));
    if (*axis == rank - 1)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "axis is the last dimension, which holds real and imaginary parts");
    return LEDGE_OK;
}

static LedgeStatus dft_length(LedgeOpCtx *c, Dft *d)
{
    int64_t v[1];
    int n;
    d->in = c->in[0]->dims[d->axis];
    d->length = d->in;
    if (d->inverse && d->onesided && d->in >= 0)
        d->length = 2 * (d->in - 1);
    if (ledge__op_in(c, 1)) {
        LEDGE_TRY(ledge__op_int_input(c, 1, v, 1, &n));
        d->length = n == 1 ? v[0] : -1;
        if (n == 0 || (n == 1 && v[0] < 1))
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "dft_length must be at least 1");
    } else if (d->in == 0 || (d->in >= 0 && d->length < 1)) {
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "has nothing to transform along axis %d",
                              d->axis);
    }
    if (d->length > INT32_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "dft_length %lld is too large",
                              (long long)d->length);
    d->out = d->onesided && !d->inverse && d->length >= 0 ? d->length / 2 + 1 : d->length;
    return LEDGE_OK;
}

static LedgeStatus dft_params(LedgeOpCtx *c, Dft *d, bool *known)
{
    const LedgeTensor *x = c->in[0];
    *d = (Dft){.length = -1, .out = -1};
    d->inverse = ledge__node_int(c->node, "inverse", 0) != 0;
    d->onesided = ledge__node_int(c->node, "onesided", 0) != 0;
    d->out_parts = d->inverse && d->onesided ? 1 : 2;
    d->in_parts = x->dims[x->rank - 1];
    if (d->in_parts != 1 && d->in_parts != 2 && d->in_parts >= 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "last dimension is %lld, must be 1 (real) or 2 (complex)",
                              (long long)d->in_parts);
    if (d->onesided && !d->inverse && d->in_parts == 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "onesided transforms real input only");
    LEDGE_TRY(dft_axis(c, &d->axis, known));
    return *known ? dft_length(c, d) : LEDGE_OK;
}

static LedgeStatus dft_infer(LedgeOpCtx *c)
{
    Dft d;
    bool known;
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__nn_need(c, 1, 1));
    const LedgeTensor *x = c->in[0];
    LEDGE_TRY(ledge__nn_rank(c, 0, 2, LEDGE_MAX_RANK));
    if (x->rank < 0) {
        ledge__op_set_out(c, 0, x->type, -1, x->dims);
        return LEDGE_OK;
    }
    LEDGE_TRY(dft_params(c, &d, &known));
    for (int32_t i = 0; i < x->rank; i++)
        dims[i] = known ? x->dims[i] : -1;
    if (known)
        dims[d.axis] = d.out;
    dims[x->rank - 1] = d.out_parts;
    ledge__op_set_out(c, 0, x->type, x->rank, dims);
    return LEDGE_OK;
}

typedef struct Memory {
    double *tables, *pairs, *work;
} Memory;

static void take_memory(NnScratch *s, int64_t length, Memory *m)
{
    size_t n = length < 0 ? 0 : (size_t)length;
    m->tables = ledge__nn_take(s, ledge__fft_tables(n), 8);
    m->pairs = ledge__nn_take(s, 2 * n, 8);
    m->work = ledge__nn_take(s, ledge__fft_work(n), 8);
}

static LedgeStatus dft_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Dft d;
    bool known;
    Memory m;
    LEDGE_TRY(dft_params(c, &d, &known));
    take_memory(&s, d.length, &m);
    return ledge__nn_ask(c, &s);
}

/* Samples of one line into pairs; a onesided spectrum is completed by its mirror image. */
static void load_line(const Dft *d, const LedgeTensor *x, size_t first, size_t stride, double *a)
{
    int64_t half = d->length / 2 + 1, n = d->in < d->length ? d->in : d->length;
    bool mirror = d->inverse && d->onesided;
    if (mirror && n > half)
        n = half;
    memset(a, 0, (size_t)d->length * 2 * sizeof *a);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < d->in_parts; k++)
            a[2 * i + k] = ledge__nn_at(x, (int64_t)(first + (size_t)i * stride) + k);
    if (!mirror)
        return;
    a[1] = 0;
    if (d->length % 2 == 0)
        a[d->length + 1] = 0;
    for (int64_t i = 1; i < (d->length + 1) / 2; i++) {
        a[2 * (d->length - i)] = a[2 * i];
        a[2 * (d->length - i) + 1] = -a[2 * i + 1];
    }
}

static void store_line(const Dft *d, LedgeTensor *y, size_t first, size_t stride, const double *a)
{
    double scale = d->inverse ? 1.0 / (double)d->length : 1.0;
    for (int64_t i = 0; i < d->out; i++)
        for (int64_t k = 0; k < d->out_parts; k++) {
            size_t at = first + (size_t)i * stride + (size_t)k;
            double v = a[2 * i + k] * scale;
            if (y->type == LEDGE_DOUBLE)
                ((double *)y->data)[at] = v;
            else
                ((float *)y->data)[at] = (float)v;
        }
}

static LedgeStatus dft_body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    Dft d;
    bool known;
    Memory m;
    LedgeFft fft;
    const LedgeTensor *x = c->in[0];
    LEDGE_TRY(dft_params(c, &d, &known));
    take_memory(&s, d.length, &m);
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    ledge__fft_init(&fft, (size_t)d.length, m.tables);
    size_t outer = ledge__nn_product(x->dims, 0, d.axis);
    size_t inner = ledge__nn_product(x->dims, d.axis + 1, x->rank - 1);
    size_t xs = inner * (size_t)d.in_parts, ys = inner * (size_t)d.out_parts;
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            load_line(&d, x, o * (size_t)d.in * xs + i * (size_t)d.in_parts, xs, m.pairs);
            ledge__fft_run(&fft, m.pairs, d.inverse, m.work);
            store_line(&d, c->out[0], o * (size_t)d.out * ys + i * (size_t)d.out_parts, ys,
                       m.pairs);
        }
    return LEDGE_OK;
}

static LedgeStatus dft_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, dft_body);
}

/* ---- STFT: signal, frame_step, window, frame_length ---- */

typedef struct Stft {
    int64_t batch, samples, parts, step, frame, frames, bins;
} Stft;

static LedgeStatus scalar(LedgeOpCtx *c, uint32_t i, const char *name, int64_t *v)
{
    int64_t value[1];
    int n;
    *v = -1;
    LEDGE_TRY(ledge__op_int_input(c, i, value, 1, &n));
    if (n < 0)
        return LEDGE_OK;
    if (n != 1 || value[0] < 1 || value[0] > INT32_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "%s must be one number of at least 1", name);
    *v = value[0];
    return LEDGE_OK;
}

static LedgeStatus stft_params(LedgeOpCtx *c, Stft *p)
{
    const LedgeTensor *x = c->in[0], *window = ledge__op_in(c, 2);
    bool onesided = ledge__node_int(c->node, "onesided", 1) != 0;
    *p = (Stft){.batch = -1, .samples = -1, .parts = 1, .frames = -1, .bins = -1, .frame = -1};
    LEDGE_TRY(ledge__nn_rank(c, 0, 2, 3));
    LEDGE_TRY(ledge__nn_rank(c, 2, 1, 1));
    if (x->rank >= 0) {
        p->batch = x->dims[0];
        p->samples = x->dims[1];
        p->parts = x->rank == 3 ? x->dims[2] : 1;
    }
    LEDGE_TRY(scalar(c, 1, "frame_step", &p->step));
    if (ledge__op_in(c, 3))
        LEDGE_TRY(scalar(c, 3, "frame_length", &p->frame));
    else if (window)
        p->frame = window->rank == 1 ? window->dims[0] : -1;
    else
        p->frame = p->samples;
    if (window && window->rank == 1)
        LEDGE_TRY(ledge__nn_same(c, "window and frame_length", window->dims[0], p->frame));
    if (p->parts > 2 || p->parts == 0 || (p->parts == 2 && onesided))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                              "last dimension must be 1 (real), or 2 (complex) with onesided=0");
    if (p->frame == 0 || p->frame > INT32_MAX || (p->samples >= 0 && p->frame > p->samples))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "frames of %lld do not fit %lld samples",
                              (long long)p->frame, (long long)p->samples);
    if (p->frame > 0) {
        p->bins = onesided ? p->frame / 2 + 1 : p->frame;
        if (p->samples >= 0 && p->step > 0)
            p->frames = (p->samples - p->frame) / p->step + 1;
    }
    return LEDGE_OK;
}

static LedgeStatus stft_infer(LedgeOpCtx *c)
{
    Stft p;
    LEDGE_TRY(ledge__nn_need(c, 2, 5));
    LEDGE_TRY(stft_params(c, &p));
    int64_t dims[4] = {p.batch, p.frames, p.bins, 2};
    ledge__op_set_out(c, 0, c->in[0]->type, 4, dims);
    return LEDGE_OK;
}

static LedgeStatus stft_prepare(LedgeOpCtx *c)
{
    NnScratch s = {0};
    Stft p;
    Memory m;
    LEDGE_TRY(stft_params(c, &p));
    take_memory(&s, p.frame, &m);
    return ledge__nn_ask(c, &s);
}

static LedgeStatus stft_body(LedgeOpCtx *c)
{
    NnScratch s = {.base = c->scratch};
    Stft p;
    Memory m;
    LedgeFft fft;
    const LedgeTensor *x = c->in[0], *window = ledge__op_in(c, 2);
    LEDGE_TRY(stft_params(c, &p));
    take_memory(&s, p.frame, &m);
    LEDGE_TRY(ledge__nn_check_scratch(c, &s));
    ledge__fft_init(&fft, (size_t)p.frame, m.tables);
    Dft line = {.length = p.frame, .out = p.bins, .out_parts = 2};
    for (int64_t f = 0; f < p.batch * p.frames; f++) {
        int64_t first = f / p.frames * p.samples + f % p.frames * p.step;
        memset(m.pairs, 0, (size_t)p.frame * 2 * sizeof *m.pairs);
        for (int64_t i = 0; i < p.frame; i++)
            for (int64_t k = 0; k < p.parts; k++)
                m.pairs[2 * i + k] = ledge__nn_at(x, (first + i) * p.parts + k) *
                                     (window ? ledge__nn_at(window, i) : 1.0);
        ledge__fft_run(&fft, m.pairs, false, m.work);
        store_line(&line, c->out[0], (size_t)(f * p.bins * 2), 2, m.pairs);
    }
    return LEDGE_OK;
}

static LedgeStatus stft_run(LedgeOpCtx *c)
{
    return ledge__nn_run_float(c, stft_body);
}

const LedgeOp ledge__ops_nn_dft[] = {
    {"", "DFT", 17, 0, 0, dft_infer, dft_prepare, dft_run, NULL},
    {"", "STFT", 17, 0, 0, stft_infer, stft_prepare, stft_run, NULL},
    {0},
};
