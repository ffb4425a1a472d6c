/* The vocabulary of the 8-bit kernel templates in NEON for aarch64, 4 lanes; see ref/vq_scalar.h
 * for what each name does.
 *
 * The base set multiplies x - 128 by w with pairs of sums per column (VQ_FLIP is why init has
 * 128 times the weights' sum more), dotprod the same by sdot, i8mm by usmmla, and depthwise by
 * usdot, without the flip. */
#ifndef LEDGE_KERNELS_VQ_NEON_H
#define LEDGE_KERNELS_VQ_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VQ_LANES 4
#define VQ_ROUND_SATURATES

typedef int32x4_t vqi;
typedef float32x4_t vqf;
typedef uint8x16_t vqb;
typedef struct VqPack {
    int16x8_t zero;
    uint8x16_t lo, hi;
} VqPack;

static inline vqi vq_load_i(const int32_t *p)
{
    return vld1q_s32(p);
}
static inline void vq_store_i(int32_t *p, vqi a)
{
    vst1q_s32(p, a);
}
static inline vqi vq_set_i(int32_t x)
{
    return vdupq_n_s32(x);
}
static inline vqi vq_sub_i(vqi a, vqi b)
{
    return vsubq_s32(a, b);
}
static inline vqi vq_mul_i(vqi a, vqi b)
{
    return vmulq_s32(a, b);
}
static inline vqi vq_load_bytes(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof(x));
    const uint16x8_t y = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(x)));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(y)));
}
static inline vqi vq_load_bytes_n(const uint8_t *p, size_t n)
{
    uint8_t x[4] = {0};
    memcpy(x, p, n);
    return vq_load_bytes(x);
}
static inline vqf vq_load_f(const float *p)
{
    return vld1q_f32(p);
}
static inline vqf vq_load_f_n(const float *p, size_t n)
{
    float x[4] = {0};
    memcpy(x, p, n * sizeof(float));
    return vq_load_f(x);
}
static inline void vq_store_f(float *p, vqf a)
{
    vst1q_f32(p, a);
}
static inline void vq_store_f_n(float *p, vqf a, size_t n)
{
    float x[4];
    vq_store_f(x, a);
    memcpy(p, x, n * sizeof(float));
}
static inline vqf vq_set_f(float x)
{
    return vdupq_n_f32(x);
}
static inline vqf vq_add_f(vqf a, vqf b)
{
    return vaddq_f32(a, b);
}
static inline vqf vq_mul_f(vqf a, vqf b)
{
    return vmulq_f32(a, b);
}
static inline vqf vq_min_f(vqf a, vqf b)
{
    return vminq_f32(a, b);
}
static inline vqf vq_max_f(vqf a, vqf b)
{
    return vmaxq_f32(a, b);
}
static inline vqf vq_clamp_f(vqf x, vqf lo, vqf hi)
{
    return vminq_f32(hi, vmaxq_f32(lo, x));
}
static inline vqf vq_float(vqi a)
{
    return vcvtq_f32_s32(a);
}
static inline vqf vq_nearest(vqf x)
{
    return vrndnq_f32(x);
}
static inline vqi vq_round(vqf x) /* saturates */
{
    return vcvtnq_s32_f32(x);
}

static inline VqPack vq_pack_of(int32_t zero, int32_t lo, int32_t hi)
{
    return (VqPack){vdupq_n_s16((int16_t)zero), vdupq_n_u8((uint8_t)lo), vdupq_n_u8((uint8_t)hi)};
}
static inline int16x8_t vq_words(vqi a, vqi b, const VqPack *f, const bool bare)
{
    const int16x8_t x = vqmovn_high_s32(vqmovn_s32(a), b);
    return bare ? x : vqaddq_s16(x, f->zero);
}
/* `bare`: there is no zero point and no bound but a byte's own. */
static inline uint8x16_t vq_packed(const vqi *a, const int nv, const VqPack *f, const bool bare)
{
    const uint8x8_t ab = vqmovun_s16(vq_words(a[0], a[nv > 1 ? 1 : 0], f, bare));
    const int16x8_t cd = vq_words(a[nv > 2 ? 2 : 0], a[nv > 3 ? 3 : 0], f, bare);
    const uint8x16_t x = nv > 2 ? vqmovun_high_s16(ab, cd) : vcombine_u8(ab, ab);
    return bare ? x : vminq_u8(vmaxq_u8(x, f->lo), f->hi);
}
static inline void vq_store_bytes(uint8_t *p, const vqi *a, const int nv, const VqPack *f,
                                  const bool bare)
{
    const uint8x16_t x = vq_packed(a, nv, f, bare);
    const uint32x4_t words = vreinterpretq_u32_u8(x);
    uint32_t last;
    if (nv == 4) {
        vst1q_u8(p, x);
        return;
    }
    if (nv > 1)
        vst1_u8(p, vget_low_u8(x));
    if (nv == 2)
        return;
    last = nv == 1 ? vgetq_lane_u32(words, 0) : vgetq_lane_u32(words, 2);
    memcpy(p + (nv == 1 ? 0 : 8), &last, sizeof(last));
}
static inline void vq_store_bytes_n(uint8_t *p, vqi a, size_t n, const VqPack *f)
{
    uint8_t x[4];
    vq_store_bytes(x, &a, 1, f, false);
    memcpy(p, x, n);
}
static inline void vq_store_block(uint8_t *p, const vqi *a, const VqPack *f, const bool bare)
{
    vq_store_bytes(p, a, 4, f, bare);
}

