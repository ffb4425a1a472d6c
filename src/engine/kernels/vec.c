/* Chooses the table of element-wise and row kernels for a CPU, and shares maps, rows,
 * reductions and transpositions among the threads of a pool. The pieces are cut by size
 * alone, never by the number of threads. Windows over pixels are in vec_nhwc.c. */
#include "engine/kernels/vec.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "engine/kernels/vec_tables.h"

/* Elements of one piece of a map: some microseconds of work, and at home in an L1 or L2. */
enum { PIECE = 8192 };

static const LedgeVec *const tables[] = {
#define VEC_ISA(name, flags) &ledge__vec_##name,
#include "engine/kernels/vec.def"
};
enum { N_TABLES = sizeof tables / sizeof tables[0] };

const LedgeVec *ledge__vec_at(size_t i)
{
    return i < N_TABLES ? tables[i] : NULL;
}

const LedgeVec *ledge__vec(uint32_t cpu)
{
    for (size_t i = N_TABLES; i-- > 1;)
        if ((tables[i]->needs & cpu) == tables[i]->needs)
            return tables[i];
    return tables[0];
}

const char *ledge__unary_name(LedgeMap kind)
{
    static const char *const names[LEDGE_U_COUNT] = {
#define VEC_UNARY(NAME, name, ulp) #name,
#include "engine/kernels/vec.def"
    };
    return kind < LEDGE_U_COUNT ? names[kind] : "?";
}

static size_t pieces(size_t n, size_t piece)
{
    return n / piece + (n % piece != 0);
}

static size_t piece_size(size_t n, size_t piece, size_t i)
{
    return n - i * piece < piece ? n - i * piece : piece;
}

/* How many rows of n elements make about one piece; at least 1. */
static size_t rows_per_piece(size_t n)
{
    return n < PIECE ? PIECE / (n + (n == 0)) : 1;
}

/* ---- maps ---- */

typedef struct UnaryArgs {
    const LedgeVec *v;
    LedgeMap kind;
    const float *x;
    float *y;
    size_t n;
    float a, b;
} UnaryArgs;

static void unary_piece(void *arg, size_t begin, size_t end, int thread)
{
    const UnaryArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->v->unary(p->kind, p->x + i * PIECE, p->y + i * PIECE, piece_size(p->n, PIECE, i), p->a,
                    p->b);
}

void ledge__vec_unary(LedgeRunner r, LedgeMap kind, const float *x, float *y, size_t n, float a,
                      float b)
{
    UnaryArgs p = {ledge__vec(r.cpu), kind, x, y, n, a, b};
    ledge__pool_run(r.pool, pieces(n, PIECE), 1, unary_piece, &p);
}

LedgeMap ledge__act_map(const LedgeAct *act, float *a, float *b)
{
    static const LedgeMap maps[] = {
        [LEDGE_ACT_CLAMP] = LEDGE_U_CLIP,
        [LEDGE_ACT_LEAKYRELU] = LEDGE_U_LEAKY_RELU,
        [LEDGE_ACT_ELU] = LEDGE_U_ELU,
        [LEDGE_ACT_SIGMOID] = LEDGE_U_SIGMOID,
        [LEDGE_ACT_SILU] = LEDGE_U_SILU,
        [LEDGE_ACT_TANH] = LEDGE_U_TANH,
        [LEDGE_ACT_HARDSIGMOID] = LEDGE_U_HARD_SIGMOID,
        [LEDGE_ACT_HARDSWISH] = LEDGE_U_HARD_SWISH,
        [LEDGE_ACT_GELU] = LEDGE_U_GELU,
        [LEDGE_ACT_GELU_TANH] = LEDGE_U_GELU_TANH,
    };
    *a = act->kind == LEDGE_ACT_CLAMP ? act->lo : act->alpha;
    *b = act->kind == LEDGE_ACT_CLAMP ? act->hi : act->beta;
    return maps[act->kind];
}

/* In place over n elements, for what the kernels' own clamp cannot do. */
static void activate(const LedgeVec *v, const LedgeAct *act, float *y, size_t n)
{
    float a, b;
    const LedgeMap map = ledge__act_map(act, &a, &b);
    if (act->kind != LEDGE_ACT_CLAMP)
        v->unary(map, y, y, n, a, b);
}

typedef struct Binary2dArgs {
    const LedgeVec *v;
    LedgePairMap op;
    const float *a, *b;
    size_t a_outer, a_inner, b_outer, b_inner;
    float *y;
    size_t outer, inner;
    size_t rows, row_pieces; /* of one work item: some rows, or a part of one */
    LedgeAct act;
} Binary2dArgs;

