/* Versions on the disk, see install.h. */
#include "fleet/agent/install.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/out_file.h"

/* ---- what a device wants ---- */

/* How good a compiled file or a guest is for this CPU: the bits of its level; -1: it does not run
 * here. As the loader, it asks for all that the level's kernels may use. */
static int rank(const LedgeReleaseFile *f, const char *arch, uint32_t flags)
{
    uint32_t needs = f->level[0] ? ledge__cpu_flags_from_name(f->level) : 0;
    if ((f->arch[0] && strcmp(f->arch, arch) != 0) || needs == UINT32_MAX)
        return -1;
    return (needs & ~flags) ? -1 : __builtin_popcount(needs) + 1;
}

LedgeStatus ledge__install_plan(const LedgeRelease *r, const char *arch, uint32_t flags,
                                LedgeError *err, LedgeInstallPlan *out)
{
    int best = -1;
    *out = (LedgeInstallPlan){.model = r->n_files};
    for (size_t i = 0; i < r->n_files; i++) {
        const LedgeReleaseFile *f = &r->files[i];
        const int rating = f->role == LEDGE_RELEASE_COMPILED ? rank(f, arch, flags)
                           : f->role == LEDGE_RELEASE_MODEL  ? 0
                                                             : -1;
        if (rating > best) {
            best = rating;
            out->model = i;
        }
    }
    if (best < 0)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, r->name,
                           "version %s has no file for %s with %s, and no portable one", r->version,
                           arch, ledge__cpu_level_name(flags));
    for (size_t i = 0; i < r->n_files; i++) {
        const LedgeReleaseRole role = r->files[i].role;
        /* A model whose guest does not run here is not what was published. */
        if (role == LEDGE_RELEASE_GUEST && rank(&r->files[i], arch, flags) < 0)
            return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, r->name,
                               "version %s has a guest for %s%s%s, which this device (%s with %s) "
                               "does not run",
                               r->version, r->files[i].arch[0] ? r->files[i].arch : "any kind",
                               r->files[i].level[0] ? " with " : "", r->files[i].level, arch,
                               ledge__cpu_level_name(flags));
        /* Further files of a portable model are its weights. */
        out->wanted[i] = i == out->model ||
                         (role != LEDGE_RELEASE_COMPILED && role != LEDGE_RELEASE_MODEL) ||
                         (role == LEDGE_RELEASE_MODEL && best == 0);
        if (out->wanted[i] && __builtin_add_overflow(out->bytes, r->files[i].length, &out->bytes))
            return ledge__fail(err, LEDGE_ERROR_LIMIT, r->name, "its files are too large");
    }
    return LEDGE_OK;
}

/* ---- checking ---- */

static LedgeStatus check_file(const char *folder, const LedgeReleaseFile *f, LedgeError *err)
{
    char path[LEDGE_AGENT_PATH], sha[LEDGE_SHA256_HEX];
    uint64_t size;
    struct stat st;
    if (snprintf(path, sizeof path, "%s/%s", folder, f->path) >= (int)sizeof path)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, f->path, "the path is too long");
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size != f->length)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, path, "is missing or of another length");
    LEDGE_TRY(ledge__sha256_file(path, err, sha, &size));
    return strcmp(sha, f->sha256) == 0
               ? LEDGE_OK
               : ledge__fail(err, LEDGE_ERROR_MISMATCH, path, "is damaged: its SHA-256 differs");
}

static LedgeStatus check_folder(const char *folder, const LedgeRelease *r,
                                const LedgeInstallPlan *plan, LedgeError *err)
{
    for (size_t i = 0; i < r->n_files; i++)
        if (plan->wanted[i])
            LEDGE_TRY(check_file(folder, &r->files[i], err));
    return LEDGE_OK;
}

LedgeStatus ledge__install_check(const LedgeAgentDir *d, const LedgeRelease *r,
                                 const LedgeInstallPlan *plan, const char *release_sha256,
                                 LedgeError *err)
{
    char folder[LEDGE_AGENT_PATH], path[LEDGE_AGENT_PATH], sha[LEDGE_SHA256_HEX];
    ledge__agent_path(d, folder, "versions/%s/%s", r->name, r->version);
    ledge__agent_path(d, path, "versions/%s/%s/release.json", r->name, r->version);
    if (ledge__sha256_file(path, err, sha, NULL))
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, path, "cannot be read");
    if (strcmp(sha, release_sha256) != 0)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, path, "is of another release");
    return check_folder(folder, r, plan, err);
}

