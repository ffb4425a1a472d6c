/* The strided copy: dimensions are merged first, then one of four walks does the work: runs of
 * bytes, tiles (a transpose), single elements, or packed elements. Items given to the pool
 * write disjoint bytes, so the result does not depend on threads. */
#include "engine/ops/shape/move.h"

#define THREAD_BYTES 131072 /* below this a copy is not worth waking workers */
#define ITEM_BYTES 32768
#define TILE 16

typedef struct Walk {
    int32_t rank;
    size_t size; /* bytes of an element, or of a run */
    int64_t dims[LEDGE_MOVE_RANK], from_step[LEDGE_MOVE_RANK], to_step[LEDGE_MOVE_RANK];
    const char *from;
    char *to;
    int32_t across;      /* tiles: the dimension whose elements lie side by side in `from` */
    int64_t tile_blocks; /* tiles: blocks of TILE along `across` */
} Walk;

/* Drops dimensions of 1 and joins neighbours that both sides walk as one. */
static void merge(Walk *w, const LedgeMove *m)
{
    w->rank = 0;
    for (int32_t d = 0; d < m->rank; d++) {
        if (m->dims[d] == 1)
            continue;
        int64_t f = m->from_stride[d], t = m->to_stride[d];
        int32_t last = w->rank - 1;
        if (last >= 0 && w->from_step[last] == f * m->dims[d] &&
            w->to_step[last] == t * m->dims[d]) {
            w->dims[last] *= m->dims[d];
            w->from_step[last] = f;
            w->to_step[last] = t;
            continue;
        }
        w->dims[w->rank] = m->dims[d];
        w->from_step[w->rank] = f;
        w->to_step[w->rank++] = t;
    }
}

/* Offsets of the item-th combination of the first `rank` dimensions, `skip` left out. */
static void locate(const Walk *w, int32_t rank, int32_t skip, size_t item, int64_t *index,
                   const char **from, char **to)
{
    *from = w->from;
    *to = w->to;
    for (int32_t d = rank - 1; d >= 0; d--) {
        index[d] = 0;
        if (d == skip)
            continue;
        index[d] = (int64_t)(item % (size_t)w->dims[d]);
        item /= (size_t)w->dims[d];
        *from += index[d] * w->from_step[d];
        *to += index[d] * w->to_step[d];
    }
}

static void step(const Walk *w, int32_t rank, int64_t *index, const char **from, char **to)
{
    for (int32_t d = rank - 1; d >= 0; d--) {
        *from += w->from_step[d];
        *to += w->to_step[d];
        if (++index[d] < w->dims[d])
            return;
        *from -= w->from_step[d] * w->dims[d];
        *to -= w->to_step[d] * w->dims[d];
        index[d] = 0;
    }
}

/* Every item is one run of w->size bytes. */
static void copy_runs(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    int64_t index[LEDGE_MOVE_RANK];
    const char *from;
    char *to;
    (void)thread;
    locate(w, w->rank, -1, begin, index, &from, &to);
    for (size_t i = begin; i < end; i++) {
        memcpy(to, from, w->size);
        step(w, w->rank, index, &from, &to);
    }
}

#define STRIDED(bytes)                                                                    \
    for (int64_t k = 0; k < n; k++)                                                       \
    memcpy(to + k * ts, from + k * fs, bytes)

/* n elements of a constant size, so that memcpy becomes a load and a store. */
static void copy_line(char *to, int64_t ts, const char *from, int64_t fs, int64_t n, size_t size)
{
    switch (size) {
    case 1:
        STRIDED(1);
        break;
    case 2:
        STRIDED(2);
        break;
    case 4:
        STRIDED(4);
        break;
    case 8:
        STRIDED(8);
        break;
    case 16:
        STRIDED(16);
        break;
    default:
        STRIDED(size);
    }
}

/* Every item is a line along the last dimension. */
static void copy_lines(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    int32_t last = w->rank - 1;
    int64_t index[LEDGE_MOVE_RANK];
    const char *from;
    char *to;
    (void)thread;
    locate(w, last, -1, begin, index, &from, &to);
    for (size_t i = begin; i < end; i++) {
        copy_line(to, w->to_step[last], from, w->from_step[last], w->dims[last], w->size);
        step(w, last, index, &from, &to);
    }
}

