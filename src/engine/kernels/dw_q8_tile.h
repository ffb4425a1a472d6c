/* Template of the 8-bit depthwise convolution kernels over NHWC.
 *
 * A block of 4 × VQ_LANES channels at a time. Up to four bytes of one column of the filter, one
 * below the other in the image, are interleaved so that a lane holds the taps of one channel:
 * the dot product of the GEMM then sums them. The interleaving leaves channels in another
 * order, in which weights and scales are packed and which packing the results undoes. */

enum { DW_BLOCK = 4 * VQ_LANES };

/* What stays the same over a block of channels. */
typedef struct DwBlock {
    const LedgeQ8DwTile *t;
    const int8_t *w;
    const int32_t *init;
    const float *scale;
    size_t c, n; /* first channel, and how many: n < DW_BLOCK in the last block */
    Q8Bytes f;
} DwBlock;

/* Four rows' bytes of pixel column q, filter rows i … i + rows - 1, as taps in lanes. */
VQ_INLINE void dw_column(const DwBlock *d, size_t i, const int rows, size_t q, const bool full,
                         vqx *x)
{
    vqb r[4];
    VQ_EACH(k, 4)
    {
        const uint8_t *p = k < rows ? d->t->rows[i + (size_t)k][q] + d->c : NULL;
        r[k] = !p ? vq_zero_b() : full ? vq_load_b(p) : vq_load_b_n(p, d->n);
    }
    vq_interleave(r, x);
}

/* Sums of a block that are not plain bytes, one by one. */
static void dw_finish_any(const DwBlock *d, const vqi *sum, size_t o)
{
    const LedgeQ8DwTile *t = d->t;
    int32_t at[DW_BLOCK];
    VQ_EACH(v, 4) vq_store_i(at + v * VQ_LANES, sum[v]);
    const size_t block = d->c - t->first;
    for (uint32_t v = 0; v < 4; v++)
        for (uint32_t l = 0; l < VQ_LANES; l++) {
            const size_t place = v * VQ_LANES + l, c = ledge__q8_dw_channel(v, l);
            if (c >= d->n)
                continue;
            const float y = (float)at[place] * d->scale[place];
            const size_t to = o * t->ldy + d->c + c, from = o * t->ldr + d->c + c;
            if (t->out->kind == LEDGE_Q8_FLOAT) {
                const float b = t->fbias ? y + t->fbias[block + place] : y;
                const float z = t->r ? b + ((const float *)t->r)[from] : b;
                ((float *)t->y)[to] = q8_clamp_one(z, t->out->lo, t->out->hi);
            } else {
                ((uint8_t *)t->y)[to] =
                    q8_sum_one(t->out, y, ((const uint8_t *)t->r)[from]);
            }
        }
}

VQ_INLINE void dw_finish(const DwBlock *d, size_t o, const vqa *acc, const bool full,
                         const bool tame)
{
    vqi sum[4];
    VQ_EACH(v, 4) sum[v] = vq_end(acc[v]);
    if (!tame && d->t->out->kind != LEDGE_Q8_BYTES) {
        dw_finish_any(d, sum, o);
        return;
    }
    VQ_EACH(v, 4) sum[v] = q8_requantise(&d->f, sum[v], vq_load_f(d->scale + v * VQ_LANES), tame);
    uint8_t *y = (uint8_t *)d->t->y + o * d->t->ldy + d->c;
    if (full) {
        vq_store_block(y, sum, &d->f.pack);
    } else {
        uint8_t bytes[DW_BLOCK];
        vq_store_block(bytes, sum, &d->f.pack);
        memcpy(y, bytes, d->n);
    }
}

/* Any filter, one output after the other. */
VQ_INLINE void dw_any(const DwBlock *d, const bool full)
{
    const LedgeQ8DwTile *t = d->t;
    for (size_t o = 0; o < t->ow; o++) {
        vqa acc[4];
        VQ_EACH(v, 4) acc[v] = vq_begin(vq_load_i(d->init + v * VQ_LANES));
        const int8_t *w = d->w;
        for (size_t j = 0; j < t->kw; j++)
            for (size_t i = 0; i < t->kh; i += 4, w += 4 * VQ_BYTES) {
                const size_t left = t->kh - i, q = o * t->step + j * t->dil;
                vqx x[4];
                if (left >= 4)
                    dw_column(d, i, 4, q, full, x);
                else if (left == 3)
                    dw_column(d, i, 3, q, full, x);
                else if (left == 2)
                    dw_column(d, i, 2, q, full, x);
                else
                    dw_column(d, i, 1, q, full, x);
                VQ_EACH(v, 4) acc[v] = vq_dot(acc[v], x[v], vq_weights(w + v * VQ_BYTES));
            }
        dw_finish(d, o, acc, full, false);
    }
}