static void binary_part(const Binary2dArgs *p, size_t row, size_t from, size_t n)
{
    const LedgeForm form = p->a_inner && p->b_inner ? LEDGE_VV : p->a_inner ? LEDGE_VS : LEDGE_SV;
    const float *a = p->a + row * p->a_outer + from * p->a_inner;
    const float *b = p->b + row * p->b_outer + from * p->b_inner;
    float *y = p->y + row * p->inner + from;
    p->v->binary(p->op, form, a, b, y, n, p->act.lo, p->act.hi);
    activate(p->v, &p->act, y, n);
}

static void binary_piece(void *arg, size_t begin, size_t end, int thread)
{
    const Binary2dArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t row = i / p->row_pieces * p->rows, part = i % p->row_pieces;
        const size_t last = p->outer - row < p->rows ? p->outer : row + p->rows;
        for (size_t k = row; k < last; k++)
            binary_part(p, k, part * PIECE, piece_size(p->inner, PIECE, part));
    }
}

void ledge__vec_binary_2d(LedgeRunner r, LedgePairMap op, const float *a, size_t a_outer,
                          size_t a_inner, const float *b, size_t b_outer, size_t b_inner, float *y,
                          size_t outer, size_t inner, LedgeAct act)
{
    Binary2dArgs p = {.v = ledge__vec(r.cpu),
                      .op = op,
                      .a = a,
                      .b = b,
                      .a_outer = a_outer,
                      .a_inner = a_inner,
                      .b_outer = b_outer,
                      .b_inner = b_inner,
                      .y = y,
                      .outer = outer,
                      .inner = inner,
                      .act = act};
    if (outer == 0 || inner == 0)
        return;
    p.rows = rows_per_piece(inner);
    p.row_pieces = pieces(inner, PIECE);
    if (!a_inner && !b_inner && inner > 1) { /* a row of one number: make it, then spread it */
        p.inner = 1;
        for (size_t k = outer; k-- > 0;) {
            p.y = y + k * inner - k; /* so that row k of one element lands at its row's start */
            binary_part(&p, k, 0, 1);
            for (size_t i = 1; i < inner; i++)
                y[k * inner + i] = y[k * inner];
        }
        return;
    }
    ledge__pool_run(r.pool, pieces(outer, p.rows) * p.row_pieces, 1, binary_piece, &p);
}

void ledge__vec_binary(LedgeRunner r, LedgePairMap op, LedgeForm form, const float *a,
                       const float *b, float *y, size_t n, LedgeAct act)
{
    ledge__vec_binary_2d(r, op, a, 0, form != LEDGE_SV, b, 0, form != LEDGE_VS, y, 1, n, act);
}

typedef struct AffineArgs {
    const LedgeVec *v;
    const float *x, *a, *b;
    float *y;
    size_t rows, channels, piece;
    LedgeAct act;
} AffineArgs;

static void affine_piece(void *arg, size_t begin, size_t end, int thread)
{
    const AffineArgs *p = arg;
    const size_t c = p->channels;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t at = i * p->piece * c, rows = piece_size(p->rows, p->piece, i);
        float *y = p->y + at;
        if (p->b)
            p->v->affine(p->x + at, p->a, p->b, y, rows, c, p->act.lo, p->act.hi);
        else
            for (size_t k = 0; k < rows; k++)
                p->v->binary(LEDGE_B_MUL, LEDGE_VV, p->x + at + k * c, p->a, y + k * c, c,
                             p->act.lo, p->act.hi);
        activate(p->v, &p->act, y, rows * c);
    }
}

void ledge__vec_affine(LedgeRunner r, const float *x, const float *a, const float *b, float *y,
                       size_t rows, size_t channels, LedgeAct act)
{
    AffineArgs p = {.v = ledge__vec(r.cpu),
                    .x = x,
                    .a = a,
                    .b = b,
                    .y = y,
                    .rows = rows,
                    .channels = channels,
                    .piece = rows_per_piece(channels),
                    .act = act};
    ledge__pool_run(r.pool, pieces(rows, p.piece), 1, affine_piece, &p);
}

/* ---- rows ---- */

typedef struct SoftmaxArgs {
    const LedgeVec *v;
    const float *x;
    float *y;
    size_t n, inner;
    bool log;
} SoftmaxArgs;

static void softmax_rows(void *arg, size_t begin, size_t end, int thread)
{
    const SoftmaxArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t at = i * p->n * p->inner;
        if (p->inner == 1)
            p->v->softmax(p->x + at, NULL, 1.0f, p->y + at, p->n, p->log);
        else
            p->v->softmax_cols(p->x + at, p->y + at, p->n, p->inner, p->inner, p->log);
    }
}

