/* Downloads that resume, see download.h. */
#include "fleet/agent/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/out_file.h"
#include "fleet/agent/agent_state.h"
#include "fleet/agent/backoff.h"

enum {
    TRIES = 5,
    WAIT_MS = 1000,
    LONGEST_MS = 60000,
    BAD_CHUNKS = 8,
    BAD_IN_PLACE = 4,
    PROGRESS = 1024,
    STEP = 65536, /* bytes that the disk confirms at once, at least … */
    STEPS = 64,   /* … or this part of the file */
    DEAF = 3,
    PATH = 1024
};

typedef struct Fetch {
    const LedgeDownload *d;
    const LedgeReleaseFile *file;
    char part[PATH], whole[PATH], boot[PATH];
    int fd;
    int64_t have;    /* bytes in the file, to be gone on behind */
    int64_t checked; /* … of these, in whole chunks that are right */
    int tries;       /* in a row without progress */
    int64_t mark;    /* f->have when a try last counted as progress */
    int deaf;        /* ranges that were answered by the whole file */
    int bad_here;    /* in a row, of the chunk at bad_at */
    int64_t bad_at;
    int bad;      /* chunks, or whole files, that were wrong */
    bool started; /* of the answer under way: its range was looked at */
    LedgeHttpAnswer answer;
    LedgeStatus status; /* why `take` ended it */
    LedgeError *err;
} Fetch;

/* ---- chunks ---- */

static bool chunk_is_right(Fetch *f, size_t index)
{
    const LedgeReleaseFile *file = f->file;
    const int64_t at = (int64_t)index * file->chunk_size;
    const int64_t left = file->length - at;
    int64_t n = left < file->chunk_size ? left : file->chunk_size;
    uint8_t piece[16384], want[LEDGE_SHA256_BYTES];
    char hex[LEDGE_SHA256_HEX];
    LedgeSha256 *sha = ledge__sha256_new();
    bool ok = sha != NULL;
    for (int64_t done = 0; ok && done < n;) {
        const size_t most = (uint64_t)(n - done) < sizeof piece ? (size_t)(n - done) : sizeof piece;
        const ssize_t got = pread(f->fd, piece, most, at + done);
        ok = got > 0 && ledge__sha256_add(sha, piece, (size_t)got) == LEDGE_OK;
        done += got;
    }
    ok = ok && ledge__sha256_hex(sha, hex) == LEDGE_OK && ledge__from_hex(hex, want, sizeof want) &&
         memcmp(want, file->chunks[index], sizeof want) == 0;
    ledge__sha256_free(sha);
    return ok;
}

/* Cuts the file behind what is surely right. */
static bool cut_back(Fetch *f, int64_t to)
{
    if (ftruncate(f->fd, to) != 0)
        return false;
    f->have = to;
    return true;
}

/* Checks the chunks that have become whole. false: one is wrong, and was cut off. */
static bool check_chunks(Fetch *f)
{
    const LedgeReleaseFile *file = f->file;
    while (file->n_chunks && f->checked < file->length) {
        const int64_t left = file->length - f->checked;
        const int64_t n = left < file->chunk_size ? left : file->chunk_size;
        if (f->have - f->checked < n)
            return true;
        if (!chunk_is_right(f, (size_t)(f->checked / file->chunk_size))) {
            f->bad++;
            f->bad_here = f->checked == f->bad_at ? f->bad_here + 1 : 1;
            f->bad_at = f->checked;
            cut_back(f, f->checked);
            return false;
        }
        f->checked += n;
    }
    return true;
}

/* ---- one answer ---- */

/* The first bytes of an answer: do they belong where we would put them? */
static bool start(Fetch *f)
{
    const LedgeHttpAnswer *a = &f->answer;
    f->started = true;
    if (a->status == 206) {
        if ((a->range_from >= 0 && a->range_from != f->have) ||
            (a->range_total >= 0 && a->range_total != f->file->length)) {
            f->status = ledge__fail(f->err, LEDGE_ERROR_IO, f->file->path,
                                    "the answer's range is not the one asked for");
            return false;
        }
        return true;
    }
    /* The range was ignored, as some proxies do now and then. A few times it is asked for again;
     * then the file comes from its beginning. */
    if (f->have && f->deaf++ < DEAF) {
        f->status =
            ledge__fail(f->err, LEDGE_ERROR_IO, f->file->path, "the range was ignored (200)");
        return false;
    }
    f->checked = 0;
    if (f->have && !cut_back(f, 0))
        f->status = ledge__fail_errno(f->err, f->part, "shorten the file");
    return f->status == LEDGE_OK;
}

/* Without hashes of chunks: from boundary to boundary. Nothing is written behind one before the
 * disk has confirmed what is before it; so what is behind shows that it did. */
