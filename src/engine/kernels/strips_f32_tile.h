/* Template of the product with a strip: at most 16 columns of B whose rows that are all zeros are
 * missing, see strips_f32.h. Sets with vectors of fewer floats go over the strip in parts. */
#if VF_LANES >= LEDGE_STRIP_COLUMNS
#define STRIP_NV 1
#define STRIP_ROWS 8
#else
#define STRIP_NV 2
#define STRIP_ROWS 6
#endif

/* The end of a part of any size, its sums in memory: code that all sizes share. */
__attribute__((noinline)) static void strip_end(const LedgeGemmTile *t, size_t from, const vf *sum)
{
    const vf lo = vf_set(t->lo), hi = vf_set(t->hi);
    for (size_t i = 0; i < t->mr; i++)
        for (size_t v = 0; v < STRIP_NV; v++) {
            const size_t at = from + v * VF_LANES;
            vf x = *sum++;
            if (at >= t->n)
                continue;
            const size_t n = t->n - at < VF_LANES ? t->n - at : VF_LANES;
            const bool full = n == VF_LANES; /* parts take long on some sets */
            const float *r = t->r ? t->r + i * t->ldr + at : NULL;
            float *c = t->c + i * t->ldc + at;
            if (r)
                x = vf_add(x, full ? vf_load(r) : vf_load_n(r, n));
            x = vf_clamp(x, lo, hi);
            if (full)
                vf_store(c, x);
            else
                vf_store_n(c, x, n);
        }
}

/* Columns from `from` on, STRIP_NV vectors. */
VX_INLINE void strip_part(const LedgeGemmTile *t, size_t from, const int mr)
{
    vf acc[STRIP_ROWS][STRIP_NV], sums[STRIP_ROWS * STRIP_NV];
    const float *a[STRIP_ROWS], *b = t->b + from;
    VX_EACH(i, mr)
    {
        a[i] = t->a[i];
        VX_EACH(v, STRIP_NV) acc[i][v] = vf_load(t->bias + from + (size_t)v * VF_LANES);
    }
    for (const uint32_t *at = t->at, *end = at + t->kc; at < end; at++, b += LEDGE_STRIP_COLUMNS) {
        const size_t k = *at;
        vf bv[STRIP_NV];
        VX_EACH(v, STRIP_NV) bv[v] = vf_load(b + v * VF_LANES);
        VX_EACH(i, mr)
        {
            const vf x = vf_set(a[i][k]);
            VX_EACH(v, STRIP_NV) acc[i][v] = vf_fma(x, bv[v], acc[i][v]);
        }
    }
    VX_EACH(i, mr)
    VX_EACH(v, STRIP_NV) sums[i * STRIP_NV + v] = acc[i][v];
    strip_end(t, from, sums);
}

static void strips(const LedgeGemmTile *t)
{
    for (size_t from = 0; from < t->n; from += STRIP_NV * VF_LANES)
        switch (t->mr) {
#define STRIP_CASE(m)                                                                              \
    case m:                                                                                        \
        strip_part(t, from, m);                                                                    \
        break;
            STRIP_CASE(1)
            STRIP_CASE(2)
            STRIP_CASE(3)
            STRIP_CASE(4)
            STRIP_CASE(5)
            STRIP_CASE(6)
#if STRIP_ROWS > 6
            STRIP_CASE(7)
            STRIP_CASE(8)
#endif
        }
}
#undef STRIP_CASE
