/* Template of one fp32 GEMM micro-kernel: TILE_MR rows by TILE_NV vectors, over the vector
 * vocabulary of a vf_<isa>.h. Included once per tile by tile_rows.h; both sizes are macros so
 * that the accumulators are plain constants to the compiler and stay in registers.
 *
 * Rows of A are read through pointers and broadcast element by element, so that A needs no
 * packing: the same kernel serves plain matrices and, with one run of pointers per filter
 * tap, convolution over NHWC. */
#define GEMM_STEP                                                                          \
    vf bv[TILE_NV];                                                                        \
    VX_EACH(v, TILE_NV) bv[v] = vf_load(b + v * VF_LANES);                                 \
    VX_EACH(i, TILE_MR)                                                                    \
    {                                                                                      \
        vf x = vf_set(a[i][k]);                                                            \
        if (TILE_NV > 1)                                                                   \
            VF_KEEP(x); /* one broadcast, not one for each multiply-add */                 \
        VX_EACH(v, TILE_NV) acc[i][v] = vf_fma(x, bv[v], acc[i][v]);                       \
    }

static void TILE_NAME(const LedgeGemmTile *t)
{
    vf acc[TILE_MR][TILE_NV];
    /* copies, since what is stored might be *t itself for all that the compiler knows */
    const size_t tail = t->n - (size_t)(TILE_NV - 1) * VF_LANES, kc = t->kc, ahead = t->ahead;
    const size_t ldc = t->ldc, ldr = t->ldr;
    float *const c0 = t->c;
    const float *const r0 = t->r;
    if (t->bias) {
        VX_EACH(v, TILE_NV)
        {
            const vf x = vf_load(t->bias + v * VF_LANES);
            VX_EACH(i, TILE_MR) acc[i][v] = x;
        }
    } else {
        VX_EACH(i, TILE_MR)
        VX_EACH(v, TILE_NV)
        {
            const float *c = c0 + (size_t)i * ldc + v * VF_LANES;
            acc[i][v] = v < TILE_NV - 1 || tail == VF_LANES ? vf_load(c) : gemm_load_part(c, tail);
        }
    }
    const float *b = t->b;
    const float *const *rows = t->a;
    for (size_t tap = t->taps; tap > 0; tap--, rows += TILE_MR) {
        const float *a[TILE_MR];
        if (!rows[0]) { /* all padding */
            b += kc * TILE_NV * VF_LANES;
            continue;
        }
        VX_EACH(i, TILE_MR) a[i] = rows[i];
        if (ahead && TILE_MR > 1) /* one row waits for B alone: the CPU's own fetching is faster */
            for (size_t k = 0; k < kc; k++, b += TILE_NV * VF_LANES) {
                VX_EACH(v, (TILE_NV * VF_LANES + 15) / 16) /* a cache line each */
                __builtin_prefetch(b + ahead + v * 16, 0, 2);
                GEMM_STEP
            }
        else
            for (size_t k = 0; k < kc; k++, b += TILE_NV * VF_LANES) {
                GEMM_STEP
            }
    }
    const vf lo = vf_set(t->lo), hi = vf_set(t->hi);
    if (tail != VF_LANES || (r0 && TILE_MR < 4)) { /* rarer ends, by code that all tiles share */
        vf stored[TILE_MR * TILE_NV];
        VX_EACH(i, TILE_MR)
        VX_EACH(v, TILE_NV) stored[i * TILE_NV + v] = acc[i][v];
        gemm_finish(t, stored, TILE_NV);
        return;
    }
    if (r0) {
        const float *r = r0;
        VX_UNROLL
        for (int i = 0; i < TILE_MR; i++, r += ldr)
            VX_EACH(v, TILE_NV) acc[i][v] = vf_add(acc[i][v], vf_load(r + v * VF_LANES));
    }
    float *c = c0;
    VX_UNROLL
    for (int i = 0; i < TILE_MR; i++, c += ldc)
        VX_EACH(v, TILE_NV) vf_store(c + v * VF_LANES, vf_clamp(acc[i][v], lo, hi));
}
#undef GEMM_STEP
