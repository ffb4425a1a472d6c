/* Template of the Winograd F(4×4, 3×3) transforms (Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2015; interpolation points 0, ±1, ±2, ∞).
 *
 * One vector of channels at a time; the rows first, through a small buffer, then the
 * columns. The products between the two transforms are 36 GEMMs. */

/* o = Bᵀ d */
VX_INLINE void wino_bt(const vf d0, const vf d1, const vf d2, const vf d3, const vf d4, const vf d5,
                       vf *o)
{
    const vf four = vf_set(4.0f), five = vf_set(5.0f), two = vf_set(2.0f);
    const vf e = vf_sub(d4, vf_mul(four, d2)), f = vf_sub(d3, vf_mul(four, d1));
    const vf g = vf_sub(d4, d2), h = vf_mul(two, vf_sub(d3, d1));
    o[0] = vf_sub(vf_fma(four, d0, d4), vf_mul(five, d2));
    o[1] = vf_add(e, f);
    o[2] = vf_sub(e, f);
    o[3] = vf_add(g, h);
    o[4] = vf_sub(g, h);
    o[5] = vf_sub(vf_fma(four, d1, d5), vf_mul(five, d3));
}

/* o = Aᵀ m */
VX_INLINE void wino_at(const vf m0, const vf m1, const vf m2, const vf m3, const vf m4, const vf m5,
                       vf *o)
{
    const vf a = vf_add(m1, m2), b = vf_sub(m1, m2), c = vf_add(m3, m4), d = vf_sub(m3, m4);
    o[0] = vf_add(vf_add(m0, a), c);
    o[1] = vf_fma(vf_set(2.0f), d, b);
    o[2] = vf_fma(vf_set(4.0f), c, a);
    o[3] = vf_add(vf_fma(vf_set(8.0f), d, b), m5);
}

VX_INLINE void wino_in_vector(const LedgeWinoIn *t, size_t c, size_t n, const bool full)
{
    vf rows[6][6];
    for (int i = 0; i < 6; i++) {
        vf d[6];
        VX_EACH(j, 6)
        {
            const float *px = (const float *)t->px[i * 6 + j] + c;
            d[j] = full ? vf_load(px) : vf_load_n(px, n);
        }
        wino_bt(d[0], d[1], d[2], d[3], d[4], d[5], rows[i]);
    }
    for (int j = 0; j < 6; j++) {
        vf o[6];
        wino_bt(rows[0][j], rows[1][j], rows[2][j], rows[3][j], rows[4][j], rows[5][j], o);
        VX_EACH(i, 6)
        {
            float *v = t->v + (size_t)(i * 6 + j) * t->ldv + c;
            if (full)
                vf_store(v, o[i]);
            else
                vf_store_n(v, o[i], n);
        }
    }
}

void VF_CAT2(ledge__wino_in_f32_, VF_ISA)(const LedgeWinoIn *t);
void VF_CAT2(ledge__wino_in_f32_, VF_ISA)(const LedgeWinoIn *t)
{
    size_t c = 0;
    for (; c + VF_LANES <= t->c; c += VF_LANES)
        wino_in_vector(t, c, VF_LANES, true);
    if (c < t->c)
        wino_in_vector(t, c, t->c - c, false);
}

VX_INLINE void wino_out_vector(const LedgeWinoOut *t, size_t c, size_t n, const bool full)
{
    const vf lo = vf_set(t->lo), hi = vf_set(t->hi);
    const vf bias = full ? vf_load(t->bias + c) : vf_load_n(t->bias + c, n);
    vf rows[6][4];
    for (int i = 0; i < 6; i++) {
        const float *m = t->m + (size_t)i * 6 * t->ldm + c;
        vf d[6];
        VX_EACH(j, 6)
        d[j] = full ? vf_load(m + (size_t)j * t->ldm) : vf_load_n(m + (size_t)j * t->ldm, n);
        wino_at(d[0], d[1], d[2], d[3], d[4], d[5], rows[i]);
    }
    for (uint32_t j = 0; j < t->w; j++) {
        vf o[4];
        wino_at(rows[0][j], rows[1][j], rows[2][j], rows[3][j], rows[4][j], rows[5][j], o);
        for (uint32_t i = 0; i < t->h; i++) {
            float *y = t->y + i * t->ldy_row + j * t->ldy + c;
            vf x = vf_add(o[i], bias);
            if (t->r) {
                const float *r = t->r + i * t->ldr_row + j * t->ldr + c;
                x = vf_add(x, full ? vf_load(r) : vf_load_n(r, n));
            }
            x = vf_clamp(x, lo, hi);
            if (full)
                vf_store(y, x);
            else
                vf_store_n(y, x, n);
        }
    }
}

void VF_CAT2(ledge__wino_out_f32_, VF_ISA)(const LedgeWinoOut *t);
void VF_CAT2(ledge__wino_out_f32_, VF_ISA)(const LedgeWinoOut *t)
{
    size_t c = 0;
    for (; c + VF_LANES <= t->n; c += VF_LANES)
        wino_out_vector(t, c, VF_LANES, true);
    if (c < t->n)
        wino_out_vector(t, c, t->n - c, false);
}
