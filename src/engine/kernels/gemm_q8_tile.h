/* Template of one 8-bit GEMM micro-kernel: Q8_MR rows by Q8_NV vectors, over the vocabulary of a
 * vq_<isa>.h. Included once per tile by q8_set.h; both sizes are macros so that the sums are
 * plain constants to the compiler and stay in registers.
 *
 * Rows of A are read through pointers and broadcast four bytes at a time, so that A needs no
 * packing: the same kernel serves plain matrices and, with one run of pointers per filter tap,
 * convolution over NHWC. */
#define Q8_STEP(four)                                                                      \
    do {                                                                                   \
        vqw w[Q8_NV];                                                                      \
        VX_EACH(v, Q8_NV) w[v] = vq_weights(b + v * VQ_BYTES);                             \
        VX_EACH(i, Q8_MR)                                                                  \
        {                                                                                  \
            const vqx x = vq_four(four);                                                   \
            VX_EACH(v, Q8_NV) acc[i][v] = vq_dot(acc[i][v], x, w[v]);                      \
        }                                                                                  \
    } while (0)

static void VQ_CAT3(gemm_, Q8_MR, Q8_NV)(const LedgeQ8Tile *t)
{
    /* copies, since what is stored might be *t itself for all that the compiler knows */
    const size_t kc = t->kc, whole = kc & ~(size_t)3, ahead = t->ahead;
    Q8Place at = {t->c, t->r};
    size_t passed = 0;
    for (size_t left = t->repeat; left > 0; left--, passed += t->a_step) {
        vqa acc[Q8_MR][Q8_NV];
        const int8_t *b = t->b;
        VX_EACH(v, Q8_NV)
        {
            const vqi x = vq_load_i(t->init + v * VQ_LANES);
            VX_EACH(i, Q8_MR) acc[i][v] = vq_begin(x);
        }
        const uint8_t *const *rows = t->a;
        for (size_t tap = t->taps; tap > 0; tap--, rows += Q8_MR) {
            const uint8_t *a[Q8_MR];
            VX_EACH(i, Q8_MR) a[i] = rows[i] + passed;
            if (ahead)
                for (size_t k = 0; k < whole; k += 4, b += Q8_NV * VQ_BYTES) {
                    VX_EACH(v, (Q8_NV * VQ_BYTES + 63) / 64) /* a cache line each */
                    __builtin_prefetch(b + ahead + v * 64, 0, 2);
                    Q8_STEP(a[i] + k);
                }
            else
                for (size_t k = 0; k < whole; k += 4, b += Q8_NV * VQ_BYTES)
                    Q8_STEP(a[i] + k);
            if (kc != whole) {
                uint32_t last[Q8_MR];
                VX_EACH(i, Q8_MR) last[i] = q8_last_bytes(a[i], kc);
                Q8_STEP((const uint8_t *)&last[i]);
                b += Q8_NV * VQ_BYTES;
            }
        }
        vqi sum[Q8_MR * Q8_NV];
        VX_EACH(i, Q8_MR)
        VX_EACH(v, Q8_NV) sum[i * Q8_NV + v] = vq_end(acc[i][v]);
        at = q8_finish_tile(t, at, sum, Q8_MR, Q8_NV);
    }
}
#undef Q8_STEP
#undef Q8_MR