LedgeStatus ledge__install_release(const LedgeAgentDir *d, const char *name,
                                   const LedgeSlotVersion *v, LedgeError *err, LedgeRelease **out,
                                   char **bytes, size_t *size)
{
    char file[256], sha[LEDGE_SHA256_HEX], *text;
    size_t n;
    LedgeRelease *r;
    snprintf(file, sizeof file, "versions/%s/%s/release.json", name, v->version);
    LEDGE_TRY(ledge__agent_read(d, file, LEDGE_FLEET_RELEASE_MAX, err, &text, &n));
    LedgeStatus status = ledge__sha256_of(text, n, sha) ? ledge__no_memory(err) : LEDGE_OK;
    if (!status && strcmp(sha, v->sha256) != 0)
        status = ledge__fail(err, LEDGE_ERROR_MISMATCH, file, "is damaged or of another release");
    if (!status)
        status = ledge__release_read(text, n, err, &r);
    if (status || !bytes) {
        free(text);
    } else {
        *bytes = text;
        *size = n;
    }
    if (!status)
        *out = r;
    return status;
}

/* ---- fetching ---- */

static bool blob_path(const LedgeAgentDir *d, const LedgeReleaseFile *f, char out[LEDGE_AGENT_PATH])
{
    return ledge__agent_path(d, out, "blobs/%s", f->sha256);
}

/* A file of the same content in another version of the model becomes this blob too. */
static bool take_from_version(const LedgeAgentDir *d, const char *name, const char *version,
                              const LedgeReleaseFile *f)
{
    char path[LEDGE_AGENT_PATH], blob[LEDGE_AGENT_PATH], sha[LEDGE_SHA256_HEX];
    struct stat st;
    ledge__agent_path(d, path, "versions/%s/%s/%s", name, version, f->path);
    blob_path(d, f, blob);
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size != f->length ||
        ledge__sha256_file(path, NULL, sha, NULL) || strcmp(sha, f->sha256) != 0)
        return false;
    return link(path, blob) == 0 || errno == EEXIST;
}

static bool take_from_disk(const LedgeAgentDir *d, const char *name, const LedgeReleaseFile *f)
{
    char folder[LEDGE_AGENT_PATH], blob[LEDGE_AGENT_PATH];
    bool found = false;
    blob_path(d, f, blob);
    if (access(blob, F_OK) == 0)
        return true;
    ledge__agent_path(d, folder, "versions/%s", name);
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && !found && (e = readdir(dir));)
        found = ledge__fleet_is_name(e->d_name) && take_from_version(d, name, e->d_name, f);
    if (dir)
        closedir(dir);
    return found;
}

LedgeStatus ledge__install_fetch(const LedgeAgentDir *d, const LedgeDownload *how,
                                 const LedgeRelease *r, const LedgeInstallPlan *plan,
                                 LedgeError *err)
{
    for (size_t i = 0; i < r->n_files; i++) {
        char blob[LEDGE_AGENT_PATH], sha[LEDGE_SHA256_HEX];
        const LedgeReleaseFile *f = &r->files[i];
        if (!plan->wanted[i] || take_from_disk(d, r->name, f)) {
            /* One that lay there for long may have rotted. */
            blob_path(d, f, blob);
            if (!plan->wanted[i] ||
                (ledge__sha256_file(blob, NULL, sha, NULL) == 0 && strcmp(sha, f->sha256) == 0))
                continue;
            (void)unlink(blob);
        }
        LEDGE_TRY(ledge__download(how, f, err));
    }
    return LEDGE_OK;
}

/* ---- putting together ---- */

/* A second name for a blob; a copy where the file system has no such thing (FAT). */
static LedgeStatus place(const char *blob, const char *to, LedgeError *err)
{
    uint8_t piece[65536];
    size_t n;
    LedgeOutFile *out;
    if (link(blob, to) == 0)
        return LEDGE_OK;
    if (errno != EPERM && errno != ENOTSUP && errno != EMLINK && errno != EXDEV)
        return ledge__fail_errno(err, to, "create the file");
    FILE *in = fopen(blob, "rb");
    if (!in)
        return ledge__fail_errno(err, blob, "open");
    LedgeStatus status = ledge__out_file_open(NULL, to, err, &out);
    if (status) {
        fclose(in);
        return status;
    }
    while (!status && (n = fread(piece, 1, sizeof piece, in)) > 0)
        status = ledge__out_file_write(out, piece, n, err);
    if (!status && ferror(in))
        status = ledge__fail_errno(err, blob, "read");
    fclose(in);
    if (!status)
        return ledge__out_file_commit(out, err);
    ledge__out_file_abort(out);
    return status;
}