static int64_t step_of(const Fetch *f)
{
    const int64_t part = f->file->length / STEPS;
    return part > STEP ? part : STEP;
}

static bool put(Fetch *f, const char *p, size_t size)
{
    while (size) {
        size_t n = size;
        if (!f->file->n_chunks) {
            const int64_t left = step_of(f) - f->have % step_of(f);
            n = (uint64_t)left < n ? (size_t)left : n;
        }
        const ssize_t done = pwrite(f->fd, p, n, f->have);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        p += done;
        size -= (size_t)done;
        f->have += done;
        if (!f->file->n_chunks && f->have % step_of(f) == 0 && fdatasync(f->fd) != 0)
            return false;
    }
    return true;
}

static bool take(void *arg, const void *bytes, size_t size)
{
    Fetch *f = arg;
    if (!f->started && !start(f))
        return false;
    const uint64_t room = (uint64_t)(f->file->length - f->have);
    const bool is_over = size > room;
    if (is_over)
        size = (size_t)room;
    if (!put(f, bytes, size)) {
        f->status = ledge__fail_errno(f->err, f->part, "write");
        return false;
    }
    if (!check_chunks(f)) {
        f->status = ledge__fail(f->err, LEDGE_ERROR_IO, f->file->path,
                                "the bytes that came are not those that were signed");
        return false;
    }
    if (is_over)
        f->status =
            ledge__fail(f->err, LEDGE_ERROR_IO, f->file->path, "more bytes come than were signed");
    if (f->d->stop && *f->d->stop)
        f->status = ledge__fail(f->err, LEDGE_ERROR_CANCELLED, f->file->path, "was stopped");
    return f->status == LEDGE_OK;
}

static LedgeStatus judge_status(Fetch *f, LedgeError *err)
{
    const int s = f->answer.status;
    if (s == 200 || s == 206)
        return LEDGE_OK;
    if (s == 416) { /* the server thinks that the file is shorter */
        f->checked = 0;
        if (!cut_back(f, 0))
            return ledge__fail_errno(err, f->part, "shorten the file");
        return ledge__fail(err, LEDGE_ERROR_IO, f->file->path, "the range was refused (416)");
    }
    if (s == 401 || s == 403 || s == 404 || s == 410)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, f->file->path,
                           "the registry answers %d: the file is not there for this device", s);
    return ledge__fail(err, LEDGE_ERROR_IO, f->file->path, "the registry answers %d", s);
}

static LedgeStatus fetch_once(Fetch *f, LedgeError *err)
{
    char path[128];
    LedgeHttpAnswer *a = &f->answer;
    snprintf(path, sizeof path, "/v1/blobs/%s", f->file->sha256);
    const LedgeHttpAsk ask = {
        .path = path, .is_partial = f->have > 0, .from = f->have, .take = take, .arg = f};
    f->started = false;
    f->status = LEDGE_OK;
    f->err = err;
    LedgeError problem = {0};
    LedgeStatus status = ledge__http_ask(f->d->http, &ask, &problem, a);
    if (f->status)
        return f->status; /* ours, more telling */
    if (status && a->status < 400)
        return ledge__fail(err, status, problem.where, "%s", problem.message);
    return judge_status(f, err);
}

/* ---- again and again ---- */

static void pause_ms(const Fetch *f, int64_t ms)
{
    for (; ms > 0 && !(f->d->stop && *f->d->stop); ms -= 100) {
        const struct timespec t = {0, (ms < 100 ? ms : 100) * 1000000};
        nanosleep(&t, NULL);
    }
}

/* Whether to go on after a failure that may pass. */
static bool try_again(Fetch *f, LedgeStatus status)
{
    const int most = f->d->tries ? f->d->tries : TRIES;
    /* Bytes that only trickle are no progress, or they could hold us for ever. */
    if (!f->answer.too_slow && (f->have - f->mark >= PROGRESS || f->have < f->mark)) {
        f->tries = 0;
        f->mark = f->have;
    }
    if (status != LEDGE_ERROR_IO || f->tries >= most)
        return false;
    const int64_t asked =
        f->answer.retry_after < LONGEST_MS / 1000 ? f->answer.retry_after * 1000 : LONGEST_MS;
    pause_ms(f, ledge__backoff_ms(f->d->wait_ms ? f->d->wait_ms : WAIT_MS, f->tries++, LONGEST_MS,
                                  asked, ledge__backoff_random()));
    return true;
}

/* All bytes are there: are they the right ones? Those without hashes of chunks begin anew. */
static LedgeStatus judge_whole(Fetch *f, LedgeError *err)
{
    char sha[LEDGE_SHA256_HEX];
    LEDGE_TRY(ledge__sha256_file(f->part, err, sha, NULL));
    if (strcmp(sha, f->file->sha256) == 0)
        return LEDGE_OK;
    f->bad++;
    f->checked = 0;
    if (!cut_back(f, 0))
        return ledge__fail_errno(err, f->part, "shorten the file");
    return ledge__fail(err, LEDGE_ERROR_MISMATCH, f->file->path,
                       "its SHA-256 is not the one that was signed");
}

