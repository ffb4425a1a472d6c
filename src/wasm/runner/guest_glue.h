/* The run-time functions that wasm2c's output calls, over LwmServices. Compiled with each guest by
 * `ledge wasm build`, against the wasm-rt.h of the wasm2c at hand: LWM_WABT_OLD is 1 for wabt up
 * to 1.0.32, whose memories count in 32 bits and whose function types are numbers. */
#ifndef LEDGE_WASM_GUEST_GLUE_H
#define LEDGE_WASM_GUEST_GLUE_H

#include "guest_abi.h"
#include "wasm-rt.h"

static const LwmServices *lwm_services;

/* Inside the instruction that called: what it returns to may belong to the next function. */
#define LWM_CALLER ((const char *)__builtin_return_address(0) - 1)

static void lwm_bind(const LwmServices *services)
{
    lwm_services = services;
}

static __attribute__((noreturn, noinline, cold)) void lwm_trap(LwmTrap trap)
{
    lwm_services->trap(trap, LWM_CALLER);
}

/* ---- traps ---- */

__attribute__((noreturn)) void wasm_rt_trap(wasm_rt_trap_t code)
{
    LwmTrap trap = LWM_TRAP_OTHER;
    switch ((int)code) {
    case WASM_RT_TRAP_OOB:
        trap = LWM_TRAP_MEMORY;
        break;
    case WASM_RT_TRAP_INT_OVERFLOW:
        trap = LWM_TRAP_OVERFLOW;
        break;
    case WASM_RT_TRAP_DIV_BY_ZERO:
        trap = LWM_TRAP_DIVISION;
        break;
    case WASM_RT_TRAP_INVALID_CONVERSION:
        trap = LWM_TRAP_CONVERSION;
        break;
    case WASM_RT_TRAP_UNREACHABLE:
        trap = LWM_TRAP_UNREACHABLE;
        break;
    case WASM_RT_TRAP_CALL_INDIRECT:
        trap = LWM_TRAP_INDIRECT;
        break;
    case WASM_RT_TRAP_EXHAUSTION:
        trap = LWM_TRAP_STACK;
        break;
    default:
        break;
    }
    lwm_services->trap(trap, LWM_CALLER);
}

/* ---- memory ---- */

#if LWM_WABT_OLD
typedef uint32_t lwm_pages;
#define LWM_MOST_PAGES 65535u /* their byte count has 32 bits */
#else
typedef uint64_t lwm_pages;
#define LWM_MOST_PAGES 65536u
#endif

static void lwm_memory_new(wasm_rt_memory_t *m, lwm_pages pages, lwm_pages most)
{
    most = most > LWM_MOST_PAGES ? LWM_MOST_PAGES : most;
    m->data = pages <= most ? lwm_services->memory_new(pages, most) : NULL;
    if (!m->data)
        lwm_trap(LWM_TRAP_HOST_MEMORY);
    m->pages = pages;
    m->max_pages = most;
    m->size = pages * LWM_PAGE;
}

#if LWM_WABT_OLD
void wasm_rt_allocate_memory(wasm_rt_memory_t *m, uint32_t pages, uint32_t most)
{
    lwm_memory_new(m, pages, most);
}
#else
void wasm_rt_allocate_memory(wasm_rt_memory_t *m, uint64_t pages, uint64_t most, bool is64)
{
    m->is64 = is64;
    lwm_memory_new(m, pages, most);
}
#endif

lwm_pages wasm_rt_grow_memory(wasm_rt_memory_t *m, lwm_pages more)
{
    const lwm_pages before = m->pages;
    if (!lwm_services->memory_grow(m->data, before, more))
        return UINT32_MAX;
    m->pages = before + more;
    m->size = m->pages * LWM_PAGE;
    return before;
}

void wasm_rt_free_memory(wasm_rt_memory_t *m)
{
    lwm_services->memory_free(m->data);
    m->data = NULL;
}

/* ---- tables ---- */

#define LWM_MOST_ELEMENTS 10000000u

