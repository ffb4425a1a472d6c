/* Template: transposition of 32-bit matrices by register tiles, over the vocabulary of the
 * simd_<isa>.h included before. The walk finishes each cache line of y before it leaves. */

static void transpose_plain(const uint32_t *x, size_t ldx, uint32_t *y, size_t ldy, size_t rows,
                            size_t cols)
{
    for (size_t c = 0; c < cols; c++)
        for (size_t r = 0; r < rows; r++)
            y[c * ldy + r] = x[r * ldx + c];
}

#if VF_TILE > 1

/* Fewer than 4 rows into packed columns: each store of 4 runs over into the next column's
 * place, which the next store then sets right. */
static void transpose_few_rows(const uint32_t *x, size_t ldx, uint32_t *y, size_t rows, size_t cols)
{
    size_t c = 0;
    for (; c + 5 <= cols; c += 4)
        tile4(x + c, ldx, y + c * rows, rows, rows);
    transpose_plain(x + c, ldx, y + c * rows, rows, rows, cols - c);
}

/* Packed rows of fewer than 4 columns: each load of 4 takes in the start of the next row. */
static void transpose_few_cols(const uint32_t *x, uint32_t *y, size_t ldy, size_t rows, size_t cols)
{
    size_t r = 0;
    for (; r + 5 <= rows; r += 4) {
        uint32_t tile[16];
        tile4(x + r * cols, cols, tile, 4, 4);
        for (size_t c = 0; c < cols; c++)
            memcpy(y + c * ldy + r, tile + 4 * c, 4 * sizeof *y);
    }
    transpose_plain(x + r * cols, cols, y + r, ldy, rows - r, cols);
}

/* A band of up to 16 columns. */
static void transpose_band(const uint32_t *x, size_t ldx, uint32_t *y, size_t ldy, size_t rows,
                           size_t cols)
{
    const size_t cols4 = cols & ~(size_t)3;
    size_t r = 0;
#if VF_TILE == 8
    for (; r + 8 <= rows; r += 8) {
        size_t c = 0;
        for (; c + 8 <= cols; c += 8)
            tile8(x + r * ldx + c, ldx, y + c * ldy + r, ldy);
        for (; c < cols4; c += 4) {
            tile4(x + r * ldx + c, ldx, y + c * ldy + r, ldy, 4);
            tile4(x + (r + 4) * ldx + c, ldx, y + c * ldy + r + 4, ldy, 4);
        }
        transpose_plain(x + r * ldx + c, ldx, y + c * ldy + r, ldy, 8, cols - c);
    }
#endif
    for (; r + 4 <= rows; r += 4) {
        for (size_t c = 0; c < cols4; c += 4)
            tile4(x + r * ldx + c, ldx, y + c * ldy + r, ldy, 4);
        transpose_plain(x + r * ldx + cols4, ldx, y + cols4 * ldy + r, ldy, 4, cols - cols4);
    }
    transpose_plain(x + r * ldx, ldx, y + r, ldy, rows - r, cols);
}

static void vec_transpose_32(const uint32_t *x, size_t ldx, uint32_t *y, size_t ldy, size_t rows,
                             size_t cols)
{
    if ((rows == 1 && ldy == 1) || (cols == 1 && ldx == 1)) {
        memcpy(y, x, rows * cols * sizeof *y);
        return;
    }
    if (rows < 4 && ldy == rows) {
        transpose_few_rows(x, ldx, y, rows, cols);
        return;
    }
    if (cols < 4 && ldx == cols) {
        transpose_few_cols(x, y, ldy, rows, cols);
        return;
    }
    for (size_t c = 0; c < cols; c += 16)
        transpose_band(x + c, ldx, y + c * ldy, ldy, rows, cols - c < 16 ? cols - c : 16);
}

#else

static void vec_transpose_32(const uint32_t *x, size_t ldx, uint32_t *y, size_t ldy, size_t rows,
                             size_t cols)
{
    for (size_t c = 0; c < cols; c += 16)
        transpose_plain(x + c, ldx, y + c * ldy, ldy, rows, cols - c < 16 ? cols - c : 16);
}

#endif
