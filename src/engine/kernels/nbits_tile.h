/* Template of nbits_table.h: what depends on NB_BITS, the width of a code, since some instruction
 * sets shift by constants only. */
#define NB_NAME_(a, b) a##b
#define NB_NAME(a, b)  NB_NAME_(a, b)
#define NB_WORD        (32 / NB_BITS) /* codes in a word */

/* Field at bit s of each word is element (s % 8 / NB_BITS) * 4 + s / 8. */
#if NB_BITS == 8
#define NB_FIELDS(F) F(0, 0) F(1, 8) F(2, 16) F(3, 24)
#elif NB_BITS == 4
#define NB_FIELDS(F) F(0, 0) F(1, 8) F(2, 16) F(3, 24) F(4, 4) F(5, 12) F(6, 20) F(7, 28)
#else
#define NB_FIELDS(F)                                                                               \
    F(0, 0) F(1, 8) F(2, 16) F(3, 24) F(4, 2) F(5, 10) F(6, 18) F(7, 26)                           \
    F(8, 4) F(9, 12) F(10, 20) F(11, 28) F(12, 6) F(13, 14) F(14, 22) F(15, 30)
#endif

/* Words whose fields, taken as signed numbers, are the codes less 1 << (NB_BITS - 1). */
#ifdef NB_LOOKUP
#define NB_FLIP (NB_BITS == 8 ? (int32_t)0x80808080u : NB_BITS == 4 ? 0 : (int32_t)0xaaaaaaaau)
#else
#define NB_FLIP                                                                                    \
    (NB_BITS == 8   ? (int32_t)0x80808080u                                                         \
     : NB_BITS == 4 ? (int32_t)0x88888888u                                                         \
                    : (int32_t)0xaaaaaaaau)
#endif

VX_INLINE void NB_NAME(nb_floats_, NB_BITS)(const LedgeNbitsTile *t, const float *rows,
                                            const float *a_scale, const float *a_sum, float *c,
                                            const int mr, const uint32_t bits)
{
    const size_t lda = t->lda, blocks = t->blocks, steps = t->block / NB_WORD;
#ifdef NB_LOOKUP
    const vf table = nb_table();
    (void)table;
#endif
    (void)a_scale;
    for (size_t h = 0; h < LEDGE_NBITS_GROUP; h += NB_V * VF_LANES) {
        const uint8_t *w = t->g.codes + 4 * h;
        const float *a = rows;
        vf y[LEDGE_NBITS_MR][NB_V];
        VX_EACH(i, mr) VX_EACH(v, NB_V) y[i][v] = vf_set(0.0f);
        for (size_t b = 0; b < blocks; b++) {
            vf acc[LEDGE_NBITS_MR][NB_V][2];
            VX_EACH(i, mr)
            VX_EACH(v, NB_V) acc[i][v][0] = acc[i][v][1] = vf_set(0.0f);
            for (size_t step = 0; step < steps; step++, w += 4 * LEDGE_NBITS_GROUP, a += NB_WORD) {
                vi x[NB_V];
                VX_EACH(v, NB_V) x[v] = nb_xor(nb_load(w + v * VF_LANES * 4), NB_FLIP);
                NB_FIELDS(NB_FLOATS)
            }
            VX_EACH(v, NB_V)
            {
                const size_t col = h + (size_t)v * VF_LANES;
                const vf s = vf_load(t->g.scales + b * LEDGE_NBITS_GROUP + col);
                const vf z = vf_sub(nb_zero(&t->g, t->zero_kind, bits, b, col),
                                    vf_set((float)(1 << (NB_BITS - 1))));
                VX_EACH(i, mr)
                {
                    vf sum = vf_add(acc[i][v][0], acc[i][v][1]);
                    if (t->zero_kind != LEDGE_NBITS_MIDDLE)
                        sum = vf_fnma(z, vf_set(a_sum[(size_t)i * t->ld_a + b]), sum);
                    y[i][v] = vf_fma(sum, s, y[i][v]);
                }
            }
        }
        VX_EACH(i, mr)
        VX_EACH(v, NB_V) vf_store(c + (size_t)i * t->ldc + h + (size_t)v * VF_LANES, y[i][v]);
    }
}

#define NB_STORE(k, s)                                                                             \
    vf_store(to + (k) * w->width, vf_mul(vf_sub(NB_FIELD(x, s), z), scale));

static void NB_NAME(nb_widen_, NB_BITS)(const LedgeNbitsWiden *w)
{
#ifdef NB_LOOKUP
    const vf table = nb_table();
    (void)table;
#endif
    for (size_t h = w->first; h < w->first + w->count; h += VF_LANES) {
        float *to = w->to + h - w->first;
        const uint8_t *from = w->g.codes + 4 * (w->k0 / NB_WORD * LEDGE_NBITS_GROUP + h);
        for (size_t k = w->k0; k < w->k1;) {
            const size_t b = k / w->block, end = (b + 1) * w->block;
            const vf scale = vf_load(w->g.scales + b * LEDGE_NBITS_GROUP + h);
            const vf z = vf_sub(nb_zero(&w->g, w->zero_kind, NB_BITS, b, h),
                                vf_set((float)(1 << (NB_BITS - 1))));
            for (; k < end && k < w->k1; k += NB_WORD, from += 4 * LEDGE_NBITS_GROUP) {
                const vi x = nb_xor(nb_load(from), NB_FLIP);
                NB_FIELDS(NB_STORE)
                to += NB_WORD * w->width;
            }
        }
    }
}

#undef NB_STORE
#undef NB_FLIP
#undef NB_FIELDS
#undef NB_WORD
#undef NB_NAME
#undef NB_NAME_
#undef NB_BITS
