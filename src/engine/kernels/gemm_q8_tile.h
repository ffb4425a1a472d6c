/* Template of one 8-bit GEMM micro-kernel: Q8_MR rows by Q8_NV vectors, over the vocabulary of a
 * vq_<isa>.h. Included once per tile by q8_set.h; both sizes are macros so that the sums are
 * plain constants to the compiler and stay in registers.
 *
 * Rows of A are read through pointers and broadcast four bytes at a time, so that A needs no
 * packing: the same kernel serves plain matrices and, with one run of pointers per filter tap,
 * convolution over NHWC. */
#define Q8_STEP(four)                                                                      \
    do {                                                                                   \
        vqw w[Q8_NV];                                                                      \
        VQ_EACH(v, Q8_NV) w[v] = vq_weights(b + v * VQ_BYTES);                             \
        VQ_EACH(i, Q8_MR)                                                                  \
        {                                                                                  \
            const vqx x = vq_four(four);                                                   \
            VQ_EACH(v, Q8_NV) acc[i][v] = vq_dot(acc[i][v], x, w[v]);                      \
        }                                                                                  \
    } while (0)

static void VQ_CAT3(gemm_, Q8_MR, Q8_NV)(const LedgeQ8Tile *t)
{
    vqa acc[Q8_MR][Q8_NV];
    /* copies, since what is stored might be *t itself for all that the compiler knows */
    const size_t kc = t->kc, whole = kc & ~(size_t)3, ahead = t->ahead;
    const int8_t *b = t->b;
    VQ_EACH(v, Q8_NV)
    {
        const vqi x = vq_load_i(t->init + v * VQ_LANES);
        VQ_EACH(i, Q8_MR) acc[i][v] = vq_begin(x);
    }
    const uint8_t *const *rows = t->a;
    for (size_t tap = t->taps; tap > 0; tap--, rows += Q8_MR) {
        const uint8_t *a[Q8_MR];
        VQ_EACH(i, Q8_MR) a[i] = rows[i];
        if (ahead)
            for (size_t k = 0; k < whole; k += 4, b += Q8_NV * VQ_BYTES) {
                VQ_EACH(v, (Q8_NV * VQ_BYTES + 63) / 64) /* a cache line each */
                __builtin_prefetch(b + ahead + v * 64, 0, 2);
                Q8_STEP(a[i] + k);
            }
        else
            for (size_t k = 0; k < whole; k += 4, b += Q8_NV * VQ_BYTES)
                Q8_STEP(a[i] + k);
        if (kc != whole) {
            uint32_t last[Q8_MR];
            VQ_EACH(i, Q8_MR) last[i] = q8_last_bytes(a[i], kc);
            Q8_STEP((const uint8_t *)&last[i]);
            b += Q8_NV * VQ_BYTES;
        }
    }
    vqi sum[Q8_MR * Q8_NV];
    VQ_EACH(i, Q8_MR)
    VQ_EACH(v, Q8_NV) sum[i * Q8_NV + v] = vq_end(acc[i][v]);
    const float *const scale = t->scale;
    const size_t ldc = t->ldc, ldr = t->ldr;
    const bool plain = t->n == Q8_NV * VQ_LANES && !t->b_zero && t->out->tame;
    uint8_t *c = t->c;
    if (plain && t->out->kind == LEDGE_Q8_BYTES) {
        const Q8Bytes f = q8_bytes_of(t->out);
        VQ_UNROLL
        for (int i = 0; i < Q8_MR; i++, c += ldc) {
            vqi q[Q8_NV];
            VQ_EACH(v, Q8_NV)
            q[v] = q8_requantise(&f, sum[i * Q8_NV + v], vq_load_f(scale + v * VQ_LANES), true);
            vq_store_bytes(c, q, Q8_NV, &f.pack);
        }
    } else if (plain && t->out->kind == LEDGE_Q8_SUM) {
        const Q8Sum f = q8_sum_of(t->out);
        const uint8_t *r = t->r;
        VQ_UNROLL
        for (int i = 0; i < Q8_MR; i++, c += ldc, r += ldr) {
            vqi q[Q8_NV];
            VQ_EACH(v, Q8_NV)
            q[v] = q8_requantise_sum(&f, sum[i * Q8_NV + v], vq_load_f(scale + v * VQ_LANES),
                                     vq_load_bytes(r + v * VQ_LANES), true);
            vq_store_bytes(c, q, Q8_NV, &f.pack);
        }
    } else {
        vqi stored[Q8_MR * Q8_NV];
        VQ_EACH(i, Q8_MR * Q8_NV) stored[i] = sum[i];
        q8_finish_any(t, stored, Q8_NV);
    }
}
#undef Q8_STEP
#undef Q8_MR
