/* Template of one 8-bit GEMM micro-kernel: TILE_MR rows by TILE_NV vectors, over the vocabulary of a
 * vq_<isa>.h. Included once per tile by tile_rows.h; both sizes are macros so that the sums are
 * plain constants to the compiler and stay in registers.
 *
 * Rows of A are read through pointers and broadcast four bytes at a time, so that A needs no
 * packing: the same kernel serves plain matrices and, with one run of pointers per filter tap,
 * convolution over NHWC. */
#define Q8_STEP(begin, end, four)                                                          \
    do {                                                                                   \
        vqw w[TILE_NV];                                                                      \
        VX_EACH(v, TILE_NV) w[v] = vq_weights(b + v * VQ_BYTES);                             \
        VX_UNROLL                                                                          \
        for (int i = begin; i < (end); i++) {                                              \
            const vqx x = vq_four(four);                                                   \
            VX_EACH(v, TILE_NV) acc[i][v] = vq_dot(acc[i][v], x, w[v]);                      \
        }                                                                                  \
    } while (0)
/* The whole steps of rows begin … end - 1, with B fetched ahead: a cache line each. */
#define Q8_STEPS(begin, end)                                                               \
    for (size_t k = 0; k < whole; k += 4, b += TILE_NV * VQ_BYTES) {                         \
        VX_EACH(v, (TILE_NV * VQ_BYTES + 63) / 64)                                           \
        __builtin_prefetch(b + ahead + v * 64, 0, 2);                                      \
        Q8_STEP(begin, end, a[i] + k);                                                     \
    }

static void TILE_NAME(const LedgeQ8Tile *t)
{
    /* copies, since what is stored might be *t itself for all that the compiler knows */
    const size_t kc = t->kc, whole = kc & ~(size_t)3, ahead = t->ahead;
    Q8Place at = {t->c, t->r};
    size_t passed = 0;
    for (size_t left = t->repeat; left > 0; left--, passed += t->a_step) {
        vqa acc[TILE_MR][TILE_NV];
        const int8_t *b = t->b;
        VX_EACH(v, TILE_NV)
        {
            const vqi x = vq_load_i(t->init + v * VQ_LANES);
            VX_EACH(i, TILE_MR) acc[i][v] = vq_begin(x);
        }
        const uint8_t *const *rows = t->a;
        const LedgeQ8Tap *live = t->live;
        for (size_t tap = t->taps; tap > 0; tap--, rows += TILE_MR) {
            const uint8_t *a[TILE_MR];
            VX_EACH(i, TILE_MR) a[i] = rows[i] + passed;
            if (live)
                b = t->b + live->at * ((kc + 3) / 4 * TILE_NV * VQ_BYTES);
            if (Q8_PARTS(TILE_MR, TILE_NV) && live && live->rows == LEDGE_Q8_NOT_FIRST)
                Q8_STEPS(1, TILE_MR)
            else if (Q8_PARTS(TILE_MR, TILE_NV) && live && live->rows == LEDGE_Q8_NOT_LAST)
                Q8_STEPS(0, TILE_MR - 1)
            else
                Q8_STEPS(0, TILE_MR)
            if (kc != whole) {
                uint32_t last[TILE_MR];
                VX_EACH(i, TILE_MR) last[i] = q8_last_bytes(a[i], kc);
                Q8_STEP(0, TILE_MR, (const uint8_t *)&last[i]);
                b += TILE_NV * VQ_BYTES;
            }
            live += live != NULL;
        }
        vqi sum[TILE_MR * TILE_NV];
        VX_EACH(i, TILE_MR)
        VX_EACH(v, TILE_NV) sum[i * TILE_NV + v] = vq_end(acc[i][v]);
        at = q8_finish_tile(t, at, sum, TILE_MR, TILE_NV);
    }
}
#undef Q8_STEP
#undef Q8_STEPS
