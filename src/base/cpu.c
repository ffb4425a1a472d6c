/* CPU detection: instruction sets as the CPU and the operating system both allow them, cache
 * sizes, and how many cores this process may really use (affinity, cgroup quota, fast cluster).
 *
 * x86-64 asks CPUID and XGETBV; aarch64 asks the kernel's hwcaps; wasm knows at compile time.
 * Everything about cores and caches comes from Linux's sysfs, with a guess where it is absent. */
#include "base/cpu.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* ---- instruction sets ---- */

#if defined(__x86_64__)

static uint64_t read_xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
}

static uint32_t avx512_flags(uint32_t b7, uint32_t c7)
{
    const uint32_t f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    const uint32_t need = f | dq | bw | vl;
    if ((b7 & need) != need)
        return 0;
    return LEDGE_CPU_AVX512 | ((c7 >> 11 & 1) ? LEDGE_CPU_AVX512VNNI : 0);
}

static uint32_t detect(void)
{
    uint32_t a, b, c, d, flags = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    if ((c >> 19 & 1) && (c >> 9 & 1)) /* SSE4.1, SSSE3 */
        flags |= LEDGE_CPU_SSE41;
    const uint32_t need = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29; /* FMA OSXSAVE AVX F16C */
    if ((c & need) != need)
        return flags;
    const uint64_t saved = read_xcr0(); /* legal: OSXSAVE is set */
    uint32_t b7, c7;
    if ((saved & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d) || !(b7 >> 5 & 1))
        return flags;
    const uint32_t leaves = a;
    flags |= LEDGE_CPU_AVX2;
    if (leaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1))
        flags |= LEDGE_CPU_AVXVNNI;
    if ((saved & 0xe6) == 0xe6) /* also opmask and the upper halves */
        flags |= avx512_flags(b7, c7);
    return flags;
}

#elif defined(__aarch64__) && defined(__linux__)

static uint32_t detect(void)
{
    /* Bit numbers of the kernel's arm64 hwcaps; part of its ABI. */
    const unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    uint32_t flags = 0;
    if (cap >> 1 & 1) /* ASIMD */
        flags |= LEDGE_CPU_NEON;
    if (cap >> 10 & 1) /* ASIMDHP */
        flags |= LEDGE_CPU_FP16;
    if (cap >> 20 & 1) /* ASIMDDP */
        flags |= LEDGE_CPU_DOTPROD;
    if (cap2 >> 13 & 1) /* I8MM */
        flags |= LEDGE_CPU_I8MM;
    return flags;
}

#else

static uint32_t detect(void)
{
#if defined(__aarch64__)
    return LEDGE_CPU_NEON;
#elif defined(__wasm_simd128__)
    return LEDGE_CPU_WASM_SIMD;
#else
    return 0;
#endif
}

#endif

/* From low to high: what each name allows. */
static const struct {
    const char *name;
    uint32_t flags;
} levels[] = {
    {"scalar", 0},
    {"sse41", LEDGE_CPU_SSE41},
    {"avx2", LEDGE_CPU_SSE41 | LEDGE_CPU_AVX2},
    {"avxvnni", LEDGE_CPU_SSE41 | LEDGE_CPU_AVX2 | LEDGE_CPU_AVXVNNI},
    {"avx512", LEDGE_CPU_SSE41 | LEDGE_CPU_AVX2 | LEDGE_CPU_AVX512},
    /* without AVX-VNNI, which some CPUs of this level lack and none of its kernels need */
    {"avx512vnni", LEDGE_CPU_SSE41 | LEDGE_CPU_AVX2 | LEDGE_CPU_AVX512 | LEDGE_CPU_AVX512VNNI},
    {"neon", LEDGE_CPU_NEON},
    {"dotprod", LEDGE_CPU_NEON | LEDGE_CPU_FP16 | LEDGE_CPU_DOTPROD},
    {"i8mm", LEDGE_CPU_NEON | LEDGE_CPU_FP16 | LEDGE_CPU_DOTPROD | LEDGE_CPU_I8MM},
    {"simd128", LEDGE_CPU_WASM_SIMD},
};
enum { N_LEVELS = sizeof levels / sizeof levels[0] };