/* Every folder that a file of the release is in. */
static LedgeStatus sync_folders(const char *folder, const LedgeRelease *r,
                                const LedgeInstallPlan *plan, LedgeError *err)
{
    char path[LEDGE_AGENT_PATH];
    for (size_t i = 0; i < r->n_files; i++) {
        const char *file = r->files[i].path;
        for (const char *s = strchr(file, '/'); plan->wanted[i] && s; s = strchr(s + 1, '/')) {
            snprintf(path, sizeof path, "%s/%.*s", folder, (int)(s - file), file);
            LEDGE_TRY(ledge__agent_sync_folder(path, err));
        }
    }
    return ledge__agent_sync_folder(folder, err);
}

static LedgeStatus fill(const LedgeAgentDir *d, const char *folder, const LedgeRelease *r,
                        const LedgeInstallPlan *plan, LedgeError *err)
{
    char blob[LEDGE_AGENT_PATH], to[LEDGE_AGENT_PATH];
    for (size_t i = 0; i < r->n_files; i++) {
        if (!plan->wanted[i])
            continue;
        blob_path(d, &r->files[i], blob);
        if (snprintf(to, sizeof to, "%s/%s", folder, r->files[i].path) >= (int)sizeof to)
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, r->files[i].path, "the path is too long");
        LEDGE_TRY(ledge__agent_make_parents(folder, r->files[i].path, err));
        LEDGE_TRY(place(blob, to, err));
    }
    return LEDGE_OK;
}

/* Once a version has its files, the blobs' names are not needed: the files stay. */
static void drop_blobs(const LedgeAgentDir *d, const LedgeRelease *r, const LedgeInstallPlan *plan)
{
    char blob[LEDGE_AGENT_PATH];
    for (size_t i = 0; i < r->n_files; i++)
        if (plan->wanted[i]) {
            blob_path(d, &r->files[i], blob);
            (void)unlink(blob);
        }
}

LedgeStatus ledge__install_unpack(const LedgeAgentDir *d, const LedgeRelease *r,
                                  const LedgeInstallPlan *plan, const void *release_json,
                                  size_t size, LedgeError *err)
{
    char model[LEDGE_AGENT_PATH], fresh[LEDGE_AGENT_PATH], old[LEDGE_AGENT_PATH];
    char folder[LEDGE_AGENT_PATH], file[256];
    ledge__agent_path(d, model, "versions/%s", r->name);
    ledge__agent_path(d, fresh, "versions/%s/.new", r->name);
    ledge__agent_path(d, old, "versions/%s/.old", r->name);
    ledge__agent_path(d, folder, "versions/%s/%s", r->name, r->version);
    if (mkdir(model, 0755) == 0) {
        char versions[LEDGE_AGENT_PATH];
        ledge__agent_path(d, versions, "versions");
        LEDGE_TRY(ledge__agent_sync_folder(versions, err));
    } else if (errno != EEXIST) {
        return ledge__fail_errno(err, model, "create the folder");
    }
    LEDGE_TRY(ledge__agent_remove_all(fresh, err));
    if (mkdir(fresh, 0755) != 0)
        return ledge__fail_errno(err, fresh, "create the folder");
    LEDGE_TRY(fill(d, fresh, r, plan, err));
    snprintf(file, sizeof file, "versions/%s/.new/release.json", r->name);
    LEDGE_TRY(ledge__agent_write(d, file, release_json, size, err));
    LEDGE_TRY(check_folder(fresh, r, plan, err));
    LEDGE_TRY(sync_folders(fresh, r, plan, err));
    LEDGE_TRY(ledge__agent_remove_all(old, err));
    if (rename(folder, old) != 0 && errno != ENOENT)
        return ledge__fail_errno(err, folder, "move away");
    if (rename(fresh, folder) != 0)
        return ledge__fail_errno(err, folder, "name the finished folder");
    LEDGE_TRY(ledge__agent_sync_folder(model, err));
    drop_blobs(d, r, plan);
    return ledge__agent_remove_all(old, err);
}

static LedgeStatus mend(const LedgeAgentDir *d, const char *folder, const LedgeReleaseFile *f,
                        LedgeError *err)
{
    char blob[LEDGE_AGENT_PATH], beside[LEDGE_AGENT_PATH], to[LEDGE_AGENT_PATH];
    blob_path(d, f, blob);
    if (snprintf(to, sizeof to, "%s/%s", folder, f->path) >= (int)sizeof to ||
        !ledge__agent_path(d, beside, "blobs/%s.mend", f->sha256))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, f->path, "the path is too long");
    (void)unlink(beside);
    LEDGE_TRY(ledge__agent_make_parents(folder, f->path, err));
    LEDGE_TRY(place(blob, beside, err));
    return rename(beside, to) == 0 ? LEDGE_OK : ledge__fail_errno(err, to, "replace");
}

