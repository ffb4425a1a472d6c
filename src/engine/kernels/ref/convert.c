/* Element conversion: see convert.h. Small float formats share one encoder and one decoder
 * that a table describes; the common ones have shorter ways beside them. */
#include "engine/kernels/ref/convert.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/kernels/vec.h"

/* A float format of at most 16 bits: sign, exponent, mantissa, most significant first. */
typedef struct SmallFloat {
    uint8_t bits, mantissa;
    int16_t bias;
    uint16_t max_code; /* largest finite, without sign */
    uint16_t inf_code; /* 0: the format has no infinity */
    uint16_t nan_code; /* 0: the format has no NaN */
    bool unsigned_zero; /* "UZ": no -0, its code is the only NaN */
} SmallFloat;

static const SmallFloat f16_format = {16, 10, 15, 0x7bff, 0x7c00, 0x7e00, false};
static const SmallFloat bf16_format = {16, 7, 127, 0x7f7f, 0x7f80, 0x7fc0, false};
static const SmallFloat e4m3fn_format = {8, 3, 7, 0x7e, 0, 0x7f, false};
static const SmallFloat e4m3fnuz_format = {8, 3, 8, 0x7f, 0, 0x80, true};
static const SmallFloat e5m2_format = {8, 2, 15, 0x7b, 0x7c, 0x7e, false};
static const SmallFloat e5m2fnuz_format = {8, 2, 16, 0x7f, 0, 0x80, true};
static const SmallFloat e2m1_format = {4, 1, 1, 0x7, 0, 0, false};

static const SmallFloat *small_float(LedgeType type)
{
    switch (type) {
    case LEDGE_FLOAT16:
        return &f16_format;
    case LEDGE_BFLOAT16:
        return &bf16_format;
    case LEDGE_FLOAT8E4M3FN:
        return &e4m3fn_format;
    case LEDGE_FLOAT8E4M3FNUZ:
        return &e4m3fnuz_format;
    case LEDGE_FLOAT8E5M2:
        return &e5m2_format;
    case LEDGE_FLOAT8E5M2FNUZ:
        return &e5m2fnuz_format;
    case LEDGE_FLOAT4E2M1:
        return &e2m1_format;
    default:
        return NULL;
    }
}

LedgeNumClass ledge__num_class(LedgeType type)
{
    switch (type) {
    case LEDGE_FLOAT:
    case LEDGE_FLOAT16:
    case LEDGE_BFLOAT16:
    case LEDGE_FLOAT8E4M3FN:
    case LEDGE_FLOAT8E4M3FNUZ:
    case LEDGE_FLOAT8E5M2:
    case LEDGE_FLOAT8E5M2FNUZ:
    case LEDGE_FLOAT8E8M0:
    case LEDGE_FLOAT4E2M1:
        return LEDGE_NUM_FLOAT;
    case LEDGE_DOUBLE:
        return LEDGE_NUM_DOUBLE;
    case LEDGE_UINT64:
        return LEDGE_NUM_UINT64;
    case LEDGE_UINT8:
    case LEDGE_INT8:
    case LEDGE_UINT16:
    case LEDGE_INT16:
    case LEDGE_INT32:
    case LEDGE_UINT32:
    case LEDGE_INT64:
    case LEDGE_BOOL:
    case LEDGE_UINT4:
    case LEDGE_INT4:
    case LEDGE_UINT2:
    case LEDGE_INT2:
        return LEDGE_NUM_INT;
    default:
        return LEDGE_NUM_NONE;
    }
}

bool ledge__num_is_float(LedgeType type)
{
    LedgeNumClass k = ledge__num_class(type);
    return k == LEDGE_NUM_FLOAT || k == LEDGE_NUM_DOUBLE;
}

/* ---- scalars ---- */

static inline float bits_to_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline uint32_t f32_to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

/* The magnitude bits, moved to where float keeps them, are the value divided by a power of
 * two, also when they are subnormal. */
