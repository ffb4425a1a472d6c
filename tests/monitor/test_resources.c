/* Resources of a made-up machine: a folder that stands for "/". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/resources.h"

static char root[64];

static void put(const char *path, const char *text)
{
    char name[256];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *p = name + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(name, 0700);
        *p = '/';
    }
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/ledge-resources-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

static LedgeResources *watcher(void)
{
    LedgeResources *r = NULL;
    LedgeError err;
    assert_int_equal(ledge__resources_new(NULL, root, ledge__allocator_or_default(NULL), &err, &r),
                     LEDGE_OK);
    return r;
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fmax(1, fabs(want))))
        fail_msg("%g, must be %g", got, want);
}

static void two_samples_give_shares_and_rates(void **state)
{
    (void)state;
    put("/proc/stat", "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3 4\n");
    put("/proc/loadavg", "0.75 0.50 0.25 1/100 999\n");
    put("/proc/self/stat", "7 (a ) b (c) R 1 1 1 0 -1 4194304 1 0 0 0 100 50 0 0 20 0\n");
    put("/proc/self/statm", "1000 200 100 1 0 50 0\n");
    put("/proc/meminfo", "MemTotal:  1000000 kB\nMemFree: 1 kB\nMemAvailable: 250000 kB\n");
    put("/proc/diskstats", " 8 0 sda 1 0 100 0 1 0 200 0 0 0 0\n 8 1 sda1 1 0 90 0 1 0 90 0 0 0 0\n"
                           " 259 0 nvme0n1 1 0 10 0 1 0 20 0 0 0 0\n"
                           " 259 1 nvme0n1p1 1 0 10 0 1 0 20 0 0 0 0\n"
                           " 7 0 loop0 1 0 999 0 1 0 999 0 0 0 0\n");
    put("/proc/net/dev",
        "Inter-|   Receive\n face |bytes\n    lo: 999 0 0 0 0 0 0 0 999 0 0 0 0 0 0 0\n"
        "  eth0: 1000 0 0 0 0 0 0 0 500 0 0 0 0 0 0 0\n");
    put("/sys/class/thermal/thermal_zone0/temp", "45000\n");
    put("/sys/class/thermal/thermal_zone1/temp", "61500\n");
    LedgeResources *r = watcher();
    LedgeResourceSample s;
    ledge__resources_sample(r, 100, &s);
    assert_true(isnan(s.cpu) && isnan(s.net_sent) && isnan(s.disk_read));
    near(s.load1, 0.75);
    near(s.memory, 0.75);
    near(s.memory_total, 1024e6);
    near(s.temperature, 61.5);
    near(s.process_memory, 200.0 * (double)sysconf(_SC_PAGESIZE));
    assert_true(isnan(s.throttled));
    put("/proc/stat", "cpu  130 0 120 740 110 0 0 0 0 0\n");
    put("/proc/self/stat", "7 (a ) b (c) R 1 1 1 0 -1 4194304 1 0 0 0 200 150 0 0 20 0\n");
    put("/proc/diskstats", " 8 0 sda 1 0 140 0 1 0 200 0 0 0 0\n"
                           " 259 0 nvme0n1 1 0 10 0 1 0 40 0 0 0 0\n");
    put("/proc/net/dev", "  eth0: 3000 0 0 0 0 0 0 0 400 0 0 0 0 0 0 0\n");
    ledge__resources_sample(r, 110, &s);
    near(s.cpu, 0.5);
    near(s.process_cpu, 200.0 / (double)sysconf(_SC_CLK_TCK) / 10);
    near(s.disk_read, 40 * 512 / 10.0);
    near(s.disk_written, 20 * 512 / 10.0);
    near(s.net_received, 200);
    assert_true(isnan(s.net_sent)); /* the counter was set back */
    ledge__resources_free(r);
}

