/* The append log of spool.h. */
#include "fleet/agent/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/out_file.h"

enum { HEAD = 24, BUFFER = 65536, PATH = 1024, CURSOR_MAX = 128 };
#define MARK UINT32_C(0x3153444c) /* "LDS1" */

struct LedgeSpool {
    char folder[PATH / 2];
    int lock, fd;
    uint64_t next, first;         /* first: of the open segment */
    int64_t segment_bytes, bytes; /* of the open segment; of all */
    uint64_t lost;
    size_t used;
    uint8_t buffer[BUFFER];
};

/* A spool whose folder is lost takes its id and its cursor along, so the name is synced first. */
static LedgeStatus make_folder(const char *folder, LedgeError *err)
{
    if (mkdir(folder, 0755) != 0)
        return errno == EEXIST ? LEDGE_OK : ledge__fail_errno(err, folder, "create the folder");
    (void)ledge__sync_folder_of(folder);
    return LEDGE_OK;
}

/* ---- segments ---- */

static void segment_path(const char *folder, uint64_t first, char out[PATH])
{
    snprintf(out, PATH, "%.511s/%016" PRIx64 ".seg", folder, first);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* First numbers of all segments, sorted; freed with free(). NULL and 0: none, or no memory. */
static uint64_t *list_segments(const char *folder, size_t *n)
{
    uint64_t *first = NULL;
    size_t count = 0, room = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *end;
        if (strlen(e->d_name) != 20 || strcmp(e->d_name + 16, ".seg") != 0)
            continue;
        const uint64_t number = strtoull(e->d_name, &end, 16);
        if (end != e->d_name + 16)
            continue;
        if (count == room) {
            room = room ? 2 * room : 16;
            uint64_t *wider = realloc(first, room * sizeof *first);
            if (!wider)
                break;
            first = wider;
        }
        first[count++] = number;
    }
    if (d)
        closedir(d);
    if (count)
        qsort(first, count, sizeof *first, by_number);
    *n = count;
    return first;
}

static uint64_t checksum(const void *bytes, size_t size, uint64_t number)
{
    return ledge__hash64(bytes, size, number * 31 + size);
}

/* The record at p, of which n bytes are there; 0: none that is whole and right. Gives its size. */
static size_t record_at(const uint8_t *p, size_t n, uint64_t *number)
{
    uint32_t mark, length;
    uint64_t sum;
    if (n < HEAD)
        return 0;
    memcpy(&mark, p, 4);
    memcpy(&length, p + 4, 4);
    memcpy(number, p + 8, 8);
    memcpy(&sum, p + 16, 8);
    if (mark != MARK || length > LEDGE_SPOOL_RECORD || length > n - HEAD || *number == 0 ||
        checksum(p + HEAD, length, *number) != sum)
        return 0;
    return HEAD + length;
}

