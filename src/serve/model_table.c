/* The table of served models. */
#include "serve/model_table.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"

enum { PATH = 1024, MODELS = 1024 };

typedef struct Row {
    char name[LEDGE_SERVE_NAME], version[16], path[PATH];
    LedgeServed *served;
    char reason[800];
} Row;

struct LedgeModelTable {
    pthread_rwlock_t lock;
    LedgeServedOptions options;
    char repository[PATH / 2]; /* "": none */
    Row **row;                 /* sorted by name, then version, the highest first */
    size_t n, room;
};

LedgeStatus ledge__model_table_new(const char *repository, const LedgeServedOptions *options,
                                   LedgeError *err, LedgeModelTable **out)
{
    if (repository && strlen(repository) >= PATH / 2)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, repository, "the path is too long");
    LedgeModelTable *t = calloc(1, sizeof *t);
    if (!t || pthread_rwlock_init(&t->lock, NULL) != 0) {
        free(t);
        return ledge__no_memory(err);
    }
    t->options = *options;
    snprintf(t->repository, sizeof t->repository, "%s", repository ? repository : "");
    *out = t;
    return LEDGE_OK;
}

void ledge__model_table_free(LedgeModelTable *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++) {
        ledge__served_unref(t->row[i]->served);
        free(t->row[i]);
    }
    free(t->row);
    pthread_rwlock_destroy(&t->lock);
    free(t);
}

static int compare_versions(const char *a, const char *b)
{
    const unsigned long x = strtoul(a, NULL, 10), y = strtoul(b, NULL, 10);
    return x != y ? (x < y) - (x > y) : -strcmp(a, b);
}

/* Where (name, version) stands or would stand. */
static size_t place_of(const LedgeModelTable *t, const char *name, const char *version, bool *there)
{
    size_t i = 0;
    for (; i < t->n; i++) {
        const int names = strcmp(t->row[i]->name, name);
        const int c = names ? names : compare_versions(t->row[i]->version, version);
        *there = c == 0;
        if (c >= 0)
            return i;
    }
    *there = false;
    return i;
}

/* The row, made where it is missing; the caller holds the lock. NULL: no memory. */
static Row *row_of(LedgeModelTable *t, const char *name, const char *version)
{
    bool there;
    const size_t at = place_of(t, name, version, &there);
    if (there)
        return t->row[at];
    if (t->n == t->room) {
        const size_t room = t->room ? 2 * t->room : 8;
        Row **row = realloc(t->row, room * sizeof *row);
        if (!row)
            return NULL;
        t->row = row;
        t->room = room;
    }
    Row *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    memmove(&t->row[at + 1], &t->row[at], (t->n - at) * sizeof *t->row);
    t->row[at] = r;
    t->n++;
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->version, sizeof r->version, "%s", version);
    return r;
}

/* Loads without the lock, since that takes time, and then puts it into its row. */
static LedgeStatus load_row(LedgeModelTable *t, const char *name, const char *version,
                            const char *path, LedgeError *err)
{
    LedgeServed *fresh = NULL, *old = NULL;
    LedgeError local = {0};
    const LedgeStatus s = ledge__served_load(name, version, path, &t->options, &local, &fresh);
    if (s == LEDGE_ERROR_ARGUMENT) { /* no name for a row */
        if (err)
            *err = local;
        return s;
    }
    pthread_rwlock_wrlock(&t->lock);
    Row *r = t->n < MODELS ? row_of(t, name, version) : NULL;
    if (r) {
        snprintf(r->path, sizeof r->path, "%s", path);
        if (s == LEDGE_OK) {
            old = r->served;
            r->served = fresh;
            r->reason[0] = '\0';
        } else if (!r->served) {
            snprintf(r->reason, sizeof r->reason, "%s%s%s", local.where, local.where[0] ? ": " : "",
                     local.message);
        }
    }
    pthread_rwlock_unlock(&t->lock);
    ledge__served_unref(r ? old : fresh);
    if (!r)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, name, "there is no room for another model");
    if (s != LEDGE_OK && err)
        *err = local;
    return s;
}

LedgeStatus ledge__model_table_add(LedgeModelTable *t, const char *what, LedgeError *err)
{
    const char *equals = strchr(what, '='), *slash = strrchr(what, '/');
    char name[PATH];
    const char *path = what;
    if (equals && (!slash || equals < slash || strchr(what, '/') > equals)) {
        snprintf(name, sizeof name, "%.*s", (int)(equals - what), what);
        path = equals + 1;
    } else {
        snprintf(name, sizeof name, "%s", slash ? slash + 1 : what);
        char *dot = strrchr(name, '.');
        if (dot && dot != name)
            *dot = '\0';
    }
    if (strlen(path) >= PATH)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, path, "the path is too long");
    return load_row(t, name, "1", path, err);
}

/* ---- the repository ---- */

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_version(const char *name)
{
    const size_t n = strlen(name);
    return n > 0 && n < 10 && strspn(name, "0123456789") == n && name[0] != '0';
}

typedef struct Scan {
    LedgeModelTable *t;
    const char *only; /* this model, or NULL: all */
    size_t found, failed;
    LedgeError *err; /* of the first failure */
    LedgeStatus status;
} Scan;

static void scan_file(Scan *s, const char *name, const char *version, const char *path)
{
    LedgeError err = {0};
    s->found++;
    const LedgeStatus status = load_row(s->t, name, version, path, &err);
    if (status == LEDGE_OK)
        return;
    s->failed++;
    if (s->status == LEDGE_OK && s->err)
        *s->err = err;
    s->status = s->status ? s->status : status;
}