static inline float decode(const SmallFloat *s, uint32_t code)
{
    uint32_t sign_bit = 1u << (s->bits - 1);
    uint32_t magnitude = code & (sign_bit - 1);
    if (s->unsigned_zero && code == s->nan_code)
        return NAN;
    float f;
    if (!s->unsigned_zero && s->nan_code && magnitude > s->max_code)
        f = magnitude == s->inf_code ? INFINITY : NAN;
    else
        f = bits_to_f32(magnitude << (23 - s->mantissa)) *
            bits_to_f32((uint32_t)(254 - s->bias) << 23);
    return code & sign_bit ? -f : f;
}

/* The code of a finite number above 0, to nearest, halves to even; max_code + 1 when too large. The
 * number is m * 2^(e - 52); of m remain the bits above `shift`, more than a mantissa's below the
 * smallest normal exponent. */
static uint32_t encode_magnitude(const SmallFloat *s, uint64_t bits)
{
    const int64_t e = (int64_t)(bits >> 52) - 1023, least = 1 - s->bias;
    const int64_t exponent = e > least ? e : least, shift = 52 - s->mantissa + exponent - e;
    const uint64_t m = (bits & 0xfffffffffffffu) | (uint64_t)1 << 52;
    if (shift > 53) /* below half of the smallest */
        return 0;
    const uint64_t rest = m & (((uint64_t)1 << shift) - 1), half = (uint64_t)1 << (shift - 1);
    uint64_t q = m >> shift;
    q += rest > half || (rest == half && (q & 1));
    const int64_t code = ((exponent + s->bias - 1) << s->mantissa) + (int64_t)q;
    return code > s->max_code ? s->max_code + 1u : (uint32_t)code;
}

static uint32_t encode(const SmallFloat *s, double v, bool saturate)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint32_t sign = bits >> 63 ? 1u << (s->bits - 1) : 0;
    bits &= ~((uint64_t)1 << 63);
    if (bits > (uint64_t)0x7ff << 52) /* NaN; a format without: what the largest is to infinity */
        return s->unsigned_zero ? s->nan_code : sign | s->nan_code;
    uint32_t code = bits >> 52 == 0x7ff ? s->max_code + 1u : encode_magnitude(s, bits);
    if (code > s->max_code)
        code = saturate ? s->max_code : s->inf_code ? s->inf_code : s->nan_code;
    if (s->unsigned_zero && (code == 0 || code == s->nan_code))
        return code;
    return sign | code;
}

/* Both float16 conversions choose between ways without branching, so that loops vectorise. */
static inline float f16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)(h & 0x7fff) << 13;
    uint32_t f = f32_to_bits(bits_to_f32(u) * 0x1p112f); /* subnormals become normal by it */
    f = u >= 0x0f800000 ? u | 0x7f800000 : f;            /* infinity and NaN */
    return bits_to_f32(f | (uint32_t)(h & 0x8000) << 16);
}

static inline uint16_t f32_to_f16(float v)
{
    uint32_t u = f32_to_bits(v), a = u & 0x7fffffff;
    /* Subnormal: adding 0.5 leaves 2^-24 as the last bit kept. Normal: ties to even. */
    uint32_t subnormal = f32_to_bits(bits_to_f32(a) + 0.5f) - 0x3f000000;
    uint32_t h = (a + 0xfff + (a >> 13 & 1) - 0x38000000) >> 13;
    h = a < 0x38800000 ? subnormal : h;
    h = a >= 0x477ff000 ? 0x7c00 : h; /* 65520, halfway beyond the largest */
    h = a > 0x7f800000 ? 0x7e00 : h;
    return (uint16_t)(h | (u >> 16 & 0x8000));
}

float ledge__f16_to_f32(uint16_t h)
{
    return f16_to_f32(h);
}

uint16_t ledge__f32_to_f16(float f)
{
    return f32_to_f16(f);
}

float ledge__bf16_to_f32(uint16_t h)
{
    return bits_to_f32((uint32_t)h << 16);
}

static inline uint16_t f32_to_bf16(float f)
{
    uint32_t u = f32_to_bits(f), h = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : h);
}

