/* Shares the kernels over 8-bit numbers among the threads of a pool; see bytes.h. */
#include "engine/kernels/bytes.h"

#include <math.h>
#include <string.h>

#include "engine/kernels/pool_span.h"

/* Elements of one piece: some microseconds of work, and at home in an L1 or L2. */
enum { PIECE = 16384, TILE = 64 };

static size_t pieces(size_t n, size_t piece)
{
    return n / piece + (n % piece != 0);
}

static size_t piece_size(size_t n, size_t piece, size_t i)
{
    return n - i * piece < piece ? n - i * piece : piece;
}

/* ---- maps ---- */

typedef struct MapArgs {
    const LedgeVec *v;
    const void *x;
    void *y;
    size_t n;
    LedgeByteScale s;
    const uint8_t *table;
} MapArgs;

static void quantize_piece(void *arg, size_t begin, size_t end, int thread)
{
    const MapArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->v->quantize((const float *)p->x + i * PIECE, (uint8_t *)p->y + i * PIECE,
                       piece_size(p->n, PIECE, i), &p->s);
}

void ledge__bytes_quantize(LedgeRunner r, const float *x, uint8_t *y, size_t n, LedgeByteScale s)
{
    MapArgs p = {.v = ledge__vec(r.cpu), .x = x, .y = y, .n = n, .s = s};
    ledge__pool_run(r.pool, pieces(n, PIECE), 1, quantize_piece, &p);
}

static void dequantize_piece(void *arg, size_t begin, size_t end, int thread)
{
    const MapArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->v->dequantize((const uint8_t *)p->x + i * PIECE, (float *)p->y + i * PIECE,
                         piece_size(p->n, PIECE, i), &p->s);
}

void ledge__bytes_dequantize(LedgeRunner r, const uint8_t *x, float *y, size_t n, LedgeByteScale s)
{
    MapArgs p = {.v = ledge__vec(r.cpu), .x = x, .y = y, .n = n, .s = s};
    ledge__pool_run(r.pool, pieces(n, PIECE), 1, dequantize_piece, &p);
}

static void map_piece(void *arg, size_t begin, size_t end, int thread)
{
    const MapArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->v->byte_map((const uint8_t *)p->x + i * PIECE, (uint8_t *)p->y + i * PIECE,
                       piece_size(p->n, PIECE, i), p->table);
}

void ledge__bytes_map(LedgeRunner r, const uint8_t *x, uint8_t *y, size_t n, const uint8_t *table)
{
    MapArgs p = {.v = ledge__vec(r.cpu), .x = x, .y = y, .n = n, .table = table};
    ledge__pool_run(r.pool, pieces(n, PIECE), 1, map_piece, &p);
}

/* ---- with a change of layout: blocks of pixels go through a tile of bytes ---- */

enum { BLOCK = 128 }; /* pixels and channels of one work item */

typedef struct LayoutArgs {
    const LedgeVec *v;
    const float *planes;
    float *to_planes;
    const uint8_t *pixels;
    uint8_t *to_pixels;
    size_t channels, n, blocks, bands;
    LedgeByteScale s;
} LayoutArgs;

/* Work item i: its first channel and pixel, how many of each, and offsets into both sides. */
typedef struct Block {
    size_t channels, pixels, in_planes, in_pixels;
} Block;

static Block block_of(const LayoutArgs *p, size_t i)
{
    const size_t image = i / (p->blocks * p->bands), rest = i % (p->blocks * p->bands);
    const size_t c = rest % p->bands * BLOCK, at = rest / p->bands * BLOCK;
    const size_t base = image * p->channels * p->n;
    Block b = {p->channels - c < BLOCK ? p->channels - c : BLOCK,
               p->n - at < BLOCK ? p->n - at : BLOCK, base + c * p->n + at,
               base + at * p->channels + c};
    return b;
}

static void quantize_block(void *arg, size_t begin, size_t end, int thread)
{
    const LayoutArgs *p = arg;
    uint8_t tile[BLOCK * BLOCK];
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const Block b = block_of(p, i);
        for (size_t c = 0; c < b.channels; c++)
            p->v->quantize(p->planes + b.in_planes + c * p->n, tile + c * BLOCK, b.pixels, &p->s);
        p->v->transpose_8(tile, BLOCK, p->to_pixels + b.in_pixels, p->channels, b.channels,
                          b.pixels);
    }
}

static void dequantize_block(void *arg, size_t begin, size_t end, int thread)
{
    const LayoutArgs *p = arg;
    uint8_t tile[BLOCK * BLOCK];
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const Block b = block_of(p, i);
        p->v->transpose_8(p->pixels + b.in_pixels, p->channels, tile, BLOCK, b.pixels, b.channels);
        for (size_t c = 0; c < b.channels; c++)
            p->v->dequantize(tile + c * BLOCK, p->to_planes + b.in_planes + c * p->n, b.pixels,
                             &p->s);
    }
}

