/* Template of the 8-bit depthwise convolution kernels over NHWC.
 *
 * A block of 4 × VQ_LANES channels at a time. Up to four bytes of one column of the filter, one
 * below the other in the image, are interleaved so that a lane holds the taps of one channel:
 * the dot product of the GEMM then sums them. The interleaving leaves channels in another
 * order, in which weights and scales are packed and which packing the results undoes. */

enum {
    DW_BLOCK = 4 * VQ_LANES,
    DW_PX = 7 /* outputs at once: image sizes tend to be multiples of seven */
};

/* What stays the same over a block of channels. */
typedef struct DwBlock {
    const LedgeQ8DwTile *t;
    const int8_t *w;
    const int32_t *init;
    const float *scale;
    size_t c, n; /* first channel, and how many: n < DW_BLOCK in the last block */
    Q8Bytes f;
} DwBlock;

typedef const uint8_t *const *DwRow; /* a pixel pointer for each column */

/* One column's bytes of `rows` (at most four) rows as taps in lanes. */
VX_INLINE void dw_column(const DwRow *at, const int rows, size_t q, size_t c, size_t n,
                         const bool full, vqx *x)
{
    vqb r[4];
    VX_EACH(k, 4)
    {
        if (k < rows)
            r[k] = full ? vq_load_b(at[k][q] + c) : vq_load_b_n(at[k][q] + c, n);
        else
            r[k] = vq_zero_b();
    }
    vq_interleave(r, x);
}