uint16_t ledge__f32_to_bf16(float f)
{
    return f32_to_bf16(f);
}

int64_t ledge__f64_to_i64(double v)
{
    if (!(v > -9223372036854775808.0)) /* NaN too */
        return v != v ? 0 : INT64_MIN;
    return v < 9223372036854775808.0 ? (int64_t)v : INT64_MAX;
}

uint64_t ledge__f64_to_u64(double v)
{
    if (!(v > 0))
        return 0;
    return v < 18446744073709551616.0 ? (uint64_t)v : UINT64_MAX;
}

/* Beyond 2^53 the bits that a double drops are kept as one sticky bit above its last ones. */
double ledge__u64_to_f64_odd(uint64_t v)
{
    if (v >> 53)
        v = (v & ~(uint64_t)0xfff) | (v & 0xfff ? 0x800 : 0);
    return (double)v;
}

double ledge__i64_to_f64_odd(int64_t v)
{
    return v < 0 ? -ledge__u64_to_f64_odd(0 - (uint64_t)v) : ledge__u64_to_f64_odd((uint64_t)v);
}

static double e8m0_decode(uint8_t code)
{
    return code == 0xff ? NAN : ldexp(1.0, code - 127);
}

static uint8_t e8m0_encode(double v, LedgeStoreMode mode)
{
    double a = fabs(v); /* negative values are unspecified; their magnitude is kept */
    if (isnan(a))
        return 0xff;
    if (a == 0)
        return mode.saturate ? 0 : 0xff;
    if (isinf(a))
        return mode.saturate ? 0xfe : 0xff;
    int e;
    double f = frexp(a, &e); /* a = f * 2^e, f in [0.5, 1) */
    bool up = mode.round == LEDGE_E8M0_UP ? f > 0.5 : mode.round == LEDGE_E8M0_NEAREST && f >= 0.75;
    int code = e - 1 + 127 + up;
    if (code < 0)
        return mode.saturate ? 0 : 0xff;
    if (code > 0xfe)
        return mode.saturate ? 0xfe : 0xff;
    return (uint8_t)code;
}

double ledge__type_max_float(LedgeType type)
{
    const SmallFloat *s = small_float(type);
    if (s)
        return decode(s, s->max_code);
    return type == LEDGE_FLOAT ? 3.4028234663852886e38
           : type == LEDGE_FLOAT8E8M0 ? e8m0_decode(0xfe)
                                      : 1.7976931348623157e308;
}

void ledge__type_int_range(LedgeType type, int64_t *lowest, int64_t *highest)
{
    unsigned bits = ledge_type_bits(type);
    bool is_signed = type == LEDGE_INT8 || type == LEDGE_INT16 || type == LEDGE_INT32 ||
                     type == LEDGE_INT64 || type == LEDGE_INT4 || type == LEDGE_INT2;
    if (type == LEDGE_BOOL)
        bits = 1;
    if (bits == 64) {
        *lowest = is_signed ? INT64_MIN : 0;
        *highest = INT64_MAX;
        return;
    }
    *lowest = is_signed ? -((int64_t)1 << (bits - 1)) : 0;
    *highest = ((int64_t)1 << (bits - is_signed)) - 1;
}

/* ---- packed integers, low bits first ---- */

static inline uint8_t packed_get(const uint8_t *p, size_t i, unsigned bits)
{
    size_t per = 8 / bits;
    return (uint8_t)(p[i / per] >> (i % per * bits) & ((1u << bits) - 1));
}

static inline void packed_set(uint8_t *p, size_t i, unsigned bits, uint32_t v)
{
    size_t per = 8 / bits;
    unsigned shift = (unsigned)(i % per) * bits, mask = ((1u << bits) - 1) << shift;
    p[i / per] = (uint8_t)((p[i / per] & ~mask) | (v << shift & mask));
}

static inline int sign_extend(uint8_t v, unsigned bits)
{
    int half = 1 << (bits - 1);
    return (v ^ half) - half;
}

/* ---- arrays ---- */

