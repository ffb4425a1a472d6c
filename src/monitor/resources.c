/* Sampling of resources. Sources: proc(5), the kernel's Documentation/admin-guide (cgroup-v2,
 * iostats) and Documentation/ABI/testing/sysfs-class-thermal, sysfs-devices-system-cpu. */
#include "monitor/resources.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { TEXT = 16384, ZONES = 64 };

/* Counters that only grow. */
typedef struct Counters {
    double time, busy, all, disk_read, disk_written, received, sent, process, throttles;
} Counters;

struct LedgeResources {
    const LedgeAllocator *allocator;
    char root[256], disk[256];
    Counters last;
    size_t taken; /* samples, ever */
    LedgeResourceSample ring[LEDGE_RESOURCES_KEPT];
    char text[TEXT]; /* the file being read */
};

LedgeStatus ledge__resources_new(const char *disk, const char *root, const LedgeAllocator *a,
                                 LedgeError *err, LedgeResources **out)
{
    disk = disk ? disk : "/";
    if (strlen(disk) >= sizeof(*out)->disk || strlen(root) >= sizeof(*out)->root / 2)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, disk, "the path is too long");
    LedgeResources *r = ledge__calloc(a, 1, sizeof *r);
    if (!r)
        return ledge__no_memory(err);
    r->allocator = a;
    strcpy(r->disk, disk);
    strcpy(r->root, root);
    r->last.time = NAN;
    *out = r;
    return LEDGE_OK;
}

void ledge__resources_free(LedgeResources *r)
{
    if (r)
        ledge__free(r->allocator, r);
}

/* The start of a small file in r->text; NULL where there is none. */
static char *slurp(LedgeResources *r, const char *path)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", r->root, path);
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t n = 0;
    for (;;) {
        const ssize_t got = read(fd, r->text + n, TEXT - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    r->text[n] = '\0';
    return n ? r->text : NULL;
}

static double number_in(LedgeResources *r, const char *path)
{
    const char *text = slurp(r, path);
    char *end = NULL;
    const double v = text ? strtod(text, &end) : NAN;
    return text && end != text ? v : NAN;
}

/* The number behind `key` at a line's start. */
static double number_after(const char *text, const char *key)
{
    const size_t n = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) == 0)
            return strtod(line + n, NULL);
    }
    return NAN;
}

static void read_cpu(LedgeResources *r, Counters *c)
{
    const char *text = slurp(r, "/proc/stat");
    c->busy = c->all = NAN;
    if (!text || strncmp(text, "cpu ", 4) != 0)
        return;
    char *at = r->text + 4;
    double field[8] = {0}; /* user nice system idle iowait irq softirq steal */
    for (int i = 0; i < 8; i++)
        field[i] = strtod(at, &at);
    c->all = 0;
    for (int i = 0; i < 8; i++)
        c->all += field[i];
    c->busy = c->all - field[3] - field[4];
}

static void read_process(LedgeResources *r, Counters *c, LedgeResourceSample *s)
{
    const char *text = slurp(r, "/proc/self/stat");
    const char *at = text ? strrchr(text, ')') : NULL; /* the name may hold anything */
    double user = NAN, system = NAN, pages = NAN;
    c->process = NAN;
    s->process_memory = NAN;
    if (at &&
        sscanf(at + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lf %lf", &user, &system) == 2)
        c->process = (user + system) / (double)sysconf(_SC_CLK_TCK);
    text = slurp(r, "/proc/self/statm");
    if (text && sscanf(text, "%*s %lf", &pages) == 1)
        s->process_memory = pages * (double)sysconf(_SC_PAGESIZE);
}

/* Memory that can be had without swapping, and the limit of the control group where it is lower. */
static void read_memory(LedgeResources *r, LedgeResourceSample *s)
{
    const char *text = slurp(r, "/proc/meminfo");
    const double total = text ? number_after(text, "MemTotal:") * 1024 : NAN;
    const double free_bytes = text ? number_after(text, "MemAvailable:") * 1024 : NAN;
    s->memory_total = total;
    s->memory = (total - free_bytes) / total;
    const double limit = number_in(r, "/sys/fs/cgroup/memory.max"); /* "max": NAN */
    const double used = number_in(r, "/sys/fs/cgroup/memory.current");
    if (limit > 0 && (isnan(total) || limit < total)) {
        text = slurp(r, "/sys/fs/cgroup/memory.stat");
        const double cached = text ? number_after(text, "inactive_file ") : NAN;
        s->memory_total = limit;
        s->memory = (used - (isnan(cached) ? 0 : cached)) / limit;
    }
}

static bool whole_disk(const char *name)
{
    const size_t n = strlen(name);
    if (strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0 ||
        strncmp(name, "zram", 4) == 0 || strncmp(name, "dm-", 3) == 0 ||
        strncmp(name, "md", 2) == 0)
        return false;
    if (strncmp(name, "nvme", 4) == 0 || strncmp(name, "mmcblk", 6) == 0)
        return !strchr(name + 4, 'p'); /* nvme0n1p2, mmcblk0p1: partitions */
    return n > 0 && !isdigit((unsigned char)name[n - 1]);
}

static void read_disk(LedgeResources *r, Counters *c, LedgeResourceSample *s)
{
    char *text = slurp(r, "/proc/diskstats"), *save = NULL;
    c->disk_read = c->disk_written = text ? 0 : NAN;
    for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        char name[64];
        double read_sectors, written_sectors;
        if (sscanf(line, "%*u %*u %63s %*u %*u %lf %*u %*u %*u %lf", name, &read_sectors,
                   &written_sectors) == 3 &&
            whole_disk(name)) {
            c->disk_read += read_sectors * 512; /* always 512, whatever the disk */
            c->disk_written += written_sectors * 512;
        }
    }
    struct statvfs fs;
    s->disk = NAN;
    if (statvfs(r->disk, &fs) == 0 && fs.f_blocks > 0) {
        const double used = (double)(fs.f_blocks - fs.f_bfree);
        s->disk = used / (used + (double)fs.f_bavail); /* as df counts it */
    }
}

static void read_network(LedgeResources *r, Counters *c)
{
    char *text = slurp(r, "/proc/net/dev"), *save = NULL;
    c->received = c->sent = text ? 0 : NAN;
    for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        char *colon = strchr(line, ':');
        double in, out;
        if (!colon)
            continue;
        *colon = '\0';
        const char *name = line + strspn(line, " ");
        if (strcmp(name, "lo") != 0 &&
            sscanf(colon + 1, "%lf %*u %*u %*u %*u %*u %*u %*u %lf", &in, &out) == 2) {
            c->received += in;
            c->sent += out;
        }
    }
}