/* The bit that a level adds, by which it is told from the one below. */
static uint32_t level_mark(int i)
{
    static const uint32_t mark[N_LEVELS] = {
        0,
        LEDGE_CPU_SSE41,
        LEDGE_CPU_AVX2,
        LEDGE_CPU_AVXVNNI,
        LEDGE_CPU_AVX512,
        LEDGE_CPU_AVX512VNNI,
        LEDGE_CPU_NEON,
        LEDGE_CPU_DOTPROD,
        LEDGE_CPU_I8MM,
        LEDGE_CPU_WASM_SIMD,
    };
    return mark[i];
}

uint32_t ledge__cpu_flags_from_name(const char *name)
{
    for (int i = 0; i < N_LEVELS; i++)
        if (strcmp(name, levels[i].name) == 0)
            return levels[i].flags;
    return UINT32_MAX;
}

const char *ledge__cpu_level_name(uint32_t flags)
{
    for (int i = N_LEVELS - 1; i > 0; i--)
        if (flags & level_mark(i))
            return levels[i].name;
    return levels[0].name;
}

/* Both caches hold the flags with this bit set; computing twice in a race does no harm. */
#define KNOWN (1u << 31)

uint32_t ledge__cpu_flags_uncapped(void)
{
    static _Atomic uint32_t cache;
    uint32_t v = atomic_load_explicit(&cache, memory_order_relaxed);
    if (v == 0) {
        v = detect() | KNOWN;
        atomic_store_explicit(&cache, v, memory_order_relaxed);
    }
    return v & ~KNOWN;
}

uint32_t ledge__cpu_flags(void)
{
    static _Atomic uint32_t cache;
    uint32_t v = atomic_load_explicit(&cache, memory_order_relaxed);
    if (v == 0) {
        const char *cap = getenv("LEDGE_CPU");
        v = ledge__cpu_flags_uncapped();
        if (cap)
            v &= ledge__cpu_flags_from_name(cap);
        v |= KNOWN;
        atomic_store_explicit(&cache, v, memory_order_relaxed);
    }
    return v & ~KNOWN;
}

/* ---- the model's name ---- */

#if defined(__linux__)

/* First line of a file without its newline; false when it cannot be read. No stdio: dozens of
 * these are read at a start. */
static bool read_line(const char *path, char *line, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, line, size - 1);
    close(fd);
    line[n > 0 ? n : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return n > 0;
}

static char model_name[64];

static void squeeze_spaces(char *s)
{
    char *to = s;
    for (const char *p = s; *p; p++)
        if (*p != ' ' || (to > s && to[-1] != ' '))
            *to++ = *p;
    while (to > s && to[-1] == ' ')
        to--;
    *to = '\0';
}

#if defined(__x86_64__)

static void find_model_name(void)
{
    uint32_t r[12];
    memcpy(model_name, "x86-64", 7);
    if (__get_cpuid_max(0x80000000u, NULL) < 0x80000004u)
        return;
    for (unsigned i = 0; i < 3; i++)
        __cpuid(0x80000002u + i, r[4 * i], r[4 * i + 1], r[4 * i + 2], r[4 * i + 3]);
    memcpy(model_name, r, 48);
    model_name[48] = '\0';
    squeeze_spaces(model_name);
}

#else

static void find_model_name(void)
{
    if (read_line("/sys/firmware/devicetree/base/model", model_name, sizeof model_name)) {
        squeeze_spaces(model_name);
        return;
    }
#if defined(__aarch64__)
    memcpy(model_name, "aarch64", 8);
#else
    memcpy(model_name, "unknown", 8);
#endif
}

#endif

const char *ledge__cpu_model_name(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_model_name);
    return model_name;
}

/* ---- caches ---- */

