/* Shares maps, conversions and the range of floats among the threads of a pool; see bytes.h. Pairs
 * are in bytes_pair.c, pools in bytes_pool.c, pictures in bytes_pixels.c. */
#include "engine/kernels/bytes.h"

#include "engine/kernels/bytes_piece.h"

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
        p->v->quantize((const float *)p->x + i * BYTE_PIECE, (uint8_t *)p->y + i * BYTE_PIECE,
                       ledge__piece_size(p->n, BYTE_PIECE, i), &p->s);
}

void ledge__bytes_quantize(LedgeRunner r, const float *x, uint8_t *y, size_t n, LedgeByteScale s)
{
    MapArgs p = {.v = ledge__vec(r.cpu), .x = x, .y = y, .n = n, .s = s};
    ledge__pool_run(r.pool, ledge__pieces(n, BYTE_PIECE), 1, quantize_piece, &p);
}

static void dequantize_piece(void *arg, size_t begin, size_t end, int thread)
{
    const MapArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->v->dequantize((const uint8_t *)p->x + i * BYTE_PIECE, (float *)p->y + i * BYTE_PIECE,
                         ledge__piece_size(p->n, BYTE_PIECE, i), &p->s);
}

void ledge__bytes_dequantize(LedgeRunner r, const uint8_t *x, float *y, size_t n, LedgeByteScale s)
{
    MapArgs p = {.v = ledge__vec(r.cpu), .x = x, .y = y, .n = n, .s = s};
    ledge__pool_run(r.pool, ledge__pieces(n, BYTE_PIECE), 1, dequantize_piece, &p);
}

static void map_piece(void *arg, size_t begin, size_t end, int thread)
{
    const MapArgs *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++)
        p->v->byte_map((const uint8_t *)p->x + i * BYTE_PIECE, (uint8_t *)p->y + i * BYTE_PIECE,
                       ledge__piece_size(p->n, BYTE_PIECE, i), p->table);
}

void ledge__bytes_map(LedgeRunner r, const uint8_t *x, uint8_t *y, size_t n, const uint8_t *table)
{
    MapArgs p = {.v = ledge__vec(r.cpu), .x = x, .y = y, .n = n, .table = table};
    ledge__pool_run(r.pool, ledge__pieces(n, BYTE_PIECE), 1, map_piece, &p);
}

/* ---- with a change of layout: blocks of pixels go through a tile of bytes ---- */

/* Channels of one work item, and its pixels: more of them where channels are few, so that runs
 * are long. */
enum { BLOCK = 128, FEW = 16, LONG = BLOCK * BLOCK / FEW };

typedef struct LayoutArgs {
    const LedgeVec *v;
    const float *planes;
    float *to_planes;
    const uint8_t *pixels;
    uint8_t *to_pixels;
    size_t channels, n, span, blocks, bands;
    LedgeByteScale s;
} LayoutArgs;

/* Work item i: its first channel and pixel, how many of each, and offsets into both sides. */
typedef struct Block {
    size_t channels, pixels, in_planes, in_pixels;
} Block;

static Block block_of(const LayoutArgs *p, size_t i)
{
    const size_t image = i / (p->blocks * p->bands), rest = i % (p->blocks * p->bands);
    const size_t c = rest % p->bands * BLOCK, at = rest / p->bands * p->span;
    const size_t base = image * p->channels * p->n;
    Block b = {p->channels - c < BLOCK ? p->channels - c : BLOCK,
               p->n - at < p->span ? p->n - at : p->span, base + c * p->n + at,
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
            p->v->quantize(p->planes + b.in_planes + c * p->n, tile + c * p->span, b.pixels, &p->s);
        p->v->transpose_8(tile, p->span, p->to_pixels + b.in_pixels, p->channels, b.channels,
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
        p->v->transpose_8(p->pixels + b.in_pixels, p->channels, tile, p->span, b.pixels,
                          b.channels);
        for (size_t c = 0; c < b.channels; c++)
            p->v->dequantize(tile + c * p->span, p->to_planes + b.in_planes + c * p->n, b.pixels,
                             &p->s);
    }
}

static void run_blocks(LedgeRunner r, LayoutArgs *p, size_t batch, LedgePoolFn fn)
{
    p->v = ledge__vec(r.cpu);
    p->span = p->channels <= FEW ? LONG : BLOCK;
    p->blocks = ledge__pieces(p->n, p->span);
    p->bands = ledge__pieces(p->channels, BLOCK);
    ledge__pool_run(r.pool, batch * p->blocks * p->bands, 1, fn, p);
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
        p->v->range(p->x + i * p->part, ledge__piece_size(p->n, p->part, i), &p->low[i],
                    &p->high[i]);
}

void ledge__bytes_range(LedgeRunner r, const float *x, size_t n, float *low, float *high)
{
    RangeArgs p = {.v = ledge__vec(r.cpu), .x = x, .n = n, .part = n / RANGE_PARTS + 1};
    float lo = 0, hi = 0;
    p.part = p.part < BYTE_PIECE ? BYTE_PIECE : p.part;
    const size_t parts = ledge__pieces(n, p.part);
    ledge__pool_run(r.pool, parts, 1, range_part, &p);
    for (size_t i = 0; i < parts; i++) {
        lo = p.low[i] < lo ? p.low[i] : lo;
        hi = p.high[i] > hi ? p.high[i] : hi;
    }
    *low = lo;
    *high = hi;
}