static void read_heat(LedgeResources *r, LedgeResourceSample *s)
{
    char path[96];
    s->temperature = NAN;
    for (int i = 0; i < ZONES; i++) {
        snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%d/temp", i);
        const double v = number_in(r, path) / 1000; /* in thousandths */
        if (isnan(v))
            break;
        if (v > -50 && v < 200) /* sensors that are off read as nonsense */
            s->temperature = fmax(s->temperature, v);
    }
}

/* x86 counts throttlings; a Raspberry Pi's firmware says so; elsewhere a cooling device of the
 * CPU that is at work holds the clock down. */
static void read_throttle(LedgeResources *r, Counters *c, LedgeResourceSample *s)
{
    char path[96];
    c->throttles =
        number_in(r, "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count");
    s->throttled =
        isnan(c->throttles) || isnan(r->last.throttles) ? NAN : c->throttles > r->last.throttles;
    const char *text = slurp(r, "/sys/devices/platform/soc/soc:firmware/get_throttled");
    if (text)
        s->throttled = (strtoul(text, NULL, 16) & 0xE) != 0; /* capped, throttled, soft limit */
    for (int i = 0; i < ZONES; i++) {
        snprintf(path, sizeof path, "/sys/class/thermal/cooling_device%d/type", i);
        text = slurp(r, path);
        if (!text)
            break;
        if (!strstr(text, "cpufreq") && !strstr(text, "Processor"))
            continue;
        snprintf(path, sizeof path, "/sys/class/thermal/cooling_device%d/cur_state", i);
        const double state = number_in(r, path);
        if (!isnan(state))
            s->throttled = fmax(s->throttled, state > 0);
    }
}

/* A counter that was set back (a device came or went) gives no rate. */
static double rate(double now, double before, double seconds)
{
    return now >= before && seconds > 0 ? (now - before) / seconds : NAN;
}

void ledge__resources_sample(LedgeResources *r, double now, LedgeResourceSample *out)
{
    LedgeResourceSample s = {.time = now};
    Counters c = {.time = now};
    read_cpu(r, &c);
    read_process(r, &c, &s);
    read_memory(r, &s);
    read_disk(r, &c, &s);
    read_network(r, &c);
    read_heat(r, &s);
    read_throttle(r, &c, &s);
    s.load1 = number_in(r, "/proc/loadavg");
    const double seconds = now - r->last.time;
    s.cpu = c.all > r->last.all ? (c.busy - r->last.busy) / (c.all - r->last.all) : NAN;
    s.process_cpu = rate(c.process, r->last.process, seconds);
    s.disk_read = rate(c.disk_read, r->last.disk_read, seconds);
    s.disk_written = rate(c.disk_written, r->last.disk_written, seconds);
    s.net_received = rate(c.received, r->last.received, seconds);
    s.net_sent = rate(c.sent, r->last.sent, seconds);
    if (r->taken == 0) /* there was nothing to compare with */
        s.cpu = s.process_cpu = s.disk_read = s.disk_written = s.net_received = s.net_sent = NAN;
    r->last = c;
    r->ring[r->taken++ % LEDGE_RESOURCES_KEPT] = s;
    *out = s;
}

const LedgeResourceSample *ledge__resources_at(const LedgeResources *r, size_t i)
{
    if (i >= r->taken || i >= LEDGE_RESOURCES_KEPT)
        return NULL;
    return &r->ring[(r->taken - 1 - i) % LEDGE_RESOURCES_KEPT];
}