/* Rows shorter than a vector go side by side: a block of them is turned, done as columns, and
 * turned back. The block's size is fixed, so that a row's value does not depend on where it is. */
enum { SHORT_ROWS = 64, SHORT_MOST = 16 };

typedef struct ShortArgs {
    const LedgeVec *v;
    const float *x;
    float *y;
    size_t rows, n;
    bool log;
} ShortArgs;

static void softmax_short(void *arg, size_t begin, size_t end, int thread)
{
    const ShortArgs *p = arg;
    uint32_t turned[SHORT_ROWS * SHORT_MOST];
    float *columns = (float *)(void *)turned;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t at = i * SHORT_ROWS * p->n, rows = piece_size(p->rows, SHORT_ROWS, i);
        p->v->transpose_32((const uint32_t *)(const void *)(p->x + at), p->n, turned, rows, rows,
                           p->n);
        p->v->softmax_cols(columns, columns, p->n, rows, rows, p->log);
        p->v->transpose_32(turned, rows, (uint32_t *)(void *)(p->y + at), p->n, p->n, rows);
    }
}

void ledge__vec_softmax(LedgeRunner r, const float *x, float *y, size_t outer, size_t n,
                        size_t inner, bool log)
{
    SoftmaxArgs p = {ledge__vec(r.cpu), x, y, n, inner, log};
    if (n == 0 || inner == 0)
        return;
    if (inner == 1 && n <= SHORT_MOST && n < 2 * p.v->lanes && outer > 1) {
        ShortArgs s = {p.v, x, y, outer, n, log};
        ledge__pool_run(r.pool, pieces(outer, SHORT_ROWS), 8, softmax_short, &s);
        return;
    }
    ledge__pool_run(r.pool, outer, rows_per_piece(4 * n * inner), softmax_rows, &p);
}

typedef struct NormArgs {
    const LedgeVec *v;
    LedgeNorm row;
} NormArgs;

static void norm_rows(void *arg, size_t begin, size_t end, int thread)
{
    const NormArgs *p = arg;
    LedgeNorm row = p->row;
    const size_t at = begin * row.n;
    (void)thread;
    row.x += at;
    row.y += at;
    if (row.skip)
        row.skip += at;
    if (row.sum)
        row.sum += at;
    if (row.mean)
        row.mean += begin;
    if (row.inv_std)
        row.inv_std += begin;
    p->v->norm(&row, end - begin);
}

void ledge__vec_norm(LedgeRunner r, const LedgeNorm *p, size_t rows)
{
    NormArgs args = {ledge__vec(r.cpu), *p};
    ledge__pool_run(r.pool, rows, rows_per_piece(2 * p->n), norm_rows, &args);
}

typedef struct ReduceArgs {
    const LedgeVec *v;
    LedgeFold kind;
    const float *x;
    float *y;
    size_t n, inner;
    size_t bands, band; /* columns of one work item */
} ReduceArgs;

static void reduce_part(void *arg, size_t begin, size_t end, int thread)
{
    const ReduceArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        if (p->inner == 1) {
            p->y[i] = p->v->reduce(p->kind, p->x + i * p->n, p->n);
            continue;
        }
        const size_t o = i / p->bands, c = i % p->bands * p->band;
        const size_t cols = p->inner - c < p->band ? p->inner - c : p->band;
        p->v->reduce_cols(p->kind, p->x + o * p->n * p->inner + c, p->n, p->inner,
                          p->y + o * p->inner + c, cols);
    }
}

void ledge__vec_reduce(LedgeRunner r, LedgeFold kind, const float *x, float *y, size_t outer,
                       size_t n, size_t inner)
{
    ReduceArgs p = {ledge__vec(r.cpu), kind, x, y, n, inner, 1, 256};
    if (inner == 1) {
        ledge__pool_run(r.pool, outer, rows_per_piece(n), reduce_part, &p);
        return;
    }
    p.bands = pieces(inner, p.band);
    ledge__pool_run(r.pool, outer * p.bands, rows_per_piece(n * (inner < 256 ? inner : 256)),
                    reduce_part, &p);
}

/* ---- moving and converting ---- */

typedef struct TransposeArgs {
    const LedgeVec *v;
    const uint8_t *x;
    uint8_t *y;
    size_t rows, cols, bytes;
    size_t bands, band; /* columns of one work item */
} TransposeArgs;

/* Blocks of 32 × 32, so that lines of both sides stay in the L1. */
#define TRANSPOSE_BLOCKS(type)                                                                     \
    static void transpose_##type(const type *x, size_t ldx, type *y, size_t ldy, size_t rows,      \
                                 size_t cols)                                                      \
    {                                                                                              \
        for (size_t r0 = 0; r0 < rows; r0 += 32)                                                   \
            for (size_t c = 0; c < cols; c++)                                                      \
                for (size_t r = r0; r < rows && r < r0 + 32; r++)                                  \
                    y[c * ldy + r] = x[r * ldx + c];                                               \
    }
