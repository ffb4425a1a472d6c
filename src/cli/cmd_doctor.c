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
#include "cli/model_io.h"
#include "cli/placement.h"
#include "ledge/provider.h"

typedef struct Options {
    bool json, strict;
    int64_t threads;
    const char *provider;
    CliList provider_options;
} Options;

static const CliOption options[] = {
    CLI_OPTIONS_PROVIDER(Options, "with MODEL: who is to run it, e.g. cuda,ort,cpu or auto"),
    CLI_OPTION_THREADS(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Finding {
    const char *name;
    bool warn;
    char text[700];
} Finding;

typedef struct Doctor {
    Finding items[64];
    size_t n;
    json_t *providers, *placement;
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
}

/* ---- providers ---- */

/* What is worth a warning: a library that is there but cannot be used, or a provider that it lists
 * but that does not come up. One that was never installed is none. */
static void check_provider(Doctor *d, const LedgeProviderInfo *p, bool listed, char *usable,
                           size_t size)
{
    if (p->status == LEDGE_OK) {
        snprintf(usable + strlen(usable), size - strlen(usable), "%s%s %s", *usable ? ", " : "",
                 p->name, p->version);
        if (strcmp(p->name, "ort") == 0)
            say(d, "onnxruntime", false, "%s in %s", p->version, cli_clean(p->library));
    } else if (strcmp(p->name, "ort") == 0) {
        say(d, "onnxruntime", *p->library != '\0', "%s", cli_clean(p->reason));
    } else if (listed) {
        say(d, p->name, true, "%s", cli_clean(p->reason));
    }
}

static void check_providers(Doctor *d)
{
    char usable[400] = "";
    bool ort = true;
    d->providers = json_array();
    const size_t at = d->n;
    say(d, "providers", false, "cpu");
    for (size_t i = 0; ledge_provider_name(i); i++) {
        LedgeError err = {0};
        LedgeProviderInfo p;
        if (ledge_provider_probe(ledge_provider_name(i), &err, &p))
            continue;
        const bool through_ort = strcmp(p.through, "ledge") != 0;
        if (strcmp(p.name, "ort") == 0)
            ort = p.status == LEDGE_OK;
        const bool listed = through_ort && ort && !strstr(p.reason, "this build of ONNX Runtime");
        check_provider(d, &p, listed, usable, sizeof usable);
        json_array_append_new(
            d->providers,
            json_pack("{s:s, s:s, s:b, s:o, s:o, s:o}", "name", p.name, "through", p.through,
                      "usable", (int)(p.status == LEDGE_OK), "version", cli_json_text(p.version),
                      "library", cli_json_text(p.library), "reason", cli_json_text(p.reason)));
    }
    if (at < sizeof d->items / sizeof *d->items)
        snprintf(d->items[at].text, sizeof d->items[at].text, "%s", usable);
}

/* What of the model would run where. The first run settles it where the library must be asked. */
static int check_placement(Doctor *d, const Options *o, const char *path)
{
    const CliOpen open = {.path = path,
                          .threads = o->threads,
                          .provider = o->provider ? o->provider : "cpu",
                          .provider_options = o->provider_options,
                          .strict = o->strict};
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    CliInputs in = {0};
    LedgeError err = {0};
    const CliList none = {0};
    int code = cli_open(&open, &m, &s);
    if (code != CLI_GO)
        return code;
    const LedgePlacement *p = ledge_session_placement(s);
    LedgeTensor *out = calloc(ledge_model_output_count(m) + 1, sizeof *out);
    if (!p->settled && out && cli_inputs_new(m, &in) &&
        cli_inputs_random(m, &none, 1, &in) == CLI_GO &&
        ledge_session_run(s, in.tensors, in.n, out, ledge_model_output_count(m), &err))
        say(d, "run", true, "%s", cli_clean(err.message));
    p = ledge_session_placement(s);
    say(d, "placement", false, "%s", cli_placement_line(p));
    for (size_t i = 0; i < p->n_providers && p->fell_back; i++)
        if (p->providers[i].status)
            say(d, "fallback", true, "%s does not run: %s", cli_clean(p->providers[i].name),
                cli_clean(p->providers[i].reason));
    if (p->n_fallbacks)
        say(d, "fallback", true,
            "%zu of %zu nodes run elsewhere, the first being %s '%.80s' on %s: %s", p->n_fallbacks,
            p->n_nodes, cli_clean(p->fallbacks[0].op_type), cli_clean(p->fallbacks[0].node),
            cli_clean(p->fallbacks[0].to), cli_clean(p->fallbacks[0].reason));
    d->placement = cli_placement_json(p);
    free(out);
    cli_inputs_free(&in);
    ledge_session_free(s);
    ledge_model_free(m);
    return CLI_GO;
}

/* ---- heat ---- */

/* The kernel counts how often it slowed the cores for heat; a zone that is hot soon will be. */
static void check_heat(Doctor *d)
{
    char line[64], path[120];
    unsigned long long throttled = 0;
    bool known = false;
    int hottest = 0;
    const long cores = sysconf(_SC_NPROCESSORS_CONF);
    for (long i = 0; i < cores && i < 1024; i++) {
        snprintf(path, sizeof path,
                 "/sys/devices/system/cpu/cpu%ld/thermal_throttle/core_throttle_count", i);
        if (first_line(path, line, sizeof line)) {
            throttled += strtoull(line, NULL, 10);
            known = true;
        }
    }
    for (int i = 0; i < 64; i++) {
        snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/temp", i);
        if (!first_line(path, line, sizeof line))
            continue;
        const int t = atoi(line) / 1000;
        hottest = t > hottest ? t : hottest;
        known = true;
    }
    if (!known)
        say(d, "heat", false, "not told (virtual machine or container)");
    else
        say(d, "heat", throttled > 0 || hottest >= 85,
            "%llu times slowed down for heat since start, hottest zone %d C%s", throttled, hottest,
            throttled ? "; latencies will not hold, cool it better" : "");
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
        return cli_print_json(json_pack("{s:s, s:I, s:o, s:O, s:o}", "version", ledge_version(),
                                        "warnings", (json_int_t)warnings, "findings", items,
                                        "providers", d->providers, "placement",
                                        d->placement ? json_incref(d->placement) : json_null()));
    json_decref(items);
    printf("ledge %s, %zu warning%s\n", ledge_version(), warnings, warnings == 1 ? "" : "s");
    return cli_finish();
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {0};
    CliArgs args;
    Doctor d = {.n = 0};
    int code = cli_parse(c, argc, argv, 0, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    if (o.provider && !args.n)
        code = cli_usage(c, "--provider is asked of a model: give one");
    if (code == CLI_GO) {
        check_system(&d);
        check_cpu(&d);
        check_cores(&d);
        check_heat(&d);
        check_memory(&d);
        check_limits(&d);
        check_clock(&d);
        check_disk(&d, "disk", ".");
        check_disk(&d, "temporary", "/tmp");
        check_providers(&d);
        if (args.n)
            code = check_placement(&d, &o, args.items[0]);
    }
    if (code == CLI_GO)
        code = print_findings(&d, o.json);
    json_decref(d.providers);
    json_decref(d.placement);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_doctor = {
    .name = "doctor",
    .arguments = "[MODEL]",
    .summary = "look at this machine: CPU, limits, clock, providers; where a MODEL would run",
    .description =
        "Shows what this machine offers to models and marks with '!' what would slow them down\n"
        "or break them: limits, heat, clock, execution providers that are there and why others\n"
        "are not. With a MODEL, also which of its nodes would run on whom.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
