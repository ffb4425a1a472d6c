/* Template: what becomes of a sum, over the vocabulary of a vq_<isa>.h: see LedgeQ8Out in q8.h.
 * Part of q8_set.h. */

#ifdef VQ_ROUND_SATURATES
#define Q8_SATURATES 1
#else
#define Q8_SATURATES 0
#endif

#ifndef VQ_STORE_ROWS
/* rows × nv vectors as bytes, ld from row to row. */
VX_INLINE void vq_store_rows(uint8_t *p, size_t ld, const vqi *a, const int rows, const int nv,
                             const VqPack *f, const bool bare)
{
    VX_UNROLL
    for (int i = 0; i < rows; i++, p += ld)
        vq_store_bytes(p, a + i * nv, nv, f, bare);
}
#endif

/* Constants of requantising; bounds are less the zero point, which is added to integers. */
typedef struct Q8Bytes {
    vqf hi;
    VqPack pack;
} Q8Bytes;

VX_INLINE Q8Bytes q8_bytes_of(const LedgeQ8Out *o)
{
    return (Q8Bytes){vq_set_f((float)(o->y_hi - o->y_zero)),
                     vq_pack_of(o->y_zero, o->y_lo, o->y_hi)};
}

/* Whether a byte's own range is all that bytes are bound by. */
VX_INLINE bool q8_bare(const LedgeQ8Out *o)
{
    return o->y_zero == 0 && o->y_lo == 0 && o->y_hi == 255;
}

/* To be packed: the zero point is still to be added, saturating, and the bounds applied. Unless
 * scales are tame the upper bound comes first, so that no float is too large for an int32. */
VX_INLINE vqi q8_requantise(const Q8Bytes *f, vqi sum, vqf scale, const bool tame)
{
    const vqf y = vq_mul_f(vq_float(sum), scale);
    return vq_round(tame || Q8_SATURATES ? y : vq_min_f(y, f->hi));
}

typedef struct Q8Sum {
    vqf lo, hi, y_scale, r_scale, z_hi;
    vqi r_zero;
    VqPack pack;
} Q8Sum;

VX_INLINE Q8Sum q8_sum_of(const LedgeQ8Out *o)
{
    return (Q8Sum){.lo = vq_set_f((float)(o->y_lo - o->y_zero)),
                   .hi = vq_set_f((float)(o->y_hi - o->y_zero)),
                   .y_scale = vq_set_f(o->y_scale),
                   .r_scale = vq_set_f(o->r_scale),
                   .z_hi = vq_set_f((float)(o->z_hi - o->z_zero)),
                   .r_zero = vq_set_i(o->r_zero),
                   .pack = vq_pack_of(o->z_zero, o->z_lo, o->z_hi)};
}

VX_INLINE vqi q8_requantise_sum(const Q8Sum *f, vqi sum, vqf scale, vqi r, const bool tame)
{
    const vqf y = vq_max_f(vq_min_f(vq_mul_f(vq_float(sum), scale), f->hi), f->lo);
    const vqf z = vq_add_f(vq_mul_f(vq_nearest(y), f->y_scale),
                           vq_mul_f(vq_float(vq_sub_i(r, f->r_zero)), f->r_scale));
    return vq_round(tame || Q8_SATURATES ? z : vq_min_f(z, f->z_hi));
}

/* n columns (at most a vector) of one row. */
VX_INLINE void q8_float_row(const LedgeQ8Out *o, vqi sum, const float *scale, const float *fbias,
                            const float *r, size_t n, float *y)
{
    vqf x = vq_mul_f(vq_float(sum), vq_load_f(scale));
    if (fbias)
        x = vq_add_f(x, vq_load_f(fbias));
    if (r)
        x = vq_add_f(x, n == VQ_LANES ? vq_load_f(r) : vq_load_f_n(r, n));
    x = vq_clamp_f(x, vq_set_f(o->lo), vq_set_f(o->hi));
    if (n == VQ_LANES)
        vq_store_f(y, x);
    else
        vq_store_f_n(y, x, n);
}

/* Vector v of row i of a tile, whatever its kind and width. */
VX_INLINE void q8_finish_vector(const LedgeQ8Tile *t, const Q8Bytes *bytes, const Q8Sum *with_r,
                                size_t i, size_t v, vqi sum)
{
    const size_t first = v * VQ_LANES;
    const size_t n = t->n - first < VQ_LANES ? t->n - first : VQ_LANES;
    if (t->b_zero)
        sum = vq_sub_i(sum, vq_mul_i(vq_load_i(t->b_zero + first), vq_set_i(t->row_sum[i])));
    if (t->out->kind == LEDGE_Q8_FLOAT) {
        q8_float_row(t->out, sum, t->scale + first, t->fbias ? t->fbias + first : NULL,
                     t->r ? (const float *)t->r + i * t->ldr + first : NULL, n,
                     (float *)t->c + i * t->ldc + first);
        return;
    }
    uint8_t *c = (uint8_t *)t->c + i * t->ldc + first;
    const vqf scale = vq_load_f(t->scale + first);
    vqi q;
    if (t->out->kind == LEDGE_Q8_SUM) {
        const uint8_t *r = (const uint8_t *)t->r + i * t->ldr + first;
        q = q8_requantise_sum(with_r, sum, scale,
                              n == VQ_LANES ? vq_load_bytes(r) : vq_load_bytes_n(r, n),
                              false);
    } else {
        q = q8_requantise(bytes, sum, scale, false);
    }
    const VqPack *pack = t->out->kind == LEDGE_Q8_SUM ? &with_r->pack : &bytes->pack;
    if (n == VQ_LANES)
        vq_store_rows(c, 0, &q, 1, 1, pack, false);
    else
        vq_store_bytes_n(c, q, n, pack);
}

