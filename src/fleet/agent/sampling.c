/* Choosing, sealing and writing, see sampling.h. */
#include "fleet/agent/sampling.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/timed_wait.h"
#include "base/out_file.h"
#include "fleet/agent/backoff.h"

enum { PATH = 1024, MOST_FILES = 4096 };
#define HOUR_MS ((int64_t)3600 * 1000)

struct LedgeSampling {
    char folder[PATH / 2];
    double below;
    int64_t gap_ms; /* between two samples */
    int64_t disk;
    LedgeSealKey *key;
    int lock_file;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool stops, is_busy;
    int64_t next_ms; /* monotonic: none is kept before */
    /* What is to be written; the thread's while is_busy. */
    LedgeFieldHead head;
    LedgeFieldContent content;
};

/* ---- files ---- */

static bool is_sample(const char *name)
{
    const size_t n = strlen(name);
    return n > 7 && n < LEDGE_SAMPLING_NAME && name[0] != '.' &&
           strcmp(name + n - 7, ".sample") == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

size_t ledge__sampling_list(const char *folder, char (*names)[LEDGE_SAMPLING_NAME], size_t most)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && n < most && (e = readdir(d));)
        if (is_sample(e->d_name))
            strcpy(names[n++], e->d_name);
    if (d)
        closedir(d);
    qsort(names, n, sizeof *names, by_name);
    return n;
}

static int64_t size_of(const LedgeSampling *s, const char *name)
{
    char path[PATH];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    return stat(path, &st) == 0 ? st.st_size : 0;
}

/* Makes room for `more` bytes; false: there is not so much. The disk's own bytes count, so that
 * what the agent has sent and removed makes room at once. */
static bool make_room(const LedgeSampling *s, int64_t more)
{
    char(*names)[LEDGE_SAMPLING_NAME] = malloc(sizeof *names * MOST_FILES), path[PATH];
    const size_t n = names ? ledge__sampling_list(s->folder, names, MOST_FILES) : 0;
    int64_t sum = more;
    for (size_t i = 0; i < n; i++)
        sum += size_of(s, names[i]);
    for (size_t i = 0; i < n && (sum > s->disk || n - i >= MOST_FILES); i++) {
        const int64_t bytes = size_of(s, names[i]);
        snprintf(path, sizeof path, "%s/%s", s->folder, names[i]);
        if (unlink(path) == 0 || errno == ENOENT)
            sum -= bytes;
    }
    const bool ok = names && sum <= s->disk;
    free(names);
    return ok;
}

/* A process that was killed while it wrote has left a file under another name. The folder may hold
 * what others put there: it stays. */
static void sweep(const char *folder)
{
    char path[PATH];
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strstr(e->d_name, ".sample.") || !ledge__out_file_is_unfinished(e->d_name))
            continue;
        snprintf(path, sizeof path, "%s/%.255s", folder, e->d_name);
        (void)unlink(path);
    }
    if (d)
        closedir(d);
}

/* ---- the rate ---- */

/* Now is when one was kept last: by our clock, since a file system may go by another one, or by one
 * that lags behind. */
static void touch_last(const LedgeSampling *s)
{
    char path[PATH];
    struct timespec now;
    snprintf(path, sizeof path, "%s/last", s->folder);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && clock_gettime(CLOCK_REALTIME, &now) == 0)
        (void)futimens(fd, (const struct timespec[2]){now, now});
    if (fd >= 0)
        close(fd);
}

/* Milliseconds to wait for what another process kept before. A clock that was set says little, but
 * never that more may be kept. */
static int64_t left_to_wait(const LedgeSampling *s)
{
    char path[PATH];
    struct stat st;
    snprintf(path, sizeof path, "%s/last", s->folder);
    if (stat(path, &st) != 0)
        return 0;
    const int64_t then = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    const int64_t since = ledge__clock_ms(CLOCK_REALTIME) - then;
    return since < 0 ? s->gap_ms : since < s->gap_ms ? s->gap_ms - since : 0;
}

/* ---- the thread ---- */

static void forget(LedgeFieldContent *c)
{
    for (size_t i = 0; i < c->n_inputs; i++)
        free(c->inputs[i].data);
    free((void *)(uintptr_t)c->picture);
    c->picture = NULL;
    c->n_inputs = 0;
}

static void write_sample(LedgeSampling *s)
{
    char path[PATH];
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (ledge__field_sample_seal(&s->head, &s->content, s->key, NULL, &bytes, &size))
        return;
    snprintf(path, sizeof path, "%s/%016" PRIx64 "-%08" PRIx32 ".sample", s->folder,
             (uint64_t)ledge__clock_us(CLOCK_REALTIME), ledge__backoff_random());
    /* Before it is written: what is killed in between has used up its share all the same. */
    touch_last(s);
    if (make_room(s, (int64_t)size))
        (void)!ledge__out_file_whole(NULL, path, bytes, size, NULL);
    free(bytes);
}