#define EACH(expr)                                                                                 \
    do {                                                                                           \
        for (size_t i = 0; i < n; i++)                                                             \
            dst[i] = (expr);                                                                       \
        return;                                                                                    \
    } while (0)
#define AT(T) (((const T *)src)[first + i])
#define PACKED(bits) packed_get(src, first + i, bits)

/* The integer types, for every type that is loaded to. */
#define LOAD_INTEGER_CASES(D)                                                                      \
    case LEDGE_UINT8:                                                                              \
        EACH((D)AT(uint8_t));                                                                      \
    case LEDGE_INT8:                                                                               \
        EACH((D)AT(int8_t));                                                                       \
    case LEDGE_UINT16:                                                                             \
        EACH((D)AT(uint16_t));                                                                     \
    case LEDGE_INT16:                                                                              \
        EACH((D)AT(int16_t));                                                                      \
    case LEDGE_UINT32:                                                                             \
        EACH((D)AT(uint32_t));                                                                     \
    case LEDGE_INT32:                                                                              \
        EACH((D)AT(int32_t));                                                                      \
    case LEDGE_INT64:                                                                              \
        EACH((D)AT(int64_t));                                                                      \
    case LEDGE_UINT64:                                                                             \
        EACH((D)AT(uint64_t));                                                                     \
    case LEDGE_BOOL:                                                                               \
        EACH((D)(AT(uint8_t) != 0));                                                               \
    case LEDGE_UINT4:                                                                              \
        EACH((D)PACKED(4));                                                                        \
    case LEDGE_INT4:                                                                               \
        EACH((D)sign_extend(PACKED(4), 4));                                                        \
    case LEDGE_UINT2:                                                                              \
        EACH((D)PACKED(2));                                                                        \
    case LEDGE_INT2:                                                                               \
        EACH((D)sign_extend(PACKED(2), 2))

/* The conversion instructions of this CPU; exact, so that any set gives the same. NULL for data
 * that lies on odd addresses, as it may in a file. */
static const LedgeVec *half_kernels(const void *p)
{
    return (uintptr_t)p % sizeof(uint16_t) ? NULL : ledge__vec(ledge__cpu_flags());
}

static void load_small_f32(LedgeType type, const void *src, size_t first, size_t n, float *dst)
{
    const LedgeVec *half = type == LEDGE_FLOAT16 ? half_kernels(src) : NULL;
    if (half) {
        half->from_f16((const uint16_t *)src + first, dst, n);
        return;
    }
    switch (type) {
    case LEDGE_FLOAT16:
        EACH(f16_to_f32(AT(uint16_t)));
    case LEDGE_BFLOAT16:
        EACH(bits_to_f32((uint32_t)AT(uint16_t) << 16));
    case LEDGE_FLOAT8E4M3FN:
        EACH(decode(&e4m3fn_format, AT(uint8_t)));
    case LEDGE_FLOAT8E4M3FNUZ:
        EACH(decode(&e4m3fnuz_format, AT(uint8_t)));
    case LEDGE_FLOAT8E5M2:
        EACH(decode(&e5m2_format, AT(uint8_t)));
    case LEDGE_FLOAT8E5M2FNUZ:
        EACH(decode(&e5m2fnuz_format, AT(uint8_t)));
    case LEDGE_FLOAT8E8M0:
        EACH((float)e8m0_decode(AT(uint8_t)));
    case LEDGE_FLOAT4E2M1:
        EACH(decode(&e2m1_format, PACKED(4)));
    default:
        memset(dst, 0, n * sizeof *dst);
    }
}

void ledge__load_f32(LedgeType type, const void *src, size_t first, size_t n, float *dst)
{
    switch (type) {
    case LEDGE_FLOAT:
        memcpy(dst, (const float *)src + first, n * sizeof *dst);
        return;
    case LEDGE_DOUBLE:
        EACH((float)AT(double));
        LOAD_INTEGER_CASES(float);
    default:
        load_small_f32(type, src, first, n, dst);
    }
}

