/* The vector vocabulary of the fp32 kernel templates, in NEON for aarch64: 4 lanes.
 *
 * Every vf_<isa>.h defines the same names, so that a kernel is written once (the *_tile.h
 * files) and compiled once per instruction set. vf_clamp and the _n forms keep NaN and touch
 * no memory past n lanes. */
#ifndef LEDGE_KERNELS_VF_NEON_H
#define LEDGE_KERNELS_VF_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF_ISA neon
#define VF_LANES 4
#define VF_REGISTERS 32
#define VF_KEEP(x) __asm__("" : "+w"(x)) /* keeps x in a register of its own */

typedef float32x4_t vf;

static inline vf vf_load(const float *p)
{
    return vld1q_f32(p);
}
static inline vf vf_load_n(const float *p, size_t n) /* lanes from n on are 0 */
{
    float x[4] = {0, 0, 0, 0};
    memcpy(x, p, (n < 4 ? n : 4) * sizeof(float));
    return vf_load(x);
}
static inline void vf_store(float *p, vf a)
{
    vst1q_f32(p, a);
}
static inline void vf_store_n(float *p, vf a, size_t n)
{
    float x[4];
    vf_store(x, a);
    memcpy(p, x, (n < 4 ? n : 4) * sizeof(float));
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
static inline vf vf_fma(vf a, vf b, vf c) /* a * b + c */
{
    return vfmaq_f32(c, a, b);
}
static inline vf vf_clamp(vf x, vf lo, vf hi)
{
    return vminq_f32(hi, vmaxq_f32(lo, x)); /* fmin and fmax carry NaN on */
}

#endif