typedef uint32_t V4 __attribute__((vector_size(16)));
typedef uint8_t V16 __attribute__((vector_size(16)));

/* 4x4 elements of 4 bytes: rows of `from` become columns of `to`. */
static inline void transpose_4x4(char *to, int64_t ts, const char *from, int64_t fs)
{
    V4 a, b, c, d;
    memcpy(&a, from, 16);
    memcpy(&b, from + fs, 16);
    memcpy(&c, from + 2 * fs, 16);
    memcpy(&d, from + 3 * fs, 16);
    V4 e = __builtin_shufflevector(a, b, 0, 4, 1, 5), f = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    V4 g = __builtin_shufflevector(a, b, 2, 6, 3, 7), h = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    a = __builtin_shufflevector(e, f, 0, 1, 4, 5);
    b = __builtin_shufflevector(e, f, 2, 3, 6, 7);
    c = __builtin_shufflevector(g, h, 0, 1, 4, 5);
    d = __builtin_shufflevector(g, h, 2, 3, 6, 7);
    memcpy(to, &a, 16);
    memcpy(to + ts, &b, 16);
    memcpy(to + 2 * ts, &c, 16);
    memcpy(to + 3 * ts, &d, 16);
}

/* b = rows 2i and 2i + 1 made of rows i and i + 8 of a, byte by byte. */
static inline void interleave(const V16 *a, V16 *b)
{
    for (int i = 0; i < 8; i++) {
        b[2 * i] = __builtin_shufflevector(a[i], a[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,
                                           21, 6, 22, 7, 23);
        b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12,
                                               28, 13, 29, 14, 30, 15, 31);
    }
}

/* 16x16 bytes: four rounds of interleaving turn rows into columns. */
static void transpose_16x16(char *to, int64_t ts, const char *from, int64_t fs)
{
    V16 a[16], b[16];
    for (int i = 0; i < 16; i++)
        memcpy(&a[i], from + i * fs, 16);
    interleave(a, b);
    interleave(b, a);
    interleave(a, b);
    interleave(b, a);
    for (int i = 0; i < 16; i++)
        memcpy(to + i * ts, &a[i], 16);
}

