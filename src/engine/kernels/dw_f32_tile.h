/* Template of the depthwise convolution kernels over NHWC.
 *
 * One vector of channels at a time: its weights stay in registers while the outputs of a
 * row go by, four at once so that neighbours share the pixels they read. */

enum { DW_PX = 4 }; /* outputs at once */

/* What stays in registers over a run. */
typedef struct DwRun {
    const float *w, *r;
    float *y;
    size_t ldy, ldr, c; /* c: first channel of the vector */
    vf bias, lo, hi;
} DwRun;

VX_INLINE void dw_finish(const DwRun *d, size_t o, vf x)
{
    if (d->r)
        x = vf_add(x, vf_load(d->r + o * d->ldr));
    vf_store(d->y + o * d->ldy, vf_clamp(x, d->lo, d->hi));
}

/* `count` (1 … DW_PX) outputs from o on; k, step and count are constants. wr: weights that are
 * held in registers, or NULL. */
VX_INLINE void dw_square_px(const LedgeDwTile *t, const DwRun *d, const vf *wr, size_t o,
                            const int k, const int step, const int count)
{
    vf acc[DW_PX];
    VX_EACH(p, count) acc[p] = d->bias;
    VX_EACH(i, k)
    {
        const float *const *px = t->rows[i] + o * (size_t)step;
        vf row[5];
        VX_EACH(j, k) row[j] = wr ? wr[i * k + j] : vf_load(d->w + (i * k + j) * VF_LANES);
        VX_EACH(q, (count - 1) * step + k)
        {
            const vf x = vf_load(px[q] + d->c);
            VX_EACH(j, k)
            if (q >= j && (q - j) % step == 0 && (q - j) / step < count)
                acc[(q - j) / step] = vf_fma(x, row[j], acc[(q - j) / step]);
        }
    }
    VX_EACH(p, count) dw_finish(d, o + (size_t)p, acc[p]);
}

/* k × k filter without dilation, one whole vector of channels. */
VX_INLINE void dw_square(const LedgeDwTile *t, const DwRun *d, const int k, const int step)
{
    vf wr[9];
    if (k == 3)
        VX_EACH(i, 9) wr[i] = vf_load(d->w + i * VF_LANES);
    const vf *held = k == 3 ? wr : NULL; /* 25 weights do not fit */
    const size_t ow = t->ow;
    size_t o = 0;
    for (; o + DW_PX <= ow; o += DW_PX)
        dw_square_px(t, d, held, o, k, step, DW_PX);
    if (ow - o == 3)
        dw_square_px(t, d, held, o, k, step, 3);
    else if (ow - o == 2)
        dw_square_px(t, d, held, o, k, step, 2);
    else if (ow - o == 1)
        dw_square_px(t, d, held, o, k, step, 1);
}

/* Any filter; n channels, at most a vector. */
static void dw_any(const LedgeDwTile *t, const DwRun *d, size_t n)
{
    for (size_t o = 0; o < t->ow; o += DW_PX) {
        const size_t left = t->ow - o, last = left < DW_PX ? left - 1 : DW_PX - 1;
        vf acc[DW_PX];
        VX_EACH(p, DW_PX) acc[p] = d->bias;
        const float *w = d->w;
        for (uint32_t i = 0; i < t->kh; i++)
            for (uint32_t j = 0; j < t->kw; j++, w += VF_LANES) {
                const float *const *px = t->rows[i] + o * t->step + j * t->dil;
                const vf tap = vf_load(w);
                VX_EACH(p, DW_PX)
                {
                    /* past the end the last output is computed again and dropped */
                    const float *x = px[((size_t)p < last ? (size_t)p : last) * t->step] + d->c;
                    acc[p] = vf_fma(n == VF_LANES ? vf_load(x) : vf_load_n(x, n), tap, acc[p]);
                }
            }
        VX_EACH(p, DW_PX)
        if ((size_t)p <= last) {
            const size_t at = o + (size_t)p;
            const vf x = d->r ? vf_add(acc[p], vf_load_n(d->r + at * d->ldr, n)) : acc[p];
            vf_store_n(d->y + at * d->ldy, vf_clamp(x, d->lo, d->hi), n);
        }
    }
}

void VF_CAT2(ledge__dw_f32_, VF_ISA)(const LedgeDwTile *t);
void VF_CAT2(ledge__dw_f32_, VF_ISA)(const LedgeDwTile *t)
{
    const size_t per_vector = (size_t)VF_LANES * t->kh * t->kw, channels = t->c;
    const bool square = t->kh == t->kw && t->dil == 1 && (t->step == 1 || t->step == 2);
    const uint32_t kind = square ? t->kh * 2 + t->step : 0;
    for (size_t c = 0; c < channels; c += VF_LANES) {
        const DwRun d = {.w = t->w + c / VF_LANES * per_vector,
                         .r = t->r ? t->r + c : NULL,
                         .y = t->y + c,
                         .ldy = t->ldy,
                         .ldr = t->ldr,
                         .c = c,
                         .bias = vf_load(t->bias + c),
                         .lo = vf_set(t->lo),
                         .hi = vf_set(t->hi)};
        const size_t n = channels - c < VF_LANES ? channels - c : VF_LANES;
        if (n == VF_LANES && kind == 3 * 2 + 1)
            dw_square(t, &d, 3, 1);
        else if (n == VF_LANES && kind == 3 * 2 + 2)
            dw_square(t, &d, 3, 2);
        else if (n == VF_LANES && kind == 5 * 2 + 1)
            dw_square(t, &d, 5, 1);
        else if (n == VF_LANES && kind == 5 * 2 + 2)
            dw_square(t, &d, 5, 2);
        else
            dw_any(t, &d, n);
    }
}
