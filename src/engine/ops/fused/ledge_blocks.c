/* ledge.MatMulBlocks: the product with a constant matrix of 2, 4 or 8 bits whose elements share
 * scales, and perhaps zero points, in blocks along K. The codes stay packed in memory.
 *
 * Inputs: 0 A [..., K]; 1 codes; 2 bias [N] or omitted; 3 residual of the output's shape or
 * omitted; 4 scales; 5 zero points or omitted. All but A and the residual are constants. Output
 * [..., N]. Attributes: K, N, bits, block_size, activation attributes; round_a 1: A may be rounded
 * to int8, one scale a block; form, how the constants lie: "packed"  as in com.microsoft
 * MatMulNBits: codes uint8, column after column, low bits first, zero points packed likewise or
 * floats; scales [N, blocks]; "rows"    codes [K, N] of an integer type with scales and zero points
 * [blocks, N]; "columns" codes [N, K], scales and zero points [N, blocks]. In the latter two one
 * scale and one zero point may do for all. */
#include "engine/kernels/nbits.h"
#include "engine/kernels/ref/convert.h"
#include "engine/ops/fused/fused_act.h"

#include <stdio.h>

enum { IN_A, IN_CODES, IN_BIAS, IN_R, IN_SCALES, IN_ZEROS };

typedef enum Form { PACKED, ROWS, COLUMNS } Form;

typedef struct State {
    LedgeNbitsPlan plan;
    LedgeAct act;
    Form form;
    const void *codes, *scales, *zeros;
    float *bias;
} State;

static LedgeStatus read_form(LedgeOpCtx *c, Form *form)
{
    static const char *const names[] = {"packed", "rows", "columns"};
    const char *name = ledge__node_string(c->node, "form", "packed");
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *form = (Form)i;
            return LEDGE_OK;
        }
    return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "there is no form \"%s\"", name);
}

static LedgeStatus infer(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, IN_A, LEDGE_FLOAT));
    LEDGE_TRY(ledge__op_need(c, IN_CODES, LEDGE_TYPE_NONE));
    LEDGE_TRY(ledge__op_need(c, IN_SCALES, LEDGE_TYPE_NONE));
    const LedgeTensor *a = c->in[IN_A];
    const int64_t k = ledge__node_int(c->node, "K", 0), n = ledge__node_int(c->node, "N", 0);
    int64_t dims[LEDGE_MAX_RANK];
    if (k < 1 || n < 1 || k > INT32_MAX || n > INT32_MAX)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attributes K and N are %lld and %lld",
                              (long long)k, (long long)n);
    if (a->rank == 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "A must be at least a vector");
    if (a->rank > 0) {
        if (a->dims[a->rank - 1] >= 0 && a->dims[a->rank - 1] != k)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE,
                                  "rows of A have %lld elements, must be %lld",
                                  (long long)a->dims[a->rank - 1], (long long)k);
        memcpy(dims, a->dims, sizeof(dims));
        dims[a->rank - 1] = n;
    }
    ledge__op_set_out(c, 0, LEDGE_FLOAT, a->rank, dims);
    return LEDGE_OK;
}

static int64_t macs(const LedgeOpCtx *c)
{
    const LedgeTensor *y = ledge__op_out(c, 0);
    return y ? ledge_tensor_count(y) * ledge__node_int(c->node, "K", 0) : 0;
}

static bool is_float(LedgeType t)
{
    return t == LEDGE_FLOAT || t == LEDGE_FLOAT16 || t == LEDGE_BFLOAT16;
}

/* ---- reading the constants, which may be misaligned ---- */

static uint8_t code_at(const uint8_t *p, size_t i, uint32_t bits)
{
    const size_t per = 8 / bits;
    return (uint8_t)(p[i / per] >> (i % per * bits) & ((1u << bits) - 1));
}

static bool is_signed(LedgeType t)
{
    return t == LEDGE_INT8 || t == LEDGE_INT4 || t == LEDGE_INT2;
}

static void read_codes(const void *arg, size_t n, uint8_t *row)
{
    const LedgeOpCtx *c = arg;
    const State *s = c->state;
    const LedgeTensor *t = c->in[IN_CODES];
    const uint32_t bits = s->plan.s.bits;
    const size_t k = s->plan.s.k;
    const uint8_t flip = is_signed(t->type) ? (uint8_t)(1u << (bits - 1)) : 0;
    const size_t from = s->form == PACKED ? n * s->plan.depth : s->form == ROWS ? n : n * k;
    const size_t step = s->form == ROWS ? s->plan.s.n : 1;
    for (size_t i = 0; i < k; i++)
        row[i] = code_at(t->data, from + i * step, bits) ^ flip;
}

