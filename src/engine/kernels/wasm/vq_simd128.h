/* The vocabulary of the 8-bit kernel templates in WebAssembly SIMD128, 4 lanes; see
 * ref/vq_scalar.h for what each name does. A product goes by pairs of int16, which are exact. */
#ifndef LEDGE_KERNELS_VQ_SIMD128_H
#define LEDGE_KERNELS_VQ_SIMD128_H

#include <wasm_simd128.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VQ_ISA simd128
#define VQ_LANES 4
#define VQ_REGISTERS 16
#define VQ_ROUND_SATURATES

typedef v128_t vqi;
typedef v128_t vqf;
typedef v128_t vqb;
typedef v128_t vqa;
typedef struct vqx {
    v128_t even, odd; /* int16 */
} vqx;
typedef vqx vqw;
typedef struct VqPack {
    v128_t zero, lo, hi;
} VqPack;

static inline vqi vq_load_i(const int32_t *p)
{
    return wasm_v128_load(p);
}
static inline void vq_store_i(int32_t *p, vqi a)
{
    wasm_v128_store(p, a);
}
static inline vqi vq_set_i(int32_t x)
{
    return wasm_i32x4_splat(x);
}
static inline vqi vq_sub_i(vqi a, vqi b)
{
    return wasm_i32x4_sub(a, b);
}
static inline vqi vq_mul_i(vqi a, vqi b)
{
    return wasm_i32x4_mul(a, b);
}
static inline vqi vq_load_bytes(const uint8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof(x));
    return wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(wasm_i32x4_splat(x)));
}
static inline vqi vq_load_bytes_n(const uint8_t *p, size_t n)
{
    uint8_t x[4] = {0};
    memcpy(x, p, n);
    return vq_load_bytes(x);
}
static inline vqf vq_load_f(const float *p)
{
    return wasm_v128_load(p);
}
static inline vqf vq_load_f_n(const float *p, size_t n)
{
    float x[4] = {0};
    memcpy(x, p, n * sizeof(float));
    return vq_load_f(x);
}
static inline void vq_store_f(float *p, vqf a)
{
    wasm_v128_store(p, a);
}
static inline void vq_store_f_n(float *p, vqf a, size_t n)
{
    float x[4];
    vq_store_f(x, a);
    memcpy(p, x, n * sizeof(float));
}
static inline vqf vq_set_f(float x)
{
    return wasm_f32x4_splat(x);
}
static inline vqf vq_add_f(vqf a, vqf b)
{
    return wasm_f32x4_add(a, b);
}
static inline vqf vq_mul_f(vqf a, vqf b)
{
    return wasm_f32x4_mul(a, b);
}
static inline vqf vq_min_f(vqf a, vqf b)
{
    return wasm_f32x4_pmin(a, b);
}
static inline vqf vq_max_f(vqf a, vqf b)
{
    return wasm_f32x4_pmax(a, b);
}
/* pmax(x, lo) is x < lo ? lo : x, which keeps NaN and is one instruction on x86; max is five. */
static inline vqf vq_clamp_f(vqf x, vqf lo, vqf hi)
{
    return wasm_f32x4_pmin(wasm_f32x4_pmax(x, lo), hi);
}
static inline vqf vq_float(vqi a)
{
    return wasm_f32x4_convert_i32x4(a);
}
/* 1.5 * 2^23 leaves a float no bits for fractions, so that adding it rounds to the nearest integer,
 * ties to even, and puts that into the low bits. The instructions made for it (nearest, trunc_sat)
 * are ten times as slow where wasm2c translates them, and no faster elsewhere. */
#define VQ_MAGIC 12582912.0f
static inline vqf vq_nearest(vqf x) /* |x| < 2^22 */
{
    const v128_t magic = wasm_f32x4_const_splat(VQ_MAGIC);
    return wasm_f32x4_sub(wasm_f32x4_add(x, magic), magic);
}
static inline vqi vq_round(vqf x) /* saturates, far beyond bytes */
{
    const v128_t far = wasm_f32x4_const_splat(65536.0f), low = wasm_f32x4_const_splat(-65536.0f);
    const vqf y = wasm_f32x4_pmin(wasm_f32x4_pmax(x, low), far);
    return wasm_i32x4_sub(wasm_f32x4_add(y, wasm_f32x4_const_splat(VQ_MAGIC)),
                          wasm_i32x4_const_splat(0x4b400000));
}