static void scan_versions(Scan *s, const char *name)
{
    char folder[PATH], path[PATH];
    snprintf(folder, sizeof folder, "%s/%s", s->t->repository, name);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        static const char *const files[] = {"model.ledge", "model.onnx"};
        if (!is_version(e->d_name))
            continue;
        for (int i = 0; i < 2; i++)
            if ((size_t)snprintf(path, sizeof path, "%s/%s/%s", folder, e->d_name, files[i]) <
                    sizeof path &&
                is_file(path)) {
                scan_file(s, name, e->d_name, path);
                break;
            }
    }
    if (d)
        closedir(d);
}

/* NAME.onnx, NAME.ledge, or a folder NAME. */
static void scan_entry(Scan *s, const char *entry)
{
    char name[256], path[PATH];
    snprintf(name, sizeof name, "%s", entry);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", s->t->repository, entry) >= sizeof path)
        return;
    char *dot = strrchr(name, '.');
    const bool model =
        dot && (strcmp(dot, ".onnx") == 0 || strcmp(dot, ".ledge") == 0) && is_file(path);
    if (model)
        *dot = '\0';
    if (!ledge__served_name_ok(name) || (s->only && strcmp(name, s->only) != 0))
        return;
    if (model)
        scan_file(s, name, "1", path);
    else
        scan_versions(s, name);
}

static LedgeStatus scan(Scan *s, LedgeError *err)
{
    DIR *d = opendir(s->t->repository);
    if (!d)
        return ledge__fail(err, LEDGE_ERROR_IO, s->t->repository, "%s", strerror(errno));
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            scan_entry(s, e->d_name);
    closedir(d);
    return LEDGE_OK;
}

LedgeStatus ledge__model_table_scan(LedgeModelTable *t, LedgeError *err, size_t *failed)
{
    Scan s = {.t = t};
    *failed = 0;
    if (!t->repository[0])
        return LEDGE_OK;
    LEDGE_TRY(scan(&s, err));
    *failed = s.failed;
    return LEDGE_OK;
}

/* The files that the model's rows came from, each with its version. */
static size_t known_files(LedgeModelTable *t, const char *name, Row *out, size_t most)
{
    size_t n = 0;
    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->n && n < most; i++)
        if (strcmp(t->row[i]->name, name) == 0)
            out[n++] = *t->row[i];
    pthread_rwlock_unlock(&t->lock);
    return n;
}

LedgeStatus ledge__model_table_load(LedgeModelTable *t, const char *name, LedgeError *err)
{
    Scan s = {.t = t, .only = name, .err = err};
    if (!ledge__served_name_ok(name))
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "no such model");
    if (t->repository[0])
        LEDGE_TRY(scan(&s, err));
    if (s.found)
        return s.status;
    enum { FILES = 16 };
    Row *files = calloc(FILES, sizeof *files);
    if (!files)
        return ledge__no_memory(err);
    const size_t n = known_files(t, name, files, FILES);
    LedgeStatus status =
        n ? LEDGE_OK : ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "no such model");
    for (size_t i = 0; i < n && status == LEDGE_OK; i++)
        status = load_row(t, name, files[i].version, files[i].path, err);
    free(files);
    return status;
}

LedgeStatus ledge__model_table_unload(LedgeModelTable *t, const char *name, LedgeError *err)
{
    bool found = false;
    pthread_rwlock_wrlock(&t->lock);
    for (size_t i = 0; i < t->n; i++) {
        Row *r = t->row[i];
        if (strcmp(r->name, name) != 0)
            continue;
        found = true;
        ledge__served_unref(r->served); /* those who answer hold their own */
        r->served = NULL;
        snprintf(r->reason, sizeof r->reason, "unloaded");
    }
    pthread_rwlock_unlock(&t->lock);
    return found ? LEDGE_OK : ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "no such model");
}

/* ---- asking ---- */

LedgeStatus ledge__model_table_find(LedgeModelTable *t, const char *name, const char *version,
                                    LedgeError *err, LedgeServed **out)
{
    LedgeServed *found = NULL;
    LedgeStatus s = LEDGE_ERROR_NOT_FOUND;
    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->n && !found; i++) {
        Row *r = t->row[i];
        if (strcmp(r->name, name) != 0 || (version && strcmp(r->version, version) != 0))
            continue;
        if (r->served)
            found = ledge__served_ref(r->served);
        else
            s = ledge__fail(err, LEDGE_ERROR_RUNTIME, name, "the model is not loaded: %s",
                            r->reason);
    }
    pthread_rwlock_unlock(&t->lock);
    if (found) {
        *out = found;
        return LEDGE_OK;
    }
    return s == LEDGE_ERROR_NOT_FOUND
               ? ledge__fail(err, s, name, version ? "no such version" : "no such model")
               : s;
}

void ledge__model_table_visit(LedgeModelTable *t,
                              void (*visit)(void *arg, const LedgeModelEntry *e), void *arg)
{
    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->n; i++) {
        LedgeModelEntry e = {.served = t->row[i]->served, .reason = t->row[i]->reason};
        strcpy(e.name, t->row[i]->name);
        strcpy(e.version, t->row[i]->version);
        visit(arg, &e);
    }
    pthread_rwlock_unlock(&t->lock);
}

bool ledge__model_table_knows(LedgeModelTable *t, const char *name)
{
    bool known = false;
    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->n; i++)
        known = known || strcmp(t->row[i]->name, name) == 0;
    pthread_rwlock_unlock(&t->lock);
    return known;
}

static void count_missing(void *arg, const LedgeModelEntry *e)
{
    *(size_t *)arg += !e->served && strcmp(e->reason, "unloaded") != 0;
}

bool ledge__model_table_ready(LedgeModelTable *t)
{
    size_t missing = 0;
    ledge__model_table_visit(t, count_missing, &missing);
    return missing == 0;
}
