/* The agent's folder, see agent_state.h. */
#include "fleet/agent/agent_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/out_file.h"

enum { SLOT_MAX = 65536, BOOT_MAX = 40, STALE_S = 3600 };

bool ledge__agent_path(const LedgeAgentDir *d, char out[LEDGE_AGENT_PATH], const char *fmt, ...)
{
    va_list ap;
    const int n = snprintf(out, LEDGE_AGENT_PATH, "%s/", d->path);
    va_start(ap, fmt);
    const int m = vsnprintf(out + n, (size_t)(LEDGE_AGENT_PATH - n), fmt, ap);
    va_end(ap);
    return m >= 0 && n + m < LEDGE_AGENT_PATH;
}

static LedgeStatus too_long(const char *name, LedgeError *err)
{
    return ledge__fail(err, LEDGE_ERROR_ARGUMENT, name, "the path is too long");
}

/* ---- the folder ---- */

static LedgeStatus make_folder(const char *path, LedgeError *err)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST
               ? LEDGE_OK
               : ledge__fail_errno(err, path, "create the folder");
}

static LedgeStatus take_lock(LedgeAgentDir *d, LedgeError *err)
{
    char path[LEDGE_AGENT_PATH];
    ledge__agent_path(d, path, "lock");
    d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (d->lock < 0)
        return ledge__fail_errno(err, path, "open");
    if (flock(d->lock, LOCK_EX | LOCK_NB) == 0)
        return LEDGE_OK;
    ledge__agent_close(d);
    return errno == EWOULDBLOCK
               ? ledge__fail(err, LEDGE_ERROR_MISMATCH, path,
                             "another process works on this folder; wait for it to end")
               : ledge__fail_errno(err, path, "lock");
}

LedgeStatus ledge__agent_open(LedgeAgentDir *d, const char *path, bool exclusive, LedgeError *err)
{
    static const char *const folders[] = {"tuf",    "slots", "versions", "serve",
                                          "shadow", "blobs", "queue"};
    char sub[LEDGE_AGENT_PATH];
    *d = (LedgeAgentDir){.lock = -1};
    if (strlen(path) >= sizeof d->path)
        return too_long(path, err);
    strcpy(d->path, path);
    if (!exclusive)
        return LEDGE_OK;
    LEDGE_TRY(make_folder(path, err));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        ledge__agent_path(d, sub, "%s", folders[i]);
        LEDGE_TRY(make_folder(sub, err));
    }
    LEDGE_TRY(ledge__agent_sync_folder(path, err));
    return take_lock(d, err);
}

void ledge__agent_close(LedgeAgentDir *d)
{
    const int e = errno;
    if (d->lock >= 0)
        close(d->lock);
    d->lock = -1;
    errno = e;
}

LedgeStatus ledge__agent_become_owner(const char *path, LedgeError *err)
{
    struct stat st;
    int with_parent = 0;
    if (geteuid() != 0 || stat(path, &st) != 0 || st.st_uid == 0)
        return LEDGE_OK;
    (void)prctl(PR_GET_PDEATHSIG, &with_parent);
    if (setgroups(0, NULL) != 0 || setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0)
        return ledge__fail_errno(err, path, "go on as the owner of the folder");
    (void)prctl(PR_SET_PDEATHSIG, with_parent); /* a change of user forgets it */
    return LEDGE_OK;
}

/* ---- small files ---- */

static LedgeStatus read_open(int fd, const char *path, size_t max, LedgeError *err, char **out,
                             size_t *size)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return ledge__fail(err, LEDGE_ERROR_IO, path, "is no regular file");
    if ((uint64_t)st.st_size > max)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, path, "is larger than %zu bytes", max);
    const size_t n = (size_t)st.st_size;
    size_t used = 0;
    char *bytes = malloc(n + 1);
    if (!bytes)
        return ledge__no_memory(err);
    while (used < n) {
        const ssize_t got = read(fd, bytes + used, n - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    if (used < n) {
        free(bytes);
        return ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be read to its end");
    }
    bytes[n] = '\0';
    *out = bytes;
    *size = n;
    return LEDGE_OK;
}

LedgeStatus ledge__agent_read(const LedgeAgentDir *d, const char *name, size_t max, LedgeError *err,
                              char **out, size_t *size)
{
    char path[LEDGE_AGENT_PATH];
    if (!ledge__agent_path(d, path, "%s", name))
        return too_long(name, err);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, path,
                           "cannot be opened: %s", strerror(errno));
    LedgeStatus status = read_open(fd, path, max, err, out, size);
    close(fd);
    return status;
}