static inline VqPack vq_pack_of(int32_t zero, int32_t lo, int32_t hi)
{
    return (VqPack){wasm_i16x8_splat((int16_t)zero), wasm_u8x16_splat((uint8_t)lo),
                    wasm_u8x16_splat((uint8_t)hi)};
}
static inline v128_t vq_words(vqi a, vqi b, const VqPack *f, const bool bare)
{
    const v128_t x = wasm_i16x8_narrow_i32x4(a, b);
    return bare ? x : wasm_i16x8_add_sat(x, f->zero);
}
/* `bare`: there is no zero point and no bound but a byte's own. */
static inline v128_t vq_packed(const vqi *a, const int nv, const VqPack *f, const bool bare)
{
    const v128_t ab = vq_words(a[0], a[nv > 1 ? 1 : 0], f, bare);
    const v128_t cd = nv > 2 ? vq_words(a[nv > 2 ? 2 : 0], a[nv > 3 ? 3 : 0], f, bare) : ab;
    const v128_t x = wasm_u8x16_narrow_i16x8(ab, cd);
    return bare ? x : wasm_u8x16_min(wasm_u8x16_max(x, f->lo), f->hi);
}
static inline void vq_store_bytes(uint8_t *p, const vqi *a, const int nv, const VqPack *f,
                                  const bool bare)
{
    uint8_t x[16];
    wasm_v128_store(x, vq_packed(a, nv, f, bare));
    memcpy(p, x, (size_t)nv * 4);
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

static inline vqa vq_begin(vqi init)
{
    return init;
}
static inline vqi vq_end(vqa sum)
{
    return sum;
}
static inline vqx vq_split(v128_t four)
{
    return (vqx){wasm_v128_and(four, wasm_i16x8_splat(0xff)), wasm_u16x8_shr(four, 8)};
}
static inline vqw vq_weights(const int8_t *p)
{
    const v128_t w = wasm_v128_load(p);
    return (vqw){wasm_i16x8_shr(wasm_i16x8_shl(w, 8), 8), wasm_i16x8_shr(w, 8)};
}
static inline vqx vq_four(const uint8_t *p)
{
    return vq_split(wasm_v128_load32_splat(p));
}
#define VQ_WINO 2
static inline vqa vq_dot16(vqa sum, vqi x, vqi w)
{
    return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(x, w));
}
static inline vqa vq_dot(vqa sum, vqx x, vqw w)
{
    sum = wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(x.even, w.even));
    return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(x.odd, w.odd));
}

static inline vqb vq_zero_b(void)
{
    return wasm_i32x4_splat(0);
}
static inline vqb vq_load_b(const uint8_t *p)
{
    return wasm_v128_load(p);
}
static inline vqb vq_load_b_n(const uint8_t *p, size_t n)
{
    uint8_t x[16] = {0};
    memcpy(x, p, n);
    return vq_load_b(x);
}
static inline void vq_interleave(const vqb r[4], vqx x[4])
{
    v128_t a[4];
    for (int i = 0; i < 2; i++) {
        const v128_t u = r[2 * i], v = r[2 * i + 1];
        a[i] = wasm_i8x16_shuffle(u, v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        a[2 + i] = wasm_i8x16_shuffle(u, v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                      15, 31);
    }
    for (int i = 0; i < 2; i++) {
        const v128_t u = a[2 * i], v = a[2 * i + 1];
        x[2 * i] = vq_split(wasm_i16x8_shuffle(u, v, 0, 8, 1, 9, 2, 10, 3, 11));
        x[2 * i + 1] = vq_split(wasm_i16x8_shuffle(u, v, 4, 12, 5, 13, 6, 14, 7, 15));
    }
}

#endif
