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
VQ_INLINE void dw_column(const DwBlock *d, size_t i, const size_t rows, size_t q, const bool full,
                         vqx *x)
{
    vqb r[4];
    VQ_EACH(k, 4)
    {
        const uint8_t *p = k < (int)rows ? d->t->rows[i + (size_t)k][q] + d->c : NULL;
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
    const size_t block = (d->c / DW_BLOCK) * DW_BLOCK;
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

VQ_INLINE void dw_finish(const DwBlock *d, size_t o, const vqa *acc, const bool full)
{
    vqi sum[4];
    VQ_EACH(v, 4) sum[v] = vq_end(acc[v]);
    if (__builtin_expect(d->t->out->kind != LEDGE_Q8_BYTES, 0)) {
        dw_finish_any(d, sum, o);
        return;
    }
    VQ_EACH(v, 4) sum[v] = q8_requantise(&d->f, sum[v], vq_load_f(d->scale + v * VQ_LANES));
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
        dw_finish(d, o, acc, full);
    }
}

void VQ_CAT2(ledge__dw_q8_, VQ_ISA)(const LedgeQ8DwTile *t);
void VQ_CAT2(ledge__dw_q8_, VQ_ISA)(const LedgeQ8DwTile *t)
{
    const size_t weights = (size_t)t->kw * ((t->kh + 3) / 4) * 4 * VQ_BYTES;
    DwBlock d = {.t = t, .w = t->w, .init = t->init, .scale = t->scale, .f = q8_bytes_of(t->out)};
    for (; d.c < t->c; d.c += DW_BLOCK) {
        d.n = t->c - d.c < DW_BLOCK ? t->c - d.c : DW_BLOCK;
        if (d.n == DW_BLOCK)
            dw_any(&d, true);
        else
            dw_any(&d, false);
        d.w += weights;
        d.init += DW_BLOCK;
        d.scale += DW_BLOCK;
    }
}
