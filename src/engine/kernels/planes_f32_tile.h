/* Template of the convolution kernel that reads planes (NCHW) and writes pixels (NHWC): the first
 * layer of a network, whose few channels would fill no vector.
 *
 * Neighbouring outputs by one or two vectors of filters stay in registers; an output's numbers
 * of one tap lie `step` apart, so that with a constant step they are all plain offsets. */
#if VF_REGISTERS >= 32
enum { PLANES_PX = 14 };
#else
enum { PLANES_PX = 6 };
#endif

/* Outputs at the end of a row, with a residual, or of filters that fill no vector. */
VX_INLINE void planes_finish(const LedgePlanesTile *t, vf acc[][2], const int nv)
{
    const vf lo = vf_set(t->lo), hi = vf_set(t->hi);
    for (size_t p = 0; p < t->px; p++)
        for (int v = 0; v < nv; v++) {
            const size_t at = (size_t)v * VF_LANES;
            const size_t n = v < nv - 1 ? VF_LANES : t->n - (size_t)(nv - 1) * VF_LANES;
            vf y = acc[p][v];
            if (t->r)
                y = vf_add(y, vf_load_n(t->r + p * t->ldr + at, n));
            vf_store_n(t->c + p * t->ldc + at, vf_clamp(y, lo, hi), n);
        }
}

VX_INLINE void planes_tile(const LedgePlanesTile *t, const size_t step, const int nv)
{
    vf acc[PLANES_PX][2];
    const float *b = t->b, *const base = t->x;
    const uint32_t *at = t->at;
    VX_EACH(v, nv)
    {
        const vf bias = vf_load(t->bias + v * VF_LANES);
        VX_EACH(p, PLANES_PX) acc[p][v] = bias;
    }
    for (size_t k = t->depth; k > 0; k--, at++, b += nv * VF_LANES) {
        const float *x = base + *at;
        vf w[2];
        VX_EACH(v, nv) w[v] = vf_load(b + v * VF_LANES);
        VX_EACH(p, PLANES_PX)
        {
            vf s = vf_set(x[(size_t)p * step]);
            if (nv > 1)
                VF_KEEP(s); /* one broadcast for both */
            VX_EACH(v, nv) acc[p][v] = vf_fma(s, w[v], acc[p][v]);
        }
    }
    if (t->px < PLANES_PX || t->r || t->n < (uint32_t)nv * VF_LANES) {
        vf sums[PLANES_PX][2];
        VX_EACH(p, PLANES_PX) VX_EACH(v, nv) sums[p][v] = acc[p][v];
        planes_finish(t, sums, nv);
        return;
    }
    const vf lo = vf_set(t->lo), hi = vf_set(t->hi);
    const size_t ldc = t->ldc;
    float *c = t->c;
    VX_UNROLL
    for (int p = 0; p < PLANES_PX; p++, c += ldc)
        VX_EACH(v, nv) vf_store(c + v * VF_LANES, vf_clamp(acc[p][v], lo, hi));
}

static void planes_1x1(const LedgePlanesTile *t)
{
    planes_tile(t, 1, 1);
}
static void planes_1x2(const LedgePlanesTile *t)
{
    planes_tile(t, 1, 2);
}
static void planes_2x1(const LedgePlanesTile *t)
{
    planes_tile(t, 2, 1);
}
static void planes_2x2(const LedgePlanesTile *t)
{
    planes_tile(t, 2, 2);
}
static void planes_nx1(const LedgePlanesTile *t)
{
    planes_tile(t, t->step, 1);
}
static void planes_nx2(const LedgePlanesTile *t)
{
    planes_tile(t, t->step, 2);
}

uint32_t VF_CAT2(ledge__planes_f32_, VF_ISA)(const LedgePlanesTile *t);
uint32_t VF_CAT2(ledge__planes_f32_, VF_ISA)(const LedgePlanesTile *t)
{
    static void (*const tiles[][2])(const LedgePlanesTile *) = {
        {planes_1x1, planes_1x2}, {planes_2x1, planes_2x2}, {planes_nx1, planes_nx2}};
    if (t)
        tiles[t->step == 1 ? 0 : t->step == 2 ? 1 : 2][t->nv - 1](t);
    return PLANES_PX;
}