LedgeStatus ledge__install_repair(const LedgeAgentDir *d, const LedgeRelease *r,
                                  const LedgeInstallPlan *plan, const void *release_json,
                                  size_t size, LedgeError *err)
{
    char folder[LEDGE_AGENT_PATH], file[256];
    ledge__agent_path(d, folder, "versions/%s/%s", r->name, r->version);
    if (mkdir(folder, 0755) != 0 && errno != EEXIST)
        return ledge__fail_errno(err, folder, "create the folder");
    for (size_t i = 0; i < r->n_files; i++)
        if (plan->wanted[i] && check_file(folder, &r->files[i], err))
            LEDGE_TRY(mend(d, folder, &r->files[i], err));
    snprintf(file, sizeof file, "versions/%s/%s/release.json", r->name, r->version);
    LEDGE_TRY(ledge__agent_write(d, file, release_json, size, err));
    LEDGE_TRY(sync_folders(folder, r, plan, err));
    drop_blobs(d, r, plan);
    return check_folder(folder, r, plan, err);
}

/* ---- removing ---- */

LedgeStatus ledge__install_remove(const LedgeAgentDir *d, const char *name, const char *version,
                                  LedgeError *err)
{
    char path[LEDGE_AGENT_PATH], old[LEDGE_AGENT_PATH];
    ledge__agent_path(d, path, "versions/%s/%s", name, version);
    ledge__agent_path(d, old, "versions/%s/.old", name);
    LEDGE_TRY(ledge__agent_remove_all(old, err));
    if (rename(path, old) != 0) /* whole or not at all */
        return errno == ENOENT ? LEDGE_OK : ledge__fail_errno(err, path, "move away");
    return ledge__agent_remove_all(old, err);
}

static bool is_known(const LedgeSlot *s, const char *version)
{
    bool known = strcmp(s->running.version, version) == 0;
    for (size_t i = 0; !known && i < s->n_kept; i++)
        known = strcmp(s->kept[i].version, version) == 0;
    return known;
}

void ledge__install_sweep(const LedgeAgentDir *d, const LedgeSlot *slot,
                          const char *const keep_versions[2])
{
    char folder[LEDGE_AGENT_PATH], path[LEDGE_AGENT_PATH];
    ledge__agent_path(d, folder, "versions/%s", slot->name);
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            is_known(slot, e->d_name) || strcmp(e->d_name, keep_versions[0]) == 0 ||
            strcmp(e->d_name, keep_versions[1]) == 0)
            continue;
        if (ledge__agent_path(d, path, "versions/%s/%s", slot->name, e->d_name))
            (void)!ledge__agent_remove_all(path, NULL);
    }
    if (dir)
        closedir(dir);
}

static bool is_wanted(const char *entry, const LedgeInstallWanted *wanted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const LedgeRelease *r = wanted[i].release;
        bool found = strncmp(entry, wanted[i].sha256, LEDGE_FLEET_SHA256 - 1) == 0;
        for (size_t k = 0; !found && k < r->n_files; k++)
            found = strncmp(entry, r->files[k].sha256, LEDGE_FLEET_SHA256 - 1) == 0;
        if (found)
            return true;
    }
    return false;
}

void ledge__install_sweep_blobs(const LedgeAgentDir *d, const LedgeInstallWanted *wanted, size_t n)
{
    char folder[LEDGE_AGENT_PATH], path[LEDGE_AGENT_PATH];
    ledge__agent_path(d, folder, "blobs");
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            !is_wanted(e->d_name, wanted, n) && ledge__agent_path(d, path, "blobs/%s", e->d_name))
            (void)unlink(path);
    if (dir)
        closedir(dir);
}

int64_t ledge__install_has(const LedgeAgentDir *d, const LedgeRelease *r,
                           const LedgeInstallPlan *plan)
{
    char path[LEDGE_AGENT_PATH];
    int64_t bytes = 0;
    struct stat st;
    for (size_t i = 0; i < r->n_files; i++) {
        if (!plan->wanted[i])
            continue;
        blob_path(d, &r->files[i], path);
        bool found = stat(path, &st) == 0;
        if (!found && ledge__agent_path(d, path, "blobs/%s.part", r->files[i].sha256))
            found = stat(path, &st) == 0;
        bytes += found ? st.st_size : 0;
    }
    return bytes < plan->bytes ? bytes : plan->bytes;
}