static LedgeStatus fetch_all(Fetch *f, LedgeError *err)
{
    const int most_bad = f->file->n_chunks ? BAD_CHUNKS + (int)(f->file->n_chunks / 8) : 2;
    for (;;) {
        LedgeError problem = {0};
        LedgeStatus status = f->have < f->file->length ? fetch_once(f, &problem) : LEDGE_OK;
        if (status == LEDGE_ERROR_IO && f->have == f->file->length)
            status = LEDGE_OK; /* what came behind the file does not matter */
        if (f->d->stop && *f->d->stop)
            return ledge__fail(err, LEDGE_ERROR_CANCELLED, f->file->path, "was stopped");
        if (!status && f->have == f->file->length)
            status = judge_whole(f, &problem);
        else if (!status) /* cut without an error, as proxies do */
            status = ledge__fail(&problem, LEDGE_ERROR_IO, f->file->path, "the answer was cut");
        if (!status)
            return LEDGE_OK;
        if (f->bad >= most_bad || f->bad_here >= BAD_IN_PLACE)
            return ledge__fail(err, LEDGE_ERROR_MISMATCH, f->file->path,
                               "wrong bytes came %d times: what is served is not what was signed",
                               f->bad);
        if (status == LEDGE_ERROR_MISMATCH)
            continue;
        if (!try_again(f, status))
            return ledge__fail(err, status, problem.where, "%s", problem.message);
    }
}

/* Whether what is there was written since the machine came up; from now on it is. */
static bool is_of_this_boot(const Fetch *f)
{
    char now[LEDGE_FLEET_NAME], then[LEDGE_FLEET_NAME] = "";
    ledge__agent_boot(now);
    FILE *old = fopen(f->boot, "re");
    if (old && !fgets(then, sizeof then, old))
        then[0] = '\0';
    if (old)
        fclose(old);
    if (strcmp(now, then) == 0)
        return true;
    (void)!ledge__out_file_whole(NULL, f->boot, now, strlen(now), NULL);
    return false;
}

/* What an earlier process left: as much of it as is surely right, or may be. */
static LedgeStatus open_part(Fetch *f, LedgeError *err)
{
    struct stat st;
    f->fd = open(f->part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (f->fd < 0)
        return ledge__fail_errno(err, f->part, "create the file");
    if (fstat(f->fd, &st) != 0)
        return ledge__fail_errno(err, f->part, "look at the file");
    f->have = st.st_size;
    int64_t sure = f->have > f->file->length ? 0 : f->have;
    if (!f->file->n_chunks && !is_of_this_boot(f) && sure)
        sure = (sure - 1) / step_of(f) * step_of(f);
    if (f->have != sure && !cut_back(f, sure))
        return ledge__fail_errno(err, f->part, "shorten the file");
    check_chunks(f); /* a wrong one is cut off, and what was behind it */
    f->bad = f->bad_here = 0;
    return LEDGE_OK;
}

static LedgeStatus finish(Fetch *f, LedgeError *err)
{
    if (fchmod(f->fd, 0444) != 0 || fsync(f->fd) != 0)
        return ledge__fail_errno(err, f->part, "bring the file to the disk");
    if (rename(f->part, f->whole) != 0)
        return ledge__fail_errno(err, f->part, "name the finished file");
    (void)unlink(f->boot);
    (void)ledge__sync_folder(f->d->folder);
    return LEDGE_OK;
}

LedgeStatus ledge__download(const LedgeDownload *d, const LedgeReleaseFile *file, LedgeError *err)
{
    Fetch *f = calloc(1, sizeof *f);
    if (!f)
        return ledge__no_memory(err);
    *f = (Fetch){.d = d, .file = file, .fd = -1};
    snprintf(f->whole, sizeof f->whole, "%s/%s", d->folder, file->sha256);
    snprintf(f->boot, sizeof f->boot, "%s/%s.boot", d->folder, file->sha256);
    LedgeStatus status = LEDGE_OK;
    if ((size_t)snprintf(f->part, sizeof f->part, "%s/%s.part", d->folder, file->sha256) >=
        sizeof f->part)
        status = ledge__fail(err, LEDGE_ERROR_ARGUMENT, d->folder, "the path is too long");
    else if (access(f->whole, F_OK) != 0) {
        status = open_part(f, err);
        if (!status)
            status = fetch_all(f, err);
        if (!status)
            status = finish(f, err);
    }
    if (f->fd >= 0)
        close(f->fd);
    free(f);
    return status;
}