/* Where block b of column n is among `count` scales or zero points. */
static size_t place(const State *s, size_t count, size_t n, size_t b)
{
    if (count == 1)
        return 0;
    if (s->plan.blocks == 1)
        return n;
    return s->form == ROWS ? b * s->plan.s.n + n : n * s->plan.blocks + b;
}

static float float_at(const LedgeTensor *t, size_t i)
{
    const size_t bytes = ledge_type_bits(t->type) / 8;
    uint32_t room = 0;
    float v;
    memcpy(&room, (const char *)t->data + i * bytes, bytes);
    ledge__load_f32(t->type, &room, 0, 1, &v);
    return v;
}

static float read_scale(const void *arg, size_t n, size_t b)
{
    const LedgeOpCtx *c = arg;
    const LedgeTensor *t = c->in[IN_SCALES];
    return float_at(t, place(c->state, (size_t)ledge_tensor_count(t), n, b));
}

static float read_zero(const void *arg, size_t n, size_t b)
{
    const LedgeOpCtx *c = arg;
    const State *s = c->state;
    const LedgeTensor *t = c->in[IN_ZEROS];
    const uint32_t bits = s->plan.s.bits;
    if (is_float(t->type))
        return float_at(t, place(s, (size_t)ledge_tensor_count(t), n, b));
    if (s->form == PACKED) { /* rows of whole bytes */
        const size_t row = (s->plan.blocks * bits + 7) / 8;
        return (float)code_at((const uint8_t *)t->data + n * row, b, bits);
    }
    const uint8_t flip = is_signed(t->type) ? (uint8_t)(1u << (bits - 1)) : 0;
    return (float)(code_at(t->data, place(s, (size_t)ledge_tensor_count(t), n, b), bits) ^ flip);
}

/* ---- preparing ---- */

/* Input i is constant and has `want` elements, or one where `or_one`. */
static LedgeStatus need_count(LedgeOpCtx *c, uint32_t i, size_t want, bool or_one)
{
    const int64_t count = ledge_tensor_count(c->in[i]);
    if (!c->in_constant[i])
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "input %u must be a constant", i);
    if (count < 0 || ((size_t)count != want && !(or_one && count == 1)))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input %u has %lld elements, must have %zu", i,
                              (long long)count, want);
    return LEDGE_OK;
}

/* Types and sizes of the constants; which zero points there are. */
static LedgeStatus check_constants(LedgeOpCtx *c, const LedgeNbitsShape *d, Form form,
                                   LedgeNbitsZeros *zeros)
{
    const LedgeTensor *codes = c->in[IN_CODES], *scales = c->in[IN_SCALES];
    const LedgeTensor *z = ledge__op_in(c, IN_ZEROS);
    const size_t blocks = (d->k + d->block - 1) / d->block;
    const bool packed = form == PACKED;
    if (packed ? codes->type != LEDGE_UINT8 : ledge_type_bits(codes->type) != d->bits)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "codes of %u bits cannot be %s", d->bits,
                              ledge_type_name(codes->type));
    if (!is_float(scales->type))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "scales cannot be %s",
                              ledge_type_name(scales->type));
    LEDGE_TRY(need_count(c, IN_CODES,
                         packed ? d->n * blocks * (d->block * d->bits / 8) : d->n * d->k, false));
    LEDGE_TRY(need_count(c, IN_SCALES, d->n * blocks, !packed));
    *zeros = LEDGE_NBITS_MIDDLE;
    if (!z && !packed && !is_signed(codes->type)) /* an absent zero point is 0, not the middle */
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED,
                              "unsigned codes without zero points are not taken in this form");
    if (!z)
        return LEDGE_OK;
    if (is_float(z->type) && packed) {
        *zeros = LEDGE_NBITS_FLOATS;
        return need_count(c, IN_ZEROS, d->n * blocks, false);
    }
    if (z->type != codes->type)
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "zero points of %s for codes of %s",
                              ledge_type_name(z->type), ledge_type_name(codes->type));
    *zeros = LEDGE_NBITS_BYTES;
    return need_count(c, IN_ZEROS, packed ? d->n * ((blocks * d->bits + 7) / 8) : d->n * blocks,
                      !packed);
}

static LedgeStatus read_shape(LedgeOpCtx *c, LedgeNbitsShape *d)
{
    const LedgeTensor *a = c->in[IN_A];
    const int64_t bits = ledge__node_int(c->node, "bits", 4),
                  block = ledge__node_int(c->node, "block_size", 0), count = ledge_tensor_count(a);
    d->k = (size_t)ledge__node_int(c->node, "K", 0);
    d->n = (size_t)ledge__node_int(c->node, "N", 0);
    if (bits != 2 && bits != 4 && bits != 8)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "bits is %lld, must be 2, 4 or 8",
                              (long long)bits);
    if (block < LEDGE_NBITS_UNIT || block > INT32_MAX || block % LEDGE_NBITS_UNIT)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED,
                              "block_size is %lld, must be a multiple of %d", (long long)block,
                              LEDGE_NBITS_UNIT);
    d->bits = (uint32_t)bits;
    d->block = (size_t)block;
    d->rows = (size_t)count / d->k;
    d->round_a = ledge__node_int(c->node, "round_a", 0) != 0;
    return LEDGE_OK;
}

