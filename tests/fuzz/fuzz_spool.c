/* Fuzz target of a spool's segment, as a failing disk or another program may leave it: reading
 * ends, gives records in order, and a writer goes on behind them. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fleet/agent/record_code.h"
#include "fleet/agent/spool.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], segment[128];

static void clean_up(void)
{
    char lock[128];
    snprintf(lock, sizeof lock, "%s/lock", folder);
    unlink(lock);
    unlink(segment);
    rmdir(folder);
}

static void put_segment(const uint8_t *data, size_t size)
{
    const int fd = open(segment, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

static uint64_t read_all(void)
{
    LedgeSpoolReader *r;
    static LedgeCoded coded;
    uint64_t number, last = 0, total = 0;
    const void *bytes;
    size_t size;
    check(ledge__spool_read(folder, 0, false, NULL, &r) == LEDGE_OK);
    while (ledge__spool_read_next(r, &number, &bytes, &size)) {
        check(number > last && size <= LEDGE_SPOOL_RECORD);
        last = number;
        for (size_t i = 0; i < size; i++)
            total += ((const uint8_t *)bytes)[i];
        ledge__code_read(bytes, size, number, &coded);
    }
    ledge__spool_read_end(r);
    check(total < UINT64_MAX); /* every byte was read */
    return last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!folder[0]) {
        const char *shm = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(folder, sizeof folder, "%s/ledge-fuzz-spool-XXXXXX", shm);
        check(mkdtemp(folder) != NULL && atexit(clean_up) == 0);
        snprintf(segment, sizeof segment, "%s/0000000000000001.seg", folder);
    }
    put_segment(data, size);
    const uint64_t last = read_all();
    if (last < UINT64_MAX - 10) {
        LedgeSpool *s;
        check(ledge__spool_open(folder, NULL, &s) == LEDGE_OK);
        check(ledge__spool_next(s) > last);
        check(ledge__spool_append(s, "x", 1, NULL) == LEDGE_OK);
        char path[160];
        snprintf(path, sizeof path, "%s/%016llx.seg", folder,
                 (unsigned long long)ledge__spool_next(s) - 1);
        ledge__spool_close(s);
        check(read_all() > last);
        unlink(path);
    }
    return 0;
}