/* A macro for the two kinds of tables: their types have nothing in common but their members. */
#define LWM_TABLE(kind)                                                                            \
    void wasm_rt_allocate_##kind##_table(wasm_rt_##kind##_table_t *t, uint32_t n, uint32_t most)   \
    {                                                                                              \
        t->data = n <= LWM_MOST_ELEMENTS                                                           \
                      ? lwm_services->table_new(NULL, 0, ((size_t)n + 1) * sizeof *t->data)        \
                      : NULL;                                                                      \
        if (!t->data)                                                                              \
            lwm_trap(LWM_TRAP_HOST_MEMORY);                                                        \
        t->size = n;                                                                               \
        t->max_size = most > LWM_MOST_ELEMENTS ? LWM_MOST_ELEMENTS : most;                         \
    }                                                                                              \
    void wasm_rt_free_##kind##_table(wasm_rt_##kind##_table_t *t)                                  \
    {                                                                                              \
        lwm_services->table_free(t->data);                                                         \
        t->data = NULL;                                                                            \
    }                                                                                              \
    uint32_t wasm_rt_grow_##kind##_table(wasm_rt_##kind##_table_t *t, uint32_t more,               \
                                         wasm_rt_##kind##_t value)                                 \
    {                                                                                              \
        const uint32_t before = t->size;                                                           \
        if (before > t->max_size || more > t->max_size - before)                                   \
            return UINT32_MAX;                                                                     \
        void *data = lwm_services->table_new(t->data, ((size_t)before + 1) * sizeof *t->data,      \
                                             ((size_t)before + more + 1) * sizeof *t->data);       \
        if (!data)                                                                                 \
            return UINT32_MAX;                                                                     \
        t->data = data;                                                                            \
        t->size = before + more;                                                                   \
        for (uint32_t i = before; i < t->size; i++)                                                \
            t->data[i] = value;                                                                    \
        return before;                                                                             \
    }
LWM_TABLE(funcref)
LWM_TABLE(externref)

/* ---- the run time's own life: there is none ---- */

void wasm_rt_init(void)
{
}

bool wasm_rt_is_initialized(void)
{
    return true;
}

void wasm_rt_free(void)
{
}

#if LWM_WABT_OLD
#include <stdarg.h>

/* Equal types must get equal numbers, and others never: compared in full. */
typedef struct LwmType {
    uint32_t params, results;
    uint8_t *types;
} LwmType;

uint32_t wasm_rt_register_func_type(uint32_t params, uint32_t results, ...)
{
    static LwmType *known;
    static uint32_t n_known;
    va_list args;
    uint8_t *types = lwm_services->table_new(NULL, 0, (size_t)params + results + 1);
    LwmType *more = lwm_services->table_new(known, n_known * sizeof *known,
                                            ((size_t)n_known + 1) * sizeof *known);
    if (!types || !more)
        lwm_trap(LWM_TRAP_HOST_MEMORY);
    known = more;
    va_start(args, results);
    for (uint32_t i = 0; i < params + results; i++)
        types[i] = (uint8_t)va_arg(args, int);
    va_end(args);
    for (uint32_t i = 0; i < n_known; i++)
        if (known[i].params == params && known[i].results == results &&
            memcmp(known[i].types, types, (size_t)params + results) == 0) {
            lwm_services->table_free(types);
            return i + 1;
        }
    known[n_known++] = (LwmType){params, results, types};
    return n_known;
}
#else
void wasm_rt_init_thread(void)
{
}

void wasm_rt_free_thread(void)
{
}
#endif

/* ---- values as words ---- */

static inline uint64_t lwm_from_u32(uint32_t v)
{
    return v;
}

static inline uint64_t lwm_from_u64(uint64_t v)
{
    return v;
}

static inline uint64_t lwm_from_f32(float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    return u;
}

static inline uint64_t lwm_from_f64(double v)
{
    uint64_t u;
    memcpy(&u, &v, 8);
    return u;
}

static inline uint32_t lwm_to_u32(uint64_t v)
{
    return (uint32_t)v;
}

static inline uint64_t lwm_to_u64(uint64_t v)
{
    return v;
}

static inline float lwm_to_f32(uint64_t v)
{
    float f;
    uint32_t u = (uint32_t)v;
    memcpy(&f, &u, 4);
    return f;
}

static inline double lwm_to_f64(uint64_t v)
{
    double f;
    memcpy(&f, &v, 8);
    return f;
}

/* ---- calls out ---- */

static void lwm_call(void *host, uint32_t import, uint64_t *values)
{
    LwmHost *h = host;
    if ((uintptr_t)__builtin_frame_address(0) < h->stack_floor)
        lwm_trap(LWM_TRAP_STACK);
    h->in_host = 1;
    h->imports[import].run(h->imports[import].context, values);
    h->in_host = 0;
    if (h->pending)
        lwm_trap((LwmTrap)h->pending);
}

#endif