static uint32_t parse_size(const char *s)
{
    char *end;
    unsigned long v = strtoul(s, &end, 10);
    if (*end == 'K')
        v <<= 10;
    else if (*end == 'M')
        v <<= 20;
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

/* by_level[1..3]: data or unified cache of the first core; 0 where sysfs is silent. */
static void caches_from_sysfs(uint32_t by_level[4])
{
    for (int i = 0; i < 8; i++) {
        char path[96], level[16], type[32], size[32];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", i);
        if (!read_line(path, level, sizeof level))
            return;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", i);
        if (!read_line(path, type, sizeof type) || strcmp(type, "Instruction") == 0)
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        const int l = atoi(level);
        if (l >= 1 && l <= 3 && read_line(path, size, sizeof size))
            by_level[l] = parse_size(size);
    }
}

static void caches_from_libc(uint32_t by_level[4])
{
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    static const int name[4] = {0, _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE,
                                _SC_LEVEL3_CACHE_SIZE};
    for (int l = 1; l <= 3; l++) {
        const long v = by_level[l] ? 0 : sysconf(name[l]);
        if (v > 0 && v <= (long)UINT32_MAX)
            by_level[l] = (uint32_t)v;
    }
#else
    (void)by_level;
#endif
}

static uint32_t cache_sizes[4];

static void find_caches(void)
{
    caches_from_sysfs(cache_sizes);
    caches_from_libc(cache_sizes);
    if (cache_sizes[1] == 0)
        cache_sizes[1] = 32u << 10;
    if (cache_sizes[2] == 0)
        cache_sizes[2] = 512u << 10;
    if (cache_sizes[3] == 0)
        cache_sizes[3] = cache_sizes[2]; /* small boards end at the L2 */
}

void ledge__cpu_caches(uint32_t *l1d, uint32_t *l2, uint32_t *l3)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_caches);
    *l1d = cache_sizes[1];
    *l2 = cache_sizes[2];
    *l3 = cache_sizes[3];
}

/* ---- cores ---- */

/* Whole cores that a quota of `quota` µs in each `period` µs gives; 0: no limit. */
static int quota_cores(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    const long long n = (quota + period - 1) / period;
    return n > 1 << 20 ? 0 : (int)n;
}

static int cgroup2_limit(const char *dir)
{
    char path[640], line[64];
    long long quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    if (!read_line(path, line, sizeof line) || sscanf(line, "%lld %lld", &quota, &period) != 2)
        return 0; /* "max 100000" has no number first */
    return quota_cores(quota, period);
}

static int cgroup1_limit(const char *dir)
{
    char path[640], quota[32], period[32];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
    if (!read_line(path, quota, sizeof quota) || atoll(quota) <= 0)
        return 0;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
    if (!read_line(path, period, sizeof period))
        return 0;
    return quota_cores(atoll(quota), atoll(period));
}

/* The tightest limit of a group and its parents up to the mount `root`. */
static int tightest_limit(const char *root, const char *group, int (*limit)(const char *))
{
    char dir[512];
    int best = 0;
    if (snprintf(dir, sizeof dir, "%s%s", root, group) >= (int)sizeof dir)
        return 0;
    for (;;) {
        const int n = limit(dir);
        if (n > 0 && (best == 0 || n < best))
            best = n;
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < strlen(root))
            return best;
        *slash = '\0';
    }
}

/* Whether the controllers of a line of /proc/self/cgroup, "cpu,cpuacct", include the CPU's. */
static bool limits_cpu(const char *controllers)
{
    for (const char *c = controllers; *c; c += strspn(c, ",")) {
        const size_t n = strcspn(c, ",");
        if (n == 3 && strncmp(c, "cpu", n) == 0)
            return true;
        c += n;
    }
    return false;
}

/* A process in a container sees its group's path as of the host or as "/": both are walked. */
static int cgroup_cores(void)
{
    char line[512];
    int best = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
        int n = 0;
        if (!second)
            continue;
        *second = '\0';
        if (first[1] == '\0')
            n = tightest_limit("/sys/fs/cgroup", second + 1, cgroup2_limit);
        else if (limits_cpu(first + 1))
            n = tightest_limit("/sys/fs/cgroup/cpu", second + 1, cgroup1_limit);
        if (n > 0 && (best == 0 || n < best))
            best = n;
    }
    fclose(f);
    return best;
}

static bool in_cpu_list(const char *list, int cpu)
{
    int from, to, used;
    while (sscanf(list, "%d%n", &from, &used) == 1) {
        list += used;
        to = from;
        if (*list == '-' && sscanf(list + 1, "%d%n", &to, &used) == 1)
            list += 1 + used;
        if (cpu >= from && cpu <= to)
            return true;
        if (*list++ != ',')
            return false;
    }
    return false;
}

/* How strong a core is, in a unit of its machine; *percent: what share of the best still counts
 * as fast. Capacity tells clusters apart well; frequency alone is a weaker sign. */
static long core_strength(int cpu, int *percent)
{
    char path[96], line[512];
    if (read_line("/sys/devices/cpu_core/cpus", line, sizeof line)) { /* hybrid x86 */
        *percent = 100;
        return in_cpu_list(line, cpu) ? 2 : 1;
    }
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpu_capacity", cpu);
    *percent = 60;
    if (read_line(path, line, sizeof line))
        return atol(line);
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq", cpu);
    *percent = 80;
    return read_line(path, line, sizeof line) ? atol(line) : 0;
}