static void the_control_group_bounds_memory(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemTotal:  1000000 kB\nMemAvailable: 250000 kB\n");
    put("/sys/fs/cgroup/memory.max", "100000000\n");
    put("/sys/fs/cgroup/memory.current", "90000000\n");
    put("/sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 40000000\n");
    LedgeResources *r = watcher();
    LedgeResourceSample s;
    ledge__resources_sample(r, 1, &s);
    near(s.memory_total, 1e8);
    near(s.memory, 0.5);
    put("/sys/fs/cgroup/memory.max", "max\n");
    ledge__resources_sample(r, 2, &s);
    near(s.memory_total, 1024e6);
    ledge__resources_free(r);
}

static void heat_that_holds_the_clock_down_is_seen(void **state)
{
    (void)state;
    put("/sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n");
    put("/sys/class/thermal/cooling_device0/cur_state", "0\n");
    LedgeResources *r = watcher();
    LedgeResourceSample s;
    ledge__resources_sample(r, 1, &s);
    near(s.throttled, 0);
    put("/sys/class/thermal/cooling_device0/cur_state", "2\n");
    ledge__resources_sample(r, 2, &s);
    near(s.throttled, 1);
    ledge__resources_free(r);
    put("/sys/class/thermal/cooling_device0/type", "fan\n");
    put("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "5\n");
    r = watcher();
    ledge__resources_sample(r, 1, &s);
    ledge__resources_sample(r, 2, &s);
    near(s.throttled, 0);
    put("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "6\n");
    ledge__resources_sample(r, 3, &s);
    near(s.throttled, 1);
    ledge__resources_free(r);
}

static void missing_and_broken_files_are_unknown(void **state)
{
    (void)state;
    LedgeResources *r = watcher();
    LedgeResourceSample s;
    ledge__resources_sample(r, 1, &s);
    ledge__resources_sample(r, 2, &s);
    assert_true(isnan(s.cpu) && isnan(s.memory) && isnan(s.temperature) && isnan(s.net_sent));
    assert_true(s.disk >= 0 && s.disk <= 1); /* this is asked of the system itself */
    const char *files[] = {
        "/proc/stat",    "/proc/self/stat",           "/proc/self/statm",
        "/proc/meminfo", "/proc/diskstats",           "/proc/net/dev",
        "/proc/loadavg", "/sys/fs/cgroup/memory.max", "/sys/class/thermal/thermal_zone0/temp"};
    const char *junk[] = {"", "\n", "cpu \n", ")", ": :\n:", "xyz -1 1e999 nan\n", "MemTotal:"};
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
        for (size_t k = 0; k < sizeof files / sizeof *files; k++)
            put(files[k], junk[i]);
        ledge__resources_sample(r, 3 + (double)i, &s);
        assert_true(isnan(s.memory));
    }
    ledge__resources_free(r);
}

static void a_day_is_kept_the_newest_first(void **state)
{
    (void)state;
    LedgeResources *r = watcher();
    LedgeResourceSample s;
    assert_null(ledge__resources_at(r, 0));
    for (int i = 0; i < 1500; i++)
        ledge__resources_sample(r, i, &s);
    near(ledge__resources_at(r, 0)->time, 1499);
    near(ledge__resources_at(r, 1439)->time, 60);
    assert_null(ledge__resources_at(r, 1440));
    ledge__resources_free(r);
}

static void this_machine_can_be_sampled(void **state)
{
    (void)state;
    LedgeResources *r = NULL;
    LedgeResourceSample s;
    assert_int_equal(ledge__resources_new("/tmp", "", ledge__allocator_or_default(NULL), NULL, &r),
                     LEDGE_OK);
    ledge__resources_sample(r, 1, &s);
    assert_true(s.memory > 0 && s.memory < 1 && s.process_memory > 1e5 && s.memory_total > 1e6);
    ledge__resources_free(r);
}

int main(void)
{
#define AT_ROOT(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        AT_ROOT(two_samples_give_shares_and_rates),
        AT_ROOT(the_control_group_bounds_memory),
        AT_ROOT(heat_that_holds_the_clock_down_is_seen),
        AT_ROOT(missing_and_broken_files_are_unknown),
        AT_ROOT(a_day_is_kept_the_newest_first),
        cmocka_unit_test(this_machine_can_be_sampled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