static inline vqb vq_zero_b(void)
{
    return vdupq_n_u8(0);
}
static inline vqb vq_load_b(const uint8_t *p)
{
    return vld1q_u8(p);
}
static inline vqb vq_load_b_n(const uint8_t *p, size_t n)
{
    uint8_t x[16] = {0};
    memcpy(x, p, n);
    return vq_load_b(x);
}
static inline uint8x16_t vq_four_all(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof(x));
    return vreinterpretq_u8_u32(vdupq_n_u32(x));
}
/* The four interleaved vectors of bytes. */
static inline void vq_fours(const vqb r[4], uint8x16_t out[4])
{
    const uint16x8_t a = vreinterpretq_u16_u8(vzip1q_u8(r[0], r[1]));
    const uint16x8_t b = vreinterpretq_u16_u8(vzip2q_u8(r[0], r[1]));
    const uint16x8_t c = vreinterpretq_u16_u8(vzip1q_u8(r[2], r[3]));
    const uint16x8_t d = vreinterpretq_u16_u8(vzip2q_u8(r[2], r[3]));
    out[0] = vreinterpretq_u8_u16(vzip1q_u16(a, c));
    out[1] = vreinterpretq_u8_u16(vzip2q_u16(a, c));
    out[2] = vreinterpretq_u8_u16(vzip1q_u16(b, d));
    out[3] = vreinterpretq_u8_u16(vzip2q_u16(b, d));
}

typedef int8x16_t vqw;
static inline vqw vq_weights(const int8_t *p)
{
    return vld1q_s8(p);
}

#if defined(__ARM_FEATURE_MATMUL_INT8)

#define VQ_ISA i8mm
#define VQ_REGISTERS 32
typedef uint8x16_t vqx;
typedef int32x4_t vqa;

static inline vqx vq_signed(uint8x16_t x)
{
    return x;
}
static inline vqa vq_dot(vqa sum, vqx x, vqw w)
{
    return vusdotq_s32(sum, x, w);
}

/* Two rows by the four columns of a vector: columns 0 and 1, and 2 and 3. */
#define VQ_PAIRS
typedef uint8x16_t vqp;
typedef int8x16x2_t vqpw;
typedef int32x4x2_t vqpa;

static inline vqp vq_pair(const uint8_t *a, const uint8_t *b)
{
    return vcombine_u8(vld1_u8(a), vld1_u8(b));
}
static inline vqpw vq_pair_weights(const int8_t *p)
{
    return (vqpw){{vld1q_s8(p), vld1q_s8(p + 16)}};
}
static inline vqpa vq_pair_begin(vqi init)
{
    const int32x2_t low = vget_low_s32(init), high = vget_high_s32(init);
    return (vqpa){{vcombine_s32(low, low), vcombine_s32(high, high)}};
}
static inline vqpa vq_pair_dot(vqpa sum, vqp x, vqpw w)
{
    sum.val[0] = vusmmlaq_s32(sum.val[0], x, w.val[0]);
    sum.val[1] = vusmmlaq_s32(sum.val[1], x, w.val[1]);
    return sum;
}
static inline vqi vq_pair_end(vqpa sum, const int row)
{
    return row ? vcombine_s32(vget_high_s32(sum.val[0]), vget_high_s32(sum.val[1]))
               : vcombine_s32(vget_low_s32(sum.val[0]), vget_low_s32(sum.val[1]));
}

#else

#define VQ_FLIP 128
typedef int8x16_t vqx;

static inline vqx vq_signed(uint8x16_t x)
{
    return vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(0x80)));
}

#ifdef __ARM_FEATURE_DOTPROD

#define VQ_ISA dotprod
#define VQ_REGISTERS 32
typedef int32x4_t vqa;

static inline vqa vq_dot(vqa sum, vqx x, vqw w)
{
    return vdotq_s32(sum, x, w);
}

#else

#define VQ_ISA neon
#define VQ_REGISTERS 16 /* in sums: each takes two */
typedef struct vqa {
    int32x4_t a, b; /* two for each of columns 0 and 1, and of 2 and 3 */
} vqa;

static inline vqa vq_dot(vqa sum, vqx x, vqw w)
{
    sum.a = vpadalq_s16(sum.a, vmull_s8(vget_low_s8(x), vget_low_s8(w)));
    sum.b = vpadalq_s16(sum.b, vmull_high_s8(x, w));
    return sum;
}
#define VQ_WINO 2
static inline vqa vq_dot16(vqa sum, vqi x, vqi w)
{
    const int16x8_t a = vreinterpretq_s16_s32(x), b = vreinterpretq_s16_s32(w);
    sum.a = vmlal_s16(sum.a, vget_low_s16(a), vget_low_s16(b));
    sum.b = vmlal_high_s16(sum.b, a, b);
    return sum;
}
static inline vqa vq_begin(vqi init)
{
    const int32x4_t zero = vdupq_n_s32(0);
    return (vqa){vzip1q_s32(init, zero), vzip2q_s32(init, zero)};
}
static inline vqi vq_end(vqa sum)
{
    return vpaddq_s32(sum.a, sum.b);
}

#endif
#endif

#ifndef VQ_FLIP
#define VQ_FLIP 0
#endif
#if VQ_REGISTERS == 32
static inline vqa vq_begin(vqi init)
{
    return init;
}
static inline vqi vq_end(vqa sum)
{
    return sum;
}
#endif
static inline vqx vq_four(const uint8_t *p)
{
    return vq_signed(vq_four_all(p));
}
static inline void vq_interleave(const vqb r[4], vqx x[4])
{
    uint8x16_t four[4];
    vq_fours(r, four);
    for (int v = 0; v < 4; v++)
        x[v] = vq_signed(four[v]);
}

#endif