/* With `sync`, what is given is on the disk; NULL: it cannot be had, and errno says why. */
static uint8_t *read_segment(const char *folder, uint64_t first, bool sync, size_t *size)
{
    char path[PATH];
    struct stat st;
    uint8_t *bytes = NULL;
    size_t used = 0;
    *size = 0;
    segment_path(folder, first, path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0) {
        errno = EFBIG;
        bytes = st.st_size <= 4 * LEDGE_SPOOL_SEGMENT ? malloc((size_t)st.st_size + 1) : NULL;
    }
    while (bytes && used < (size_t)st.st_size) {
        const ssize_t got = read(fd, bytes + used, (size_t)st.st_size - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    if (bytes && sync && fdatasync(fd) != 0) {
        free(bytes);
        bytes = NULL;
    }
    const int e = errno;
    close(fd);
    errno = e;
    *size = used;
    return bytes;
}

/* Number of the last whole record in a segment; `none` where there is none. */
static uint64_t last_in(const char *folder, uint64_t first, uint64_t none)
{
    size_t size = 0;
    uint64_t last = none, number;
    uint8_t *bytes = read_segment(folder, first, false, &size);
    for (size_t at = 0; bytes && at < size;) {
        const size_t n = record_at(bytes + at, size - at, &number);
        if (n && number > last)
            last = number;
        at += n ? n : 1;
    }
    free(bytes);
    return last;
}

/* ---- writing ---- */

void ledge__spool_measure(LedgeSpool *s)
{
    size_t n;
    uint64_t *first = list_segments(s->folder, &n);
    s->bytes = 0;
    for (size_t i = 0; i < n; i++) {
        char path[PATH];
        struct stat st;
        segment_path(s->folder, first[i], path);
        if (stat(path, &st) == 0)
            s->bytes += st.st_size;
    }
    free(first);
}

/* Numbers go on behind whatever was ever used: in segments, by the reader, or as a name. */
static void find_next(LedgeSpool *s)
{
    size_t n;
    uint64_t *first = list_segments(s->folder, &n);
    uint64_t last = ledge__spool_cursor(s->folder).record;
    if (n) {
        const uint64_t seen = last_in(s->folder, first[n - 1], first[n - 1]);
        last = seen > last ? seen : last;
    }
    free(first);
    s->next = last + 1;
    ledge__spool_measure(s);
}

LedgeStatus ledge__spool_open(const char *folder, LedgeError *err, LedgeSpool **out)
{
    char path[PATH];
    if (strlen(folder) >= PATH / 2)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, folder, "the path is too long");
    LEDGE_TRY(make_folder(folder, err));
    LedgeSpool *s = malloc(sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    s->fd = -1;
    s->bytes = s->segment_bytes = 0;
    s->used = 0;
    s->lost = 0;
    strcpy(s->folder, folder);
    snprintf(path, sizeof path, "%s/lock", folder);
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    LedgeStatus status = LEDGE_OK;
    if (s->lock < 0)
        status = ledge__fail_errno(err, path, "open");
    else if (flock(s->lock, LOCK_EX | LOCK_NB) != 0)
        status = ledge__fail(err, LEDGE_ERROR_MISMATCH, folder, "another process writes into it");
    if (status) {
        if (s->lock >= 0)
            close(s->lock);
        free(s);
        return status;
    }
    find_next(s);
    *out = s;
    return LEDGE_OK;
}

/* A segment gets its name, and the folder knows it, before records are in it. */
static LedgeStatus begin_segment(LedgeSpool *s, uint64_t first, LedgeError *err)
{
    char path[PATH];
    segment_path(s->folder, first, path);
    s->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (s->fd < 0)
        return ledge__fail_errno(err, path, "create the file");
    (void)ledge__sync_folder(s->folder);
    s->segment_bytes = 0;
    s->first = first;
    return LEDGE_OK;
}

static void end_segment(LedgeSpool *s)
{
    if (s->fd >= 0) {
        (void)fdatasync(s->fd);
        close(s->fd);
    }
    s->fd = -1;
}

/* Records in the buffer that end behind byte `written`. */
static uint64_t count_behind(const LedgeSpool *s, size_t size, size_t written)
{
    uint64_t n = 0;
    for (size_t at = 0; at < size;) {
        uint32_t length;
        memcpy(&length, s->buffer + at + 4, 4);
        at += HEAD + length;
        n += at > written;
    }
    return n;
}

/* A write that fails half-way leaves a torn record; what comes next goes to a new segment. */
static LedgeStatus write_buffer(LedgeSpool *s, LedgeError *err)
{
    const size_t size = s->used;
    size_t written = 0;
    while (written < size) {
        const ssize_t n = write(s->fd, s->buffer + written, size - written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            LedgeStatus status = ledge__fail_errno(err, s->folder, "write");
            s->lost += count_behind(s, size, written);
            s->used = 0;
            end_segment(s);
            if (s->segment_bytes == 0) { /* a full disk is not to fill with empty files */
                char path[PATH];
                segment_path(s->folder, s->first, path);
                (void)unlink(path);
            }
            return status;
        }
        written += (size_t)n;
        s->segment_bytes += n;
        s->bytes += n;
    }
    s->used = 0;
    return LEDGE_OK;
}

uint64_t ledge__spool_lost(LedgeSpool *s)
{
    const uint64_t lost = s->lost;
    s->lost = 0;
    return lost;
}

LedgeStatus ledge__spool_append(LedgeSpool *s, const void *bytes, size_t size, LedgeError *err)
{
    const uint32_t mark = MARK, length = (uint32_t)size;
    const uint64_t number = s->next, sum = checksum(bytes, size, number);
    if (size > LEDGE_SPOOL_RECORD)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, s->folder, "the record is too large");
    s->next++;
    if (s->used + HEAD + size > BUFFER)
        LEDGE_TRY(ledge__spool_flush(s, false, err));
    if (s->fd >= 0 && s->segment_bytes + (int64_t)(s->used + HEAD + size) > LEDGE_SPOOL_SEGMENT) {
        LEDGE_TRY(ledge__spool_flush(s, true, err));
        end_segment(s);
    }
    if (s->fd < 0)
        LEDGE_TRY(begin_segment(s, number, err));
    uint8_t *p = s->buffer + s->used;
    memcpy(p, &mark, 4);
    memcpy(p + 4, &length, 4);
    memcpy(p + 8, &number, 8);
    memcpy(p + 16, &sum, 8);
    if (size)
        memcpy(p + HEAD, bytes, size);
    s->used += HEAD + size;
    return LEDGE_OK;
}

LedgeStatus ledge__spool_flush(LedgeSpool *s, bool sync, LedgeError *err)
{
    if (s->fd < 0)
        return LEDGE_OK;
    LEDGE_TRY(write_buffer(s, err));
    if (sync && fdatasync(s->fd) != 0)
        return ledge__fail_errno(err, s->folder, "bring records to the disk");
    return LEDGE_OK;
}

void ledge__spool_close(LedgeSpool *s)
{
    if (!s)
        return;
    (void)!ledge__spool_flush(s, true, NULL);
    end_segment(s);
    close(s->lock);
    free(s);
}

uint64_t ledge__spool_next(const LedgeSpool *s)
{
    return s->next;
}

int64_t ledge__spool_bytes(const LedgeSpool *s)
{
    return s->bytes;
}

bool ledge__spool_drop_oldest(LedgeSpool *s, uint64_t *lost)
{
    char path[PATH];
    size_t n;
    uint64_t *first = list_segments(s->folder, &n);
    const uint64_t taken = ledge__spool_cursor(s->folder).record;
    const bool any = n > 1;
    *lost = 0;
    if (any) {
        const uint64_t end = first[1];
        const uint64_t from = taken + 1 > first[0] ? taken + 1 : first[0];
        segment_path(s->folder, first[0], path);
        if (unlink(path) == 0 && from < end)
            *lost = end - from;
    }
    free(first);
    ledge__spool_measure(s);
    return any;
}

/* ---- the cursor ---- */

LedgeSpoolCursor ledge__spool_cursor(const char *folder)
{
    char path[PATH], text[CURSOR_MAX] = "";
    LedgeSpoolCursor c = {0};
    snprintf(path, sizeof path, "%.511s/cursor", folder);
    FILE *f = fopen(path, "re");
    if (!f)
        return c;
    if (fgets(text, sizeof text, f) &&
        sscanf(text, "%" SCNu64 " %" SCNu64, &c.record, &c.batch) != 2)
        c = (LedgeSpoolCursor){0};
    fclose(f);
    return c;
}

LedgeStatus ledge__spool_set_cursor(const char *folder, LedgeSpoolCursor c, LedgeError *err)
{
    char path[PATH], text[CURSOR_MAX];
    snprintf(path, sizeof path, "%.511s/cursor", folder);
    const int n = snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 "\n", c.record, c.batch);
    return ledge__out_file_whole(NULL, path, text, (size_t)n, err);
}