void ledge__load_f64(LedgeType type, const void *src, size_t first, size_t n, double *dst)
{
    switch (type) {
    case LEDGE_FLOAT:
        EACH((double)AT(float));
    case LEDGE_DOUBLE:
        memcpy(dst, (const double *)src + first, n * sizeof *dst);
        return;
        LOAD_INTEGER_CASES(double);
    default:
        for (size_t done = 0; done < n;) {
            float chunk[64];
            size_t m = n - done < 64 ? n - done : 64;
            load_small_f32(type, src, first + done, m, chunk);
            for (size_t i = 0; i < m; i++)
                dst[done + i] = chunk[i];
            done += m;
        }
    }
}

void ledge__load_i64(LedgeType type, const void *src, size_t first, size_t n, int64_t *dst)
{
    switch (type) {
    case LEDGE_FLOAT:
        EACH(ledge__f64_to_i64(AT(float)));
    case LEDGE_DOUBLE:
        EACH(ledge__f64_to_i64(AT(double)));
        LOAD_INTEGER_CASES(int64_t);
    default:
        for (size_t i = 0; i < n; i++) {
            float f;
            load_small_f32(type, src, first + i, 1, &f);
            dst[i] = ledge__f64_to_i64(f);
        }
    }
}

#undef EACH
#undef AT
#define EACH(T, expr)                                                                              \
    do {                                                                                           \
        T *to = (T *)dst + first;                                                                  \
        for (size_t i = 0; i < n; i++)                                                             \
            to[i] = (T)(expr);                                                                     \
        return;                                                                                    \
    } while (0)
#define EACH_PACKED(bits, expr)                                                                    \
    do {                                                                                           \
        for (size_t i = 0; i < n; i++)                                                             \
            packed_set(dst, first + i, bits, (uint32_t)(expr));                                    \
        return;                                                                                    \
    } while (0)

/* NaN is 0; a comparison that fails for NaN stands first. */
static inline double clamp_trunc(double v, double lowest, double highest)
{
    if (v != v)
        return 0;
    return v < lowest ? lowest : v > highest ? highest : v;
}

static void store_f64_integer(LedgeType type, void *dst, size_t first, size_t n, const double *src)
{
    switch (type) {
    case LEDGE_UINT8:
        EACH(uint8_t, clamp_trunc(src[i], 0, UINT8_MAX));
    case LEDGE_INT8:
        EACH(int8_t, clamp_trunc(src[i], INT8_MIN, INT8_MAX));
    case LEDGE_UINT16:
        EACH(uint16_t, clamp_trunc(src[i], 0, UINT16_MAX));
    case LEDGE_INT16:
        EACH(int16_t, clamp_trunc(src[i], INT16_MIN, INT16_MAX));
    case LEDGE_UINT32:
        EACH(uint32_t, clamp_trunc(src[i], 0, UINT32_MAX));
    case LEDGE_INT32:
        EACH(int32_t, clamp_trunc(src[i], INT32_MIN, INT32_MAX));
    case LEDGE_INT64:
        EACH(int64_t, ledge__f64_to_i64(src[i]));
    case LEDGE_UINT64:
        EACH(uint64_t, ledge__f64_to_u64(src[i]));
    case LEDGE_BOOL:
        EACH(uint8_t, src[i] != 0);
    case LEDGE_UINT4:
    case LEDGE_INT4:
        EACH_PACKED(4, ledge__f64_to_i64(src[i]));
    case LEDGE_UINT2:
    case LEDGE_INT2:
        EACH_PACKED(2, ledge__f64_to_i64(src[i]));
    default:
        return;
    }
}