static void run_blocks(LedgeRunner r, LayoutArgs *p, size_t batch, LedgePoolFn fn)
{
    p->v = ledge__vec(r.cpu);
    p->blocks = pieces(p->n, BLOCK);
    p->bands = pieces(p->channels, BLOCK);
    ledge__pool_run(r.pool, batch * p->blocks * p->bands, p->channels < BLOCK / 4 ? 8 : 1, fn, p);
}

void ledge__bytes_quantize_nhwc(LedgeRunner r, const float *x, uint8_t *y, size_t batch,
                                size_t channels, size_t pixels, LedgeByteScale s)
{
    LayoutArgs p = {.planes = x, .to_pixels = y, .channels = channels, .n = pixels, .s = s};
    run_blocks(r, &p, batch, quantize_block);
}

void ledge__bytes_dequantize_nchw(LedgeRunner r, const uint8_t *x, float *y, size_t batch,
                                  size_t channels, size_t pixels, LedgeByteScale s)
{
    LayoutArgs p = {.pixels = x, .to_planes = y, .channels = channels, .n = pixels, .s = s};
    run_blocks(r, &p, batch, dequantize_block);
}

/* ---- pairs ---- */

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
    const size_t from = part * PIECE, n = piece_size(p->inner, PIECE, part);
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
    p.part = PIECE / SPREAD * p.tile;
    p.parts = pieces(p.rows, p.part);
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
    p.rows = p.inner < PIECE ? PIECE / p.inner : 1;
    p.row_parts = pieces(p.inner, PIECE);
    ledge__pool_run(r.pool, pieces(p.outer, p.rows) * p.row_parts, 1, pair_piece, &p);
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

/* ---- pools ---- */

typedef struct PoolArgs {
    const LedgeVec *v;
    const LedgePoolWindow *w;
    const LedgeByteMean *mean; /* NULL: the maximum */
    const uint8_t *x;
    uint8_t *y;
} PoolArgs;

static void pool_pixel(const PoolArgs *p, const uint8_t *image, const Span *rows, const Span *cols,
                       uint8_t *y)
{
    const LedgePoolWindow *w = p->w;
    LedgeByteTaps t = {NULL, rows->end - rows->first, w->dilation_h * w->w * w->channels,
                       cols->end - cols->first, w->dilation_w * w->channels};
    if (t.rows == 0 || t.cols == 0) {
        memset(y, p->mean ? p->mean->y_zero : 0, w->channels);
        return;
    }
    const ptrdiff_t row = rows->start + (ptrdiff_t)(rows->first * w->dilation_h);
    const ptrdiff_t col = cols->start + (ptrdiff_t)(cols->first * w->dilation_w);
    t.x = image + ((size_t)row * w->w + (size_t)col) * w->channels;
    if (!p->mean) {
        p->v->byte_max(&t, y, w->channels);
        return;
    }
    const size_t count = w->count_pad ? rows->in_padded * cols->in_padded : t.rows * t.cols;
    p->v->byte_mean(&t, p->mean, p->mean->scale / (float)count, y, w->channels);
}

static void pool_rows(void *arg, size_t begin, size_t end, int thread)
{
    const PoolArgs *p = arg;
    const LedgePoolWindow *w = p->w;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const uint8_t *image = p->x + i / w->out_h * w->h * w->w * w->channels;
        const Span rows = span_of(i % w->out_h, w->kernel_h, w->stride_h, w->dilation_h, w->pad_top,
                                  w->pad_bottom, w->h);
        uint8_t *y = p->y + i * w->out_w * w->channels;
        for (size_t k = 0; k < w->out_w; k++, y += w->channels) {
            const Span cols = span_of(k, w->kernel_w, w->stride_w, w->dilation_w, w->pad_left,
                                      w->pad_right, w->w);
            pool_pixel(p, image, &rows, &cols, y);
        }
    }
}

static void run_pool(LedgeRunner r, const LedgePoolWindow *w, const LedgeByteMean *m,
                     const uint8_t *x, uint8_t *y)
{
    PoolArgs p = {ledge__vec(r.cpu), w, m, x, y};
    const size_t row = w->out_w * w->channels * w->kernel_h * w->kernel_w;
    ledge__pool_run(r.pool, w->batch * w->out_h, row < 65536 ? 65536 / (row + 1) + 1 : 1, pool_rows,
                    &p);
}

void ledge__bytes_max_pool(LedgeRunner r, const LedgePoolWindow *w, const uint8_t *x, uint8_t *y)
{
    run_pool(r, w, NULL, x, y);
}

