/* ledge doctor: what this machine offers and what on it would slow ledge down or break it. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "cli/cli.h"

typedef struct Options {
    bool json;
} Options;

static const CliOption options[] = {
    CLI_OPTION_JSON(Options),
};

typedef struct Finding {
    const char *name;
    bool warn;
    char text[400];
} Finding;

typedef struct Doctor {
    Finding items[32];
    size_t n;
} Doctor;

static void say(Doctor *d, const char *name, bool warn, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void say(Doctor *d, const char *name, bool warn, const char *fmt, ...)
{
    if (d->n == sizeof d->items / sizeof *d->items)
        return;
    Finding *f = &d->items[d->n++];
    va_list args;
    f->name = name;
    f->warn = warn;
    va_start(args, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, args);
    va_end(args);
}

/* First line of a file, without its end; false where there is none. */
static bool first_line(const char *path, char *to, int size)
{
    FILE *f = fopen(path, "r");
    const bool ok = f && fgets(to, size, f);
    if (f)
        fclose(f);
    if (ok)
        to[strcspn(to, "\n")] = '\0';
    return ok;
}

/* ---- processor ---- */

size_t cli_cpu_features(uint32_t flags, const char **names, size_t most)
{
    static const struct {
        uint32_t flag;
        const char *name;
    } known[] = {{LEDGE_CPU_SSE41, "sse41"},
                 {LEDGE_CPU_AVX2, "avx2"},
                 {LEDGE_CPU_AVXVNNI, "avxvnni"},
                 {LEDGE_CPU_AVX512, "avx512"},
                 {LEDGE_CPU_AVX512VNNI, "avx512vnni"},
                 {LEDGE_CPU_NEON, "neon"},
                 {LEDGE_CPU_FP16, "fp16"},
                 {LEDGE_CPU_DOTPROD, "dotprod"},
                 {LEDGE_CPU_I8MM, "i8mm"}};
    size_t n = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known && n < most; i++)
        if (flags & known[i].flag)
            names[n++] = known[i].name;
    return n;
}

static void check_cpu(Doctor *d)
{
    const uint32_t flags = ledge__cpu_flags_uncapped();
    const char *names[32];
    const size_t n = cli_cpu_features(flags, names, 32);
    char text[200] = "";
    for (size_t i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", names[i]);
    say(d, "cpu", false, "%s", cli_clean(ledge__cpu_model_name()));
    say(d, "features", !*text, "%s", *text ? text : "none that ledge has kernels for");
    if (ledge__cpu_flags() != flags)
        say(d, "cap", true, "LEDGE_CPU=%s holds kernels down to %s", cli_clean(getenv("LEDGE_CPU")),
            ledge__cpu_level_name(ledge__cpu_flags()));
    else
        say(d, "kernels", false, "%s", ledge__cpu_level_name(flags));
}

static void check_cores(Doctor *d)
{
    int fast;
    uint32_t l1, l2, l3;
    const int cores = ledge__cpu_cores(&fast);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    say(d, "cores", false, "%d for this process of %ld online, %d of them fast", cores, online,
        fast);
    ledge__cpu_caches(&l1, &l2, &l3);
    say(d, "caches", false, "L1 data %u KiB, L2 %u KiB a core, last level %u KiB", l1 / 1024,
        l2 / 1024, l3 / 1024);
    char governor[64];
    if (first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor,
                   sizeof governor))
        say(d, "governor",
            strcmp(governor, "performance") != 0 && strcmp(governor, "schedutil") != 0, "%s%s",
            cli_clean(governor),
            strcmp(governor, "powersave") == 0 ? "; latencies will vary, 'performance' is steadier"
                                               : "");
    else
        say(d, "governor", false, "not told (virtual machine or container)");
}

/* ---- memory and limits ---- */

static void check_memory(Doctor *d)
{
    char line[200];
    unsigned long long total = 0, available = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        sscanf(line, "MemTotal: %llu", &total);
        sscanf(line, "MemAvailable: %llu", &available);
    }
    if (f)
        fclose(f);
    say(d, "memory", available * 1024 < (64u << 20), "%s, %s available", cli_bytes(total * 1024),
        cli_bytes(available * 1024));
    if (first_line("/sys/fs/cgroup/memory.max", line, sizeof line) && strcmp(line, "max") != 0)
        say(d, "memory limit", false, "%s by cgroup", cli_bytes(strtoull(line, NULL, 10)));
    if (first_line("/sys/fs/cgroup/cpu.max", line, sizeof line) && strncmp(line, "max", 3) != 0)
        say(d, "cpu limit", true, "cgroup gives %s microseconds of each period; runs are cut up",
            cli_clean(line));
}