TRANSPOSE_BLOCKS(uint16_t)
TRANSPOSE_BLOCKS(uint64_t)
#undef TRANSPOSE_BLOCKS

static void transpose_part(void *arg, size_t begin, size_t end, int thread)
{
    const TransposeArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t image = i / p->bands * p->rows * p->cols, c = i % p->bands * p->band;
        const size_t cols = p->cols - c < p->band ? p->cols - c : p->band;
        const void *x = p->x + (image + c) * p->bytes;
        void *y = p->y + (image + c * p->rows) * p->bytes;
        switch (p->bytes) {
        case 1:
            p->v->transpose_8(x, p->cols, y, p->rows, p->rows, cols);
            break;
        case 2:
            transpose_uint16_t(x, p->cols, y, p->rows, p->rows, cols);
            break;
        case 4:
            p->v->transpose_32(x, p->cols, y, p->rows, p->rows, cols);
            break;
        default:
            transpose_uint64_t(x, p->cols, y, p->rows, p->rows, cols);
        }
    }
}

void ledge__vec_transpose(LedgeRunner r, const void *x, void *y, size_t batch, size_t rows,
                          size_t cols, size_t element_bytes)
{
    TransposeArgs p = {ledge__vec(r.cpu), x, y, rows, cols, element_bytes, 1, cols};
    if (rows == 0 || cols == 0)
        return;
    if (rows * cols > 2 * PIECE && cols >= 32) { /* bands of whole cache lines */
        p.band = ledge__round_up(rows_per_piece(rows), 16);
        p.bands = pieces(cols, p.band);
    }
    ledge__pool_run(r.pool, batch * p.bands, 1, transpose_part, &p);
}

typedef struct HalfArgs {
    const LedgeVec *v;
    const void *x;
    void *y;
    size_t n;
} HalfArgs;

static void from_f16_piece(void *arg, size_t begin, size_t end, int thread)
{
    const HalfArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->v->from_f16((const uint16_t *)p->x + i * PIECE, (float *)p->y + i * PIECE,
                       piece_size(p->n, PIECE, i));
}

static void to_f16_piece(void *arg, size_t begin, size_t end, int thread)
{
    const HalfArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->v->to_f16((const float *)p->x + i * PIECE, (uint16_t *)p->y + i * PIECE,
                     piece_size(p->n, PIECE, i));
}

void ledge__vec_from_f16(LedgeRunner r, const uint16_t *x, float *y, size_t n)
{
    HalfArgs p = {ledge__vec(r.cpu), x, y, n};
    ledge__pool_run(r.pool, pieces(n, PIECE), 1, from_f16_piece, &p);
}

void ledge__vec_to_f16(LedgeRunner r, const float *x, uint16_t *y, size_t n)
{
    HalfArgs p = {ledge__vec(r.cpu), x, y, n};
    ledge__pool_run(r.pool, pieces(n, PIECE), 1, to_f16_piece, &p);
}

/* Few channels make a poor vector: scale and shift are laid out for a whole block of pixels,
 * and the block is one long row. */
enum { U8_PIXELS = 256, U8_CHANNELS = 4 };

typedef struct U8Args {
    const LedgeVec *v;
    const uint8_t *x;
    float *y;
    size_t pixels, channels;
    float a[U8_PIXELS * U8_CHANNELS], b[U8_PIXELS * U8_CHANNELS];
} U8Args;

static void u8_piece(void *arg, size_t begin, size_t end, int thread)
{
    const U8Args *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t at = i * U8_PIXELS * p->channels;
        p->v->u8_affine(p->x + at, p->a, p->b, p->y + at,
                        piece_size(p->pixels, U8_PIXELS, i) * p->channels);
    }
}

void ledge__vec_u8_affine(LedgeRunner r, const uint8_t *x, const float *a, const float *b, float *y,
                          size_t pixels, size_t channels)
{
    U8Args p;
    p.v = ledge__vec(r.cpu);
    p.x = x;
    p.y = y;
    p.pixels = pixels;
    p.channels = channels;
    for (size_t i = 0; i < U8_PIXELS; i++)
        for (size_t c = 0; c < channels; c++) {
            p.a[i * channels + c] = a[c];
            p.b[i * channels + c] = b[c];
        }
    ledge__pool_run(r.pool, pieces(pixels, U8_PIXELS), 16, u8_piece, &p);
}
