/* Sums and products of byte arrays, broadcast: walks the axes, and shares the rows among the
 * threads of a pool; see bytes.h. */
#include "engine/kernels/bytes.h"

#include <string.h>

#include "engine/kernels/bytes_piece.h"

typedef void (*PairKernel)(LedgeForm form, const uint8_t *a, const uint8_t *b, uint8_t *y, size_t n,
                           const LedgeByteMix *m);

typedef struct PairArgs {
    PairKernel kernel;
    const LedgeBytePair *shape;
    const LedgeByteMix *m;
    const uint8_t *a, *b;
    uint8_t *y;
    LedgeForm form;
    size_t inner, rows, row_parts; /* of one work item: some rows, or a part of one */
    size_t outer;
    bool one; /* neither moves along the last axis: a row is one number */
} PairArgs;

static void pair_part(const PairArgs *p, size_t row, size_t part)
{
    const LedgeBytePair *s = p->shape;
    const size_t from = part * BYTE_PIECE, n = ledge__piece_size(p->inner, BYTE_PIECE, part);
    size_t a = from * (p->form != LEDGE_SV), b = from * (p->form != LEDGE_VS), rest = row;
    for (int32_t d = s->rank - 2; d >= 0; d--) {
        const size_t at = rest % s->dims[d];
        rest /= s->dims[d];
        a += at * s->a_stride[d];
        b += at * s->b_stride[d];
    }
    uint8_t *y = p->y + row * p->inner + from;
    p->kernel(p->form, p->a + a, p->b + b, y, p->one ? 1 : n, p->m);
    if (p->one)
        memset(y + 1, y[0], n - 1);
}

static void pair_piece(void *arg, size_t begin, size_t end, int thread)
{
    const PairArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t row = i / p->row_parts * p->rows, part = i % p->row_parts;
        const size_t last = p->outer - row < p->rows ? p->outer : row + p->rows;
        for (size_t k = row; k < last; k++)
            pair_part(p, k, part);
    }
}

/* ---- a short row against many: the row is laid out several times, so that calls are long ---- */

enum { SPREAD = 2048, SPREAD_MOST = 512 };

typedef struct SpreadArgs {
    PairKernel kernel;
    const LedgeBytePair *shape;
    const LedgeByteMix *m;
    const uint8_t *a, *b; /* b's row stands still along the last axis but one; or a's */
    uint8_t *y;
    bool a_still;
    size_t inner, rows, tile; /* rows of the last axis but one, and of one call */
    size_t part, parts;       /* rows of one work item */
} SpreadArgs;

/* Offsets of both operands at combination `i` of all axes but the last two. */
static void locate(const LedgeBytePair *s, size_t i, size_t *a, size_t *b)
{
    *a = *b = 0;
    for (int32_t d = s->rank - 3; d >= 0; d--) {
        *a += i % s->dims[d] * s->a_stride[d];
        *b += i % s->dims[d] * s->b_stride[d];
        i /= s->dims[d];
    }
}

static void spread_item(void *arg, size_t begin, size_t end, int thread)
{
    const SpreadArgs *p = arg;
    uint8_t still[SPREAD];
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t outer = i / p->parts, first = i % p->parts * p->part;
        const size_t last = p->rows - first < p->part ? p->rows : first + p->part;
        size_t a, b;
        locate(p->shape, outer, &a, &b);
        for (size_t k = 0; k < p->tile; k++)
            memcpy(still + k * p->inner, p->a_still ? p->a + a : p->b + b, p->inner);
        for (size_t r = first; r < last; r += p->tile) {
            const size_t n = (last - r < p->tile ? last - r : p->tile) * p->inner;
            uint8_t *y = p->y + (outer * p->rows + r) * p->inner;
            if (p->a_still)
                p->kernel(LEDGE_VV, still, p->b + b + r * p->inner, y, n, p->m);
            else
                p->kernel(LEDGE_VV, p->a + a + r * p->inner, still, y, n, p->m);
        }
    }
}