void ledge__store_f64_mode(LedgeType type, void *dst, size_t first, size_t n, const double *src,
                           LedgeStoreMode mode)
{
    const SmallFloat *s = small_float(type);
    switch (type) {
    case LEDGE_FLOAT:
        EACH(float, src[i]);
    case LEDGE_DOUBLE:
        memcpy((double *)dst + first, src, n * sizeof *src);
        return;
    case LEDGE_FLOAT16:
    case LEDGE_BFLOAT16:
        EACH(uint16_t, encode(s, src[i], false));
    case LEDGE_FLOAT8E4M3FN:
    case LEDGE_FLOAT8E4M3FNUZ:
    case LEDGE_FLOAT8E5M2:
    case LEDGE_FLOAT8E5M2FNUZ:
        EACH(uint8_t, encode(s, src[i], mode.saturate));
    case LEDGE_FLOAT8E8M0:
        EACH(uint8_t, e8m0_encode(src[i], mode));
    case LEDGE_FLOAT4E2M1:
        EACH_PACKED(4, encode(s, src[i], true));
    default:
        store_f64_integer(type, dst, first, n, src);
    }
}

void ledge__store_f64(LedgeType type, void *dst, size_t first, size_t n, const double *src)
{
    ledge__store_f64_mode(type, dst, first, n, src, (LedgeStoreMode){true, LEDGE_E8M0_UP});
}

/* The same in float, for limits that float holds; by way of int32, which vectors convert to. */
static inline int32_t clamp_trunc_f32(float v, float lowest, float highest)
{
    v = v != v ? 0 : v;
    v = v < lowest ? lowest : v;
    return (int32_t)(v > highest ? highest : v);
}

void ledge__store_f32(LedgeType type, void *dst, size_t first, size_t n, const float *src)
{
    const LedgeVec *half = type == LEDGE_FLOAT16 ? half_kernels(dst) : NULL;
    if (half) {
        half->to_f16(src, (uint16_t *)dst + first, n);
        return;
    }
    switch (type) {
    case LEDGE_FLOAT:
        memmove((float *)dst + first, src, n * sizeof *src);
        return;
    case LEDGE_DOUBLE:
        EACH(double, src[i]);
    case LEDGE_FLOAT16:
        EACH(uint16_t, f32_to_f16(src[i]));
    case LEDGE_BFLOAT16:
        EACH(uint16_t, f32_to_bf16(src[i]));
    case LEDGE_UINT8:
        EACH(uint8_t, clamp_trunc_f32(src[i], 0, UINT8_MAX));
    case LEDGE_INT8:
        EACH(int8_t, clamp_trunc_f32(src[i], INT8_MIN, INT8_MAX));
    case LEDGE_UINT16:
        EACH(uint16_t, clamp_trunc_f32(src[i], 0, UINT16_MAX));
    case LEDGE_INT16:
        EACH(int16_t, clamp_trunc_f32(src[i], INT16_MIN, INT16_MAX));
    default:
        for (size_t done = 0; done < n;) {
            double chunk[64];
            size_t m = n - done < 64 ? n - done : 64;
            for (size_t i = 0; i < m; i++)
                chunk[i] = src[done + i];
            ledge__store_f64(type, dst, first + done, m, chunk);
            done += m;
        }
    }
}

void ledge__store_i64(LedgeType type, void *dst, size_t first, size_t n, const int64_t *src)
{
    switch (type) {
    case LEDGE_UINT8:
    case LEDGE_INT8:
        EACH(uint8_t, src[i]);
    case LEDGE_UINT16:
    case LEDGE_INT16:
        EACH(uint16_t, src[i]);
    case LEDGE_UINT32:
    case LEDGE_INT32:
        EACH(uint32_t, src[i]);
    case LEDGE_UINT64:
    case LEDGE_INT64:
        EACH(uint64_t, src[i]);
    case LEDGE_BOOL:
        EACH(uint8_t, src[i] != 0);
    case LEDGE_UINT4:
    case LEDGE_INT4:
        EACH_PACKED(4, src[i]);
    case LEDGE_UINT2:
    case LEDGE_INT2:
        EACH_PACKED(2, src[i]);
    case LEDGE_DOUBLE:
        EACH(double, src[i]);
    default:
        for (size_t done = 0; done < n;) {
            double chunk[64];
            size_t m = n - done < 64 ? n - done : 64;
            for (size_t i = 0; i < m; i++)
                chunk[i] = ledge__i64_to_f64_odd(src[done + i]);
            ledge__store_f64(type, dst, first + done, m, chunk);
            done += m;
        }
    }
}