/* ---- reading ---- */

struct LedgeSpoolReader {
    char folder[PATH / 2];
    uint64_t *first;
    size_t n, segment; /* the one in `bytes` is segment - 1 */
    uint64_t after, damaged;
    uint8_t *bytes;
    size_t size, at;
    bool sync;
    int error; /* why it ended early; 0: it did not */
};

LedgeStatus ledge__spool_read(const char *folder, uint64_t after, bool sync, LedgeError *err,
                              LedgeSpoolReader **out)
{
    LedgeSpoolReader *r = calloc(1, sizeof *r);
    if (!r)
        return ledge__no_memory(err);
    snprintf(r->folder, sizeof r->folder, "%s", folder);
    r->after = after;
    r->sync = sync;
    r->first = list_segments(folder, &r->n);
    /* Segments wholly before. */
    while (r->segment + 1 < r->n && r->first[r->segment + 1] <= after + 1)
        r->segment++;
    *out = r;
    return LEDGE_OK;
}

void ledge__spool_read_end(LedgeSpoolReader *r)
{
    if (!r)
        return;
    free(r->first);
    free(r->bytes);
    free(r);
}

static bool next_segment(LedgeSpoolReader *r)
{
    free(r->bytes);
    r->bytes = NULL;
    r->at = r->size = 0;
    if (r->segment == r->n)
        return false;
    r->bytes = read_segment(r->folder, r->first[r->segment++], r->sync, &r->size);
    if (!r->bytes && errno != ENOENT) /* that one was dropped meanwhile */
        r->error = errno;
    return !r->error;
}

bool ledge__spool_read_next(LedgeSpoolReader *r, uint64_t *number, const void **bytes, size_t *size)
{
    for (;;) {
        size_t skipped = 0;
        while (r->bytes && r->at < r->size) {
            const size_t n = record_at(r->bytes + r->at, r->size - r->at, number);
            if (!n) {
                r->at++;
                skipped++;
                continue;
            }
            r->damaged += skipped;
            skipped = 0;
            *bytes = r->bytes + r->at + HEAD;
            *size = n - HEAD;
            r->at += n;
            if (*number > r->after) {
                r->after = *number;
                return true;
            }
        }
        if (r->segment < r->n) /* a tail of the last segment may still be written */
            r->damaged += skipped;
        if (!next_segment(r))
            return false;
    }
}

LedgeStatus ledge__spool_read_status(const LedgeSpoolReader *r, LedgeError *err)
{
    errno = r->error;
    return r->error ? ledge__fail_errno(err, r->folder, "read") : LEDGE_OK;
}

uint64_t ledge__spool_read_damaged(const LedgeSpoolReader *r)
{
    return r->damaged;
}

void ledge__spool_trim(const char *folder, uint64_t record)
{
    size_t n;
    uint64_t *first = list_segments(folder, &n);
    for (size_t i = 0; i + 1 < n && first[i + 1] <= record + 1; i++) {
        char path[PATH];
        segment_path(folder, first[i], path);
        (void)unlink(path);
    }
    free(first);
}