void ledge__bytes_average_pool(LedgeRunner r, const LedgePoolWindow *w, const LedgeByteMean *m,
                               const uint8_t *x, uint8_t *y)
{
    run_pool(r, w, m, x, y);
}

typedef struct GlobalArgs {
    const LedgeVec *v;
    const LedgeByteMean *mean; /* NULL: the maximum */
    size_t pixels, channels, bands;
    const uint8_t *x;
    uint8_t *y;
} GlobalArgs;

/* One item: some channels of one image. */
static void global_band(void *arg, size_t begin, size_t end, int thread)
{
    const GlobalArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t image = i / p->bands, c = i % p->bands * BLOCK;
        const size_t n = p->channels - c < BLOCK ? p->channels - c : BLOCK;
        const LedgeByteTaps t = {p->x + image * p->pixels * p->channels + c, p->pixels, p->channels,
                                 1, 0};
        uint8_t *y = p->y + image * p->channels + c;
        if (p->mean)
            p->v->byte_mean(&t, p->mean, p->mean->scale / (float)p->pixels, y, n);
        else
            p->v->byte_max(&t, y, n);
    }
}

static void run_global(LedgeRunner r, size_t batch, size_t pixels, size_t channels,
                       const LedgeByteMean *m, const uint8_t *x, uint8_t *y)
{
    GlobalArgs p = {ledge__vec(r.cpu), m, pixels, channels, pieces(channels, BLOCK), x, y};
    const size_t cost = pixels * (channels < BLOCK ? channels : BLOCK);
    ledge__pool_run(r.pool, batch * p.bands, cost < 65536 ? 65536 / (cost + 1) + 1 : 1, global_band,
                    &p);
}

void ledge__bytes_global_max(LedgeRunner r, size_t batch, size_t pixels, size_t channels,
                             const uint8_t *x, uint8_t *y)
{
    run_global(r, batch, pixels, channels, NULL, x, y);
}

void ledge__bytes_global_average(LedgeRunner r, size_t batch, size_t pixels, size_t channels,
                                 const LedgeByteMean *m, const uint8_t *x, uint8_t *y)
{
    run_global(r, batch, pixels, channels, m, x, y);
}

typedef struct PlaneArgs {
    const LedgeVec *v;
    const LedgeByteMean *mean;
    size_t pixels;
    uint8_t x_flip, y_flip;
    const uint8_t *x;
    uint8_t *y;
} PlaneArgs;

static void plane_average(void *arg, size_t begin, size_t end, int thread)
{
    const PlaneArgs *p = arg;
    const LedgeByteMean *m = p->mean;
    const float scale = m->scale / (float)p->pixels;
    const int32_t zeros = (int32_t)p->pixels * m->x_zero;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const int32_t sum = p->v->byte_sum(p->x + i * p->pixels, p->pixels, p->x_flip) - zeros;
        const float v = (float)sum * scale, low = (float)(m->lo - m->y_zero);
        const float high = (float)(m->hi - m->y_zero);
        const float q = rintf(v < low ? low : v < high ? v : high);
        p->y[i] = (uint8_t)((int32_t)q + m->y_zero) ^ p->y_flip;
    }
}

void ledge__bytes_plane_average(LedgeRunner r, size_t planes, size_t pixels, const LedgeByteMean *m,
                                uint8_t x_flip, uint8_t y_flip, const uint8_t *x, uint8_t *y)
{
    PlaneArgs p = {ledge__vec(r.cpu), m, pixels, x_flip, y_flip, x, y};
    ledge__pool_run(r.pool, planes, pixels < 65536 ? 65536 / (pixels + 1) + 1 : 1, plane_average,
                    &p);
}

/* ---- the range of floats ---- */

enum { RANGE_PARTS = 64 };

typedef struct RangeArgs {
    const LedgeVec *v;
    const float *x;
    size_t n, part;
    float low[RANGE_PARTS], high[RANGE_PARTS];
} RangeArgs;

static void range_part(void *arg, size_t begin, size_t end, int thread)
{
    RangeArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->v->range(p->x + i * p->part, piece_size(p->n, p->part, i), &p->low[i], &p->high[i]);
}

void ledge__bytes_range(LedgeRunner r, const float *x, size_t n, float *low, float *high)
{
    RangeArgs p = {.v = ledge__vec(r.cpu), .x = x, .n = n, .part = n / RANGE_PARTS + 1};
    float lo = 0, hi = 0;
    p.part = p.part < PIECE ? PIECE : p.part;
    const size_t parts = pieces(n, p.part);
    ledge__pool_run(r.pool, parts, 1, range_part, &p);
    for (size_t i = 0; i < parts; i++) {
        lo = p.low[i] < lo ? p.low[i] : lo;
        hi = p.high[i] > hi ? p.high[i] : hi;
    }
    *low = lo;
    *high = hi;
}