static LedgeStatus pack_codes(void *arg, void *to)
{
    const LedgeOpCtx *c = arg;
    const State *s = c->state;
    const LedgeNbitsSource from = {.arg = c, .codes = read_codes};
    uint8_t *row = ledge__alloc(NULL, s->plan.depth, 1);
    if (!row)
        return ledge__no_memory(c->err);
    ledge__nbits_pack_codes(&s->plan, &from, row, to);
    ledge__free(NULL, row);
    return LEDGE_OK;
}

static LedgeStatus pack_scales(void *arg, void *to)
{
    const LedgeOpCtx *c = arg;
    const LedgeNbitsSource from = {.arg = c, .number = read_scale};
    ledge__nbits_pack_scales(&((const State *)c->state)->plan, &from, to);
    return LEDGE_OK;
}

static LedgeStatus pack_zeros(void *arg, void *to)
{
    const LedgeOpCtx *c = arg;
    const LedgeNbitsSource from = {.arg = c, .number = read_zero};
    ledge__nbits_pack_zeros(&((const State *)c->state)->plan, &from, to);
    return LEDGE_OK;
}

/* The packed forms are the same for every instruction set. */
static LedgeStatus constants(LedgeOpCtx *c, State *s)
{
    const LedgeNbitsPlan *p = &s->plan;
    char key[96];
    snprintf(key, sizeof(key), "nbits %u block=%zu form=%d K=%zu N=%zu zeros=%d", p->s.bits,
             p->s.block, (int)s->form, p->s.k, p->s.n, (int)p->s.zeros);
    LEDGE_TRY(c->host->packed(c, IN_CODES, key, p->codes_bytes, pack_codes, c, &s->codes));
    LEDGE_TRY(c->host->packed(c, IN_SCALES, key, p->scale_bytes, pack_scales, c, &s->scales));
    if (p->s.zeros != LEDGE_NBITS_MIDDLE)
        LEDGE_TRY(c->host->packed(c, IN_ZEROS, key, p->zero_bytes, pack_zeros, c, &s->zeros));
    if (!ledge__op_in(c, IN_BIAS))
        return LEDGE_OK;
    LEDGE_TRY(ledge__op_need(c, IN_BIAS, LEDGE_FLOAT));
    LEDGE_TRY(need_count(c, IN_BIAS, p->s.n, false));
    s->bias = ledge__op_alloc(c, p->s.n * sizeof(float));
    if (!s->bias)
        return ledge__no_memory(c->err);
    memcpy(s->bias, c->in[IN_BIAS]->data, p->s.n * sizeof(float));
    return LEDGE_OK;
}

static LedgeStatus prepare(LedgeOpCtx *c)
{
    LedgeNbitsShape d;
    State *s = ledge__op_alloc(c, sizeof(*s));
    if (!s)
        return ledge__no_memory(c->err);
    *s = (State){0};
    c->state = s;
    LEDGE_TRY(read_form(c, &s->form));
    LEDGE_TRY(read_shape(c, &d));
    LEDGE_TRY(check_constants(c, &d, s->form, &d.zeros));
    LEDGE_TRY(ledge__fused_act(c, &s->act));
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    if (r) {
        LEDGE_TRY(ledge__op_need(c, IN_R, LEDGE_FLOAT));
        if (r->rank < 1 || r->dims[r->rank - 1] != (int64_t)d.n ||
            (size_t)ledge_tensor_count(r) != d.rows * d.n)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "the residual's shape is not the output's");
    }
    if (!ledge__nbits_plan(&d, c->cpu, ledge__pool_threads(c->pool), &s->plan))
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the product is too large");
    c->scratch_bytes = s->plan.scratch_bytes;
    return constants(c, s);
}

static LedgeStatus run(LedgeOpCtx *c)
{
    const State *s = c->state;
    const LedgeTensor *r = ledge__op_in(c, IN_R);
    const LedgeNbitsArgs a = {.a = c->in[IN_A]->data,
                              .codes = s->codes,
                              .scales = s->scales,
                              .zeros = s->zeros,
                              .bias = s->bias,
                              .r = r ? r->data : NULL,
                              .y = c->out[0]->data,
                              .act = s->act,
                              .scratch = c->scratch};
    ledge__nbits_run(&s->plan, &a, c->pool);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_ledge_blocks[] = {
    {"ledge", "MatMulBlocks", 1, 0, LEDGE_OP_ANY_ALIGN, infer, prepare, run, macs},
    {0},
};