/* Does it where the shape is such a one. */
static bool run_spread(LedgeRunner r, PairKernel kernel, const LedgeBytePair *s,
                       const LedgeByteMix *m, const uint8_t *a, const uint8_t *b, uint8_t *y)
{
    const int32_t last = s->rank - 1;
    const size_t inner = s->dims[last];
    if (last < 1 || inner > SPREAD_MOST || !s->a_stride[last] || !s->b_stride[last])
        return false;
    const size_t sa = s->a_stride[last - 1], sb = s->b_stride[last - 1];
    if (!(sa == inner && sb == 0) && !(sa == 0 && sb == inner))
        return false;
    SpreadArgs p = {.kernel = kernel, .shape = s, .m = m, .a = a, .b = b, .y = y};
    size_t outer = 1;
    p.a_still = sa == 0;
    p.inner = inner;
    p.rows = s->dims[last - 1];
    p.tile = SPREAD / inner;
    p.part = BYTE_PIECE / SPREAD * p.tile;
    p.parts = ledge__pieces(p.rows, p.part);
    for (int32_t d = 0; d < last - 1; d++)
        outer *= s->dims[d];
    ledge__pool_run(r.pool, outer * p.parts, 1, spread_item, &p);
    return true;
}

/* Neighbouring axes along which both operands go on alike become one. */
static LedgeBytePair merge_axes(const LedgeBytePair *s)
{
    LedgeBytePair t = {.rank = 0};
    for (int32_t d = 0; d < s->rank; d++) {
        if (s->dims[d] == 1)
            continue;
        const int32_t k = t.rank - 1;
        if (k >= 0 && t.a_stride[k] == s->a_stride[d] * s->dims[d] &&
            t.b_stride[k] == s->b_stride[d] * s->dims[d]) {
            t.dims[k] *= s->dims[d];
            t.a_stride[k] = s->a_stride[d];
            t.b_stride[k] = s->b_stride[d];
            continue;
        }
        t.dims[t.rank] = s->dims[d];
        t.a_stride[t.rank] = s->a_stride[d];
        t.b_stride[t.rank++] = s->b_stride[d];
    }
    if (t.rank == 0)
        t = (LedgeBytePair){1, {1}, {1}, {1}};
    return t;
}

static void run_pair(LedgeRunner r, PairKernel kernel, const LedgeBytePair *shape,
                     const LedgeByteMix *m, const uint8_t *a, const uint8_t *b, uint8_t *y)
{
    const LedgeBytePair s = merge_axes(shape);
    const int32_t last = s.rank - 1;
    PairArgs p = {.kernel = kernel, .shape = &s, .m = m, .a = a, .b = b, .y = y, .outer = 1};
    p.inner = s.dims[last];
    p.form = s.a_stride[last] == 0 ? LEDGE_SV : s.b_stride[last] == 0 ? LEDGE_VS : LEDGE_VV;
    p.one = s.a_stride[last] == 0 && s.b_stride[last] == 0;
    for (int32_t d = 0; d < last; d++)
        p.outer *= s.dims[d];
    if (p.inner == 0 || p.outer == 0 || run_spread(r, kernel, &s, m, a, b, y))
        return;
    p.rows = p.inner < BYTE_PIECE ? BYTE_PIECE / p.inner : 1;
    p.row_parts = ledge__pieces(p.inner, BYTE_PIECE);
    ledge__pool_run(r.pool, ledge__pieces(p.outer, p.rows) * p.row_parts, 1, pair_piece, &p);
}

void ledge__bytes_add(LedgeRunner r, const LedgeBytePair *shape, const LedgeByteMix *m,
                      const uint8_t *a, const uint8_t *b, uint8_t *y)
{
    run_pair(r, ledge__vec(r.cpu)->byte_add, shape, m, a, b, y);
}

void ledge__bytes_mul(LedgeRunner r, const LedgeBytePair *shape, const LedgeByteMix *m,
                      const uint8_t *a, const uint8_t *b, uint8_t *y)
{
    run_pair(r, ledge__vec(r.cpu)->byte_mul, shape, m, a, b, y);
}
