/* Functions of two numbers, over arrays with broadcasting: see binary.h. */
#include "engine/kernels/ref/binary.h"

#include <math.h>
#include <string.h>

#include "engine/kernels/ref/convert.h"

/* Inputs and result are apart or the very same array; where a loop calls the C library there is
 * nothing to vectorise, which is no reason to warn. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#define NO_DEPENDENCE _Pragma("clang loop vectorize(assume_safety)")
#else
#define NO_DEPENDENCE _Pragma("GCC ivdep")
#endif

/* n results from a and b, which move by 0 or 1 elements. y may be a or b. */
typedef void (*BinaryFn)(const void *a, const void *b, void *y, size_t n, int step_a, int step_b);

/* Elements of one run of a loop: a constant, so that compilers make vectors of it. */
#define RUN 64

#define RUNS(n, result)                                                                            \
    do {                                                                                           \
        size_t at = 0;                                                                             \
        for (; at + RUN <= (n); at += RUN) {                                                       \
            NO_DEPENDENCE                                                                          \
            for (size_t i = at; i < at + RUN; i++)                                                 \
                y[i] = result;                                                                     \
        }                                                                                          \
        for (size_t i = at; i < (n); i++)                                                          \
            y[i] = result;                                                                         \
    } while (0)

/* The scalar function is inlined into one loop for each way of standing still. */
#define DEFINE(name, T, R, expr)                                                                   \
    static inline R name##_one(T u, T v)                                                           \
    {                                                                                              \
        return (R)(expr);                                                                          \
    }                                                                                              \
    static void name(const void *pa, const void *pb, void *py, size_t n, int step_a, int step_b)   \
    {                                                                                              \
        const T *a = pa, *b = pb;                                                                  \
        R *y = py;                                                                                 \
        if (step_a && step_b) {                                                                    \
            RUNS(n, name##_one(a[i], b[i]));                                                       \
        } else if (step_a) {                                                                       \
            const T v = b[0];                                                                      \
            RUNS(n, name##_one(a[i], v));                                                          \
        } else if (step_b) {                                                                       \
            const T u = a[0];                                                                      \
            RUNS(n, name##_one(u, b[i]));                                                          \
        } else {                                                                                   \
            const R r = name##_one(a[0], b[0]);                                                    \
            for (size_t i = 0; i < n; i++)                                                         \
                y[i] = r;                                                                          \
        }                                                                                          \
    }

/* ---- scalar parts that are more than an expression ---- */

static inline int64_t fmod_i64(int64_t u, int64_t v)
{
    return v == 0 || v == -1 ? 0 : u % v;
}

static inline int64_t mod_i64(int64_t u, int64_t v)
{
    int64_t r = fmod_i64(u, v);
    return r != 0 && (r < 0) != (v < 0) ? r + v : r;
}

/* Wrapping; a negative exponent gives the reciprocal cut to an integer, and 0 for base 0. */
static int64_t pow_i64(int64_t base, int64_t exponent)
{
    if (exponent < 0)
        return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
    uint64_t r = 1, b = (uint64_t)base;
    for (uint64_t e = (uint64_t)exponent; e; e >>= 1, b *= b)
        if (e & 1)
            r *= b;
    return (int64_t)r;
}

static uint64_t pow_u64(uint64_t base, uint64_t exponent)
{
    uint64_t r = 1;
    for (; exponent; exponent >>= 1, base *= base)
        if (exponent & 1)
            r *= base;
    return r;
}

static inline double mod_f64(double u, double v)
{
    double r = fmod(u, v);
    return r != 0 && (r < 0) != (v < 0) ? r + v : r;
}

static inline float mod_f32(float u, float v)
{
    float r = fmodf(u, v);
    return r != 0 && (r < 0) != (v < 0) ? r + v : r;
}

/* Cut towards zero, 0 by 0, the lowest number by -1 wraps. Where no whole number is the quotient
 * it is at least 2^-31 of itself away from one, so that double, which errs by 2^-53, cuts it
 * right; and doubles are divided several at a time. */
static inline int32_t divide_one_i32(int32_t u, int32_t v)
{
    const bool zero = v == 0, minus = v == -1;
    const int32_t q = (int32_t)((double)(minus ? 0 : u) / (double)(zero ? 1 : v));
    return zero ? 0 : minus ? (int32_t)(0 - (uint32_t)u) : q;
}

static inline int64_t divide_one_i64(int64_t u, int64_t v)
{
    return v == 0 ? 0 : v == -1 ? (int64_t)(0 - (uint64_t)u) : u / v;
}

/* ---- the functions for each type that is computed in ---- */

#define DEFINE_COMPARE(S, T)                                                                       \
    DEFINE(equal_##S, T, uint8_t, u == v)                                                          \
    DEFINE(less_##S, T, uint8_t, u < v)                                                            \
    DEFINE(less_equal_##S, T, uint8_t, u <= v)                                                     \
    DEFINE(min_##S, T, T, u < v || u != u ? u : v)                                                 \
    DEFINE(max_##S, T, T, u > v || u != u ? u : v)
#define DEFINE_FLOAT(S, T, L)                                                                      \
    DEFINE_COMPARE(S, T)                                                                           \
    DEFINE(add_##S, T, T, u + v)                                                                   \
    DEFINE(sub_##S, T, T, u - v)                                                                   \
    DEFINE(mul_##S, T, T, u *v)                                                                    \
    DEFINE(div_##S, T, T, u / v)                                                                   \
    DEFINE(modulo_##S, T, T, mod_##S(u, v))                                                        \
    DEFINE(fmodulo_##S, T, T, L(fmod)(u, v))                                                       \
    DEFINE(pow_##S, T, T, L(pow)(u, v))                                                            \
    DEFINE(prelu_##S, T, T, u < 0 ? u * v : u)
/* U is T's unsigned twin: its arithmetic wraps. */
#define DEFINE_INTEGER(S, T, U)                                                                    \
    DEFINE_COMPARE(S, T)                                                                           \
    DEFINE(add_##S, T, T, (U)u + (U)v)                                                             \
    DEFINE(sub_##S, T, T, (U)u - (U)v)                                                             \
    DEFINE(mul_##S, T, T, (U)u *(U)v)                                                              \
    DEFINE(and_##S, T, T, u &v)                                                                    \
    DEFINE(or_##S, T, T, u | v)                                                                    \
    DEFINE(xor_##S, T, T, u ^ v)
#define DEFINE_SIGNED(S, T, U)                                                                     \
    DEFINE(divide_##S, T, T, divide_one_##S(u, v))                                                 \
    DEFINE(prelu_##S, T, T, u < 0 ? (T)((U)u * (U)v) : u)                                          \
    DEFINE(modulo_##S, T, T, mod_i64(u, v))                                                        \
    DEFINE(fmodulo_##S, T, T, fmod_i64(u, v))                                                      \
    DEFINE(power_##S, T, T, pow_i64(u, v))

#define WIDTH_F32(name) name##f
#define WIDTH_F64(name) name
DEFINE_FLOAT(f32, float, WIDTH_F32)
DEFINE_FLOAT(f64, double, WIDTH_F64)
DEFINE_INTEGER(i32, int32_t, uint32_t)
DEFINE_SIGNED(i32, int32_t, uint32_t)
DEFINE_INTEGER(i64, int64_t, uint64_t)
DEFINE_SIGNED(i64, int64_t, uint64_t)
DEFINE_INTEGER(u64, uint64_t, uint64_t)
DEFINE(prelu_u64, uint64_t, uint64_t, ((void)v, u))
DEFINE(divide_u64, uint64_t, uint64_t, v == 0 ? 0 : u / v)
DEFINE(modulo_u64, uint64_t, uint64_t, v == 0 ? 0 : u % v)
DEFINE(power_u64, uint64_t, uint64_t, pow_u64(u, v))
DEFINE(shift_left_u64, uint64_t, uint64_t, v > 63 ? 0 : u << v)
DEFINE(shift_right_u64, uint64_t, uint64_t, v > 63 ? 0 : u >> v)
/* Numbers of 8 and 16 bits: what wraps alike in their own size; the rest goes through int64. */
#define DEFINE_NARROW(S, T)                                                                        \
    DEFINE_COMPARE(S, T)                                                                           \
    DEFINE(add_##S, T, T, (unsigned)u + (unsigned)v)                                               \
    DEFINE(sub_##S, T, T, (unsigned)u - (unsigned)v)                                               \
    DEFINE(mul_##S, T, T, (unsigned)u *(unsigned)v)                                                \
    DEFINE(and_##S, T, T, u &v)                                                                    \
    DEFINE(or_##S, T, T, u | v)                                                                    \
    DEFINE(xor_##S, T, T, u ^ v)
DEFINE_NARROW(u8, uint8_t)
DEFINE_NARROW(i8, int8_t)
DEFINE_NARROW(u16, uint16_t)
DEFINE_NARROW(i16, int16_t)
DEFINE(and_bool, uint8_t, uint8_t, (u != 0) & (v != 0))
DEFINE(or_bool, uint8_t, uint8_t, (u != 0) | (v != 0))
DEFINE(xor_bool, uint8_t, uint8_t, (u != 0) ^ (v != 0))
DEFINE(equal_bool, uint8_t, uint8_t, (u != 0) == (v != 0))

/* What a type is computed in. */
typedef enum Native { F32, F64, I32, I64, U64, BOOL, NATIVE_COUNT } Native;

#define FLOAT_ROW(S)                                                                               \
    {                                                                                              \
        [LEDGE_BINARY_ADD] = add_##S, [LEDGE_BINARY_SUB] = sub_##S, [LEDGE_BINARY_MUL] = mul_##S,  \
        [LEDGE_BINARY_DIV] = div_##S, [LEDGE_BINARY_MOD] = modulo_##S,                             \
        [LEDGE_BINARY_FMOD] = fmodulo_##S, [LEDGE_BINARY_POW] = pow_##S,                           \
        [LEDGE_BINARY_MIN] = min_##S, [LEDGE_BINARY_MAX] = max_##S,                                \
        [LEDGE_BINARY_PRELU] = prelu_##S, [LEDGE_BINARY_EQUAL] = equal_##S,                        \
        [LEDGE_BINARY_LESS] = less_##S, [LEDGE_BINARY_LESS_EQUAL] = less_equal_##S,                \
    }
#define INTEGER_ROW(S, FMOD, SHL, SHR)                                                             \
    {                                                                                              \
        [LEDGE_BINARY_ADD] = add_##S, [LEDGE_BINARY_SUB] = sub_##S, [LEDGE_BINARY_MUL] = mul_##S,  \
        [LEDGE_BINARY_DIV] = divide_##S, [LEDGE_BINARY_MOD] = modulo_##S,                          \
        [LEDGE_BINARY_FMOD] = FMOD, [LEDGE_BINARY_POW] = power_##S, [LEDGE_BINARY_MIN] = min_##S,  \
        [LEDGE_BINARY_MAX] = max_##S, [LEDGE_BINARY_PRELU] = prelu_##S,                            \
        [LEDGE_BINARY_BIT_AND] = and_##S, [LEDGE_BINARY_BIT_OR] = or_##S,                          \
        [LEDGE_BINARY_BIT_XOR] = xor_##S, [LEDGE_BINARY_SHIFT_LEFT] = SHL,                         \
        [LEDGE_BINARY_SHIFT_RIGHT] = SHR, [LEDGE_BINARY_EQUAL] = equal_##S,                        \
        [LEDGE_BINARY_LESS] = less_##S, [LEDGE_BINARY_LESS_EQUAL] = less_equal_##S,                \
    }

/* int64 holds zero-extended narrow unsigned numbers too, hence the shifts in its row. */
static const BinaryFn functions[NATIVE_COUNT][LEDGE_BINARY_COUNT] = {
    [F32] = FLOAT_ROW(f32),
    [F64] = FLOAT_ROW(f64),
    [I32] = INTEGER_ROW(i32, fmodulo_i32, NULL, NULL),
    [I64] = INTEGER_ROW(i64, fmodulo_i64, shift_left_u64, shift_right_u64),
    [U64] = INTEGER_ROW(u64, modulo_u64, shift_left_u64, shift_right_u64),
    [BOOL] = {[LEDGE_BINARY_BIT_AND] = and_bool,
              [LEDGE_BINARY_BIT_OR] = or_bool,
              [LEDGE_BINARY_BIT_XOR] = xor_bool,
              [LEDGE_BINARY_EQUAL] = equal_bool},
};

#define NARROW_ROW(S)                                                                              \
    {                                                                                              \
        [LEDGE_BINARY_ADD] = add_##S, [LEDGE_BINARY_SUB] = sub_##S, [LEDGE_BINARY_MUL] = mul_##S,  \
        [LEDGE_BINARY_MIN] = min_##S, [LEDGE_BINARY_MAX] = max_##S,                                \
        [LEDGE_BINARY_BIT_AND] = and_##S, [LEDGE_BINARY_BIT_OR] = or_##S,                          \
        [LEDGE_BINARY_BIT_XOR] = xor_##S, [LEDGE_BINARY_EQUAL] = equal_##S,                        \
        [LEDGE_BINARY_LESS] = less_##S, [LEDGE_BINARY_LESS_EQUAL] = less_equal_##S,                \
    }

/* The function that takes a narrow type as it is, or NULL. */
static BinaryFn narrow_function(LedgeBinary kind, LedgeType type)
{
    static const BinaryFn rows[4][LEDGE_BINARY_COUNT] = {NARROW_ROW(u8), NARROW_ROW(i8),
                                                         NARROW_ROW(u16), NARROW_ROW(i16)};
    static const LedgeType types[4] = {LEDGE_UINT8, LEDGE_INT8, LEDGE_UINT16, LEDGE_INT16};
    for (int i = 0; i < 4; i++)
        if (types[i] == type)
            return rows[i][kind];
    return NULL;
}

static const size_t native_size[NATIVE_COUNT] = {4, 8, 4, 8, 8, 1};

static Native native_of(LedgeType type)
{
    switch (type) {
    case LEDGE_DOUBLE:
        return F64;
    case LEDGE_INT32:
        return I32;
    case LEDGE_UINT64:
        return U64;
    case LEDGE_BOOL:
        return BOOL;
    case LEDGE_FLOAT:
    case LEDGE_FLOAT16:
    case LEDGE_BFLOAT16:
        return F32;
    case LEDGE_INT8:
    case LEDGE_UINT8:
    case LEDGE_INT16:
    case LEDGE_UINT16:
    case LEDGE_UINT32:
    case LEDGE_INT64:
        return I64;
    default:
        return NATIVE_COUNT;
    }
}

/* Greater is Less with the sides exchanged. */
static bool swap_sides(LedgeBinary *kind)
{
    if (*kind != LEDGE_BINARY_GREATER && *kind != LEDGE_BINARY_GREATER_EQUAL)
        return false;
    *kind = *kind == LEDGE_BINARY_GREATER ? LEDGE_BINARY_LESS : LEDGE_BINARY_LESS_EQUAL;
    return true;
}

bool ledge__binary_has(LedgeBinary kind, LedgeType type)
{
    swap_sides(&kind);
    Native native = native_of(type);
    bool shift = kind == LEDGE_BINARY_SHIFT_LEFT || kind == LEDGE_BINARY_SHIFT_RIGHT;
    bool is_signed = type == LEDGE_INT8 || type == LEDGE_INT16 || type == LEDGE_INT64;
    return native != NATIVE_COUNT && functions[native][kind] && !(shift && is_signed);
}

/* ---- running them ---- */

#define CHUNK 256

typedef struct BinaryJob {
    BinaryFn fn;
    Native native;
    LedgeType type, out_type;
    size_t size, out_size; /* bytes of an element, and of a result's */
    bool direct;         /* the type is computed in itself */
    const LedgeVec *vec; /* float32 where there is a vector map of the kind; else NULL */
    LedgePairMap map;
    const char *a, *b;
    char *y;
} BinaryJob;

typedef union Chunk {
    float f[CHUNK];
    int64_t i[CHUNK];
    uint8_t b[CHUNK];
} Chunk;

static void load_chunk(const BinaryJob *j, const void *from, size_t at, size_t n, Chunk *to)
{
    if (j->native == F32)
        ledge__load_f32(j->type, from, at, n, to->f);
    else
        ledge__load_i64(j->type, from, at, n, to->i);
}

/* Through a wider type, some hundred elements at a time. */
static void span_converted(const BinaryJob *j, const LedgeSpan *s)
{
    Chunk a, b, y;
    for (size_t done = 0; done < s->n;) {
        size_t n = s->n - done < CHUNK ? s->n - done : CHUNK;
        load_chunk(j, j->a, s->at[0] + (s->step[0] ? done : 0), s->step[0] ? n : 1, &a);
        load_chunk(j, j->b, s->at[1] + (s->step[1] ? done : 0), s->step[1] ? n : 1, &b);
        j->fn(&a, &b, &y, n, s->step[0], s->step[1]);
        if (j->out_type == LEDGE_BOOL)
            memcpy(j->y + s->out + done, y.b, n);
        else if (j->native == F32)
            ledge__store_f32(j->out_type, j->y, s->out + done, n, y.f);
        else
            ledge__store_i64(j->out_type, j->y, s->out + done, n, y.i);
        done += n;
    }
}

static void binary_span(void *arg, const LedgeSpan *s)
{
    const BinaryJob *j = arg;
    if (j->vec && (s->step[0] || s->step[1]))
        j->vec->binary(j->map,
                       s->step[0] && s->step[1] ? LEDGE_VV
                       : s->step[0]             ? LEDGE_VS
                                                : LEDGE_SV,
                       (const float *)(const void *)j->a + s->at[0],
                       (const float *)(const void *)j->b + s->at[1], (float *)(void *)j->y + s->out,
                       s->n, -INFINITY, INFINITY);
    else if (j->direct)
        j->fn(j->a + s->at[0] * j->size, j->b + s->at[1] * j->size, j->y + s->out * j->out_size, s->n,
              s->step[0], s->step[1]);
    else
        span_converted(j, s);
}

/* The vector map of a kind; false: none. */
static bool map_of(LedgeBinary kind, LedgePairMap *map)
{
    static const struct {
        LedgeBinary kind;
        LedgePairMap map;
    } maps[] = {{LEDGE_BINARY_ADD, LEDGE_B_ADD}, {LEDGE_BINARY_SUB, LEDGE_B_SUB},
                {LEDGE_BINARY_MUL, LEDGE_B_MUL}, {LEDGE_BINARY_DIV, LEDGE_B_DIV},
                {LEDGE_BINARY_MIN, LEDGE_B_MIN}, {LEDGE_BINARY_MAX, LEDGE_B_MAX}};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++)
        if (maps[i].kind == kind) {
            *map = maps[i].map;
            return true;
        }
    return false;
}

void ledge__binary(LedgeBinary kind, const LedgeTensor *a, const LedgeTensor *b,
                   const LedgeTensor *y, LedgeRunner r)
{
    if (swap_sides(&kind)) {
        const LedgeTensor *t = a;
        a = b;
        b = t;
    }
    BinaryJob j = {.native = native_of(a->type),
                   .type = a->type,
                   .out_type = y->type,
                   .out_size = ledge_type_bits(y->type) / 8,
                   .a = a->data,
                   .b = b->data,
                   .y = y->data};
    j.size = ledge_type_bits(a->type) / 8;
    j.fn = narrow_function(kind, a->type);
    j.direct = j.fn || j.size == native_size[j.native];
    if (!j.fn)
        j.fn = functions[j.native][kind];
    if (a->type == LEDGE_FLOAT && map_of(kind, &j.map))
        j.vec = ledge__vec(r.cpu);
    LedgeBroadcast walk;
    ledge__broadcast_plan(&walk, y, (const LedgeTensor *const[]){a, b}, 2);
    ledge__broadcast_run(&walk, r.pool, binary_span, &j);
}

/* ---- powers whose sides have different types ---- */

typedef struct PowJob {
    LedgeType type, exponent_type;
    const void *a, *b;
    void *y;
} PowJob;

static void pow_integers(const PowJob *j, size_t out, size_t at_a, size_t at_b)
{
    int64_t base, exponent;
    ledge__load_i64(j->type, j->a, at_a, 1, &base);
    ledge__load_i64(j->exponent_type, j->b, at_b, 1, &exponent);
    base = j->exponent_type == LEDGE_UINT64 ? (int64_t)pow_u64((uint64_t)base, (uint64_t)exponent)
                                            : pow_i64(base, exponent);
    ledge__store_i64(j->type, j->y, out, 1, &base);
}

static void pow_span(void *arg, const LedgeSpan *s)
{
    const PowJob *j = arg;
    bool floats = ledge__num_is_float(j->type) || ledge__num_is_float(j->exponent_type);
    for (size_t i = 0; i < s->n; i++) {
        size_t at_a = s->at[0] + i * s->step[0], at_b = s->at[1] + i * s->step[1];
        if (!floats) {
            pow_integers(j, s->out + i, at_a, at_b);
            continue;
        }
        double base, exponent;
        ledge__load_f64(j->type, j->a, at_a, 1, &base);
        ledge__load_f64(j->exponent_type, j->b, at_b, 1, &exponent);
        base = pow(base, exponent);
        ledge__store_f64(j->type, j->y, s->out + i, 1, &base);
    }
}

void ledge__pow_mixed(const LedgeTensor *a, const LedgeTensor *b, const LedgeTensor *y,
                      LedgePool *pool)
{
    PowJob j = {a->type, b->type, a->data, b->data, y->data};
    LedgeBroadcast walk;
    ledge__broadcast_plan(&walk, y, (const LedgeTensor *const[]){a, b}, 2);
    ledge__broadcast_run(&walk, pool, pow_span, &j);
}
