/* The vocabulary of the 8-bit kernel templates in plain C, four lanes: what every other
 * instruction set must equal bit for bit.
 *
 * Every vq_<isa>.h defines the same names, so that a kernel is written once (the *_tile.h files)
 * and compiled once per instruction set. Types: vqi int32 lanes, vqf float lanes, vqb bytes
 * (four per lane), vqx four bytes of a row in each lane, vqw weights, vqa sums on the way. The _n
 * forms touch no memory past n elements. */
#ifndef LEDGE_KERNELS_VQ_SCALAR_H
#define LEDGE_KERNELS_VQ_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VQ_ISA scalar
#define VQ_LANES 4
#define VQ_REGISTERS 4
#define VQ_ROUND_SATURATES

typedef struct vqi {
    int32_t v[4];
} vqi;
typedef struct vqf {
    float v[4];
} vqf;
typedef struct vqb {
    uint8_t v[16];
} vqb;
typedef struct vqx {
    uint8_t v[16];
} vqx;
typedef struct vqw {
    int8_t v[16];
} vqw;
typedef vqi vqa;
typedef struct VqPack {
    int32_t zero, lo, hi;
} VqPack;

static inline vqi vq_load_i(const int32_t *p)
{
    vqi x;
    memcpy(&x, p, sizeof(x));
    return x;
}
static inline void vq_store_i(int32_t *p, vqi a)
{
    memcpy(p, &a, sizeof(a));
}
static inline vqi vq_set_i(int32_t x)
{
    return (vqi){{x, x, x, x}};
}
static inline vqi vq_sub_i(vqi a, vqi b)
{
    for (int i = 0; i < 4; i++)
        a.v[i] = (int32_t)((uint32_t)a.v[i] - (uint32_t)b.v[i]);
    return a;
}
static inline vqi vq_mul_i(vqi a, vqi b)
{
    for (int i = 0; i < 4; i++)
        a.v[i] = (int32_t)((uint32_t)a.v[i] * (uint32_t)b.v[i]);
    return a;
}
static inline vqi vq_load_bytes(const uint8_t *p)
{
    return (vqi){{p[0], p[1], p[2], p[3]}};
}
static inline vqi vq_load_bytes_n(const uint8_t *p, size_t n) /* lanes from n on are 0 */
{
    uint8_t x[4] = {0, 0, 0, 0};
    memcpy(x, p, n);
    return vq_load_bytes(x);
}
static inline vqf vq_load_f(const float *p)
{
    vqf x;
    memcpy(&x, p, sizeof(x));
    return x;
}
static inline vqf vq_load_f_n(const float *p, size_t n) /* lanes from n on are 0 */
{
    vqf x = {{0, 0, 0, 0}};
    memcpy(&x, p, n * sizeof(float));
    return x;
}
static inline void vq_store_f(float *p, vqf a)
{
    memcpy(p, &a, sizeof(a));
}
static inline void vq_store_f_n(float *p, vqf a, size_t n)
{
    memcpy(p, &a, n * sizeof(float));
}
static inline vqf vq_set_f(float x)
{
    return (vqf){{x, x, x, x}};
}
static inline vqf vq_add_f(vqf a, vqf b)
{
    for (int i = 0; i < 4; i++)
        a.v[i] += b.v[i];
    return a;
}
static inline vqf vq_mul_f(vqf a, vqf b)
{
    for (int i = 0; i < 4; i++)
        a.v[i] *= b.v[i];
    return a;
}
static inline vqf vq_min_f(vqf a, vqf b)
{
    for (int i = 0; i < 4; i++)
        a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
    return a;
}
static inline vqf vq_max_f(vqf a, vqf b)
{
    for (int i = 0; i < 4; i++)
        a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
}
static inline vqf vq_clamp_f(vqf x, vqf lo, vqf hi) /* keeps NaN */
{
    for (int i = 0; i < 4; i++) {
        x.v[i] = x.v[i] < lo.v[i] ? lo.v[i] : x.v[i];
        x.v[i] = x.v[i] > hi.v[i] ? hi.v[i] : x.v[i];
    }
    return x;
}
static inline vqf vq_float(vqi a)
{
    return (vqf){{(float)a.v[0], (float)a.v[1], (float)a.v[2], (float)a.v[3]}};
}
static inline vqf vq_nearest(vqf x) /* ties to even; |x| < 2^22 */
{
    for (int i = 0; i < 4; i++)
        x.v[i] = (x.v[i] + 12582912.0f) - 12582912.0f;
    return x;
}
static inline vqi vq_round(vqf x) /* ties to even; saturates, far beyond bytes */
{
    vqi y;
    x = vq_nearest(vq_clamp_f(x, vq_set_f(-65536.0f), vq_set_f(65536.0f)));
    for (int i = 0; i < 4; i++)
        y.v[i] = (int32_t)x.v[i];
    return y;
}