static const char *limit_text(rlim_t v)
{
    return v == RLIM_INFINITY ? "unlimited" : cli_bytes(v);
}

static void check_limits(Doctor *d)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_STACK, &r) == 0)
        say(d, "stack", r.rlim_cur < 256 * 1024, "%s", limit_text(r.rlim_cur));
    if (getrlimit(RLIMIT_NOFILE, &r) == 0)
        say(d, "open files", r.rlim_cur < 256, "%" PRIu64, (uint64_t)r.rlim_cur);
    if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
        say(d, "address space", true, "limited to %s; models are mapped and may not fit",
            limit_text(r.rlim_cur));
    if (getrlimit(RLIMIT_FSIZE, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
        say(d, "file size", true, "limited to %s; larger models cannot be written",
            limit_text(r.rlim_cur));
}

/* ---- clock and disk ---- */

#define YEAR_2025 1735689600

static void check_clock(Doctor *d)
{
    struct timespec now, step;
    struct timex t = {0};
    char text[40];
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_getres(CLOCK_MONOTONIC, &step);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    say(d, "clock", now.tv_sec < YEAR_2025, "%s%s", text,
        now.tv_sec < YEAR_2025 ? "; it is not set, so signatures and telemetry cannot be dated"
                               : "");
    const int state = adjtimex(&t);
    if (state < 0)
        say(d, "time sync", false, "not told: %s", strerror(errno));
    else
        say(d, "time sync", (t.status & STA_UNSYNC) != 0, "%s",
            t.status & STA_UNSYNC ? "the clock is not synchronised (no NTP?)" : "synchronised");
    say(d, "timer", step.tv_nsec > 1000, "%ld ns", step.tv_nsec);
}

static void check_disk(Doctor *d, const char *name, const char *path)
{
    struct statvfs v;
    if (statvfs(path, &v) != 0) {
        say(d, name, true, "%s: %s", path, strerror(errno));
        return;
    }
    const uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    say(d, name, free_bytes < (100u << 20) || (v.f_flag & ST_RDONLY), "%s free%s",
        cli_bytes(free_bytes), v.f_flag & ST_RDONLY ? ", read-only" : "");
}

static void check_system(Doctor *d)
{
    struct utsname u;
    if (uname(&u) == 0)
        say(d, "system", false, "%s %s %s", u.sysname, u.release, u.machine);
    say(d, "page size", false, "%ld", sysconf(_SC_PAGESIZE));
    say(d, "providers", false, "cpu");
}

/* ---- the command ---- */

static int print_findings(const Doctor *d, bool json)
{
    size_t warnings = 0;
    json_t *items = json_object();
    for (size_t i = 0; i < d->n; i++) {
        const Finding *f = &d->items[i];
        warnings += f->warn;
        if (json)
            json_object_set_new(
                items, f->name,
                json_pack("{s:b, s:o}", "warning", (int)f->warn, "text", cli_json_text(f->text)));
        else
            printf("%-2s %-14s %s\n", f->warn ? "!" : "", f->name, f->text);
    }
    if (json)
        return cli_print_json(json_pack("{s:s, s:I, s:o}", "version", ledge_version(), "warnings",
                                        (json_int_t)warnings, "findings", items));
    json_decref(items);
    printf("ledge %s, %zu warning%s\n", ledge_version(), warnings, warnings == 1 ? "" : "s");
    return cli_finish();
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {0};
    CliArgs args;
    Doctor d = {.n = 0};
    int code = cli_parse(c, argc, argv, 0, 0, &o, &args);
    if (code != CLI_GO)
        return code;
    check_system(&d);
    check_cpu(&d);
    check_cores(&d);
    check_memory(&d);
    check_limits(&d);
    check_clock(&d);
    check_disk(&d, "disk", ".");
    check_disk(&d, "temporary", "/tmp");
    cli_args_free(&args);
    return print_findings(&d, o.json);
}

const CliCommand cli_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "look at this machine: CPU features, caches, limits, clock, disk",
    .description =
        "Shows what this machine offers to models and marks with '!' what would slow them down\n"
        "or break them.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