LedgeStatus ledge__agent_write(const LedgeAgentDir *d, const char *name, const void *bytes,
                               size_t size, LedgeError *err)
{
    char path[LEDGE_AGENT_PATH];
    if (!ledge__agent_path(d, path, "%s", name))
        return too_long(name, err);
    return ledge__out_file_whole(NULL, path, bytes, size, err);
}

LedgeStatus ledge__agent_remove(const LedgeAgentDir *d, const char *name, LedgeError *err)
{
    char path[LEDGE_AGENT_PATH];
    if (!ledge__agent_path(d, path, "%s", name))
        return too_long(name, err);
    if (unlink(path) != 0)
        return errno == ENOENT ? LEDGE_OK : ledge__fail_errno(err, path, "remove");
    char *slash = strrchr(path, '/');
    *slash = '\0';
    return ledge__agent_sync_folder(path, err);
}

LedgeStatus ledge__agent_sync_folder(const char *path, LedgeError *err)
{
    return ledge__sync_folder(path) ? LEDGE_OK
                                    : ledge__fail_errno(err, path, "bring the folder to the disk");
}

/* ---- slots ---- */

LedgeStatus ledge__agent_slot(const LedgeAgentDir *d, const char *name, LedgeError *err,
                              LedgeSlot *out)
{
    char file[128], *text;
    size_t size;
    LedgeError problem = {0};
    LedgeSlot slot;
    snprintf(file, sizeof file, "slots/%.64s.json", name);
    LedgeStatus status = ledge__agent_read(d, file, SLOT_MAX, &problem, &text, &size);
    if (status == LEDGE_ERROR_NOT_FOUND) {
        *out = (LedgeSlot){0};
        snprintf(out->name, sizeof out->name, "%s", name);
        return LEDGE_OK;
    }
    if (!status) {
        status = ledge__slot_read(text, size, &problem, &slot);
        free(text);
    }
    if (!status && strcmp(slot.name, name) != 0)
        status = ledge__fail(&problem, LEDGE_ERROR_FORMAT, file, "belongs to another model");
    if (status)
        return ledge__fail(err, status, problem.where, "%s", problem.message);
    *out = slot;
    return LEDGE_OK;
}

LedgeStatus ledge__agent_save_slot(const LedgeAgentDir *d, const LedgeSlot *slot, LedgeError *err)
{
    char file[128], *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return ledge__no_memory(err);
    ledge__slot_write(slot, f);
    if (fclose(f) != 0) {
        free(text);
        return ledge__no_memory(err);
    }
    snprintf(file, sizeof file, "slots/%s.json", slot->name);
    LedgeStatus status = ledge__agent_write(d, file, text, size, err);
    free(text);
    return status;
}

LedgeStatus ledge__agent_slots(const LedgeAgentDir *d, LedgeError *err,
                               char (*names)[LEDGE_FLEET_NAME], size_t most, size_t *n)
{
    char path[LEDGE_AGENT_PATH];
    size_t count = 0;
    ledge__agent_path(d, path, "slots");
    DIR *dir = opendir(path);
    if (!dir)
        return ledge__fail_errno(err, path, "open the folder");
    for (struct dirent *e; count < most && (e = readdir(dir));) {
        const size_t length = strlen(e->d_name);
        if (length <= 5 || length - 5 >= LEDGE_FLEET_NAME ||
            strcmp(e->d_name + length - 5, ".json") != 0)
            continue;
        snprintf(names[count], LEDGE_FLEET_NAME, "%.*s", (int)(length - 5), e->d_name);
        if (ledge__fleet_is_name(names[count]))
            count++;
    }
    closedir(dir);
    *n = count;
    return LEDGE_OK;
}

/* ---- the link ---- */