/* Leaves in *set only the cores of the fast clusters; those that tell nothing all stay. */
static void keep_fast(cpu_set_t *set)
{
    long best = 0, strength[CPU_SETSIZE];
    int percent = 100;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        strength[i] = CPU_ISSET(i, set) ? core_strength(i, &percent) : 0;
        best = strength[i] > best ? strength[i] : best;
    }
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, set) && strength[i] < best / 100.0 * percent)
            CPU_CLR(i, set);
}

static bool cores_of(int thread, cpu_set_t *set)
{
    CPU_ZERO(set);
    return sched_getaffinity(thread, sizeof *set, set) == 0 && CPU_COUNT(set) > 0;
}

static bool allowed_cores(cpu_set_t *set)
{
    return cores_of(0, set);
}

int ledge__cpu_allowed(void)
{
    cpu_set_t set;
    return allowed_cores(&set) ? CPU_COUNT(&set) : 1;
}

int ledge__cpu_cores(int *fast)
{
    cpu_set_t set;
    int all, quick;
    if (allowed_cores(&set)) {
        all = CPU_COUNT(&set);
        keep_fast(&set);
        quick = CPU_COUNT(&set);
    } else { /* more cores than a cpu_set_t holds */
        const long n = sysconf(_SC_NPROCESSORS_ONLN);
        all = quick = n > 0 ? (int)n : 1;
    }
    const int quota = cgroup_cores();
    if (quota > 0 && quota < all)
        all = quota;
    if (fast)
        *fast = quick < all ? quick : all;
    return all;
}

void ledge__cpu_bind_fast(void)
{
    cpu_set_t set;
    if (!allowed_cores(&set))
        return;
    const int all = CPU_COUNT(&set);
    keep_fast(&set);
    if (CPU_COUNT(&set) > 0 && CPU_COUNT(&set) < all)
        (void)sched_setaffinity(0, sizeof set, &set); /* a wish: the answer is right without */
}

int ledge__cpu_here(void)
{
    return sched_getcpu();
}

static void leave(int thread, int core)
{
    cpu_set_t set, others;
    if (core < 0 || !cores_of(thread, &set))
        return;
    others = set;
    CPU_CLR(core, &others);
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(thread, sizeof others, &others) == 0)
        (void)sched_setaffinity(thread, sizeof set, &set);
}

void ledge__cpu_leave(int core)
{
    if (sched_getcpu() == core)
        leave(0, core);
}

void ledge__cpu_send_away(int thread)
{
    leave(thread, sched_getcpu());
}

int ledge__cpu_elsewhere(void *attr)
{
#if defined(__GLIBC__)
    cpu_set_t set;
    const int here = sched_getcpu();
    if (here < 0 || !allowed_cores(&set))
        return -1;
    CPU_CLR(here, &set);
    if (CPU_COUNT(&set) > 0 && pthread_attr_setaffinity_np(attr, sizeof set, &set) == 0)
        return here;
#else
    (void)attr;
#endif
    return -1;
}

void ledge__cpu_also(int core)
{
    cpu_set_t set;
    if (core < 0 || !allowed_cores(&set))
        return;
    CPU_SET(core, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

#else /* not Linux: wasm and the like */

const char *ledge__cpu_model_name(void)
{
#if defined(__wasm__)
    return "wasm";
#else
    return "unknown";
#endif
}

void ledge__cpu_caches(uint32_t *l1d, uint32_t *l2, uint32_t *l3)
{
    *l1d = 32u << 10;
    *l2 = 512u << 10;
    *l3 = 2048u << 10;
}

int ledge__cpu_allowed(void)
{
    return 1;
}

int ledge__cpu_cores(int *fast)
{
    if (fast)
        *fast = 1;
    return 1;
}

void ledge__cpu_bind_fast(void)
{
}

int ledge__cpu_here(void)
{
    return -1;
}

void ledge__cpu_leave(int core)
{
    (void)core;
}

void ledge__cpu_send_away(int thread)
{
    (void)thread;
}

int ledge__cpu_elsewhere(void *attr)
{
    (void)attr;
    return -1;
}

void ledge__cpu_also(int core)
{
    (void)core;
}

#endif
