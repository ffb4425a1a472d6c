/* Template: transposition of bytes by register tiles of 8 rows and 16 columns, and of a few rows
 * or columns as images have them. Written with the compilers' own vectors of 16 bytes, which
 * every instruction set turns into its interleaving and shuffling. */
#include <string.h>

#if VB_LANES > 1

typedef uint8_t v16 __attribute__((vector_size(16)));

static inline v16 v16_load(const uint8_t *p)
{
    v16 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void v16_store(uint8_t *p, v16 v)
{
    memcpy(p, &v, sizeof v);
}

#define ZIP_LO(a, b)                                                                               \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HI(a, b)                                                                               \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define ZIP2_LO(a, b)                                                                              \
    __builtin_shufflevector(a, b, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23)
#define ZIP2_HI(a, b)                                                                              \
    __builtin_shufflevector(a, b, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31)
#define ZIP4_LO(a, b)                                                                              \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23)
#define ZIP4_HI(a, b)                                                                              \
    __builtin_shufflevector(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31)

/* Both halves of v: two columns of 8. */
static inline void store_columns(uint8_t *y, size_t ldy, v16 v)
{
    memcpy(y, &v, 8);
    memcpy(y + ldy, (const uint8_t *)&v + 8, 8);
}

/* y[c][r] = x[r][c] for 8 rows and 16 columns. */
static inline void tile_8x16(const uint8_t *x, size_t ldx, uint8_t *y, size_t ldy)
{
    v16 r[8], a[8];
    VX_UNROLL
    for (size_t i = 0; i < 8; i++)
        r[i] = v16_load(x + i * ldx);
    VX_UNROLL
    for (size_t i = 0; i < 4; i++) { /* rows 2i and 2i+1 */
        a[i] = ZIP_LO(r[2 * i], r[2 * i + 1]);
        a[4 + i] = ZIP_HI(r[2 * i], r[2 * i + 1]);
    }
    VX_UNROLL
    for (size_t h = 0; h < 8; h += 4) { /* columns 0 … 7, then 8 … 15 */
        const v16 b0 = ZIP2_LO(a[h], a[h + 1]), b1 = ZIP2_HI(a[h], a[h + 1]);
        const v16 b2 = ZIP2_LO(a[h + 2], a[h + 3]), b3 = ZIP2_HI(a[h + 2], a[h + 3]);
        uint8_t *to = y + 2 * h * ldy;
        store_columns(to, ldy, ZIP4_LO(b0, b2));
        store_columns(to + 2 * ldy, ldy, ZIP4_HI(b0, b2));
        store_columns(to + 4 * ldy, ldy, ZIP4_LO(b1, b3));
        store_columns(to + 6 * ldy, ldy, ZIP4_HI(b1, b3));
    }
}

static void transpose8_plain(const uint8_t *x, size_t ldx, uint8_t *y, size_t ldy, size_t rows,
                             size_t cols)
{
    for (size_t c = 0; c < cols; c++)
        for (size_t r = 0; r < rows; r++)
            y[c * ldy + r] = x[r * ldx + c];
}

/* Two, three or four planes become pixels. */
static size_t planes_to_pixels(const uint8_t *x, size_t ldx, uint8_t *y, size_t rows, size_t cols)
{
    size_t c = 0;
    for (; c + 16 <= cols; c += 16) {
        const v16 p = v16_load(x + c), q = v16_load(x + ldx + c);
        uint8_t *to = y + c * rows;
        if (rows == 2) {
            v16_store(to, ZIP_LO(p, q));
            v16_store(to + 16, ZIP_HI(p, q));
        } else if (rows == 3) {
            const v16 s = v16_load(x + 2 * ldx + c);
            const v16 a =
                __builtin_shufflevector(p, q, 0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5);
            const v16 b = __builtin_shufflevector(p, q, 21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25,
                                                  0, 10, 26);
            const v16 d = __builtin_shufflevector(p, q, 0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30,
                                                  0, 15, 31, 0);
            v16_store(to, __builtin_shufflevector(a, s, 0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12,
                                                  13, 20, 15));
            v16_store(to + 16, __builtin_shufflevector(b, s, 0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24,
                                                       11, 12, 25, 14, 15));
            v16_store(to + 32, __builtin_shufflevector(d, s, 26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10,
                                                       11, 30, 13, 14, 31));
        } else {
            const v16 s = v16_load(x + 2 * ldx + c), t = v16_load(x + 3 * ldx + c);
            const v16 pq = ZIP_LO(p, q), st = ZIP_LO(s, t), pq2 = ZIP_HI(p, q), st2 = ZIP_HI(s, t);
            v16_store(to, ZIP2_LO(pq, st));
            v16_store(to + 16, ZIP2_HI(pq, st));
            v16_store(to + 32, ZIP2_LO(pq2, st2));
            v16_store(to + 48, ZIP2_HI(pq2, st2));
        }
    }
    return c;
}

#define EVERY(a, b, k)                                                                             \
    __builtin_shufflevector(a, b, k, (k) + 2, (k) + 4, (k) + 6, (k) + 8, (k) + 10, (k) + 12,       \
                            (k) + 14, (k) + 16, (k) + 18, (k) + 20, (k) + 22, (k) + 24, (k) + 26,  \
                            (k) + 28, (k) + 30)

/* Pixels of two, three or four bytes become planes. */
static size_t pixels_to_planes(const uint8_t *x, uint8_t *y, size_t ldy, size_t rows, size_t cols)
{
    size_t r = 0;
    for (; r + 16 <= rows; r += 16) {
        const uint8_t *from = x + r * cols;
        const v16 a = v16_load(from), b = v16_load(from + 16);
        if (cols == 2) {
            v16_store(y + r, EVERY(a, b, 0));
            v16_store(y + ldy + r, EVERY(a, b, 1));
        } else if (cols == 3) {
            const v16 d = v16_load(from + 32);
            const v16 p = __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0,
                                                  0, 0, 0, 0);
            const v16 q = __builtin_shufflevector(a, b, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0,
                                                  0, 0, 0, 0);
            const v16 s = __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0,
                                                  0, 0, 0, 0);
            v16_store(y + r, __builtin_shufflevector(p, d, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20,
                                                     23, 26, 29));
            v16_store(y + ldy + r, __builtin_shufflevector(q, d, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
                                                           18, 21, 24, 27, 30));
            v16_store(y + 2 * ldy + r, __builtin_shufflevector(s, d, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
                                                               16, 19, 22, 25, 28, 31));
        } else {
            const v16 d = v16_load(from + 32), e = v16_load(from + 48);
            const v16 p = EVERY(a, b, 0), q = EVERY(a, b, 1), s = EVERY(d, e, 0);
            const v16 t = EVERY(d, e, 1);
            v16_store(y + r, EVERY(p, s, 0));
            v16_store(y + ldy + r, EVERY(q, t, 0));
            v16_store(y + 2 * ldy + r, EVERY(p, s, 1));
            v16_store(y + 3 * ldy + r, EVERY(q, t, 1));
        }
    }
    return r;
}

