/* The vector vocabulary of the element-wise kernel templates, in NEON (aarch64).
 * See x86/simd_avx512.h for what the names mean; vf_min and vf_max give NaN when either
 * operand is NaN, which the kernels' use of them allows. */
#ifndef LEDGE_KERNELS_SIMD_NEON_H
#define LEDGE_KERNELS_SIMD_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF_ISA     neon
#define VF_NEEDS   LEDGE_CPU_NEON
#define VF_LANES   4
#define VF_HAS_F16 1
#define VF_TILE    4

typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vm;

static inline vf vf_load(const float *p)
{
    return vld1q_f32(p);
}
static inline vf vf_load_n(const float *p, size_t n)
{
    float t[4] = {0, 0, 0, 0};
    memcpy(t, p, n * sizeof *p);
    return vld1q_f32(t);
}
static inline void vf_store(float *p, vf a)
{
    vst1q_f32(p, a);
}
static inline void vf_store_n(float *p, vf a, size_t n)
{
    float t[4];
    vst1q_f32(t, a);
    memcpy(p, t, n * sizeof *p);
}
static inline vf vf_set(float x)
{
    return vdupq_n_f32(x);
}
static inline vf vf_add(vf a, vf b)
{
    return vaddq_f32(a, b);
}
static inline vf vf_sub(vf a, vf b)
{
    return vsubq_f32(a, b);
}
static inline vf vf_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}
static inline vf vf_div(vf a, vf b)
{
    return vdivq_f32(a, b);
}
static inline vf vf_fma(vf a, vf b, vf c)
{
    return vfmaq_f32(c, a, b);
}
static inline vf vf_fnma(vf a, vf b, vf c)
{
    return vfmsq_f32(c, a, b);
}
static inline vf vf_min(vf a, vf b)
{
    return vminq_f32(a, b);
}
static inline vf vf_max(vf a, vf b)
{
    return vmaxq_f32(a, b);
}
static inline vf vf_sqrt(vf a)
{
    return vsqrtq_f32(a);
}
static inline vf vf_floor(vf a)
{
    return vrndmq_f32(a);
}
static inline vf vf_ceil(vf a)
{
    return vrndpq_f32(a);
}
static inline vf vf_round(vf a)
{
    return vrndnq_f32(a);
}
static inline vi vi_of(vf a)
{
    return vreinterpretq_s32_f32(a);
}
static inline vf vf_of(vi a)
{
    return vreinterpretq_f32_s32(a);
}
static inline vf vf_and(vf a, vf b)
{
    return vf_of(vandq_s32(vi_of(a), vi_of(b)));
}
static inline vf vf_or(vf a, vf b)
{
    return vf_of(vorrq_s32(vi_of(a), vi_of(b)));
}
static inline vf vf_xor(vf a, vf b)
{
    return vf_of(veorq_s32(vi_of(a), vi_of(b)));
}
static inline vm vf_lt(vf a, vf b)
{
    return vcltq_f32(a, b);
}
static inline vm vf_eq(vf a, vf b)
{
    return vceqq_f32(a, b);
}
static inline vm vf_nan(vf a)
{
    return vmvnq_u32(vceqq_f32(a, a));
}
static inline vf vf_sel(vm m, vf a, vf b)
{
    return vbslq_f32(m, a, b);
}
static inline vi vi_set(int32_t x)
{
    return vdupq_n_s32(x);
}
static inline vi vi_add(vi a, vi b)
{
    return vaddq_s32(a, b);
}
static inline vi vi_sub(vi a, vi b)
{
    return vsubq_s32(a, b);
}
static inline vi vi_and(vi a, vi b)
{
    return vandq_s32(a, b);
}
#define vi_shl(a, n) vshlq_n_s32(a, n)
#define vi_sar(a, n) vshrq_n_s32(a, n)
static inline vi vi_cvt(vf a)
{
    return vcvtnq_s32_f32(a);
}
static inline vf vf_cvt(vi a)
{
    return vcvtq_f32_s32(a);
}
static inline vf vf_scale2(vf a, vf n)
{
    const vi i = vcvtnq_s32_f32(n), half = vshrq_n_s32(i, 1), one = vdupq_n_s32(127);
    const vi rest = vsubq_s32(i, half);
    a = vmulq_f32(a, vf_of(vshlq_n_s32(vaddq_s32(half, one), 23)));
    return vmulq_f32(a, vf_of(vshlq_n_s32(vaddq_s32(rest, one), 23)));
}
static inline bool vf_all_number(vf a)
{
    return vmaxvq_u32(vf_nan(a)) == 0;
}
static inline float vf_hsum(vf a)
{
    return vaddvq_f32(a);
}
static inline float vf_hmax(vf a)
{
    return vmaxvq_f32(a);
}
static inline float vf_hmin(vf a)
{
    return vminvq_f32(a);
}
static inline vf vf_load_u8(const uint8_t *p)
{
    uint32_t four;
    memcpy(&four, p, 4);
    const uint16x8_t wide = vmovl_u8(vcreate_u8(four));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
}
static inline vf vf_load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
static inline void vf_store_f16(uint16_t *p, vf a)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a)));
}

/* y[c][r] = x[r][c] for c < 4; `rows` (1 … 4) rows are read, the rest of the tile repeats one. */
static inline void tile4(const uint32_t *x, size_t ldx, uint32_t *y, size_t ldy, size_t rows)
{
    const uint32x4_t a = vld1q_u32(x), b = vld1q_u32(x + (rows > 1 ? ldx : 0));
    const uint32x4_t c = vld1q_u32(x + (rows > 2 ? 2 * ldx : 0));
    const uint32x4_t d = vld1q_u32(x + (rows > 3 ? 3 * ldx : 0));
    const uint64x2_t ab0 = vreinterpretq_u64_u32(vzip1q_u32(a, b));
    const uint64x2_t ab1 = vreinterpretq_u64_u32(vzip2q_u32(a, b));
    const uint64x2_t cd0 = vreinterpretq_u64_u32(vzip1q_u32(c, d));
    const uint64x2_t cd1 = vreinterpretq_u64_u32(vzip2q_u32(c, d));
    vst1q_u32(y, vreinterpretq_u32_u64(vzip1q_u64(ab0, cd0)));
    vst1q_u32(y + ldy, vreinterpretq_u32_u64(vzip2q_u64(ab0, cd0)));
    vst1q_u32(y + 2 * ldy, vreinterpretq_u32_u64(vzip1q_u64(ab1, cd1)));
    vst1q_u32(y + 3 * ldy, vreinterpretq_u32_u64(vzip2q_u64(ab1, cd1)));
}

#endif
