/* Template of the depthwise convolution kernels over NHWC.
 *
 * One vector of channels at a time: its weights stay in registers while the outputs of a
 * row go by, four at once so that neighbours share the pixels they read. */

enum { DW_PX = 4 }; /* outputs at once */

VF_INLINE vf dw_load(const float *p, const size_t n, const bool full)
{
    return full ? vf_load(p) : vf_load_n(p, n);
}

VF_INLINE void dw_finish(const LedgeDwTile *t, size_t o, size_t c, vf x, size_t n, bool full)
{
    if (t->r)
        x = vf_add(x, dw_load(t->r + o * t->ldr + c, n, full));
    x = vf_clamp(x, vf_set(t->lo), vf_set(t->hi));
    if (full)
        vf_store(t->y + o * t->ldy + c, x);
    else
        vf_store_n(t->y + o * t->ldy + c, x, n);
}

/* `count` (1 … DW_PX) outputs from o on; k and step are constants. */
VF_INLINE void dw_square_px(const LedgeDwTile *t, const float *w, const vf *wr, size_t o, size_t c,
                            size_t n, const bool full, const int k, const int step,
                            const int count)
{
    vf acc[DW_PX];
    const vf bias = vf_load(t->bias + c);
    VF_EACH(p, count) acc[p] = bias;
    VF_EACH(i, k)
    {
        const float *const *px = t->rows[i] + o * (size_t)step;
        vf row[5];
        VF_EACH(j, k) row[j] = wr ? wr[i * k + j] : vf_load(w + (i * k + j) * VF_LANES);
        VF_EACH(q, (count - 1) * step + k)
        {
            const vf x = dw_load(px[q] + c, n, full);
            VF_EACH(j, k)
            if (q >= j && (q - j) % step == 0 && (q - j) / step < count)
                acc[(q - j) / step] = vf_fma(x, row[j], acc[(q - j) / step]);
        }
    }
    VF_EACH(p, count) dw_finish(t, o + (size_t)p, c, acc[p], n, full);
}

/* k × k filter without dilation, one vector of channels, the whole run. */
VF_INLINE void dw_square(const LedgeDwTile *t, const float *w, size_t c, size_t n, const bool full,
                         const int k, const int step)
{
    vf wr[9];
    if (k == 3)
        VF_EACH(i, 9) wr[i] = vf_load(w + i * VF_LANES);
    const vf *held = k == 3 ? wr : NULL; /* 25 weights do not fit */
    size_t o = 0;
    for (; o + DW_PX <= t->ow; o += DW_PX)
        dw_square_px(t, w, held, o, c, n, full, k, step, DW_PX);
    for (; o < t->ow; o++)
        dw_square_px(t, w, held, o, c, n, full, k, step, 1);
}

VF_INLINE void dw_any(const LedgeDwTile *t, const float *w, size_t c, size_t n, const bool full)
{
    for (size_t o = 0; o < t->ow; o += DW_PX) {
        const size_t left = t->ow - o, last = left < DW_PX ? left - 1 : DW_PX - 1;
        vf acc[DW_PX];
        const vf bias = vf_load(t->bias + c);
        VF_EACH(p, DW_PX) acc[p] = bias;
        const float *wt = w;
        for (uint32_t i = 0; i < t->kh; i++)
            for (uint32_t j = 0; j < t->kw; j++, wt += VF_LANES) {
                const float *const *px = t->rows[i] + o * t->step + j * t->dil;
                const vf tap = vf_load(wt);
                VF_EACH(p, DW_PX)
                {
                    /* past the end the last output is computed again and dropped */
                    const size_t q = (size_t)p < last ? (size_t)p : last;
                    acc[p] = vf_fma(dw_load(px[q * t->step] + c, n, full), tap, acc[p]);
                }
            }
        VF_EACH(p, DW_PX)
        if ((size_t)p <= last)
            dw_finish(t, o + (size_t)p, c, acc[p], n, full);
    }
}

VF_INLINE void dw_vector(const LedgeDwTile *t, const float *w, size_t c, size_t n, const bool full)
{
    const bool square = t->kh == t->kw && t->dil == 1 && (t->step == 1 || t->step == 2);
    if (square && t->kh == 3 && t->step == 1)
        dw_square(t, w, c, n, full, 3, 1);
    else if (square && t->kh == 3)
        dw_square(t, w, c, n, full, 3, 2);
    else if (square && t->kh == 5 && t->step == 1)
        dw_square(t, w, c, n, full, 5, 1);
    else if (square && t->kh == 5)
        dw_square(t, w, c, n, full, 5, 2);
    else
        dw_any(t, w, c, n, full);
}

void VF_CAT2(ledge__dw_f32_, VF_ISA)(const LedgeDwTile *t);
void VF_CAT2(ledge__dw_f32_, VF_ISA)(const LedgeDwTile *t)
{
    const size_t per_vector = (size_t)VF_LANES * t->kh * t->kw;
    const float *w = t->w;
    size_t c = 0;
    for (; c + VF_LANES <= t->c; c += VF_LANES, w += per_vector)
        dw_vector(t, w, c, VF_LANES, true);
    if (c < t->c)
        dw_vector(t, w, c, t->c - c, false);
}
