/* Template of Winograd's F(4×4, 3×3) in integers, over the vocabulary of a vq_<isa>.h that has
 * vq_dot16; interpolation points as in wino_f32_tile.h. Part of q8_set.h.
 *
 * Bytes become int16 by Bᵀ d B, at most 17,340 in magnitude; weights were made int16 too, with the
 * denominators left out. What is left of them is in Aᵀ: its rows are 24, 12, 6 and 6 times the
 * usual ones, so that sums are 2^2 × 9 to 2^6 × 9 times what they are to be, modulo 2^32. Times the
 * inverse of 9 and shifted they are exact where what a filter can sum up to has six bits to spare. */

typedef int16_t vqs __attribute__((vector_size(VQ_BYTES)));
typedef uint32_t vqu __attribute__((vector_size(VQ_BYTES)));
typedef int32_t vqn __attribute__((vector_size(VQ_BYTES)));

VX_INLINE vqs wino_bytes(const uint8_t *p)
{
    typedef uint8_t Half __attribute__((vector_size(VQ_BYTES / 2)));
    Half x;
    memcpy(&x, p, sizeof(x));
    return __builtin_convertvector(x, vqs);
}

/* o = Bᵀ d */
VX_INLINE void wino_bt(const vqs *d, vqs *o)
{
    const vqs a = d[4] - (d[2] << 2), b = d[3] - (d[1] << 2);
    const vqs c = d[4] - d[2], e = (d[3] - d[1]) << 1;
    o[0] = ((d[0] - d[2]) << 2) + c;
    o[1] = a + b;
    o[2] = a - b;
    o[3] = c + e;
    o[4] = c - e;
    o[5] = (d[5] - d[3]) - (e << 1);
}

/* VQ_BYTES / 2 channels from `c` on. */
static void wino_in_vector(const void *const *px, size_t c, int16_t *v, size_t ldv)
{
    vqs rows[6][6];
    for (int j = 0; j < 6; j++) {
        vqs d[6], o[6];
        VX_EACH(i, 6) d[i] = wino_bytes((const uint8_t *)px[i * 6 + j] + c);
        wino_bt(d, o);
        VX_EACH(i, 6) rows[i][j] = o[i];
    }
    for (int i = 0; i < 6; i++, v += 6 * ldv) {
        vqs o[6];
        wino_bt(rows[i], o);
        VX_EACH(j, 6) memcpy(v + (size_t)j * ldv, &o[j], sizeof(o[j]));
    }
}

void VQ_CAT2(ledge__wino_in_q8_, VQ_ISA)(const LedgeQ8WinoIn *t);
void VQ_CAT2(ledge__wino_in_q8_, VQ_ISA)(const LedgeQ8WinoIn *t)
{
    size_t c = 0;
    for (; c + VQ_BYTES / 2 <= t->c; c += VQ_BYTES / 2)
        wino_in_vector(t->px, c, t->v + c, t->ldv);
    if (c == t->c)
        return;
    uint8_t last[36][VQ_BYTES / 2] = {{0}};
    const void *px[36];
    for (int i = 0; i < 36; i++) {
        memcpy(last[i], (const uint8_t *)t->px[i] + c, t->c - c);
        px[i] = last[i];
    }
    wino_in_vector(px, 0, t->v + c, t->ldv);
}

/* Four rows from each of first … first + 3, the last row again for those past the end. */
VX_INLINE void wino_mul_rows(const LedgeQ8WinoMul *t, size_t first, const int nv)
{
    enum { ROWS = LEDGE_Q8_WINO_ROWS };
    vqa acc[ROWS][4];
    const int16_t *a[ROWS];
    int32_t *c[ROWS];
    const int16_t *b = t->b;
    const size_t ahead = t->ahead, pairs = t->pairs;
    VX_EACH(i, ROWS)
    {
        const size_t at = first + (size_t)i, row = at < t->rows ? at : t->rows - 1;
        a[i] = t->a + row * t->lda;
        c[i] = t->c + row * t->ldc;
        VX_EACH(v, nv) acc[i][v] = vq_begin(vq_set_i(0));
    }
    for (size_t k = 0; k < pairs; k++, b += nv * VQ_LANES * 2) {
        vqi w[4];
        VX_EACH(v, (nv * VQ_BYTES + 63) / 64)
        __builtin_prefetch((const char *)b + ahead + v * 64, 0, 2);
        VX_EACH(v, nv) w[v] = vq_load_i((const int32_t *)(const void *)(b + v * VQ_LANES * 2));
        VX_EACH(i, ROWS)
        {
            int32_t two;
            memcpy(&two, a[i] + k * 2, sizeof(two));
            const vqi x = vq_set_i(two);
            VX_EACH(v, nv) acc[i][v] = vq_dot16(acc[i][v], x, w[v]);
        }
    }
    VX_EACH(i, ROWS)
    VX_EACH(v, nv) vq_store_i(c[i] + v * VQ_LANES, vq_end(acc[i][v]));
}