LedgeStatus ledge__agent_link(const LedgeAgentDir *d, const char *folder, const char *name,
                              const char *version, const char *file, LedgeError *err, bool *changed)
{
    char path[LEDGE_AGENT_PATH], fresh[LEDGE_AGENT_PATH], target[LEDGE_AGENT_PATH];
    char now[LEDGE_AGENT_PATH] = "";
    if (changed)
        *changed = false;
    ledge__agent_path(d, path, "%s/%s.onnx", folder, name);
    ledge__agent_path(d, fresh, "%s/.%s.new", folder, name);
    snprintf(target, sizeof target, "../versions/%s/%s/%s", name, version, file);
    if (readlink(path, now, sizeof now - 1) > 0 && strcmp(now, target) == 0)
        return LEDGE_OK;
    if (unlink(fresh) != 0 && errno != ENOENT)
        return ledge__fail_errno(err, fresh, "remove");
    if (symlink(target, fresh) != 0)
        return ledge__fail_errno(err, fresh, "create the link");
    if (rename(fresh, path) != 0)
        return ledge__fail_errno(err, path, "replace the link");
    if (changed)
        *changed = true;
    ledge__agent_path(d, path, "%s", folder);
    return ledge__agent_sync_folder(path, err);
}

LedgeStatus ledge__agent_unlink(const LedgeAgentDir *d, const char *folder, const char *name,
                                LedgeError *err, bool *changed)
{
    char path[LEDGE_AGENT_PATH];
    ledge__agent_path(d, path, "%s/%s.onnx", folder, name);
    *changed = unlink(path) == 0;
    if (!*changed)
        return errno == ENOENT ? LEDGE_OK : ledge__fail_errno(err, path, "remove");
    /* Else a power cut brings back a link to what may be gone by then. */
    ledge__agent_path(d, path, "%s", folder);
    return ledge__agent_sync_folder(path, err);
}

/* ---- TUF's store ---- */

static LedgeStatus tuf_load(void *context, const char *name, size_t max, LedgeError *err,
                            char **bytes, size_t *size)
{
    char file[64];
    snprintf(file, sizeof file, "tuf/%s", name);
    return ledge__agent_read(context, file, max, err, bytes, size);
}

static LedgeStatus tuf_save(void *context, const char *name, const void *bytes, size_t size,
                            LedgeError *err)
{
    char file[64];
    snprintf(file, sizeof file, "tuf/%s", name);
    return ledge__agent_write(context, file, bytes, size, err);
}

static LedgeStatus tuf_remove(void *context, const char *name, LedgeError *err)
{
    char file[64];
    snprintf(file, sizeof file, "tuf/%s", name);
    return ledge__agent_remove(context, file, err);
}

LedgeTufStore ledge__agent_tuf_store(LedgeAgentDir *d)
{
    return (LedgeTufStore){d, tuf_load, tuf_save, tuf_remove};
}

/* ---- the machine ---- */

void ledge__agent_boot(char out[LEDGE_FLEET_NAME])
{
    char line[BOOT_MAX] = "";
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f && !fgets(line, sizeof line, f))
        line[0] = '\0';
    if (f)
        fclose(f);
    line[strcspn(line, "\n")] = '\0';
    snprintf(out, LEDGE_FLEET_NAME, "%s", ledge__fleet_is_name(line) ? line : "unknown");
}

/* ---- whole folders ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

LedgeStatus ledge__agent_remove_all(const char *path, LedgeError *err)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return ledge__fail_errno(err, path, "remove");
    return LEDGE_OK;
}

static _Thread_local int64_t counted;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)path;
    (void)at;
    if (kind == FTW_F)
        counted += st->st_size;
    return 0;
}

int64_t ledge__agent_bytes(const char *path)
{
    counted = 0;
    (void)nftw(path, count_one, 16, FTW_PHYS);
    return counted;
}

static int sweep_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)at;
    if (kind == FTW_F && ledge__out_file_is_unfinished(path) && st->st_mtime < time(NULL) - STALE_S)
        (void)unlink(path);
    return 0;
}

void ledge__agent_sweep(const LedgeAgentDir *d)
{
    (void)nftw(d->path, sweep_one, 16, FTW_PHYS);
}

LedgeStatus ledge__agent_make_parents(const char *folder, const char *file, LedgeError *err)
{
    char path[LEDGE_AGENT_PATH];
    for (const char *slash = strchr(file, '/'); slash; slash = strchr(slash + 1, '/')) {
        if (snprintf(path, sizeof path, "%s/%.*s", folder, (int)(slash - file), file) >=
            (int)sizeof path)
            return too_long(file, err);
        LEDGE_TRY(make_folder(path, err));
    }
    return LEDGE_OK;
}