/* `count` outputs of a k × k filter without dilation; k, step and count are constants. A column
 * is interleaved once for all outputs that read it, and at most k outputs are on their way. */
VQ_INLINE void dw_square_px(const DwBlock *d, size_t o, const int k, const int step,
                            const int count, const bool full, const vqw *held)
{
    enum { MOST = 7 };
    const int fours = (k + 3) / 4;
    vqa acc[MOST][4];
    VQ_EACH(q, (count - 1) * step + k)
    {
        vqx x[2][4];
        VQ_EACH(f, fours)
        dw_column(d, (size_t)f * 4, k - f * 4 < 4 ? k - f * 4 : 4, o * (size_t)step + (size_t)q,
                  full, x[f]);
        VQ_EACH(j, k)
        if (q >= j && (q - j) % step == 0 && (q - j) / step < count) {
            const int p = (q - j) / step;
            VQ_EACH(v, 4)
            {
                if (j == 0)
                    acc[p][v] = vq_begin(vq_load_i(d->init + v * VQ_LANES));
                VQ_EACH(f, fours)
                {
                    const int at = (j * fours + f) * 4 + v;
                    acc[p][v] = vq_dot(acc[p][v], x[f][v],
                                       held ? held[at] : vq_weights(d->w + at * VQ_BYTES));
                }
            }
            if (j == k - 1)
                dw_finish(d, o + (size_t)p, acc[p], full, true);
        }
    }
}

/* A row of them: by sevens, which image sizes tend to be multiples of. The last ones overlap what
 * is there already. */
VQ_INLINE void dw_square(const DwBlock *d, const int k, const int step, const bool full)
{
    const size_t ow = d->t->ow;
    vqw w[12];
    const vqw *held = NULL;
    if (k == 3 && VQ_REGISTERS >= 32) {
        VQ_EACH(i, 12) w[i] = vq_weights(d->w + i * VQ_BYTES);
        held = w;
    }
    if (ow >= 7)
        for (size_t o = 0; o < ow; o += 7)
            dw_square_px(d, o + 7 <= ow ? o : ow - 7, k, step, 7, full, held);
    else
        for (size_t o = 0; o < ow; o++)
            dw_square_px(d, o, k, step, 1, full, held);
}

VQ_INLINE void dw_block(const DwBlock *d, const bool full)
{
    const LedgeQ8DwTile *t = d->t;
    const bool square = t->kh == t->kw && t->dil == 1 && (t->step == 1 || t->step == 2) &&
                        t->out->kind == LEDGE_Q8_BYTES && t->out->tame;
    const uint32_t kind = square ? t->kh * 2 + t->step : 0;
    if (kind == 3 * 2 + 1)
        dw_square(d, 3, 1, full);
    else if (kind == 3 * 2 + 2)
        dw_square(d, 3, 2, full);
    else if (kind == 5 * 2 + 1)
        dw_square(d, 5, 1, full);
    else if (kind == 5 * 2 + 2)
        dw_square(d, 5, 2, full);
    else
        dw_any(d, full);
}

void VQ_CAT2(ledge__dw_q8_, VQ_ISA)(const LedgeQ8DwTile *t);
void VQ_CAT2(ledge__dw_q8_, VQ_ISA)(const LedgeQ8DwTile *t)
{
    const size_t weights = (size_t)t->kw * ((t->kh + 3) / 4) * 4 * VQ_BYTES;
    DwBlock d = {.t = t, .w = t->w, .init = t->init, .scale = t->scale, .c = t->first,
                 .f = q8_bytes_of(t->out)};
    for (; d.c < t->c; d.c += DW_BLOCK) {
        d.n = t->c - d.c < DW_BLOCK ? t->c - d.c : DW_BLOCK;
        if (d.n == DW_BLOCK)
            dw_block(&d, true);
        else
            dw_block(&d, false);
        d.w += weights;
        d.init += DW_BLOCK;
        d.scale += DW_BLOCK;
    }
}