/* A tile of rows x cols: `from` is dense along rows' index, `to` along cols' index. */
static void copy_tile(char *to, int64_t ts, const char *from, int64_t fs, int64_t rows,
                      int64_t cols, size_t size)
{
    if (size == 4 && rows == TILE && cols == TILE) {
        for (int64_t r = 0; r < TILE; r += 4)
            for (int64_t k = 0; k < TILE; k += 4)
                transpose_4x4(to + r * ts + k * 4, ts, from + k * fs + r * 4, fs);
        return;
    }
    if (size == 1 && rows == TILE && cols == TILE) {
        transpose_16x16(to, ts, from, fs);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        copy_line(to + r * ts, (int64_t)size, from + r * (int64_t)size, fs, cols, size);
}

/* Every item is TILE elements of `across` times the whole last dimension. */
static void copy_tiles(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    int32_t last = w->rank - 1, a = w->across;
    (void)thread;
    for (size_t item = begin; item < end; item++) {
        int64_t index[LEDGE_MOVE_RANK], r0 = (int64_t)(item % (size_t)w->tile_blocks) * TILE;
        int64_t rows = w->dims[a] - r0 < TILE ? w->dims[a] - r0 : TILE;
        const char *from;
        char *to;
        locate(w, last, a, item / (size_t)w->tile_blocks, index, &from, &to);
        from += r0 * w->from_step[a];
        to += r0 * w->to_step[a];
        for (int64_t k = 0; k < w->dims[last]; k += TILE) {
            int64_t cols = w->dims[last] - k < TILE ? w->dims[last] - k : TILE;
            copy_tile(to + k * w->to_step[last], w->to_step[a], from + k * w->from_step[last],
                      w->from_step[last], rows, cols, w->size);
        }
    }
}

/* Packed elements share bytes, so one thread does it all. */
static void copy_packed(const LedgeMove *m, Walk *w, const void *from, void *to)
{
    int64_t total = ledge__dims_product(w->dims, 0, w->rank);
    int64_t index[LEDGE_MOVE_RANK] = {0}, f = m->from_offset, t = m->to_offset;
    for (int64_t i = 0; i < total; i++) {
        ledge__packed_set(to, t, m->bits, ledge__packed_get(from, f, m->bits));
        for (int32_t d = w->rank - 1; d >= 0; d--) {
            f += w->from_step[d];
            t += w->to_step[d];
            if (++index[d] < w->dims[d])
                break;
            f -= w->from_step[d] * w->dims[d];
            t -= w->to_step[d] * w->dims[d];
            index[d] = 0;
        }
    }
}

static void run_items(Walk *w, size_t items, size_t item_bytes, LedgePoolFn fn, LedgePool *pool)
{
    size_t grain = ITEM_BYTES / (item_bytes ? item_bytes : 1);
    if (items <= 1 || items * item_bytes < THREAD_BYTES)
        fn(w, 0, items, 0);
    else
        ledge__pool_run(pool, items, grain ? grain : 1, fn, w);
}

/* The last dimension is dense on both sides: it becomes part of the element. Runs longer than
 * an item are cut so that threads can share them. */
static void absorb_run(Walk *w)
{
    int32_t last = w->rank - 1;
    if (last < 0 || w->from_step[last] != (int64_t)w->size || w->to_step[last] != (int64_t)w->size)
        return;
    int64_t n = w->dims[last];
    size_t size = w->size;
    w->size = (size_t)n * size;
    w->rank--;
    if (w->rank == 0 && w->size >= THREAD_BYTES) {
        int64_t parts = 64;
        while (parts > 1 && n % parts)
            parts /= 2;
        w->dims[0] = parts;
        w->size /= (size_t)parts;
        w->from_step[0] = w->to_step[0] = (int64_t)w->size;
        w->rank = 1;
    }
}

static int32_t dense_in_from(const Walk *w)
{
    for (int32_t d = 0; d + 1 < w->rank; d++)
        if (w->from_step[d] == (int64_t)w->size && w->dims[d] >= 4)
            return d;
    return -1;
}

static void walk(Walk *w, LedgePool *pool)
{
    absorb_run(w);
    int32_t last = w->rank - 1;
    int64_t total = ledge__dims_product(w->dims, 0, w->rank);
    bool small = w->size == 1 || w->size == 2 || w->size == 4 || w->size == 8 || w->size == 16;
    if (last < 0) {
        memcpy(w->to, w->from, w->size);
        return;
    }
    w->across = dense_in_from(w);
    if (small && w->across >= 0 && w->to_step[last] == (int64_t)w->size) {
        int64_t rows = w->dims[w->across];
        w->tile_blocks = (rows + TILE - 1) / TILE;
        size_t items = (size_t)(total / rows / w->dims[last] * w->tile_blocks);
        run_items(w, items, (size_t)w->dims[last] * TILE * w->size, copy_tiles, pool);
    } else if (small) {
        run_items(w, (size_t)(total / w->dims[last]), (size_t)w->dims[last] * w->size, copy_lines,
                  pool);
    } else {
        run_items(w, (size_t)total, w->size, copy_runs, pool);
    }
}

void ledge__move(const LedgeMove *m, const void *from, void *to, LedgePool *pool)
{
    Walk w;
    for (int32_t d = 0; d < m->rank; d++)
        if (m->dims[d] == 0)
            return;
    merge(&w, m);
    if (m->bits < 8) {
        copy_packed(m, &w, from, to);
        return;
    }
    w.size = m->bits / 8;
    w.from = (const char *)from + m->from_offset * (int64_t)w.size;
    w.to = (char *)to + m->to_offset * (int64_t)w.size;
    for (int32_t d = 0; d < w.rank; d++) {
        w.from_step[d] *= (int64_t)w.size;
        w.to_step[d] *= (int64_t)w.size;
    }
    walk(&w, pool);
}

void ledge__fill(void *to, const void *value, size_t size, int64_t count)
{
    if (count > 0)
        copy_line(to, (int64_t)size, value, 0, count, size);
}
