/* Template of one fp32 GEMM micro-kernel: GEMM_MR rows by GEMM_NV vectors, over the vector
 * vocabulary of a vf_<isa>.h. Included once per tile by f32_set.h; both sizes are macros so
 * that the accumulators are plain constants to the compiler and stay in registers.
 *
 * Rows of A are read through pointers and broadcast element by element, so that A needs no
 * packing: the same kernel serves plain matrices and, with one run of pointers per filter
 * tap, convolution over NHWC. */
#define GEMM_STEP                                                                          \
    vf bv[GEMM_NV];                                                                        \
    VX_EACH(v, GEMM_NV) bv[v] = vf_load(b + v * VF_LANES);                                 \
    VX_EACH(i, GEMM_MR)                                                                    \
    {                                                                                      \
        vf x = vf_set(a[i][k]);                                                            \
        if (GEMM_NV > 1)                                                                   \
            VF_KEEP(x); /* one broadcast, not one for each multiply-add */                 \
        VX_EACH(v, GEMM_NV) acc[i][v] = vf_fma(x, bv[v], acc[i][v]);                       \
    }

static void VF_CAT3(gemm_, GEMM_MR, GEMM_NV)(const LedgeGemmTile *t)
{
    vf acc[GEMM_MR][GEMM_NV];
    /* copies, since what is stored might be *t itself for all that the compiler knows */
    const size_t tail = t->n - (size_t)(GEMM_NV - 1) * VF_LANES, kc = t->kc, ahead = t->ahead;
    const size_t ldc = t->ldc, ldr = t->ldr;
    float *const c0 = t->c;
    const float *const r0 = t->r;
    if (t->bias) {
        VX_EACH(v, GEMM_NV)
        {
            const vf x = vf_load(t->bias + v * VF_LANES);
            VX_EACH(i, GEMM_MR) acc[i][v] = x;
        }
    } else {
        VX_EACH(i, GEMM_MR)
        VX_EACH(v, GEMM_NV)
        {
            const float *c = c0 + (size_t)i * ldc + v * VF_LANES;
            acc[i][v] = v < GEMM_NV - 1 ? vf_load(c) : vf_load_n(c, tail);
        }
    }
    const float *b = t->b;
    const float *const *rows = t->a;
    for (size_t tap = t->taps; tap > 0; tap--, rows += GEMM_MR) {
        const float *a[GEMM_MR];
        if (!rows[0]) { /* all padding */
            b += kc * GEMM_NV * VF_LANES;
            continue;
        }
        VX_EACH(i, GEMM_MR) a[i] = rows[i];
        if (ahead)
            for (size_t k = 0; k < kc; k++, b += GEMM_NV * VF_LANES) {
                VX_EACH(v, (GEMM_NV * VF_LANES + 15) / 16) /* a cache line each */
                __builtin_prefetch(b + ahead + v * 16, 0, 2);
                GEMM_STEP
            }
        else
            for (size_t k = 0; k < kc; k++, b += GEMM_NV * VF_LANES) {
                GEMM_STEP
            }
    }
    const vf lo = vf_set(t->lo), hi = vf_set(t->hi);
    if (r0) {
        const float *r = r0;
        VX_UNROLL
        for (int i = 0; i < GEMM_MR; i++, r += ldr)
            VX_EACH(v, GEMM_NV)
        acc[i][v] = vf_add(acc[i][v], v < GEMM_NV - 1 ? vf_load(r + v * VF_LANES)
                                                      : vf_load_n(r + v * VF_LANES, tail));
    }
    float *c = c0;
    if (tail == VF_LANES) {
        VX_UNROLL
        for (int i = 0; i < GEMM_MR; i++, c += ldc)
            VX_EACH(v, GEMM_NV) vf_store(c + v * VF_LANES, vf_clamp(acc[i][v], lo, hi));
        return;
    }
    VX_UNROLL
    for (int i = 0; i < GEMM_MR; i++, c += ldc)
        VX_EACH(v, GEMM_NV)
        {
            const vf x = vf_clamp(acc[i][v], lo, hi);
            if (v < GEMM_NV - 1)
                vf_store(c + v * VF_LANES, x);
            else
                vf_store_n(c + v * VF_LANES, x, tail);
        }
}
#undef GEMM_STEP
#undef GEMM_MR