/* Bytes: saturate(a + zero), from lo to hi. `bare` tells that zero and lo are 0, hi is 255. */
static inline VqPack vq_pack_of(int32_t zero, int32_t lo, int32_t hi)
{
    return (VqPack){zero, lo, hi};
}
static inline void vq_store_bytes_n(uint8_t *p, vqi a, size_t n, const VqPack *f)
{
    for (size_t i = 0; i < n; i++) {
        const int32_t x = a.v[i] + f->zero, y = x > f->lo ? x : f->lo;
        p[i] = (uint8_t)(y < f->hi ? y : f->hi);
    }
}
static inline void vq_store_bytes(uint8_t *p, const vqi *a, const int nv, const VqPack *f,
                                  const bool bare)
{
    (void)bare; /* others skip zero point and bounds then */
    for (int v = 0; v < nv; v++)
        vq_store_bytes_n(p + v * 4, a[v], 4, f);
}
static inline void vq_store_block(uint8_t *p, const vqi *a, const VqPack *f, const bool bare)
{
    vq_store_bytes(p, a, 4, f, bare);
}

static inline vqa vq_begin(vqi init)
{
    return init;
}
static inline vqi vq_end(vqa sum)
{
    return sum;
}
static inline vqw vq_weights(const int8_t *p)
{
    vqw w;
    memcpy(&w, p, sizeof(w));
    return w;
}
static inline vqx vq_four(const uint8_t *p) /* four bytes to every lane */
{
    vqx x;
    for (int i = 0; i < 4; i++)
        memcpy(x.v + i * 4, p, 4);
    return x;
}
static inline vqa vq_dot(vqa sum, vqx x, vqw w)
{
    for (int i = 0; i < 4; i++) {
        int32_t s = 0;
        for (int j = 0; j < 4; j++)
            s += x.v[i * 4 + j] * w.v[i * 4 + j];
        sum.v[i] = (int32_t)((uint32_t)sum.v[i] + (uint32_t)s);
    }
    return sum;
}

static inline vqb vq_zero_b(void)
{
    return (vqb){{0}};
}
static inline vqb vq_load_b(const uint8_t *p)
{
    vqb x;
    memcpy(&x, p, sizeof(x));
    return x;
}
static inline vqb vq_load_b_n(const uint8_t *p, size_t n) /* zeros from n on */
{
    vqb x = {{0}};
    memcpy(&x, p, n);
    return x;
}
/* Channel by channel, by fours: byte k of lane l of x[v] is r[k]'s byte of the channel that
 * ledge__q8_dw_channel(v, l) tells. */
static inline void vq_interleave(const vqb r[4], vqx x[4])
{
    for (int v = 0; v < 4; v++)
        for (int l = 0; l < 4; l++)
            for (int k = 0; k < 4; k++)
                x[v].v[l * 4 + k] = r[k].v[v * 4 + l];
}

#endif
