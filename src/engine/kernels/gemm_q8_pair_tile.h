/* Template of one 8-bit GEMM micro-kernel, as gemm_q8_tile.h, for instructions that multiply two
 * rows by two columns over eight bytes of k: TILE_MR rows go by pairs, of which an odd last row is
 * both. Over the vq_pair_… names of a vq_<isa>.h. */
#define Q8_STEP(eight)                                                                     \
    do {                                                                                   \
        vqp x[PAIRS];                                                                      \
        VX_EACH(i, PAIRS)                                                                  \
        {                                                                                  \
            const int one = 2 * i, other = 2 * i + 1 < TILE_MR ? 2 * i + 1 : 2 * i;          \
            x[i] = vq_pair(eight(one), eight(other));                                      \
        }                                                                                  \
        VX_EACH(v, TILE_NV)                                                                  \
        {                                                                                  \
            const vqpw w = vq_pair_weights(b + v * VQ_LANES * 8);                          \
            VX_EACH(i, PAIRS) acc[i][v] = vq_pair_dot(acc[i][v], x[i], w);                 \
        }                                                                                  \
    } while (0)
#define Q8_WHOLE(i) (a[i] + k)
#define Q8_LAST(i)  ((const uint8_t *)&last[i])

static void TILE_NAME(const LedgeQ8Tile *t)
{
    enum { PAIRS = (TILE_MR + 1) / 2, PANEL = TILE_NV * VQ_LANES * 8 };
    const size_t kc = t->kc, whole = kc & ~(size_t)7, ahead = t->ahead;
    Q8Place at = {t->c, t->r};
    size_t passed = 0;
    for (size_t left = t->repeat; left > 0; left--, passed += t->a_step) {
        vqpa acc[PAIRS][TILE_NV];
        const int8_t *b = t->b;
        VX_EACH(v, TILE_NV)
        {
            const vqi x = vq_load_i(t->init + v * VQ_LANES);
            VX_EACH(i, PAIRS) acc[i][v] = vq_pair_begin(x);
        }
        const uint8_t *const *rows = t->a;
        const LedgeQ8Tap *live = t->live;
        for (size_t tap = t->taps; tap > 0; tap--, rows += TILE_MR) {
            const uint8_t *a[TILE_MR];
            VX_EACH(i, TILE_MR) a[i] = rows[i] + passed;
            if (live)
                b = t->b + live++->at * ((kc + 7) / 8 * PANEL);
            for (size_t k = 0; k < whole; k += 8, b += PANEL) {
                if (ahead)
                    VX_EACH(v, (PANEL + 63) / 64) __builtin_prefetch(b + ahead + v * 64, 0, 2);
                Q8_STEP(Q8_WHOLE);
            }
            if (kc != whole) {
                uint64_t last[TILE_MR];
                VX_EACH(i, TILE_MR) last[i] = q8_last_eight(a[i], kc);
                Q8_STEP(Q8_LAST);
                b += PANEL;
            }
        }
        vqi sum[TILE_MR * TILE_NV];
        VX_EACH(i, TILE_MR)
        VX_EACH(v, TILE_NV) sum[i * TILE_NV + v] = vq_pair_end(acc[i / 2][v], i % 2);
        at = q8_finish_tile(t, at, sum, TILE_MR, TILE_NV);
    }
}
#undef Q8_STEP
#undef Q8_WHOLE
#undef Q8_LAST