static void *work(void *arg)
{
    LedgeSampling *s = arg;
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->is_busy && !s->stops)
            pthread_cond_wait(&s->wake, &s->lock);
        if (!s->is_busy)
            break;
        pthread_mutex_unlock(&s->lock);
        write_sample(s);
        pthread_mutex_lock(&s->lock);
        forget(&s->content);
        s->is_busy = false;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- choosing ---- */

bool ledge__sampling_wants(LedgeSampling *s, double confidence, LedgeFleetDrift drift)
{
    if (!(confidence < s->below) && drift < LEDGE_FLEET_DRIFT_WARNING)
        return false;
    if (pthread_mutex_trylock(&s->lock) != 0)
        return false;
    const bool free_now = !s->is_busy && ledge__clock_ms(CLOCK_BOOTTIME) >= s->next_ms;
    pthread_mutex_unlock(&s->lock);
    return free_now;
}

static bool copy(LedgeFieldContent *to, const LedgeFieldContent *from)
{
    *to = *from;
    to->bytes = NULL;
    to->picture = NULL;
    to->n_inputs = 0;
    if (from->picture) {
        void *p = malloc(from->picture_size + 1);
        if (p)
            memcpy(p, from->picture, from->picture_size);
        to->picture = p;
        return p != NULL;
    }
    for (size_t i = 0; i < from->n_inputs; i++) {
        const size_t n = ledge_tensor_bytes(&from->inputs[i]);
        void *p = malloc(n + 1);
        if (!p) {
            forget(to);
            return false;
        }
        memcpy(p, from->inputs[i].data, n);
        to->inputs[i].data = p;
        to->n_inputs++;
    }
    return true;
}

void ledge__sampling_offer(LedgeSampling *s, const LedgeFieldHead *head, const LedgeFieldContent *c)
{
    const size_t bytes = ledge__field_content_bytes(c);
    const int64_t now = ledge__clock_ms(CLOCK_BOOTTIME);
    if (!bytes || bytes > LEDGE_FIELD_SAMPLE_MAX / 8 * 7 || (int64_t)bytes > s->disk ||
        pthread_mutex_trylock(&s->lock) != 0)
        return;
    if (!s->is_busy && now >= s->next_ms && copy(&s->content, c)) {
        s->head = *head;
        if (!s->head.timestamp)
            s->head.timestamp = ledge__clock_us(CLOCK_REALTIME);
        s->next_ms = now + s->gap_ms;
        s->is_busy = true;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- opening and closing ---- */

static LedgeStatus take_folder(LedgeSampling *s, LedgeError *err)
{
    char path[PATH];
    if (mkdir(s->folder, 0700) != 0 && errno != EEXIST)
        return ledge__fail_errno(err, s->folder, "create the folder");
    snprintf(path, sizeof path, "%s/lock", s->folder);
    s->lock_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_file < 0)
        return ledge__fail_errno(err, path, "open");
    if (flock(s->lock_file, LOCK_EX | LOCK_NB) != 0)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, s->folder,
                           "another process keeps samples there");
    sweep(s->folder);
    s->next_ms = ledge__clock_ms(CLOCK_BOOTTIME) + left_to_wait(s);
    return LEDGE_OK;
}

static void release(LedgeSampling *s)
{
    if (s->lock_file >= 0)
        close(s->lock_file);
    ledge__seal_key_free(s->key);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    free(s);
}

LedgeStatus ledge__sampling_open(const LedgeSamplingOptions *o, LedgeError *err,
                                 LedgeSampling **out)
{
    if (strlen(o->folder) >= PATH / 2)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, o->folder, "the path is too long");
    LedgeSampling *s = calloc(1, sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    *s = (LedgeSampling){.below = o->below,
                         .gap_ms = HOUR_MS / (o->per_hour > 0 ? o->per_hour : 1),
                         .disk = o->disk,
                         .lock_file = -1};
    strcpy(s->folder, o->folder);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    LedgeStatus status = ledge__seal_key_load(o->key, err, &s->key);
    if (!status && ledge__seal_key_is_private(s->key)) /* a device must not hold what opens them */
        status = ledge__fail(err, LEDGE_ERROR_ARGUMENT, o->key,
                             "is the private key, which no device should have; give NAME.pub");
    if (!status)
        status = take_folder(s, err);
    if (!status && pthread_create(&s->thread, NULL, work, s) != 0)
        status = ledge__no_memory(err);
    if (status) {
        release(s);
        return status;
    }
    *out = s;
    return LEDGE_OK;
}

void ledge__sampling_close(LedgeSampling *s)
{
    if (!s)
        return;
    ledge__wait_stop(&s->lock, &s->wake, &s->stops, s->thread);
    release(s);
}
