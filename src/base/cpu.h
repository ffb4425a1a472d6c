/* What this CPU can do, as flags that kernel tables are chosen by.
 *
 * Flags are an argument everywhere, so that a test can hold two tables at once. x86
 * flags are only set where the operating system saves the registers (XGETBV). The
 * environment variable LEDGE_CPU caps them by name: "scalar", "sse41", "avx2",
 * "avxvnni", "avx512", "avx512vnni", "neon", "dotprod", "i8mm", "simd128". */
#ifndef LEDGE_BASE_CPU_H
#define LEDGE_BASE_CPU_H

#include <stdint.h>

enum {
    LEDGE_CPU_SSE41 = 1u << 0,
    LEDGE_CPU_AVX2 = 1u << 1,    /* with FMA and F16C */
    LEDGE_CPU_AVXVNNI = 1u << 2, /* 256-bit VNNI without AVX-512 */
    LEDGE_CPU_AVX512 = 1u << 3,  /* F, BW, DQ, VL */
    LEDGE_CPU_AVX512VNNI = 1u << 4,
    LEDGE_CPU_NEON = 1u << 8,
    LEDGE_CPU_FP16 = 1u << 9, /* half-precision vector arithmetic */
    LEDGE_CPU_DOTPROD = 1u << 10,
    LEDGE_CPU_I8MM = 1u << 11,
    LEDGE_CPU_WASM_SIMD = 1u << 16
};

/* Flags of this CPU, capped by LEDGE_CPU; read once. */
uint32_t ledge__cpu_flags(void);
/* Flags of this CPU, without the cap. */
uint32_t ledge__cpu_flags_uncapped(void);
/* The flags that `name` (as in LEDGE_CPU) allows, or 0xffffffff for an unknown name. */
uint32_t ledge__cpu_flags_from_name(const char *name);
/* Name of the highest level in `flags`, e.g. "avx512vnni". Static storage. */
const char *ledge__cpu_level_name(uint32_t flags);
/* Model name as the CPU tells it ("AMD EPYC 9B14"); never NULL. Static storage. */
const char *ledge__cpu_model_name(void);
/* Bytes of one core's L1 data and L2 cache and of the shared last level; a guess where unknown. */
void ledge__cpu_caches(uint32_t *l1d, uint32_t *l2, uint32_t *l3);
/* Cores that this thread may be scheduled on: one system call, for work too short to ask more. */
int ledge__cpu_allowed(void);
/* Cores that this process may use, quotas counted; `fast` the fastest cluster only (big.LITTLE). */
int ledge__cpu_cores(int *fast);
/* Keeps the calling thread on the fast clusters of a big.LITTLE machine; nothing elsewhere. */
void ledge__cpu_bind_fast(void);
/* The core that this thread runs on now; -1: that cannot be told. */
int ledge__cpu_here(void);
/* Moves the calling thread to another core if it runs on this one and may run on others; it may
 * come back. */
void ledge__cpu_leave(int core);
/* The same for another thread, by its number (gettid), and the core of the caller, wherever that
 * thread is. */
void ledge__cpu_send_away(int thread);
/* Between two looks at what another thread is about to change. */
static inline void ledge__cpu_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
/* Threads made with `attr`, a pthread_attr_t, begin on another core than the caller's, which is
 * given: they call ledge__cpu_also with it to be allowed there too. -1: there is no other. */
int ledge__cpu_elsewhere(void *attr);
/* Allows the calling thread to run on this core as well; -1: changes nothing. */
void ledge__cpu_also(int core);

#endif