static void vec_transpose_8(const uint8_t *x, size_t ldx, uint8_t *y, size_t ldy, size_t rows,
                            size_t cols)
{
    if ((rows == 1 && ldy == 1) || (cols == 1 && ldx == 1)) {
        memcpy(y, x, rows * cols);
        return;
    }
    if (rows >= 2 && rows <= 4 && ldy == rows) {
        const size_t done = planes_to_pixels(x, ldx, y, rows, cols);
        transpose8_plain(x + done, ldx, y + done * rows, ldy, rows, cols - done);
        return;
    }
    if (cols >= 2 && cols <= 4 && ldx == cols) {
        const size_t done = pixels_to_planes(x, y, ldy, rows, cols);
        transpose8_plain(x + done * cols, ldx, y + done, ldy, rows - done, cols);
        return;
    }
    const size_t cols16 = cols / 16 * 16, rows8 = rows / 8 * 8;
    for (size_t c = 0; c < cols16; c += 16) /* finishes each line of y before it leaves */
        for (size_t r = 0; r < rows8; r += 8)
            tile_8x16(x + r * ldx + c, ldx, y + c * ldy + r, ldy);
    transpose8_plain(x + cols16, ldx, y + cols16 * ldy, ldy, rows8, cols - cols16);
    transpose8_plain(x + rows8 * ldx, ldx, y + rows8, ldy, rows - rows8, cols);
}

#undef EVERY
#undef ZIP_LO
#undef ZIP_HI
#undef ZIP2_LO
#undef ZIP2_HI
#undef ZIP4_LO
#undef ZIP4_HI

#else

static void vec_transpose_8(const uint8_t *x, size_t ldx, uint8_t *y, size_t ldy, size_t rows,
                            size_t cols)
{
    for (size_t r0 = 0; r0 < rows; r0 += 32)
        for (size_t c = 0; c < cols; c++)
            for (size_t r = r0; r < rows && r < r0 + 32; r++)
                y[c * ldy + r] = x[r * ldx + c];
}

#endif