/* Sums of a block that are not plain bytes, one by one. */
static void dw_finish_any(const DwBlock *d, const vqi *sum, size_t o)
{
    const LedgeQ8DwTile *t = d->t;
    int32_t at[DW_BLOCK];
    VX_EACH(v, 4) vq_store_i(at + v * VQ_LANES, sum[v]);
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

VX_INLINE void dw_finish(const DwBlock *d, size_t o, const vqa *acc, const bool full)
{
    vqi sum[4];
    VX_EACH(v, 4) sum[v] = vq_end(acc[v]);
    if (d->t->out->kind != LEDGE_Q8_BYTES) {
        dw_finish_any(d, sum, o);
        return;
    }
    VX_EACH(v, 4) sum[v] = q8_requantise(&d->f, sum[v], vq_load_f(d->scale + v * VQ_LANES), false);
    uint8_t *y = (uint8_t *)d->t->y + o * d->t->ldy + d->c;
    if (full) {
        vq_store_block(y, sum, &d->f.pack, false);
    } else {
        uint8_t bytes[DW_BLOCK];
        vq_store_block(bytes, sum, &d->f.pack, false);
        memcpy(y, bytes, d->n);
    }
}

/* Any filter, one output after the other. */
VX_INLINE void dw_any(const DwBlock *d, const bool full)
{
    const LedgeQ8DwTile *t = d->t;
    for (size_t o = 0; o < t->ow; o++) {
        vqa acc[4];
        VX_EACH(v, 4) acc[v] = vq_begin(vq_load_i(d->init + v * VQ_LANES));
        const int8_t *w = d->w;
        for (size_t j = 0; j < t->kw; j++)
            for (size_t i = 0; i < t->kh; i += 4, w += 4 * VQ_BYTES) {
                const size_t left = t->kh - i, q = o * t->step + j * t->dil;
                vqx x[4];
                if (left >= 4)
                    dw_column(t->rows + i, 4, q, d->c, d->n, full, x);
                else if (left == 3)
                    dw_column(t->rows + i, 3, q, d->c, d->n, full, x);
                else if (left == 2)
                    dw_column(t->rows + i, 2, q, d->c, d->n, full, x);
                else
                    dw_column(t->rows + i, 1, q, d->c, d->n, full, x);
                VX_EACH(v, 4) acc[v] = vq_dot(acc[v], x[v], vq_weights(w + v * VQ_BYTES));
            }
        dw_finish(d, o, acc, full);
    }
}

/* What a row of outputs keeps at hand: what is stored might be *t for all the compiler knows. */
typedef struct DwRun {
    DwRow rows[5];
    const vqw *held; /* weights in registers, or NULL */
    uint8_t *y;
    size_t ldy;
} DwRun;

VX_INLINE void dw_store(const DwBlock *d, const DwRun *run, size_t o, const vqa *acc,
                        const bool bare)
{
    vqi q[4];
    VX_EACH(v, 4)
    q[v] = q8_requantise(&d->f, vq_end(acc[v]), vq_load_f(d->scale + v * VQ_LANES), true);
    vq_store_block(run->y + o * run->ldy, q, &d->f.pack, bare);
}

/* DW_PX outputs of a k × k filter without dilation; k and step are constants. A column is
 * interleaved once for all outputs that read it, and at most k outputs are on their way. */
VX_INLINE void dw_square_px(const DwBlock *d, const DwRun *run, size_t o, const int k,
                            const int step, const bool bare)
{
    const int fours = (k + 3) / 4;
    vqa acc[DW_PX][4];
    VX_EACH(q, (DW_PX - 1) * step + k)
    {
        vqx x[2][4];
        VX_EACH(f, fours)
        dw_column(run->rows + f * 4, k - f * 4 < 4 ? k - f * 4 : 4, o * (size_t)step + (size_t)q,
                  d->c, DW_BLOCK, true, x[f]);
        VX_EACH(j, k)
        if (q >= j && (q - j) % step == 0 && (q - j) / step < DW_PX) {
            const int p = (q - j) / step;
            VX_EACH(v, 4)
            {
                if (j == 0)
                    acc[p][v] = vq_begin(vq_load_i(d->init + v * VQ_LANES));
                VX_EACH(f, fours)
                {
                    const int at = (j * fours + f) * 4 + v;
                    acc[p][v] = vq_dot(acc[p][v], x[f][v],
                                       run->held ? run->held[at]
                                                 : vq_weights(d->w + at * VQ_BYTES));
                }
            }
            if (j == k - 1)
                dw_store(d, run, o + (size_t)p, acc[p], bare);
        }
    }
}

/* A row of at least DW_PX. The last ones overlap what is there already. */
VX_INLINE void dw_square(const DwBlock *d, const int k, const int step, const bool bare)
{
    const size_t ow = d->t->ow;
    DwRun run = {.y = (uint8_t *)d->t->y + d->c, .ldy = d->t->ldy};
    vqw w[12];
    if (k == 3 && VQ_REGISTERS >= 32) {
        VX_EACH(i, 12) w[i] = vq_weights(d->w + i * VQ_BYTES);
        run.held = w;
    }
    VX_EACH(i, k) run.rows[i] = d->t->rows[i];
    for (size_t o = 0; o < ow; o += DW_PX)
        dw_square_px(d, &run, o + DW_PX <= ow ? o : ow - DW_PX, k, step, bare);
}

VX_INLINE void dw_block(const DwBlock *d)
{
    const LedgeQ8DwTile *t = d->t;
    const bool square = t->kh == t->kw && t->dil == 1 && (t->step == 1 || t->step == 2) &&
                        t->out->kind == LEDGE_Q8_BYTES && t->out->tame && t->ow >= DW_PX &&
                        d->n == DW_BLOCK;
    const uint32_t kind = square ? t->kh * 2 + t->step : 0;
    const bool bare = q8_bare(t->out);
    if (kind == 3 * 2 + 1 && bare)
        dw_square(d, 3, 1, true);
    else if (kind == 3 * 2 + 1)
        dw_square(d, 3, 1, false);
    else if (kind == 3 * 2 + 2 && bare)
        dw_square(d, 3, 2, true);
    else if (kind == 3 * 2 + 2)
        dw_square(d, 3, 2, false);
    else if (kind == 5 * 2 + 1)
        dw_square(d, 5, 1, false);
    else if (kind == 5 * 2 + 2)
        dw_square(d, 5, 2, false);
    else if (d->n == DW_BLOCK)
        dw_any(d, true);
    else
        dw_any(d, false);
}

void VQ_CAT2(ledge__dw_q8_, VQ_ISA)(const LedgeQ8DwTile *t);
void VQ_CAT2(ledge__dw_q8_, VQ_ISA)(const LedgeQ8DwTile *t)
{
    const size_t weights = (size_t)t->kw * ((t->kh + 3) / 4) * 4 * VQ_BYTES;
    DwBlock d = {.t = t, .w = t->w, .init = t->init, .scale = t->scale, .c = t->first,
                 .f = q8_bytes_of(t->out)};
    for (; d.c < t->c; d.c += DW_BLOCK) {
        d.n = t->c - d.c < DW_BLOCK ? t->c - d.c : DW_BLOCK;
        dw_block(&d);
        d.w += weights;
        d.init += DW_BLOCK;
        d.scale += DW_BLOCK;
    }
}