/* Floats of whole vectors; `bias` and `with_r` are constants where it is called. */
VX_INLINE void q8_float_tile(const LedgeQ8Tile *t, const vqi *sum, size_t nv, bool bias,
                             bool with_r)
{
    const vqf lo = vq_set_f(t->out->lo), hi = vq_set_f(t->out->hi);
    const size_t mr = t->mr, ldc = t->ldc, ldr = t->ldr;
    const float *const scale = t->scale, *const fbias = t->fbias, *r = t->r;
    float *c = t->c;
    for (size_t i = 0; i < mr; i++, c += ldc, r += with_r ? ldr : 0)
        for (size_t v = 0; v < nv; v++, sum++) {
            const size_t at = v * VQ_LANES;
            vqf x = vq_mul_f(vq_float(*sum), vq_load_f(scale + at));
            if (bias)
                x = vq_add_f(x, vq_load_f(fbias + at));
            if (with_r)
                x = vq_add_f(x, vq_load_f(r + at));
            vq_store_f(c + at, vq_clamp_f(x, lo, hi));
        }
}

static void q8_finish_floats(const LedgeQ8Tile *t, const vqi *sum, size_t nv)
{
    if (t->fbias && t->r)
        q8_float_tile(t, sum, nv, true, true);
    else if (t->fbias)
        q8_float_tile(t, sum, nv, true, false);
    else if (t->r)
        q8_float_tile(t, sum, nv, false, true);
    else
        q8_float_tile(t, sum, nv, false, false);
}

/* Everything that a tile does not do by itself: residuals, floats, part of a vector. */
static void q8_finish_any(const LedgeQ8Tile *t, const vqi *sum, size_t nv)
{
    if (t->out->kind == LEDGE_Q8_FLOAT && t->n == nv * VQ_LANES && !t->b_zero) {
        q8_finish_floats(t, sum, nv);
        return;
    }
    const Q8Bytes bytes = q8_bytes_of(t->out);
    const Q8Sum with_r = q8_sum_of(t->out);
    for (size_t i = 0; i < t->mr; i++)
        for (size_t v = 0; v < nv; v++)
            q8_finish_vector(t, &bytes, &with_r, i, v, sum[i * nv + v]);
}

/* Where a tile goes and what is added to it. */
typedef struct Q8Place {
    void *c;
    const void *r;
} Q8Place;

/* A tile of mr × nv sums, both constants: what is usual stays in registers. Gives the place of the
 * tile below. */
VX_INLINE Q8Place q8_finish_tile(const LedgeQ8Tile *t, Q8Place at, const vqi *sum, const int mr,
                                 const int nv)
{
    const float *const scale = t->scale;
    const size_t ldc = t->ldc, ldr = t->ldr, rows = (size_t)mr;
    const LedgeQ8Out *const o = t->out;
    const size_t element = o->kind == LEDGE_Q8_FLOAT ? sizeof(float) : 1;
    const bool plain = t->n == (size_t)nv * VQ_LANES && !t->b_zero && o->tame;
    if (plain && o->kind == LEDGE_Q8_BYTES) {
        const Q8Bytes f = q8_bytes_of(o);
        vqi q[32];
        VX_EACH(i, mr)
        VX_EACH(v, nv)
        q[i * nv + v] = q8_requantise(&f, sum[i * nv + v], vq_load_f(scale + v * VQ_LANES), true);
        if (q8_bare(o))
            vq_store_rows(at.c, ldc, q, mr, nv, &f.pack, true);
        else
            vq_store_rows(at.c, ldc, q, mr, nv, &f.pack, false);
    } else if (plain && o->kind == LEDGE_Q8_SUM) {
        const Q8Sum f = q8_sum_of(o);
        const uint8_t *r = at.r;
        vqi q[32];
        VX_UNROLL
        for (int i = 0; i < mr; i++, r += ldr)
            VX_EACH(v, nv)
        q[i * nv + v] = q8_requantise_sum(&f, sum[i * nv + v], vq_load_f(scale + v * VQ_LANES),
                                          vq_load_bytes(r + v * VQ_LANES), true);
        vq_store_rows(at.c, ldc, q, mr, nv, &f.pack, false);
    } else if (mr * nv >= 20 && o->kind == LEDGE_Q8_FLOAT && t->n == (size_t)nv * VQ_LANES &&
               !t->b_zero && t->fbias && !at.r) { /* large tiles only: the code is long */
        const vqf lo = vq_set_f(o->lo), hi = vq_set_f(o->hi);
        const float *const fbias = t->fbias;
        float *c = at.c;
        VX_UNROLL
        for (int i = 0; i < mr; i++, c += ldc)
            VX_EACH(v, nv)
            {
                const vqf x = vq_mul_f(vq_float(sum[i * nv + v]), vq_load_f(scale + v * VQ_LANES));
                const vqf y = vq_add_f(x, vq_load_f(fbias + v * VQ_LANES));
                vq_store_f(c + v * VQ_LANES, vq_clamp_f(y, lo, hi));
            }
    } else {
        vqi stored[32];
        LedgeQ8Tile here = *t;
        here.c = at.c;
        here.r = at.r;
        VX_EACH(i, mr * nv) stored[i] = sum[i];
        q8_finish_any(&here, stored, (size_t)nv);
    }
    return (Q8Place){(char *)at.c + rows * ldc * element,
                     at.r ? (const char *)at.r + rows * ldr * element : NULL};
}