void VQ_CAT2(ledge__wino_mul_q8_, VQ_ISA)(const LedgeQ8WinoMul *t);
void VQ_CAT2(ledge__wino_mul_q8_, VQ_ISA)(const LedgeQ8WinoMul *t)
{
    for (size_t i = 0; i < t->rows; i += LEDGE_Q8_WINO_ROWS)
        switch (t->nv) {
        case 1:
            wino_mul_rows(t, i, 1);
            break;
        case 2:
            wino_mul_rows(t, i, 2);
            break;
#if VQ_WINO > 2
        case 3:
            wino_mul_rows(t, i, 3);
            break;
        default:
            wino_mul_rows(t, i, 4);
            break;
#endif
        }
}

/* o = Aᵀ m, its rows times 24, 12, 6 and 6; m's first and last are six times what they were. */
VX_INLINE void wino_at(const vqu *m, vqu *o)
{
    const vqu a = m[1] + m[2], b = m[2] - m[1], c = m[3] + m[4], d = m[3] - m[4];
    o[0] = m[0] + c - (a << 2);
    o[1] = (b << 1) + d;
    o[2] = c - a;
    o[3] = b + (d << 1) + m[5];
}

/* The sums of a vector of channels at every pixel of a tile. */
VX_INLINE void wino_sums(const LedgeQ8WinoOut *t, size_t c, vqi *sums)
{
    /* The inverse of 9 times what makes each 2^6: rows and columns hold 2^3, 2^2, 2 and 2. */
#define NINTH(i, j) (0x38e38e39u << (i) << (j))
#define NINTHS(i)   {NINTH(i, 0), NINTH(i, 1), NINTH(i, 2), NINTH(i, 2)}
    static const uint32_t ninths[4][4] = {NINTHS(0), NINTHS(1), NINTHS(2), NINTHS(2)};
#undef NINTHS
#undef NINTH
    vqu rows[4][6];
    for (int j = 0; j < 6; j++) {
        vqu m[6], o[4];
        const int32_t *from = t->m + (size_t)j * t->ldm + c;
        VX_EACH(i, 6) m[i] = (vqu)vq_load_i(from + (size_t)i * 6 * t->ldm);
        wino_at(m, o);
        VX_EACH(i, 4) rows[i][j] = o[i];
    }
    const vqn init = (vqn)vq_load_i(t->t.init + c);
    for (int i = 0; i < 4; i++) {
        vqu o[4];
        wino_at(rows[i], o);
        VX_EACH(j, 4)
        sums[i * 4 + j] = (vqi)((vqu)((vqn)(o[j] * ninths[i][j]) >> 6) + (vqu)init);
    }
}

void VQ_CAT2(ledge__wino_out_q8_, VQ_ISA)(const LedgeQ8WinoOut *t);
void VQ_CAT2(ledge__wino_out_q8_, VQ_ISA)(const LedgeQ8WinoOut *t)
{
    const size_t element = t->t.out->kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    for (size_t c = 0; c < t->t.n; c += VQ_LANES) {
        vqi sums[16];
        LedgeQ8Tile one = t->t;
        one.n = t->t.n - (uint32_t)c < VQ_LANES ? t->t.n - (uint32_t)c : VQ_LANES;
        one.scale += c;
        one.fbias += one.fbias ? c : 0;
        one.mr = t->w;
        wino_sums(t, c, sums);
        for (uint32_t i = 0; i < t->h; i++) {
            const Q8Place at = {(char *)t->t.c + (i * t->c_row + c) * element,
                                t->t.r ? (const char *)t->t.r + (i * t->r_row + c) * element
                                       : NULL};
            if (t->w == 4)
                q8_finish_tile(&one, at, sums + i * 4, 4, 1);
            else
                q8_finish_rows(&one, at, sums + i * 4, 1);
        }
    }
}
